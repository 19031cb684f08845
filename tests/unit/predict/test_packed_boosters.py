"""LightGBM's and XGBoost's trees by the kernel beside their own predictors: every bit of what comes out."""

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from harness import DATA, MODEL, OUTPUT, bits, invoke, stored
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lightgbm import LGBMClassifier, LGBMRanker, LGBMRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier, XGBRegressor, XGBRFClassifier, XGBRFRegressor

import packed_boosters
import packed_trees
import prediction_handler as handler
import stored_steps
import tree_kernel

ODD = [0, -0.0, -0.5, -1, 0.5, np.nan, np.inf, -np.inf, 1e300, 1e-35, -1e-35, 1e-36, 5e-324, 255, 256, 3e9, -3e9]
METHODS = ("predict", "predict_proba")
POSITIVE = ("poisson", "gamma", "tweedie", "logistic", "entropy")


def packed(model):
    """The model with packed trees, and what it warns of; fails if it is not packed."""
    warned = []
    found = packed_trees.with_packed_trees(model, warned.append)
    assert found is not model, warned
    return found, warned


def made_rows(model, random, count):
    """Rows on thresholds and beside them, and values that libraries read in a way of their own."""
    booster, family = model._Booster, packed_boosters._FAMILIES[tree_kernel.kind_of(model)]
    boosted = family.read(booster, packed_boosters._asked(model, booster, family))
    rows = packed_trees.rows_beside_thresholds(boosted.ensemble, boosted.n_features).astype(np.float64)
    rows = rows[random.permutation(len(rows))[:count]]
    return np.where(random.random(rows.shape) < 0.03, random.choice(ODD, rows.shape), rows)


def assert_same(model, rows, *, may_be_left=False):
    """Of the packed and the stored model; what some objectives make of sums `may_be_left` to the library."""
    quick, warned = packed(model)
    try:
        again = stored(quick)
    except stored_steps.NotStoredError:
        assert may_be_left
        again = None
    features = pa.Table.from_pandas(rows) if isinstance(rows, pd.DataFrame) else rows
    for method in METHODS:
        if hasattr(model, method):
            expected = bits(getattr(model, method)(rows))
            assert bits(getattr(quick, method)(rows)) == expected
            assert not again or bits(getattr(again, method)(features)) == expected
    assert not warned


def data(random, rows=200, features=4, classes=0, objective=""):
    inputs = random.normal(size=(rows, features)) * 10.0 ** random.integers(-3, 4, features)
    inputs[random.random(inputs.shape) < 0.1] = np.nan
    inputs[random.random(inputs.shape) < 0.1] = 0
    known = np.nan_to_num(inputs)
    target = (known / (np.abs(known).max(axis=0) + 1e-300)).sum(axis=1) + 0.3 * random.normal(size=rows)
    if classes:
        target = np.searchsorted(np.quantile(target, np.arange(1, classes) / classes), target)
        target[:classes] = np.arange(classes)
        return inputs, target
    return inputs, 1 / (1 + np.exp(-target)) if any(word in objective for word in POSITIVE) else target


def lgbm(kind, **options):
    return kind(**{"n_estimators": 5, "min_child_samples": 2, "verbose": -1, "n_jobs": 1, "random_state": 0} | options)


def xgb(kind, **options):
    return kind(**{"n_estimators": 5, "n_jobs": 1, "random_state": 0} | options)


RANDOM_FOREST = {"boosting_type": "rf", "subsample": 0.6, "subsample_freq": 1}
MODELS = {
    "LightGBM": (lgbm(LGBMRegressor), 0),
    "LightGBM, gamma": (lgbm(LGBMRegressor, objective="gamma"), 0),
    "LightGBM, two classes": (lgbm(LGBMClassifier), 2),
    "LightGBM, three classes": (lgbm(LGBMClassifier), 3),
    "LightGBM, one against the rest": (lgbm(LGBMClassifier, objective="multiclassova"), 3),
    "LightGBM, random forest": (lgbm(LGBMRegressor, **RANDOM_FOREST), 0),
    "LightGBM, random forest of classes": (lgbm(LGBMClassifier, **RANDOM_FOREST), 3),
    "LightGBM, dart": (lgbm(LGBMRegressor, boosting_type="dart"), 0),
    "LightGBM, zero is missing": (lgbm(LGBMRegressor, zero_as_missing=True), 0),
    "LightGBM, missing is zero": (lgbm(LGBMRegressor, use_missing=False), 0),
    "XGBoost": (xgb(XGBRegressor), 0),
    "XGBoost, gamma": (xgb(XGBRegressor, objective="reg:gamma"), 0),
    "XGBoost, base score": (xgb(XGBRegressor, base_score=0.3), 0),
    "XGBoost, two classes": (xgb(XGBClassifier), 2),
    "XGBoost, three classes": (xgb(XGBClassifier), 3),
    "XGBoost, quantiles": (xgb(XGBRegressor, objective="reg:quantileerror", quantile_alpha=[0.1, 0.5, 0.9]), 0),
    "XGBoost, random forest": (xgb(XGBRFRegressor), 0),
    "XGBoost, random forest of classes": (xgb(XGBRFClassifier), 2),
    "XGBoost, several trees a round": (xgb(XGBRegressor, num_parallel_tree=3, subsample=0.5), 0),
}


def single(rows):
    with np.errstate(over="ignore"):
        return np.asfortranarray(rows, np.float32)


@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_every_answer_is_the_librarys_to_the_bit(name, framed):
    model, classes = MODELS[name]
    random = np.random.default_rng(0)
    inputs, target = data(random, classes=classes, objective=str(model.objective))
    names = list("abcd")
    model.fit(pd.DataFrame(inputs, columns=names) if framed else inputs, target)
    rows = made_rows(model, random, 1000)
    assert_same(model, pd.DataFrame(rows, columns=names) if framed else single(rows))


@st.composite
def fitted(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    classes = draw(st.sampled_from([0, 2, 4]))
    is_lgbm = draw(st.booleans())
    options = {"n_estimators": draw(st.integers(1, 12)), "learning_rate": draw(st.sampled_from([0.1, 0.37, 1.0]))}
    fit = {}
    if is_lgbm:
        objectives = {
            0: ["l2", "l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie", "cross_entropy"],
            2: ["binary", "cross_entropy_lambda"],
            4: ["multiclass", "multiclassova"],
        }
        options |= draw(st.sampled_from([{}, {"boosting_type": "dart"}, RANDOM_FOREST]))
        options |= {
            "num_leaves": draw(st.integers(2, 40)),
            "use_missing": draw(st.booleans()),
            "zero_as_missing": draw(st.booleans()),
        }
    else:
        objectives = {
            0: ["squarederror", "absoluteerror", "logistic", "gamma", "tweedie", "pseudohubererror"],
            2: ["binary:logistic", "binary:hinge", "binary:logitraw"],
            4: ["multi:softprob", "multi:softmax"],
        }
        objectives[0] = [f"reg:{name}" for name in objectives[0]] + ["count:poisson"]
        options |= {"max_depth": draw(st.integers(1, 8)), "base_score": draw(st.sampled_from([None, 0.3]))}
    options["objective"] = draw(st.sampled_from(objectives[classes]))
    inputs, target = data(random, draw(st.integers(20, 300)), draw(st.integers(1, 6)), classes, options["objective"])
    if draw(st.booleans()):
        inputs = np.round(inputs) if draw(st.booleans()) else inputs * 1e-36
    if is_lgbm and draw(st.booleans()):
        inputs[:, 0] = random.integers(0, draw(st.sampled_from([3, 40, 256])), len(inputs))
        options |= {"min_data_per_group": 1, "cat_smooth": 1, "max_cat_to_onehot": draw(st.sampled_from([1, 4]))}
        fit["categorical_feature"] = [0]
    make, kinds = (lgbm, (LGBMRegressor, LGBMClassifier)) if is_lgbm else (xgb, (XGBRegressor, XGBClassifier))
    return make(kinds[classes > 0], **options).fit(inputs, target, **fit), random


NOT_STORED = ("cross_entropy_lambda", "binary:hinge", "binary:logitraw", "multi:softmax")


@pytest.mark.thorough
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(fitted(), st.integers(1, 1024), st.sampled_from("CF"))
def test_every_model_answers_as_its_library(model_and_random, count, order):
    model, random = model_and_random
    objective = model.get_params()["objective"]
    rows = np.array(made_rows(model, random, count), order=order)
    assert_same(model, rows, may_be_left=objective in NOT_STORED)


def test_lightgbms_categories_may_be_in_some_trees_only_and_are_cut_to_whole_numbers():
    random = np.random.default_rng(0)
    inputs = np.column_stack([random.integers(0, 30, 400) * 8, random.normal(size=400)])
    target = 3 * (inputs[:, 0] % 64 == 0) + inputs[:, 1]
    model = lgbm(LGBMRegressor, num_leaves=2, n_estimators=10, cat_smooth=1, min_data_per_group=1)
    model.fit(inputs, target, categorical_feature=[0])
    rows = made_rows(model, random, 1000)
    rows[:100, 0] = np.linspace(-1, 9, 100)
    assert_same(model, rows)
    trees = packed_boosters._lightgbm(model.booster_, {}).ensemble.trees
    assert {bool(tree.categories) for tree in trees} == {False, True}


def test_lightgbms_trees_of_many_leaves_walk():
    model = lgbm(LGBMRegressor, num_leaves=300, min_child_samples=1, max_bin=1000).fit(INPUTS, TARGET)
    assert not packed_boosters.boosted_of(packed(model)[0])[1].is_ranked
    assert_same(model, made_rows(model, np.random.default_rng(0), 1000))


def test_a_ranking_is_scored_too():
    random = np.random.default_rng(0)
    inputs, target = data(random, classes=3)
    assert_same(lgbm(LGBMRanker).fit(inputs, target, group=[100, 100]), inputs)


def test_the_best_iteration_counts():
    random = np.random.default_rng(0)
    inputs, target = data(random)
    test = {"eval_set": [(inputs[:50], random.normal(size=50))], "verbose": False}
    xgboost = xgb(XGBRegressor, n_estimators=50, early_stopping_rounds=3).fit(inputs, target, **test)
    assert xgboost.best_iteration + 1 < xgboost.get_booster().num_boosted_rounds()
    other = lgbm(LGBMRegressor).fit(inputs, target)
    other.booster_.best_iteration = 2  # of five
    for model in (xgboost, other):
        assert_same(model, made_rows(model, random, 1000))


class Own(LGBMRegressor):
    pass


INPUTS, TARGET = data(np.random.default_rng(0), 1200)
NAMES = pd.DataFrame({"a": pd.Categorical(["x", "y"] * 600), "b": INPUTS[:, 0]})
MANY = np.column_stack([np.arange(1200) // 4, INPUTS[:, 0]])
FEW = MANY // [3, 1]
DECLINED = {
    "another type": lambda: lgbm(Own).fit(INPUTS, TARGET),
    "not fitted": LGBMRegressor,
    "not fitted, XGBoost": XGBRegressor,
    "linear trees": lambda: lgbm(LGBMRegressor, linear_tree=True).fit(INPUTS, TARGET),
    "square roots": lambda: lgbm(LGBMRegressor, reg_sqrt=True).fit(INPUTS, TARGET),
    "early stopping of a prediction": lambda: lgbm(LGBMClassifier, pred_early_stop=True).fit(INPUTS, TARGET > 0),
    "pandas' categories": lambda: lgbm(LGBMRegressor).fit(NAMES, TARGET),
    "many categories": lambda: lgbm(LGBMRegressor, cat_smooth=1, min_data_per_group=1).fit(
        MANY, MANY[:, 0] % 7, categorical_feature=[0]
    ),
    "a feature of two kinds": lambda: lgbm(LGBMRegressor, cat_smooth=1, min_data_per_group=1).fit(
        FEW, FEW[:, 0] % 7, categorical_feature=[0], init_model=lgbm(LGBMRegressor).fit(FEW, FEW[:, 0])
    ),
    "dart": lambda: xgb(XGBRegressor, booster="dart").fit(INPUTS, TARGET),
    "linear": lambda: xgb(XGBRegressor, booster="gblinear").fit(INPUTS, TARGET),
    "XGBoost's categories": lambda: xgb(XGBRegressor, enable_categorical=True).fit(NAMES, TARGET),
    "a number is missing": lambda: xgb(XGBRegressor, missing=0).fit(INPUTS, TARGET),
    "leaves of several values": lambda: xgb(XGBRegressor, multi_strategy="multi_output_tree").fit(
        INPUTS, np.tile(TARGET, (2, 1)).T
    ),
    "several trees a class": lambda: xgb(XGBClassifier, num_parallel_tree=2).fit(INPUTS, np.digitize(TARGET, [-0.3, 0.3])),
    "deep trees": lambda: xgb(XGBRegressor, max_depth=12, n_estimators=1, min_child_weight=0).fit(INPUTS, TARGET),
}


@pytest.mark.parametrize("what", DECLINED)
def test_what_the_kernel_does_not_do_is_left_to_the_library(what):
    model = DECLINED[what]()
    assert packed_trees.with_packed_trees(model, pytest.fail) is model


def test_other_versions_of_lightgbm_score_themselves(monkeypatch):
    """It ends the process at a text that it does not understand."""
    model = lgbm(LGBMRegressor).fit(*data(np.random.default_rng(0)))
    monkeypatch.setattr(lightgbm, "__version__", "4.8.0")
    assert packed_trees.with_packed_trees(model, pytest.fail) is model


@pytest.fixture
def scored(monkeypatch):
    """How many rows the kernel has scored, call by call."""
    rows, own = [], tree_kernel.PackedTrees.add

    def add(trees, features, sums):
        rows.append(len(features))
        return own(trees, features, sums)

    monkeypatch.setattr(tree_kernel.PackedTrees, "add", add)
    return rows


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (lambda: lgbm(LGBMRegressor), [{"raw_score": True}, {"num_iteration": 2}, {"pred_leaf": True}]),
        (lambda: xgb(XGBRegressor), [{"output_margin": True}, {"iteration_range": (0, 2)}]),
    ],
)
def test_other_questions_go_to_the_librarys_booster(make, options, scored):
    inputs, target = data(np.random.default_rng(0), 150)
    frame = pd.DataFrame(inputs, columns=list("abcd"))
    model = make().fit(frame, target)
    quick, _ = packed(model)
    assert bits(quick.predict(frame)) == bits(model.predict(frame))
    assert scored == [packed_trees.CHECKED_ROWS, 150, 150]  # the made rows, the first rows, the rows
    for option in options:
        assert bits(quick.predict(frame, **option)) == bits(model.predict(frame, **option))
    whole = frame.fillna(0).astype(int)
    assert bits(quick.predict(whole)) == bits(model.predict(whole))
    for wrong in (frame[["a", "b"]], frame.rename(columns={"a": "z"}), inputs[:, :2]):
        answers = []
        for one in (model, quick):
            try:
                answers.append(bits(one.predict(wrong)))
            except Exception as error:  # noqa: BLE001  # each library has its own
                answers.append((type(error), str(error)))
        assert answers[0] == answers[1]
    assert len(scored) == 3 + (make().__module__ == "lightgbm.sklearn")  # which takes columns of any name


@pytest.mark.parametrize(("make", "library"), [(lambda: lgbm(LGBMRegressor), "LightGBM"), (lambda: xgb(XGBRegressor), "XGBoost")])
def test_a_wrong_sum_is_caught_and_the_library_scores(make, library, monkeypatch):
    inputs, target = data(np.random.default_rng(0))
    model, own = make().fit(inputs, target), packed_boosters._predict

    def wrong(boosted, trees, features):
        found = own(boosted, trees, features)
        found[-1:] = np.nextafter(found[-1:], np.inf)
        return found

    monkeypatch.setattr(packed_boosters, "_predict", wrong)
    warned = []
    assert packed_trees.with_packed_trees(model, warned.append) is model
    is_equal = packed_boosters.is_equal
    monkeypatch.setattr(packed_boosters, "is_equal", lambda *_: True)
    found, later = packed(model)
    monkeypatch.setattr(packed_boosters, "is_equal", is_equal)
    assert bits(found.predict(inputs)) == bits(model.predict(inputs))
    where = ["on rows that are made to check them", "on the first rows"]
    assert warned + later == [
        f"the packed trees differ from {library}'s {one}, so {library} scores, and more slowly" for one in where
    ]


@pytest.mark.parametrize("steps", [[], [StandardScaler()]])
@pytest.mark.parametrize("make", [lambda: lgbm(LGBMClassifier), lambda: xgb(XGBClassifier)])
def test_a_chunk_is_scored_by_the_kernel(make, steps, put, get, scored):
    inputs, target = data(np.random.default_rng(0), classes=2)
    frame = pd.DataFrame(inputs, columns=list("abcd"))
    model = make_pipeline(*steps, make()) if steps else make()
    model.fit(frame, target)
    put(MODEL, model)
    put(DATA, frame.to_csv(index=False))
    status, receipt = invoke(feature_columns=list("abcd"), prediction_method="predict_proba")
    assert (status, receipt["model"]["warnings"]) == (200, [])
    found = [[float(value) for value in line.split(",")[-2:]] for line in get(OUTPUT).decode().splitlines()[1:]]
    assert found == model.predict_proba(frame).tolist()
    assert scored[-2:] == [200, 200]
    (used,) = (kept.estimator for kept in handler._model_cache.values())
    assert (handler._workers(used), handler._workers(model)) == (handler.os.cpu_count(), 1)
