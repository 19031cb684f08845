"""The prediction function's whole invocation behind a network as slow as Lambda's, by memory size: `make bench-lambda`."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import math
import os
import resource
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks import machine
from benchmarks.cases import DATASETS, PREDICTION_COLUMN, Case
from benchmarks.lambda_figures import (
    CONCURRENCY,
    Figures,
    Invocation,
    Size,
    cheapest,
    error_of_reckoning,
    fastest,
    reckoned,
    targets,
)
from benchmarks.measure import ROOT, Files, output_of, start_module
from benchmarks.paced_s3 import BUCKET, LATENCY_SECONDS, PacedS3, etag_of, paced_s3
from benchmarks.report import table, target_rows
from workflow.decision import decision_of
from workflow.lambda_limits import DEFAULT_MEMORY_MB, MB_PER_VCPU, network_mb_per_second, vcpus
from workflow.sizing import MEMORY_SIZES_MB

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = tuple(Case(*words.split()) for words in ("a ridge", "b ridge", "c ridge", "a columns", "a forest", "a histgb"))
LARGE_MB, SMALL_MB = 256, 64
"""MB (10^6 bytes) of the chunks."""
DATA_SCALE = 1.3
"""Of the datasets' full size, so that each has a chunk of 256 MB in it."""
MEASURED_MB = {LARGE_MB: (512, DEFAULT_MEMORY_MB, MB_PER_VCPU, 2688), SMALL_MB: (512, MB_PER_VCPU)}
"""By the chunk's size. The others are reckoned: some have more vCPUs than most machines, some would take minutes more."""
SPARE_CORES = 0.4
"""What this machine needs beside the function's vCPUs for S3's side of the network."""
TWO_CORES_MB = 3_008
"""The largest memory size with two cores: https://stackoverflow.com/questions/66522916 and the study that is cited there."""
PERIOD_MICROSECONDS = 20_000
"""In which a quota is given out."""
WORK = "out.csv.work/"
COLUMNS_KEY, DECISION_KEY, PART_KEY = f"{WORK}columns.json", f"{WORK}decision.json", f"{WORK}part.csv"

NOTE = f"""\
Seconds of an invocation with chunks of the MB (10^6 bytes) given; cold with the start of its process and its imports, files in \
the page cache. S3 waits {1000 * LATENCY_SECONDS:.0f} ms before each answer. The bound is the largest of download, upload and \
processor seconds by vCPUs. A TB: {CONCURRENCY} chunks cold, the others warm, with requests and state transitions, on arm64."""

HEADS = ["data, model", "memory MB", "vCPUs", "MB/s", "", "warm s", "cold s", "bound s", "/ bound", "GB-s", "cold GB-s", "$ a TB"]
PRICE_HEADS = ["s", "$ a TB", "Lambda + S3 + states"]
BEST_HEADS = ["data, model", "chunk MB", "peak MB", "MB/vCPU-s", "cheapest MB", *PRICE_HEADS, "fastest MB", *PRICE_HEADS]

EPILOG = """\
example, about a minute:
  python -m benchmarks.lambda_sizes --scale 0.1 --cases "a ridge" "a forest"
"""


def main() -> int:
    """Measure, reckon and print; missed targets do not change the exit status."""
    arguments = parse_arguments()
    files = Files(arguments.cache / "batch-predict-benchmark", arguments.scale * DATA_SCALE, say)
    found: dict[Size, Figures] = {}
    with paced_s3() as s3:
        for case in arguments.cases:
            features = DATASETS[case.data].features(case.model)
            events = prepare(s3, files.data(case.data), files.model(case), features, arguments.scale)
            for chunk_mb, event in events.items():
                found |= measure_sizes(s3, case, chunk_mb, event, arguments.memory)
            write(arguments, found)  # so that a run that is broken off has its cases
    text = write(arguments, found)
    print((arguments.results / "lambda.json").read_text() if arguments.json else text)
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.lambda_sizes",
        description="Invoke the prediction function with chunks of two sizes, behind an S3 that is as slow as Lambda's network,\n"
        "with the processor time that a memory size buys. Sizes that this machine cannot be are reckoned from measured ones.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--scale", type=float, default=1, help="share of the chunks' full size (default: 1)")
    add("--cases", nargs="+", type=_case, default=CASES, metavar="CASE", help=f"default: {', '.join(map(str, CASES))}")
    add(
        "--memory",
        nargs="+",
        type=int,
        default=MEMORY_SIZES_MB,
        metavar="MB",
        help=f"default: {' '.join(map(str, MEMORY_SIZES_MB))}",
    )
    add("--json", action="store_true", help="print JSON instead of tables; both are written to --results in any case")
    add("--results", type=Path, default=ROOT / "benchmarks/results", metavar="FOLDER", help="default: benchmarks/results")
    add("--cache", type=Path, default=Path(tempfile.gettempdir()), metavar="FOLDER",
        help="where the folder of generated files is (default: the system's temporary folder)")  # fmt: skip
    arguments = parser.parse_args()
    if not hasattr(os, "sched_setaffinity"):
        parser.error("this benchmark needs Linux: no other system says which cores a process may use")
    return arguments


def _case(words: str) -> Case:
    case = Case(*words.split())
    if case not in CASES:
        raise argparse.ArgumentTypeError(f"{words!r} is none of the cases")
    return case


def prepare(s3: PacedS3, data: Path, model: Path, features: list[str], scale: float) -> dict[int, dict[str, Any]]:
    """Put data and model into S3, decide what a run decides, with the function's own probe; return an event for each chunk size."""
    with data.open("rb") as file:
        s3.objects = {"data.csv": mmap(file.fileno(), 0, access=ACCESS_READ), "model.joblib": model.read_bytes()}
    place = {"data_s3_uri": f"s3://{BUCKET}/data.csv", "data_etag": etag_of(s3.objects["data.csv"])}
    agreed = {
        "model_s3_uri": f"s3://{BUCKET}/model.joblib",
        "model_etag": etag_of(s3.objects["model.joblib"]),
        "prediction_column_name": PREDICTION_COLUMN,
        "raise_errors": True,
        "execution_name": "benchmark",
    }
    probe = {**agreed, **place, "receipt_s3_uri": f"s3://{BUCKET}/{COLUMNS_KEY}", "feature_columns": features, "probe_rows": 1000}
    s3.set_pace(network_mb_per_second(MB_PER_VCPU))
    (probed,) = invoke(s3, [probe], MB_PER_VCPU, None)
    columns = json.loads(s3.objects[COLUMNS_KEY])
    decision = json.dumps(decision_of(columns, columns["column_types"], probed["answer"]["model"])).encode()
    s3.objects[DECISION_KEY] = decision
    agreed |= {
        "work_s3_uri": f"s3://{BUCKET}/{WORK}",
        "decision_s3_uri": f"s3://{BUCKET}/{DECISION_KEY}",
        "decision_sha256": hashlib.sha256(decision).hexdigest(),
        "output_s3_uri": f"s3://{BUCKET}/{PART_KEY}",
        "receipt_s3_uri": f"s3://{BUCKET}/{WORK}receipt.json",
        "chunk_index": 1,
        **{name: probed["answer"][name] for name in ("stored_model_s3_uri", "stored_model_sha256")},
    }
    content = s3.objects["data.csv"]
    # Most chunks lie behind the header, which is then read by itself; no field of these files has a line break in it.
    start = content.find(b"\n", 10_000) + 1
    stops = {chunk_mb: content.find(b"\n", start + round(chunk_mb * 1e6 * scale)) + 1 for chunk_mb in (LARGE_MB, SMALL_MB)}
    return {chunk_mb: {**agreed, **place, "byte_range": [start, stop]} for chunk_mb, stop in stops.items()}


def measure_sizes(s3: PacedS3, case: Case, chunk_mb: int, event: dict[str, Any], memory_mb: list[int]) -> dict[Size, Figures]:
    """Measure what this machine can be, and reckon the other memory sizes, each from the next smaller one that was measured."""
    wanted = sorted({MB_PER_VCPU, *memory_mb} & set(MEASURED_MB[chunk_mb]))
    measured = {memory: figures for memory in wanted if (figures := measure_size(s3, case, chunk_mb, event, memory))}

    def base(memory: int) -> Figures:
        return measured[max((size for size in measured if size < memory), default=min(measured))]

    found = [measured.get(memory) or reckoned(base(memory), memory) for memory in sorted({*memory_mb, *measured})]
    return {figures.size: figures for figures in found}


def measure_size(s3: PacedS3, case: Case, chunk_mb: int, event: dict[str, Any], memory_mb: int) -> Figures | None:
    """Invoke twice in a new process; None if this machine cannot be a function of that size. One core is one vCPU on any."""
    if memory_mb != MB_PER_VCPU and vcpus(memory_mb) > len(os.sched_getaffinity(0)) - SPARE_CORES:
        return None
    with processor_quota(vcpus(memory_mb)) as group:
        if memory_mb != MB_PER_VCPU and not group:
            return None
        say(f"{case}, chunks of {chunk_mb} MB, {memory_mb:,} MB of memory")
        s3.set_pace(network_mb_per_second(memory_mb))
        cold, again = invoke(s3, [event, event], memory_mb, group)
    start, stop = event["byte_range"]
    bytes_out = len(s3.objects[PART_KEY])
    assert again["answer"]["input_bytes"] == stop - start
    assert again["answer"]["output_bytes"] == bytes_out
    puts, gets = s3.requests["PUT"] + s3.requests["POST"], s3.requests["GET"] + s3.requests["HEAD"]
    return Figures(
        case, chunk_mb, memory_mb, True, stop - start, bytes_out, puts // 2, gets // 2,
        again["peak_bytes"], again["other_cores"], _invocation(cold), _invocation(again),
    )  # fmt: skip


def invoke(s3: PacedS3, events: list[dict[str, Any]], memory_mb: int, group: Path | None) -> list[dict[str, Any]]:
    """Let a new process be a function of that size; without a control group, it has one core."""
    environment = {**s3.environment(), "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb)}
    asked = {"group": group and str(group), "cores": cores(memory_mb) if group else 1, "environment": environment, "events": events}
    started, others = time.monotonic(), _others_seconds()
    found: list[dict[str, Any]] = output_of(start_module("invocation", json.dumps({**asked, "started": started})))["found"]
    other_cores = (_others_seconds() - others) / (time.monotonic() - started)
    return [one | {"other_cores": max(0, other_cores)} for one in found]


def cores(memory_mb: int) -> int:
    """Return how many cores a function sees, which share its vCPUs: at most six."""
    return 2 if memory_mb <= TWO_CORES_MB else max(3, math.ceil(vcpus(memory_mb)))


def _others_seconds() -> float:
    """Return the processor seconds of all processes but this one and its children."""
    spent, children = psutil.cpu_times(), resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.user + spent.nice + spent.system - time.process_time() - children.ru_utime - children.ru_stime


def _invocation(found: dict[str, Any]) -> Invocation:
    upload = found["answer"]["milliseconds"].get("upload", 0) / 1000
    return Invocation(found["seconds"], found["processor_seconds"], found["main_thread_seconds"], upload)


@contextmanager
def processor_quota(share: float) -> Iterator[Path | None]:
    """Make a control group that gets so many processor seconds a second; None if the kernel does not let us."""
    quota = round(share * PERIOD_MICROSECONDS)
    first, second = (
        {"cpu.cfs_period_us": PERIOD_MICROSECONDS, "cpu.cfs_quota_us": quota},
        {"cpu.max": f"{quota} {PERIOD_MICROSECONDS}"},
    )
    with ExitStack() as stack:
        for root, limits in (("/sys/fs/cgroup/cpu", first), ("/sys/fs/cgroup", second)):  # control groups have two versions
            group = Path(root, f"batch-predict-{os.getpid()}")
            with suppress(OSError):
                group.mkdir()
                stack.callback(group.rmdir)
                if all((group / name).exists() for name in limits):
                    for name, value in limits.items():
                        (group / name).write_text(str(value))
                    break
        else:
            group = None
        yield group


def write(arguments: argparse.Namespace, found: dict[Size, Figures]) -> str:
    """Write `lambda.json` and `.md`, and return the tables."""
    described = machine.describe()
    derived = ("fits", "bound_seconds", "times_bound", "mb_per_vcpu_second", "dollars_per_tb")
    sizes = [
        {**dataclasses.asdict(figures), "case": str(figures.case), "cold": figures.cold._asdict(), "warm": figures.warm._asdict()}
        | {name: getattr(figures, name) for name in derived}
        | {"tb_dollars": figures.tb_dollars._asdict()}
        for figures in found.values()
    ]
    met = list(targets(found, LARGE_MB, SMALL_MB))
    results = {"machine": described, "scale": arguments.scale, "sizes": sizes, "targets": [target._asdict() for target in met]}
    parts = [machine.in_words(described), NOTE]
    if arguments.scale != 1:
        parts.append(f"Reduced to {arguments.scale:g} of the full size: fixed costs weigh more, and the targets are for it.")
    for chunk_mb in (LARGE_MB, SMALL_MB):
        rows = [_row(figures) for figures in found.values() if figures.chunk_mb == chunk_mb]
        parts += [f"Chunks of {chunk_mb} MB.", table(HEADS, rows)]
    off, busy = error_of_reckoning(found.values()), max(figures.other_cores for figures in found.values())
    parts += [
        "Cheapest and fastest memory size of each, of those that its peak memory fits into.",
        table(BEST_HEADS, _best(found)),
        f"Reckoned from the next smaller one, a measured size would be off by up to {100 * off:.0f} %.",
        f"Other processes took up to {busy:.1f} cores while one was measured: the quieter, the truer.",
        table(("target", "bound", "measured", "met"), target_rows(met)),
    ]
    text = "\n\n".join(parts)
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "lambda.json").write_text(json.dumps(results, indent=2) + "\n")
    (arguments.results / "lambda.md").write_text(text + "\n")
    return text


def _row(figures: Figures) -> list[str]:
    numbers = (figures.warm.seconds, figures.cold.seconds, figures.bound_seconds, figures.times_bound)
    money = (figures.gb_seconds(figures.warm), figures.gb_seconds(figures.cold), figures.dollars_per_tb)
    return [
        str(figures.case),
        f"{figures.memory_mb:,}",
        f"{vcpus(figures.memory_mb):.2f}",
        f"{network_mb_per_second(figures.memory_mb):.0f}",
        "measured" if figures.is_measured else "reckoned",
        *(f"{number:.2f}" for number in (*numbers, *money)),
    ]


def _best(found: dict[Size, Figures]) -> list[list[str]]:
    rows = []
    for case, chunk_mb in dict.fromkeys((case, chunk_mb) for case, chunk_mb, _ in found):
        of_case = [figures for figures in found.values() if (figures.case, figures.chunk_mb) == (case, chunk_mb)]
        measured = [figures for figures in of_case if figures.is_measured]
        peak = max((figures.peak_bytes for figures in measured), default=0)
        speed = max((figures.mb_per_vcpu_second for figures in measured), default=0)
        row = [str(case), str(chunk_mb), f"{peak / 1e6:.0f}", f"{speed:.0f}"]
        for best in (cheapest(of_case), fastest(of_case)):
            split = " + ".join(f"{dollars:.2f}" for dollars in (best.tb_dollars if best else ()))
            row += [f"{best.memory_mb:,}", f"{best.warm.seconds:.2f}", f"{best.dollars_per_tb:.2f}", split] if best else ["-"] * 4
        rows.append(row)
    return rows


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
