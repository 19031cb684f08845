"""Which columns a model gets that the event does not list: those that it was fitted on."""

import hashlib
import json

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from harness import BUCKET, DATA, MODEL, OUTPUT, FirstColumn, invoke, linear, make_event
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import prediction_handler as handler

FRAME = pd.DataFrame({"b": np.arange(40.0), "a": np.arange(40.0) % 7, "c": ["x", "y"] * 20})
NUMBERS = FRAME[["b", "a"]]
TARGET = np.arange(40) % 2
ENCODER = ColumnTransformer([("text", OneHotEncoder(), ["c"])], remainder="passthrough")
COLUMNS = f"s3://{BUCKET}/out/predictions.csv.work/columns.json"


class Names:
    """A model of somebody's own, with the attributes that it is given."""

    def __init__(self, **attributes):
        vars(self).update(attributes)

    def predict(self, features):
        return np.asarray(features)[:, 0]


def boosted(library, data):
    model = {"lightgbm": lightgbm.LGBMClassifier(min_child_samples=1, verbose=-1), "xgboost": xgboost.XGBClassifier(n_estimators=2)}
    return model[library].fit(data, TARGET)


@pytest.mark.parametrize(
    ("estimator", "names"),
    [
        (LinearRegression().fit(NUMBERS, TARGET), ["b", "a"]),
        (LinearRegression().fit(NUMBERS.to_numpy(), TARGET), None),
        (LinearRegression().fit(NUMBERS.set_axis([0, 1], axis=1), TARGET), None),  # numbers are no names
        (make_pipeline(ENCODER, LogisticRegression()).fit(FRAME, TARGET), ["b", "a", "c"]),
        (make_pipeline("passthrough", StandardScaler(), LogisticRegression()).fit(NUMBERS, TARGET), ["b", "a"]),
        (make_pipeline(FunctionTransformer(), StandardScaler(), LogisticRegression()).fit(NUMBERS, TARGET), ["b", "a"]),
        (make_pipeline(make_pipeline(None, StandardScaler()), LogisticRegression()).fit(NUMBERS, TARGET), ["b", "a"]),
        (make_pipeline(FunctionTransformer(np.asarray), StandardScaler(), LogisticRegression()).fit(NUMBERS, TARGET), ["b", "a"]),
        (make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(FRAME["c"] + " text", TARGET), None),
        (GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {}).fit(NUMBERS, TARGET), ["b", "a"]),
        (CalibratedClassifierCV(make_pipeline(ENCODER, LogisticRegression())).fit(FRAME, TARGET), ["b", "a", "c"]),
        (boosted("lightgbm", NUMBERS), ["b", "a"]),
        (boosted("lightgbm", NUMBERS.to_numpy()), None),  # which it calls Column_0, Column_1
        (boosted("xgboost", NUMBERS), ["b", "a"]),
        (boosted("xgboost", NUMBERS.to_numpy()), None),
        (boosted("lightgbm", NUMBERS).booster_, ["b", "a"]),
        (Names(feature_names_in_=["b", "a"]), ["b", "a"]),
        (Names(feature_names_in_=["b", "b"]), None),
        (Names(feature_names_in_=["b", ""]), None),
        (Names(feature_names_in_=["b", 1]), None),
        (Names(feature_names_in_="ba"), None),
        (Names(feature_names_in_=3), None),
        (Names(feature_names_in_=["b", "a"], n_features_in_=3), None),
        (Names(feature_name=lambda: 1 / 0), None),
        (FirstColumn(), None),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "predict") else "",
)  # fmt: skip
def test_a_model_knows_the_columns_that_it_was_fitted_on(estimator, names):
    found = handler.fitted_columns(estimator)
    assert found == names
    assert json.loads(json.dumps(found)) == names


def test_a_model_that_kept_no_names_is_scored_and_explained_as_one_without_them(tmp_path):
    """Its `feature_names_in_` is there, and None: some libraries write that after a fit on an array."""
    encoded = make_pipeline(clone(ENCODER), LogisticRegression()).fit(FRAME, TARGET)
    encoded[0].feature_names_in_ = None
    expected = {name: found.kind for name, found in handler.expected_columns(encoded, ["b", "a", "c"]).items()}
    assert (expected["c"], handler.fitted_columns(encoded)) == (handler.TEXT, None)

    scaled = LinearRegression().fit(NUMBERS.to_numpy(), TARGET)
    refusing = Names(feature_names_in_=None, n_features_in_=3, predict=lambda _: 1 / 0)
    scaled.feature_names_in_ = None
    FRAME.to_csv(tmp_path / "in.csv", index=False)
    assert handler.score_file(tmp_path / "in.csv", tmp_path / "out.csv", scaled, feature_columns=["b", "a"]).rows == 40
    assert len(handler.make_predictions(scaled, FRAME, ["b", "a"])) == 40
    with pytest.raises(handler.ModelError, match="it was fitted on 3 features, feature_columns gives 2"):
        handler.score_file(tmp_path / "in.csv", tmp_path / "out.csv", refusing, feature_columns=["b", "a"])


def test_columns_that_the_event_does_not_list_are_the_models(put, get):
    put(MODEL, Names(feature_names_in_=["x2", "x1"]))
    put(DATA, "id,x1,x2\n007,1,2\n")
    assert invoke(feature_columns=None)[0] == 200
    assert get(OUTPUT) == b"id,x1,x2,prediction\n007,1,2,2\n"
    assert invoke(feature_columns=None, probe_rows=5)[1]["feature_columns"] == ["x2", "x1"]


def test_a_model_that_knows_no_names_asks_for_them(put):
    put(MODEL, LinearRegression().fit(NUMBERS.to_numpy(), TARGET))
    put(DATA, "b,a\n1,2\n")
    for fields in ({}, {"probe_rows": 5}):
        status, body = invoke(feature_columns=None, **fields)
        assert (status, body["error"]) == (400, "InvalidRequestError")
        assert body["message"] == (
            "the model, a LinearRegression, does not know the names of its columns: "
            "list them in feature_columns, in the order in which it was fitted"
        )


def test_the_models_columns_are_held_against_the_datas(put):
    put(MODEL, linear())
    put(DATA, "x1,X2\n1,2\n")
    status, body = invoke(feature_columns=None, probe_rows=5)
    assert (status, body["error"]) == (400, "InvalidRequestError")
    assert body["message"] == (
        f"{DATA} has no column 'x2' (it has 'X2', with other capitals); it has 'x1', 'X2': "
        "the model was fitted on columns of these names: correct the names in the header, which is the file's first line"
    )
    put(DATA, "x1,x2\n1,2\n")
    status, body = invoke(feature_columns=None, column_types={"x3": "text"}, probe_rows=5)
    assert (status, body["message"]) == (400, "column_types names columns that are not among the model's: 'x3'")


def test_a_probe_writes_the_names_where_it_is_told_and_answers_without_them(put, get):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    plain = invoke(probe_rows=5)[1]
    status, answer = invoke(probe_rows=5, receipt_s3_uri=COLUMNS, feature_columns=None)
    assert status == 200
    written = get(COLUMNS)
    assert json.loads(written) == {name: plain.pop(name) for name in list(plain) if "columns" in name or "types" in name}
    assert answer.pop("columns_s3_uri") == COLUMNS
    assert answer.pop("columns_sha256") == hashlib.sha256(written).hexdigest()
    assert answer.pop("stored_model_sha256") == hashlib.sha256(get(answer.pop("stored_model_s3_uri"))).hexdigest()
    assert answer.keys() == plain.keys()


def test_a_chunk_takes_the_columns_that_the_run_has_decided(put, get):
    """And no others: who can change an item of the plan cannot change what the model gets."""
    put(MODEL, Names())
    put(DATA, "x1,x2\n1,2\n")
    decision = {
        "feature_columns": ["x2", "x1"],
        "stated_types": {"x1": "number", "x2": "text"},
        "column_types": {},
        "prediction_columns": ["prediction"],
    }
    put(f"{COLUMNS}.decision", json.dumps(decision))
    fields = {"decision_s3_uri": f"{COLUMNS}.decision", "feature_columns": None}
    assert invoke(**fields)[0] == 200
    assert get(OUTPUT) == b"x1,x2,prediction\n1,2,2\n"
    assert invoke(**fields | {"feature_columns": ["x2", "x1"]})[0] == 200
    for changed in ({"feature_columns": ["x1", "x2"]}, {"column_types": {"x1": "text"}}):
        status, body = invoke(**fields | changed)
        assert (status, body["error"]) == (400, "InvalidRequestError")
        assert "than the run has decided" in body["message"]


@pytest.mark.parametrize("changed", [{"feature_columns": []}, {"feature_columns": "x1"}, {"stated_types": {"x1": "empty"}}])
def test_a_decision_that_names_no_columns_is_none(put, changed):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    put(f"{COLUMNS}.decision", json.dumps({"column_types": {}, "prediction_columns": ["p"], **changed}))
    status, body = invoke(decision_s3_uri=f"{COLUMNS}.decision")
    assert (status, body["error"]) == (400, "InvalidRequestError")


def test_messages_stay_short_however_many_columns_there_are(put):
    names = [f"column {number:05}" for number in range(6000)]
    put(MODEL, linear(names, np.ones(len(names))))
    for columns, features in ((["x1"], None), (["x1"], names), (names, [*names[1:], names[0]])):
        put(DATA, ",".join(columns) + "\n" + ",".join("1" for _ in columns) + "\n")
        response = handler.lambda_handler(make_event(feature_columns=features, probe_rows=5), None)
        assert response["statusCode"] == 400
        assert len(response["body"]) < handler.MESSAGE_CHARACTERS
