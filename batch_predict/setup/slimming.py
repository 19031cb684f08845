"""What is left out of the prediction function's package, and why: Lambda takes 262 MB, the wheels have 450.

A pattern that matches nothing fails the build: after an upgrade the list is looked at again, before it silently does less.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

from .target import PackageError


class Omission(NamedTuple):
    """Files that the prediction function never opens."""

    what: str
    reason: str
    patterns: tuple[str, ...]
    """Patterns for `pathlib.Path.glob`; a folder is deleted with all that is in it."""


OMISSIONS = (
    Omission(
        "tests",
        "the libraries' own",
        ("numpy/**/tests", "scipy/**/tests", "sklearn/**/tests", "pyarrow/tests", "joblib/**/test*", "pandas/tests"),
    ),
    Omission(
        "modules for tests",
        "numpy's tests of itself load them, and nothing else",
        (
            *("numpy/_core/_simd.*.so", "numpy/_core/_multiarray_tests.*.so", "numpy/_core/_umath_tests.*.so"),
            *("numpy/_core/_rational_tests.*.so", "numpy/_core/_struct_ufunc_tests.*.so", "numpy/_core/_operand_flag_tests.*.so"),
        ),
    ),
    Omission(
        "sources and headers",
        "for compilers and type checkers",
        (
            *("**/*.pyi", "**/*.pxd", "**/*.pxi", "**/*.pyx", "**/*.tp", "**/*.a"),
            *("numpy/**/include", "pyarrow/include", "pyarrow/src", "sklearn/**/*.h", "sklearn/**/meson.build", "sklearn/**/src"),
        ),
    ),
    Omission(
        "Arrow Flight",
        "a network protocol; nothing else links to it",
        ("pyarrow/libarrow_flight.so*", "pyarrow/libarrow_python_flight.so*", "pyarrow/_flight.*", "pyarrow/flight.py"),
    ),
    Omission(
        "Arrow's own cloud file systems",
        "the handler reads S3 with boto3; they are loaded on demand",
        ("pyarrow/libarrow_s3.so*", "pyarrow/_s3fs.*", "pyarrow/_gcsfs.*", "pyarrow/_azurefs.*", "pyarrow/_hdfs.*"),
    ),
    Omission(
        "Arrow's other formats",
        "the handler reads text and Parquet; these modules are optional",
        (
            *("pyarrow/_orc.*", "pyarrow/_dataset_orc.*", "pyarrow/orc.py", "pyarrow/_feather.*", "pyarrow/feather.py"),
            *("pyarrow/_parquet_encryption.*", "pyarrow/_dataset_parquet_encryption.*"),
            *("pyarrow/libarrow_python_parquet_encryption.so*", "pyarrow/_pyarrow_cpp_tests.*"),
        ),
    ),
    Omission(
        "second and third names of a library",
        "a wheel has no links, so each name is a copy; what is linked to is the name with the ABI's version",
        ("pyarrow/libarrow_python.so", "pyarrow/libarrow_python.so.*.*"),
    ),
    Omission("sample data", "for tutorials", ("sklearn/datasets/data", "sklearn/datasets/images", "sklearn/datasets/descr")),
    Omission("lists of files", "of the wheels, no longer true", ("*.dist-info/RECORD",)),
)


def slim(directory: Path, *, all_match: bool = True) -> dict[str, int]:
    """Delete what `OMISSIONS` lists, and return the bytes of each; raises PackageError for a pattern without a match.

    Of other libraries than the package's, in a bundle, not all match; and patterns for any library are not applied.
    """
    gained = {}
    for omission in OMISSIONS:
        gained[omission.what] = 0
        for pattern in omission.patterns:
            if not all_match and pattern.startswith("**/"):
                continue
            found = sorted(directory.glob(pattern))
            if not found and all_match:
                raise PackageError(f"{pattern} ({omission.what}) matches nothing: update slimming.py to the libraries")
            for path in found:
                gained[omission.what] += size_of(path)
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)  # it was in a folder that is deleted already
    return gained


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.exists() else 0
