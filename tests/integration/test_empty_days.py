"""A day without data, with `on_no_rows: succeed`: the whole workflow on the embedded AWS, under its own roles."""

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from batch_predict.predictor import BatchPredictor
from support.histories import states_entered

HEADER = b"id,x,y\n"


@pytest.fixture(scope="module")
def fields(put, places):
    """The request's fields for a model of x and y."""
    frame = pd.DataFrame({"x": [0.0, 1.0, 2.0], "y": [1.0, 0.0, 1.0]})
    return {
        "model_s3_uri": put(f"{places.models}sum.joblib", LinearRegression().fit(frame, frame.sum(axis=1))),
        "prediction_column_name": "total",
        "feature_columns": ["x", "y"],
        "on_no_rows": "succeed",
    }


def test_the_header_of_an_empty_day_is_its_output(aws, scored, fields, put, places, read, uris, report_of):
    put(f"{places.data}header/part-1.csv", HEADER)
    request = fields | {"data_s3_uri": f"{places.data}header/", "on_bad_row": "quarantine"}

    execution = scored("header.csv", **request)

    output = execution["output"]
    assert read(output["output_s3_uri"]) == b"id,x,y,total\n"
    assert (output["rows"], output["complete"]) == (0, True)
    report = report_of(execution)
    assert (report["rows"]["read"], report["model"]["estimator"]) == (0, "LinearRegression")
    assert uris(f"{output['output_s3_uri']}.work/") == []
    again = scored("header.csv", **request)
    assert again["output"] == output
    assert "Predict Chunks" not in states_entered(aws, again)


def test_a_prefix_without_objects_is_an_empty_output(aws, scored, fields, places, read):
    request = fields | {"data_s3_uri": f"{places.data}nothing/"}
    assert scored("nothing.csv", **request, dry_run=True)["output"]["estimate"]["rows"] == 0

    execution = scored("nothing.csv", **request)

    output = execution["output"]
    assert read(output["output_s3_uri"]) == b""
    assert (output["rows"], output["chunks"], output["bytes"]) == (0, 0, 0)
    assert "Predict Chunks" not in states_entered(aws, execution)
    assert scored("nothing.csv", **request)["output"] == output


@pytest.mark.thorough
@pytest.mark.emulator("it runs on the embedded AWS")
def test_from_python_a_frame_without_rows(tmp_path, monkeypatch, fields, read):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sum.joblib").write_bytes(read(fields["model_s3_uri"]))
    (tmp_path / "header.csv").write_bytes(HEADER)
    (tmp_path / "empty").mkdir()
    predictor = BatchPredictor("sum.joblib", ["x", "y"], "total", on_no_rows="succeed")

    assert list(predictor.run("header.csv", "out.csv").to_pandas().columns) == ["id", "x", "y", "total"]
    run = predictor.run("empty", "empty.csv")
    assert (run.result.rows, run.result.output_bytes, len(run.to_pandas())) == (0, 0, 0)
