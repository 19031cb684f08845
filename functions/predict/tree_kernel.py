"""Lays trees out for packed_trees.c, and calls it."""

from __future__ import annotations

import ctypes
import sys
from typing import Any, NamedTuple

import numpy as np

from predict_kernel import has_avx2, kernel

Array = np.ndarray[Any, Any]

MAX_LEAVES, MAX_THRESHOLDS, MAX_COLUMNS = 256, 255, 2**16
"""Of a ranked tree, of a feature, and of all features together: what fits into the bytes of packed_trees.c."""
MISSING_RIGHT, MISSING_LEFT, CATEGORIES = range(3)
GOES_LEFT, GOES_RIGHT = 0, 255
"""What the byte of a category says."""
CATEGORY_BYTES = 257
"""256 categories, and any other value, which is missing."""


def kind_of(estimator: Any) -> str:
    """Return the module and the name of an estimator's class; nothing if the class is another one that only calls itself so."""
    own = type(estimator)
    is_it = getattr(sys.modules.get(own.__module__), own.__name__, None) is own
    return f"{own.__module__}.{own.__qualname__}" if is_it else ""


class Tree(NamedTuple):
    """A tree as scikit-learn lays it out: each array has an element for each node, the root first."""

    left: Array
    """-1 in a leaf, as in `right`."""
    right: Array
    feature: Array
    threshold: Array
    """A value goes to the left if it is at most as large."""
    missing_left: Array
    values: Array
    """(nodes, numbers that the tree adds)."""
    categories: dict[int, bytes]
    """By their nodes, the tests of categories: what each category's byte says."""

    def goes_left(self, nodes: Array, values: Array) -> Array:
        """Tell which way values go at inner nodes."""
        left = np.where(np.isnan(values), self.missing_left[nodes], values <= self.threshold[nodes])
        for place in np.flatnonzero(np.isin(nodes, list(self.categories))):
            value = values[place]
            category = int(value) if 0 <= value < CATEGORY_BYTES - 1 else CATEGORY_BYTES - 1
            left[place] = self.categories[int(nodes[place])][category] == GOES_LEFT
        return left


class Ensemble(NamedTuple):
    """Trees, and how they are added up."""

    trees: list[Tree]
    dtype: type[np.floating[Any]]
    """Of the features when they are compared."""
    turns: int = 1
    """Trees that follow each other, each for another output."""
    scale: float = 1.0
    """By which every number of a leaf is multiplied before it is added."""
    takes_missing: bool = True
    takes_infinite: bool = False


class _Block(ctypes.Structure):
    _fields_ = (
        ("x", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("rows", "row_stride", "feature_stride")),
        ("sums", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("sums_row_stride", "sums_output_stride", "is_single")),
    )


class _Summed(ctypes.Structure):
    _fields_ = (
        ("values", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("trees", "width", "turns")),
        ("scale", ctypes.c_double),
    )


class _Walked(ctypes.Structure):
    _fields_ = (
        ("of", _Summed),
        *((name, ctypes.c_void_p) for name in ("nodes", "starts", "features")),
        *((name, ctypes.c_int64) for name in ("n_features", "shift")),
        *((name, ctypes.c_void_p) for name in ("thresholds", "threshold_starts")),
        ("is_double", ctypes.c_int64),
    )


class _Ranked(ctypes.Structure):
    _fields_ = (
        ("of", _Summed),
        *((name, ctypes.c_void_p) for name in ("tests", "starts", "value_starts", "columns")),
        ("n_columns", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("thresholds", "categories")),
        *((name, ctypes.c_int64) for name in ("is_double", "is_wide")),
    )


_NODE = np.dtype([("threshold", np.float32), ("link", np.uint32)])
_TEST = np.dtype([(name, np.uint16) for name in ("column", "left", "right", "rank")])
_COLUMN = np.dtype([("feature", np.int32), ("kind", np.int32), ("start", np.int64), ("count", np.int64)])


class Layout(NamedTuple):
    """Trees as a kernel takes them, and nothing but numbers: what a run stores of them (stored_model.py)."""

    is_ranked: bool
    is_double: bool
    """The features: float64, or float32."""
    trees: int
    width: int
    """Numbers that a tree adds."""
    turns: int
    scale: float
    shift: int
    """Of a walked node's feature; 0 in ranked trees."""
    arrays: tuple[Array, ...]
    """In the order of the structure: the values, and the other pointers."""

    def is_sound(self, n_features: int) -> bool:
        """Tell whether the kernel stays within these arrays, and within rows of so many features: it does not look itself."""
        values, *others = self.arrays
        kinds: tuple[Any, ...] = _RANKED_TYPES if self.is_ranked else _WALKED_TYPES
        are_typed = [(array.dtype, array.ndim) for array in others] == [(np.dtype(kind), 1) for kind in kinds]
        if not (are_typed and values.dtype == np.float64 and values.shape[1:] == (self.width,) and self.turns > 0):
            return False
        with np.errstate(over="ignore"):
            return (_is_ranked_sound if self.is_ranked else _is_walked_sound)(self, n_features)


class PackedTrees:
    """The trees of an ensemble as the kernel takes them."""

    def __init__(self, layout: Layout, library: Any) -> None:
        self.layout, self.is_ranked = layout, layout.is_ranked
        self._dtype = np.float64 if layout.is_double else np.float32
        values, *others = layout.arrays  # the structure has their addresses
        addresses = [array.ctypes.data for array in others]
        of = _Summed(values.ctypes.data, layout.trees, layout.width, layout.turns, layout.scale)
        if layout.is_ranked:
            self._function, counted = library.add_ranked, len(others[3])
            self._structure: Any = _Ranked(of, *addresses[:4], counted, *addresses[4:], layout.is_double, int(has_avx2()))
        else:
            self._function = library.add_walked
            self._structure = _Walked(of, *addresses[:3], len(others[2]), layout.shift, *addresses[3:], layout.is_double)

    def sums(self, features: Array) -> Array:
        """Add up the trees for rows of checked features: (rows, numbers that a tree adds)."""
        return self.add(features, np.zeros((len(features), self.layout.width)))

    def single(self, features: Array) -> Array:
        """Return what a single tree gives: nothing is added to its numbers, which may be -0."""
        return self.add(features, np.full((len(features), self.layout.width), -0.0))

    def add(self, features: Array, sums: Array) -> Array:
        """Add the trees to the sums, in the order of the trees, and return the sums; float32 if the trees add one number each."""
        is_single = self.layout.width == 1 and sums.dtype == np.float32
        if features.dtype != self._dtype or not (is_single or sums.dtype == np.float64) or len(features) != len(sums):
            raise TypeError(f"features are {features.dtype} and sums {sums.dtype} of {len(features)} and {len(sums)} rows")
        block = _Block(features.ctypes.data, len(features), *_steps(features), sums.ctypes.data, *_steps(sums), is_single)
        if not self._function(ctypes.byref(self._structure), ctypes.byref(block)):
            raise MemoryError
        return sums


def _steps(matrix: Array) -> list[int]:
    return [stride // matrix.itemsize for stride in matrix.strides]


_WALKED_TYPES = (_NODE, np.int64, np.int32, np.float64, np.int64)
_RANKED_TYPES = (_TEST, np.int64, np.int64, _COLUMN, np.float64, np.uint8)


def _is_walked_sound(layout: Layout, n_features: int) -> bool:
    values, nodes, starts, features, thresholds, threshold_starts = layout.arrays
    if layout.is_double and not _are_starts(threshold_starts, len(features), len(thresholds), 1):
        return False
    if not (_are_starts(starts, layout.trees, len(nodes), 1) and 0 < layout.shift < 32 and _are_within(features, n_features)):
        return False
    sizes = np.diff(starts)
    own, size = np.arange(len(nodes)) - np.repeat(starts[:-1], sizes), np.repeat(sizes, sizes)
    child, feature = nodes["link"] & ((1 << (layout.shift - 1)) - 1), nodes["link"] >> layout.shift
    is_leaf = child == own
    leads_on = (child > own) & (child + 1 < size) & (feature < len(features))  # a way that never leads back ends in a leaf
    ends = (feature == len(features)) & (nodes["threshold"].view(np.uint32) < len(values))
    return bool(np.where(is_leaf, ends, leads_on).all())


def _is_ranked_sound(layout: Layout, n_features: int) -> bool:
    values, tests, starts, value_starts, columns, thresholds, categories = layout.arrays
    if not (_are_starts(starts, layout.trees, len(tests), 0) and _are_starts(value_starts, layout.trees, len(values), 1)):
        return False
    sizes, leaves = np.diff(starts), np.diff(value_starts)
    own = np.arange(len(tests)) - np.repeat(starts[:-1], sizes)
    found = []
    for side in (tests["left"].astype(np.int64), tests["right"].astype(np.int64)):
        test = side - MAX_LEAVES
        found.append(np.where(test < 0, side < np.repeat(leaves, sizes), (test > own) & (test < np.repeat(sizes, sizes))).all())
    room = np.where(columns["kind"] == CATEGORIES, len(categories) - CATEGORY_BYTES, len(thresholds) - columns["count"])
    is_read = columns["kind"] != MISSING_LEFT
    are_columns = _are_within(columns["feature"], n_features) and _are_within(columns["kind"], CATEGORIES + 1)
    has_room = (columns["start"] >= 0) & (columns["start"] <= room) & ((columns["kind"] == CATEGORIES) | (columns["count"] > 0))
    return bool(
        all(found)
        and (sizes + 1 == leaves).all()
        and leaves.max(initial=0) <= MAX_LEAVES
        and _are_within(tests["column"], len(columns))
        and are_columns
        and (has_room | ~is_read).all()
    )


def _are_within(numbers: Array, stop: int) -> bool:
    return bool(((numbers >= 0) & (numbers < stop)).all())


def _are_starts(starts: Array, trees: int, stop: int, least: int) -> bool:
    """Tell whether these are the starts of so many trees, each of at least so many elements, and the end of the last."""
    return len(starts) == trees + 1 and starts[0] == 0 and starts[-1] == stop and bool((np.diff(starts) >= least).all())


def lay_out(ensemble: Ensemble) -> PackedTrees | None:
    """Lay an ensemble out for one of the kernels; None if no kernel is there, or none takes it."""
    library = kernel()
    layout = (_ranked(ensemble) or _walked(ensemble)) if library else None
    return PackedTrees(layout, library) if layout else None


def _walked(ensemble: Ensemble) -> Layout | None:
    """Lay trees out to be walked down; None if a node has no room for its feature and its child, or tests categories.

    Of features that are float64, nodes compare ranks among the feature's thresholds, which a float32 holds.
    """
    features = np.unique(np.concatenate([tree.feature[tree.left >= 0] for tree in ensemble.trees])).astype(np.int32)
    sizes = [len(tree.left) for tree in ensemble.trees]
    shift = max(sizes).bit_length() + 1
    is_double = ensemble.dtype == np.float64
    if any(tree.categories for tree in ensemble.trees) or len(features) >> max(32 - shift, 0):
        return None
    starts = np.cumsum([0, *sizes])
    ranks, known, known_starts = _ranks(ensemble.trees, features) if is_double else (None, np.empty(0), np.zeros(1, np.int64))
    nodes = np.empty(starts[-1], _NODE)
    values, n_values = [], 0
    for start, tree in zip(starts, ensemble.trees, strict=False):
        order = _breadth_first(tree)
        numbers = np.arange(len(order))
        place = np.empty(len(order), np.int64)
        place[order] = numbers
        left = tree.left[order]
        is_leaf = left < 0
        here = nodes[start : start + len(order)]
        thresholds = tree.threshold if ranks is None else ranks[start : start + len(order)]
        here["threshold"] = rounded_down(thresholds[order])
        leaves = order[is_leaf]
        here["threshold"][is_leaf] = np.arange(n_values, n_values + len(leaves), dtype=np.uint32).view(np.float32)
        feature = np.where(is_leaf, len(features), np.searchsorted(features, tree.feature[order]))
        missing_left = (tree.missing_left[order] & ~is_leaf).astype(np.int64)
        here["link"] = np.where(is_leaf, numbers, place[left]) | missing_left << (shift - 1) | feature << shift
        values.append(tree.values[leaves])
        n_values += len(leaves)
    joined = np.concatenate(values)
    arrays = (joined, nodes, starts, features, known, known_starts)
    return Layout(False, is_double, len(sizes), joined.shape[1], ensemble.turns, ensemble.scale, shift, arrays)


def _ranks(trees: list[Tree], features: Array) -> tuple[Array, Array, Array]:
    """Return the rank of each node's threshold among those of its feature, these thresholds, and the starts of each feature's."""
    feature, threshold = (np.concatenate([getattr(tree, name) for tree in trees]) for name in ("feature", "threshold"))
    is_inner = np.concatenate([tree.left >= 0 for tree in trees])
    ranks, known = np.zeros(len(feature)), [np.empty(0)]
    for one in features:
        nodes = np.flatnonzero(is_inner & (feature == one))
        found, ranks[nodes] = np.unique(threshold[nodes], return_inverse=True)
        known.append(found)
    return ranks, np.concatenate(known), np.cumsum(list(map(len, known)))


def _breadth_first(tree: Tree) -> Array:
    """Return the nodes of a tree level by level, with children side by side."""
    levels = [np.zeros(1, np.int64)]
    while len(parents := levels[-1][tree.left[levels[-1]] >= 0]):
        levels.append(np.stack([tree.left[parents], tree.right[parents]], axis=1).ravel())
    return np.concatenate(levels)


def rounded_down(thresholds: Array) -> Array:
    """Return the largest float32 that is at most as large as each threshold; no float32 lies between, so tests stay as they are."""
    with np.errstate(over="ignore"):
        nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)


def _ranked(ensemble: Ensemble) -> Layout | None:
    """Lay small trees out to be tested by ranks; None if a tree has too many leaves, or a feature too many thresholds."""
    if max(len(tree.left) for tree in ensemble.trees) > 2 * MAX_LEAVES - 1:
        return None
    orders = [_breadth_first(tree) for tree in ensemble.trees]
    inner = [order[tree.left[order] >= 0] for order, tree in zip(orders, ensemble.trees, strict=True)]
    leaves = [order[tree.left[order] < 0] for order, tree in zip(orders, ensemble.trees, strict=True)]
    starts, value_starts = np.cumsum([0, *map(len, inner)]), np.cumsum([0, *map(len, leaves)])
    columns = _columns(ensemble.trees, inner)
    if columns is None:
        return None
    tests = np.empty(starts[-1], _TEST)
    tests["column"], tests["rank"] = columns.of_tests, columns.ranks
    for start, tree, nodes, ends in zip(starts, ensemble.trees, inner, leaves, strict=False):
        numbers = np.empty(len(tree.left), np.uint16)
        numbers[nodes] = MAX_LEAVES + np.arange(len(nodes))
        numbers[ends] = np.arange(len(ends))
        tests["left"][start : start + len(nodes)] = numbers[tree.left[nodes]]
        tests["right"][start : start + len(nodes)] = numbers[tree.right[nodes]]
    values = np.concatenate([tree.values[ends] for tree, ends in zip(ensemble.trees, leaves, strict=True)])
    arrays = (values, tests, starts, value_starts, columns.columns, columns.thresholds, columns.categories)
    is_double = ensemble.dtype == np.float64
    return Layout(True, is_double, len(orders), values.shape[1], ensemble.turns, ensemble.scale, 0, arrays)


class _Columns(NamedTuple):
    columns: Array
    thresholds: Array
    categories: Array
    of_tests: Array
    """The column of each test."""
    ranks: Array
    """And the number of its threshold there."""


def _columns(trees: list[Tree], inner: list[Array]) -> _Columns | None:
    """Find the columns of bytes that tests look at; None if they are too many, or a feature has too many thresholds."""
    pairs = list(zip(trees, inner, strict=True))
    feature = np.concatenate([tree.feature[nodes] for tree, nodes in pairs])
    threshold = np.concatenate([tree.threshold[nodes] for tree, nodes in pairs])
    missing_left = np.concatenate([tree.missing_left[nodes] for tree, nodes in pairs])
    tables = [b""] * len(feature)
    if any(tree.categories for tree in trees):
        tables = [tree.categories.get(int(node), b"") for tree, nodes in pairs for node in nodes]
    is_number = np.array([not table for table in tables], bool)
    of_tests, ranks = np.zeros((2, len(feature)), np.int64)
    columns: list[tuple[int, int, int, int]] = []
    thresholds, categories = [np.empty(0)], bytearray()
    for one in np.unique(feature):
        numbers = np.flatnonzero((feature == one) & is_number)
        if len(numbers):
            known, ranks[numbers] = np.unique(threshold[numbers], return_inverse=True)
            if len(known) > MAX_THRESHOLDS:
                return None
            start = sum(map(len, thresholds))
            of_tests[numbers] = len(columns) + missing_left[numbers]
            kinds = (MISSING_RIGHT, MISSING_LEFT) if missing_left[numbers].any() else (MISSING_RIGHT,)
            columns += [(one, kind, start, len(known)) for kind in kinds]
            thresholds.append(known)
        places: dict[bytes, int] = {}
        for test in np.flatnonzero((feature == one) & ~is_number):
            if tables[test] not in places:
                places[tables[test]] = len(columns)
                columns.append((one, CATEGORIES, len(categories), 0))
                categories += tables[test]
            of_tests[test] = places[tables[test]]
    if len(columns) > MAX_COLUMNS:
        return None
    table = np.frombuffer(bytes(categories), np.uint8)
    return _Columns(np.array(columns, _COLUMN), np.concatenate(thresholds), table, of_tests, ranks)
