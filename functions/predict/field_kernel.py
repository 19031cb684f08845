"""Has fields.c copy some of the fields of CSV records."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np

from predict_kernel import kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

    Array = np.ndarray[Any, Any]


class _Selection(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_char_p),
        ("offsets", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("line_end", ctypes.c_int64),
        ("runs", ctypes.c_void_p),
        ("n_runs", ctypes.c_int64),
        ("fields", ctypes.c_int64),
        ("delimiter", ctypes.c_int32),
        ("selected", ctypes.c_void_p),
        ("places", ctypes.c_void_p),
    )


def select(
    data: bytes, offsets: Array, line_end: int, fields: int, runs: Sequence[tuple[int, int]], delimiter: int
) -> tuple[bytes, Array] | None:
    """Copy runs of fields, [first, stop) each, of records of so many fields whose quotes have been checked.

    Record i is `data[offsets[i] + line_end : offsets[i + 1]]`, and its line end stands before it, in what is returned as well: that
    is the bytes and the offsets. Returns None if there is no kernel, or if a record has too few or too many fields.
    """
    library = kernel()
    if library is None:
        return None
    rows = len(offsets) - 1
    edges, places = np.array(runs, np.int64), np.empty(rows + 1, np.int32)
    selected = np.empty(int(offsets[-1] - offsets[0]), np.uint8)
    selection = _Selection(
        data,
        offsets.ctypes.data,
        rows,
        line_end,
        edges.ctypes.data,
        len(runs),
        fields,
        delimiter,
        selected.ctypes.data,
        places.ctypes.data,
    )
    library.select_fields.restype = ctypes.c_int64
    size = library.select_fields(ctypes.byref(selection))
    return (selected[:size].tobytes(), places) if size >= 0 else None
