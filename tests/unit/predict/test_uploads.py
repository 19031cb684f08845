"""An output leaves in pieces while it is scored, and is there whole or not at all."""

import threading
import time
from collections import Counter
from itertools import count

import pytest
from botocore.exceptions import ConnectionClosedError
from botocore.retries.standard import ExponentialBackoff
from harness import BUCKET, DATA, MODEL, OUTPUT, FirstColumn, make_event

import prediction_handler as handler
from support.samples import s3_error

KIB = 2**10
PIECE, BLOCK = 20 * KIB, 2 * KIB  # a quarter of a piece is the smallest that S3 takes
ROWS = b"".join(b"%07d\n" % row for row in range(8 * PIECE // 8))
CSV = b"x1\n" + ROWS
SCORED = b"x1,p\n" + b"".join(b"%s,%d.0\n" % (row, int(row)) for row in ROWS.split())
WORK = f"{OUTPUT}.work/identity/fingerprint/chunk-00000"
PART, RECEIPT = f"{WORK}.csv", f"{WORK}.json"
EVENT = {
    "feature_columns": ["x1"],
    "column_types": {"x1": "number"},
    "prediction_column_name": "p",
    "output_s3_uri": PART,
    "receipt_s3_uri": RECEIPT,
    "raise_errors": True,
}


@pytest.fixture(autouse=True)
def small_pieces(small_parts, monkeypatch):
    """KiB for MiB: a piece has as many blocks as in earnest."""
    monkeypatch.setattr(handler, "UPLOAD_PIECE_BYTES", PIECE)
    monkeypatch.setattr(handler, "BLOCK_BYTES", BLOCK)


@pytest.fixture
def stored(put):
    put(MODEL, FirstColumn())
    put(DATA, CSV)


@pytest.fixture
def uploads(s3):
    """List the uploads that were neither completed nor aborted."""
    return lambda: s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])


@pytest.fixture
def calls(s3):
    """What S3 has answered, in order: the operations by which something is written."""
    answered = []
    for operation in ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "AbortMultipartUpload"):
        s3.meta.events.register(f"after-call.s3.{operation}", lambda model, **_: answered.append(model.name))
    return answered


@pytest.fixture
def predict(monkeypatch):
    """Let the model do something first, with the number of the block that it is given."""

    def begin_with(first):
        original, numbers = FirstColumn.predict, count()

        def predict(model, features):
            first(next(numbers))
            return original(model, features)

        monkeypatch.setattr(FirstColumn, "predict", predict)

    return begin_with


def score(**fields):
    return handler.lambda_handler(make_event(**{**EVENT, **fields}), None)


def sizes_of_pieces(s3):
    """Return the sizes of the pieces that are sent from now on, by their numbers."""
    sizes = {}
    s3.meta.events.register(
        "before-parameter-build.s3.UploadPart", lambda params, **_: sizes.update({params["PartNumber"]: len(params["Body"])})
    )
    return sizes


@pytest.mark.parametrize("size", [0, 1, PIECE, PIECE + 1, 2 * PIECE, 5 * PIECE + 7])
def test_a_small_file_is_one_put_and_a_larger_one_is_pieces(s3, put, get, calls, tmp_path, size):
    content = bytes(index % 251 for index in range(size))
    (tmp_path / "file").write_bytes(content)
    sizes = sizes_of_pieces(s3)
    handler.upload_to_s3(s3, tmp_path / "file", OUTPUT)
    assert get(OUTPUT) == content
    if size <= PIECE:
        assert calls == ["PutObject"]
    else:
        whole, rest = divmod(size - 1, PIECE)
        assert sizes == dict.fromkeys(range(1, whole + 1), PIECE) | {whole + 1: rest + 1}
        assert calls == ["CreateMultipartUpload", *["UploadPart"] * len(sizes), "CompleteMultipartUpload"]


@pytest.mark.usefixtures("stored")
def test_pieces_leave_before_the_last_block_is_scored(s3, get, calls, uploads, predict):
    sent = threading.Event()
    s3.meta.events.register("after-call.s3.UploadPart", lambda **_: sent.set())
    predict(lambda block: block < 8 or sent.wait(30) or pytest.fail("no piece has left"))
    receipt = score()
    assert get(PART) == SCORED
    assert receipt["output_bytes"] == len(SCORED)
    head = s3.head_object(Bucket=BUCKET, Key=handler.parse_s3_uri(PART)[1])
    assert receipt["output_etag"] == head["ETag"]
    assert s3.get_object_tagging(Bucket=BUCKET, Key=handler.parse_s3_uri(PART)[1])["TagSet"]
    assert calls[-2:] == ["CompleteMultipartUpload", "PutObject"], "the receipt comes last"
    assert uploads() == []


RANGE = {"byte_range": [0, len(CSV)]}


@pytest.mark.usefixtures("stored")
def test_a_piece_begins_before_it_is_scored_if_the_chunks_end_is_known(s3, get, predict, monkeypatch):
    """What is left after the last row is less than the smallest piece."""
    sizes, begun = sizes_of_pieces(s3), threading.Event()
    s3.meta.events.register("before-send.s3.UploadPart", lambda **_: begun.set())
    predict(lambda block: block < 3 or begun.wait(30) or pytest.fail("no piece has begun"))
    score(**RANGE)
    assert get(PART) == SCORED
    *sent, last = (sizes[number] for number in sorted(sizes))
    assert sum(sent) + last == len(SCORED)
    assert sent == sorted(sent, reverse=True), "they shrink towards the end"
    assert max(sent) == PIECE
    assert min(sent) >= PIECE // 4
    assert last < PIECE // 2
    first = sizes.copy()
    sizes.clear()
    monkeypatch.setattr(handler, "_workers", lambda _: 3)
    score(**RANGE)
    assert sizes == first, "else two ETags"


@pytest.mark.parametrize("patience", [0.001, 30], ids=["slow", "fewer"])
def test_a_piece_whose_bytes_do_not_come_in_time_or_at_all_is_sent_again(s3, get, calls, tmp_path, monkeypatch, patience):
    monkeypatch.setattr(handler, "UPLOAD_PATIENCE_SECONDS", patience)
    begun, sizes = [], sizes_of_pieces(s3)
    s3.meta.events.register("before-send.s3.UploadPart", lambda **_: begun.append(0))
    content = ROWS[: 2 * PIECE + 7]
    with handler._Upload(s3, tmp_path / "file", OUTPUT) as upload:
        with upload.open("wb") as output:
            for start in range(0, len(content), BLOCK):
                output.bytes_to_come = 2 * PIECE if patience > 1 else max(0, len(content) - start - BLOCK)
                output.write(content[start : start + BLOCK])
                time.sleep(0.01)
        upload.complete()
    assert get(OUTPUT) == content
    assert len(begun) > calls.count("UploadPart") == len(sizes) == 3, "one was given up"


@pytest.mark.usefixtures("stored")
def test_a_piece_whose_connection_breaks_is_sent_again(s3, get, monkeypatch):
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0)
    tries = []

    def break_off(request, **_):
        number = request.url.partition("partNumber=")[2].partition("&")[0]
        tries.append(number)
        request.body.read(KIB)
        if number == "3" and tries.count("3") < 3:
            raise ConnectionClosedError(endpoint_url=request.url)
        request.body.seek(0)

    s3.meta.events.register_first("before-send.s3.UploadPart", break_off)
    score()
    assert get(PART) == SCORED
    assert tries.count("3") == 3
    assert tries.count("2") == 1


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("operation", "code", "status", "error", "says"),
    [
        ("CreateMultipartUpload", "AccessDenied", 403, "InvalidRequestError", "cannot write the output: "),
        ("UploadPart", "AccessDenied", 403, "InvalidRequestError", "cannot write the output: "),
        ("UploadPart", "SlowDown", 503, "TransientS3Error", "S3 was busy or broke off"),
        ("CompleteMultipartUpload", "InternalError", 500, "TransientS3Error", "S3 was busy or broke off"),
    ],
)
def test_what_fails_for_good_is_named_and_leaves_nothing(s3, put, get, uploads, predict, operation, code, status, error, says):
    failed, blocks = threading.Event(), []

    def fail(params, **_):
        if params.get("PartNumber", 2) == 2:
            failed.set()
            raise s3_error(operation, code, status)

    s3.meta.events.register(f"before-parameter-build.s3.{operation}", fail)
    put(PART, b"older")
    predict(lambda block: blocks.append(block) or (block > 20 and operation != "CompleteMultipartUpload" and failed.wait(30)))
    with pytest.raises(getattr(handler, error), match=says):
        score()
    assert get(PART) == b"older"
    assert uploads() == []
    is_scored_whole = len(blocks) >= len(CSV) // BLOCK
    assert is_scored_whole == (operation == "CompleteMultipartUpload"), "scoring stops soon"


def interrupt(block):
    if block == 20:
        raise KeyboardInterrupt


def group(second):
    return {"data_s3_uri": None, "segments": [{"data_s3_uri": DATA}, second]}


ANOTHER = f"{DATA}.2"


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("end", "fields", "first", "error"),
    [
        (b"zwei\n", {}, None, "InvalidDataError"),
        (b'"2\n', {"byte_range": [0, len(CSV) + 3]}, None, "UnsafeSplitError"),
        (b"", group({"data_s3_uri": ANOTHER, "data_etag": '"x"'}), None, "InputChangedError"),
        (b"", group({"data_s3_uri": ANOTHER}), None, "InvalidDataError"),
        (b"", {}, interrupt, "KeyboardInterrupt"),
    ],
    ids=["bad row", "cut quote", "changed", "other columns", "interrupted"],
)
def test_what_stops_the_scoring_takes_back_what_has_left(s3, put, get, calls, uploads, predict, end, fields, first, error):
    """The abort waits for the pieces that are on their way: one that arrived later would stay."""
    put(DATA, CSV + end)
    put(ANOTHER, b"x2\n1\n")
    put(PART, b"older")
    begun = []
    s3.meta.events.register("before-call.s3.UploadPart", lambda **_: begun.append(0) or time.sleep(0.1))
    predict(first or (lambda _: None))
    with pytest.raises(getattr(handler, error, KeyboardInterrupt)):
        score(**fields)
    for thread in threading.enumerate():
        if thread.name.startswith("upload"):
            thread.join()
    assert begun, "the pieces before were on their way"
    assert calls[-1] == "AbortMultipartUpload"
    assert get(PART) == b"older"
    assert uploads() == []


def test_an_output_that_is_begun_anew_has_nothing_of_its_first_beginning(s3, get, uploads, tmp_path):
    """A chunk is scored again by the model itself if the stored form of it fails."""
    with handler._Upload(s3, tmp_path / "file", OUTPUT) as upload:
        for content in (b"first" * PIECE, b"second" * PIECE):
            with upload.open("wb") as output:
                for start in range(0, len(content), BLOCK):
                    output.write(content[start : start + BLOCK])
        upload.complete()
    assert get(OUTPUT) == content
    assert uploads() == []


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("moment", ["unsent", pytest.param("unheard", marks=pytest.mark.thorough)])
def test_a_killed_function_leaves_all_or_nothing_and_the_next_one_succeeds(s3, put, get, uploads, killed_at, moment):
    """What a killed function leaves of an upload, the run's merge ends, or the bucket's lifecycle rule."""
    put(DATA, b"x1\n" + ROWS[: 3 * PIECE])
    event = make_event(**{**EVENT, "on_bad_row": "quarantine"})
    whole = handler.predict_chunk(s3, event)
    expected = get(PART)
    names = {"output": PART, "rejected": f"{PART}.rejected.csv", "receipt": RECEIPT}
    killed_in = []
    for number in count(1):
        for uri in names.values():
            s3.delete_object(Bucket=BUCKET, Key=handler.parse_s3_uri(uri)[1])
        handler._model_cache.clear()
        doomed = killed_at(number, moment)
        doomed.run(lambda client: handler.predict_chunk(client, event))
        listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=handler.parse_s3_uri(WORK)[1])
        there = [item["Key"] for item in listed.get("Contents", ())]
        for name in there:
            if name.endswith("00000.csv"):
                assert get(PART) == expected
            elif name.endswith(".json"):
                assert len(there) == 3
        killed_in.append(doomed.killed_in)
        if not doomed.killed_in:
            break
        left = uploads()
        carried_out = Counter(doomed.calls) - Counter([doomed.killed_in] if moment == "unsent" else [])
        assert len(left) == carried_out["CreateMultipartUpload"] - carried_out["CompleteMultipartUpload"]
        again = handler.predict_chunk(s3, event)
        assert (get(PART), again["output_etag"]) == (expected, whole["output_etag"])
        assert uploads() == left
        for upload in left:
            s3.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
    assert {"CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"} < set(killed_in)
