"""What the workflow's unit tests share: names, and the documents around a run."""

import hashlib
import json

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

COLUMNS = {
    "feature_columns": ["a", "b"],
    "prediction_columns": ["prediction"],
    "column_types": {},
    "stated_types": {},
    "numeric_columns": [],
}


def found_columns(s3, document, **changed):
    """Do what Probe Model does: write what it has found of the columns, and leave a pointer to it in the document."""
    before = document["model"].get("columns_s3_uri")
    columns = (
        json.loads(s3.get_object(Bucket=BUCKET, Key=before.removeprefix(f"s3://{BUCKET}/"))["Body"].read()) if before else COLUMNS
    )
    body = json.dumps(columns | changed)
    digest = hashlib.sha256(body.encode()).hexdigest()
    s3.put_object(Bucket=BUCKET, Key=f"columns/{digest}.json", Body=body)
    document["model"] |= {"columns_s3_uri": f"s3://{BUCKET}/columns/{digest}.json", "columns_sha256": digest}


def s3_error(operation, code, status):
    """What botocore raises for S3's answer."""
    return ClientError({"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)
