"""What a soak counts, as it goes, and as a table at the end."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from soak.leaks import Function


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
    functions: dict[str, Function] = field(default_factory=dict)
    emulator_mb: list[float] = field(default_factory=list)
    """First and last."""
    seconds: float = 0.0

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
            self.seconds = time.monotonic() - self._started

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
        rows = [
            ("seed", self.seed),
            ("seconds", round(self.seconds)),
            ("runs", self.runs),
            *((f"  {kind}", count) for kind, count in self.kinds.most_common()),
            ("executions", self.executions),
            *((f"  {ended}", count) for ended, count in self.ended.most_common()),
            ("chunks predicted", f"{self.chunks:,}"),
            ("chunks taken over", f"{self.resumed_chunks:,}"),
            ("rows compared", f"{self.rows:,}"),
            ("MB compared", round(self.bytes / 1e6, 1)),
            ("faults injected", f"{self.faults.total():,}"),
            *((f"  {fault}", count) for fault, count in self.faults.most_common()),
            ("retries by the state machine", self.retries),
            *((f"  failed attempts: {error}", count) for error, count in self.failed_attempts.most_common()),
            ("mismatches", len(self.mismatches)),
            *((f"leaks: {kind}", len(found)) for kind, found in self.leaks.items()),
        ]
        lines = [f"{name:<48}{value:>14}" for name, value in rows]
        lines += [
            "",
            f"{'function':<22}{'processes':>10}{'MB first':>10}{'MB last':>10}{'MB most':>10}  (first and last quarter, medians)",
        ]
        for function, facts in self.functions.items():
            quarters = [facts["mb_first_quarter"], facts["mb_last_quarter"]]
            shown = "".join(f"{'-' if value is None else value:>10}" for value in quarters)
            lines.append(f"{function:<22}{facts['processes']:>10}{shown}{facts['mb_most']:>10}")
        if self.emulator_mb:
            lines.append(
                f"the emulator, which keeps every history: {self.emulator_mb[0]:.0f} MB, {self.emulator_mb[-1]:.0f} MB at the end"
            )
        return "\n".join([*lines, *self.complaints()])

    def complaints(self):
        """Return mismatches and leaks, one a line."""
        return [
            *(f"MISMATCH {text}" for text in self.mismatches),
            *(f"LEAK {text}" for found in self.leaks.values() for text in found),
        ]

    def as_json(self, machine):
        """Return everything, for programs."""
        counted = {
            name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items() if name[0] != "_"
        }
        return {"machine": machine, **counted}


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
