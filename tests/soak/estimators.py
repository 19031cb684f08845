"""The fitted models that requests name, and what each expects of a column."""

import hashlib
import io
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

NUMBERS = ["age", "größe", "dose, mg", "rank"]
TEXTS = ["city", "plan"]
CITIES = ["Zürich", "Paris", "New York", "São Paulo", "007", "12", "Łódź, PL", 'the "Hague"']
PLANS = ["basic", "plus", "pro"]
LABELS = np.array(["on time", "late, a bit", 'late, "very"'])

FIT_ROWS = 1500


@dataclass(frozen=True)
class Estimator:
    """A fitted model, its bytes in S3, and what is known of it."""

    name: str
    model: Any
    features: list[str]
    methods: tuple[str, ...]
    exact: bool
    """Whether a row's prediction does not depend on what is predicted with it; sums of linear models do, in the last bits."""
    takes_missing: bool
    takes_infinite: bool
    content: bytes
    sha256: str


def fitted_estimators():
    """Fit all models: the same ones every time."""
    rng = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "age": rng.integers(0, 100, FIT_ROWS).astype(float),
            "größe": rng.normal(170, 15, FIT_ROWS),
            "dose, mg": rng.exponential(20, FIT_ROWS),
            "rank": rng.integers(-50, 50, FIT_ROWS).astype(float),
            "city": rng.choice(CITIES, FIT_ROWS),
            "plan": rng.choice(PLANS, FIT_ROWS),
        }
    )
    target = frame["age"] * 0.3 + np.sin(frame["größe"]) * 5 + frame["dose, mg"] * (frame["plan"] == "pro") - frame["rank"] / 7
    thirds = np.digitize(target, np.quantile(target, [1 / 3, 2 / 3]))
    numbers = frame[NUMBERS]
    imputed = [("numbers", SimpleImputer(), NUMBERS)]
    texts = [("texts", OneHotEncoder(handle_unknown="ignore", sparse_output=False), TEXTS)]
    labels = ("predict", "predict_proba", "decision_function")

    def of(name, model, features, methods=("predict",), **facts):
        buffer = io.BytesIO()
        joblib.dump(model, buffer)
        content = buffer.getvalue()
        known = {"exact": True, "takes_missing": False, "takes_infinite": False, **facts}
        return Estimator(name, model, features, methods, **known, content=content, sha256=hashlib.sha256(content).hexdigest())

    return [
        of("ridge-array", Ridge().fit(numbers.to_numpy(), target), NUMBERS, exact=False),
        of("ridge-frame", make_pipeline(StandardScaler(), Ridge()).fit(numbers, target), NUMBERS, exact=False),
        of(
            "boosting",
            HistGradientBoostingRegressor(max_iter=15, random_state=0).fit(numbers, target),
            NUMBERS,
            takes_missing=True,
            takes_infinite=True,
        ),
        of("forest", RandomForestRegressor(8, max_depth=6, random_state=0).fit(numbers, target), NUMBERS),
        of(
            "columns-boosting",
            make_pipeline(ColumnTransformer([*imputed, *texts]), HistGradientBoostingRegressor(max_iter=10, random_state=0)).fit(
                frame, target
            ),
            NUMBERS + TEXTS,
            takes_missing=True,
        ),
        of(
            "columns-ridge",
            make_pipeline(ColumnTransformer([*texts, ("numbers", StandardScaler(), NUMBERS[:2])]), Ridge()).fit(
                frame[[*TEXTS, *NUMBERS[:2]]], target
            ),
            [*TEXTS, *NUMBERS[:2]],
            exact=False,
        ),
        of(
            "logistic",
            make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()).fit(numbers, LABELS[thirds]),
            NUMBERS,
            labels,
            exact=False,
            takes_missing=True,
        ),
        of(
            "forest-classes",
            RandomForestClassifier(6, max_depth=5, random_state=0).fit(numbers, thirds),
            NUMBERS,
            labels[:2],
        ),
        of(
            "boosting-classes",
            HistGradientBoostingClassifier(max_iter=8, random_state=0).fit(numbers, thirds > 0),
            NUMBERS,
            labels,
            takes_missing=True,
            takes_infinite=True,
        ),
    ]
