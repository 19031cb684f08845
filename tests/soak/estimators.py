"""The fitted models that requests name, and what each expects of a column."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

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

from support.places import dumped

NUMBERS = ["age", "größe", "dose, mg", "rank"]
TEXTS = ["city", "plan"]
CITIES = ["Zürich", "Paris", "New York", "São Paulo", "007", "12", "Łódź, PL", 'the "Hague"']
PLANS = ["basic", "plus", "pro"]
LABELS = np.array(["on time", "late, a bit", 'late, "very"'])

FIT_ROWS = 1500


@dataclass(frozen=True)
class Estimator:
    """A fitted model, and what is known of it."""

    name: str
    model: Any
    exact: bool = True
    """Whether a row's prediction does not depend on what is predicted with it; sums of linear models do, in the last bits."""
    takes_missing: bool = False
    takes_infinite: bool = False

    @property
    def features(self):
        return list(getattr(self.model, "feature_names_in_", NUMBERS))

    @property
    def methods(self):
        return [name for name in ("predict", "predict_proba", "decision_function") if hasattr(self.model, name)]

    @cached_property
    def content(self):
        """What is in S3."""
        return dumped(self.model)

    @property
    def sha256(self):
        return hashlib.sha256(self.content).hexdigest()


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
    numbers, few = frame[NUMBERS], [*TEXTS, *NUMBERS[:2]]
    texts = ("texts", OneHotEncoder(handle_unknown="ignore", sparse_output=False), TEXTS)
    imputed = ColumnTransformer([("numbers", SimpleImputer(), NUMBERS), texts])
    scaled = ColumnTransformer([texts, ("numbers", StandardScaler(), NUMBERS[:2])])
    boosting = HistGradientBoostingRegressor(max_iter=15, random_state=0)
    columns = make_pipeline(imputed, HistGradientBoostingRegressor(max_iter=10, random_state=0))
    logistic = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
    classes = HistGradientBoostingClassifier(max_iter=8, random_state=0)
    return [
        Estimator("ridge-array", Ridge().fit(numbers.to_numpy(), target), exact=False),
        Estimator("ridge-frame", make_pipeline(StandardScaler(), Ridge()).fit(numbers, target), exact=False),
        Estimator("boosting", boosting.fit(numbers, target), takes_missing=True, takes_infinite=True),
        Estimator("forest", RandomForestRegressor(8, max_depth=6, random_state=0).fit(numbers, target)),
        Estimator("columns-boosting", columns.fit(frame, target), takes_missing=True),
        Estimator("columns-ridge", make_pipeline(scaled, Ridge()).fit(frame[few], target), exact=False),
        Estimator("logistic", logistic.fit(numbers, LABELS[thirds]), exact=False, takes_missing=True),
        Estimator("forest-classes", RandomForestClassifier(6, max_depth=5, random_state=0).fit(numbers, thirds)),
        Estimator("boosting-classes", classes.fit(numbers, thirds > 0), takes_missing=True, takes_infinite=True),
    ]
