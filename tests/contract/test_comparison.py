"""docs/comparison.md: its arithmetic is computed from the table of prices, and its limits are those of the files."""

import re

import pytest

import prediction_handler
from workflow import estimate, prices

VCPU_MB = estimate.MB_PER_VCPU
INSTANCE_VCPUS = 4  # of ml.m5.xlarge
INPUT_MB, CHUNK_MB, MAX_CONCURRENCY = 10_000, 64, 100
CASE = "a ridge"  # 1 M rows, in docs/performance.md
CASE_ROWS = 1_000_000


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs/comparison.md").read_text()


def measured(root, contestant):
    """(seconds of work, MB a second, seconds of processor time) of a contestant, on two cores."""
    (row,) = re.findall(rf"^\| {CASE} \| {contestant} \| (.*) \|$", (root / "docs/performance.md").read_text(), re.MULTILINE)
    seconds, rate, processor, *_ = (float(cell) for cell in row.split(" | "))
    return seconds, rate, processor


def estimated(root, template):
    """The dry run's estimate of 10 GB with a linear model, its speed as measured."""
    seconds, rate, _ = measured(root, "ours")
    chunks = -(-INPUT_MB // CHUNK_MB)
    work = estimate.Work(chunks, chunks, 1, 0, 0, INPUT_MB * 10**6, seconds * rate * 1e6 / CASE_ROWS)
    memory = template["Parameters"]["PredictMemorySize"]["Default"]
    return chunks, estimate.estimate(work, CASE_ROWS / seconds / 2, MAX_CONCURRENCY, memory)


def costs(root, template):
    memory = template["Parameters"]["PredictMemorySize"]["Default"]
    arm, x86 = prices.LAMBDA_ARM64_GB_SECOND.dollars, prices.LAMBDA_X86_GB_SECOND.dollars
    hour = prices.SAGEMAKER_ML_M5_XLARGE_HOUR.dollars
    instance = hour / 3600 / INSTANCE_VCPUS
    lambda_arm, lambda_x86 = VCPU_MB / 1024 * arm, VCPU_MB / 1024 * x86

    seconds, rate, processor = measured(root, "ours")
    _, _, pandas_processor = measured(root, "pandas")
    case_mb = seconds * rate
    chunks, found = estimated(root, template)
    dollars = found["dollars"]

    def on_instance(case_processor):
        busy = INPUT_MB / case_mb * case_processor
        return f"{busy:,.0f} s of processor time / {INSTANCE_VCPUS} x ${hour:.2f} / 3,600 | ${busy * instance:.4f} |"

    return "\n".join(
        [
            "| what | arithmetic | comes to |",
            "|---|---|---|",
            f"| a second of a vCPU, Lambda on arm64, as deployed | {VCPU_MB:,} MB / 1,024 x ${arm:.10f} | ${lambda_arm:.8f} |",
            f"| … on x86_64 | {VCPU_MB:,} MB / 1,024 x ${x86:.10f} | ${lambda_x86:.8f} |",
            f"| … of ml.m5.xlarge, all four busy | ${hour:.2f} / 3,600 / {INSTANCE_VCPUS} | ${instance:.8f} |",
            f"| Lambda against it, arm64 and x86_64 | | {lambda_arm / instance:.2f} and {lambda_x86 / instance:.2f} times |",
            (
                f"| {INPUT_MB / 1000:.0f} GB with a linear model here, by the dry run's estimate: {chunks} chunks, {memory:,} MB "
                f"| Lambda ${dollars['lambda']:.4f} + Step Functions ${dollars['step_functions']:.4f} + S3 ${dollars['s3']:.4f} "
                f"| ${dollars['total']:.4f} |"
            ),
            f"| its scoring alone, on the instance | {on_instance(processor)}",
            f"| … by the usual pandas handler | {on_instance(pandas_processor)}",
            (
                f"| minutes of the instance, start-up and transfers included, that cost as much as the run here "
                f"| ${dollars['total']:.4f} / ${hour:.2f} x 60 | {dollars['total'] / hour * 60:.1f} minutes |"
            ),
            f"| the instance, always on | 24 x 30 x ${hour:.2f} | ${24 * 30 * hour:.2f} a month |",
        ]
    )


def test_what_it_costs_is_computed(root, template, page):
    table = costs(root, template)
    assert f"\n{table}\n" in page, f"docs/comparison.md must hold:\n{table}"


def test_no_other_price_is_named(root, template, page):
    """Each is computed above, or it is not there."""
    assert "$" not in page.replace(costs(root, template), "")


def test_its_limits_and_ratios_are_those_of_the_files(root, template, page):
    arm = VCPU_MB / 1024 * prices.LAMBDA_ARM64_GB_SECOND.dollars
    assert f"[{arm * 3600 * INSTANCE_VCPUS / prices.SAGEMAKER_ML_M5_XLARGE_HOUR.dollars:.2f} times]" in page
    assert f"records above {prediction_handler.MAX_RECORD_BYTES // 10**6} MB" in page
    assert f"larger than {template['Parameters']['PredictMemorySize']['MaxValue']:,} MB" in page
    assert f"longer than {template['Resources']['PredictChunkFunction']['Properties']['Timeout'] // 60} minutes" in page
    ratios = dict(re.findall(r"^\| a (ridge|forest) \| ([\d.]+) \| ", (root / "docs/performance.md").read_text(), re.MULTILINE))
    text = " ".join(page.split())
    assert f"estimate has it over in {estimated(root, template)[1]['seconds']:.0f} seconds" in text
    assert f"{ratios['ridge']} times with a linear model, {ratios['forest']} with a forest" in text
