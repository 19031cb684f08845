"""Executions of the state machine: start one, and follow it state by state and chunk by chunk.

Reads nothing but Step Functions' own record of the execution, so it follows one on AWS as it does on the embedded local AWS.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any, TypeVar

from botocore.exceptions import ClientError

T = TypeVar("T")

UNKNOWN_SECONDS = (0.2, 0.4, 0.8)
"""Between attempts to ask for an execution that was just started: Step Functions answers after a moment."""
DURATIONS = 100
"""Children of a Map Run whose durations are looked at: one call."""
HISTORY_PAGE = 1000  # events, the most: https://docs.aws.amazon.com/step-functions/latest/apireference/API_GetExecutionHistory.html


@dataclass(frozen=True)
class StateEntered:
    """The execution entered a state."""

    name: str
    kind: str
    """The state's Type: Task, Map, Choice, Pass, Succeed or Fail."""
    time: datetime


@dataclass(frozen=True)
class AttemptFailed:
    """A state's attempt failed; what follows is a retry, a catch or the end of the execution."""

    name: str
    error: str


@dataclass(frozen=True)
class ChunksCounted:
    """How far the Distributed Map is. Reported when it changes."""

    total: int
    succeeded: int
    failed: int
    """For good, also those timed out or aborted."""
    chunk_seconds: float | None = None
    """Mean duration of chunks that are done, of the newest `DURATIONS`; None while there is none."""


@dataclass(frozen=True)
class StateExited:
    """The execution left a state."""

    name: str
    kind: str
    seconds: float
    error: str | None
    """Of the last attempt, where it failed and was caught."""
    document: Mapping[str, Any] = field(repr=False)
    """The execution's document as the state left it: `Document` in functions/workflow/contract.py."""


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


def start_execution(client: Any, state_machine_arn: str, request: Mapping[str, Any], name: str | None = None) -> str:
    """Start an execution with ``request`` as its input, and return its ARN; AWS gives it a name where there is none."""
    named = {"name": name} if name else {}
    arn: str = client.start_execution(stateMachineArn=state_machine_arn, input=json.dumps(request), **named)["executionArn"]
    return arn


def follow_execution(client: Any, execution_arn: str, *, poll_seconds: float = 1.0) -> Iterator[Progress]:
    """Yield what happens in an execution until it is over, from its first state on, whenever it was started.

    On AWS each poll is two to five calls; their quotas begin at 10 a second.
    """
    history = _History()
    chunks = _Chunks(client, execution_arn)
    while True:
        # Asked before the history is read, so that the history of an ended execution is complete.
        execution = once_known(lambda: client.describe_execution(executionArn=execution_arn))
        for progress in history.read(history_events(client, execution_arn)):
            if isinstance(progress, StateExited) and progress.kind == "Map":
                yield from chunks.changes()
            yield progress
        if execution["status"] not in {"RUNNING", "PENDING_REDRIVE"}:
            yield _ended(execution)
            return
        if history.state and history.state.kind == "Map":
            yield from chunks.changes()
        time.sleep(poll_seconds)


def progress_of(events: Iterator[Mapping[str, Any]]) -> Iterator[Progress]:
    """Yield what a history tells of, without the counts of chunks."""
    yield from _History().read(events)


class _History:
    """What was read so far of an execution's history. Its states run one after the other, so one is open at most."""

    def __init__(self) -> None:
        self.state: StateEntered | None = None
        self._error: str | None = None
        self._last_id = 0

    def read(self, events: Iterator[Mapping[str, Any]]) -> Iterator[Progress]:
        for event in events:
            if event["id"] > self._last_id:
                self._last_id = event["id"]
                yield from self._progress(event)

    def _progress(self, event: Mapping[str, Any]) -> Iterator[Progress]:
        # Types of events: https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html
        event_type = event["type"]
        kind = event_type.partition("State")[0]
        if event_type.endswith("StateEntered"):
            self.state = StateEntered(event["stateEnteredEventDetails"]["name"], kind, event["timestamp"])
            self._error = None
            yield self.state
        elif event_type.endswith("StateExited") and self.state:
            details = event["stateExitedEventDetails"]
            seconds = (event["timestamp"] - self.state.time).total_seconds()
            yield StateExited(details["name"], kind, seconds, self._error, decoded(details.get("output")))
            self.state = None
        elif event_type.endswith("Scheduled"):
            self._error = None  # a retry: what failed before it is over
        elif (
            event_type.endswith(("Failed", "TimedOut"))
            and not event_type.startswith("Execution")
            and self.state
            and (error := error_of(event, self._error))
        ):
            self._error = error
            yield AttemptFailed(self.state.name, error)


def finished_by_plan(steps: Iterable[Progress]) -> list[int]:
    """Return how many chunks were done when the first plan of the newest plan's fingerprint was made, and when the newest was.

    An execution that plans again finds what it has finished itself: only the first tells the chunks of an earlier execution.
    Empty where there is no plan.
    """
    first: dict[str, int] = {}
    plan: Mapping[str, Any] = {}
    for step in steps:
        if isinstance(step, StateExited) and "pending_chunks" in (made := step.document.get("plan", {})):
            plan = made
            first.setdefault(plan["fingerprint"], plan["chunks"] - plan["pending_chunks"])
    return [first[plan["fingerprint"]], plan["chunks"] - plan["pending_chunks"]] if plan else []


def error_of(event: Mapping[str, Any], known: str | None) -> str | None:
    """Return the error that an event of failure tells; None where it tells nothing more than is ``known`` of this attempt.

    A Distributed Map fails by `MapRunFailed`, which has the error, then `MapStateFailed`, which has none.
    """
    event_type = event["type"]
    error: str | None = event.get(f"{event_type[0].lower()}{event_type[1:]}EventDetails", {}).get("error")
    return error or (None if known else event_type)


def once_known(call: Callable[[], T]) -> T:
    """Call again, a few times, while Step Functions does not know the execution: for a moment after its start it may not."""
    for seconds in UNKNOWN_SECONDS:
        try:
            return call()
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
                raise
        time.sleep(seconds)
    return call()


class _Chunks:
    """The counts of an execution's newest Map Run, as they change."""

    def __init__(self, client: Any, execution_arn: str) -> None:
        self._client = client
        self._execution_arn = execution_arn
        self._last: tuple[int, int, int] | None = None

    def changes(self) -> Iterator[ChunksCounted]:
        now = count_chunks(self._client, self._execution_arn)
        if now and (now.total, now.succeeded, now.failed) != self._last:
            self._last = (now.total, now.succeeded, now.failed)
            yield now


def count_chunks(client: Any, execution_arn: str) -> ChunksCounted | None:
    """Return how far an execution's newest Map Run is; None before its Map has read its items."""
    map_run_arn = newest_map_run(client, execution_arn)
    if map_run_arn is None:
        return None
    counts = client.describe_map_run(mapRunArn=map_run_arn)["itemCounts"]
    failed = counts["failed"] + counts["timedOut"] + counts["aborted"]
    seconds = _chunk_seconds(client, map_run_arn) if counts["succeeded"] else None
    return ChunksCounted(counts["total"], counts["succeeded"], failed, seconds)


def newest_map_run(client: Any, execution_arn: str) -> str | None:
    """Return the ARN of an execution's newest Map Run: two of them where chunks were planned again. None where there is none."""
    try:
        map_runs = client.list_map_runs(executionArn=execution_arn)["mapRuns"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ExecutionDoesNotExist":
            return None
        raise
    newest: str | None = max(map_runs, key=lambda map_run: map_run["startDate"])["mapRunArn"] if map_runs else None
    return newest


def _chunk_seconds(client: Any, map_run_arn: str) -> float | None:
    found = client.list_executions(mapRunArn=map_run_arn, statusFilter="SUCCEEDED", maxResults=DURATIONS)["executions"]
    seconds = [(child["stopDate"] - child["startDate"]).total_seconds() for child in found if child.get("stopDate")]
    return sum(seconds) / len(seconds) if seconds else None


def history_events(client: Any, execution_arn: str) -> Iterator[Mapping[str, Any]]:
    """Yield the history from its beginning: a few dozen events, as the chunks have histories of their own."""
    paginator = client.get_paginator("get_execution_history")

    def begun() -> tuple[Mapping[str, Any], Iterator[Mapping[str, Any]]]:
        pages = iter(paginator.paginate(executionArn=execution_arn, PaginationConfig={"PageSize": HISTORY_PAGE}))
        return next(pages, {"events": ()}), pages

    first, others = once_known(begun)
    for page in chain([first], others):
        yield from page["events"]


def _ended(execution: Mapping[str, Any]) -> ExecutionEnded:
    return ExecutionEnded(
        execution_arn=execution["executionArn"],
        status=execution["status"],
        seconds=(execution["stopDate"] - execution["startDate"]).total_seconds(),
        output=decoded(execution.get("output")) if execution["status"] == "SUCCEEDED" else {},
        error=execution.get("error"),
        cause=execution.get("cause"),
    )


def decoded(output: str | None) -> Mapping[str, Any]:
    """Return a state's output where it is a JSON object and the history includes it; else an empty one."""
    try:
        document = json.loads(output or "{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
