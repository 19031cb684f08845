"""What it takes to score with a bundle instead of a model alone, by the package itself: `make bench-bundles`."""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from mmap import ACCESS_READ, mmap
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from batch_predict.bundle.from_pickle import contents_of
from batch_predict.bundle.write import write_bundle
from batch_predict.setup import package, target
from benchmarks import machine
from benchmarks.cases import DATASETS, PREDICTION_COLUMN
from benchmarks.measure import ROOT, Files
from benchmarks.paced_s3 import BUCKET, LATENCY_SECONDS, PacedS3, etag_of, paced_s3
from benchmarks.package_process import function_of, sample_family
from benchmarks.report import table, target_rows
from benchmarks.targets import Target
from tools import smoke
from workflow.lambda_limits import DEFAULT_MEMORY_MB, network_mb_per_second

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST_MB, NEXT_MB, NEXT_CHUNKS = 1, 64, 4
"""MB (10^6 bytes) of a process's first chunk, and of those after it."""

PLAIN, BEFORE = "a model alone", "a model alone, package before"
SAME, OWN = "a bundle with the function's versions", "a bundle with scikit-learn 1.5.2 and pandas 2.2.3"
ALL_ITS_OWN = "a bundle with NumPy 2.1.3 and SciPy 1.14.1, too"
ELSEWHERE = ["scikit-learn==1.5.2", "pandas==2.2.3"]
ENVIRONMENTS = {
    SAME: ["scikit-learn", "pandas", "numpy", "scipy", "joblib"],  # it takes all of them from the function
    OWN: [*ELSEWHERE, "numpy", "scipy"],
    ALL_ITS_OWN: [*ELSEWHERE, "numpy==2.1.3", "scipy==1.14.1"],
}
"""Where the models of bundles are fitted: what pip installs there."""

NOTE = f"""\
A pipeline of one-hot text, scaled numbers and Ridge. Cold: a new process, on whole cores, until its first chunk of {FIRST_MB} MB \
is scored, behind the network of {DEFAULT_MEMORY_MB:,} MB of memory ({network_mb_per_second(DEFAULT_MEMORY_MB):.0f} MB/s, \
{1000 * LATENCY_SECONDS:.0f} ms for each answer). Warm: {NEXT_CHUNKS} further chunks of {NEXT_MB} MB, with a network that never \
waits. Processor time is that of both processes. Memory is the largest sum of their proportional sets (PSS)."""

EPILOG = """\
example, with a package that was built before a change:
  python -m benchmarks.bundles --before old/prediction-function.zip
"""


class Case(NamedTuple):
    """A model, and the package that scores with it."""

    name: str
    unpacked: smoke.Unpacked
    key: str
    """Of the model in S3."""


class Figures(NamedTuple):
    """One process."""

    start_seconds: float
    """Until it asks for its first event."""
    cold_seconds: float
    cold_processor_seconds: float
    warm_seconds: float
    """Median of the further chunks."""
    warm_processor_seconds: float
    """Mean of the further chunks."""
    warm_mb_per_second: float


def main() -> int:
    """Measure and print; missed targets do not change the exit status."""
    arguments = parse_arguments()
    folder = arguments.cache / "batch-predict-benchmark"
    files = Files(folder, arguments.scale, say)
    data = files.data("a")
    built_for, interpreter = smoke.smoke_target()
    with paced_s3() as s3, tempfile.TemporaryDirectory(prefix="batch-predict-bundles-") as temporary:
        work = Path(temporary)
        path = package.zip_predict(built_for, say=say)
        unpacked = smoke.unpack(path, built_for, interpreter, work / "package")
        packages = {"package bytes": _unpacked_bytes(unpacked)}
        cases = list(bundled_cases(s3, unpacked, built_for, data, folder, work))
        if arguments.before:
            before = smoke.unpack(arguments.before, built_for, interpreter, work / "before")
            packages["package bytes before"] = _unpacked_bytes(before)
            cases.insert(1, Case(BEFORE, before, cases[0].key))
        with data.open("rb") as file:
            s3.objects["data.csv"] = mmap(file.fileno(), 0, access=ACCESS_READ)
            found: dict[str, list[Figures]] = {case.name: [] for case in cases}
            for number in range(arguments.rounds):
                for case in cases:
                    say(f"round {number + 1}: {case.name}")
                    found[case.name].append(measured(s3, case, work))
            peaks = {case.name: peak_mb(s3, case, work) for case in cases}
        sizes = {case.name: len(s3.objects[case.key]) for case in cases}
    text = write(arguments, interpreter.version, found, peaks, sizes, packages)
    print((arguments.results / "bundles.json").read_text() if arguments.json else text)
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bundles",
        description="Build the package, and let it score with a model alone and with bundles of it, in fresh processes.\n"
        "Bundles are made of models that are fitted in environments of their own, which pip installs (some minutes once).",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="fresh processes of each case; tables have their medians (default: 5)")
    add("--scale", type=float, default=1, help="share of the data's full size (default: 1)")
    add("--before", type=Path, metavar="ZIP", help="a package of an earlier commit, to compare a model alone with")
    add("--json", action="store_true", help="print JSON instead of tables; both are written to --results in any case")
    add("--results", type=Path, default=ROOT / "benchmarks/results", metavar="FOLDER", help="default: benchmarks/results")
    add("--cache", type=Path, default=Path(tempfile.gettempdir()), metavar="FOLDER",
        help="where the folder of generated files is (default: the system's temporary folder)")  # fmt: skip
    return parser.parse_args()


def bundled_cases(
    s3: PacedS3, unpacked: smoke.Unpacked, built_for: target.Target, data: Path, cache: Path, work: Path
) -> Iterator[Case]:
    """Fit the model in each environment, bundle it, put it into S3, and yield a case of each; first the model alone."""
    program = str(Path(__file__).with_name("fitted_elsewhere.py"))
    model = work / "model.joblib"
    run(unpacked.command(program, str(data), str(model)), env=unpacked.environment_with_carried())
    s3.objects[model.name] = model.read_bytes()
    yield Case(PLAIN, unpacked, model.name)
    versions = package_versions(unpacked)
    platform = f"linux-{target.ARCHITECTURES[built_for.architecture]}-{built_for.name.partition('-')[2]}"
    for number, (name, wanted) in enumerate(ENVIRONMENTS.items()):
        python = environment(cache, unpacked.interpreter.path, [one if "=" in one else f"{one}=={versions[one]}" for one in wanted])
        model, bundle = work / f"model-{number}.joblib", work / f"model-{number}.bundle.zip"
        run([str(python), program, str(data), str(model)])
        write_bundle(contents_of(model, python), bundle, [platform], stack=ROOT, say=say)
        s3.objects[bundle.name] = bundle.read_bytes()
        yield Case(name, unpacked, bundle.name)


def package_versions(unpacked: smoke.Unpacked) -> dict[str, str]:
    """Return the versions of the distributions in a package."""
    listed = json.loads((unpacked.task_root / "deployment.json").read_text())["distributions"]
    return {name.replace("_", "-"): version for name, _, version in (one.partition("-") for one in listed)}


def environment(cache: Path, interpreter: str, requirements: list[str]) -> Path:
    """Return the interpreter of an environment with these packages, made when first asked for."""
    folder = cache / f"environment-{'-'.join(requirements).replace('==', '-')}"
    python, done = folder / "bin/python", folder / "done"
    if not done.exists():
        say(f"installing {', '.join(requirements)}")
        run([interpreter, "-m", "venv", "--clear", str(folder)])
        run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements])
        done.touch()
    return python


def run(command: list[str], **options: Any) -> None:
    """Run a program that must succeed, and show what it says if it does not."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise SystemExit(f"error: {' '.join(command[:3])} …: {done.stderr or done.stdout}")


def measured(s3: PacedS3, case: Case, work: Path) -> Figures:
    """Let a new process of a package score the first and the further chunks."""
    first, *others = events_of(s3, case)
    s3.set_pace(network_mb_per_second(DEFAULT_MEMORY_MB))
    with function_of(s3, case.unpacked, work, [first, *others]) as function:
        answer = function.answer()
        start_seconds, cold_seconds, cold_processor = (
            function.asked_after,
            time.monotonic() - function.started,
            function.processor_seconds(),
        )
        _require(answer, first)
        s3.set_pace(math.inf)
        seconds = []
        for event in others:
            asked = time.monotonic()
            answer = function.answer()
            seconds.append(time.monotonic() - asked)
            _require(answer, event)
        warm_processor = (function.processor_seconds() - cold_processor) / len(others)
    warm = median(seconds)
    start, stop = others[0]["byte_range"]
    return Figures(start_seconds, cold_seconds, cold_processor, warm, warm_processor, (stop - start) / 1e6 / warm)


def peak_mb(s3: PacedS3, case: Case, work: Path) -> float:
    """Return the largest proportional set of a process and its children, in MB (2^20 bytes), while it scores the chunks."""
    say(f"memory: {case.name}")
    s3.set_pace(math.inf)
    events = events_of(s3, case)[:3]
    peaks = [0]
    with function_of(s3, case.unpacked, work, events) as function:
        sampler = threading.Thread(target=sample_family, args=(function.process.pid, peaks), daemon=True)
        sampler.start()
        for event in events:
            _require(function.answer(), event)
    sampler.join()
    return max(peaks) / 2**20


def events_of(s3: PacedS3, case: Case) -> list[dict[str, Any]]:
    """Return an event for the first chunk, and one for each further one, which all are of the same bytes."""
    content = s3.objects["data.csv"]
    start = content.find(b"\n", round(FIRST_MB * 1e6)) + 1
    stop = content.find(b"\n", start + min(round(NEXT_MB * 1e6), len(content) - start - 10_000)) + 1
    return [
        {
            "model_s3_uri": f"s3://{BUCKET}/{case.key}",
            "model_etag": etag_of(s3.objects[case.key]),
            "data_s3_uri": f"s3://{BUCKET}/data.csv",
            "data_etag": etag_of(content),
            "byte_range": byte_range,
            "chunk_index": number,
            "feature_columns": DATASETS["a"].features("columns"),
            "prediction_column_name": PREDICTION_COLUMN,
            "output_s3_uri": f"s3://{BUCKET}/out.csv.work/{number}.csv",
            "receipt_s3_uri": f"s3://{BUCKET}/out.csv.work/{number}.json",
            "raise_errors": True,
        }
        for number, byte_range in enumerate([[0, start], *[[start, stop]] * NEXT_CHUNKS])
    ]


def _require(answer: dict[str, Any], event: dict[str, Any]) -> None:
    start, stop = event["byte_range"]
    assert answer["input_bytes"] == stop - start, answer
    assert answer["rows"] > 0


def _unpacked_bytes(unpacked: smoke.Unpacked) -> int:
    return sum(path.stat().st_size for path in unpacked.task_root.rglob("*") if path.is_file())


def write(
    arguments: argparse.Namespace,
    python: str,
    found: dict[str, list[Figures]],
    peaks: dict[str, float],
    sizes: dict[str, int],
    packages: dict[str, int],
) -> str:
    """Write `bundles.json` and `.md`, and return the tables."""
    described = machine.describe()
    ratios, processor_ratios = (
        {name: median(ratio(one, plain) for one, plain in zip(rounds, found[PLAIN], strict=True)) for name, rounds in found.items()}
        for ratio in (_seconds_ratio, _processor_ratio)
    )
    targets = [Target(f"warm, {name}, against a model alone", "≤", 1.1, "x", ratios[name]) for name in ENVIRONMENTS]
    targets += [Target(f"its processor time, {name}", "≤", 1.1, "x", processor_ratios[name]) for name in ENVIRONMENTS]
    targets += [Target(f"memory, {name}", "≤", DEFAULT_MEMORY_MB, "MB", peaks[name]) for name in ENVIRONMENTS]
    if BEFORE in found:
        what = "processor time of a model alone, against the package before"
        cold = median(
            now.cold_processor_seconds / then.cold_processor_seconds for now, then in zip(found[PLAIN], found[BEFORE], strict=True)
        )
        targets += [
            Target(f"cold: {what}", "≤", 1.05, "x", cold),
            Target(f"warm: {what}", "≤", 1.05, "x", 1 / processor_ratios[BEFORE]),
        ]
    rows = []
    for name, rounds in found.items():
        medians = [median(values) for values in zip(*rounds, strict=True)]
        numbers = [f"{value:.2f}" for value in medians[:5]] + [
            f"{medians[5]:.0f}",
            f"{ratios[name]:.2f}",
            f"{processor_ratios[name]:.2f}",
            f"{peaks[name]:.0f}",
        ]
        rows.append([name, f"{sizes[name] / 1e6:.1f}", *numbers])
    heads = [
        "",
        "MB in S3",
        "asks s",
        "cold s",
        "cold CPU s",
        "warm s",
        "warm CPU s",
        "MB/s",
        "warm / alone",
        "CPU / alone",
        "peak MB",
    ]
    parts = [
        f"{machine.in_words(described)}. The function has the package's own, and Python {python}.",
        NOTE,
        f"Medians of {arguments.rounds} interleaved rounds; ratios are medians of the rounds' own.",
        table(heads, rows),
        "; ".join(f"{name}: {n_bytes:,}" for name, n_bytes in packages.items()) + ".",
        table(("target", "bound", "measured", "met"), target_rows(targets)),
    ]
    text = "\n\n".join(parts)
    results = {
        "machine": described,
        "function_python": python,
        "scale": arguments.scale,
        "rounds": {name: [figures._asdict() for figures in rounds] for name, rounds in found.items()},
        "peak_mb": peaks,
        "model_bytes": sizes,
        "packages": packages,
        "targets": [target._asdict() for target in targets],
    }
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "bundles.json").write_text(json.dumps(results, indent=2) + "\n")
    (arguments.results / "bundles.md").write_text(text + "\n")
    return text


def _seconds_ratio(one: Figures, other: Figures) -> float:
    return one.warm_seconds / other.warm_seconds


def _processor_ratio(one: Figures, other: Figures) -> float:
    return one.warm_processor_seconds / other.warm_processor_seconds


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
