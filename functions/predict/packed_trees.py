"""Scores forests and boosted trees with a kernel in C, and to the bit as scikit-learn does.

`with_packed_trees` gives a copy of a model in which one method is another: the one that adds up the trees. Everything around it, the
checks of the input, the argmax, the link functions, stays scikit-learn's own. `pack` lays the trees out for packed_trees.c. The sums
are compared with scikit-learn's, bit for bit, on rows that are made for it and on the first rows that are scored. If there is any
difference, scikit-learn scores.

The kernel is a shared library beside this file, or the one that PACKED_TREES_LIBRARY names. Without it, scikit-learn scores.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, Any]

LIBRARY, LIBRARY_VARIABLE = "packed_trees.so", "PACKED_TREES_LIBRARY"
LIBRARY_VERSION = 1
"""Of the structures in packed_trees.c."""
CHECKED_ROWS = 1024
"""Rows that are made for the check, and the most of the first rows that are compared."""
DIFFERS = "the packed trees differ from scikit-learn's {where}, so scikit-learn scores, and more slowly"


# --- models ---------------------------------------------------------------------------------------------------------------------


def with_packed_trees(model: Any, warn: Callable[[str], object]) -> Any:
    """Return a copy of a model whose last step scores by packed trees, or the model itself if it cannot.

    `warn` is told if a check fails, now or when the first rows are scored; from then on scikit-learn scores.
    """
    if type(model).__module__ == "sklearn.pipeline" and type(model).__name__ == "Pipeline":
        *before, (name, last) = model.steps
        packed = with_packed_trees(last, warn)
        return model if packed is last else _copied(model, steps=[*before, (name, packed)])
    trees = pack(model)
    if trees is None:
        return model
    family = _FAMILIES[_kind(model)]
    reference = _copied(model, **family.changed)
    bare = _copied(reference, _preprocessor=None) if family.is_binned else reference
    if not _is_equal(family.sums(bare, trees), getattr(bare, family.method), rows_beside_thresholds(trees, bare)):
        warn(DIFFERS.format(where="on rows that are made to check them"))
        return model
    method = _FirstChecked(family.sums(reference, trees), getattr(reference, family.method), warn)
    return _copied(model, **{family.method: method})


def _copied(estimator: Any, **changed: Any) -> Any:
    copied = object.__new__(type(estimator))
    vars(copied).update(vars(estimator), **changed)
    return copied


def _kind(estimator: Any) -> str:
    return f"{type(estimator).__module__}.{type(estimator).__qualname__}"


class _FirstChecked:
    """A method of an estimator that is quick, and that is compared with scikit-learn's own on the first rows."""

    def __init__(self, quick: Callable[[Any], Any], own: Callable[[Any], Any], warn: Callable[[str], object]) -> None:
        self._quick, self._own, self._warn = quick, own, warn
        self._is_checked = False
        self._checking = threading.Lock()

    def __call__(self, features: Any) -> Any:
        with self._checking:  # blocks are scored side by side, and none before the check is done
            if not self._is_checked:
                rows = features.iloc[:CHECKED_ROWS] if hasattr(features, "iloc") else features[:CHECKED_ROWS]
                if not _is_equal(self._quick, self._own, rows):
                    self._warn(DIFFERS.format(where="on the first rows"))
                    self._quick = self._own
                self._is_checked = True
        return self._quick(features)


def _is_equal(quick: Callable[[Any], Any], own: Callable[[Any], Any], rows: Any) -> bool:
    """Tell whether two methods answer the same, to the bit; whatever one of them raises goes on to the caller."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, of names that the made rows lack
        expected, found = own(rows), quick(rows)
    if not isinstance(expected, list):
        expected, found = [expected], [found]
    return len(expected) == len(found) and all(
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
        for one, other in zip(expected, found, strict=True)
    )


# --- families: what scikit-learn 1.9 does around its trees ----------------------------------------------------------------------------


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
    trees: Callable[[Any], _Ensemble]
    changed: dict[str, Any] = {}  # noqa: RUF012
    """What the estimator has otherwise while it is the reference: in several threads a forest adds up in any order."""
    is_binned: bool = False


# --- trees as scikit-learn has them ---------------------------------------------------------------------------------------------


class _Ensemble(NamedTuple):
    """All nodes of all trees, one tree after the other; node numbers count through all of them."""

    roots: Array
    left: Array
    """-1 in a leaf, as in `right`."""
    right: Array
    feature: Array
    threshold: Array
    """A value goes to the left if it is at most as large."""
    missing_left: Array
    values: Array
    """(nodes, numbers that a tree adds)."""
    dtype: type
    """Of the features when they are compared."""
    turns: int = 1
    """Trees that follow each other, each for another output."""
    scale: float = 1.0
    """By which every number of a leaf is multiplied before it is added."""
    takes_missing: bool = True
    takes_infinite: bool = False

    @property
    def inner(self) -> Array:
        """The nodes with a test."""
        return np.flatnonzero(self.left >= 0)


def _forest_trees(forest: Any) -> _Ensemble:
    trees = [_known(tree, "sklearn.tree._classes.").tree_ for tree in forest.estimators_]
    takes_missing = bool(forest.estimators_[0]._support_missing_values(np.empty((0, 0))))  # noqa: SLF001
    return _trees_of(trees)._replace(takes_missing=takes_missing)


def _gradient_trees(boosting: Any) -> _Ensemble:
    trees = [_known(tree, "sklearn.tree._classes.DecisionTreeRegressor").tree_ for tree in boosting.estimators_.ravel()]
    turns, scale = boosting.estimators_.shape[1], float(boosting.learning_rate)
    return _trees_of(trees)._replace(turns=turns, scale=scale, takes_missing=False)


def _known(item: Any, kind: str) -> Any:
    """Return an inner estimator of a known type; TypeError otherwise."""
    if not _kind(item).startswith(kind):
        raise TypeError(f"trees of another type: {_kind(item)}")
    return item


def _trees_of(trees: list[Any]) -> _Ensemble:
    sizes = np.array([tree.node_count for tree in trees])
    starts = np.cumsum(sizes) - sizes
    shift = np.repeat(starts, sizes)
    left, right = (np.concatenate([getattr(tree, name) for tree in trees]) for name in ("children_left", "children_right"))
    is_leaf = left < 0
    return _Ensemble(
        starts,
        np.where(is_leaf, -1, left + shift),
        np.where(is_leaf, -1, right + shift),
        np.concatenate([tree.feature for tree in trees]),
        np.concatenate([tree.threshold for tree in trees]),
        np.concatenate([tree.missing_go_to_left for tree in trees]).astype(bool),
        np.concatenate([tree.value.reshape(tree.node_count, -1) for tree in trees]),
        np.float32,
    )


_FAMILIES = {
    **{
        f"sklearn.ensemble._forest.{name}Regressor": _Family("predict", _forest_predict, _forest_trees, {"n_jobs": 1})
        for name in ("RandomForest", "ExtraTrees")
    },
    **{
        f"sklearn.ensemble._forest.{name}Classifier": _Family("predict_proba", _forest_predict_proba, _forest_trees, {"n_jobs": 1})
        for name in ("RandomForest", "ExtraTrees")
    },
    **{
        f"sklearn.ensemble._gb.GradientBoosting{name}": _Family("_raw_predict", _gradient_raw_predict, _gradient_trees)
        for name in ("Regressor", "Classifier")
    },
}


# --- trees as the kernel has them ------------------------------------------------------------------------------------------------


class _Block(ctypes.Structure):
    _fields_ = (
        ("x", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("feature_stride", ctypes.c_int64),
        ("sums", ctypes.c_void_p),
        ("sums_row_stride", ctypes.c_int64),
        ("sums_output_stride", ctypes.c_int64),
    )


class _Summed(ctypes.Structure):
    _fields_ = (
        ("values", ctypes.c_void_p),
        ("trees", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("turns", ctypes.c_int64),
        ("scale", ctypes.c_double),
    )


class _Walked(ctypes.Structure):
    _fields_ = (
        ("of", _Summed),
        ("nodes", ctypes.c_void_p),
        ("starts", ctypes.c_void_p),
        ("features", ctypes.c_void_p),
        ("n_features", ctypes.c_int64),
        ("shift", ctypes.c_int64),
    )


class PackedTrees:
    """The trees of an ensemble as the kernel takes them."""

    def __init__(self, ensemble: _Ensemble, function: Any, structure: Any, arrays: tuple[Array, ...]) -> None:
        self.ensemble = ensemble
        self._function, self._structure = function, structure
        self._arrays = arrays  # the structure has their addresses

    def sums(self, features: Array) -> Array:
        """Add up the trees for rows of checked features: (rows, numbers that a tree adds)."""
        return self.add(features, np.zeros((len(features), self.ensemble.values.shape[1])))

    def add(self, features: Array, sums: Array) -> Array:
        """Add the trees to the sums, in the order of the trees, and return the sums."""
        if features.dtype != self.ensemble.dtype or sums.dtype != np.float64 or len(features) != len(sums):
            raise TypeError(f"features are {features.dtype} and sums {sums.dtype} of {len(features)} and {len(sums)} rows")
        strides = [stride // features.itemsize for stride in features.strides], [stride // 8 for stride in sums.strides]
        block = _Block(features.ctypes.data, len(features), *strides[0], sums.ctypes.data, *strides[1])
        if not self._function(ctypes.byref(self._structure), ctypes.byref(block)):
            raise MemoryError
        return sums


def pack(estimator: Any) -> PackedTrees | None:
    """Lay the trees of an estimator out for the kernel; None if it is none of those that are known, or there is no kernel."""
    family = _FAMILIES.get(_kind(estimator))
    kernel = _kernel()
    if family is None or kernel is None:
        return None
    try:
        return _walked(family.trees(estimator), kernel)
    except (AttributeError, TypeError, ValueError, KeyError, IndexError):  # fitted otherwise, or not at all: scikit-learn knows
        return None


def _walked(ensemble: _Ensemble, kernel: Any) -> PackedTrees | None:
    """Lay trees out to be walked down, of any size; None if a node has no room for its feature and its child."""
    order, starts, sizes = _breadth_first(ensemble)
    features = np.unique(ensemble.feature[ensemble.inner]).astype(np.int32)
    shift = int(max(sizes)).bit_length() + 1
    if len(features) >> (32 - shift):
        return None
    is_leaf = ensemble.left[order] < 0
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    begin = np.repeat(starts, sizes)
    child = np.where(is_leaf, place[order], place[ensemble.left[order]]) - begin
    feature = np.where(is_leaf, len(features), np.searchsorted(features, ensemble.feature[order]))
    nodes = np.empty(len(order), [("threshold", np.float32), ("link", np.uint32)])
    nodes["threshold"] = rounded_down(ensemble.threshold[order])
    nodes["threshold"][is_leaf] = np.arange(is_leaf.sum(), dtype=np.uint32).view(np.float32)
    missing_left = ensemble.missing_left[order] & ~is_leaf
    nodes["link"] = child | missing_left.astype(np.int64) << (shift - 1) | feature << shift
    values = np.ascontiguousarray(ensemble.values[order[is_leaf]])
    structure = _Walked(
        _Summed(values.ctypes.data, len(sizes), values.shape[1], ensemble.turns, ensemble.scale),
        nodes.ctypes.data, starts.ctypes.data, features.ctypes.data, len(features), shift,
    )  # fmt: skip
    return PackedTrees(ensemble, kernel.add_walked, structure, (values, nodes, starts, features))


def _breadth_first(ensemble: _Ensemble) -> tuple[Array, Array, Array]:
    """Return the nodes tree by tree, each level by level with children side by side; where each tree begins, and its size."""
    level, tree = ensemble.roots, np.arange(len(ensemble.roots))
    levels, trees = [], []
    while len(level):
        levels.append(level)
        trees.append(tree)
        is_inner = ensemble.left[level] >= 0
        parents, tree = level[is_inner], np.repeat(tree[is_inner], 2)
        level = np.column_stack([ensemble.left[parents], ensemble.right[parents]]).ravel()
    of_tree = np.concatenate(trees)
    order = np.concatenate(levels)[np.argsort(of_tree, kind="stable")]
    sizes = np.bincount(of_tree, minlength=len(ensemble.roots))
    return order, np.cumsum(sizes) - sizes, sizes


def rounded_down(thresholds: Array) -> Array:
    """Return the largest float32 that is at most as large as each threshold: no float32 lies between, so each test stays as it is."""
    with np.errstate(over="ignore"):
        nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)


@functools.cache
def _kernel() -> Any:
    """Return the shared library; None if there is none, or none for this system."""
    path = Path(os.environ.get(LIBRARY_VARIABLE) or Path(__file__).with_name(LIBRARY))
    if not path.is_file():
        return None
    try:
        library = ctypes.CDLL(str(path))
        is_known = library.packed_trees_version() == LIBRARY_VERSION
    except (OSError, AttributeError):
        return None
    return library if is_known else None


# --- rows to check by -----------------------------------------------------------------------------------------------------------


def rows_beside_thresholds(trees: PackedTrees, estimator: Any) -> Array:
    """Make rows whose features lie on thresholds and one step beside them, some missing and some infinite if that is allowed.

    Each row goes down one tree. Each feature that it meets on its way, and that has no value yet, gets one by that node's threshold.
    """
    ensemble, random = trees.ensemble, np.random.default_rng(0)
    rows = np.full((CHECKED_ROWS, estimator.n_features_in_), np.nan, ensemble.dtype)
    is_set = np.zeros(rows.shape, bool)
    numbers = np.arange(CHECKED_ROWS)
    if len(inner := ensemble.inner):  # what no node of the way gives a value has that of any node
        for node in random.choice(inner, 4 * rows.shape[1]):
            beside = _beside(ensemble.threshold[np.full(CHECKED_ROWS, node)], ensemble, random)
            rows[:, ensemble.feature[node]] = beside
    rows = np.where(np.isnan(rows) & ~is_set, random.normal(size=rows.shape).astype(ensemble.dtype), rows)
    at = random.choice(ensemble.roots, CHECKED_ROWS)
    while len(numbers):
        is_inner = ensemble.left[at] >= 0
        numbers, at = numbers[is_inner], at[is_inner]
        features, thresholds = ensemble.feature[at], ensemble.threshold[at]
        values = np.where(is_set[numbers, features], rows[numbers, features], _beside(thresholds, ensemble, random))
        rows[numbers, features] = values
        is_set[numbers, features] = True
        goes_left = np.where(np.isnan(values), ensemble.missing_left[at], values <= thresholds)
        at = np.where(goes_left, ensemble.left[at], ensemble.right[at])
    return rows


def _beside(thresholds: Array, ensemble: _Ensemble, random: np.random.Generator) -> Array:
    """Return a value for each threshold: it, one of its neighbours, or rarely no value, or an infinite one."""
    infinite = np.array([-np.inf, np.inf], ensemble.dtype)
    with np.errstate(over="ignore"):
        values = thresholds.astype(ensemble.dtype)
    step = random.integers(-1, 2, len(values))
    values = np.where(step, np.nextafter(values, infinite[(step + 1) // 2]), values)
    rare = random.integers(0, 20, len(values))
    if ensemble.takes_infinite:
        values = np.where(rare < 2, infinite[rare % 2], values)
    else:
        values = np.clip(values, np.finfo(ensemble.dtype).min, np.finfo(ensemble.dtype).max)
    return np.where(rare == 2, np.nan, values).astype(ensemble.dtype) if ensemble.takes_missing else values
