"""Reads a log as CloudWatch does: lines of the embedded metric format become metrics.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
import time
from typing import Any

import jsonschema

# The schema that the specification gives, without its titles and examples.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "properties": {
                "Timestamp": {"type": "integer"},
                "CloudWatchMetrics": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "properties": {
                            "Namespace": {"type": "string", "minLength": 1, "maxLength": 1024},
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "items": {
                                    "type": "array",
                                    "minItems": 1,
                                    "maxItems": 30,
                                    "items": {"type": "string", "minLength": 1, "maxLength": 250},
                                },
                            },
                            "Metrics": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "required": ["Name"],
                                    "properties": {
                                        "Name": {"type": "string", "minLength": 1, "maxLength": 1024},
                                        "Unit": {"enum": ["Count", "Bytes", "Milliseconds", "None"]},
                                    },
                                    "additionalProperties": False,
                                },
                            },
                        },
                        "additionalProperties": False,
                    },
                },
            },
            "additionalProperties": False,
        }
    },
}
FOURTEEN_DAYS, TWO_HOURS = 14 * 86_400_000, 2 * 3_600_000
"""Milliseconds that a metric may lie behind or ahead of CloudWatch's clock."""


def metrics_in(log):
    """Return {"namespace", "dimensions", "values"} of every line that is in the format; the line must keep all of its rules."""
    found = []
    for line in log.splitlines():
        document = json.loads(line) if line.startswith("{") else {}  # the whole line is the document, or it counts nothing
        if "_aws" not in document:
            continue
        jsonschema.validate(document, SCHEMA)
        assert len(line.encode()) < 256 * 1024
        now = time.time() * 1000
        assert now - FOURTEEN_DAYS < document["_aws"]["Timestamp"] < now + TWO_HOURS
        for directive in document["_aws"]["CloudWatchMetrics"]:
            names = [metric["Name"] for metric in directive["Metrics"]]
            for name in names:  # targets are members of the root
                value = document[name]
                assert isinstance(value, int | float), name
                assert not isinstance(value, bool), name
            dimensions = {name: document[name] for keys in directive["Dimensions"] for name in keys}
            assert all(isinstance(value, str) and 1 <= len(value) <= 1024 for value in dimensions.values())
            values = {name: document[name] for name in names}
            found.append({"namespace": directive["Namespace"], "dimensions": dimensions, "values": values})
    return found
