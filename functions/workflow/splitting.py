"""Splits large objects of CSV at record boundaries: by windows around each target, or by counting every quote."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby, pairwise
from typing import NamedTuple

from .boundaries import (
    WINDOW_BYTES,
    ScannedRange,
    are_consistent,
    content_stop,
    exact_boundaries,
    guessed_boundary,
    scan_range,
    scan_ranges,
)
from .chunking import Span
from .conforms import conforms
from .contract import Count
from .csv_dialect import COMMAS, Dialect
from .csv_records import Header
from .errors import IncompleteOutputError, InputNotFoundError, InvalidDataError, TransientS3Error
from .inputs import InputObject
from .invocation import OutOfTimeError
from .s3 import S3Client, get_json, in_parallel, put_json, read_range

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
    dialect: Dialect = COMMAS


class Split(NamedTuple):
    """The pieces of some objects, in the order of the objects."""

    spans: dict[InputObject, list[Span]]
    guessed: bool
    """Whether any boundary is not proven yet."""


class Notes(NamedTuple):
    """Where scans note what they have found, and when the function's time is over (`time.monotonic()`)."""

    uri: str
    deadline: float


def split_objects(client: S3Client, cuts: Sequence[Cut], notes: Notes, *, exactly: bool) -> Split:
    """Cut every object near its targets; InvalidDataError if a scan shows that an object's quotes do not pair up."""
    # Only where windows are much less than the whole.
    large = [cut for cut in cuts if cut.object.size > WINDOWS_WORTH * WINDOW_BYTES[0] * (len(cut.targets) + 1)]
    guesses = {} if exactly else guess_boundaries(client, large)
    boundaries = guesses | scan_boundaries(client, [cut for cut in cuts if cut.object not in guesses], notes)

    def spans_of(found: InputObject) -> list[Span]:
        stop = content_stop(partial(_read, client, found), found.size) if boundaries[found] else 0
        inner = dict.fromkeys(boundary for boundary in boundaries[found] if boundary < stop)
        return [Span(found, *edges) for edges in pairwise([0, *inner, found.size])]

    objects = [cut.object for cut in cuts]
    spans = dict(zip(objects, in_parallel(spans_of, objects), strict=True))
    return Split(spans, guessed=any(len(spans[found]) > 1 for found in guesses))


def guess_boundaries(client: S3Client, cuts: Sequence[Cut]) -> dict[InputObject, list[int]]:
    """Return the boundaries of the objects whose windows all allow a guess, and whose guesses do not contradict each other."""

    def guess(task: tuple[Cut, int]) -> tuple[Cut, int | None]:
        cut, target = task
        read = partial(_read, client, cut.object)
        return cut, guessed_boundary(read, target, cut.object.size, len(cut.header.columns), cut.dialect)

    results = in_parallel(guess, ((cut, target) for cut in cuts for target in cut.targets))
    boundaries = {}
    for cut, group in groupby(results, key=lambda result: result[0]):
        guesses = [boundary for _, boundary in group if boundary is not None]
        if len(guesses) == len(cut.targets) and are_consistent(cut.targets, guesses):
            boundaries[cut.object] = guesses
    return boundaries


def scan_boundaries(client: S3Client, cuts: Sequence[Cut], notes: Notes) -> dict[InputObject, list[int]]:
    """Return the boundaries of objects, each found by counting every quote; OutOfTimeError if that takes another invocation."""
    tasks = [ScanTask(cut.object, *edges) for cut in cuts for edges in scan_ranges(cut.header.stop, cut.object.size, cut.targets)]
    if not tasks:
        return {}
    known = _noted(client, notes.uri)

    def scan(task: ScanTask) -> ScannedRange | None:
        return known.get(task.name) or _scan(client, task, notes.deadline)

    with ThreadPoolExecutor(SCANS_IN_FLIGHT) as pool:
        scanned = list(pool.map(scan, tasks))
    found = {task.name: result for task, result in zip(tasks, scanned, strict=True) if result}
    if len(found) < len({task.name for task in tasks}):
        if len(found) == len(known):
            raise TransientS3Error(f"{tasks[0].object.uri}: no range could be scanned before the function's time was over")
        put_json(client, notes.uri, found)
        raise OutOfTimeError(len(found), len(tasks))
    boundaries = {}
    for cut_object, group in groupby(zip(tasks, scanned, strict=True), key=lambda pair: pair[0].object):
        try:
            boundaries[cut_object] = list(exact_boundaries([result for _, result in group if result]))
        except ValueError as error:
            raise InvalidDataError(f"{cut_object.uri} cannot be read as CSV: {error}") from error
    return boundaries


class ScanTask(NamedTuple):
    """The bytes [start, stop) of an object, whose quotes shall be counted."""

    object: InputObject
    start: int
    stop: int

    @property
    def name(self) -> str:
        """What tells it from all others."""
        return f"{self.object.uri} {self.object.etag} [{self.start}, {self.stop})"


def _scan(client: S3Client, task: ScanTask, deadline: float) -> ScannedRange | None:
    def blocks() -> Iterator[bytes]:
        for start in range(task.start, task.stop, SCAN_BLOCK_BYTES):
            if time.monotonic() >= deadline:
                return
            yield _read(client, task.object, start, min(start + SCAN_BLOCK_BYTES, task.stop))

    found = scan_range(blocks(), task.start)
    return found if found.scanned == task.stop - task.start else None


def _noted(client: S3Client, uri: str) -> dict[str, ScannedRange]:
    try:
        noted = get_json(client, uri)
    except InputNotFoundError:
        return {}
    except ValueError:
        noted = None
    if not conforms(noted, dict[str, tuple[Count, tuple[Count | None, Count | None], Count]]):
        raise IncompleteOutputError(f"{uri} is not what a scan notes: delete it and start again")
    return {name: ScannedRange(quotes, stops, scanned) for name, (quotes, stops, scanned) in noted.items()}


def _read(client: S3Client, found: InputObject, start: int, stop: int) -> bytes:
    return read_range(client, found.uri, start, stop, found.etag)
