"""Score CSV files with a fitted model from Python: on this machine, or on a deployed stack.

from batch_predict import BatchPredictor

predictor = BatchPredictor("model.joblib", ["distance", "dep_delay"], stack="batch-predict")
print(predictor.plan("flights/", "predictions.csv").estimate["dollars"]["total"])
frame = predictor.run("flights/", "predictions.csv").to_pandas()
"""

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_predict.local_run import LocalRun, RunResult, conclude, split_uri
from batch_predict.places import OnStack, ThisMachine, place_of
from batch_predict.runs import ENDED, RunError, RunStatus
from batch_predict.visible_text import visible

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

PathLike = str | os.PathLike[str]


class RunFailedError(RunError):
    """The run is over without an output and its report; `error`, `cause` and `advice` are the execution's."""

    def __init__(self, name: str, result: RunResult) -> None:
        super().__init__(visible(f"run {name} ended as {result.status}: {result.error}: {result.cause}"))
        self.error, self.cause, self.advice = result.error, result.cause, result.advice


class BatchPredictor:
    """Scores CSV files with one model.

    Args:
        model: A file that `joblib.dump` wrote; with ``stack`` also an S3 URI.
        feature_columns: Columns given to the model, in this order.
        prediction_column_name: Name of the added column.
        stack: A deployed stack, by its name; by default this machine, on an embedded AWS.
        profile: Of the AWS configuration; with ``stack`` only.
        region: Of the stack; with ``stack`` only.
        options: Further fields of the request: `chunk_size_mb`, `on_bad_row`, `overwrite` … (docs/request.md).

    """

    def __init__(
        self,
        model: PathLike,
        feature_columns: Sequence[str],
        prediction_column_name: str = "prediction",
        *,
        stack: str | None = None,
        profile: str | None = None,
        region: str | None = None,
        **options: Any,
    ) -> None:
        self._place = place_of(stack, profile, region)
        self._request = {
            "model_s3_uri": os.fspath(model),
            "feature_columns": list(feature_columns),
            "prediction_column_name": prediction_column_name,
            **options,
        }

    def plan(self, data: PathLike | Sequence[PathLike], output: PathLike) -> RunResult:
        """Check everything, and return what a run would take: `chunks`, `objects`, `input_bytes`, `estimate`. Nothing is scored.

        Raises InvalidRequestError where the request must change, and RunFailedError where the workflow refuses it.
        """
        result = self._place.run(self._prepared(data, output, dry_run=True))
        if result.status != "SUCCEEDED":
            raise RunFailedError(result.name or "", result)
        return result

    def run(self, data: PathLike | Sequence[PathLike], output: PathLike, *, name: str | None = None) -> "PredictionRun":
        """Score ``data`` into ``output``, and return when it is there.

        ``data`` is a file, a folder (all *.csv below it in natural order), or several; ``output`` is a local path, or with a stack
        an S3 URI. Raises InvalidRequestError before anything has started, and RunFailedError where the run fails.
        """
        local_run = self._prepared(data, output)
        result = self._place.run(local_run, name)
        if result.status != "SUCCEEDED":
            raise RunFailedError(result.name or "", result)
        return PredictionRun(self._place, result.name or "", local_run, result)

    def submit(self, data: PathLike | Sequence[PathLike], output: PathLike, *, name: str | None = None) -> "PredictionRun":
        """Start scoring, and return at once; the run needs this process no longer, except to bring a stack's output here."""
        local_run = self._prepared(data, output)
        return PredictionRun(self._place, self._place.submit(local_run, name), local_run)

    def _prepared(self, data: PathLike | Sequence[PathLike], output: PathLike, **fields: Any) -> LocalRun:
        paths = [data] if isinstance(data, str | os.PathLike) else data
        request = {
            **self._request,
            "data_s3_uri": [os.fspath(path) for path in paths],
            "output_s3_uri": os.fspath(output),
            **fields,
        }
        return self._place.prepare(request)


class PredictionRun:
    """A run that was started: how far it is, and what came of it."""

    def __init__(self, place: ThisMachine | OnStack, name: str, local_run: LocalRun, result: RunResult | None = None) -> None:
        self.name = name
        self._place = place
        self._local_run = local_run
        self._result = result

    def __repr__(self) -> str:
        """Say which one it is."""
        return f"<PredictionRun {self.name} {self.status}>"

    @property
    def status(self) -> str:
        """RUNNING, SUCCEEDED, FAILED, TIMED_OUT or ABORTED."""
        if self._result:
            return self._result.status
        if isinstance(self._place, ThisMachine):
            return self._place.local_runs.get(self.name).status().status
        return self.describe().status

    def describe(self) -> RunStatus:
        """Return all that Step Functions says: state, chunks, error."""
        with self._place.opened(self.name) as (run, _):
            return run.status()

    def wait(self, timeout: float | None = None, poll_seconds: float = 1.0) -> "PredictionRun":
        """Return when the output is there.

        Raises RunFailedError where the run fails, and TimeoutError after ``timeout`` seconds; the run goes on then.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.status not in ENDED:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"run {self.name} is still {self.status} after {timeout} s")
            time.sleep(poll_seconds)
        if self._result is None:
            self._result = self._concluded()
        if self._result.status != "SUCCEEDED":
            raise RunFailedError(self.name, self._result)
        return self

    def cancel(self) -> None:
        """End it; RunError where it is over."""
        with self._place.opened(self.name) as (run, _):
            run.cancel()

    @property
    def result(self) -> RunResult:
        """How it ended: `rows`, `rejected_rows`, `chunks`, `seconds`, `output` …; waits for it."""
        self.wait()
        assert self._result
        return self._result

    @cached_property
    def report(self) -> Mapping[str, Any]:
        """What is written beside the output (docs/report.md); waits for it."""
        self.wait()
        with self._place.opened(self.name) as (run, _):
            return run.report()

    def to_arrow(self) -> "pa.Table":
        """Return the output as a table with the types that pyarrow infers; waits for it. The file itself keeps every byte."""
        import pyarrow.csv  # noqa: PLC0415  # not for those who only start runs: it takes long to import

        output = self.result.output
        if self.result.output_bytes == 0:  # of data without any object, with `on_no_rows`
            return pyarrow.table({})
        if isinstance(output, Path):
            return pyarrow.csv.read_csv(output)
        assert isinstance(self._place, OnStack)
        bucket, key = split_uri(str(output))
        with tempfile.NamedTemporaryFile(suffix=".csv") as file:
            self._place.stack.client("s3").download_fileobj(bucket, key, file)
            file.flush()
            return pyarrow.csv.read_csv(file.name)

    def to_pandas(self) -> "pd.DataFrame":
        """Return the output as a frame; waits for it."""
        frame: pd.DataFrame = self.to_arrow().to_pandas()
        return frame

    def _concluded(self) -> RunResult:
        if isinstance(self._place, ThisMachine):
            found = dict(self._place.local_runs.get(self.name).status().result)
            for field in ("output", "report", "rejected"):
                found[field] = Path(found[field]) if found.get(field) else None
            return RunResult(**found)
        with self._place.opened(self.name) as (run, _):
            return conclude(self._place.stack, self._local_run, run.execution_arn)
