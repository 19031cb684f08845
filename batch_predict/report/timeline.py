"""When chunks ran, from the report's `timeline`: what the pictures of time are drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch_predict.report.input import ReportInput

CLOCKS_DIFFER = timedelta(seconds=5)
"""How much earlier than its execution a chunk may seem to begin."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ChunkTimeline:
    """The chunks that this execution predicted, one entry of each array a chunk, in plan order."""

    chunk_index: NDArray[np.int64]
    started: Floats
    """Seconds since the execution began."""
    seconds: Floats
    """Duration of the invocation that wrote the chunk."""
    rows: NDArray[np.int64]
    cold: NDArray[np.bool_]
    attempts: NDArray[np.int64]
    places: tuple[str, ...]
    """Object and byte range of each chunk, as far as they are known."""
    reused: int
    """How many chunks an earlier execution predicted; they are in no array."""

    def __len__(self) -> int:
        """Return the number of chunks that ran."""
        return len(self.started)

    @property
    def stopped(self) -> Floats:
        """Seconds from the beginning of the execution to the end of each chunk."""
        return self.started + self.seconds

    def edges(self, bins: int) -> Floats:
        """Return equal intervals from the first chunk's beginning to the last one's end."""
        return np.linspace(self.started.min(), self.stopped.max(), bins + 1)

    def rows_per_second(self, edges: Floats) -> Floats:
        """Return the speed in each interval, as if each chunk's rows were read evenly."""
        return self._spread(edges, self.rows / self.seconds)

    def at_work(self, edges: Floats, *, cold: bool = False) -> Floats:
        """Return how many chunks ran at once in each interval, on average; or how many of these began cold."""
        return self._spread(edges, self.cold.astype(float) if cold else np.ones(len(self)))

    def _spread(self, edges: Floats, heights: Floats) -> Floats:
        # Each chunk is a step up at its start and down at its end; the integral of their sum gives the means between edges.
        times = np.concatenate([self.started, self.stopped])
        steps = np.concatenate([heights, -heights])
        order = np.argsort(times, kind="stable")
        times, level = times[order], np.cumsum(steps[order])
        area = np.concatenate([[0.0], np.cumsum(level[:-1] * np.diff(times))])
        means: Floats = np.diff(np.interp(edges, times, area)) / np.diff(edges)
        return np.maximum(means, 0.0)

    def slowest(self, number: int) -> list[int]:
        """Return where in the arrays the chunks are that took longest, the longest first."""
        longest: list[int] = np.argsort(-self.seconds, kind="stable")[:number].tolist()
        return longest


def timeline_of(record: ReportInput) -> ChunkTimeline | None:
    """Return when the chunks of a run ran; None if that is unknown."""
    columns = record.known.get("timeline")
    if not columns:
        return None
    began = record.started.timestamp()
    started = np.asarray(columns["started"], dtype=np.float64) / 1000 - began
    own = started >= -CLOCKS_DIFFER.total_seconds()
    indexes = np.asarray(columns["chunk_index"], dtype=np.int64)[own]
    return ChunkTimeline(
        chunk_index=indexes,
        started=np.maximum(started[own], 0.0),
        seconds=np.maximum(np.asarray(columns["milliseconds"], dtype=np.float64)[own] / 1000, 0.001),
        rows=np.asarray(columns["rows"], dtype=np.int64)[own],
        cold=np.asarray(columns["cold_start"], dtype=np.bool_)[own],
        attempts=np.asarray([record.attempts.get(int(index), 1) for index in indexes], dtype=np.int64),
        places=tuple(
            place_of({name: columns[name][position] for name in ("data_s3_uri", "byte_range", "row_groups") if columns.get(name)})
            for position in np.flatnonzero(own).tolist()
        ),
        reused=int((~own).sum()),
    )


def place_of(chunk: Mapping[str, Any]) -> str:
    """Return where a chunk's rows are: `s3://bucket/key bytes=[a, b)`, its row groups, or the list of whole objects."""
    if chunk.get("data_s3_uri"):
        for name, said in (("byte_range", "bytes"), ("row_groups", "row groups")):
            if edges := chunk.get(name):
                return f"{chunk['data_s3_uri']} {said}=[{edges[0]:,}, {edges[1]:,})"
        return f"{chunk['data_s3_uri']}"
    return f"the objects of {chunk['segments_s3_uri']}" if chunk.get("segments_s3_uri") else "a group of whole objects"
