"""What must come out, by Python's csv module and one call of the model on the whole."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas._libs.parsers import STR_NA_VALUES  # the documented missing values of pandas.read_csv, at their source

from soak.estimators import NUMBERS

csv.field_size_limit(2**31 - 1)

SHOWN = 3
"""Differences of one kind that are said in full."""
TOLERANCE = 1e-12
"""Of linear models, relative: docs/request.md, "The output"."""
BOM = "\ufeff"

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class Record(NamedTuple):
    uri: str
    row: int
    """From 1, in its object."""
    byte: int
    """In its object."""
    raw: bytes
    """Without its line end."""


@dataclass
class Expected:
    """The output, but for the spelling of predictions."""

    header: bytes
    """With byte order mark and names of the prediction columns, without its line end."""
    line_end: bytes
    records: list[Record]
    predictions: np.ndarray[Any, Any]
    """Shape (n_rows, n_outputs); undefined where a row is rejected."""
    rejected: list[bool]
    exact: bool


def expected_output(objects, request, estimator):
    """Read all objects and predict their rows as one frame."""
    records = []
    columns = [[] for _ in request["feature_columns"]]
    headers = []
    line_end = ""
    for uri, content in objects:
        rows = csv_records(content)
        header, names, start = next(rows)
        headers.append(header)
        line_end = line_end or header[len(header.rstrip("\r\n")) :]
        positions = [names.index(name) for name in request["feature_columns"]]
        for number, (raw, fields, byte) in enumerate(rows, start=1):
            records.append(Record(uri, number, start + byte, raw.removesuffix(line_end).encode()))
            for column, position in zip(columns, positions, strict=True):
                column.append(fields[position])
    features, refused = features_of(columns, request["feature_columns"], len(records))
    method = request.get("prediction_method", "predict")
    predictions, rejected = predict(estimator, method, features, refused)
    predictions = predictions if predictions.ndim == 2 else predictions.reshape(-1, 1)
    name = request["prediction_column_name"]
    labels = getattr(estimator.model, "classes_", range(predictions.shape[1]))
    added = [name] if predictions.shape[1] == 1 else [f"{name}_{label}" for label in labels]
    first = headers[0].rstrip("\r\n") + "".join(f",{quoted(text)}" for text in added)
    exact = estimator.exact or (method == "predict" and predictions.dtype.kind != "f")
    return Expected(first.encode(), line_end.encode(), records, predictions, rejected, exact)


def csv_records(content):
    """Yield each record as text with its line end, its fields, and its first byte, counted after the header.

    The header comes first, with the byte at which the rest starts in place of its own.
    """
    lines = list(io.StringIO(content.decode(), newline=""))
    reader = csv.reader([lines[0].removeprefix(BOM), *lines[1:]], strict=True)
    first = next(reader)
    at = reader.line_num
    header = "".join(lines[:at])
    yield header, first, len(header.encode())
    byte = 0
    for fields in reader:
        assert len(fields) == len(first), f"a ragged row: {fields}"
        raw = "".join(lines[at : reader.line_num])
        yield raw, fields, byte
        at = reader.line_num
        byte += len(raw.encode())


def features_of(columns, names, n_rows):
    """Return the features as the documentation says they are read, and which rows have something that is not a number."""
    refused = np.zeros(n_rows, bool)
    features = {}
    for name, texts in zip(names, columns, strict=True):
        if name not in NUMBERS:
            features[name] = pd.Series([None if text in STR_NA_VALUES else text for text in texts], dtype="str")
            continue
        known = {text: number_of(text) for text in set(texts)}
        refused |= np.array([known[text] is None for text in texts])
        features[name] = pd.Series([known[text] for text in texts], dtype=float)
    return pd.DataFrame(features), refused


def number_of(text):
    """Return what a numeric column's text means, NaN where it is missing, None where it is an error."""
    if text in STR_NA_VALUES:
        return float("nan")
    text = text.strip(" \t")
    if _NUMBER.fullmatch(text):
        return float(text)
    word = text.lower()
    if word in {"true", "false"}:
        return float(word == "true")
    return float(word) if word.lstrip("+-") in {"inf", "infinity"} and word.count("-") + word.count("+") <= 1 else None


def predict(estimator, method, features, refused):
    """Call the model once on all rows that it takes, and on each doubtful row by itself to see whether it takes it."""
    call = getattr(estimator.model, method)
    takes_names = hasattr(estimator.model, "feature_names_in_")
    shaped = features if takes_names else features.to_numpy()
    numbers = features.select_dtypes("number").to_numpy()
    doubtful = ~np.isfinite(numbers).all(axis=1) & ~refused
    rejected = refused.copy()
    seen = {}
    for row in np.flatnonzero(doubtful):
        pattern = np.where(np.isfinite(numbers[row]), 0, numbers[row]).tobytes()
        if pattern not in seen:
            seen[pattern] = not takes(call, shaped.iloc[[row]] if takes_names else shaped[[row]])
        rejected[row] = seen[pattern]
    accepted = np.flatnonzero(~rejected)
    if not len(accepted):  # only to learn how many outputs there are
        sample = pd.DataFrame({name: [0.0 if name in NUMBERS else ""] for name in features})
        return np.asarray(call(sample if takes_names else sample.to_numpy()))[np.zeros(len(features), int)], rejected.tolist()
    found = np.asarray(call(shaped.iloc[accepted] if takes_names else shaped[accepted]))
    places = np.zeros(len(features), int)
    places[accepted] = np.arange(len(accepted))
    return found[places], rejected.tolist()


def takes(call, rows):
    try:
        with np.errstate(invalid="ignore"):  # scikit-learn adds infinities of both signs to find them
            call(rows)
    except ValueError:
        return False
    return True


def quoted(text):
    """Return a field in quotes where RFC 4180 wants them."""
    return '"' + text.replace('"', '""') + '"' if re.search('[,"\r\n]', text) else text


def without_chunks(objects, ranges):
    """Return the objects without the byte ranges of lost chunks; an object keeps its header."""
    remaining = []
    for uri, content in objects:
        header = header_size(content)
        lost = sorted((start, stop) for lost_uri, start, stop in ranges if lost_uri == uri)
        edges = [(0, 0), *lost, (len(content), len(content))]
        kept = b"".join(content[max(stop, header) : max(start, header)] for (_, stop), (start, _) in pairwise(edges))
        if kept:
            remaining.append((uri, content[:header] + kept))
    return remaining


def header_size(content):
    """Return the bytes of the header; what follows may not be CSV."""
    lines = io.BytesIO(content)
    header = lines.readline()
    while header.count(b'"') % 2:
        header += lines.readline()
    return len(header)


# --- comparing --------------------------------------------------------------------------------------------------------------------


def output_problems(output, expected):
    """Say where an output is not the one expected: header, each record's own bytes, order, number and predictions."""
    start = expected.header + expected.line_end
    if not output.startswith(start):
        return [f"the header is {output[: len(start)]!r}, not {start!r}"]
    _, *rows = csv_records(output)
    if len(rows) != len(expected.records):
        return [f"the output has {len(rows)} records, not {len(expected.records)}"]
    printed = []
    for record, (raw, fields, _) in zip(expected.records, rows, strict=True):
        if not (raw.encode().startswith(record.raw + b",") and raw.encode().endswith(expected.line_end)):
            return [f"{record.uri} row {record.row}: the output has {raw[:120]!r} in the place of {record.raw[:120]!r}"]
        printed.append(fields[-expected.predictions.shape[1] :])
    return prediction_problems(printed, expected)


def prediction_problems(printed, expected):
    problems = []
    is_float = expected.predictions.dtype.kind == "f"
    scale = np.abs(expected.predictions[~np.array(expected.rejected, bool)]).max(initial=0) if is_float else 0
    for record, texts, wanted, is_rejected in zip(
        expected.records, printed, expected.predictions.tolist(), expected.rejected, strict=True
    ):
        for text, value in zip(texts, wanted, strict=True):
            if is_rejected:
                equal = text == ""
            elif not is_float:
                equal = text == str(value)
            elif expected.exact:
                equal = float(text or "nan") == value and len(text) <= len(repr(value))
            else:
                equal = abs(float(text or "nan") - value) <= TOLERANCE * scale and len(text) <= 25
            if not equal:
                wanted_text = "no prediction" if is_rejected else repr(value)
                problems.append(f"{record.uri} row {record.row}: predicted {text!r}, not {wanted_text}")
    more = [f"and {len(problems) - SHOWN} more predictions"] if len(problems) > SHOWN else []
    return problems[:SHOWN] + more


def rejected_problems(listed, expected, columns, *, complete):
    """Say where the list of rejected rows is wrong; `columns` says at (object, byte) which value was planted as wrong."""
    rows = list(csv.DictReader(io.StringIO(listed.decode(), newline=""), strict=True))
    wanted = [record for record, is_rejected in zip(expected.records, expected.rejected, strict=True) if is_rejected]
    if [row["data_s3_uri"] for row in rows] != [record.uri for record in wanted]:
        return [f"the list of rejected rows has {len(rows)} rows of {len(wanted)}, or of other objects"]
    if not complete:  # the oracle has read the objects without the lost chunks: rows and bytes are others
        return []
    problems = []
    for row, record in zip(rows, wanted, strict=True):
        column = columns.get((record.uri, record.byte))
        if (row["row"], row["byte"]) != (str(record.row), str(record.byte)) or repr(column or "")[1:-1] not in row["reason"]:
            problems.append(f"{record.uri} row {record.row}, byte {record.byte}, column {column!r}: listed as {row}")
    return problems[:SHOWN]
