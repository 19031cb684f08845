"""What a probe stores of a model, as numbers: chunks score by it to the bit, and take the model itself if anything is unusual."""

import hashlib
import importlib
import json
import sys

import numpy as np
import pandas as pd
import pytest
from harness import BUCKET, DATA, MODEL, OUTPUT, FirstColumn, bits, make_event, stored
from hypothesis import given, settings
from hypothesis import strategies as st
from lightgbm import LGBMClassifier
from sklearn.base import BaseEstimator, is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBClassifier, XGBRegressor

import packed_trees
import predict_kernel
import prediction_handler as handler
import stored_boosters
import stored_model
import stored_steps
import tree_kernel

COLUMNS = f"s3://{BUCKET}/out/w.work/columns-1.json"
NAMES = ["x1", "x2", "x3"]


def fitted(model, labels=None, rows=300):
    """Fit a model on columns with names; `labels` are as many classes."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(rows, 3)), columns=NAMES)
    target = frame.to_numpy() @ [1.0, -2.0, 0.5] + random.normal(size=rows)
    if labels:
        target = np.array([*labels])[np.digitize(target, np.quantile(target, np.arange(1, len(labels)) / len(labels)))]
    return model.fit(frame, target)


def mixed(final):
    """A model that takes text, too, in each way that can be stored; some of its texts and numbers are missing."""
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), one_hot)
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    return make_pipeline(
        ColumnTransformer(
            [
                ("city", one_hot, ["city", "month"]),
                ("again", texts, ["city"]),
                ("kind", ordinal, ["kind", "share"]),
                ("x", numbers, ["x1", "x2"]),
            ],
            remainder="passthrough",
        ),
        final,
    )


def mixed_frame(rows, seed):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(random.normal(size=(rows, 3)), columns=NAMES)
    frame["city"], frame["kind"] = random.choice(["Zürich", "New York, NY", "08"], rows), random.choice(["x", "y"], rows)
    frame["month"], frame["share"] = random.integers(1, 13, rows), random.choice([0.25, 0.5, -0.0], rows)
    frame.loc[::9, "city"] = np.nan
    frame.loc[::7, "x1"] = np.nan
    frame.loc[::5, "share"] = np.nan
    return frame


def csv(rows=300, **changed):
    frame = pd.DataFrame(np.random.default_rng(1).normal(size=(rows, 3)), columns=NAMES)
    for name, (row, value) in changed.items():
        frame[name] = frame[name].astype(object)
        frame.loc[row, name] = value
    return frame.to_csv(index=False)


@pytest.fixture
def probe(s3, put):
    """Put a model and data, and probe them; returns the fields that the workflow hands to a chunk."""

    def probe(model, data=None, **fields):
        handler._model_cache.clear()
        event = {"feature_columns": None, "model_etag": put(MODEL, model), "raise_errors": True, **fields}
        put(DATA, data or csv())
        answer = handler.lambda_handler(make_event(**event, probe_rows=100, receipt_s3_uri=COLUMNS), None)
        stored = {name: answer[name] for name in ("stored_model_s3_uri", "stored_model_sha256")}
        return event | stored

    return probe


@pytest.fixture
def chunk(get):
    """Score a chunk in a new container; returns its receipt without times, its part, and its rejected rows."""

    def chunk(event):
        handler._model_cache.clear()
        receipt = handler.lambda_handler(make_event(**event), None)
        rejected = get(f"{OUTPUT}.rejected.csv") if event.get("on_bad_row") == "quarantine" else None
        return {name: value for name, value in receipt.items() if name not in ("started", "milliseconds")}, get(OUTPUT), rejected

    return chunk


def without_stored(event):
    return event | {"stored_model_s3_uri": None, "stored_model_sha256": None}


def lacks_scikit_learn(monkeypatch):
    """Let every import of what a stored model does without fail."""
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("sklearn", "scipy", "joblib", "pandas", "lightgbm", "xgboost"):
            monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize(
    ("model", "labels", "method"),
    [
        (RandomForestRegressor(5, random_state=0), None, "predict"),
        (RandomForestClassifier(5, random_state=0), "abc", "predict_proba"),
        (DecisionTreeRegressor(random_state=0), None, "predict"),
        (DecisionTreeClassifier(max_depth=4, random_state=0), "abc", "predict_proba"),
        (GradientBoostingClassifier(n_estimators=5), "ab", "predict"),
        (make_pipeline(SimpleImputer(), StandardScaler(), Ridge()), None, "predict"),
        (make_pipeline(MinMaxScaler(), LogisticRegression()), "abc", "predict_proba"),
        (LogisticRegression(), "ab", "predict_proba"),
        (LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1), "abc", "predict"),
        (make_pipeline(StandardScaler(), LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1)), "ab", "decision_function"),
        (
            LGBMClassifier(boosting_type="rf", n_estimators=5, subsample=0.7, subsample_freq=1, verbose=-1),
            "abc",
            "decision_function",
        ),
        (XGBRegressor(n_estimators=5, n_jobs=1), None, "predict"),
        (XGBClassifier(n_estimators=5, n_jobs=1), (0, 1), "predict_proba"),
    ],
)
def test_a_chunk_needs_no_scikit_learn_and_writes_the_same_bytes(model, labels, method, probe, chunk, monkeypatch, s3):
    event = probe(fitted(model, labels), prediction_method=method)
    expected = chunk(without_stored(event))
    s3.delete_object(Bucket=BUCKET, Key="models/m.joblib")
    lacks_scikit_learn(monkeypatch)
    assert chunk(event) == expected


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(StandardScaler(), LogisticRegression()),
        GradientBoostingClassifier(n_estimators=4),
        LGBMClassifier(n_estimators=4, verbose=-1, n_jobs=1),
    ],
)
def test_what_is_asked_of_a_classifier_needs_no_scikit_learn_either(model, probe, chunk, monkeypatch, s3):
    asked = ["label", "probability", {"probabilities": {"classes": ["b"]}}, {"top_k": 2}, {"threshold": {"c": 0.1}}]
    event = probe(fitted(model, "abc"), predictions=asked)
    expected = chunk(without_stored(event))
    s3.delete_object(Bucket=BUCKET, Key="models/m.joblib")
    lacks_scikit_learn(monkeypatch)
    assert chunk(event) == expected


@pytest.mark.parametrize(
    ("model", "method"),
    [
        (DecisionTreeRegressor(), "predict"),
        (DecisionTreeClassifier(), "predict"),
        (DecisionTreeClassifier(), "predict_proba"),
        (ExtraTreesClassifier(3), "predict"),
        (ExtraTreesClassifier(3), "predict_proba"),
    ],
)
def test_trees_of_several_outputs_are_stored_too(model, method, probe, chunk):
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(200, 3)), columns=NAMES)
    target = np.column_stack([np.where(frame["x1"] > 0, 1, 7), np.digitize(frame["x2"], [-1, 0, 1])])
    event = probe(model.fit(frame, target), prediction_method=method)
    assert event["stored_model_s3_uri"]
    assert chunk(event) == chunk(without_stored(event))


def test_exponentials_with_other_bits_than_the_librarys_are_not_used(monkeypatch):
    boosted = fitted(XGBClassifier(n_estimators=2, n_jobs=1), (0, 1))
    packed = packed_trees.with_packed_trees(boosted, pytest.fail)
    for module in (stored_steps, stored_boosters):
        monkeypatch.setattr(module, "exponentials", np.exp)
    stored_steps.require_expit.cache_clear()
    for model, why in ((fitted(LogisticRegression(), "ab"), "sigmoid"), (packed, "objective binary:logistic")):
        with pytest.raises(stored_steps.NotStoredError, match=why):
            stored(model)


def test_a_single_tree_keeps_the_sign_of_zero():
    tree = fitted(DecisionTreeRegressor(max_depth=2))
    tree.tree_.value[:] = -0.0
    rows = np.zeros((3, 3))
    assert bits(stored(tree).predict(rows)) == bits(tree.predict(rows)) == ("<f8", (3,), np.full(3, -0.0).tobytes())


def test_a_single_tree_is_not_stored_if_the_kernel_gives_other_bits(monkeypatch):
    tree, right = fitted(DecisionTreeRegressor()), tree_kernel.PackedTrees.single
    assert packed_trees.single_tree_of(tree)[1]
    monkeypatch.setattr(tree_kernel.PackedTrees, "single", lambda *of: np.nextafter(right(*of), np.inf))
    with pytest.raises(stored_steps.NotStoredError, match="not packed"):
        stored_model._numbers_of(tree)


def test_a_chunk_needs_no_pandas_for_texts_and_writes_the_same_bytes(probe, chunk, monkeypatch, s3):
    train = mixed_frame(200, 0)
    event = probe(mixed(Ridge()).fit(train, train["x3"] + (train["city"] == "08")), mixed_frame(200, 1).to_csv(index=False))
    expected = chunk(without_stored(event))
    s3.delete_object(Bucket=BUCKET, Key="models/m.joblib")
    lacks_scikit_learn(monkeypatch)
    assert chunk(event) == expected


NEW, MISSING = {"city": "Chur", "kind": "new", "month": 13, "share": 0.0}, dict.fromkeys(("kind", "x1", "x3"), np.nan)


@pytest.mark.parametrize(("odd", "is_taken"), [(NEW, True), (MISSING, True), ({"share": np.inf}, False)])
def test_values_that_are_new_or_missing_are_encoded_alike(odd, is_taken, probe, chunk):
    train = mixed_frame(200, 0)
    data = mixed_frame(200, 1)
    data.loc[150, [*odd]] = [*odd.values()]
    model = mixed(HistGradientBoostingRegressor(max_iter=3)).fit(train, train["x2"])
    event = probe(model, data.to_csv(index=False), on_bad_row="quarantine")
    scored = chunk(event)
    assert all(model.is_stored for model in handler._model_cache.values()) == is_taken
    assert scored == chunk(without_stored(event))


@pytest.mark.parametrize("names", [None, ["city", "month", "x1", "share", "x2"]])
def test_histogram_boosting_encodes_its_categories_alike(names, probe, chunk, monkeypatch):
    train, data = mixed_frame(300, 0), mixed_frame(300, 1)
    data.loc[200, ["month", "share", "city"]] = 99, 0.125, "Chur"
    used = names or ["x1", "share", "month"]
    features = train[used] if names else train[used].to_numpy()
    if "city" in used:
        features = features.assign(city=features["city"].astype("category"))
    categorical = ["share", "month", "city"] if names else [1, 2]
    model = HistGradientBoostingRegressor(max_iter=3, categorical_features=categorical)
    model.fit(features, train["x2"] + train["month"] % 3 + train["share"].fillna(9))
    event = probe(model, data.to_csv(index=False), feature_columns=used)
    assert event["stored_model_s3_uri"]
    expected = chunk(without_stored(event))
    lacks_scikit_learn(monkeypatch)
    assert chunk(event) == expected


def test_the_stored_model_is_kept_between_chunks_and_the_model_itself_comes_first(probe, chunk, s3):
    event = probe(fitted(Ridge()))
    chunk(event)
    s3.delete_object(Bucket=BUCKET, Key="out/w.work/columns-1.model")
    handler.lambda_handler(make_event(**event), None)  # in the same container
    assert [model.is_stored for model in handler._model_cache.values()] == [True]
    chunk(without_stored(event))
    handler.lambda_handler(make_event(**event), None)
    assert [model.is_stored for model in handler._model_cache.values()] == [False]


def test_what_is_stored_is_work_that_expires_and_is_equal_for_equal_models(probe, s3, get):
    first = probe(fitted(RandomForestRegressor(3, random_state=0)))
    content = get(first["stored_model_s3_uri"])
    assert hashlib.sha256(content).hexdigest() == first["stored_model_sha256"]
    tags = s3.get_object_tagging(Bucket=BUCKET, Key="out/w.work/columns-1.model")["TagSet"]
    assert tags == [{"Key": "batch-predict", "Value": "work"}]
    assert probe(fitted(RandomForestRegressor(3, random_state=0))) == first


DAMAGES = {
    "another digest": lambda content, event: (content, event | {"stored_model_sha256": "0" * 64}),
    "another version": lambda content, _: (content.replace(b"model 1", b"model 2", 1), None),
    "cut off": lambda content, _: (content[:-64], None),
    "empty": lambda *_: (b"", None),
    "another deployment": lambda content, _: (content.replace(handler._deployment().encode(), b"0" * 64), None),
    "another model": lambda content, event: (content.replace(event["model_etag"].strip('"').encode(), b"0" * 32), None),
}


@pytest.mark.parametrize("damage", [*DAMAGES, "missing"])
def test_a_chunk_takes_the_model_itself_if_the_stored_one_is_not_what_it_should_be(damage, probe, chunk, get, put, s3, caplog):
    event = probe(fitted(Ridge()))
    expected = chunk(without_stored(event))
    if damage == "missing":
        s3.delete_object(Bucket=BUCKET, Key="out/w.work/columns-1.model")
    else:
        content, changed = DAMAGES[damage](get(event["stored_model_s3_uri"]), event)
        put(event["stored_model_s3_uri"], content)
        event = changed or event | {"stored_model_sha256": hashlib.sha256(content).hexdigest()}
    assert chunk(event) == expected
    assert [model.is_stored for model in handler._model_cache.values()] == [False]


@pytest.mark.parametrize(
    ("model", "value", "on_bad_row"),
    [
        (Ridge(), "", "quarantine"),
        (Ridge(), "inf", "fail"),
        (GradientBoostingRegressor(n_estimators=3), "1e39", "quarantine"),
        (GradientBoostingRegressor(n_estimators=3), "1e39", "fail"),
        (GradientBoostingRegressor(n_estimators=3), "abc", "quarantine"),
    ],
)
def test_rows_that_the_model_refuses_are_refused_in_its_own_words(model, value, on_bad_row, probe, chunk):
    event = probe(fitted(model), csv(x2=(200, value)), on_bad_row=on_bad_row)
    assert event["stored_model_s3_uri"]
    outcomes = []
    for tried in (event, without_stored(event)):
        try:
            outcomes.append(chunk(tried))
        except handler.PredictionError as error:
            outcomes.append((type(error), str(error)))
    assert outcomes[0] == outcomes[1]
    assert isinstance(outcomes[0][0], dict) or "row 201" in outcomes[0][1]


def test_a_chunk_is_not_scored_again_if_s3_refuses_its_part(probe, chunk, monkeypatch):
    event, scored = probe(fitted(Ridge())), []

    def refused(*_):
        scored.append("once")
        raise handler.InvalidRequestError("cannot write the output")

    monkeypatch.setattr(handler, "_score_chunk", refused)
    with pytest.raises(handler.InvalidRequestError):
        chunk(event)
    assert scored == ["once"]


class Doubled(BaseEstimator):
    """Somebody's own step."""

    def fit(self, _features, _target=None):
        return self

    def transform(self, features):
        return features * 2


@pytest.mark.parametrize(
    "model",
    [
        FirstColumn(),
        make_pipeline(Doubled(), Ridge()),
        make_pipeline(QuantileTransformer(n_quantiles=10), Ridge()),
        make_pipeline(StandardScaler().set_output(transform="pandas"), Ridge()),
        GradientBoostingRegressor(n_estimators=2, init=LinearRegression()),
        # Steps whose stored forms would make other numbers, or none, of some rows.
        make_pipeline(ColumnTransformer([("x", StandardScaler(), NAMES)], transformer_weights={"x": 1.001}), Ridge()),
        make_pipeline(OneHotEncoder(handle_unknown="ignore"), Ridge()),
        make_pipeline(make_pipeline(StandardScaler(), OneHotEncoder(handle_unknown="ignore")), Ridge()),
        make_pipeline(FunctionTransformer(validate=True), Ridge()),
    ],
)
def test_a_model_for_which_scikit_learn_is_needed_is_not_stored(model, probe, chunk):
    if not isinstance(model, FirstColumn):
        fitted(model)
    event = probe(model, feature_columns=NAMES)
    assert event["stored_model_s3_uri"] is None
    chunk(event)
    with pytest.raises(stored_steps.NotStoredError):
        stored(model)


def test_boosting_that_begins_at_random_is_not_stored_however_rarely_rows_differ():
    frame, rare = pd.DataFrame(np.eye(2000, 3), columns=NAMES), np.arange(2000) == 7
    random = DummyClassifier(strategy="stratified", random_state=0)
    model = GradientBoostingClassifier(n_estimators=1, learning_rate=1e-14, init=random).fit(frame, rare)
    with pytest.raises(stored_steps.NotStoredError, match="other numbers for each row"):
        stored(handler._with_packed_trees(model, pytest.fail))


def test_a_class_that_only_calls_itself_as_scikit_learn_does_is_not_stored():
    own = fitted(type("Ridge", (Ridge,), {"__module__": Ridge.__module__})())
    with pytest.raises(stored_steps.NotStoredError):
        stored_model._numbers_of(own)


def test_rows_of_the_probe_that_cannot_be_read_are_no_reason_not_to_store(probe, chunk):
    event = probe(fitted(Ridge()), csv(x1=(5, "abc"), x2=(7, "-")), on_bad_row="quarantine")
    assert event["stored_model_s3_uri"]
    scored = chunk(event)
    assert all(model.is_stored for model in handler._model_cache.values())
    assert scored == chunk(without_stored(event))


def test_a_model_is_not_stored_if_it_refuses_rows_of_the_probe_or_if_there_are_none(probe, get):
    assert probe(fitted(Ridge()), csv(x1=(5, "")), on_bad_row="quarantine")["stored_model_s3_uri"] is None
    assert probe(fitted(Ridge()), "x1,x2,x3\n", on_no_rows="succeed")["stored_model_s3_uri"] is None


@pytest.mark.parametrize(
    "wrong", [lambda answer: np.nextafter(answer, np.inf), lambda answer: answer[:-1], lambda answer: answer * 1.0j]
)
def test_a_model_is_not_stored_if_its_numbers_alone_answer_otherwise(wrong, probe, monkeypatch):
    right = stored_steps._Linear.predict
    monkeypatch.setattr(stored_steps._Linear, "predict", lambda self, features: wrong(right(self, features)))
    assert probe(fitted(Ridge()))["stored_model_s3_uri"] is None


def test_a_model_is_not_stored_if_its_numbers_alone_answer_made_rows_otherwise(probe, monkeypatch):
    """The rows of the probe lack nothing."""
    monkeypatch.setattr(stored_steps, "checked", lambda _, features, **__: np.nan_to_num(features))
    assert probe(fitted(Ridge()))["stored_model_s3_uri"] is None


def test_without_its_modules_or_in_a_direct_probe_nothing_is_stored(probe, put, monkeypatch):
    put(MODEL, fitted(Ridge()))
    put(DATA, csv())
    answer = handler.lambda_handler(make_event(feature_columns=None, raise_errors=True, probe_rows=5), None)
    assert "stored_model_s3_uri" not in answer
    monkeypatch.setattr(handler, "_beside", lambda _: None)
    assert probe(fitted(Ridge()))["stored_model_s3_uri"] is None


def test_trees_need_the_kernel_where_they_are_scored(probe, chunk, monkeypatch):
    event = probe(fitted(RandomForestRegressor(3, random_state=0)))
    expected = chunk(without_stored(event))
    monkeypatch.setattr(stored_steps, "kernel", lambda: None)
    assert chunk(event) == expected
    logistic = fitted(LogisticRegression(), "ab")
    expected = bits(logistic.predict_proba(np.zeros((2, 3))))
    assert bits(stored(logistic).predict_proba(np.zeros((2, 3)))) == expected  # by SciPy's own


def test_a_stored_model_may_not_be_read_outside_of_the_outputs(monkeypatch):
    monkeypatch.setenv("OUTPUT_S3_PREFIX", f"s3://{BUCKET}/out/")
    event = make_event(stored_model_s3_uri=f"s3://{BUCKET}/data/x.work/m.model", stored_model_sha256="0" * 64)
    with pytest.raises(handler.InvalidRequestError, match=r"stored_model_s3_uri .* is not under"):
        handler.validate_event(event)


def test_no_array_of_objects_is_read():
    content = stored_model.written(stored_model.Stored(fitted(Ridge()), {}, ()))
    length = int.from_bytes(content[len(stored_model.MAGIC) :][:8], "little")
    start = len(stored_model.MAGIC) + 8
    document = json.loads(content[start : start + length])
    document["arrays"][0][0] = "|O"
    changed = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(ValueError, match="objects"):
        stored_model.read(content[: len(stored_model.MAGIC)] + len(changed).to_bytes(8, "little") + changed + bytes(10_000))


# --- trees that a kernel may be given ---------------------------------------------------------------------------------------------


def link(child, feature, shift=10):
    return child | feature << shift


WALKED = tree_kernel.Layout(
    False, False, 1, 1, 1, 1.0, 10,
    (
        np.zeros((2, 1)),
        np.array([(0.5, link(1, 0)), (0.0, link(1, 1)), (1e-45, link(2, 1))], tree_kernel._NODE),
        np.array([0, 3]),
        np.array([2], np.int32),
        np.array([0.5]),
        np.array([0, 1]),
    ),
)  # fmt: skip
DOUBLE = WALKED._replace(is_double=True)
RANKED = tree_kernel.Layout(
    True, False, 1, 1, 1, 1.0, 0,
    (
        np.zeros((3, 1)),
        np.array([(0, 0, 257, 0), (1, 1, 2, 255)], tree_kernel._TEST),
        np.array([0, 2]),
        np.array([0, 3]),
        np.array([(2, 0, 0, 1), (1, 2, 0, 0)], tree_kernel._COLUMN),
        np.array([0.5]),
        np.zeros(257, np.uint8),
    ),
)  # fmt: skip
WRONG = [
    (WALKED, 0, None, np.zeros((2, 2))), (WALKED, 0, None, np.zeros((1, 1))), (WALKED, 1, ("link", 0), link(0, 0)),
    (WALKED, 1, ("link", 0), link(2, 0)), (WALKED, 1, ("link", 0), link(1, 1)), (WALKED, 1, ("link", 2), link(2, 0)),
    (WALKED, 1, ("link", 1), link(0, 1)), (WALKED, 1, ("threshold", 2), 1.0), (WALKED, 1, ("threshold", 2), np.nan),
    (WALKED, 2, None, np.array([0, 4])), (WALKED, 2, None, np.array([1, 3])), (WALKED, 2, None, np.array([0, 3], np.int32)),
    (WALKED, 2, None, np.array([3])), (WALKED, 3, 0, 3), (WALKED, 3, 0, -1),
    (DOUBLE, 4, None, np.empty(0)), (DOUBLE, 5, None, np.array([0, 2])), (DOUBLE, 5, None, np.array([0])), (DOUBLE, 5, 0, 1),
    (RANKED, 0, None, np.zeros((2, 1))), (RANKED, 0, None, np.zeros((4, 1))), (RANKED, 1, ("column", 0), 2),
    (RANKED, 1, ("left", 0), 3), (RANKED, 1, ("right", 1), 256), (RANKED, 1, ("right", 0), 258), (RANKED, 1, ("left", 1), 257),
    (RANKED, 2, None, np.array([0, 3])), (RANKED, 3, None, np.array([0, 2])), (RANKED, 4, ("feature", 0), 3),
    (RANKED, 4, ("kind", 0), 3), (RANKED, 4, ("start", 0), 1), (RANKED, 4, ("start", 0), -1), (RANKED, 4, ("count", 0), 0),
    (RANKED, 4, ("count", 0), 2), (RANKED, 4, ("start", 1), 1), (RANKED, 5, None, np.array([], np.float64)),
]  # fmt: skip


def test_no_kernel_gets_trees_that_lead_out_of_their_arrays():
    assert WALKED.is_sound(3)
    assert RANKED.is_sound(3)
    assert DOUBLE.is_sound(3)
    for layout, index, place, value in WRONG:
        arrays = [np.array(array) for array in layout.arrays]
        if place is None:
            arrays[index] = value
        else:
            name, row = place if isinstance(place, tuple) else (Ellipsis, place)
            arrays[index][name][row] = value
        assert not layout._replace(arrays=tuple(arrays)).is_sound(3), (layout.is_ranked, index, place, value)


@pytest.mark.thorough
@given(st.sampled_from([WALKED, RANKED, DOUBLE]), st.integers(0, 6), st.integers(0, 40), st.integers(0, 2**32))
@settings(max_examples=2000)
def test_sound_trees_are_scored_whatever_else_they_are(layout, index, place, value):
    """A kernel with sanitizers would see it read elsewhere; without them, it must come to an end."""
    arrays = [np.array(array) for array in layout.arrays]
    octets = arrays[index % len(arrays)].reshape(-1).view(np.uint8)
    octets[place % len(octets) :][:4] = np.frombuffer(value.to_bytes(5, "little")[:4], np.uint8)[
        : len(octets) - place % len(octets)
    ]
    changed = layout._replace(arrays=tuple(arrays))
    if changed.is_sound(3):
        rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float64 if changed.is_double else np.float32)
        assert len(tree_kernel.PackedTrees(changed, predict_kernel.kernel()).sums(rows)) == 40


# --- every kind of step -----------------------------------------------------------------------------------------------------------

BEFORE = [
    (),
    (StandardScaler(),),
    (MinMaxScaler(clip=True),),
    (MaxAbsScaler(), RobustScaler()),
    (SimpleImputer(strategy="constant", fill_value=0.5, add_indicator=True), StandardScaler()),
]
SMALL = {"n_estimators": 5, "Cs": 3, "max_iter": 100, "random_state": 0}


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("kind", stored_steps.PREDICTORS)
def test_every_kind_answers_every_number_of_rows_to_the_bit(kind, before):
    module, _, name = kind.rpartition(".")
    last = getattr(importlib.import_module(module), name)()
    small = SMALL | ({"max_iter": 5} if ".ensemble." in kind else {})
    last.set_params(**{name: value for name, value in small.items() if name in last.get_params()})
    random = np.random.default_rng(0)
    inputs = random.normal(size=(400, 7)) * 10.0 ** random.integers(-3, 4, 7)
    target = (inputs / inputs.std(axis=0)) @ random.normal(size=7) + random.normal(size=400)
    for labels in ("ab", "abcd") if is_classifier(last) else (None,):
        if labels:
            target = np.array([*labels])[np.digitize(target, np.quantile(target, np.arange(1, len(labels)) / len(labels)))]
        holey = (
            np.where(random.random(inputs.shape) < 0.1, np.nan, inputs)
            if before and isinstance(before[0], SimpleImputer)
            else inputs
        )
        model = packed_trees.with_packed_trees(make_pipeline(*before, last).fit(holey, target), pytest.fail)
        again = stored(model)
        for method in ("predict", "predict_proba", "decision_function"):
            for rows in (1, 2, 3, 8, 33, 400) if hasattr(model, method) else ():
                for order in "FC":
                    features = np.array(holey[:rows], order=order)
                    assert bits(getattr(again, method)(features)) == bits(getattr(model, method)(features))
        target = inputs @ random.normal(size=7)
