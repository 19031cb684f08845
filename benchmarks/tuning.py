"""What chunk size and vCPUs do to one chunk: `python -m benchmarks.tuning` prints the table of docs/operations.md.

Lambda gives 1,769 MB one vCPU and the default of 3,538 MB two; here a chunk is scored on so many cores of this machine.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path

from benchmarks.cases import DATASETS
from benchmarks.measure import measure, output_of, start_module

CHUNKS_MB = (16, 64, 256)
MODELS = ("ridge", "histgb", "forest")
ROUNDS = 3


def main() -> None:
    """Score a file of each size with each model on one core and on two, each in a fresh process."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    print("| model | chunk MB | vCPUs | seconds | processor seconds | peak MB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model in MODELS:
            output_of(start_module("generate", "model", model, "a", folder / model))
            for megabytes in CHUNKS_MB:
                data = folder / f"{megabytes}.csv"
                if not data.exists():
                    output_of(start_module("generate", "bytes", megabytes * 10**6, data))
                for count in range(1, len(cores) + 1):
                    os.sched_setaffinity(0, cores[:count])  # the processes inherit it
                    features = DATASETS["a"].features(model)
                    runs = [measure("ours", data, folder / model, folder / "out.csv", features) for _ in range(ROUNDS)]
                    os.sched_setaffinity(0, cores)
                    work = statistics.median(run.work_seconds for run in runs)
                    cpu = statistics.median(run.work_cpu_seconds for run in runs)
                    peak = max(run.peak_bytes for run in runs)
                    print(f"| {model} | {megabytes} | {count} | {work:.2f} | {cpu:.2f} | {peak / 1e6:.0f} |", flush=True)


if __name__ == "__main__":
    main()
