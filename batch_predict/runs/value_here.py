"""Look up the value at the place that a message names, in the user's own file.

The functions never say what a value is: their messages go to AWS. On this machine the reader owns the data.
"""

import ast
import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from batch_predict import deployed
from batch_predict.runs.local_files import compression_in, open_text

if TYPE_CHECKING:
    from workflow.csv_dialect import Dialect

READ_BYTES = 2**28
"""Bytes of a file that are read to count the rows before a place; beyond them, only the value is told."""
RECORD_BYTES = 2**20
SHOWN_CHARACTERS = 100

# As prediction_handler.py's _Place prints itself, and its reasons write a column.
_PLACE = r" (?:row \d+ \(byte (\d+)\)|byte (\d+) \(row \d+ of the chunk that starts at byte \d+\))(?! and the \d+ rows)"
_COLUMN = r"""(?:, column ('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"):)?"""
_FIRST_LINE = r" (?:seems to have no|is not separated|begins with|has (?:a stray|a bare|spaces|0, 1)|is (?:JSON|HTML|not UTF-8))"


def told_here(text: str, uploads: Mapping[Path, str], csv_field: Mapping[str, Any] | None = None) -> str:
    """Return a message as whoever owns the data may read it: with the value at the place that it names, and with local paths.

    `csv_field` is the request's field `csv`.
    """
    return with_local_paths(with_value(text, uploads, csv_field), uploads)


def with_local_paths(text: str, uploads: Mapping[Path, str]) -> str:
    """Put the user's own paths in place of the URIs in a message: nobody sees where a file was uploaded to."""
    paths = {uri: str(path) for path, uri in uploads.items()}
    # The longest first: s3://b/data/a.csv is also the beginning of s3://b/data/a.csv.old
    for uri in sorted(paths, key=len, reverse=True):
        text = text.replace(uri, paths[uri])
    return text


def with_value(text: str, uploads: Mapping[Path, str], csv_field: Mapping[str, Any] | None = None) -> str:
    """Add to a message what stands at the place that it names of a local file; if that cannot be told, return it as it is."""
    dialect = deployed.csv_dialect.dialect_of(csv_field)
    for path, uri in uploads.items():
        named = rf"(?:{re.escape(uri)}|{re.escape(str(path))})"
        try:
            if found := re.search(named + _PLACE + _COLUMN, text):
                column = ast.literal_eval(found[3]) if found[3] else None
                if deployed.data_names.promise_of(path.name).format == "jsonl":
                    return _joined(text, _in_line(path, int(found[1] or found[2]), column))
                return _joined(text, _at(path, int(found[1] or found[2]), column, dialect))
            if re.search(named + _FIRST_LINE, text):
                return _joined(text, f"The file's first line is {_shown(_first_line(path))}")
        except (OSError, ValueError, LookupError, TypeError, csv.Error):  # it is gone, or no longer what it was
            return text
    return text


def _joined(text: str, sentence: str) -> str:
    return f"{text.removesuffix('.')}. {sentence}"


def _at(path: Path, byte: int, column: str | None, dialect: "Dialect") -> str:
    """Say what the record at a byte of a file's text holds, and which row and line of the file it is."""
    with _text(path, byte + RECORD_BYTES, dialect) as file:
        dialect = deployed.csv_dialect.of_text(dialect)
        beginning = file.read(RECORD_BYTES)
        where = ""
        if byte <= READ_BYTES:
            file.seek(0)
            before = file.read(byte)
            stops = [0, *deployed.csv_records.record_stops(before)]
            if stops[-1] != byte and byte != deployed.csv_records.bom_bytes(before, dialect):
                raise ValueError("no record begins there")
            # The header counts as one, and blank lines are none: so the record at this byte is row number `records`.
            is_blank = deployed.csv_records.is_blank
            records = (not dialect.header) + sum(not is_blank(before[start:stop], dialect) for start, stop in pairwise(stops))
            lines = before.count(b"\n")
            where = f"row {records:,} of the file (line {lines + 1:,}), "
        file.seek(byte)
        record = file.read(RECORD_BYTES)
    if column is not None:
        names = dialect.column_names or _fields(deployed.csv_records.first_record(beginning, dialect), dialect)
        return f"It is {where}column {column!r}: {_shown(_fields(_first_record(record), dialect)[names.index(column)])}"
    return f"It is {where}which reads {_shown(_first_record(record).decode(dialect.encoding, 'backslashreplace').rstrip())}"


def _in_line(path: Path, byte: int, column: str | None) -> str:
    """Say what the line of JSON Lines at a byte of a file's text holds, and which line of the file it is."""
    text = open_text(path).read(byte + RECORD_BYTES)
    number, line = text.count(b"\n", 0, byte) + 1, text[byte:].partition(b"\n")[0]
    where = f"line {number:,} of the file, "
    if column is not None:
        return f"It is {where}key {column!r}: {_shown(str(json.loads(line)[column]))}"
    return f"It is {where}which reads {_shown(line.decode('utf-8', 'backslashreplace').rstrip())}"


@contextmanager
def _text(path: Path, size: int, dialect: "Dialect") -> Iterator[BinaryIO]:
    """Open a file; if it is compressed, or UTF-16, so many bytes of its text."""
    if deployed.csv_dialect.is_wide(dialect) and path.stat().st_size <= READ_BYTES:
        yield io.BytesIO(deployed.csv_records.text_of(open_text(path).read(), dialect, str(path), is_all=True))
    elif not compression_in(path):
        with path.open("rb") as file:
            yield file
    elif size > READ_BYTES:
        raise ValueError("all that is before it would have to be read")
    else:
        yield io.BytesIO(open_text(path).read(size))


def _fields(record: bytes, dialect: "Dialect") -> list[str]:
    text = record.decode("utf-8-sig" if dialect.encoding == "utf-8" else dialect.encoding)
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=dialect.delimiter))


def _first_record(data: bytes) -> bytes:
    return data[: next(deployed.csv_records.record_stops(data), len(data))]


def _first_line(path: Path) -> str:
    with _text(path, RECORD_BYTES, deployed.csv_dialect.COMMAS) as file:
        return file.readline(RECORD_BYTES).decode("utf-8-sig", "replace").rstrip()


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…")
