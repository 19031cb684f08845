"""Where a large object of CSV may be cut: record boundaries at or after target offsets.

A line feed ends a record exactly when the number of quotes before it is even. Finding that out for sure takes reading all that
lies before (`ScannedRange`, `exact_boundaries`). A window of bytes around the target allows a guess (`guessed_boundary`): read
it once as if it began outside quotes and once inside, and prefer the reading whose records have the header's number of fields.
Guesses that contradict each other are refuted at once (`are_consistent`). The others are proven later, by the chunks: each counts
its quotes, and all boundaries of an object are right exactly when all of its chunks count an even number.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice, pairwise, repeat
from typing import NamedTuple

from .csv_dialect import COMMAS, Dialect
from .csv_records import LINE_ENDS, QUOTE, is_blank, is_record, record_stops

WINDOW_BYTES = (2**16, 2**18, 2**20, 2**22, 2**24, 2**25)
"""Bytes to read at a target, one size after the other until the guess is clear; the last holds two records of 16 MB."""

EVIDENCE_RECORDS = 50
"""Records of a window that are looked at for each reading."""


class Reading(NamedTuple):
    """A window read in one of the two ways."""

    boundary: int
    """Where its first record stops."""
    good: int
    """Records after that, of those looked at, that are RFC 4180 with the header's number of fields."""
    bad: int


def guessed_boundary(
    read: Callable[[int, int], bytes], target: int, size: int, columns: int, dialect: Dialect = COMMAS
) -> int | None:
    """Return the first record boundary (or `size`) at or after `target`, as far as windows tell; `read(start, stop)` reads them."""
    start = target - 1  # the line feed that ends a record at the target lies one byte before it
    window = b""
    readings: list[Reading] = []
    for window_bytes in WINDOW_BYTES:
        stop = min(start + window_bytes, size)
        window += read(start + len(window), stop)
        both = (read_window(window, columns, dialect, quoted=quoted, at_end=stop == size) for quoted in (False, True))
        readings = [reading for reading in both if reading]
        flawless = [reading for reading in readings if stop == size or not reading.bad]
        if len(flawless) == 1:
            return start + flawless[0].boundary
        if stop == size:
            break
    # A malformed record here or there is not worth an exact scan: its chunk refuses it anyway.
    better = [reading for reading in readings if reading.good > reading.bad]
    return start + better[0].boundary if len(better) == 1 else None


def are_consistent(targets: Sequence[int], guesses: Sequence[int]) -> bool:
    """Whether guessed boundaries of one object can all be right: one at or behind the next target is the first there, too."""
    return all(
        guess < next_target or guess == next_guess
        for (_, guess), (next_target, next_guess) in pairwise(zip(targets, guesses, strict=True))
    )


def read_window(window: bytes, columns: int, dialect: Dialect = COMMAS, *, quoted: bool, at_end: bool) -> Reading | None:
    """Read a window as if its first byte lay inside quotes, or outside; None if no record follows the first boundary.

    `at_end`: the object ends with it, so the last record needs no line end, nor another after it.
    """
    if at_end and (quoted + window.count(QUOTE)) % 2:
        return None  # a quote that nothing closes
    boundary = next(record_stops(window, quoted=quoted), len(window) if at_end else None)
    if boundary is None:
        return None
    rest = window[boundary:].lstrip(LINE_ENDS)  # blank lines tell nothing, however many
    edges = [0, *islice(record_stops(rest), EVIDENCE_RECORDS)]
    if at_end and len(edges) <= EVIDENCE_RECORDS:
        edges.append(len(rest))
    records = [record for start, stop in pairwise(edges) if not is_blank(record := rest[start:stop], dialect)]
    if not records and not at_end:
        return None
    good = sum(is_record(record, columns, dialect) for record in records)
    return Reading(boundary, good, len(records) - good)


def content_stop(read: Callable[[int, int], bytes], size: int) -> int:
    """Return where an object's bytes stop that are more than line ends: behind it, a boundary would cut off blank lines."""
    stop = size
    for window_bytes in chain(WINDOW_BYTES, repeat(WINDOW_BYTES[-1])):
        start = max(0, stop - window_bytes)
        content = read(start, stop).rstrip(LINE_ENDS)
        if content or start == 0:
            return start + len(content)
        stop = start
    raise AssertionError("the windows do not end")


class ScannedRange(NamedTuple):
    """What counting all quotes of a range of bytes tells, whatever lies before it."""

    quotes: int
    """Modulo 2."""
    stops: tuple[int | None, int | None]
    """First record boundary in it if the number of quotes before it is even, and if it is odd; None if it has none."""
    scanned: int
    """Bytes."""


def scan_range(blocks: Iterable[bytes], start: int) -> ScannedRange:
    """Count the quotes of consecutive blocks, and find both first record boundaries; offsets count from `start`."""
    quotes, offset = 0, start
    stops: list[int | None] = [None, None]
    for block in blocks:
        for parity in (0, 1):
            if stops[parity] is None:
                found = next(record_stops(block, quoted=(quotes + parity) % 2 == 1), None)
                stops[parity] = None if found is None else offset + found
        quotes += block.count(QUOTE)
        offset += len(block)
    return ScannedRange(quotes % 2, (stops[0], stops[1]), offset - start)


def scan_ranges(start: int, size: int, targets: Sequence[int]) -> list[tuple[int, int]]:
    """Return the ranges to scan for `exact_boundaries`: together all bytes from `start`, one beginning before each target."""
    return list(pairwise([start, *(target - 1 for target in targets), size]))


def exact_boundaries(scanned: Sequence[ScannedRange]) -> Iterator[int]:
    """Yield the record boundaries of adjacent ranges but the first, each once. ValueError if the quotes do not pair up."""
    quotes = 0
    for number, found in enumerate(scanned):
        boundary = found.stops[quotes % 2]
        if number and boundary is not None:
            yield boundary
        quotes += found.quotes
    if quotes % 2:
        raise ValueError("its quotes do not pair up: a quoted field is never closed")
