"""Names below a prefix in S3, or in a local folder: which of them are data, and in what order they are read.

The command line loads this file for local folders, so that both places have one rule.
"""

import re

WILDCARDS = re.compile(r"[*?\[]")
"""What makes a name a glob."""

BESIDE_DATA = (".csv.metadata", "._copying_")
"""Ends of names, in lower case, of what Athena writes beside a result, and Hadoop while it copies a file."""

WORK_FOLDER_SUFFIX = ".work"
"""End of the name of a run's work folder: `WORK_MARK` in work.py is this and a slash."""

OTHER_FORMATS = (
    ".7z", ".arrow", ".avro", ".br", ".bz2", ".db", ".duckdb", ".feather", ".gz", ".gzip", ".h5", ".hdf", ".hdf5",
    ".htm", ".html", ".ipc", ".joblib", ".json", ".jsonl", ".lz4", ".ndjson", ".npy", ".npz", ".ods", ".orc", ".parq",
    ".parquet", ".pickle", ".pkl", ".pq", ".psv", ".rar", ".snappy", ".sqlite", ".tab", ".tar", ".tgz", ".tsv", ".xls",
    ".xlsb", ".xlsm", ".xlsx", ".xml", ".xz", ".zip", ".zst", ".zstd",
)  # fmt: skip
"""Ends of names that promise something else than CSV with commas: whoever reads an output of that name would take it for that."""


def other_format(name: str) -> str | None:
    """Return the end of a name that promises another format than CSV, in lower case; None if it promises none."""
    lower = name.lower()
    return next((ending for ending in OTHER_FORMATS if lower.endswith(ending)), None)


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
