"""What stays behind or grows: processes of the functions, their memory, descriptors and files."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pandas as pd
import psutil

from support.processes import functions_of, is_alive

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
    """Samples the functions' processes in the background."""

    def __init__(self, aws, at_once):
        self.aws = aws
        self.at_once = at_once
        self.samples = []
        self.known = set()
        self.directories = set()
        self.started = time.monotonic()

    @contextmanager
    def watching(self):
        over = threading.Event()

        def watch():
            while not over.wait(SAMPLE_SECONDS):
                self.sample()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def sample(self):
        now = time.monotonic() - self.started
        for process in functions_of(self.aws):
            with suppress(psutil.Error):
                environment = process.environ()
                self.known.add(process)
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

    def left_after_stop(self):
        """Say which processes, port or directory are there after the embedded AWS has stopped."""
        alive = [process.pid for process in self.known if process.is_running() and is_alive(process.pid)]
        left = [f"process {pid} is there after the end" for pid in alive]
        address = urlsplit(self.aws.endpoint_url)
        with socket.socket() as probe:
            if probe.connect_ex((address.hostname or "", address.port or 0)) == 0:
                left.append(f"port {address.port} is open after the end")
        return left + [f"{directory} is there after the end" for directory in self.directories if directory.exists()]


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
