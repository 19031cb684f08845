"""`batch-predict chunk`: the event of one chunk, for the prediction function or, with `--here`, for this very process."""

import json

import pytest

from batch_predict import runs


class PlannedRun(runs.Run):
    """A run whose plan in S3 is as somebody has left it."""

    def __init__(self, chunk):
        super().__init__(None, "arn:aws:states:us-east-1:1:execution:machine:run")
        self.chunk = chunk

    def document(self):
        fields = {"model_s3_uri": "s3://b/models/m", "model_sha256": "a" * 64, "feature_columns": ["x"], "raise_errors": True}
        return {"prediction": fields, "plan": {}}

    def chunks(self):
        return [self.chunk]


@pytest.mark.parametrize("field", ["model_s3_uri", "model_sha256", "feature_columns"])
def test_what_the_request_says_is_not_the_plans_to_change(field):
    event = PlannedRun({"chunk_index": 0, "output_s3_uri": "s3://b/o", field: None}).chunk_event(1)
    assert event[field] == PlannedRun({}).document()["prediction"][field]
    assert event["output_s3_uri"] == "s3://b/o"
    assert json.loads(json.dumps(event))["raise_errors"] is False
