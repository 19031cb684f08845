"""Score compressed data into a compressed output, against the command-line tools before and behind plain scoring.

python -m benchmarks.compression --scale 0.2 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import NamedTuple

import prediction_handler
from benchmarks.cases import DATASETS, Case
from benchmarks.measure import Files, measure, warm
from benchmarks.report import table

CASE = Case("a", "ridge")


class Tool(NamedTuple):
    """A command-line tool, with the level that the handler writes."""

    ending: str
    decompress: list[str]
    compress: list[str]


TOOLS = {
    "gzip": Tool(".gz", ["gzip", "-dc"], ["gzip", f"-{prediction_handler.GZIP_LEVEL}", "-c"]),
    "zstd": Tool(".zst", ["zstd", "-qdc"], ["zstd", f"-{prediction_handler.ZSTD_LEVEL}", "-qc"]),
}


class Round(NamedTuple):
    """Processor seconds of the work, and peaks."""

    ours: float
    piped: float
    """The tool's two runs, and plain scoring between them."""
    peak_bytes: int
    plain_peak_bytes: int


def main() -> int:
    """Print medians of interleaved rounds as a table; the exit status is 1 if the two outputs differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compression", description=__doc__.partition("\n")[0])
    parser.add_argument("--scale", type=float, default=1, help="share of the full number of rows (default: 1)")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    folder = Path(tempfile.gettempdir(), "batch-predict-benchmark")
    files = Files(folder, arguments.scale, lambda text: print(text, file=sys.stderr))
    data, model = files.data(CASE.data), files.model(CASE)
    rounds: dict[str, list[Round]] = {name: [] for name in TOOLS}
    for _ in range(arguments.rounds):
        for name, tool in TOOLS.items():
            rounds[name].append(one_round(data, model, tool))
    rows = [
        [
            name,
            f"{median(one.ours for one in found):.2f} s",
            f"{median(one.piped for one in found):.2f} s",
            f"{median(one.piped / one.ours for one in found):.2f}x",
            f"{max(one.peak_bytes for one in found) / 1e6:.0f} MB",
            f"{max(one.plain_peak_bytes for one in found) / 1e6:.0f} MB",
        ]
        for name, found in rounds.items()
    ]
    print(table(["", "processor time", "tool, plain scoring, tool", "gain", "peak memory", "of plain scoring"], rows))
    print(json.dumps(rounds))
    return 0


def one_round(data: Path, model: Path, tool: Tool) -> Round:
    """Score the data twice: compressed, and between two runs of the tool."""
    features = DATASETS[CASE.data].features(CASE.model)
    with tempfile.TemporaryDirectory(dir=data.parent) as folder:
        stored, plain, scored = Path(folder, f"in.csv{tool.ending}"), Path(folder, "in.csv"), Path(folder, "out.csv")
        run(tool.compress, data, stored)
        warm(stored)
        ours = measure("ours", stored, model, Path(f"{scored}{tool.ending}"), features)
        piped = run(tool.decompress, stored, plain)
        alone = measure("ours", plain, model, scored, features)
        piped += alone.work_cpu_seconds + run(tool.compress, scored, Path(folder, "tool"))
        run(tool.decompress, Path(f"{scored}{tool.ending}"), plain)
        if plain.read_bytes() != scored.read_bytes():
            raise SystemExit("the outputs differ")
    return Round(ours.work_cpu_seconds, piped, ours.peak_bytes, alone.peak_bytes)


def run(command: list[str], source: Path, target: Path) -> float:
    """Run a tool, and return its processor seconds."""
    before = os.times()
    with source.open("rb") as given, target.open("wb") as taken:
        subprocess.run(command, stdin=given, stdout=taken, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    sys.exit(main())
