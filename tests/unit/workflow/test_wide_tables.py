"""Tables of tens of thousands of columns: work grows with their number, not with its square, and there is a bound.

Comparisons of names are counted, and what else is done for each, so that a busy machine changes nothing.
"""

import difflib

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

import prediction_handler
from support.samples import EXECUTION
from workflow import header_mistakes, validate_request
from workflow.csv_records import Header, parse_header
from workflow.errors import InvalidDataError, InvalidRequestError
from workflow.formats.csv_format import Csv
from workflow.inputs import InputObject
from workflow.sampling import sampled_types

COLUMNS = 3000
"""Their square is nine million, and nothing here may take a tenth of that."""
PER_COLUMN = 20
URI = "s3://bucket/wide.csv"


class Name(str):
    """A name that counts how often it is compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other):
        Name.compared += 1
        return str.__eq__(self, other)

    def __hash__(self):
        return str.__hash__(self)

    def __ne__(self, other):
        return not self == other


@pytest.fixture
def few_comparisons(monkeypatch):
    """Fail where more names are compared than some for each column, or more than a message shows are looked up by likeness."""
    looked_up = []
    close = difflib.get_close_matches

    def counted(word, possibilities, n=3, cutoff=0.6):
        assert len(word) <= header_mistakes.COMPARED_CHARACTERS
        looked_up.append(len(possibilities))
        return close(word, possibilities, n, cutoff)

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    Name.compared = 0
    yield
    assert Name.compared <= PER_COLUMN * COLUMNS
    assert sum(looked_up) <= header_mistakes.SHOWN_MISSING * header_mistakes.COMPARED_COLUMNS


def names(start, count=COLUMNS):
    return [Name(f"{start}{number}") for number in range(count)]


def stated(columns):
    return {"feature_columns": columns, "column_types": None, "output_columns": None}


REQUEST = {"prediction_column_name": "p", "csv": None}


def wide_header(columns):
    return Header(columns, 1, b"\n")


def no_such_columns(columns, present):
    with pytest.raises(InvalidRequestError, match="has no column"):
        validate_request.require_columns(REQUEST, stated(columns), InputObject(URI, 1, "1"), wide_header(present))


def no_such_types():
    raw = {
        **{f"{kind}_s3_uri": f"s3://bucket/{kind}" for kind in ("model", "data", "output")}, "prediction_column_name": "p",
        "feature_columns": [f"color{n}" for n in range(900)], "column_types": {f"colour{n}": "text" for n in range(900)},
    }  # fmt: skip
    with pytest.raises(InvalidRequestError, match=r"'colour9' .did you mean 'color9'.. and 890 more$"):
        validate_request.normalise(raw, EXECUTION)


def other_layout(first, other):
    with pytest.raises(ValueError, match=r"other columns|another order"):
        Csv().require_same_layout(
            [(InputObject(URI, 1, "1"), wide_header(first)), (InputObject(f"{URI}2", 1, "2"), wide_header(other))]
        )


def handlers_columns(used, present):
    with pytest.raises(prediction_handler.PredictionError):
        prediction_handler._require_columns(used, prediction_handler.Header(b"", b"\n", present), URI)


CASES = {
    "columns that fit": lambda: validate_request.require_columns(
        REQUEST, stated(names("c")), InputObject(URI, 1, "1"), wide_header(names("c"))
    ),
    "columns that are missing": lambda: no_such_columns(names("c"), names("d")),
    "a few columns that are missing": lambda: no_such_columns(names("c", 800), names("d", 800)),
    "types of columns that are no features": no_such_types,
    "objects with other columns": lambda: other_layout(names("c"), names("d")),
    "objects with the same columns in another order": lambda: other_layout(names("c"), names("c")[::-1]),
    "the handler's missing columns": lambda: handlers_columns(names("c"), names("d")),
    "the handler's repeated columns": lambda: handlers_columns(names("c"), [*names("c"), *names("c")]),
    "types by samples": lambda: sampled_types([b",".join([b"1"] * COLUMNS)], names("c"), names("c")),
}


@pytest.mark.usefixtures("few_comparisons")
@pytest.mark.parametrize("case", CASES)
def test_names_are_compared_a_few_times_each(case):
    CASES[case]()


@pytest.mark.usefixtures("few_comparisons")
def test_likeness_is_looked_for_among_few_and_short_names_alone():
    assert header_mistakes.close_name("colour", ["color"]) == "color"
    assert header_mistakes.close_name("colour", ["color"] * 1001) is None
    assert header_mistakes.close_name("c" * 61, ["c" * 60]) is None
    assert header_mistakes.close_name("c" * 60, ["c" * 61]) is None


def test_only_problems_that_are_shown_are_looked_for(monkeypatch):
    calls = []
    monkeypatch.setattr(difflib, "get_close_matches", lambda *arguments, **_: calls.append(arguments) or [])
    with pytest.raises(InvalidRequestError):
        validate_request.normalise({f"field {number}": 1 for number in range(20_000)}, EXECUTION)
    assert 0 < len(calls) <= validate_request.SHOWN_PROBLEMS


def test_the_parts_of_a_column_transformer_are_asked_once_for_what_comes_of_them(monkeypatch):
    columns = [f"c{number}" for number in range(60)]
    parts = ColumnTransformer([(column, "passthrough", [column]) for column in columns])
    model = make_pipeline(parts, LinearRegression()).fit(pd.DataFrame(np.ones((2, 60)), columns=columns), [1, 2])
    asked = []
    named = prediction_handler._names_put_out
    monkeypatch.setattr(prediction_handler, "_names_put_out", lambda *arguments: asked.append(1) or named(*arguments))
    assert {expected.kind for expected in prediction_handler.expected_columns(model, columns).values()} == {"number"}
    assert len(asked) == 1


def header_of(columns, quoted=""):
    return ",".join([quoted or "first", *(f"c{number}" for number in range(1, columns))]).encode() + b"\n"


@pytest.mark.parametrize("quoted", ["", '"a,""b,\nc"'])
def test_a_table_may_have_as_many_columns_as_the_bound_says_and_no_more(monkeypatch, quoted):
    for module in (header_mistakes, prediction_handler):
        monkeypatch.setattr(module, "MAX_DATA_COLUMNS", 50)
    assert len(parse_header(header_of(50, quoted), URI).columns) == 50
    handlers = prediction_handler._read_header(header_of(50, quoted), URI)
    assert handlers
    assert len(handlers.names) == 50
    says = "has 51 columns, more than 50"
    with pytest.raises(InvalidDataError, match=says):
        parse_header(header_of(51, quoted), URI)
    with pytest.raises(prediction_handler.InvalidDataError, match=f"{URI} {says}: split the table"):
        prediction_handler._read_header(header_of(51, quoted), URI)


def test_equal_headers_share_their_names():
    assert parse_header(header_of(40), URI).columns is parse_header(header_of(40), URI).columns
    first, second = (prediction_handler._read_header(header_of(40), f"{URI}{number}") for number in range(2))
    assert first
    assert second
    assert first.names is second.names


def test_line_feeds_in_a_name_are_counted_once():
    class Counting(bytes):
        counted = 0

        def count(self, sub, start=0, stop=None):
            Counting.counted += (len(self) if stop is None else stop) - start
            return bytes.count(self, sub, start, len(self) if stop is None else stop)

    data = Counting(b'"' + b"\n" * 10_000 + b'",x\n1,2\n')
    header = prediction_handler._read_header(data, URI)
    assert header
    assert header.names == ["\n" * 10_000, "x"]
    assert Counting.counted <= 2 * len(data)
