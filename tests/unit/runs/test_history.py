"""The history of an execution: visits to states, and what its plans say of chunks that were done before."""

import json
from datetime import UTC, datetime

import pytest

from batch_predict.runs.history import History

START = datetime(2026, 11, 24, 2, tzinfo=UTC)


def history_of(*events):
    """Return what events tell: type, second, and name, document or error."""
    given = []
    for number, (kind, second, *what) in enumerate(events, 1):
        event = {"id": number, "type": kind, "timestamp": START.replace(second=second)}
        if kind.endswith("StateEntered"):
            event["stateEnteredEventDetails"] = {"name": what[0]}
        elif kind.endswith("StateExited"):
            event["stateExitedEventDetails"] = {"output": json.dumps(what[0] if what else {})}
        elif what:
            event[f"{kind[0].lower()}{kind[1:]}EventDetails"] = {"error": what[0]}
        given.append(event)
    return History(given)


def test_visits_have_attempts_errors_and_seconds():
    history = history_of(
        ("ExecutionStarted", 0),
        ("TaskStateEntered", 0, "Probe Model"),
        ("LambdaFunctionScheduled", 0),
        ("LambdaFunctionFailed", 1, "TransientS3Error"),
        ("LambdaFunctionScheduled", 3),
        ("TaskStateExited", 5),
        ("TaskStateEntered", 5, "Plan Chunks"),
        ("LambdaFunctionScheduled", 5),
        ("LambdaFunctionFailed", 6, "ModelError"),
        ("TaskStateExited", 6),
        ("MapStateEntered", 6, "Predict Chunks"),
        ("MapRunFailed", 7, "States.ExceedToleratedFailureThreshold"),
        ("MapStateFailed", 7),
        ("MapStateExited", 7),
        ("FailStateEntered", 7, "Prediction Failed"),
        ("ExecutionFailed", 8),
    )
    visits = history.visits_of({"status": "FAILED", "stopDate": START.replace(second=8)})

    assert [(visit.name, visit.kind, visit.seconds, visit.error, visit.attempts) for visit in visits] == [
        ("Probe Model", "Task", 5.0, None, 2),
        ("Plan Chunks", "Task", 1.0, "ModelError", 1),
        ("Predict Chunks", "Map", 1.0, "States.ExceedToleratedFailureThreshold", 1),
        ("Prediction Failed", "Fail", 1.0, None, 1),
    ]


@pytest.mark.parametrize("last", [[("ExecutionAborted", 7)], []], ids=["cancelled", "killed with its engine"])
def test_the_state_that_an_execution_was_ended_in_is_no_success(last):
    history = history_of(
        ("TaskStateEntered", 0, "Validate Request"), ("TaskStateExited", 1), ("MapStateEntered", 2, "Predict Chunks"), *last
    )
    visits = history.visits_of({"status": "ABORTED", "stopDate": START.replace(second=7), "error": "Cancelled"})

    assert [(visit.name, visit.seconds, visit.error, visit.is_stopped) for visit in visits] == [
        ("Validate Request", 1.0, None, False),
        ("Predict Chunks", 5.0, "Cancelled", True),
    ]
    assert history.visits_of({"status": "RUNNING"})[-1].seconds is None


@pytest.mark.parametrize(
    ("plans", "reused", "finished"),
    [([], 0, 0), ([("f", 6)], 2, 2), ([("f", 6), ("f", 1)], 2, 7), ([("f", 6), ("g", 5)], 3, 3)],
    ids=["no plan", "one", "the same again", "another"],
)
def test_what_an_execution_has_finished_itself_is_told_from_what_was_there(plans, reused, finished):
    """An execution that plans again finds its own chunks there."""
    unfinished = {"plan": {"continuation": {"done": 1, "total": 2}}}
    documents = [{"plan": {"fingerprint": name, "chunks": 8, "pending_chunks": pending}} for name, pending in plans]
    visits = [
        event
        for document in [*documents, unfinished]
        for event in (("TaskStateEntered", 0, "Plan Chunks"), ("TaskStateExited", 1, document))
    ]
    history = history_of(*visits)

    assert (history.reused_chunks, history.finished_before) == (reused, finished)


def test_the_document_is_the_newest_whole_one():
    whole = {"prediction": {}, "request": {"output_s3_uri": "s3://b/out.csv"}}
    history = history_of(
        ("TaskStateEntered", 0, "Validate Request"),
        ("TaskStateExited", 1, whole),
        ("PassStateEntered", 1, "Publish"),
        ("PassStateExited", 1, {"output_s3_uri": "s3://b/out.csv"}),
    )

    assert history.document == whole


def test_what_explain_failure_says_is_taken_over_as_it_is():
    """Another cause, such as that of a run which was stopped here, is taken apart; Step Functions has one text for both."""
    explanation = {"error": "ModelError", "message": "no predict", "advice": "dump it", "cause": "no predict. What to do: dump it"}
    history = history_of(
        ("TaskStateEntered", 0, "Explain Failure"), ("TaskStateExited", 1, {"prediction": {}, "explanation": explanation})
    )

    assert history.told("ModelError", explanation["cause"]) == ("no predict", "dump it")
    assert history.told("InvalidDataError", '{"errorMessage": "row 2 is bad. What to do: correct it"}') == (
        "row 2 is bad.",
        "correct it",
    )
    assert history.told("Interrupted", "stopped by SIGINT") == ("stopped by SIGINT", None)
    assert history.told("ABORTED", None) == (None, None)


def test_an_explanation_of_a_stack_that_was_deployed_before_is_taken_apart():
    explanation = {"error": "ModelError", "cause": "no predict. What to do: dump it"}
    history = history_of(
        ("TaskStateEntered", 0, "Explain Failure"), ("TaskStateExited", 1, {"prediction": {}, "explanation": explanation})
    )

    assert history.told("ModelError", explanation["cause"]) == ("no predict.", "dump it")
