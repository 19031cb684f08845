"""CSV as bytes: where a record ends, and what a header says.

It is RFC 4180 in all dialects: quotes doubled inside quoted fields, LF or CRLF. A line feed ends a record exactly when the number
of quote characters before it is even, so records are found by counting, never by parsing.
"""

import codecs
import csv
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from .csv_dialect import COMMAS, QUOTED, Dialect, is_wide, record_pattern, skipped_line, skipped_lines
from .errors import InvalidDataError
from .header_mistakes import header_mistake

QUOTE = b'"'
LINE_FEED = b"\n"
LINE_ENDS = b"\r\n"
"""The bytes that line ends consist of."""


class Header(NamedTuple):
    """The first record of an object, or what is known without it."""

    columns: list[str]
    stop: int
    """Where the first row starts: behind the record and what stands before it, a BOM or comments."""
    line_end: bytes
    """LF or CRLF, or nothing if the object ends with its header."""
    has_rows: bool = True
    """Whether more than blank lines may follow in its object."""
    is_void: bool = False
    """Whether what was compressed there is nothing: not even a header."""
    compression: str | None = None
    """How its object is compressed; if that is Zstandard, nothing else is known of it, and there are no columns here."""


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


def is_record(record: bytes, columns: int, dialect: Dialect = COMMAS) -> bool:
    """Whether a record, its line end included, is RFC 4180 and has this many fields."""
    fields, delimiter = record.removesuffix(b"\n").removesuffix(b"\r"), dialect.delimiter.encode()
    if QUOTE in fields:
        is_whole = record_pattern(dialect.delimiter).fullmatch(fields) is not None
        return is_whole and QUOTED.sub(b"", fields).count(delimiter) == columns - 1
    return fields.count(delimiter) == columns - 1 and b"\r" not in fields


def is_blank(text: bytes, dialect: Dialect = COMMAS) -> bool:
    """Whether bytes outside quotes hold no row: nothing but line ends, spaces between them, and comments."""
    if dialect.comment is None and not dialect.delimiter.isspace():
        return not text.strip(LINE_ENDS + b" \t")
    skipped = skipped_lines(dialect).match(text)
    return skipped is not None and skipped_line(dialect).fullmatch(text, skipped.end()) is not None


def text_of(stored: bytes, dialect: Dialect, uri: str, *, is_all: bool) -> bytes:
    """Return the text of an object's first bytes, of the dialect `of_text`; InvalidDataError if they are not encoded so."""
    if not is_wide(dialect):
        return stored
    try:
        return codecs.getincrementaldecoder(dialect.encoding)().decode(stored, is_all).encode()
    except UnicodeError as error:
        raise InvalidDataError(f"{uri} is not UTF-16", "leave csv.encoding out, or say another one there") from error


def record_stop(data: bytes, dialect: Dialect = COMMAS) -> int | None:
    """Return where the first record stops that is no comment, its line end included; None if it goes on, or none begins."""
    start = _header_start(data, dialect)
    return next((start + stop for stop in record_stops(data[start:])), None)


def first_record(data: bytes, dialect: Dialect) -> bytes:
    """Return the first record that is no comment, or what there is of it."""
    return data[_header_start(data, dialect) : record_stop(data, dialect)]


def _header_start(data: bytes, dialect: Dialect) -> int:
    """Return where the first record begins: behind comments, and what is blank beside them; a byte order mark belongs to it."""
    if dialect.comment is None or not dialect.header:
        return 0
    start = bom_bytes(data, dialect)
    skipped = skipped_lines(dialect).match(data, start)
    return skipped.end() if skipped and skipped.end() > start else 0


def bom_bytes(data: bytes, dialect: Dialect) -> int:
    """Return how long the byte order mark is with which an object's first bytes begin; 0 if there is none."""
    return len(codecs.BOM_UTF8) if dialect.encoding == "utf-8" and data.startswith(codecs.BOM_UTF8) else 0


def parse_header(record: bytes, uri: str, dialect: Dialect = COMMAS) -> Header:
    """Read the first record of an object, BOM and line end included. InvalidDataError says what is wrong with it."""
    line_end = re.search(rb"\r?\n\Z|\Z", record)
    assert line_end
    if dialect.column_names:
        return Header(list(dialect.column_names), bom_bytes(record, dialect), line_end[0])
    names = record[_header_start(record, dialect) : line_end.start()]
    if mistake := header_mistake(names, dialect):
        raise InvalidDataError(f"{uri} {mistake.what}", mistake.advice)
    text = names.decode("utf-8-sig" if dialect.encoding == "utf-8" else dialect.encoding)
    if not text:
        raise InvalidDataError(f"{uri} has a blank first line", "put the names of the columns there")
    return Header(_fields(text, dialect.delimiter), len(record), line_end[0])


@lru_cache(maxsize=4)
def _fields(text: str, delimiter: str) -> list[str]:
    """Return a header's names. Equal headers share one list: thousands of objects may have thousands of columns each."""
    csv.field_size_limit(max(len(text), csv.field_size_limit()))
    return next(csv.reader([text], delimiter=delimiter, strict=True))
