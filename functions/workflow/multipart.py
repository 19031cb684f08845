"""How ranges of objects become one object: which parts of a multipart upload, copied by S3 or gathered here.

Nothing here talks to S3. The rules are S3's: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

MIN_PART_BYTES = 5 * 2**20
"""The smallest part, except for the last. A source of at least this size is also above the 5 MB that a ranged copy needs."""

MAX_COPY_BYTES = 5 * 2**30
COPY_BYTES = 2**30
"""The largest copy, if that makes no more than `MAX_PARTS`: S3 takes 14 to 17 s for it (see `LEAST_COPY_BYTES`)."""
LEAST_COPY_BYTES = 2**27
"""Parts are not cut smaller than this: half of it was no faster. 5 GiB in 40 such copies took S3 3.7 s, in five of a GiB 13.9 s:
https://github.com/awslabs/aws-c-s3/pull/288"""
PARTS_IN_FLIGHT = 128
"""Parts that are copied at once, which S3 does by itself: a run's 100 chunks of the default concurrency in one go. S3 takes 3,500
such requests a second, and for each of them 1.4 ms of the function's processor were measured."""

MAX_PARTS = 10_000

GATHER_BYTES = 8 * 2**20
"""A gathered part is sent when it has this size; what is added to it is below 10 MiB, so it stays below 18 MiB."""


class Piece(NamedTuple):
    """The bytes [start, stop) of an object."""

    uri: str
    etag: str
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.stop - self.start


class GatheredPart(NamedTuple):
    """A part whose pieces pass through memory, because they are too small to be copied."""

    pieces: list[Piece]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(piece.size for piece in self.pieces)


Part = Piece | GatheredPart
"""What S3 copies by itself, or what is gathered here."""


def digest_of(pieces: Iterable[Piece]) -> str:
    """Return the SHA-256 over the ETag and the range of each piece: equal digests mean the same bytes, wherever they lie."""
    named = [[piece.etag, piece.start, piece.stop] for piece in pieces]
    return hashlib.sha256(json.dumps(named, separators=(",", ":")).encode()).hexdigest()


def copy_bytes_of(total_bytes: float, n_pieces: int) -> int:
    """Return the size of one copy for an output of some pieces: small enough for S3 to copy all at once, if that is worth it."""
    free = max(1, PARTS_IN_FLIGHT + 1 - n_pieces)  # each piece has up to one copy more than its bytes make
    return min(COPY_BYTES, max(LEAST_COPY_BYTES, math.ceil(total_bytes / free)))


def parts_of(pieces: Sequence[Piece]) -> list[Part]:
    """Return the parts that together are the pieces in their order; only the last one may be below `MIN_PART_BYTES`."""
    parts = list(_parts(pieces, copy_bytes_of(sum(piece.size for piece in pieces), len(pieces))))
    return parts if len(parts) <= MAX_PARTS else list(_parts(pieces, MAX_COPY_BYTES))


def _parts(pieces: Iterable[Piece], copy_bytes: int) -> Iterator[Part]:
    pending = GatheredPart([])
    for piece in pieces:
        wanted = max(0, MIN_PART_BYTES - pending.size) if pending.pieces else 0
        if piece.size >= wanted + MIN_PART_BYTES:
            rest = piece
            if pending.pieces:
                middle = piece.start + wanted
                head, rest = [piece._replace(stop=middle)] if wanted else [], piece._replace(start=middle)
                yield GatheredPart([*pending.pieces, *head])
                pending = GatheredPart([])
            yield from _copies(rest, copy_bytes)
        elif piece.size:
            pending.pieces.append(piece)
            if pending.size >= GATHER_BYTES:
                yield pending
                pending = GatheredPart([])
    if pending.pieces:
        yield pending


def _copies(piece: Piece, copy_bytes: int) -> Iterator[Piece]:
    """Cut into equal copies, so that none is below the minimum."""
    copies = -(-piece.size // copy_bytes)
    for index in range(copies):
        start = piece.start + piece.size * index // copies
        stop = piece.start + piece.size * (index + 1) // copies
        yield piece._replace(start=start, stop=stop)
