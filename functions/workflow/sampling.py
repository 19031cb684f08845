"""How long a record is, judged by a few of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csv_records import record_stops
from s3 import read_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_s3 import S3Client

    from chunking import Span

SAMPLES = 10
SAMPLE_BYTES = 2**16


def sampled_record_bytes(client: S3Client, spans: Sequence[Span]) -> float:
    """Return the mean length of the first records of some spans, evenly spread, line ends included and headers left out."""
    records = total = 0
    count = min(SAMPLES, len(spans))
    for span in (spans[index * len(spans) // count] for index in range(count)):
        data = read_range(client, span.object.uri, span.start, min(span.start + SAMPLE_BYTES, span.stop), span.object.etag)
        edges = [0, *record_stops(data)]
        if edges[-1] < len(data) and span.start + len(data) == span.stop:
            edges.append(len(data))  # the last record needs no line end
        if span.start == 0:
            edges = edges[1:]  # without the header
        if len(edges) > 1:
            records += len(edges) - 1
            total += edges[-1] - edges[0]
    return total / records if records else float(SAMPLE_BYTES)
