"""An execution uses what an earlier one of the same request has left, if it is whole."""

import json

import pytest

from support.merging import Run, key_of, predict
from support.samples import BUCKET
from workflow import plan_chunks
from workflow.errors import IncompleteOutputError, OutputExistsError


def pending(get, plan):
    items = json.loads(get(plan["pending_key"]))
    assert len(items) == plan["pending_chunks"]
    return [item["chunk_index"] for item in items]


@pytest.fixture
def replan(s3, document):
    """Plan the request of a run again, as another execution."""

    def plan(execution, **changed):
        event = document(**{**execution.document["request"], **changed})
        event["execution"] = event["execution"] | {"name": "run-2", "arn": f"{event['execution']['arn']}-2"}
        return plan_chunks.plan_chunks(s3, event)

    return plan


def test_only_missing_chunks_run_again(run, replan, get):
    execution = run()
    execution.lose(1)
    plan = replan(execution)
    assert pending(get, plan) == [1]
    assert plan["pending_key"].endswith("/pending-run-2.json")
    assert (plan["plan_key"], plan["chunks"]) == (execution.document["plan"]["plan_key"], 3)


def test_the_map_tolerates_as_many_chunks_of_the_rest_as_of_all(run, replan):
    execution = run(tuple([10] * 10), tolerated_failure_percentage=20)
    assert execution.document["plan"]["tolerated_failure_percentage"] == 20
    for index in range(4):
        execution.lose(index)
    assert replan(execution)["tolerated_failure_percentage"] == 50  # two of four, as two of ten
    execution.lose(9)
    assert replan(execution)["tolerated_failure_percentage"] == 40


def test_a_finished_request_runs_nothing_again(run, replan, get):
    """Its work is deleted: the published output itself says whose result it is, however it was cut."""
    execution = run()
    execution.merge()
    assert pending(get, replan(execution)) == []
    assert pending(get, replan(execution, chunk_size_mb=1e-5)) == []
    assert pending(get, replan(execution, overwrite=True)) == []


def test_a_published_output_without_its_report_is_completed(run, replan, get, s3):
    execution = run(keep_work=True)
    execution.merge()
    s3.delete_object(Bucket=BUCKET, Key="out/result.csv.report.json")
    assert pending(get, replan(execution)) == []  # all of its chunks are still there


@pytest.mark.parametrize(
    ("true", "forged"),
    [
        (b'"rejected_s3_uri": null', b'"rejected_s3_uri": "s3://bucket/out/Makefile"'),
        (b"out/result.csv.report.json", b"out/conftest.py"),
        (
            b'"output_s3_uri": "s3://bucket/out/result.csv",\n    "report',
            b'"output_s3_uri": "s3://bucket/out/setup.py",\n    "report',
        ),
        (b'"failed_chunks": 0', b'"failed_chunks": "none"'),
    ],
)
def test_a_report_that_names_other_places_is_no_result(run, get, put, true, forged):
    """The command line names files after what the execution returns."""
    execution = run(keep_work=True)
    output = execution.merge()
    report = get("out/result.csv.report.json")
    assert true in report
    put("out/result.csv.report.json", report.replace(true, forged))

    assert execution.merge() == output
    assert forged not in get("out/result.csv.report.json")


def test_an_incomplete_output_is_replaced_only_when_asked(run, replan, get):
    execution = run(tolerated_failure_percentage=50)
    execution.lose(1)
    assert not execution.merge()["complete"]
    with pytest.raises(OutputExistsError, match="without chunks that failed"):
        replan(execution)
    assert pending(get, replan(execution, overwrite=True)) == [1]


def test_another_request_shares_nothing(run, replan):
    execution = run()
    for changed in ({"prediction_column_name": "other"}, {"on_bad_row": "quarantine"}, {"chunk_size_mb": 1e-5}):
        plan = replan(execution, **changed)
        assert plan["pending_chunks"] == plan["chunks"]


@pytest.mark.parametrize(
    ("field", "damage"),
    [
        ("output_s3_uri", lambda part: part[:-3]),
        ("output_s3_uri", lambda part: part.replace(b"7", b"8")),
        ("output_s3_uri", None),
        ("receipt_s3_uri", lambda receipt: receipt[:-10]),
        ("receipt_s3_uri", lambda receipt: receipt.replace(b'"rows_written": 10', b'"rows_written": 9')),
        ("receipt_s3_uri", None),
    ],
    ids=["part cut", "part changed", "part deleted", "receipt cut", "receipt of fewer rows", "receipt deleted"],
)
def test_what_was_tampered_with_is_not_used(run, replan, get, put, s3, field, damage):
    """What a receipt has to say is in test_merge_outputs.py."""
    execution = run()
    key = key_of(execution.chunks[1][field])
    if damage:
        assert damage(get(key)) != get(key)
        put(key, damage(get(key)))
    else:
        s3.delete_object(Bucket=BUCKET, Key=key)
    assert pending(get, replan(execution)) == [1]


def test_a_chunk_that_was_given_other_data_runs_again(s3, document, replan, get, put):
    """Who may write the work changes a group's list, its chunk scores that, and the next execution writes the true list anew."""
    uris = [f"s3://{BUCKET}/in/{name}.csv" for name in ("a", "b", "other")]
    for uri in uris:
        put(key_of(uri), b"a,b\n1,2\n")
    execution = Run(s3, document(data_s3_uri=uris[:2]))
    key = key_of(execution.chunks[0]["segments_s3_uri"])
    planned = get(key)
    put(key, planned.replace(b"in/b.csv", b"in/other.csv"))
    predict(s3, execution.chunks[0])
    assert pending(get, replan(execution)) == [0]
    assert get(key) == planned
    with pytest.raises(IncompleteOutputError, match="data_sha256"):
        execution.merge()


def test_without_its_own_list_of_rejected_rows_a_chunk_runs_again(run, replan, get, put, s3):
    execution = run(on_bad_row="quarantine")
    rejected = [f"{key_of(chunk['output_s3_uri'])}.rejected.csv" for chunk in execution.chunks]
    for index, key in enumerate(rejected):
        execution.tamper(index, rejected_etag=put(key, b"data_s3_uri,row,byte,reason\n"))
    assert pending(get, replan(execution)) == []
    put(rejected[1], b"data_s3_uri,row,byte,re")
    s3.delete_object(Bucket=BUCKET, Key=rejected[2])
    assert pending(get, replan(execution)) == [1, 2]


DECEPTIVE = b"a,b\n" + b"1,2\n" * 5000 + b'3,"' + b"1,2\n" * 200_000 + b'"\n' + b"4,5\n" * 100_000
PLAIN = b"a,b\n" + b"1,2\n" * 300_000
RANGE = {"data_s3_uri": "s3://bucket/in/1.csv", "byte_range": [400_000, 800_000]}
GROUP = {"segments_s3_uri": "s3://bucket/x.segments.json"}


@pytest.mark.parametrize(
    ("body", "where", "error", "boundaries"),
    [
        *((DECEPTIVE, RANGE, error, "exact") for error in ("UnsafeSplitError", "InvalidDataError", "ModelError", "InternalError")),
        *((PLAIN, RANGE, error, "guessed") for error in ("TransientS3Error", "Sandbox.Timedout", "InputChangedError")),
        (PLAIN, GROUP, "InvalidDataError", "guessed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_plan_that_a_chunk_may_have_refuted_is_made_exactly(s3, put, get, document, body, where, error, boundaries):
    """Also by a later execution, which starts with the same guess; not if no boundary leads to that error."""
    put("in/1.csv", body)
    guessed = plan_chunks.plan_chunks(s3, document(chunk_size_mb=0.4))
    assert guessed["boundaries"] == "guessed"
    record = {"chunk_index": 1, **where, "error": error, "message": "", "advice": None, "execution_arn": "an earlier one"}
    put(f"{guessed['work_prefix']}chunk-00001.error.json", json.dumps(record))
    again = plan_chunks.plan_chunks(s3, document(chunk_size_mb=0.4))
    assert (again["boundaries"], again["identity"]) == (boundaries, guessed["identity"])
    assert (again["fingerprint"] == guessed["fingerprint"]) == (body == PLAIN)
    if boundaries == "exact":
        assert all(body.count(b'"', *chunk["byte_range"]) % 2 == 0 for chunk in json.loads(get(again["plan_key"])))


def test_the_execution_itself_asks_for_an_exact_plan(s3, put, document):
    put("in/1.csv", PLAIN)
    event = document(chunk_size_mb=0.4)
    guessed = plan_chunks.plan_chunks(s3, event)
    event["explanation"] = {"error": "UnsafeSplitError", "cause": "", "plan_exactly": True}
    exact = plan_chunks.plan_chunks(s3, event)
    assert (guessed["boundaries"], exact["boundaries"]) == ("guessed", "exact")
    assert exact["fingerprint"] == guessed["fingerprint"]  # the guess was right: the work that was done counts
