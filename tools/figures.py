"""Tables of the documentation that say what things take and cost, from the measurements in docs/performance.md and the prices."""

import math
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

import prediction_handler
from tools.reference import table
from workflow import estimate, invocation, prices, sizing
from workflow.lambda_limits import MB_PER_GB, MB_PER_VCPU

ROOT = Path(__file__).parents[1]
TEMPLATE = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
MEMORY_MB = TEMPLATE["Parameters"]["PredictMemorySize"]["Default"]
CHUNK_MB = 64
ARM, X86 = prices.LAMBDA_ARM64_GB_SECOND.dollars, prices.LAMBDA_X86_GB_SECOND.dollars


class Measured(NamedTuple):
    """A row of docs/performance.md's results, on two cores."""

    seconds: float
    mb_per_second: float
    processor_seconds: float
    peak_mb: float


@cache
def measured(contestant: str = "ours") -> dict[str, Measured]:
    """Return the results of a contestant by data and model, such as `a ridge`."""
    page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    rows = re.findall(rf"^\| (\w+ \w+) \| {contestant} \| (.*) \|$", page, re.MULTILINE)
    return {case: Measured(*(float(cell) for cell in cells.split("|")[:4])) for case, cells in rows}


# --- docs/comparison.md -----------------------------------------------------------------------------------------------------------

INSTANCE_VCPUS = 4  # of ml.m5.xlarge
INPUT_MB, MAX_CONCURRENCY, CASE_ROWS = 10_000, 100, 1_000_000


def on_lambda(gb_second: float) -> float:
    """Return what a second of a vCPU costs on Lambda."""
    return MB_PER_VCPU / MB_PER_GB * gb_second


def on_instance() -> float:
    """Return what a second of a vCPU costs on an instance that is busy."""
    return prices.SAGEMAKER_ML_M5_XLARGE_HOUR.dollars / 3600 / INSTANCE_VCPUS


def ten_gigabytes() -> estimate.Estimate:
    """Return the dry run's estimate of 10 GB with a linear model, its speed as measured."""
    case, chunks = measured()["a ridge"], ten_gigabytes_in_chunks()
    row_bytes = case.seconds * case.mb_per_second * 1e6 / CASE_ROWS
    work = estimate.Work(chunks, chunks, 1, 0, 0, INPUT_MB * 10**6, row_bytes, is_stored=True)
    return estimate.estimate(work, CASE_ROWS / case.seconds / 2, MAX_CONCURRENCY, MEMORY_MB)


def ten_gigabytes_in_chunks() -> int:
    """Return how many chunks the planner makes of that."""
    case = measured()["a ridge"]
    row = estimate.Row(case.seconds * case.mb_per_second * 1e6 / CASE_ROWS, estimate.PREDICTION_BYTES, CASE_ROWS / case.seconds / 2)
    return -(-INPUT_MB * 10**6 // sizing.chunk_size_of([INPUT_MB * 10**6], row, MAX_CONCURRENCY, MEMORY_MB, 2 * 10**9).bytes)


def comparison() -> str:
    """Return the table of what a run costs here and on an instance."""
    hour, dollars = prices.SAGEMAKER_ML_M5_XLARGE_HOUR.dollars, ten_gigabytes()["dollars"]
    case_mb = measured()["a ridge"].seconds * measured()["a ridge"].mb_per_second
    busy, busy_pandas = (INPUT_MB / case_mb * measured(one)["a ridge"].processor_seconds for one in ("ours", "pandas"))
    seconds = f"s of processor time / {INSTANCE_VCPUS} x ${hour:.2f} / 3,600"
    run = f"Lambda ${dollars['lambda']:.4f} + Step Functions ${dollars['step_functions']:.4f} + S3 ${dollars['s3']:.4f}"
    what = f"{INPUT_MB / 1000:.0f} GB with a linear model here, by the dry run's estimate: {ten_gigabytes_in_chunks()} chunks, "
    minutes = "minutes of the instance, start-up and transfers included, that cost as much as the run here"
    arm, x86 = on_lambda(ARM), on_lambda(X86)
    return table(
        ("what", "arithmetic", "comes to"),
        [
            ("a second of a vCPU, Lambda on arm64, as deployed", f"{MB_PER_VCPU:,} MB / 1,024 x ${ARM:.10f}", f"${arm:.8f}"),
            ("… on x86_64", f"{MB_PER_VCPU:,} MB / 1,024 x ${X86:.10f}", f"${x86:.8f}"),
            ("… of ml.m5.xlarge, all four busy", f"${hour:.2f} / 3,600 / {INSTANCE_VCPUS}", f"${on_instance():.8f}"),
            ("Lambda against it, arm64 and x86_64", "", f"{arm / on_instance():.2f} and {x86 / on_instance():.2f} times"),
            (f"{what}{MEMORY_MB:,} MB", run, f"${dollars['total']:.4f}"),
            ("its scoring alone, on the instance", f"{busy:,.0f} {seconds}", f"${busy * on_instance():.4f}"),
            ("… by the usual pandas handler", f"{busy_pandas:,.0f} {seconds}", f"${busy_pandas * on_instance():.4f}"),
            (minutes, f"${dollars['total']:.4f} / ${hour:.2f} x 60", f"{dollars['total'] / hour * 60:.1f} minutes"),
            ("the instance, always on", f"24 x 30 x ${hour:.2f}", f"${24 * 30 * hour:.2f} a month"),
        ],
    )


# --- docs/operations.md -----------------------------------------------------------------------------------------------------------

TUNED = {
    "a ridge": "linear, 20 numbers",
    "a columns": "linear with one-hot text",
    "a histgb": "boosted trees",
    "a forest": "forest of 100 trees",
}


def tuning() -> str:
    """Return what was measured on two cores, as Lambda would bill it: with two vCPUs, and with one (by processor seconds)."""
    rows = []
    for case, name in TUNED.items():
        found = measured()[case]
        per_100_mb = 100 / (found.seconds * found.mb_per_second)
        spent = ((found.seconds, 2 * MB_PER_VCPU), (found.processor_seconds, MB_PER_VCPU))
        costs = [f"{s * per_100_mb:.1f}, {s * per_100_mb * 1e4 * memory / MB_PER_GB * ARM:.2f}" for s, memory in spent]
        rows.append((name, *costs, f"{found.peak_mb:.0f}"))
    vcpus = ("two vCPUs (3,538 MB): seconds, $ a TB", "one vCPU (1,769 MB): seconds, $ a TB")
    return table(("model", *vcpus, "peak memory, MB"), rows)


def watching() -> str:
    """Return what alarms, metrics, the dashboard, logs and traces of a stack cost a month."""
    alarms = [resource for resource in TEMPLATE["Resources"].values() if resource["Type"] == "AWS::CloudWatch::Alarm"]
    always, count = sum("Condition" not in alarm for alarm in alarms), len(prediction_handler.METRIC_UNITS | invocation.UNITS)
    alarm, metric, log = prices.ALARM_MONTH.dollars, prices.METRIC_MONTH.dollars, prices.LOG_GB.dollars
    nightly = f"by the hour, so a nightly run of an hour costs ${count * metric * 30 / (30 * 24):.2f}"
    kept = f"${10_000 * prices.S3_TAG_MONTH.dollars:.4f} for 10,000 objects kept a month; they are kept for the time of a run"
    traced = f"${1_000_000 * prices.TRACE.dollars:.2f} a million; X-Ray samples a request a second and 5 % of the rest"
    rows = [
        (
            f"{always} alarms, {len(alarms) - always} more with schedule and object start",
            f"${alarm:.2f} each: ${always * alarm:.2f} to ${len(alarms) * alarm:.2f}",
        ),
        (f"{count} metrics", f"${metric:.2f} each if they are sent every hour: ${count * metric:.2f}; {nightly}"),
        ("dashboard", f"${prices.DASHBOARD_MONTH.dollars:.2f}"),
        ("logs", f"${log:.2f} a GB; a chunk writes about 2 KB: 10,000 chunks, ${10_000 * 2e-6 * log:.2f}"),
        ("tags of the work", kept),
        ("traces", traced),
    ]
    return table(("", "a month"), rows)


# --- docs/prediction_handler.md ---------------------------------------------------------------------------------------------------

MODELS = {
    "a ridge": "Ridge, 20 features of 23 columns",
    "a columns": "ColumnTransformer and Ridge, 20 features and a text",
    "b ridge": "Ridge, 200 features",
    "a histgb": "HistGradientBoosting, 20 features",
    "a forest": "RandomForest, 20 features",
    "b forest": "RandomForest, 200 features",
    "c forest": "RandomForest, 3 features",
}
INVOCATIONS, MEMORIES, SECONDS = (1_000, 100_000, 1_000_000), (1769, 3538, 10240), (1, 10, 60, 600)


def dollars(amount: float) -> str:
    """Return two significant digits, and cents from 10 cents on."""
    return f"{amount:,.{2 if amount >= 0.1 else 1 - math.floor(math.log10(amount))}f}"


def both_architectures(invocations: int, memory_mb: float, seconds: float) -> str:
    """Return the dollars of invocations on arm64 and on x86_64."""
    gb_seconds = invocations * memory_mb / MB_PER_GB * seconds
    return " / ".join(dollars(gb_seconds * price + invocations * prices.LAMBDA_REQUEST.dollars) for price in (ARM, X86))


def invocations() -> str:
    """Return what invocations cost by their number, memory and time."""
    rows = [
        (f"{number:,}", f"{memory:,}", *(both_architectures(number, memory, seconds) for seconds in SECONDS))
        for number in INVOCATIONS
        for memory in MEMORIES
    ]
    return table(("invocations", "memory MB", *(f"{seconds} s each" for seconds in SECONDS)), rows, numbers=True)


def speeds() -> str:
    """Return how fast the handler scores, by model."""
    rows = [
        (model, f"{found.mb_per_second:.0f}", f"{CHUNK_MB / found.mb_per_second:.1f} s", f"{found.peak_mb:.0f}")
        for case, model in MODELS.items()
        for found in [measured()[case]]
    ]
    return table(("model", "MB/s", f"a chunk of {CHUNK_MB} MB takes", "peak MB"), rows, numbers=True)


def gigabyte() -> str:
    """Return what a GB (10^9 bytes) and a TB cost in chunks of 64 MB, by model."""
    rows = []
    for case, model in MODELS.items():
        rate = measured()[case].mb_per_second
        chunks = {mb: math.ceil(mb / CHUNK_MB) for mb in (10**3, 10**6)}
        costs = [both_architectures(count, 2 * MB_PER_VCPU, mb / rate / count) for mb, count in chunks.items()]
        rows.append((model, f"{1000 / rate:.0f}", *costs))
    return table(("model", "seconds", "$ for 1 GB of CSV", "$ for 1 TB"), rows, numbers=True)
