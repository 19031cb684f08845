"""How a CSV file seems to be written, by its first bytes: the field `csv` of a request that reads it."""

import codecs
import csv
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_predict import deployed

if TYPE_CHECKING:
    from workflow.csv_dialect import Dialect

SAMPLE_BYTES = 2**18
SAMPLE_RECORDS = 1000
_UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_ZEROS = {1: "utf-16-le", 0: "utf-16-be"}
"""Which octet of the first character is zero without a mark."""
_DECIMAL_COMMA, _DECIMAL_POINT = re.compile(r"[+-]?[0-9]*,[0-9]+"), re.compile(r"[+-]?[0-9]*\.[0-9]+")


def proposed_csv(path: Path, wanted: Collection[str]) -> dict[str, Any] | None:
    """Return the field `csv` with which a file's header has all wanted columns; None if it needs none, or if none is found."""
    with path.open("rb") as file:
        sample = file.read(SAMPLE_BYTES)
    dialects = deployed.csv_dialect
    usual: Dialect = dialects.COMMAS
    if wide := _UTF_16.get(sample[:2]) or next(
        (codec for zero, codec in _ZEROS.items() if sample[zero::2].startswith(b"\0")), None
    ):
        sample = sample.decode(wide, "ignore").encode()
    for dialect in _candidates(sample, usual):
        names, *rows = _records(sample, dialect) or [[]]
        if set(wanted) <= set(names):
            decimal = _decimal_of([row for row in rows if len(row) == len(names)], [names.index(name) for name in wanted])
            said = dialect._replace(decimal="." if decimal == dialect.delimiter else decimal, encoding=wide or dialect.encoding)
            field: dict[str, Any] | None = dialects.field_of(said)
            return field
    return None


def _candidates(sample: bytes, usual: "Dialect") -> Iterator["Dialect"]:
    """Yield dialects to try, those first that say less."""
    encodings = ["utf-8"] if _is_utf8(sample) else ["cp1252", "iso8859-1"]
    comments = [None, "#"] if sample.lstrip(b"\xef\xbb\xbf").startswith(b"#") else [None]
    for encoding in encodings:
        for comment in comments:
            for delimiter in (usual.delimiter, *(mark for mark in deployed.header_mistakes.SEPARATORS if mark != usual.delimiter)):
                yield usual._replace(encoding=encoding, comment=comment, delimiter=delimiter)


def _is_utf8(sample: bytes) -> bool:
    try:
        sample.decode()
    except UnicodeDecodeError as error:
        return error.start > len(sample) - 4 and len(sample) == SAMPLE_BYTES  # a character that the sample's end cuts
    return True


def _records(sample: bytes, dialect: "Dialect") -> list[list[str]]:
    """Return the fields of the first records; none if they are not of the dialect."""
    found: list[list[str]] = []
    start = deployed.csv_records.bom_bytes(sample, dialect)
    for stop in deployed.csv_records.record_stops(sample):
        record = sample[start:stop]
        start = stop
        if not deployed.csv_records.is_blank(record, dialect):
            try:
                found += csv.reader([record.decode(dialect.encoding)], delimiter=dialect.delimiter, strict=True)
            except (UnicodeDecodeError, csv.Error):
                return []
        if len(found) == SAMPLE_RECORDS:
            break
    return found


def _decimal_of(rows: Sequence[Sequence[str]], places: Sequence[int]) -> str:
    """Return the decimal mark of some columns: a comma, if some value has one, and none has a point."""
    values = {row[place] for row in rows for place in places}
    has_commas = any(map(_DECIMAL_COMMA.fullmatch, values))
    return "," if has_commas and not any(map(_DECIMAL_POINT.fullmatch, values)) else "."
