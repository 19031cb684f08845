from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow import chunking
from workflow.chunking import (
    COPYABLE_CHUNK_BYTES,
    MAX_CHUNKS,
    MAX_SEGMENTS,
    Share,
    asked_chunk_bytes,
    fitting_chunk_bytes,
    number_of_chunks,
    shares_of,
    targets_of,
)
from workflow.errors import InvalidRequestError
from workflow.multipart import MIN_PART_BYTES

SIZES = st.lists(st.one_of(st.integers(1, 100), st.integers(1, 10**14)), min_size=1, max_size=50)


@given(SIZES, st.integers(1, 10**14))
def test_shares_hold_every_object_once_in_order(sizes, chunk_bytes):
    shares = list(shares_of(sizes, chunk_bytes))
    assert shares[0].first == 0
    assert shares[-1].stop == len(sizes)
    assert all(before.stop == after.first for before, after in pairwise(shares))
    for share in shares:
        held = sum(sizes[share.first : share.stop])
        assert -(-held // share.pieces) <= chunk_bytes
        assert share.pieces == 1 or share.stop == share.first + 1


def test_small_objects_are_grouped_up_to_the_chunk_size():
    assert list(shares_of([4, 4, 2, 9, 1, 25, 1, 1], 10)) == [
        Share(0, 3, 1), Share(3, 5, 1), Share(5, 6, 3), Share(6, 8, 1)
    ]  # fmt: skip


def test_a_group_has_no_more_objects_than_its_function_can_read():
    assert list(shares_of([1] * (MAX_SEGMENTS + 1), 10**9)) == [Share(0, MAX_SEGMENTS, 1), Share(MAX_SEGMENTS, MAX_SEGMENTS + 1, 1)]


def test_fifty_thousand_small_objects_make_a_handful_of_chunks():
    assert number_of_chunks([2048] * 50_000, asked_chunk_bytes([2048] * 50_000, 64)) == 3


@given(SIZES, st.floats(1e-6, 10_000))
def test_the_chunk_size_grows_to_fit(sizes, chunk_size_mb):
    chunk_bytes = asked_chunk_bytes(sizes, chunk_size_mb)
    assert number_of_chunks(sizes, chunk_bytes) <= MAX_CHUNKS
    assert chunk_bytes >= max(1, round(chunk_size_mb * 1e6))


@pytest.mark.parametrize(
    ("size", "asked", "expected"),
    [
        (31_000_000, 3.5, 3_500_000),  # few chunks: as asked, though their parts are gathered
        (10**9, 1, 10**7),  # as many as may be gathered
        (10**10, 1, COPYABLE_CHUNK_BYTES),  # parts that S3 copies
        (10**10, 64, 64_000_000),
        (10**13, 64, 10**9),  # 10,000 chunks
    ],
)
def test_the_chunk_size_is_as_asked_unless_it_must_grow(size, asked, expected):
    assert asked_chunk_bytes([size], asked) == expected


@given(st.integers(500 * 2**21, 10**14), st.floats(1e-6, 100))
def test_large_inputs_make_parts_that_s3_copies(size, chunk_size_mb):
    pieces = number_of_chunks([size], asked_chunk_bytes([size], chunk_size_mb))
    edges = [0, *targets_of(size, pieces), size]
    assert all(stop - start >= MIN_PART_BYTES for start, stop in pairwise(edges))
    assert len(edges) == pieces + 1


def test_more_objects_than_fit_are_refused(monkeypatch):
    monkeypatch.setattr(chunking, "MAX_SEGMENTS", 2)
    monkeypatch.setattr(chunking, "MAX_CHUNKS", 2)
    with pytest.raises(InvalidRequestError, match="5 objects, more than 4"):
        fitting_chunk_bytes([1] * 5, 64)
