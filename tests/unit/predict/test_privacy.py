"""Errors, logs and receipts say where a bad row is, never what it holds; only the list of rejected rows has values."""

import json
import logging

import numpy as np
import pandas as pd
import pytest
from harness import DATA, MODEL, OUTPUT, invoke, linear
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

SECRETS = ("secret", "31337", "3.1337")


def encoder():
    fitted = pd.DataFrame({"x1": ["a", "b"], "x2": [1.0, 2.0]})
    columns = ColumnTransformer([("texts", OneHotEncoder(), ["x1"])], remainder="passthrough")
    return make_pipeline(columns, LinearRegression()).fit(fitted, [1.0, 2.0])


class Talkative:
    """Repeats what it was given, in quotes and bare."""

    categories_ = [np.array([1.0])] * 2  # what the handler looks at to decide that both columns are numbers

    def predict(self, features):
        values = np.asarray(features, dtype=float)
        if (values > 3).any():
            raise ValueError(f"too large: {values.max()} in {values.tolist()}")
        return values[:, 0]


@pytest.mark.parametrize(
    ("model", "bad", "good"),
    [
        (linear(), "1,secret", "1,2"),
        (linear(), "1,secret it's", "1,2"),
        (linear(), '1,"31337""secret"', "1,2"),
        (linear(), "1,secret\0", "1,2"),
        (encoder(), "secret,1", "a,2"),
        (encoder(), "it's secret [31337,1", "a,2"),
        (Talkative(), "1,3.1337", "1,2"),
        (Talkative(), "31337,1", "1,2"),
    ],
)
def test_no_value_of_a_bad_row_leaves_but_by_the_list_of_rejected_rows(s3, put, get, caplog, model, bad, good):
    put(MODEL, model)
    put(DATA, f"x1,x2\n{good}\n{bad}\n")
    with caplog.at_level(logging.DEBUG, logger="prediction_handler"):
        status, failed = invoke()
        kept, scored = invoke(on_bad_row="quarantine", receipt_s3_uri=f"{OUTPUT}.json")
    assert (status, failed["error"], kept, scored["rejected_rows"]) == (400, "InvalidDataError", 200, 1)
    told = json.dumps([failed, scored]) + caplog.text + get(f"{OUTPUT}.json").decode()
    assert not [secret for secret in SECRETS if secret in told], told
    assert any(secret.encode() in get(f"{OUTPUT}.rejected.csv") for secret in SECRETS)


@pytest.mark.parametrize("bad", ["1,secret,31337", "secret", '1,"secret"31337', "1,secret\r31337", '1,"secret'])
def test_neither_does_one_of_a_row_that_is_not_csv(s3, put, caplog, bad):
    put(MODEL, linear())
    put(DATA, f"x1,x2\n1,2\n{bad}\n")
    status, body = invoke()
    assert (status, body["error"]) == (400, "InvalidDataError")
    assert not [secret for secret in SECRETS if secret in json.dumps(body) + caplog.text]


def test_a_file_of_which_no_row_fits_tells_the_models_words_but_not_the_values(s3, put):
    put(MODEL, encoder())
    put(DATA, "x1,x2\nsecret,1\nsecret,31337\n")
    status, body = invoke()
    assert (status, body["error"]) == (400, "InvalidDataError")
    assert "Found unknown categories" in body["message"]
    assert not [secret for secret in SECRETS if secret in body["message"]]
