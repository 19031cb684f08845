"""Models in the files of XGBoost and LightGBM predict as in the library that wrote them, and as in the prediction function."""

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from harness import last_fields, score_locally

import prediction_handler as handler
from batch_predict.bundle.loaders import lightgbm_text, xgboost_model

ROWS = 300
FRAME = pd.DataFrame(np.random.default_rng(0).normal(size=(ROWS, 3)), columns=["a", "b", "c"])
FRAME.loc[::7, "b"] = np.nan
TARGET = FRAME["a"] * 2 + FRAME["b"].fillna(1) ** 2
THIRDS = np.digitize(TARGET, np.quantile(TARGET, [0.3, 0.6]))
SMALL = {"n_estimators": 4, "max_depth": 3, "n_jobs": 1}
KINDS = pd.Series(np.random.default_rng(1).choice(["d", "c", "NA", "a"], ROWS))
GRADES = np.random.default_rng(2).integers(3, 6, ROWS)
CATEGORIES = pd.DataFrame({"kind": pd.Categorical(KINDS), "a": FRAME["a"], "grade": pd.Categorical(GRADES)})
AS_READ = CATEGORIES.assign(kind=KINDS, grade=GRADES.astype(float))
"""The same as the function gives it: categories are texts, and numbers."""
SCORE = (KINDS == "d") + AS_READ["grade"] + AS_READ["a"]


def csv_of(frame):
    return frame.to_csv(index=False, float_format="%.17g").encode()


def written(tmp_path, data, model, features, **fields):
    """Return what the function writes of each row."""
    fields = {"prediction_column_name": "p", "feature_columns": features, **fields}
    return [float(text) for text in last_fields(score_locally(data, tmp_path, model=model, **fields)[1])]


# --- XGBoost ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["ubj", "json"])
@pytest.mark.parametrize(
    ("make", "target"),
    [
        (lambda: xgboost.XGBRegressor(**SMALL), TARGET),
        (lambda: xgboost.XGBClassifier(**SMALL), TARGET > 1),
        (lambda: xgboost.XGBClassifier(**SMALL), THIRDS),
        (lambda: xgboost.XGBRegressor(**SMALL, objective="binary:logistic"), TARGET > 1),
        (lambda: xgboost.XGBRFClassifier(**SMALL), THIRDS),
    ],
    ids=["regressor", "binary", "three classes", "a regressor of shares", "forest"],
)
def test_a_saved_estimator_of_xgboost_answers_as_the_estimator(tmp_path, make, target, ending):
    model = make().fit(FRAME, target)
    model.save_model(tmp_path / f"m.{ending}")
    loaded = xgboost_model.load(str(tmp_path / f"m.{ending}"))
    np.testing.assert_array_equal(loaded.predict(FRAME), model.predict(FRAME))
    assert list(loaded.feature_names_in_) == ["a", "b", "c"]
    assert hasattr(loaded, "predict_proba") == hasattr(model, "predict_proba")
    if hasattr(model, "predict_proba"):
        np.testing.assert_array_equal(loaded.predict_proba(FRAME), model.predict_proba(FRAME))
        np.testing.assert_array_equal(loaded.classes_, model.classes_)
    assert written(tmp_path, csv_of(FRAME), loaded, None) == loaded.predict(FRAME).astype(float).tolist()


@pytest.mark.parametrize(
    ("parameters", "target", "kind"),
    [
        ({"objective": "reg:squarederror"}, TARGET, "XGBRegressor"),
        ({"objective": "binary:logistic"}, TARGET > 1, "XGBClassifier"),
        ({"objective": "binary:logitraw"}, TARGET > 1, "XGBRegressor"),
        ({"objective": "multi:softmax", "num_class": 3}, THIRDS, "XGBClassifier"),
        ({"objective": "multi:softprob", "num_class": 3}, THIRDS, "XGBClassifier"),
        ({"objective": "count:poisson"}, THIRDS, "XGBRegressor"),
        ({"objective": "rank:pairwise"}, THIRDS, "XGBRanker"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_saved_booster_answers_as_the_booster(tmp_path, parameters, target, kind):
    booster = xgboost.train({**parameters, "max_depth": 2, "nthread": 1}, xgboost.DMatrix(FRAME, target), 4)
    booster.save_model(tmp_path / "m.ubj")
    loaded, predicted = xgboost_model.load(str(tmp_path / "m.ubj")), booster.predict(xgboost.DMatrix(FRAME))
    assert type(loaded).__name__ == kind
    shares = loaded.predict_proba(FRAME) if kind == "XGBClassifier" else None
    if parameters["objective"] == "binary:logistic":
        np.testing.assert_array_equal(shares[:, 1], predicted)
        np.testing.assert_array_equal(loaded.predict(FRAME), predicted > 0.5)
    elif parameters["objective"] == "multi:softprob":
        np.testing.assert_array_equal(shares, predicted)
        np.testing.assert_array_equal(loaded.predict(FRAME), predicted.argmax(axis=1))
    else:
        np.testing.assert_array_equal(loaded.predict(FRAME), predicted)


def early_stopped():
    return xgboost.XGBRegressor(n_estimators=60, learning_rate=1.0, early_stopping_rounds=3, n_jobs=1).fit(
        FRAME[:200], TARGET[:200], eval_set=[(FRAME[200:], TARGET[200:])], verbose=False
    )


def test_early_stopping_counts_for_an_estimator_and_not_for_a_booster_as_in_xgboost(tmp_path):
    model = early_stopped()
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    model.save_model(tmp_path / "estimator.json")
    model.get_booster().save_model(tmp_path / "booster.json")
    np.testing.assert_array_equal(xgboost_model.load(str(tmp_path / "estimator.json")).predict(FRAME), model.predict(FRAME))
    every_round = model.get_booster().predict(xgboost.DMatrix(FRAME))
    np.testing.assert_array_equal(xgboost_model.load(str(tmp_path / "booster.json")).predict(FRAME), every_round)
    assert not np.array_equal(every_round, model.predict(FRAME))


@pytest.mark.parametrize("is_classifier", [False, True])
def test_xgboosts_categories_are_taken_by_their_values(tmp_path, is_classifier):
    kind, target = (xgboost.XGBClassifier, SCORE > 5) if is_classifier else (xgboost.XGBRegressor, SCORE)
    model = kind(**SMALL, enable_categorical=True).fit(CATEGORIES, target)
    model.save_model(tmp_path / "m.ubj")
    loaded = xgboost_model.load(str(tmp_path / "m.ubj"))
    np.testing.assert_array_equal(loaded.predict(AS_READ), model.predict(CATEGORIES))
    assert hasattr(loaded, "predict_proba") == is_classifier
    if is_classifier:
        np.testing.assert_array_equal(loaded.predict_proba(AS_READ), model.predict_proba(CATEGORIES))
    assert written(tmp_path, csv_of(AS_READ), loaded, None) == model.predict(CATEGORIES).astype(float).tolist()


def test_another_category_is_a_bad_row_for_xgboost_and_a_missing_value_is_none(tmp_path):
    with_missing = CATEGORIES.assign(kind=pd.Categorical(KINDS.where(KINDS != "NA")))
    model = xgboost.XGBRegressor(**SMALL, enable_categorical=True).fit(with_missing, SCORE)
    model.save_model(tmp_path / "m.ubj")
    loaded = xgboost_model.load(str(tmp_path / "m.ubj"))
    data = b"kind,a,grade\nd,0.5,4\nzzz,0.5,4\n,0.5,4\nd,0.5,17\n"
    with pytest.raises(handler.InvalidDataError, match=r"row 2.*a category is not among those that the model was fitted on"):
        score_locally(data, tmp_path, model=loaded, feature_columns=None)
    facts, output = score_locally(data, tmp_path, model=loaded, feature_columns=None, on_bad_row="quarantine")
    assert (facts.rejected_rows, last_fields(output)[1], last_fields(output)[3]) == (2, "", "")
    first = with_missing.iloc[:2].assign(kind=pd.Categorical(["d", None], categories=with_missing["kind"].cat.categories))
    first = first.assign(a=0.5, grade=pd.Categorical([4, 4], categories=with_missing["grade"].cat.categories))
    assert [float(last_fields(output)[place]) for place in (0, 2)] == model.predict(first).astype(float).tolist()


# --- LightGBM -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "target"),
    [
        (lambda: lightgbm.LGBMRegressor(**SMALL, verbose=-1), TARGET),
        (lambda: lightgbm.LGBMClassifier(**SMALL, verbose=-1), (TARGET > 1).astype(int)),
        (lambda: lightgbm.LGBMClassifier(**SMALL, verbose=-1), THIRDS),
        (lambda: lightgbm.LGBMClassifier(**SMALL, verbose=-1, objective="multiclassova"), THIRDS),
    ],
    ids=["regressor", "binary", "three classes", "one against all"],
)
def test_lightgbms_text_answers_as_the_estimator(tmp_path, make, target):
    model = make().fit(FRAME, target)
    model.booster_.save_model(tmp_path / "m.txt")
    loaded = lightgbm_text.load(str(tmp_path / "m.txt"))
    np.testing.assert_array_equal(loaded.predict(FRAME), model.predict(FRAME))
    assert (list(loaded.feature_names_in_), loaded.n_features_in_) == (["a", "b", "c"], 3)
    assert hasattr(loaded, "predict_proba") == hasattr(model, "predict_proba")
    if hasattr(model, "predict_proba"):
        np.testing.assert_array_equal(loaded.predict_proba(FRAME), model.predict_proba(FRAME))
        np.testing.assert_array_equal(loaded.classes_, model.classes_)
    assert written(tmp_path, csv_of(FRAME), loaded, ["c", "a", "b"]) == model.predict(FRAME).astype(float).tolist()


@pytest.mark.parametrize("kind", [lightgbm.LGBMRegressor, lightgbm.LGBMClassifier])
def test_lightgbms_categories_are_taken_by_their_values_and_others_are_missing(tmp_path, kind):
    model = kind(**SMALL, verbose=-1, min_child_samples=1).fit(CATEGORIES, SCORE.rank(pct=True).round(1).mul(10).astype(int))
    model.booster_.save_model(tmp_path / "m.txt")
    loaded = lightgbm_text.load(str(tmp_path / "m.txt"))
    np.testing.assert_array_equal(loaded.predict(AS_READ), model.predict(CATEGORIES))
    data = csv_of(AS_READ) + b"zzz,0.5,4\n,0.5,4\nd,0.5,17\n"
    others = pd.DataFrame({"kind": ["zzz", np.nan, "d"], "a": 0.5, "grade": [4, 4, 17]})
    for column in ("kind", "grade"):
        known = CATEGORIES[column].cat.categories
        others[column] = pd.Categorical(others[column].where(others[column].isin(known)), categories=known)
    expected = [*model.predict(CATEGORIES), *model.predict(others)]
    assert written(tmp_path, data, loaded, None) == [float(value) for value in expected]


def test_lightgbms_text_with_ordered_categories_is_refused_because_it_does_not_say_where_they_are(tmp_path):
    ordered = CATEGORIES.assign(grade=pd.Categorical(GRADES, ordered=True))
    lightgbm.LGBMRegressor(**SMALL, verbose=-1).fit(ordered, SCORE).booster_.save_model(tmp_path / "m.txt")
    with pytest.raises(ValueError, match="does not say which columns its categories belong to"):
        lightgbm_text.load(str(tmp_path / "m.txt"))


def test_names_with_spaces_are_those_that_lightgbm_has_made_of_them(tmp_path):
    spaced = FRAME.rename(columns={"a": "a b"})
    model = lightgbm.LGBMRegressor(**SMALL, verbose=-1).fit(spaced, TARGET)
    model.booster_.save_model(tmp_path / "m.txt")
    loaded = lightgbm_text.load(str(tmp_path / "m.txt"))
    np.testing.assert_array_equal(loaded.predict(spaced[["c", "a b", "b"]]), model.predict(spaced))
    with pytest.raises(ValueError, match="feature names are not those"):
        loaded.predict(spaced.rename(columns={"b": "z"}))


# --- what a class of one's own says of its columns --------------------------------------------------------------------------------


class SaysTypes:
    """A model that says what its columns are."""

    column_types_ = ("number", "text", "integer", ["NA", "b"], [1, 2], "any")

    def predict(self, features):
        return ["/".join(map(str, features.dtypes))] * len(features)


def test_a_class_may_say_what_its_columns_are():
    columns = list("abcdef")
    expected = handler.expected_columns(SaysTypes(), columns)
    assert [expected[name].kind for name in columns] == ["number", "text", "integers too", "text", "number", "any"]
    assert expected["d"].known == ("NA",)
    assert handler.expected_columns(SaysTypes(), columns[:5])["a"].kind == "any"  # it is not of these columns
    named = SaysTypes()
    named.feature_names_in_ = np.array(columns, dtype=object)
    assert handler.expected_columns(named, columns[::-1])["b"].kind == "text"
