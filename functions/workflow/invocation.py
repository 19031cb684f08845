"""What every function does around its own work: it names errors, and executions in log lines, counts metrics, watches the time."""

import functools
import math
import os
import time
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

from .contract import Unfinished
from .errors import named
from .utf8 import json_text

Result = TypeVar("Result")

NO_DEADLINE = math.inf

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
"""The metrics of these functions; the prediction function has its own."""

_NO_EXECUTION: dict[str, str] = {}
_execution: ContextVar[dict[str, str]] = ContextVar("execution", default=_NO_EXECUTION)


def entry_point(handler: Callable[[Any, Any], Result]) -> Callable[[Any, Any], Result]:
    """Give whatever a handler raises a name of `errors.py`, and its advice in its text: Step Functions knows names and texts.

    If it had no name, its kind and the stack trace are logged; its message may hold a row's values, so it goes nowhere.
    """

    @functools.wraps(handler)
    def enter(event: Any, context: Any) -> Result:
        entered = _execution.set(_execution_of(event))
        try:
            return handler(event, context)
        except Exception as error:
            name = named(error)
            if name is error and not name.advice:
                raise
            if name is not error:
                trace = "".join(traceback.format_tb(error.__traceback__))
                log("unexpected error", level="ERROR", error=type(error).__name__, stack_trace=trace)
            raise type(name)(name.told()) from error
        finally:
            _execution.reset(entered)

    return enter


def _execution_of(event: Any) -> dict[str, str]:
    """Return the name of the execution that an event belongs to: a state's document says it, a lost chunk says the ARN."""
    try:
        name = event["execution"]["name"] if "execution" in event else event["execution_arn"].rpartition(":")[2]
    except (KeyError, TypeError, AttributeError):
        return {}
    return {"execution_name": name}


def log(message: str, *, level: str = "INFO", **facts: object) -> None:
    """Print one JSON line: Lambda passes it to CloudWatch as it is, where every field can be queried."""
    print(json_text({"level": level, "message": message, **_execution.get(), **facts}))


def put_metrics(values: dict[str, float], **facts: object) -> None:
    """Print one line of which CloudWatch Logs makes metrics by itself, without a call: few, as each costs (docs/operations.md).

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    state_machine = os.environ.get(NAME_VARIABLE)
    if not state_machine:
        return
    metrics = [{"Name": name, "Unit": UNITS[name]} for name in values]
    directive = {"Namespace": NAMESPACE, "Dimensions": [[DIMENSION]], "Metrics": metrics}
    described = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
    print(json_text({"_aws": described, DIMENSION: state_machine, **values, **_execution.get(), **facts}))


class OutOfTimeError(Exception):
    """A function's time is over before its work; what is done is noted, and its state's next entry goes on from there."""

    def __init__(self, done: int, total: int) -> None:
        super().__init__(f"{done} of {total} are done")
        self.done, self.total = done, total


def resumable(
    work: Callable[[float], Result], context: Any, hand_over_seconds: float, *, whole: str, unfinished: str
) -> Result | Unfinished:
    """Do work that may take several invocations, and log how far it is. It gets the time from which on it may begin no more."""
    started = time.monotonic()
    deadline = NO_DEADLINE if context is None else started + context.get_remaining_time_in_millis() / 1000 - hand_over_seconds
    result: Any
    try:
        message, result = whole, work(deadline)
    except OutOfTimeError as late:
        message, result = unfinished, {"continuation": {"done": late.done, "total": late.total}}
    log(message, milliseconds=round(1000 * (time.monotonic() - started)), **result)
    return result  # type: ignore[no-any-return]
