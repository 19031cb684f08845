"""Tables in each format that is taken: written as other programs write them, read back, and compared with what went in."""

import gzip
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

PREDICTION = "total"
TEXTS = ["plain", 'late, "very"', "two\nlines", "größer|;\t", "a\\b", "NULL?", "{}", " padded "]


@dataclass(frozen=True)
class Format:
    """A format, and how other programs write and read it."""

    suffix: str
    write: Callable[[pd.DataFrame], bytes]
    read: Callable[[bytes], pd.DataFrame]
    keeps: Callable[[Sequence[bytes], bytes], bool]
    """Whether an output has all bytes of these inputs, in order."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """What a request says of it."""
    is_split: bool = True
    """Whether a large object becomes several chunks."""
    has_bad_texts: bool = True
    """Whether a text can stand where the model wants a number."""


def table(n_rows: int, seed: int = 0) -> pd.DataFrame:
    """Return a table with awkward texts and missing values; `x` and `y` are the features."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": np.arange(n_rows),
            "note": pd.Series([TEXTS[index % len(TEXTS)] if index % 5 else None for index in range(n_rows)], dtype="str"),
            "x": np.round(random.normal(size=n_rows), 6),
            "y": random.integers(-9, 9, n_rows).astype(float) / 4,
        }
    )


def spoil(frame: pd.DataFrame, rows: Sequence[int]) -> pd.DataFrame:
    """Return the table with a text in place of `x` in some rows."""
    spoiled = frame.astype({"x": object})
    spoiled.loc[frame.index[list(rows)], "x"] = "zwoelf"
    return spoiled


def _csv(**dialect: Any) -> dict[str, Any]:
    """Return how pandas writes and reads a dialect of CSV."""

    def write(frame: pd.DataFrame) -> bytes:
        if frame["x"].dtype == object:  # pandas writes a point in such a column, whatever it is told
            frame = frame.assign(x=[str(value).replace(".", dialect.get("decimal", ".")) for value in frame["x"]])
        text = frame.to_csv(index=False, lineterminator="\n", **{name: dialect[name] for name in dialect if name != "encoding"})
        return text.encode(dialect.get("encoding", "utf-8"))

    def read(data: bytes) -> pd.DataFrame:
        names = {} if dialect.get("header", True) else {"header": None, "names": ["id", "note", "x", "y", PREDICTION]}
        known = {name: value for name, value in dialect.items() if name != "header"}
        return pd.read_csv(io.BytesIO(data), keep_default_na=False, na_values=[""], **known, **names)

    def keeps(inputs: Sequence[bytes], output: bytes) -> bool:
        encoding = dialect.get("encoding", "utf-8")
        records = records_of(output.decode(encoding), dialect.get("sep", ","))
        own = [record for data in inputs for record in records_of(data.decode(encoding), None)[bool(dialect.get("header", True)) :]]
        return records[bool(dialect.get("header", True)) :] == own

    return {"write": write, "read": read, "keeps": keeps}


def records_of(text: str, separator: str | None) -> list[str]:
    """Cut a text into records, without their last fields if the separator is given: these are predictions."""
    records, start, quotes = [], 0, 0
    for position, character in enumerate(text):
        quotes += character == '"'
        if character == "\n" and quotes % 2 == 0:
            records.append(text[start:position])
            start = position + 1
    assert start == len(text)
    if separator is None:
        return records
    return [_without_last_field(record, separator) for record in records]


def _without_last_field(record: str, separator: str) -> str:
    """A prediction with a decimal comma is quoted if that is the separator."""
    return record[: record.rindex(separator + '"')] if record.endswith('"') else record[: record.rindex(separator)]


def _write_json_lines(frame: pd.DataFrame) -> bytes:
    """Write each row's values that are not missing, as most programs do."""
    rows = ({name: value for name, value in row.items() if not pd.isna(value)} for row in frame.to_dict("records"))
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def _read_json_lines(data: bytes) -> pd.DataFrame:
    return pd.DataFrame([json.loads(line) for line in data.splitlines()], columns=["id", "note", "x", "y", PREDICTION])


def _keeps_lines(inputs: Sequence[bytes], output: bytes) -> bool:
    return [line[: line.rindex(f',"{PREDICTION}":'.encode())] + b"}" for line in output.splitlines()] == b"".join(
        inputs
    ).splitlines()


def _write_parquet(frame: pd.DataFrame) -> bytes:
    target = io.BytesIO()
    pq.write_table(
        pa.Table.from_pandas(frame), target, row_group_size=max(1, len(frame) // 4), compression="zstd", write_page_index=True
    )
    return target.getvalue()


def _keeps_parquet(inputs: Sequence[bytes], output: bytes) -> bool:
    """Whether all pages are there, in order; what says where pages lie is written anew."""
    position = 0
    for data in inputs:
        groups = pq.read_metadata(io.BytesIO(data))
        if not groups.num_rows:
            continue  # such an object is skipped
        for column in (groups.row_group(group).column(index) for group in range(groups.num_row_groups) for index in range(4)):
            start = column.dictionary_page_offset or column.data_page_offset
            pages = data[start : start + column.total_compressed_size]
            position = output.find(pages, position)
            if position < 0:
                return False
            position += len(pages)
    return True


def compressed(known: Format, suffix: str, compress: Callable[[bytes], bytes], decompress: Callable[[bytes], bytes]) -> Format:
    """Return a format as a compressed stream of several members or frames."""

    def write(frame: pd.DataFrame) -> bytes:
        data = known.write(frame)
        return compress(data[: len(data) // 2]) + compress(data[len(data) // 2 :])

    return Format(
        known.suffix + suffix,
        write,
        lambda data: known.read(decompress(data)),
        lambda inputs, output: known.keeps([decompress(data) for data in inputs], decompress(output)),
        known.fields,
        is_split=False,
    )


def _zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def _unzstd(data: bytes) -> bytes:
    with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
        return bytes(stream.read())


CSV = Format(".csv", **_csv())
SEMICOLONS = Format(".csv", **_csv(sep=";", decimal=","), fields={"csv": {"delimiter": ";", "decimal": ","}})
UNLOADED = Format(
    ".csv",
    **_csv(sep="|", header=False),
    fields={"csv": {"delimiter": "|", "header": False, "column_names": ["id", "note", "x", "y"]}},
)
UTF_16 = Format(
    ".csv", **_csv(sep="\t", encoding="utf-16"), fields={"csv": {"delimiter": "\t", "encoding": "utf-16"}}, is_split=False
)
LATIN = Format(".csv", **_csv(sep=";", encoding="cp1252"), fields={"csv": {"delimiter": ";", "encoding": "cp1252"}})
JSON_LINES = Format(".jsonl", _write_json_lines, _read_json_lines, _keeps_lines)
PARQUET = Format(
    ".parquet", _write_parquet, lambda data: pq.read_table(io.BytesIO(data)).to_pandas(), _keeps_parquet, has_bad_texts=False
)
FORMATS = {
    "csv": CSV,
    "semicolons": SEMICOLONS,
    "unloaded": UNLOADED,
    "cp1252": LATIN,
    "utf-16": UTF_16,
    "csv.gz": compressed(CSV, ".gz", gzip.compress, gzip.decompress),
    "unloaded.gz": compressed(UNLOADED, ".gz", gzip.compress, gzip.decompress),
    "csv.zst": compressed(CSV, ".zst", _zstd, _unzstd),
    "jsonl": JSON_LINES,
    "jsonl.gz": compressed(JSON_LINES, ".gz", gzip.compress, gzip.decompress),
    "parquet": PARQUET,
}
