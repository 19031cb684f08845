"""Loads the kernel in C: a shared library beside this file, or the one that PREDICT_KERNEL_LIBRARY names."""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path

LIBRARY, LIBRARY_VARIABLE = "libpredict_kernel.so", "PREDICT_KERNEL_LIBRARY"
LIBRARY_VERSION = 11
"""Of its structures and functions: predict_kernel.c."""


@functools.cache
def kernel() -> ctypes.CDLL | None:
    """Return the shared library; None if there is none, or none for this system."""
    path = Path(os.environ.get(LIBRARY_VARIABLE) or Path(__file__).with_name(LIBRARY))
    if not path.is_file():
        return None
    try:
        library = ctypes.CDLL(str(path))
        is_known = library.predict_kernel_version() == LIBRARY_VERSION
    except (OSError, AttributeError):
        return None
    return library if is_known else None


@functools.cache
def has_avx2() -> bool:
    """Tell whether the processor has vectors of 32 bytes, and the system keeps them: Linux lists it then."""
    facts = Path("/proc/cpuinfo")
    return facts.is_file() and "avx2" in facts.read_text().split()
