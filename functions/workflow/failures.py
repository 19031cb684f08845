"""What Step Functions says of a failure, as a sentence for people."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from .errors import split_advice, with_advice
from .utf8 import encodable

if TYPE_CHECKING:
    from .contract import Failure

MESSAGE_CHARACTERS = 2000

CHUNKS_WITHOUT_OUTPUT = "chunks have no output"
"""In the message of the IncompleteOutputError that Explain Failure explains by the chunks' own errors."""

# Lambda's and the engine's own errors say little, or nothing, of what happened.
_ENGINE_SENTENCES = {
    "Sandbox.Timedout": "the function did not finish in time",
    "States.Timeout": "the function did not answer in time",
    "Runtime.OutOfMemory": "the function ran out of memory",
    "Lambda.TooManyRequestsException": "Lambda had no concurrent execution free for the function, for an hour or so",
    "Runtime.ExitError": "the function was ended before it could answer",
    "Lambda.Unknown": "the function ended without an answer",
}


def message_of(failure: Failure) -> str:
    """Return the text of the exception with its advice, without its stack trace; the engine's own where there was no exception."""
    message = _exception_message(failure["Cause"]).strip()
    sentence = _ENGINE_SENTENCES.get(failure["Error"])
    if sentence:
        details = re.sub(r"^RequestId: \S+ (Error: )?", "", message)
        message = f"{sentence} ({details})" if details else sentence
    what, advice = split_advice(message or failure["Error"])
    return with_advice(bounded(what), advice and bounded(advice))


def bounded(message: str) -> str:
    """Cut a message that is too long to be read, and escape what could not be written."""
    message = encodable(message)
    return message if len(message) <= MESSAGE_CHARACTERS else f"{message[: MESSAGE_CHARACTERS - 1]}…"


def _exception_message(cause: str) -> str:
    try:
        details = json.loads(cause)
    except (ValueError, RecursionError):
        return cause
    message = details.get("errorMessage") if isinstance(details, dict) else None
    return message if isinstance(message, str) else cause
