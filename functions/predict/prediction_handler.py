"""Score one CSV object in S3, one byte range of it, or many small objects as one, with a fitted scikit-learn model.

The prediction Lambda, whole in this file: drop it into any stack. Each output record is the input record's own bytes, a comma and
the prediction; only the feature columns are parsed. Invoked directly it answers `{"statusCode": 200|400|500, "body": "<json>"}`;
with `"raise_errors": true`, as the state machine sets it, it raises the named error, because Step Functions retries on error names
and never looks inside an answer.

Three environment variables confine what an event may name, each `s3://bucket/prefix` with a prefix that may be empty:
`MODEL_S3_PREFIX` the model, `DATA_S3_PREFIX` the data, `OUTPUT_S3_PREFIX` everything that is written, and the list of segments.
A URI is inside if it starts so, literally. A variable that is not set restricts nothing: then the function's role alone decides.

A fourth, `METRICS_STATE_MACHINE`, names whose metrics each scored chunk counts in: one line of its log in CloudWatch's embedded
metric format. Where it is not set, there are none. What is written under a key with `.work/` in it carries the tag
`batch-predict=work`, by which a lifecycle rule can expire it; the function's role needs s3:PutObjectTagging there.

PredictionError
├── InvalidRequestError  the event must change (400)
├── InputNotFoundError   an object is absent or not readable (400)
├── InputChangedError    the data or the model is not the one that was planned (400)
├── InvalidDataError     rows that cannot be read or scored (400)
├── ModelError           the model cannot be loaded, is not the pinned one, or does not fit the columns (400)
├── UnsafeSplitError     the byte range cuts a quoted field (400)
├── TransientS3Error     S3 was busy or broke off; trying again later may help (500)
└── InternalError        a bug of the function; its log has the details (500)
"""

from __future__ import annotations

import csv
import errno
import functools
import hashlib
import importlib
import importlib.metadata
import io
import json
import logging
import math
import os
import platform
import re
import shutil
import ssl
import sys
import tempfile
import threading
import time
import traceback
import warnings
import zipfile
import zlib
from bisect import bisect_right
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from pathlib import Path
from socket import gaierror
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import unquote

import boto3
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from boto3.exceptions import Boto3Error, RetriesExceededError
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
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

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    import pandas as pd
    from mypy_boto3_s3 import S3Client

HANDLER_VERSION = "1"
"""Part of the run's fingerprint: parts of another version are not reused. Raise it when the same event gives other bytes."""

BLOCK_BYTES = 2_000_000
"""Bytes of input read at once. Measured: 4 MB cost 50 MB more memory and save no time (docs/performance.md)."""
FOREST_BLOCK_ROWS, FOREST_BLOCK_BYTES = 32_000, 8_000_000
"""Rows that a forest wants at once, because each call costs it a little for every tree, and the most bytes that they may take."""
MAX_RECORD_BYTES = 16_000_000
"""A longer record is taken for an unbalanced quote."""
HEADER_READ_BYTES = 65_536
"""First ranged read for the header of a chunk that does not start at 0."""
MODEL_CACHE_SIZE = 4
"""Models kept between warm invocations."""
MODEL_CACHE_BYTES = 500_000_000
"""Bytes of all kept models together, as pickled; the one in use is always kept."""
SINGLE_PUT_BYTES = 2**24
"""Up to this size a part is sent by one PUT: three more requests for a parallel upload would cost more than they save."""
BODY_ATTEMPTS = 5
"""Times that a body is asked for which breaks midway: botocore repeats requests, not bodies."""

DOWNLOADS_AT_ONCE = 16
"""Objects of a grouped chunk that are fetched side by side; small ones cost the wait for S3 (some 20 ms), not their bytes."""
DOWNLOAD_PIECE_BYTES = 1 << 20
"""Bytes of a body that are in memory before they go to disk: of all downloads together, 16 MiB, whatever the objects' sizes."""

MAX_KEY_BYTES = 1024
"""Of UTF-8: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""
MAX_COLUMNS, MAX_COLUMN_NAME_CHARACTERS = 10_000, 1000
"""Of an event's features, and of the prediction's name."""
MAX_EVENT_SEGMENTS, MAX_SEGMENTS = 10_000, 20_000
"""Of an event, and of a list in S3: the planner groups no more (functions/workflow/chunking.py)."""
MAX_SEGMENTS_LIST_BYTES = 2**26
"""Of a list in S3: 20,000 of the longest keys take less than half."""
MAX_PROBE_ROWS = 1_000_000
MAX_VERSION_ID_CHARACTERS = 1024
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html"""
WORK_MARK, WORK_TAG = ".work/", "batch-predict=work"
"""In the keys of what the workflow deletes after publishing, and on those objects: a lifecycle rule knows tags, no endings."""
METRICS_NAMESPACE, METRICS_DIMENSION, METRICS_NAME_VARIABLE = "BatchPredict", "StateMachine", "METRICS_STATE_MACHINE"
"""https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html"""
METRIC_UNITS = {
    "Rows": "Count",
    "RejectedRows": "Count",
    "InputBytes": "Bytes",
    "ChunkDuration": "Milliseconds",
    "ColdStarts": "Count",
}
MESSAGE_CHARACTERS = 8000
"""Step Functions takes a cause of 32,768 characters, and a URI may have 1,093."""

PREDICTION_METHODS = ("predict", "predict_proba", "decision_function")

# https://pandas.pydata.org/docs/reference/api/pandas.read_csv.html, na_values
MISSING_VALUES = ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
                  "NULL", "NaN", "None", "n/a", "nan", "null")  # fmt: skip

INIT_MILLISECONDS = round(time.process_time() * 1000, 3)
"""Processor time that this process took until the imports above were done; on Lambda, about the init time."""

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)


class PredictionError(Exception):
    """Base of the handler's errors; never raised itself."""

    status_code = 400

    def __init__(self, message: str) -> None:
        super().__init__(message.encode("utf-8", "backslashreplace").decode())  # Lambda's runtime writes it in UTF-8


class InvalidRequestError(PredictionError, ValueError):
    """The event must change."""


class InputNotFoundError(PredictionError):
    """An object is absent or not readable."""


class InputChangedError(PredictionError):
    """The data or the model is not the one that was planned."""


class InvalidDataError(PredictionError, ValueError):
    """Rows cannot be read or scored."""


class ModelError(PredictionError):
    """The model cannot be loaded, is not the pinned one, or does not fit the columns."""


class UnsafeSplitError(PredictionError):
    """The byte range cuts a quoted field."""


class TransientS3Error(PredictionError):
    """S3 throttled, timed out or broke off, after botocore's own retries."""

    status_code = 500


class InternalError(PredictionError):
    """A bug of the function; its log has the details."""

    status_code = 500


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001
    """Score the chunk that the event describes (see `validate_event`).

    Returns the HTTP-like response on a direct invocation; with `raise_errors` the receipt (or the probe's result), and raises
    a PredictionError instead of answering 400 or 500.
    """
    try:
        validate_event(event)
        result = probe_model(_s3_client(), event) if event.get("probe_rows") else predict_chunk(_s3_client(), event)
        body = json.dumps(result)
    except Exception as error:
        known = _named_error(error)
        facts = {"error": type(known).__name__, "message": str(known), "chunk_index": _get(event, "chunk_index")}
        if known is not error:  # its own words may hold a row's values
            facts["stack_trace"] = "".join(traceback.format_tb(error.__traceback__))
        logger.warning(_log_line(facts))
        if _get(event, "raise_errors") is True:
            if known is error:
                raise
            raise known from error
        return _error_response(known)
    logger.info(_log_line(result))
    if not event.get("probe_rows"):
        _put_metrics(result)
    return result if event.get("raise_errors") else {"statusCode": 200, "body": body}


_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


def _named_error(error: Exception) -> PredictionError:
    """Return the named error that stands for any exception; what is no shortage is a bug, whose text stays in the log."""
    if isinstance(error, PredictionError):
        return error
    if isinstance(error, MemoryError):
        return InvalidRequestError("the function ran out of memory: raise PredictMemorySize or lower chunk_size_mb")
    if isinstance(error, OSError) and error.errno in _FULL_DISK:
        return InvalidRequestError("ephemeral storage is full: raise PredictEphemeralStorageSize or lower chunk_size_mb")
    return InternalError(f"unexpected {type(error).__name__}: see the function's log")


def _error_response(error: PredictionError) -> dict[str, Any]:
    return {"statusCode": error.status_code, "body": json.dumps({"error": type(error).__name__, "message": str(error)})}


def _log_line(fields: dict[str, Any]) -> str:
    return json.dumps({"source": "prediction_handler", **fields}, default=str)


def _put_metrics(receipt: dict[str, Any]) -> None:
    """Print what the chunk counts in CloudWatch; not by the logger, whose lines Lambda wraps so that they count nothing."""
    state_machine = os.environ.get(METRICS_NAME_VARIABLE)
    if not state_machine:
        return
    values = {
        "Rows": receipt["rows_written"],
        "RejectedRows": receipt["rejected_rows"],
        "InputBytes": receipt["input_bytes"],
        "ChunkDuration": receipt["milliseconds"]["total"],
        "ColdStarts": int("init" in receipt["milliseconds"]),
    }
    metrics = [{"Name": name, "Unit": METRIC_UNITS[name]} for name in values]
    directive = {"Namespace": METRICS_NAMESPACE, "Dimensions": [[METRICS_DIMENSION]], "Metrics": metrics}
    described = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
    facts = {"chunk_index": receipt["chunk_index"], "output_s3_uri": receipt["output_s3_uri"]}
    print(json.dumps({"_aws": described, METRICS_DIMENSION: state_machine, **values, **facts}))


def _get(event: object, name: str) -> Any:
    return event.get(name) if isinstance(event, dict) else None


# --- the event ------------------------------------------------------------------------------------------------------------------


def parse_s3_uri(s3_uri: str) -> tuple[str, str]:
    """Split `s3://bucket/key` into bucket and key.

    Raises InvalidRequestError (a ValueError) on anything else.
    """
    match = _S3_URI.fullmatch(s3_uri) if _is_text(s3_uri) else None
    if not match:
        raise InvalidRequestError(f"{s3_uri!r} is not an S3 URI: write s3://bucket/key")
    return match["bucket"], match["key"]


# No IP address, no two dots: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_S3_URI = re.compile(
    r"s3://(?!([0-9]+\.){3}[0-9]+/)(?![^/]*\.\.)(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>.+)", re.DOTALL
)


def _is_uri(value: object) -> bool:
    try:
        _, key = parse_s3_uri(value)  # type: ignore[arg-type]
        return len(key.encode()) <= MAX_KEY_BYTES
    except ValueError:  # also half a character, which UTF-8 does not have
        return False


def _is_output_uri(value: object) -> bool:
    return _is_uri(value) and not str(value).endswith("/")


def _is_columns(value: object) -> bool:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_COLUMNS:
        return False
    return all(_is_text(name) for name in value) and len(set(value)) == len(value)


def _is_text(value: object, characters: int | None = None) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= (characters or len(value)) and _is_encodable(value)


def _is_encodable(text: str) -> bool:
    """Tell whether UTF-8 can hold a text: half a surrogate pair, which JSON's escapes can spell, it cannot."""
    return not re.search("[\ud800-\udfff]", text)


def _is_etag(value: object) -> bool:
    """Tell what may stand in a request's header."""
    return _is_text(value) and str(value).isascii() and str(value).isprintable()


def _is_count(value: object, largest: int = 2**63 - 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= largest


def _is_byte_range(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_count, value)) and value[0] < value[1]


class _Field(NamedTuple):
    required: bool
    is_valid: Callable[[object], bool]
    expected: str


_URI_EXPECTED = f"an S3 URI, s3://bucket/key, with a key of at most {MAX_KEY_BYTES} bytes"

_EVENT_FIELDS = {
    "model_s3_uri": _Field(True, _is_uri, _URI_EXPECTED),
    "data_s3_uri": _Field(False, _is_uri, _URI_EXPECTED),
    "segments": _Field(
        False,
        lambda value: isinstance(value, list) and 1 <= len(value) <= MAX_EVENT_SEGMENTS,
        f"a list of 1 to {MAX_EVENT_SEGMENTS} segments (segments_s3_uri takes more)",
    ),
    "segments_s3_uri": _Field(False, _is_uri, _URI_EXPECTED),
    "output_s3_uri": _Field(True, _is_output_uri, f"{_URI_EXPECTED} that does not end in /"),
    "prediction_column_name": _Field(
        True,
        lambda value: _is_text(value, MAX_COLUMN_NAME_CHARACTERS),
        f"a text of 1 to {MAX_COLUMN_NAME_CHARACTERS} characters",
    ),
    "feature_columns": _Field(True, _is_columns, f"a list of 1 to {MAX_COLUMNS} different column names"),
    "prediction_method": _Field(False, PREDICTION_METHODS.__contains__, f"one of {', '.join(PREDICTION_METHODS)}"),
    "on_bad_row": _Field(False, ("fail", "quarantine").__contains__, "fail or quarantine"),
    "model_sha256": _Field(False, lambda value: bool(re.fullmatch("[0-9a-f]{64}", str(value))), "64 hexadecimal digits"),
    "model_version_id": _Field(
        False,
        lambda value: _is_text(value, MAX_VERSION_ID_CHARACTERS),
        f"a text of 1 to {MAX_VERSION_ID_CHARACTERS} characters",
    ),
    "model_etag": _Field(False, _is_etag, "an ETag"),
    "data_etag": _Field(False, _is_etag, "an ETag"),
    "byte_range": _Field(False, _is_byte_range, "[start, stop) in bytes, 0 <= start < stop"),
    "chunk_index": _Field(False, _is_count, "an integer from 0"),
    "receipt_s3_uri": _Field(False, _is_output_uri, f"{_URI_EXPECTED} that does not end in /"),
    "probe_rows": _Field(False, lambda value: _is_count(value, MAX_PROBE_ROWS), f"an integer from 0 to {MAX_PROBE_ROWS}"),
    "strict": _Field(False, lambda value: isinstance(value, bool), "true or false"),
    "raise_errors": _Field(False, lambda value: isinstance(value, bool), "true or false"),
}

_SEGMENT_FIELDS = {
    "data_s3_uri": _Field(True, _is_uri, _URI_EXPECTED),
    "byte_range": _EVENT_FIELDS["byte_range"],
    "data_etag": _EVENT_FIELDS["data_etag"],
}
_DATA_FIELDS = ("data_s3_uri", "segments", "segments_s3_uri")
_SHOWN_PROBLEMS = 50
"""A list may have thousands of segments, and as many problems."""

_PREFIX_VARIABLES = {
    "model_s3_uri": "MODEL_S3_PREFIX",
    "data_s3_uri": "DATA_S3_PREFIX",
    "segments_s3_uri": "OUTPUT_S3_PREFIX",
    "output_s3_uri": "OUTPUT_S3_PREFIX",
    "receipt_s3_uri": "OUTPUT_S3_PREFIX",
}
_DECODINGS = 5
"""Times that a key may be percent-encoded over: no tool decodes more often."""
_AMBIGUOUS = re.compile(r"^/|//|(^|[/\\])\.\.?([/\\]|$)|[\x00-\x1f\x7f-\x9f]")


def validate_event(event: dict[str, Any]) -> None:
    """Check an event's fields; null counts as absent.

    The data are named in exactly one way: `data_s3_uri` with an optional `byte_range` and `data_etag`, `segments`, a list of these
    three that are scored as one chunk, or `segments_s3_uri`, a JSON object in S3 that is such a list.
    Raises InvalidRequestError (a ValueError) that names every missing, wrong or unknown field at once.
    """
    if not isinstance(event, dict):
        raise InvalidRequestError("the event is not a JSON object")
    problems = _field_problems(event, _EVENT_FIELDS)
    if event.get("probe_rows") and "output_s3_uri is missing" in problems:
        problems.remove("output_s3_uri is missing")
    named = [name for name in _DATA_FIELDS if event.get(name) is not None]
    if not named:
        problems.append("data_s3_uri is missing (or segments or segments_s3_uri in its place)")
    if len(named) > 1:
        problems.append(f"{' and '.join(named)} exclude each other: give one of them")
    if named and "data_s3_uri" not in named:
        lonely = [name for name in ("byte_range", "data_etag", "probe_rows") if event.get(name) is not None]
        problems += [f"{name} goes only with data_s3_uri" for name in lonely]
    if isinstance(event.get("segments"), list):
        problems += _segment_problems(event["segments"], "segments")
    problems += _place_problems(event, _read_by(event))
    if problems:
        raise InvalidRequestError(f"the event has {_listed(problems)}")


def _read_by(event: dict[str, Any]) -> list[tuple[str, object]]:
    """Return what an event reads, as far as it says, each with the field that names it."""
    inline = event.get("segments") if isinstance(event.get("segments"), list) else []
    return [
        *((name, event.get(name)) for name in ("model_s3_uri", "segments_s3_uri", "data_s3_uri")),
        *((f"segments[{index}].data_s3_uri", _get(item, "data_s3_uri")) for index, item in enumerate(inline or ())),
    ]


def _place_problems(event: dict[str, Any], read: list[tuple[str, object]]) -> list[str]:
    """Say which URIs lie where they may not, mean another key to other tools, or would be written over."""
    written = [(name, event.get(name)) for name in ("output_s3_uri", "receipt_s3_uri")]
    problems = []
    for name, uri in (*read, *written):
        if isinstance(uri, str) and _is_uri(uri):
            field_name = name.rpartition(".")[2]
            problems += [f"{name} {problem}" for problem in (_outside(field_name, uri), _ambiguous(field_name, uri)) if problem]
    written.insert(1, ("the list of rejected rows", f"{event.get('output_s3_uri')}.rejected.csv"))
    taken = {uri: name for name, uri in reversed(written) if isinstance(uri, str)}
    for name, uri in (*read, *written[1:]):
        if isinstance(uri, str) and taken.get(uri, name) != name:
            problems.append(f"{taken[uri]} {uri} is also {name}, and would overwrite it: choose another")
    return problems


def _outside(field_name: str, uri: str) -> str | None:
    allowed = os.environ.get(_PREFIX_VARIABLES[field_name])
    if not allowed or uri.startswith(allowed):
        return None
    return f"{uri} is not under {allowed}, the only place where this function allows it: choose a URI that starts so"


def _ambiguous(field_name: str, uri: str) -> str | None:
    """Say that a key means another one to tools that normalise paths; the data's may come from a listing, and is literal."""
    if field_name == "data_s3_uri":
        return None
    key = parse_s3_uri(uri)[1]
    for _ in range(_DECODINGS):
        if _AMBIGUOUS.search(key):
            return (
                f"{uri!r} has an empty, `.` or `..` part or a control character in its key, perhaps percent-encoded: "
                "S3 takes it literally, other tools do not; choose a plain key"
            )
        decoded = unquote(key)
        if decoded == key:
            return None
        key = decoded
    return f"{uri!r} is percent-encoded many times over: choose a plain key"


def _field_problems(document: dict[str, Any], fields: dict[str, _Field], prefix: str = "") -> list[str]:
    problems = [f"unknown field {prefix}{name}" for name in document if name not in fields]
    for name, rule in fields.items():
        value = document.get(name)
        if value is None:
            if rule.required:
                problems.append(f"{prefix}{name} is missing")
        elif not rule.is_valid(value):
            problems.append(f"{prefix}{name} must be {rule.expected}")
    return problems


def _segment_problems(segments: list[Any], name: str) -> list[str]:
    problems = []
    for index, segment in enumerate(segments):
        if isinstance(segment, dict):
            problems += _field_problems(segment, _SEGMENT_FIELDS, f"{name}[{index}].")
        else:
            problems.append(f"{name}[{index}] must be an object with data_s3_uri")
    return problems


def _listed(problems: list[str]) -> str:
    more = f"; and {len(problems) - _SHOWN_PROBLEMS} more" if len(problems) > _SHOWN_PROBLEMS else ""
    text = f"{len(problems)} problem(s): {'; '.join(problems[:_SHOWN_PROBLEMS])}{more}"
    text = text if len(text) <= MESSAGE_CHARACTERS else f"{text[: MESSAGE_CHARACTERS - 1]}…"
    return text.encode(errors="backslashreplace").decode()


# --- S3 -------------------------------------------------------------------------------------------------------------------------


class _S3Failure(NamedTuple):
    error: type[PredictionError]
    reason: str


# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
# functions/workflow/errors.py has the same table, and says more of it; a contract test holds them equal.
S3_FAILURES = {
    **dict.fromkeys(("NoSuchKey", "NotFound", "404"), _S3Failure(InputNotFoundError, "does not exist")),
    "NoSuchVersion": _S3Failure(InputNotFoundError, "does not exist in that version"),
    "NoSuchBucket": _S3Failure(InputNotFoundError, "is in a bucket that does not exist"),
    **dict.fromkeys(
        ("AccessDenied", "403"),
        _S3Failure(InputNotFoundError, "may not be accessed or does not exist: check the key and the role"),
    ),
    "InvalidObjectState": _S3Failure(InputNotFoundError, "is archived: restore it first"),
    **dict.fromkeys(("MethodNotAllowed", "405"), _S3Failure(InputNotFoundError, "is deleted: its version is a delete marker")),
    **dict.fromkeys(
        ("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestExpired",
         "RequestTimeTooSkewed"),
        _S3Failure(InputNotFoundError, "may not be accessed: the function's credentials or its clock are refused"),
    ),
    "KMS": _S3Failure(InputNotFoundError, "may not be accessed with its encryption key: check that it is enabled, and the role"),
    "400": _S3Failure(InputNotFoundError, "may not be accessed: the credentials or the encryption key are refused"),
    **dict.fromkeys(
        ("PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
        _S3Failure(InvalidRequestError, "is in another region than the function: use a bucket of its region"),
    ),
    "InvalidBucketName": _S3Failure(InvalidRequestError, "is not a valid bucket name"),
    "KeyTooLongError": _S3Failure(InvalidRequestError, "has a key of more than 1024 bytes: choose a shorter one"),
    "EntityTooLarge": _S3Failure(InvalidRequestError, "would be larger than S3 accepts: lower chunk_size_mb"),
    **dict.fromkeys(("NotImplemented", "501"), _S3Failure(InvalidRequestError, "is in an S3 that does not offer what is needed")),
    **dict.fromkeys(("PreconditionFailed", "412"), _S3Failure(InputChangedError, "changed after it was planned")),
    **dict.fromkeys(("InvalidRange", "416"), _S3Failure(InputChangedError, "is shorter than it was when it was planned")),
    "EntityTooSmall": _S3Failure(InternalError, "was given a part below S3's 5 MiB"),
    "InvalidPart": _S3Failure(InternalError, "lost an uploaded part"),
    "InvalidPartOrder": _S3Failure(InternalError, "was given its parts out of order"),
    "NoSuchUpload": _S3Failure(TransientS3Error, "lost its upload: another execution ended it"),
    **dict.fromkeys(
        ("InternalError", "500", "502", "503", "504", "SlowDown", "ServiceUnavailable", "RequestTimeout", "RequestTimeoutException",
         "408", "429", "BandwidthLimitExceeded", "EC2ThrottledException", "LimitExceededException", "PriorRequestNotComplete",
         "ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestThrottled", "RequestThrottledException",
         "ThrottledException", "Throttling", "ThrottlingException", "TooManyRequestsException", "TransactionInProgressException",
         "BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "OperationAborted", "ConditionalRequestConflict", "409",
         "TemporaryRedirect", "307", "KMS.ThrottlingException", "KMS.DependencyTimeoutException", "KMS.KMSInternalException",
         "KMS.KeyUnavailableException"),
        _S3Failure(TransientS3Error, "could not be reached: S3 was busy or broke off, and retrying did not help"),
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

_S3_EXCEPTIONS = (ClientError, BotoCoreError, *TRANSFER_EXCEPTIONS, *TRANSIENT_EXCEPTIONS)


@contextmanager
def _s3_errors(s3_uri: str) -> Iterator[None]:
    """Translate what S3 calls raise into named errors about `s3_uri`."""
    try:
        yield
    except _S3_EXCEPTIONS as error:
        raise _s3_failure(error, s3_uri) from error


def _failure_of(code: str, status: int) -> _S3Failure:
    """Return what S3's answer means, whatever it is: by its code, by the service that the code names, or by the HTTP status."""
    for name in (code, code.partition(".")[0], str(status) if status != 400 else ""):
        if name in S3_FAILURES:
            return S3_FAILURES[name]
    return S3_FAILURES["503"] if status >= 500 else _S3Failure(InputNotFoundError, "could not be accessed")


def _s3_failure(error: Exception, uri: str) -> PredictionError:
    """Translate what an S3 call on `uri` raised into a named error; raise it `from error`.

    Only S3's own words go into the message: those of the libraries may hold paths of the machine.
    """
    if isinstance(error, ClientError):
        answer = error.response.get("Error", {})
        code = str(answer.get("Code", ""))
        failure = _failure_of(code, error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        words = "" if code in S3_FAILURES else f" {answer.get('Message', '')}"
        return failure.error(f"{uri} {failure.reason} (S3: {code}{words.rstrip()})")
    kind = type(error).__name__
    if isinstance(error, REFUSED_EXCEPTIONS):
        return InvalidRequestError(f"{uri} is nothing that S3 can be asked for ({kind}): check the URI")
    if isinstance(error, TRANSIENT_EXCEPTIONS):
        return TransientS3Error(f"{uri} could not be reached: {kind}, after botocore's own retries")
    return InputNotFoundError(f"{uri} could not be accessed: {kind}; check the function's role and its settings")


@functools.cache
def _s3_client() -> S3Client:
    # Standard mode: 5 attempts with jitter; the state machine retries what is left as TransientS3Error.
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 5},
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=DOWNLOADS_AT_ONCE + 2,  # botocore keeps 10; what is beyond is opened anew for every object
    )
    return boto3.client("s3", config=config)


def download_from_s3(client: S3Client, s3_uri: str, local_path: str | Path) -> None:
    """Write the whole object to `local_path`.

    Raises InputNotFoundError, or TransientS3Error after botocore's and its own retries.
    """
    _download(client, s3_uri, Path(local_path))


class _Arrival:
    """How much of a download is there, for those who read its beginning meanwhile."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._bytes = 0
        self._is_over = False
        self._error: BaseException | None = None
        self.is_wanted = True
        """Whether anybody still reads; the download ends early if not."""

    def advance(self, count: int) -> None:
        with self._changed:
            self._bytes += count
            self._changed.notify_all()

    def end(self, error: BaseException | None) -> None:
        with self._changed:
            self._is_over, self._error = True, error
            self._changed.notify_all()

    def wait_for(self, position: int) -> None:
        """Wait until the bytes up to `position` are there, or all are; raises what ended the download."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or self._bytes >= position)
            if self._error:
                raise self._error


class _ArrivingFile:
    """A local file that a download is still filling: reading waits for the bytes. Opened like a Path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.arrival = _Arrival()

    @contextmanager
    def open(self, mode: str) -> Iterator[_Reader]:
        self.arrival.wait_for(1)  # the file exists from its first byte on
        with self.path.open(mode, buffering=0) as file:
            yield _Reader(file, self.arrival)


class _Reader:
    """The two things that reading blocks takes."""

    def __init__(self, file: IO[bytes], arrival: _Arrival) -> None:
        self._file = file
        self._arrival = arrival

    def read(self, size: int) -> bytes:
        self._arrival.wait_for(self._file.tell() + size)
        return self._file.read(size)

    def seek(self, position: int) -> None:
        self._file.seek(position)


class _Arrived(NamedTuple):
    """Which object a body was of."""

    etag: str
    object_bytes: int


def _read_body(
    client: S3Client,
    s3_uri: str,
    sink: IO[bytes],
    byte_range: Sequence[int] | None = None,
    etag: str | None = None,
    arrival: _Arrival | None = None,
    version_id: str | None = None,
    answered: Callable[[Any], None] | None = None,
) -> _Arrived:
    """Write an object, or what there is of its bytes [start, stop), to an empty file.

    A body that breaks midway is taken up at the byte where it broke, of the same object (If-Match). `answered` sees S3's first
    answer before any of its body is read, and may refuse it by an error.
    """
    bucket, key = parse_s3_uri(s3_uri)
    start, stop = byte_range or (0, None)
    size = 0
    with _s3_errors(_with_version(s3_uri, version_id)):
        for attempt in range(1, BODY_ATTEMPTS + 1):
            arrived = sink.tell()
            options: dict[str, Any] = {"IfMatch": etag} if etag else {}
            if start + arrived or stop is not None:
                options["Range"] = f"bytes={start + arrived}-{'' if stop is None else stop - 1}"
            if version_id:
                options["VersionId"] = version_id
            response = client.get_object(Bucket=bucket, Key=key, **options)
            if answered and attempt == 1:
                with _closed_on_error(response["Body"]):
                    answered(response)
            etag = response["ETag"]
            size = int(response["ContentRange"].rpartition("/")[2]) if "ContentRange" in response else response["ContentLength"]
            try:
                for piece in response["Body"].iter_chunks(DOWNLOAD_PIECE_BYTES):
                    sink.write(piece)
                    if arrival:
                        arrival.advance(len(piece))
                        if not arrival.is_wanted:
                            break
            except TRANSIENT_EXCEPTIONS as error:
                is_wrong = isinstance(error, FlexibleChecksumError)  # all bytes have come, but not those that were sent
                if attempt == BODY_ATTEMPTS or (is_wrong and arrival):  # they may have been scored
                    raise
                if is_wrong:
                    sink.seek(arrived)
                    sink.truncate()
            else:
                break
    return _Arrived(etag or "", size)


def _download(
    client: S3Client,
    s3_uri: str,
    path: Path,
    byte_range: Sequence[int] | None = None,
    etag: str | None = None,
    arrival: _Arrival | None = None,
    version_id: str | None = None,
    answered: Callable[[Any], None] | None = None,
) -> int:
    """Write the object, or its bytes [start, stop), to `path`; returns the size of the whole object."""
    with path.open("wb", buffering=0) as file:
        found = _read_body(client, s3_uri, file, byte_range, etag, arrival, version_id, answered)
        is_over = arrival is None or arrival.is_wanted
        if byte_range and is_over and file.tell() != byte_range[1] - byte_range[0]:
            raise InputChangedError(
                f"{s3_uri} is shorter than it was when it was planned: bytes=[{byte_range[0]}, {byte_range[1]}) are not all there"
            )
    return found.object_bytes


def _with_version(s3_uri: str, version_id: str | None) -> str:
    return f"{s3_uri} version {version_id}" if version_id else s3_uri


@contextmanager
def _closed_on_error(body: Any) -> Iterator[None]:
    """Close a body that nobody will read, and its connection with it: S3 would send it all."""
    try:
        yield
    except BaseException:
        body.close()
        raise


def _temporary_directory() -> tempfile.TemporaryDirectory[str]:
    """Make a directory that is deleted at the end of a `with`; its name says whose it is."""
    _remove_leftovers()
    return tempfile.TemporaryDirectory(prefix=f"predict-{os.getpid()}-")


@functools.cache
def _remove_leftovers() -> None:
    """Delete what killed processes have left in the temporary directory, before this process has anything there.

    Lambda keeps /tmp when it starts a function anew after a crash: a few chunks that ran out of memory would fill it.
    https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
    """
    for left in Path(tempfile.gettempdir()).glob("predict-*-*"):
        owner = left.name.split("-")[1]
        if owner.isdecimal() and (int(owner) == os.getpid() or not _is_running(int(owner))):
            shutil.rmtree(left, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


class _Storage:
    """The function's ephemeral storage, given away in advance: what does not fit is refused before anything is downloaded."""

    def __init__(self, folder: str | Path) -> None:
        self._free = shutil.disk_usage(folder).free
        self._chunk_bytes = 0
        self._taken = 0
        self._lock = threading.Lock()

    def take_for_chunk(self, n_bytes: int, s3_uri: str) -> None:
        """Take room for bytes of the chunk and as many of its part; InvalidRequestError where it does not fit."""
        with self._lock:
            chunk_bytes = self._chunk_bytes + n_bytes
            if self._taken + 2 * n_bytes > self._free:  # nothing is taken: the model may still fit, and is not to blame
                raise InvalidRequestError(
                    f"{s3_uri}: the chunk's {chunk_bytes} bytes and its part need {2 * chunk_bytes} bytes of the "
                    f"function's ephemeral storage, where {self._free} are free: {_STORAGE_REMEDY}"
                )
            self._chunk_bytes = chunk_bytes
            self._taken += 2 * n_bytes

    def take_for_model(self, n_bytes: int, s3_uri: str) -> None:
        """Take room for a model; ModelError where it does not fit."""
        with self._lock:
            if self._taken + n_bytes > self._free:
                raise ModelError(
                    f"{s3_uri} has {n_bytes} bytes, more than the {self._free - self._taken} that are free of the function's "
                    "ephemeral storage: raise PredictEphemeralStorageSize"
                )
            self._taken += n_bytes


_STORAGE_REMEDY = "raise PredictEphemeralStorageSize or lower chunk_size_mb"


def upload_to_s3(client: S3Client, local_path: str | Path, s3_uri: str) -> None:
    """Write the file to `s3_uri`: whole or not at all, in parallel parts when it is large.

    Raises InvalidRequestError where S3 refuses (no such bucket, no permission), TransientS3Error after botocore's retries.
    """
    bucket, key = parse_s3_uri(s3_uri)
    try:
        with _s3_errors(s3_uri), Path(local_path).open("rb") as file:
            client.upload_fileobj(
                file,
                bucket,
                key,
                ExtraArgs={"ContentType": "text/csv", **_work_tag(key)},
                Config=TransferConfig(multipart_threshold=SINGLE_PUT_BYTES, max_concurrency=4),
            )
    except InputNotFoundError as error:
        raise InvalidRequestError(f"cannot write the output: {error}") from error


def _put_json(client: S3Client, s3_uri: str, document: dict[str, Any]) -> None:
    bucket, key = parse_s3_uri(s3_uri)
    try:
        with _s3_errors(s3_uri):
            body = json.dumps(document, separators=(",", ":")).encode()
            client.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json", **_work_tag(key))
    except InputNotFoundError as error:
        raise InvalidRequestError(f"cannot write the receipt: {error}") from error


def _work_tag(key: str) -> dict[str, Any]:
    return {"Tagging": WORK_TAG} if WORK_MARK in key else {}


# --- carried libraries ----------------------------------------------------------------------------------------------------------

CARRIED = Path(__file__).with_name("carried")
"""Where the deployed package has the libraries that only some models need, compressed, and `index.json`, which describes them.

No other place has such a folder. Unpacked, they would not fit; and scikit-learn imports pandas wherever it can, for every model."""

_carrying = threading.RLock()
_importable: set[str] = set()
"""Carried libraries that can be imported by now."""


def _make_importable(module: str) -> None:
    """Unpack the library that a module belongs to, if the package carries it, so that it can be imported.

    It must be called before the import; it does nothing for every other module, and where there is no such package. Raises
    InvalidRequestError where ephemeral storage is full, and InternalError where the package is damaged.
    """
    name = module.partition(".")[0]
    library = _carried_libraries().get(name)
    if library is None or name in _importable:
        return
    with _carrying:
        for needed in library["needs"]:
            _make_importable(needed)
        if name not in _importable:
            sys.path.append(str(_unpacked(name, library)))  # behind everything: nothing that is there already changes
            if name == "pandas":
                pa.lib._pandas_api.pd  # noqa: B018, SLF001  # pyarrow looks once, and may have looked before
            _importable.add(name)


@functools.cache
def _carried_libraries() -> dict[str, dict[str, Any]]:
    """Return what the package says of the libraries that it carries, by the module that is imported."""
    try:
        libraries: dict[str, dict[str, Any]] = json.loads((CARRIED / "index.json").read_bytes())
    except FileNotFoundError:
        return {}
    return libraries


def _unpacked(name: str, library: dict[str, Any]) -> Path:
    """Return the folder of a carried library, unpacked: by this process, by one beside it, or by one before it in this container.

    It is unpacked beside, and renamed when it is whole. What a process that was killed meanwhile left is deleted: the system has
    taken its lock away. The folder's name has the archive's digest, so it is never another deployment's.
    """
    import fcntl  # noqa: PLC0415  # Linux has it, as Lambda is; this module is imported elsewhere, too

    folder = Path(tempfile.gettempdir(), f"carried-{name}-{library['sha256'][:16]}")
    if folder.is_dir():
        return folder
    try:
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():
                _unpack(CARRIED / f"{name}.zip", library["sha256"], folder)
    except OSError as error:
        if error.errno in _FULL_DISK:
            needed = f"{name} takes {library['bytes']} bytes"
            raise InvalidRequestError(f"ephemeral storage is full ({needed}): raise PredictEphemeralStorageSize") from error
        raise
    return folder


def _unpack(archive: Path, sha256: str, folder: Path) -> None:
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    content = archive.read_bytes() if archive.is_file() else b""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise InternalError(f"{archive.name} in the function's package is damaged: deploy the function again")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            opened.extractall(partial)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)  # whatever ended it, the room is free again
        raise


@functools.cache
def _deployment() -> str:
    """Return one digest over all that decides what a model answers: distributions and their versions, Python, processor, own code.

    The package has a list of its distributions (`deployment.json`, written when it is built). Elsewhere they are the names of the
    *.dist-info folders that Python sees. The digest of the code is always that of the files as they are.
    """
    built, here = Path(__file__).with_name("deployment.json"), Path(__file__).parent
    if built.is_file():
        document = json.loads(built.read_bytes())
        distributions, own = document["distributions"], list(document["own"])
    else:
        entries = {path for folder in map(Path, sys.path) if os.access(folder, os.R_OK) for path in folder.glob("*.*-info")}
        distributions = sorted({path.stem for path in entries if path.suffix in {".dist-info", ".egg-info"}})
        own = [path.name for path in here.glob("*.py")]
    facts = {
        "distributions": distributions,
        "machine": platform.machine(),
        "own": {name: hashlib.sha256((here / name).read_bytes()).hexdigest() for name in own},
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


# --- the model ------------------------------------------------------------------------------------------------------------------


class _Model(NamedTuple):
    estimator: Any
    facts: dict[str, Any]
    """As `contract.Model` describes them; written into every receipt."""


_model_cache: OrderedDict[tuple[str, str | None, str], _Model] = OrderedDict()
"""By URI, version and ETag."""


def _cached_model(client: S3Client, event: dict[str, Any], storage: _Storage | None = None) -> _Model:
    """Take the event's model from memory if this container has scored with the same bytes before."""
    s3_uri, sha256, version_id = event["model_s3_uri"], event.get("model_sha256"), event.get("model_version_id")
    bucket, key = parse_s3_uri(s3_uri)
    etag, known_version_id = event.get("model_etag"), version_id
    if not etag:
        options: dict[str, Any] = {"VersionId": version_id} if version_id else {}
        with _s3_errors(_with_version(s3_uri, version_id)):
            head = client.head_object(Bucket=bucket, Key=key, **options)
        etag, known_version_id = head["ETag"], head.get("VersionId")
    place = (s3_uri, known_version_id, etag)
    cached = _model_cache.get(place)
    if cached is None:
        cached = _fetch_model(client, event, etag, storage)
        _model_cache[place] = cached
        while len(_model_cache) > 1 and (
            len(_model_cache) > MODEL_CACHE_SIZE or sum(kept.facts["bytes"] for kept in _model_cache.values()) > MODEL_CACHE_BYTES
        ):
            _model_cache.popitem(last=False)
    _model_cache.move_to_end(place)
    if event.get("strict") and cached.facts["warnings"]:
        raise ModelError(f"{s3_uri} is refused, because the request is strict: {'; '.join(cached.facts['warnings'])}")
    if sha256 and cached.facts["sha256"] != sha256:
        raise ModelError(
            f"{s3_uri} is not the pinned model: its SHA-256 is {cached.facts['sha256']}, the request allows only {sha256}"
        )
    return cached


def _fetch_model(client: S3Client, event: dict[str, Any], etag: str, storage: _Storage | None) -> _Model:
    s3_uri, sha256 = event["model_s3_uri"], event.get("model_sha256")
    answer: dict[str, Any] = {}
    with _temporary_directory() as folder:
        path = Path(folder, "model.joblib")
        room = storage or _Storage(folder)

        def require_room(response: dict[str, Any]) -> None:
            size, memory_mb = response["ContentLength"], _memory_mb()
            if memory_mb and size > memory_mb * 2**20:
                raise ModelError(f"{s3_uri} has {size} bytes, more than the function's {memory_mb} MB: raise PredictMemorySize")
            room.take_for_model(size, s3_uri)
            answer.update(response)

        _download(client, s3_uri, path, etag=etag, version_id=event.get("model_version_id"), answered=require_room)
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 and found != sha256:  # before anything is unpickled: unpickling runs code
            raise ModelError(f"{s3_uri} is not the pinned model: its SHA-256 is {found}, the request allows only {sha256}")
        size = path.stat().st_size
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                estimator = load_model(path)
            except ModelError as error:
                raise ModelError(f"{s3_uri} {error}") from error
    installed = importlib.metadata.version("scikit-learn")
    versions = {w.message.original_sklearn_version for w in caught if hasattr(w.message, "original_sklearn_version")}
    fitted = ", ".join(sorted(versions)) or installed
    return _Model(
        estimator,
        {
            "s3_uri": s3_uri,
            "etag": etag,
            "version_id": answer.get("VersionId"),
            "sha256": found,
            "bytes": size,
            "estimator": type(estimator).__name__,
            "sklearn_version": fitted if _is_sklearn(estimator) else None,
            "versions": {name: importlib.metadata.version(name) for name in ("scikit-learn", "numpy", "pyarrow", "joblib")},
            "handler_version": HANDLER_VERSION,
            "warnings": [f"it was fitted with scikit-learn {fitted}, and scored with {installed}"] if versions else [],
        },
    )


def load_model(model_path: str | Path) -> Any:
    """Unpickle a model written by `joblib.dump`. Unpickling runs code: load only models that you trust.

    Raises ModelError when the file is not one, needs a module that is not installed, or has no `predict`.
    """
    import joblib  # noqa: PLC0415  # brings scikit-learn's import time with the unpickling, not before

    try:
        estimator = joblib.load(model_path)
    except MemoryError:
        raise
    except ModuleNotFoundError as error:
        raise ModelError(f"needs the Python module {error.name!r}, which the prediction function does not have") from error
    except Exception as error:  # unpickling arbitrary bytes can raise anything
        raise ModelError(f"is not a model that joblib can load ({type(error).__name__}): write it with joblib.dump") from error
    if not callable(getattr(estimator, "predict", None)):
        raise ModelError(f"holds a {type(estimator).__name__}, which has no predict method: dump the fitted estimator itself")
    _use_one_thread(estimator)
    return estimator


def _is_sklearn(estimator: object) -> bool:
    return type(estimator).__module__.partition(".")[0] == "sklearn"


def _use_one_thread(estimator: Any) -> None:
    """Blocks are scored side by side, one a core: an estimator's own threads would fight with them."""
    if not hasattr(estimator, "get_params"):
        return
    try:
        parallel = {name: 1 for name in estimator.get_params() if name.rpartition("__")[2] == "n_jobs"}
        estimator.set_params(**parallel)
    except Exception as error:  # noqa: BLE001  # an estimator of somebody's own, with its own idea of params
        logger.info(_log_line({"message": f"n_jobs left as it is: {type(error).__name__}"}))


# --- which columns are numbers, and which are text -------------------------------------------------------------------------------

NUMBER, TEXT = "number", "text"
INTEGER, BOOLEAN = "integer", "boolean"  # told apart from other numbers only where the model leaves a column open


def _column_kinds(estimator: Any, columns: Sequence[str]) -> dict[str, str]:
    """Kind of each column that the fitted model itself determines; columns that it does not are left out.

    `pandas.read_csv` would decide by the values of the whole file; a chunk sees only its own, so the model's fitted state decides.
    """
    return _combine([_estimator_kinds(estimator, columns)])


def _combine(opinions: list[dict[str, str]]) -> dict[str, str]:
    """Merge what several transformers say; columns on which they differ stay undecided."""
    kinds: dict[str, str] = {}
    disputed = set()
    for opinion in opinions:
        for column, kind in opinion.items():
            if kinds.setdefault(column, kind) != kind:
                disputed.add(column)
    return {column: kind for column, kind in kinds.items() if column not in disputed}


def _estimator_kinds(estimator: Any, columns: Sequence[str]) -> dict[str, str]:  # noqa: PLR0911  # one return a family of estimators
    for inner in ("best_estimator_", "estimator_", "regressor_"):  # searches, calibration, transformed targets
        if hasattr(estimator, inner):
            return _estimator_kinds(getattr(estimator, inner), columns)
    if hasattr(estimator, "transformers_"):  # ColumnTransformer
        return _combine([_transformer_kinds(step, _selected(chosen, columns)) for _, step, chosen in estimator.transformers_])
    if hasattr(estimator, "steps"):  # Pipeline
        steps = [step for _, step in estimator.steps if step not in (None, "passthrough")]
        return _estimator_kinds(steps[0], columns) if steps else {}
    if hasattr(estimator, "transformer_list"):  # FeatureUnion
        return _combine([_transformer_kinds(step, columns) for _, step in estimator.transformer_list])
    if isinstance(getattr(estimator, "estimators_", None), list) and hasattr(estimator, "named_estimators_"):  # voting, stacking
        return _combine([_estimator_kinds(step, columns) for step in estimator.estimators_])
    if getattr(estimator, "_preprocessor", None) is not None:  # histogram boosting with categories
        return _estimator_kinds(estimator._preprocessor, columns)  # noqa: SLF001  # the only place that knows
    if isinstance(getattr(estimator, "categories_", None), list):  # one-hot, ordinal and target encoders
        return _values_kinds(columns, estimator.categories_)
    if hasattr(estimator, "statistics_"):  # SimpleImputer
        return _values_kinds(columns, [[value] for value in estimator.statistics_])
    if hasattr(estimator, "vocabulary_") or type(estimator).__name__ == "HashingVectorizer":
        return dict.fromkeys(columns, TEXT)
    if not _is_sklearn(estimator) or type(estimator).__name__ == "FunctionTransformer":
        return {}
    return dict.fromkeys(columns, NUMBER)


def _transformer_kinds(step: Any, columns: Sequence[str]) -> dict[str, str]:
    if step == "drop":
        return dict.fromkeys(columns, TEXT)  # never looked at, so it may be anything
    if step == "passthrough":
        return dict.fromkeys(columns, NUMBER)  # goes on to the estimator as it is
    return _estimator_kinds(step, columns)


def _selected(chosen: Any, columns: Sequence[str]) -> list[str]:
    """Resolve a ColumnTransformer's column selection: names, positions, a slice or a mask."""
    if isinstance(chosen, slice):
        start, stop = (columns.index(edge) if isinstance(edge, str) else edge for edge in (chosen.start, chosen.stop))
        if isinstance(chosen.stop, str):
            stop += 1  # label slices include their end
        return list(columns[start : stop : chosen.step])
    items: list[Any] = [chosen] if np.isscalar(chosen) else list(chosen)
    if items and all(isinstance(item, (bool, np.bool_)) for item in items):
        return [column for column, taken in zip(columns, items, strict=True) if taken]
    return [item if isinstance(item, str) else columns[item] for item in items]


def _values_kinds(columns: Sequence[str], fitted: Sequence[Any]) -> dict[str, str]:
    kinds = {}
    for column, values in zip(columns, fitted, strict=False):
        known = [value for value in values if value is not None and value == value]  # noqa: PLR0124  # NaN is not itself
        if known and all(isinstance(value, str) for value in known):
            kinds[column] = TEXT
        elif known and all(isinstance(value, (int, float, np.number, np.bool_)) for value in known):
            kinds[column] = NUMBER
    return kinds


# --- CSV ------------------------------------------------------------------------------------------------------------------------


class Header(NamedTuple):
    """The first record of an object."""

    raw: bytes
    """As it stands there, with a byte order mark if there is one, without its line end."""
    line_end: bytes
    """Empty where the object ends without one."""
    names: list[str]

    @property
    def size(self) -> int:
        """Bytes up to the first data record."""
        return len(self.raw) + len(self.line_end)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where rows come from, for messages."""

    s3_uri: str
    start: int
    """Byte of the object at which the chunk (or its share of this object) starts."""

    def at(self, row: int, byte: int) -> str:
        """Name a record by its number (from 0, in this chunk) and its first byte (in the object)."""
        if self.start == 0:
            return f"{self.s3_uri} row {row + 1} (byte {byte})"
        return f"{self.s3_uri} byte {byte} (row {row + 1} of the chunk that starts at byte {self.start})"


class _Place(NamedTuple):
    """Where a record stands."""

    source: _Source
    row: int
    """From 0, in the source."""
    byte: int
    """In the object."""

    def __str__(self) -> str:
        return self.source.at(self.row, self.byte)


@dataclass(frozen=True, slots=True)
class _Block:
    """Some whole records of a chunk.

    `data` is the records' bytes after one line end, so that element i of the offsets, `data[offsets[i]:offsets[i + 1]]`, is a line
    end and record i without its own: joined with predictions, elements are the output.
    """

    header: Header
    data: bytes
    offsets: np.ndarray[Any, np.dtype[np.int32]]
    """n_rows + 1 positions."""
    has_quotes: bool
    origins: tuple[tuple[int, _Place], ...]
    """Rows of the block (from 0) at which another object begins, the first one first, and where these stand there."""

    @property
    def rows(self) -> int:
        return len(self.offsets) - 1

    def at(self, row: int) -> _Place:
        first, place = self.origins[bisect_right(self.origins, row, key=lambda origin: origin[0]) - 1]
        return _Place(place.source, place.row + row - first, place.byte + int(self.offsets[row] - self.offsets[first]))

    def records(self) -> memoryview:
        """All records with their line ends."""
        edge = len(self.header.line_end)
        return memoryview(self.data)[edge : int(self.offsets[-1]) + edge]

    def record(self, row: int) -> bytes:
        return self.data[int(self.offsets[row]) + len(self.header.line_end) : int(self.offsets[row + 1])]


def _read_header(beginning: bytes, s3_uri: str) -> Header | None:
    """Split the header off an object's first bytes; None when its record does not end there."""
    end = -1
    while (end := beginning.find(b"\n", end + 1)) >= 0:
        if beginning.count(b'"', 0, end) % 2 == 0:
            break
    if end < 0:
        return None
    line_end = b"\r\n" if beginning[:end].endswith(b"\r") else b"\n"
    raw = beginning[: end + 1 - len(line_end)]
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidDataError(f"{s3_uri} is not UTF-8 at byte {error.start}: is it a CSV file?") from error
    if "\0" in text:
        raise InvalidDataError(f"{s3_uri} holds NUL bytes in its first line: is it a CSV file?")
    octets = np.frombuffer(b"\n" + raw.removeprefix(b"\xef\xbb\xbf") + line_end, np.uint8)
    quotes = np.flatnonzero(octets == ord('"'))
    if _quote_problem(octets, quotes) is not None or _bare_return(octets, quotes, line_end) is not None:
        raise InvalidDataError(
            f"{s3_uri} has a malformed header: a quote inside a field that is not quoted, or a bare carriage return"
        )
    names = next(csv.reader(io.StringIO(text, newline=""), strict=True), [""])
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InvalidDataError(f"{s3_uri} has more than one column named {', '.join(map(repr, repeated))}: rename one")
    return Header(raw, line_end, names)


_MAY_STAND_BESIDE_QUOTES = np.isin(np.arange(256), list(b',\n"'))
"""By octet: what may stand before an opening or after a closing quote."""


def _quote_problem(octets: np.ndarray[Any, Any], quotes: np.ndarray[Any, Any]) -> int | None:
    """Position of the first quote that opens or closes a field where RFC 4180 has none; `octets` start and end with a line end."""
    opening, closing = quotes[0::2], quotes[1::2]
    # A doubled quote looks like a closing one followed at once by an opening one.
    bad_opening = opening[~_MAY_STAND_BESIDE_QUOTES[octets[opening - 1]]]
    after = octets[closing + 1]
    returns = (after == ord("\r")) & (octets[np.minimum(closing + 2, len(octets) - 1)] == ord("\n"))
    bad_closing = closing[~(_MAY_STAND_BESIDE_QUOTES[after] | returns)]
    bad = np.concatenate([bad_opening, bad_closing])
    return int(bad.min()) if len(bad) else None


def _bare_return(octets: np.ndarray[Any, Any], quotes: np.ndarray[Any, Any], line_end: bytes) -> int | None:
    """Position of the first carriage return outside quotes that is no part of a CRLF line end."""
    returns = np.flatnonzero(octets == ord("\r"))
    outside = returns[np.searchsorted(quotes, returns) % 2 == 0]
    if line_end == b"\r\n":
        outside = outside[octets[np.minimum(outside + 1, len(octets) - 1)] != ord("\n")]
    return int(outside[0]) if len(outside) else None


def _positions(octets: np.ndarray[Any, Any], octet: int) -> np.ndarray[Any, Any]:
    """Find an octet, in steps whose masks stay in the processor's cache."""
    step = 1 << 18
    found = [np.flatnonzero(octets[start : start + step] == octet) + start for start in range(0, len(octets), step)]
    return np.concatenate(found)


@dataclass
class _Tally:
    """What was read of a chunk, for its receipt."""

    rows: int = 0
    bytes: int = 0
    quotes: int = 0


def _read_blocks(
    file: IO[bytes] | _Reader, header: Header, source: _Source, first_byte: int, block_bytes: int, tally: _Tally | None = None
) -> Iterator[_Block]:
    """Cut the rest of an open file into blocks of whole records."""
    line_end = header.line_end
    tally = tally or _Tally()
    rest, row, byte = b"", 0, first_byte
    while True:
        wanted = max(block_bytes, len(rest))  # doubles while one record is longer than a block
        fresh = file.read(wanted)
        data = line_end + rest + fresh
        at_end = len(fresh) < wanted
        added = 0
        if at_end and len(data) > len(line_end) and not (data.endswith(line_end) and data.count(b'"') % 2 == 0):
            data += line_end  # the last record need not have one
            added = len(line_end)
        has_quotes = b'"' in data
        octets = np.frombuffer(data, np.uint8)
        feeds = _positions(octets, ord("\n"))
        quotes = _positions(octets, ord('"')) if has_quotes else feeds[:0]
        if has_quotes:
            feeds = feeds[np.searchsorted(quotes, feeds) % 2 == 0]
        offsets = (feeds - (len(line_end) - 1)).astype(np.int32)
        if at_end and len(quotes) % 2:
            row += max(len(offsets) - 1, 0)
            raise InvalidDataError(f"{source.at(row, byte + int(offsets[-1]))}: a quoted field that is never closed")
        if len(offsets) > 1:
            block = _Block(header, data, offsets, has_quotes, ((0, _Place(source, row, byte)),))
            _check_block(block, quotes)
            yield block
            row += block.rows
            byte += int(offsets[-1])
            rest = data[int(offsets[-1]) + len(line_end) :]
            tally.rows += block.rows
            tally.quotes += int(np.searchsorted(quotes, offsets[-1]))
            tally.bytes += int(offsets[-1]) - added
        else:
            rest += fresh
        if at_end:
            return
        if len(rest) > MAX_RECORD_BYTES:
            raise InvalidDataError(f"{source.at(row, byte)}: a record of more than {MAX_RECORD_BYTES} bytes; is a quote missing?")


def _joined_small(blocks: Iterator[_Block], block_bytes: int) -> Iterator[_Block]:
    """Join the blocks of neighbouring small objects: a model's call costs much the same for ten rows as for a thousand."""
    waiting: list[_Block] = []
    size = 0
    for block in blocks:
        if waiting and size + int(block.offsets[-1]) > block_bytes:
            yield _join_blocks(waiting)
            waiting, size = [], 0
        waiting.append(block)
        size += int(block.offsets[-1])
    if waiting:
        yield _join_blocks(waiting)


def _join_blocks(blocks: list[_Block]) -> _Block:
    if len(blocks) == 1:
        return blocks[0]
    header = blocks[0].header
    rows = np.cumsum([0, *(block.rows for block in blocks)]).tolist()
    starts = np.cumsum([0, *(block.offsets[-1] for block in blocks)]).tolist()
    shifted = [block.offsets[:-1] + start for block, start in zip(blocks, starts, strict=False)]
    return _Block(
        header,
        b"".join([header.line_end, *(block.records() for block in blocks)]),
        np.concatenate([*shifted, starts[-1:]]).astype(np.int32),
        any(block.has_quotes for block in blocks),
        tuple((row + first, place) for block, row in zip(blocks, rows, strict=False) for first, place in block.origins),
    )


def _check_block(block: _Block, quotes: np.ndarray[Any, Any]) -> None:
    """Raise InvalidDataError where the bytes are not RFC 4180 in UTF-8 with one kind of line end."""
    edge, end = len(block.header.line_end), int(block.offsets[-1])
    octets = np.frombuffer(block.data, np.uint8)[: end + edge]

    def fail(position: int, reason: str) -> None:
        row = int(np.searchsorted(block.offsets, position - edge, side="right")) - 1
        raise InvalidDataError(f"{block.at(min(max(row, 0), block.rows - 1))}: {reason}")

    if block.has_quotes:
        problem = _quote_problem(octets, quotes[: np.searchsorted(quotes, end)])
        if problem is not None:
            fail(problem, "a quote inside a field that is not quoted, or text after a closing quote")
    if edge == 2:
        wrong = np.flatnonzero(octets[block.offsets] != ord("\r"))
        if len(wrong):
            fail(int(block.offsets[wrong[0]]), "ends in LF, the header in CRLF: use one kind of line end")
    if len(block.header.names) > 1:  # pyarrow would read an empty line as a row of missing values
        empty = np.flatnonzero(np.diff(block.offsets) == edge)
        if len(empty):
            fail(int(block.offsets[empty[0]]) + edge, f"is empty, the header has {len(block.header.names)} fields")
    if b"\r" in block.data:
        bare = _bare_return(octets, quotes, block.header.line_end)
        if bare is not None:
            fail(bare, "a carriage return outside quotes that does not belong to the file's line ends")
    foreign = _utf8_problem(block.data, end)
    if foreign is not None:
        fail(foreign, "bytes that are not UTF-8: save the file as UTF-8")


def _utf8_problem(data: bytes, end: int) -> int | None:
    """Position of the first bytes before `end` that are not UTF-8."""
    if data.isascii():
        return None
    whole = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(np.array([0, end], np.int32)), pa.py_buffer(data)])
    try:
        whole.validate(full=True)  # ten times as fast as decoding
    except pa.ArrowInvalid:
        try:
            data[:end].decode()
        except UnicodeDecodeError as error:
            return error.start
    return None


# --- a chunk's segments -----------------------------------------------------------------------------------------------------------


@dataclass
class _Segment:
    """A chunk's share of one object, in a local file of its own."""

    source: _Source
    stop: int | None
    """Byte of the object at which it stops; None at the object's end."""
    etag: str | None
    data: Path | _ArrivingFile
    header: Header | None = None
    """Of the object; read when it is needed."""
    object_bytes: int | None = None
    """Size of the whole object, known after the download."""
    is_begun: bool = False
    """Whether reading it has begun."""

    @property
    def byte_range(self) -> list[int] | None:
        return None if self.stop is None else [self.source.start, self.stop]


@dataclass
class _Chunk:
    """What is scored as one: an object, a byte range of one, or a group of such segments one after the other.

    Quotes, rows and bytes are counted in each segment by itself, so that one segment's fault never moves the next one's rows.
    """

    segments: list[_Segment]
    is_group: bool = False
    """A group may consist of objects that are only a header."""

    @property
    def s3_uri(self) -> str:
        """The first object, which names the columns."""
        return self.segments[0].source.s3_uri

    @functools.cached_property
    def header(self) -> Header:
        """The first object's, with the line end of the first object that has one."""
        first = self._header_of(self.segments[0])
        return first._replace(line_end=first.line_end or self._header_of(self._first_with_line_end).line_end or b"\n")

    @functools.cached_property
    def _first_with_line_end(self) -> _Segment:
        return next((segment for segment in self.segments if self._header_of(segment).line_end), self.segments[0])

    def _header_of(self, segment: _Segment) -> Header:
        segment.is_begun = True
        if segment.header is None:
            segment.header = _local_header(segment.data, segment.source.s3_uri, may_be_all=self.is_group)
        return segment.header

    def blocks(self, block_bytes: int, tally: _Tally | None = None) -> Iterator[_Block]:
        """Cut all segments into blocks of whole records, in order."""
        blocks = (block for segment in self.segments for block in self._segment_blocks(segment, block_bytes, tally))
        return _joined_small(blocks, block_bytes) if len(self.segments) > 1 else blocks

    def _segment_blocks(self, segment: _Segment, block_bytes: int, tally: _Tally | None) -> Iterator[_Block]:
        header = self._header_of(segment)
        self._check_header(segment, header)
        has_header = segment.source.start == 0
        if has_header and tally:
            tally.bytes += header.size
            tally.quotes += header.raw.count(b'"')
        with segment.data.open("rb") as file:
            if has_header:
                file.seek(header.size)
            first_byte = header.size if has_header else segment.source.start
            yield from _read_blocks(file, self.header, segment.source, first_byte, block_bytes, tally)

    def _check_header(self, segment: _Segment, header: Header) -> None:
        """Raise InvalidDataError where a segment's header is not the chunk's; byte order marks and quoting may differ."""
        if header.names != self.header.names:
            difference = _difference(header.names, self.header.names)
            raise InvalidDataError(f"{segment.source.s3_uri} has other columns than {self.s3_uri}: {difference}")
        if header.line_end not in (b"", self.header.line_end):
            other = self._first_with_line_end.source.s3_uri
            ends = {b"\n": "LF", b"\r\n": "CRLF"}
            raise InvalidDataError(
                f"{segment.source.s3_uri} ends its lines in {ends[header.line_end]}, {other} in {ends[self.header.line_end]}: "
                "use one kind of line end"
            )

    def cut_segment(self) -> _Segment | None:
        """Find the first segment, of those that were read so far, that is a byte range with an odd number of quotes."""
        for segment in self.segments:
            if segment.is_begun and _quote_parity(segment.data) and not self._is_whole(segment):
                return segment
        return None

    def _is_whole(self, segment: _Segment) -> bool:
        if segment.stop is None:
            return True
        return self.is_group and segment.byte_range == [0, segment.object_bytes]


def _difference(names: list[str], expected: list[str]) -> str:
    """Say in which columns a header differs from another."""
    missing = [name for name in expected if name not in names]
    added = [name for name in names if name not in expected]
    if not missing and not added:
        first = next(index for index, name in enumerate(names) if name != expected[index])
        return f"they are in another order, column {first + 1} is {_shown(names[first])}, not {_shown(expected[first])}"
    shown = [
        f"{verb} {', '.join(map(_shown, columns[:20]))}{f' and {len(columns) - 20} more' if len(columns) > 20 else ''}"
        for verb, columns in (("it lacks", missing), ("it adds", added))
        if columns
    ]
    return " and ".join(shown)


def _plan_segments(client: S3Client, event: dict[str, Any], folder: Path) -> list[_Segment]:
    """Take the event's segments, each with the local file that it will have."""
    uri = event.get("segments_s3_uri")
    listed = _read_segments(client, event, folder / "segments.json") if uri else event.get("segments") or [event]
    segments = []
    for index, item in enumerate(listed):
        start, stop = item.get("byte_range") or (0, None)
        data = _ArrivingFile(folder / f"data-{index}.csv")
        segments.append(_Segment(_Source(item["data_s3_uri"], start), stop, item.get("data_etag"), data))
    return segments


def _read_segments(client: S3Client, event: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """Read the list that `segments_s3_uri` names; InvalidRequestError if it is none."""
    s3_uri = event["segments_s3_uri"]

    def require_size(response: dict[str, Any]) -> None:
        if response["ContentLength"] > MAX_SEGMENTS_LIST_BYTES:
            raise InvalidRequestError(
                f"{s3_uri} has {response['ContentLength']} bytes, more than the {MAX_SEGMENTS_LIST_BYTES} of a list of segments"
            )

    _download(client, s3_uri, path, answered=require_size)
    try:
        segments = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # JSON may be nested deeper than Python's stack
        raise InvalidRequestError(f"{s3_uri} is not JSON: it should be a list of segments") from error
    if not isinstance(segments, list) or not segments:
        raise InvalidRequestError(f"{s3_uri} is not a list of segments, or an empty one")
    if len(segments) > MAX_SEGMENTS:
        raise InvalidRequestError(f"{s3_uri} lists {len(segments)} segments, more than {MAX_SEGMENTS}: split the chunk")
    problems = _segment_problems(segments, "")
    problems += _place_problems(
        event, [(f"[{index}].data_s3_uri", _get(item, "data_s3_uri")) for index, item in enumerate(segments)]
    )
    if problems:
        raise InvalidRequestError(f"{s3_uri} is not a list of segments: it has {_listed(problems)}")
    return segments


def _fetch_headers(client: S3Client, segments: list[_Segment]) -> None:
    """Read the headers of objects whose later bytes are scored."""

    def fetch(segment: _Segment) -> None:
        segment.header, segment.etag = _remote_header(client, segment.source.s3_uri, segment.etag)

    with ThreadPoolExecutor(DOWNLOADS_AT_ONCE, "header") as pool:
        for _ in pool.map(fetch, [segment for segment in segments if segment.source.start]):
            pass


def _planned_bytes(segments: list[_Segment]) -> int:
    """Add up what is known of the segments' sizes before S3 is asked."""
    return sum(segment.stop - segment.source.start for segment in segments if segment.stop is not None)


@contextmanager
def _downloading(client: S3Client, segments: list[_Segment], storage: _Storage) -> Iterator[None]:
    """Download in the background, the first segments first; all can be read at once."""

    def download(segment: _Segment, file: _ArrivingFile) -> None:
        def require_room(response: dict[str, Any]) -> None:
            if segment.stop is None:
                storage.take_for_chunk(response["ContentLength"], segment.source.s3_uri)

        error = None
        try:
            segment.object_bytes = _download(
                client,
                segment.source.s3_uri,
                file.path,
                segment.byte_range,
                segment.etag,
                file.arrival,
                answered=require_room,
            )
        except BaseException as caught:  # noqa: BLE001  # raised where it is waited for
            error = caught
        file.arrival.end(error)

    files = [segment.data for segment in segments if isinstance(segment.data, _ArrivingFile)]
    pool = ThreadPoolExecutor(DOWNLOADS_AT_ONCE, "download")
    try:
        for segment, file in zip(segments, files, strict=True):
            pool.submit(download, segment, file)
        yield
    finally:
        for file in files:
            file.arrival.is_wanted = False
        pool.shutdown(cancel_futures=True)


def _local_header(data: Path | _ArrivingFile, s3_uri: str, *, may_be_all: bool = False) -> Header:
    """Read an object's header; `may_be_all` accepts one without a line end, and so without rows."""
    with data.open("rb") as file:
        beginning = b""
        while fresh := file.read(max(HEADER_READ_BYTES, len(beginning))):
            beginning += fresh
            header = _read_header(beginning, s3_uri)
            if header:
                return header
            if len(beginning) > MAX_RECORD_BYTES:
                break
    if not beginning:
        raise InvalidDataError(f"{s3_uri} is empty: it needs a header and at least one row")
    # Only a header without a line end; let the header's own problems speak first.
    header = _read_header(beginning + b"\n", s3_uri)
    if header and may_be_all and len(beginning) <= MAX_RECORD_BYTES:
        return header._replace(line_end=b"")
    raise InvalidDataError(
        f"{s3_uri} has a header and no rows" if header else f"{s3_uri} has no end to its header: is a quote missing?"
    )


def _remote_header(client: S3Client, s3_uri: str, etag: str | None) -> tuple[Header, str]:
    """Read the header of an object whose later bytes are scored, by ranged reads of its beginning; returns its ETag, too."""
    size = HEADER_READ_BYTES
    while size <= MAX_RECORD_BYTES * 2:
        beginning = io.BytesIO()
        found = _read_body(client, s3_uri, beginning, (0, size), etag)
        header = _read_header(beginning.getvalue(), s3_uri)
        if header:
            return header, found.etag
        size, etag = size * 4, found.etag
    raise InvalidDataError(f"{s3_uri} has no end to its header: is a quote missing?")


def _quote_parity(data: Path | _ArrivingFile) -> int:
    quotes = 0
    with data.open("rb") as file:
        while piece := file.read(1 << 20):
            quotes += piece.count(b'"')
    return quotes % 2


# --- features -------------------------------------------------------------------------------------------------------------------


_ARROW_TYPES = {NUMBER: pa.float64(), TEXT: pa.string(), INTEGER: pa.int64(), BOOLEAN: pa.bool_()}


def _parse_columns(
    block: _Block, columns: Sequence[str], kinds: dict[str, str], missing_values: Sequence[str] = MISSING_VALUES
) -> pa.Table:
    """Parse some columns of a block by their kinds; missing values are null.

    Raises pyarrow.ArrowInvalid when a number is not one in pyarrow's spelling, or a row has too many or too few fields.
    """
    names = block.header.names
    records = block.records()
    table = pacsv.read_csv(
        pa.BufferReader(pa.py_buffer(records)),
        read_options=pacsv.ReadOptions(use_threads=False, column_names=names, block_size=len(records) + 1),
        parse_options=pacsv.ParseOptions(newlines_in_values=block.has_quotes, ignore_empty_lines=False),
        convert_options=pacsv.ConvertOptions(
            include_columns=list(columns),
            column_types={column: _ARROW_TYPES[kinds.get(column, TEXT)] for column in columns},
            null_values=list(missing_values),
            true_values=["True", "TRUE", "true"],
            false_values=["False", "FALSE", "false"],
            strings_can_be_null=True,
        ),
    )
    if table.num_rows != block.rows:
        raise pa.ArrowInvalid("row count")
    return table


def _parse_plainly(block: _Block, columns: Sequence[str], kinds: dict[str, str]) -> pa.Table:
    """Parse some columns; where all are numbers, first as if only an empty field were missing: that saves a sixth of the time."""
    if all(kinds[column] == NUMBER for column in columns):
        try:
            return _parse_columns(block, columns, kinds, missing_values=("",))
        except pa.ArrowInvalid:
            pass
    return _parse_columns(block, columns, kinds)


def _parse_features(block: _Block, columns: Sequence[str], kinds: dict[str, str], reject: Reject) -> pa.Table:
    """Parse the feature columns of a block, in the order asked for; `reject` gets the rows with what is not a number."""
    try:
        table = _parse_plainly(block, columns, kinds)
    except pa.ArrowInvalid:
        texts = _parse_text(block, columns)
        arrays = [
            _to_numbers(column, texts[column], reject)
            if kinds[column] == NUMBER
            else texts[column].cast(_ARROW_TYPES[kinds[column]])
            for column in columns
        ]
        table = pa.table(arrays, names=list(columns))
    for column in columns:
        if kinds[column] == NUMBER:
            _check_exact(block, column, table[column], reject)
    return table


def _parse_text(block: _Block, columns: Sequence[str]) -> pa.Table:
    """Parse some columns as text; InvalidDataError names the row where that cannot be done."""
    try:
        return _parse_columns(block, columns, {})
    except pa.ArrowInvalid as error:
        _check_field_counts(block)
        # pyarrow's own words repeat the row.
        raise InvalidDataError(f"{block.at(0)} and the {block.rows - 1} rows after it cannot be read as CSV") from error


def _check_field_counts(block: _Block) -> None:
    expected = len(block.header.names)
    for row in range(block.rows):
        record = block.record(row).decode()
        fields = next(csv.reader(io.StringIO(record, newline=""), strict=True), [""])
        if len(fields) != expected:
            raise InvalidDataError(f"{block.at(row)} has {len(fields)} field(s), the header has {expected}")


class _Reason(NamedTuple):
    """Why a row cannot be scored: for the list of rejected rows, which is as private as the data, and for errors and logs."""

    private: str
    """May hold the row's values."""
    public: str
    """Holds none."""
    counted: str
    """By what rows of the same fault are counted: the public reason without what differs from row to row."""


Reject = Callable[[int, _Reason], None]
"""Takes a row (from 0, in its block) and why it cannot be scored; raises InvalidDataError unless bad rows are quarantined."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_SPELLED_NUMBERS = {"inf": np.inf, "infinity": np.inf, "true": 1.0, "false": 0.0}


def _to_numbers(column: str, texts: pa.ChunkedArray, reject: Reject) -> pa.Array:
    """Read texts as pandas reads numbers: also infinities, booleans and padded ones; each spelling once."""
    encoded = pc.dictionary_encode(texts.combine_chunks())
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    values = [_to_number(text) for text in encoded.dictionary.to_pylist()]
    bad = [position for position, value in enumerate(values) if value is None]
    if bad:
        codes = pc.fill_null(encoded.indices, -1).to_numpy()
        for row in np.flatnonzero(np.isin(codes, bad)):
            text = encoded.dictionary[int(codes[row])].as_py()
            shown, public = (f"{which} is not a number" for which in (_shown(text), f"a text of {len(text)} character(s)"))
            reject(int(row), _Reason(*(f"column {column!r}: {which}" for which in (shown, public, "not a number"))))
    return pc.take(pa.array(values, pa.float64()), encoded.indices)


def _to_number(text: str) -> float | None:
    stripped = text.strip(" \t")
    if _NUMBER.fullmatch(stripped):
        return float(stripped)
    sign = -1.0 if stripped.startswith("-") else 1.0
    value = _SPELLED_NUMBERS.get(stripped.removeprefix("-").removeprefix("+").lower())
    return None if value is None else sign * value


def _check_exact(block: _Block, column: str, numbers: pa.Array | pa.ChunkedArray, reject: Reject) -> None:
    """Reject integers that a float64 cannot hold, which pandas would keep exact and the model would round."""
    values = np.asarray(numbers)  # NaN where a value is missing
    if values.max() < 2**53 and values.min() > -(2**53):
        return
    with np.errstate(invalid="ignore"):
        large = np.abs(values) >= 2**53
    if not large.any():
        return
    texts = _parse_text(block, [column])[column]
    for row in np.flatnonzero(large):
        text = texts[int(row)].as_py().strip()
        if re.fullmatch(r"[+-]?\d+", text, re.ASCII) and not _is_exact(text):
            shown, public = f"{_shown(text)} is an integer", f"an integer of {len(text)} characters is"
            fault = "too large to be exact (2^53)"
            reject(int(row), _Reason(*(f"column {column!r}: {which} {fault}" for which in (shown, public, "an integer"))))


def _is_exact(integer: str) -> bool:
    value = float(integer)
    return math.isfinite(value) and int(value) == int(integer.lstrip("+-0") or "0") * (-1 if integer.startswith("-") else 1)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")


def _infer_kinds(blocks: Iterator[_Block], columns: Sequence[str]) -> dict[str, str]:
    """Decide columns that the model leaves open as pandas does, by all values of the chunk."""
    candidates = {column: [INTEGER, BOOLEAN, NUMBER] for column in columns}
    for block in blocks:
        for column, kinds in candidates.items():
            candidates[column] = [kind for kind in kinds if _fits(block, column, kind)]
        if not any(candidates.values()):
            break
    return {column: next(iter(kinds), TEXT) for column, kinds in candidates.items()}


def _fits(block: _Block, column: str, kind: str) -> bool:
    """Tell whether every value of a column in a block is of a kind; integers and booleans have no way to be missing."""
    try:
        values = _parse_columns(block, [column], {column: kind})[column]
    except pa.ArrowInvalid:
        texts = _parse_text(block, [column])[column]
        return kind == NUMBER and all(_to_number(text) is not None for text in pc.unique(texts.drop_null()).to_pylist())
    return kind == NUMBER or values.null_count == 0


def _to_model_input(table: pa.Table, estimator: Any, kinds: dict[str, str]) -> Any:
    """Shape features as the model was fitted: a DataFrame where it knows names, else an array (n_rows, n_features).

    Without pandas, which a slim package leaves out, scikit-learn gets the Arrow table itself.
    """
    if _has_feature_names(estimator) or TEXT in kinds.values() or not _is_sklearn(estimator):
        if _has_pandas():
            return table.to_pandas()
        if not _is_sklearn(estimator):
            raise ModelError(f"the model, a {type(estimator).__name__}, expects a DataFrame, and this function has no pandas")
        return table
    return np.column_stack([column.to_numpy() for column in table.columns])


@functools.cache
def _has_pandas() -> bool:
    try:
        importlib.import_module("pandas")
    except ImportError:
        return False
    return True


def _has_feature_names(estimator: Any) -> bool:
    return getattr(estimator, "feature_names_in_", None) is not None


# --- predictions ----------------------------------------------------------------------------------------------------------------


def _call_model(estimator: Any, method: str, features: Any) -> np.ndarray[Any, Any]:
    """Call the model once; the result has shape (n_rows,) or (n_rows, n_outputs)."""
    call = getattr(estimator, method, None)
    if call is None:
        raise ModelError(f"the model, a {type(estimator).__name__}, has no {method}: choose another prediction_method")
    predictions = np.asarray(call(features))
    if predictions.ndim not in (1, 2) or len(predictions) != len(features):
        raise ModelError(f"the model's {method} gave an array of shape {predictions.shape} for {len(features)} rows")
    return predictions[:, 0] if predictions.ndim == 2 and predictions.shape[1] == 1 and method == "predict" else predictions


def _predict_rows(
    estimator: Any, method: str, features: Any, missing: np.ndarray[Any, Any], reject: Reject, takes_rows: Callable[[], bool]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
    """Call the model, and find by bisection the rows that it refuses.

    `missing`, of shape (n_rows, n_features) as `_missing` has it, tells which rows lack the same values: they are refused for the
    same reason.
    Where all are refused, and lack nothing, `takes_rows` tells whether their values are the reason, or a model that does not fit.
    Returns the predictions of the accepted rows and their positions, in order; None instead of a prediction if none is.
    """
    reasons: dict[int, _Reason] = {}
    accepted: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []

    def solve(rows: np.ndarray[Any, Any]) -> None:
        try:
            accepted.append((rows, _call_model(estimator, method, _take(features, rows))))
        except ModelError:
            raise
        except Exception as error:  # noqa: BLE001  # models raise what they like
            if len(rows) == 1 or _lack_the_same(functools.partial(_call_model, estimator, method), features, missing, rows):
                for row in rows.tolist():
                    reasons[row] = _reason_of(error)
            else:
                middle = len(rows) // 2
                solve(rows[:middle])
                solve(rows[middle:])

    solve(np.lexsort(missing.T))  # stable: rows that miss the same values stand together, otherwise in their order
    if not accepted and not missing.any() and not takes_rows():
        reason = _misfit(estimator, features) or next(iter(reasons.values())).public
        hint = "" if _has_pandas() else " (this function has no pandas; a step that works on DataFrames needs it)"
        raise ModelError(f"the model, a {type(estimator).__name__}, does not fit the feature columns: {reason}{hint}")
    for row in sorted(reasons):
        reject(row, reasons[row])
    if not accepted:
        return np.empty(0, np.intp), None
    rows = np.concatenate([piece for piece, _ in accepted])
    order = np.argsort(rows)
    return rows[order], np.concatenate([predictions for _, predictions in accepted])[order]


NO_VALUE, POSITIVE_INFINITY, NEGATIVE_INFINITY = 1, 2, 3


def _missing(column: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.int8]]:
    """Tell which values of a feature are none, or infinite, which models refuse as they refuse missing ones; 0 for all others."""
    codes = np.asarray(column.is_null()).astype(np.int8)
    if pa.types.is_floating(column.type):
        values = np.asarray(column)
        codes[np.isposinf(values)] = POSITIVE_INFINITY
        codes[np.isneginf(values)] = NEGATIVE_INFINITY
    return codes


def _lack_the_same(call: Callable[[Any], object], features: Any, missing: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> bool:
    """Tell whether all rows are refused for the same missing values: one is, and all are fine once these are filled in."""
    if not missing[rows[0]].any() or (missing[rows] != missing[rows[0]]).any():
        return False
    return _refuses(call, _take(features, rows[:1])) and not _refuses(call, _filled(_take(features, rows)))


def _refuses(call: Callable[[Any], object], features: Any) -> bool:
    try:
        call(features)
    except Exception:  # noqa: BLE001  # models raise what they like
        return True
    return False


def _take(features: Any, rows: np.ndarray[Any, Any]) -> Any:
    if hasattr(features, "iloc"):
        return features.iloc[rows]
    return features.take(rows) if isinstance(features, pa.Table) else features[rows]


def _filled(features: Any) -> Any:
    """Put 0 or an empty text in the place of every missing or infinite value."""
    if hasattr(features, "fillna"):
        filled = features.fillna({name: 0 if features[name].dtype.kind in "fiub" else "" for name in features.columns})
        return filled.replace([np.inf, -np.inf], 0.0)
    if isinstance(features, pa.Table):
        columns = [pc.fill_null(column, "" if pa.types.is_string(column.type) else 0) for column in features.columns]
        columns = [pc.if_else(pc.is_inf(c), 0.0, c) if pa.types.is_floating(c.type) else c for c in columns]
        return pa.table(columns, names=features.column_names)
    return np.where(np.isfinite(features), features, 0.0)


def _misfit(estimator: Any, features: Any) -> str | None:
    """Say how the columns differ from those that the model was fitted on, if it tells them."""
    given = list(getattr(features, "column_names", getattr(features, "columns", ())))
    fitted = list(getattr(estimator, "feature_names_in_", ()))
    if given and fitted and given != fitted:
        return f"it was fitted on {', '.join(map(str, fitted))} in this order, feature_columns gives {', '.join(given)}"
    expected = getattr(estimator, "n_features_in_", None)
    if expected not in (None, features.shape[1]):
        return f"it was fitted on {expected} features, feature_columns gives {features.shape[1]}"
    return None


def _reason_of(error: Exception) -> _Reason:
    """Take a model's own words; in public only those before the first that may be a value: quoted, in brackets, or a number."""
    text = _brief(error)
    words = re.split(r"""['"\[({:]|(?<!\w)[+-]?\.?\d""", text, maxsplit=1)[0].strip()
    public = words or type(error).__name__
    return _Reason(text, public, public)


def _brief(error: Exception) -> str:
    """Reduce a library's message to the sentences that fit a line."""
    text = " ".join(str(error).split()) or type(error).__name__
    if len(text) <= 200:
        return text
    sentences = text[:200].rpartition(". ")[0]
    return f"{sentences}." if sentences else f"{text[:200]}…"


def _output_columns(name: str, estimator: Any, n_outputs: int | None) -> list[str]:
    """Name the prediction columns: one, or `<name>_<class>` for several outputs (None: the model gave a flat array)."""
    if n_outputs is None:
        return [name]
    labels = getattr(estimator, "classes_", None)
    if labels is None or len(labels) != n_outputs:
        labels = range(n_outputs)
    return [f"{name}_{label}" for label in labels]


def _format_column(values: np.ndarray[Any, Any]) -> pa.Array:
    """Print predictions, each after its comma: floats in the shortest form that reads back, text quoted where it must be."""
    if values.dtype.kind == "f":
        values = values.astype(np.float64, copy=False)
        if not np.isfinite(values).all():
            return pa.array([b"," + (orjson.dumps(v) if np.isfinite(v) else str(v).encode()) for v in values.tolist()], pa.binary())
    if values.dtype.kind not in "fiu":
        labels, inverse = np.unique([str(value) for value in values.tolist()], return_inverse=True)
        return pc.take(pa.array([f",{_quoted(label)}".encode() for label in labels.tolist()], pa.binary()), pa.array(inverse))
    text = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY).replace(b"[", b",", 1)
    commas = np.flatnonzero(np.frombuffer(text, np.uint8) == ord(","))
    offsets = np.append(commas, len(text) - 1).astype(np.int32)
    return pa.Array.from_buffers(pa.binary(), len(values), [None, pa.py_buffer(offsets), pa.py_buffer(text)])


def _quoted(text: str) -> str:
    if not text.isascii() and not _is_encodable(text):
        raise ModelError("the model predicts half a surrogate pair, a text that UTF-8 cannot hold: change its classes")
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if re.search(r'[",\r\n]', text) else text


def _append_predictions(block: _Block, columns: list[pa.Array]) -> memoryview:
    """Join each record with its printed predictions; line ends stand before the records."""
    records = pa.Array.from_buffers(pa.binary(), block.rows, [None, pa.py_buffer(block.offsets), pa.py_buffer(block.data)])
    joined = pc.binary_join_element_wise(records, *columns, pa.scalar(b"", pa.binary()))
    _, offsets, data = joined.buffers()
    edges = np.frombuffer(offsets, np.int32)[joined.offset : joined.offset + len(joined) + 1]
    return memoryview(data)[int(edges[0]) : int(edges[-1])]


def _spread(column: pa.Array, rows: np.ndarray[Any, Any], n_rows: int) -> pa.Array:
    """Put printed predictions in their rows' places, and an empty prediction in all others."""
    places = np.full(n_rows, -1, np.int64)
    places[rows] = np.arange(len(rows))
    return pc.fill_null(pc.take(column, pa.array(places, mask=places < 0)), b",")


# --- statistics -----------------------------------------------------------------------------------------------------------------

MAX_STATISTICS_COLUMNS = 200
"""Features, and predictions, that have statistics: the first ones. With 200 features a receipt has some 100 kB."""
MAX_CLASSES, MAX_REASONS = 100, 50
"""Labels of a prediction, and reasons of rejected rows, that are counted by name."""
OTHER = "other"
HASHES = 64
"""Numbers that texts are counted by: enough to see that a column has changed, too few to say what it holds."""

HISTOGRAM_SCALE, HISTOGRAM_BUCKETS = 5, 80
"""The finest scale, at which a bucket is 2.2 % wide, and the most buckets between the smallest and the largest magnitude."""
_MAX_SHIFT = 6
"""Scales that are coarser than the finest: 80 buckets of the last one hold all magnitudes."""
_ZERO_EXPONENT = -60
"""Magnitudes of up to 2^-60 count as zero, from about 2^64 on as infinite. At the finest scale, 2^6 divides its bucket's number."""
_CELLS = 1 << 16
"""Of which buckets are made: the upper 16 bits of a number's square as float32, whose mantissa has 7 of them."""
_KEPT_BLOCKS = 16
"""Blocks that are counted at once, of which 2 bytes a number are kept: there are more cells than a block has rows."""


class _Numbers(NamedTuple):
    """Some columns of numbers of one block, an element or a row each."""

    rows: int
    missing: np.ndarray[Any, np.dtype[np.int64]]
    infinite: np.ndarray[Any, np.dtype[np.int64]]
    total: np.ndarray[Any, np.dtype[np.float64]]
    squares: np.ndarray[Any, np.dtype[np.float64]]
    cells: np.ndarray[Any, np.dtype[np.uint16]]
    """Shape (n_columns, rows); zero where there is no number, or an infinite one."""


def _measure_numbers(columns: Sequence[pa.ChunkedArray | np.ndarray[Any, Any]]) -> _Numbers:
    """Measure columns of one block, of equal length and not empty.

    Logarithms would cost several times as much; the bits of a float are nearly its logarithm, and the same on every processor.
    """
    rows = len(columns[0])
    missing, infinite = np.zeros((2, len(columns)), np.int64)
    total, squares = np.zeros((2, len(columns)))
    cells = np.empty((len(columns), rows), np.uint16)
    single = np.empty(rows, np.float32)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for index, column in enumerate(columns):
            values, missing[index] = _plain_numbers(column)
            total[index], squares[index] = values.sum(), np.dot(values, values)
            single[:] = values
            if not squares[index] < 2.0**126:  # also NaN
                missing[index] += np.isnan(values).sum()
                infinite[index] = np.isinf(single * single).sum()
                single[~np.isfinite(single * single)] = 0.0
                values = np.where(np.isfinite(values), values, 0.0)
                total[index], squares[index] = values.sum(), np.dot(values, values)
            square = np.abs(single)
            square *= single  # keeps the sign
            bits = square.view(np.uint32)
            bits -= 1  # so that a bucket's upper edge is in it; zero becomes the last cell of either sign
            bits >>= 16
            cells[index] = bits
    return _Numbers(rows, missing, infinite, total, squares, cells)


def _plain_numbers(column: pa.ChunkedArray | np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, np.dtype[np.float64]], int]:
    """Return a column as float64, zeros in place of missing values, and how many these are."""
    if isinstance(column, np.ndarray):
        return column.astype(np.float64, copy=False), 0
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    missing = column.null_count
    return (pc.fill_null(column, 0) if missing else column).to_numpy().astype(np.float64, copy=False), missing


class _NumberSums:
    """Statistics of columns of numbers, added up block by block."""

    def __init__(self) -> None:
        self._waiting: list[_Numbers] = []
        self._rows = 0
        self._sums: dict[str, np.ndarray[Any, Any]] = {}
        self._counts: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []
        """Of each column, the cells that are not empty, and their counts."""

    def add(self, numbers: _Numbers) -> None:
        self._waiting.append(numbers)
        if len(self._waiting) == _KEPT_BLOCKS:
            self._count()

    def _count(self) -> None:
        waiting, self._waiting = self._waiting, []
        with np.errstate(over="ignore", invalid="ignore"):
            for name in ("missing", "infinite", "total", "squares"):
                self._sums[name] = np.sum([getattr(numbers, name) for numbers in waiting], axis=0) + self._sums.get(name, 0)
        rows = sum(numbers.rows for numbers in waiting)
        self._rows += rows
        wide = np.empty(rows, np.int64)  # as bincount wants them: fresh memory for every column would cost as much as counting
        for index in range(len(waiting[0].cells)):
            np.concatenate([numbers.cells[index] for numbers in waiting], out=wide)
            counts = np.bincount(wide, minlength=_CELLS)
            if index < len(self._counts):
                cells, before = self._counts[index]
                counts[cells] += before
            found = np.flatnonzero(counts != 0)
            self._counts[index : index + 1] = [(found, counts[found])]

    def result(self) -> list[dict[str, Any]]:
        """Write each column's statistics as `contract.NumberValues`."""
        if self._waiting:
            self._count()
        return [
            {
                "kind": NUMBER,
                "rows": self._rows,
                "missing": int(self._sums["missing"][index]),
                "sum": _finite_or_none(self._sums["total"][index]),
                "sum_of_squares": _finite_or_none(self._sums["squares"][index]),
                "histogram": _histogram(cells, counts, *(int(self._sums[name][index]) for name in ("missing", "infinite"))),
            }
            for index, (cells, counts) in enumerate(self._counts)
        ]


def _histogram(cells: np.ndarray[Any, Any], counts: np.ndarray[Any, Any], missing: int, infinite: int) -> dict[str, Any]:
    """Sort cells into the buckets of an exponential histogram, of the finest scale at which they fit."""
    octave = 2 ** (HISTOGRAM_SCALE - 1)  # buckets of a power of two of the square
    edges = np.round(np.exp2(np.arange(octave) / octave) * 128) - 128
    exponents = ((cells >> 7) & 255) - 127
    buckets = exponents * octave + np.searchsorted(edges, cells & 127, side="right") - 1
    is_zero = (exponents == 128) | (buckets < 2 * _ZERO_EXPONENT * octave)
    filled = buckets[~is_zero]
    shift = 0
    while len(filled) and (filled.max() >> shift) - (filled.min() >> shift) >= HISTOGRAM_BUCKETS:
        shift += 1

    def side(chosen: np.ndarray[Any, Any]) -> dict[str, Any]:
        chosen &= ~is_zero
        if not chosen.any():
            return {"offset": 0, "counts": []}
        places = buckets[chosen] >> shift
        summed = np.bincount(places - places.min(), counts[chosen])
        return {"offset": int(places.min()), "counts": summed.astype(np.int64).tolist()}

    return {
        "scale": HISTOGRAM_SCALE - shift,
        "zero": int(counts[is_zero].sum()) - missing - infinite,  # as which they are counted
        "positive": side(cells < _CELLS // 2),
        "negative": side(cells >= _CELLS // 2),
        "infinite": infinite,
    }


def _finite_or_none(value: float) -> float | None:
    """JSON has no infinity."""
    return float(value) if math.isfinite(value) else None


class _Counted(NamedTuple):
    """Values of one column that are no numbers: texts by their hash, or labels by themselves."""

    rows: int
    missing: int
    counts: Counter[Any]


def _count_texts(column: pa.ChunkedArray) -> _Counted:
    counts: Counter[Any] = Counter()
    for text, count in _distinct(column.drop_null()):
        counts[zlib.crc32(text.encode()) % HASHES] += count
    return _Counted(len(column), column.null_count, counts)


def _distinct(column: pa.Array | pa.ChunkedArray) -> Iterator[tuple[Any, int]]:
    counted = pc.value_counts(column)
    return zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)


def _count_labels(values: np.ndarray[Any, Any]) -> _Counted:
    """Count predictions by their label, as it is printed."""
    if values.dtype.kind in "biuf":
        found = _distinct(pa.array(values))
        counts = Counter({None if isinstance(label, float) and math.isnan(label) else str(label): count for label, count in found})
    else:
        counts = Counter(None if label is None or label != label else str(label) for label in values.tolist())  # noqa: PLR0124  # NaN
    return _Counted(len(values), counts.pop(None, 0), counts)


def _are_numbers(predictions: np.ndarray[Any, Any]) -> bool:
    """Tell numbers from labels; also in an array of objects, as models make them that keep their features' frame."""
    if predictions.dtype.kind != "O":
        return predictions.dtype.kind in "fiub"
    return all(isinstance(value, (int, float, np.number, np.bool_)) and _fits_a_float(value) for value in predictions.flat)


def _fits_a_float(value: Any) -> bool:
    """Tell whether a number has a float: Python's integers have no end."""
    try:
        float(value)
    except OverflowError:
        return False
    return True


class _BlockStatistics(NamedTuple):
    """Of the rows of a block that were scored; by column, and of all numbers together."""

    feature_numbers: _Numbers | None
    feature_texts: dict[str, _Counted]
    prediction_numbers: _Numbers | None
    prediction_classes: dict[str, _Counted]
    reasons: Counter[str]
    """Of the rows that were not scored."""


def _count_features(table: pa.Table, columns: Sequence[str], kinds: dict[str, str]) -> _BlockStatistics:
    """Count the features of some rows, of which there is at least one; the rest of the statistics is empty."""
    columns = columns[:MAX_STATISTICS_COLUMNS]
    numbers = [table[column] for column in columns if kinds[column] != TEXT]
    texts = {column: _count_texts(table[column]) for column in columns if kinds[column] == TEXT}
    return _BlockStatistics(_measure_numbers(numbers) if numbers else None, texts, None, {}, Counter())


class _Statistics:
    """Of a chunk, added up block by block; takes as much memory for one block as for thousands."""

    def __init__(self, columns: Sequence[str], kinds: dict[str, str]) -> None:
        self._columns = columns
        self._kinds = kinds
        self._predictions: list[str] = []
        self._numbers = {"features": _NumberSums(), "predictions": _NumberSums()}
        self._counted: dict[str, dict[str, _Counted]] = {"features": {}, "predictions": {}}
        self._reasons: Counter[str] = Counter()

    def add(self, predictions: list[str], block: _BlockStatistics) -> None:
        """Add a block, whose predictions have these names."""
        self._predictions = predictions
        for group, numbers, counted in (
            ("features", block.feature_numbers, block.feature_texts),
            ("predictions", block.prediction_numbers, block.prediction_classes),
        ):
            if numbers:
                self._numbers[group].add(numbers)
            for name, found in counted.items():
                before = self._counted[group].get(name, _Counted(0, 0, Counter()))
                counts = before.counts + found.counts if group == "features" else _added(before.counts, found.counts, MAX_CLASSES)
                self._counted[group][name] = _Counted(before.rows + found.rows, before.missing + found.missing, counts)
        self._reasons = _added(self._reasons, block.reasons, MAX_REASONS)

    def result(self) -> dict[str, Any]:
        """Return the statistics as `contract.Statistics` describes them."""
        columns = self._columns[:MAX_STATISTICS_COLUMNS]
        numbers = [column for column in columns if self._kinds[column] != TEXT]
        features = self._of("features", numbers)
        return {
            "predictions": self._of("predictions", self._predictions[:MAX_STATISTICS_COLUMNS]),
            "predictions_left_out": max(len(self._predictions) - MAX_STATISTICS_COLUMNS, 0),
            "features": {column: features[column] for column in columns if column in features},
            "features_left_out": len(self._columns) - len(columns),
            "rejected_reasons": {reason or OTHER: count for reason, count in self._reasons.items()},
        }

    def _of(self, group: str, numbers: list[str]) -> dict[str, Any]:
        values = dict(zip(numbers, self._numbers[group].result(), strict=False))
        for name, (rows, missing, counts) in self._counted[group].items():
            known = {"rows": rows, "missing": missing}
            if group == "features":
                values[name] = {"kind": TEXT, **known, "hashed": [counts[index] for index in range(HASHES)]}
            else:
                other = counts[None]
                labels = {label: count for label, count in sorted(counts.items(), key=str) if label is not None}
                values[name] = {"kind": "class", **known, "classes": labels, "other_classes": other}
        return values


def _added(counts: Counter[Any], more: Counter[Any], most: int) -> Counter[Any]:
    """Add up counts by name, but of at most so many names; what has no place is counted under None."""
    added = counts.copy()
    for name, count in more.items():
        known = name in added or len(added.keys() - {None}) < most
        added[name if known else None] += count
    return added


# --- one chunk ------------------------------------------------------------------------------------------------------------------


@dataclass
class _Stopwatch:
    """Milliseconds by stage."""

    milliseconds: dict[str, float] = field(default_factory=dict)
    _started: float = field(default_factory=time.perf_counter)

    def stop(self) -> dict[str, float]:
        """Return the stages and their `total`: all the time since the start, and the init before it."""
        total = (time.perf_counter() - self._started) * 1000 + self.milliseconds.get("init", 0.0)
        return {**self.milliseconds, "total": round(total, 3)}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = (time.perf_counter() - started) * 1000
            self.milliseconds[name] = round(self.milliseconds.get(name, 0.0) + spent, 3)


class _Rejected(NamedTuple):
    """A row that keeps its place with an empty prediction."""

    place: _Place
    reason: str


class _Scored(NamedTuple):
    """What becomes of a block."""

    rows: int
    names: list[str]
    """Of the prediction columns."""
    joined: memoryview
    """The block's share of the output: line ends stand before the records."""
    rejected: list[_Rejected]
    statistics: _BlockStatistics


@dataclass(frozen=True)
class _Scorer:
    """Scores blocks with one model, for one request."""

    estimator: Any
    columns: list[str]
    kinds: dict[str, str]
    name: str
    method: str
    quarantine: bool
    is_probed: bool
    """Whether the model has predicted rows of this data before: Probe Model comes before every planned chunk."""

    def score(self, block: _Block) -> _Scored:
        """Score a block; InvalidDataError names the first row that cannot be scored, unless such rows are quarantined."""
        reasons: dict[int, _Reason] = {}

        def reject(row: int, reason: _Reason) -> None:
            if not self.quarantine:
                raise InvalidDataError(f"{block.at(row)}, {reason.public}")
            reasons.setdefault(row, reason)

        table = _parse_features(block, self.columns, self.kinds, reject)
        rows = np.delete(np.arange(block.rows), list(reasons))
        rows, predictions = self._predict(table if not reasons else table.take(rows), rows, reject)
        n_outputs = self._default_outputs() if predictions is None else predictions.shape[1] if predictions.ndim == 2 else None
        names = _output_columns(self.name, self.estimator, n_outputs)
        if predictions is None:
            columns = [pa.array([b","] * block.rows, pa.binary())] * len(names)
        else:
            columns = [_format_column(values) for values in ([predictions] if n_outputs is None else predictions.T)]
            if len(rows) < block.rows:
                columns = [_spread(column, rows, block.rows) for column in columns]
        rejected = [_Rejected(block.at(row), reasons[row].private) for row in sorted(reasons)]
        statistics = self._statistics(table if len(rows) == block.rows else table.take(rows), predictions, names, reasons.values())
        return _Scored(block.rows, names, _append_predictions(block, columns), rejected, statistics)

    def _statistics(
        self, table: pa.Table, predictions: np.ndarray[Any, Any] | None, names: list[str], reasons: Iterable[_Reason]
    ) -> _BlockStatistics:
        """Count the features and predictions of the rows that were scored, and the reasons of the others."""
        rejected = Counter(reason.counted for reason in reasons)
        if predictions is None:
            return _BlockStatistics(None, {}, None, {}, rejected)
        features = _count_features(table, self.columns, self.kinds)
        predicted = list(predictions.reshape(len(predictions), -1).T[:MAX_STATISTICS_COLUMNS])
        if not predicted:  # a model may give no outputs
            return features._replace(reasons=rejected)
        if not _are_numbers(predictions) or (self.method == "predict" and self._is_classifier()):
            labels = {name: _count_labels(values) for name, values in zip(names, predicted, strict=False)}
            return features._replace(prediction_classes=labels, reasons=rejected)
        return features._replace(prediction_numbers=_measure_numbers(predicted), reasons=rejected)

    def _is_classifier(self) -> bool:
        return getattr(self.estimator, "classes_", None) is not None

    def _predict(
        self, table: pa.Table, rows: np.ndarray[Any, Any], reject: Reject
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
        """Predict the rows (their numbers in the block) of a table; returns those that the model accepts, and the predictions."""
        if not len(rows):
            return rows, None
        features = _to_model_input(table, self.estimator, self.kinds)
        try:
            return rows, _call_model(self.estimator, self.method, features)
        except ModelError:
            raise
        except Exception:  # noqa: BLE001  # models raise what they like
            missing = np.column_stack([_missing(column) for column in table.columns])

        def refuse(row: int, reason: _Reason) -> None:
            names = [repr(self.columns[i]) for i in np.flatnonzero(missing[row] == NO_VALUE)[:5]]
            where = f"no value in {', '.join(names)}: " if names else ""
            reject(int(rows[row]), _Reason(*(f"{where}the model refuses this row: {text}" for text in reason)))

        accepted, predictions = _predict_rows(self.estimator, self.method, features, missing, refuse, self._takes_rows)
        return rows[accepted], predictions

    def default_names(self) -> list[str]:
        """Name the prediction columns of a chunk without rows."""
        return _output_columns(self.name, self.estimator, self._default_outputs())

    def _takes_rows(self) -> bool:
        """Tell whether the model takes rows of these columns: one bad row alone must not look like a model that does not fit."""
        return self.is_probed or not _refuses(functools.partial(_call_model, self.estimator, self.method), self._plain_row())

    def _plain_row(self) -> Any:
        """Return one row of zeros and empty texts."""
        row = pa.table({name: pa.array(["" if self.kinds[name] == TEXT else 0.0]) for name in self.columns})
        return _to_model_input(row, self.estimator, self.kinds)

    def _default_outputs(self) -> int | None:
        """Tell how many outputs the model has where no row of a block says it."""
        try:
            predictions = _call_model(self.estimator, self.method, self._plain_row())
        except Exception:  # noqa: BLE001  # it refuses that one, too
            return None if self.method == "predict" else len(getattr(self.estimator, "classes_", ())) or None
        return predictions.shape[1] if predictions.ndim == 2 else None


def _make_scorer(
    model: _Model, event: dict[str, Any], s3_uri: str, header: Header, blocks: Callable[[], Iterator[_Block]]
) -> _Scorer:
    """Check the request's columns against the data's, and decide how each is read."""
    columns, name = event["feature_columns"], event["prediction_column_name"]
    missing = [column for column in columns if column not in header.names]
    if missing:
        known = ", ".join(map(repr, header.names[:50]))
        raise InvalidRequestError(f"{s3_uri} has no column {', '.join(map(repr, missing))}; it has {known}")
    if name in header.names:
        raise InvalidRequestError(f"{s3_uri} has a column {name!r} already: choose another prediction_column_name")
    kinds = _column_kinds(model.estimator, columns)
    undecided = [column for column in columns if column not in kinds]
    if undecided:
        kinds |= _infer_kinds(blocks(), undecided)
    method, on_bad_row = event.get("prediction_method") or "predict", event.get("on_bad_row") or "fail"
    is_probed = event.get("chunk_index") is not None
    return _Scorer(model.estimator, columns, kinds, name, method, quarantine=on_bad_row == "quarantine", is_probed=is_probed)


def predict_chunk(client: S3Client, event: dict[str, Any]) -> dict[str, Any]:
    """Score one chunk: write its part, then its receipt, and return the receipt (`contract.Receipt`).

    Raises a PredictionError; nothing is written then. Memory does not grow with the chunk, /tmp holds the chunk and its part.
    The stages overlap: `download` ends when the last byte has come, `predict` waits for what it needs.
    """
    started = time.time_ns() // 1_000_000
    watch = _Stopwatch({} if _model_cache else {"init": INIT_MILLISECONDS})  # a container without a model is new
    with _temporary_directory() as folder:
        part = Path(folder, "part.csv")
        storage = _Storage(folder)
        with watch.stage("header"):
            chunk = _Chunk(_plan_segments(client, event, Path(folder)), is_group=not event.get("data_s3_uri"))
            storage.take_for_chunk(_planned_bytes(chunk.segments), chunk.s3_uri)
            _fetch_headers(client, chunk.segments)
        with _downloading(client, chunk.segments, storage):
            with watch.stage("model"):
                model = _cached_model(client, event, storage)
            try:
                with watch.stage("predict"):
                    facts = _predict_file(chunk, part, model, event)
            except InvalidDataError as error:
                if cut := chunk.cut_segment():
                    message = f"{cut.source.s3_uri} bytes=[{cut.source.start}, {cut.stop}) cut a quoted field: {error}"
                    raise UnsafeSplitError(message) from error
                raise
        output_bytes = part.stat().st_size
        with watch.stage("upload"):
            upload_to_s3(client, part, event["output_s3_uri"])
            if _rejected_path(part).exists():
                upload_to_s3(client, _rejected_path(part), f"{event['output_s3_uri']}.rejected.csv")
    named = (
        {"segments_s3_uri": event.get("segments_s3_uri")}
        if chunk.is_group
        else {"data_s3_uri": chunk.s3_uri, "byte_range": chunk.segments[0].byte_range or [0, facts.read.bytes]}
    )
    receipt = {
        "chunk_index": event.get("chunk_index"),
        **named,
        "objects": len(chunk.segments),
        "rows_read": facts.read.rows,
        "rows_written": facts.rows,
        "rejected_rows": facts.rejected_rows,
        "input_bytes": facts.read.bytes,
        "output_s3_uri": event["output_s3_uri"],
        "output_bytes": output_bytes,
        "header_bytes": facts.header_bytes,
        "layout_sha256": _layout_sha256(chunk.header),
        "quote_parity": facts.read.quotes % 2,
        "started": started,
        "milliseconds": watch.stop(),
        "memory_mb": _memory_mb(),
        "model": model.facts,
    }
    if event.get("receipt_s3_uri"):
        receipt["output_etag"] = _etag(client, event["output_s3_uri"])
        quarantined = event.get("on_bad_row") == "quarantine"
        receipt["rejected_etag"] = _etag(client, f"{event['output_s3_uri']}.rejected.csv") if quarantined else None
        # Not in what is returned: a state's result may have 256 KiB.
        _put_json(client, event["receipt_s3_uri"], {**receipt, "statistics": facts.statistics})
    # `rows` for those who invoke it directly.
    return {"rows": facts.rows, **receipt}


def _etag(client: S3Client, s3_uri: str) -> str:
    bucket, key = parse_s3_uri(s3_uri)
    with _s3_errors(s3_uri):
        return client.head_object(Bucket=bucket, Key=key)["ETag"]


def _memory_mb() -> int | None:
    """Memory of the function, as Lambda says it; None elsewhere."""
    memory = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
    return int(memory) if memory.isdecimal() else None


class _PartFacts(NamedTuple):
    """What a part holds, and what was read for it."""

    read: _Tally
    rows: int
    """Written."""
    header_bytes: int
    rejected_rows: int
    statistics: dict[str, Any]
    """As `contract.Statistics`."""


def _predict_file(chunk: _Chunk, part: Path, model: _Model, event: dict[str, Any]) -> _PartFacts:
    """Score a local chunk into a local part, and its rejected rows into `<part>.rejected.csv` if they are quarantined."""
    read, header = _Tally(), chunk.header
    scorer = _make_scorer(model, event, chunk.s3_uri, header, lambda: chunk.blocks(BLOCK_BYTES))
    statistics = _Statistics(scorer.columns, scorer.kinds)
    names: list[str] = []
    rows = header_bytes = rejected_rows = 0
    with part.open("wb") as output, _RejectedFile(part, header, is_open=scorer.quarantine) as rejected:

        def write_header() -> int:
            _check_new_names(names, chunk.s3_uri, header)
            return output.write(header.raw + "".join(f",{_quoted(name)}" for name in names).encode())

        # An object of somebody's own may not stand two threads at once.
        workers = (os.cpu_count() or 1) if _is_sklearn(scorer.estimator) else 1
        for scored in _map_blocks(scorer.score, chunk.blocks(_block_bytes(scorer.estimator, chunk), read), workers):
            if not rows:
                names = scored.names
                header_bytes = write_header()
            elif scored.names != names:
                raise ModelError(f"the model gave the outputs {names} for some rows and {scored.names} for others")
            output.write(scored.joined)
            rejected.write(scored.rejected)
            statistics.add(names, scored.statistics)
            rows += scored.rows
            rejected_rows += len(scored.rejected)
        if not rows:
            if not chunk.is_group:
                raise InvalidDataError(f"{chunk.s3_uri} has a header and no rows")
            names = scorer.default_names()
            header_bytes = write_header()
        output.write(header.line_end)
    return _PartFacts(read, rows, header_bytes + len(header.line_end), rejected_rows, statistics.result())


def _block_bytes(estimator: Any, chunk: _Chunk) -> int:
    """Bytes of input to score at once: more where rows are long and the model pays for each call."""
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    if not hasattr(last, "estimators_"):  # forests and their like; histogram boosting is as fast with 8,000 rows as with 64,000
        return BLOCK_BYTES
    sample = b""
    for segment in chunk.segments:
        if len(sample) < HEADER_READ_BYTES:
            with segment.data.open("rb") as file:
                sample += file.read(HEADER_READ_BYTES - len(sample))
    row_bytes = len(sample) // max(sample.count(b"\n"), 1)
    return max(BLOCK_BYTES, min(row_bytes * FOREST_BLOCK_ROWS, FOREST_BLOCK_BYTES))


class _RejectedFile:
    """The list of rejected rows beside a part: `<part>.rejected.csv`, a header and a line for each."""

    def __init__(self, part: Path, header: Header, *, is_open: bool) -> None:
        self._file = _rejected_path(part).open("w", newline="", encoding="utf-8") if is_open else None
        self._writer = csv.writer(self._file, lineterminator=header.line_end.decode()) if self._file else None

    def __enter__(self) -> Self:
        self.writerow("data_s3_uri", "row", "byte", "reason")
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def write(self, rejected: list[_Rejected]) -> None:
        for item in rejected:
            self.writerow(item.place.source.s3_uri, item.place.row + 1, item.place.byte, item.reason)

    def writerow(self, *fields: object) -> None:
        if self._writer:
            self._writer.writerow(fields)


def _layout_sha256(header: Header) -> str:
    """Equal for all parts that may be merged under one header."""
    return hashlib.sha256(json.dumps([header.names, header.line_end.decode()]).encode()).hexdigest()


def _rejected_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.rejected.csv")


def _check_new_names(names: list[str], s3_uri: str, header: Header) -> None:
    taken = [name for name in names if name in header.names]
    if taken:
        raise InvalidRequestError(f"{s3_uri} has columns {taken} already: choose another prediction_column_name")


def _map_blocks(function: Callable[[_Block], _Scored], blocks: Iterator[_Block], workers: int) -> Iterator[_Scored]:
    """Apply a function to blocks, in order, `workers` at a time; at most workers + 1 are held in memory."""
    with ThreadPoolExecutor(workers, initializer=_limit_threads) as pool:
        pending: deque[Future[_Scored]] = deque()
        try:
            for block in blocks:
                pending.append(pool.submit(function, block))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _limit_threads() -> None:
    """One BLAS and OpenMP thread for each worker; OpenMP keeps its limit per thread, so each worker sets its own."""
    import threadpoolctl  # noqa: PLC0415  # comes with scikit-learn; a model of another kind does without

    threadpoolctl.threadpool_limits(1)


def probe_model(client: S3Client, event: dict[str, Any]) -> dict[str, Any]:
    """Score the first `probe_rows` rows and write nothing; returns `contract.Probe`.

    What is wrong with the model or its columns is known here in seconds, not after thousands of chunks.
    """
    model = _cached_model(client, event)
    s3_uri, wanted = event["data_s3_uri"], event["probe_rows"]
    size = BLOCK_BYTES
    while True:
        sink = io.BytesIO()
        try:
            found = _read_body(client, s3_uri, sink, (0, size), event.get("data_etag"))
        except InputChangedError as error:
            if "InvalidRange" not in str(error.__cause__):  # an object has a first byte unless it is empty
                raise
            raise InvalidDataError(f"{s3_uri} is empty: it needs a header and at least one row") from error
        beginning = sink.getvalue()
        block = _first_block(beginning, s3_uri, wanted, is_whole=len(beginning) == found.object_bytes)
        if block or size > MAX_RECORD_BYTES:
            break
        size *= 4
    if block is None:
        raise InvalidDataError(f"{s3_uri} row 1 has more than {MAX_RECORD_BYTES} bytes; is a quote missing?")
    scorer = _make_scorer(model, event, s3_uri, block.header, lambda: iter([block]))
    started = time.perf_counter()
    scored = scorer.score(block)
    seconds = time.perf_counter() - started
    _check_new_names(scored.names, s3_uri, block.header)
    return {
        "rows": block.rows,
        "row_bytes": round(int(block.offsets[-1]) / block.rows, 1),
        "rows_per_second": round(block.rows / max(seconds, 1e-6), 1),
        "prediction_columns": scored.names,
        "model": model.facts,
    }


def _first_block(beginning: bytes, s3_uri: str, rows: int, *, is_whole: bool) -> _Block | None:
    """Take the first rows out of an object's first bytes; None where not one row ends there."""
    header = _read_header(beginning, s3_uri)
    if header is None and not is_whole:
        return None
    if header is None or (is_whole and header.size == len(beginning)):
        _read_header(beginning + b"\n", s3_uri)
        raise InvalidDataError(
            f"{s3_uri} has a header and no rows" if beginning else f"{s3_uri} is empty: it needs a header and rows"
        )
    records = beginning[header.size :]
    if not is_whole:  # leave the cut record out; with quotes, a line feed at the end of the last complete one
        records = records[: _last_record_end(records)]
    if not records:
        return None
    source = _Source(s3_uri, 0)
    block = next(_read_blocks(io.BytesIO(records), header, source, header.size, len(records) + 1))
    if block.rows <= rows:
        return block
    return replace(block, offsets=block.offsets[: rows + 1])


def _last_record_end(records: bytes) -> int:
    octets = np.frombuffer(records, np.uint8)
    feeds = np.flatnonzero(octets == ord("\n"))
    quotes = np.flatnonzero(octets == ord('"'))
    ends = feeds[np.searchsorted(quotes, feeds) % 2 == 0]
    return int(ends[-1]) + 1 if len(ends) else 0


def load_data(data_path: str | Path, feature_columns: list[str]) -> pd.DataFrame:
    """Read the feature columns of a local CSV file, shape (n_rows, n_features), as the handler reads them.

    For scoring a small file by hand with `make_predictions`; needs pandas. Columns are int64, bool, float64 or text by all of their
    values. Raises InvalidDataError for a file without rows or that is not CSV, InvalidRequestError for a missing column.
    """
    path = Path(data_path)
    header = _local_header(path, path.name)
    missing = [column for column in feature_columns if column not in header.names]
    if missing:
        raise InvalidRequestError(f"{path.name} has no column {', '.join(map(repr, missing))}")

    def blocks() -> Iterator[_Block]:
        with path.open("rb") as file:
            file.seek(header.size)
            yield from _read_blocks(file, header, _Source(path.name, 0), header.size, BLOCK_BYTES)

    kinds = _infer_kinds(blocks(), feature_columns)

    def parse(block: _Block) -> pa.Table:
        def reject(row: int, reason: _Reason) -> None:
            raise InvalidDataError(f"{block.at(row)}, {reason.public}")

        return _parse_features(block, feature_columns, kinds, reject)

    tables = [parse(block) for block in blocks()]
    if not tables:
        raise InvalidDataError(f"{path.name} has a header and no rows")
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame


def make_predictions(model: Any, data: pd.DataFrame, feature_columns: list[str]) -> pd.Series[Any]:
    """Predict a frame by hand: shape (n_rows,), with the frame's index.

    Raises InvalidRequestError for a missing column and InvalidDataError for an empty frame.
    """
    import pandas  # noqa: ICN001, PLC0415  # not needed on the way of a chunk, and costly to import

    missing = [column for column in feature_columns if column not in data.columns]
    if missing:
        raise InvalidRequestError(f"the data has no column {', '.join(map(repr, missing))}")
    if data.empty:
        raise InvalidDataError("the data has no rows")
    features = data[feature_columns]
    return pandas.Series(
        _call_model(model, "predict", features if _has_feature_names(model) else features.to_numpy()), index=data.index
    )
