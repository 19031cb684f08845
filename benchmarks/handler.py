"""The prediction handler as a contestant: its own `score_file`, from a local file to a local file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import prediction_handler
from benchmarks.cases import PREDICTION_COLUMN

if TYPE_CHECKING:
    from benchmarks.contestants import Run, Work


def score_file(run: Run) -> Work:
    """Load the model, and return the work between download and upload: from a local file to a local file."""
    model = prediction_handler.load_model(run.model)

    def work() -> None:
        names = {"feature_columns": run.features, "prediction_column_name": PREDICTION_COLUMN}
        prediction_handler.score_file(run.data, run.output, model, **names)

    return work
