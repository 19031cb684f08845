"""What Lambda calls: nothing unnamed leaves a function."""

from __future__ import annotations

import functools
import traceback
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import named
from .log import log

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


def entry_point(handler: Callable[[Any, Any], Result]) -> Callable[[Any, Any], Result]:
    """Give whatever a handler raises a name of `errors.py`: Step Functions retries and catches by names.

    What the error advises goes along in its text. Of what had no name, the kind and the stack trace are logged; its message may
    hold a row's values, so it goes nowhere.
    """

    @functools.wraps(handler)
    def enter(event: Any, context: Any) -> Result:
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

    return enter
