"""The whole workflow on the embedded local AWS, against the usual pandas handler on the same file: `make bench-workflow`."""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections import Counter
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from batch_predict.local.aws import local_aws
from batch_predict.runs.outcome import Failed, Published, conclude, start
from batch_predict.runs.prepared_request import prepare
from batch_predict.runs.transfer import upload
from benchmarks import machine
from benchmarks.cases import DATASETS, PREDICTION_COLUMN, Case
from benchmarks.measure import ROOT, Files, check, measure, warm
from benchmarks.report import table

if TYPE_CHECKING:
    from batch_predict.local.aws import LocalAws

CASE = Case("a", "ridge")
CHUNKS = 16
TARGETS = {"first": 4, "warm": 7}
"""Times that the usual handler should take at least, of each execution."""
EXECUTIONS = tuple(TARGETS)
"""The first one after the start of the local AWS pays for the start of the functions' processes."""

Round = dict[str, Any]

EPILOG = """\
example, about a minute:
  python -m benchmarks.workflow --scale 0.1 --rounds 1
"""


class WorkflowError(Exception):
    """An execution failed."""


def main() -> int:
    """Measure the rounds; the exit status is 1 when outputs differ, never for a missed target."""
    arguments = parse_arguments()
    files = Files(arguments.cache / "batch-predict-benchmark", arguments.scale, say)
    data, model = files.data(CASE.data), files.model(CASE)
    rounds = []
    for number in range(arguments.rounds):
        say(f"round {number + 1} of {arguments.rounds}")
        warm(data)
        with tempfile.TemporaryDirectory(dir=files.folder) as folder:
            rounds.append(measure_round(data, model, Path(folder), pandas_first=number % 2 == 0))
    results = summary(rounds, data.stat().st_size, arguments.scale)
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "workflow.json").write_text(json.dumps(results, indent=2) + "\n")
    (arguments.results / "workflow.md").write_text(as_text(results) + "\n")
    print(json.dumps(results, indent=2) if arguments.json else as_text(results))
    return 1 if any(found["problems"] for found in rounds) else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.workflow",
        description="Execute the whole workflow on the embedded local AWS, and score the same file with the usual pandas handler,\n"
        f"in interleaved rounds: 1 M rows of 23 columns, Ridge, {CHUNKS} chunks. An execution is measured as Step Functions\n"
        "records it, without the start of the local AWS, upload and download; pandas from the start of its process to its exit.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--scale", type=float, default=1, help="share of the full number of rows (default: 1)")
    add("--rounds", type=int, default=3, help="times that everything is measured (default: 3)")
    add("--json", action="store_true", help="print JSON instead of tables; both are written to --results in any case")
    add("--results", type=Path, default=ROOT / "benchmarks/results", metavar="FOLDER", help="default: benchmarks/results")
    add("--cache", type=Path, default=Path(tempfile.gettempdir()), metavar="FOLDER",
        help="where the folder of generated files is (default: the system's temporary folder)")  # fmt: skip
    return parser.parse_args()


def measure_round(data: Path, model: Path, folder: Path, *, pandas_first: bool) -> Round:
    """Measure both; one after the other, in either order."""
    outputs = {"ours": folder / "first.csv", "pandas": folder / "pandas.csv"}

    def pandas() -> dict[str, Any]:
        return measure("pandas", data, model, outputs["pandas"], features())._asdict()

    usual = pandas() if pandas_first else None
    executions = measure_executions(data, model, folder)
    usual = usual or pandas()
    found = {**executions, "pandas": usual, "problems": check(data, outputs)["problems"]}
    if (folder / "warm.csv").read_bytes() != outputs["ours"].read_bytes():
        found["problems"].append("two executions differ in their output")
    for name in EXECUTIONS:
        found[name]["times_pandas"] = usual["process_seconds"] / found[name]["seconds"]
    for problem in found["problems"]:
        say(f"PROBLEM: {problem}")
    return found


def measure_executions(data: Path, model: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """Execute twice on a fresh local AWS, each time to an output of its own."""
    with local_aws() as aws:
        return {name: measure_execution(aws, data, model, folder / f"{name}.csv") for name in EXECUTIONS}


def measure_execution(aws: LocalAws, data: Path, model: Path, output: Path) -> dict[str, Any]:
    prepared = prepare(
        {
            "model_s3_uri": str(model),
            "data_s3_uri": str(data),
            "output_s3_uri": str(output),
            "prediction_column_name": PREDICTION_COLUMN,
            "feature_columns": features(),
            "chunk_size_mb": math.ceil(data.stat().st_size / CHUNKS) / 1e6,
        }
    )
    upload(aws, prepared)
    result = conclude(aws, prepared, start(aws, prepared))
    if isinstance(result, Failed):
        raise WorkflowError(f"the execution ended as {result.status}: {result.error}: {result.cause}")
    assert isinstance(result, Published)
    report = json.loads(Path(result.report).read_text())
    return {
        "seconds": result.seconds,
        "chunks": result.chunks,
        "rows": result.rows,
        "states": dict(result.states),
        "chunk_milliseconds": report["milliseconds"],  # of all chunks together
    }


def features() -> list[str]:
    return DATASETS[CASE.data].features(CASE.model)


def summary(rounds: list[Round], data_bytes: int, scale: float) -> dict[str, Any]:
    """Gather what was measured: the ratio that counts is the median of the rounds' own."""
    return {
        "machine": machine.describe(),
        "scale": scale,
        "data_bytes": data_bytes,
        "targets": TARGETS,
        "times_pandas": {name: median(found[name]["times_pandas"] for found in rounds) for name in EXECUTIONS},
        "rounds": rounds,
    }


def as_text(results: dict[str, Any]) -> str:
    """Write all tables of a run."""
    rounds = results["rounds"]
    seconds = [
        [
            str(number),
            *(f"{found[name]['seconds']:.2f}" for name in EXECUTIONS),
            f"{found['pandas']['process_seconds']:.2f}",
            *(f"{found[name]['times_pandas']:.2f}" for name in EXECUTIONS),
        ]
        for number, found in enumerate(rounds, start=1)
    ]
    medians = [f"{results['times_pandas'][name]:.2f}" for name in EXECUTIONS]
    states = [[state, *_medians(rounds, "states", state)] for state in rounds[0]["first"]["states"]]
    stages = [[stage, *(_medians(rounds, "chunk_milliseconds", stage))] for stage in rounds[0]["first"]["chunk_milliseconds"]]
    met = {name: "met" if results["times_pandas"][name] >= bound else "MISSED" for name, bound in TARGETS.items()}
    chunks = Counter(found[name]["chunks"] for found in rounds for name in EXECUTIONS)
    size = f"{rounds[0]['first']['rows']} rows, {results['data_bytes'] / 1e6:.0f} MB, {'/'.join(map(str, chunks))} chunks"
    parts = [
        machine.in_words(results["machine"]),
        f"{size}. Seconds of the execution: the first one after the local AWS started, and the next.",
        table(
            ("round", "first s", "warm s", "pandas s", "pandas / first", "pandas / warm"),
            [*seconds, ["median", "", "", "", *medians]],
        ),
        *(f"Target: pandas / {name} at least {bound}: {met[name]}." for name, bound in TARGETS.items()),
        "Seconds by state, medians.",
        table(("state", *EXECUTIONS), states),
        "Milliseconds of all chunks together by stage, medians.",
        table(("stage", *EXECUTIONS), stages),
        *(f"PROBLEM: {problem}" for found in rounds for problem in found["problems"]),
    ]
    return "\n\n".join(parts)


def _medians(rounds: list[Round], figure: str, key: str) -> list[str]:
    return [f"{median(found[name][figure].get(key, 0) for found in rounds):.3g}" for name in EXECUTIONS]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
