"""The script that predicts in the environment where a model was fitted, run by this Python in the place of that one."""

import json
import os
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline

from batch_predict.bundle import predict_there
from batch_predict.local.trial_rows import _as_json

ROWS = pd.DataFrame({"y": [1, 0, 1, 2], "x": [0.1, 1.5, 2.0, 3.25]})
TARGET = [0.1, 0.7, 1 / 3, 4.5]


def answer_of(*arguments, folder=""):
    """Return the exit status and the last line of stdout."""
    ran = subprocess.run(
        [sys.executable, predict_there.__file__, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(folder)},
    )
    return ran.returncode, json.loads(ran.stdout.splitlines()[-1])


@pytest.fixture
def given(tmp_path):
    """Write what a model gets; return the file."""

    def given(rows):
        (tmp_path / "given.json").write_text(json.dumps(_as_json(rows)))
        return tmp_path / "given.json"

    return given


def test_predictions_are_the_models_to_the_bit(tmp_path, given):
    model = LinearRegression().fit(ROWS, TARGET)
    joblib.dump(model, tmp_path / "model.joblib")
    for rows in (ROWS, np.asfortranarray(ROWS.to_numpy())):
        status, answer = answer_of(tmp_path / "model.joblib", given(rows), "predict")
        assert (status, answer["rows"], answer["dtype"]) == (0, len(ROWS), "float64")
        assert answer["predictions"] == [[value] for value in model.predict(ROWS)]


def test_own_modules_come_from_the_callers_path_and_not_from_beside_the_script(tmp_path, given):
    """`plan` is also a module of the folder in which the script lies."""
    (tmp_path / "plan.py").write_text("class Two:\n    def predict(self, X):\n        print('hi', end='')\n        return X * 2\n")
    (tmp_path / "dump.py").write_text("import joblib, plan\njoblib.dump(plan.Two(), 'model.joblib')\n")
    subprocess.run([sys.executable, "dump.py"], cwd=tmp_path, check=True)
    status, answer = answer_of(tmp_path / "model.joblib", given(ROWS[["x", "y"]]), "predict", folder=tmp_path)
    assert (status, answer["predictions"][1]) == (0, [3.0, 0.0])


def test_a_loader_loads_what_is_no_pickle(tmp_path, given):
    (tmp_path / "slope.txt").write_text("0.5")
    (tmp_path / "bundle_loader.py").write_text(
        "class Line:\n    def __init__(self, path):\n        self.slope = float(open(path).read())\n"
        "    def predict(self, X):\n        return X[:, 0] * self.slope\n\nload = Line\n"
    )
    status, answer = answer_of(tmp_path / "slope.txt", given(ROWS[["x"]].to_numpy()), "predict", "bundle_loader", folder=tmp_path)
    assert (status, answer["predictions"]) == (0, [[0.05], [0.75], [1.0], [1.625]])


def test_a_vectorizer_gets_texts_and_labels_are_texts(tmp_path, given):
    texts = pd.Series(["good day", "bad day", "good", "bad"], name="text")
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, ["yes", "no", "yes", "no"])
    joblib.dump(model, tmp_path / "model.joblib")
    labels = answer_of(tmp_path / "model.joblib", given(texts), "predict")[1]["predictions"]
    assert labels == [["yes"], ["no"], ["yes"], ["no"]]
    probabilities = answer_of(tmp_path / "model.joblib", given(texts), "predict_proba")[1]["predictions"]
    assert probabilities == model.predict_proba(texts).tolist()


def test_what_a_model_raises_is_one_sentence(tmp_path, given):
    joblib.dump(LinearRegression(), tmp_path / "model.joblib")
    status, answer = answer_of(tmp_path / "model.joblib", given(ROWS), "predict")
    assert status == 1
    assert answer["error"].startswith("NotFittedError: This LinearRegression instance is not fitted yet")
    assert answer["loads"]


def test_a_model_that_cannot_be_loaded_there_says_so(tmp_path, given):
    (tmp_path / "model.joblib").write_bytes(b"cabsent_module\nModel\n)R.")
    status, answer = answer_of(tmp_path / "model.joblib", given(ROWS), "predict")
    assert (status, answer) == (1, {"error": "ModuleNotFoundError: No module named 'absent_module'", "loads": False})


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": [1, 2], "b": [0.1, np.nan], "c": ["x", None], "d": [True, False]}),
        pd.DataFrame({"a": pd.Categorical(["x", None, "z"], categories=["z", "y", "x"]), "b": pd.to_datetime(["2026-01-01"] * 3)}),
        pd.DataFrame({"a": pd.Series([True, None], dtype=object)}),
        pd.DataFrame({"a": np.array([0.1], np.float32), "b": np.array([7], np.int8)}),
    ],
)
def test_a_frame_arrives_as_it_was(frame):
    made = predict_there._rows(json.loads(json.dumps(_as_json(frame))))
    pd.testing.assert_frame_equal(made, frame, check_exact=True)


@pytest.mark.thorough
def test_categories_are_those_of_the_fit(tmp_path, given):
    lightgbm = pytest.importorskip("lightgbm")
    frame = pd.DataFrame({"kind": ["a", "b"] * 20, "x": np.arange(40.0)}).astype({"kind": "category"})
    model = lightgbm.LGBMRegressor(n_estimators=5, min_child_samples=2, verbose=-1).fit(frame, np.arange(40) % 2)
    joblib.dump(model, tmp_path / "model.joblib")
    expected = [[value] for value in model.predict(frame)]
    assert answer_of(tmp_path / "model.joblib", given(frame), "predict")[1]["predictions"] == expected
