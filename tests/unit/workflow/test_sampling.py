import pytest

from support.samples import BUCKET
from workflow import sampling
from workflow.chunking import Span
from workflow.column_types import BOOLEAN, EMPTY, INTEGER, NUMBER, TEXT
from workflow.inputs import InputObject
from workflow.sampling import mean_record_bytes, sampled_records, sampled_types

HEADER = b"a,b\n"


@pytest.fixture
def spans_of(put):
    def spans(body, edges):
        found = InputObject(f"s3://{BUCKET}/in.csv", len(body), put("in.csv", body))
        return [Span(found, start, stop) for start, stop in zip(edges, [*edges[1:], len(body)], strict=True)]

    return spans


@pytest.mark.parametrize(
    ("body", "edges", "expected"),
    [
        (HEADER + b"12,345\n" * 10, [0], 7),
        (HEADER + b"1,2\n" * 5 + b"12,345\n" * 5, [0, 24], 5.5),  # both halves count
        (HEADER + b'1,"\n\n\n"\n' * 10, [0], 8),
        (HEADER + b"1,2\n1,2", [0], 3.5),
        (HEADER + b"1,2\n" * 400_000, [0], 4),
    ],
    ids=["fixed", "two pieces", "line breaks in quotes", "no last line end", "longer than a window"],
)  # fmt: skip
def test_the_mean_is_of_records_without_the_header(s3, spans_of, body, edges, expected):
    assert mean_record_bytes(sampled_records(s3, spans_of(body, edges))) == pytest.approx(expected, rel=0.01)


def test_a_record_longer_than_a_window_counts_as_one(s3, spans_of):
    records = sampled_records(s3, spans_of(HEADER + b"1," + b"x" * 2_000_000 + b"\n", [0]))
    assert (records, mean_record_bytes(records)) == ([], 2**16)


@pytest.mark.parametrize("pieces", [1, 3, 250])
def test_sampling_reads_no_more_than_its_bound_however_large_the_input(s3, spans_of, monkeypatch, pieces):
    """Each window is read once, and lies at the start of a piece."""
    body = HEADER + b"1,2\n" * 300_000
    edges = [0, *(4 * (300_000 * index // pieces) for index in range(1, pieces))]
    monkeypatch.setattr(sampling, "SAMPLED_BYTES", 100_000)
    asked = []
    s3.meta.events.register("before-parameter-build.s3.GetObject", lambda params, **_: asked.append(params["Range"]))
    records = sampled_records(s3, spans_of(body, edges))
    assert len(asked) == len(set(asked)) == min(pieces, sampling.SAMPLES)
    assert 90_000 < sum(map(len, records)) <= 100_000 or pieces > 100
    assert set(records) == {b"1,2\n"}


def test_columns_are_typed_by_the_sampled_records(s3, spans_of):
    body = b'id,n,zip,e,b\r\n1,1,"007",,True\r\n2,"",A12,NA,"False"\r\n3,5,012,nan,TRUE'
    records = sampled_records(s3, spans_of(body, [0]))
    columns = ["id", "n", "zip", "e", "b"]
    expected = {"zip": TEXT, "b": BOOLEAN, "e": EMPTY, "id": INTEGER, "n": NUMBER}
    assert sampled_types(records, columns, expected) == expected
    assert sampled_types(records, columns, ["n"]) == {"n": NUMBER}


@pytest.mark.parametrize("record", [b"x\n", b"x,y,z\n", b"x\xff,1\n", b'"x"y",1\n', b"\n"], ids=ascii)
def test_a_record_that_its_chunk_refuses_types_nothing(record):
    assert sampled_types([b"1,2\n", record], ["a", "b"], ["a"]) == {"a": INTEGER}


def test_a_column_without_a_record_has_no_type():
    assert sampled_types([], ["a"], ["a"]) == {}


def test_a_line_break_in_quotes_is_a_value_s_own():
    assert sampled_types([b'"1\n2",3\n'], ["a", "b"], ["a", "b"]) == {"a": TEXT, "b": INTEGER}
