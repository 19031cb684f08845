"""What the workflow's unit tests share: names, and the documents around a run."""

from botocore.exceptions import ClientError

BUCKET = "bucket"

EXECUTION = {
    "arn": "arn:aws:states:us-east-1:123456789012:execution:machine:run-1",
    "name": "run-1",
    "start_time": "2026-11-24T02:00:00.123Z",
}

MODEL = {
    "s3_uri": "s3://bucket/model.joblib",
    "etag": '"model"',
    "version_id": None,
    "sha256": "0" * 64,
    "bytes": 10,
    "estimator": "LinearRegression",
    "sklearn_version": "1.9.0",
    "versions": {"scikit-learn": "1.9.0"},
    "steps": [],
    "deployment": "d" * 64,
    "warnings": [],
}


def s3_error(operation: str, code: str, status: int) -> ClientError:
    """What botocore raises for S3's answer."""
    return ClientError({"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)
