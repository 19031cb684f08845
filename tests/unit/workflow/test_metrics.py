"""What the workflow's functions count in CloudWatch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.embedded_metrics import metrics_in
from workflow import merge_outputs, metrics, record_failure

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(metrics.NAME_VARIABLE, "nightly")


LOST: Any = {
    "event": {"chunk_index": 42, "receipt_s3_uri": "s3://bucket/out.csv.work/i/f/chunk-00042.json"},
    "execution_arn": "arn",
    "failure": {"Error": "InvalidDataError", "Cause": "é"},
}


@pytest.mark.usefixtures("stack")
def test_a_line_keeps_the_formats_rules(capsys: pytest.CaptureFixture[str]) -> None:
    metrics.put_metrics({"PublishedRuns": 1, "EstimatedDollars": 0.00012}, output_s3_uri="s3://b/\ud800é.csv")
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
def test_a_metric_without_a_unit_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        metrics.put_metrics({"Typo": 1})


@pytest.mark.usefixtures("stack")
def test_a_lost_chunk_counts(s3: S3Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(record_failure, "s3_client", lambda: s3)
    record_failure.lambda_handler(LOST, None)
    assert [found["values"] for found in metrics_in(capsys.readouterr().out)] == [{"LostChunks": 1}]


@pytest.mark.usefixtures("stack")
def test_a_published_output_counts_once(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A repeat, by a retry or a twin, publishes nothing."""
    execution = run()
    for _ in range(2):
        execution.merge()
    (found,) = metrics_in(capsys.readouterr().out)
    assert found["values"]["PublishedRuns"] == 1
    assert found["values"]["PublishedRows"] == 30


@pytest.mark.usefixtures("stack")
def test_dollars_count_where_they_are_known(run: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    execution = run()
    real = merge_outputs.report_of
    monkeypatch.setattr(merge_outputs, "report_of", lambda *parts: real(*parts) | {"estimated_cost": {"dollars": {"total": 0.25}}})
    execution.merge()
    (found,) = metrics_in(capsys.readouterr().out)
    assert found["values"]["EstimatedDollars"] == 0.25


def test_nothing_is_counted_outside_of_a_stack(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run().merge()
    assert not metrics_in(capsys.readouterr().out)
