import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.samples import REQUEST
from workflow.schema import problems, with_defaults
from workflow.validate_request import request_schema

SCHEMA = request_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

SCALAR = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 20_000),
    st.floats(-2, 20_000, allow_nan=False),
    st.sampled_from(["", "s3://bucket/k", "s3://bucket/k/", "s3://b/k", "s3://bucket/", "predict", "f" * 64, "text", "number"]),
)
VALUE = st.one_of(SCALAR, st.lists(SCALAR, max_size=3), st.dictionaries(st.sampled_from("ab"), SCALAR, max_size=2))


@given(
    st.one_of(
        VALUE,
        st.dictionaries(st.sampled_from([*SCHEMA["properties"], "typo"]), VALUE, max_size=4).map(lambda changed: REQUEST | changed),
        st.dictionaries(st.sampled_from([*SCHEMA["properties"]]), VALUE, max_size=9),
    )
)
def test_the_interpreter_agrees_with_jsonschema(value):
    assert bool(list(problems(value, SCHEMA))) == (not VALIDATOR.is_valid(value))


@given(st.sampled_from(sorted(SCHEMA["properties"])), VALUE)
def test_a_single_field_agrees_with_jsonschema(field, value):
    part = SCHEMA["properties"][field]
    assert bool(list(problems(value, part))) == (not jsonschema.Draft202012Validator(part).is_valid(value))


def test_a_line_feed_after_the_end_is_no_match():
    """Python's `$` would let it pass, ECMA's does not."""
    assert list(problems("f" * 64 + "\n", SCHEMA["properties"]["model_sha256"]))


def test_nan_is_no_number_in_any_range():
    assert list(problems(float("nan"), SCHEMA["properties"]["chunk_size_mb"]))


def test_every_default_is_valid_and_filled_in():
    complete = with_defaults(dict(REQUEST), SCHEMA)
    assert not list(problems(complete, SCHEMA))
    assert complete.keys() == SCHEMA["properties"].keys() - {"scheduled_time"}


def test_a_whole_float_becomes_an_integer():
    """The state machine's MaxConcurrencyPath takes nothing else."""
    assert json.dumps(with_defaults(REQUEST | {"max_concurrency": 7.0}, SCHEMA)["max_concurrency"]) == "7"


@pytest.mark.parametrize(("items", "unique"), [(["a", "b"], True), (["a", "a"], False), ([1, True], True)])
def test_unique_items_agree_with_jsonschema(items, *, unique):
    schema = {"uniqueItems": True}
    assert jsonschema.Draft202012Validator(schema).is_valid(items) == unique
    assert (not list(problems(items, schema))) == unique


def test_an_unknown_field_is_a_problem_with_a_suggestion():
    assert list(problems(REQUEST | {"chunk_size": 1}, SCHEMA)) == [
        '"chunk_size" is not a field of the request (did you mean chunk_size_mb?)'
    ]


def test_a_value_under_any_name_is_checked_by_its_schema():
    assert list(problems(REQUEST | {"column_types": {"a": "txt", "b": 1, "c": "text"}}, SCHEMA)) == [
        'column_types["a"] must be one of boolean, integer, number, text, not "txt" (did you mean text?)',
        'column_types["b"] must be a string, not 1',
    ]
