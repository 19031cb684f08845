"""The lock of a kept run's folder: two embedded AWS in it would write over each other's state."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

ORPHAN_SECONDS = 15
"""Within which all that a killed process has left has ended: its guard gives it three."""


class RunLock:
    """A file that names the process that holds it; whoever has it open, as the embedded AWS does, keeps it held."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def held(self) -> Iterator[IO[str]]:
        """Hold the folder alone."""
        with self._path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield file

    def is_held(self) -> bool:
        """Whether somebody holds the folder: a run, or what it has left and is about to end."""
        with self._path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def await_orphans(self) -> None:
        """Wait for the end of what a killed process has left: its guard ends the embedded AWS, which keeps its state first."""
        deadline = time.monotonic() + ORPHAN_SECONDS
        while self.is_held() and not self._has_owner() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _has_owner(self) -> bool:
        """Whether the process that has locked the folder lives."""
        try:
            pid = int(self._path.read_text())
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except (OSError, ValueError):  # somebody else's, or not written yet
            return True
        with suppress(OSError):  # not on macOS
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        return True
