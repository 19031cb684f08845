"""The errors that the workflow's states end with.

BatchPredictionError
├── InvalidRequestError    the request must change
├── InputNotFoundError     an object is absent or not readable
├── InputChangedError      an input or the model changed after planning
├── InvalidDataError       rows that cannot be read or scored
├── ModelError             the model cannot be loaded, is not the pinned one, or does not fit the columns
├── UnsafeSplitError       a chunk boundary fell inside a quoted field
├── ColumnTypeError        a column's values do not fit the type that the run has decided; the execution plans again
├── TransientS3Error       S3 throttled, timed out or broke off; the state machine retries this one, and only this one
├── IncompleteOutputError  parts do not add up
├── MissingChunksError     more chunks are missing than tolerated; Explain Failure ends with the first one's own error instead
├── OutputExistsError      the output is there and `overwrite` is false
└── InternalError          a bug of the function; its log has the details

Step Functions compares error names for equality and knows no inheritance, so the leaves are few and chosen by what should
happen next. `functions/predict/prediction_handler.py` repeats the part that it raises, because it must stand alone.

Step Functions passes an error on as a name and a text. So advice stands in that text behind a mark, and `told_by` takes it out
again: everywhere else the two are apart.
"""

import errno
import json
import re

from .contract import Failure
from .utf8 import encodable


class BatchPredictionError(Exception):
    """Base of all errors; never raised itself. `what` says what happened and where, `advice` what to do, if not `ADVICE`."""

    def __init__(self, what: str, advice: str | None = None) -> None:
        self.what, self.advice = encodable(what), encodable(advice) if advice else None  # Lambda's runtime writes it in UTF-8
        super().__init__(f"{self.what.removesuffix('.')}: {self.advice}" if self.advice else self.what)

    def told(self) -> str:
        """Return the text that Step Functions passes on: `told_by` takes it apart again."""
        return with_advice(self.what, self.advice)


class InvalidRequestError(BatchPredictionError, ValueError):
    """The request must change before it can run."""


class InputNotFoundError(BatchPredictionError):
    """An object is absent or not readable."""


class InputChangedError(BatchPredictionError):
    """An input or the model changed after it was planned."""


class InvalidDataError(BatchPredictionError, ValueError):
    """Rows cannot be read or scored."""


class ModelError(BatchPredictionError):
    """The model cannot be loaded, is not the pinned one, or does not fit the columns."""


class UnsafeSplitError(BatchPredictionError):
    """A chunk boundary fell inside a quoted field."""


class ColumnTypeError(BatchPredictionError):
    """A column's values do not fit the type that the run has decided; the execution plans again."""


class TransientS3Error(BatchPredictionError):
    """S3 throttled, timed out or broke off, after botocore's own retries."""


class IncompleteOutputError(BatchPredictionError):
    """The parts do not add up to the whole."""


class MissingChunksError(BatchPredictionError):
    """More chunks are missing than tolerated."""


class OutputExistsError(BatchPredictionError):
    """The output exists already and the request does not allow replacing it."""


class InternalError(BatchPredictionError):
    """A bug of the function; its log has the details."""


ERRORS = {error.__name__: error for error in BatchPredictionError.__subclasses__()}
"""The leaves by their names, in the order of the tree above."""

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


def named(error: Exception) -> BatchPredictionError:
    """Return the named error that stands for any exception; if it is not a shortage, it is a bug, whose text stays in the log."""
    if isinstance(error, BatchPredictionError):
        return error
    if isinstance(error, MemoryError):
        return InvalidRequestError("the function ran out of memory", "raise its MemorySize in the template, or ask for less")
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        return InvalidRequestError("ephemeral storage is full", "raise EphemeralStorage in the template, or ask for less")
    return InternalError(f"unexpected {type(error).__name__}: see the function's log")


ADVICE: dict[str, str] = {
    "InvalidRequestError": "Correct the request and start it again.",
    "InputNotFoundError": "Check the URI and that the function's role may read it.",
    "InputChangedError": "Start the request again: it plans with the objects as they are now.",
    "InvalidDataError": "Correct the data at that place and start the request again.",
    "ModelError": "Give a model that works here: `batch-predict check-model` says whether one does.",
    "UnsafeSplitError": "Report this as a bug: the planner must not place a boundary inside quotes.",
    "ColumnTypeError": "State the column's type in column_types and start the request again.",
    "TransientS3Error": "Start the request again; if it repeats, lower max_concurrency.",
    "IncompleteOutputError": "Start the request again; if it repeats, report this as a bug.",
    "MissingChunksError": "Start the request again: it runs only the chunks that are missing.",
    "OutputExistsError": "Choose another output_s3_uri, or start the request again with overwrite set to true.",
    "InternalError": "Report this as a bug, with the function's log.",
    "Sandbox.Timedout": "The function ran out of time: lower chunk_size_mb.",
    "States.Timeout": "The function ran out of time: lower chunk_size_mb.",
    "Runtime.OutOfMemory": "The function ran out of memory: raise PredictMemorySize or lower chunk_size_mb.",
    "Runtime.ExitError": "The function probably ran out of memory: raise PredictMemorySize or lower chunk_size_mb.",
    "Lambda.Unknown": "The function ran out of memory or time: raise PredictMemorySize or lower chunk_size_mb.",
    "Lambda.TooManyRequestsException": (
        "Set max_concurrency to the concurrent executions that the account has free (new accounts have 10), or ask for more in "
        "Service Quotas, and start the request again: finished chunks are kept."
    ),
    **dict.fromkeys(
        (
            "Lambda.CodeArtifactUserPendingException",
            "Lambda.CodeArtifactUserDeletedException",
            "Lambda.ResourceNotReadyException",
            "Lambda.ResourceConflictException",
        ),
        "The function was idle or is just being deployed: start the request again when its state is Active.",
    ),
    **dict.fromkeys(
        (
            "Lambda.ServiceException",
            "Lambda.AWSLambdaException",
            "Lambda.SdkClientException",
            "Lambda.ClientExecutionTimeoutException",
        ),
        "Lambda itself had trouble: start the request again.",
    ),
}
"""What to do about each error name that an execution may end with, if the error itself does not say it."""

ADVICE_MARK = " What to do: "
"""Stands before the advice in what Step Functions says of an error."""


def with_advice(what: str, advice: str | None) -> str:
    """Return one text of what happened and what to do about it."""
    if not advice:
        return what
    stop = "" if what.endswith((".", "!", "?", "…")) else "."
    return f"{what}{stop}{ADVICE_MARK}{advice}"


MESSAGE_CHARACTERS = 2000

# Lambda's and the engine's own errors say little, or nothing, of what happened.
_ENGINE_SENTENCES = {
    "Sandbox.Timedout": "the function did not finish in time",
    "States.Timeout": "the function did not answer in time",
    "Runtime.OutOfMemory": "the function ran out of memory",
    "Lambda.TooManyRequestsException": "Lambda had no concurrent execution free for the function, for an hour or so",
    "Runtime.ExitError": "the function was ended before it could answer",
    "Lambda.Unknown": "the function ended without an answer",
}


def told_by(failure: Failure) -> tuple[str, str | None]:
    """Return what happened, without a stack trace, and what to do about it: as the error says, or what is good for its name."""
    message = _exception_message(failure["Cause"]).strip()
    sentence = _ENGINE_SENTENCES.get(failure["Error"])
    if sentence:
        details = re.sub(r"^RequestId: \S+ (Error: )?", "", message)
        message = f"{sentence} ({details})" if details else sentence
    before, _, after = (message or failure["Error"]).rpartition(ADVICE_MARK)
    return (bounded(before), bounded(after)) if before else (bounded(after), ADVICE.get(failure["Error"]))


def field_to_set(advice: str | None) -> tuple[str, str] | None:
    """Return a field of the request and the value that helps, if advice ends in them: `(on_bad_row: quarantine)`."""
    found = re.search(r"\((\w+): (\w+)\)\Z", advice or "")
    return (found[1], found[2]) if found else None


def bounded(message: str) -> str:
    """Cut a message that is too long to be read, and escape what cannot be written."""
    message = encodable(message)
    return message if len(message) <= MESSAGE_CHARACTERS else f"{message[: MESSAGE_CHARACTERS - 1]}…"


def _exception_message(cause: str) -> str:
    try:
        details = json.loads(cause)
    except (ValueError, RecursionError):
        return cause
    message = details.get("errorMessage") if isinstance(details, dict) else None
    return message if isinstance(message, str) else cause
