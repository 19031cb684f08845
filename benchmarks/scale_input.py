"""The inputs of the scale benchmark."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.formula_objects import RECORD_BYTES, SmallObjects, records_of_size

if TYPE_CHECKING:
    from benchmarks.formula_s3 import FormulaS3

BUCKET = "bucket"
INPUT_PREFIX = "in/"
CHUNK_SIZE_MB = 64

PARQUET_BYTES = 10**9
"""Of each object of Parquet."""
UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


class ScaleCase(NamedTuple):
    """An input: one object of `n_bytes`, or `n_objects` small ones under a prefix."""

    name: str
    n_bytes: int
    n_objects: int
    is_quoted: bool
    n_features: int = 0
    """Features whose statistics each receipt has; 0: none."""
    is_parquet: bool = False
    """Whether the objects are Parquet, of 300 columns each."""


def parse_case(name: str) -> ScaleCase:
    """Read `1KB`, `10TB`, `1TB-quoted`, `1TB-23-features`, `1TB-parquet` or `1000000-objects`; ValueError on anything else."""
    if match := re.fullmatch(r"([1-9]\d*)-objects", name):
        n_objects = int(match[1])
        return ScaleCase(name, n_objects * SmallObjects(INPUT_PREFIX, n_objects).size, n_objects, is_quoted=False)
    if match := re.fullmatch(r"([1-9]\d*)([MGT]B)-parquet", name):
        n_bytes = int(match[1]) * UNITS[match[2]]
        return ScaleCase(name, n_bytes, max(2, n_bytes // PARQUET_BYTES), is_quoted=False, is_parquet=True)
    match = re.fullmatch(r"([1-9]\d*)([KMGT]?B)(-quoted|-([1-9]\d*)-features)?", name)
    if not match or int(match[1]) * UNITS[match[2]] < 2 * RECORD_BYTES:
        raise ValueError(f"{name} is not an input: write 1KB, 10TB, 1TB-quoted, 1TB-23-features, 1TB-parquet or 1000000-objects")
    return ScaleCase(name, int(match[1]) * UNITS[match[2]], 1, match[3] == "-quoted", int(match[4] or 0))


def add_input(client: FormulaS3, case: ScaleCase) -> list[tuple[int, int]]:
    """Put the input into the bucket; return the numbers of all its records."""
    if case.n_objects == 1:
        records = records_of_size(case.n_bytes, quoted=case.is_quoted)
        client.add(f"{INPUT_PREFIX}data.csv", records)
        return list(records.runs)
    objects = SmallObjects(INPUT_PREFIX, case.n_objects)
    client.add_prefix(objects)
    return [(0, objects.n_objects * objects.rows)]
