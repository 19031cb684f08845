"""DataFrames and estimators that `BatchPredictor` takes: as which files, and what is refused before anything starts."""

import json
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LinearRegression

from batch_predict import BatchPredictor
from batch_predict.errors import InvalidRequestError
from batch_predict.runs.in_memory import data_paths, index_of, model_path, read_output

FRAME = pd.DataFrame(
    {
        "id": ["007", "1.10", 'a "quoted", text', "two\nlines"],
        "x": [0.1, 1e300, np.nan, -0.0],
        "n": [9007199254740993, -1, 0, 2],
        "flag": [True, False, True, False],
        "maybe": pd.array([1, None, 3, 4], dtype="Int64"),
        "when": pd.to_datetime(["2026-11-24", "2026-11-25", None, "2026-11-26"]),
        "kind": pd.Categorical(["a", "b", None, "a"]),
    },
    index=[3, 1, 2, 0],
)


class Unpicklable:
    def __init__(self):
        self.function = lambda: None

    def predict(self, features):
        return features


def test_a_dataframe_is_the_csv_that_reads_back_to_its_values(tmp_path):
    (path,) = data_paths(FRAME, tmp_path)
    read = pd.read_csv(path, dtype={"id": str, "maybe": "Int64"}, parse_dates=["when"])
    assert list(read.columns) == list(FRAME.columns)  # no index among them
    expected = FRAME.reset_index(drop=True).astype({"kind": object})
    for column in expected:
        assert read[column].astype(object).where(read[column].notna(), None).tolist() == (
            expected[column].astype(object).where(expected[column].notna(), None).tolist()
        ), column


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-be"])
@pytest.mark.parametrize("said", [{}, {"header": False, "column_names": ["größe", "text"]}])
def test_a_dataframe_is_written_in_the_requests_dialect_and_its_output_read(tmp_path, said, encoding):
    csv = {"delimiter": ";", "decimal": ",", "encoding": encoding, "comment": "#"} | said
    frame = pd.DataFrame({"größe": [1.5, None], "text": ["ä;", "b"]})
    (path,) = data_paths(frame, tmp_path, {"csv": csv})
    written = '1,5;"ä;"\n;b\n'
    assert Path(path).read_bytes().decode(encoding) == ("" if said else "größe;text\n") + written
    output = '# "c"\n' + ("" if said else "größe;text;p\n") + '1,5;"ä;";2,5\n# d\n;b;0,5\n'
    (tmp_path / "out.csv").write_bytes(output.encode(encoding))
    read = read_output(tmp_path / "out.csv", {"csv": csv, "prediction_column_name": "p"})
    assert read.to_pydict() == {"größe": [1.5, None], "text": ["ä;", "b"], "p": [2.5, 0.5]}


def test_an_output_of_json_lines_is_read(tmp_path):
    (tmp_path / "out.jsonl").write_bytes(b'{"a":1,"p":2.5}\n{"a":2,"p":null}\n')
    read = read_output(tmp_path / "out.jsonl", {"csv": None, "output_s3_uri": "s3://bucket/out.jsonl"})
    assert read.to_pydict() == {"a": [1, 2], "p": [2.5, None]}


def test_files_and_frames_stand_in_the_given_order(tmp_path):
    paths = data_paths([FRAME, Path("in.csv"), "s3://bucket/data/", FRAME], tmp_path)
    assert paths == [f"{tmp_path}/DataFrame-1.csv", "in.csv", "s3://bucket/data/", f"{tmp_path}/DataFrame-4.csv"]
    assert index_of([FRAME, "in.csv"]) is None
    assert index_of((FRAME, FRAME)).tolist() == [3, 1, 2, 0] * 2


def test_a_dataframe_keeps_its_types_if_the_output_is_parquet(tmp_path):
    frame = pd.DataFrame({"id": ["007", None], 1: pd.Categorical(["a", "b"]), "n": pd.array([1, None], "Int64")}, index=[5, 6])
    (path,) = data_paths(frame, tmp_path, {"output_s3_uri": "out.parquet"})
    pd.testing.assert_frame_equal(pd.read_parquet(path), frame.rename(columns=str).reset_index(drop=True))
    for fields in ({"output_s3_uri": "out.jsonl"}, {"output_s3_uri": "out.parquet", "column_types": {"id": "text"}}):
        assert data_paths(frame, tmp_path, fields) == [f"{tmp_path}/DataFrame.csv"]
    with pytest.raises(InvalidRequestError, match=r"cannot be written as Parquet \(ArrowInvalid.*a name that ends in \.csv"):
        data_paths(pd.DataFrame({"x": [1, "a"]}), tmp_path, {"output_format": "parquet"})


def test_an_estimator_is_written_and_a_path_is_not(tmp_path):
    model = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
    path = model_path(model, tmp_path)
    assert path == f"{tmp_path}/LinearRegression.joblib"
    assert joblib.load(path).coef_ == model.coef_
    assert model_path(Path("m.joblib"), tmp_path) == "m.joblib"
    assert model_path("s3://bucket/m.joblib", tmp_path) == "s3://bucket/m.joblib"


def test_an_estimator_that_cannot_be_pickled_says_what_to_do(tmp_path):
    with pytest.raises(InvalidRequestError, match=r"the model, a Unpicklable, cannot be pickled .*: define its functions"):
        model_path(Unpicklable(), tmp_path)


@pytest.mark.parametrize(
    ("model", "names", "says"),
    [
        (LinearRegression, None, "model is the class LinearRegression: give a fitted estimator of it"),
        *((value, None, f"not a {name}") for value, name in (([1], "list"), (None, "NoneType"), (b"m.joblib", "bytes"))),
        (FRAME, None, "not a pandas.DataFrame"),
        ("m.joblib", "a,b", "feature_columns must be a list of names, not the text 'a,b'"),
        ("m.joblib", ["a", 1], "and 1 is an int"),
        ("m.joblib", 3, "not an int"),
    ],
)
def test_what_is_no_model_and_no_list_of_names_is_a_type_error(model, names, says):
    with pytest.raises(TypeError, match=says):
        BatchPredictor(model, names)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (FRAME["x"], "data must be a DataFrame, a path, an S3 URI, or a list of these, not a pandas.Series"),
        (FRAME.to_numpy(), "not a numpy.ndarray"),
        ([FRAME, 3], "not an int"),
        ([FRAME.to_dict()], "not a dict"),
        (iter(["in.csv"]), "not a list_iterator"),
        (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), "have 2 levels: give each column one name"),
    ],
)
def test_what_is_no_data_is_a_type_error_before_anything_starts(data, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    predictor = BatchPredictor(LinearRegression().fit([[1.0]], [1.0]), pd.Index(["a"]))
    for method in (predictor.plan, predictor.run, predictor.submit):
        with pytest.raises(TypeError, match=says):
            method(data, "out.csv")
    assert list(tmp_path.iterdir()) == []


def test_columns_that_are_not_given_are_not_in_the_request(tmp_path, monkeypatch):
    """Then the model knows them; and what an Index or an array names is JSON."""
    monkeypatch.chdir(tmp_path)
    model = LinearRegression().fit(pd.DataFrame({"x": [1.0, 2.0]}), [1.0, 2.0])
    for names, listed in ((None, {}), (np.array(["x"]), {"feature_columns": ["x"]})):
        request = BatchPredictor(model, names)._prepared(tmp_path, FRAME, "out.csv").request
        assert {field: value for field, value in request.items() if field == "feature_columns"} == listed
        json.dumps(request)


def test_an_output_of_any_format_is_read_as_what_it_is(tmp_path):
    table = pa.table({"id": ["007", None], "at": pa.array([0, 1], pa.timestamp("ms", "Europe/Berlin")), "p": [1.0, None]})
    pq.write_table(table, tmp_path / "out")
    assert read_output(tmp_path / "out", {"output_s3_uri": "out", "output_format": "parquet"}).equals(table)
    (tmp_path / "lines").write_text('{"a":1,"p":2}\n')
    assert read_output(tmp_path / "lines", {"output_s3_uri": "lines", "output_format": "jsonl"}).to_pylist() == [{"a": 1, "p": 2}]
    assert read_output(tmp_path / "lines", {"output_s3_uri": "lines"}).to_pylist() == [{"a": 1, "p": 2}]


def test_long_records_and_line_breaks_in_fields_are_read(tmp_path):
    text = "a\n" * 1_000_000
    (tmp_path / "out.csv").write_text(f'x,p\n"{text}",1.0\n"{text}",2.0\n')
    assert read_output(tmp_path / "out.csv", {}).to_pylist() == [{"x": text, "p": 1.0}, {"x": text, "p": 2.0}]
    (tmp_path / "out.jsonl").write_text("".join(json.dumps({"x": text, "p": p}) + "\n" for p in (1.0, 2.0)))
    assert read_output(tmp_path / "out.jsonl", {}).to_pylist() == [{"x": text, "p": 1.0}, {"x": text, "p": 2.0}]
