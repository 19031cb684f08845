"""Measure one contestant once, in this fresh process, and print the figures as a line of JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from benchmarks import contestants


def main() -> None:
    """Take `CONTESTANT DATA MODEL OUTPUT FEATURE …`."""
    name, data, model, output, *features = sys.argv[1:]
    run = contestants.Run(Path(data), Path(model), Path(output), features)
    work = getattr(contestants, name)(run)
    cpu, started = _cpu_seconds(), time.perf_counter()
    predictions = work()
    seconds, cpu = time.perf_counter() - started, _cpu_seconds() - cpu
    figures = {"work_seconds": seconds, "work_cpu_seconds": cpu, "peak_bytes": _peak_bytes()}
    if predictions is not None:
        predictions.tofile(run.output)  # over the copy, for the check
    print(json.dumps(figures))


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _peak_bytes() -> int:
    """Largest resident set of this process."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would count the parent's memory, which Linux carries over an exec
        return int(status.read_text().partition("VmHWM:")[2].split(maxsplit=1)[0]) * 1024
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage if sys.platform == "darwin" else usage * 1024


if __name__ == "__main__":
    main()
