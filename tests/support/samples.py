"""What the workflow's unit tests share: names, requests that are asked, and the documents around a run."""

import hashlib
import json

import pytest
from botocore.exceptions import ClientError

from workflow import contract, validate_request
from workflow.errors import InvalidRequestError

BUCKET = "bucket"

EXECUTION = {
    "arn": "arn:aws:states:us-east-1:123456789012:execution:machine:run-1",
    "name": "run-1",
    "start_time": "2026-11-24T02:00:00.123Z",
}

REQUEST = {
    "model_s3_uri": "s3://bucket/model.joblib",
    "data_s3_uri": "s3://bucket/in/1.csv",
    "output_s3_uri": "s3://bucket/out/result.csv",
    "prediction_column_name": "prediction",
    "feature_columns": ["a", "b"],
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
    "bundle": None,
    "warnings": [],
}

COLUMNS = {
    "feature_columns": ["a", "b"],
    "prediction_columns": ["prediction"],
    "column_types": {},
    "stated_types": {},
    "numeric_columns": [],
    "output_columns": None,
}


def normalised(**changed):
    return validate_request.normalise(REQUEST | changed, EXECUTION)


def refusal(**changed):
    """What is wrong with a request by itself, whatever is in S3."""
    with pytest.raises(InvalidRequestError) as caught:
        normalised(**changed)
    return str(caught.value)


def validated(s3, **changed):
    return validate_request.validate_request(s3, REQUEST | changed, EXECUTION)


def rejection(s3, error=InvalidRequestError, **changed):
    with pytest.raises(error) as caught:
        validated(s3, **changed)
    return str(caught.value)


def document_after_probe(s3, **changed):
    """The execution's document after Probe Model, with fields of the request changed by keyword."""
    changed = {"data_s3_uri": "s3://bucket/in/", "feature_columns": None} | changed
    compression = changed.get("output_compression") or "none"
    request = normalised(**changed) | {"output_compression": compression}
    request["input_format"] = request["input_format"].replace("auto", "csv")  # as Validate Request does
    request["output_format"] = request["output_format"] or request["input_format"]
    stated = {name: request.pop(name) for name in contract.StatedColumns.__annotations__}
    prediction = {name: request[name] for name in contract.PredictionFields.__annotations__ if name in request}
    prediction |= {"model_etag": '"model"', "raise_errors": True, "execution_name": EXECUTION["name"]}
    probe = {**prediction, **stated, "data_s3_uri": "s3://bucket/in/1.csv", "data_etag": '"1"', "probe_rows": 1000}
    model = {"rows": 2, "row_bytes": 4.0, "rows_per_second": 1e6, "one_worker": False, "warnings": [], "model": MODEL}
    made = {"request": request, "execution": EXECUTION, "prediction": prediction, "probe": probe, "model": model}
    made = json.loads(json.dumps(made))  # so that a test may change it
    features = {"feature_columns": stated["feature_columns"]} if stated["feature_columns"] else {}
    found_columns(s3, made, **features, stated_types=stated["column_types"] or {}, output_columns=stated["output_columns"])
    return made


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
    document["model"] |= {"stored_model_s3_uri": None, "stored_model_sha256": None}


def s3_error(operation, code, status):
    """What botocore raises for S3's answer."""
    return ClientError({"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)
