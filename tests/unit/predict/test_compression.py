"""Data that gzip or Zstandard have compressed are read as their text; a compressed output holds what the plain one holds."""

import gzip
import struct
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from harness import BUCKET, DATA, MODEL, OUTPUT, FirstColumn, invoke, score_locally
from hypothesis import given, settings
from hypothesis import strategies as st

import prediction_handler as handler

TEXT = b'x1,note\n1,"a\n,b"\n2,\n\n3,c\n'
SKIPPED = struct.pack("<II", 0x184D2A5A, 5) + b"extra"
"""A skippable frame, as tools put beside Zstandard's own."""
CHECKED_FRAME = bytes.fromhex("28b52ffd0458c9000078312c6e6f74650a312c22610a2c62220a322c0a0a332c630ae58b6477")
"""The text as the tool `zstd` compresses it from a pipe, with a checksum at the end."""
COMPRESSIONS = ("gzip", "zstd")


def compressed(text, compression):
    return gzip.compress(text) if compression == "gzip" else pa.Codec("zstd").compress(text, asbytes=True)


def decompressed(data, compression):
    """Read by another library than the handler, as far as there is one."""
    if compression == "gzip":
        return gzip.decompress(data)
    return pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()


def streamed_frame(text):
    """A Zstandard frame that does not say how much it holds."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(text)
    return sink.getvalue().to_pybytes()


def cut(text, places):
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[start:stop] for start, stop in pairwise(edges)]


@settings(deadline=None, max_examples=25)
@given(st.data(), st.sampled_from(COMPRESSIONS), st.sampled_from(["none", *COMPRESSIONS]), st.sampled_from([b"\n", b"\r\n"]))
def test_any_members_give_what_the_text_gives(tmp_path_factory, data, compression, output, line_end):
    folder = tmp_path_factory.mktemp("members")
    lines = data.draw(st.lists(st.sampled_from([b"1,a", b'2,"b,\n"', b"", b" "]), min_size=1, max_size=8))
    text = line_end.join([b"x1,note", b"7,z", *lines]) + data.draw(st.sampled_from([b"", line_end]))
    pieces = cut(text, data.draw(st.lists(st.integers(0, 200), max_size=4)))
    members = [compressed(piece, compression) for piece in data.draw(st.sampled_from([pieces, [b"", *pieces, b""]]))]
    plain, expected = score_locally(text, folder)
    facts, part = score_locally(b"".join(members), folder, data.draw(st.integers(1, 40)), output_compression=output)

    assert (decompressed(part, output) if output != "none" else part) == expected
    if output != "none":
        assert decompressed(part[: facts.header_bytes], output) == expected[: plain.header_bytes]
        assert decompressed(part[facts.header_bytes :], output) == expected[plain.header_bytes :]
    assert facts.read.bytes == sum(map(len, members))
    assert (facts.read.rows, facts.read.quotes, facts.bytes) == (plain.read.rows, plain.read.quotes, len(part))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(streamed_frame(TEXT), id="size not stated"),
        pytest.param(SKIPPED + compressed(TEXT[:9], "zstd") + SKIPPED + compressed(TEXT[9:], "zstd") + SKIPPED, id="skippable"),
        pytest.param(b"\x1f\x8b\x08\x1c\0\0\0\0\0\3\2\0ABin.csv\0said\0" + gzip.compress(TEXT)[10:], id="name and comment"),
    ],
)
def test_what_stands_beside_the_text_is_passed_over(tmp_path, data):
    facts, part = score_locally(data, tmp_path)
    assert part == score_locally(TEXT, tmp_path)[1]
    assert facts.read.bytes == len(data)


def damages(whole):
    """What may be wrong with a compressed file, and what is said of it."""
    wrong = bytearray(whole)
    wrong[-6] ^= 1
    return [
        (whole[:-1], "ends in the middle"),
        (whole[:30], "ends in the middle"),
        (whole + whole[:7], "ends in the middle"),
        (bytes(wrong), "is damaged, or something else follows"),
        (whole + b"something else that is long enough", "is damaged, or something else follows"),
    ]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_file_that_is_not_whole_is_refused_wherever_it_is_damaged(tmp_path, compression):
    whole = gzip.compress(TEXT) if compression == "gzip" else CHECKED_FRAME
    assert score_locally(whole, tmp_path)[0].rows == 3
    name = handler.COMPRESSION_NAMES[compression]
    for data, said in damages(whole):
        with pytest.raises(handler.InvalidDataError, match=rf"^in\.csv .*{said}.* {name}") as raised:
            score_locally(data, tmp_path)
        assert raised.value.advice == "write or upload it again"


@pytest.mark.thorough
@pytest.mark.parametrize("whole", [gzip.compress(TEXT), CHECKED_FRAME, gzip.compress(TEXT) * 2], ids=["gzip", "zstd", "members"])
def test_a_file_that_ends_too_early_is_refused_at_every_byte(tmp_path, whole):
    said = Counter()
    for size in range(4, len(whole)):
        try:
            score_locally(whole[:size], tmp_path)
        except handler.InvalidDataError as error:
            said[str(error).partition(":")[0]] += 1
        else:
            assert 2 * size == len(whole), "only a whole member is a whole file"
    assert set(said) == {"in.csv is not whole"}


def test_a_window_beyond_what_is_read_is_refused_by_name(tmp_path):
    frame = bytearray(streamed_frame(TEXT))
    assert frame[4] & 0x20 == 0, "the next byte is the window's"
    frame[5] = (28 - 10) << 3  # 256 MiB
    with pytest.raises(handler.InvalidDataError, match="a window of more than 128 MiB: compress it without --long"):
        score_locally(bytes(frame), tmp_path)


def test_a_frame_that_needs_a_dictionary_is_refused_by_name(tmp_path):
    frame = bytes.fromhex("28b52ffd 21 07 00 01 0000")
    with pytest.raises(handler.InvalidDataError, match="is Zstandard that needs a dictionary: compress it without one"):
        score_locally(frame, tmp_path)


def test_text_that_never_ends_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(handler, "MAX_TEXT_BYTES", 100_000)
    with pytest.raises(handler.InvalidDataError, match="holds more than 100000 bytes of text in its gzip: split it into several"):
        score_locally(gzip.compress(b"x1\n" + b"1\n" * 60_000), tmp_path, block_bytes=10_000)


def test_what_is_compressed_twice_is_not_csv(tmp_path):
    with pytest.raises(handler.InvalidDataError, match="is not CSV but gzip: decompress it first"):
        score_locally(gzip.compress(gzip.compress(TEXT)), tmp_path)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_part_is_the_same_bytes_whenever_it_is_written(tmp_path, compression):
    first, second = (score_locally(TEXT, tmp_path, output_compression=compression)[1] for _ in range(2))
    assert first == second


# --- from and to S3 -------------------------------------------------------------------------------------------------------------


def test_objects_of_a_group_may_be_compressed_or_not(put, get):
    put(MODEL, FirstColumn())
    objects = [
        compressed(b"", "zstd"),
        gzip.compress(b"x1,x2\n1,2\n\n"),
        b"x1,x2\n3,4\n",
        compressed(b"x1,x2\n", "zstd"),
        compressed(b"", "gzip"),
        gzip.compress(b"x1,x2\n5,6\n"),
    ]
    segments = []
    for index, body in enumerate(objects):
        put(f"{DATA}-{index}", body)
        segments.append({"data_s3_uri": f"{DATA}-{index}", "byte_range": [0, len(body)]})
    status, receipt = invoke(data_s3_uri=None, segments=segments, output_s3_uri=f"{OUTPUT}.gz")
    assert status == 200, receipt
    assert gzip.decompress(get(f"{OUTPUT}.gz")) == b"x1,x2,prediction\n1,2,1\n\n3,4,3\n5,6,5\n"
    assert (receipt["input_bytes"], receipt["quote_parity"]) == (sum(map(len, objects)), 0)


@pytest.mark.parametrize("byte_range", [[0, 40], [20, 50]])
def test_a_range_of_a_compressed_object_is_refused(put, byte_range):
    put(MODEL, FirstColumn())
    put(DATA, gzip.compress(b"x1,x2\n" + b"1,2\n" * 999))
    status, body = invoke(byte_range=byte_range)
    assert (status, body["error"]) == (400, "InvalidRequestError")
    assert body["message"] == f"{DATA} is gzip, of which no range of bytes can be read: leave byte_range out"


def test_bad_rows_are_placed_in_the_text(put, get):
    put(MODEL, FirstColumn())
    put(DATA, gzip.compress(b"x1,x2\n1,2\nbad,3\n"))
    output = f"s3://{BUCKET}/out/predictions"  # which promises nothing
    status, receipt = invoke(
        on_bad_row="quarantine", column_types={"x1": "number", "x2": "number"}, output_s3_uri=output, output_compression="zstd"
    )
    assert (status, receipt["rejected_rows"]) == (200, 1)
    assert decompressed(get(output), "zstd") == b"x1,x2,prediction\n1,2,1.0\nbad,3,\n"
    assert get(f"{output}.rejected.csv").splitlines()[1].startswith(f"{DATA},2,10,".encode())


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_the_probe_says_how_long_a_row_is_as_it_is_compressed(put, compression):
    numbers = np.random.default_rng(1).integers(10**6, 10**7, (150_000, 2))
    text = b"x1,x2\n" + b"".join(b"%d,%d\n" % tuple(row) for row in numbers.tolist())
    data = compressed(text, compression)
    put(MODEL, FirstColumn())
    put(DATA, data)
    status, probe = invoke(probe_rows=1000, output_s3_uri=None)
    assert (status, probe["rows"]) == (200, 1000)
    assert probe["row_bytes"] == pytest.approx(len(data) / len(numbers), rel=0.05)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_an_output_says_what_it_is_and_not_how_it_is_encoded(s3, put, compression):
    """What has a Content-Encoding is decompressed by some clients before they write it to a file."""
    put(MODEL, FirstColumn())
    put(DATA, b"x1,x2\n1,2\n")
    assert invoke(output_s3_uri=f"s3://{BUCKET}/out", output_compression=compression)[0] == 200
    head = s3.head_object(Bucket=BUCKET, Key="out")
    assert (head["ContentType"], head.get("ContentEncoding")) == (f"application/{compression}", None)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_lines_of_json_are_compressed_text_as_well(put, get, compression):
    put(MODEL, FirstColumn())
    text = b'\xef\xbb\xbf{"x1":1,"x2":2}\n\n{"x2":5,"x1":4}'
    ending = {"gzip": "gz", "zstd": "zst"}[compression]
    data, output = f"s3://{BUCKET}/data/in.jsonl.{ending}", f"s3://{BUCKET}/out/p.jsonl.{ending}"
    stored = compressed(text[:20], compression) + compressed(text[20:], compression)
    put(data, stored)
    status, receipt = invoke(data_s3_uri=data, output_s3_uri=output, input_format="jsonl")
    assert status == 200, receipt
    lines = b'{"x1":1,"x2":2,"prediction":1}\n\n{"x2":5,"x1":4,"prediction":4}\n'
    assert decompressed(get(output), compression) == lines
    assert (receipt["input_bytes"], receipt["rows_read"], receipt["header_bytes"]) == (len(stored), 2, 0)


def test_an_unclosed_quote_in_compressed_data_is_no_wrong_boundary(put):
    """The planner cuts no such object, and would plan it again for ever."""
    put(MODEL, FirstColumn())
    data = gzip.compress(b'x1,x2\n1,"2\n')
    put(DATA, data)
    status, body = invoke(byte_range=[0, len(data)])
    assert (status, body["error"]) == (400, "InvalidDataError")


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_part_without_a_byte_of_text_is_compressed_all_the_same(put, get, compression):
    put(MODEL, FirstColumn())
    put(DATA, compressed(b"", compression))
    output = f"s3://{BUCKET}/out/nothing"
    status, body = invoke(
        output_s3_uri=output, output_compression=compression, input_format="jsonl", on_no_rows="succeed", feature_columns=["x1"]
    )
    assert status == 200, body
    assert get(output)
    assert decompressed(get(output), compression) == b""
