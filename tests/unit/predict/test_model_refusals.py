"""A model's own limits are the model's, and not the data's: what fails in it, and why, is said by its true cause."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
import sklearn.base
from harness import DATA, MODEL, invoke, linear, make_event, score_locally
from lightgbm import LGBMRegressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBRegressor

import prediction_handler as handler

TEXTS = {"x1": "text", "x2": "number"}


class Raises:
    """A model of somebody's own that raises where the first column is ``value``."""

    def __init__(self, value, error):
        self.value, self.error = value, error

    def predict(self, features):
        for text in np.asarray(features)[:, 0]:
            if self.value in (text, None) or (isinstance(text, float) and self.value == "missing"):
                self.error(text)
        return np.zeros(len(features))


def lower(text):
    return text.lower()


def compare(text):
    return sorted([text, "a"])


def isnan(text):
    return np.isnan(np.array([text, "a"], dtype=object))


@pytest.fixture
def answer(s3, put):
    def answer(model, data, saved_with=sklearn.__version__, **fields):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sklearn.base, "__version__", saved_with)
            put(MODEL, model)
        put(DATA, data)
        return invoke(**fields)

    return answer


def failure(folder, error, value=None, data=b"x1,x2\nsecret,2\nsecret,4\n", **fields):
    """Return what is said of a model that raises for rows whose first column is `value`, or for all of them; never the row."""
    with pytest.raises((handler.ModelError, MemoryError)) as raised:
        score_locally(data, folder, model=Raises(value, error), feature_columns=["x1", "x2"], column_types=TEXTS, **fields)
    message = str(handler._named_error(raised.value))
    assert "secret" not in message
    return message


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (lower, "AttributeError: 'float' object has no attribute 'lower'"),
        (compare, "TypeError: '<' not supported between instances of 'str' and 'float'"),
        (isnan, "TypeError: ufunc 'isnan' not supported for the input types, and the inputs could not be safely coerced"),
    ],
)
def test_what_the_model_cannot_do_with_a_missing_value_is_its_own_limit(tmp_path, error, says):
    data = b"x1,x2\nsecret,2\n,4\n"
    message = failure(tmp_path, error, "missing", data)
    assert f"row 2 (byte 15), no value in 'x1': the model fails on this row: {says}" in message
    assert "SimpleImputer" in message
    options = {"feature_columns": ["x1", "x2"], "column_types": TEXTS, "on_bad_row": "quarantine"}
    assert score_locally(data, tmp_path, model=Raises("missing", error), **options)[0].rejected_rows == 1


@pytest.mark.parametrize("on_bad_row", ["fail", "quarantine"])
@pytest.mark.parametrize(
    ("error", "says"),
    [
        (lambda _: None + 1, "TypeError: unsupported operand type(s) for +: 'NoneType' and 'int': call it with such rows where"),
        (lambda _: gone, "NameError: name 'gone' is not defined"),  # noqa: F821
        (lambda _: sklearn.gone, "AttributeError: Module 'sklearn' has no attribute 'gone'"),
        (lambda _: {}["zip"], "KeyError: 'zip': add 'zip' to feature_columns, if that is a column that the model uses"),
        (lambda _: Path("/no.json").read_text(), "FileNotFoundError: [Errno 2] No such file or directory: '/no.json': put"),
        (lambda _: importlib.import_module("gone_encoders"), "it needs the Python module 'gone_encoders', which the prediction"),
        (lambda _: [].pop(), "IndexError: pop from empty list: call it with such rows where it was fitted"),
    ],
)
def test_what_fails_for_every_row_is_the_models_whatever_becomes_of_bad_rows(tmp_path, error, says, on_bad_row):
    message = failure(tmp_path, error, on_bad_row=on_bad_row)
    assert message.startswith(f"the model, a Raises, fails in its predict: {says}")


def test_what_a_model_says_of_an_example_is_not_taken_for_what_it_says_of_a_row(tmp_path):
    failure(tmp_path, lambda text: {}[text or "example"])
    message = failure(tmp_path, lambda text: [].pop() if text == "secret" else {}["example"])
    assert message.startswith("the model, a Raises, fails in its predict: pop from empty list: call it")


def test_a_model_that_runs_out_of_memory_or_ends_the_process_says_so(tmp_path):
    assert failure(tmp_path, lambda _: sys.exit(3)).startswith("the model's predict ends the process (SystemExit): call it")
    memory = "the function ran out of memory: raise PredictMemorySize or lower chunk_size_mb"
    assert failure(tmp_path, lambda _: bytearray(2**62)) == memory


def test_a_value_in_a_models_words_is_not_shown_whatever_it_raises(tmp_path):
    def talk(text):
        raise TypeError(f"cannot take '{text}', which is {text}")

    assert "TypeError: cannot take" in failure(tmp_path, talk, data=b"x1,x2\nsecret,2\n")


def test_only_ufuncs_are_looked_for_in_numpy_which_loads_other_names_when_they_are_asked_for(monkeypatch):
    monkeypatch.setattr(np, "__getattr__", pytest.fail)
    reason = handler._reason_of(TypeError("cannot take 'gone', nor 'isnan'"))
    assert reason.public == "TypeError: cannot take"


@pytest.mark.parametrize(
    "model", [LinearRegression(), make_pipeline(StandardScaler(), LinearRegression()), GridSearchCV(LinearRegression(), {})]
)
def test_a_model_that_is_not_fitted_says_so(answer, model):
    for columns in (["x1", "x2"], None):  # which it does not know because it is not fitted
        _, body = answer(model, "x1,x2\n1,2\n", feature_columns=columns)
        assert (body["error"], body["message"]) == (
            "ModelError",
            f"the model, a {type(model).__name__}, is not fitted: fit it, and dump it then",
        )


@pytest.mark.parametrize("quarantine", [{}, {"on_bad_row": "quarantine"}])
@pytest.mark.parametrize("data", ["x1,x2\n1,2\n", "x1,x2\n,2\n1,2\n"])
def test_a_model_of_another_version_that_fails_in_predict_is_never_the_datas_fault(answer, data, quarantine):
    columns = pd.DataFrame({"x1": [1.0, np.nan, 3.0], "x2": [1.0, 2.0, 4.0]})
    model = make_pipeline(SimpleImputer(), LinearRegression()).fit(columns, [1, 2, 3])
    del model[0]._fill_dtype  # as before scikit-learn 1.7
    _, body = answer(model, data, "1.6.1", **quarantine)
    here = sklearn.__version__
    assert body["error"] == "ModelError"
    assert body["message"] == (
        "the model, a Pipeline, fails in its predict (AttributeError: 'SimpleImputer' object has no attribute '_fill_dtype'): it "
        f"was saved with scikit-learn 1.6.1, and here is {here}: fit it again with scikit-learn {here}, or make a "
        "bundle of it with batch-predict bundle"
    )


def test_a_model_of_another_version_that_cannot_be_looked_into_is_never_a_bug(answer):
    model = CalibratedClassifierCV(LogisticRegression()).fit(pd.DataFrame(np.eye(20, 2), columns=["x1", "x2"]), [0, 1] * 10)
    for part in model.calibrated_classifiers_:
        part.base_estimator = part.__dict__.pop("estimator")  # as before scikit-learn 1.2
    _, body = answer(model, "x1,x2\n1,2\n", saved_with="1.1.3")
    assert body["error"] == "ModelError"
    assert f"it was saved with scikit-learn 1.1.3, and here is {sklearn.__version__}: fit it again" in body["message"]


def test_a_mismatch_that_works_is_a_warning(answer):
    status, body = answer(linear(), "x1,x2\n1,2\n", "1.6.1")
    assert status == 200
    assert body["model"]["warnings"] == [f"it was fitted with scikit-learn 1.6.1, and scored with {sklearn.__version__}"]


NAMES = [f"column {number}" for number in range(30)]


@pytest.mark.parametrize("is_frame", [False, True])
def test_the_same_columns_in_another_order_are_not_listed_twice(answer, is_frame):
    columns = pd.DataFrame(np.eye(30), columns=NAMES)
    model = make_pipeline(StandardScaler().set_output(transform="pandas" if is_frame else "default"), LinearRegression())
    swapped = [*NAMES[:3], NAMES[4], NAMES[3], *NAMES[5:]]
    data = f"{','.join(NAMES)}\n{','.join(map(str, range(30)))}\n"
    _, body = answer(model.fit(columns, range(30)), data, feature_columns=swapped)
    assert body["error"] == "ModelError"
    assert (
        "does not fit the feature columns: they are the same columns in another order: column 4 was 'column 3' in the fit, and is "
        "'column 4' in feature_columns: give them in the order of the fit: 'column 0', 'column 1'" in body["message"]
    )


def test_other_columns_are_said_by_their_difference(answer):
    _, body = answer(linear(["x1", "x2"]), "x1,x3\n1,2\n", feature_columns=["x1", "x3"])
    assert body["message"] == (
        "the model, a LinearRegression, does not fit the feature columns: it was fitted on 2 columns, and feature_columns lacks "
        "'x2' and feature_columns adds 'x3': give 'x1', 'x2' as feature_columns"
    )


def test_the_advice_goes_along_where_step_functions_takes_it(s3, put):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,secret\n")
    with pytest.raises(handler.InvalidDataError) as raised:
        handler.lambda_handler(make_event(raise_errors=True), None)
    assert str(raised.value).endswith(
        "column 'x2': a text of 6 character(s) is not a number. What to do: correct the value, or keep such rows aside "
        "(on_bad_row: quarantine)"
    )


def test_lightgbms_categories_are_its_own_limit(answer):
    columns = pd.DataFrame({"x1": pd.Categorical(list("abcd") * 25), "x2": np.arange(100.0)})
    model = LGBMRegressor(n_estimators=2, verbose=-1).fit(columns, np.arange(100.0))
    for quarantine in ({}, {"on_bad_row": "quarantine"}):
        _, body = answer(model, "x1,x2\na,1\nb,2\n", **quarantine)
        assert body["error"] == "ModelError"
        assert "was fitted on pandas' categories, which neither CSV nor JSON Lines has: " in body["message"]
        assert "fit it with an encoder in its pipeline" in body["message"]


@pytest.mark.parametrize("kind", [LGBMRegressor, XGBRegressor])
def test_boosted_models_refuse_the_same_columns_in_another_order_as_well(answer, kind):
    frame = pd.DataFrame({"x1": range(40), "x2": [1.0, 2.0] * 20})
    model = kind(n_estimators=1, verbosity=0).fit(frame, frame.x1.tolist())
    _, body = answer(model, "x1,x2\n1,2\n", feature_columns=["x2", "x1"])
    assert body["message"] == (
        f"the model, a {kind.__name__}, does not fit the feature columns: they are the same columns in another order: column 1 was "
        "'x1' in the fit, and is 'x2' in feature_columns: give them in the order of the fit: 'x1', 'x2'"
    )
    _, body = answer(model, "x1,x2,x3\n1,2,3\n", feature_columns=["x1", "x2", "x3"])
    assert "feature_columns adds 'x3': give 'x1', 'x2' as feature_columns" in body["message"]
    assert answer(model, "x2,x1\n1,2\n", feature_columns=["x1", "x2"])[0] == 200
