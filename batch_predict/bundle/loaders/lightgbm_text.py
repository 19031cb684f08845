"""Loads the text that LightGBM's `save_model` writes.

A model of classes predicts labels, 0 to n - 1, and probabilities, as LGBMClassifier does; any other predicts what its Booster does.
Categories of pandas, which are in the file, are taken by their values.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

CLASSIFYING = ("binary", "multiclass", "softmax", "multiclassova", "multiclass_ova", "ova", "ovr")
"""Objectives whose predictions are probabilities of classes."""


def load(path: str) -> Any:
    """Return the estimator that a file holds."""
    text = Path(path).read_text(encoding="utf-8")
    booster = lightgbm.Booster(model_str=text)
    objective = re.search(r"(?m)^objective=(\w+)", text)
    categories = _categories(text, booster)
    if objective and objective[1] in CLASSIFYING:
        return Classifier(booster, categories, _number(text, "num_class"))
    return Model(booster, categories)


def _number(text: str, name: str) -> int:
    found = re.search(rf"(?m)^{name}=(\d+)", text)
    return int(found[1]) if found else 1


def _categories(text: str, booster: Any) -> dict[int, list[Any]]:
    """Return the categories of pandas by the positions of their columns.

    The file lists them without their columns, and elsewhere the columns of categories. Those lists differ if there are ordered
    categories, which LightGBM takes for numbers, or numbers that it was told to take for categories.
    """
    last = text.rstrip().rsplit("\n", 1)[-1]
    listed = json.loads(last.partition(":")[2]) if last.startswith("pandas_categorical:") else None
    if not listed:
        return {}
    stated = re.search(r"(?m)^\[categorical_feature: ?([\d,]*)\]", text)
    columns = [int(number) for number in stated[1].split(",") if number] if stated else []
    infos = re.search(r"(?m)^feature_infos=(.*)", text)
    codes = [_largest_code(info) for info in infos[1].split()] if infos else []
    fits = len(columns) == len(listed) and len(codes) == booster.num_feature()
    if not (fits and all(codes[column] < len(values) for column, values in zip(columns, listed, strict=True))):
        raise ValueError(
            "the file of LightGBM does not say which columns its categories belong to (some are ordered, or are numbers): "
            "dump the LGBMClassifier or LGBMRegressor itself with joblib.dump"
        )
    return dict(zip(columns, listed, strict=True))


def _largest_code(info: str) -> int:
    return max(map(int, info.split(":"))) if re.fullmatch(r"-?\d+(?::-?\d+)*", info) else -1


class Model:
    """A Booster that knows its columns: numbers, and categories by their values."""

    def __init__(self, booster: Any, categories: dict[int, list[Any]]) -> None:
        self._booster = booster
        self._categories = categories
        self.n_features_in_ = booster.num_feature()
        self.column_types_ = [categories.get(position, "number") for position in range(self.n_features_in_)]
        names = booster.feature_name()
        if names != [f"Column_{position}" for position in range(len(names))]:
            self.feature_names_in_ = np.array(names, dtype=object)

    def predict(self, features: Any) -> Any:
        """Predict the rows of a DataFrame as the Booster does."""
        return self._booster.predict(self._categorized(features))

    def _categorized(self, features: Any) -> Any:
        """Put columns in the order of the fit, and give them their categories; another category counts as a missing value."""
        import pandas as pd  # noqa: PLC0415  # on Lambda, unpacked before it makes a DataFrame

        own = [str(name).replace(" ", "_") for name in features.columns]  # so LightGBM writes names
        fitted = list(getattr(self, "feature_names_in_", own))
        if sorted(own) != sorted(fitted):
            raise ValueError("feature names are not those that the model was fitted on")
        features = features.iloc[:, [own.index(name) for name in fitted]]
        if not self._categories:
            return features
        made = {name: features.iloc[:, position] for position, name in enumerate(fitted)}
        for position, values in self._categories.items():
            codes = pd.Index(values).get_indexer(made[fitted[position]])
            made[fitted[position]] = pd.Categorical.from_codes(codes, categories=pd.Index(values))
        return pd.DataFrame(made, index=features.index)


class Classifier(Model):
    """A Booster whose predictions are probabilities of classes."""

    def __init__(self, booster: Any, categories: dict[int, list[Any]], n_classes: int) -> None:
        super().__init__(booster, categories)
        self.classes_ = np.arange(max(2, n_classes))

    def predict(self, features: Any) -> Any:
        """Return each row's likeliest class, and of equally likely ones the first."""
        return self.classes_[self.predict_proba(features).argmax(axis=1)]

    def predict_proba(self, features: Any) -> Any:
        """Return each class's probability."""
        probabilities = super().predict(features)
        return np.vstack((1.0 - probabilities, probabilities)).transpose() if probabilities.ndim == 1 else probabilities
