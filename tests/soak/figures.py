"""What a soak counts, as it goes, and as a table at the end."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Figures:
    """The sum of all runs; any thread may add to it."""

    seed: int
    runs: int = 0
    executions: int = 0
    chunks: int = 0
    rows: int = 0
    bytes: int = 0
    retries: int = 0
    resumed_chunks: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    failed_attempts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    """Runs by what is special about them; one may be of several kinds."""
    models: Counter[str] = field(default_factory=Counter)
    mismatches: list[str] = field(default_factory=list)
    leaks: dict[str, list[str]] = field(
        default_factory=lambda: {"memory": [], "files": [], "processes": [], "uploads": [], "work": []}
    )
    functions: dict[str, dict[str, object]] = field(default_factory=dict)
    """What was seen of each function's processes; quarters are None where there was nothing to see."""
    emulator_mb: list[float] = field(default_factory=list)
    """First and last."""
    seconds: int = 0

    def __post_init__(self):
        self._lock = threading.Lock()
        self._started = time.monotonic()

    def add(self, workload, outcome):
        """Count one run."""
        with self._lock:
            self.runs += 1
            self.executions += outcome.executions
            self.chunks += outcome.chunks
            self.rows += outcome.rows
            self.bytes += outcome.bytes
            self.retries += outcome.retries
            self.resumed_chunks += outcome.resumed
            self.faults += outcome.faults
            self.ended += outcome.ended
            self.failed_attempts += outcome.failed_attempts
            self.kinds.update(kinds_of(workload))
            self.models[workload.estimator.name] += 1
            self.mismatches += [f"{workload.name}: {problem}" for problem in outcome.problems]
            if outcome.uploads:
                self.leaks["uploads"].append(f"{workload.name}: {outcome.uploads} multipart uploads are open")
            if outcome.leftovers:
                self.leaks["work"].append(f"{workload.name}: {outcome.leftovers} objects in the work prefix of a published output")
            self.seconds = round(time.monotonic() - self._started)

    @property
    def is_clean(self):
        """Whether there is nothing to explain."""
        return not self.mismatches and not any(self.leaks.values())

    def line(self):
        """Return the progress in one line."""
        found = sum(map(len, self.leaks.values()))
        return (
            f"{self.seconds:6.0f} s  {self.runs} runs, {self.executions} executions, {self.chunks:,} chunks, {self.rows:,} rows, "
            f"{self.faults.total():,} faults, {self.retries} retries, {len(self.mismatches)} mismatches, {found} leaks"
        )

    def table(self):
        """Return everything, for people."""
        lines = []
        for name, value in self._counted().items():
            counts = value if isinstance(value, dict) else {"": value}
            for what, count in counts.items():
                shown = f"{len(count)}" if isinstance(count, list) and name in {"mismatches", "leaks"} else f"{count}"
                lines.append(f"{name.replace('_', ' ')} {what}".ljust(60) + shown)
        return "\n".join([*lines, *self.complaints()])

    def complaints(self):
        """Return mismatches and leaks, one a line."""
        return [
            *(f"MISMATCH {text}" for text in self.mismatches),
            *(f"LEAK {text}" for found in self.leaks.values() for text in found),
        ]

    def as_json(self, machine):
        """Return everything, for programs."""
        return {"machine": machine, **self._counted()}

    def _counted(self):
        facts = {name: value for name, value in vars(self).items() if name[0] != "_"}
        return {name: dict(value.most_common()) if isinstance(value, Counter) else value for name, value in facts.items()}


def kinds_of(workload):
    """Say what is special about a workload."""
    request = workload.request
    facts = {
        "under faults": workload.faults != "none",
        "rows in quarantine": request.get("on_bad_row") == "quarantine",
        "planted to fail": bool(workload.errors),
        "some loss tolerated": request.get("tolerated_failure_percentage", 0) > 0,
        "two executions at once": workload.twins > 1,
        "a rival request to the same output": workload.rival is not None,
        "repeated after success": workload.repeats > 0,
        "another's output in place": workload.foreign is not None,
        "model pinned": request.get("model_sha256") is not None,
        "work kept": request["keep_work"],
        "parts copied by S3": sum(len(content) for _, content in workload.objects) > 2 * 5 * 2**20,
    }
    return [name for name, holds in facts.items() if holds]
