"""All that the benchmark knows of the prediction handler's inside: one function, which follows the handler when that changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import prediction_handler
from benchmarks.cases import PREDICTION_COLUMN

if TYPE_CHECKING:
    from benchmarks.contestants import Run, Work


def score_file(run: Run) -> Work:
    """Load the model, and return the work between download and upload: from a local file to a local file."""
    uri = "s3://benchmark/data.csv"
    event = {"data_s3_uri": uri, "feature_columns": run.features, "prediction_column_name": PREDICTION_COLUMN}
    model = prediction_handler._Model(prediction_handler.load_model(run.model), {})  # noqa: SLF001

    def work() -> None:
        segment = prediction_handler._Segment(prediction_handler._Source(uri, 0), None, None, run.data)  # noqa: SLF001
        prediction_handler._predict_file(prediction_handler._Chunk([segment]), run.output, model, event)  # noqa: SLF001

    return work
