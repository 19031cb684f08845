"""Predict a few rows in the environment where a model was fitted, to compare what a bundle of it predicts.

    PYTHON predict_there.py MODEL DATA FEATURES METHOD [LOADER]

PYTHON may be any from 3.8 on; joblib, numpy and pandas are whatever is installed there, and own modules are found by PYTHONPATH,
which the caller sets.

MODEL     the model's file
DATA      rows: CSV with a header, comma-separated, in UTF-8; or Parquet, if its name ends in .parquet
FEATURES  a JSON list of columns in the model's order; null: the columns that the model was fitted on, or else all of the data's
METHOD    predict, predict_proba or decision_function
LOADER    a module that can be imported, with `load(path: str)`; without it, joblib loads the model, or pickle if there is none

The last line of stdout is one JSON object. The exit status is 0 with
    {"rows": n, "predictions": [[...], ...], "features": [...], "python": "3.11.7"}
with a list for each row: numbers as repr() writes them, NaN and Infinity as Python's json does, everything else as text; and 1 with
    {"error": "ValueError: what went wrong"}
"""

from __future__ import annotations  # Python 3.8 has no list[str]

import csv
import json
import platform
import sys
from pathlib import Path
from typing import Any


def predict(model: str, data: str, features: list[str] | None, method: str, loader: str | None = None) -> dict[str, Any]:
    """Load a model, read the rows, and return the answer's fields."""
    estimator = _load(model, loader)
    names = features or _fitted_columns(estimator)
    table, names = _frame(data, names, estimator) if _has_pandas() else _array(data, names)
    answer = getattr(estimator, method)(table)
    return {
        "rows": len(table),
        "predictions": _rows_of(answer),
        "features": names,
        "python": platform.python_version(),
    }


def _load(model: str, loader: str | None) -> Any:
    if loader:
        return __import__(loader, fromlist=["load"]).load(model)
    try:
        import joblib  # noqa: PLC0415  # it may not be there
    except ImportError:
        import pickle  # noqa: PLC0415  # as above

        with Path(model).open("rb") as file:
            return pickle.load(file)  # noqa: S301  # a model that the caller trusts
    return joblib.load(model)


def _fitted_columns(estimator: Any) -> list[str] | None:
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:  # LightGBM's, which are made up if it was fitted on an array
        names = getattr(estimator, "feature_name_", None)
        if names is None or list(names) == [f"Column_{position}" for position in range(len(names))]:
            return None
    return [str(name) for name in names]


def _has_pandas() -> bool:
    try:
        import pandas  # noqa: F401, ICN001, PLC0415  # it may not be there
    except ImportError:
        return False
    return True


def _frame(data: str, names: list[str] | None, estimator: Any) -> tuple[Any, list[str]]:
    """Read the rows by pandas: an array of numbers for a model that was fitted on one, and else a DataFrame.

    A vectorizer of texts gets its one column. Texts become categories for a model that was fitted on pandas' categories.
    """
    import pandas as pd  # noqa: PLC0415  # it may not be there

    frame = pd.read_parquet(data) if data.endswith(".parquet") else pd.read_csv(data)
    frame = frame[names] if names else frame
    first = _first_step(estimator)
    texts = [name for name in frame.columns if not pd.api.types.is_numeric_dtype(frame[name])]
    if frame.shape[1] == 1 and (hasattr(first, "vocabulary_") or type(first).__name__ == "HashingVectorizer"):
        return frame.iloc[:, 0], list(frame.columns)
    if _has_categories(estimator):
        frame = frame.astype(dict.fromkeys(texts, "category"))
    is_of_an_array = not texts and _fitted_columns(estimator) is None
    return frame.to_numpy() if is_of_an_array else frame, list(frame.columns)


def _first_step(estimator: Any) -> Any:
    steps = getattr(estimator, "steps", None)
    return _first_step(steps[0][1]) if steps else estimator


def _has_categories(estimator: Any) -> bool:
    last = getattr(estimator, "_final_estimator", estimator)
    booster = getattr(last, "_Booster", None)
    return bool(getattr(booster, "pandas_categorical", None)) or "c" in (getattr(booster, "feature_types", None) or ())


def _array(data: str, names: list[str] | None) -> tuple[Any, list[str]]:
    """Read the rows of CSV without pandas: an array of floats if all are numbers, and else of objects."""
    import numpy as np  # noqa: PLC0415  # it may not be there

    with Path(data).open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    names = names or header
    places = [header.index(name) for name in names]
    picked = [[row[place] for place in places] for row in rows if row]
    try:
        return np.array([[float(value or "nan") for value in row] for row in picked]), names
    except ValueError:
        return np.array(picked, dtype=object), names


def _rows_of(answer: Any) -> list[list[Any]]:
    import numpy as np  # noqa: PLC0415  # a model that predicts has it

    if isinstance(answer, list) and answer and all(getattr(part, "ndim", 0) == 2 for part in answer):
        answer = np.hstack(answer)  # probabilities of several outputs
    array = np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer)
    rows = array.reshape(len(array), -1).tolist()
    return [[value if isinstance(value, (bool, int, float)) else str(value) for value in row] for row in rows]


def main(arguments: list[str]) -> int:
    """Print the answer, or the error."""
    model, data, features, method, *loader = arguments
    try:
        answer = predict(model, data, json.loads(features), method, *loader)
    except Exception as error:  # noqa: BLE001  # whatever a model raises
        answer = {"error": f"{type(error).__name__}: {error}"}
    print("\n" + json.dumps(answer), flush=True)  # behind whatever the model has printed without a line's end
    return int("error" in answer)


if __name__ == "__main__":
    if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
        del sys.path[0]  # a model's own modules may be called as the files beside this one
    sys.exit(main(sys.argv[1:]))
