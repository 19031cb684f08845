"""The types of open columns: those that neither the fitted model determines nor the request states.

pandas types a column by all of its values, and no chunk has them all. So a column's type is one of a few kinds that can be joined:
the kind of a whole column is the join of the kinds of its parts, in any order, and of each value as often as it is there.
"""

from __future__ import annotations

import re
from functools import reduce
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

EMPTY = "empty"
"""Only missing values so far."""
BOOLEAN = "boolean"
OPTIONAL_BOOLEAN = "optional_boolean"
"""Booleans and missing values: an object column in pandas."""
INTEGER = "integer"
"""Within 64 bits, and none missing."""
NUMBER = "number"
TEXT = "text"

KINDS = (EMPTY, BOOLEAN, OPTIONAL_BOOLEAN, INTEGER, NUMBER, TEXT)
STATED_KINDS = (BOOLEAN, INTEGER, NUMBER, TEXT)
"""What a request may say of a column."""

# https://pandas.pydata.org/docs/reference/api/pandas.read_csv.html, na_values
MISSING_VALUES = frozenset(
    ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN",
     "None", "n/a", "nan", "null")
)  # fmt: skip

# Possessive, because a text may have millions of characters: nothing that matched is ever given back.
_SPACE = r"[ \t\n\v\f\r]*+"
_INTEGER = re.compile(rf"{_SPACE}([+-]?+)0*+([0-9]*+)(?<=[0-9]){_SPACE}")
_NUMBER = re.compile(rf"{_SPACE}[+-]?+(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?+[0-9]++)?+{_SPACE}")
_INFINITY = re.compile(r"[+-]?(?:inf|infinity)", re.IGNORECASE | re.ASCII)
_BOOLEAN = re.compile(r"true|false", re.IGNORECASE | re.ASCII)

_INTEGER_DIGITS = 19
"""Of the largest integer of 64 bits, 2^63 - 1."""


def join(left: str, right: str) -> str:
    """Return the kind of a column that has values of both kinds."""
    both = {left, right}
    if len(both) == 1:
        return left
    if both <= {EMPTY, BOOLEAN, OPTIONAL_BOOLEAN}:
        return OPTIONAL_BOOLEAN
    return NUMBER if both <= {EMPTY, INTEGER, NUMBER} else TEXT


def widened(types: Mapping[str, str], found: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the columns' types joined with others that were found of them; what is found of another column is left out."""
    wide = dict(types)
    for others in found:
        for column, kind in others.items():
            if column in wide:
                wide[column] = join(wide[column], kind)
    return wide


def of_numbers(kind: str) -> str:
    """Return the kind of a column that the model takes for numbers: whatever is no integer makes it a column of floats."""
    return INTEGER if kind == INTEGER else NUMBER


def kind_of_texts(texts: Iterable[str]) -> str | None:
    """Return the kind of a column with these fields; None where there are none."""
    kinds = set(map(kind_of_text, set(texts)))
    return reduce(join, kinds) if kinds else None


def kind_of_text(text: str) -> str:
    """Return the kind of a column that has this one field, its quotes removed: as `pandas.read_csv` takes it.

    An integer beyond 64 bits is text: pandas makes of such a column text, Python's integers or floats, by what else is in it and in
    which order, which no chunk can know.
    """
    if text in MISSING_VALUES:
        return EMPTY
    if integer := _INTEGER.fullmatch(text):
        return INTEGER if _fits_64_bits(*integer.groups()) else TEXT
    if _NUMBER.fullmatch(text) or _INFINITY.fullmatch(text):
        return NUMBER
    return BOOLEAN if _BOOLEAN.fullmatch(text) else TEXT


def _fits_64_bits(sign: str, digits: str) -> bool:
    # The length first: Python reads long integers in quadratic time, and refuses the longest.
    return len(digits) <= _INTEGER_DIGITS and -(2**63) <= int(f"{sign}{digits or '0'}") < 2**63
