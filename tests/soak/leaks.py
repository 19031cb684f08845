"""What stays behind or grows: processes of the functions, their memory, descriptors and files."""

from __future__ import annotations

import socket
import threading
import time
from collections import defaultdict
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batch_predict.local_aws import LocalAws

SAMPLE_SECONDS = 1.0
YOUNG_SECONDS = 20.0
"""A process that has just started has not seen its models yet: its samples say nothing about growth."""
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

    def __init__(self, aws: LocalAws, at_once: int) -> None:
        self.aws = aws
        self.at_once = at_once
        self.samples: list[Sample] = []
        self.most: dict[str, int] = {}
        self.emulator = self._emulator()
        self.directory = Path(self.emulator.cwd())
        self.started = time.monotonic()
        self.emulator_mb = [self._emulator_mb()]
        self.known: dict[int, psutil.Process] = {}

    @staticmethod
    def _emulator() -> psutil.Process:
        """The process that is this one's descendant and runs the emulator itself, not its guard."""
        descendants = psutil.Process().children(recursive=True)
        return next(process for process in descendants if process.cmdline()[1:] == ["-m", "ministack"])

    def _emulator_mb(self) -> float:
        return float(self.emulator.memory_info().rss / 1e6)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Sample until left."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(SAMPLE_SECONDS):
                self.sample()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def sample(self) -> None:
        """Look once at all function processes."""
        now = time.monotonic() - self.started
        count: dict[str, int] = defaultdict(int)
        for process in self.emulator.children():
            with suppress(psutil.Error):
                command = process.cmdline()
                if "awslambdaric" not in command:
                    continue
                self.known[process.pid] = process
                function = command[-1].removesuffix(".lambda_handler")
                count[function] += 1
                age = time.time() - process.create_time()
                memory = process.memory_info().rss / 1e6
                self.samples.append(Sample(now, function, process.pid, memory, process.num_fds(), age))
        for function, found in count.items():
            self.most[function] = max(found, self.most.get(function, 0))
        self.emulator_mb.append(self._emulator_mb())

    def functions(self) -> dict[str, dict[str, Any]]:
        """Return by function: most processes at once, and memory and descriptors in the first and the last quarter."""
        end = self.samples[-1].seconds if self.samples else 0.0
        figures = {}
        for function in sorted(self.most):
            grown = [sample for sample in self.samples if sample.function == function and sample.age > YOUNG_SECONDS]
            first = [sample for sample in grown if sample.seconds <= end / 4 + YOUNG_SECONDS / 2]
            last = [sample for sample in grown if sample.seconds >= end * 3 / 4]
            enough = bool(first and last)
            figures[function] = {
                "processes": self.most[function],
                "mb_first_quarter": round(median(sample.megabytes for sample in first), 1) if enough else None,
                "mb_last_quarter": round(median(sample.megabytes for sample in last), 1) if enough else None,
                "mb_most": round(max((sample.megabytes for sample in self.samples if sample.function == function), default=0), 1),
                "descriptors_first_quarter": median(sample.descriptors for sample in first) if enough else None,
                "descriptors_last_quarter": median(sample.descriptors for sample in last) if enough else None,
            }
        return figures

    def found(self) -> dict[str, list[str]]:
        """Return the leaks by kind, while nothing runs any more."""
        leaks: dict[str, list[str]] = {"memory": [], "files": [], "processes": []}
        for function, figures in self.functions().items():
            if figures["processes"] > self.at_once:
                leaks["processes"].append(f"{function} had {figures['processes']} processes for {self.at_once} calls at once")
            if figures["mb_first_quarter"] is None:
                continue
            before, after = figures["mb_first_quarter"], figures["mb_last_quarter"]
            if after > before * TOLERATED_GROWTH and after > before + TOLERATED_MB:
                leaks["memory"].append(f"{function} grew from {before} MB to {after} MB")
            more = figures["descriptors_last_quarter"] - figures["descriptors_first_quarter"]
            if more > TOLERATED_DESCRIPTORS:
                leaks["files"].append(f"{function} has {more:g} more open descriptors than at first")
        left = [path.name for path in self.directory.iterdir() if not path.name.startswith(EMULATORS_OWN)]
        leaks["files"] += [f"{name} in the functions' temporary directory" for name in sorted(left)]
        return leaks

    def left_after_stop(self) -> list[str]:
        """Say which processes, port or directory are there after the embedded AWS has stopped."""
        alive = [process for process in (self.emulator, *self.known.values()) if self._is_alive(process)]
        left = [f"process {process.pid} is there after the end" for process in alive]
        address = urlsplit(self.aws.endpoint_url)
        with socket.socket() as probe:
            if probe.connect_ex((address.hostname or "", address.port or 0)) == 0:
                left.append(f"port {address.port} is open after the end")
        if self.directory.exists():
            left.append(f"{self.directory} is there after the end")
        return left

    @staticmethod
    def _is_alive(process: psutil.Process) -> bool:
        try:
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
