"""Has json_lines.c read columns of JSON Lines."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from number_kernel import _powers
from predict_kernel import kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

    Array = np.ndarray[Any, Any]


class _Request(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_char_p),
        ("size", ctypes.c_int64),
        ("lines", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("names", ctypes.c_char_p),
        *((name, ctypes.c_void_p) for name in ("name_offsets", "places")),
        *((name, ctypes.c_int64) for name in ("columns", "texts")),
        *((name, ctypes.c_void_p) for name in ("powers", "values", "is_large", "offsets", "copies", "is_present", "is_declined")),
    )


class Lines(NamedTuple):
    """What was read of a block."""

    matrix: Array
    """The numbers, of shape (rows, numbers), by columns; NaN where a value is missing."""
    is_large: Array
    """For each column of numbers, whether one may be beyond 2^53."""
    values: list[pa.Array]
    """For each other column, the values' own text in JSON; null where a value is missing."""
    has_key: Array
    """For each other column, which lines have it, be it as null; shape (others, rows)."""
    declined: Array
    """Lines of which nothing was read."""


def read(data: bytes, lines: Array, numbers: Sequence[str], others: Sequence[str]) -> Lines | None:
    """Read columns of lines, of which number i is in `data[lines[i] : lines[i + 1]]`; None if there is no kernel.

    The data is UTF-8 and ends in a line feed; white space around a line, also line feeds, is not looked at, but there is more.
    """
    library = kernel()
    if library is None:
        return None
    rows, names = len(lines) - 1, [name.encode() for name in (*numbers, *others)]
    name_offsets = np.cumsum([0, *map(len, names)]).astype(np.int32)
    places = np.array([*range(len(numbers)), *(-1 - place for place in range(len(others)))], np.int32)
    matrix = np.full((rows, len(numbers)), np.nan, order="F")
    is_large, is_declined = np.zeros(len(numbers), np.bool_), np.zeros(rows, np.bool_)
    offsets, is_present = np.empty((len(others), rows + 1), np.int32), np.empty((len(others), rows), np.uint8)
    copies = np.empty(len(data) if others else 0, np.uint8)
    request = _Request(
        data, len(data), lines.ctypes.data, rows, b"".join(names), name_offsets.ctypes.data,
        places.ctypes.data, len(names), len(others),
        *(array.ctypes.data for array in (_powers(), matrix, is_large, offsets, copies, is_present, is_declined)),
    )  # fmt: skip
    if not library.read_json_lines(ctypes.byref(request)):
        return None
    memory = pa.py_buffer(copies)
    values = []
    for place in range(len(others)):
        valid = pa.py_buffer(np.packbits(is_present[place] == 1, bitorder="little"))
        values.append(pa.Array.from_buffers(pa.binary(), rows, [valid, pa.py_buffer(offsets[place]), memory]))
    return Lines(matrix, is_large, values, is_present > 0, np.flatnonzero(is_declined))
