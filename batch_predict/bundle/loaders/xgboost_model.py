"""Loads what XGBoost's `save_model` writes (UBJSON, JSON, the old binary format), or a Booster that was pickled.

The estimator is the one of XGBoost's scikit-learn interface that answers as the file does: a classifier, a regressor or a ranker.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

CLASSIFYING = ("binary:logistic", "binary:hinge", "multi:softprob", "multi:softmax")
"""Objectives whose predictions are probabilities of classes, or classes."""


def load(path: str) -> Any:
    """Return the estimator that a file holds; with categories of texts or numbers, these are taken by their values."""
    content = bytearray(Path(path).read_bytes())
    if content.startswith(b"\x80"):
        loaded = pickle.loads(content)  # noqa: S301  # a bundle is code, as a pickle is
        if not isinstance(loaded, xgboost.Booster):
            return loaded
        content = loaded.save_raw("ubj")
    booster = xgboost.Booster()
    booster.load_model(content)
    wrapped = booster.attr("scikit_learn")  # what its estimators leave in the files that they save
    model = _class_of(booster, json.loads(wrapped).get("_estimator_type") if wrapped else None)()
    booster.set_attr(scikit_learn=None)  # which XGBoost 3.0 cannot compare beside a scikit-learn of today
    if not wrapped:  # Booster.predict uses all rounds, also behind the best one, and an estimator would not
        booster.set_attr(best_iteration=None, best_score=None)
    model.load_model(booster.save_raw("ubj"))
    categories = _categories(model.get_booster())
    if not any(values is not None for values in categories):
        return model
    return ClassifierOfCategories(model, categories) if hasattr(model, "predict_proba") else OfCategories(model, categories)


def _class_of(booster: Any, said: str | None) -> Any:
    known = {"classifier": xgboost.XGBClassifier, "regressor": xgboost.XGBRegressor, "ranker": xgboost.XGBRanker}
    objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
    by_objective = "ranker" if objective.startswith("rank:") else "classifier" if objective in CLASSIFYING else "regressor"
    return known.get(said or "", known[by_objective])


def _categories(booster: Any) -> list[Any]:
    """Return each feature's categories; None for numbers, and for all in files from before XGBoost 3.1, which lack them."""
    if "c" not in (booster.feature_types or ()) or not hasattr(booster, "get_categories"):
        return []
    found = booster.get_categories(export_to_arrow=True).to_arrow()
    return [None if values is None or not len(values) else values.to_numpy(zero_copy_only=False) for _, values in found]


class OfCategories:
    """A model of XGBoost with categories, which come as texts or numbers."""

    def __init__(self, model: Any, categories: list[Any]) -> None:
        self._model = model
        self._categories = categories
        self.n_features_in_ = model.n_features_in_
        self.column_types_ = ["number" if values is None else values.tolist() for values in categories]
        if model.get_booster().feature_names is not None:
            self.feature_names_in_ = np.array(model.get_booster().feature_names, dtype=object)

    def predict(self, features: Any) -> Any:
        """Predict the rows of a DataFrame."""
        return self._model.predict(self._categorized(features))

    def _categorized(self, features: Any) -> Any:
        """Give columns their categories; as in XGBoost, one that it was not fitted on is an error, and a missing value is none."""
        import pandas as pd  # noqa: PLC0415  # on Lambda, unpacked before it makes a DataFrame

        if list(features.columns) != list(getattr(self, "feature_names_in_", features.columns)):
            raise ValueError("feature names are not those that the model was fitted on, in their order")
        made = {}
        for name, values in zip(features.columns, self._categories, strict=True):
            if values is None:
                made[name] = features[name]
                continue
            codes = pd.Index(values).get_indexer(features[name])
            if ((codes < 0) & features[name].notna()).any():
                raise ValueError(f"a category is not among those that the model was fitted on: column {name!r}")
            made[name] = pd.Categorical.from_codes(codes, categories=pd.Index(values))
        return pd.DataFrame(made, index=features.index)


class ClassifierOfCategories(OfCategories):
    """A classifier of XGBoost with categories."""

    def __init__(self, model: Any, categories: list[Any]) -> None:
        super().__init__(model, categories)
        self.classes_ = model.classes_

    def predict_proba(self, features: Any) -> Any:
        """Return each class's probability."""
        return self._model.predict_proba(self._categorized(features))
