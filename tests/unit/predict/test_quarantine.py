"""Rows that cannot be scored keep their place."""

import csv

import numpy as np
import pandas as pd
import pytest
from harness import (
    DATA,
    MODEL,
    OUTPUT,
    invoke,
    linear,
    score_locally,
)
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import prediction_handler as handler


class Picky:
    """Refuses negative numbers, whole batches at once, as scikit-learn refuses missing values."""

    def predict(self, features):
        values = np.asarray(features, dtype=float)[:, 0]
        if (values < 0).any():
            raise ValueError("negative")
        return values * 2


@pytest.mark.parametrize("block_bytes", [20, 4_000_000])
def test_rows_that_cannot_be_scored_keep_their_place(tmp_path, block_bytes):
    data = b"id,x1\na,1\nb,zwei\nc,3\nd,-4\ne,9007199254740993\nf,6\n"
    strictly = {"on_bad_row": "quarantine", "strict": True}
    stated = {"column_types": {"x1": "number"}}  # so that text does not make the whole column text
    with pytest.raises(handler.InvalidDataError):
        score_locally(data, tmp_path, block_bytes, Picky(), **stated)

    facts, output = score_locally(data, tmp_path, block_bytes, Picky(), **strictly, **stated)

    assert output == b"id,x1,p\na,1,2.0\nb,zwei,\nc,3,6.0\nd,-4,\ne,9007199254740993,\nf,6,12.0\n"
    assert (facts.rows, facts.rejected_rows) == (6, 3)
    rejected = list(csv.reader((tmp_path / "part.csv.rejected.csv").open(newline="")))
    assert rejected[0] == ["data_s3_uri", "row", "byte", "reason"]
    assert [(int(row), data[int(byte) : int(byte) + 1]) for _, row, byte, _ in rejected[1:]] == [(2, b"b"), (4, b"d"), (5, b"e")]
    reasons = [reason for *_, reason in rejected[1:]]
    assert "'zwei' is not a number" in reasons[0]
    assert "refuses this row: negative" in reasons[1]
    assert "too large to be exact" in reasons[2]


@pytest.mark.parametrize(
    ("values", "reasons", "as_array"),
    [
        (
            ["0", "inf", "-inf", ""],
            ["no value in 'x{2}': the model refuses this row", "the model refuses this row: Input X contains infi"],
            False,
        ),
        (
            ["0", "inf", "-inf", ""],
            ["no value in 'x{2}': the model refuses this row", "the model refuses this row: Input X contains infi"],
            True,
        ),
        (["0", "", ""], ["no value in 'x{2}': the model refuses this row: Input X contains NaN"], False),
    ],
)
def test_rows_of_the_same_fault_are_rejected_together_not_row_by_row(tmp_path, monkeypatch, values, reasons, as_array):
    fitted = pd.DataFrame({"x1": [1.0, 2.0], "x{2}": [0.0, 1.0]})
    model = LinearRegression().fit(fitted.to_numpy() if as_array else fitted, [1.0, 2.0])
    calls = []
    predict = LinearRegression.predict
    monkeypatch.setattr(LinearRegression, "predict", lambda self, features: calls.append(len(features)) or predict(self, features))
    data = "x1,x{2}\n" + "".join(f"{i},{values[i % len(values)]}\n" for i in range(3000))

    facts, output = score_locally(data.encode(), tmp_path, model=model, feature_columns=["x1", "x{2}"], on_bad_row="quarantine")

    assert facts.rejected_rows == 3000 - 3000 // len(values)
    assert len(calls) < 100, "about one call for each halving"
    assert [line.endswith(",") for line in output.decode().splitlines()[1:]] == [bool(i % len(values)) for i in range(3000)]
    rejected = list(csv.DictReader((tmp_path / "part.csv.rejected.csv").open(newline="")))
    assert all(any(row["reason"].startswith(reason) for row in rejected) for reason in reasons)
    assert len({row["reason"] for row in rejected}) == len(reasons)


@pytest.mark.parametrize("bad", [[0], [0, 1, 9], [5]])
def test_rows_that_lack_the_same_values_are_not_rejected_for_each_others_faults(tmp_path, bad):
    """The model takes a missing x2; a negative x1 is a fault of its own."""
    rows = [f"{-1 if row in bad else 1}," for row in range(10)]
    data = ("x1,x2\n" + "\n".join(rows) + "\n").encode()
    fields = {"feature_columns": ["x1", "x2"], "on_bad_row": "quarantine"}
    _, output = score_locally(data, tmp_path, model=Picky(), **fields)
    assert [row for row, line in enumerate(output.decode().splitlines()[1:]) if line.endswith(",")] == bad


def test_blocks_without_one_good_row_have_as_many_empty_predictions(tmp_path):
    fitted = pd.DataFrame({"x1": [0.0, 1.0, 2.0]})
    model = LogisticRegression().fit(fitted, ["a", "b", "c"])
    data = b"x1\nbad\nworse\n1\n"
    facts, output = score_locally(data, tmp_path, 4, model, on_bad_row="quarantine", prediction_method="predict_proba")
    assert output.splitlines()[:3] == [b"x1,p_a,p_b,p_c", b"bad,,,", b"worse,,,"]
    assert (facts.rows, facts.rejected_rows) == (3, 2)


@pytest.mark.parametrize("block_bytes", [4, 4_000_000])
def test_one_infinite_row_is_a_bad_row_whatever_is_scored_with_it(tmp_path, block_bytes):
    data = b"x1\n1\ninf\n2\n-inf\n"
    model = linear(columns=("x1",), weights=(2.0,))
    with pytest.raises(handler.InvalidDataError, match=r"row 2 \(byte 5\).*contains infinity"):
        score_locally(data, tmp_path, block_bytes, model)
    facts, output = score_locally(data, tmp_path, block_bytes, model, on_bad_row="quarantine")
    assert [line.endswith(b",") for line in output.splitlines()[1:]] == [False, True, False, True]
    assert (facts.rows, facts.rejected_rows) == (4, 2)


def test_categories_that_the_model_refuses_are_bad_rows(tmp_path):
    """The model takes a row of categories that it knows, so it is not the model that does not fit."""
    steps = ColumnTransformer([("city", OneHotEncoder(handle_unknown="error"), ["x1"])])
    model = make_pipeline(steps, LinearRegression()).fit(pd.DataFrame({"x1": ["Bern", "Oslo"]}), [1.0, 2.0])
    data = b"x1\nLima\n"
    with pytest.raises(handler.InvalidDataError, match=r"row 1.*unknown categories"):
        score_locally(data, tmp_path, model=model)
    with pytest.raises(handler.InvalidDataError, match=r"none of 1 row\(s\) could be predicted"):
        score_locally(data, tmp_path, model=model, on_bad_row="quarantine")
    facts, _ = score_locally(b"x1\nLima\nOslo\n", tmp_path, model=model, on_bad_row="quarantine")
    assert (facts.rows, facts.rejected_rows) == (2, 1)


def test_a_model_that_refuses_everything_is_a_model_error_in_quarantine_too(tmp_path):
    model = linear(columns=("x1", "x2"))
    with pytest.raises(handler.ModelError, match="does not fit"):
        score_locally(b"x1\n1\n2\n3\n", tmp_path, model=model, on_bad_row="quarantine")


def test_the_list_of_rejected_rows_lies_beside_the_output(s3, put, get):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n3,zwei\n")
    status, body = invoke(on_bad_row="quarantine")
    assert (status, body["rows"], body["rejected_rows"]) == (200, 2, 1)
    assert b"\n" + DATA.encode() + b",2,10," in get(f"{OUTPUT}.rejected.csv")
