"""Compare the contestants' outputs with each other, and ours with the input; prints what was found as a line of JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.json as pajson

from benchmarks.cases import PREDICTION_COLUMN

if TYPE_CHECKING:
    from collections.abc import Iterator

    Predictions = np.ndarray[Any, np.dtype[np.float64]]

TOLERANCE = 1e-9
"""Relative to the prediction, plus the same absolute."""


def main() -> None:
    """Take `DATA CONTESTANT=OUTPUT …`."""
    data, *pairs = sys.argv[1:]
    outputs = {name: Path(path) for name, path in (pair.split("=", 1) for pair in pairs)}
    predictions = {name: _read_predictions(name, path) for name, path in outputs.items()}
    problems = prediction_problems(predictions)
    if "ours" in outputs:
        problems += byte_problems(Path(data), outputs["ours"])
    print(json.dumps({"rows": len(next(iter(predictions.values()))), "problems": problems}))


def _read_predictions(name: str, output: Path) -> Predictions:
    if name == "floor":
        return np.fromfile(output)
    if output.suffix == ".jsonl":
        schema = pa.schema([(PREDICTION_COLUMN, pa.float64())])
        options = pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        table = pajson.read_json(output, parse_options=options)
    else:
        table = pacsv.read_csv(
            output,
            parse_options=pacsv.ParseOptions(newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(include_columns=[PREDICTION_COLUMN]),
        )
    predictions: Predictions = table[PREDICTION_COLUMN].to_numpy()
    return predictions


def prediction_problems(predictions: dict[str, Predictions]) -> list[str]:
    """Say which contestants differ from the first one, in rows or in predictions."""
    problems = []
    (first, expected), *others = predictions.items()
    for name, found in others:
        if len(found) != len(expected):
            problems.append(f"{name} has {len(found)} rows, {first} has {len(expected)}")
            continue
        is_equal = np.isclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
        wrong = np.flatnonzero(~is_equal)
        if len(wrong):
            row = wrong[0]
            problems.append(
                f"{name} differs from {first} in {len(wrong)} of {len(found)} rows; in row {row + 1} "
                f"they have {found[row]} and {expected[row]}"
            )
    return problems


def byte_problems(data: Path, output: Path) -> list[str]:
    """Say where the output without each record's last field is not the input, byte for byte."""
    with data.open("rb") as source:
        for row, record in enumerate(_stripped_records(output)):
            if source.read(len(record)) != record:
                return [f"ours changed the input in record {row} (0 is the header)"]
        return ["ours lost the end of the input"] if source.read(1) else []


def _stripped_records(output: Path) -> Iterator[bytes]:
    record = b""
    with output.open("rb") as file:
        for line in file:
            if output.suffix == ".jsonl":
                yield line.rpartition(b',"')[0] + b"}\n"
                continue
            record += line
            if record.count(b'"') % 2 == 0:  # else the line ends inside quotes
                yield record.rpartition(b",")[0] + b"\n"
                record = b""


if __name__ == "__main__":
    main()
