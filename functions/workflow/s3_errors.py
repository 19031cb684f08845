"""What S3's answers, and the exceptions of its client, mean: the name of an error, a sentence, and advice.

This is the only table. From `class S3Failure` on, the prediction function has a generated copy, because it must stand alone. So
errors are named by text here, and each of the two has classes of these names.
"""

import ssl
from http.client import HTTPException
from socket import gaierror
from typing import NamedTuple

from boto3.exceptions import Boto3Error, RetriesExceededError
from botocore import exceptions as boto_errors
from botocore.parsers import ResponseParserError
from s3transfer.exceptions import CancelledError, S3CopyFailedError, S3DownloadFailedError, S3UploadFailedError, S3ValidationError
from s3transfer.exceptions import RetriesExceededError as TransferRetriesExceededError
from urllib3.exceptions import HTTPError, LocationValueError


class S3Failure(NamedTuple):
    """What went wrong with an object."""

    error: str
    """Name of the error."""
    reason: str
    """Completes a sentence that starts with the object's URI."""
    advice: str | None = None
    """What to do, if this is not what one always does about such an error."""


# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html. HEAD requests have no body and answer bare status codes,
# which also decide codes that are not here. A missing key is 403 if the caller may not list the bucket: the reason names both.
S3_FAILURES: dict[str, S3Failure] = {
    code: S3Failure(*failure)
    for codes, *failure in (
        ("NoSuchKey NotFound 404", "InputNotFoundError", "does not exist"),
        ("NoSuchVersion", "InputNotFoundError", "does not exist in that version"),
        ("NoSuchBucket", "InputNotFoundError", "is in a bucket that does not exist"),
        ("AccessDenied 403", "InputNotFoundError", "may not be accessed or does not exist", "check the key and the role"),
        ("InvalidObjectState", "InputNotFoundError", "is archived", "restore it first"),
        ("MethodNotAllowed 405", "InputNotFoundError",
         "is deleted: its version is a delete marker", "name a version that is there"),
        ("""ExpiredToken InvalidToken TokenRefreshRequired InvalidAccessKeyId SignatureDoesNotMatch RequestExpired
         RequestTimeTooSkewed""",
         "InputNotFoundError", "may not be accessed: the credentials or the clock are refused", "renew them, or set it"),
        ("KMS", "InputNotFoundError",
         "may not be accessed with its encryption key", "check that it is enabled, and the role"),
        ("400", "InputNotFoundError",
         "may not be accessed: the credentials or the encryption key are refused", "check the role and the key"),
        ("PermanentRedirect 301 AuthorizationHeaderMalformed IllegalLocationConstraintException",
         "InvalidRequestError", "is in another region than the function", "use a bucket of its region"),
        ("InvalidBucketName", "InvalidRequestError", "is not a valid bucket name"),
        ("KeyTooLongError", "InvalidRequestError", "has a key of more than 1024 bytes", "choose a shorter one"),
        ("EntityTooLarge", "InvalidRequestError", "would be larger than S3 accepts", "lower chunk_size_mb"),
        ("NotImplemented 501", "InvalidRequestError", "is in an S3 that does not offer what is needed"),
        ("PreconditionFailed 412", "InputChangedError", "changed after it was planned"),
        ("InvalidRange 416", "InputChangedError", "is shorter than it was when it was planned"),
        ("EntityTooSmall", "IncompleteOutputError", "was given a part below S3's 5 MiB"),
        ("InvalidPart", "IncompleteOutputError", "lost an uploaded part"),
        ("InvalidPartOrder", "IncompleteOutputError", "was given its parts out of order"),
        ("NoSuchUpload", "TransientS3Error", "lost its upload: another execution ended it"),
        ("""InternalError 500 502 503 504 SlowDown ServiceUnavailable RequestTimeout RequestTimeoutException 408 429
         BandwidthLimitExceeded EC2ThrottledException LimitExceededException PriorRequestNotComplete
         ProvisionedThroughputExceededException RequestLimitExceeded RequestThrottled RequestThrottledException
         ThrottledException Throttling ThrottlingException TooManyRequestsException TransactionInProgressException
         BadDigest XAmzContentSHA256Mismatch IncompleteBody OperationAborted ConditionalRequestConflict 409 TemporaryRedirect 307
         KMS.ThrottlingException KMS.DependencyTimeoutException KMS.KMSInternalException KMS.KeyUnavailableException""",
         "TransientS3Error", "could not be reached: S3 was busy or broke off, and retrying did not help"),
    )
    for code in codes.split()
}  # fmt: skip

# No answer, a body that breaks midway, or one that is not what was sent. botocore repeats the request only if there is no answer.
TRANSIENT_EXCEPTIONS = (
    boto_errors.HTTPClientError,
    boto_errors.ConnectionError,
    boto_errors.IncompleteReadError,
    boto_errors.ChecksumError,
    boto_errors.FlexibleChecksumError,
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

# botocore does not send such a request.
REFUSED_EXCEPTIONS = (boto_errors.ParamValidationError, boto_errors.InvalidDNSNameError, LocationValueError)

_TRANSFER_EXCEPTIONS = (CancelledError, S3CopyFailedError, S3DownloadFailedError, S3UploadFailedError, S3ValidationError)

S3_EXCEPTIONS = (boto_errors.ClientError, boto_errors.BotoCoreError, Boto3Error, *_TRANSFER_EXCEPTIONS, *TRANSIENT_EXCEPTIONS)
"""Everything that an S3 call, or reading its body, may raise."""


def failure_of_answer(code: str, status: int) -> S3Failure:
    """Return what S3's answer means, whatever it is: by its code, by the service that the code names, or by the HTTP status."""
    for name in (code, code.partition(".")[0], str(status) if status != 400 else ""):
        if name in S3_FAILURES:
            return S3_FAILURES[name]
    return S3_FAILURES["503"] if status >= 500 else S3Failure("InputNotFoundError", "could not be accessed")


def failure_of_call(error: Exception) -> S3Failure:
    """Return what an exception of an S3 call means.

    Only S3's own words are repeated: those of the libraries may hold paths of the machine.
    """
    if isinstance(error, boto_errors.ClientError):
        answer = error.response.get("Error", {})
        code = str(answer.get("Code", ""))
        failure = failure_of_answer(code, error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        words = "" if code in S3_FAILURES else f" {answer.get('Message', '')}"
        return failure._replace(reason=f"{failure.reason} (S3: {code}{words.rstrip()})")
    kind = type(error).__name__
    if isinstance(error, REFUSED_EXCEPTIONS):
        return S3Failure("InvalidRequestError", f"is not a valid S3 location ({kind})", "check the URI")
    if isinstance(error, TRANSIENT_EXCEPTIONS):
        return S3Failure("TransientS3Error", f"could not be reached: {kind}, after botocore's own retries")
    return S3Failure("InputNotFoundError", f"could not be accessed: {kind}", "check the function's role and its settings")
