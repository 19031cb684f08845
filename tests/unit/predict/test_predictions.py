"""Predictions equal those of the model on what pandas reads."""

import io
import warnings

import numpy as np
import pandas as pd
import pytest
from harness import DATA, MODEL, OUTPUT, FirstColumn, frame, invoke, linear, mixed_pipeline, mixed_search, score_locally
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.ensemble import (
    BaggingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingRegressor,
    VotingRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeRegressor

import prediction_handler as handler


def ordinal(final):
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_pipeline(ColumnTransformer([("city", encoder, ["city"])], remainder="passthrough"), final)


def by_dtype(final):
    """Columns chosen when it was fitted, by type; a FunctionTransformer says nothing of what it takes."""
    numbers = make_pipeline(FunctionTransformer(np.tanh), StandardScaler())
    columns = [
        ("numbers", numbers, make_column_selector(dtype_include="number")),
        ("text", OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="str")),
    ]
    return make_pipeline(ColumnTransformer(columns), final)


FITTED = {
    "support vectors": (["a", "c"], lambda x, y: SVC().fit(x, np.where(y > 0, "up", "down"))),
    "perceptron": (["a", "c"], lambda x, y: MLPRegressor(hidden_layer_sizes=(8,), max_iter=30, tol=1).fit(x, y)),
    "search": (["a", "c"], lambda x, y: GridSearchCV(mixed_search(), {"ridge__alpha": [1, 2]}, cv=2).fit(x, y)),
    "stacked": (["a", "c"], lambda x, y: StackingRegressor([("r", Ridge()), ("t", DecisionTreeRegressor())], cv=2).fit(x, y)),
    "voting": (["a", "c"], lambda x, y: VotingRegressor([("r", Ridge()), ("t", DecisionTreeRegressor())]).fit(x, y)),
    "transformed target": (["a", "c"], lambda x, y: TransformedTargetRegressor(Ridge(), transformer=StandardScaler()).fit(x, y)),
    "calibrated": (["a", "c"], lambda x, y: CalibratedClassifierCV(LinearSVC(), cv=2).fit(x, y > 0)),
    "bagged": (["a", "c"], lambda x, y: BaggingRegressor(n_estimators=3, n_jobs=2).fit(x, y)),
    "ordinal text": (["city", "a", "c"], lambda x, y: ordinal(DecisionTreeRegressor()).fit(x, y)),
    "columns by type": (["a", "c", "city"], lambda x, y: by_dtype(Ridge()).fit(x, y)),
    "boosted categories": (
        ["a", "city"],
        lambda x, y: HistGradientBoostingRegressor(categorical_features=["city"]).fit(x, y),
    ),
    "two outputs": (["a", "c"], lambda x, y: RandomForestRegressor(5).fit(x, np.column_stack([y, -y]))),
    "ridge": (["a", "c"], lambda x, y: Ridge().fit(x, y)),
    "ridge on an array": (["a", "c"], lambda x, y: Ridge().fit(x.to_numpy(), y)),
    "forest": (["a", "c", "count"], lambda x, y: RandomForestRegressor(20, n_jobs=2).fit(x, y)),
    "forest of classes": (["a", "c", "flag"], lambda x, y: RandomForestClassifier(20).fit(x, np.where(y > 0, "up, up", 'do"wn'))),
    "boosting with missing values": (["a", "b"], lambda x, y: HistGradientBoostingClassifier().fit(x, y > 0)),
    "logistic": (["a", "c"], lambda x, y: LogisticRegression().fit(x, (y > 0).astype(int))),
    "neighbours": (["a", "c"], lambda x, y: KNeighborsClassifier().fit(x, np.digitize(y, [-1, 0, 1]))),
    "mixed columns": (["a", "b", "c", "count", "city"], lambda x, y: mixed_pipeline(Ridge()).fit(x, y)),
}


@pytest.mark.parametrize("name", FITTED)
@pytest.mark.parametrize("block_bytes", [300, 4_000_000])
def test_predictions_equal_the_models_on_pandas(s3, put, get, monkeypatch, name, block_bytes):
    columns, fit = FITTED[name]
    data = frame()
    model = fit(data[columns], data["a"] + data["count"] / 3 + data["c"])
    put(MODEL, model)
    put(DATA, data.to_csv(index=False))
    monkeypatch.setattr(handler, "BLOCK_BYTES", block_bytes)
    read = pd.read_csv(io.BytesIO(get(DATA)), keep_default_na=True)
    expected = model.predict(read[columns] if hasattr(model, "feature_names_in_") else read[columns].to_numpy())

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        status, body = invoke(feature_columns=columns)

    assert (status, body.get("rows")) == (200, len(data)), body
    output = pd.read_csv(io.BytesIO(get(OUTPUT)))
    written = output["prediction"] if expected.ndim == 1 else output[["prediction_0", "prediction_1"]]
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(written, expected, rtol=1e-12)
    else:
        assert written.tolist() == expected.tolist()


@pytest.mark.parametrize("method", ["predict_proba", "decision_function"])
def test_several_outputs_become_a_column_a_class(s3, put, get, method):
    data = frame()
    labels = np.digitize(data["a"], [-0.5, 0.5])
    model = LogisticRegression().fit(data[["a", "c"]], np.array(["low", "mid, really", "high"])[labels])
    put(MODEL, model)
    put(DATA, data.to_csv(index=False))
    assert invoke(feature_columns=["a", "c"], prediction_method=method)[0] == 200
    written = pd.read_csv(io.BytesIO(get(OUTPUT)))
    names = [f"prediction_{label}" for label in model.classes_]
    assert list(written.columns[-3:]) == names
    np.testing.assert_allclose(written[names], getattr(model, method)(data[["a", "c"]]), rtol=1e-12)


def test_a_method_that_the_model_lacks_is_named(s3, put):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    status, body = invoke(prediction_method="predict_proba")
    assert (status, body["error"]) == (400, "ModelError")
    assert "predict_proba" in body["message"]


def test_text_of_digits_stays_text_where_the_model_was_fitted_on_text(s3, put, get):
    fitted = pd.DataFrame({"zip": ["01", "02", "x"]})
    model = make_pipeline(OneHotEncoder(), LinearRegression()).fit(fitted, [1.0, 2.0, 3.0])
    put(MODEL, model)
    put(DATA, "zip\n02\n01\n")
    assert invoke(feature_columns=["zip"])[0] == 200
    assert pd.read_csv(io.BytesIO(get(OUTPUT)))["prediction"].tolist() == pytest.approx([2.0, 1.0])


def test_a_model_of_somebodys_own_gets_numbers_if_all_values_of_the_chunk_are(s3, put, get, monkeypatch):
    monkeypatch.setattr(handler, "BLOCK_BYTES", 10)
    put(MODEL, FirstColumn())
    put(DATA, "x1\n1\n2\n3.5\n")
    assert invoke(feature_columns=["x1"])[0] == 200
    assert get(OUTPUT) == b"x1,prediction\n1,1.0\n2,2.0\n3.5,3.5\n"
    put(DATA, "x1\n1\n2\nlate text\n")
    assert invoke(feature_columns=["x1"])[0] == 200
    assert get(OUTPUT) == b"x1,prediction\n1,1\n2,2\nlate text,late text\n"


@pytest.mark.parametrize(
    "values", [["1", "2", "-3"], ["1", "", "3"], ["True", "false", "TRUE"], ["1.5", "2"], ["a", "2"], ["1", "x"]]
)
@pytest.mark.parametrize("block_bytes", [4, 4_000_000])
def test_a_model_of_somebodys_own_gets_the_types_that_pandas_would_read(tmp_path, values, block_bytes):
    data = ("x1,n\n" + "".join(f"{value},0\n" for value in values)).encode()
    expected = pd.read_csv(io.BytesIO(data))["x1"]
    _, output = score_locally(data, tmp_path, block_bytes)
    written = output.decode().splitlines()[1:]
    assert [line.rpartition(",")[2] for line in written] == [str(value) for value in expected.tolist()]


@pytest.mark.parametrize("spelling", ["1e3", "+1000", "1000.", " 1000 ", "1E+3", "1000.0000"])
def test_numbers_in_every_usual_spelling(s3, put, get, spelling):
    put(MODEL, FirstColumn())
    put(DATA, f"x1\n{spelling}\n0.5\n")
    assert invoke(feature_columns=["x1"])[0] == 200
    assert get(OUTPUT) == f"x1,prediction\n{spelling},1000.0\n0.5,0.5\n".encode()


@pytest.mark.parametrize("spelling", handler.MISSING_VALUES)
@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("other", ["2.5", "text"])
def test_missing_values_are_those_of_pandas(tmp_path, spelling, quote, other):
    data = f"x1,n\n{quote}{spelling}{quote},0\n{other},0\n".encode()
    assert pd.read_csv(io.BytesIO(data))["x1"].isna().tolist() == [True, False]
    _, output = score_locally(data, tmp_path)
    assert [line.rpartition(",")[2] for line in output.decode().splitlines()[1:]] == ["nan", other]


def test_what_is_not_finite_is_written_so_that_it_reads_back(s3, put, get):
    put(MODEL, FirstColumn())
    put(DATA, "x1\n1\nNA\ninf\n-Infinity\n")
    assert invoke(feature_columns=["x1"])[0] == 200
    assert get(OUTPUT).splitlines() == [b"x1,prediction", b"1,1.0", b"NA,nan", b"inf,inf", b"-Infinity,-inf"]
