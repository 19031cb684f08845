"""CSV as bytes: where a record ends, and what a header says.

The dialect is RFC 4180: comma, quotes doubled inside quoted fields, LF or CRLF. A line feed ends a record exactly when the
number of quote characters before it is even, so records are found by counting, never by parsing.
"""

import csv
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from .errors import InvalidDataError
from .header_mistakes import QUOTED, RECORD, header_mistake

QUOTE = b'"'
LINE_FEED = b"\n"
LINE_ENDS = b"\r\n"
"""The bytes that line ends consist of."""


class Header(NamedTuple):
    """The first record of an object."""

    columns: list[str]
    stop: int
    """Bytes of the record, with BOM and line end: where the first row starts."""
    line_end: bytes
    """LF or CRLF, or nothing if the object ends with its header."""
    has_rows: bool = True
    """Whether more than blank lines may follow in its object."""


def record_stops(data: bytes, *, quoted: bool = False) -> Iterator[int]:
    """Yield where each record of `data` stops, its line end included; `quoted` says that the first byte lies inside quotes."""
    quotes, start = int(quoted), 0
    while (position := data.find(LINE_FEED, start)) >= 0:
        quotes += data.count(QUOTE, start, position)
        start = position + 1
        if quotes % 2 == 0:
            yield start
            continue
        start = data.find(QUOTE, start)  # no line feed before the closing quote can end the record
        if start < 0:
            return


def record_stop(data: bytes) -> int | None:
    """Return where the first record of `data` stops, its line end included; None if it goes on."""
    return next(record_stops(data), None)


def is_record(record: bytes, columns: int) -> bool:
    """Whether a record, its line end included, is RFC 4180 and has this many fields."""
    fields = record.removesuffix(b"\n").removesuffix(b"\r")
    if QUOTE in fields:
        return RECORD.fullmatch(fields) is not None and QUOTED.sub(b"", fields).count(b",") == columns - 1
    return fields.count(b",") == columns - 1 and b"\r" not in fields


def is_blank(text: bytes) -> bool:
    """Whether bytes outside quotes hold nothing but line ends, and spaces between them."""
    return not text.strip(LINE_ENDS + b" \t")


def parse_header(record: bytes, uri: str) -> Header:
    """Read the first record of an object, BOM and line end included. InvalidDataError says what is wrong with it."""
    line_end = re.search(rb"\r?\n\Z|\Z", record)
    assert line_end
    names = record[: line_end.start()]
    if mistake := header_mistake(names):
        raise InvalidDataError(f"{uri} {mistake.what}", mistake.advice)
    text = names.decode("utf-8-sig")
    if not text:
        raise InvalidDataError(f"{uri} has a blank first line", "put the names of the columns there")
    return Header(_fields(text), len(record), line_end[0])


@lru_cache(maxsize=4)
def _fields(text: str) -> list[str]:
    """Return a header's names. Equal headers share one list: thousands of objects may have thousands of columns each."""
    csv.field_size_limit(max(len(text), csv.field_size_limit()))
    return next(csv.reader([text], strict=True))
