"""Scores LightGBM's and XGBoost's trees with the kernel of packed_trees.py, and to the bit as their own predictors do.

The booster inside of the estimator gets a stand-in, so that all around it stays the library's own. What makes predictions of the
sums is the library's own code, too, because `exp` differs between libraries: a booster that adds up nothing gets the sums.
"""

from __future__ import annotations

import functools
import json
import sys
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from packed_trees import DIFFERS, FirstChecked, copied, is_equal, rows_beside_thresholds
from tree_kernel import CATEGORY_BYTES, GOES_LEFT, GOES_RIGHT, Array, Ensemble, PackedTrees, Tree, kind_of, lay_out

if TYPE_CHECKING:
    from collections.abc import Callable

# --- boosters -------------------------------------------------------------------------------------------------------------------


class _Boosted(NamedTuple):
    """The trees of a booster, and what it does around them."""

    ensemble: Ensemble
    start: Array
    """What the sums of each row begin with."""
    n_features: int
    names: list[str] | None
    """Of the columns, in the order that a DataFrame must have; None for any."""
    zeros: list[int]
    """Features whose zeros are missing values."""
    categories: list[int]
    """Features that are cut to whole numbers."""
    predictions: Callable[[Array], Array]
    """Makes predictions of (rows, outputs) sums, with the library's own code."""
    objective: str
    """Its name, in the library's words."""
    divisor: int = 1
    """By which sums are divided before."""


class _Family(NamedTuple):
    library: str
    method: str
    """The booster's, which adds up the trees."""
    read: Callable[[Any, dict[str, Any]], _Boosted | None]
    """Reads a booster that is asked with these options; None if it does what the kernel does not."""


def with_packed_booster(model: Any, warn: Callable[[str], object]) -> Any:
    """Do for an estimator of these libraries what `packed_trees.with_packed_trees` does for scikit-learn's."""
    family = _FAMILIES.get(kind_of(model))
    booster = getattr(model, "_Booster", None)
    if family is None or booster is None:
        return model
    own, asked = getattr(booster, family.method), _asked(model, booster, family)
    try:
        boosted = family.read(booster, asked)
    except (AttributeError, TypeError, ValueError, KeyError, IndexError):  # of another version
        return model
    trees = boosted and lay_out(boosted.ensemble)
    if not boosted or not trees or not (trees.is_ranked or trees.layout.is_double):
        return model  # XGBoost itself is nearly as fast as trees that are walked
    quick = functools.partial(_predict, boosted, trees)
    own_as_asked = functools.partial(own, **asked)
    if not is_equal(quick, own_as_asked, rows_beside_thresholds(boosted.ensemble, boosted.n_features)):
        warn(DIFFERS.format(library=family.library, where="on rows that are made to check them"))
        return model
    checked = FirstChecked(quick, own_as_asked, warn, trees, family.library)

    def answer(data: Any, **options: Any) -> Any:
        numbers = _numbers(data, boosted)
        return own(data, **options) if numbers is None or options != asked else checked(numbers)

    return copied(model, _Booster=_StandIn(booster, packed=(boosted, checked), **{family.method: answer}))


def boosted_of(model: Any) -> tuple[_Boosted, PackedTrees] | None:
    """Return what scores an estimator that `with_packed_booster` has given; None if its library scores."""
    stand_in = vars(model).get("_Booster")
    if not isinstance(stand_in, _StandIn):
        return None
    boosted, checked = vars(stand_in)["packed"]
    return (boosted, checked.trees) if checked.is_quick else None


class _StandIn:
    """A booster with other attributes."""

    def __init__(self, booster: Any, **attributes: Any) -> None:
        vars(self).update(attributes, _booster=booster)

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["_booster"], name)


def _asked(model: Any, booster: Any, family: _Family) -> dict[str, Any]:
    """Return the options with which the estimator asks its booster."""
    asked: dict[str, Any] = {}

    def answer(data: Any, **options: Any) -> Any:
        asked.update(options)
        return getattr(booster, family.method)(data, **options)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that the row lacks
        copied(model, _Booster=_StandIn(booster, **{family.method: answer})).predict(np.zeros((1, model.n_features_in_)))
    return asked


def _numbers(data: Any, boosted: _Boosted) -> Array | None:
    """Return the rows as an array of floats; None if the library does more than to read them, or refuses them."""
    if hasattr(data, "iloc"):
        if not all(dtype == np.float64 for dtype in data.dtypes) or boosted.names not in (None, list(data.columns)):
            return None
        data = data.to_numpy()
    is_plain = type(data) is np.ndarray and data.dtype in (np.float32, np.float64) and data.shape[1:] == (boosted.n_features,)
    return data if is_plain else None


def _predict(boosted: _Boosted, trees: PackedTrees, features: Array) -> Array:
    known = compared(features, boosted.ensemble.dtype, boosted.zeros, boosted.categories)
    return boosted.predictions(trees.add(known, np.tile(boosted.start, (len(features), 1))))


def compared(features: Array, dtype: Any, zeros: list[int], categories: list[int]) -> Array:
    """Return what the trees compare: of some features, zeros are missing values; others are cut to whole numbers."""
    with np.errstate(over="ignore"):
        features = features.astype(dtype, copy=bool(zeros or categories))
    for feature in zeros:
        features[np.abs(features[:, feature]) <= _ZERO, feature] = np.nan
    for feature in categories:
        features[:, feature] = np.trunc(features[:, feature])
    return features


# --- LightGBM -------------------------------------------------------------------------------------------------------------------

_LIGHTGBM_VERSIONS = ("4.6.", "4.7.")
"""It ends the process at some texts that it does not understand, so it gets none from here in versions that were not tried."""
_ZERO = float(np.float32(1e-35))
"""LightGBM reads values that are no larger as zero (kZeroThreshold)."""
_IS_CATEGORICAL, _DEFAULT_LEFT, _MISSING_SHIFT = 1, 2, 2
_MISSING_IS_ZERO, _MISSING_IS_NAN = 1, 2
"""What LightGBM's decision types say."""
_AS_SUMMED = ("", "lambdarank", "rank_xendcg", "regression", "regression_l1", "huber", "fair", "quantile", "mape")
_CONVERTED = ("poisson", "gamma", "tweedie", "binary", "multiclass", "multiclassova", "cross_entropy", "cross_entropy_lambda")
"""LightGBM's objectives; none of those that are converted tells a sum from 0 that is read as zero."""


def _lightgbm(booster: Any, asked: dict[str, Any]) -> _Boosted | None:
    """Read LightGBM's text, of which the library itself reads a pickled model: the trees up to the best iteration."""
    if not sys.modules["lightgbm"].__version__.startswith(_LIGHTGBM_VERSIONS):
        return None
    head, _, rest = booster.model_to_string().partition("\nTree=")
    header = dict(line.partition("=")[::2] for line in head.splitlines())
    objective = header.get("objective", "")
    is_known = objective in _AS_SUMMED or objective.partition(" ")[0] in _CONVERTED
    is_early = any(name.startswith("pred_early_stop") for name in asked)  # it stops at some rows' first trees
    if header["version"] != "v4" or not is_known or is_early or booster.pandas_categorical:
        return None
    blocks = rest.partition("\nend of trees")[0].split("\nTree=")
    texts = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in blocks]
    parts = [_lightgbm_tree(text) for text in texts]
    numbers, zeros, categories = (_united(part[place] for part in parts) for place in (1, 2, 3))
    if numbers & (zeros | categories) or zeros & categories:  # a feature is of one kind in all trees
        return None
    turns, n_features = booster.num_model_per_iteration(), booster.num_feature()
    iterations = len(parts) // turns if "average_output" in header else 1
    convert = _lightgbm_converter(booster, header, turns) if objective not in _AS_SUMMED else None

    def predictions(sums: Array) -> Array:
        sums /= iterations
        if convert:
            return convert(sums, num_threads=asked.get("num_threads", 0))  # type: ignore[no-any-return]
        return sums if turns > 1 else sums[:, 0]

    ensemble = Ensemble([part[0] for part in parts], np.float64, turns, takes_infinite=True)
    start = np.zeros(turns)
    return _Boosted(ensemble, start, n_features, None, sorted(zeros), sorted(categories), predictions, objective, iterations)


def _united(sets: Any) -> set[int]:
    return set().union(*sets)


def _lightgbm_tree(text: dict[str, str]) -> tuple[Tree, set[int], set[int], set[int]]:
    """Return a tree, and the features that it compares as numbers, as numbers of which zero is missing, and as categories.

    A leaf's number is negative in LightGBM; here leaves stand behind the tests.
    """
    if text["is_linear"] != "0":
        raise ValueError("its leaves are linear models")
    n_leaves = int(text["num_leaves"])
    n_tests = n_leaves - 1

    def filled(name: str, of_leaves: int = 0) -> Array:
        return np.array([*text.get(name, "").split(), *[of_leaves] * n_leaves]).astype(np.float64)

    threshold = filled("threshold")
    feature, decision = (filled(name).astype(np.int64) for name in ("split_feature", "decision_type"))
    left, right = (filled(name, -1).astype(np.int64) for name in ("left_child", "right_child"))
    for child in (left, right):
        child[:n_tests] = np.where(child[:n_tests] < 0, n_tests + ~child[:n_tests], child[:n_tests])
    values = np.array([*[0] * n_tests, *text["leaf_value"].split()]).astype(np.float64).reshape(-1, 1)
    is_test, missing = np.arange(len(left)) < n_tests, decision >> _MISSING_SHIFT
    is_categorical = is_test & (decision & _IS_CATEGORICAL > 0)
    is_zero = is_test & ~is_categorical & (missing == _MISSING_IS_ZERO)
    categories = {int(node): _lightgbm_categories(text, int(threshold[node])) for node in np.flatnonzero(is_categorical)}
    # A missing value is 0 where none was missing in training.
    missing_left = np.where(missing == 0, threshold >= 0, decision & _DEFAULT_LEFT > 0)
    # What lies about 0 goes where 0 goes.
    about = np.where(threshold >= 0, _ZERO, np.nextafter(-_ZERO, -np.inf))
    threshold = np.where((threshold >= -_ZERO) & (threshold < _ZERO), about, threshold)
    tree = Tree(left, right, feature, threshold, missing_left, values, categories)
    numbers, zeros, named = (set(feature[of].tolist()) for of in (is_test & ~is_categorical & ~is_zero, is_zero, is_categorical))
    return tree, numbers, zeros, named


def _lightgbm_categories(text: dict[str, str], number: int) -> bytes:
    """Say of each category to which side it goes: those of the test's bits to the left."""
    start, stop = map(int, text["cat_boundaries"].split()[number : number + 2])
    words = np.array(text["cat_threshold"].split()[start:stop]).astype("<u4")
    is_left = np.unpackbits(words.view(np.uint8), bitorder="little").astype(bool)
    sides = np.full(CATEGORY_BYTES - 1, GOES_RIGHT, np.uint8)
    sides[np.flatnonzero(is_left)] = GOES_LEFT  # an IndexError if a category's number is no byte
    return sides.tobytes() + bytes([GOES_RIGHT])


_LINEAR_TREE = """Tree={output}
num_leaves=2
num_cat=0
split_feature={output}
split_gain=1
threshold=0
decision_type=0
left_child=-1
right_child=-2
leaf_value=0 0
leaf_weight=1 1
leaf_count=1 1
internal_value=0
internal_weight=2
internal_count=2
is_linear=1
leaf_const=0 0
num_features=1 1
leaf_features={output} {output}
leaf_coeff=1 1
shrinkage=1


"""
"""A tree whose prediction is the feature with the output's number."""


def _lightgbm_converter(booster: Any, header: dict[str, str], outputs: int) -> Any:
    """Return the method of a booster whose raw scores are its features, and which predicts what the objective makes of them."""
    trees = [_LINEAR_TREE.format(output=output) for output in range(outputs)]
    changed = {
        "max_feature_idx": str(outputs - 1),
        "feature_names": " ".join(f"f{output}" for output in range(outputs)),
        "feature_infos": " ".join(["none"] * outputs),
    }
    # With sizes, LightGBM would read the trees in several threads, and end the process at a tree that it cannot read.
    lines = [f"{name}={value}" if value else name for name, value in (header | changed).items() if name != "tree_sizes"]
    return type(booster)(model_str="\n".join([*lines, "", *trees, "end of trees", ""])).predict


# --- XGBoost --------------------------------------------------------------------------------------------------------------------


_XGBOOST_VERSIONS = [[3, 2], [3, 3], [3, 4]]
_LEAF = {
    **{name: [-1] for name in ("left_children", "right_children")},
    **{name: [0] for name in ("default_left", "split_indices", "split_type")},
    **{name: [-0.0] for name in ("base_weights", "split_conditions", "loss_changes", "sum_hessian")},
    **{f"categories{name}": [] for name in ("", "_nodes", "_segments", "_sizes")},
    "parents": [2**31 - 1],
    "tree_param": {"num_deleted": "0", "num_feature": "1", "num_nodes": "1", "size_leaf_vector": "1"},
}
"""A tree that adds -0, which changes no sum."""


def _xgboost(booster: Any, asked: dict[str, Any]) -> _Boosted | None:
    document = json.loads(bytes(booster.save_raw("json")))
    learner = document["learner"]
    model, shape = learner["gradient_booster"]["model"], learner["learner_model_param"]
    turns = max(int(shape["num_class"]), int(shape["num_target"]), 1)
    stop = asked["iteration_range"][1] or len(model["iteration_indptr"]) - 1
    trees = model["trees"][: model["iteration_indptr"][stop]]
    places = model["tree_info"][: len(trees)]
    is_known = document["version"][:2] in _XGBOOST_VERSIONS and learner["gradient_booster"]["name"] == "gbtree"
    is_in_turn = places == [number % turns for number in range(len(trees))]
    if not is_known or not is_in_turn or not np.isnan(asked["missing"]) or any(tree["categories"] for tree in trees):
        return None
    n_features, names = int(shape["num_feature"]), booster.feature_names
    # A booster without any tree would not begin with its base score.
    leaves = [_LEAF | {"id": output} for output in range(turns)]
    model |= {"trees": leaves, "tree_info": [*range(turns)], "iteration_indptr": [0, turns]}
    model["gbtree_model_param"]["num_trees"] = str(turns)
    shape["num_feature"] = "1"
    learner |= {"attributes": {}, "feature_names": [], "feature_types": []}
    convert = type(booster)({"nthread": 1})
    convert.load_model(bytearray(json.dumps(document).encode()))
    start = convert.inplace_predict(np.zeros((1, 1), np.float32), predict_type="margin").reshape(turns)

    def predictions(sums: Array) -> Array:
        margins = sums if turns > 1 else sums[:, 0]
        return convert.inplace_predict(np.zeros((len(sums), 1), np.float32), base_margin=margins)  # type: ignore[no-any-return]

    ensemble = Ensemble([_xgboost_tree(tree) for tree in trees], np.float32, turns, takes_infinite=True)
    return _Boosted(ensemble, start, n_features, names, [], [], predictions, learner["objective"]["name"])


def _xgboost_tree(tree: dict[str, Any]) -> Tree:
    conditions = np.array(tree["split_conditions"], np.float32)  # of a leaf, its value
    left, right, feature = (np.array(tree[name], np.int64) for name in ("left_children", "right_children", "split_indices"))
    below = np.nextafter(conditions, np.float32(-np.inf)).astype(np.float64)  # XGBoost's values are less than the threshold
    if len(conditions) != len(left):
        raise ValueError("its leaves have several values")
    missing_left = np.array(tree["default_left"]).astype(bool)
    return Tree(left, right, feature, below, missing_left, conditions.astype(np.float64).reshape(-1, 1), {})


_FAMILIES = {
    **{f"lightgbm.sklearn.LGBM{name}": _Family("LightGBM", "predict", _lightgbm) for name in ("Regressor", "Classifier", "Ranker")},
    **{
        f"xgboost.sklearn.XGB{name}": _Family("XGBoost", "inplace_predict", _xgboost)
        for name in ("Regressor", "Classifier", "RFRegressor", "RFClassifier")
    },
}
