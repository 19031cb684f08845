from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from samples import BUCKET

from chunking import Span
from inputs import InputObject
from sampling import sampled_record_bytes

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

HEADER = b"a,b\n"


@pytest.mark.parametrize(
    ("body", "edges", "expected"),
    [
        (HEADER + b"12,345\n" * 10, [0], 7),
        (HEADER + b"1,2\n" * 5 + b"12,345\n" * 5, [0, 24], 5.5),  # both halves count
        (HEADER + b'1,"\n\n\n"\n' * 10, [0], 8),
        (HEADER + b"1,2\n1,2", [0], 3.5),
        (HEADER + b"1,2\n" * 100_000, [0], 4),
    ],
    ids=["fixed", "two pieces", "line breaks in quotes", "no last line end", "longer than a sample"],
)  # fmt: skip
def test_the_mean_is_of_records_without_the_header(s3: S3Client, put: Any, body: bytes, edges: list[int], expected: float) -> None:
    found = InputObject(f"s3://{BUCKET}/in.csv", len(body), put("in.csv", body))
    spans = [Span(found, start, stop) for start, stop in zip(edges, [*edges[1:], len(body)], strict=True)]
    assert sampled_record_bytes(s3, spans) == pytest.approx(expected, rel=0.01)


def test_a_record_longer_than_a_sample_counts_as_one(s3: S3Client, put: Any) -> None:
    body = HEADER + b"1," + b"x" * 200_000 + b"\n"
    found = InputObject(f"s3://{BUCKET}/in.csv", len(body), put("in.csv", body))
    assert sampled_record_bytes(s3, [Span(found, 0, len(body))]) == 2**16
