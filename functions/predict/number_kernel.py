"""Has numbers.c read the columns of numbers of a block, and records.c find octets in it and join its records with predictions."""

from __future__ import annotations

import ctypes
import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from predict_kernel import kernel

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    Array = np.ndarray[Any, Any]

UNREAD, COPIED = -1, -2
"""What numbers.c is told of fields that are not read, in place of a column's number."""
FIRST_POWER, LAST_POWER = -342, 324
"""Of ten: those whose products with 64 bits may be finite and not zero, and those by which the smallest doubles are printed."""
PRINTED_BYTES, ROOM = 25, 64
"""Bytes of a comma and a number, at most; and bytes behind what is joined, which are written, too."""

FIND_BYTES = 1 << 18
"""Searched at once: each may be a place, and fresh memory for all of a block's would cost more than the search."""


class _Request(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_char_p),
        ("size", ctypes.c_int64),
        ("offsets", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("rows", "line_end", "delimiter", "decimal")),
        ("columns", ctypes.c_void_p),
        ("fields", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("powers", "values", "missing", "is_large", "is_declined", "copied")),
    )


class Numbers(NamedTuple):
    """What was read of a block."""

    names: Sequence[str]
    matrix: Array
    """Shape (rows, names), by columns; NaN where a field is empty. It cannot be changed: `table` has its memory."""
    missing: Array
    """How many fields of each column are empty."""
    exact: frozenset[str]
    """Columns of which it is known that no number is beyond 2^53."""
    declined: frozenset[str]
    """Columns with a field that is not spelled as numbers.c takes it: their values are not to be used."""
    copied: memoryview
    """CSV of the columns that were copied."""

    def table(self) -> pa.Table:
        """Return the columns, null where a field is empty."""
        rows, size = len(self.matrix), self.matrix.itemsize * len(self.matrix)
        memory = pa.py_buffer(self.matrix.T)
        columns = []
        for index, missing in enumerate(self.missing.tolist()):
            valid = pa.py_buffer(np.packbits(~np.isnan(self.matrix[:, index]), bitorder="little")) if missing else None
            columns.append(pa.Array.from_buffers(pa.float64(), rows, [valid, memory.slice(index * size, size)], missing))
        return pa.table(columns, names=list(self.names))


def read(
    data: bytes,
    offsets: Array,
    line_end: int,
    header: Sequence[str],
    numbers: Sequence[str],
    copied: Collection[str],
    delimiter: str = ",",
    decimal: str = ".",
) -> Numbers | None:
    """Read the columns `numbers`, and copy the columns `copied`, of records whose quotes have been checked.

    Record i is `data[offsets[i] + line_end : offsets[i + 1]]`, and a line end follows. Returns None if there is no kernel, or if a
    record has too few or too many fields.
    """
    library = kernel()
    if library is None:
        return None
    places = {name: place for place, name in enumerate(numbers)} | dict.fromkeys(copied, COPIED)
    columns = np.array([places.get(name, UNREAD) for name in header], np.int32)
    rows = len(offsets) - 1
    matrix = np.empty((rows, len(numbers)), order="F")
    missing = np.zeros(len(numbers), np.int64)
    is_large, is_declined = np.zeros((2, len(numbers)), np.bool_)
    copy = np.empty(int(offsets[-1] - offsets[0]) if copied else 0, np.uint8)
    request = _Request(
        data, len(data), offsets.ctypes.data, rows, line_end, ord(delimiter), ord(decimal), columns.ctypes.data, len(columns),
        *(array.ctypes.data for array in (_powers(), matrix, missing, is_large, is_declined, copy)),
    )  # fmt: skip
    size = library.read_numbers(ctypes.byref(request))
    if size < 0:
        return None
    matrix.flags.writeable = False
    exact = frozenset(name for name, is_set in zip(numbers, is_large.tolist(), strict=True) if not is_set)
    declined = frozenset(name for name, is_set in zip(numbers, is_declined.tolist(), strict=True) if is_set)
    return Numbers(numbers, matrix, missing, exact, declined, copy.data[:size])


def find(data: bytes, octet: int) -> Array | None:
    """Return where an octet is; None if there is no kernel."""
    library = kernel()
    if library is None:
        return None
    found, pieces = np.empty(FIND_BYTES, np.int32), []
    for start in range(0, len(data), FIND_BYTES):
        part = ctypes.c_int64(start), ctypes.c_int64(min(start + FIND_BYTES, len(data)))
        pieces.append(found[: library.find_octet(data, *part, octet, found.ctypes.data_as(ctypes.c_void_p))].copy())
    return np.concatenate(pieces)


class _Texts(ctypes.Structure):
    _fields_ = (("octets", ctypes.c_void_p), ("offsets", ctypes.c_void_p))


def join(columns: Sequence[pa.Array]) -> memoryview | None:
    """Join binary columns without nulls, row by row; None if there is no kernel."""
    library = kernel()
    if library is None:
        return None
    size, texts = 0, (_Texts * len(columns))()
    for text, column in zip(texts, columns, strict=True):
        _, offsets, octets = column.buffers()
        places = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
        text.octets, text.offsets = octets.address, places.ctypes.data
        size += int(places[-1] - places[0])
    joined = np.empty(size, np.uint8)
    n_columns, rows = ctypes.c_int64(len(columns)), ctypes.c_int64(len(columns[0]))
    library.join_texts(texts, n_columns, rows, joined.ctypes.data_as(ctypes.c_void_p))
    return joined.data


def join_numbers(data: bytes, offsets: Array, numbers: Array, delimiter: str = ",", decimal: str = ".") -> memoryview | None:
    """Join records, `data[offsets[i] : offsets[i + 1]]`, each with one or several numbers; None if there is no kernel.

    The numbers are float64, of the shape (rows,) or (rows, columns), by rows, and are printed as orjson does, or `str` those that
    are not finite.
    """
    library = kernel()
    if library is None:
        return None
    joined = np.empty(int(offsets[-1] - offsets[0]) + PRINTED_BYTES * numbers.size + ROOM, np.uint8)
    sizes = [ctypes.c_int64(size) for size in (len(data), len(numbers), numbers.size // len(numbers))]
    marks = [ctypes.c_int(ord(mark)) for mark in (delimiter, decimal)]
    addresses = [ctypes.c_void_p(array.ctypes.data) for array in (offsets, numbers, _powers(), joined)]
    library.join_numbers.restype = ctypes.c_int64
    return joined.data[: library.join_numbers(data, *sizes, *marks, *addresses)]


@functools.cache
def _powers() -> Array:
    """Return the first 128 bits of the powers of five, two words each, in which the kernel has the powers of ten.

    As Lemire's algorithm wants them: rounded down, but those from 5^-27 to 5^-1 up.
    """
    words = []
    for power in range(FIRST_POWER, LAST_POWER + 1):
        five = 5 ** abs(power)
        size = five.bit_length()
        bits = (five << 128) >> size if power >= 0 else (1 << (127 + size)) // five + (power >= -27)
        words += divmod(bits, 1 << 64)
    return np.array(words, np.uint64)
