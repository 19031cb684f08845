from __future__ import annotations

import csv
import io
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csv_records import foreign_format, parse_header, record_boundaries, record_stop

FIELD = st.text(alphabet=st.sampled_from(list('ab7é,"\n\r ')), max_size=6)


@st.composite
def csv_bytes(draw: st.DrawFn) -> bytes:
    """A CSV of any line end and quoting, with or without BOM and the last line end."""
    width = draw(st.integers(1, 4))
    rows = draw(st.lists(st.lists(FIELD, min_size=width, max_size=width), min_size=1, max_size=12))
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    quote_all = draw(st.booleans())
    text = line_end.join(",".join(quoted(field, always=quote_all) for field in row) for row in rows)
    bom = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    return bom + (text + draw(st.sampled_from(["", line_end])) if text else line_end).encode()


def quoted(field: str, *, always: bool) -> str:
    """As RFC 4180 has it: also a carriage return by itself is quoted, which csv.writer forgets in Python 3.11."""
    return '"' + field.replace('"', '""') + '"' if always or re.search('[,"\r\n]', field) else field


def records(data: bytes) -> list[list[str]]:
    """Python's csv module as the oracle."""
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))


def blocks_of(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(csv_bytes(), st.integers(1, 40), st.integers(1, 30))
def test_boundaries_are_where_the_csv_module_ends_records(data: bytes, step: int, block: int) -> None:
    targets = list(range(step, len(data), step))
    boundaries = list(record_boundaries(blocks_of(data, block), 0, targets))
    edges = [0, *boundaries, len(data)]
    pieces = [data[start:stop] for start, stop in pairwise(edges)]
    assert b"".join(pieces) == data
    assert boundaries == sorted(set(boundaries))
    assert [record for piece in pieces for record in records(piece)] == records(data)


@given(csv_bytes(), st.integers(1, 30))
def test_a_target_on_every_byte_finds_every_record(data: bytes, block: int) -> None:
    boundaries = list(record_boundaries(blocks_of(data, block), 0, range(1, len(data) + 1)))
    edges = sorted({0, *boundaries, len(data)})
    assert len(edges) - 1 == len(records(data))


@given(csv_bytes())
def test_boundaries_follow_the_first_record(data: bytes) -> None:
    stop = record_stop(data) or len(data)
    if stop < len(data):
        boundaries = list(record_boundaries([data[stop:]], stop, [stop + 1]))
        assert records(data[stop : (boundaries or [len(data)])[0]]) == records(data)[1:2]


@given(csv_bytes())
def test_the_header_is_what_the_csv_module_reads_first(data: bytes) -> None:
    stop = record_stop(data) or len(data)
    first = records(data)[0]
    if not first:
        with pytest.raises(ValueError, match="blank"):
            parse_header(data[:stop])
        return
    header = parse_header(data[:stop])
    assert header.columns == first
    assert header.stop == stop


@given(csv_bytes())
def test_record_stop_needs_no_more_than_the_record(data: bytes) -> None:
    stop = record_stop(data)
    if stop is not None:
        assert record_stop(data[:stop]) == stop
        assert record_stop(data[: stop - 1]) is None


def test_quotes_that_do_not_pair_up_are_an_error() -> None:
    with pytest.raises(ValueError, match="never closed"):
        list(record_boundaries([b'1,"2\n', b"3,4\n"], 0, [3]))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"\xff\xfe\n", "not UTF-8"),
        (b"\n", "blank"),
        (b"a,b\r1,2\r", "carriage return"),
        (b'a"x,b\n', "stray or unclosed quote"),
        (b'"a"x,b\n', "stray or unclosed quote"),
        (b'a,"b\n', "stray or unclosed quote"),
    ],
)
def test_a_header_that_cannot_be_read_says_why(record: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_header(record)


@pytest.mark.parametrize(("record", "line_end"), [(b"a,b\n", b"\n"), (b"a,b\r\n", b"\r\n"), (b"a,b", b"")])
def test_a_header_knows_its_line_end(record: bytes, line_end: bytes) -> None:
    assert parse_header(record).line_end == line_end


def test_a_long_name_is_read() -> None:
    name = "x" * 200_000
    assert parse_header(f"{name},b\n".encode()).columns == [name, "b"]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\x1f\x8b\x08", "gzip"),
        (b"PAR1\x00", "Parquet"),
        (b"PK\x03\x04", "zip"),
        (b"\xff\xfea\x00", "UTF-16"),
        (b"a\x00b", "NUL"),
    ],
)
def test_foreign_formats_are_named(data: bytes, name: str) -> None:
    assert name in (foreign_format(data) or "")


def test_a_column_may_be_called_like_a_format() -> None:
    assert foreign_format(b"ORC,PAR1\n1,2\n") is None
