"""Data without rows, with `on_no_rows: succeed`: the probe, and an output that is a header."""

import numpy as np
import pandas as pd
import pytest
from harness import DATA, MODEL, OUTPUT, FirstColumn, frame, invoke, linear, make_event, mixed_pipeline
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

import prediction_handler as handler

SUCCEED = {"on_no_rows": "succeed"}
HEADERS = {
    "LF": (b"x1,x2\n", b"x1,x2,prediction\n"),
    "CRLF and a BOM": (b"\xef\xbb\xbfx1,x2\r\n", b"\xef\xbb\xbfx1,x2,prediction\r\n"),
    "no line end": (b"x1,x2", b"x1,x2,prediction\n"),
    "blank lines": (b"x1,x2\n\n \n", b"x1,x2,prediction\n\n \n"),
    "a quoted name": (b'"x1",x2,"a ""b"",\nc"\n', b'"x1",x2,"a ""b"",\nc",prediction\n'),
}


class Refuses:
    """A model that takes no row but those it has seen."""

    classes_ = np.array(["no", "yes"])

    def predict(self, features):
        raise ValueError(f"never seen: {features}")


def probe(**fields):
    return invoke(probe_rows=1000, output_s3_uri=None, **fields)


@pytest.mark.parametrize(("data", "expected"), HEADERS.values(), ids=HEADERS)
def test_a_header_alone_gives_a_header(put, get, data, expected):
    put(MODEL, linear())
    put(DATA, data)

    status, body = invoke(**SUCCEED)
    assert status == 200, body
    assert get(OUTPUT) == expected
    assert (body["rows"], body["header_bytes"] + data.count(b"\n \n") * 3, body["input_bytes"]) == (0, len(expected), len(data))
    assert probe(**SUCCEED)[1]["prediction_columns"] == ["prediction"]


@pytest.mark.parametrize("data", [data for data, _ in HEADERS.values()], ids=HEADERS)
def test_without_the_option_it_is_refused(put, data):
    put(MODEL, linear())
    put(DATA, data)

    for answer in (invoke(), probe(), invoke(on_no_rows="fail"), probe(on_no_rows="fail")):
        assert (answer[0], answer[1]["error"]) == (400, "InvalidDataError")


@pytest.mark.parametrize("data", [{}, {"data_s3_uri": None}], ids=["a header", "no object"])
def test_the_prediction_columns_are_those_of_rows(put, data):
    frame_ = pd.DataFrame({"x1": [0.0, 1.0, 2.0], "x2": [1.0, 0.0, 1.0]})
    put(DATA, "x1,x2\n")
    several = LinearRegression().fit(frame_, frame_[["x1", "x2"]])
    classifier = RandomForestClassifier(3).fit(frame_, ["a", "b", "c"])
    for model, fields, columns in (
        (classifier, {}, [""]),
        (classifier, {"prediction_method": "predict_proba"}, ["_a", "_b", "_c"]),
        (LogisticRegression().fit(frame_, [0, 1, 0]), {"prediction_method": "decision_function"}, [""]),
        (several, {}, ["_0", "_1"]),
    ):
        put(MODEL, model)
        status, found = probe(**SUCCEED, **fields, **data)
        assert status == 200, found
        assert found["prediction_columns"] == [f"prediction{column}" for column in columns]
        assert (found["rows"], found["row_bytes"], found["rows_per_second"], found["warnings"]) == (0, 0, 0, [])
        assert found["model"]["estimator"] == type(model).__name__


def test_open_columns_are_empty_until_there_are_rows(put):
    put(MODEL, FirstColumn())
    put(DATA, "x1,x2\n")
    assert probe(**SUCCEED)[1]["column_types"] == {"x1": "empty", "x2": "empty"}


def test_texts_are_made_up_of_what_the_model_knows(put):
    data = frame()
    columns = ["a", "b", "c", "count", "city"]
    put(MODEL, mixed_pipeline(LinearRegression()).fit(data[columns], data["a"]))
    put(DATA, ",".join(columns))
    assert probe(**SUCCEED, feature_columns=columns)[1]["warnings"] == []


def test_a_model_that_refuses_what_is_made_up_is_no_failure_but_said(put):
    put(MODEL, Refuses())
    put(DATA, "x1,x2\n")
    status, found = probe(**SUCCEED)
    assert status == 200
    assert found["prediction_columns"] == ["prediction"]
    assert "made-up row" in found["warnings"][0]


def test_what_is_wrong_is_still_found(put):
    put(DATA, "x1,x2,prediction\n")
    put(MODEL, linear())
    assert "has a column 'prediction' already" in probe(**SUCCEED)[1]["message"]
    assert "has no column 'x3'" in probe(**SUCCEED, feature_columns=["x3"])[1]["message"]
    put(DATA, "x1,x2\n")
    assert probe(**SUCCEED, prediction_method="predict_proba")[1]["error"] == "ModelError"
    put(MODEL, b"no model")
    for data in ({}, {"data_s3_uri": None}):
        assert probe(**SUCCEED, **data)[1]["error"] == "ModelError"


def test_rows_are_not_overlooked(put):
    put(MODEL, linear())
    put(DATA, b"")
    assert "is empty" in probe()[1]["message"]
    put(DATA, b"x1,x2\n" + b"\n" * 100 + b"1,x\n")
    assert probe(**SUCCEED)[1]["error"] == "InvalidDataError"
    put(DATA, b"x1,x2\n1,2\n")
    assert probe(**SUCCEED)[1]["rows"] == 1


def test_only_a_probe_may_name_no_data():
    with pytest.raises(handler.InvalidRequestError, match="data_s3_uri is missing"):
        handler.validate_event(make_event(**SUCCEED, data_s3_uri=None))
    with pytest.raises(handler.InvalidRequestError, match="on_no_rows must be fail or succeed"):
        handler.validate_event(make_event(on_no_rows="skip"))
