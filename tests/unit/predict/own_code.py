"""Classes and functions that tests pickle by reference, as users have them in modules of their own."""

import threading
import time

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin


def as_text(features):
    return features.astype(str)


def lower(features):
    return features.apply(lambda column: column.str.lower())


def centred(features):
    """Depends on the rows that come together."""
    return np.asarray(features, dtype=float) - np.asarray(features, dtype=float).mean(axis=0)


class ShowsTypes(BaseEstimator, RegressorMixin):
    """Predicts the type of its first feature's value, and the value."""

    def fit(self, features, target=None):  # noqa: ARG002
        return self

    def predict(self, features):
        column = features.iloc[:, 0]
        return np.array([f"{type(value).__name__}:{value}" for value in column.tolist()], object)


class OneThreadAtATime(BaseEstimator, TransformerMixin):
    """Notes whether two threads are in it at once."""

    met = False
    _inside = threading.Lock()

    def fit(self, features, target=None):  # noqa: ARG002
        return self

    def transform(self, features):
        if not OneThreadAtATime._inside.acquire(blocking=False):
            OneThreadAtATime.met = True
            return features
        try:
            time.sleep(0.002)  # so that another thread would meet it
            return features
        finally:
            OneThreadAtATime._inside.release()


class Answers(BaseEstimator, RegressorMixin):
    """Predicts what it is told, for as many rows as there are."""

    def __init__(self, answer):
        self.answer = answer

    def fit(self, features, target=None):  # noqa: ARG002
        return self

    def predict(self, features):
        return self.answer[: len(features)]
