"""Splits large objects at record boundaries: by windows around each target, or by counting every quote."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, NamedTuple

from boundaries import WINDOW_BYTES, ScannedRange, exact_boundaries, guessed_boundary, scan_range, scan_ranges
from chunking import Span
from errors import InvalidDataError
from s3 import CONCURRENT_REQUESTS, read_range

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mypy_boto3_s3 import S3Client

    from csv_records import Header
    from inputs import InputObject

SCAN_BLOCK_BYTES = 8 * 2**20
SCANS_IN_FLIGHT = 8
"""Ranges scanned at once, each with one block in memory."""

WINDOWS_WORTH = 4
"""A piece of fewer windows than this is not worth guessing: scanning the object reads hardly more."""


class Cut(NamedTuple):
    """A large object, and the offsets near which it shall be cut."""

    object: InputObject
    header: Header
    targets: list[int]
    """Ascending, all behind the header: so the first piece has a row, too."""


class Split(NamedTuple):
    """The pieces of some objects, in the order of the objects."""

    spans: dict[InputObject, list[Span]]
    guessed: bool
    """Whether any boundary is not proven yet."""


def split_objects(client: S3Client, cuts: Sequence[Cut], *, exactly: bool) -> Split:
    """Cut every object near its targets; InvalidDataError where a scan shows that an object's quotes do not pair up."""
    guesses = {} if exactly else guess_boundaries(client, [cut for cut in cuts if is_worth_guessing(cut)])
    boundaries = guesses | scan_boundaries(client, [cut for cut in cuts if cut.object not in guesses])
    spans = {cut.object: [Span(cut.object, *edges) for edges in edges_of(cut.object, boundaries[cut.object])] for cut in cuts}
    return Split(spans, guessed=any(len(spans[found]) > 1 for found in guesses))


def is_worth_guessing(cut: Cut) -> bool:
    """Whether windows are much less than the whole."""
    return cut.object.size > WINDOWS_WORTH * WINDOW_BYTES[0] * (len(cut.targets) + 1)


def edges_of(found: InputObject, boundaries: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the ranges between boundaries, which may repeat, and of which the last may be the object's end."""
    inner = (boundary for boundary in dict.fromkeys(boundaries) if boundary < found.size)
    return pairwise([0, *inner, found.size])


def guess_boundaries(client: S3Client, cuts: Sequence[Cut]) -> dict[InputObject, list[int]]:
    """Return the boundaries of the objects whose windows all allow a guess."""

    def guess(task: tuple[Cut, int]) -> tuple[InputObject, int | None]:
        (found, header, _), target = task
        read = partial(_read, client, found)
        return found, guessed_boundary(read, target, found.size, len(header.columns))

    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
        results = list(pool.map(guess, ((cut, target) for cut in cuts for target in cut.targets)))
    boundaries = {found: [boundary for _, boundary in group] for found, group in groupby(results, key=lambda result: result[0])}
    return {
        found: [boundary for boundary in guessed if boundary is not None]
        for found, guessed in boundaries.items()
        if None not in guessed
    }


def scan_boundaries(client: S3Client, cuts: Sequence[Cut]) -> dict[InputObject, list[int]]:
    """Return the boundaries of objects, each found by counting every quote."""

    def scan(task: tuple[InputObject, int, int]) -> tuple[InputObject, ScannedRange]:
        found, start, stop = task
        blocks = (
            _read(client, found, block, min(block + SCAN_BLOCK_BYTES, stop)) for block in range(start, stop, SCAN_BLOCK_BYTES)
        )
        return found, scan_range(blocks, start)

    tasks = ((cut.object, *edges) for cut in cuts for edges in scan_ranges(cut.header.stop, cut.object.size, cut.targets))
    with ThreadPoolExecutor(SCANS_IN_FLIGHT) as pool:
        results = list(pool.map(scan, tasks))
    boundaries = {}
    for found, group in groupby(results, key=lambda result: result[0]):
        try:
            boundaries[found] = list(exact_boundaries([scanned for _, scanned in group]))
        except ValueError as error:
            raise InvalidDataError(f"{found.uri} cannot be read as CSV: {error}") from error
    return boundaries


def _read(client: S3Client, found: InputObject, start: int, stop: int) -> bytes:
    return read_range(client, found.uri, start, stop, found.etag)
