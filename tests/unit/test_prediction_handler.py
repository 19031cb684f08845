"""The prediction handler, driven through moto's S3."""

import csv
import io
import json
import pickle
import random
import subprocess
import sys
import warnings
from pathlib import Path

import boto3
import joblib
import moto
import numpy as np
import pandas as pd
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ReadTimeoutError
from botocore.response import StreamingBody
from hypothesis import given, settings
from hypothesis import strategies as st
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
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeRegressor

import prediction_handler as handler

BUCKET = "handler-tests"
MODEL, DATA, OUTPUT = (f"s3://{BUCKET}/{key}" for key in ("models/m.joblib", "data/in.csv", "out/predictions.csv"))


class FirstColumn:
    """A model of somebody's own: only `predict`, which gives back its first feature."""

    def predict(self, features):
        return np.asarray(features)[:, 0]


@pytest.fixture
def s3(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with moto.mock_aws():
        handler._s3_client.cache_clear()
        handler._model_cache.clear()
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        yield client
    handler._s3_client.cache_clear()


@pytest.fixture
def put(s3):
    """Store a model or bytes at a URI."""

    def put(uri, content):
        if not isinstance(content, (bytes, str)):
            buffer = io.BytesIO()
            joblib.dump(content, buffer)
            content = buffer.getvalue()
        bucket, key = handler.parse_s3_uri(uri)
        s3.put_object(Bucket=bucket, Key=key, Body=content)

    return put


@pytest.fixture
def get(s3):
    def get(uri):
        bucket, key = handler.parse_s3_uri(uri)
        return s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    return get


def make_event(**fields):
    event = {
        "model_s3_uri": MODEL,
        "data_s3_uri": DATA,
        "output_s3_uri": OUTPUT,
        "prediction_column_name": "prediction",
        "feature_columns": ["x1", "x2"],
    }
    return {**event, **fields}


def invoke(**fields):
    """Invoke directly; returns status and decoded body."""
    response = handler.lambda_handler(make_event(**fields), None)
    assert set(response) == {"statusCode", "body"}
    return response["statusCode"], json.loads(response["body"])


def linear(columns=("x1", "x2"), weights=(2.0, -1.0)):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(50, len(columns))), columns=list(columns))
    return LinearRegression().fit(frame, frame.to_numpy() @ np.array(weights))


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
    assert set(body["milliseconds"]) == {"init", "header", "model", "predict", "upload"}
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
        (b"x1,x2\n1,2\n3,zwei\n", "InvalidDataError", "row 2 (byte 10), column 'x2': 'zwei' is not a number"),
        (b"x1,x2\n1,2\n3\n", "InvalidDataError", "row 2 (byte 10) has 1 field(s), the header has 2"),
        (b"x1,x2\n1,2,3\n", "InvalidDataError", "row 1 (byte 6) has 3 field(s), the header has 2"),
        (b"x1,x2\n1,2\n\n3,4\n", "InvalidDataError", "row 2 (byte 10): is empty, the header has 2 fields"),
        (b"x1,x2\n1,2\r\n3,4\n", "InvalidDataError", "row 1 (byte 6): a carriage return"),
        (b"x1,x2\r\n1,2\r\n3,4\n", "InvalidDataError", "row 2 (byte 12): ends in LF"),
        (b'x1,x2\n1,"2\n3,4\n', "InvalidDataError", "never closed"),
        (b'x1,x2\n1,2\n1"2",4\n', "InvalidDataError", "row 2 (byte 10): a quote inside"),
        (b'x1,x2\n1,"2"3\n', "InvalidDataError", "row 1 (byte 6): a quote inside"),
        (b"x1,x2,n\n1,2,\xff\n", "InvalidDataError", "row 1 (byte 8): bytes that are not UTF-8"),
        (b"x1,x2\n1,9007199254740993\n", "InvalidDataError", "'9007199254740993' is an integer too large"),
        (b"x1,x2\n1,2\n,4\n", "InvalidDataError", "row 2 (byte 10), no value in 'x1': the model refuses this row"),
        (b"PK\x03\x04\x00\x00\x00zip\n\x00\x00", "InvalidDataError", "is it a CSV file?"),
        (b"x1,x2\n1,1_000\n", "InvalidDataError", "'1_000' is not a number"),
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
        (b"", "joblib can load"),
        (b"not a pickle at all", "joblib can load"),
        (pickle.dumps(linear())[:-100], "joblib can load"),
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
    assert "x3" in body["message"]


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
    monkeypatch.setattr(handler, "_predict_file", lambda *_: 1 / 0)
    status, body = invoke()
    assert (status, body["error"]) == (500, "InternalError")
    assert "division" not in body["message"]


# --- chunks, receipts, probe ---------------------------------------------------------------------------------------------------


def test_chunks_of_an_object_join_to_the_whole(s3, put, get):
    put(MODEL, FirstColumn())  # exact; a linear model's last bits depend on how many rows BLAS sums at once
    records = [f'{i},{i * 0.5},"line\n{i}"\r\n'.encode() for i in range(200)]
    header = b"\xef\xbb\xbfx1,x2,note\r\n"
    put(DATA, header + b"".join(records))
    assert invoke()[0] == 200
    whole = get(OUTPUT)

    cut = len(header) + sum(map(len, records[:77]))
    size = len(header) + sum(map(len, records))
    bodies = []
    for index, byte_range in enumerate(([0, cut], [cut, size])):
        part, receipt_uri = f"s3://{BUCKET}/w/part-{index}.csv", f"s3://{BUCKET}/w/part-{index}.json"
        handler.lambda_handler(
            make_event(byte_range=byte_range, chunk_index=index, output_s3_uri=part, receipt_s3_uri=receipt_uri, raise_errors=True),
            None,
        )
        receipt = json.loads(get(receipt_uri))
        assert receipt["rows_read"] == receipt["rows_written"] == (77, 123)[index]
        assert receipt["input_bytes"] == byte_range[1] - byte_range[0]
        assert receipt["output_bytes"] == len(get(part))
        assert receipt["quote_parity"] == 0
        assert receipt["output_etag"] == s3.head_object(Bucket=BUCKET, Key=f"w/part-{index}.csv")["ETag"]
        assert get(part)[: receipt["header_bytes"]] == b"\xef\xbb\xbfx1,x2,note,prediction\r\n"
        bodies.append(get(part)[receipt["header_bytes"] :])
    assert whole == b"\xef\xbb\xbfx1,x2,note,prediction\r\n" + b"".join(bodies)


def test_a_range_that_cuts_a_quoted_field_is_an_unsafe_split(s3, put):
    put(MODEL, linear())
    data = b'x1,x2,note\n1,2,"a\nb"\n3,4,c\n'
    put(DATA, data)
    cut = data.index(b"b")
    for byte_range in ([0, cut], [cut, len(data)]):
        status, body = invoke(byte_range=byte_range)
        assert (status, body["error"]) == (400, "UnsafeSplitError"), byte_range


def test_a_range_beyond_the_object_is_named(s3, put):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    status, body = invoke(byte_range=[0, 50])
    assert (status, body["error"]) == (400, "InputChangedError")


@pytest.mark.parametrize("probe_rows", [1, 3, 1000])
def test_the_probe_scores_the_first_rows_and_writes_nothing(s3, put, probe_rows, monkeypatch):
    put(MODEL, linear())
    put(DATA, "x1,x2\n" + "1,2\n" * 20)
    monkeypatch.setattr(handler, "BLOCK_BYTES", 50)
    event = make_event(probe_rows=probe_rows, raise_errors=True)
    del event["output_s3_uri"]
    result = handler.lambda_handler(event, None)
    assert result["rows"] == min(probe_rows, 11)
    assert result["prediction_columns"] == ["prediction"]
    assert result["model"]["estimator"] == "LinearRegression"
    assert len(result["model"]["sha256"]) == 64
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix="out/")["KeyCount"] == 0


@pytest.mark.parametrize("data", [b"", b"x1,x2", b"x1,x2\n", b"x1,x2\n1,zwei\n"])
def test_the_probe_finds_bad_data(s3, put, data):
    put(MODEL, linear())
    put(DATA, data or b"")
    with pytest.raises((handler.InvalidDataError, handler.InputChangedError)):
        handler.lambda_handler(make_event(probe_rows=10, raise_errors=True), None)


def test_a_body_that_breaks_midway_is_taken_up_where_it_broke(s3, put, get, monkeypatch):
    put(MODEL, linear())
    put(DATA, "x1,x2\n" + "".join(f"{i},{i}\n" for i in range(300_000)))
    assert invoke()[0] == 200
    expected = get(OUTPUT)
    broken = []
    iter_chunks = StreamingBody.iter_chunks

    def break_once(body, size):
        for count, piece in enumerate(iter_chunks(body, size)):
            if count == 1 and not broken:
                broken.append(True)
                raise ReadTimeoutError(endpoint_url="s3")
            yield piece

    monkeypatch.setattr(StreamingBody, "iter_chunks", break_once)
    assert invoke()[0] == 200
    assert broken
    assert get(OUTPUT) == expected


def test_the_model_is_kept_between_invocations_and_changed_with_its_etag(s3, put, monkeypatch):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    loads = []
    load_model = handler.load_model
    monkeypatch.setattr(handler, "load_model", lambda path: loads.append(path) or load_model(path))
    invoke()
    invoke()
    assert len(loads) == 1
    put(MODEL, linear(weights=(3.0, 3.0)))
    invoke()
    assert len(loads) == 2


def test_models_are_dropped_by_count_and_by_bytes(s3, put, monkeypatch):
    put(DATA, "x1,x2\n1,2\n")
    uris = [f"s3://{BUCKET}/models/{number}.joblib" for number in range(6)]
    for uri in uris:
        put(uri, linear())
        assert invoke(model_s3_uri=uri)[0] == 200
    assert [uri for uri, _ in handler._model_cache] == uris[-handler.MODEL_CACHE_SIZE :]
    monkeypatch.setattr(handler, "MODEL_CACHE_BYTES", 1)
    invoke(model_s3_uri=uris[0])
    assert [uri for uri, _ in handler._model_cache] == [uris[0]]


def test_a_model_of_another_scikit_learn_is_a_warning_and_an_error_if_strict(s3, put, monkeypatch):
    import sklearn.base  # noqa: PLC0415  # the version that pickles carry is this module's

    monkeypatch.setattr(sklearn.base, "__version__", "0.1.2")
    put(MODEL, linear())
    monkeypatch.undo()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    put(DATA, "x1,x2\n1,2\n")
    status, body = invoke()
    assert (status, body["model"]["sklearn_version"]) == (200, "0.1.2")
    assert "fitted with scikit-learn 0.1.2" in body["model"]["warnings"][0]
    status, body = invoke(strict=True)
    assert (status, body["error"]) == (400, "ModelError")
    assert "0.1.2" in body["message"]


def test_a_function_without_pandas_scores_the_same(tmp_path):
    """In a process of its own, where importing pandas fails, as in a slim package."""
    data = frame()
    fitted = {"linear": (["a", "c"], Ridge()), "mixed": (["a", "b", "c", "count", "city"], mixed_pipeline(Ridge()))}
    data.to_csv(tmp_path / "in.csv", index=False)
    for name, (columns, estimator) in fitted.items():
        joblib.dump(estimator.fit(data[columns], data["a"]), tmp_path / f"{name}.joblib")
    columns_by_name = {name: columns for name, (columns, _) in fitted.items()}
    script = f"""
import sys, warnings
class NoPandas:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pandas":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NoPandas())
warnings.simplefilter("error")
sys.path.insert(0, {str(Path(handler.__file__).parent)!r})
from pathlib import Path
import prediction_handler as handler
folder = Path({str(tmp_path)!r})
for name, columns in {columns_by_name!r}.items():
    model = handler._Model(handler.load_model(folder / f"{{name}}.joblib"), {{}})
    event = {{"feature_columns": columns, "prediction_column_name": "p", "data_s3_uri": "s3://b/k"}}
    source, data = handler._Source("s3://b/k", 0), folder / "in.csv"
    handler._predict_file(data, folder / f"{{name}}.csv", handler._local_header(data, "s3://b/k"), source, model, event)
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    for name, (columns, estimator) in fitted.items():
        np.testing.assert_allclose(pd.read_csv(tmp_path / f"{name}.csv")["p"], estimator.predict(data[columns]), rtol=1e-12)


def test_a_model_that_needs_dataframes_says_so_without_pandas(tmp_path, monkeypatch):
    monkeypatch.setattr(handler, "_has_pandas", lambda: False)
    with pytest.raises(handler.ModelError, match="no pandas"):
        score_locally(b"x1\n1\n", tmp_path)


# --- predictions equal to pandas and scikit-learn -------------------------------------------------------------------------------


def frame(rows=500, seed=0):
    generator = np.random.default_rng(seed)
    data = pd.DataFrame(generator.normal(size=(rows, 3)), columns=["a", "b", "c"])
    data["flag"] = generator.choice([True, False], rows)
    data["count"] = generator.integers(0, 9, rows)
    data["city"] = generator.choice(["Zürich", "New York, NY", "08", "NA?"], rows)
    data.loc[::7, "b"] = np.nan
    return data


def mixed_search():
    return make_pipeline(StandardScaler(), Ridge())


def mixed_pipeline(final):
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    return make_pipeline(
        ColumnTransformer(
            [("numbers", numbers, ["a", "b", "c", "count"]), ("text", OneHotEncoder(handle_unknown="ignore"), ["city"])]
        ),
        final,
    )


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
def test_missing_values_are_those_of_pandas(tmp_path, spelling, quote):
    data = f"x1,n\n{quote}{spelling}{quote},0\n2.5,0\n".encode()
    assert pd.read_csv(io.BytesIO(data))["x1"].isna().tolist() == [True, False]
    _, output = score_locally(data, tmp_path)
    assert [line.rpartition(",")[2] for line in output.decode().splitlines()[1:]] == ["nan", "2.5"]


def test_what_is_not_finite_is_written_so_that_it_reads_back(s3, put, get):
    put(MODEL, FirstColumn())
    put(DATA, "x1\n1\nNA\ninf\n-Infinity\n")
    assert invoke(feature_columns=["x1"])[0] == 200
    assert get(OUTPUT).splitlines() == [b"x1,prediction", b"1,1.0", b"NA,nan", b"inf,inf", b"-Infinity,-inf"]


# --- quarantine -------------------------------------------------------------------------------------------------------------------


class Picky:
    """Refuses negative numbers, whole batches at once, as scikit-learn refuses missing values."""

    def predict(self, features):
        values = np.asarray(features, dtype=float)[:, 0]
        if (values < 0).any():
            raise ValueError("negative")
        return values * 2


@pytest.mark.parametrize("block_bytes", [20, 4_000_000])
def test_rows_that_cannot_be_scored_keep_their_place(tmp_path, block_bytes):
    data = b"id,x1\na,1\nb,zwei\nc,3\nd,-4\ne,9007199254740993\nf,6\n"
    with pytest.raises(handler.InvalidDataError):
        score_locally(data, tmp_path, block_bytes, Pickier())

    facts, output = score_locally(data, tmp_path, block_bytes, Pickier(), on_bad_row="quarantine")

    assert output == b"id,x1,p\na,1,2.0\nb,zwei,\nc,3,6.0\nd,-4,\ne,9007199254740993,\nf,6,12.0\n"
    assert (facts.rows, facts.rejected_rows) == (6, 3)
    rejected = list(csv.reader((tmp_path / "part.csv.rejected.csv").open(newline="")))
    assert rejected[0] == ["data_s3_uri", "row", "byte", "reason"]
    assert [(int(row), data[int(byte) : int(byte) + 1]) for _, row, byte, _ in rejected[1:]] == [(2, b"b"), (4, b"d"), (5, b"e")]
    reasons = [reason for *_, reason in rejected[1:]]
    assert "'zwei' is not a number" in reasons[0]
    assert "refuses this row: negative" in reasons[1]
    assert "too large to be exact" in reasons[2]


class Pickier(Picky):
    """The same, as an estimator of numbers: so that text does not make the whole column text."""

    categories_ = [np.array([1.0, 2.0])]  # noqa: RUF012  # what the handler looks at to decide that x1 is numbers


def test_missing_values_are_rejected_together_not_row_by_row(tmp_path, monkeypatch):
    fitted = pd.DataFrame({"x1": [1.0, 2.0], "x2": [0.0, 1.0]})
    model = LinearRegression().fit(fitted, [1.0, 2.0])
    calls = []
    predict = LinearRegression.predict
    monkeypatch.setattr(LinearRegression, "predict", lambda self, features: calls.append(len(features)) or predict(self, features))
    rows = [f"{i},{'' if i % 3 else i}" for i in range(3000)]
    data = ("x1,x2\n" + "\n".join(rows) + "\n").encode()

    facts, output = score_locally(data, tmp_path, model=model, feature_columns=["x1", "x2"], on_bad_row="quarantine")

    assert facts.rejected_rows == 2000
    assert len(calls) < 60, "about one call for each halving"
    lines = output.decode().splitlines()[1:]
    assert [line.endswith(",") for line in lines] == [bool(i % 3) for i in range(3000)]
    reason = list(csv.reader((tmp_path / "part.csv.rejected.csv").open(newline="")))[1][3]
    assert reason.startswith("no value in 'x2': the model refuses this row: Input X contains NaN")


def test_blocks_without_one_good_row_have_as_many_empty_predictions(tmp_path):
    fitted = pd.DataFrame({"x1": [0.0, 1.0, 2.0]})
    model = LogisticRegression().fit(fitted, ["a", "b", "c"])
    data = b"x1\nbad\nworse\n1\n"
    facts, output = score_locally(data, tmp_path, 4, model, on_bad_row="quarantine", prediction_method="predict_proba")
    assert output.splitlines()[:3] == [b"x1,p_a,p_b,p_c", b"bad,,,", b"worse,,,"]
    assert (facts.rows, facts.rejected_rows) == (3, 2)


def test_a_model_that_refuses_everything_is_a_model_error_in_quarantine_too(tmp_path):
    model = linear(columns=("x1", "x2"))
    with pytest.raises(handler.ModelError, match="does not fit"):
        score_locally(b"x1\n1\n2\n3\n", tmp_path, model=model, on_bad_row="quarantine")


def test_the_list_of_rejected_rows_lies_beside_the_output(s3, put, get):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n3,zwei\n")
    status, body = invoke(on_bad_row="quarantine")
    assert (status, body["rows"], body["rejected_rows"]) == (200, 2, 1)
    assert b"\n" + DATA.encode() + b",2,10," in get(f"{OUTPUT}.rejected.csv")


# --- any CSV ---------------------------------------------------------------------------------------------------------------------

ANY_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@st.composite
def csv_files(draw):
    """A table of any text with one numeric column, and its bytes in some dialect of RFC 4180."""
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    rows = draw(st.lists(st.tuples(ANY_TEXT, st.floats(allow_nan=False, allow_infinity=False), ANY_TEXT), min_size=1, max_size=30))
    always = draw(st.booleans())

    def written(value):
        # Not csv.writer: before Python 3.13 it leaves a lone carriage return unquoted, which RFC 4180 does not know.
        text = str(value)
        return '"' + text.replace('"', '""') + '"' if always or set(text) & set(',"\r\n') else text

    data = "".join(",".join(map(written, row)) + line_end for row in [("left", "x1", "right"), *rows]).encode()
    if draw(st.booleans()):
        data = data.removesuffix(line_end.encode())
    return rows, draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + data


def score_locally(data, folder, block_bytes=4_000_000, model=None, **fields):
    """Score bytes as a file of one feature `x1`; returns the part's facts and bytes."""
    (folder / "in.csv").write_bytes(data)
    header = handler._local_header(folder / "in.csv", DATA)
    source = handler._Source(DATA, 0)
    event = {"feature_columns": ["x1"], "prediction_column_name": "p", "data_s3_uri": DATA, **fields}
    original, handler.BLOCK_BYTES = handler.BLOCK_BYTES, block_bytes
    try:
        loaded = handler._Model(model or FirstColumn(), {})
        facts = handler._predict_file(folder / "in.csv", folder / "part.csv", header, source, loaded, event)
    finally:
        handler.BLOCK_BYTES = original
    return facts, (folder / "part.csv").read_bytes()


@settings(deadline=None)
@given(csv_files(), st.integers(1, 400))
def test_every_field_and_prediction_comes_back(tmp_path_factory, table, block_bytes):
    """Python's csv module is the oracle: any text, any line end, any quoting, any block size."""
    rows, data = table
    facts, output = score_locally(data, tmp_path_factory.mktemp("any"), block_bytes)

    assert facts.rows == len(rows)
    read = list(csv.reader(io.StringIO(output.decode("utf-8-sig"), newline=""), strict=True))
    assert read[0] == ["left", "x1", "right", "p"]
    assert [row[:3] for row in read[1:]] == [[left, str(x1), right] for left, x1, right in rows]
    assert [float(row[3]) for row in read[1:]] == [x1 for _, x1, _ in rows]
    line_end = b"\r\n" if data[:40].split(b"\n")[0].endswith(b"\r") else b"\n"
    assert output.endswith(line_end)
    assert output[: facts.header_bytes].endswith(b"p" + line_end)


@settings(deadline=None)
@given(csv_files(), st.integers(1, 400), st.randoms(use_true_random=False))
def test_a_damaged_file_is_refused_or_read_as_the_csv_module_reads_it(
    tmp_path_factory, table, block_bytes, generator: random.Random
):
    """Never misplaced: what is accepted has the same fields as the csv module's strict reading."""
    _, data = table
    damaged = bytearray(data)
    for _ in range(generator.randint(1, 3)):
        damaged.insert(generator.randint(0, len(damaged)), generator.choice(b'",\r\n\xffa'))
    damaged = bytes(damaged)
    try:
        _, output = score_locally(damaged, tmp_path_factory.mktemp("damaged"), block_bytes)
    except (handler.InvalidDataError, handler.InvalidRequestError):
        return
    expected = list(csv.reader(io.StringIO(damaged.decode("utf-8-sig"), newline=""), strict=True))
    read = list(csv.reader(io.StringIO(output.decode("utf-8-sig"), newline=""), strict=True))
    assert [row[:-1] for row in read] == expected


NASTY = (
    b'\xef\xbb\xbf"le\r\nft",x1,"right"\r\n'
    b'"a ""b"", \r\n",1,\r\n'
    b',2.5e0,"""\r\n"""\r\n'
    b'"",-3,"\n\n\r\r"\r\n'
    b'\xc3\xa9\xe2\x82\xac,4,"\xf0\x9f\x98\x80,"\r\n'
    b'007," 5 ",NA\r\n'
    b'x,inf,"' + b"\r\n" * 40 + b'"\r\n'
    b"last,7,without a line end"
)


@pytest.mark.parametrize("block_bytes", range(1, len(NASTY) + 2))
def test_any_block_border_gives_the_same_output(tmp_path, block_bytes):
    """Borders inside quotes, doubled quotes, CRLF, multi-byte characters: every position is one once."""
    facts, output = score_locally(NASTY, tmp_path, block_bytes)
    assert (facts.rows, output) == (7, score_locally(NASTY, tmp_path)[1])
    assert facts.read == handler._Tally(rows=7, bytes=len(NASTY), quotes=NASTY.count(b'"'))
    records = output.removeprefix(b'\xef\xbb\xbf"le\r\nft",x1,"right",p\r\n')
    assert records.replace(b",1.0\r\n", b"\r\n").startswith(b'"a ""b"", \r\n",1,\r\n')


@pytest.mark.parametrize("cut", range(len(NASTY.split(b'"right"\r\n')[0]) + 9, len(NASTY)))
def test_a_file_cut_at_any_byte_is_refused_or_loses_only_its_end(tmp_path, cut):
    """What is left of a truncated file is whole records, or an error that says where."""
    try:
        facts, output = score_locally(NASTY[:cut], tmp_path)
    except handler.InvalidDataError as error:
        assert "byte" in str(error) or "no rows" in str(error)  # noqa: PT017  # either outcome is right
        return
    expected = list(csv.reader(io.StringIO(NASTY[:cut].decode("utf-8-sig"), newline=""), strict=True))
    read = list(csv.reader(io.StringIO(output.decode("utf-8-sig"), newline=""), strict=True))
    assert [row[:-1] for row in read] == expected
    assert facts.rows == len(expected) - 1


@pytest.fixture
def refuse(s3):
    """Make S3 answer a code to one operation on one key, each time."""

    class Raw:
        def __init__(self, body):
            self.body = body

        def stream(self):
            yield self.body

    def refuse(operation, key, code, status):
        def answer(request, **_):
            if request.url.split("?")[0].endswith(key):
                body = f"<Error><Code>{code}</Code><Message>refused</Message></Error>".encode()
                return AWSResponse(request.url, status, {"content-type": "application/xml"}, Raw(body))
            return None

        client = handler._s3_client()
        client.meta.config.retries["total_max_attempts"] = 1
        client.meta.events.register_first(f"before-send.s3.{operation}", answer)

    return refuse
