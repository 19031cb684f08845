"""Loads what CatBoost's `save_model` writes (.cbm): a classifier if it has classes, else a regressor or ranker."""

from __future__ import annotations

from typing import Any

import catboost
import numpy as np


def load(path: str) -> Any:
    """Return the estimator that a file holds."""
    model = catboost.CatBoost()
    model.load_model(path)
    if model.get_text_feature_indices() or model.get_embedding_feature_indices():
        raise ValueError(
            "the model of CatBoost has features that are texts or embeddings, and the function gives it categories and numbers"
        )
    if not len(model.classes_):
        return Model(model)
    model = catboost.CatBoostClassifier()
    model.load_model(path)
    return Classifier(model)


class Model:
    """A model of CatBoost that knows its columns: numbers, and categories by their values."""

    def __init__(self, model: Any) -> None:
        self._model = model
        names = list(model.feature_names_)
        categories = set(model.get_cat_feature_indices())
        self.n_features_in_ = len(names)
        self.column_types_ = ["any" if place in categories else "number" for place in range(len(names))]
        if names != [str(place) for place in range(len(names))]:
            self.feature_names_in_ = np.array(names, dtype=object)

    def predict(self, features: Any) -> Any:
        """Predict the rows of a DataFrame."""
        predicted = np.asarray(self._model.predict(features))
        return predicted[:, 0] if predicted.ndim == 2 and predicted.shape[1] == 1 else predicted


class Classifier(Model):
    """A classifier of CatBoost."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.classes_ = np.asarray(model.classes_)

    def predict_proba(self, features: Any) -> Any:
        """Return each class's probability."""
        return self._model.predict_proba(features)
