"""Follow an execution state by state and chunk by chunk, by Step Functions' own record: the same on AWS and on the local AWS."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from batch_predict.runs.history import AttemptFailed, History, StateEntered, StateExited, decoded, history_events, once_known

DURATIONS = 100
"""Children of a Map Run whose durations are looked at: one call."""


@dataclass(frozen=True)
class ChunksCounted:
    """How far the Distributed Map is. Reported when it changes."""

    total: int
    succeeded: int
    failed: int
    """Failed for good, timed out or aborted."""
    chunk_seconds: float | None = field(default=None, compare=False)
    """Mean duration of chunks that are done, of the newest `DURATIONS`; None before the first is done."""


@dataclass(frozen=True)
class ExecutionEnded:
    """The execution is over; always the last."""

    execution_arn: str
    status: str
    """SUCCEEDED, FAILED, TIMED_OUT or ABORTED."""
    seconds: float
    output: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Empty unless it succeeded."""
    error: str | None = None
    cause: str | None = None


Progress = StateEntered | AttemptFailed | ChunksCounted | StateExited | ExecutionEnded


class Watcher:
    """Whoever is told what happens in a run; this one shows nothing of it."""

    def show(self, progress: Progress) -> None:
        """Show what happened in the execution."""

    @contextmanager
    def step(self, name: str, doing: str) -> Iterator[Callable[[str], None]]:  # noqa: ARG002
        """Show a step outside the execution; the function that it yields takes the step's result as text."""
        yield lambda _: None


UNWATCHED = Watcher()


def follow_execution(
    client: Any, execution_arn: str, *, poll_seconds: float = 1.0, history: History | None = None
) -> Iterator[Progress]:
    """Yield what happens in an execution until it is over, from its first state on; ``history`` takes what was read.

    On AWS each poll is two to five calls; their quotas begin at 10 a second.
    """
    history = history or History()
    chunks: ChunksCounted | None = None

    def changes() -> Iterator[ChunksCounted]:
        nonlocal chunks
        now = count_chunks(client, execution_arn)
        if now and now != chunks:
            chunks = now
            yield now

    while True:
        # Asked before the history is read, so that the history of an ended execution is complete.
        execution = once_known(lambda: client.describe_execution(executionArn=execution_arn))
        for progress in history.read(history_events(client, execution_arn)):
            if isinstance(progress, StateExited) and progress.kind == "Map":
                yield from changes()
            yield progress
        if execution["status"] not in {"RUNNING", "PENDING_REDRIVE"}:
            yield _ended(execution)
            return
        if history.open_visit and history.open_visit.kind == "Map":
            yield from changes()
        time.sleep(poll_seconds)


def count_chunks(client: Any, execution_arn: str) -> ChunksCounted | None:
    """Return how far an execution's newest Map Run is; None before its Map has read its items."""
    map_run_arn = newest_map_run(client, execution_arn)
    if map_run_arn is None:
        return None
    counts = client.describe_map_run(mapRunArn=map_run_arn)["itemCounts"]
    failed = counts["failed"] + counts["timedOut"] + counts["aborted"]
    seconds = []
    if counts["succeeded"]:
        found = client.list_executions(mapRunArn=map_run_arn, statusFilter="SUCCEEDED", maxResults=DURATIONS)["executions"]
        seconds = [(child["stopDate"] - child["startDate"]).total_seconds() for child in found if child.get("stopDate")]
    return ChunksCounted(counts["total"], counts["succeeded"], failed, sum(seconds) / len(seconds) if seconds else None)


def newest_map_run(client: Any, execution_arn: str) -> str | None:
    """Return the ARN of an execution's newest Map Run, of which it has two if it planned again; None if there is none."""
    try:
        map_runs = client.list_map_runs(executionArn=execution_arn)["mapRuns"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ExecutionDoesNotExist":
            return None
        raise
    newest: str | None = max(map_runs, key=lambda map_run: map_run["startDate"])["mapRunArn"] if map_runs else None
    return newest


def _ended(execution: Mapping[str, Any]) -> ExecutionEnded:
    return ExecutionEnded(
        execution_arn=execution["executionArn"],
        status=execution["status"],
        seconds=(execution["stopDate"] - execution["startDate"]).total_seconds(),
        output=decoded(execution.get("output")) if execution["status"] == "SUCCEEDED" else {},
        error=execution.get("error"),
        cause=execution.get("cause"),
    )
