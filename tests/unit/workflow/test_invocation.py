"""What the workflow's functions log and count, and when they stop."""

import json
import time

import pytest

from support.embedded_metrics import metrics_in
from workflow import explain_failure, invocation, merge_outputs, plan_chunks, record_failure
from workflow.errors import InternalError
from workflow.invocation import OutOfTimeError, resumable


@pytest.fixture
def stack(monkeypatch):
    monkeypatch.setenv(invocation.NAME_VARIABLE, "nightly")


LOST = {
    "event": {"chunk_index": 42, "receipt_s3_uri": "s3://bucket/out.csv.work/i/f/chunk-00042.json"},
    "execution_arn": "arn:aws:states:eu-central-1:1:execution:s:nightly",
    "failure": {"Error": "InvalidDataError", "Cause": "é"},
}


@pytest.mark.usefixtures("stack")
def test_a_line_keeps_the_formats_rules(capsys):
    invocation.put_metrics({"PublishedRuns": 1, "EstimatedDollars": 0.00012}, output_s3_uri="s3://b/\ud800é.csv")
    line = capsys.readouterr().out
    assert metrics_in(line) == [
        {
            "namespace": "BatchPredict",
            "dimensions": {"StateMachine": "nightly"},
            "values": {"PublishedRuns": 1, "EstimatedDollars": 0.00012},
        }
    ]
    assert json.loads(line)["output_s3_uri"] == "s3://b/\ud800é.csv"


@pytest.mark.usefixtures("stack")
def test_a_metric_without_a_unit_is_a_mistake():
    with pytest.raises(KeyError):
        invocation.put_metrics({"Typo": 1})


@pytest.mark.usefixtures("stack")
def test_a_lost_chunk_counts(s3, monkeypatch, capsys):
    monkeypatch.setattr(record_failure, "s3_client", lambda: s3)
    record_failure.lambda_handler(LOST, None)
    assert [found["values"] for found in metrics_in(capsys.readouterr().out)] == [{"LostChunks": 1}]


@pytest.mark.usefixtures("stack")
def test_a_published_output_counts_once(run, capsys):
    """A repeat, by a retry or a twin, publishes nothing."""
    execution = run()
    for _ in range(2):
        execution.merge()
    (found,) = metrics_in(capsys.readouterr().out)
    assert found["values"]["PublishedRuns"] == 1
    assert found["values"]["PublishedRows"] == 30


@pytest.mark.usefixtures("stack")
def test_dollars_count_where_they_are_known(run, capsys, monkeypatch):
    execution = run()
    real = merge_outputs.report_of
    monkeypatch.setattr(merge_outputs, "report_of", lambda *parts: real(*parts) | {"estimated_cost": {"dollars": {"total": 0.25}}})
    execution.merge()
    (found,) = metrics_in(capsys.readouterr().out)
    assert found["values"]["EstimatedDollars"] == 0.25


def test_nothing_is_counted_outside_of_a_stack(run, capsys):
    run().merge()
    assert not metrics_in(capsys.readouterr().out)


@pytest.mark.parametrize("state", [plan_chunks, merge_outputs, explain_failure], ids=lambda state: state.__name__)
def test_a_state_logs_one_line_with_its_execution(run, s3, monkeypatch, capsys, state):
    document = run().document | {"failure": {"Error": "States.Timeout", "Cause": ""}}
    monkeypatch.setattr(state, "s3_client", lambda: s3)
    state.lambda_handler(document, None)
    assert json.loads(capsys.readouterr().out)["execution_name"] == "run-1"


class Context:
    def get_remaining_time_in_millis(self):
        return 900_000


def test_a_function_stops_before_lambda_does():
    def work(deadline):
        raise OutOfTimeError(round(min(deadline - time.monotonic(), 10_000)), 10_000)

    sentences = {"whole": "all of it", "unfinished": "some of it"}
    assert abs(resumable(work, Context(), 180, **sentences)["continuation"]["done"] - 720) < 10
    assert resumable(work, None, 180, **sentences) == {"continuation": {"done": 10_000, "total": 10_000}}


@pytest.mark.parametrize(
    ("event", "execution"),
    [({"execution": {"name": "nightly"}}, "nightly"), (LOST, "nightly"), ({"execution": None}, None), ("a text", None)],
)
def test_an_unexpected_error_is_logged_with_its_execution_and_without_its_words(capsys, event, execution):
    value = "secret"

    @invocation.entry_point
    def handler(event, context):
        raise KeyError(value)

    with pytest.raises(InternalError, match="unexpected KeyError"):
        handler(event, None)
    text = capsys.readouterr().out
    line = json.loads(text)
    assert (line["message"], line["error"], line.get("execution_name")) == ("unexpected error", "KeyError", execution)
    assert "secret" not in text
