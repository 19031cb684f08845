"""The largest documents that a request and a model can lead to, by the functions themselves, against Step Functions' limit."""

import io
import json

import joblib
import numpy as np
import pytest

import prediction_handler as handler
from support.samples import BUCKET, EXECUTION
from workflow import limits
from workflow.errors import MESSAGE_CHARACTERS
from workflow.plan_chunks import plan_chunks
from workflow.validate_request import validate_request

STATE_BYTES = 256 * 1024
"""https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"""
LONGEST_CAUSE = "x" * 32_768
"""That Step Functions takes."""
DATA_KEY = f"in/{'ä' * 500}.csv"


def label(number):
    return f"class {'c' * 300} {number:05}"


class ManyClasses:
    """A model of 10,000 classes with long names, which may know as many columns."""

    def __init__(self, names):
        self.feature_names_in_ = names
        self.classes_ = [label(number) for number in range(10_000)]

    def predict(self, features):
        return np.zeros(len(features))

    def predict_proba(self, features):
        return np.zeros((len(features), len(self.classes_)))


def largest_request(**fields):
    """Return a request whose every text is as long as it may be."""
    return {
        "model_s3_uri": f"s3://{BUCKET}/m/{'ä' * 511}",
        "data_s3_uri": f"s3://{BUCKET}/{DATA_KEY}",
        "output_s3_uri": f"s3://{BUCKET}/{'ö' * 425}",
        "prediction_column_name": "p" * 1000,
        "predictions": ["probabilities", {"threshold": {label(number): 0.5 for number in range(15)}}],
        "keep_work": True,
        **fields,
    }


@pytest.mark.parametrize("listed_by", ["the request", pytest.param("the model", marks=pytest.mark.thorough)])
def test_the_largest_documents_fit_into_a_state(s3, put, listed_by):
    request = largest_request()
    assert 0.95 * limits.MAX_PREDICTIONS_BYTES < len(json.dumps(request["predictions"])) < limits.MAX_PREDICTIONS_BYTES
    if listed_by == "the request":
        request |= {"feature_columns": ["x"], "column_types": {"x": "number"}}
        spare = limits.MAX_REQUEST_BYTES - 700 - len(json.dumps(request))  # for its defaults
        names = [f"{number:05}{'x' * (spare // 5_000 - 14)}" for number in range(2_500)]
        request |= {"feature_columns": names, "column_types": dict.fromkeys(names, "number")}
        assert 0.7 * limits.MAX_REQUEST_BYTES < len(json.dumps(request)) < limits.MAX_REQUEST_BYTES
    else:
        names = [f"a column with a rather long name {number:05}" for number in range(3_000)]
    model = io.BytesIO()
    joblib.dump(ManyClasses(names if listed_by == "the model" else None), model)
    put(request["model_s3_uri"].removeprefix(f"s3://{BUCKET}/"), model.getvalue())
    put(DATA_KEY, ",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")

    document = validate_request(s3, request, EXECUTION)
    document["model"] = handler.probe_model(s3, document["probe"])
    document["plan"] = plan_chunks(s3, document)
    (chunk,) = json.loads(s3.get_object(Bucket=BUCKET, Key=document["plan"]["plan_key"])["Body"].read())
    event = document["prediction"] | chunk
    receipt = handler.predict_chunk(s3, event)
    assert receipt["rows"] == 1

    document["failure"] = {"Error": "InvalidDataError", "Cause": LONGEST_CAUSE}
    document["explanation"] = {"error": "InvalidDataError", "cause": "x" * MESSAGE_CHARACTERS}
    sizes = {"document": document, "item": {"event": event, "failure": document["failure"]}, "receipt": receipt}
    assert {name: size for name, value in sizes.items() if (size := len(json.dumps(value))) > STATE_BYTES} == {}
    assert len(json.dumps(event)) < 32_768  # of which a run has 10,000
    columns = json.loads(
        s3.get_object(Bucket=BUCKET, Key=document["model"]["columns_s3_uri"].partition(f"{BUCKET}/")[2])["Body"].read()
    )
    assert (columns["feature_columns"], len(columns["prediction_columns"])) == (names, 10_001)
