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
├── IncompleteOutputError  parts do not add up, or more chunks are missing than tolerated
├── OutputExistsError      the output is there and `overwrite` is false
└── InternalError          a bug of the function; its log has the details

Step Functions compares error names for equality and knows no inheritance, so the leaves are few and chosen by what should
happen next. `functions/predict/prediction_handler.py` repeats the part that it raises, because it must stand alone;
`tests/contract/test_errors.py` holds the two, the state machine and `docs/failures.md` equal.
"""

from __future__ import annotations

import errno
import ssl
from http.client import HTTPException
from socket import gaierror
from typing import TYPE_CHECKING, NamedTuple

from boto3.exceptions import Boto3Error, RetriesExceededError
from botocore.exceptions import (
    BotoCoreError,
    ChecksumError,
    ClientError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    InvalidDNSNameError,
    ParamValidationError,
)
from botocore.exceptions import ConnectionError as BotocoreConnectionError
from botocore.parsers import ResponseParserError
from s3transfer.exceptions import CancelledError, S3CopyFailedError, S3DownloadFailedError, S3UploadFailedError, S3ValidationError
from s3transfer.exceptions import RetriesExceededError as TransferRetriesExceededError
from urllib3.exceptions import HTTPError, LocationValueError

from .utf8 import encodable

if TYPE_CHECKING:
    from collections.abc import Iterator


class BatchPredictionError(Exception):
    """Base of all errors of this project; never raised itself.

    Its text is what happened and where, and what to do about just that: `advice`. Without one, the advice for its name is good.
    """

    def __init__(self, what: str, advice: str | None = None) -> None:
        self.what, self.advice = encodable(what), encodable(advice) if advice else None  # Lambda's runtime writes it in UTF-8
        super().__init__(f"{self.what.removesuffix('.')}: {self.advice}" if self.advice else self.what)

    def told(self) -> str:
        """Return the text as Step Functions passes it on: `split_advice` takes it apart again."""
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
    """The parts do not add up to the whole, or more chunks are missing than tolerated."""


class OutputExistsError(BatchPredictionError):
    """The output exists already and the request does not allow replacing it."""


class InternalError(BatchPredictionError):
    """A bug of the function; its log has the details."""


class S3Failure(NamedTuple):
    """What an S3 error code means to the workflow."""

    error: type[BatchPredictionError]
    reason: str
    """Completes a sentence that starts with the object's URI."""
    advice: str | None = None
    """None where that for the error's name is good."""


# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html. HEAD requests have no body and answer bare status codes,
# which also decide codes that are not here. A missing key is 403 where the caller may not list the bucket: the reason names both.
S3_FAILURES: dict[str, S3Failure] = {
    **dict.fromkeys(("NoSuchKey", "NotFound", "404"), S3Failure(InputNotFoundError, "does not exist")),
    "NoSuchVersion": S3Failure(InputNotFoundError, "does not exist in that version"),
    "NoSuchBucket": S3Failure(InputNotFoundError, "is in a bucket that does not exist"),
    **dict.fromkeys(
        ("AccessDenied", "403"),
        S3Failure(InputNotFoundError, "may not be accessed or does not exist", "check the key and the role"),
    ),
    "InvalidObjectState": S3Failure(InputNotFoundError, "is archived", "restore it first"),
    **dict.fromkeys(
        ("MethodNotAllowed", "405"),
        S3Failure(InputNotFoundError, "is deleted: its version is a delete marker", "name a version that is there"),
    ),
    **dict.fromkeys(
        ("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestExpired",
         "RequestTimeTooSkewed"),
        S3Failure(InputNotFoundError, "may not be accessed: the credentials or the clock are refused", "renew them, or set it"),
    ),
    "KMS": S3Failure(InputNotFoundError, "may not be accessed with its encryption key", "check that it is enabled, and the role"),
    "400": S3Failure(
        InputNotFoundError, "may not be accessed: the credentials or the encryption key are refused", "check the role and the key",
    ),
    **dict.fromkeys(
        ("PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
        S3Failure(InvalidRequestError, "is in another region than the function", "use a bucket of its region"),
    ),
    "InvalidBucketName": S3Failure(InvalidRequestError, "is not a valid bucket name"),
    "KeyTooLongError": S3Failure(InvalidRequestError, "has a key of more than 1024 bytes", "choose a shorter one"),
    "EntityTooLarge": S3Failure(InvalidRequestError, "would be larger than S3 accepts", "lower chunk_size_mb"),
    **dict.fromkeys(("NotImplemented", "501"), S3Failure(InvalidRequestError, "is in an S3 that does not offer what is needed")),
    **dict.fromkeys(("PreconditionFailed", "412"), S3Failure(InputChangedError, "changed after it was planned")),
    **dict.fromkeys(("InvalidRange", "416"), S3Failure(InputChangedError, "is shorter than it was when it was planned")),
    "EntityTooSmall": S3Failure(IncompleteOutputError, "was given a part below S3's 5 MiB"),
    "InvalidPart": S3Failure(IncompleteOutputError, "lost an uploaded part"),
    "InvalidPartOrder": S3Failure(IncompleteOutputError, "was given its parts out of order"),
    "NoSuchUpload": S3Failure(TransientS3Error, "lost its upload: another execution ended it"),
    **dict.fromkeys(
        ("InternalError", "500", "502", "503", "504", "SlowDown", "ServiceUnavailable", "RequestTimeout", "RequestTimeoutException",
         "408", "429", "BandwidthLimitExceeded", "EC2ThrottledException", "LimitExceededException", "PriorRequestNotComplete",
         "ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestThrottled", "RequestThrottledException",
         "ThrottledException", "Throttling", "ThrottlingException", "TooManyRequestsException", "TransactionInProgressException",
         "BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "OperationAborted", "ConditionalRequestConflict", "409",
         "TemporaryRedirect", "307", "KMS.ThrottlingException", "KMS.DependencyTimeoutException", "KMS.KMSInternalException",
         "KMS.KeyUnavailableException"),
        S3Failure(TransientS3Error, "could not be reached: S3 was busy or broke off, and retrying did not help"),
    ),
}  # fmt: skip

# What there is when there is no answer, or its body breaks midway, or is not what was sent. botocore repeats the first only.
TRANSIENT_EXCEPTIONS = (
    HTTPClientError,
    BotocoreConnectionError,
    IncompleteReadError,
    ChecksumError,
    FlexibleChecksumError,
    ResponseParserError,
    RetriesExceededError,
    TransferRetriesExceededError,
    HTTPError,
    HTTPException,
    ConnectionError,
    TimeoutError,
    gaierror,
    ssl.SSLError,
)

# What botocore refuses to ask S3 for.
REFUSED_EXCEPTIONS = (ParamValidationError, InvalidDNSNameError, LocationValueError)

TRANSFER_EXCEPTIONS = (
    Boto3Error,
    CancelledError,
    S3CopyFailedError,
    S3DownloadFailedError,
    S3UploadFailedError,
    S3ValidationError,
)

S3_EXCEPTIONS = (ClientError, BotoCoreError, *TRANSFER_EXCEPTIONS, *TRANSIENT_EXCEPTIONS)
"""Everything that an S3 call, or reading its body, may raise."""


def failure_of(code: str, status: int) -> S3Failure:
    """Return what S3's answer means, whatever it is: by its code, by the service that the code names, or by the HTTP status."""
    for name in (code, code.partition(".")[0], str(status) if status != 400 else ""):
        if name in S3_FAILURES:
            return S3_FAILURES[name]
    return S3_FAILURES["503"] if status >= 500 else S3Failure(InputNotFoundError, "could not be accessed")


def s3_failure(error: Exception, uri: str) -> BatchPredictionError:
    """Translate what an S3 call on `uri` raised into a named error; raise it `from error`.

    Only S3's own words go into the message: those of the libraries may hold paths of the machine.
    """
    if isinstance(error, ClientError):
        answer = error.response.get("Error", {})
        code = str(answer.get("Code", ""))
        failure = failure_of(code, error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        words = "" if code in S3_FAILURES else f" {answer.get('Message', '')}"
        return failure.error(f"{uri} {failure.reason} (S3: {code}{words.rstrip()})", failure.advice)
    kind = type(error).__name__
    if isinstance(error, REFUSED_EXCEPTIONS):
        return InvalidRequestError(f"{uri} is nothing that S3 can be asked for ({kind})", "check the URI")
    if isinstance(error, TRANSIENT_EXCEPTIONS):
        return TransientS3Error(f"{uri} could not be reached: {kind}, after botocore's own retries")
    return InputNotFoundError(f"{uri} could not be accessed: {kind}", "check the function's role and its settings")


FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


def named(error: Exception) -> BatchPredictionError:
    """Return the named error that stands for any exception; what is no shortage is a bug, whose text stays in the log."""
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
"""What to do about each error name that an execution may end with, where the error itself does not say."""

ADVICE_MARK = " What to do: "
"""Stands before the advice in what Step Functions says of an error: it knows a name and a text, and nothing else."""


def with_advice(what: str, advice: str | None) -> str:
    """Return one text of what happened and what to do about it."""
    if not advice:
        return what
    stop = "" if what.endswith((".", "!", "?", "…")) else "."
    return f"{what}{stop}{ADVICE_MARK}{advice}"


def split_advice(text: str) -> tuple[str, str | None]:
    """Return what happened, and the advice where there is one."""
    what, mark, advice = text.rpartition(ADVICE_MARK)
    return (what, advice) if mark else (text, None)


def error_names() -> Iterator[str]:
    """Names of all leaves, in the order of the tree above."""
    return (error.__name__ for error in BatchPredictionError.__subclasses__())
