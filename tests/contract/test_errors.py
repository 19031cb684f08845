"""The two deployables, the state machine and the documentation know the same errors."""

import importlib

import pytest
from botocore.exceptions import ClientError

import prediction_handler
from batch_predict.runs.history import History
from workflow import errors, invocation, s3, s3_errors
from workflow.errors import told_by


def names(base):
    return {error.__name__ for error in base.__subclasses__()}


def test_the_handlers_errors_are_the_workflows():
    assert names(prediction_handler.PredictionError) < names(errors.BatchPredictionError)


def test_a_merges_own_errors_are_the_handlers_internal_ones():
    """The handler's uploads are boto3's, which makes no such parts."""
    merge_only = {code for code, failure in s3_errors.S3_FAILURES.items() if failure.error == "IncompleteOutputError"}
    assert merge_only == {"EntityTooSmall", "InvalidPart", "InvalidPartOrder"}
    with (
        pytest.raises(prediction_handler.InternalError, match="s3://b/k lost an uploaded part"),
        prediction_handler._s3_errors("s3://b/k"),
    ):
        raise ClientError({"Error": {"Code": "InvalidPart"}}, "CompleteMultipartUpload")


def test_both_repeat_a_broken_body_as_often():
    assert prediction_handler.BODY_ATTEMPTS == s3.BODY_ATTEMPTS


def test_every_function_of_the_workflow_is_an_entry_point(root):
    """So nothing unnamed leaves any of them."""
    names = {path.stem for path in (root / "functions/workflow").glob("*.py") if "def lambda_handler(" in path.read_text()}
    assert names >= {"validate_request", "plan_chunks", "merge_outputs", "record_failure", "explain_failure"}
    for name in names:
        module = importlib.import_module(f"workflow.{name}")
        assert module.lambda_handler.__code__ is invocation.entry_point(print).__code__, name


def test_every_error_that_the_state_machine_names_exists(states):
    named = {
        error
        for state in states.values()
        for rule in state.get("Retry", []) + state.get("Catch", [])
        for error in rule["ErrorEquals"]
        if "." not in error  # the engine's own have one
    }
    assert named <= errors.ERRORS.keys()


def test_every_error_that_is_retried_has_advice(states):
    """If retrying did not help, somebody must do something."""
    retried = {error for state in states.values() for retrier in state.get("Retry", ()) for error in retrier["ErrorEquals"]}
    assert retried <= errors.ADVICE.keys()
    died = {error for error in retried if error.startswith(("Runtime.", "Sandbox.", "States.")) or error == "Lambda.Unknown"}
    assert died >= {"Runtime.OutOfMemory", "Runtime.ExitError"}
    for error in died:
        assert "chunk_size_mb" in errors.ADVICE[error], error
        assert told_by({"Error": error, "Cause": "killed"})[0].startswith("the function "), error
    assert "max_concurrency" in errors.ADVICE["Lambda.TooManyRequestsException"]


def test_advice_belongs_to_the_reason_and_else_to_the_name():
    """From a function by way of Step Functions, which knows a name and a text, to the command line."""
    usual = errors.ADVICE["ModelError"]
    for error in (errors.ModelError, prediction_handler.ModelError):
        advised = error("s3://b/k is empty", "write it again")
        assert str(advised) == "s3://b/k is empty: write it again"
        assert History().told("ModelError", advised.told()) == ("s3://b/k is empty.", "write it again")
        assert History().told("ModelError", error("s3://b/k is empty").told()) == ("s3://b/k is empty", usual)
    assert History().told("Cancelled", "") == (None, None)


def test_every_error_has_advice_and_a_place_in_the_documentation(root):
    documented = (root / "docs/failures.md").read_text()
    for name in errors.ERRORS:
        assert name in errors.ADVICE
        assert f"`{name}`" in documented


def test_the_tree_in_the_docstring_is_the_tree():
    tree = [line.split()[1] for line in (errors.__doc__ or "").splitlines() if line.startswith(("├", "└"))]
    assert tree == list(errors.ERRORS)
