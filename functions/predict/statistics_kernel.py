"""Has statistics.c measure and count columns of numbers."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np

from predict_kernel import has_avx2, kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

    Array = np.ndarray[Any, Any]

MEASURES = 7
"""How many there are of a column; statistics.c has their order."""


class _Request(ctypes.Structure):
    _fields_ = (
        ("columns", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("n_columns", "rows")),
        *((name, ctypes.c_void_p) for name in ("are_shares", "bins", "coarse_bins", "are_coarse")),
        ("most", ctypes.c_int64),
        ("share_bins", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("first_whole", "is_wide")),
        ("measures", ctypes.c_void_p),
        ("n_bins", ctypes.c_int64),
        ("counts", ctypes.c_void_p),
    )


def count(
    columns: Sequence[Array] | Array, are_shares: Array, are_coarse: Array, bins: Any, first_whole: int, most: int, counts: Array
) -> Array | None:
    """Count float64 columns, each of them contiguous: add them to the uint32 `counts`, of shape (n_columns, n_bins).

    `bins` are the handler's; `are_coarse` tells which columns are counted in coarse ones, and is kept from block to block.
    Returns their measures, of shape (MEASURES, n_columns); None if there is no kernel.
    """
    library = kernel()
    if library is None:
        return None
    if isinstance(columns, np.ndarray):
        addresses = columns.ctypes.data + np.arange(len(columns), dtype=np.uintp) * columns.strides[0]
    else:
        addresses = np.array([column.ctypes.data for column in columns], np.uintp)
    measures = np.empty((MEASURES, len(columns)))
    library.count_columns(
        ctypes.byref(
            _Request(
                addresses.ctypes.data, len(columns), len(columns[0]),
                *(array.ctypes.data for array in (are_shares, bins.of_cells, bins.coarse_of_cells, are_coarse)), most,
                bins.of_shares.ctypes.data, first_whole, has_avx2(),
                measures.ctypes.data, counts.shape[1], counts.ctypes.data,
            )
        )
    )  # fmt: skip
    return measures


def join(counts: Array, buckets: Array, most: int) -> Array | None:
    """Join the uint32 counts of columns by bins to those of buckets; `buckets` has the int64 number of each bin's.

    Returns for each column how often two buckets became one, the first bucket, the count of zero, and those of `most` buckets of
    either sign; None if there is no kernel.
    """
    library = kernel()
    if library is None:
        return None
    joined = np.empty((len(counts), 3 + 2 * most), np.int64)
    sizes = [ctypes.c_int64(size) for size in (*counts.shape, most)]
    library.join_buckets(*sizes, *(ctypes.c_void_p(array.ctypes.data) for array in (counts, buckets, joined)))
    return joined
