"""The log lines of a run's functions."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from batch_predict.runs.run import Run


def log_lines(run: Run, chunk: int | None = None) -> Iterator[tuple[datetime, str]]:
    """Yield the functions' log lines of a run, or of its chunk ``chunk`` (from 1), oldest first.

    Lines name the execution or its work. A chunk that failed names its number only: if several runs go on at once, the lines of
    all of them are shown.
    """
    described, plan = run.describe(), run.document().get("plan", {})
    marks = [run.name, plan.get("work_prefix") or run.name]
    window = {"startTime": _milliseconds(described["startDate"])}
    if "stopDate" in described:
        window["endTime"] = _milliseconds(described["stopDate"]) + 60_000  # functions may log a little later
    pages = run.stack.client("logs").get_paginator("filter_log_events")
    for page in pages.paginate(logGroupName=run.stack.outputs["LogGroupName"], **window):
        for event in page["events"]:
            if _is_about(event["message"], marks, chunk):
                yield datetime.fromtimestamp(event["timestamp"] / 1000, UTC), event["message"].rstrip()


def _is_about(line: str, marks: Sequence[str], chunk: int | None) -> bool:
    plain = line.replace('\\"', '"')  # Lambda's JSON format escapes what the function logs
    if chunk is not None and f'"chunk_index": {chunk - 1},' not in plain and f"chunk-{chunk - 1:05}" not in plain:
        return False
    is_failure = '"source": "prediction_handler"' in plain and '"output_s3_uri"' not in plain and '"rows_per_second"' not in plain
    return any(mark in plain for mark in marks) or is_failure


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)
