"""Follows executions as AWS and the emulator describe them; the emulator itself is in tests/integration."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from batch_predict.runs import history
from batch_predict.runs.execution import ChunksCounted, ExecutionEnded, follow_execution
from batch_predict.runs.history import AttemptFailed, StateEntered, StateExited

START = datetime(2026, 11, 24, 2, tzinfo=UTC)
ARN = "arn:aws:states:us-east-1:123456789012:execution:machine:run-1"


class StepFunctions:
    """A Step Functions client whose execution goes on by some events with each look at it."""

    def __init__(self, polls, *, counts=(), **end):
        self.polls = polls
        self.counts = list(counts)
        self.end = {"status": "SUCCEEDED", "output": "{}", **end}
        self.looks = 0

    def describe_execution(self, executionArn):  # noqa: N803  # AWS's name
        self.looks += 1
        if self.looks < len(self.polls):
            return {"executionArn": executionArn, "status": "RUNNING", "startDate": START}
        return {"executionArn": executionArn, "startDate": START, "stopDate": START + timedelta(seconds=9), **self.end}

    def get_paginator(self, operation):
        assert operation == "get_execution_history"
        return self

    def paginate(self, **_):
        events = [event for poll in self.polls[: self.looks] for event in poll]
        numbered = [
            {"id": number, "timestamp": START + timedelta(seconds=number), **event} for number, event in enumerate(events, 1)
        ]
        yield {"events": numbered[:2]}
        yield {"events": numbered[2:]}

    def list_map_runs(self, executionArn):  # noqa: N803
        assert executionArn == ARN
        newest = {"mapRunArn": "new", "startDate": START + timedelta(seconds=5)}
        return {"mapRuns": [{"mapRunArn": "old", "startDate": START}, newest] if self.counts else []}

    def describe_map_run(self, mapRunArn):  # noqa: N803
        assert mapRunArn == "new"
        counts = self.counts.pop(0) if len(self.counts) > 1 else self.counts[0]
        return {"itemCounts": {"total": 4, "succeeded": 0, "failed": 0, "timedOut": 0, "aborted": 0, **counts}}

    def list_executions(self, mapRunArn, statusFilter, maxResults):  # noqa: ARG002, N803
        assert (mapRunArn, statusFilter) == ("new", "SUCCEEDED")
        return {"executions": [{"startDate": START, "stopDate": START + timedelta(seconds=second)} for second in (2, 4)]}


def entered(name, kind="Task"):
    return {"type": f"{kind}StateEntered", "stateEnteredEventDetails": {"name": name}}


def exited(name, kind="Task", **document):
    return {"type": f"{kind}StateExited", "stateExitedEventDetails": {"name": name, "output": json.dumps(document)}}


def lambda_failed(error):
    return {"type": "LambdaFunctionFailed", "lambdaFunctionFailedEventDetails": {"error": error}}


SCHEDULED = {"type": "LambdaFunctionScheduled"}


def follow(*polls, **settings):
    return list(follow_execution(StepFunctions(polls, **settings), ARN, poll_seconds=0))


def test_each_event_is_told_once_however_often_the_history_is_read():
    progress = follow([entered("Plan Chunks")], [], [exited("Plan Chunks", plan={"chunks": 3})], [])

    assert progress[:2] == [
        StateEntered("Plan Chunks", "Task"),
        StateExited("Plan Chunks", "Task", 1.0, None, {"plan": {"chunks": 3}}),
    ]
    assert progress[2:] == [ExecutionEnded(ARN, "SUCCEEDED", 9.0)]


@pytest.mark.parametrize(
    "failed",
    [lambda_failed("ModelError"), {"type": "TaskFailed", "taskFailedEventDetails": {"error": "ModelError"}}],
    ids=["aws", "emulator"],
)
def test_an_error_that_is_caught_is_the_states(failed):
    progress = follow([entered("Probe Model"), SCHEDULED, failed, exited("Probe Model")])

    assert progress[1] == AttemptFailed("Probe Model", "ModelError")
    assert progress[2].error == "ModelError"


def test_an_execution_that_was_just_started_may_not_be_known_yet(monkeypatch):
    monkeypatch.setattr(history, "UNKNOWN_SECONDS", (0, 0, 0))
    client = StepFunctions([[entered("Plan Chunks")], [exited("Plan Chunks")]])
    refused = []

    def unknown_at_first(name, times):
        real = getattr(client, name)

        def call(*args, **arguments):
            if refused.count(name) < times:
                refused.append(name)
                raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, name)
            return real(*args, **arguments)

        monkeypatch.setattr(client, name, call)

    unknown_at_first("describe_execution", 3)
    unknown_at_first("paginate", 2)
    assert [type(step) for step in follow_execution(client, ARN, poll_seconds=0)] == [StateEntered, StateExited, ExecutionEnded]
    assert len(refused) == 5
    refused.clear()
    unknown_at_first("describe_execution", 4)
    with pytest.raises(ClientError):
        list(follow_execution(client, ARN, poll_seconds=0))


def test_chunks_of_the_newest_map_run_are_counted_when_they_change():
    counts = [{"succeeded": 1}, {"succeeded": 1}, {"succeeded": 2, "failed": 1, "timedOut": 1}]
    progress = follow([entered("Predict Chunks", "Map")], [], [], [exited("Predict Chunks", "Map")], counts=counts)

    assert progress[1:3] == [ChunksCounted(4, 1, 0, 3.0), ChunksCounted(4, 2, 2, 3.0)]
    assert [type(step) for step in progress[3:]] == [StateExited, ExecutionEnded]


@pytest.mark.parametrize("end", [{"status": "FAILED", "error": "ModelError", "cause": "it is broken"}, {"status": "ABORTED"}])
def test_an_execution_that_failed_ends_with_error_and_cause_if_it_has_them(end):
    progress = follow([entered("Predict Chunks", "Map")], [exited("Predict Chunks", "Map")], **end)  # without a Map Run yet

    assert progress[2:] == [ExecutionEnded(ARN, end["status"], 9.0, {}, end.get("error"), end.get("cause"))]
