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
    from collections.abc import Iterator

QUOTE = b'"'
LINE_FEED = b"\n"
LINE_ENDS = b"\r\n"
"""The bytes that line ends consist of."""

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
# Possessive, because a field may have millions of characters: nothing that matched is ever given back.
_FIELD = rb'(?:"[^"]*+(?:""[^"]*+)*+"|[^",\r\n]*+)'
_RECORD = re.compile(rb"%b(?:,%b)*+" % (_FIELD, _FIELD))
_QUOTED = re.compile(rb'"[^"]*+"')


class Header(NamedTuple):
    """The first record of an object."""

    columns: list[str]
    stop: int
    """Bytes of the record, with BOM and line end: where the first row starts."""
    line_end: bytes
    """LF or CRLF, or nothing where the object ends with its header."""
    is_alone: bool = False
    """Whether it is known that nothing but blank lines follows in its object."""


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
    """Return where the first record of `data` stops, its line end included; None where it goes on."""
    return next(record_stops(data), None)


def is_record(record: bytes, columns: int) -> bool:
    """Whether a record, its line end included, is RFC 4180 and has this many fields."""
    fields = record.removesuffix(b"\n").removesuffix(b"\r")
    if QUOTE in fields:
        return _RECORD.fullmatch(fields) is not None and _QUOTED.sub(b"", fields).count(b",") == columns - 1
    return fields.count(b",") == columns - 1 and b"\r" not in fields


def is_blank(text: bytes) -> bool:
    """Whether bytes outside quotes hold nothing but line ends, and spaces between them."""
    return not text.strip(LINE_ENDS + b" \t")


def parse_header(record: bytes) -> Header:
    """Read the first record of an object, BOM and line end included. ValueError says what is wrong with it."""
    line_end = re.search(rb"\r?\n\Z|\Z", record)
    assert line_end
    names = record[: line_end.start()]
    try:
        text = names.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"its header is not UTF-8 (byte {error.start}): convert it to UTF-8") from error
    if not text:
        raise ValueError("its first line is blank: put the column names there")
    if not _RECORD.fullmatch(names.removeprefix(codecs.BOM_UTF8)):
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


def _fields(text: str) -> list[str]:
    csv.field_size_limit(max(len(text), csv.field_size_limit()))
    return next(csv.reader([text], strict=True))
