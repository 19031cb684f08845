"""Objects without storage: the size and the bytes of each are computed from a few numbers, so that one may have 10 TB."""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RECORD_BYTES = 100
"""Of every record and of the header, line end included."""

PREDICTION_COLUMN = b",prediction"
PREDICTION = b",7.25"
"""What the prediction function adds to every record."""

QUOTED_EVERY = 37
"""Of the records of a quoted object, one in so many has a line break inside quotes."""

_HEADER = b"id,a,b,note".ljust(RECORD_BYTES - 1, b"_") + b"\n"
_PLAIN_NOTE = b"n".ljust(54, b".")
# What follows the line break reads like a record of its own.
_QUOTED_NOTE = b'"said ""no"", then:\n00000000000000000001,0.5,0.5,'.ljust(53, b".") + b'"'


class Content(Protocol):
    """The bytes of an object."""

    @property
    def size(self) -> int: ...

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes [start, stop), which lie inside the object."""


class Records:
    """A CSV object of records of equal length, whose digits derive from their numbers; as input, or as scored.

    `runs` are the numbers [first, stop) of its records, run after run.
    """

    def __init__(self, runs: Sequence[tuple[int, int]], *, quoted: bool = False, scored: bool = False) -> None:
        self.runs, self.quoted, self.scored = tuple(runs), quoted, scored
        self._row_stops = list(accumulate(stop - first for first, stop in runs))

    @property
    def header_bytes(self) -> int:
        return RECORD_BYTES + (len(PREDICTION_COLUMN) if self.scored else 0)

    @property
    def rows(self) -> int:
        return self._row_stops[-1] if self._row_stops else 0

    @property
    def size(self) -> int:
        return self.header_bytes + self.rows * self._row_bytes

    @property
    def _row_bytes(self) -> int:
        return RECORD_BYTES + (len(PREDICTION) if self.scored else 0)

    def read(self, start: int, stop: int) -> bytes:
        first = max(0, start - self.header_bytes) // self._row_bytes
        last = -(-max(0, stop - self.header_bytes) // self._row_bytes)
        rows = b"".join(map(self._row, self._numbers(first, last)))
        if start < self.header_bytes:
            return (self._header() + rows)[start:stop]
        begin = self.header_bytes + first * self._row_bytes
        return rows[start - begin : stop - begin]

    def _numbers(self, first: int, stop: int) -> Iterator[int]:
        run = bisect_right(self._row_stops, first)
        while first < stop:
            rows = min(stop, self._row_stops[run]) - first
            number = self.runs[run][1] - (self._row_stops[run] - first)
            yield from range(number, number + rows)
            first += rows
            run += 1

    def _header(self) -> bytes:
        return _HEADER.removesuffix(b"\n") + PREDICTION_COLUMN + b"\n" if self.scored else _HEADER

    def _row(self, number: int) -> bytes:
        note = _QUOTED_NOTE if self.quoted and number % QUOTED_EVERY == 0 else _PLAIN_NOTE
        tail = PREDICTION if self.scored else b""
        return b"%020d,0.%09d,0.%09d,%s%s\n" % (number, number * 387_420_489 % 10**9, number * 961_748_941 % 10**9, note, tail)


def records_of_size(n_bytes: int, *, quoted: bool = False) -> Records:
    """Return an object of so many bytes, which is rounded down to whole records."""
    return Records([(0, n_bytes // RECORD_BYTES - 1)], quoted=quoted)


class Stored(NamedTuple):
    """Bytes that were written, in a file: they are S3's memory, not that of the function that is measured."""

    file_descriptor: int
    offset: int
    size: int

    def read(self, start: int, stop: int) -> bytes:
        return os.pread(self.file_descriptor, stop - start, self.offset + start)


class Reference(NamedTuple):
    """The bytes [start, stop) of a content."""

    content: Content
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


class Joined:
    """What a multipart upload made: its parts, one after the other, each the bytes of something else."""

    def __init__(self, parts: Sequence[Reference]) -> None:
        self.parts = tuple(parts)
        self._stops = list(accumulate(part.size for part in parts))

    @property
    def size(self) -> int:
        return self._stops[-1]

    @property
    def edges(self) -> list[int]:
        """Where one part ends and the next one starts."""
        return self._stops[:-1]

    def read(self, start: int, stop: int) -> bytes:
        found = []
        index = bisect_right(self._stops, start)
        while start < stop:
            content, _, part_stop = self.parts[index]
            end = min(stop, self._stops[index])
            shift = part_stop - self._stops[index]  # from the whole's offsets to the content's
            found.append(content.read(start + shift, end + shift))
            start = end
            index += 1
        return b"".join(found)


class SmallObjects(NamedTuple):
    """The objects `<prefix>part-1.csv` to `<prefix>part-<n_objects>.csv`; one goes on with the numbers where the other ends.

    The names are not padded, so that a listing (`part-1`, `part-10`, `part-100`) is not in the order that people mean.
    """

    prefix: str
    n_objects: int
    rows: int = 19
    """Of each object; with its header it has 2,000 bytes."""

    @property
    def size(self) -> int:
        """Bytes of each object."""
        return (self.rows + 1) * RECORD_BYTES

    def key(self, number: int) -> str:
        return f"{self.prefix}part-{number}.csv"

    def number(self, key: str) -> int | None:
        """Return which object a key names, None if none."""
        match = re.fullmatch(r"part-([1-9][0-9]*)\.csv", key.removeprefix(self.prefix)) if key.startswith(self.prefix) else None
        return int(match[1]) if match and int(match[1]) <= self.n_objects else None

    def content(self, number: int) -> Records:
        return Records([((number - 1) * self.rows, number * self.rows)])

    def etag(self, number: int) -> str:
        return f'"{number * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2**128:032x}"'

    def numbers_after(self, key: str) -> Iterator[int]:
        """Yield the objects whose keys come after `key`, in S3's order."""
        known = self.number(key)
        number = self._next(known) if known else 1
        while number:
            if known or self.key(number) > key:
                yield number
            number = self._next(number)

    def _next(self, number: int) -> int:
        """Return the number after this one in the order of their digits; 0 after the last."""
        if number * 10 <= self.n_objects:
            return number * 10
        while number % 10 == 9 or number + 1 > self.n_objects:
            number //= 10
            if not number:
                return 0
        return number + 1
