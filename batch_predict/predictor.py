"""Score DataFrames and files with a fitted model from Python: on this machine, or on a deployed stack.

from batch_predict import BatchPredictor

predictor = BatchPredictor(estimator)
scored = predictor.run(frame, "predictions.csv").to_pandas()

predictor = BatchPredictor("model.joblib", ["distance", "dep_delay"], stack="batch-predict")
print(predictor.plan("flights/", "predictions.csv").estimate["dollars"]["total"])
scored = predictor.run("flights/", "predictions.csv").to_pandas()
"""

import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_predict.errors import BatchPredictError, RunFailedError
from batch_predict.places import OnStack, ThisMachine, place_of
from batch_predict.runs.in_memory import (
    PathLike,
    data_paths,
    index_of,
    model_path,
    read_output,
    require_data,
    require_model,
    require_names,
)
from batch_predict.runs.outcome import Failed, Outcome, Planned, Published, conclude
from batch_predict.runs.prepared_request import PreparedRequest
from batch_predict.runs.run import ENDED, RunStatus
from batch_predict.runs.transfer import split_uri
from batch_predict.visible_text import visible

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    Data = pd.DataFrame | PathLike | Sequence[pd.DataFrame | PathLike]


TEMPORARY = "batch-predict-"
"""How the names of folders begin that hold what a run reads from memory."""


class BatchPredictor:
    """Scores DataFrames, and files of CSV, JSON Lines or Parquet, with one model.

    Args:
        model: A fitted estimator, a file that `joblib.dump` wrote, or a bundle; with ``stack`` also an S3 URI.
        feature_columns: Columns given to the model, in this order; by default those that it was fitted on, if it knows their names.
        prediction_column_name: Name of the added column.
        stack: A deployed stack, by its name; by default this machine, on an embedded AWS.
        profile: Profile of the AWS configuration; only with ``stack``.
        region: Region of the stack; only with ``stack``.
        options: Further fields of the request: `chunk_size_mb`, `on_bad_row`, `overwrite` … (docs/request.md).

    Raises TypeError if the model or the columns are none of these.

    """

    def __init__(
        self,
        model: Any,
        feature_columns: Sequence[str] | None = None,
        prediction_column_name: str = "prediction",
        *,
        stack: str | None = None,
        profile: str | None = None,
        region: str | None = None,
        **options: Any,
    ) -> None:
        require_model(model)
        names = require_names(feature_columns)
        self._model = model
        self._place = place_of(stack, profile, region)
        self._request = {
            **({} if names is None else {"feature_columns": names}),
            "prediction_column_name": prediction_column_name,
            **options,
        }

    def plan(self, data: "Data", output: PathLike) -> Planned:
        """Return what a run would take, scoring nothing: `chunks`, `objects`, `input_bytes`, `estimate`. Raises as `run` does."""
        with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
            planned = _succeeded(self._place.run(self._prepared(Path(folder), data, output, dry_run=True)))
        assert isinstance(planned, Planned)
        return planned

    def run(self, data: "Data", output: PathLike, *, name: str | None = None) -> "PredictionRun":
        """Score ``data`` into ``output``, and return when it is there.

        ``data`` is a DataFrame, a file, a folder (all its tables of one format in natural order), a glob, or a list of these;
        ``output`` is a local path, or with a stack an S3 URI. Raises TypeError for other data, InvalidRequestError before anything
        has started, and RunFailedError if the run fails.
        """
        with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
            prepared = self._prepared(Path(folder), data, output)
            result = _succeeded(self._place.run(prepared, name))
        return PredictionRun(self._place, result.name or "", prepared, result, index=index_of(data))

    def submit(self, data: "Data", output: PathLike, *, name: str | None = None) -> "PredictionRun":
        """Start scoring, and return at once; the run no longer needs this process, except to download a stack's output.

        On this machine it reads the files of a DataFrame or an estimator until it is over; `wait` deletes them.
        """
        folder = Path(tempfile.mkdtemp(prefix=TEMPORARY))
        try:
            prepared = self._prepared(folder, data, output)
            started = self._place.submit(prepared, name)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if isinstance(self._place, OnStack) or not any(folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)
        return PredictionRun(self._place, started, prepared, index=index_of(data), read_by_run=folder)

    def _prepared(self, folder: Path, data: "Data", output: PathLike, **fields: Any) -> PreparedRequest:
        require_data(data)
        if not isinstance(output, str | os.PathLike):
            raise TypeError(f"output must be the path or S3 URI of a file, not of type {type(output).__name__}")
        request = {
            **self._request,
            "model_s3_uri": model_path(self._model, folder),
            "data_s3_uri": data_paths(data, folder, {**self._request, "output_s3_uri": os.fspath(output)}),
            "output_s3_uri": os.fspath(output),
            **fields,
        }
        return self._place.prepare(request)


class PredictionRun:
    """A run that was started: how far it is, and its result."""

    def __init__(
        self,
        place: ThisMachine | OnStack,
        name: str,
        prepared: PreparedRequest,
        result: Outcome | None = None,
        *,
        index: "pd.Index[Any] | None" = None,
        read_by_run: Path | None = None,
    ) -> None:
        self.name = name
        self._index = index
        self._read_by_run = read_by_run
        self._place = place
        self._prepared = prepared
        self._result = result

    def __repr__(self) -> str:
        """Name the run and its status."""
        return f"<PredictionRun {self.name} {self.status}>"

    @property
    def status(self) -> str:
        """RUNNING, SUCCEEDED, FAILED, TIMED_OUT or ABORTED."""
        if self._result:
            return self._result.status
        if isinstance(self._place, ThisMachine):
            return self._place.kept_runs.get(self.name).status()
        return self.describe().status

    def describe(self) -> RunStatus:
        """Return all that Step Functions says: state, chunks, error."""
        with self._place.opened(self.name) as (run, _):
            return run.status()

    def wait(self, timeout: float | None = None, poll_seconds: float = 1.0) -> "PredictionRun":
        """Return when the output is there. RunFailedError if the run fails, TimeoutError if it goes on after ``timeout`` s."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.status not in ENDED:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"run {self.name} is still {self.status} after {timeout} s")
            time.sleep(poll_seconds)
        if self._result is None:
            self._result = self._concluded()
        if self._read_by_run:
            shutil.rmtree(self._read_by_run, ignore_errors=True)
        _succeeded(self._result)
        return self

    def cancel(self) -> None:
        """End it; BatchPredictError if it is over."""
        with self._place.opened(self.name) as (run, _):
            run.cancel()

    @property
    def result(self) -> Published | Planned:
        """How it ended: `rows`, `rejected_rows`, `chunks`, `seconds`, `output` …; waits for it."""
        self.wait()
        assert self._result
        return _succeeded(self._result)

    @cached_property
    def report(self) -> Mapping[str, Any]:
        """The report beside the output (docs/report.md); waits for it."""
        self.wait()
        with self._place.opened(self.name) as (run, _):
            return run.report()

    def to_arrow(self) -> "pa.Table":
        """Return the output as a table, of text with the types that pyarrow infers; waits for it. The file keeps every byte."""
        import pyarrow as pa  # noqa: PLC0415  # not for those who only start runs: it takes long to import

        if not isinstance(published := self.result, Published):
            raise BatchPredictError(f"run {self.name} has no output: it was a dry run")
        if published.rows == 0 and published.chunks == 0:  # data without any object, with `on_no_rows`
            return pa.table({})
        if isinstance(published.output, Path):
            return read_output(published.output, self._prepared.request)
        assert isinstance(self._place, OnStack)
        bucket, key = split_uri(published.output)
        with tempfile.NamedTemporaryFile(suffix=".csv") as file:
            self._place.stack.client("s3").download_fileobj(bucket, key, file)
            file.flush()
            return read_output(Path(file.name), self._prepared.request)

    def to_pandas(self) -> "pd.DataFrame":
        """Return the output as a frame; waits for it. If a DataFrame was scored, it has its index, unless rows are missing."""
        frame: pd.DataFrame = self.to_arrow().to_pandas()
        if self._index is not None and len(self._index) == len(frame):
            frame.index = self._index
        return frame

    def _concluded(self) -> Outcome:
        if isinstance(self._place, ThisMachine):
            kept = self._place.kept_runs.get(self.name)
            kept.settle()
            outcome = kept.outcome()
            assert outcome, "it is over"
            return outcome
        with self._place.opened(self.name) as (run, _):
            return conclude(self._place.stack, self._prepared, run.execution_arn)


def _succeeded(outcome: Outcome) -> Published | Planned:
    if isinstance(outcome, Failed):
        message = visible(f"run {outcome.name} ended as {outcome.status}: {outcome.error}: {outcome.cause}")
        raise RunFailedError(message, outcome.error, outcome.cause, outcome.advice)
    return outcome
