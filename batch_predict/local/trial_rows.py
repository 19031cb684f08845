"""Load a model, and say what it gets of rows: those of a file, as the prediction function reads them, or made-up ones.

    DEPLOYED_PACKAGE=... python -P -m batch_predict.local.trial_rows < QUESTION

A process of its own, with a bundle's libraries before this environment's. It prints one JSON object last: the rows as a file, for
the function, and what the model gets of them, for the environment where it was fitted, which may have nothing of ours.
"""

import csv
import functools
import json
import sys
from pathlib import Path
from typing import Any

from batch_predict.deployed import prediction_handler
from batch_predict.local.made_up_rows import ROWS, category_columns, made_up
from batch_predict.local.model_inspection import METHODS, lack_what_the_function_lacks, load

MOST_ROWS = 1000
"""Rows of a file that are compared."""
PREDICTION = "prediction"


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Return `file` and `given`, or `error`, or, of made-up rows alone, `refused`.

    The question has `bundle` (the folder that it was unpacked into), `data` (a file, or None), `features`, `csv`, and `folder`,
    which gets the file.
    """
    handler = prediction_handler()
    lack_what_the_function_lacks()
    try:
        estimator = load(handler, Path(question["bundle"]))
    except handler.ModelError as error:
        return {"error": str(error)}
    columns = question["features"] or handler.fitted_columns(estimator)
    if not columns and handler._takes_texts(estimator):  # noqa: SLF001  # it gets its one column as a series
        columns = ["text"]
    described = {
        "estimator": type(estimator).__name__,
        "feature_columns": handler.fitted_columns(estimator),
        "methods": [method for method in METHODS if callable(getattr(estimator, method, None))],
    }
    folder, data = Path(question["folder"]), question["data"]
    if not columns:
        number = getattr(estimator, "n_features_in_", None)
        if data or number is None:
            return described | {"refused": "the model does not know the names of its columns: name them with --features"}
        columns = [f"column_{place}" for place in range(number)]
    try:
        file = Path(data) if data else _write_made_up(estimator, columns, handler, folder)
        given, rows = _given(estimator, columns, file, question["csv"], handler, folder)
    except handler.PredictionError as error:
        return described | {"refused": str(error)}
    return described | {"columns": columns, "given": given, **rows}


def _write_made_up(estimator: Any, columns: list[str], handler: Any, folder: Path) -> Path:
    """Write made-up rows: as CSV, or as Parquet if the model wants categories, which CSV does not have."""
    rows = made_up(estimator, columns, handler)
    categories = category_columns(estimator, columns, handler)
    if categories:
        import pyarrow as pa  # noqa: PLC0415  # only here
        import pyarrow.parquet as pq  # noqa: PLC0415

        table = pa.table(
            {name: pa.array(values).dictionary_encode() if name in categories else values for name, values in rows.items()}
        )
        pq.write_table(table, folder / "rows.parquet")
        return folder / "rows.parquet"
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(rows[name] for name in columns), strict=True))
    return folder / "rows.csv"


def _given(
    estimator: Any, columns: list[str], path: Path, dialect: Any, handler: Any, folder: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the model gets of a file's first rows, as the handler makes it, and these rows as a file."""
    event = {"prediction_column_name": PREDICTION, "feature_columns": columns, "csv": dialect}
    chunk = handler._local_chunk([path], event)  # noqa: SLF001
    chunk.format.choose(columns)
    header = chunk.format.first_header(chunk)
    block = next(iter(chunk.blocks(handler.BLOCK_BYTES)), None)
    if block is None or not block.rows:
        raise handler.InvalidDataError(f"{path.name} {chunk.format.lacks_rows}")
    if block.rows > MOST_ROWS:
        block = block.part(0, MOST_ROWS)
    infer = functools.partial(handler._infer_kinds, [block])  # noqa: SLF001
    scorer = handler._make_scorer(handler._Model(estimator, {}), event, path.name, header, None, infer)  # noqa: SLF001

    def reject(row: int, reason: Any) -> None:
        raise handler.InvalidDataError(f"{block.at(row)}, {reason.public}", reason.advice)

    given = scorer._input(block.features(scorer.columns, reject).table)  # noqa: SLF001
    return _as_json(given), {"file": str(_cut(path, chunk, block, folder)), "rows": block.rows}


def _cut(path: Path, chunk: Any, block: Any, folder: Path) -> Path:
    """Return a file with the block's rows alone."""
    if path.parent == folder:
        return path
    name = f"sample.{chunk.format.name}"
    if chunk.format.name == "parquet":
        import pyarrow.parquet as pq  # noqa: PLC0415  # only here

        pq.write_table(pq.read_table(path).slice(0, block.rows), folder / name)
        return folder / name
    header = chunk.header
    (folder / name).write_bytes(header.raw + header.line_end * bool(header.raw) + bytes(block.elements()))
    return folder / name


def _as_json(given: Any) -> dict[str, Any]:
    """Return an array, a series or a frame as names, types and values of columns."""
    if not hasattr(given, "iloc"):
        columns = [_column("", given[:, place]) for place in range(given.shape[1])]
        return {"kind": "array", "columns": columns}
    if given.ndim == 1:
        return {"kind": "series", "columns": [_column(given.name, given)]}
    return {"kind": "frame", "columns": [_column(name, given[name]) for name in given.columns]}


def _column(name: str, values: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "dtype": str(values.dtype)}
    if str(values.dtype) == "category":
        found["categories"] = values.cat.categories.tolist()
        values = values.astype(object)
    if getattr(values.dtype, "kind", "O") in "mM":
        values = values.astype(str)
    return found | {"values": [None if value is None else value for value in values.tolist()]}


if __name__ == "__main__":
    assert ROWS <= MOST_ROWS
    print(json.dumps(answer(json.load(sys.stdin))))
