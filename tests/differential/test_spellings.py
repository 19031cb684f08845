"""Every spelling of a value is read as pandas reads it, or is in the table of docs/request.md."""

import io
import warnings
from typing import NamedTuple

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


class Column(NamedTuple):
    """One spelling among neighbours."""

    spelling: str
    neighbours: str

    @property
    def values(self):
        return spellings.column(self.spelling, self.neighbours)


def file_with(columns):
    """A file with a column for each list of values: x0, x1, …"""
    named = {"id": [str(row) for row in range(len(columns[0]))]} | {f"x{index}": values for index, values in enumerate(columns)}
    return table.File("spellings", "usual", tuple(record.encode() for record in files.written(named, list(named))))


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


def texts_model(n_columns):
    """Tells the code of each text among all spellings; -2 for missing ones, -1 for unknown ones."""
    known = sorted({*spellings.SPELLINGS, "x", "y"} - {*spellings.MISSING})
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    texts = pd.DataFrame({f"x{index}": pd.Series([*known, np.nan], dtype="str") for index in range(n_columns)})
    return make_pipeline(encoder, own_steps.Tell()).fit(texts)


def open_model():
    """Tells types and values."""
    return own_steps.Tell()


def job(model_path, file, features, cuts):
    fixed = {"method": "predict", "quarantine": False, "block_bytes": None, "probe_rows": 1}
    return {"model": str(model_path), "csv": file.content, "features": features, "cuts": cuts, **fixed}


def predicted(model, file, features, **read):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [[value] for value in model.predict(pd.read_csv(io.BytesIO(file.content), **read)[features]).tolist()]
    except Exception as error:  # noqa: BLE001  # models raise what they like
        return error


# --- columns of numbers ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def numbers(is_whole):
    """Columns, the files that hold each, and what the models make of them."""
    neighbours = ("alone", "among decimals", "among integers", "among booleans") if is_whole else ("among decimals",)
    columns = [Column(spelling, around) for around in neighbours for spelling in spellings.SPELLINGS]
    return columns if is_whole else columns + [Column(word, "among booleans") for word in LENIENT_NUMBERS]


@pytest.mark.parametrize(
    "make", [numbers_model, pytest.param(boosting_model, marks=pytest.mark.thorough)], ids=["imputer and linear", "boosting"]
)
def test_a_spelling_in_a_column_of_numbers(numbers, place, tmp_path, make):
    model = make()
    joblib.dump(model, tmp_path / "model.joblib")
    chosen = [
        column for column in numbers if make is numbers_model or "inf" in column.spelling.lower() or column.neighbours == "alone"
    ]
    cells = [(column, file_with([column.values])) for column in chosen]
    answers = place.score([job(tmp_path / "model.joblib", file, ["x0"], []) for _, file in cells], tmp_path)
    wrong, lenient = [], {}
    # A number among booleans makes pandas read text, which no model of numbers takes; the handler reads numbers.
    alone = {column.spelling: pd.read_csv(io.BytesIO(file_with([[column.spelling]]).content))["x0"] for column in chosen}
    numbers_alone = {spelling for spelling, values in alone.items() if pd.to_numeric(values, errors="coerce").notna().all()}
    for (column, file), answer in zip(cells, answers, strict=True):
        verdict, words = verdict_of_number(model, column, file, answer)
        if verdict == table.LENIENT and not (column.neighbours == "among booleans" and column.spelling in numbers_alone):
            lenient[column.spelling] = words
        elif verdict == table.BOTH_FAIL and make is numbers_model and column.spelling in LENIENT_NUMBERS:
            wrong.append(
                f"{column.spelling!r} {column.neighbours}: refused, and elsewhere taken for {LENIENT_NUMBERS[column.spelling]}"
            )
        elif verdict == table.DIFFERENT:
            wrong.append(f"{column.spelling!r} {column.neighbours}: {words}")
    assert not wrong, f"{len(wrong)} of {len(cells)}:\n" + "\n".join(wrong)
    if make is numbers_model:
        assert lenient == LENIENT_NUMBERS


def verdict_of_number(model, column, file, answer):
    expected = predicted(model, file, ["x0"])
    as_numbers = predicted(model, file, ["x0"], dtype={"x0": "float64"})
    if "error" in answer:
        if answer["error"].startswith("unnamed") or answer["error"] == "InternalError":
            return table.DIFFERENT, str(answer)
        both_fail = isinstance(expected, Exception) or isinstance(as_numbers, Exception)
        return (table.BOTH_FAIL, "") if both_fail else (table.DIFFERENT, f"refused: {answer['message']}; expected {expected}")
    names, rows = table.read_output(table.Cell(None, file, "predict", ""), answer)
    for reference in (expected, as_numbers):
        if not isinstance(reference, Exception) and table.difference(table.Reference(reference, ["P"]), names, rows) is None:
            return table.SAME, ""
    if isinstance(expected, Exception) and isinstance(as_numbers, Exception):
        return table.LENIENT, float(rows[column.values.index(column.spelling)][0])
    return table.DIFFERENT, f"{rows}, expected {expected!r}"


# --- columns of texts, and columns that the model leaves open --------------------------------------------------------------------


TOLD = [spelling for spelling in spellings.SPELLINGS if spelling not in BEYOND_64_BITS]
COLUMNS = {around: [Column(spelling, around) for spelling in TOLD] for around in spellings.NEIGHBOURS}
FEATURES = [f"x{index}" for index in range(len(TOLD))]


@pytest.fixture(scope="module")
def telling_models():
    return {"text": texts_model(len(FEATURES)), "open": open_model()}


@pytest.fixture(scope="module")
def told(place, telling_models, is_whole, tmp_path_factory):
    """What models of both kinds are given, of files that hold a column for each spelling, whole and a chunk a row."""
    directory = tmp_path_factory.mktemp("told")
    jobs = {}
    for kind, model in telling_models.items():
        joblib.dump(model, directory / f"{kind}.joblib")
        for around, columns in COLUMNS.items():
            file = file_with([column.values for column in columns])
            for cut, cuts in {"one chunk": [], "a chunk a row": file.cuts(1)}.items():
                if is_whole or (cut == "a chunk a row" and around not in ("alone", "among integers")):
                    jobs[kind, around, cut] = job(directory / f"{kind}.joblib", file, FEATURES, cuts)
    return dict(zip(jobs, place.score(list(jobs.values()), directory), strict=True))


def test_a_spelling_in_another_column(told, telling_models):
    wrong = [f"{kind}, {neighbours}, {cut}: {line}" for (kind, neighbours, cut), answer in told.items()
             for line in differences(telling_models[kind], kind, neighbours, answer)]  # fmt: skip
    assert not wrong, "\n".join(wrong)


def differences(model, kind, neighbours, answer):
    """Return what the handler gave a model of a file that holds a column for each spelling, and pandas would not."""
    if "error" in answer:
        return [f"{answer['error']}: {answer['message']}\n{answer['cause']}"]
    columns = COLUMNS[neighbours]
    file = file_with([column.values for column in columns])
    references = [predicted(model, file, FEATURES)]
    if kind == "text":  # it stays what it was when the model was fitted
        references.append(predicted(model, file, FEATURES, dtype=str))
    _, rows = table.read_output(table.Cell(None, file, "predict", ""), answer)
    told_by = [lines for lines in references if not isinstance(lines, Exception)]  # an encoder refuses what looks like no text
    found, *expected = ([list(values) for values in zip(*split(lines), strict=True)] for lines in (rows, *told_by))
    return [
        f"{column.spelling!r}: {found[index]}, expected {expected[0][index]}"
        for index, column in enumerate(columns)
        if not any(found[index] == reference[index] for reference in expected)
        and not (kind == "open" and column.spelling == "-0" and neighbours == "among missing values")  # docs/request.md
    ]


def split(rows):
    """The lines that `own_steps.Tell` predicts, for each row."""
    return [row[0].split("\n") for row in rows]
