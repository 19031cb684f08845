"""The log lines of a run's functions."""

from collections.abc import Iterator
from datetime import UTC, datetime

from batch_predict.runs.run import Run


def log_lines(run: Run, chunk: int | None = None) -> Iterator[tuple[datetime, str]]:
    """Yield the functions' log lines of a run, or of its chunk ``chunk`` (from 1), oldest first. Each names its execution."""
    described = run.describe()
    window = {"startTime": _milliseconds(described["startDate"])}
    if "stopDate" in described:
        window["endTime"] = _milliseconds(described["stopDate"]) + 60_000  # functions may log a little later
    pages = run.stack.client("logs").get_paginator("filter_log_events")
    for page in pages.paginate(logGroupName=run.stack.outputs["LogGroupName"], **window):
        for event in page["events"]:
            line = event["message"].replace('\\"', '"')  # Lambda's JSON format escapes what the function logs
            if run.name in line and (chunk is None or f'"chunk_index": {chunk - 1},' in line):
                yield datetime.fromtimestamp(event["timestamp"] / 1000, UTC), event["message"].rstrip()


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)
