"""What runs cost on AWS: a chunk of one that goes on, and the same scoring on SageMaker Batch Transform."""

from batch_predict import deployed
from batch_predict.deployed import deployed_memory_mb

SAGEMAKER_VCPUS = 4
"""vCPUs of ml.m5.xlarge: https://aws.amazon.com/sagemaker/pricing/"""
SAGEMAKER_START_SECONDS = 240
"""Time from the start of a job to its first request, which is paid, too; assumed."""


def chunk_dollars(seconds: float) -> float:
    """Return what one chunk of this duration costs on AWS: its invocation, its transitions, and writing its part and receipt."""
    gb_seconds = seconds * deployed_memory_mb() / deployed.lambda_limits.MB_PER_GB
    compute = gb_seconds * deployed.prices.LAMBDA_ARM64_GB_SECOND.dollars + deployed.prices.LAMBDA_REQUEST.dollars
    requests = 2 * deployed.prices.S3_PUT_REQUEST.dollars + 2 * deployed.prices.S3_GET_REQUEST.dollars
    return compute + deployed.estimate.CHILD_TRANSITIONS * deployed.prices.STATE_TRANSITION.dollars + requests


def sagemaker_comparison(rows: int, rows_per_second: float) -> tuple[str, str]:
    """Return what one instance takes for so many rows, and what that assumes; `rows_per_second` is one vCPU's by the probe."""
    price = deployed.prices.SAGEMAKER_ML_M5_XLARGE_HOUR
    hours = (SAGEMAKER_START_SECONDS + rows / max(rows_per_second * SAGEMAKER_VCPUS, 1e-9)) / 3600
    how = f"{SAGEMAKER_START_SECONDS} s to start, and all {SAGEMAKER_VCPUS} vCPUs scoring at the probe's speed"
    return (
        f"SageMaker Batch Transform, one ml.m5.xlarge: about {hours * 60:,.1f} min, ${hours * price.dollars:.4f}",
        f"with one instance at ${price.dollars} an hour, {how} without a pause for HTTP or JSON",
    )
