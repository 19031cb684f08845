"""The workflow by the rewritten definition, on the emulator's engine and on Step Functions Local where it is there."""

import pytest
from scored_rows import ROWS, scored

from support.s3_proxy import Rule

BODY_ATTEMPTS = 5  # of the prediction function, which does not wait between them


@pytest.fixture(autouse=True)
def through_the_proxy(proxy):
    """All runs go the same way; rules of one test do not reach another."""
    yield
    proxy.clear()


def ended_as(workflow, told, error):
    """Whether the execution has failed by this error; without ErrorPath only the last state's document says so."""
    said = told.document.get("rejection") or told.document["explanation"]
    assert (told.status, said["error"]) == ("FAILED", error)
    if "--before-2023-09" not in workflow.options:
        assert told.error == error
    return True


def test_all_rows_are_scored(workflow, stored, read):
    told = workflow.run(stored)
    assert (told.status, told.last_state, told.failures) == ("SUCCEEDED", "Published", []), told.cause
    assert (told.output["chunks"], told.output["rows"]) == (2, ROWS)
    assert read(told.output["output_s3_uri"]) == scored()


def test_a_transient_error_is_retried(workflow, stored, proxy, read):
    """The answers to the second chunk break midway until its function gives up, twice."""
    rule = Rule("cut", "PredictChunkFunction", "GetObject", "data/good.csv", range="^bytes=[1-9]", times=2 * BODY_ATTEMPTS)
    with proxy.rules(rule) as (number,):
        told = workflow.run(stored)
    assert (told.status, told.failures) == ("SUCCEEDED", ["TransientS3Error", "TransientS3Error"]), told.cause
    assert proxy.injected()[number] == 2 * BODY_ATTEMPTS
    assert read(told.output["output_s3_uri"]) == scored()


def test_bad_data_is_not_retried(workflow, aws, stored, error_records):
    data_uri = f"s3://{aws.bucket}/data/bad.csv"
    told = workflow.run({**stored, "data_s3_uri": data_uri})
    assert ended_as(workflow, told, "InvalidDataError")
    assert (told.last_state, told.failures) == ("Prediction Failed", ["InvalidDataError"])
    (record,) = error_records(told.document["request"]["output_s3_uri"])
    assert (record["error"], record["chunk_index"], record["data_s3_uri"]) == ("InvalidDataError", 1, data_uri)
    assert "column 'x'" in record["message"]


def test_a_wrong_request_is_rejected(workflow, stored):
    told = workflow.run({**stored, "chunk_size": 64, "feature_columns": []})
    assert ended_as(workflow, told, "InvalidRequestError")
    assert (told.last_state, told.failures) == ("Request Rejected", ["InvalidRequestError"])
    sentence = told.document["rejection"]["details"]["errorMessage"]
    assert "chunk_size" in sentence
    assert "feature_columns" in sentence


def test_a_merge_that_fails_publishes_nothing(workflow, aws, stored, proxy):
    rule = Rule("403", "MergeOutputsFunction", "PutObject", r"/output/[^/]+\.csv$", times=None)
    with proxy.rules(rule) as (number,):
        told = workflow.run(stored)
    assert proxy.injected()[number] == 1
    assert ended_as(workflow, told, "InputNotFoundError")
    assert (told.last_state, told.failures) == ("Prediction Failed", ["InputNotFoundError"])
    output = told.document["request"]["output_s3_uri"].removeprefix(f"s3://{aws.bucket}/")
    listed = aws.client("s3").list_objects_v2(Bucket=aws.bucket, Prefix=output)["Contents"]
    assert all(".work/" in item["Key"] for item in listed)
