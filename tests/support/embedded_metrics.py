"""Reads a log as CloudWatch does: lines of the embedded metric format become metrics.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
import time

FOURTEEN_DAYS, TWO_HOURS = 14 * 86_400_000, 2 * 3_600_000
"""Milliseconds that a metric may lie behind or ahead of CloudWatch's clock."""
UNITS = {"Count", "Bytes", "Milliseconds", "None"}


def metrics_in(log):
    """Return {"namespace", "dimensions", "values"} of every line that is in the format; the line must keep all of its rules."""
    found = []
    for line in log.splitlines():
        document = json.loads(line) if line.startswith("{") else {}  # the whole line is the document, or it counts nothing
        if "_aws" not in document:
            continue
        assert len(line.encode()) < 256 * 1024
        timestamp, directives = (document["_aws"].pop(name) for name in ("Timestamp", "CloudWatchMetrics"))
        now = time.time() * 1000
        assert now - FOURTEEN_DAYS < timestamp < now + TWO_HOURS
        assert isinstance(timestamp, int)
        assert not document["_aws"]
        for directive in directives:
            namespace, dimension_sets, metrics = (directive.pop(name) for name in ("Namespace", "Dimensions", "Metrics"))
            assert not directive
            assert {1 <= len(names) <= 30 for names in dimension_sets} == {True}
            dimensions = {name: document[name] for names in dimension_sets for name in names}
            assert all(len(name) <= 250 and 1 <= len(value) <= 1024 for name, value in dimensions.items())
            units = {metric.pop("Name"): metric.pop("Unit") for metric in metrics}
            assert set(units.values()) <= UNITS
            assert not any(metrics)
            assert all(1 <= len(name) <= 1024 for name in (namespace, *units))
            assert 1 <= len(units) == len(metrics) <= 100
            values = {name: document[name] for name in units}  # targets are members of the root
            assert {type(value) for value in values.values()} <= {int, float}
            found.append({"namespace": namespace, "dimensions": dimensions, "values": values})
    return found
