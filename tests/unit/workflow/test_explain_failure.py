import json

import pytest

from support.samples import BUCKET, COLUMNS, EXECUTION
from workflow import explain_failure, fingerprint
from workflow.contract import Output
from workflow.decision import decision_sha256, write_decision

PREFIX = "out.csv.work/f/"
MAP_FAILURE = {"Error": "States.ExceedToleratedFailureThreshold", "Cause": "The specified tolerated failure threshold was exceeded"}


@pytest.fixture
def lose(put):
    def write(index, error="InvalidDataError", execution=EXECUTION["arn"], **changed):
        record = {
            "chunk_index": index,
            "data_s3_uri": "s3://bucket/in/1.csv",
            "byte_range": [10 * index, 10 * index + 10],
            "error": error,
            "message": "row 3 is ragged",
            "advice": "correct it",
            "execution_arn": execution,
        }
        fields = {field: value for field, value in (record | changed).items() if value is not None}
        put(f"{PREFIX}chunk-{index:05}.error.json", json.dumps(fields))

    return write


PLAN = {
    "bucket": BUCKET,
    "work_prefix": PREFIX,
    "agreed": {"work_s3_uri": f"s3://{BUCKET}/{PREFIX}"},
    "identity": "1" * 64,
    "chunks": 12,
    "boundaries": "exact",
    "input_bytes": 120,
    "output_found": None,
}


def explain(s3, document, failure, *, planned=True, **plan):
    event = document() | {"failure": failure}
    if planned:
        event["plan"] = PLAN | plan
    return explain_failure.explain_failure(s3, event)


def test_the_map_s_failure_is_the_first_chunk_s(s3, document, lose, put):
    lose(0, error="ModelError", execution="an earlier one")
    put(f"{PREFIX}chunk-00001.json", b"a receipt")
    lose(11, error="TransientS3Error")
    lose(4, error="TransientS3Error")
    lose(2)
    assert explain(s3, document, MAP_FAILURE) == {
        "error": "InvalidDataError",
        "message": "chunk 3 of 12, s3://bucket/in/1.csv bytes=[20, 30): row 3 is ragged (2 more chunks failed)",
        "advice": "correct it",
        "cause": "chunk 3 of 12, s3://bucket/in/1.csv bytes=[20, 30): row 3 is ragged (2 more chunks failed). "
        "What to do: correct it",
        "plan_exactly": False,
        "published": False,
    }


def test_reading_records_has_a_bound(s3, document, lose, monkeypatch):
    monkeypatch.setattr(explain_failure, "RECORDS_READ", 2)
    for index in range(3):
        lose(index)
    assert "(at least 1 more chunk failed)" in explain(s3, document, MAP_FAILURE)["cause"]


def test_missing_chunks_at_the_merge_are_explained_by_themselves(s3, document, lose):
    lose(2, error="ModelError")
    cause = json.dumps({"errorMessage": "1 of 12 chunks have no output, more than tolerated", "errorType": "MissingChunksError"})
    assert explain(s3, document, {"Error": "MissingChunksError", "Cause": cause})["error"] == "ModelError"


@pytest.mark.parametrize(
    ("error", "message"),
    [("IncompleteOutputError", "the plan has a gap"), ("OutputExistsError", "it exists"), ("Sandbox.Timedout", "Task timed out")],
)
def test_tolerated_chunks_do_not_explain_another_failure(s3, document, lose, error, message):
    lose(2)
    explanation = explain(s3, document, {"Error": error, "Cause": json.dumps({"errorMessage": message})})
    assert explanation["error"] == error
    assert message in explanation["cause"]


@pytest.mark.parametrize("planned", [True, False])
def test_without_records_the_engine_s_words_stay(s3, document, planned):
    explanation = explain(s3, document, MAP_FAILURE, planned=planned)
    way = {"plan_exactly": False, "published": False}
    words = MAP_FAILURE["Cause"]
    assert explanation == {"error": MAP_FAILURE["Error"], "message": words, "advice": None, "cause": words, **way}


@pytest.mark.parametrize(
    ("error", "index", "plan", "plan_exactly"),
    [
        ("UnsafeSplitError", 3, {"boundaries": "guessed", "input_bytes": 10**13}, True),
        ("UnsafeSplitError", 3, {"boundaries": "exact"}, False),
        ("InvalidDataError", 3, {"boundaries": "guessed"}, True),
        ("InvalidDataError", 0, {"boundaries": "guessed"}, True),  # it ends at a boundary
        ("InvalidDataError", 3, {"boundaries": "exact"}, False),
        ("InvalidDataError", 3, {"boundaries": "guessed", "input_bytes": 10**13}, False),  # hours
        # Rows that are none may end a chunk by anything.
        ("ModelError", 3, {"boundaries": "guessed"}, True),
        ("InvalidRequestError", 3, {"boundaries": "guessed"}, True),
        ("InternalError", 3, {"boundaries": "guessed"}, True),
        ("Sandbox.Timedout", 3, {"boundaries": "guessed"}, True),
        ("ModelError", 3, {"boundaries": "guessed", "input_bytes": 10**13}, False),
        # These come whatever the rows are.
        ("TransientS3Error", 3, {"boundaries": "guessed"}, False),
        ("InputChangedError", 3, {"boundaries": "guessed"}, False),
        ("InputNotFoundError", 3, {"boundaries": "guessed"}, False),
    ],
)
def test_a_guessed_plan_is_doubted_before_the_data(s3, document, lose, error, index, plan, plan_exactly):
    lose(index, error=error)
    lose(11, error="TransientS3Error")
    explanation = explain(s3, document, MAP_FAILURE, **plan)
    assert (explanation["error"], explanation["plan_exactly"]) == (error, plan_exactly)


def test_a_grouped_chunk_has_no_boundary_to_doubt(s3, document, lose):
    lose(3, segments_s3_uri=f"s3://bucket/{PREFIX}chunk-00003.segments.json", byte_range=None)
    assert not explain(s3, document, MAP_FAILURE, boundaries="guessed")["plan_exactly"]


@pytest.mark.parametrize(("boundaries", "plan_exactly"), [("guessed", True), ("exact", False)])
def test_a_merge_that_finds_no_proof_asks_for_an_exact_plan(s3, document, boundaries, plan_exactly):
    cause = json.dumps({"errorMessage": "the boundaries of chunk 3 are not proven"})
    explanation = explain(s3, document, {"Error": "UnsafeSplitError", "Cause": cause}, boundaries=boundaries)
    assert explanation["plan_exactly"] is plan_exactly


@pytest.fixture
def decided(s3):
    """Write the plan's decision, return the field of the plan that names it."""

    def write(**types):
        decision = {**COLUMNS, "column_types": types, "deployment": "d" * 64, "model_sha256": "0" * 64}
        write_decision(s3, f"s3://{BUCKET}/{PREFIX}decision.json", decision)
        return {"decision_sha256": decision_sha256(decision)}

    return write


FAILED_AT_MERGE = {"Error": "ColumnTypeError", "Cause": json.dumps({"errorMessage": "column 'zip' does not fit"})}


@pytest.mark.parametrize("failure", [MAP_FAILURE, FAILED_AT_MERGE], ids=["the Map's", "the merge's"])
@pytest.mark.parametrize("boundaries", ["guessed", "exact"])
def test_a_refuted_type_is_planned_again(s3, document, lose, put, decided, failure, boundaries):
    """Exactly, however large the input: between two wrong boundaries a chunk would take anything for text."""
    lose(3, error="ColumnTypeError")
    lose(1, error="TransientS3Error")
    put(f"{PREFIX}chunk-00003.types.json", json.dumps({"zip": "text"}))
    explanation = explain(s3, document, failure, **decided(zip="integer"), boundaries=boundaries, input_bytes=10**13)
    assert explanation["plan_exactly"]


@pytest.mark.parametrize(
    ("types", "decision"),
    [
        (None, {"zip": "integer"}),
        ("no JSON", {"zip": "integer"}),
        ('{"zip": "word"}', {"zip": "integer"}),
        ('["zip"]', {"zip": "integer"}),
        ('{"other": "text"}', {"zip": "integer"}),
        ('{"zip": "integer"}', {"zip": "text"}),
    ],
)
@pytest.mark.parametrize("failure", [MAP_FAILURE, FAILED_AT_MERGE], ids=["the Map's", "the merge's"])
def test_what_makes_no_type_wider_is_not_planned_again(s3, document, lose, put, decided, failure, types, decision):
    """No execution goes round for ever."""
    lose(3, error="ColumnTypeError")
    if types:
        put(f"{PREFIX}chunk-00003.types.json", types)
    explanation = explain(s3, document, failure, **decided(**decision))
    assert (explanation["error"], explanation["plan_exactly"]) == ("ColumnTypeError", False)


@pytest.mark.parametrize("left", [None, b"{}", b"\xff"])
def test_without_the_decision_that_was_made_nothing_is_planned_again(s3, document, lose, put, left):
    lose(3, error="ColumnTypeError")
    put(f"{PREFIX}chunk-00003.types.json", json.dumps({"zip": "text"}))
    if left:
        put(f"{PREFIX}decision.json", left)
    assert not explain(s3, document, MAP_FAILURE, decision_sha256="0" * 64)["plan_exactly"]


def test_an_output_that_another_execution_published_ends_in_success(s3, document, lose, put):
    """It has deleted the work, which this execution's chunks still needed."""
    lose(3, error="InputNotFoundError")
    etag = put("out/result.csv", b"a,b,p\n", Metadata={"batch-predict-identity": "1" * 64})
    uri = document()["request"]["output_s3_uri"]
    places = {"output_s3_uri": uri, "report_s3_uri": f"{uri}.report.json", "rejected_s3_uri": None}
    counts = dict.fromkeys(Output.__required_keys__, 0) | {"bytes": 6}
    output = counts | places | {"etag": etag, "complete": True}
    report = {"identity": "1" * 64, "output": output, "execution": {"arn": "another"}}
    assert not explain(s3, document, MAP_FAILURE)["published"]
    put("out/result.csv.report.json", json.dumps(report))
    assert explain(s3, document, MAP_FAILURE)["published"]
    assert not explain(s3, document, MAP_FAILURE, identity="2" * 64)["published"]
    assert not explain(s3, document, {"Error": "Sandbox.Timedout", "Cause": "Task timed out"})["published"]  # the merge itself


WHOLE = {"batch-predict-identity": "1" * 64, "batch-predict-bytes": "6"}
MERGE_FAILURE = {"Error": "TransientS3Error", "Cause": json.dumps({"errorMessage": "the report could not be written"})}


def test_a_failure_after_publishing_says_that_the_output_is_there(s3, document, put):
    """And what to do in the place of the error's usual advice."""
    assert "published" not in explain(s3, document, MERGE_FAILURE)["cause"]
    put("out/result.csv", b"a,b,p\n", Metadata=WHOLE)
    assert explain(s3, document, MERGE_FAILURE) == {
        "error": "TransientS3Error",
        "message": "the report could not be written. s3://bucket/out/result.csv is published and whole",
        "advice": "start the same request again: it completes what is missing beside the output",
        "cause": "the report could not be written. s3://bucket/out/result.csv is published and whole. "
        "What to do: start the same request again: it completes what is missing beside the output",
        "plan_exactly": False,
        "published": False,
    }


@pytest.mark.parametrize(
    "there", [{"batch-predict-identity": "2" * 64, "batch-predict-bytes": "6"}, WHOLE | {"batch-predict-bytes": "7"}, {}], ids=str
)
def test_another_output_is_not_called_published(s3, document, put, there):
    put("out/result.csv", b"a,b,p\n", Metadata=there)
    assert "published" not in explain(s3, document, MERGE_FAILURE)["cause"]


def test_an_output_without_tolerated_chunks_is_called_so_if_it_is_this_run_s(s3, document, put):
    metadata = WHOLE | {"batch-predict-identity": fingerprint.incomplete_identity("1" * 64, "f", [3])}
    etag = put("out/result.csv", b"a,b,p\n", Metadata=metadata)
    cause = explain(s3, document, MERGE_FAILURE)["cause"]
    assert (
        "published without the chunks that were lost and tolerated. What to do: start the same request again with overwrite"
        in cause
    )
    was_there = {"etag": etag, "is_result": False}
    assert "published" not in explain(s3, document, MERGE_FAILURE, output_found=was_there)["cause"]


def test_a_failure_while_a_scan_goes_on_is_its_own(s3, document):
    event = document() | {"failure": {"Error": "States.Timeout", "Cause": ""}, "plan": {"continuation": {"done": 1, "total": 2}}}
    assert explain_failure.explain_failure(s3, event)["error"] == "States.Timeout"


def test_a_grouped_chunk_is_named_by_its_list(s3, document, lose):
    listed = "s3://bucket/out.csv.work/f/chunk-00000.segments.json"
    lose(0, segments_s3_uri=listed, data_s3_uri=None, byte_range=None, message="s3://bucket/in/7.csv row 3 is ragged")
    cause = explain(s3, document, MAP_FAILURE)["cause"]
    assert cause.startswith("chunk 1 of 12, the objects listed in chunk-00000.segments.json: s3://bucket/in/7.csv row 3")
