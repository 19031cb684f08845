"""How a run ends, told from its execution: it has published, was only planned, or failed."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError

from batch_predict.errors import BatchPredictError
from batch_predict.runs.outcome import Failed, Planned, Published, as_json, conclude, from_json
from batch_predict.runs.prepared_request import PreparedRequest

START = datetime(2026, 11, 24, 2, tzinfo=UTC)
OUTPUT = "s3://batch-predict/output/out.csv"
RESULT = {
    "output_s3_uri": OUTPUT,
    "report_s3_uri": f"{OUTPUT}.report.json",
    "rejected_s3_uri": None,
    "bytes": 9,
    "rows": 8,
    "rejected_rows": 0,
    "chunks": 8,
    "failed_chunks": 0,
}
PROBE = {"rows_per_second": 1000.0, "warnings": ["slow"], "model": {"warnings": ["old"]}}


class Aws:
    """A stack whose execution has ended with these documents; a download breaks off midway through `broken`."""

    title, broken, poll_seconds = "AWS", None, 0

    def __init__(self, *documents, status="SUCCEEDED", output=RESULT, **end):
        self.documents = documents
        self.ended = {"status": status, "output": json.dumps(output), "startDate": START, "stopDate": START + timedelta(seconds=9)}
        self.ended |= end

    def client(self, _):
        return self

    def describe_execution(self, executionArn):  # noqa: N803  # boto3's names
        return {"executionArn": executionArn, **self.ended}

    def get_paginator(self, _):
        return self

    def paginate(self, **_):
        events = []
        for number, document in enumerate(self.documents):
            entered = {"type": "TaskStateEntered", "stateEnteredEventDetails": {"name": f"State {number}"}}
            exited = {"type": "TaskStateExited", "stateExitedEventDetails": {"output": json.dumps(document)}}
            events += [entered, exited]
        yield {"events": [{"id": number, "timestamp": START, **event} for number, event in enumerate(events, 1)]}

    def download_fileobj(self, bucket, key, file):
        file.write(f"{bucket}/{key}".encode())
        if key == self.broken:
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1")


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ended(aws, directory=Path(), template=OUTPUT, **fields):
    return conclude(aws, PreparedRequest({"output_s3_uri": template, **fields}, {}, directory), "arn:execution:nightly-1")


def test_output_and_report_are_all_that_is_written():
    Path("to").mkdir()
    published = ended(Aws({"prediction": {}, "model": PROBE}), Path("to"))

    assert published == Published(
        name="nightly-1",
        output=Path("to/out.csv"),
        report=Path("to/out.csv.report.json"),
        rows=8,
        chunks=8,
        output_bytes=9,
        seconds=9.0,
        states={"State 0": 0.0},
        probe_rows_per_second=1000.0,
        warnings=["slow", "old"],
    )
    assert {path.name: path.read_text() for path in Path("to").iterdir()} == {
        "out.csv": "batch-predict/output/out.csv",
        "out.csv.report.json": "batch-predict/output/out.csv.report.json",
    }


def test_what_stays_in_s3_is_named_there(directory):
    assert ended(Aws(), None).output == OUTPUT
    assert list(directory.iterdir()) == []


def test_a_dry_run_ends_with_its_plan():
    plan = {"chunks": 3, "objects": 1, "input_bytes": 7, "skipped_objects": 0, "estimate": {"rows": 4}}

    assert ended(Aws(output=plan)) == Planned(name="nightly-1", seconds=9.0, states={}, warnings=[], **plan)


@pytest.mark.parametrize("broken", ["output/out.csv", "output/out.csv.report.json"])
def test_nothing_half_is_written(directory, broken):
    aws = Aws()
    aws.broken = broken
    Path("out.csv").write_text("old")

    with pytest.raises(BatchPredictError, match="AWS failed: Could not connect"):
        ended(aws, overwrite=True)
    assert [path.name for path in directory.iterdir()] == ["out.csv"]
    assert Path("out.csv").read_text() == "old"


def test_an_output_that_came_up_meanwhile_is_kept():
    Path("out.csv").write_text("somebody else's")

    with pytest.raises(BatchPredictError, match="exists already"):
        ended(Aws())
    assert Path("out.csv").read_text() == "somebody else's"


@pytest.mark.parametrize(
    "forged",
    [
        {"rejected_s3_uri": "s3://batch-predict/output/Makefile"},
        {"rejected_s3_uri": "s3://other/output/out.csv.rejected.csv"},
        {"rejected_s3_uri": [f"{OUTPUT}.rejected.csv"]},
        {"report_s3_uri": "s3://batch-predict/output/conftest.py"},
        {"report_s3_uri": "s3://batch-predict/data/out.csv.report.json"},
        {"report_s3_uri": None},
        {"output_s3_uri": "s3://batch-predict/output/sitecustomize.py"},
        {"output_s3_uri": "s3://batch-predict/output/x/out.csv"},
        {
            "output_s3_uri": "s3://batch-predict/output/other.csv",
            "report_s3_uri": "s3://batch-predict/output/other.csv.report.json",
        },
        {"output_s3_uri": f"{OUTPUT}/.."},
        {"output_s3_uri": 7},
    ],
)
def test_names_that_are_not_the_requests_are_refused(directory, forged):
    for name in ("Makefile", "conftest.py", "out.csv"):
        Path(name).write_text("mine")
    before = {path: path.read_bytes() for path in directory.iterdir()}

    with pytest.raises(BatchPredictError, match=r"which is not what follows from s3://batch-predict/output/out\.csv"):
        ended(Aws(output=RESULT | forged), overwrite=True)
    assert {path: path.read_bytes() for path in directory.iterdir()} == before


@pytest.mark.parametrize(
    ("template", "output", "resolved", "is_own"),
    [
        ("s3://b/{execution_name}.csv", "s3://b/nightly-1.csv", None, True),
        ("s3://b/{execution_name}.csv", "s3://b/nightly-2.csv", None, False),
        ("s3://b/{scheduled_time:%Y-%m-%d}.csv", "s3://b/2026-11-28.csv", None, True),
        ("s3://b/{scheduled_time:%Y-%m-%d}.csv", "s3://b/2026-11-28/Makefile.csv", None, False),
        ("s3://b/{scheduled_time-1d:%Y/%m}/out.csv", "s3://b/2026/11/out.csv", None, True),
        ("s3://b/{scheduled_time-1d:%Y/%m}/out.csv", "s3://b/2026/11/out2.csv", None, False),
        ("s3://b/a.csv", "s3://b/a_csv", None, False),
        # Another result of the same schedule: the output as the workflow has resolved it counts, not only its pattern.
        ("s3://b/{scheduled_time:%Y-%m-%d}.csv", "s3://b/2026-11-27.csv", "s3://b/2026-11-28.csv", False),
    ],
)
def test_placeholders_may_stand_for_what_they_resolve_to(template, output, resolved, is_own):
    aws = Aws(output=RESULT | {"output_s3_uri": output, "report_s3_uri": f"{output}.report.json"})
    if resolved:
        aws.documents = ({"prediction": {}, "request": {"output_s3_uri": resolved}},)
    if is_own:
        assert ended(aws, None, template).output == output
    else:
        with pytest.raises(BatchPredictError, match="is not what follows from"):
            ended(aws, None, template)


def test_a_failure_counts_the_chunks_of_an_earlier_run_alone():
    """A run that planned again finds there what it has finished itself."""
    plans = [{"plan": {"fingerprint": "f", "chunks": 8, "pending_chunks": pending}} for pending in (6, 1)]
    failed = ended(Aws(*plans, status="FAILED", error="InvalidDataError", cause="x. What to do: y."))

    assert isinstance(failed, Failed)
    assert (failed.error, failed.cause, failed.advice) == ("InvalidDataError", "x.", "y.")
    assert (failed.chunks, failed.reused_chunks) == (8, 2)


def test_an_outcome_is_the_same_after_json(directory):
    planned = {"chunks": 3, "objects": 1, "input_bytes": 7, "skipped_objects": 0, "estimate": None}
    outcomes = [ended(Aws()), ended(Aws(output=planned)), Failed(status="ABORTED", error="Interrupted", cause="x", name="r")]
    for outcome in outcomes:
        found = json.loads(json.dumps(as_json(outcome), default=str))
        assert as_json(from_json(found)) == as_json(outcome) | {"warnings": list(outcome.warnings)}
        assert found.keys() == as_json(outcomes[0]).keys()
        (directory / "out.csv").unlink(missing_ok=True)
