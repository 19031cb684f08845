"""Every spelling of a value is read as pandas reads it, or is in the table of docs/request.md."""

import io
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from differential import files, own_steps, spellings, table

MISSING_NUMBER = -77.5

MISSING_TOO = ("NAN", "Nan", "nAn", "nan ", " nan", " NaN ", "+nan", "+NaN", "-NAN", "nan(1)", "NaN(ind)", "nan()")
TRUE_TOO = ("True", "TRUE", "true", "tRUE", "truE", "True ", " True", "+true")
FALSE_TOO = ("False", "FALSE", "false", "FALSE ")
LENIENT_NUMBERS = {
    **dict.fromkeys(MISSING_TOO, MISSING_NUMBER),
    **dict.fromkeys(TRUE_TOO, 1.0),
    **dict.fromkeys(FALSE_TOO, 0.0),
    "-True": -1.0,
}
"""What a column of numbers takes that pandas does not, and what it is, whatever stands beside it: docs/request.md has the table."""

BEYOND_64_BITS = (
    *("9223372036854775808", "-9223372036854775809", "18446744073709551615", "18446744073709551616"),
    "123456789012345678901234567890",
)
"""Integers that are bad rows in a column which the model leaves open: pandas makes texts, floats or integers of it, by what
else is there and in which order."""


def file_with(columns):
    """A file with a column for each list of values: x0, x1, …"""
    named = {"id": [str(row) for row in range(len(columns[0]))]} | {f"x{index}": values for index, values in enumerate(columns)}
    return table.File("spellings", tuple(record.encode() for record in files.written(named, list(named))))


def job(model_path, file, features, cuts=()):
    fixed = {"method": "predict", "quarantine": False, "block_bytes": None, "probe_rows": 1}
    return {"model": str(model_path), "csv": file.content, "features": features, "cuts": cuts, **fixed}


def predicted(model, file, features, *types):
    """What the model predicts for the columns as pandas reads them, and as it reads them with each of some types, where it can."""
    found = []
    for read in ({}, *({"dtype": kind} for kind in types)):
        try:
            with warnings.catch_warnings(action="ignore"):
                found.append([[value] for value in model.predict(pd.read_csv(io.BytesIO(file.content), **read)[features]).tolist()])
        except Exception:  # noqa: BLE001  # models raise what they like
            continue
    return found


# --- columns of numbers ---------------------------------------------------------------------------------------------------------


def numbers_model():
    """Gives back its one feature, or MISSING_NUMBER; scikit-learn alone, so that an array would do."""
    model = make_pipeline(SimpleImputer(strategy="constant", fill_value=MISSING_NUMBER), LinearRegression())
    model.fit(pd.DataFrame({"x0": [0.5, 1.0, np.nan, 3.0]}), [0.5, 1.0, MISSING_NUMBER, 3.0])
    model[-1].coef_, model[-1].intercept_ = np.array([1.0]), 0.0
    return model


def boosting_model():
    """Takes infinities, and tells them from other numbers and missing values."""
    frame = pd.DataFrame({"x0": [-np.inf, -1.0, 0.0, 1.0, 2.0, np.inf, np.nan] * 30})
    return HistGradientBoostingRegressor(max_iter=30, min_samples_leaf=1).fit(frame, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0] * 30)


@pytest.mark.parametrize(
    "make", [numbers_model, pytest.param(boosting_model, marks=pytest.mark.thorough)], ids=["imputer and linear", "boosting"]
)
def test_a_spelling_in_a_column_of_numbers(is_whole, place, tmp_path, make):
    model = make()
    joblib.dump(model, tmp_path / "model.joblib")
    neighbours = ("alone", "among decimals", "among integers") if is_whole else ("among decimals",)
    cells = [(spelling, around) for around in neighbours for spelling in spellings.SPELLINGS]
    cells += [(spelling, "among booleans") for spelling in LENIENT_NUMBERS]
    columns = [file_with([spellings.column(*cell)]) for cell in cells]
    answers = place.score([job(tmp_path / "model.joblib", file, ["x0"]) for file in columns], tmp_path)
    wrong, lenient = [], {}
    for (spelling, around), file, answer in zip(cells, columns, answers, strict=True):
        expected = predicted(model, file, ["x0"], "float64")
        if "error" in answer:
            if len(expected) == 2 or not table.is_named(answer) or (make is numbers_model and spelling in LENIENT_NUMBERS):
                wrong.append(f"{spelling!r} {around}: {answer}, expected {expected}")
            continue
        names, rows = table.read_output(file, answer)
        if not expected:
            lenient[spelling] = float(rows[spellings.column(spelling, around).index(spelling)][0])
        elif all(table.difference(table.Reference(reference, ["P"]), names, rows) for reference in expected):
            wrong.append(f"{spelling!r} {around}: {rows}, expected {expected}")
    assert not wrong, f"{len(wrong)} of {len(cells)}:\n" + "\n".join(wrong)
    if make is numbers_model:
        assert lenient == LENIENT_NUMBERS


# --- columns of texts, and columns that the model leaves open --------------------------------------------------------------------


TOLD = [spelling for spelling in spellings.SPELLINGS if spelling not in BEYOND_64_BITS]
FEATURES = [f"x{index}" for index in range(len(TOLD))]


def texts_model():
    """Tells the code of each text among all spellings; -2 for missing ones, -1 for unknown ones."""
    known = sorted({*spellings.SPELLINGS, "x", "y"} - {*spellings.MISSING})
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    texts = pd.DataFrame({name: pd.Series([*known, np.nan], dtype="str") for name in FEATURES})
    return make_pipeline(encoder, own_steps.Tell()).fit(texts)


@pytest.mark.parametrize("kind", ["text", "open"])
def test_a_spelling_in_another_column(is_whole, place, tmp_path, kind):
    """Of files that hold a column for each spelling, whole and a chunk a row; a model of texts stays one, whatever is read."""
    model = texts_model() if kind == "text" else own_steps.Tell()
    joblib.dump(model, tmp_path / "model.joblib")
    tables = {around: file_with([spellings.column(spelling, around) for spelling in TOLD]) for around in spellings.NEIGHBOURS}
    cells = [(around, "a chunk a row") for around in tables if is_whole or around not in ("alone", "among integers")]
    cells += [(around, "one chunk") for around in tables if is_whole]
    jobs = [
        job(tmp_path / "model.joblib", tables[around], FEATURES, tables[around].cuts(1) * (cut != "one chunk"))
        for around, cut in cells
    ]
    wrong = []
    for (around, cut), answer in zip(cells, place.score(jobs, tmp_path), strict=True):
        if "error" in answer:
            wrong.append(f"{around}, {cut}: {answer}")
            continue
        _, rows = table.read_output(tables[around], answer)
        expected = predicted(model, tables[around], FEATURES, *([str] if kind == "text" else []))
        found, *expected = ([row[0].split("\n") for row in lines] for lines in (rows, *expected))  # what `Tell` tells, a line each
        for index, spelling in enumerate(TOLD):
            told, *right = ([row[index] for row in lines] for lines in (found, *expected))
            is_documented = kind == "open" and (spelling, around) == ("-0", "among missing values")  # docs/request.md
            if told not in right and not is_documented:
                wrong.append(f"{spelling!r} {around}, {cut}: {told}, expected {right}")
    assert not wrong, "\n".join(wrong)
