"""Errors that a caller of batch-predict can do something about.

BatchPredictError          the caller can change something; the message says what, where, and what to do
├── InvalidRequestError    the request or its files must change; nothing has started
└── RunFailedError         the run is over without an output
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class BatchPredictError(Exception):
    """Something that the caller can change did not work; the message says what, where, and what to do."""


class InvalidRequestError(BatchPredictError):
    """The request or its local files must change before the run can start; the message lists every problem."""


class RunFailedError(BatchPredictError):
    """The run is over without an output; `error`, `cause` and `advice` are the execution's."""

    def __init__(self, message: str, error: str, cause: str | None, advice: str | None) -> None:
        super().__init__(message)
        self.error, self.cause, self.advice = error, cause, advice


@contextmanager
def file_troubles(done: str = "read or written", path: Path | str = "a file") -> Iterator[None]:
    """Say in one sentence which file (``path``, if the error does not say it) cannot be read or written."""
    try:
        yield
    except OSError as error:
        raise BatchPredictError(f"{error.filename or path} cannot be {done}: {error.strerror or error}") from error
