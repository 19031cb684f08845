"""Each sample in events/ is fed to its function, as deployed."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.emulator("the samples name the local bucket")

EVENTS = Path(__file__).parents[2] / "events"
# What the samples have in place of identities that depend on the objects' bytes.
MODEL_ETAG, DATA_ETAG = '"00000000000000000000000000000001"', '"00000000000000000000000000000002"'
FINGERPRINT, IDENTITY, DECISION = "0" * 64, "1" * 64, "2" * 64
WORK = f"{IDENTITY[:32]}/{FINGERPRINT[:32]}"


def load(name, identities=None):
    """Read a sample, with real identities in place of its own."""
    text = (EVENTS / f"{name}.json").read_text()
    for sample, real in (identities or {}).items():
        text = text.replace(json.dumps(sample)[1:-1], json.dumps(real)[1:-1])
    return json.loads(text)


@pytest.fixture(scope="module")
def etags(aws, stored):
    """The ETags of what the samples name."""
    s3 = aws.client("s3")
    assert stored["model_s3_uri"] == load("start_execution")["model_s3_uri"]
    return {
        MODEL_ETAG: s3.head_object(Bucket=aws.bucket, Key="models/arrival_delay.joblib")["ETag"],
        DATA_ETAG: s3.head_object(Bucket=aws.bucket, Key="data/flights/2013.csv")["ETag"],
    }


@pytest.fixture
def invoke(aws):
    """Invoke the function of a resource of the template; returns its answer."""
    resources = aws.client("cloudformation").describe_stack_resources(StackName="batch-predict")["StackResources"]
    names = {item["LogicalResourceId"]: item["PhysicalResourceId"] for item in resources}

    def invoke(resource, event):
        answer = aws.client("lambda").invoke(FunctionName=names[resource], Payload=json.dumps(event))
        result = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, result
        return result

    return invoke


def test_every_sample_is_fed_to_its_function():
    started = {"schedule_yesterday", "object_request", "object_created"}  # test_starts.py
    tested = started | {"start_execution", "schedule_request", "direct_chunk", "direct_group", "validate_request", "probe_model",
              "plan_chunks", "predict_chunk", "record_failure", "merge_outputs", "explain_failure"}  # fmt: skip
    assert {path.stem for path in EVENTS.glob("*.json")} == tested


def test_start_execution(aws, stored, run_execution):
    execution = run_execution(aws, {**load("start_execution"), "overwrite": True})
    assert execution["status"] == "SUCCEEDED", execution.get("cause")


@pytest.mark.thorough
def test_schedule_request(aws, stored, run_execution):
    """With the instant that AWS would put in."""
    text = (EVENTS / "schedule_request.json").read_text().replace("<aws.scheduler.scheduled-time>", "2026-11-23T02:00:00Z")
    execution = run_execution(aws, {**json.loads(text), "overwrite": True})
    assert execution["status"] == "SUCCEEDED", execution.get("cause")
    assert execution["output"]["output_s3_uri"] == f"s3://{aws.bucket}/output/nightly/2026-11-23.csv"


def test_direct_chunk(stored, invoke, flights_csv):
    """Its round byte range cuts a record, which the answer says; on a record boundary it is scored."""
    event = load("direct_chunk")
    stop = flights_csv.index(b"\r\n", event["byte_range"][1])
    while flights_csv.count(b'"', 0, stop) % 2:
        stop = flights_csv.index(b"\r\n", stop + 2)
    response = invoke("PredictChunkFunction", {**event, "byte_range": [0, stop + 2]})
    assert response["statusCode"] == 200, response


def test_direct_group(aws, stored, invoke, flights, read):
    event = load("direct_group")
    for index, segment in enumerate(event["segments"]):
        key = segment["data_s3_uri"].removeprefix(f"s3://{aws.bucket}/")
        rows = flights.iloc[100 * index : 100 * index + 100]
        aws.client("s3").put_object(Bucket=aws.bucket, Key=key, Body=rows.to_csv(index=False).encode())
    response = invoke("PredictChunkFunction", event)
    assert response["statusCode"] == 200, response
    output = read(event["output_s3_uri"])
    assert json.loads(response["body"])["rows"] == 200
    assert output.count(b"\n") == 201


def test_the_samples_of_the_states_pass_the_document_on(aws, stored, invoke, etags):
    validated = invoke("ValidateRequestFunction", load("validate_request"))
    assert validated == {key: load("plan_chunks", etags)[key] for key in ("request", "execution", "prediction", "probe")}

    probe = invoke("PredictChunkFunction", load("probe_model", etags))
    assert set(probe) == set(load("plan_chunks")["model"])

    event = load("plan_chunks", etags)
    event["request"] |= {"overwrite": True, "chunk_size_mb": 1000}
    event["model"] = probe  # whose deployment and model a chunk must find again
    plan = invoke("PlanChunksFunction", event)
    assert set(plan) == set(load("merge_outputs")["plan"])

    work = "/".join(plan["work_prefix"].split("/")[-3:-1])
    digests = {FINGERPRINT: plan["fingerprint"], IDENTITY: plan["identity"], DECISION: plan["decision_sha256"]}
    identities = {**etags, WORK: work, **digests}
    chunk = load("predict_chunk", identities)
    chunk["byte_range"][1] = plan["input_bytes"]
    receipt = invoke("PredictChunkFunction", chunk)
    assert receipt["rows_read"] == receipt["rows_written"] > 0

    failure = load("record_failure", identities)
    record = invoke("RecordFailureFunction", failure)
    assert record["message"].endswith("a text of 4 character(s) is not a number")
    explanation = invoke("ExplainFailureFunction", load("explain_failure", identities))
    assert explanation["error"] == "InvalidDataError"
    assert "chunk 1 of 1" in explanation["cause"]

    merge = load("merge_outputs", identities)
    merge["request"] |= {"overwrite": True}
    merge["model"], merge["plan"] = probe, plan
    output = invoke("MergeOutputsFunction", merge)
    assert (output["rows"], output["complete"]) == (receipt["rows_read"], True)
