"""Inputs of any size and shape, through the deployed state machine: grouped, split, deceived, resumed, tolerated, estimated."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from sklearn.tree import DecisionTreeRegressor

from support.histories import child_histories, failures, states_entered
from support.s3_proxy import Rule

HEADER = b"id,note,x,y\n"

pytestmark = pytest.mark.aws


@pytest.fixture(scope="module")
def saved(places, put):
    """Write a model; return the request's fields for it."""

    def saved(name, model, *columns):
        uri = put(f"{places.models}{name}.joblib", model)
        return {"model_s3_uri": uri, "prediction_column_name": "prediction", "feature_columns": list(columns)}

    return saved


@pytest.fixture(scope="module")
def tree(saved):
    """A tree, whose predictions do not depend on what is scored together."""
    frame = pd.DataFrame({"x": range(1000), "y": [(7 * x) % 13 for x in range(1000)]})
    return saved("tree", DecisionTreeRegressor(max_depth=8, random_state=0).fit(frame, frame.x * 1.5 + frame.y), "x", "y")


@pytest.fixture
def scored_directly(aws, tree, put, read, places):
    """Score a whole file by one direct invocation: what the merged output must be, byte for byte."""

    def score(body):
        data = put(f"{places.data}whole.csv", body)
        event = {**tree, "data_s3_uri": data, "output_s3_uri": f"{places.output}directly.csv"}
        answer = aws.client("lambda").invoke(FunctionName=aws.predict_function_name, Payload=json.dumps(event))
        response = json.loads(answer["Payload"].read())
        assert response["statusCode"] == 200, response
        return read(event["output_s3_uri"])

    return score


def rows(start, stop, note='"a ""note"",\nof two lines {}"'):
    return "".join(f"{n:06},{note.format(n)},{n % 1000},{n % 13}\n" for n in range(start, stop)).encode()


def chunks_run(aws, execution):
    """Indexes of the chunks that the prediction function was asked for."""
    return sorted(child_histories(aws, execution))


def test_hundreds_of_small_objects_are_one_chunk(scored, tree, put, read, scored_directly, places, report_of):
    for n in range(300):
        put(f"{places.data}small/part-{n}.csv", HEADER + rows(3 * n, 3 * n + 3))
    put(f"{places.data}small/_SUCCESS", b"")

    execution = scored("small.csv", **tree, data_s3_uri=f"{places.data}small/")

    output = execution["output"]
    assert (output["chunks"], output["rows"]) == (1, 900)
    assert read(output["output_s3_uri"]) == scored_directly(HEADER + rows(0, 900))
    plan = report_of(execution)["plan"]
    assert (plan["objects"], plan["skipped_objects"]) == (300, 1)


def test_a_file_that_deceives_the_guess_is_planned_again_exactly(aws, scored, tree, put, read, scored_directly, places, report_of):
    """One record's quoted field is a CSV of its own, larger than a window: a guess inside it must be wrong."""
    inner = b"".join(b"%d,x,%d,%d\n" % (n, n % 1000, n % 13) for n in range(200_000))
    deceptive = HEADER + rows(0, 50_000) + b'7,"' + inner + b'",5,5\n' + rows(50_000, 100_000)
    request = {**tree, "data_s3_uri": put(f"{places.data}deceptive.csv", deceptive), "chunk_size_mb": 0.6}

    execution = scored("deceptive.csv", **request)

    output = execution["output"]
    assert states_entered(aws, execution).count("Plan Chunks") == 2
    assert "UnsafeSplitError" in {error for events in child_histories(aws, execution).values() for error in failures(events)}
    assert output["rows"] == 100_001
    assert read(output["output_s3_uri"]) == scored_directly(deceptive)
    assert report_of(execution)["plan"]["boundaries"] == "exact"

    again = scored("deceptive.csv", **request)
    assert again["output"]["etag"] == output["etag"]
    assert chunks_run(aws, again) == []


@pytest.fixture
def eight_chunks(put, places, tree):
    """A request of eight chunks, and its object's content."""
    body = HEADER + rows(0, 60_000)
    return {**tree, "data_s3_uri": put(f"{places.data}eight.csv", body), "chunk_size_mb": len(body) / 7.9e6}, body


@pytest.fixture
def refuse_chunks(scored, read, proxy):
    """Let S3 deny the prediction function the bytes of some chunks."""

    def refuse_chunks(name, request, *indexes):
        plan = scored(name, **request, dry_run=True)["output"]
        items = json.loads(read(f"s3://{plan['bucket']}/{plan['plan_key']}"))
        starts = "|".join(str(items[index]["byte_range"][0]) for index in indexes)
        proxy.add(Rule("403", operation="GetObject", range=f"^bytes=({starts})-", times=None))

    return refuse_chunks


def test_after_a_failure_only_the_missing_chunk_runs(
    aws, scored, failed, refuse_chunks, proxy, eight_chunks, read, scored_directly, uris, report_of
):
    request, body = eight_chunks
    refuse_chunks("resumed.csv", request, 5)
    error, cause = failed("resumed.csv", **request)
    assert error == "InputNotFoundError"
    assert "chunk 6 of 8" in cause

    proxy.clear()
    resumed = scored("resumed.csv", **request)

    output = resumed["output"]
    assert chunks_run(aws, resumed) == [5]
    assert read(output["output_s3_uri"]) == scored_directly(body)
    assert report_of(resumed)["chunks"] == {"planned": 8, "predicted": 8, "reused": 7, "failed": 0}

    finished = scored("resumed.csv", **request)
    assert finished["output"] == output
    assert chunks_run(aws, finished) == []
    assert "Predict Chunks" not in states_entered(aws, finished)
    assert uris(output["output_s3_uri"]) == [output["output_s3_uri"], output["report_s3_uri"]]


def test_tolerated_chunks_are_left_out_and_listed(
    aws, scored, failed, refuse_chunks, proxy, eight_chunks, read, scored_directly, report_of
):
    request, body = eight_chunks
    request["tolerated_failure_percentage"] = 30
    refuse_chunks("tolerated.csv", request, 2, 6)

    execution = scored("tolerated.csv", **request)

    output = execution["output"]
    assert (output["complete"], output["failed_chunks"], output["chunks"]) == (False, 2, 8)
    lost = report_of(execution)["failed_chunks"]
    assert [chunk["chunk_index"] for chunk in lost] == [2, 6]
    assert {(chunk["data_s3_uri"], chunk["error"]) for chunk in lost} == {(request["data_s3_uri"], "InputNotFoundError")}
    assert all("AccessDenied" in chunk["message"] for chunk in lost)
    kept = [0, *(edge for chunk in lost for edge in chunk["byte_range"]), len(body)]
    remaining = b"".join(body[start:stop] for start, stop in zip(kept[::2], kept[1::2], strict=True))
    assert read(output["output_s3_uri"]) == scored_directly(remaining)

    # The same request would publish more: only when told to.
    proxy.clear()
    assert failed("tolerated.csv", **request)[0] == "OutputExistsError"
    whole = scored("tolerated.csv", **request, overwrite=True)
    assert whole["output"]["complete"]
    assert chunks_run(aws, whole) == [2, 6]
    assert read(output["output_s3_uri"]) == scored_directly(body)


def test_a_dry_run_says_what_the_run_would_take(aws, scored, eight_chunks, uris, places):
    request, body = eight_chunks
    execution = scored("estimated.csv", **request, dry_run=True)

    plan, estimate = execution["output"], execution["output"]["estimate"]
    assert (plan["chunks"], plan["pending_chunks"], plan["input_bytes"]) == (8, 8, len(body))
    assert abs(estimate["rows"] - 60_000) < 3000
    assert estimate["lambda_requests"] == 8 + 4
    assert estimate["dollars"]["total"] > 0
    assert any("1,024 MB" in assumption for assumption in estimate["assumptions"])
    assert any("by the stored model" in assumption for assumption in estimate["assumptions"])
    assert "Predict Chunks" not in states_entered(aws, execution)
    columns, stored, *planned = sorted(uri.rpartition("/")[2] for uri in uris(f"{places.output}estimated.csv"))
    assert columns.startswith("columns-")
    assert [stored, *planned] == [columns.replace(".json", ".model"), "decision.json", "plan.json"]


def test_a_column_that_looks_like_integers_until_the_last_row_is_text_for_all(aws, scored, saved, put, read, report_of, places):
    """The model sees the texts of its column, whatever pandas makes of it: 007 and 7 are two."""
    as_text = FunctionTransformer(pd.DataFrame.astype, kw_args={"dtype": "str"})
    frame = pd.DataFrame({"code": ["007", "012", "A12", "7", "12"]})
    model = make_pipeline(as_text, OneHotEncoder(handle_unknown="ignore"), LinearRegression()).fit(frame, [1.0, 2, 3, 40, 50])
    body = "".join(f"{index},{'007' if index % 2 else '012'},{'x' * 200}\n" for index in range(30_000))  # more than is sampled
    body = f"id,code,note\n{body}30000,A12,x\n".encode()
    request = {**saved("codes", model, "code"), "data_s3_uri": put(f"{places.data}codes.csv", body), "chunk_size_mb": 3.2}

    execution = scored("codes.csv", **request)

    states = states_entered(aws, execution)
    assert (states.count("Plan Chunks"), states.count("Explain Failure")) == (2, 1)
    assert report_of(execution)["column_types"] == {"code": "text"}
    expected = model.predict(pd.read_csv(io.BytesIO(body), low_memory=False)[["code"]])
    output = pd.read_csv(io.BytesIO(read(execution["output"]["output_s3_uri"])), low_memory=False)
    assert np.array_equal(output["prediction"], expected)
    assert len(set(expected)) == 3


def test_a_chunk_without_a_scored_row_has_the_columns_of_the_others(scored, saved, put, read, places):
    frame = pd.DataFrame({"c": ["x", "y", "z"] * 4})
    model = make_pipeline(OneHotEncoder(), LinearRegression()).fit(frame, np.arange(24.0).reshape(12, 2))
    put(f"{places.data}ragged/1.csv", b"id,c\n1,x\n2,y\n")
    put(f"{places.data}ragged/2.csv", b"id,c\n3,NEW\n4,NEW\n")
    request = {**saved("two-outputs", model, "c"), "data_s3_uri": f"{places.data}ragged/"}

    output = scored("ragged.csv", **request, chunk_size_mb=2e-5, on_bad_row="quarantine")["output"]

    assert (output["chunks"], output["rejected_rows"]) == (2, 2)
    header, *records = read(output["output_s3_uri"]).decode().splitlines()
    assert header == "id,c,prediction_0,prediction_1"
    assert {record.count(",") for record in records} == {3}
    assert records[2:] == ["3,NEW,,", "4,NEW,,"]
