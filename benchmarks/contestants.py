"""The ways of scoring a file that are compared.

Each function imports what it needs and loads the model, then returns its work: what is measured, from the data's file to the
output's. The usual ways are written as their documentation shows them, with the types left to be inferred.
"""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.cases import PREDICTION_COLUMN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Work = Callable[[], Any]
    """Returns the predictions where it writes no file, as the floor does."""

FLOOR_BLOCK_ROWS = 32_768
COPY_BYTES = 1 << 20


class Run(NamedTuple):
    """What a contestant is given."""

    data: Path
    model: Path
    output: Path
    features: list[str]


def ours(run: Run) -> Work:
    """Score as the prediction handler does between its download and its upload."""
    from benchmarks.handler import score_file  # noqa: PLC0415

    return score_file(run)


def pandas(run: Run) -> Work:
    import joblib  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    model = joblib.load(run.model)

    def work() -> None:
        is_json = run.data.suffix == ".jsonl"
        frame = pd.read_json(run.data, lines=True) if is_json else pd.read_csv(run.data)
        frame[PREDICTION_COLUMN] = model.predict(frame[run.features])
        if is_json:
            frame.to_json(run.output, orient="records", lines=True)
        else:
            frame.to_csv(run.output, index=False)

    return work


def polars(run: Run) -> Work:
    import joblib  # noqa: PLC0415
    import polars as pl  # noqa: PLC0415

    model = joblib.load(run.model)

    def predict(batch: pl.DataFrame) -> pl.DataFrame:
        return batch.with_columns(pl.Series(PREDICTION_COLUMN, model.predict(batch.select(run.features)), pl.Float64))

    def work() -> None:
        is_json = run.data.suffix == ".jsonl"
        frame = pl.scan_ndjson(run.data) if is_json else pl.scan_csv(run.data)
        schema: dict[str, Any] = {**frame.collect_schema(), PREDICTION_COLUMN: pl.Float64}
        predicted = frame.map_batches(predict, schema=schema, streamable=True)
        (predicted.sink_ndjson if is_json else predicted.sink_csv)(run.output)

    return work


def floor(run: Run) -> Work:
    """Predict from memory with a thread a core, as ours does, and copy the bytes: no way of scoring this file can do less."""
    import joblib  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415
    import threadpoolctl  # noqa: PLC0415

    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    model = joblib.load(run.model)
    if "n_jobs" in model.get_params():
        model.set_params(n_jobs=1)
    frame = (pd.read_json(run.data, lines=True) if run.data.suffix == ".jsonl" else pd.read_csv(run.data))[run.features]
    features = frame if "city" in run.features else np.ascontiguousarray(frame)
    blocks = [features[start : start + FLOOR_BLOCK_ROWS] for start in range(0, len(features), FLOOR_BLOCK_ROWS)]

    def work() -> Any:
        with ThreadPoolExecutor(os.cpu_count(), initializer=threadpoolctl.threadpool_limits, initargs=(1,)) as pool:
            predictions = np.concatenate(list(pool.map(model.predict, blocks)))
        with run.data.open("rb") as source, run.output.open("wb") as target:
            while piece := source.read(COPY_BYTES):
                target.write(piece)
        return predictions

    return work
