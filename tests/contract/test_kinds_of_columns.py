"""The workflow and the prediction function decide alike what kind of values a column has."""

import itertools

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

import prediction_handler as handler
from differential import spellings
from workflow import column_types

SPELLINGS = [
    *spellings.SPELLINGS,
    *("12\v", "\f3", "fal\u017fe", "trUE\u0130", "\u0661", "infinit", "1.#IND"),
    *("9" * 400, "1" + "0" * 5000, "0" * 30 + "1", "12345678901234567890.5"),
]
MISSING = frozenset(handler.MISSING_VALUES)


def the_handlers(texts):
    return handler.kind_of(pa.array([None if text in MISSING else text for text in texts], pa.string()))


def test_the_missing_values_are_the_same():
    assert column_types.MISSING_VALUES == MISSING


def test_one_value_is_of_the_same_kind():
    assert [text for text in SPELLINGS if column_types.kind_of_text(text) != the_handlers([text])] == []


@given(st.lists(st.sampled_from(SPELLINGS), min_size=1, max_size=6))
def test_several_values_are_of_the_same_kind(texts):
    assert column_types.kind_of_texts(texts) == the_handlers(texts)


@given(st.text(alphabet="0123456789+-.eE infatrusl\t\n\u00a0", max_size=12))
def test_any_text_is_of_the_same_kind(text):
    assert column_types.kind_of_text(text) == the_handlers([text])


def test_kinds_join_alike():
    assert set(column_types.KINDS) == set(handler.DECIDED_KINDS)
    assert set(column_types.STATED_KINDS) == set(handler.STATED_KINDS)
    for one, other in itertools.product(column_types.KINDS, repeat=2):
        assert column_types.join(one, other) == handler.join_kinds(one, other)
