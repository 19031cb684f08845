import hashlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.merging import MIB, OUTPUT, Run, key_of
from support.samples import BUCKET, MODEL, s3_error
from workflow import merge_outputs, splitting, upload
from workflow.errors import (
    IncompleteOutputError,
    InputNotFoundError,
    MissingChunksError,
    TransientS3Error,
    UnsafeSplitError,
)
from workflow.invocation import OutOfTimeError
from workflow.multipart import (
    COPY_BYTES,
    LEAST_COPY_BYTES,
    MAX_COPY_BYTES,
    MAX_PARTS,
    MIN_PART_BYTES,
    PARTS_IN_FLIGHT,
    GatheredPart,
    Piece,
    parts_of,
)
from workflow.work import columns_uri

COPIED = 6 * MIB // 10
"""Digits of each of ten predictions, so that S3 copies their part."""


def test_small_parts_become_one_object(run, get, keys, s3):
    execution = run()
    expected = execution.expected()
    receipts = [receipt_of(get, chunk) for chunk in execution.chunks]
    ranges = [[receipt["output_etag"], 0 if index == 0 else 15, receipt["output_bytes"]] for index, receipt in enumerate(receipts)]
    output = execution.merge()
    assert get(OUTPUT) == expected
    assert output == {
        "output_s3_uri": f"s3://bucket/{OUTPUT}",
        "report_s3_uri": f"s3://bucket/{OUTPUT}.report.json",
        "etag": s3.head_object(Bucket=BUCKET, Key=OUTPUT)["ETag"],
        "bytes": len(expected),
        "rows": 30,
        "rejected_rows": 0,
        "rejected_s3_uri": None,
        "chunks": 3,
        "failed_chunks": 0,
        "complete": True,
    }
    head = s3.head_object(Bucket=BUCKET, Key=OUTPUT)
    assert head["ContentType"] == "text/csv"
    assert head["Metadata"] == {
        "batch-predict-identity": execution.document["plan"]["identity"],
        "batch-predict-bytes": str(len(expected)),
        "batch-predict-parts": hashlib.sha256(json.dumps(ranges, separators=(",", ":")).encode()).hexdigest(),
    }
    assert keys("out/") == [OUTPUT, f"{OUTPUT}.report.json"]


@pytest.mark.parametrize(
    "megabytes",
    [(6, 6, 6), (0, 6, 0), (6, 0, 0, 6), (0, 0, 9, 0), (0, 9, 3, 3, 3, 1), (3, 3), (12,), (0, 0, 12, 12)],
    ids=str,
)
def test_large_parts_are_copied_and_small_ones_gathered(run, get, uploads, megabytes):
    pads = {index: size * MIB // 10 for index, size in enumerate(megabytes)}
    execution = run(tuple(10 for _ in megabytes), pads)
    expected = execution.expected()
    assert execution.merge()["bytes"] == len(expected)
    assert get(OUTPUT) == expected
    assert not uploads()


@given(
    st.lists(
        st.one_of(
            st.integers(0, 100),
            st.integers(0, 20 * MIB),
            st.integers(-2, 2).map(lambda near: MIN_PART_BYTES + near),
            st.integers(0, 12 * 2**30),
        ),
        max_size=30,
    )
)
def test_parts_keep_s3_s_rules_for_any_sizes(sizes):
    pieces = [Piece(f"s3://bucket/{index}", "", 100, 100 + size) for index, size in enumerate(sizes)]
    parts = parts_of(pieces)
    assert all(part.size >= MIN_PART_BYTES for part in parts[:-1])
    assert all(MIN_PART_BYTES <= part.size <= MAX_COPY_BYTES for part in parts if isinstance(part, Piece))
    assert all(part.size <= 18 * MIB for part in parts if isinstance(part, GatheredPart))
    assert len(parts) <= len(sizes) + PARTS_IN_FLIGHT + sum(size // COPY_BYTES for size in sizes)
    flat = [piece for part in parts for piece in (part.pieces if isinstance(part, GatheredPart) else [part])]
    joined = []
    for piece in flat:
        if joined and joined[-1].uri == piece.uri and joined[-1].stop == piece.start:
            joined[-1] = joined[-1]._replace(stop=piece.stop)
        else:
            joined.append(piece)
    assert joined == [piece for piece in pieces if piece.size]


def test_copies_grow_where_there_would_be_too_many():
    pieces = [Piece(f"s3://bucket/{index}", "", 0, 2 * COPY_BYTES) for index in range(MAX_PARTS)]
    assert len(parts_of(pieces)) == MAX_PARTS
    assert len(parts_of(pieces[:100])) == 200


@pytest.mark.parametrize(("n_pieces", "size", "n_parts"), [(100, 10**8, 100), (20, 2**29, 80), (3, 3 * 2**32, 126)])
def test_large_parts_are_cut_until_s3_copies_as_much_at_once_as_it_may(n_pieces, size, n_parts):
    parts = parts_of([Piece(f"s3://bucket/{index}", "", 0, size) for index in range(n_pieces)])
    assert len(parts) == n_parts <= PARTS_IN_FLIGHT
    assert max(part.size for part in parts) - min(part.size for part in parts) <= 1
    assert min(size, LEAST_COPY_BYTES) <= parts[0].size


def test_parts_without_rows_and_without_bytes(run, get):
    """Of a group whose objects hold nothing but headers; and the header of the output comes from the first part that has one."""
    execution = run((1, 1, 1, 1))
    bodies = [get(key_of(chunk["output_s3_uri"])) for chunk in execution.chunks]
    header = bodies[0][: bodies[0].index(b"\n") + 1]
    for index, body in ((0, b""), (1, header), (3, header)):
        etag = execution.s3.put_object(Bucket=BUCKET, Key=key_of(execution.chunks[index]["output_s3_uri"]), Body=body)["ETag"]
        execution.tamper(index, rows_read=0, rows_written=0, output_bytes=len(body), header_bytes=len(body), output_etag=etag)
    assert execution.merge()["rows"] == 1
    assert get(OUTPUT) == bodies[2]


@pytest.mark.parametrize(
    "damage",
    [
        lambda segments: segments.pop(),
        lambda segments: segments.insert(1, segments[0]),
        lambda segments: segments[1]["byte_range"].insert(0, 1),
        lambda segments: segments[1].update(byte_range=[1, 8]),
        lambda segments: segments.clear(),
        None,
    ],
    ids=["fewer", "twice", "no range", "gap", "none", "gone"],
)
def test_a_group_that_does_not_add_up_is_refused(s3, put, get, document, damage):
    for index in range(3):
        put(f"in/{index}.csv", b"a,b\n%d,2\n" % index)
    execution = Run(s3, document())
    key = key_of(execution.chunks[0]["segments_s3_uri"])
    segments = json.loads(get(key))
    if damage:
        damage(segments)
        put(key, json.dumps(segments))
    else:
        s3.delete_object(Bucket=BUCKET, Key=key)
    with pytest.raises((IncompleteOutputError, InputNotFoundError)):
        execution.merge()


def test_parts_of_other_columns_are_not_joined(run):
    execution = run()
    execution.tamper(1, layout_sha256="1" * 64)
    with pytest.raises(IncompleteOutputError, match="layout_sha256"):
        execution.merge()


def test_a_merge_that_runs_out_of_time_goes_on_where_it_stopped(run, get, uploads, monkeypatch):
    execution = run(pads=COPIED)
    expected = execution.expected()
    monkeypatch.setattr(upload, "PARTS_IN_FLIGHT", 1)
    sent = []
    time_left = iter([True, False, False, True, False, True])
    execution.s3.meta.events.register(
        "before-parameter-build.s3.UploadPartCopy", lambda params, **_: sent.append(params["PartNumber"])
    )
    monkeypatch.setattr(upload.time, "monotonic", lambda: 0.0 if next(time_left) else 2.0)
    for done in (1, 2):
        with pytest.raises(OutOfTimeError, match=f"{done} of 3"):
            merge_outputs.merge_outputs(execution.s3, execution.document, 1.0)
    assert len(uploads()) == 1
    output = merge_outputs.merge_outputs(execution.s3, execution.document)
    assert output["complete"]
    assert sent == [1, 2, 3]
    assert get(OUTPUT) == expected
    assert not uploads()


@pytest.mark.parametrize("difference", ["other parts", "another size"])
def test_what_an_earlier_attempt_sent_is_used_only_if_it_is_the_same(run, get, put, uploads, s3, fail_calls, difference):
    execution = run(pads=COPIED)
    expected = execution.expected()
    fail_calls("CompleteMultipartUpload", "SlowDown", times=1)
    with pytest.raises(TransientS3Error):
        execution.merge()
    (left,) = uploads()
    size = receipt_of(get, execution.chunks[0])["output_bytes"]
    wrong = b"w" * (size + (difference == "another size"))
    s3.upload_part(Bucket=BUCKET, Key=OUTPUT, UploadId=left["UploadId"], PartNumber=1, Body=wrong)
    if difference == "other parts":
        key = f"{execution.document['plan']['work_prefix']}upload.json"
        put(key, json.dumps(json.loads(get(key)) | {"parts_sha256": "0" * 64}))
    execution.merge()
    assert get(OUTPUT) == expected
    assert not uploads()


def receipt_of(get, chunk):
    return json.loads(get(key_of(chunk["receipt_s3_uri"])))


def test_a_merge_without_progress_does_not_go_round(run, get, uploads):
    execution = run(pads=COPIED)
    expected = execution.expected()
    with pytest.raises(TransientS3Error, match="no part could be copied"):
        merge_outputs.merge_outputs(execution.s3, execution.document, -1.0)
    execution.merge()
    assert get(OUTPUT) == expected
    assert not uploads()


@pytest.fixture
def guessed_run(s3, put, document, monkeypatch):
    """One object in four chunks whose boundaries are guessed."""
    monkeypatch.setattr(splitting, "WINDOWS_WORTH", 0)
    put("in/0.csv", b"a,b\n" + b"1,2\n" * 40)
    execution = Run(s3, document(chunk_size_mb=4.1e-5, tolerated_failure_percentage=50))
    assert execution.document["plan"]["boundaries"] == "guessed"
    assert len(execution.chunks) == 4
    return execution


@pytest.mark.parametrize("index", [0, 1, 3])
def test_a_tolerated_chunk_must_not_leave_a_guess_unproven(guessed_run, get, index):
    guessed_run.lose(index)
    with pytest.raises(UnsafeSplitError, match=f"chunk {index + 1}, .* guessed and not proven"):
        guessed_run.merge()
    guessed_run.document["plan"]["boundaries"] = "exact"
    assert guessed_run.merge()["failed_chunks"] == 1


def test_a_wrong_boundary_voids_the_plan_whatever_is_tolerated(guessed_run):
    guessed_run.lose(2, error="UnsafeSplitError")
    guessed_run.document["plan"]["boundaries"] = "exact"
    with pytest.raises(UnsafeSplitError):
        guessed_run.merge()


def test_parts_are_guarded_by_checksums(run, s3):
    """S3 refuses a part with a checksum where the upload was created without, and a completion that does not repeat it."""
    execution = run((10, 10, 10), {0: COPIED})
    seen = {}
    for operation in ("CreateMultipartUpload", "CompleteMultipartUpload"):
        s3.meta.events.register(
            f"before-parameter-build.s3.{operation}", lambda params, model, **_: seen.update({model.name: dict(params)})
        )
    execution.merge()
    assert seen["CreateMultipartUpload"]["ChecksumAlgorithm"] == "CRC32"
    assert "ChecksumCRC32" in seen["CompleteMultipartUpload"]["MultipartUpload"]["Parts"][-1]


def test_the_report_is_written_last_and_adds_up(run, report):
    execution = run()
    input_bytes = execution.document["plan"]["input_bytes"]
    output = execution.merge()
    made = report()
    assert made["schema_version"] == 2
    assert made["estimated_cost"]["dollars"]["total"] > 0
    assert made["output"] == output
    assert made["rows"] == {"read": 30, "predicted": 30, "rejected": 0}
    assert made["bytes"] == {"read": input_bytes, "written": output["bytes"]}
    assert made["chunks"] == {"planned": 3, "predicted": 3, "reused": 0, "failed": 0}
    assert made["milliseconds"] == {"read": 4.5, "predict": 6.0, "total": 12.0}
    assert made["model"] == MODEL
    assert (made["rounded_integers"], made["column_types"], made["warnings"]) == (0, {}, [])
    columns = {"feature_columns": ["a", "b"], "column_types": None, "output_columns": None}
    assert made["request"] == execution.document["request"] | columns
    assert made["finished"] > made["started"]


def test_work_is_kept_when_asked(run, keys):
    execution = run(keep_work=True)
    execution.merge()
    assert len(keys("out/result.csv.work/")) == 9


@pytest.mark.thorough
def test_more_than_a_page_of_work_is_deleted(run, keys, put):
    execution = run()
    for number in range(1005):
        put(f"{execution.document['plan']['work_prefix']}map-run/{number}.json", b"{}")
    execution.merge()
    assert not keys("out/result.csv.work/")
    assert not keys("columns/")  # what Probe Model has left for this execution


def test_work_that_cannot_be_deleted_does_not_fail_the_run(run, fail_calls):
    execution = run()
    fail_calls("DeleteObjects", "AccessDenied", status=403)
    assert execution.merge()["complete"]


@pytest.mark.parametrize(("tolerated", "lost"), [(0, [1]), (33, [1]), (66, [0, 1]), (100, [0, 1, 2])])
def test_too_many_missing_chunks_publish_nothing(run, keys, tolerated, lost):
    execution = run(tolerated_failure_percentage=tolerated)
    for index in lost:
        execution.lose(index)
    with pytest.raises(MissingChunksError, match=rf"{len(lost)} of 3 chunks have no output.*chunk {lost[0] + 1}, s3://"):
        execution.merge()
    assert OUTPUT not in keys()


def test_tolerated_chunks_are_listed_with_their_reason(run, get, keys, report):
    execution = run(tolerated_failure_percentage=67)
    second = get(key_of(execution.chunks[1]["output_s3_uri"]))
    execution.lose(0)
    execution.lose(2, execution="an earlier one")
    output = execution.merge()
    assert get(OUTPUT) == second
    assert (output["rows"], output["failed_chunks"], output["complete"]) == (10, 2, False)
    failed = report()["failed_chunks"]
    assert [(chunk["chunk_index"], chunk["error"]) for chunk in failed] == [(0, "InvalidDataError"), (2, None)]
    assert failed[0]["byte_range"] == execution.chunks[0]["byte_range"]
    assert keys("out/result.csv.work/")


@pytest.mark.parametrize(
    "changed",
    [
        {"rows_written": 9},
        {"rows_read": 11},
        {"rejected_rows": 11},
        {"input_bytes": 1},
        {"data_sha256": "0" * 64},
        {"quote_parity": 1},
        {"byte_range": [0, 5]},
        {"data_s3_uri": "s3://bucket/in/other.csv"},
        {"chunk_index": 0},
        {"output_s3_uri": "s3://bucket/in/0.csv"},
        {"header_bytes": 0},
        {"output_bytes": 3},
        {"layout_sha256": ""},
        {"memory_mb": True},
    ],
    ids=str,
)
def test_a_receipt_that_does_not_add_up_publishes_nothing(run, keys, changed):
    execution = run()
    execution.tamper(1, **changed)
    with pytest.raises(IncompleteOutputError, match=r"chunk 2, s3://bucket/in/1\.csv"):
        execution.merge()
    assert OUTPUT not in keys()


def test_parts_of_an_object_have_one_header(s3, put, document):
    put("in/0.csv", b"a,b\n" + b"1,2\n" * 20)
    execution = Run(s3, document(chunk_size_mb=20e-6))
    execution.tamper(2, header_bytes=14)
    with pytest.raises(IncompleteOutputError, match="header_bytes 15 and 14"):
        execution.merge()


@pytest.mark.parametrize(
    "change",
    [
        lambda chunks: chunks.pop(),
        lambda chunks: chunks.pop(0),
        lambda chunks: chunks[1].update(byte_range=[4, 44]),
        lambda chunks: chunks[1].update(byte_range=[0, 43]),
        lambda chunks: chunks[1].update(byte_range=[44, 44]),
        lambda chunks: chunks.reverse(),
    ],
)
def test_a_plan_that_does_not_cover_the_input_publishes_nothing(run, put, keys, change):
    execution = run()
    change(execution.chunks)
    put(execution.document["plan"]["plan_key"], json.dumps(execution.chunks))
    with pytest.raises(IncompleteOutputError, match="plan"):
        execution.merge()
    assert OUTPUT not in keys()


@pytest.mark.parametrize("size", [0, COPIED], ids=["gathered", "copied"])
@pytest.mark.parametrize("change", ["truncated", "rewritten", "gone"])
def test_a_part_that_is_not_its_receipt_s_publishes_nothing(run, s3, get, put, keys, uploads, size, change):
    execution = run(pads=size)
    key = key_of(execution.chunks[1]["output_s3_uri"])
    if change == "truncated":
        put(key, get(key)[:-1])
    elif change == "rewritten":
        put(key, get(key)[:-2] + b"8\n")
    else:
        s3.delete_object(Bucket=BUCKET, Key=key)
    with pytest.raises(IncompleteOutputError, match="not the one of its receipt"):
        execution.merge()
    assert OUTPUT not in keys()
    assert not uploads()


@pytest.fixture
def sent(s3):
    """The parts of the output that S3 has copied or taken, in order."""
    numbers = []

    def note(http_response, context, **_):
        if http_response.status_code == 200:
            numbers.append(context["strict_s3"]["PartNumber"])

    for operation in ("UploadPartCopy", "UploadPart"):
        s3.meta.events.register(f"after-call.s3.{operation}", note)
    return numbers


@pytest.mark.parametrize("operation", ["UploadPartCopy", "UploadPart", "CompleteMultipartUpload"])
def test_passing_trouble_leaves_the_upload_and_only_what_is_missing_is_sent_again(
    run, fail_calls, uploads, get, keys, sent, operation
):
    execution = run((10,) * 5, pads=dict.fromkeys(range(4), COPIED))
    expected = execution.expected()
    fail_calls(operation, "SlowDown", times=1)
    with pytest.raises(TransientS3Error):
        execution.merge()
    assert len(uploads()) == 1
    assert OUTPUT not in keys()
    execution.merge()
    assert get(OUTPUT) == expected
    assert sorted(sent) == [1, 2, 3, 4, 5]
    assert not uploads()


@pytest.mark.parametrize(
    ("operation", "code", "status"), [("UploadPartCopy", "AccessDenied", 403), ("UploadPart", "InvalidArgument", 400)]
)
def test_an_upload_that_is_of_no_more_use_is_aborted(run, fail_calls, uploads, keys, operation, code, status):
    execution = run(pads={0: COPIED, 1: COPIED})
    fail_calls(operation, code, status=status)
    with pytest.raises((IncompleteOutputError, InputNotFoundError)):
        execution.merge()
    assert not uploads()
    assert OUTPUT not in keys()


def test_a_completion_that_answers_200_with_an_error_is_a_failure(run, s3, uploads, get):
    from botocore.awsrequest import AWSResponse  # noqa: PLC0415

    class Raw:
        def stream(self):
            return [b"<Error><Code>InternalError</Code><Message>busy</Message></Error>"]

    execution = run(pads={0: COPIED})
    expected = execution.expected()
    answers = [Raw(), Raw()]  # botocore asks twice

    def answer(request, **_):
        return AWSResponse(request.url, 200, {}, answers.pop()) if answers else None

    s3.meta.events.register_first("before-send.s3.CompleteMultipartUpload", answer)
    with pytest.raises(TransientS3Error):
        execution.merge()
    execution.merge()
    assert get(OUTPUT) == expected
    assert not uploads()


def test_an_answer_that_was_lost_is_found_again(run, s3, get):
    """botocore repeats a completion whose answer was lost; S3 says then that there is no such upload."""
    execution = run(pads={0: COPIED})
    expected = execution.expected()

    def completed_but_unheard(**_):
        raise s3_error("CompleteMultipartUpload", "NoSuchUpload", 404)

    s3.meta.events.register("after-call.s3.CompleteMultipartUpload", completed_but_unheard)
    execution.merge()
    assert get(OUTPUT) == expected


def test_a_twin_that_published_and_deleted_the_work_is_a_success(run, monkeypatch):
    execution = run()
    publish = merge_outputs.publish_output
    twins = []

    def publish_after_twin(client, document, deadline):
        if not twins:
            twins.append(None)
            twins[0] = merge_outputs.merge_outputs(client, document)
        return publish(client, document, deadline)

    monkeypatch.setattr(merge_outputs, "publish_output", publish_after_twin)
    assert execution.merge() == twins[0]


def test_what_probes_of_executions_before_have_left_goes_too(run, put, s3):
    """Those of a later one stay: it may not have planned yet."""
    execution = run()
    uris = [columns_uri(f"s3://{BUCKET}/{OUTPUT}", name) for name in ("killed", "own", "later")]
    for uri in uris:
        put(key_of(uri), b"{}")
        if uri != uris[2]:
            time.sleep(1.1)  # S3 says seconds
    model = uris[1].replace(".json", ".model")
    put(key_of(model), b"numbers")
    execution.document["model"] |= {"columns_s3_uri": uris[1], "stored_model_s3_uri": model}
    assert merge_outputs.columns_until(s3, f"s3://{BUCKET}/{OUTPUT}", uris[1], model) == [uris[1], model, uris[0]]
    merge_outputs.clean_up(s3, execution.document, keep_work=False)
    assert set(merge_outputs.modified_under(s3, f"s3://{BUCKET}/{OUTPUT}.work/")) == {uris[2]}
