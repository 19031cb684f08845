"""What the history of an execution tells: the visits to its states, and the document and the plan that they have left."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from batch_predict import deployed

T = TypeVar("T")

UNKNOWN_SECONDS = (0.2, 0.4, 0.8)
"""Waits between attempts to ask for an execution that was just started: Step Functions answers after a moment."""
HISTORY_PAGE = 1000  # events, the most: https://docs.aws.amazon.com/step-functions/latest/apireference/API_GetExecutionHistory.html
ENDS = {"Succeed", "Fail"}


@dataclass(frozen=True)
class StateEntered:
    """The execution entered a state."""

    name: str
    kind: str
    """The state's Type: Task, Map, Choice, Pass, Succeed or Fail."""


@dataclass(frozen=True)
class AttemptFailed:
    """A state's attempt failed; what follows is a retry, a catch or the end of the execution."""

    name: str
    error: str


@dataclass(frozen=True)
class StateExited:
    """The execution left a state."""

    name: str
    kind: str
    seconds: float
    error: str | None
    """The last attempt's, if it failed and was caught."""
    document: Mapping[str, Any] = field(repr=False)
    """The execution's document as the state left it: `Document` in functions/workflow/contract.py."""


@dataclass(frozen=True)
class StateVisit:
    """One visit of the execution to a state."""

    name: str
    kind: str
    """The state's Type: Task, Map, Choice, Pass, Succeed or Fail."""
    started: datetime
    seconds: float | None = None
    """None while the execution is in the state."""
    error: str | None = None
    """The last attempt's, if it failed."""
    attempts: int = 1
    """More than one if it was retried."""
    is_stopped: bool = False
    """Whether the execution was ended from outside while it was in the state; ``error`` is then the name that was given."""


class History:
    """What was read so far of an execution's history. States run one after the other, so at most one visit is open."""

    def __init__(self, events: Iterable[Mapping[str, Any]] = ()) -> None:
        self.visits: list[StateVisit] = []
        self.document: Mapping[str, Any] = {}
        """The document as the newest state that grew it left it (contract.py): request, plan, output."""
        self.plan: Mapping[str, Any] = {}
        """The newest plan that is whole."""
        self._attempts = 0
        self._done_at_first: dict[str, int] = {}
        self._last_id = 0
        list(self.read(events))

    def read(self, events: Iterable[Mapping[str, Any]]) -> Iterator[StateEntered | AttemptFailed | StateExited]:
        """Yield what the events tell that were not read before."""
        for event in events:
            if event["id"] > self._last_id:
                self._last_id = event["id"]
                yield from self._progress(event)

    @property
    def open_visit(self) -> StateVisit | None:
        """Return the visit that goes on."""
        return self.visits[-1] if self.visits and self.visits[-1].seconds is None else None

    @property
    def finished_before(self) -> int:
        """Return how many chunks were done when the newest plan was made."""
        return self.plan["chunks"] - self.plan["pending_chunks"] if self.plan else 0

    @property
    def reused_chunks(self) -> int:
        """Return how many chunks an earlier execution has finished: those done at the first plan of this fingerprint."""
        return self._done_at_first[self.plan["fingerprint"]] if self.plan else 0

    def visits_of(self, execution: Mapping[str, Any]) -> list[StateVisit]:
        """Return the visits of an execution as DescribeExecution describes it: if it is over, so is the last visit."""
        last = self.open_visit
        if last is None or "stopDate" not in execution:
            return self.visits
        closed = replace(last, seconds=max(0.0, (execution["stopDate"] - last.started).total_seconds()))
        if last.kind not in ENDS and not last.error:
            closed = replace(closed, error=execution.get("error") or execution["status"], is_stopped=True)
        return [*self.visits[:-1], closed]

    def told(self, error: str, cause: str | None) -> tuple[str | None, str | None]:
        """Return what happened and what to do about it: as Explain Failure says it, else as the execution's ``cause`` does."""
        explanation = self.document.get("explanation", {})
        if "message" in explanation and (error, cause) == (explanation.get("error"), explanation.get("cause")):
            return explanation["message"], explanation.get("advice")
        return deployed.errors.told_by({"Error": error, "Cause": cause}) if cause else (None, deployed.errors.ADVICE.get(error))

    def _progress(self, event: Mapping[str, Any]) -> Iterator[StateEntered | AttemptFailed | StateExited]:
        # Types of events: https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html
        event_type, visit = event["type"], self.open_visit
        if event_type.endswith("StateEntered"):
            name, kind = event["stateEnteredEventDetails"]["name"], event_type.removesuffix("StateEntered")
            self._attempts = 0
            self.visits.append(StateVisit(name, kind, event["timestamp"]))
            yield StateEntered(name, kind)
        elif visit is None or event_type.startswith("Execution"):
            return
        elif event_type.endswith("StateExited"):
            document = decoded(event["stateExitedEventDetails"].get("output"))
            self._note(document)
            seconds = (event["timestamp"] - visit.started).total_seconds()
            self.visits[-1] = replace(visit, seconds=seconds)
            yield StateExited(visit.name, visit.kind, seconds, visit.error, document)
        elif event_type.endswith("Scheduled"):  # if it is a retry, what failed before it is over
            self._attempts += 1
            self.visits[-1] = replace(visit, attempts=self._attempts, error=None)
        elif event_type.endswith(("Failed", "TimedOut")) and (error := _error_of(event, visit.error)):
            self.visits[-1] = replace(visit, error=error)
            yield AttemptFailed(visit.name, error)

    def _note(self, document: Mapping[str, Any]) -> None:
        if "prediction" in document:  # the last states return a part of the document, and no longer the document
            self.document = document
        if "pending_chunks" in (plan := document.get("plan", {})):
            self.plan = plan
            self._done_at_first.setdefault(plan["fingerprint"], plan["chunks"] - plan["pending_chunks"])


def _error_of(event: Mapping[str, Any], known: str | None) -> str | None:
    """Return a failure's error if it tells more than is ``known``: a Map fails by `MapRunFailed`, then by bare `MapStateFailed`."""
    event_type = event["type"]
    error: str | None = event.get(f"{event_type[0].lower()}{event_type[1:]}EventDetails", {}).get("error")
    return error or (None if known else event_type)


def history_events(client: Any, execution_arn: str) -> Iterator[Mapping[str, Any]]:
    """Yield the history from its beginning: a few dozen events, as the chunks have histories of their own."""
    paginator = client.get_paginator("get_execution_history")

    def begun() -> tuple[Mapping[str, Any], Iterator[Mapping[str, Any]]]:
        pages = iter(paginator.paginate(executionArn=execution_arn, PaginationConfig={"PageSize": HISTORY_PAGE}))
        return next(pages, {"events": ()}), pages

    first, others = once_known(begun)
    for page in chain([first], others):
        yield from page["events"]


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


def decoded(output: str | None) -> Mapping[str, Any]:
    """Return a state's output if it is a JSON object and the history includes it; else an empty one."""
    try:
        document = json.loads(output or "{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
