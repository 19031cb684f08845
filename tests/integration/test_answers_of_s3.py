"""What botocore makes of S3's answers, and what we make of that: over a real connection, by a real client."""

import json
import threading

import pytest
from botocore.exceptions import ClientError

import prediction_handler as handler
from support.scripted_s3 import SHORT_PATIENCE_SECONDS, ScriptedS3, cut, garble, refuse, reset, stall, whole
from workflow import errors, merge_outputs, s3, upload
from workflow.multipart import Piece
from workflow.published import Result

pytestmark = pytest.mark.emulator("it scripts the answers of an S3 of its own")

URI = "s3://bucket/k"
BODY = json.dumps([{"data_s3_uri": "s3://bucket/k", "number": number} for number in range(40)]).encode()
BROKEN_AT = 300


@pytest.fixture
def server(monkeypatch):
    # A piece is kept when it is whole; these are small, so that some come before the body breaks.
    monkeypatch.setattr(s3, "PIECE_BYTES", 100)
    monkeypatch.setattr(handler, "DOWNLOAD_PIECE_BYTES", 100)
    with ScriptedS3(BODY) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.is_over.set()
        running.shutdown()
        thread.join()


def download(client, folder):
    handler.download_from_s3(client, URI, folder / "k")
    return (folder / "k").read_bytes()


def download_range(client, folder):
    handler._download(client, handler._Object(URI, (0, len(BODY)), '"v1"'), folder / "k")
    return (folder / "k").read_bytes()


def read_beginning(client, _):
    return handler._read(client, handler._Object(URI, (0, 10 * len(BODY))))[0]


READERS = {
    "read_range": lambda client, _: s3.read_range(client, URI, 0, len(BODY), '"v1"'),
    "get_text": lambda client, _: s3.get_text(client, URI).encode(),
    "download_from_s3": download,
    "download a range": download_range,
    "header and probe": read_beginning,
}


@pytest.fixture(params=[cut, reset, garble, pytest.param(stall, marks=pytest.mark.thorough)], ids=lambda fault: fault.__name__)
def fault(request, server):
    if request.param is stall:
        server.patience_seconds = SHORT_PATIENCE_SECONDS
    return request.param


@pytest.mark.parametrize("reader", READERS)
def test_a_body_that_breaks_twice_is_read_whole(server, tmp_path, reader, fault):
    server.script = [fault(BROKEN_AT), fault(BROKEN_AT)]
    assert READERS[reader](server.client(), tmp_path) == BODY
    first, *later = server.asked
    assert len(later) == 2
    assert first.range in (None, f"bytes=0-{len(BODY) - 1}", f"bytes=0-{10 * len(BODY) - 1}")
    assert {asked.if_match for asked in later} == {'"v1"'}
    if fault in (cut, stall):  # a reset may take along what had come
        starts = [int((asked.range or "bytes=0-").removeprefix("bytes=").partition("-")[0]) for asked in later]
        assert starts == [BROKEN_AT, 2 * BROKEN_AT]
    if fault is garble:
        assert {asked.range for asked in later} == {first.range}


@pytest.mark.parametrize("reader", READERS)
def test_a_body_that_keeps_breaking_is_transient(server, tmp_path, reader, fault):
    server.script = [fault(10)] * 99
    with pytest.raises((errors.TransientS3Error, handler.TransientS3Error)):
        READERS[reader](server.client(), tmp_path)
    assert len(server.asked) == s3.BODY_ATTEMPTS


@pytest.mark.parametrize("reader", READERS)
def test_two_versions_are_never_mixed(server, tmp_path, reader):
    def cut_and_replace(connection):
        cut(BROKEN_AT)(connection)
        server.body, server.etag = BODY.replace(b"number", b"letter"), '"v2"'

    server.script = [cut_and_replace]
    expected = errors.TransientS3Error if reader == "get_text" else (errors.InputChangedError, handler.InputChangedError)
    with pytest.raises(expected):
        READERS[reader](server.client(), tmp_path)


def test_wrong_bytes_that_may_have_been_scored_are_not_repaired(server, tmp_path):
    """The whole chunk is: the scorer reads while the download runs."""
    server.script = [garble(0)]
    growing = handler._GrowingFile(tmp_path / "k")
    growing.fill(server.client(), handler._Object(URI), lambda _: None)
    with pytest.raises(handler.TransientS3Error, match="FlexibleChecksumError"):
        growing.wait_for(1)
    assert len(server.asked) == 1


def test_a_completion_that_answers_200_with_an_error_arrives_as_500(server):
    server.script = [refuse("InternalError", 200)] * 2
    with pytest.raises(ClientError) as caught:
        server.client(attempts=2).complete_multipart_upload(Bucket="bucket", Key="k", UploadId="u", MultipartUpload={"Parts": []})
    assert (caught.value.response["Error"]["Code"], len(server.asked)) == ("InternalError", 2)  # botocore repeats it
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert type(s3.s3_failure(caught.value, URI)) is errors.TransientS3Error


@pytest.mark.parametrize("code", ["InternalError", "SlowDown", "NeverHeardOf"])
def test_a_copy_that_answers_200_with_an_error_is_transient(server, code):
    server.script = [refuse(code, 200)]
    part = Piece(URI, '"v1"', 0, 6_000_000)
    with pytest.raises(errors.TransientS3Error):
        upload.copy_part(server.client(), upload.Upload("s3://bucket/out", "u", {}), 1, part)


@pytest.mark.parametrize(
    ("answer", "then", "error"),
    [
        (refuse("PreconditionFailed"), whole(), errors.OutputExistsError),
        (refuse("PreconditionFailed"), refuse("NoSuchKey"), errors.TransientS3Error),
        (refuse("ConditionalRequestConflict"), refuse("NoSuchKey"), errors.TransientS3Error),
        (refuse("ConditionalRequestConflict"), whole(), errors.OutputExistsError),
        (refuse("AccessDenied"), None, errors.InputNotFoundError),
    ],
)
def test_a_conditional_write_that_is_refused_is_looked_at_once_more(server, answer, then, error):
    """An output of somebody else's is lost to; where there is none, the write is tried again."""
    absent = refuse("NoSuchKey")
    server.script = [absent, whole(), absent, absent, answer, *([then] if then else [])]  # HEAD, part, two HEADs, PUT, HEAD
    document = {
        "request": {"output_s3_uri": "s3://bucket/out", "overwrite": False},
        "prediction": {"output_format": "csv", "output_compression": "none"},
        "plan": {"identity": "i", "output_found": None, "agreed": {"work_s3_uri": "s3://bucket/out.work/"}},
    }
    pieces = [Piece(URI, '"v1"', 0, len(BODY))]
    with pytest.raises(error):
        merge_outputs.merge(server.client(attempts=1), document, pieces, Result("i", len(BODY), ""), 2.0**60)
    assert server.script == []


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, errors.InputNotFoundError),
        (403, errors.InputNotFoundError),
        (400, errors.InputNotFoundError),
        (412, errors.InputChangedError),
        (500, errors.TransientS3Error),
        (503, errors.TransientS3Error),
        (501, errors.InvalidRequestError),
    ],
)
def test_a_head_is_answered_by_its_status_alone(server, status, error):
    server.script = [refuse(status=status)] * 9  # to a 400 botocore asks for the bucket's region, too
    with pytest.raises(error):
        s3.head_object(server.client(), URI)
    with pytest.raises(getattr(handler, error.__name__)):
        handler._head(server.client(), handler._Object(URI))


@pytest.mark.parametrize(
    "answer",
    [
        refuse(status=200, body=b"<ListBucketResult><Contents><Key>a"),
        refuse(status=503, body=b"<html>busy</html>"),
        refuse(status=500, body=b"\xff\x00"),
        cut(5),
        reset(5),
        stall(5),
    ],
)
def test_a_listing_that_cannot_be_read_is_transient(server, answer):
    server.patience_seconds, server.script = SHORT_PATIENCE_SECONDS, [answer]
    with pytest.raises(errors.TransientS3Error):
        list(s3.list_pages(server.client(), "s3://bucket/in/"))


def test_an_error_whose_body_breaks_is_transient(server):
    def answer(connection):
        connection.send(503, b"<Error><Co", 999)
        connection.close_connection = True

    server.script = [answer] * 2
    with pytest.raises(errors.TransientS3Error):
        s3.get_text(server.client(), URI)
    with pytest.raises(handler.TransientS3Error):
        handler._read(server.client(), handler._Object(URI))


def test_nobody_at_the_other_end_is_transient(server):
    client = server.client()
    server.shutdown()
    server.server_close()
    with pytest.raises(errors.TransientS3Error):
        s3.get_text(client, URI)
