"""`batch-predict logs`: the lines of one run, out of a log group that all runs share."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from batch_predict.runs.run import Run

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
        return {"startDate": datetime(2026, 11, 28, tzinfo=UTC)}


@pytest.mark.parametrize(
    ("name", "chunk", "expected"),
    [("run-1", None, [0, 2, 3]), ("run-10", None, [1]), ("run-1", 1, [0]), ("run-1", 11, [2]), ("année", None, [4, 5])],
)
def test_lines_are_those_of_the_run_or_of_its_chunk(name, chunk, expected):
    assert [line for _, line in LoggedRun(name).log_lines(chunk)] == [LINES[index] for index in expected]
