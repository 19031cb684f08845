"""Events, answers and errors; test_documented_messages.py provokes the errors of S3 and of models."""

import re

import joblib
import pandas as pd
import pytest
from harness import (
    BUCKET,
    DATA,
    MODEL,
    OUTPUT,
    invoke,
    linear,
    make_event,
    score_locally,
)

import prediction_handler as handler

# --- URIs and events ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://bucket/key", ("bucket", "key")),
        ("s3://my.bucket-1/a/b/c d.csv", ("my.bucket-1", "a/b/c d.csv")),
        ("s3://bucket/key?versionId=1#x", ("bucket", "key?versionId=1#x")),
        ("s3://12345/key", ("12345", "key")),
    ],
)
def test_parse_s3_uri_takes_bucket_and_nested_key(uri, expected):
    assert handler.parse_s3_uri(uri) == expected


@pytest.mark.parametrize(
    "uri",
    ["", "bucket/key", "https://bucket/key", "s3://", "s3://bucket", "s3://bucket/", "s3:///key", "s3://Bad_Bucket/k", None, 7,
     *(f"s3://{bucket}/key" for bucket in ("a..b", "192.168.0.1", "-bucket", "bucket.", "ab", "b" * 64, "user@bucket"))],
)  # fmt: skip
def test_parse_s3_uri_refuses_everything_else(uri):
    with pytest.raises(ValueError, match="s3://bucket/key"):
        handler.parse_s3_uri(uri)


def test_validate_event_names_every_problem_at_once():
    with pytest.raises(handler.InvalidRequestError) as caught:
        handler.validate_event(
            {"model_s3_uri": "nope", "feature_columns": "x1", "prediction_column_name": "p", "feature_colums": []}
        )
    message = str(caught.value)
    for problem in (
        "unknown field feature_colums",
        "model_s3_uri must be",
        "data_s3_uri is missing",
        "output_s3_uri is missing",
        "feature_columns must be",
    ):
        assert problem in message


@pytest.mark.parametrize(
    "field",
    [
        {"byte_range": [5, 5]}, {"byte_range": [0]}, {"byte_range": "0-5"},
        {"feature_columns": []}, {"feature_columns": ["a", "a"]}, {"feature_columns": ["a", 1]},
        {"prediction_method": "transform"}, {"model_sha256": "abc"}, {"chunk_index": True}, {"raise_errors": "yes"},
        {"receipt_s3_uri": "receipt"}, {"probe_rows": -1}, {"prediction_column_name": ""},
    ],
)  # fmt: skip
def test_validate_event_refuses_mistyped_fields(field):
    with pytest.raises(handler.InvalidRequestError, match=next(iter(field))):
        handler.validate_event(make_event(**field))


def test_null_counts_as_absent():
    handler.validate_event(make_event(model_sha256=None, byte_range=None))


@pytest.mark.parametrize("event", [None, [], "text", 3])
def test_an_event_that_is_no_object_is_answered(event):
    assert handler.lambda_handler(event, None)["statusCode"] == 400


# --- a whole run -------------------------------------------------------------------------------------------------------------


def test_features_are_selected_and_ordered_as_asked(s3, put, get):
    put(MODEL, linear(columns=("b", "a"), weights=(10.0, 1.0)))
    put(DATA, "a,zzz,b\n1,text,2\n")
    status, body = invoke(feature_columns=["b", "a"])
    assert (status, body["output_s3_uri"], body["rows"]) == (200, OUTPUT, 1)
    assert set(body["milliseconds"]) == {"init", "header", "model", "predict", "upload", "total"}
    assert float(get(OUTPUT).decode().strip().rpartition(",")[2]) == pytest.approx(21.0)


def test_download_and_upload_through_s3(s3, put, get, tmp_path):
    put(DATA, b"x1,x2\n1,2\n")
    handler.download_from_s3(s3, DATA, str(tmp_path / "local.csv"))
    assert (tmp_path / "local.csv").read_bytes() == b"x1,x2\n1,2\n"
    handler.upload_to_s3(s3, str(tmp_path / "local.csv"), f"s3://{BUCKET}/copy.csv")
    assert get(f"s3://{BUCKET}/copy.csv") == b"x1,x2\n1,2\n"


def test_load_model_load_data_and_make_predictions_score_a_frame_by_hand(tmp_path):
    joblib.dump(linear(), tmp_path / "m.joblib")
    (tmp_path / "in.csv").write_bytes(b"id,x2,x1\n1,2,3\n2,,1\n")
    model = handler.load_model(str(tmp_path / "m.joblib"))
    data = handler.load_data(str(tmp_path / "in.csv"), ["x1", "x2"])
    assert list(data.columns) == ["x1", "x2"]
    assert data["x2"].isna().tolist() == [False, True]
    predictions = handler.make_predictions(model, data.iloc[:1], ["x1", "x2"])
    assert isinstance(predictions, pd.Series)
    assert predictions.tolist() == pytest.approx([4.0])
    with pytest.raises(ValueError, match="no column 'nope'"):
        handler.make_predictions(model, data, ["x1", "nope"])
    with pytest.raises(ValueError, match="no rows"):
        handler.make_predictions(model, data.iloc[:0], ["x1", "x2"])


def test_raise_errors_raises_the_named_error(s3, put):
    put(DATA, "x1,x2\n1,2\n")
    with pytest.raises(handler.InputNotFoundError, match=r"models/m\.joblib does not exist"):
        handler.lambda_handler(make_event(raise_errors=True), None)


def test_tmp_is_left_clean_after_success_and_error(s3, put, tmp_path, monkeypatch):
    monkeypatch.setattr(handler.tempfile, "tempdir", str(tmp_path))
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    assert invoke()[0] == 200
    put(DATA, "x1,x2\n1,zwei\n")
    assert invoke()[0] == 400
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (b"", "InvalidDataError", "empty"),
        (b"x1,x2\n", "InvalidDataError", "no rows"),
        (b"x1,x2", "InvalidDataError", "no rows"),
        (b'"x1,x2', "InvalidDataError", "no end to its header"),
        (b"x1,y\n1,2\n", "InvalidRequestError", "no column 'x2'"),
        (b"x1,x2,prediction\n1,2,3\n", "InvalidRequestError", "'prediction' already"),
        (b"x1,x2,x1\n1,2,3\n", "InvalidDataError", "more than one column named 'x1'"),
        (b"x1,x2\n1,2\n3,zwei\n", "InvalidDataError", "row 2 (byte 10), column 'x2': a text of 4 character(s) is not a number"),
        (
            b"x1,x2\n1,2\n3\n",
            "InvalidDataError",
            "row 2 (byte 10) has 1 field(s), the header has 2: correct that row or, if the file",
        ),
        (b"x1,x2\n1,2,3\n", "InvalidDataError", "row 1 (byte 6) has 3 field(s), the header has 2: quote the values"),
        (b"x1,x2\n1,2,\n", "InvalidDataError", "row 1 (byte 6) has 3 field(s), the header has 2: take away the comma"),
        (b"x1,x2\n1,2\r\n3,4\n", "InvalidDataError", "row 1 (byte 6): a carriage return"),
        (b"x1,x2\r\n1,2\r\n3,4\n", "InvalidDataError", "row 2 (byte 12): ends in LF"),
        (b'x1,x2\n1,"2\n3,4\n', "InvalidDataError", "never closed"),
        (b'x1,x2\n1,2\n1"2",4\n', "InvalidDataError", "row 2 (byte 10): a quote inside"),
        (b'x1,x2\n1,"2"3\n', "InvalidDataError", "row 1 (byte 6): a quote inside"),
        (b"x1,x2,n\n1,2,\xff\n", "InvalidDataError", "row 1 (byte 8): bytes that are not UTF-8: save it as UTF-8"),
        (b"x1,x2\n1,2\n,4\n", "InvalidDataError", "row 2 (byte 10), no value in 'x1': the model refuses this row"),
        (b"PK\x03\x04\x00\x00\x00zip\n\x00\x00", "InvalidDataError", "is not CSV but a zip archive (or an Excel workbook)"),
        (b"x1,x2\n1,1_000\n", "InvalidDataError", "column 'x2': a text of 5 character(s) is not a number"),
    ],
)
def test_bad_data_is_named_with_row_and_reason(tmp_path, data, error, says):
    with pytest.raises(getattr(handler, error), match=re.escape(says)):
        score_locally(data, tmp_path, model=linear(), feature_columns=["x1", "x2"], prediction_column_name="prediction")
