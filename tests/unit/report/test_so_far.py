"""What is known of a run without a report: the facts of the chunks that are done."""

import json
from datetime import datetime

import pytest

from batch_predict.report import input as module
from batch_predict.runs.run import Run
from support.chunk_statistics import sample
from support.merging import OUTPUT, key_of
from support.samples import BUCKET, EXECUTION


@pytest.fixture
def so_far(s3, monkeypatch):
    """Ask for what is known of an execution, whose history is its document."""

    def ask(document):
        monkeypatch.setattr(Run, "document", lambda _: document)
        monkeypatch.setattr(Run, "s3", s3)
        return module.so_far(Run(None, EXECUTION["arn"]))  # asks S3 alone

    return ask


def test_the_receipts_that_are_there_say_what_a_report_would(run, get, so_far):
    execution = run(tolerated_failure_percentage=50, keep_work=True)
    for index in range(3):
        execution.tamper(index, statistics=sample(), started=1_795_600_000_000 + index, rejected_rows=index)
    execution.lose(1)
    known = so_far(execution.document)
    execution.merge()
    report = json.loads(get(f"{OUTPUT}.report.json"))
    assert known == {name: report[name] for name in known}
    assert known["chunks"] == {"planned": 3, "predicted": 2, "reused": 0, "failed": 1}
    assert known["statistics"]["chunks"] == 2
    assert {"column_types", "rows", "model", "timeline", "statistics", "estimated_cost", "milliseconds"} <= known.keys()


def test_only_chunks_of_an_earlier_execution_are_reused(run, so_far):
    """Planned again, an execution finds what it has finished itself: that is not reused."""
    execution = run()
    execution.document["plan"]["pending_chunks"] = 0
    began = datetime.fromisoformat(execution.document["execution"]["start_time"]).timestamp() * 1000
    for index, started in enumerate((began - 60_000, began + 2_000, began + 3_000)):
        execution.tamper(index, started=int(started))
    assert so_far(execution.document)["chunks"] == {"planned": 3, "predicted": 3, "reused": 1, "failed": 0}


@pytest.mark.parametrize("nothing", [{"chunk_index": 1}, {"rows_read": 7}, {"milliseconds": "long"}, {"input_bytes": None}])
def test_what_is_no_receipt_of_its_chunk_is_passed_over(run, so_far, nothing):
    execution = run()
    execution.tamper(0, **nothing)
    execution.s3.put_object(Bucket=BUCKET, Key=key_of(execution.chunks[1]["receipt_s3_uri"]), Body=b"[7]")
    known = so_far(execution.document)
    assert known["chunks"] == {"planned": 3, "predicted": 1, "reused": 0, "failed": 0}
    assert known["rows"]["read"] == 10


def test_a_run_that_ended_early_has_what_its_history_says(run, so_far):
    execution = run()
    execution.s3.put_object(Bucket=BUCKET, Key=execution.document["plan"]["plan_key"], Body=b'["no chunk"]')
    spoilt = so_far(execution.document)
    del execution.document["plan"]
    assert so_far(execution.document) == spoilt
    assert spoilt["model"] == execution.document["model"]["model"]
    assert spoilt.keys() == {"model", "warnings"}
    del execution.document["model"]
    assert so_far(execution.document) == {}


def test_without_a_chunk_that_is_done_nothing_is_counted(run, so_far):
    execution = run()
    for index in range(3):
        execution.lose(index)
    known = so_far(execution.document)
    assert known["chunks"] == {"planned": 3, "predicted": 0, "reused": 0, "failed": 3}
    assert known["estimated_cost"] is None
    assert known["model"] == execution.document["model"]["model"]
