"""Serverless batch prediction with scikit-learn models on AWS Step Functions."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from batch_predict.errors import BatchPredictError, RunFailedError

if TYPE_CHECKING:
    from batch_predict.predictor import BatchPredictor, PredictionRun

__all__ = ["BatchPredictError", "BatchPredictor", "PredictionRun", "RunFailedError"]


def __getattr__(name: str) -> Any:
    """Import the predictor only when it is asked for: `setup/` runs under a Python that has no libraries."""
    if name in __all__:
        return getattr(import_module("batch_predict.predictor"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
