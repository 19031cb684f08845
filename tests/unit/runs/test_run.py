"""What is known of a run: its place among others, the event of one of its chunks, its lines of a log that all runs share."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from batch_predict.runs.run import Run, list_runs

START = datetime(2026, 11, 28, tzinfo=UTC)


def test_the_newest_run_is_the_one_that_started_last():
    """AWS sorts running executions by start and all others by end: a long one that has just ended stands first."""
    ended = [("long", 0, 100), ("short", 50, 60), ("child", 55, 58)]
    executions = [
        {
            "name": name,
            "status": "SUCCEEDED",
            "startDate": START + timedelta(seconds=start),
            "stopDate": START + timedelta(seconds=stop),
            **({"mapRunArn": "map-run"} if name == "child" else {}),
        }
        for name, start, stop in ended
    ]

    paginator = SimpleNamespace(paginate=lambda **_: [{"executions": executions}])
    client = SimpleNamespace(get_paginator=lambda _: paginator)
    place = SimpleNamespace(state_machine_arn="machine", client=lambda _: client)
    assert [run.name for run in list_runs(place, 1)] == ["short"]
    assert [run.name for run in list_runs(place, 5)] == ["short", "long"]


class PlannedRun(Run):
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


LINES = [
    json.dumps({"source": "prediction_handler", "execution_name": "run-1", "chunk_index": 0, "rows": 5}),
    json.dumps({"source": "prediction_handler", "execution_name": "run-10", "chunk_index": 0, "rows": 5}),
    json.dumps({"message": json.dumps({"execution_name": "run-1", "chunk_index": 10, "rows": 5})}),  # in Lambda's JSON format
    json.dumps({"message": "chunks planned", "execution_name": "run-1"}),
    json.dumps({"execution_name": "année", "chunk_index": 0}),
    json.dumps({"message": "chunks planned", "execution_name": "année"}, ensure_ascii=False),
]


class LoggedRun(Run):
    def __init__(self, name):
        page = {"events": [{"message": line, "timestamp": 1000 * index} for index, line in enumerate(LINES)]}
        logs = SimpleNamespace(get_paginator=lambda _: SimpleNamespace(paginate=lambda **_: [page]))
        super().__init__(SimpleNamespace(client=lambda _: logs, outputs={"LogGroupName": "group"}), f"arn:{name}")

    def describe(self):
        return {"startDate": START}


@pytest.mark.parametrize(
    ("name", "chunk", "expected"),
    [("run-1", None, [0, 2, 3]), ("run-10", None, [1]), ("run-1", 1, [0]), ("run-1", 11, [2]), ("année", None, [4, 5])],
)
def test_lines_are_those_of_the_run_or_of_its_chunk(name, chunk, expected):
    assert [line for _, line in LoggedRun(name).log_lines(chunk)] == [LINES[index] for index in expected]
