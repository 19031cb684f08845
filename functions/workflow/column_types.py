"""The types of open columns: those that neither the fitted model determines nor the request states.

pandas types a column by all of its values, and no chunk has them all. So a type is one of a few kinds that can be joined, in any
order, and of each value as often as it is there.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from functools import reduce
from typing import Final, Literal, get_args

EMPTY: Final = "empty"
"""Only missing values so far."""
BOOLEAN: Final = "boolean"
OPTIONAL_BOOLEAN: Final = "optional_boolean"
"""Booleans and missing values: an object column in pandas."""
INTEGER: Final = "integer"
"""None of them missing. Beyond 64 bits they are bad rows for the chunk."""
NUMBER: Final = "number"
TEXT: Final = "text"

Kind = Literal["empty", "boolean", "optional_boolean", "integer", "number", "text"]
KINDS: tuple[Kind, ...] = get_args(Kind)
STATED_KINDS = (BOOLEAN, INTEGER, NUMBER, TEXT)
"""What a request may say of a column."""

# https://pandas.pydata.org/docs/reference/api/pandas.read_csv.html, na_values
MISSING_VALUES = frozenset(
    ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN",
     "None", "n/a", "nan", "null")
)  # fmt: skip

# Possessive, because a text may have millions of characters: nothing that matched is ever given back.
_SPACE = r"[ \t\n\v\f\r]*+"
_INTEGER = re.compile(rf"{_SPACE}[+-]?+[0-9]++{_SPACE}")
_NUMBER = re.compile(rf"{_SPACE}[+-]?+(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?+[0-9]++)?+{_SPACE}")
_INFINITY = re.compile(r"[+-]?(?:inf|infinity)", re.IGNORECASE | re.ASCII)
_BOOLEAN = re.compile(r"true|false", re.IGNORECASE | re.ASCII)


def join(left: Kind, right: Kind) -> Kind:
    """Return the kind of a column that has values of both kinds."""
    both = {left, right}
    if len(both) == 1:
        return left
    if both <= {EMPTY, BOOLEAN, OPTIONAL_BOOLEAN}:
        return OPTIONAL_BOOLEAN
    return NUMBER if both <= {EMPTY, INTEGER, NUMBER} else TEXT


def widened(types: Mapping[str, Kind], found: Iterable[Mapping[str, Kind]], numeric: Collection[str] = ()) -> dict[str, Kind]:
    """Return the columns' types joined with others that were found of them; what is found of another column is left out."""
    wide = dict(types)
    for others in found:
        for column, kind in others.items():
            if column in wide:
                wide[column] = join(wide[column], kind)
    # Where the model takes numbers, a text is a bad row, and True among numbers is 1.
    return {column: NUMBER if kind == TEXT and column in numeric else kind for column, kind in wide.items()}


def kind_of_texts(texts: Iterable[str], decimal: str = ".") -> Kind | None:
    """Return the kind of a column with these fields, whose numbers have this before their decimals; None if there are none."""
    kinds = {kind_of_text(text, decimal) for text in set(texts)}
    return reduce(join, kinds) if kinds else None  # type: ignore[arg-type]


def kind_of_text(text: str, decimal: str = ".") -> Kind:
    """Return the kind of a column that has this one field, its quotes removed: as `pandas.read_csv` takes it."""
    if text in MISSING_VALUES:
        return EMPTY
    if decimal != ".":
        text = text.translate(str.maketrans(f"{decimal}.", f".{decimal}"))
    if _INTEGER.fullmatch(text):
        return INTEGER
    if _NUMBER.fullmatch(text) or _INFINITY.fullmatch(text):
        return NUMBER
    return BOOLEAN if _BOOLEAN.fullmatch(text) else TEXT
