"""Serverless batch prediction with scikit-learn models on AWS Step Functions."""

from batch_predict.predictor import BatchPredictor, PredictionRun, RunFailedError

__all__ = ["BatchPredictor", "PredictionRun", "RunFailedError"]
