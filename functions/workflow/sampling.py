"""What a few records tell of all: how long one is, and what the values of a column are."""

import csv
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from .chunking import Span
from .column_types import Kind, kind_of_texts
from .compression import beginning_of
from .csv_dialect import COMMAS, Dialect, of_text
from .csv_records import bom_bytes, is_blank, record_stop, record_stops, text_of
from .s3 import S3Client, in_parallel, read_range

SAMPLES = 100
"""Windows at most, each at the start of a chunk or of a grouped object: record boundaries."""
SAMPLED_BYTES = SAMPLES * 2**16
"""All windows together, however large the input is: a second of the planner's time if every column is open."""
WINDOW_BYTES = 2**20
"""The largest window, if there are few."""


class Window(NamedTuple):
    """The first text of a span."""

    span: Span
    text: bytes
    is_all: bool
    """Whether the span has no more."""


def sampled_windows(client: S3Client, spans: Sequence[Span]) -> list[Window]:
    """Return the first text of some spans, evenly spread."""
    count = min(SAMPLES, len(spans))
    some = [spans[index * len(spans) // count] for index in range(count)]
    window_bytes = min(WINDOW_BYTES, SAMPLED_BYTES // max(1, count))

    def window(span: Span) -> Window:
        data = read_range(client, span.object.uri, span.start, min(span.start + window_bytes, span.stop), span.object.etag)
        is_all = span.start + len(data) == span.stop
        if span.start == 0:  # what is compressed is only read from there
            data, is_all, _ = beginning_of(data, span.object.uri, window_bytes, is_all=is_all)
        return Window(span, data, is_all)

    return list(in_parallel(window, some))


def sampled_records(client: S3Client, spans: Sequence[Span], dialect: Dialect = COMMAS) -> list[bytes]:
    """Return the first records of some spans, evenly spread, without headers and without what a window cuts off."""
    return [record for window in sampled_windows(client, spans) for record in _first_records(dialect, *window)]


def mean_record_bytes(records: Sequence[bytes]) -> float:
    """Return the mean length of records, line ends included; that of the smallest window if no record fits into one."""
    return sum(map(len, records)) / len(records) if records else SAMPLED_BYTES / SAMPLES


def sampled_types(
    records: Iterable[bytes], columns: Sequence[str], wanted: Iterable[str], dialect: Dialect = COMMAS
) -> dict[str, Kind]:
    """Return the kinds of some columns by these records. One that is not as the header says is left out: its chunk refuses it."""
    texts: dict[str, set[str]] = {column: set() for column in wanted}
    first = dict(zip(reversed(columns), reversed(range(len(columns))), strict=True))  # a name that nobody uses may be there twice
    positions = [(texts[column], first[column]) for column in texts]
    for record in records:
        fields = [] if is_blank(record, dialect) else _fields(record, dialect)
        if len(fields) == len(columns):
            for seen, position in positions:
                seen.add(fields[position])
    return {column: kind for column, seen in texts.items() if (kind := kind_of_texts(seen, dialect.decimal))}


def _first_records(dialect: Dialect, span: Span, data: bytes, is_all: bool) -> list[bytes]:
    first = 0
    if span.start == 0:  # UTF-16 is only read from there
        data, dialect = text_of(data, dialect, span.object.uri, is_all=is_all), of_text(dialect)
        first = (record_stop(data, dialect) or len(data)) if dialect.header else bom_bytes(data, dialect)
    edges = [first, *(first + stop for stop in record_stops(data[first:]))]
    if edges[-1] < len(data) and is_all:
        edges.append(len(data))  # the last record needs no line end
    return [data[start:stop] for start, stop in pairwise(edges)]


def _fields(record: bytes, dialect: Dialect) -> list[str]:
    try:
        return next(csv.reader([record.decode(dialect.encoding)], delimiter=dialect.delimiter, strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        return []
