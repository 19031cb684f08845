"""A process of the package, as Lambda would start it: with AWS's runtime client, nothing else on its path, and an empty /tmp."""

from __future__ import annotations

import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from tools import smoke
from workflow.lambda_limits import DEFAULT_MEMORY_MB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.paced_s3 import PacedS3

SAMPLE_SECONDS = 0.02
SECONDS = 120
"""What an answer may take."""


@contextmanager
def function_of(s3: PacedS3, unpacked: smoke.Unpacked, work: Path, events: list[dict[str, Any]]) -> Iterator[Function]:
    """Start a process of the package as Lambda would, with an empty /tmp; in the end it is gone, with its children."""
    with tempfile.TemporaryDirectory(dir=work, prefix="tmp-") as temporary, smoke.RuntimeApi(events) as api:
        log = Path(temporary, "function.log")
        environment = unpacked.environment(
            AWS_LAMBDA_RUNTIME_API=f"127.0.0.1:{api.server_port}",
            AWS_LAMBDA_FUNCTION_MEMORY_SIZE=str(DEFAULT_MEMORY_MB),
            AWS_REGION="us-east-1",
            TMPDIR=temporary,
            **s3.environment(),
        )
        started = time.monotonic()
        command = unpacked.command("-m", "awslambdaric", smoke.HANDLER)
        with log.open("w") as file:
            process = subprocess.Popen(command, cwd=unpacked.task_root, env=environment, stdout=file, stderr=file)
        api.pid = process.pid
        try:
            yield Function(process, api, log, started)
        finally:
            children = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.wait()
            psutil.wait_procs(children, timeout=SECONDS)  # they end by themselves


class Function:
    """A process of the package that gets one event after the other when it is asked to."""

    def __init__(self, process: subprocess.Popen[bytes], api: smoke.RuntimeApi, log: Path, started: float) -> None:
        self.process, self.started = process, started
        self.asked_after = 0.0
        """Seconds until it asked for its first event."""
        self._api, self._log = api, log

    def answer(self) -> dict[str, Any]:
        """Give the process its next event, and return its answer."""
        wanted, deadline = len(self._api.answers) + 1, time.monotonic() + SECONDS
        while len(self._api.answers) < wanted:
            self._api.handle_request()
            if self._api.sent and not self.asked_after:
                self.asked_after = time.monotonic() - self.started
            if self._api.failure or self.process.poll() is not None or time.monotonic() > deadline:
                what = self._api.failure or "the function ended, or does not answer"
                raise SystemExit(f"error: {what}\n{self._log.read_text()}")
        result: dict[str, Any] = self._api.answers[-1].result
        return result

    def processor_seconds(self) -> float:
        """Return what the process and its children have taken of the processor."""
        parent = psutil.Process(self.process.pid)
        times = [process.cpu_times() for process in (parent, *parent.children(recursive=True))]
        ended = parent.cpu_times()
        return sum(one.user + one.system for one in times) + ended.children_user + ended.children_system


def sample_family(pid: int, peaks: list[int]) -> None:
    """Note the proportional sets of a process and its children together, in bytes, until it ends."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        while parent.status() != psutil.STATUS_ZOMBIE:
            total = 0
            for process in (parent, *parent.children(recursive=True)):
                with suppress(psutil.Error):  # a child may end meanwhile
                    total += process.memory_full_info().pss
            peaks.append(total)
            time.sleep(SAMPLE_SECONDS)
