"""One chunk in this process: with the user's credentials, and confined as the function is."""

import sys

import pytest

import prediction_handler
from batch_predict.local.aws import LocalAws
from batch_predict.local.one_chunk import invoke_here

OUTPUTS = {"ModelUri": "s3://b/models/", "DataUri": "s3://b/data/", "OutputUri": "s3://b/output/"}
AWS = LocalAws(OUTPUTS, "http://127.0.0.1:1", "key", "identity")
EVENT = {
    "model_s3_uri": "s3://b/models/model.joblib",
    "data_s3_uri": "s3://b/data/data.csv",
    "output_s3_uri": "s3://b/output/out.csv",
    "prediction_column_name": "p",
    "feature_columns": ["a"],
}


@pytest.fixture(autouse=True)
def handler_of_the_other_tests(monkeypatch):
    monkeypatch.setitem(sys.modules, "prediction_handler", prediction_handler)


@pytest.mark.parametrize(
    "forged",
    [
        {"model_s3_uri": "s3://b/data/model.joblib"},
        {"model_s3_uri": "s3://somebodys/models/model.joblib"},
        {"data_s3_uri": "s3://b/payroll/2026.csv"},
        {"output_s3_uri": "s3://b/site/index.html"},
    ],
)
def test_an_event_of_a_changed_plan_leads_nowhere_else(forged):
    """Before anything is asked of S3: the endpoint here answers nobody."""
    answer = invoke_here(AWS, EVENT | forged)

    assert answer["statusCode"] == 400
    assert answer["body"]["error"] == "InvalidRequestError"
    assert next(iter(forged)) in answer["body"]["message"]
