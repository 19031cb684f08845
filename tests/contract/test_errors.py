"""The two deployables, the state machine and the documentation know the same errors."""

import errors
import prediction_handler


def names(base):
    return {error.__name__ for error in base.__subclasses__()}


def test_the_handlers_errors_are_the_workflows():
    assert names(prediction_handler.PredictionError) < names(errors.BatchPredictionError)


def test_both_tables_of_s3_codes_are_equal():
    """Except for what only a merge can meet."""
    handler = {code: (failure.error.__name__, failure.reason) for code, failure in prediction_handler.S3_FAILURES.items()}
    workflow = {code: (failure.error.__name__, failure.reason) for code, failure in errors.S3_FAILURES.items()}
    merge_only = {"EntityTooSmall", "InvalidPart", "InvalidPartOrder", "NoSuchUpload"}
    assert {code: failure for code, failure in workflow.items() if code not in merge_only} == handler


def test_both_know_the_same_exceptions_as_transient():
    assert prediction_handler.TRANSIENT_EXCEPTIONS == errors.TRANSIENT_EXCEPTIONS


def test_every_error_that_the_state_machine_names_exists(states):
    named = {
        error
        for state in states.values()
        for rule in state.get("Retry", []) + state.get("Catch", [])
        for error in rule["ErrorEquals"]
        if "." not in error  # the engine's own have one
    }
    assert named <= set(errors.error_names())


def test_every_error_has_advice_and_a_place_in_the_documentation(root):
    documented = (root / "docs/failures.md").read_text()
    for name in errors.error_names():
        assert name in errors.ADVICE
        assert f"`{name}`" in documented


def test_the_tree_in_the_docstring_is_the_tree():
    tree = [line.split()[1] for line in (errors.__doc__ or "").splitlines() if line.startswith(("├", "└"))]
    assert tree == list(errors.error_names())
