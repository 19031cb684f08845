"""Measure one contestant once, in this fresh process, and print the figures as a line of JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from benchmarks import contestants
from benchmarks.memory import peak_bytes


def main() -> None:
    """Take `CONTESTANT DATA MODEL OUTPUT FEATURE …`."""
    name, data, model, output, *features = sys.argv[1:]
    run = contestants.Run(Path(data), Path(model), Path(output), features)
    work = getattr(contestants, name)(run)
    cpu, started = _cpu_seconds(), time.perf_counter()
    predictions = work()
    seconds, cpu = time.perf_counter() - started, _cpu_seconds() - cpu
    figures = {"work_seconds": seconds, "work_cpu_seconds": cpu, "peak_bytes": peak_bytes()}
    if predictions is not None:
        predictions.tofile(run.output)  # over the copy, for the check
    print(json.dumps(figures))


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
