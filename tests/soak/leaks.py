"""What stays behind or grows: processes of the functions, their memory, descriptors and files."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import psutil

from support.processes import functions_of

SAMPLE_SECONDS = 1.0
YOUNG_SECONDS = 20.0
"""A process that has just started has not seen its models yet: its samples say nothing about growth."""
SHORT_SECONDS = 120.0
"""In a shorter soak each process has seen a few models, and which ones by chance: that says nothing about growth either."""
TOLERATED_GROWTH = 1.3
"""Of the median from the first to the last quarter: caches of four models fill, and allocators keep what they had once."""
TOLERATED_MB = 60
"""Growth below that is never called a leak: a block of input and its arrays are as large."""
TOLERATED_DESCRIPTORS = 30
"""More than the connections of one client's pool."""
EMULATORS_OWN = ("ministack", "state")
"""Beginnings of names in the emulator's directory that are its own: packages of functions and its state."""


class Sample(NamedTuple):
    """One function process at one time."""

    seconds: float
    function: str
    pid: int
    megabytes: float
    descriptors: int
    age: float


class Watch:
    """What was seen of the functions' processes."""

    def __init__(self, aws, at_once):
        self.aws = aws
        self.at_once = at_once
        self.samples = []
        self.directories = set()
        self.started = time.monotonic()

    def sample(self):
        """Look at each process, once every `SAMPLE_SECONDS` at most."""
        now = time.monotonic() - self.started
        if self.samples and now < self.samples[-1].seconds + SAMPLE_SECONDS:
            return
        for process in functions_of(self.aws):
            with suppress(psutil.Error):
                environment = process.environ()
                self.directories.add(Path(environment["TMPDIR"]))
                age = time.time() - process.create_time()
                memory = process.memory_info().rss / 1e6
                name = environment["AWS_LAMBDA_FUNCTION_NAME"]
                self.samples.append(Sample(now, name, process.pid, memory, process.num_fds(), age))

    def found(self):
        """Return the leaks, while nothing runs any more."""
        names = {path.name for directory in self.directories for path in directory.iterdir()}
        left = sorted(name for name in names if not name.startswith(EMULATORS_OWN))
        files = [f"{name} is in the functions' temporary directory" for name in left]
        unseen = [] if self.samples else ["no process of a function was seen"]
        return [*unseen, *growth(self.samples, self.at_once), *files]


def growth(samples, at_once):
    """Say what has grown beyond what is explained; processes that have just started are left out."""
    seen = pd.DataFrame(samples, columns=Sample._fields)
    end = seen["seconds"].max()
    for function, own in seen.groupby("function"):
        processes = own["seconds"].value_counts().max()
        if processes > at_once:
            yield f"{function} had {processes} processes for {at_once} calls at once"
        if end < SHORT_SECONDS:
            continue
        grown = own[own["age"] > YOUNG_SECONDS]
        first = grown[grown["seconds"] <= end / 4 + YOUNG_SECONDS].median(numeric_only=True)
        last = grown[grown["seconds"] >= end * 3 / 4].median(numeric_only=True)
        before, after = first["megabytes"], last["megabytes"]  # NaN, which is above nothing, if there were no processes then
        if after > before * TOLERATED_GROWTH and after > before + TOLERATED_MB:
            yield f"{function} grew from {before:.0f} MB to {after:.0f} MB"
        if last["descriptors"] > first["descriptors"] + TOLERATED_DESCRIPTORS:
            yield f"{function} has {last['descriptors']:g} descriptors open, {first['descriptors']:g} at first"
