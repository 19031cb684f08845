"""Which format a run reads and writes, by what its request says or by what its data look like."""

from collections.abc import Sequence
from typing import Any

from ..compression import read_beginning
from ..contract import Columns, Document, InputFormat, Request
from ..data_names import promise_of
from ..inputs import InputObject
from ..s3 import S3Client
from .csv_format import Csv
from .format import Format, Header, Measure
from .json_lines import JsonLines
from .parquet_format import Parquet

__all__ = ["Format", "Header", "Measure", "format_of", "input_format", "is_copied", "output_format", "recognised"]

FORMATS: dict[str, type[Format]] = {"parquet": Parquet, "jsonl": JsonLines, "csv": Csv}
"""In the order in which they are tried: the last is what everything may be."""
FIRST_BYTES = 2**12
"""Bytes that tell what an object is if its name does not."""


def recognised(client: S3Client, first: InputObject | None, request: Request) -> InputFormat:
    """Return the format that is asked for, or, for `auto`, that of the first object: by its name, else by its first bytes."""
    asked = request["input_format"]
    if asked != "auto":
        return FORMATS[asked].name
    names = [first.uri] if first else [request["data_s3_uri"][0], request["output_s3_uri"]]
    for promised in (promise_of(name).format for name in names):
        if promised in FORMATS:
            return FORMATS[promised].name
    data = read_beginning(client, first, FIRST_BYTES)[0].text if first else b""
    return next(kind.name for kind in FORMATS.values() if kind.begins(data))


def format_of(prediction: Any, features: Sequence[str] = ()) -> Format:
    """Return the format that a prediction event's fields describe."""
    return FORMATS[prediction["input_format"]].of(prediction, features)


def input_format(document: Document, columns: Columns) -> Format:
    """Return the format that a run reads, which knows the columns that the prediction function reads of it."""
    prediction = document["prediction"]
    is_converted = prediction["input_format"] != prediction["output_format"]
    kept = (columns["output_columns"] if is_converted else None) or []
    return format_of(prediction, [*columns["feature_columns"], *kept])


def is_copied(document: Document) -> bool:
    """Whether S3 copies the input's objects into the output, and parts have the predictions alone."""
    prediction = document["prediction"]
    return prediction["input_format"] == prediction["output_format"] and format_of(prediction).is_copied


def output_format(document: Document) -> Format:
    """Return the format that a run writes."""
    prediction = document["prediction"]
    return FORMATS[prediction["output_format"]].of(prediction)
