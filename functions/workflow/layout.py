"""Whether objects may stand under one header: equal columns, in the same order, and equal line ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import InvalidDataError
from .header_mistakes import mistaken_first_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .csv_records import Header
    from .inputs import InputObject

NAMED_COLUMNS = 10
"""Columns that a message names before it only counts."""

_LINE_ENDS = {b"\n": "LF", b"\r\n": "CRLF"}


def require_same_layout(headers: Sequence[tuple[InputObject, Header]]) -> None:
    """Raise if an object's columns or line ends differ from the first one's: its rows would not fit under that header."""
    for other, header in headers[1:]:
        first, reference = headers[0]
        if header.columns != reference.columns:
            if mistake := mistaken_first_line(reference.columns, header.columns):  # its values are not to be shown as names
                raise InvalidDataError(f"{other.uri} {mistake.what}, unlike {first.uri}", mistake.advice)
            difference = column_difference(reference.columns, header.columns)
            raise InvalidDataError(f"{other.uri} has other columns than {first.uri}: {difference}", "make all objects alike")
        if header.line_end != reference.line_end:
            raise InvalidDataError(
                f"{other.uri} ends its lines with {_LINE_ENDS[header.line_end]}, but {first.uri} "
                f"with {_LINE_ENDS[reference.line_end]}",
                "make all objects alike",
            )


def column_difference(first: list[str], other: list[str]) -> str:
    """Say what `other` has in place of the columns of `first`."""
    missing, extra = _lacking(first, other), _lacking(other, first)
    if not missing and not extra:
        position = next((index for index, pair in enumerate(zip(first, other, strict=False)) if pair[0] != pair[1]), len(first))
        return f"they are in another order from column {position + 1} on"
    sentences = [f"it lacks {_named(missing)}"] if missing else []
    return " and ".join([*sentences, *([f"it adds {_named(extra)}"] if extra else [])])


def _lacking(columns: list[str], others: list[str]) -> list[str]:
    """Return the columns that are not among others."""
    known = set(others)
    return [column for column in columns if column not in known]


def _named(columns: list[str]) -> str:
    rest = f" and {len(columns) - NAMED_COLUMNS} more" if len(columns) > NAMED_COLUMNS else ""
    return ", ".join(repr(column[:100]) for column in columns[:NAMED_COLUMNS]) + rest
