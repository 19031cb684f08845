"""CSV as bytes: where a record ends, and what a header says.

The dialect is RFC 4180: comma, quotes doubled inside quoted fields, LF or CRLF. A line feed ends a record exactly when the
number of quote characters before it is even, so records are found by counting, never by parsing.
"""

from __future__ import annotations

import codecs
import csv
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

QUOTE = b'"'
LINE_FEED = b"\n"

# The mistakes that people make, by the first bytes of the file.
_FOREIGN_FORMATS = {
    b"\x1f\x8b": "gzip: decompress it first",
    b"BZh": "bzip2: decompress it first",
    b"\x28\xb5\x2f\xfd": "Zstandard: decompress it first",
    b"PK\x03\x04": "a zip archive (or an Excel workbook): convert it to CSV first",
    b"PAR1": "Parquet: convert it to CSV first",
    b"ORC": "ORC: convert it to CSV first",
    b"Obj\x01": "Avro: convert it to CSV first",
    codecs.BOM_UTF16_LE: "UTF-16: convert it to UTF-8 first",
    codecs.BOM_UTF16_BE: "UTF-16: convert it to UTF-8 first",
}
_FIELD = r'(?:"(?:[^"]|"")*"|[^",\r\n]*)'
_RECORD = re.compile(rf"{_FIELD}(?:,{_FIELD})*")


class Header(NamedTuple):
    """The first record of an object."""

    columns: list[str]
    stop: int
    """Bytes of the record, with BOM and line end: where the first row starts."""
    line_end: bytes
    """LF or CRLF, or nothing where the object ends with its header."""


def record_stop(data: bytes) -> int | None:
    """Return where the first record of `data` stops, its line end included; None where it goes on."""
    quotes, start = 0, 0
    while (position := data.find(LINE_FEED, start)) >= 0:
        quotes += data.count(QUOTE, start, position)
        start = position + 1
        if quotes % 2 == 0:
            return start
        start = data.find(QUOTE, start)  # no line feed before the closing quote can end the record
        if start < 0:
            return None
    return None


def parse_header(record: bytes) -> Header:
    """Read the first record of an object, BOM and line end included. ValueError says what is wrong with it."""
    line_end = re.search(rb"\r?\n\Z|\Z", record)
    assert line_end
    try:
        text = record[: line_end.start()].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"its header is not UTF-8 (byte {error.start}): convert it to UTF-8") from error
    if not text:
        raise ValueError("its first line is blank: put the column names there")
    if not _RECORD.fullmatch(text):
        if re.search("\r(?!\n)", text):
            raise ValueError("its header holds a bare carriage return: end lines with LF or CRLF")
        raise ValueError("its header has a stray or unclosed quote: quote the whole name and double the quote inside")
    return Header(_fields(text), len(record), line_end[0])


def foreign_format(data: bytes) -> str | None:
    """Say what the first bytes of an object are if they are not text."""
    binary = b"\0" in data
    for magic, name in _FOREIGN_FORMATS.items():
        if data.startswith(magic) and (binary or not magic.isalnum()):  # a column may be called ORC
            return name
    return "binary (it holds NUL bytes): convert it to CSV first" if binary else None


def record_boundaries(blocks: Iterable[bytes], start: int, targets: Sequence[int]) -> Iterator[int]:
    """Yield the first record boundary above `start` and at or after each target, in increasing order and each once.

    `blocks` are the object's bytes from `start`, which must be a record boundary; all of them are consumed. Targets are ascending
    offsets in the object. ValueError where the quotes do not pair up.
    """
    upcoming = iter(targets)
    target = next(upcoming, None)
    quotes, offset = 0, start
    for block in blocks:
        scanned = 0
        while target is not None:
            # The line feed that ends a record at the target lies one byte before it.
            position = block.find(LINE_FEED, max(scanned, target - 1 - offset))
            if position < 0:
                break
            quotes += block.count(QUOTE, scanned, position)
            scanned = position + 1
            if quotes % 2:
                continue
            boundary = offset + scanned
            yield boundary
            while target is not None and target <= boundary:
                target = next(upcoming, None)
        quotes += block.count(QUOTE, scanned)
        offset += len(block)
    if quotes % 2:
        raise ValueError("its quotes do not pair up: a quoted field is never closed")


def _fields(text: str) -> list[str]:
    csv.field_size_limit(max(len(text), csv.field_size_limit()))
    return next(csv.reader([text], strict=True))
