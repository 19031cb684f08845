"""What receipts and reports say of a model: its steps and the libraries that it is made of."""

import json

import lightgbm
import numpy as np
import pandas as pd
import pytest
from harness import DATA, MODEL, OUTPUT, invoke
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import prediction_handler as handler
from workflow.conforms import conforms
from workflow.contract import Model

X = np.arange(80.0).reshape(40, 2)
Y = np.arange(40) % 2
VOTERS = (LogisticRegression(), LogisticRegression(C=2.0), RandomForestClassifier(3))


def by_columns():
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer([("num", numbers, ["a"]), ("cat", OneHotEncoder(), ["c"]), ("none", "drop", ["b"])])
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": ["x", "y"] * 20})
    return make_pipeline(columns, LogisticRegression()).fit(frame, Y)


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (lambda: LinearRegression().fit(X, Y), []),
        (lambda: RandomForestClassifier(3).fit(X, Y), []),
        (
            by_columns,
            [
                "columntransformer: ColumnTransformer",
                "columntransformer > num: Pipeline, 1 column",
                "columntransformer > num > simpleimputer: SimpleImputer",
                "columntransformer > num > standardscaler: StandardScaler",
                "columntransformer > cat: OneHotEncoder, 1 column",
                "columntransformer > none: drop, 1 column",
                "logisticregression: LogisticRegression",
            ],
        ),
        (
            lambda: GridSearchCV(
                make_pipeline(
                    FunctionTransformer(np.log1p),
                    FeatureUnion([("a", StandardScaler()), ("b", "passthrough")]),
                    LogisticRegression(),
                ),
                {"logisticregression__C": [1.0]},
            ).fit(X, Y),
            [
                "inner: Pipeline",
                "inner > functiontransformer: FunctionTransformer of log1p",
                "inner > featureunion: FeatureUnion",
                "inner > featureunion > a: StandardScaler",
                "inner > featureunion > b: FunctionTransformer",  # as scikit-learn fits it
                "inner > logisticregression: LogisticRegression",
            ],
        ),
        (
            lambda: CalibratedClassifierCV(LogisticRegression()).fit(X, Y),
            ["inner: _CalibratedClassifier", "inner > inner: LogisticRegression"],
        ),
        (
            lambda: VotingClassifier([(name, model) for name, model in zip("lmr", VOTERS, strict=True)]).fit(X, Y),
            ["inner: LogisticRegression", "inner: RandomForestClassifier"],
        ),
    ],
    ids=["alone", "a forest", "by columns", "a search", "a calibration", "a vote"],
)
def test_steps_are_names_and_classes(make, steps):
    assert handler._steps(make()) == steps


def test_the_receipt_has_them_and_the_report_may_repeat_them(put, get):
    put(MODEL, make_pipeline(StandardScaler(), LinearRegression()).fit(X, Y))
    put(DATA, "x1,x2\n1,4\n2,4\n")
    assert invoke(receipt_s3_uri=f"{OUTPUT}.json")[0] == 200
    receipt = json.loads(get(f"{OUTPUT}.json"))
    assert receipt["model"]["steps"] == ["standardscaler: StandardScaler", "linearregression: LinearRegression"]
    assert {"python", "scikit-learn", "numpy", "scipy", "pyarrow", "joblib"} == receipt["model"]["versions"].keys()
    assert conforms(receipt["model"], Model)


def test_the_versions_are_of_the_libraries_that_the_model_is_made_of():
    booster = lightgbm.LGBMClassifier(n_estimators=1, verbose=-1).fit(X, Y)
    assert handler._versions(make_pipeline(StandardScaler(), booster))["lightgbm"] == lightgbm.__version__
    assert handler._versions(by_columns())["pandas"] == pd.__version__


class Endless:
    """Holds itself, and has a name that is long."""

    def __init__(self):
        self.steps = [("s" * 1000, self)] * 30


class Hostile:
    @property
    def steps(self):
        raise RuntimeError("no")


def test_what_cannot_be_told_is_left_out_and_what_is_told_is_short():
    found = handler._steps(Endless())
    assert len(found) == 40
    assert max(map(len, found)) <= 160
    assert handler._steps(Hostile()) == []
