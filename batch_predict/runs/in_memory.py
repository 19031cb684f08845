"""A model and data that are in memory, as the files that a run takes."""

import csv
import io
import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import joblib

from batch_predict import deployed
from batch_predict.errors import InvalidRequestError
from batch_predict.runs.local_files import open_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    import pyarrow as pa

PathLike = str | os.PathLike[str]
_BLOCK_BYTES = 1 << 25
"""What pyarrow parses at once: a record must fit, which has 16 MB at most and its predictions."""


def model_path(model: object, folder: Path) -> str:
    """Return a path or S3 URI as it is, and write an estimator into ``folder``; InvalidRequestError if it cannot be pickled."""
    require_model(model)
    if isinstance(model, str | os.PathLike):
        return str(os.fspath(model))
    name = type(model).__name__
    file = folder / f"{name}.joblib"
    try:
        joblib.dump(model, file)
    except Exception as error:  # pickling runs the estimator's own code
        raise InvalidRequestError(
            f"the model, a {name}, cannot be pickled ({type(error).__name__}: {error}): "
            "define its functions and classes by a name of their own in a module"
        ) from error
    return str(file)


def require_model(model: object) -> None:
    """Raise TypeError if a model is neither a fitted estimator nor the path or S3 URI of one."""
    if isinstance(model, type):
        raise TypeError(f"model is the class {model.__name__}: give a fitted estimator of it")
    if isinstance(model, str) or (isinstance(model, os.PathLike) and isinstance(os.fspath(model), str)):
        return
    if not callable(getattr(model, "predict", None)):
        raise TypeError(
            "model must be a fitted estimator with predict, or the path or S3 URI of a bundle or of what joblib.dump wrote, "
            f"not {_a(model)}"
        )


def require_names(names: object) -> list[str] | None:
    """Return names of columns as a list, and None as None. Raises TypeError if they are not names."""
    if names is None:
        return None
    if isinstance(names, str | bytes):
        raise TypeError(f"feature_columns must be a list of names, not the text {names!r}")
    try:
        listed = list(names)  # type: ignore[call-overload]  # also an Index or an array of names
    except TypeError as error:
        raise TypeError(f"feature_columns must be a list of names, not {_a(names)}") from error
    for name in listed:
        if not isinstance(name, str):
            raise TypeError(f"feature_columns must be a list of names, and {name!r} is {_a(name)}")
    return [str(name) for name in listed]  # numpy's texts are no JSON


def data_paths(data: object, folder: Path, request: "Mapping[str, Any] | None" = None) -> list[str]:
    """Return paths and S3 URIs as they are, and write DataFrames into ``folder``; in the given order.

    They are written as CSV, as the ``request``'s field `csv` says, but as Parquet, which keeps their types, if the output is that.
    """
    request = request or {}
    csv_field = request.get("csv")
    dialect = deployed.csv_dialect.dialect_of(None if any(deployed.csv_dialect.dialect_problems(csv_field or {})) else csv_field)
    items = require_data(data)
    if all(map(_is_frame, items)) and _is_for_parquet(request):
        return [_write_parquet(item, folder / f"DataFrame-{number}.parquet") for number, item in enumerate(items, start=1)]
    paths = []
    for number, item in enumerate(items, start=1):
        if _is_frame(item):
            # Messages name the file, and so say what it is.
            file = folder / ("DataFrame.csv" if len(items) == 1 else f"DataFrame-{number}.csv")
            # Without the index: numbers in the shortest form that reads back, missing values as empty fields.
            item.to_csv(
                file,
                index=False,
                lineterminator="\n",
                header=dialect.header,
                sep=dialect.delimiter,
                decimal=dialect.decimal,
                encoding=dialect.encoding,
            )
            paths.append(str(file))
        else:
            paths.append(os.fspath(item))
    return paths


def _is_for_parquet(request: "Mapping[str, Any]") -> bool:
    """Whether the output is Parquet, and the request says nothing that Parquet does not take as data."""
    promised = deployed.data_names.promise_of(str(request.get("output_s3_uri", ""))).format
    is_free = not (request.get("csv") or request.get("column_types")) and request.get("input_format") in (None, "auto", "parquet")
    return is_free and (request.get("output_format") or promised) == "parquet"


def _write_parquet(frame: "pd.DataFrame", file: Path) -> str:
    """Write a frame without its index; InvalidRequestError if a column holds what Parquet has no type for."""
    try:
        frame.rename(columns=str).to_parquet(file, index=False)
    except (ValueError, TypeError) as error:  # as pyarrow's errors are
        raise InvalidRequestError(
            f"the DataFrame cannot be written as Parquet ({type(error).__name__}: {error}): "
            "give each column one type, or the output a name that ends in .csv"
        ) from error
    return str(file)


def read_output(path: Path, request: "Mapping[str, Any]") -> "pa.Table":
    """Return the output of a request as a table: Parquet's own types, or else those that pyarrow infers."""
    import pyarrow.csv  # noqa: PLC0415  # it takes long to import
    import pyarrow.json  # noqa: PLC0415
    import pyarrow.parquet  # noqa: PLC0415

    with path.open("rb") as file:
        if file.read(4) == b"PAR1":
            return pyarrow.parquet.read_table(path, partitioning=None)
    named = deployed.data_names.promise_of(request.get("output_s3_uri") or path.name).format
    kind = request.get("output_format") or named
    if kind == "jsonl" or (kind is None and open_text(path).read(2) in (b'{"', b"{}")):  # its data were
        return pyarrow.json.read_json(open_text(path), pyarrow.json.ReadOptions(block_size=_BLOCK_BYTES))
    records_of = deployed.csv_records
    dialect = deployed.csv_dialect.dialect_of(request.get("csv"))
    if dialect == deployed.csv_dialect.COMMAS:
        parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
        return pyarrow.csv.read_csv(open_text(path), pyarrow.csv.ReadOptions(block_size=_BLOCK_BYTES), parse)
    data = records_of.text_of(open_text(path).read(), dialect, str(path), is_all=True)
    dialect = deployed.csv_dialect.of_text(dialect)
    data = data[records_of.bom_bytes(data, dialect) :]
    records = [data[start:stop] for start, stop in pairwise([0, *records_of.record_stops(data)])]
    rows = b"".join(record for record in records if not records_of.is_blank(record, dialect))
    text = rows.decode(dialect.encoding)
    parse = pyarrow.csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True)
    names = None
    if dialect.column_names:
        kept = request.get("output_columns")
        names = [name for name in dialect.column_names if kept is None or name in kept]
        first = next(csv.reader(io.StringIO(text, newline=""), delimiter=dialect.delimiter), [])
        predictions, name = len(first) - len(names), request["prediction_column_name"]
        names += [name] if predictions == 1 else [f"{name}_{number}" for number in range(predictions)]
    return pyarrow.csv.read_csv(
        pyarrow.BufferReader(text.encode()),
        pyarrow.csv.ReadOptions(column_names=names, block_size=_BLOCK_BYTES),
        parse,
        pyarrow.csv.ConvertOptions(decimal_point=dialect.decimal),
    )


def require_data(data: object) -> list[Any]:
    """Return data as a list. Raises TypeError if it is no data, or a DataFrame has several levels of column names."""
    items = list(data) if isinstance(data, list | tuple) else [data]
    for item in items:
        if _is_frame(item):
            if item.columns.nlevels > 1:
                raise TypeError(f"the columns of a DataFrame have {item.columns.nlevels} levels: give each column one name")
        elif not (isinstance(item, str | os.PathLike) and isinstance(os.fspath(item), str)):
            raise TypeError(f"data must be a DataFrame, a path, an S3 URI, or a list of these, not {_a(item)}")
    return items


def index_of(data: object) -> "pd.Index[Any] | None":
    """Return the index of a DataFrame, or of several one after the other; None if files are among them."""
    items = require_data(data)
    if not items or not all(map(_is_frame, items)):
        return None
    index: pd.Index[Any] = items[0].index
    return index.append([item.index for item in items[1:]])


def _is_frame(item: object) -> "TypeGuard[pd.DataFrame]":
    pandas = sys.modules.get("pandas")  # whoever has a DataFrame has imported it
    return pandas is not None and isinstance(item, pandas.DataFrame)


def _a(value: object) -> str:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
