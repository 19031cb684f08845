"""Names below a prefix in S3, or in a local folder: which of them are data, and in what order they are read.

The command line loads this file for local folders, so that both places have one rule.
"""

import re
from typing import NamedTuple

WILDCARDS = re.compile(r"[*?\[]")
"""What makes a name a glob."""

BESIDE_DATA = (".csv.metadata", "._copying_")
"""Ends of names, in lower case, of what Athena writes beside a result, and Hadoop while it copies a file."""

WORK_FOLDER_SUFFIX = ".work"
"""End of the name of a run's work folder: `WORK_MARK` in work.py is this and a slash."""

FORMATS = {"csv": "CSV", "jsonl": "JSON Lines", "parquet": "Parquet"}
"""The formats of `input_format` and `output_format`, and what people call them."""
CONVERSIONS = {"csv": ("csv", "jsonl", "parquet"), "jsonl": ("jsonl", "csv", "parquet"), "parquet": ("parquet", "csv", "jsonl")}
"""By the format of the data, what its output can be."""
COMPRESSIONS = ("none", "gzip", "zstd")
"""What `output_compression` can be."""
TABLE_ENDINGS = {
    ".csv": ("csv", None), ".tsv": ("csv", "\t"), ".tab": ("csv", "\t"), ".psv": ("csv", "|"),
    ".jsonl": ("jsonl", None), ".ndjson": ("jsonl", None),
    ".parquet": ("parquet", None), ".parq": ("parquet", None), ".pq": ("parquet", None),
}  # fmt: skip
"""Ends of names, in lower case, with the format that they promise, and its delimiter if they promise one."""
COMPRESSED_ENDINGS = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
OTHER_ENDINGS = (
    ".7z", ".arrow", ".avro", ".br", ".bz2", ".db", ".duckdb", ".feather", ".h5", ".hdf", ".hdf5", ".htm", ".html", ".ipc",
    ".joblib", ".json", ".lz4", ".npy", ".npz", ".ods", ".orc", ".pickle", ".pkl", ".rar", ".snappy", ".sqlite", ".tar", ".tgz",
    ".xls", ".xlsb", ".xlsm", ".xlsx", ".xml", ".xz", ".zip",
)  # fmt: skip
"""Ends of names that promise what no output is: whoever reads an output of that name would take it for that."""


class Promise(NamedTuple):
    """What the end of a name says of the object."""

    ending: str
    """In lower case; empty if it says nothing."""
    format: str | None
    """None if it says at most that the object is compressed, or if it is one of `OTHER_ENDINGS`."""
    delimiter: str | None
    compression: str
    is_other: bool
    """Whether it promises what no output is."""


def promise_of(name: str) -> Promise:
    """Return what the end of a name promises: `.csv.gz` is CSV that is compressed, and `.gz` alone anything that is."""
    lower = name.lower()
    outer = next((ending for ending in COMPRESSED_ENDINGS if lower.endswith(ending)), "")
    inner = lower.removesuffix(outer)
    ending = next((ending for ending in (*TABLE_ENDINGS, *OTHER_ENDINGS) if inner.endswith(ending)), "")
    kind, delimiter = TABLE_ENDINGS.get(ending, (None, None))
    return Promise(ending + outer, kind, delimiter, COMPRESSED_ENDINGS.get(outer, "none"), ending in OTHER_ENDINGS)


class Written(NamedTuple):
    """How an output is written."""

    format: str | None
    """None if it is that of the data, which is not known yet."""
    compression: str
    mistake: str | None
    """Why it cannot be: completes a sentence that begins with the output."""


def written_as(
    name: str,
    input_format: str | None = None,
    output_format: str | None = None,
    output_compression: str | None = None,
    delimiter: str = ",",
) -> Written:
    """Decide how an output is written: as the request says, else as its name promises, else as the data and uncompressed.

    `delimiter` is that of CSV. Names that promise anything else than what is written are a mistake.
    """
    promise = promise_of(name)
    kind = output_format or promise.format or input_format
    compression = output_compression or promise.compression
    return Written(kind, compression, _mistake(promise, input_format, kind, compression, delimiter))


def _mistake(  # noqa: PLR0911  # one a mistake
    promise: Promise, input_format: str | None, kind: str | None, compression: str, delimiter: str
) -> str | None:
    possible = CONVERSIONS[input_format] if input_format else tuple(FORMATS)
    written = " or ".join(FORMATS[one] for one in possible)
    is_possible = kind is None or kind in possible
    usual = ".tsv" if kind == "csv" and delimiter == "\t" else f".{kind if kind and is_possible else possible[0]}"
    usual += {"gzip": ".gz", "zstd": ".zst"}.get(compression, "") if usual != ".parquet" else ""
    choose = f"choose a name that ends in {usual}"
    if promise.is_other or (promise.format == kind and not is_possible):
        return f"ends in {promise.ending}, and what is written is {written}: {choose}"
    if not is_possible:
        return f"cannot be {FORMATS[str(kind)]}, because what is written of such data is {written}: choose another output_format"
    if kind == "parquet" and compression != "none":
        return f"is Parquet, which compresses its own pages, and not all of it by {compression}: leave that out"
    if promise.format not in (None, kind):
        return f"ends in {promise.ending}, and output_format is {kind}: {choose}, or another output_format"
    if promise.ending and promise.compression != compression:
        return f"ends in {promise.ending}, and output_compression is {compression}: {choose}, or another output_compression"
    if kind == "csv" and promise.delimiter not in (None, delimiter):
        return f"ends in {promise.ending}, and its fields are separated by {delimiter!r}: {choose}"
    return None


def is_hidden(path: str) -> bool:
    """Whether a name, with its folders below what was named, is not data but lies beside it, or is a run's work.

    A part that begins with `_` or `.` hides what is in it: `_SUCCESS`, `.part-0.csv.crc`, `_temporary/0/…`, `__MACOSX/…`. A folder
    that is called `name=value` does not: Hive and Spark keep a column's values in it.
    """
    *folders, name = path.split("/")
    return name.startswith(("_", ".")) or name.lower().endswith(BESIDE_DATA) or any(map(_hides, folders))


def natural_order(name: str) -> str:
    """Return a sort key that puts `part-2` before `part-10`: each number after its own length, and before all letters."""
    return re.sub(r"0*([0-9]+)", lambda digits: f"\0{chr(len(digits[1]))}{digits[1]}", name)


def _hides(folder: str) -> bool:
    return folder.endswith(WORK_FOLDER_SUFFIX) or (folder.startswith(("_", ".")) and "=" not in folder)
