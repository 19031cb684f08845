"""Scores LightGBM's and XGBoost's models by their numbers alone, to the bit as these libraries do: see stored_steps.py.

What an objective makes of the sums is made here with libm's `exp`, which both libraries call, and in their order. When a model is
stored, that is compared with what the library makes of many sums, and any difference means that nothing is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from packed_boosters import boosted_of, compared
from packed_trees import is_equal
from stored_steps import NotStoredError, Step, Trees, checked, exponentials

if TYPE_CHECKING:
    from collections.abc import Callable

    from tree_kernel import Array, PackedTrees

COMPARED_SUMS = 4096
"""Rows of sums of which both make predictions when a model is stored."""

# --- what objectives make of sums -----------------------------------------------------------------------------------------------

_LOWEST_MARGIN = np.float32(-88.7)
"""XGBoost's sigmoid reads what is smaller as this."""


def _sigmoid(sums: Array, factor: float) -> Array:
    if sums.dtype == np.float32:
        sums = np.maximum(sums, _LOWEST_MARGIN)
    return 1 / (1 + exponentials(-factor * sums))


def _softmax(sums: Array, _: float) -> Array:
    shares = exponentials(sums - sums.max(axis=1)[:, np.newaxis])
    total = np.zeros(len(shares))
    for share in shares.T:  # in this order, and as float64
        total += share
    return shares / total.astype(shares.dtype)[:, np.newaxis]  # type: ignore[no-any-return]


_LINKS: dict[str, Callable[[Array, float], Array]] = {
    "identity": lambda sums, _: sums,
    "exp": lambda sums, _: exponentials(sums),
    "sigmoid": _sigmoid,
    "softmax": _softmax,
}
_OBJECTIVES = {
    **dict.fromkeys(("regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg"), "identity"),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), "exp"),
    **dict.fromkeys(("binary", "multiclassova", "cross_entropy"), "sigmoid"),
    "multiclass": "softmax",
    **{f"reg:{name}": "identity" for name in ("squarederror", "absoluteerror", "pseudohubererror", "quantileerror")},
    **dict.fromkeys(("count:poisson", "reg:gamma", "reg:tweedie"), "exp"),
    **dict.fromkeys(("binary:logistic", "reg:logistic"), "sigmoid"),
    "multi:softprob": "softmax",
}
"""LightGBM's objectives, and XGBoost's."""

# --- models ---------------------------------------------------------------------------------------------------------------------


class _BoostedTrees(Trees):
    attributes = ("feature_name_",)

    @classmethod
    def trees_of(cls, estimator: Any) -> tuple[Any, PackedTrees | None]:
        boosted, trees = boosted_of(estimator) or (None, None)
        return boosted and boosted.ensemble, trees

    @classmethod
    def sums_of(cls, estimator: Any) -> dict[str, Any]:
        (boosted, _), spread = boosted_of(estimator), np.logspace(-2, 3, COMPARED_SUMS)[:, np.newaxis]  # type: ignore[misc]
        name, *options = boosted.objective.split(" ")
        factor = next((float(option.partition(":")[2]) for option in options if option.startswith("sigmoid:")), 1.0)
        numbers = {field: getattr(boosted, field) for field in ("start", "zeros", "categories", "divisor")}
        numbers |= {"link": _OBJECTIVES.get(name), "factor": factor}
        sums = (np.random.default_rng(0).normal(size=(COMPARED_SUMS, boosted.start.size)) * spread).astype(boosted.start.dtype)
        if numbers["link"] is None or not is_equal(cls(numbers).predictions, lambda sums: boosted.predictions(sums.copy()), sums):
            raise NotStoredError(f"has the objective {name}")
        return numbers

    def sums(self, features: Any) -> Array:
        """Add up the trees: (rows, outputs)."""
        if isinstance(features, pa.Table) and {*features.schema.types} != {pa.float64()}:
            raise NotStoredError("features of another type")
        features = checked(self, features, missing=True, infinite=True)
        if (self.layout.width, self.layout.turns) != (1, self.start.size):
            raise NotStoredError("trees of other outputs")
        known = compared(features, np.float64 if self.layout.is_double else np.float32, self.zeros, self.categories)
        return self.trees.add(known, np.tile(self.start, (len(known), 1)))

    def predictions(self, sums: Array) -> Array:
        """Return what the objective makes of sums."""
        mean = sums / self.divisor if self.divisor > 1 else sums  # of the trees, if the library's objective gets that
        made = _LINKS[self.link](mean, self.factor)
        return made if made.shape[1] > 1 else made[:, 0]


class _Regressor(_BoostedTrees):
    def predict(self, features: Any) -> Array:
        return self.predictions(self.sums(features))


class _Classifier(_BoostedTrees):
    def predict_proba(self, features: Any) -> Array:
        shares = self.predictions(self.sums(features))
        return shares if shares.ndim > 1 else np.vstack((1 - shares, shares)).transpose()


class _LightGBMClassifier(_Classifier):
    def predict(self, features: Any) -> Array:
        return self.classes_[np.argmax(self.predict_proba(features), axis=1)]  # type: ignore[no-any-return]

    def decision_function(self, features: Any) -> Array:
        scores = self.sums(features)
        return scores if scores.shape[1] > 1 else scores[:, 0]


class _XGBoostClassifier(_Classifier):
    def predict(self, features: Any) -> Array:
        shares = self.predictions(self.sums(features))
        return np.argmax(shares, axis=1) if shares.ndim > 1 else (shares > 0.5).astype(np.int64)


BOOSTERS: dict[str, type[Step]] = {
    "lightgbm.sklearn.LGBMRegressor": _Regressor,
    "lightgbm.sklearn.LGBMRanker": _Regressor,
    "lightgbm.sklearn.LGBMClassifier": _LightGBMClassifier,
    "xgboost.sklearn.XGBRegressor": _Regressor,
    "xgboost.sklearn.XGBRFRegressor": _Regressor,
    "xgboost.sklearn.XGBClassifier": _XGBoostClassifier,
    "xgboost.sklearn.XGBRFClassifier": _XGBoostClassifier,
}
