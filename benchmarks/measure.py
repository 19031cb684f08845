"""Start the processes: those that make files, and one fresh one for each measurement."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from batch_predict.setup import kernel
from benchmarks.cases import DATASETS, Case

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
SAMPLE_SECONDS = 0.2


class Measurement(NamedTuple):
    """One contestant, once."""

    work_seconds: float
    """From the data's file to the output's; imports and loading the model left out."""
    work_cpu_seconds: float
    peak_bytes: int
    """Largest resident set, children included, of the whole process."""
    process_seconds: float
    """From start to exit."""


class ContestantError(Exception):
    """A process of the benchmark failed."""


def start_module(name: str, *words: object) -> subprocess.Popen[str]:
    """Start a module of the benchmark in a process of its own."""
    paths = [ROOT, ROOT / "functions/predict", ROOT / "functions", ROOT / "tests"]  # S3's rules are the tests'
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    environment |= {"PREDICT_KERNEL_LIBRARY": str(library)} if (library := kernel.local_kernel()) else {}
    command = [sys.executable, "-m", f"benchmarks.{name}", *map(str, words)]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def output_of(process: subprocess.Popen[str], timeout_seconds: float | None = None) -> dict[str, Any]:
    """Wait for a process; its last line is JSON if it has any.

    Raises ContestantError, with the last line that it wrote, when it fails, or has not ended in time.
    """
    try:
        output, errors = process.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.communicate()
        raise ContestantError(f"has not ended after {timeout_seconds:g} s") from error
    if process.returncode:
        reason = (errors.strip().splitlines() or [f"exit status {process.returncode}"])[-1]
        raise ContestantError(reason)
    lines = output.splitlines()
    return json.loads(lines[-1]) if lines else {}


def measure(contestant: str, data: Path, model: Path, output: Path, features: list[str]) -> Measurement:
    """Run a contestant in a process of its own.

    Raises ContestantError, with the last line that it wrote, when it fails.
    """
    started = time.perf_counter()
    process = start_module("one_run", contestant, data, model, output, *features)
    peaks = [0]
    sampler = threading.Thread(target=_sample_family, args=(process.pid, peaks), daemon=True)
    sampler.start()
    figures = output_of(process)
    seconds = time.perf_counter() - started
    sampler.join()
    peak = max(figures["peak_bytes"], *peaks)
    return Measurement(figures["work_seconds"], figures["work_cpu_seconds"], peak, seconds)


def _sample_family(pid: int, peaks: list[int]) -> None:
    """Note the memory of a process together with its children; without children the process's own figure is exact."""
    try:
        parent = psutil.Process(pid)
        while parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE:
            if children := parent.children(recursive=True):
                peaks.append(sum(member.memory_info().rss for member in (parent, *children)))
            time.sleep(SAMPLE_SECONDS)
    except psutil.NoSuchProcess:
        return


def check(data: Path, outputs: dict[str, Path]) -> dict[str, Any]:
    """Compare outputs: their number of `rows`, and the `problems`."""
    return output_of(start_module("check", data, *(f"{name}={path}" for name, path in outputs.items())))


def warm(path: Path) -> None:
    """Bring a file into the page cache, so that no contestant pays for the disk."""
    with path.open("rb") as file:
        while file.read(1 << 20):
            pass


class Files:
    """The generated files of one scale; made when first asked for."""

    def __init__(self, folder: Path, scale: float, say: Callable[[str], None]) -> None:
        self.folder, self.scale, self.say = folder, scale, say
        folder.mkdir(parents=True, exist_ok=True)

    def data(self, name: str) -> Path:
        spec = DATASETS[name].scaled(self.scale)
        return self._made(f"{name}-{spec.rows}-rows{spec.ending}", "dataset", name, spec.rows)

    def of_size(self, n_bytes: int) -> Path:
        n_bytes = round(n_bytes * self.scale)
        return self._made(f"a-{n_bytes}-bytes.csv", "bytes", n_bytes)

    def model(self, case: Case) -> Path:
        shape = DATASETS[case.data].shape
        version = importlib.metadata.version("scikit-learn")
        return self._made(f"{shape}-{case.model}-scikit-learn-{version}.joblib", "model", case.model, shape)

    def _made(self, name: str, *words: object) -> Path:
        path = self.folder / name
        if not path.exists():
            self.say(f"making {name}")
            output_of(start_module("generate", *words, path))
        return path
