"""One decision a run, through the deployed state machine: types, prediction columns, deployment; no success without predictions."""

import io
import json
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from support.histories import child_histories, states_entered

REPORT_SCHEMA = json.loads((Path(__file__).parents[2] / "functions/workflow/report.schema.json").read_text())

pytestmark = pytest.mark.aws


@pytest.fixture
def saved(places, put):
    """Write a model, return the request's fields for it."""

    def save(name, model, *columns):
        return {
            "model_s3_uri": put(f"{places.models}{name}.joblib", model),
            "prediction_column_name": "p",
            "feature_columns": list(columns),
        }

    return save


@pytest.fixture
def report_of(read):
    def report(execution):
        assert execution["status"] == "SUCCEEDED", (execution.get("error"), execution.get("cause"))
        found = json.loads(read(execution["output"]["report_s3_uri"]))
        jsonschema.validate(found, REPORT_SCHEMA)
        return found

    return report


def codes_model():
    """A model that sees the texts of its column, whatever pandas makes of it: 007 and 7 are two."""
    as_text = FunctionTransformer(pd.DataFrame.astype, kw_args={"dtype": "str"})
    frame = pd.DataFrame({"code": ["007", "012", "A12", "7", "12"]})
    return make_pipeline(as_text, OneHotEncoder(handle_unknown="ignore"), LinearRegression()).fit(frame, [1.0, 2, 3, 40, 50])


def codes_body(last="A12"):
    """Codes that look like integers but for the last, far behind what planning samples."""
    rows = "".join(f"{index},{'007' if index % 2 else '012'},{'x' * 200}\n" for index in range(30_000))
    return f"id,code,note\n{rows}30000,{last},x\n".encode()


def test_a_column_that_looks_like_integers_until_the_last_row_is_text_for_all(
    aws, run_execution, saved, put, read, report_of, places
):
    model, body = codes_model(), codes_body()
    output_uri = f"{places.output}codes.csv"
    request = {
        **saved("codes", model, "code"),
        "data_s3_uri": put(f"{places.data}codes.csv", body),
        "output_s3_uri": output_uri,
        "chunk_size_mb": 3.2,
    }

    execution = run_execution(aws, request)

    report = report_of(execution)
    states = states_entered(aws, execution)
    assert (states.count("Plan Chunks"), states.count("Explain Failure")) == (2, 1)
    assert report["column_types"] == {"code": "text"}
    expected = model.predict(pd.read_csv(io.BytesIO(body), low_memory=False)[["code"]])
    assert np.array_equal(pd.read_csv(io.BytesIO(read(output_uri)), low_memory=False)["p"], expected)
    assert len(set(expected)) == 3

    again = run_execution(aws, request)
    assert again["output"] == execution["output"]
    assert child_histories(aws, again) == {}


@pytest.mark.thorough
def test_no_tolerance_tolerates_a_wrong_type(aws, run_execution, saved, put, read, report_of, places):
    model, body = codes_model(), codes_body()
    output_uri = f"{places.output}tolerant-codes.csv"
    request = {
        **saved("codes", model, "code"),
        "data_s3_uri": put(f"{places.data}tolerant-codes.csv", body),
        "output_s3_uri": output_uri,
        "chunk_size_mb": 3.2,
        "tolerated_failure_percentage": 90,
    }

    execution = run_execution(aws, request)

    assert report_of(execution)["column_types"] == {"code": "text"}
    assert execution["output"]["complete"]
    expected = model.predict(pd.read_csv(io.BytesIO(body), low_memory=False)[["code"]])
    assert np.array_equal(pd.read_csv(io.BytesIO(read(output_uri)), low_memory=False)["p"], expected)


@pytest.fixture
def two_outputs(saved):
    """A model of two outputs that refuses what it was not fitted on."""
    frame = pd.DataFrame({"c": ["x", "y", "z"] * 4})
    model = make_pipeline(OneHotEncoder(), LinearRegression()).fit(frame, np.arange(24.0).reshape(12, 2))
    return saved("two-outputs", model, "c")


def test_a_chunk_without_a_scored_row_has_the_columns_of_the_others(aws, run_execution, two_outputs, put, read, places):
    put(f"{places.data}ragged/1.csv", b"id,c\n1,x\n2,y\n")
    put(f"{places.data}ragged/2.csv", b"id,c\n3,NEW\n4,NEW\n")
    output_uri = f"{places.output}ragged.csv"
    request = {
        **two_outputs,
        "data_s3_uri": f"{places.data}ragged/",
        "output_s3_uri": output_uri,
        "chunk_size_mb": 2e-5,
        "on_bad_row": "quarantine",
    }

    execution = run_execution(aws, request)

    assert execution["status"] == "SUCCEEDED", execution.get("cause")
    assert (execution["output"]["chunks"], execution["output"]["rejected_rows"]) == (2, 2)
    header, *rows = read(output_uri).decode().splitlines()
    assert header == "id,c,p_0,p_1"
    assert {row.count(",") for row in rows} == {3}
    assert rows[2:] == ["3,NEW,,", "4,NEW,,"]


@pytest.mark.thorough
def test_what_another_deployment_has_scored_is_scored_again(aws, run_execution, two_outputs, put, read, report_of, places, uris):
    """As if the function had been deployed anew between the chunks of the first execution."""
    for name in "ab":
        put(f"{places.data}deployed/{name}.csv", b"id,c\n1,x\n2,y\n")
    output_uri = f"{places.output}deployed.csv"
    request = {
        **two_outputs,
        "data_s3_uri": f"{places.data}deployed/",
        "output_s3_uri": output_uri,
        "chunk_size_mb": 1.5e-5,
        "keep_work": True,
    }
    first = report_of(run_execution(aws, request))
    (receipt_uri,) = [uri for uri in uris(f"{output_uri}.work/") if uri.endswith("chunk-00001.json")]
    receipt = json.loads(read(receipt_uri))
    assert receipt["model"]["deployment"] == first["model"]["deployment"]
    receipt["model"]["deployment"] = "0" * 64
    put(receipt_uri, json.dumps(receipt).encode())
    s3 = aws.client("s3")
    for uri in (output_uri, f"{output_uri}.report.json"):
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        s3.delete_object(Bucket=bucket, Key=key)

    execution = run_execution(aws, request)

    assert report_of(execution)["chunks"] == {"planned": 2, "predicted": 2, "reused": 1, "failed": 0}
    assert sorted(child_histories(aws, execution)) == [1]


def test_an_output_without_a_prediction_is_not_published(aws, run_execution, two_outputs, put, places, uris):
    """The only chunk with rows that can be predicted is lost behind what the probe reads, and tolerated."""
    put(f"{places.data}only-bad/1.csv", b"id,c\n" + (b"0" * 200 + b",x\n") * 12_000 + b"2,y,too many\n")
    put(f"{places.data}only-bad/2.csv", b"id,c\n" + (b"3" * 600 + b",NEW\n") * 200)
    output_uri = f"{places.output}only-bad.csv"
    request = {
        **two_outputs,
        "data_s3_uri": f"{places.data}only-bad/",
        "output_s3_uri": output_uri,
        "chunk_size_mb": 2.5,
        "on_bad_row": "quarantine",
        "tolerated_failure_percentage": 50,
    }

    execution = run_execution(aws, request)

    assert (execution["status"], execution["error"]) == ("FAILED", "InvalidDataError")
    assert "none of 200 row(s) in 1 chunk(s) could be predicted" in execution["cause"]
    assert "Found unknown categories" in execution["cause"]
    assert output_uri not in uris(output_uri)
