"""Columns are typed as pandas types them, and the types of parts join to that of the whole, in both deployables."""

import io
from itertools import product
from time import perf_counter

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas._libs.parsers import STR_NA_VALUES

import prediction_handler as handler
from differential import spellings
from workflow.column_types import (
    BOOLEAN,
    EMPTY,
    INTEGER,
    KINDS,
    MISSING_VALUES,
    NUMBER,
    OPTIONAL_BOOLEAN,
    STATED_KINDS,
    TEXT,
    join,
    kind_of_texts,
    widened,
)

SPELLINGS = {
    EMPTY: sorted(MISSING_VALUES),
    BOOLEAN: ["True", "TRUE", "true", "tRUE", "False", "FALSE", "false", "fALSE"],
    INTEGER: [
        *("0", "1", "+5", "-5", "007", "-0", "+007", "0" * 30, " 1 ", "\t1\t", "\x0b1", "\x0c1", "1\x0c", "1\n", "\r1", " +5"),
        *(str(2**53 + 1), str(2**63 - 1), str(-(2**63)), f"{'0' * 30}{2**63 - 1}"),
    ],
    NUMBER: [
        *("1.", ".5", "-.5", "1.5", "1e5", "1E5", "1e+5", "1e-5", "1.e5", "+1e5", "+.5e-3", "1e05", "00.5", " 1.5\t", "1e5 "),
        *("1e400", "-1e400", "1e-400", "1.8e308", "1e0000000000000000005", "1e99999999999999999999", f"0.{'0' * 400}1e400"),
        *("inf", "Inf", "INF", "+inf", "-inf", "iNf", "infinity", "-Infinity", "+INFINITY", f"{'1' * 30}.5", f"{'1' * 400}.5"),
    ],
    TEXT: [
        *("--5", "+-5", "- 5", "+ 5", "5-", "+", "-", ".", "+.", "1 x", "1 .5", "1. 5", "1.5.", "1.5x", "1e", "1e+", "e5", ".e5"),
        *("1e5.5", "1ee5", "1e--5", "1 e5", "1e 5", "0x1A", "0X1A", "0b1", "0o7", "1_000", "1,000", "1%", "$1", "(1)", "1d5"),
        *(
            "1f",
            "1L",
            "1j",
            "\N{ARABIC-INDIC DIGIT ONE}",
            "\N{FULLWIDTH DIGIT ONE}",
            "1e\N{ARABIC-INDIC DIGIT FIVE}",
            " inf",
            "inf ",
        ),
        *("+-inf", "infinit", "infx", "1.#INF", "-1.#INF", "nan(1)"),
        *("NAN", "Nan", "+nan", "-NAN", "+NaN", "nan ", " NA", "NA ", "Null", "none", " ", "  ", "\t", " True", "True ", "True\n"),
        *("T", "yes", "\N{NO-BREAK SPACE}1", "1\N{NO-BREAK SPACE}", "\N{EM SPACE}1", "\ufeff1", "1\ufeff", "1\x1c", "1\x85", "1\0"),
        *("2024-01-01", "1:2", '1"2', "'1'", "x", "Tru\N{CYRILLIC SMALL LETTER IE}", "trUE\u0130", "fal\u017fe"),
    ],
}
BEYOND_64_BITS = [str(2**63), str(-(2**63) - 1), str(2**64), "9" * 30, f" +{'9' * 5000}"]


def in_handler(texts):
    """The kind of the column for the prediction handler."""
    return handler.kind_of(pa.array([None if text in MISSING_VALUES else text for text in texts], pa.string()))


def brief(text):
    return ascii(text)[:30]


def as_pandas(texts):
    """The kind of the column that pandas makes of these fields."""
    body = "column,other\n" + "".join(f'"{text.replace(chr(34), chr(34) * 2)}",0\n' for text in texts)
    column = pd.read_csv(io.StringIO(body, newline=""), low_memory=False).column
    assert len(column) == len(texts)
    if column.dtype.kind == "f" and column.isna().all():
        return EMPTY
    kinds = {"b": BOOLEAN, "i": INTEGER, "f": NUMBER}
    if column.dtype.kind in kinds:
        return kinds[column.dtype.kind]
    return OPTIONAL_BOOLEAN if {type(value) for value in column.dropna()} == {bool} else TEXT


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in SPELLINGS.items() for text in texts], ids=brief)
def test_a_field_is_what_pandas_takes_it_for(kind, text):
    assert kind_of_texts([text]) == in_handler([text]) == kind == as_pandas([text])


def test_both_deployables_read_alike_what_differential_tests_hold_to_pandas():
    assert [text for text in spellings.SPELLINGS if kind_of_texts([text]) != in_handler([text])] == []


def test_missing_values_are_those_of_pandas():
    assert MISSING_VALUES == set(handler.MISSING_VALUES) == STR_NA_VALUES


@pytest.mark.parametrize("text", BEYOND_64_BITS, ids=brief)
def test_an_integer_beyond_64_bits_is_an_integer_that_its_chunk_refuses(text):
    """What pandas makes of such a column depends on what else is in it, and in which order."""
    assert kind_of_texts([text]) == in_handler([text]) == kind_of_texts([text, "1"]) == INTEGER
    assert kind_of_texts(["1.5", text]) == kind_of_texts([text, ""]) == NUMBER
    assert as_pandas(["x", text]) == kind_of_texts(["x", text]) == TEXT
    if len(text) > 20:
        assert (as_pandas([text, "1.5"]), as_pandas(["1.5", text])) == (TEXT, NUMBER)


columns = st.lists(
    st.sampled_from(SPELLINGS[EMPTY])
    | st.sampled_from(SPELLINGS[BOOLEAN])
    | st.sampled_from(SPELLINGS[INTEGER])
    | st.sampled_from(SPELLINGS[NUMBER]),
    min_size=1,
    max_size=12,
) | st.lists(st.sampled_from([text for texts in SPELLINGS.values() for text in texts]), min_size=1, max_size=12)


@given(texts=columns)
def test_a_column_is_what_pandas_takes_it_for(texts):
    assert kind_of_texts(texts) == in_handler(texts) == as_pandas(texts)


@given(texts=columns, data=st.data())
def test_however_a_column_is_cut_its_parts_join_to_the_whole(texts, data):
    cut = data.draw(st.integers(0, len(texts)))
    parts = [kind for kind in (kind_of_texts(texts[:cut]), kind_of_texts(texts[cut:])) if kind]
    wide = widened({"c": parts[0]}, [{"c": kind} for kind in parts])
    assert wide == {"c": kind_of_texts(texts)}


@given(text=st.text("+-.eE0123456789 \tinfINFtrueTRUEfalseNA_x\n\"'", max_size=12))
def test_any_text_is_what_pandas_takes_it_for(text):
    assert kind_of_texts([text, ""]) == in_handler([text, ""]) == as_pandas([text, ""])


def test_kinds_are_a_semilattice():
    assert (handler.DECIDED_KINDS, handler.STATED_KINDS) == (KINDS, STATED_KINDS)
    for left, right, third in product(KINDS, repeat=3):
        assert join(left, left) == left
        assert join(left, right) == join(right, left) == handler.join_kinds(left, right)
        assert join(left, join(right, third)) == join(join(left, right), third)


def test_kinds_join_as_documented():
    joined = {(left, right): join(left, right) for left, right in product(KINDS, repeat=2) if left < right}
    assert {pair: kind for pair, kind in joined.items() if kind != TEXT} == {
        (BOOLEAN, EMPTY): OPTIONAL_BOOLEAN,
        (BOOLEAN, OPTIONAL_BOOLEAN): OPTIONAL_BOOLEAN,
        (EMPTY, OPTIONAL_BOOLEAN): OPTIONAL_BOOLEAN,
        (EMPTY, INTEGER): NUMBER,
        (EMPTY, NUMBER): NUMBER,
        (INTEGER, NUMBER): NUMBER,
    }


def test_only_decided_columns_are_widened():
    assert widened({"a": INTEGER, "b": TEXT}, [{"a": EMPTY, "c": TEXT}, {"b": INTEGER}]) == {"a": NUMBER, "b": TEXT}
    assert kind_of_texts([]) is None


@pytest.mark.parametrize(
    "text", ["1" * 10**6, "0" * 10**6, " " * 10**6, "+" * 10**6, "1e" * 10**6, "1." + "0" * 10**6, "0" * 10**6 + " " * 10**6]
)
def test_a_long_text_takes_no_longer_than_its_length(text):
    started = perf_counter()
    kind_of_texts([f"{text}x", text])
    assert perf_counter() - started < 5
