"""`batch-predict chunk`: the event of one chunk, for the prediction function or, with `--here`, for this very process."""

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


@pytest.mark.parametrize(
    ("field", "section"),
    [
        *((name, "prediction") for name in ("model_s3_uri", "model_sha256", "feature_columns")),
        *((name, "agreed") for name in ("decision_s3_uri", "decision_sha256", "work_s3_uri")),
    ],
)
def test_what_the_request_says_and_all_chunks_agree_on_is_not_the_plans_to_change(field, section):
    document = PlannedRun({}).document()
    event = PlannedRun({"chunk_index": 0, "output_s3_uri": "s3://b/o", field: None}).chunk_event(1)

    assert event[field] == (document["prediction"] if section == "prediction" else document["plan"]["agreed"])[field]
    assert event["output_s3_uri"] == "s3://b/o"
    assert event["raise_errors"] is False  # errors are answered
