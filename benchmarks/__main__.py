"""The command line of the benchmark."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks import chart, machine, report
from benchmarks.cases import CASES, CONTESTANTS, DATASETS, MEMORY_FILE_BYTES, MODELS, Case
from benchmarks.measure import ROOT, ContestantError, Files, Measurement, check, measure, warm
from benchmarks.results import Results

EPILOG = f"""\
datasets (a, aq and b, c have 200 to 250 MB), models and contestants:
  a        1 M rows: id, city, 20 numbers, note
  aq       a with 1 % of the fields quoted, some with line breaks
  aj       a as JSON Lines (400 MB)
  b        100 k rows of 200 numbers
  c        5 M rows of 3 numbers
{chr(10).join(f"  {name:8} {meaning}" for name, meaning in (*MODELS.items(), *CONTESTANTS.items()))}

example, about a minute:
  python -m benchmarks --scale 0.02 --rounds 2 --data a c --models ridge histgb
"""


def main() -> int:
    """Run the benchmark; the exit status is 1 when outputs differ or a contestant fails, never for a missed target."""
    arguments = parse_arguments()
    cache = arguments.cache / "batch-predict-benchmark"
    files = Files(cache, arguments.scale, say)
    results = Results(arguments.scale, machine.describe())
    cases = [case for case in CASES if case.data in arguments.data and case.model in arguments.models]
    try:
        for case in cases if arguments.rounds else ():  # before anything is measured
            files.data(case.data)
            files.model(case)
        for number in range(arguments.rounds):
            for case in cases:
                say(f"round {number + 1} of {arguments.rounds}: {case}")
                measure_case(case, _rotated(arguments.contestants, number), files, results)
            write(results, arguments.results)  # so that a run that is broken off has its rounds
        if arguments.memory:
            measure_memory(max(arguments.rounds, 1), files, results)
    finally:
        if arguments.remove_cache:
            shutil.rmtree(cache)
    write(results, arguments.results)
    print(json.dumps(results.as_json(), indent=2) if arguments.json else report.as_text(results))
    return 1 if results.problems else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Score generated CSV files with the prediction handler and with the usual ways, in interleaved rounds,\n"
        "each run in a fresh process; compare speed, memory and outputs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--scale", type=float, default=1, help="share of the full number of rows (default: 1)")
    add("--rounds", type=int, default=5, help="times that everything is measured; 0 for --memory alone (default: 5)")
    add("--data", nargs="+", choices=DATASETS, default=list(DATASETS), help="which datasets (default: all)")
    add("--models", nargs="+", choices=MODELS, default=list(MODELS), help="which models (default: all)")
    add("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS), help="which contestants (default: all)")
    add("--memory", action="store_true", help="also measure the handler's peak memory on files of 16 MB, 256 MB and 1 GB")
    add("--json", action="store_true", help="print JSON instead of tables; both are written to --results in any case")
    add("--results", type=Path, default=ROOT / "benchmarks/results", metavar="FOLDER", help="default: benchmarks/results")
    add("--cache", type=Path, default=Path(tempfile.gettempdir()), metavar="FOLDER",
        help="where the folder of generated files is (default: the system's temporary folder)")  # fmt: skip
    add("--remove-cache", action="store_true", help="remove the folder of generated files in the end")
    return parser.parse_args()


def measure_case(case: Case, contestants: list[str], files: Files, results: Results) -> None:
    """Measure the contestants one after the other, and compare their outputs."""
    data, model = files.data(case.data), files.model(case)
    results.data_bytes[case.data] = data.stat().st_size
    warm(data)
    found: dict[str, Measurement] = {}
    with tempfile.TemporaryDirectory(dir=files.folder) as folder:
        outputs = {name: Path(folder, f"{name}{data.suffix}") for name in contestants}
        for name in contestants:
            try:
                found[name] = measure(name, data, model, outputs[name], DATASETS[case.data].features(case.model))
            except ContestantError as error:
                problem(results, f"{case}: {name} failed: {error}")
        if found:
            try:
                differences = check(data, {name: outputs[name] for name in CONTESTANTS if name in found})["problems"]
            except ContestantError as error:  # an output that is no CSV, for instance
                differences = [f"the outputs cannot be compared: {error}"]
            for difference in differences:
                problem(results, f"{case}: {difference}")
    results.rounds.setdefault(case, []).append({name: found[name] for name in CONTESTANTS if name in found})


def measure_memory(rounds: int, files: Files, results: Results) -> None:
    """Measure the handler's peak memory on files of different sizes."""
    case = Case("a", "ridge")
    for number in range(rounds):
        for n_bytes in MEMORY_FILE_BYTES:
            data = files.of_size(n_bytes)
            say(f"memory {number + 1} of {rounds}: {data.name}")
            with tempfile.TemporaryDirectory(dir=files.folder) as folder:
                output = Path(folder, "ours.csv")
                try:
                    found = measure("ours", data, files.model(case), output, DATASETS[case.data].features(case.model))
                except ContestantError as error:
                    problem(results, f"memory on {data.name}: {error}")
                    continue
            results.memory.setdefault(data.stat().st_size, []).append(found.peak_bytes)


def write(results: Results, folder: Path) -> None:
    """Write `benchmark.json`, `.md` and `.svg`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmark.json").write_text(json.dumps(results.as_json(), indent=2) + "\n")
    (folder / "benchmark.md").write_text(report.as_text(results) + "\n")
    if results.rounds:
        chart.draw(results, folder / "benchmark.svg")


def problem(results: Results, text: str) -> None:
    say(f"PROBLEM: {text}")
    results.problems.append(text)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _rotated(names: list[str], number: int) -> list[str]:
    """Another one goes first in each round."""
    start = number % len(names)
    return names[start:] + names[:start]


if __name__ == "__main__":
    sys.exit(main())
