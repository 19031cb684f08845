"""Numbers for CloudWatch, as lines of the log: CloudWatch Logs makes metrics of them by itself (embedded metric format).

No call and no permission. A metric costs for each hour in which it was sent, so there are few: docs/operations.md lists them.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import os
import time

from .utf8 import json_text

NAMESPACE = "BatchPredict"
DIMENSION = "StateMachine"
NAME_VARIABLE = "METRICS_STATE_MACHINE"
"""Environment variable with the state machine's name, which the template sets; without it there are no metrics."""

UNITS = {
    "PublishedRuns": "Count",
    "PublishedRows": "Count",
    "EstimatedDollars": "None",
    "LostChunks": "Count",
}
"""Of each metric of these functions; the prediction function has its own."""


def put_metrics(values: dict[str, float], **facts: object) -> None:
    """Print one line that counts in CloudWatch; the facts can be queried beside the numbers, and are no dimensions."""
    state_machine = os.environ.get(NAME_VARIABLE)
    if not state_machine:
        return
    metrics = [{"Name": name, "Unit": UNITS[name]} for name in values]
    directive = {"Namespace": NAMESPACE, "Dimensions": [[DIMENSION]], "Metrics": metrics}
    described = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
    print(json_text({"_aws": described, DIMENSION: state_machine, **values, **facts}))
