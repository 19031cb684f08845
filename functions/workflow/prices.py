"""The project's one table of prices: what AWS charges in `REGION`, in US dollars, without free tiers, discounts and taxes.

Collected in `COLLECTED` from secondary copies of AWS's price pages; each price names the page to check it against.
"""

from typing import NamedTuple

REGION = "us-east-1"
COLLECTED = "November 2026"


class Price(NamedTuple):
    """US dollars for one `unit`."""

    dollars: float
    unit: str
    source: str


_LAMBDA = "https://aws.amazon.com/lambda/pricing/"
_STEP_FUNCTIONS = "https://aws.amazon.com/step-functions/pricing/"
_S3 = "https://aws.amazon.com/s3/pricing/"
_CLOUDWATCH = "https://aws.amazon.com/cloudwatch/pricing/"
_XRAY = "https://aws.amazon.com/xray/pricing/"
_SAGEMAKER = "https://aws.amazon.com/sagemaker/pricing/"

LAMBDA_ARM64_GB_SECOND = Price(0.0000133334, "GB-second", _LAMBDA)
"""What template.yaml deploys. A GB is 1,024 MB of configured memory."""
LAMBDA_X86_GB_SECOND = Price(0.0000166667, "GB-second", _LAMBDA)
LAMBDA_REQUEST = Price(0.20 / 1_000_000, "request", _LAMBDA)

STATE_TRANSITION = Price(0.025 / 1_000, "state transition of a Standard workflow", _STEP_FUNCTIONS)

S3_PUT_REQUEST = Price(0.005 / 1_000, "PUT, COPY, POST or LIST request", _S3)
"""Multipart uploads count each of their requests; DELETE is free."""
S3_GET_REQUEST = Price(0.0004 / 1_000, "GET, HEAD or other request", _S3)

# What watching costs: docs/operations.md.
ALARM_MONTH = Price(0.10, "alarm and month", _CLOUDWATCH)
METRIC_MONTH = Price(0.30, "metric and month, of the first 10,000; by the hour in which it was sent", _CLOUDWATCH)
DASHBOARD_MONTH = Price(3.00, "dashboard and month", _CLOUDWATCH)
LOG_GB = Price(0.50, "GB of logs", _CLOUDWATCH)
TRACE = Price(5.00 / 1_000_000, "recorded trace", _XRAY)
S3_TAG_MONTH = Price(0.0065 / 10_000, "object tag and month", _S3)

SAGEMAKER_ML_M5_XLARGE_HOUR = Price(0.23, "instance hour of ml.m5.xlarge (4 vCPU, 16 GiB)", _SAGEMAKER)
"""For comparisons only."""
