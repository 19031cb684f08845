"""How objects become chunks by their sizes alone: large ones are split, small ones in a row are grouped."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .contract import Extent, Segment
from .errors import InvalidRequestError
from .inputs import InputObject
from .multipart import MAX_PARTS, MIN_PART_BYTES

MAX_CHUNKS = MAX_PARTS
"""Every chunk may become one part of the output."""

MAX_SEGMENTS = 20_000
"""Objects of one chunk: reading one costs its function about 2 ms, however small it is, so these take under a minute."""

BYTES_PER_MB = 10**6

COPYABLE_CHUNK_BYTES = 2 * MIN_PART_BYTES
"""Chunks from this size on become parts that S3 copies: cutting an object evenly leaves at least half of it."""

CHUNKS_BEFORE_GROWTH = 100
"""Up to so many chunks of less than that, a smaller size asked for stands: gathering their parts costs the merge seconds."""


class Span(NamedTuple):
    """The bytes [start, stop) of an object, on record boundaries, or such row groups."""

    object: InputObject
    start: int
    stop: int

    def segment(self, extent: Extent) -> Segment:
        """Return it as the prediction function takes it."""
        segment: Segment = {"data_s3_uri": self.object.uri, "data_etag": self.object.etag}
        segment[extent] = [self.start, self.stop]
        return segment


class Share(NamedTuple):
    """Objects [first, stop) of a list that become `pieces` chunks: one chunk of several objects, or several of one."""

    first: int
    stop: int
    pieces: int


def shares_of(sizes: Sequence[int], chunk_bytes: int) -> Iterator[Share]:
    """Yield shares in order: an object above `chunk_bytes` alone, smaller ones in a row together as long as they stay within."""
    first, gathered = 0, 0
    for index, size in enumerate(sizes):
        if index > first and (gathered + size > chunk_bytes or index - first == MAX_SEGMENTS):
            yield Share(first, index, 1)
            first, gathered = index, 0
        if size > chunk_bytes:
            yield Share(index, index + 1, -(-size // chunk_bytes))
            first = index + 1
        else:
            gathered += size
    if first < len(sizes):
        yield Share(first, len(sizes), 1)


def number_of_chunks(sizes: Sequence[int], chunk_bytes: int) -> int:
    """Return how many chunks objects of these sizes become."""
    return sum(share.pieces for share in shares_of(sizes, chunk_bytes))


def floor_bytes(total: int, chunk_bytes: int) -> int:
    """Return a size of chunks, grown until S3 can copy the parts if `CHUNKS_BEFORE_GROWTH` chunks remain then."""
    return max(chunk_bytes, min(COPYABLE_CHUNK_BYTES, total // CHUNKS_BEFORE_GROWTH))


def asked_chunk_bytes(sizes: Sequence[int], chunk_size_mb: float) -> int:
    """Return the size of chunks that a request asks for, or what it must grow to."""
    return fitting_chunk_bytes(sizes, floor_bytes(sum(sizes), max(1, round(chunk_size_mb * BYTES_PER_MB))))


def fitting_chunk_bytes(sizes: Sequence[int], chunk_bytes: int) -> int:
    """Return a size of chunks, grown until there are `MAX_CHUNKS` at most."""
    if len(sizes) > MAX_CHUNKS * MAX_SEGMENTS:
        raise InvalidRequestError(
            f"data_s3_uri names {len(sizes)} objects, more than {MAX_CHUNKS * MAX_SEGMENTS}: split the request"
        )
    chunk_bytes = max(chunk_bytes, -(-sum(sizes) // MAX_CHUNKS))
    while number_of_chunks(sizes, chunk_bytes) > MAX_CHUNKS:
        chunk_bytes += -(-chunk_bytes // 8)
    return chunk_bytes


def largest_chunk_bytes(sizes: Sequence[int], chunk_bytes: int) -> int:
    """Return the bytes of the largest chunk, as far as sizes tell."""
    return max((-(-sum(sizes[share.first : share.stop]) // share.pieces) for share in shares_of(sizes, chunk_bytes)), default=0)


def targets_of(size: int, pieces: int) -> list[int]:
    """Return the offsets at which an object of this size would be cut into pieces of equal size."""
    return [size * piece // pieces for piece in range(1, pieces)]
