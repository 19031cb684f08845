"""Many objects as one chunk: the part is what each object alone gives, joined under one header."""

import csv
import hashlib
import json
import threading
import time
from collections import defaultdict

import numpy as np
import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.response import StreamingBody
from harness import BUCKET, DATA, MODEL, OUTPUT, FirstColumn, invoke, linear, make_event
from hypothesis import given, settings
from hypothesis import strategies as st

import prediction_handler as handler
from support.csv_samples import quoted
from workflow.fingerprint import data_sha256_of

LIST, RECEIPT = (f"s3://{BUCKET}/w/chunk-00000.{end}.json" for end in ("segments", "receipt"))


class Numbers(FirstColumn):
    """Its columns are stated to be numbers, whichever values an object has."""


NUMBERS = {"x1": "number", "x2": "number"}


def uri_of(index):
    return f"s3://{BUCKET}/data/{index:04}.csv"


@pytest.fixture
def put_all(s3, put):
    """Store a model and some objects; returns their segments as the planner would write them."""

    def put_all(*objects, model=None):
        put(MODEL, model or Numbers())
        segments = []
        for index, data in enumerate(objects):
            put(uri_of(index), data)
            bucket, key = handler.parse_s3_uri(uri_of(index))
            etag = s3.head_object(Bucket=bucket, Key=key)["ETag"]
            segments.append({"data_s3_uri": uri_of(index), "byte_range": [0, len(data)], "data_etag": etag})
        return segments

    return put_all


def score(segments, **fields):
    """Invoke directly for a group, given inline."""
    return invoke(data_s3_uri=None, segments=segments, **{"column_types": NUMBERS, **fields})


def score_files(objects, folder, block_bytes, *, is_group):
    """Score bytes as a chunk in local files, bad rows quarantined; returns its facts, its part and its list of rejected rows."""
    segments = []
    for index, (uri, data) in enumerate(objects):
        path = folder / f"{index}.csv"
        path.write_bytes(data)
        segments.append(handler._Segment(handler._Source(uri, 0), None, None, path))
    event = {
        "feature_columns": ["x1"],
        "prediction_column_name": "p",
        "on_bad_row": "quarantine",
        "chunk_index": 0,
        "column_types": {"x1": "number"},
    }
    original, handler.BLOCK_BYTES = handler.BLOCK_BYTES, block_bytes
    try:
        chunk = handler._Chunk(segments, handler._Csv(), is_group=is_group)
        facts = handler._score_chunk(
            chunk, folder / "part.csv", folder / "part.csv.rejected.csv", handler._Model(Numbers(), {}), event
        )
    finally:
        handler.BLOCK_BYTES = original
    rejected = list(csv.reader((folder / "part.csv.rejected.csv").open(newline="", encoding="utf-8")))
    return facts, (folder / "part.csv").read_bytes(), rejected[1:]


# --- the part is what each object alone gives ----------------------------------------------------------------------------------


@st.composite
def groups(draw):
    """Objects of one layout, each written in its own way: byte order mark, quoting, last line end; some are only a header."""
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    rows = st.tuples(st.text('é ",\n\r', max_size=4), st.sampled_from(["1", "-2.5", "", "zwei"]))
    objects = []
    for table in draw(st.lists(st.lists(rows, max_size=6), min_size=1, max_size=8)):
        always = draw(st.booleans())
        lines = [",".join(quoted(text, always=always) for text in row) for row in [("note", "x1"), *table]]
        mark = "\ufeff" if draw(st.booleans()) else ""
        last = line_end if draw(st.booleans()) else ""
        objects.append((table, (mark + line_end.join(lines) + last).encode()))
    return objects


@settings(deadline=None)
@given(groups(), st.integers(1, 300))
def test_a_group_is_the_concatenation_of_its_objects(tmp_path_factory, objects, block_bytes):
    folder = tmp_path_factory.mktemp("group")
    named = [(uri_of(index), data) for index, (_, data) in enumerate(objects)]
    facts, part, rejected = score_files(named, folder, block_bytes, is_group=True)

    bodies, rejected_alone = b"", []
    for (table, _), object_ in zip(objects, named, strict=True):
        if table:
            alone, its_part, its_rejected = score_files([object_], folder, block_bytes, is_group=False)
            bodies += its_part[alone.header_bytes :]
            rejected_alone += its_rejected
    assert part[facts.header_bytes :] == bodies
    first = named[0][1]
    raw_header = first[: first.index(b"x1") + 2] + (b'"' if b'"x1"' in first[:20] else b"")
    assert part[: facts.header_bytes].rstrip(b"\r\n") == raw_header + b",p"
    assert rejected == rejected_alone
    rows = sum(len(table) for table, _ in objects)
    quotes = sum(data.count(b'"') for _, data in named)
    assert facts.read == handler._Tally(rows=rows, bytes=sum(len(data) for _, data in named), quotes=quotes)
    assert facts.rows == rows


@pytest.mark.parametrize(
    ("method", "columns"), [("predict", b"prediction"), ("predict_proba", b"prediction_a,prediction_b")], ids=["one", "several"]
)
@pytest.mark.parametrize("objects", [[b"x1,x2\n"], [b"x1,x2"], [b"x1,x2", b"x1,x2\n", b"x1,x2"]])
def test_a_group_without_rows_is_a_part_with_a_header(put_all, get, objects, method, columns):
    class Classifier(Numbers):
        classes_ = ("a", "b")

        def predict_proba(self, features):
            return np.zeros((len(features), 2))

    segments = put_all(*objects)
    handler._model_cache.clear()
    model = handler._Model(Classifier(), {"bytes": 0, "sha256": "", "warnings": []})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handler, "_fetch_model", lambda *_: model)
        status, body = score(segments, prediction_method=method)
    assert (status, body["rows"], body["rows_read"], body["quote_parity"]) == (200, 0, 0, 0)
    assert get(OUTPUT) == b"x1,x2," + columns + b"\n"
    assert body["header_bytes"] == body["output_bytes"] == len(get(OUTPUT))
    assert body["input_bytes"] == sum(map(len, objects))


def test_a_group_may_begin_and_end_within_objects(put_all, get):
    """A segment that starts later takes its header from the object's first bytes, and names its rows by bytes."""
    first, last = b'x1,"x2"\n1,2\n3,4\n5,6\n', b"x1,x2\n7,8\n9,zehn\n"
    segments = put_all(first, b"x1,x2\n0,0\n", last)
    segments[0]["byte_range"] = [first.index(b"3,4"), len(first)]
    segments[2]["byte_range"] = [0, last.index(b"9")]
    status, body = score(segments)
    assert (status, body["rows"], body["input_bytes"]) == (200, 4, 8 + 10 + 10)
    assert get(OUTPUT) == b'x1,"x2",prediction\n3,4,3.0\n5,6,5.0\n0,0,0.0\n7,8,7.0\n'

    segments[2]["byte_range"] = [last.index(b"9"), len(last)]
    status, body = score(segments)
    where = (
        f"{uri_of(2)} byte 10 (row 1 of the chunk that starts at byte 10), column 'x2': a text of 4 character(s) is not a number: "
        "correct the value, or keep such rows aside (on_bad_row: quarantine)"
    )
    assert (status, body["message"]) == (400, where)


def test_many_small_objects_are_one_call_of_the_model(put_all, get, monkeypatch):
    objects = [f"x1,x2\n{index},0\n{index}.5,0\n".encode() for index in range(40)]
    calls = []
    monkeypatch.setattr(handler, "_call_model", lambda _, __, features: calls.append(len(features)) or np.asarray(features)[:, 0])
    status, body = score(put_all(*objects))
    assert (status, body["rows"], body["objects"], body["input_bytes"]) == (200, 80, 40, sum(map(len, objects)))
    assert calls == [80]
    lines = get(OUTPUT).decode().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == [f"{index}{half}" for index in range(40) for half in ("", ".5")]
    assert all(float(line.split(",")[0]) == float(line.split(",")[2]) for line in lines[1:])


def test_downloads_run_side_by_side_and_not_all_at_once(put_all, monkeypatch):
    """The first sixteen bodies are read only when all sixteen have come."""
    together = threading.Barrier(handler.DOWNLOADS_AT_ONCE)
    running, most = [], []
    download = handler._download

    def waiting(client, wanted, target, *arguments):
        s3_uri = wanted.s3_uri
        if isinstance(target, handler._GrowingFile):
            running.append(s3_uri)
            most.append(len(running))
            if s3_uri < uri_of(handler.DOWNLOADS_AT_ONCE):
                together.wait(timeout=20)
        try:
            return download(client, wanted, target, *arguments)
        finally:
            if s3_uri in running:
                running.remove(s3_uri)

    segments = put_all(*[b"x1,x2\n1,2\n"] * 40)
    monkeypatch.setattr(handler, "_download", waiting)
    status, body = score(segments)
    assert (status, body["rows"]) == (200, 40)
    assert max(most) == handler.DOWNLOADS_AT_ONCE


def test_a_large_object_between_small_ones_is_streamed(put_all, get, monkeypatch):
    monkeypatch.setattr(handler, "DOWNLOAD_PIECE_BYTES", 1000)
    monkeypatch.setattr(handler, "BLOCK_BYTES", 5000)
    large = [f"{index},{index % 7}" for index in range(20_000)]
    objects = [b"x1,x2\n-1,0\n", ("x1,x2\n" + "\n".join(large)).encode(), b"x1,x2\n-2,0\n", b"x1,x2\n-3,0\n"]
    pieces = defaultdict(list)
    advance = handler._GrowingFile.advance
    monkeypatch.setattr(
        handler._GrowingFile, "advance", lambda self, count: pieces[self.path.name].append(count) or advance(self, count)
    )
    status, body = score(put_all(*objects))
    assert (status, body["rows"]) == (200, 20_003)
    assert max(pieces["data-1.csv"]) == 1000
    read = [line.rsplit(",", 1) for line in get(OUTPUT).decode().splitlines()[1:]]
    assert [record for record, _ in read] == ["-1,0", *large, "-2,0", "-3,0"]
    assert all(float(record.split(",")[0]) == float(value) for record, value in read)


# --- what an object's fault says, and to whom it belongs ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (b"x1,x2,extra\n1,2,3\n", "it adds 'extra'"),
        (b"x1\n1\n", "it lacks 'x2'"),
        (b"x1,X2\n1,2\n", "it lacks 'x2' and it adds 'X2'"),
        (b"x2,x1\n1,2\n", "in another order, column 1 is 'x2', not 'x1'"),
        (b"x2,x1", "in another order"),
        (b"x1,x2\r\n1,2\r\n", "ends its lines in CRLF"),
    ],
)
def test_another_header_is_named_with_both_objects(s3, put_all, other, says):
    segments = put_all(b"x1,x2\n1,2\n", b"x1,x2\n3,4\n", other)
    for start in {0, other.find(b"\n") + 1}:  # its header is read for itself if the range begins behind it
        segments[2]["byte_range"][0] = start
        status, body = score(segments)
        assert (status, body["error"]) == (400, "InvalidDataError")
        assert all(text in body["message"] for text in (says, uri_of(0), uri_of(2)))
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix="out/")["KeyCount"] == 0


def test_line_ends_are_compared_with_the_first_object_that_has_one(put_all):
    status, body = score(put_all(b"x1,x2", b"x1,x2\r\n1,2\r\n", b"x1,x2\n1,2\n"))
    assert (status, body["error"]) == (400, "InvalidDataError")
    assert body["message"].startswith(f"{uri_of(2)} ends its lines in LF, {uri_of(1)} in CRLF")


@pytest.mark.parametrize(
    "bad",
    [
        *(b"", b'"x1,x2', b"x1,x2,x1\n", b"x1,x2\n1,2\n3,zwei\n", b"x1,x2\n1,2\n3\n", b'x1,x2\n1,2\n1"2",4\n'),
        *(b'x1,x2\n1,2\n3,"4\n', b"x1,x2\n1,2\n,4\n"),
    ],
)
def test_a_fault_is_told_as_for_the_object_alone(put_all, bad):
    """What is told of an object alone, test_prediction_handler.py asks."""
    put_all(b"x1,x2\n1,2\n", bad, b"x1,x2\n3,4\n5,6\n", model=linear())
    alone = invoke(data_s3_uri=uri_of(1))
    assert alone[1]["message"].startswith(uri_of(1))
    for order in ([1, 0], [0, 1, 2]):
        assert score([{"data_s3_uri": uri_of(index)} for index in order]) == alone


def test_a_header_that_ends_in_a_carriage_return_alone_is_named(put_all):
    status, body = score(put_all(b"x1,x2\n1,2\n", b"x1,x2\r"))
    assert (status, body["error"]) == (400, "InvalidDataError")
    assert body["message"].startswith(f"{uri_of(1)} row 1 (byte 5): a carriage return")


@pytest.mark.parametrize("has_range", [True, False])
def test_an_unclosed_quote_does_not_swallow_the_next_object(put_all, has_range):
    """Together the quotes of the two would pair up, and the second header would be a part of a field."""
    segments = put_all(b"x1,x2\n1,2\n", b'x1,x2\n3,"4\n', b'x1,x2\n5,"\n6,7\n', b"x1,x2\n8,9\n")
    if not has_range:
        segments = [{"data_s3_uri": segment["data_s3_uri"]} for segment in segments]
    status, body = score(segments)
    assert (status, body["error"]) == (400, "InvalidDataError")
    assert body["message"] == f"{uri_of(1)} row 1 (byte 6): a quoted field that is never closed"


def test_a_segment_that_cuts_a_quoted_field_is_an_unsafe_split(put_all):
    data = b'x1,x2,note\n1,2,"a\nb"\n3,4,c\n'
    cut = data.index(b"b")
    other = b"x1,x2,note\n1,2,\n"
    for place in range(3):
        for byte_range in ([0, cut], [cut, len(data)]):
            objects = [other, other]
            objects.insert(place, data)
            segments = put_all(*objects)
            segments[place]["byte_range"] = byte_range
            status, body = score(segments)
            assert (status, body["error"]) == (400, "UnsafeSplitError"), (place, byte_range)
            assert body["message"].startswith(f"{uri_of(place)} bytes=[{byte_range[0]}, {byte_range[1]}) cut a quoted field")


@pytest.mark.parametrize("place", [0, 1])
def test_a_segment_that_cuts_its_header_is_an_unsafe_split(put_all, place):
    objects = [b'"x1",x2\n1,2\n', b'"x1",x2\n1,2\n']
    segments = put_all(*objects)
    segments[place]["byte_range"] = [0, 3]
    for status, body in (score(segments), invoke(**segments[place])):
        assert (status, body["error"]) == (400, "UnsafeSplitError")
        assert body["message"].startswith(f"{uri_of(place)} bytes=[0, 3) cut a quoted field")


def test_a_bad_row_beside_a_sound_range_is_no_unsafe_split(put_all):
    data = b'x1,x2\n1,2\n3,"4"\n'
    segments = put_all(data, b"x1,x2\n1,zwei\n")
    segments[0]["byte_range"] = [10, len(data)]
    status, body = score(segments)
    assert (status, body["error"]) == (400, "InvalidDataError")
    assert body["message"].startswith(f"{uri_of(1)} row 1 (byte 6), column 'x2'")


# --- S3 ------------------------------------------------------------------------------------------------------------------------


def test_a_changed_object_is_named(put_all, put):
    segments = put_all(b"x1,x2\n1,2\n", b"x1,x2\n3,4\n", b"x1,x2\n5,6\n")
    put(uri_of(1), b"x1,x2\n3,5\n")
    status, body = score(segments)
    assert (status, body["error"]) == (400, "InputChangedError")
    assert body["message"].startswith(uri_of(1))


@pytest.mark.parametrize("stop", [11, 1000])
def test_an_object_that_is_shorter_than_planned_is_named(put_all, stop):
    segments = put_all(b"x1,x2\n1,2\n", b"x1,x2\n3,4\n", b"x1,x2\n5,6\n")
    segments[1]["byte_range"][1] = stop
    status, body = score(segments)
    assert (status, body["error"]) == (400, "InputChangedError")
    assert body["message"].startswith(f"{uri_of(1)} is shorter")


def test_an_object_that_is_not_there_is_named(put_all):
    segments = put_all(b"x1,x2\n1,2\n")
    status, body = score([*segments, {"data_s3_uri": DATA}])
    assert (status, body["error"]) == (400, "InputNotFoundError")
    assert DATA in body["message"]


def test_a_body_that_breaks_midway_is_taken_up_where_it_broke(put_all, get, monkeypatch):
    monkeypatch.setattr(handler, "DOWNLOAD_PIECE_BYTES", 100)
    objects = ["x1,x2\n" + "".join(f"{index * 100 + row},0\n" for row in range(100)) for index in range(5)]
    segments = put_all(*map(str.encode, objects))
    assert score(segments)[0] == 200
    expected = get(OUTPUT)
    broken = []
    iter_chunks = StreamingBody.iter_chunks

    def break_sometimes(body, size):
        for count, piece in enumerate(iter_chunks(body, size)):
            if count == 2 and len(broken) < 4:
                broken.append(True)
                raise ReadTimeoutError(endpoint_url="s3")
            yield piece

    monkeypatch.setattr(StreamingBody, "iter_chunks", break_sometimes)
    assert score(segments)[0] == 200
    assert len(broken) == 4
    assert get(OUTPUT) == expected


def test_nothing_is_left_after_an_error(put_all, monkeypatch, tmp_path):
    """No file, no thread, and most of the objects were never asked for."""
    monkeypatch.setattr(handler.tempfile, "tempdir", str(tmp_path))
    asked = []
    download = handler._download

    def counting(*arguments):
        asked.append(arguments)
        if len(asked) > 1:
            time.sleep(0.2)  # longer than it takes to read the first header, also on a busy machine
        return download(*arguments)

    segments = put_all(b"x1,x2,x1\n", *[b"x1,x2\n1,2\n"] * 100)
    assert score(segments[1:2])[0] == 200  # the model is in memory
    monkeypatch.setattr(handler, "_download", counting)
    status, body = score(segments)
    assert (status, body["error"]) == (400, "InvalidDataError")
    assert list(tmp_path.iterdir()) == []
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith(("download", "header"))]
    assert len(asked) < len(segments)


def test_a_download_ends_when_nobody_wants_it(put_all, monkeypatch):
    """An object that never stops coming does not keep an invocation that has failed."""
    segments = put_all(b"x1,x2,x1\n", b"x1,x2\n1,2\n")
    iter_chunks, deadline = StreamingBody.iter_chunks, time.monotonic() + 20

    def endless(body, size):
        for piece in iter_chunks(body, size):
            yield piece
            while piece == b"x1,x2\n1,2\n" and time.monotonic() < deadline:
                time.sleep(0.001)
                yield piece

    monkeypatch.setattr(StreamingBody, "iter_chunks", endless)
    status, body = score([{"data_s3_uri": segment["data_s3_uri"]} for segment in segments])
    assert (status, body["error"]) == (400, "InvalidDataError")
    assert time.monotonic() < deadline


# --- events and receipts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "problems"),
    [
        ({"data_s3_uri": None}, ["data_s3_uri is missing (give it, segments or segments_s3_uri)"]),
        ({"segments_s3_uri": LIST}, ["data_s3_uri and segments_s3_uri exclude each other"]),
        ({"segments": [{"data_s3_uri": DATA}], "segments_s3_uri": LIST}, ["data_s3_uri and segments and segments_s3_uri exclude"]),
        ({"data_s3_uri": None, "segments": []}, ["segments must be a list of 1 to 10000 segments"]),
        ({"data_s3_uri": None, "segments": {}}, ["segments must be a list of 1 to 10000 segments"]),
        ({"data_s3_uri": None, "segments_s3_uri": "here"}, ["segments_s3_uri must be an S3 URI"]),
        (
            {"data_s3_uri": None, "segments_s3_uri": LIST, "byte_range": [0, 1], "data_etag": "e", "probe_rows": 5},
            [f"{name} is allowed only with data_s3_uri" for name in ("byte_range", "data_etag", "probe_rows")],
        ),
        (
            {"data_s3_uri": None, "segments": [{"data_s3_uri": DATA}, 7, {"byte_range": [3, 2], "tag": "e"}, {"data_s3_uri": "x"}]},
            [
                "segments[1] must be an object with data_s3_uri",
                "unknown field segments[2].tag",
                "segments[2].data_s3_uri is missing",
                "segments[2].byte_range must be [start, stop)",
                "segments[3].data_s3_uri must be an S3 URI",
            ],
        ),
    ],
)  # fmt: skip
def test_validate_event_names_every_problem_of_a_group(fields, problems):
    with pytest.raises(handler.InvalidRequestError, match=rf"^the event has {len(problems)} problem") as caught:
        handler.validate_event(make_event(**fields))
    assert all(problem in str(caught.value) for problem in problems)


def test_a_list_of_many_problems_is_cut():
    with pytest.raises(handler.InvalidRequestError, match="has 9000 problem") as caught:
        handler.validate_event(make_event(data_s3_uri=None, segments=[{}] * 9000))
    assert str(caught.value).endswith("; and 8950 more")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"x1,x2\n", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"{}", "is not a list of segments"),
        (b"[]", "or an empty list"),
        (b'["s3://bucket/key"]', "[0] must be an object"),
        (b'[{"data_s3_uri": "s3://bucket/key", "byte_range": [1]}]', "[0].byte_range must be"),
    ],
)
def test_a_list_in_s3_that_is_none_is_named(put, put_all, content, says):
    put_all()
    put(LIST, content)
    status, body = invoke(data_s3_uri=None, segments_s3_uri=LIST)
    assert (status, body["error"]) == (400, "InvalidRequestError")
    assert body["message"].startswith(LIST)
    assert says in body["message"]


def test_a_list_in_s3_that_is_not_there_is_named(put_all):
    put_all()
    status, body = invoke(data_s3_uri=None, segments_s3_uri=LIST)
    assert (status, body["error"]) == (400, "InputNotFoundError")
    assert LIST in body["message"]


def test_a_missing_column_names_the_first_object(put_all):
    status, body = score(put_all(b"x1,y\n1,2\n", b"x1,y\n1,2\n"))
    assert (status, body["error"]) == (400, "InvalidRequestError")
    assert body["message"].startswith(f"{uri_of(0)} has no column 'x2'")
    status, body = score(put_all(b"x1,x2,prediction\n1,2,3\n"))
    assert body["message"].startswith(f"{uri_of(0)} has a column 'prediction' already")


def test_the_receipt_of_a_group(s3, put, put_all, get):
    objects = [b'x1,x2\n1,"2"\n', b"\xef\xbb\xbfx1,x2\n3,4", b'"x1","x2"']
    segments = put_all(*objects)
    put(LIST, json.dumps(segments))
    fields = {"data_s3_uri": None, "segments_s3_uri": LIST, "chunk_index": 3, "receipt_s3_uri": RECEIPT, "raise_errors": True}
    handler.lambda_handler(make_event(**fields), None)
    receipt = json.loads(get(RECEIPT))
    assert receipt.pop("model")
    assert receipt.pop("milliseconds")
    assert receipt.pop("started")
    assert receipt.pop("statistics")["features"]["x1"]["rows"] == 2
    assert receipt == {
        "chunk_index": 3,
        "segments_s3_uri": LIST,
        "objects": 3,
        "rows_read": 2,
        "rows_written": 2,
        "rejected_rows": 0,
        "input_bytes": sum(map(len, objects)),
        "data_sha256": data_sha256_of(segments, "byte_range"),
        "output_s3_uri": OUTPUT,
        "output_bytes": len(get(OUTPUT)),
        "output_etag": s3.head_object(Bucket=BUCKET, Key="out/predictions.csv")["ETag"],
        "header_bytes": len(b"x1,x2,prediction\n"),
        "layout_sha256": hashlib.sha256(b'[["x1", "x2"], ["prediction"], "\\n"]').hexdigest(),
        "decision_sha256": None,
        "rounded_integers": 0,
        "rejected_etag": None,
        "quote_parity": 0,
        "memory_mb": None,
    }


def test_the_receipt_of_one_object_has_its_layout_too(put_all):
    """Equal for what may be merged, whatever the byte order mark and the quoting; another for other columns or line ends."""
    same = [b"x1,x2\n1,2\n", b'\xef\xbb\xbf"x1",x2\n1,2']
    other = [b"x1,x2\r\n1,2\r\n", b"x2,x1\n1,2\n", b"x1,x2,x3\n1,2,3\n"]
    put_all(*same, *other)
    bodies = [invoke(data_s3_uri=uri_of(index))[1] for index in range(5)]
    assert {body["objects"] for body in bodies} == {1}
    assert "segments_s3_uri" not in bodies[0]
    layouts = [body["layout_sha256"] for body in bodies]
    assert layouts[0] == layouts[1]
    assert len(set(layouts)) == 4
