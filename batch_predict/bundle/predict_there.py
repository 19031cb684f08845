"""Predict rows in the environment where a model was fitted, to compare what a bundle of it predicts.

    PYTHON predict_there.py MODEL GIVEN METHOD [LOADER]

PYTHON may be any from 3.8 on; joblib, numpy and pandas are whatever is installed there, and own modules are found by PYTHONPATH,
which the caller sets.

MODEL   the model's file
GIVEN   what the prediction function gives the model of some rows, as JSON: so that no reader of files makes a difference
METHOD  predict, predict_proba or decision_function
LOADER  a module that can be imported, with `load(path: str)`; without it, joblib loads the model, or pickle if there is none

GIVEN is {"kind": "array" | "frame" | "series", "columns": [{"name": "age", "dtype": "int64", "values": [...]}]}; a column of dtype
`category` has `categories`, too.

The last line of stdout is one JSON object. The exit status is 0 with
    {"rows": n, "predictions": [[...], ...], "dtype": "float64", "python": "3.11.7"}
with a list for each row: numbers as repr() writes them, NaN and Infinity as Python's json does, everything else as text; and 1 with
    {"error": "ValueError: what went wrong", "loads": whether the model could be loaded}
"""

from __future__ import annotations  # Python 3.8 has no list[str]

import json
import platform
import sys
import warnings
from pathlib import Path
from typing import Any


def _predict(estimator: Any, given: str, method: str) -> dict[str, Any]:
    """Make the rows, and return the answer's fields."""
    import numpy as np  # noqa: PLC0415  # a model that predicts has it

    rows = _rows(json.loads(Path(given).read_text(encoding="utf-8")))
    answer = getattr(estimator, method)(rows)
    if isinstance(answer, list) and answer and all(getattr(part, "ndim", 0) == 2 for part in answer):
        answer = np.hstack(answer)  # probabilities of several outputs
    array = np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer)
    found = array.reshape(len(array), -1).tolist()
    return {
        "rows": len(rows),
        "predictions": [[value if isinstance(value, (bool, int, float)) else str(value) for value in row] for row in found],
        "dtype": str(array.dtype),
        "python": platform.python_version(),
    }


def _load(model: str, loader: str | None = None) -> Any:
    if loader:
        return __import__(loader, fromlist=["load"]).load(model)
    try:
        import joblib  # noqa: PLC0415  # it may not be there
    except ImportError:
        import pickle  # noqa: PLC0415  # as above

        with Path(model).open("rb") as file:
            return pickle.load(file)  # noqa: S301  # a model that the caller trusts
    return joblib.load(model)


def _rows(given: dict[str, Any]) -> Any:
    """Make an array, by columns as the function's is; or a frame, or a series."""
    import numpy as np  # noqa: PLC0415  # a model that predicts has it

    columns = given["columns"]
    try:
        pd: Any = __import__("pandas")
    except ImportError:
        pd = None
    if given["kind"] == "array" or pd is None:
        warnings.filterwarnings("ignore", "X does not have valid feature names")  # the function has compared them itself
        kinds = {column["dtype"] for column in columns}
        kind = kinds.pop() if len(kinds) == 1 and not kinds & {"str", "category"} else None
        array = np.array([column["values"] for column in columns], dtype=kind)
        return array[0] if given["kind"] == "series" else array.T
    made = {column["name"]: _series(pd, column) for column in columns}
    return made[columns[0]["name"]] if given["kind"] == "series" else pd.DataFrame(made)


def _series(pd: Any, column: dict[str, Any]) -> Any:
    if column["dtype"] == "category":
        return pd.Series(pd.Categorical(column["values"], categories=column["categories"]), name=column["name"])
    if column["dtype"] in ("str", "string"):  # which pandas of before 3 reads as objects
        return pd.Series(column["values"], name=column["name"])
    return pd.Series(column["values"], name=column["name"], dtype=column["dtype"])


def main(arguments: list[str]) -> int:
    """Print the answer, or the error."""
    model, given, method, *loader = arguments
    loads = False
    try:
        estimator = _load(model, *loader)
        loads = True
        answer = _predict(estimator, given, method)
    except Exception as error:  # noqa: BLE001  # whatever a model raises
        answer = {"error": f"{type(error).__name__}: {error}", "loads": loads}
    print("\n" + json.dumps(answer), flush=True)  # behind whatever the model has printed without a line's end
    return int("error" in answer)


if __name__ == "__main__":
    if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
        del sys.path[0]  # a model's own modules may be called as the files beside this one
    sys.exit(main(sys.argv[1:]))
