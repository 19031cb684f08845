"""A day without data, with `on_no_rows: succeed`: the whole workflow on the embedded AWS, under its own roles."""

import json

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from batch_predict.predictor import BatchPredictor
from support.histories import states_entered

HEADER = "id,x,y\n"


@pytest.fixture(scope="module")
def fields(put, places):
    """The request's fields for a model of x and y, and an output of its own for each."""
    frame = pd.DataFrame({"x": [0.0, 1.0, 2.0], "y": [1.0, 0.0, 1.0]})
    model = LinearRegression().fit(frame, frame.sum(axis=1))
    return {
        "model_s3_uri": put(f"{places.models}sum.joblib", model),
        "prediction_column_name": "total",
        "feature_columns": ["x", "y"],
    }


@pytest.fixture
def run_day(aws, run_execution, fields, places):
    def run_day(data, output, **changed):
        request = fields | {"data_s3_uri": data, "output_s3_uri": f"{places.output}{output}", "on_no_rows": "succeed"}
        return run_execution(aws, request | changed)

    return run_day


def test_the_header_of_an_empty_day_is_its_output(aws, run_day, put, places, read, uris):
    data, output = f"{places.data}header/", f"{places.output}header.csv"
    put(f"{data}part-1.csv", HEADER.encode())

    execution = run_day(data, "header.csv", on_bad_row="quarantine")

    assert execution["status"] == "SUCCEEDED", execution.get("cause")
    assert read(output) == b"id,x,y,total\n"
    assert (execution["output"]["rows"], execution["output"]["complete"]) == (0, True)
    report = json.loads(read(f"{output}.report.json"))
    assert (report["rows"]["read"], report["model"]["estimator"]) == (0, "LinearRegression")
    assert uris(f"{output}.work/") == []
    again = run_day(data, "header.csv", on_bad_row="quarantine")
    assert again["output"] == execution["output"]
    assert "Predict Chunks" not in states_entered(aws, again)


def test_a_prefix_without_objects_is_an_empty_output(aws, run_day, places, read):
    data, output = f"{places.data}nothing/", f"{places.output}nothing.csv"

    assert run_day(data, "nothing.csv", dry_run=True)["output"]["estimate"]["rows"] == 0
    execution = run_day(data, "nothing.csv")

    assert execution["status"] == "SUCCEEDED", execution.get("cause")
    assert read(output) == b""
    assert (execution["output"]["rows"], execution["output"]["chunks"], execution["output"]["bytes"]) == (0, 0, 0)
    assert "Predict Chunks" not in states_entered(aws, execution)
    assert run_day(data, "nothing.csv")["output"] == execution["output"]


@pytest.mark.thorough
def test_data_that_come_later_are_another_result(run_day, put, places, read):
    data = f"{places.data}late/"
    assert run_day(data, "late.csv")["status"] == "SUCCEEDED"
    put(f"{data}part-1.csv", f"{HEADER}a,1,2\n".encode())

    assert run_day(data, "late.csv")["error"] == "OutputExistsError"
    assert run_day(data, "late.csv", overwrite=True)["status"] == "SUCCEEDED"
    assert read(f"{places.output}late.csv").startswith(b"id,x,y,total\na,1,2,")


def test_by_default_an_empty_day_fails_and_says_what_to_set(run_day, put, places):
    put(f"{places.data}default/part-1.csv", HEADER.encode())
    for data, error in ((f"{places.data}default/", "InvalidDataError"), (f"{places.data}nowhere/", "InputNotFoundError")):
        execution = run_day(data, "default.csv", on_no_rows="fail")
        assert execution["error"] == error
        assert 'set on_no_rows to "succeed"' in execution["cause"]


@pytest.mark.thorough
@pytest.mark.emulator("it runs on the embedded AWS")
def test_from_python_a_frame_without_rows(tmp_path, monkeypatch, fields, read):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sum.joblib").write_bytes(read(fields["model_s3_uri"]))
    (tmp_path / "header.csv").write_text(HEADER)
    (tmp_path / "empty").mkdir()
    predictor = BatchPredictor("sum.joblib", ["x", "y"], "total", on_no_rows="succeed")

    assert list(predictor.run("header.csv", "out.csv").to_pandas().columns) == ["id", "x", "y", "total"]
    run = predictor.run("empty", "empty.csv")
    assert (run.result.rows, run.result.output_bytes, len(run.to_pandas())) == (0, 0, 0)


@pytest.mark.parametrize("request_", [["s3://b/k"], "s3://b/k", 7, None, True, {}], ids=str)
def test_an_input_that_is_no_request_is_refused_by_name(aws, run_execution, request_):
    """Whatever JSON StartExecution takes: a Catch has to write its failure into a document."""
    execution = run_execution(aws, request_)

    assert (execution["status"], execution["error"]) == ("FAILED", "InvalidRequestError")
    assert "model_s3_uri is missing" in execution["cause"] if request_ == {} else "must be an object" in execution["cause"]
    assert states_entered(aws, execution)[-1] == "Request Rejected"
