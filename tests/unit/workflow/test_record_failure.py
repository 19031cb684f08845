import json

import pytest

from workflow import record_failure
from workflow.errors import ModelError

EVENT = {
    "chunk_index": 42,
    "data_s3_uri": "s3://bucket/in/1.csv",
    "byte_range": [10, 20],
    "receipt_s3_uri": "s3://bucket/out.csv.work/f/chunk-00042.json",
    "feature_columns": ["a"],
}


def child(error, cause):
    return {"event": EVENT, "execution_arn": "arn:nightly", "failure": {"Error": error, "Cause": cause}}


@pytest.mark.parametrize(
    ("error", "cause", "message", "advice"),
    [
        (
            "InvalidDataError",
            json.dumps({"errorMessage": "row 3 is ragged", "errorType": "InvalidDataError", "stackTrace": ["x"]}),
            "row 3 is ragged",
            "Correct the data at that place and start the request again.",
        ),
        # An error's own advice wins: that for its name is wrong for many a reason.
        (
            "ModelError",
            json.dumps({"errorMessage": ModelError("s3://b/m is empty", "write it again").told()}),
            "s3://b/m is empty.",
            "write it again",
        ),
        (
            "Sandbox.Timedout",
            json.dumps({"errorMessage": "RequestId: 1-2 Error: Task timed out after 900.00 seconds"}),
            "the function did not finish in time (Task timed out after 900.00 seconds)",
            "The function ran out of time: lower chunk_size_mb.",
        ),
        ("States.Timeout", "", "the function did not answer in time", "The function ran out of time: lower chunk_size_mb."),
        (
            "Runtime.ExitError",
            json.dumps({"errorMessage": "RequestId: 1-2 Error: Runtime exited with error: signal: killed"}),
            "the function was ended before it could answer (Runtime exited with error: signal: killed)",
            "The function probably ran out of memory: raise PredictMemorySize or lower chunk_size_mb.",
        ),
        ("KeyError", json.dumps({"errorMessage": "", "errorType": "KeyError"}), "KeyError", None),
        (
            "Lambda.Unknown",
            "[1]",
            "the function ended without an answer ([1])",
            "The function ran out of memory or time: raise PredictMemorySize or lower chunk_size_mb.",
        ),
    ],
)
def test_the_record_says_what_step_functions_saw(s3, get, error, cause, message, advice):
    record_failure.record_failure(s3, child(error, cause))
    assert json.loads(get("out.csv.work/f/chunk-00042.error.json")) == {
        "chunk_index": 42,
        "data_s3_uri": "s3://bucket/in/1.csv",
        "byte_range": [10, 20],
        "error": error,
        "message": message,
        "advice": advice,
        "execution_arn": "arn:nightly",
    }


def test_a_long_message_is_cut(s3):
    assert len(record_failure.record_failure(s3, child("E", "x" * 10_000))["message"]) == 2000
