"""The workflow and the prediction function decide alike what kind of values a column has."""

import itertools

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import prediction_handler as handler
from workflow import column_types

SPELLINGS = [
    *("7", "-007", "+5", " 1 ", "\t2", "1\n", "12\v", "\f3", "9223372036854775807", "-9223372036854775808"),
    *("0" * 30 + "1", "1\u00a0", "fal\u017fe"),
    *("9223372036854775808", "-9223372036854775809", "18446744073709551616", "9" * 400, "1" + "0" * 5000),
    *("1.5", ".5", "1.", "1e5", "-2E-3", " 1.5 ", "1e400", "1e-400", "12345678901234567890.5", "0.1234567890123456789012345"),
    *("inf", "-Infinity", "+INF", "iNf", " inf", "inf ", "infinit", "nan(1)", "NAN", "Nan", "+nan", " nan"),
    *("True", "false", "TRUE", "tRue", "True ", "yes"),
    *("1_000", "0x1A", "1e", "e5", "--5", "+", "-", ".", "1e+", "1 2", "1,5", "\u0661"),
    *("\ufeff1", "x", " ", "", "NA", "None", "<NA>", "-1.#IND", "null", "nan", "\u017f", "trUE\u0130"),
]  # fmt: skip
MISSING = frozenset(handler.MISSING_VALUES)


def the_handlers(texts):
    return handler.kind_of(pa.array([None if text in MISSING else text for text in texts], pa.string()))


def test_the_missing_values_are_the_same():
    assert column_types.MISSING_VALUES == MISSING


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda text: repr(text[:20]))
def test_one_value_is_of_the_same_kind(spelling):
    assert column_types.kind_of_text(spelling) == the_handlers([spelling])


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
