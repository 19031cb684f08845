"""Scores forests and boosted trees with a kernel in C, and to the bit as scikit-learn does.

`with_packed_trees` gives a copy of a model in which one method is another: the one that adds up the trees. All around it stays
scikit-learn's own: the checks of the input, the argmax, the link functions. The sums are compared with scikit-learn's, to the bit,
on rows that are made for it and on the first rows that are scored. If they differ, or without the kernel, scikit-learn scores.
"""

from __future__ import annotations

import functools
import logging
import threading
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from predict_kernel import kernel
from tree_kernel import CATEGORY_BYTES, GOES_LEFT, GOES_RIGHT, Array, Ensemble, PackedTrees, Tree, kind_of, lay_out

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

CHECKED_ROWS = 1024
"""Rows that are made for the check, and the most of the first rows that are compared."""
CHECKED_TREES = 32
"""Trees whose thresholds these rows lie on."""
DIFFERS = "the packed trees differ from {library}'s {where}, so {library} scores, and more slowly"


# --- models ---------------------------------------------------------------------------------------------------------------------


def with_packed_trees(model: Any, warn: Callable[[str], object]) -> Any:
    """Return a copy of a model whose last step scores by packed trees, or the model itself if it cannot.

    `warn` is told if a check fails, now or when the first rows are scored; from then on scikit-learn scores.
    """
    if type(model).__module__ == "sklearn.pipeline" and type(model).__name__ == "Pipeline":
        *before, (name, last) = model.steps
        packed = with_packed_trees(last, warn)
        return model if packed is last else copied(model, steps=[*before, (name, packed)])
    if type(model).__module__ in ("lightgbm.sklearn", "xgboost.sklearn"):
        from packed_boosters import with_packed_booster  # noqa: PLC0415  # it needs this module

        return with_packed_booster(model, warn)
    ensemble = ensemble_of(model)
    if ensemble is None:
        return model
    if kernel() is None:
        _say_that_scikit_learn_scores()
    trees = lay_out(ensemble)
    if trees is None:
        return model
    family = _FAMILIES[kind_of(model)]
    reference = copied(model, **family.reference)
    bare = copied(reference, **family.bare)
    rows = rows_beside_thresholds(ensemble, model.n_features_in_)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, of names that the made rows lack
        is_right = is_equal(family.sums(bare, trees), getattr(bare, family.method), rows)
    if not is_right:
        warn(DIFFERS.format(library="scikit-learn", where="on rows that are made to check them"))
        return model
    method = FirstChecked(family.sums(reference, trees), getattr(reference, family.method), warn, trees)
    return copied(model, **{family.method: method})


@functools.cache
def _say_that_scikit_learn_scores() -> None:
    logger.info("the kernel for trees was not built for this machine: scikit-learn scores them, and more slowly")


def trees_of(model: Any) -> PackedTrees | None:
    """Return the trees by which an estimator scores that `with_packed_trees` has given; None if scikit-learn scores."""
    found = (value for value in vars(model).values() if isinstance(value, FirstChecked))
    return next((method.trees for method in found if method.is_quick), None)


def single_tree_of(estimator: Any) -> tuple[Ensemble, PackedTrees | None]:
    """Return a single tree of scikit-learn's, and how the kernel takes it if that gives the same bits.

    scikit-learn itself is nearly as fast with one tree, so only a stored model needs it.
    """
    ensemble = Ensemble([_tree(estimator, kind_of(estimator))], np.float32, takes_missing=_takes_missing(estimator))
    trees, rows = lay_out(ensemble), rows_beside_thresholds(ensemble, estimator.n_features_in_)
    is_right = trees and is_equal(trees.single, lambda rows: estimator.tree_.predict(rows).reshape(len(rows), -1), rows)
    return ensemble, trees if is_right else None


def copied(estimator: Any, **changed: Any) -> Any:
    """Return a copy of an estimator that has some attributes otherwise."""
    copy = object.__new__(type(estimator))
    vars(copy).update(vars(estimator), **changed)
    return copy


class FirstChecked:
    """A method of an estimator that is quick, and that is compared with its library's own on the first rows."""

    def __init__(
        self,
        quick: Callable[[Any], Any],
        own: Callable[[Any], Any],
        warn: Callable[[str], object],
        trees: PackedTrees,
        library: str = "scikit-learn",
    ) -> None:
        self._quick, self._own, self._warn, self.trees, self._library = quick, own, warn, trees, library
        self._is_checked = False
        self._checking = threading.Lock()

    @property
    def is_quick(self) -> bool:
        """Whether it has not been found to differ."""
        return self._quick is not self._own

    def __call__(self, features: Any) -> Any:
        """Answer as the library does."""
        with self._checking:  # blocks are scored side by side, and none before the check is done
            if not self._is_checked:
                rows = features.iloc[:CHECKED_ROWS] if hasattr(features, "iloc") else features[:CHECKED_ROWS]
                if not is_equal(self._quick, self._own, rows):
                    self._warn(DIFFERS.format(library=self._library, where="on the first rows"))
                    self._quick = self._own
                self._is_checked = True
        return self._quick(features)


def is_equal(quick: Callable[[Any], Any], own: Callable[[Any], Any], rows: Any) -> bool:
    """Tell whether two methods answer the same, to the bit; whatever one of them raises goes on to the caller."""
    expected, found = own(rows), quick(rows)
    if not isinstance(expected, list):
        expected, found = [expected], [found]
    return len(expected) == len(found) and all(
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
        for one, other in zip(expected, found, strict=True)
    )


# --- families: what scikit-learn does around its trees --------------------------------------------------------------------------


def _forest_predict(forest: Any, trees: PackedTrees) -> Callable[[Any], Array]:
    """Return `ForestRegressor.predict`."""

    def predict(features: Any) -> Array:
        if _is_sparse(features):
            return type(forest).predict(forest, features)  # type: ignore[no-any-return]
        sums = trees.sums(forest._validate_X_predict(features))  # noqa: SLF001
        sums /= len(forest.estimators_)
        return sums if forest.n_outputs_ > 1 else sums[:, 0]

    return predict


def _forest_predict_proba(forest: Any, trees: PackedTrees) -> Callable[[Any], Array | list[Array]]:
    """Return `ForestClassifier.predict_proba`, which `predict` calls."""
    classes = [int(number) for number in np.atleast_1d(forest.n_classes_)]

    def predict_proba(features: Any) -> Array | list[Array]:
        if _is_sparse(features):
            return type(forest).predict_proba(forest, features)  # type: ignore[no-any-return]
        sums = trees.sums(forest._validate_X_predict(features))  # noqa: SLF001
        sums /= len(forest.estimators_)
        outputs = [sums[:, index * max(classes) :][:, :number] for index, number in enumerate(classes)]
        return outputs[0] if len(outputs) == 1 else outputs

    return predict_proba


def _histogram_raw_predict(boosting: Any, trees: PackedTrees) -> Callable[[Any], Array]:
    """Return `BaseHistGradientBoosting._raw_predict`, which all of its methods call."""

    def raw_predict(features: Any) -> Array:
        known = boosting._preprocess_X(features, reset=False)  # noqa: SLF001
        sums = np.zeros((len(known), boosting.n_trees_per_iteration_), order="F")
        sums += boosting._baseline_prediction  # noqa: SLF001
        return trees.add(known, sums)

    return raw_predict


def _gradient_raw_predict(boosting: Any, trees: PackedTrees) -> Callable[[Any], Array]:
    """Return `BaseGradientBoosting._raw_predict`, which all of its methods call with checked features."""

    def raw_predict(features: Any) -> Array:
        if _is_sparse(features):
            return type(boosting)._raw_predict(boosting, features)  # type: ignore[no-any-return]  # noqa: SLF001
        return trees.add(features, boosting._raw_predict_init(features))  # noqa: SLF001

    return raw_predict


def _is_sparse(features: Any) -> bool:
    return hasattr(features, "tocsr")


class _Family(NamedTuple):
    """How a family of estimators is packed."""

    method: str
    """The method that adds up the trees."""
    sums: Callable[[Any, PackedTrees], Callable[[Any], Any]]
    """Makes that method anew, of an estimator and its trees."""
    ensemble: Callable[[Any], Ensemble]
    reference: dict[str, Any]
    """What the estimator has otherwise while it is compared: in several threads a forest adds up in any order."""
    bare: dict[str, Any]
    """What it has otherwise for rows that are made, whose categories are encoded already."""


# --- trees as scikit-learn has them ---------------------------------------------------------------------------------------------


def ensemble_of(estimator: Any) -> Ensemble | None:
    """Return the trees of an estimator; None if it is no fitted one of exactly those types that are known."""
    family = _FAMILIES.get(kind_of(estimator))
    if family is None:
        return None
    try:
        return family.ensemble(estimator)
    except (AttributeError, TypeError, ValueError, KeyError, IndexError):  # scikit-learn knows what is wrong with it, if anything
        return None


def _forest_trees(forest: Any) -> Ensemble:
    trees = [_tree(estimator, "sklearn.tree._classes.") for estimator in forest.estimators_]
    return Ensemble(trees, np.float32, takes_missing=_takes_missing(forest.estimators_[0]))


def _takes_missing(tree: Any) -> bool:
    return bool(tree._support_missing_values(np.empty((0, 0))))  # noqa: SLF001


def _gradient_trees(boosting: Any) -> Ensemble:
    trees = [_tree(estimator, "sklearn.tree._classes.DecisionTreeRegressor") for estimator in boosting.estimators_.ravel()]
    turns, scale = boosting.estimators_.shape[1], float(boosting.learning_rate)
    return Ensemble(trees, np.float32, turns, scale, takes_missing=False)


def _tree(estimator: Any, kind: str) -> Tree:
    if not kind_of(estimator).startswith(kind):
        raise TypeError(f"trees of another type: {kind_of(estimator)}")
    tree = estimator.tree_
    values = tree.value.reshape(tree.node_count, -1)
    return Tree(
        tree.children_left, tree.children_right, tree.feature, tree.threshold, tree.missing_go_to_left.astype(bool), values, {}
    )


def _histogram_trees(boosting: Any) -> Ensemble:
    if boosting._baseline_prediction.dtype != np.float64:  # noqa: SLF001
        raise TypeError("sums of another type")
    mapper = boosting._bin_mapper  # noqa: SLF001
    known, places = mapper.make_known_categories_bitsets()
    trees = [
        _histogram_tree(predictor, known, places)
        for predictors in boosting._predictors  # noqa: SLF001
        for predictor in predictors
    ]
    return Ensemble(trees, np.float64, boosting.n_trees_per_iteration_, takes_infinite=True)


def _histogram_tree(predictor: Any, known: Array, places: Array) -> Tree:
    nodes = predictor.nodes
    is_leaf = nodes["is_leaf"].astype(bool)
    left, right = (np.where(is_leaf, -1, nodes[name].astype(np.int64)) for name in ("left", "right"))
    missing_left = nodes["missing_go_to_left"].astype(bool)
    categories = {
        int(node): _category_bytes(
            predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]],
            known[places[nodes["feature_idx"][node]]],
            GOES_LEFT if missing_left[node] else GOES_RIGHT,
        )
        for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~is_leaf)
    }
    values = nodes["value"].reshape(-1, 1)
    return Tree(left, right, nodes["feature_idx"], nodes["num_threshold"], missing_left, values, categories)


def _category_bytes(goes_left: Array, known: Array, missing: int) -> bytes:
    """Say of each category to which side it goes; one that is unknown goes where missing values go."""
    is_left, is_known = (
        np.unpackbits(bits.astype("<u4").view(np.uint8), bitorder="little").astype(bool) for bits in (goes_left, known)
    )
    sides = np.where(is_left, GOES_LEFT, np.where(is_known, GOES_RIGHT, missing))
    return bytes([*sides.tolist(), missing])


_FAMILIES = {
    **{
        f"sklearn.ensemble._forest.{name}Regressor": _Family("predict", _forest_predict, _forest_trees, {"n_jobs": 1}, {})
        for name in ("RandomForest", "ExtraTrees")
    },
    **{
        f"sklearn.ensemble._forest.{name}Classifier": _Family(
            "predict_proba", _forest_predict_proba, _forest_trees, {"n_jobs": 1}, {}
        )
        for name in ("RandomForest", "ExtraTrees")
    },
    **{
        f"sklearn.ensemble._gb.GradientBoosting{name}": _Family("_raw_predict", _gradient_raw_predict, _gradient_trees, {}, {})
        for name in ("Regressor", "Classifier")
    },
    **{
        f"sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoosting{name}": _Family(
            "_raw_predict", _histogram_raw_predict, _histogram_trees, {}, {"_preprocessor": None}
        )
        for name in ("Regressor", "Classifier")
    },
}


# --- rows to check by -----------------------------------------------------------------------------------------------------------


def rows_beside_thresholds(ensemble: Ensemble, n_features: int) -> Array:
    """Make rows whose features lie on thresholds and one step beside them, some missing and some infinite if that is allowed.

    Each row goes down one tree. A feature that it meets on its way, and that has no value yet, gets one by that node's threshold.
    """
    random = np.random.default_rng(0)
    rows = random.normal(size=(CHECKED_ROWS, n_features)).astype(ensemble.dtype)
    is_set = np.zeros(rows.shape, bool)
    for tree in ensemble.trees:  # a category is a whole number, whatever test the row meets
        for feature in np.unique(tree.feature[list(tree.categories)]):
            rows[:, feature] = random.integers(-1, CATEGORY_BYTES, CHECKED_ROWS) // random.integers(1, 99, CHECKED_ROWS)
            is_set[:, feature] = True
    chosen = random.choice(len(ensemble.trees), min(len(ensemble.trees), CHECKED_TREES), replace=False)
    for numbers, tree in zip(np.array_split(np.arange(CHECKED_ROWS), len(chosen)), chosen, strict=True):
        _go_down(ensemble.trees[tree], ensemble, numbers, rows, is_set, random)
    return rows


def _go_down(tree: Tree, ensemble: Ensemble, numbers: Array, rows: Array, is_set: Array, random: np.random.Generator) -> None:
    at = np.zeros(len(numbers), np.int64)
    while len(numbers):
        is_inner = tree.left[at] >= 0
        numbers, at = numbers[is_inner], at[is_inner]
        features = tree.feature[at]
        values = np.where(is_set[numbers, features], rows[numbers, features], _beside(tree.threshold[at], ensemble, random))
        rows[numbers, features] = values
        is_set[numbers, features] = True
        at = np.where(tree.goes_left(at, values), tree.left[at], tree.right[at])


def _beside(thresholds: Array, ensemble: Ensemble, random: np.random.Generator) -> Array:
    """Return a value for each threshold: it, one of its neighbours, or rarely no value, or an infinite one."""
    infinite = np.array([-np.inf, np.inf], ensemble.dtype)
    with np.errstate(over="ignore"):
        values = thresholds.astype(ensemble.dtype)
    step = random.integers(-1, 2, len(values))
    values = np.where(step, np.nextafter(values, infinite[(step + 1) // 2]), values)
    rare = random.integers(0, 40, len(values))
    if ensemble.takes_infinite:
        values = np.where(rare < 2, infinite[rare % 2], values)
    else:
        values = np.clip(values, np.finfo(ensemble.dtype).min, np.finfo(ensemble.dtype).max)
    return np.where(rare == 2, np.nan, values).astype(ensemble.dtype) if ensemble.takes_missing else values
