"""Scores fitted models by their numbers alone: with NumPy and the kernel, and to the bit as scikit-learn does.

A step stands for an estimator of scikit-learn, and has its attributes and the names of its class, so that whoever asks what the
model expects gets the same answers. Each calls what scikit-learn calls, on arrays of the same layout, because a sum's bits
depend on it. What is not listed here, and rows that scikit-learn would refuse, raise an error: then the model itself is asked.
"""

from __future__ import annotations

import ctypes
import functools
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from predict_kernel import kernel
from tree_kernel import Array, PackedTrees

if TYPE_CHECKING:
    from collections.abc import Callable


class NotStoredError(Exception):
    """A model, a row or a step for which scikit-learn is needed."""


class Step:
    """Stands for one estimator."""

    attributes: ClassVar[tuple[str, ...]] = ()
    """Besides those of every estimator."""

    def __init__(self, numbers: dict[str, Any]) -> None:
        vars(self).update(numbers)

    def __getattr__(self, name: str) -> Any:
        """Say that an attribute is lacking; which there are is up to the estimator."""
        raise AttributeError(name)

    @classmethod
    def numbers_of(cls, estimator: Any) -> dict[str, Any]:
        """Return what is kept of an estimator."""
        if {*vars(estimator).get("_sklearn_output_config", {}).values()} - {None, "default"}:
            raise NotStoredError("puts out frames")
        named = ("n_features_in_", "feature_names_in_", "classes_", *cls.attributes)
        found = {name: getattr(estimator, name, None) for name in named}
        return {name: value for name, value in found.items() if value is not None}


def checked(step: Step, features: Any, *, missing: bool = False, infinite: bool = False) -> Array:
    """Return features as they are, or a table's as an array; NotStoredError if scikit-learn would refuse or convert them."""
    if isinstance(features, pa.Table):
        features = matrix_of(features)
    is_plain = isinstance(features, np.ndarray) and features.dtype in (np.float64, np.float32)
    if not (is_plain and features.ndim == 2 and features.shape[1] == step.n_features_in_ and len(features)):
        raise NotStoredError("features of another type or shape")
    with np.errstate(over="ignore", invalid="ignore"):
        is_finite = np.isfinite(features.sum())
    if not is_finite and ((not infinite and np.isinf(features).any()) or (not missing and np.isnan(features).any())):
        raise NotStoredError("features that are missing or infinite")
    return features  # type: ignore[no-any-return]


def matrix_of(table: pa.Table) -> Array:
    """Return a table of numbers as pandas gives a frame of them to scikit-learn: by columns."""
    matrix = np.empty((len(table), table.num_columns), order="F")
    for place, column in enumerate(table.columns):
        if column.type not in (pa.float64(), pa.int64()) or (column.type == pa.int64() and column.null_count):
            raise NotStoredError("features of another type")
        matrix[:, place] = column.to_numpy()
    return matrix


# --- linear models --------------------------------------------------------------------------------------------------------------


class _Linear(Step):
    attributes = ("coef_", "intercept_")

    def predict(self, features: Any) -> Array:
        features, weights = checked(self, features), self.coef_
        return features @ (weights if weights.ndim == 1 else weights.T) + self.intercept_  # type: ignore[no-any-return]


class _FlatLinear(_Linear):
    def predict(self, features: Any) -> Array:
        return super().predict(features).ravel()


class _LinearClassifier(_Linear):
    def decision_function(self, features: Any) -> Array:
        scores = super().predict(features)
        return scores.reshape(-1) if scores.ndim > 1 and scores.shape[1] == 1 else scores

    def predict(self, features: Any) -> Array:
        return _labels(self.classes_, self.decision_function(features), strictly=True)


class _Logistic(_LinearClassifier):
    @classmethod
    def numbers_of(cls, estimator: Any) -> dict[str, Any]:
        require_expit()
        return super().numbers_of(estimator)

    def predict_proba(self, features: Any) -> Array:
        scores = self.decision_function(features)
        if self.classes_.size > 2:
            return _softmax(scores)
        shares = _expit(scores)
        return np.stack([1 - shares, shares], axis=1)


def _labels(classes: Array, scores: Array, *, strictly: bool) -> Array:
    """Return the label of each row by the score of the second of two classes, or by the largest score."""
    flat = scores[:, 0] if scores.ndim == 2 and scores.shape[1] == 1 else scores
    if flat.ndim == 1:
        return classes[((flat > 0) if strictly else (flat >= 0)).astype(int)]  # type: ignore[no-any-return]
    return classes[np.argmax(flat, axis=1)]  # type: ignore[no-any-return]


def _expit(scores: Array) -> Array:
    if kernel() is None:
        from scipy.special import expit  # noqa: PLC0415  # scikit-learn's own; costs a third of a cold start

        return expit(scores)  # type: ignore[no-any-return]
    return 1 / (1 + exponentials(-scores))


@functools.cache
def require_expit() -> None:
    """Raise NotStoredError if SciPy has other bits than `_expit` on this machine."""
    from scipy.special import expit  # noqa: PLC0415  # only where the model itself is loaded

    scores = np.random.default_rng(0).normal(size=4096) * np.logspace(-2, 3, 4096)
    if _expit(scores).tobytes() != expit(scores).tobytes():
        raise NotStoredError("has a sigmoid with other bits than the kernel's")


def exponentials(values: Array) -> Array:
    """Return what libm's `exp` gives, as SciPy and other libraries call it: NumPy's own has other bits."""
    library = kernel()
    if library is None or values.dtype not in (np.float64, np.float32):
        raise NotStoredError("no kernel for these exponentials")
    found = np.array(values, order="C")
    library.exponentials(ctypes.c_void_p(found.ctypes.data), ctypes.c_int64(found.size), ctypes.c_int64(found.itemsize == 4))
    return found


def _softmax(scores: Array) -> Array:
    """Return `sklearn.utils.extmath.softmax`."""
    scores = np.array(scores)
    scores -= scores.max(axis=1).reshape(-1, 1)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1).reshape(-1, 1)
    return scores


# --- trees ----------------------------------------------------------------------------------------------------------------------


class Trees(Step):
    """Stands for an estimator whose trees the kernel adds up."""

    takes_infinite: ClassVar[bool] = False

    @classmethod
    def numbers_of(cls, estimator: Any) -> dict[str, Any]:
        """Return what is kept of an estimator: its trees as the kernel takes them."""
        ensemble, trees = cls.trees_of(estimator)
        if trees is None or ensemble is None:
            raise NotStoredError("has trees that are not packed")
        found = super().numbers_of(estimator) | {"layout": trees.layout, "takes_missing": ensemble.takes_missing}
        return found | cls.sums_of(estimator)

    @classmethod
    def trees_of(cls, estimator: Any) -> tuple[Any, PackedTrees | None]:
        """Return an estimator's ensemble, and how the kernel takes it; None for what it does not take."""
        import packed_trees  # noqa: PLC0415  # only where the model itself is loaded

        return packed_trees.ensemble_of(estimator), packed_trees.trees_of(estimator)

    @classmethod
    def sums_of(cls, estimator: Any) -> dict[str, Any]:
        """Return what is kept of how an estimator adds up its trees."""
        raise NotImplementedError

    @functools.cached_property
    def trees(self) -> PackedTrees:
        """Return them as the kernel takes them; NotStoredError without it, or if it would leave their arrays."""
        library = kernel()
        if library is None:
            raise NotStoredError("no kernel for trees")
        if not self.layout.is_sound(self.n_features_in_):
            raise NotStoredError("trees that lead out of themselves")
        return PackedTrees(self.layout, library)

    def features_of(self, features: Any) -> Array:
        """Return features as the trees compare them."""
        if not self.layout.is_double:
            with np.errstate(over="ignore"):
                features = np.asarray(features).astype(np.float32)  # what becomes infinite is refused
        return checked(self, features, missing=self.takes_missing, infinite=self.takes_infinite)


class _Forest(Trees):
    attributes = ("n_outputs_", "n_classes_")

    @classmethod
    def sums_of(cls, estimator: Any) -> dict[str, Any]:
        return {"n_trees": len(estimator.estimators_)}

    def sums(self, features: Any) -> Array:
        if self.layout.turns != 1:
            raise NotStoredError("trees of other outputs")
        return self.summed(self.features_of(features))

    def summed(self, features: Array) -> Array:
        """Return the mean of the trees, (rows, numbers that a tree adds)."""
        sums = self.trees.sums(features)
        sums /= self.n_trees
        return sums


class _ForestRegressor(_Forest):
    def predict(self, features: Any) -> Array:
        sums = self.sums(features)
        return sums if self.n_outputs_ > 1 else sums[:, 0]


class _ForestClassifier(_Forest):
    def predict_proba(self, features: Any) -> Array | list[Array]:
        sums = self.sums(features)
        if self.n_outputs_ == 1:
            return sums
        width = max(self.n_classes_)
        return [sums[:, output * width :][:, :classes] for output, classes in enumerate(self.n_classes_)]

    def predict(self, features: Any) -> Array:
        shares = self.predict_proba(features)
        if self.n_outputs_ == 1:
            return self.classes_.take(np.argmax(shares, axis=1), axis=0)  # type: ignore[no-any-return]
        found = np.empty((len(shares[0]), self.n_outputs_), self.classes_[0].dtype)
        for output, (classes, of_output) in enumerate(zip(self.classes_, shares, strict=True)):
            found[:, output] = classes.take(np.argmax(of_output, axis=1), axis=0)
        return found


class _Single(_Forest):
    """A tree by itself."""

    @classmethod
    def trees_of(cls, estimator: Any) -> tuple[Any, PackedTrees | None]:
        import packed_trees  # noqa: PLC0415  # only where the model itself is loaded

        return packed_trees.single_tree_of(estimator)

    @classmethod
    def sums_of(cls, _: Any) -> dict[str, Any]:
        return {}

    def summed(self, features: Array) -> Array:
        return self.trees.single(features)


class _TreeRegressor(_Single, _ForestRegressor):
    pass


class _TreeClassifier(_Single, _ForestClassifier):
    pass


class _Boosting(Trees):
    order: ClassVar[Any] = "C"
    """Of the sums in memory, on which the bits of further sums depend."""

    def raw(self, features: Any) -> Array:
        known = self.features_of(features)
        if (self.layout.width, self.layout.turns) != (1, self.start.size):
            raise NotStoredError("trees of other outputs")
        sums = np.empty((len(known), self.start.size), order=self.order)
        sums[:] = self.start
        return self.trees.add(known, sums)

    def decision_function(self, features: Any) -> Array:
        raw = self.raw(features)
        return raw.ravel() if raw.shape[1] == 1 else raw


class _GradientBoosting(_Boosting):
    @classmethod
    def sums_of(cls, estimator: Any) -> dict[str, Any]:
        rows = np.zeros((32, estimator.n_features_in_), np.float32)
        init = estimator.init_
        is_dummy = type(init).__module__ == "sklearn.dummy" and init.strategy not in ("stratified", "uniform")  # which are random
        if not (isinstance(init, str) or is_dummy):
            raise NotStoredError("begins with other numbers for each row")
        link = type(estimator._loss.link).__name__  # noqa: SLF001
        return {"start": estimator._raw_predict_init(rows)[0], "link": link}  # noqa: SLF001


class _HistogramBoosting(_Boosting):
    attributes = ("_preprocessor",)
    takes_infinite, order = True, "F"

    @classmethod
    def sums_of(cls, estimator: Any) -> dict[str, Any]:
        link = type(estimator._loss.link).__name__  # noqa: SLF001
        return {"start": np.ravel(estimator._baseline_prediction), "link": link}  # noqa: SLF001

    def features_of(self, features: Any) -> Array:
        encoder = vars(self).get("_preprocessor")
        return super().features_of(encoder.transform(features) if encoder else features)


class _BoostingClassifier(_Boosting):
    is_strict: ClassVar[bool]
    """Whether a score of zero belongs to the first of two classes."""

    @classmethod
    def numbers_of(cls, estimator: Any) -> dict[str, Any]:
        require_expit()
        return super().numbers_of(estimator)

    def predict(self, features: Any) -> Array:
        return _labels(self.classes_, self.raw(features), strictly=self.is_strict)

    def predict_proba(self, features: Any) -> Array:
        raw = self.raw(features)
        if raw.shape[1] > 1:
            return _softmax(raw)
        shares = np.empty((len(raw), 2))
        shares[:, 1] = _expit(2 * raw[:, 0] if self.link == "HalfLogitLink" else raw[:, 0])
        shares[:, 0] = 1 - shares[:, 1]
        return shares


class _GradientRegressor(_GradientBoosting):
    def predict(self, features: Any) -> Array:
        return self.raw(features).ravel()


class _GradientClassifier(_GradientBoosting, _BoostingClassifier):
    is_strict = False


class _HistogramRegressor(_HistogramBoosting):
    def predict(self, features: Any) -> Array:
        raw = self.raw(features).ravel()
        links: dict[str, Callable[[Array], Array]] = {"IdentityLink": lambda values: values, "LogLink": np.exp}
        return links[self.link](raw)


class _HistogramClassifier(_HistogramBoosting, _BoostingClassifier):
    is_strict = True


# --- which step stands for what -------------------------------------------------------------------------------------------------

PREDICTORS: dict[str, type[Step]] = {
    **{
        f"sklearn.linear_model.{name}": _Linear
        for name in (
            "_base.LinearRegression", "_ridge.Ridge", "_ridge.RidgeCV", "_bayes.BayesianRidge", "_huber.HuberRegressor",
            *(f"_coordinate_descent.{name}" for name in ("Lasso", "LassoCV", "ElasticNet", "ElasticNetCV")),
            *(f"_least_angle.{name}" for name in ("Lars", "LarsCV", "LassoLars", "LassoLarsCV", "LassoLarsIC")),
        )
    },
    "sklearn.linear_model._stochastic_gradient.SGDRegressor": _FlatLinear,
    "sklearn.linear_model._logistic.LogisticRegression": _Logistic,
    "sklearn.linear_model._logistic.LogisticRegressionCV": _Logistic,
    **{
        f"sklearn.{name}": _LinearClassifier
        for name in (
            "linear_model._ridge.RidgeClassifier", "linear_model._ridge.RidgeClassifierCV", "svm._classes.LinearSVC",
            "linear_model._stochastic_gradient.SGDClassifier", "linear_model._perceptron.Perceptron",
        )
    },
    **{f"sklearn.ensemble._forest.{name}Regressor": _ForestRegressor for name in ("RandomForest", "ExtraTrees")},
    **{f"sklearn.ensemble._forest.{name}Classifier": _ForestClassifier for name in ("RandomForest", "ExtraTrees")},
    **{f"sklearn.tree._classes.{name}Regressor": _TreeRegressor for name in ("DecisionTree", "ExtraTree")},
    **{f"sklearn.tree._classes.{name}Classifier": _TreeClassifier for name in ("DecisionTree", "ExtraTree")},
    "sklearn.ensemble._gb.GradientBoostingRegressor": _GradientRegressor,
    "sklearn.ensemble._gb.GradientBoostingClassifier": _GradientClassifier,
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingRegressor": _HistogramRegressor,
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier": _HistogramClassifier,
}  # fmt: skip
