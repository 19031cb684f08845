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

ROWS = pd.DataFrame({"id": ["a", "b", "c", "d"], "x": [0.1, 1.5, 2.0, 3.25], "y": [1, 0, 1, 2]})
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
def data(tmp_path):
    ROWS.to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path / "rows.csv"


def test_predictions_are_the_models_to_the_bit(tmp_path, data):
    model = LinearRegression().fit(ROWS[["y", "x"]], TARGET)
    joblib.dump(model, tmp_path / "model.joblib")
    status, answer = answer_of(tmp_path / "model.joblib", data, "null", "predict")
    assert status == 0
    assert answer["features"] == ["y", "x"]
    assert answer["rows"] == len(ROWS)
    assert answer["predictions"] == [[value] for value in model.predict(ROWS[["y", "x"]])]


def test_own_modules_come_from_the_callers_path_and_not_from_beside_the_script(tmp_path, data):
    """`plan` is also a module of the folder in which the script lies."""
    (tmp_path / "plan.py").write_text("class Two:\n    def predict(self, X):\n        print('hi', end='')\n        return X * 2\n")
    (tmp_path / "dump.py").write_text("import joblib, plan\njoblib.dump(plan.Two(), 'model.joblib')\n")
    subprocess.run([sys.executable, "dump.py"], cwd=tmp_path, check=True)
    status, answer = answer_of(tmp_path / "model.joblib", data, '["x", "y"]', "predict", folder=tmp_path)
    assert (status, answer["predictions"][1]) == (0, [3.0, 0.0])


def test_a_loader_loads_what_is_no_pickle(tmp_path, data):
    (tmp_path / "slope.txt").write_text("0.5")
    (tmp_path / "bundle_loader.py").write_text(
        "class Line:\n    def __init__(self, path):\n        self.slope = float(open(path).read())\n"
        "    def predict(self, X):\n        return X[:, 0] * self.slope\n\nload = Line\n"
    )
    status, answer = answer_of(tmp_path / "slope.txt", data, '["x"]', "predict", "bundle_loader", folder=tmp_path)
    assert (status, answer["predictions"]) == (0, [[0.05], [0.75], [1.0], [1.625]])


def test_a_vectorizer_gets_texts_and_labels_are_texts(tmp_path):
    texts = pd.Series(["good day", "bad day", "good", "bad"])
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, ["yes", "no", "yes", "no"])
    joblib.dump(model, tmp_path / "model.joblib")
    texts.to_csv(tmp_path / "texts.csv", index=False, header=["text"])
    assert predict_there._rows_of(model.predict(texts)) == [["yes"], ["no"], ["yes"], ["no"]]
    probabilities = answer_of(tmp_path / "model.joblib", tmp_path / "texts.csv", "null", "predict_proba")[1]["predictions"]
    assert probabilities == model.predict_proba(texts).tolist()


def test_what_a_model_raises_is_one_sentence(tmp_path, data):
    joblib.dump(LinearRegression(), tmp_path / "model.joblib")
    status, answer = answer_of(tmp_path / "model.joblib", data, '["x"]', "predict")
    assert status == 1
    assert answer["error"].startswith("NotFittedError: This LinearRegression instance is not fitted yet")


def test_without_pandas_numbers_are_floats_and_texts_objects(tmp_path, data):
    numbers, names = predict_there._array(str(data), ["y", "x"])
    assert names == ["y", "x"]
    assert np.array_equal(numbers, ROWS[["y", "x"]].to_numpy())
    assert predict_there._array(str(data), None)[0].tolist()[1] == ["b", "1.5", "0"]


@pytest.mark.thorough
def test_texts_become_categories_for_a_model_that_was_fitted_on_them(tmp_path):
    lightgbm = pytest.importorskip("lightgbm")
    frame = pd.DataFrame({"kind": ["a", "b"] * 20, "x": np.arange(40.0)}).astype({"kind": "category"})
    model = lightgbm.LGBMRegressor(n_estimators=5, min_child_samples=2, verbose=-1).fit(frame, np.arange(40) % 2)
    joblib.dump(model, tmp_path / "model.joblib")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_parquet(tmp_path / "rows.parquet")
    expected = [[value] for value in model.predict(frame)]
    for name in ("rows.csv", "rows.parquet"):
        assert answer_of(tmp_path / "model.joblib", tmp_path / name, "null", "predict")[1]["predictions"] == expected
