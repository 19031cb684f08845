"""Events, answers and errors, driven through moto's S3."""

import csv
import io
import pickle

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
)

import prediction_handler as handler

# --- URIs and events ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://bucket/key", ("bucket", "key")),
        ("s3://my.bucket-1/a/b/c d.csv", ("my.bucket-1", "a/b/c d.csv")),
        ("s3://bucket/key?versionId=1#x", ("bucket", "key?versionId=1#x")),
    ],
)
def test_parse_s3_uri_takes_bucket_and_nested_key(uri, expected):
    assert handler.parse_s3_uri(uri) == expected


@pytest.mark.parametrize(
    "uri",
    ["", "bucket/key", "https://bucket/key", "s3://", "s3://bucket", "s3://bucket/", "s3:///key", "s3://Bad_Bucket/k", None, 7],
)
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


def test_run_appends_the_prediction_and_changes_no_byte(s3, put, get):
    put(MODEL, linear())
    data = b'id,x1,note,x2\n007,1.10,"a, ""b""\nc",2\n12345678901234567890,-3,\xc3\xa9 NA ,0.5\n'
    put(DATA, data)

    status, body = invoke()

    assert status == 200
    assert body["output_s3_uri"] == OUTPUT
    assert body["rows"] == 2
    assert set(body["milliseconds"]) == {"init", "header", "model", "predict", "upload", "total"}
    output = get(OUTPUT)
    rows = list(csv.DictReader(io.StringIO(output.decode(), newline="")))
    assert list(rows[0])[-1] == "prediction"
    assert [float(row["prediction"]) for row in rows] == pytest.approx([0.2, -6.5])
    lines = [b"id,x1,note,x2,prediction", b'007,1.10,"a, ""b""\nc",2,', b"12345678901234567890,-3,\xc3\xa9 NA ,0.5,"]
    assert [output.startswith(lines[0] + b"\n"), *(line in output for line in lines[1:])] == [True, True, True]


def test_features_are_selected_and_ordered_as_asked(s3, put, get):
    put(MODEL, linear(columns=("b", "a"), weights=(10.0, 1.0)))
    put(DATA, "a,zzz,b\n1,text,2\n")
    status, _ = invoke(feature_columns=["b", "a"])
    assert status == 200
    assert float(get(OUTPUT).decode().strip().rpartition(",")[2]) == pytest.approx(21.0)


def test_features_in_another_order_than_fitted_are_refused(s3, put):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    status, body = invoke(feature_columns=["x2", "x1"])
    assert (status, body["error"]) == (400, "ModelError")
    assert "order" in body["message"]


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


# --- what the caller must change is 400, named, in one sentence ---------------------------------------------------------------


def test_missing_model(s3, put):
    put(DATA, "x1,x2\n1,2\n")
    status, body = invoke()
    assert (status, body["error"]) == (400, "InputNotFoundError")
    assert MODEL in body["message"]


def test_missing_data(s3, put):
    put(MODEL, linear())
    status, body = invoke()
    assert (status, body["error"]) == (400, "InputNotFoundError")
    assert DATA in body["message"]


def test_missing_bucket(s3, put):
    put(DATA, "x1,x2\n1,2\n")
    status, body = invoke(model_s3_uri="s3://no-such-bucket-here/m.joblib")
    assert (status, body["error"]) == (400, "InputNotFoundError")


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidObjectState"])
def test_unreadable_data(s3, put, refuse, code):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    refuse("GetObject", "data/in.csv", code, 403)
    status, body = invoke()
    assert (status, body["error"]) == (400, "InputNotFoundError")
    assert DATA in body["message"]
    assert code in body["message"]


def test_refused_upload(s3, put, refuse):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    refuse("PutObject", "out/predictions.csv", "AccessDenied", 403)
    status, body = invoke()
    assert (status, body["error"]) == (400, "InvalidRequestError")
    assert OUTPUT in body["message"]


def test_upload_to_a_missing_bucket(s3, put):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    status, body = invoke(output_s3_uri="s3://no-such-bucket-here/out.csv")
    assert (status, body["error"]) == (400, "InvalidRequestError")
    assert "does not exist" in body["message"]


def test_throttling_is_500_and_transient(s3, put, refuse):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    refuse("GetObject", "data/in.csv", "SlowDown", 503)
    status, body = invoke()
    assert (status, body["error"]) == (500, "TransientS3Error")


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (b"", "InvalidDataError", "empty"),
        (b"x1,x2\n", "InvalidDataError", "no rows"),
        (b"x1,x2", "InvalidDataError", "no rows"),
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
        (b"x1,x2,n\n1,2,\xff\n", "InvalidDataError", "row 1 (byte 8): bytes that are not UTF-8: save the file as UTF-8"),
        (b"x1,x2\n1,2\n,4\n", "InvalidDataError", "row 2 (byte 10), no value in 'x1': the model refuses this row"),
        (b"PK\x03\x04\x00\x00\x00zip\n\x00\x00", "InvalidDataError", "is not CSV but a zip archive (or an Excel workbook)"),
        (b"x1,x2\n1,1_000\n", "InvalidDataError", "column 'x2': a text of 5 character(s) is not a number"),
    ],
)
def test_bad_data_is_named_with_row_and_reason(s3, put, data, error, says):
    put(MODEL, linear())
    put(DATA, data)
    status, body = invoke()
    assert (status, body["error"]) == (400, error)
    assert says in body["message"]
    assert DATA in body["message"]
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix="out/")["KeyCount"] == 0


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (b"", "is empty"),
        (b"not a pickle at all", "is text, and no model"),
        (pickle.dumps(linear())[:-100], "ends too early"),
        ({"a": "dictionary"}, "has no predict"),
    ],
)
def test_a_corrupted_model_is_named(s3, put, model, says):
    put(MODEL, model)
    put(DATA, "x1,x2\n1,2\n")
    status, body = invoke()
    assert (status, body["error"]) == (400, "ModelError")
    assert says in body["message"]
    assert MODEL in body["message"]
    assert "/tmp" not in body["message"]


def test_a_model_for_other_columns_is_a_model_error(s3, put):
    put(MODEL, linear(columns=("x1", "x2", "x3"), weights=(1, 2, 3)))
    put(DATA, "x1,x2\n1,2\n3,4\n")
    status, body = invoke()
    assert (status, body["error"]) == (400, "ModelError")
    assert "it was fitted on 3 columns, and feature_columns lacks 'x3'" in body["message"]


def test_another_model_than_the_pinned_one_is_never_unpickled(s3, put, monkeypatch):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    monkeypatch.setattr(handler, "load_model", lambda path: pytest.fail(f"unpickled {path}"))
    status, body = invoke(model_sha256="0" * 64)
    assert (status, body["error"]) == (400, "ModelError")
    assert "pinned" in body["message"]


def test_the_pin_holds_for_a_cached_model_too(s3, put):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    assert invoke()[0] == 200
    assert invoke(model_sha256="0" * 64)[0] == 400


def test_a_changed_object_is_named(s3, put):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    for field in ("data_etag", "model_etag"):
        status, body = invoke(**{field: '"0123"'})
        assert (status, body["error"]) == (400, "InputChangedError"), field


def test_a_bug_is_500_and_shows_nothing(s3, put, monkeypatch):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    monkeypatch.setattr(handler, "_score_chunk", lambda *_: 1 / 0)
    status, body = invoke()
    assert (status, body["error"]) == (500, "InternalError")
    assert "division" not in body["message"]
