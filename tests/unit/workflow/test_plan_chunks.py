import json

import pytest

from support.samples import BUCKET, found_columns
from workflow import plan_chunks
from workflow.errors import (
    InvalidDataError,
    InvalidRequestError,
    OutputExistsError,
)
from workflow.formats.csv_format import Csv

ROWS = "a,b\n" + "".join(f'{index},"x\n""{index}"""\n' for index in range(2000))


def planned(get, plan):
    return json.loads(get(plan["plan_key"]))


def segments(get, plan):
    """All segments of a plan, in order."""
    found = []
    for chunk in planned(get, plan):
        if "segments_s3_uri" in chunk:
            found += json.loads(get(chunk["segments_s3_uri"].removeprefix("s3://bucket/")))
        else:
            found.append({field: chunk[field] for field in ("data_s3_uri", "byte_range", "data_etag")})
    return found


def test_the_plan_is_written_beside_the_output(s3, put, get, document):
    etag = put("in/1.csv", "a,b\n1,2\n")
    plan = plan_chunks.plan_chunks(s3, document())
    prefix = f"out/result.csv.work/{plan['identity'][:32]}/{plan['fingerprint'][:32]}/"
    assert plan == {
        "bucket": BUCKET,
        "plan_key": f"{prefix}plan.json",
        "pending_key": f"{prefix}plan.json",
        "work_prefix": prefix,
        "map_run_prefix": f"{prefix}map-run",
        "identity": plan["identity"],
        "fingerprint": plan["fingerprint"],
        "decision_sha256": plan["decision_sha256"],
        "agreed": {
            "decision_s3_uri": f"s3://{BUCKET}/{prefix}decision.json",
            "decision_sha256": plan["decision_sha256"],
            "work_s3_uri": f"s3://{BUCKET}/{prefix}",
            "stored_model_s3_uri": None,
            "stored_model_sha256": None,
        },
        "boundaries": "exact",
        "chunk_size_mb": 2.315432,
        "chunk_size_reason": "Chunks of 2.32 MB, 1.33 s each at 2.32 MB/s: smaller ones are not worth an invocation.",
        "chunks": 1,
        "pending_chunks": 1,
        "tolerated_failure_percentage": 0.0,
        "input_format": "csv",
        "input_compression": [],
        "objects": 1,
        "input_bytes": 8,
        "skipped_objects": 0,
        "output_found": None,
    }
    assert planned(get, plan) == [
        {
            "chunk_index": 0,
            "data_s3_uri": "s3://bucket/in/1.csv",
            "byte_range": [0, 8],
            "data_etag": etag,
            "decision_s3_uri": f"s3://bucket/{prefix}decision.json",
            "decision_sha256": plan["decision_sha256"],
            "output_s3_uri": f"s3://bucket/{prefix}chunk-00000.csv",
            "receipt_s3_uri": f"s3://bucket/{prefix}chunk-00000.json",
        }
    ]


def test_a_prefix_is_in_natural_order_without_what_holds_no_data(s3, put, get, document):
    put("in/", b"")
    put("in/_SUCCESS", b"a,b\n1,2\n")
    put("in/.part-1.csv.crc", b"crc\0")
    put("in/empty.csv", b"")
    put("in/folder/", b"a,b\n1,2\n")
    put("in/header.csv", b"a,b\n")
    for number in (10, 9, 1):
        put(f"in/part-{number}.csv", b"a,b\n1,2\n")
    plan = plan_chunks.plan_chunks(s3, document())
    assert [segment["data_s3_uri"] for segment in segments(get, plan)] == [f"s3://bucket/in/part-{n}.csv" for n in (1, 9, 10)]
    assert plan["objects"] == 3
    assert plan["skipped_objects"] == 6


def test_an_object_of_a_header_and_blank_lines_holds_no_rows(s3, put, get, document):
    put("in/1.csv", b"a,b\n\n\n")
    with pytest.raises(InvalidDataError, match=r"in/1\.csv holds a header but no rows"):
        plan_chunks.plan_chunks(s3, document())
    put("in/2.csv", b"a,b\n1,2\n\n")
    plan = plan_chunks.plan_chunks(s3, document())
    assert [item["data_s3_uri"] for item in planned(get, plan)] == ["s3://bucket/in/2.csv"]
    assert plan["skipped_objects"] == 1


def test_small_objects_make_one_chunk(s3, put, get, keys, document):
    etags = [put(f"in/{name}.csv", b"a,b\n1,2\n") for name in "ab"]
    plan = plan_chunks.plan_chunks(s3, document())
    prefix = f"s3://bucket/{plan['work_prefix']}"
    assert planned(get, plan) == [
        {
            "chunk_index": 0,
            "segments_s3_uri": f"{prefix}chunk-00000.segments.json",
            "decision_s3_uri": f"{prefix}decision.json",
            "decision_sha256": plan["decision_sha256"],
            "output_s3_uri": f"{prefix}chunk-00000.csv",
            "receipt_s3_uri": f"{prefix}chunk-00000.json",
        }
    ]
    assert segments(get, plan) == [
        {"data_s3_uri": f"s3://bucket/in/{name}.csv", "byte_range": [0, 8], "data_etag": etag}
        for name, etag in zip("ab", etags, strict=True)
    ]
    assert (plan["chunks"], plan["objects"], plan["input_bytes"]) == (1, 2, 16)
    assert keys(plan["work_prefix"]) == [
        f"{plan['work_prefix']}{name}" for name in ("chunk-00000.segments.json", "decision.json", "plan.json")
    ]


def test_large_and_small_objects_keep_their_order(s3, put, get, document):
    for name, rows in (("1", 1), ("2", 2), ("3", 100), ("4", 1), ("5", 3)):
        put(f"in/{name}.csv", b"a,b\n" + b"1,2\n" * rows)
    plan = plan_chunks.plan_chunks(s3, document(chunk_size_mb=2e-4))
    assert [list(chunk)[1] for chunk in planned(get, plan)] == ["segments_s3_uri", *["data_s3_uri"] * 3, "segments_s3_uri"]
    ranges = [(segment["data_s3_uri"][-5], *segment["byte_range"]) for segment in segments(get, plan)]
    assert ranges == [("1", 0, 8), ("2", 0, 12), ("3", 0, 136), ("3", 136, 272), ("3", 272, 404), ("4", 0, 8), ("5", 0, 16)]


@pytest.mark.parametrize(
    "entries",
    [["in/", "in/a.csv"], ["in/a*.csv", "in/"], ["lists/all.manifest.json", "in/*.csv"]],
)
def test_an_object_that_entries_name_twice_is_refused(s3, put, document, entries):
    """Its rows would be twice in the output: a prefix and a glob in it, say, are a slip."""
    for name in "ab":
        put(f"in/{name}.csv", b"a,b\n1,2\n")
    put("lists/all.manifest.json", json.dumps(["s3://bucket/in/a.csv"]))
    uris = [f"s3://bucket/{entry}" for entry in entries]
    with pytest.raises(InvalidRequestError) as caught:
        plan_chunks.plan_chunks(s3, document(data_s3_uri=uris))
    assert f"data_s3_uri names s3://bucket/in/a.csv more than once, by {uris[0]} and by {uris[1]}: " in str(caught.value)


def test_without_open_columns_planning_reads_no_rows(s3, put, document):
    put("in/1.csv", ROWS)
    plain, open_ = document(), document()
    found_columns(s3, open_, column_types={"a": "integer"})
    ranges = []
    s3.meta.events.register("before-parameter-build.s3.GetObject", lambda params, **_: ranges.append(params.get("Range", "")))
    plan_chunks.plan_chunks(s3, plain)
    without = len(ranges)
    plan_chunks.plan_chunks(s3, open_)
    assert len(ranges) - without == without + 1


@pytest.mark.thorough
def test_more_than_a_page_of_objects_is_listed(s3, put, get, document):
    for number in range(1005):
        put(f"in/{number}.csv", b"a,b\n1,2\n")
    plan = plan_chunks.plan_chunks(s3, document(chunk_size_mb=1))
    assert (plan["chunks"], plan["objects"]) == (1, 1005)
    assert segments(get, plan)[-1]["data_s3_uri"] == "s3://bucket/in/1004.csv"


def test_of_many_objects_the_headers_of_some_are_compared(s3, put, document, monkeypatch):
    monkeypatch.setattr(Csv, "headers_compared", 5)
    for number in range(20):
        put(f"in/{number}.csv", b"a,b\n1,2\n" if number != 13 else b"a,c\n1,2\n")
    assert plan_chunks.plan_chunks(s3, document())["objects"] == 20
    put("in/12.csv", b"a,c\n1,2\n")  # one of every fourth
    with pytest.raises(InvalidDataError, match=r"12\.csv has other columns"):
        plan_chunks.plan_chunks(s3, document())


def test_a_large_object_is_compared_in_any_case(s3, put, document, monkeypatch):
    monkeypatch.setattr(Csv, "headers_compared", 1)
    put("in/1.csv", b"a,b\n1,2\n")
    put("in/2.csv", b"a,c\n" + b"1,2\n" * 100)
    with pytest.raises(InvalidDataError, match=r"2\.csv has other columns"):
        plan_chunks.plan_chunks(s3, document(chunk_size_mb=1e-4))


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (b"a,c\n1,2\n", "it lacks 'b' and it adds 'c'"),
        (b"b,a\n1,2\n", "in another order, column 1 is 'b', not 'a'"),
        (b"a,b,b\n1,2,3\n", "it has 3 columns, not 2"),
        (b"a,b\r\n1,2\r\n", "ends its lines with CRLF"),
    ],
)
def test_objects_of_another_layout_are_refused(s3, put, document, second, reason):
    put("in/1.csv", b"a,b\n1,2\n")
    put("in/2.csv", second)
    with pytest.raises(InvalidDataError, match=reason) as caught:
        plan_chunks.plan_chunks(s3, document())
    assert "s3://bucket/in/1.csv" in str(caught.value)
    assert "s3://bucket/in/2.csv" in str(caught.value)


def test_an_existing_output_is_refused(s3, put, document):
    put("in/1.csv", b"a,b\n1,2\n")
    put("out/result.csv", b"precious")
    with pytest.raises(OutputExistsError, match="set overwrite to true"):
        plan_chunks.plan_chunks(s3, document())
    assert plan_chunks.plan_chunks(s3, document(overwrite=True))["chunks"] == 1


def test_the_fingerprint_is_the_result_s_identity(s3, put, document):
    put("in/1.csv", ROWS)

    def fingerprint(change=None, **changed):
        event = document(**changed)
        if change:
            change(event)
        return plan_chunks.plan_chunks(s3, event)["fingerprint"]

    same = [
        fingerprint(),
        fingerprint(),
        fingerprint(max_concurrency=7, overwrite=True, keep_work=True),
        fingerprint(column_types={}),
        fingerprint(lambda event: event["prediction"].pop("predictions")),  # as before there was such a field
        fingerprint(lambda event: event["model"]["model"].update(versions={})),
        fingerprint(
            lambda event: event["model"].update(
                stored_model_s3_uri="s3://bucket/out.work/columns-1.model", stored_model_sha256="0" * 64
            )
        ),
    ]
    other = [
        fingerprint(feature_columns=["b", "a"]),
        fingerprint(prediction_column_name="p"),
        fingerprint(prediction_method="predict_proba"),
        fingerprint(predictions=["label", "probability"]),
        fingerprint(predictions=["probability", "label"]),
        fingerprint(chunk_size_mb=0.01),
        fingerprint(model_version_id="version"),
        fingerprint(lambda event: event["prediction"].update(model_etag="other")),
        fingerprint(lambda event: event["model"]["model"].update(deployment="2" * 64)),
        fingerprint(lambda event: found_columns(s3, event, column_types={"b": "text"})),
        fingerprint(lambda event: found_columns(s3, event, prediction_columns=["p", "q"])),
        fingerprint(column_types={"a": "text"}),
    ]
    put("in/1.csv", ROWS + "1,2\n")
    other.append(fingerprint())
    assert len(set(same)) == 1
    assert len({*same, *other}) == 1 + len(other)


@pytest.mark.parametrize(("code", "status"), [("AccessDenied", 403), ("NoSuchBucket", 404)])
def test_an_output_that_cannot_be_written_is_the_request_s_fault(s3, put, document, fail_calls, code, status):
    put("in/1.csv", b"a,b\n1,2\n")
    event = document()
    fail_calls("PutObject", code, status=status)
    with pytest.raises(InvalidRequestError, match="output_s3_uri must change"):
        plan_chunks.plan_chunks(s3, event)


@pytest.mark.parametrize("suffix", ["", ".report.json", ".rejected.csv"])
def test_a_manifest_must_not_list_what_the_run_writes(s3, put, document, suffix):
    put(f"out/result.csv{suffix}", b"a,b\n1,2\n")
    put("in/all.manifest.json", json.dumps([f"s3://bucket/out/result.csv{suffix}"]))
    with pytest.raises(InvalidRequestError, match="would overwrite the input"):
        plan_chunks.plan_chunks(s3, document(data_s3_uri=["s3://bucket/in/all.manifest.json"], overwrite=True))
