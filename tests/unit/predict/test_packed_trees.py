"""Trees by the kernel beside scikit-learn's own: every bit of what comes out, on and beside thresholds, missing, infinite."""

import shutil

import numpy as np
import pytest
from harness import DATA, MODEL, OUTPUT, bits, invoke
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

import packed_trees
import predict_kernel
import prediction_handler as handler
import tree_kernel
from batch_predict.setup import kernel

METHODS = ("predict", "predict_proba", "decision_function")
FORESTS = (RandomForestRegressor, RandomForestClassifier, ExtraTreesRegressor, ExtraTreesClassifier)
GRADIENT = (GradientBoostingRegressor, GradientBoostingClassifier)
HISTOGRAM = (HistGradientBoostingRegressor, HistGradientBoostingClassifier)
LOSSES = {
    GradientBoostingRegressor: ("squared_error", "huber", "quantile"),
    HistGradientBoostingRegressor: ("squared_error", "poisson", "gamma"),
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Threads that wait for each other cost more than these small models."""
    with threadpool_limits(1):
        yield


def called(model, method, rows):
    try:
        return bits(getattr(model, method)(rows))
    except (ValueError, AttributeError) as error:
        return type(error), str(error)


def packed(model):
    """The model with packed trees; fails if it is not packed, or differs on rows that are made for the check."""
    warned = []
    found = packed_trees.with_packed_trees(model, warned.append)
    assert found is not model
    assert not warned
    return found


def assert_same(model, rows):
    quick = packed(model)
    for method in METHODS:
        assert called(quick, method, rows) == called(model, method, rows)


def made_rows(model, random, count):
    """Rows on thresholds and beside them, in any order, and as many as wanted."""
    ensemble = packed_trees.ensemble_of(model)
    rows = packed_trees.rows_beside_thresholds(ensemble, model.n_features_in_)
    return rows[random.permutation(len(rows))[:count]]


@st.composite
def fitted(draw, kinds):
    """A fitted model of one of the kinds, and a generator of random numbers."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(kinds))
    rows, features = draw(st.integers(20, 150)), draw(st.integers(1, 6))
    inputs = random.normal(size=(rows, features)) * 10.0 ** random.integers(-3, 4, features)
    if draw(st.booleans()):
        inputs = np.round(inputs)
    if kind not in GRADIENT and draw(st.booleans()):
        inputs[random.random(inputs.shape) < 0.2] = np.nan
    target = np.nan_to_num(inputs).sum(axis=1) + random.normal(size=rows)
    options = {"random_state": 0, "max_depth": draw(st.sampled_from([1, 2, 5, None]))}
    if kind.__name__.endswith("Classifier"):
        classes = draw(st.integers(2, 4))
        target = np.searchsorted(np.quantile(target, np.arange(1, classes) / classes), target)
        target[:classes] = np.arange(classes)
        target = np.array(["a", "b", "c", "d"])[target] if draw(st.booleans()) else target
    else:
        target = np.abs(target) + 0.1
        options |= {"loss": draw(st.sampled_from(LOSSES[kind]))} if kind in LOSSES else {}
    if kind in FORESTS:
        options |= {"n_estimators": draw(st.integers(1, 6)), "n_jobs": draw(st.sampled_from([None, 1]))}
        if draw(st.booleans()):
            target = np.column_stack([target, np.roll(target, 3)])
    elif kind in GRADIENT:
        init = draw(
            st.sampled_from([None, "zero", LogisticRegression() if kind is GradientBoostingClassifier else LinearRegression()])
        )
        options |= {"n_estimators": draw(st.integers(1, 6)), "learning_rate": draw(st.sampled_from([0.1, 0.37, 1.0])), "init": init}
    else:
        options |= {"max_iter": draw(st.integers(1, 6)), "min_samples_leaf": 2, "early_stopping": False}
    weights = random.random(rows) if draw(st.booleans()) else None
    return kind(**options).fit(inputs, target, sample_weight=weights), random


@given(
    fitted(FORESTS + GRADIENT + HISTOGRAM), st.integers(1, 700), st.sampled_from("CF"), st.sampled_from([np.float32, np.float64])
)
def test_every_answer_is_scikit_learns_to_the_bit(model_and_random, count, order, dtype):
    model, random = model_and_random
    with np.errstate(over="ignore"):
        rows = np.array(made_rows(model, random, count), dtype, order=order)
    assert_same(model, rows)


@given(fitted(FORESTS + GRADIENT + HISTOGRAM))
def test_both_kernels_give_every_bit(model_and_random):
    model, random = model_and_random
    ensemble = packed_trees.ensemble_of(model)
    assume(tree_kernel.lay_out(ensemble).is_ranked)  # else a feature has too many thresholds
    rows = made_rows(model, random, 100)
    layouts = [lay_out(ensemble) for lay_out in (tree_kernel._walked, tree_kernel._ranked)]
    kernels = [tree_kernel.PackedTrees(layout, predict_kernel.kernel()) for layout in layouts]
    assert [trees.is_ranked for trees in kernels] == [False, True]
    family = packed_trees._FAMILIES[tree_kernel.kind_of(model)]
    expected = bits(getattr(model, family.method)(rows))
    assert [bits(family.sums(model, trees)(rows)) for trees in kernels] == [expected, expected]


@pytest.mark.parametrize("extreme", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", FORESTS + GRADIENT + HISTOGRAM)
def test_missing_and_infinite_values_are_scored_or_refused_alike(kind, extreme):
    random = np.random.default_rng(0)
    inputs = random.normal(size=(80, 3))
    model = kind(random_state=0).fit(inputs, (inputs.sum(axis=1) > 0).astype(int))
    rows = random.normal(size=(40, 3))
    rows[random.random(rows.shape) < 0.3] = extreme
    assert_same(model, rows)


def test_categories_go_where_scikit_learn_sends_them():
    random = np.random.default_rng(0)
    inputs = np.column_stack([random.integers(0, 30, 800) * 1.0, random.normal(size=800), random.integers(0, 3, 800) * 1.0])
    inputs[random.random(inputs.shape) < 0.05] = np.nan
    target = np.nan_to_num(inputs[:, 0] % 7 * 3 + inputs[:, 1] + inputs[:, 2] * 5)
    model = HistGradientBoostingRegressor(categorical_features=[0, 2], max_iter=30).fit(inputs, target)
    assert any(tree.categories for tree in packed_trees.ensemble_of(model).trees)
    unknown = np.array([[99.0, 0.1, 1.0], [-1.0, 0.2, 7.0], [3.0, np.nan, np.nan], [255.0, 0.0, 2.0], [1e300, 0.0, -np.inf]])
    assert_same(model, np.concatenate([inputs, unknown]))


def test_many_trees_of_many_leaves_walk_and_cross_the_blocks():
    random = np.random.default_rng(0)
    inputs = random.normal(size=(3000, 5)).astype(np.float32)
    model = RandomForestRegressor(4, random_state=0).fit(inputs, inputs.sum(axis=1) + random.normal(size=3000))
    assert not tree_kernel.lay_out(packed_trees.ensemble_of(model)).is_ranked
    assert_same(model, random.normal(size=(40_003, 5)))


def test_trees_of_many_leaves_walk_by_the_ranks_of_float64():
    random = np.random.default_rng(0)
    inputs = random.normal(size=(2000, 3)) * [1, 1e-300, 1e300]
    inputs[random.random(inputs.shape) < 0.1] = np.nan
    model = HistGradientBoostingRegressor(max_iter=3, max_leaf_nodes=None, min_samples_leaf=1).fit(inputs, random.normal(size=2000))
    assert not packed_trees.trees_of(packed(model)).is_ranked
    assert_same(model, np.concatenate([inputs, made_rows(model, random, 500), [[np.inf, -np.inf, 0]]]))


def test_only_known_types_are_packed():
    class Own(RandomForestRegressor):
        pass

    inputs = np.random.default_rng(0).normal(size=(600, 2))
    target = inputs.sum(axis=1)
    for model in (Own(2).fit(inputs, target), LinearRegression().fit(inputs, target), RandomForestRegressor()):
        assert packed_trees.with_packed_trees(model, pytest.fail) is model


def test_a_class_that_only_calls_itself_as_scikit_learn_does_is_not_packed():
    own = type("RandomForestRegressor", (RandomForestRegressor,), {"__module__": RandomForestRegressor.__module__})
    inputs = np.arange(20.0).reshape(10, 2)
    model = own(2).fit(inputs, inputs[:, 0])
    assert packed_trees.with_packed_trees(model, pytest.fail) is model


@pytest.mark.parametrize("sparse", [False, True])
def test_a_pipelines_last_step_is_packed(sparse):
    random = np.random.default_rng(0)
    inputs = np.column_stack([random.integers(0, 4, 300), random.normal(size=300)])
    encoder = ColumnTransformer(
        [("one", OneHotEncoder(sparse_output=sparse), [0]), ("two", StandardScaler(), [1])], sparse_threshold=float(sparse)
    )
    model = make_pipeline(encoder, RandomForestClassifier(5, random_state=0)).fit(inputs, inputs[:, 1] > 0)
    assert_same(model, inputs)
    assert isinstance(vars(packed(model).steps[-1][1])["predict_proba"], packed_trees.FirstChecked)


@pytest.mark.parametrize("threshold", [0.1, -0.1, 1e300, -1e300, 1e-60, -1e-60, 3.4028236e38, np.inf, 0.0])
def test_a_float32_is_at_most_a_threshold_if_it_is_at_most_the_rounded_one(threshold):
    rounded = tree_kernel.rounded_down(np.array([threshold]))[0]
    limits = np.float32([-np.inf, np.inf])
    with np.errstate(over="ignore"):
        beside = np.nextafter(rounded, limits)
    for value in np.float32([rounded, *beside, *limits, 0.0]):
        assert (value <= rounded) == (float(value) <= threshold)


def test_several_threads_score_side_by_side():
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    random = np.random.default_rng(0)
    inputs = random.normal(size=(500, 4))
    model = RandomForestRegressor(20, random_state=0).fit(inputs, inputs.sum(axis=1))
    quick = packed(model)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(quick.predict, [inputs] * 32))
    assert {answer.tobytes() for answer in answers} == {model.predict(inputs).tobytes()}


# --- wrong kernels ---------------------------------------------------------------------------------------------------------------

MISTAKES = {
    "ranked threshold": ("bytes > with_sign", "bytes >= with_sign"),
    "walked threshold": ("!(value <= here.threshold)", "!(value < here.threshold)"),
    "last bit": ("const double added = scale *", "const double added = (1 + 0x1p-52) * scale *"),
    "walked missing value": ("((value != value) &", "((value == value) &"),
    "ranked missing value": ("goes_left ? 0 :", "goes_left ? 255 :"),
}


@pytest.fixture
def wrong(request, tmp_path, monkeypatch):
    """A kernel with one mistake in its source."""
    right, mistaken = MISTAKES[request.param]
    shutil.copytree(kernel.FOLDER, tmp_path / "sources", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    path = tmp_path / "sources/packed_trees.c"
    source = path.read_text()
    assert source.count(right) == 1
    path.write_text(source.replace(right, mistaken))
    monkeypatch.setattr(kernel, "FOLDER", path.parent)
    monkeypatch.setenv(predict_kernel.LIBRARY_VARIABLE, str(kernel.local_kernel(tmp_path / "cache")))
    predict_kernel.kernel.cache_clear()
    yield request.param
    predict_kernel.kernel.cache_clear()


def forest(what):
    random = np.random.default_rng(0)
    count = 150 if what.startswith("ranked") else 3000
    inputs = random.normal(size=(count, 3))
    inputs[random.random(inputs.shape) < 0.1] = np.nan
    return RandomForestRegressor(10, random_state=0).fit(inputs, np.nan_to_num(inputs).sum(axis=1)), inputs


@pytest.mark.parametrize(
    "wrong", ["last bit", *(pytest.param(name, marks=pytest.mark.thorough) for name in MISTAKES)], indirect=True
)
def test_the_check_catches_a_wrong_kernel(wrong):
    model, _ = forest(wrong)
    warned = []
    assert packed_trees.with_packed_trees(model, warned.append) is model
    assert len(warned) == 1
    assert "on rows that are made to check them, so scikit-learn scores" in warned[0]


@pytest.mark.parametrize("wrong", ["last bit"], indirect=True)
def test_the_first_rows_catch_what_made_rows_have_not(wrong, monkeypatch):
    model, inputs = forest(wrong)
    warned, own = [], packed_trees.is_equal
    monkeypatch.setattr(packed_trees, "is_equal", lambda *_: True)
    found = packed_trees.with_packed_trees(model, warned.append)
    monkeypatch.setattr(packed_trees, "is_equal", own)
    assert bits(found.predict(inputs)) == bits(model.predict(inputs))
    assert len(warned) == 1
    assert "on the first rows, so scikit-learn scores" in warned[0]
    assert bits(found.predict(inputs[:7])) == bits(model.predict(inputs[:7]))


@pytest.mark.parametrize("wrong", ["last bit"], indirect=True)
def test_the_receipt_says_that_scikit_learn_scored(wrong, put, get):
    model, inputs = forest("ranked")
    rows = np.nan_to_num(inputs)
    put(MODEL, model)
    put(DATA, "a,b,c\n" + "".join(f"{','.join(map(str, row))}\n" for row in rows.tolist()))
    status, receipt = invoke(feature_columns=["a", "b", "c"], strict=True)
    assert (status, len(receipt["model"]["warnings"])) == (200, 1)
    assert "so scikit-learn scores" in receipt["model"]["warnings"][0]
    predictions = [float(line.rpartition(",")[2]) for line in get(OUTPUT).decode().splitlines()[1:]]
    assert predictions == model.predict(rows).tolist()


def test_a_model_that_cannot_be_packed_is_scored_as_it_is():
    model, _ = forest("ranked")
    del model.n_features_in_
    assert handler._with_packed_trees(model, pytest.fail) is model
    empty = make_pipeline(model)
    empty.steps = []
    assert handler._with_packed_trees(empty, pytest.fail) is empty


def test_packed_trees_need_no_large_blocks(tmp_path):
    model, _ = forest("ranked")
    path = tmp_path / "data.csv"
    path.write_text("a,b,c\n" + 1000 * f"{'1' * 100},2,3\n")
    chunk = handler._Chunk([handler._Segment(handler._Source("data.csv", 0), None, None, path)], handler._Csv(), is_group=False)
    packed = handler._with_packed_trees(model, pytest.fail)
    assert handler._block_bytes(model, chunk) > handler.BLOCK_BYTES
    assert handler._block_bytes(packed, chunk) == handler._block_bytes(make_pipeline(packed), chunk) == handler.BLOCK_BYTES


def test_a_chunk_is_scored_by_the_kernel(put, get):
    model, inputs = forest("ranked")
    rows = np.nan_to_num(inputs)
    put(MODEL, model)
    put(DATA, "a,b,c\n" + "".join(f"{','.join(map(str, row))}\n" for row in rows.tolist()))
    status, receipt = invoke(feature_columns=["a", "b", "c"])
    assert (status, receipt["model"]["warnings"]) == (200, [])
    predictions = [float(line.rpartition(",")[2]) for line in get(OUTPUT).decode().splitlines()[1:]]
    assert predictions == model.predict(rows).tolist()
    (used,) = (kept.estimator for kept in handler._model_cache.values())
    assert isinstance(vars(used)["predict"], packed_trees.FirstChecked)


def test_without_a_kernel_scikit_learn_scores_and_the_log_says_it_once(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv(predict_kernel.LIBRARY_VARIABLE, str(tmp_path / "absent.so"))
    predict_kernel.kernel.cache_clear()
    packed_trees._say_that_scikit_learn_scores.cache_clear()
    model, _ = forest("ranked")
    with caplog.at_level("INFO"):
        assert [packed_trees.with_packed_trees(model, pytest.fail) for _ in range(2)] == [model, model]
    predict_kernel.kernel.cache_clear()
    assert [record.message for record in caplog.records if "kernel" in record.message] == [
        "the kernel for trees was not built for this machine: scikit-learn scores them, and more slowly"
    ]
