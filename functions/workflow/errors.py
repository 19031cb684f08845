"""The errors that the workflow's states end with.

BatchPredictionError
├── InvalidRequestError    the request must change
├── InputNotFoundError     an object is absent or not readable
├── InputChangedError      an input or the model changed after planning
├── InvalidDataError       rows that cannot be read or scored
├── ModelError             the model cannot be loaded, is not the pinned one, or does not fit the columns
├── UnsafeSplitError       a chunk boundary fell inside a quoted field
├── TransientS3Error       S3 throttled, timed out or broke off; the state machine retries this one, and only this one
├── IncompleteOutputError  parts do not add up, or more chunks are missing than tolerated
└── OutputExistsError      the output is there and `overwrite` is false

Step Functions compares error names for equality and knows no inheritance, so the leaves are few and chosen by what should
happen next. `functions/predict/prediction_handler.py` repeats the part that it raises, because it must stand alone;
`tests/contract/test_errors.py` holds the two, the state machine and `docs/failures.md` equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError, FlexibleChecksumError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as BotocoreConnectionError
from urllib3.exceptions import HTTPError

if TYPE_CHECKING:
    from collections.abc import Iterator


class BatchPredictionError(Exception):
    """Base of all errors of this project; never raised itself."""


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


class TransientS3Error(BatchPredictionError):
    """S3 throttled, timed out or broke off, after botocore's own retries."""


class IncompleteOutputError(BatchPredictionError):
    """The parts do not add up to the whole, or more chunks are missing than tolerated."""


class OutputExistsError(BatchPredictionError):
    """The output exists already and the request does not allow replacing it."""


class S3Failure(NamedTuple):
    """What an S3 error code means to the workflow."""

    error: type[BatchPredictionError]
    reason: str
    """Completes a sentence that starts with the object's URI."""


# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html; HEAD requests have no body and answer bare status codes.
# A missing key is 403 where the caller may not list the bucket: the reason names both.
S3_FAILURES: dict[str, S3Failure] = {
    "NoSuchKey": S3Failure(InputNotFoundError, "does not exist"),
    "NoSuchVersion": S3Failure(InputNotFoundError, "does not exist in that version"),
    "404": S3Failure(InputNotFoundError, "does not exist"),
    "NotFound": S3Failure(InputNotFoundError, "does not exist"),
    "NoSuchBucket": S3Failure(InputNotFoundError, "is in a bucket that does not exist"),
    "InvalidBucketName": S3Failure(InvalidRequestError, "is not a valid bucket name"),
    "AccessDenied": S3Failure(InputNotFoundError, "may not be accessed or does not exist: check the key and the role"),
    "403": S3Failure(InputNotFoundError, "may not be accessed or does not exist: check the key and the role"),
    "InvalidObjectState": S3Failure(InputNotFoundError, "is archived: restore it first"),
    "PreconditionFailed": S3Failure(InputChangedError, "changed after it was planned"),
    "412": S3Failure(InputChangedError, "changed after it was planned"),
    "InvalidRange": S3Failure(InputChangedError, "is shorter than it was when it was planned"),
    "416": S3Failure(InputChangedError, "is shorter than it was when it was planned"),
    "EntityTooSmall": S3Failure(IncompleteOutputError, "was given a part below S3's 5 MiB"),
    "InvalidPart": S3Failure(IncompleteOutputError, "lost an uploaded part"),
    "InvalidPartOrder": S3Failure(IncompleteOutputError, "was given its parts out of order"),
    "NoSuchUpload": S3Failure(TransientS3Error, "lost its upload: another execution ended it"),
    **dict.fromkeys(
        ("InternalError", "500", "502", "503", "504", "SlowDown", "ServiceUnavailable", "RequestTimeout", "RequestTimeoutException",
         "Throttling", "ThrottlingException", "RequestLimitExceeded", "BandwidthLimitExceeded", "TooManyRequestsException", "429",
         "BadDigest", "OperationAborted", "ConditionalRequestConflict", "409"),
        S3Failure(TransientS3Error, "could not be reached: S3 was busy or broke off, and retrying did not help"),
    ),
}  # fmt: skip

# What botocore and urllib3 raise when there is no answer, or its body breaks midway. botocore retries the former only.
TRANSIENT_EXCEPTIONS = (
    HTTPClientError,
    BotocoreConnectionError,
    IncompleteReadError,
    FlexibleChecksumError,
    HTTPError,
    ConnectionError,
    TimeoutError,
)


def s3_failure(error: Exception, uri: str) -> BatchPredictionError:
    """Translate what an S3 call on `uri` raised into a named error; raise it `from error`."""
    if isinstance(error, ClientError):
        code = error.response.get("Error", {}).get("Code", "")
        status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
        failure = S3_FAILURES.get(code) or S3_FAILURES.get(status)
        if failure:
            return failure.error(f"{uri} {failure.reason} (S3: {code})")
        return InputNotFoundError(
            f"{uri} could not be accessed: S3 answered {code} {error.response.get('Error', {}).get('Message', '')}"
        )
    if isinstance(error, TRANSIENT_EXCEPTIONS):
        return TransientS3Error(f"{uri} could not be reached: {type(error).__name__}, after botocore's own retries")
    return InputNotFoundError(f"{uri} could not be accessed: {error}")


S3_EXCEPTIONS = (ClientError, BotoCoreError, *TRANSIENT_EXCEPTIONS)
"""Everything that an S3 call, or reading its body, may raise."""


ADVICE: dict[str, str] = {
    "InvalidRequestError": "Correct the request and start it again.",
    "InputNotFoundError": "Check the URI and that the function's role may read it.",
    "InputChangedError": "Start the request again: it plans with the objects as they are now.",
    "InvalidDataError": "Correct the data named above and start the request again.",
    "ModelError": "Check that the model was fitted on these columns, with the library versions of the prediction function.",
    "UnsafeSplitError": "Report this as a bug: the planner must not place a boundary inside quotes.",
    "TransientS3Error": "Start the request again; if it repeats, lower max_concurrency.",
    "IncompleteOutputError": "Start the request again; if it repeats, report this as a bug.",
    "OutputExistsError": "Choose another output_s3_uri, or set overwrite to true.",
    "Sandbox.Timedout": "The function ran out of time: lower chunk_size_mb.",
    "States.Timeout": "The function ran out of time: lower chunk_size_mb.",
    "Runtime.ExitError": "The function probably ran out of memory: raise PredictMemorySize or lower chunk_size_mb.",
    "Lambda.Unknown": "The function ran out of memory or time: raise PredictMemorySize or lower chunk_size_mb.",
}
"""What to do about each error name that an execution may end with."""


def error_names() -> Iterator[str]:
    """Names of all leaves, in the order of the tree above."""
    return (error.__name__ for error in BatchPredictionError.__subclasses__())
