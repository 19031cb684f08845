"""Whatever S3 or its client can raise has a name, transient exactly if trying again can help. Both deployables have one table.

What is expected is spelled out here; nothing is taken from the tables under test.
"""

import errno
import http.client
import inspect
import re
import socket
import ssl

import boto3.exceptions
import botocore.exceptions
import botocore.parsers
import pytest
import s3transfer.exceptions
import urllib3.exceptions
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker

import prediction_handler
from support.samples import s3_error
from workflow import errors, s3

URI = "s3://bucket/k"
ABSENT, REQUEST, CHANGED, PARTS, TRANSIENT = (
    "InputNotFoundError",
    "InvalidRequestError",
    "InputChangedError",
    "IncompleteOutputError",
    "TransientS3Error",
)

# (code, HTTP status): https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
ANSWERS = {
    ABSENT: [
        *[("NoSuchKey", 404), ("NoSuchBucket", 404), ("NoSuchVersion", 404), ("AccessDenied", 403), ("InvalidObjectState", 403)],
        *[("404", 404), ("403", 403), ("400", 400), ("405", 405), ("MethodNotAllowed", 405)],  # bare: HEAD
        *[("ExpiredToken", 400), ("InvalidToken", 400), ("InvalidAccessKeyId", 403), ("SignatureDoesNotMatch", 403)],
        *[("RequestTimeTooSkewed", 403), ("TokenRefreshRequired", 400), ("AllAccessDisabled", 403), ("AccountProblem", 403)],
        *[("KMS.DisabledException", 400), ("KMS.NotFoundException", 400), ("KMS.KMSInvalidStateException", 400)],
        *[("KMS.InvalidKeyUsageException", 400), ("KMS.AnythingElse", 400)],
        *[("InvalidArgument", 400), ("InvalidRequest", 400), ("MalformedXML", 400), ("NeverHeardOf", 418), ("", 0)],
    ],
    REQUEST: [
        *[("InvalidBucketName", 400), ("KeyTooLongError", 400), ("EntityTooLarge", 400)],
        *[("PermanentRedirect", 301), ("301", 301), ("AuthorizationHeaderMalformed", 400)],
        *[("IllegalLocationConstraintException", 400), ("NotImplemented", 501), ("501", 501)],
    ],
    CHANGED: [("PreconditionFailed", 412), ("412", 412), ("InvalidRange", 416), ("416", 416)],
    PARTS: [("EntityTooSmall", 400), ("InvalidPart", 400), ("InvalidPartOrder", 400)],
    TRANSIENT: [
        *[("InternalError", 500), ("500", 500), ("502", 502), ("503", 503), ("504", 504), ("SlowDown", 503), ("408", 408)],
        *[("ServiceUnavailable", 503), ("RequestTimeout", 400), ("BadDigest", 400), ("OperationAborted", 409)],
        *[("ConditionalRequestConflict", 409), ("409", 409), ("429", 429), ("NeverHeardOf", 599), ("NeverHeardOf", 500)],
        *[("XAmzContentSHA256Mismatch", 400), ("IncompleteBody", 400), ("NoSuchUpload", 404), ("TemporaryRedirect", 307)],
        *[("KMS.ThrottlingException", 400), ("KMS.KMSInternalException", 500), ("KMS.DependencyTimeoutException", 500)],
        *[("KMS.KeyUnavailableException", 500), ("TooManyRequestsException", 429), ("BandwidthLimitExceeded", 503)],
    ],
}

TRANSIENT_CLASSES = {
    "botocore.exceptions": {
        *("HTTPClientError", "ConnectionClosedError", "ReadTimeoutError", "ResponseStreamingError"),
        *("ConnectionError", "EndpointConnectionError", "SSLError", "ConnectTimeoutError", "ProxyConnectionError"),
        *("IncompleteReadError", "ChecksumError", "FlexibleChecksumError"),
    },
    "botocore.parsers": {"ResponseParserError"},
    "boto3.exceptions": {"RetriesExceededError"},
    "s3transfer.exceptions": {"RetriesExceededError"},
}
REFUSED_CLASSES = {
    "botocore.exceptions": {"ParamValidationError", "InvalidDNSNameError"},
    "urllib3.exceptions": {"LocationValueError", "LocationParseError", "URLSchemeUnknown", "ProxySchemeUnknown"},
}
# Answers of S3 come as these two; the codes are tested above.
ANSWER_CLASSES = {"ClientError", "EventStreamError"}
# Of the clients' models, not of calls: none can leave S3's, and if one did, it would be a bug.
NOT_OF_CALLS = {"UndefinedModelAttributeError", "MissingServiceIdError", "InvalidSubscriberMethodError", "TransferNotDoneError",
                "ProxySchemeUnsupported"}  # fmt: skip


def exception_classes():
    trees = [
        (botocore.exceptions, Exception),
        (boto3.exceptions, Exception),
        (s3transfer.exceptions, Exception),
        (urllib3.exceptions, Exception),
        (botocore.parsers, botocore.parsers.ResponseParserError),
    ]
    for module, base in trees:
        for _, found in inspect.getmembers(module, inspect.isclass):
            own = found.__module__ == module.__name__
            if own and issubclass(found, base) and not issubclass(found, Warning) and found.__name__ not in ANSWER_CLASSES:
                yield found


def instance(found):
    """An exception as it is raised, with whatever its class wants."""
    formats = getattr(found, "fmt", None)
    if formats is not None and issubclass(found, botocore.exceptions.BotoCoreError):
        names = set(re.findall(r"{(\w+)", formats))
        try:
            return found(**dict.fromkeys({*names, "error"}, "/home/somebody/secret"))
        except TypeError:
            pass
    error = found.__new__(found)  # urllib3's take a pool and a URL
    error.args = ("/home/somebody/secret",)
    return error


def expected_name(found):
    if found.__name__ in TRANSIENT_CLASSES.get(found.__module__, ()):
        return TRANSIENT
    if found.__name__ in REFUSED_CLASSES.get(found.__module__, ()):
        return REQUEST
    if found.__name__ in NOT_OF_CALLS:
        return "InternalError"
    return TRANSIENT if found.__module__ == "urllib3.exceptions" else ABSENT


def name_of(error):
    """The name of what is raised for an error of S3's client, which shows nothing of the machine."""
    try:
        with s3.s3_calls(URI):
            raise error  # noqa: TRY301 - what is called is the translation
    except Exception as caught:  # noqa: BLE001 - that is the question
        named = errors.named(caught)
    assert "/home" not in str(named)
    return type(named).__name__


@pytest.mark.parametrize(("name", "code", "status"), [(name, *answer) for name, answers in ANSWERS.items() for answer in answers])
def test_every_answer_of_s3_has_its_name(name, code, status):
    assert name_of(s3_error("GetObject", code, status)) == name


@pytest.mark.parametrize("name", [ABSENT, REQUEST, CHANGED, PARTS, TRANSIENT])
def test_the_handler_has_a_class_for_each_name(name):
    code, status = ANSWERS[name][0]
    with pytest.raises(prediction_handler.PredictionError) as caught, prediction_handler._s3_errors(URI):
        raise s3_error("GetObject", code, status)
    assert type(caught.value).__name__ == ("InternalError" if name == PARTS else name)  # what the handler uploads, boto3 cuts


def test_codes_that_botocore_repeats_are_transient():
    """Its own lists: what it has repeated in vain, the state machine repeats later."""
    throttled = ThrottledRetryableChecker._THROTTLED_ERROR_CODES
    repeated = TransientRetryableChecker._TRANSIENT_ERROR_CODES
    assert len(throttled) > 10
    for code in [*throttled, *repeated]:
        assert name_of(s3_error("GetObject", code, 400)) == TRANSIENT, code
    for status in TransientRetryableChecker._TRANSIENT_STATUS_CODES:
        assert name_of(s3_error("GetObject", "", status)) == TRANSIENT, status


@pytest.mark.parametrize("found", list(exception_classes()), ids=lambda found: f"{found.__module__}.{found.__name__}")
def test_every_exception_of_the_client_has_its_name(found):
    name = expected_name(found)
    assert name_of(instance(found)) == name


def test_the_walk_meets_every_class_that_is_named_here():
    met = {(found.__module__, found.__name__) for found in exception_classes()}
    for table in (TRANSIENT_CLASSES, REFUSED_CLASSES):
        assert {(module, name) for module, names in table.items() for name in names} <= met
    assert len(met) > 130


@pytest.mark.parametrize(
    "error",
    [
        *(ConnectionResetError(), BrokenPipeError(), ConnectionAbortedError(), ConnectionRefusedError(), TimeoutError()),
        *(socket.gaierror(), ssl.SSLError(), ssl.SSLEOFError(), ssl.SSLCertVerificationError(), http.client.IncompleteRead(b"")),
        *(http.client.RemoteDisconnected(), http.client.BadStatusLine("x")),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_broken_connections_are_transient(error):
    assert name_of(error) == TRANSIENT


@pytest.mark.parametrize("translate", [errors.named, prediction_handler._named_error])
def test_a_shortage_says_what_to_raise(translate):
    assert "emory" in str(translate(MemoryError()))
    full = translate(OSError(errno.ENOSPC, "No space left on device", "/tmp/predict-x/part.csv"))
    assert "EphemeralStorage" in str(full)
    assert "part.csv" not in str(full)
    assert {type(translate(MemoryError())).__name__, type(full).__name__} == {REQUEST}


@pytest.mark.parametrize("translate", [errors.named, prediction_handler._named_error])
def test_a_bug_is_an_internal_error_that_shows_nothing(translate):
    bug = translate(FileNotFoundError(2, "No such file", "/var/task/secret"))
    assert type(bug).__name__ == "InternalError"
    assert str(bug) == "unexpected FileNotFoundError: see the function's log"
