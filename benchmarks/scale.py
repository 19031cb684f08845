"""Plan and merge from 1 KB to 10 TB, and a million objects, on an S3 of formulas: `make bench-scale`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.measure import ROOT, ContestantError, output_of, start_module
from benchmarks.report import table
from benchmarks.scale_input import CHUNK_SIZE_MB, parse_case
from benchmarks.scale_limits import LAMBDA_SECONDS, Check, bytes_through, checks_of, dollars, growth_checks

Figures = dict[str, Any]

CASES = ("1KB", "1GB", "1TB", "10TB", "1TB-quoted", "1TB-23-features", "1TB-200-features", "1TB-parquet", "1000000-objects")

NOTE = """\
The seconds are the processor's, without S3's own: no call waits here. Peak memory is the process's, with the interpreter, \
botocore (a real client adds some 15 MB) and what the stand-in for S3 keeps; "before" is what was resident before each of both."""

EPILOG = """\
inputs are named by their size (1KB, 100MB, 10TB, one object; 1TB-quoted has line breaks in quotes,
1TB-200-features statistics of 200 features in each receipt) or number (2000-objects of 2 KB under one prefix).

example, some seconds:
  python -m benchmarks.scale --cases 1KB 100MB 2000-objects
"""


def main() -> int:
    """Measure the cases; the exit status is 1 when a check is broken."""
    arguments = parse_arguments()
    found = {name: measure_case(name, arguments.timeout) for name in arguments.cases}
    checks = [check for figures in found.values() for check in checks_of(figures)] + list(growth_checks(found))
    results = {
        "machine": machine.describe(),
        "chunk_size_mb": CHUNK_SIZE_MB,
        "cases": [summary(figures) for figures in found.values()],
        "checks": [check._asdict() for check in checks],
    }
    text = as_text(results, checks)
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "scale.json").write_text(json.dumps(results, indent=2) + "\n")
    (arguments.results / "scale.md").write_text(text + "\n")
    print(json.dumps(results, indent=2) if arguments.json else text)
    return 0 if all(check.holds for check in checks) else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale",
        description="Plan and merge inputs of any size with the workflow's own functions, each in a fresh process, on an S3 whose\n"
        "objects are formulas: nothing is stored, so one may have 10 TB. Counts calls, bytes, memory and cost, compares the\n"
        "output with the input, and checks AWS's limits. No call waits: the seconds are the functions' own.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--cases", nargs="+", type=_case, default=list(CASES), metavar="CASE", help=f"default: {' '.join(CASES)}")
    add("--timeout", type=float, default=2 * LAMBDA_SECONDS, help="seconds that a case may take (default: %(default)s)")
    add("--json", action="store_true", help="print JSON instead of tables; both are written to --results in any case")
    add("--results", type=Path, default=ROOT / "benchmarks/results", metavar="FOLDER", help="default: benchmarks/results")
    return parser.parse_args()


def _case(name: str) -> str:
    try:
        return parse_case(name).name
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def measure_case(name: str, timeout: float) -> Figures:
    """Measure a case in a process of its own; one that fails has an `error` and nothing else."""
    print(name, file=sys.stderr, flush=True)
    try:
        return output_of(start_module("scale_case", name), timeout)
    except ContestantError as error:
        return {"case": name, "error": str(error)}


def summary(figures: Figures) -> Figures:
    """Return a case's figures with what follows from them; of its parts, only how many and how large."""
    if "error" in figures:
        return figures
    parts = figures["part_bytes"]
    through = bytes_through(figures, "merge")
    return {
        **figures,
        "part_bytes": {"parts": len(parts), "smallest": min(parts), "largest": max(parts)} if parts else None,
        "read_share_of_input": sum(figures[phase]["bytes_read"] for phase in ("plan", "merge")) / figures["input_bytes"],
        "merge_bytes_through": through,
        "merge_share_of_output": through / figures["output_bytes"],
        "dollars": sum(dollars(figures[phase]["calls"]) for phase in ("plan", "merge")),
    }


def as_text(results: Figures, checks: list[Check]) -> str:
    """Write all tables of a run."""
    cases = [figures for figures in results["cases"] if "error" not in figures]
    broken = [check for check in checks if not check.holds]
    parts = [
        machine.in_words(results["machine"]),
        f"Chunks of {results['chunk_size_mb']} MB or more; 1 MB = 10^6 bytes. {NOTE}",
        table(
            ("case", "chunks", "plan KB", "plan s", "merge s", "plan MB", "merge MB", "before MB", "calls", "S3 $"),
            [_figures(figures) for figures in cases],
        ),
        "Bytes that the functions read and wrote; what S3 copies by itself is in none.",
        table(
            ("case", "plan reads MB", "merge reads MB", "of the input", "through the merge MB", "of the output"),
            [_bytes(figures) for figures in cases],
        ),
        "Calls, plan + merge.",
        _calls(cases),
        table(
            ("case", "check", "limit", "found", ""),
            [[check.case, check.what, check.limit, check.found, "holds" if check.holds else "BROKEN"] for check in checks],
        ),
        f"{len(checks) - len(broken)} of {len(checks)} checks hold.",
    ]
    return "\n\n".join(parts)


def _figures(figures: Figures) -> list[str]:
    plan, merge = figures["plan"], figures["merge"]
    return [
        figures["case"],
        str(figures["chunks"]),
        f"{figures['plan_bytes'] / 1e3:.1f}",
        f"{plan['seconds']:.2f}",
        f"{merge['seconds']:.2f}",
        f"{plan['peak_bytes'] / 1e6:.0f}",
        f"{merge['peak_bytes'] / 1e6:.0f}",
        " + ".join(f"{phase['before_bytes'] / 1e6:.0f}" for phase in (plan, merge)),
        str(sum(sum(phase["calls"].values()) for phase in (plan, merge))),
        f"{figures['dollars']:.4f}",
    ]


def _bytes(figures: Figures) -> list[str]:
    return [
        figures["case"],
        f"{figures['plan']['bytes_read'] / 1e6:.2f}",
        f"{figures['merge']['bytes_read'] / 1e6:.2f}",
        _percent(figures["read_share_of_input"]),
        f"{figures['merge_bytes_through'] / 1e6:.2f}",
        _percent(figures["merge_share_of_output"]),
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _calls(cases: list[Figures]) -> str:
    names = sorted({name for figures in cases for phase in ("plan", "merge") for name in figures[phase]["calls"]})
    rows = [
        [name, *(" + ".join(str(figures[phase]["calls"].get(name, 0)) for phase in ("plan", "merge")) for figures in cases)]
        for name in names
    ]
    return table(("operation", *(figures["case"] for figures in cases)), rows)


if __name__ == "__main__":
    sys.exit(main())
