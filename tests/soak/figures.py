"""What a soak counts, as it goes, and as a table at the end."""

import threading
import time
from collections import Counter


class Figures:
    """The sum of all runs; any thread may add to it."""

    def __init__(self):
        self.counts = Counter()
        self.mismatches = []
        self.leaks = []
        self._lock = threading.Lock()
        self._started = time.monotonic()

    def add(self, workload, outcome):
        kinds = {
            "runs": True,
            "runs under faults": workload.faults != "none",
            "runs planted to fail": bool(workload.errors),
            "runs with two executions at once": workload.twins > 1,
            "runs that are repeated": workload.repeats > 0,
        }
        with self._lock:
            self.counts += Counter(name for name, holds in kinds.items() if holds) + outcome.counts
            self.mismatches += [f"{workload.name}: {problem}" for problem in outcome.problems]
            self.leaks += [f"{workload.name}: {leak}" for leak in outcome.leaks]

    @property
    def is_clean(self):
        return not self.mismatches and not self.leaks

    def line(self):
        names = ("runs", "executions", "chunks", "rows", "faults", "retries")
        counted = ", ".join(f"{self.counts[name]:,} {name}" for name in names)
        seconds = time.monotonic() - self._started
        return f"{seconds:6.0f} s  {counted}, {len(self.mismatches)} mismatches, {len(self.leaks)} leaks"

    def table(self):
        counts = [*sorted(self.counts.items()), ("mismatches", len(self.mismatches)), ("leaks", len(self.leaks))]
        lines = [f"{name:60}{count:,}" for name, count in counts]
        return "\n".join([*lines, *(f"MISMATCH {text}" for text in self.mismatches), *(f"LEAK {text}" for text in self.leaks)])
