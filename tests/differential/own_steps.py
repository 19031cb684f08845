"""Functions and classes of somebody's own, which models hold by this module's name."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin


def as_text(features):
    return features.astype(str)


def lowered(features):
    return features.apply(lambda column: column.str.lower())


def identity(features):
    return features


def lengths(features):
    return features.apply(lambda column: column.astype(str).str.len()).to_numpy().astype(float)


def date_parts(features):
    import pandas as pd  # noqa: PLC0415  # as people write it

    days = pd.to_datetime(features.iloc[:, 0])
    return np.column_stack([days.dt.year, days.dt.month, days.dt.dayofweek]).astype(float)


def first_column(features):
    return features.iloc[:, 0]


def words(text):
    return text.split()


def is_number(features):
    return [name for name in features.columns if features[name].dtype.kind in "if"]


class Ratio(TransformerMixin, BaseEstimator):
    """Adds a column by name."""

    def fit(self, features, target=None):  # noqa: ARG002
        return self

    def transform(self, features):
        features = features.copy()
        features["ratio"] = features["age"] / (features["height"] + 1)
        return features


class Echo(RegressorMixin, BaseEstimator):
    """Predicts the sum of its features."""

    def fit(self, features, target=None):  # noqa: ARG002
        self.fitted_ = True
        return self

    def predict(self, features):
        return np.asarray(features, dtype=float).sum(axis=1)


class Tell(ClassifierMixin, BaseEstimator):
    """Predicts what it is given: each row's values, and of which type the columns are, a line for each feature."""

    def fit(self, features, target=None):  # noqa: ARG002
        self.fitted_ = True
        return self

    def predict(self, features):
        if not hasattr(features, "columns"):  # from a step that makes an array
            return np.array(["\n".join(map(repr, row)) for row in np.asarray(features).tolist()], dtype=object)
        types = [str(features[name].dtype) for name in features.columns]
        rows = features.itertuples(index=False, name=None)
        return np.array(
            ["\n".join(f"{kind}: {value!r}" for kind, value in zip(types, row, strict=True)) for row in rows], dtype=object
        )
