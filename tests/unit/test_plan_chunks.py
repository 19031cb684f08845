from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import BUCKET

import csv_records
import plan_chunks
import s3 as s3_module
from errors import (
    InputChangedError,
    InputNotFoundError,
    InvalidDataError,
    InvalidRequestError,
    OutputExistsError,
    TransientS3Error,
)
from inputs import InputObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ROWS = "a,b\n" + "".join(f'{index},"x\n""{index}"""\n' for index in range(2000))


def planned(get: Any, plan: Any) -> Any:
    return json.loads(get(plan["plan_key"]))


def test_the_plan_is_written_beside_the_output(s3: S3Client, put: Any, get: Any, document: Any) -> None:
    etag = put("in/1.csv", "a,b\n1,2\n")
    plan = plan_chunks.plan_chunks(s3, document())
    prefix = f"out/result.csv.work/{plan['fingerprint']}/"
    assert plan == {
        "bucket": BUCKET,
        "plan_key": f"{prefix}plan.json",
        "work_prefix": prefix,
        "map_run_prefix": f"{prefix}map-run",
        "fingerprint": plan["fingerprint"],
        "chunks": 1,
        "objects": 1,
        "input_bytes": 8,
        "skipped_objects": 0,
    }
    assert planned(get, plan) == [
        {
            "chunk_index": 0,
            "data_s3_uri": "s3://bucket/in/1.csv",
            "byte_range": [0, 8],
            "data_etag": etag,
            "output_s3_uri": f"s3://bucket/{prefix}chunk-00000.csv",
            "receipt_s3_uri": f"s3://bucket/{prefix}chunk-00000.json",
        }
    ]


@pytest.mark.parametrize("chunk_bytes", [1, 7, 100, 5000, 31_000])
@pytest.mark.parametrize("block_bytes", [13, 1000, 2**23])
def test_ranges_cover_an_object_on_record_boundaries(
    s3: S3Client, put: Any, get: Any, document: Any, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int, block_bytes: int
) -> None:
    body = (ROWS if block_bytes > 100 else ROWS[: ROWS.index('\n20,"')] + "\n").encode()
    monkeypatch.setattr(s3_module, "BLOCK_BYTES", block_bytes)
    put("in/1.csv", body)
    chunks = planned(get, plan_chunks.plan_chunks(s3, document(chunk_size_mb=chunk_bytes / 1e6)))
    ranges = [chunk["byte_range"] for chunk in chunks]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == len(body)
    assert all(start < stop for start, stop in ranges)
    assert all(before[1] == after[0] for before, after in pairwise(ranges))
    assert all(body[:start].count(b'"') % 2 == 0 and body[start - 1 : start] == b"\n" for start, _ in ranges[1:])
    assert ranges[0][1] > len("a,b\n")
    assert len(chunks) > 1 or chunk_bytes > len(body) / 2


def test_chunks_are_about_as_large_as_asked(s3: S3Client, put: Any, get: Any, document: Any) -> None:
    put("in/1.csv", ROWS)
    chunks = planned(get, plan_chunks.plan_chunks(s3, document(chunk_size_mb=0.005)))
    sizes = [chunk["byte_range"][1] - chunk["byte_range"][0] for chunk in chunks]
    assert len(chunks) == -(-len(ROWS) // 5000)
    assert max(sizes) - min(sizes) < 50


def test_small_objects_are_never_scanned(s3: S3Client, put: Any, document: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    put("in/1.csv", ROWS)
    monkeypatch.setattr(plan_chunks, "read_blocks", None)
    assert plan_chunks.plan_chunks(s3, document())["chunks"] == 1


def test_a_prefix_is_in_natural_order_without_what_holds_no_data(s3: S3Client, put: Any, get: Any, document: Any) -> None:
    put("in/", b"")
    put("in/_SUCCESS", b"a,b\n1,2\n")
    put("in/empty.csv", b"")
    put("in/folder/", b"a,b\n1,2\n")
    put("in/header.csv", b"a,b\n")
    for number in (10, 9, 1):
        put(f"in/part-{number}.csv", b"a,b\n1,2\n")
    plan = plan_chunks.plan_chunks(s3, document())
    uris = [chunk["data_s3_uri"] for chunk in planned(get, plan)]
    assert uris == [f"s3://bucket/in/part-{number}.csv" for number in (1, 9, 10)]
    assert plan["objects"] == 3
    assert plan["skipped_objects"] == 5


def test_a_list_keeps_its_order_and_may_repeat(s3: S3Client, put: Any, get: Any, document: Any) -> None:
    for name in "ab":
        put(f"in/{name}.csv", b"a,b\n1,2\n")
    uris = [f"s3://bucket/in/{name}.csv" for name in "bab"]
    plan = plan_chunks.plan_chunks(s3, document(data_s3_uri=uris))
    assert [chunk["data_s3_uri"] for chunk in planned(get, plan)] == uris
    assert plan["objects"] == 3
    assert plan["input_bytes"] == 24


def test_more_than_a_page_of_objects_is_listed(s3: S3Client, put: Any, get: Any, document: Any) -> None:
    for number in range(1005):
        put(f"in/{number}.csv", b"a,b\n1,2\n")
    plan = plan_chunks.plan_chunks(s3, document())
    assert plan["chunks"] == 1005
    assert planned(get, plan)[-1]["data_s3_uri"] == "s3://bucket/in/1004.csv"


def test_more_objects_than_chunks_are_refused(s3: S3Client, put: Any, document: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_chunks, "MAX_CHUNKS", 1)
    for number in range(2):
        put(f"in/{number}.csv", b"a,b\n1,2\n")
    with pytest.raises(InvalidRequestError, match="2 objects"):
        plan_chunks.plan_chunks(s3, document())


@given(st.lists(st.integers(1, 10**14), min_size=1, max_size=50), st.floats(1e-6, 10_000))
def test_the_chunk_size_grows_to_fit(sizes: list[int], chunk_size_mb: float) -> None:
    header = csv_records.Header(["a"], 2, b"\n")
    objects = [plan_chunks.PlannedObject(InputObject("s3://b/k", size, ""), header) for size in sizes]
    chunk_bytes = plan_chunks.fitting_chunk_bytes(objects, chunk_size_mb)
    chunks = sum(-(-size // chunk_bytes) for size in sizes)
    assert chunks <= plan_chunks.MAX_CHUNKS
    if chunk_bytes > round(chunk_size_mb * 1e6) + 1:
        assert chunks > plan_chunks.MAX_CHUNKS / 2


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (b"a,c\n1,2\n", "it lacks b and it adds c"),
        (b"b,a\n1,2\n", "another order from column 1"),
        (b"a,b,b\n1,2,3\n", "another order from column 3"),
        (b"a,b\r\n1,2\r\n", "ends its lines with CRLF"),
    ],
)
def test_objects_of_another_layout_are_refused(s3: S3Client, put: Any, document: Any, second: bytes, reason: str) -> None:
    put("in/1.csv", b"a,b\n1,2\n")
    put("in/2.csv", second)
    with pytest.raises(InvalidDataError, match=reason) as caught:
        plan_chunks.plan_chunks(s3, document())
    assert "s3://bucket/in/1.csv" in str(caught.value)
    assert "s3://bucket/in/2.csv" in str(caught.value)


def test_headers_may_differ_by_bom_and_quotes(s3: S3Client, put: Any, document: Any) -> None:
    put("in/1.csv", b"a,b\n1,2\n")
    put("in/2.csv", b'\xef\xbb\xbf"a",b\n1,2\n')
    assert plan_chunks.plan_chunks(s3, document())["objects"] == 2


def test_headers_without_rows_are_nothing_to_predict(s3: S3Client, put: Any, document: Any) -> None:
    put("in/1.csv", b"a,b\n")
    with pytest.raises(InvalidDataError, match="no rows"):
        plan_chunks.plan_chunks(s3, document())


def test_an_unclosed_quote_is_found_by_the_scan(s3: S3Client, put: Any, document: Any) -> None:
    put("in/1.csv", 'a,b\n1,"2\n' + "3,4\n" * 10)
    with pytest.raises(InvalidDataError, match="never closed"):
        plan_chunks.plan_chunks(s3, document(chunk_size_mb=1e-5))


def test_an_object_that_changes_while_it_is_planned_fails(
    s3: S3Client, put: Any, document: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("in/1.csv", ROWS)
    resolve = plan_chunks.resolve

    def change_after(client: S3Client, uri: str) -> Any:
        listing = resolve(client, uri)
        put("in/1.csv", ROWS + "1,2\n")
        return listing

    monkeypatch.setattr(plan_chunks, "resolve", change_after)
    with pytest.raises(InputChangedError):
        plan_chunks.plan_chunks(s3, document())


def test_an_existing_output_is_refused(s3: S3Client, put: Any, document: Any) -> None:
    put("in/1.csv", b"a,b\n1,2\n")
    put("out/result.csv", b"precious")
    with pytest.raises(OutputExistsError, match="set overwrite to true"):
        plan_chunks.plan_chunks(s3, document())
    assert plan_chunks.plan_chunks(s3, document(overwrite=True))["chunks"] == 1


def test_an_output_of_the_same_request_on_the_same_inputs_is_no_obstacle(s3: S3Client, put: Any, document: Any) -> None:
    put("in/1.csv", b"a,b\n1,2\n")
    fingerprint = plan_chunks.plan_chunks(s3, document())["fingerprint"]
    put("out/result.csv", b"published", Metadata={"batch-predict-fingerprint": fingerprint})
    assert plan_chunks.plan_chunks(s3, document())["fingerprint"] == fingerprint
    put("in/1.csv", b"a,b\n3,4\n")
    with pytest.raises(OutputExistsError):
        plan_chunks.plan_chunks(s3, document())


def test_the_fingerprint_is_the_result_s_identity(s3: S3Client, put: Any, document: Any) -> None:
    put("in/1.csv", ROWS)

    def fingerprint(change: Any = None, **changed: Any) -> str:
        event = document(**changed)
        if change:
            change(event)
        return plan_chunks.plan_chunks(s3, event)["fingerprint"]

    same = [fingerprint(), fingerprint(), fingerprint(max_concurrency=7, overwrite=True, keep_work=True)]
    other = [
        fingerprint(feature_columns=["b", "a"]),
        fingerprint(prediction_column_name="p"),
        fingerprint(prediction_method="predict_proba"),
        fingerprint(chunk_size_mb=0.01),
        fingerprint(lambda event: event["prediction"].update(model_etag="other")),
        fingerprint(lambda event: event["model"]["model"].update(handler_version="2")),
    ]
    put("in/1.csv", ROWS + "1,2\n")
    other.append(fingerprint())
    assert len(set(same)) == 1
    assert len({*same, *other}) == 1 + len(other)


@pytest.mark.parametrize(("code", "status"), [("AccessDenied", 403), ("NoSuchBucket", 404)])
def test_an_output_that_cannot_be_written_is_the_request_s_fault(
    s3: S3Client, put: Any, document: Any, fail_calls: Any, code: str, status: int
) -> None:
    put("in/1.csv", b"a,b\n1,2\n")
    fail_calls("PutObject", code, status=status)
    with pytest.raises(InvalidRequestError, match="output_s3_uri must change"):
        plan_chunks.plan_chunks(s3, document())


@pytest.mark.parametrize("operation", ["ListObjectsV2", "GetObject", "PutObject"])
def test_a_busy_s3_is_transient(s3: S3Client, put: Any, document: Any, fail_calls: Any, operation: str) -> None:
    put("in/1.csv", b"a,b\n1,2\n")
    fail_calls(operation, "SlowDown")
    with pytest.raises(TransientS3Error):
        plan_chunks.plan_chunks(s3, document())


def test_a_missing_object_is_named(s3: S3Client, document: Any) -> None:
    with pytest.raises(InputNotFoundError, match="s3://bucket/in/ holds no objects"):
        plan_chunks.plan_chunks(s3, document())


def test_the_handler_adapts(
    s3: S3Client, put: Any, document: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put("in/1.csv", b"a,b\n1,2\n")
    monkeypatch.setattr(plan_chunks, "s3_client", lambda: s3)
    assert plan_chunks.lambda_handler(document(), None)["chunks"] == 1
    assert json.loads(capsys.readouterr().out)["milliseconds"] >= 0
