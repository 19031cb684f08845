"""`batch-predict chunk`: the event of one chunk, for the prediction function or, with `--here`, for this very process."""

import json

import pytest

from batch_predict.runs import run as runs


class PlannedRun(runs.Run):
    """A run whose plan in S3 is as somebody has left it."""

    def __init__(self, chunk):
        super().__init__(None, "arn:aws:states:us-east-1:1:execution:machine:run")
        self.chunk = chunk

    def document(self):
        fields = {"model_s3_uri": "s3://b/models/m", "model_sha256": "a" * 64, "feature_columns": ["x"], "raise_errors": True}
        agreed = {"decision_s3_uri": "s3://b/o.work/decision.json", "decision_sha256": "b" * 64, "work_s3_uri": "s3://b/o.work/"}
        return {"prediction": fields, "plan": {"agreed": agreed}}

    def chunks(self):
        return [self.chunk]


@pytest.mark.parametrize("field", ["model_s3_uri", "model_sha256", "feature_columns"])
def test_what_the_request_says_is_not_the_plans_to_change(field):
    event = PlannedRun({"chunk_index": 0, "output_s3_uri": "s3://b/o", field: None}).chunk_event(1)
    assert event[field] == PlannedRun({}).document()["prediction"][field]
    assert event["output_s3_uri"] == "s3://b/o"


@pytest.mark.parametrize("field", ["decision_s3_uri", "decision_sha256", "work_s3_uri"])
def test_what_all_chunks_agree_on_is_not_the_plans_to_change(field):
    event = PlannedRun({"chunk_index": 0, field: None}).chunk_event(1)
    assert event[field] == PlannedRun({}).document()["plan"]["agreed"][field]


def test_errors_are_answered_and_not_raised():
    event = PlannedRun({"chunk_index": 0}).chunk_event(1)
    assert json.loads(json.dumps(event))["raise_errors"] is False
