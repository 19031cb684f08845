"""Rows that a model takes, made up from what it says of its columns: they must reach what it has learned, and not only be taken."""

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from batch_predict.deployed import prediction_handler
from batch_predict.local.made_up_rows import ROWS, category_columns, made_up

_random = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "a": _random.normal(size=200),
        "b": _random.integers(0, 50, 200),
        "c": _random.choice(["x", "y", "z"], 200),
        "t": _random.choice(["good film", "bad food", "dull play"], 200),
    }
)
LABELS = ((FRAME["a"] + FRAME["b"] / 50 + (FRAME["c"] == "x")) > 1).astype(int)
CATEGORIES = FRAME[["a", "c", "b"]].assign(c=FRAME["c"].astype("category"))
SPLIT = make_column_transformer(
    (make_pipeline(SimpleImputer(), StandardScaler()), ["a", "b"]),
    (OneHotEncoder(), ["c"]),  # which refuses what it does not know
    (TfidfVectorizer(), "t"),
)
MODELS = {
    "columns": (make_pipeline(SPLIT, LogisticRegression()), FRAME),
    "texts": (make_pipeline(TfidfVectorizer(), LogisticRegression()), FRAME[["t"]]),
    "forest": (RandomForestClassifier(5, random_state=0), FRAME[["a", "b"]]),
    "histograms": (HistGradientBoostingClassifier(max_iter=5), FRAME[["a", "b"]]),
    "histograms with categories": (HistGradientBoostingClassifier(max_iter=5, categorical_features="from_dtype"), CATEGORIES),
    "LightGBM": (lightgbm.LGBMClassifier(n_estimators=5, verbose=-1), FRAME[["a", "b"]]),
    "LightGBM with categories": (lightgbm.LGBMClassifier(n_estimators=5, verbose=-1), CATEGORIES),
    "XGBoost": (xgboost.XGBClassifier(n_estimators=5), FRAME[["a", "b"]]),
    "XGBoost with categories": (xgboost.XGBClassifier(n_estimators=5, enable_categorical=True), CATEGORIES),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_takes_them_and_does_not_say_the_same_of_all(name):
    model, frame = MODELS[name]
    handler, columns = prediction_handler(), list(frame)
    model.fit(frame["t"] if name == "texts" else frame, LABELS)

    rows = made_up(model, columns, handler)
    categories = category_columns(model, columns, handler)
    given = pd.DataFrame(rows).astype(dict.fromkeys(categories, "category"))
    predicted = model.predict_proba(given["t"] if name == "texts" else given)

    assert len(given) == ROWS
    assert len(np.unique(predicted.round(3), axis=0)) > 5
    assert made_up(model, columns, handler) == rows
    wants = ["c"] if name in ("LightGBM with categories", "XGBoost with categories") else []
    assert categories == wants
    if "c" in rows:
        assert set(rows["c"]) == {"x", "y", "z"}


def test_columns_of_which_nothing_is_known_are_numbers():
    class Own:
        def predict(self, frame):
            return frame["a"]

    (values,) = made_up(Own(), ["a"], prediction_handler()).values()
    assert len(set(values)) > 10
    assert all(isinstance(value, float) for value in values)


class Stating:
    """A model that states what its columns are, as the loader of ONNX graphs does."""

    def __init__(self, *stated):
        self.column_types_ = [*stated]


def test_what_a_loader_calls_integers_are_integers():
    rows = made_up(Stating("integer", "number", "text"), ["n", "x", "t"], prediction_handler())
    assert {type(value) for value in rows["n"]} == {int}
    assert len(set(rows["n"])) > 3
    assert {type(value) for value in rows["x"]} == {float}
    assert {type(value) for value in rows["t"]} == {str}
