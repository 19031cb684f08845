import codecs
from itertools import pairwise

import pytest
from hypothesis import given

from support.csv_samples import csv_bytes, records
from workflow.csv_records import is_blank, is_record, parse_header, record_stop, record_stops

URI = "s3://bucket/in.csv"


@given(csv_bytes())
def test_records_stop_where_the_csv_module_ends_them(data):
    edges = [0, *record_stops(data)]
    if edges[-1] < len(data):
        edges.append(len(data))
    assert [record for start, stop in pairwise(edges) for record in records(data[start:stop])] == records(data)


@given(csv_bytes())
def test_a_record_has_the_fields_that_the_csv_module_counts(data):
    data = data.removeprefix(codecs.BOM_UTF8)
    stop = record_stop(data) or len(data)
    fields = len(records(data)[0]) or 1  # a blank line is one empty field
    assert is_record(data[:stop], fields)
    assert not is_record(data[:stop], fields + 1)


@pytest.mark.parametrize("record", [b'a"b,c\n', b'"a"b,c\n', b'"a,b\n', b"a,b\rc\n", b"a\n", b"\n", b"a,b,c\n"], ids=repr)
def test_what_is_no_record_of_two_fields(record):
    assert not is_record(record, 2)


def test_a_long_quoted_field_is_matched_without_a_stack():
    assert is_record(b'"' + b'x""\n,' * 2_000_000 + b'",1\n', 2)


def test_records_may_start_inside_quotes():
    assert list(record_stops(b'x\n",1\n2,3\n', quoted=True)) == [6, 10]


@given(csv_bytes())
def test_the_header_is_what_the_csv_module_reads_first(data):
    stop = record_stop(data) or len(data)
    first = records(data)[0]
    if not first:
        with pytest.raises(ValueError, match="blank"):
            parse_header(data[:stop], URI)
        return
    header = parse_header(data[:stop], URI)
    assert header.columns == first
    assert header.stop == stop


@given(csv_bytes())
def test_record_stop_needs_no_more_than_the_record(data):
    stop = record_stop(data)
    if stop is not None:
        assert record_stop(data[:stop]) == stop
        assert record_stop(data[: stop - 1]) is None


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
def test_a_header_that_cannot_be_read_says_why(record, reason):
    with pytest.raises(ValueError, match=reason):
        parse_header(record, URI)


@pytest.mark.parametrize(("record", "line_end"), [(b"a,b\n", b"\n"), (b"a,b\r\n", b"\r\n"), (b"a,b", b"")])
def test_a_header_knows_its_line_end(record, line_end):
    assert parse_header(record, URI).line_end == line_end


@pytest.mark.parametrize(
    ("record", "columns"),
    [
        ("\ufeffa,b\n", ["a", "b"]),
        ("\ufeff\ufeffa,b\n", ["\ufeffa", "b"]),  # only the first is a byte order mark
        ('\ufeff"\ufeffa",b\n', ["\ufeffa", "b"]),
        ('"\ufeffa",b\n', ["\ufeffa", "b"]),
        ("a,\ufeffb\n", ["a", "\ufeffb"]),
        ("\ufeff\ufeff\n", ["\ufeff"]),
    ],
)
def test_a_byte_order_mark_is_one_at_the_very_start_only(record, columns):
    header = parse_header(record.encode(), URI)
    assert (header.columns, header.stop) == (columns, len(record.encode()))


@pytest.mark.parametrize(
    ("text", "blank"), [(b"", True), (b"\n\r\n", True), (b"\n \t\n", True), (b"\nx\n", False), (b",\n", False), (b'""\n', False)]
)
def test_blank_lines_are_nothing_but_line_ends_and_spaces(text, blank):
    assert is_blank(text) is blank


def test_a_long_name_is_read():
    name = "x" * 200_000
    assert parse_header(f"{name},b\n".encode(), URI).columns == [name, "b"]
