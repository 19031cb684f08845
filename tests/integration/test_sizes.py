"""Any size and shape of input, through the deployed state machine: grouped, split, deceived, resumed, tolerated, estimated."""

import json
from pathlib import Path

import jsonschema
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeRegressor

from support.histories import child_histories, failures, states_entered
from support.s3_proxy import Rule

REPORT_SCHEMA = json.loads((Path(__file__).parents[2] / "functions/workflow/report.schema.json").read_text())
HEADER = b"id,note,x,y\n"

pytestmark = pytest.mark.aws


@pytest.fixture(scope="module")
def tree(places, put):
    """A tree, whose predictions do not depend on what is scored together; returns the request's fields for it."""
    frame = pd.DataFrame({"x": range(1000), "y": [(7 * x) % 13 for x in range(1000)]})
    model = DecisionTreeRegressor(max_depth=8, random_state=0).fit(frame, frame.x * 1.5 + frame.y)
    return {
        "model_s3_uri": put(f"{places.models}tree.joblib", model),
        "prediction_column_name": "prediction",
        "feature_columns": ["x", "y"],
    }


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


def succeeded(execution):
    assert execution["status"] == "SUCCEEDED", (execution.get("error"), execution.get("cause"))
    return execution["output"]


def report_of(read, output):
    report = json.loads(read(output["report_s3_uri"]))
    jsonschema.validate(report, REPORT_SCHEMA)
    return report


def chunks_run(aws, execution):
    """Indexes of the chunks that the prediction function was asked for."""
    return sorted(child_histories(aws, execution))


def test_hundreds_of_small_objects_are_one_chunk(aws, run_execution, tree, put, read, scored_directly, places):
    for n in range(300):
        put(f"{places.data}small/part-{n}.csv", HEADER + rows(3 * n, 3 * n + 3))
    put(f"{places.data}small/_SUCCESS", b"")
    output_uri = f"{places.output}small.csv"

    execution = run_execution(aws, {**tree, "data_s3_uri": f"{places.data}small/", "output_s3_uri": output_uri})

    output = succeeded(execution)
    assert (output["chunks"], output["rows"]) == (1, 900)
    assert read(output_uri) == scored_directly(HEADER + rows(0, 900))
    report = report_of(read, output)
    assert (report["plan"]["objects"], report["plan"]["skipped_objects"]) == (300, 1)


@pytest.mark.thorough
def test_one_object_in_forty_chunks_with_quoted_line_breaks(aws, run_execution, tree, put, read, scored_directly, places):
    body = HEADER + rows(0, 300_000)
    output_uri = f"{places.output}forty.csv"

    execution = run_execution(
        aws,
        {
            **tree,
            "data_s3_uri": put(f"{places.data}forty.csv", body),
            "output_s3_uri": output_uri,
            "chunk_size_mb": len(body) / 39.5e6,
        },
    )

    output = succeeded(execution)
    assert (output["chunks"], output["rows"]) == (40, 300_000)
    assert read(output_uri) == scored_directly(body)
    assert report_of(read, output)["plan"]["boundaries"] == "guessed"


@pytest.fixture
def deceptive():
    """One record whose quoted field is a CSV of its own, larger than a window: a guess inside it must be wrong."""
    inner = b"".join(b"%d,x,%d,%d\n" % (n, n % 1000, n % 13) for n in range(200_000))
    return HEADER + rows(0, 50_000) + b'7,"' + inner + b'",5,5\n' + rows(50_000, 100_000)


def test_a_file_that_deceives_the_guess_is_planned_again_exactly(
    aws, run_execution, tree, put, read, scored_directly, deceptive, places
):
    data = put(f"{places.data}deceptive.csv", deceptive)
    output_uri = f"{places.output}deceptive.csv"
    request = {**tree, "data_s3_uri": data, "output_s3_uri": output_uri, "chunk_size_mb": 0.6}

    execution = run_execution(aws, request)

    output = succeeded(execution)
    assert states_entered(aws, execution).count("Plan Chunks") == 2
    assert "UnsafeSplitError" in {error for events in child_histories(aws, execution).values() for error in failures(events)}
    assert output["rows"] == 100_001
    assert read(output_uri) == scored_directly(deceptive)
    assert report_of(read, output)["plan"]["boundaries"] == "exact"

    again = run_execution(aws, request)
    assert succeeded(again)["etag"] == output["etag"]
    assert chunks_run(aws, again) == []


@pytest.fixture
def split_object(put, places):
    """An object and a request's chunk size for it: eight chunks."""
    body = HEADER + rows(0, 60_000)
    return {"data_s3_uri": put(f"{places.data}eight.csv", body), "chunk_size_mb": len(body) / 7.9e6}, body


def refuse_chunks(aws, run_execution, read, proxy, request, *indexes):
    """Let S3 deny the prediction function the bytes of some chunks."""
    plan = succeeded(run_execution(aws, {**request, "dry_run": True}))
    items = json.loads(read(f"s3://{plan['bucket']}/{plan['plan_key']}"))
    starts = "|".join(str(items[index]["byte_range"][0]) for index in indexes)
    proxy.add(Rule("403", operation="GetObject", range=f"^bytes=({starts})-", times=None))


def test_after_a_failure_only_the_missing_chunk_runs(
    aws, run_execution, tree, read, proxy, split_object, scored_directly, uris, places
):
    data, body = split_object
    output_uri = f"{places.output}resumed.csv"
    request = {**tree, **data, "output_s3_uri": output_uri}
    refuse_chunks(aws, run_execution, read, proxy, request, 5)
    failed = run_execution(aws, request)
    assert (failed["status"], failed["error"]) == ("FAILED", "InputNotFoundError")
    assert "chunk 6 of 8" in failed["cause"]
    assert output_uri not in uris(output_uri)

    proxy.clear()
    resumed = run_execution(aws, request)

    output = succeeded(resumed)
    assert chunks_run(aws, resumed) == [5]
    assert read(output_uri) == scored_directly(body)
    assert report_of(read, output)["chunks"] == {"planned": 8, "predicted": 8, "reused": 7, "failed": 0}

    finished = run_execution(aws, request)
    assert succeeded(finished) == output
    assert chunks_run(aws, finished) == []
    assert "Predict Chunks" not in states_entered(aws, finished)
    assert uris(output_uri) == [output_uri, f"{output_uri}.report.json"]


@pytest.mark.thorough
def test_a_part_that_was_tampered_with_is_made_again(
    aws, run_execution, tree, read, proxy, split_object, scored_directly, uris, places, put
):
    data, body = split_object
    output_uri = f"{places.output}tampered.csv"
    request = {**tree, **data, "output_s3_uri": output_uri}
    refuse_chunks(aws, run_execution, read, proxy, request, 1)
    assert run_execution(aws, request)["status"] == "FAILED"
    part = next(uri for uri in uris(f"{output_uri}.work/") if uri.endswith("chunk-00003.csv"))
    put(part, b"id,note,x,y,prediction\n1,2,3,4,5\n")

    proxy.clear()
    resumed = run_execution(aws, request)

    succeeded(resumed)
    assert chunks_run(aws, resumed) == [1, 3]
    assert read(output_uri) == scored_directly(body)


def test_tolerated_chunks_are_left_out_and_listed(aws, run_execution, tree, read, proxy, split_object, scored_directly, places):
    data, body = split_object
    output_uri = f"{places.output}tolerated.csv"
    request = {**tree, **data, "output_s3_uri": output_uri, "tolerated_failure_percentage": 30}
    refuse_chunks(aws, run_execution, read, proxy, request, 2, 6)

    execution = run_execution(aws, request)

    output = succeeded(execution)
    assert (output["complete"], output["failed_chunks"], output["chunks"]) == (False, 2, 8)
    report = report_of(read, output)
    assert [chunk["chunk_index"] for chunk in report["failed_chunks"]] == [2, 6]
    for chunk in report["failed_chunks"]:
        assert (chunk["data_s3_uri"], chunk["error"]) == (data["data_s3_uri"], "InputNotFoundError")
        assert "AccessDenied" in chunk["message"]
    kept = [0, *(edge for chunk in report["failed_chunks"] for edge in chunk["byte_range"]), len(body)]
    remaining = b"".join(body[start:stop] for start, stop in zip(kept[::2], kept[1::2], strict=True))
    assert read(output_uri) == scored_directly(remaining)

    # The same request would publish more: only when told to.
    proxy.clear()
    refused = run_execution(aws, request)
    assert (refused["status"], refused["error"]) == ("FAILED", "OutputExistsError")
    whole = run_execution(aws, {**request, "overwrite": True})
    assert succeeded(whole)["complete"]
    assert chunks_run(aws, whole) == [2, 6]
    assert read(output_uri) == scored_directly(body)


@pytest.mark.thorough
def test_more_lost_chunks_than_tolerated_fail_the_run(aws, run_execution, tree, read, proxy, split_object, uris, places):
    data, _ = split_object
    output_uri = f"{places.output}too-many.csv"
    request = {**tree, **data, "output_s3_uri": output_uri, "tolerated_failure_percentage": 20}
    refuse_chunks(aws, run_execution, read, proxy, request, 2, 6)
    execution = run_execution(aws, request)
    assert (execution["status"], execution["error"]) == ("FAILED", "InputNotFoundError")
    assert "1 more chunk failed" in execution["cause"]
    assert output_uri not in uris(output_uri)


def test_a_dry_run_says_what_the_run_would_take(aws, run_execution, tree, split_object, uris, places):
    data, body = split_object
    output_uri = f"{places.output}estimated.csv"
    request = {**tree, **data, "output_s3_uri": output_uri, "dry_run": True}
    execution = run_execution(aws, request)
    plan = succeeded(execution)
    assert (plan["chunks"], plan["pending_chunks"], plan["input_bytes"]) == (8, 8, len(body))
    estimate = plan["estimate"]
    assert abs(estimate["rows"] - 60_000) < 3000
    assert estimate["lambda_requests"] == 8 + 4
    assert estimate["dollars"]["total"] > 0
    assert any("1,769 MB" in assumption for assumption in estimate["assumptions"])
    assert "Predict Chunks" not in states_entered(aws, execution)
    columns, *planned = sorted(uri.rpartition("/")[2] for uri in uris(output_uri))
    assert (columns.startswith("columns-"), planned) == (True, ["decision.json", "plan.json"])


def test_a_glob_and_a_manifest_name_the_objects(aws, run_execution, tree, put, read, scored_directly, places):
    days = [put(f"{places.data}days/2026-11-{day}.csv", HEADER + rows(10 * day, 10 * day + 10)) for day in (2, 10, 9)]
    put(f"{places.data}days/2026-12-1.csv", HEADER + rows(0, 5))
    manifest = put(f"{places.data}days/november.manifest.json", json.dumps(days))

    by_glob = run_execution(
        aws,
        {
            **tree,
            "data_s3_uri": f"{places.data}days/2026-11-*.csv",
            "output_s3_uri": f"{places.output}glob.csv",
        },
    )
    by_manifest = run_execution(aws, {**tree, "data_s3_uri": manifest, "output_s3_uri": f"{places.output}manifest.csv"})

    assert read(succeeded(by_glob)["output_s3_uri"]) == scored_directly(HEADER + rows(20, 30) + rows(90, 110))
    assert read(succeeded(by_manifest)["output_s3_uri"]) == scored_directly(HEADER + rows(20, 30) + rows(100, 110) + rows(90, 100))
