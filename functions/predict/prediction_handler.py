"""Score a table in S3, a part of it, or many small objects as one, with a fitted scikit-learn model.

The prediction Lambda, whole in this file: drop it into any stack. The modules and the kernel in C beside it make it faster, and are
optional. Tables are CSV in any dialect or JSON Lines, both also in gzip or Zstandard, or Parquet. An output of the same format has
the records' own bytes and the predictions: in CSV behind a comma, in JSON Lines before the closing brace; an output of Parquet has
the predictions' columns alone, for the workflow to join. Only the features are parsed, unless the output has another format.
Invoked directly it answers `{"statusCode": 200|400|500, "body": "<json>"}`; with `"raise_errors": true`, as the state machine sets
it, it raises the named error, because Step Functions retries on error names.

Environment variables, all optional:

`MODEL_S3_PREFIX`, `DATA_S3_PREFIX`, `OUTPUT_S3_PREFIX`: how every URI must begin, literally, by which an event names the model, the
data, and whatever is written or is a list of segments. Without one, only the function's role decides.
`METRICS_STATE_MACHINE`: the state machine in whose metrics each scored chunk counts, by a line in CloudWatch's metric format.
`DEPLOYED_PACKAGE`: never set on AWS. It tells a local run what the deployed package has, so that the run can refuse or report what
would be different there.

Objects written under a key with `.work/` in it carry the tag `batch-predict=work`, by which a lifecycle rule can expire them; the
function's role needs s3:PutObjectTagging there.

Contents, each part before what it uses:

errors        what is raised
entry         `lambda_handler`: an event in, an answer or a raised error out
chunk         `predict_chunk`: a chunk from S3 scored, its part and its receipt to S3
probe         `probe_model`: the first rows scored, and what is found of the columns
score loop    a local file scored into a local file, block by block
event         `validate_event`, `parse_s3_uri`: what an event may say
S3            `download_from_s3`, `upload_to_s3`: objects, their errors, and the local room for them
model         `load_model`: the model from S3 to memory, with the libraries that it needs
processes     a model with libraries of its own: this file, started once more with them
bundles       `unpack_bundle`: a model with its libraries, checked and unpacked
pickles       what a model's file says of itself before any of it runs
expectations  `expected_columns`, `fitted_columns`: what a fitted model determines of its columns
types         `kind_of`, `join_kinds`: the kinds of columns, and texts read as them
features      `load_data`: a block's feature columns as the model gets them
predictions   `make_predictions`, `bisect_refused`: the model called, its answers named and printed
statistics    `column_statistics`: what is counted of features and predictions
segments      a chunk's shares of its objects
compression   gzip and Zstandard, read as text
tables        rows of another format than the data's
formats       the few verbs in which formats of tables differ
CSV           bytes cut into blocks of whole records, their fields parsed, and predictions behind them
JSON Lines    bytes cut into lines, their features read, and predictions before their closing braces
Parquet       the pages of the feature columns alone, and predictions in pages of their own
headers       what is wrong with a first line
"""

from __future__ import annotations

import atexit
import builtins
import bz2
import codecs
import csv
import ctypes
import difflib
import errno
import functools
import gzip
import hashlib
import importlib
import importlib.machinery
import importlib.metadata
import io
import json
import logging
import lzma
import math
import opcode
import os
import pickle
import platform
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tarfile
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
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from itertools import accumulate, islice, pairwise, zip_longest
from pathlib import Path
from socket import gaierror
from types import CodeType
from typing import IO, TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self
from urllib.parse import unquote

import boto3
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from boto3.exceptions import Boto3Error, RetriesExceededError
from botocore import exceptions as boto_errors
from botocore.config import Config
from botocore.parsers import ResponseParserError
from s3transfer.exceptions import CancelledError, S3CopyFailedError, S3DownloadFailedError, S3UploadFailedError, S3ValidationError
from s3transfer.exceptions import RetriesExceededError as TransferRetriesExceededError
from urllib3.exceptions import HTTPError, LocationValueError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    import pandas as pd
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef, UploadPartOutputTypeDef

    Array = np.ndarray[Any, Any]
    Check = Callable[[Any], None]
    Infer = Callable[["_Columns"], dict[str, str]]

INIT_MILLISECONDS = round(time.process_time() * 1000, 3)
"""Processor time that this process took until the imports above were done; on Lambda, about the init time."""
logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

# --- errors ---------------------------------------------------------------------------------------------------------------------
# In: what went wrong, and what to do about just this, if that is known.
# Out: an exception whose name decides whether Step Functions tries again.
# Touches: nothing: no error holds a row's value, nor a path of this machine.

ADVICE_MARK = " What to do: "
"""Stands before the advice in an error's text: Step Functions passes on a name and one text, and nothing else."""


class PredictionError(Exception):
    """Base of the handler's errors; never raised itself.

    `advice` is None if the advice for the error's name fits (functions/workflow/errors.py).
    """

    status_code = 400

    def __init__(self, what: str, advice: str | None = None) -> None:
        self.what = what.encode("utf-8", "backslashreplace").decode()  # Lambda's runtime writes it in UTF-8
        self.advice = advice
        super().__init__(f"{self.what.removesuffix('.')}: {advice}" if advice else self.what)

    def told(self) -> str:
        """Return the text that Step Functions passes on, and that functions/workflow/errors.py takes apart again."""
        stop = "" if self.what.endswith((".", "!", "?", "…")) else "."
        return f"{self.what}{stop}{ADVICE_MARK}{self.advice}" if self.advice else self.what


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


class ColumnTypeError(PredictionError):
    """A column's values do not fit the type that the run has decided; the execution plans again."""


class TransientS3Error(PredictionError):
    """S3 throttled, timed out or broke off, after botocore's own retries."""

    status_code = 500


class InternalError(PredictionError):
    """A bug of the function; its log has the details."""

    status_code = 500


# --- entry ----------------------------------------------------------------------------------------------------------------------
# In: the event as Lambda hands it over, unchecked.
# Out: the answer of a direct invocation, or the result or a PredictionError for the state machine.
# Touches: the log, and standard output for metrics.


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Score the chunk that the event describes (see `validate_event`).

    Returns the HTTP-like response; with `raise_errors` the receipt or the probe's result, and PredictionErrors are raised.
    """
    try:
        validate_event(event)
        result = _result_by_child(_s3_client(), event, context) if is_bundle(event["model_s3_uri"]) else _result_of(event)
        body = json.dumps(result)
    except Exception as error:
        known = _named_error(error)
        facts = {name: _get(event, name) for name in ("execution_name", "chunk_index")}
        facts |= {"error": type(known).__name__, "message": str(known)}
        if known is not error:  # its own words may hold a row's values
            facts["stack_trace"] = "".join(traceback.format_tb(error.__traceback__))
        logger.warning(_log_line(facts))
        if _get(event, "raise_errors") is True:
            if known is error and not known.advice:
                raise
            raise type(known)(known.told()) from error
        return {"statusCode": known.status_code, "body": json.dumps({"error": type(known).__name__, "message": str(known)})}
    logger.info(_log_line({"execution_name": event.get("execution_name"), **result}))
    if not event.get("probe_rows"):
        _put_metrics(result, event.get("execution_name"))
    return result if event.get("raise_errors") else {"statusCode": 200, "body": body}


def _result_of(event: dict[str, Any]) -> dict[str, Any]:
    return probe_model(_s3_client(), event) if event.get("probe_rows") else predict_chunk(_s3_client(), event)


_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


def _named_error(error: Exception) -> PredictionError:
    """Return the named error for any exception; what is not a shortage is a bug, and its text stays in the log."""
    if isinstance(error, PredictionError):
        return error
    if isinstance(error, MemoryError):
        return InvalidRequestError("the function ran out of memory", "raise PredictMemorySize or lower chunk_size_mb")
    if isinstance(error, OSError) and error.errno in _FULL_DISK:
        advice = "raise PredictEphemeralStorageSize or lower chunk_size_mb, or have the output of compressed data compressed, too"
        return InvalidRequestError("ephemeral storage is full", advice)
    return InternalError(f"unexpected {type(error).__name__}: see the function's log")


def _log_line(fields: dict[str, Any]) -> str:
    return json.dumps({"source": "prediction_handler", **fields}, default=str)


METRICS_NAMESPACE, METRICS_DIMENSION, METRICS_NAME_VARIABLE = "BatchPredict", "StateMachine", "METRICS_STATE_MACHINE"
"""https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html"""
METRIC_UNITS = {
    "Rows": "Count",
    "RejectedRows": "Count",
    "InputBytes": "Bytes",
    "ChunkDuration": "Milliseconds",
    "ColdStarts": "Count",
}


def _put_metrics(receipt: dict[str, Any], execution_name: str | None) -> None:
    """Print the chunk's metrics for CloudWatch, which does not find them in the logger's lines, because Lambda wraps those."""
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
    facts = {"execution_name": execution_name, "chunk_index": receipt["chunk_index"], "output_s3_uri": receipt["output_s3_uri"]}
    print(json.dumps({"_aws": described, METRICS_DIMENSION: state_machine, **values, **facts}))


# --- chunk ----------------------------------------------------------------------------------------------------------------------
# In: a checked event that names a chunk.
# Out: its part, its list of rejected rows and its receipt in S3; the receipt is returned, too.
# Touches: S3, a temporary directory, and the models in memory.


def predict_chunk(client: S3Client, event: dict[str, Any]) -> dict[str, Any]:
    """Score one chunk: write its part, then its receipt, and return the receipt (`contract.Receipt`).

    Raises a PredictionError. There is no receipt then, and no part unless it is the receipt that cannot be written; a
    ColumnTypeError leaves beside the receipt's place what the columns hold. Memory does not grow with the chunk; /tmp holds the
    chunk and its part. `predict` includes waiting for bytes; the part leaves meanwhile, and `upload` is what is left of that.
    """
    started = time.time_ns() // 1_000_000
    watch = _Stopwatch()
    output_s3_uri, receipt_s3_uri = event["output_s3_uri"], event.get("receipt_s3_uri")
    rejected_s3_uri = f"{output_s3_uri}.rejected.csv" if event.get("on_bad_row") == "quarantine" else None
    with (
        _temporary_directory() as folder,
        ThreadPoolExecutor(1, "removal") as removal,
        _Upload(client, Path(folder, "part.csv"), output_s3_uri, _content_type(event)) as part,
        _Upload(client, Path(folder, "rejected.csv"), rejected_s3_uri) if rejected_s3_uri else nullcontext() as rejected,
    ):
        storage = _Storage(folder)
        with watch.stage("header"):
            may_lack_rows = event.get("on_no_rows") == "succeed"
            segments = _plan_segments(client, event, Path(folder))
            chunk = _Chunk(segments, _format_of(event), not event.get("data_s3_uri"), may_lack_rows)
            storage.take_for_chunk(chunk.planned_bytes, chunk.s3_uri)
            _fetch_headers(client, chunk, [segment for segment in segments if not segment.etag or chunk.format.is_read_by_header])
        with _downloading(client, chunk, storage):
            with watch.stage("model"):
                _fetch_headers(client, chunk, segments)
                model = _stored_model(client, event) or _cached_model(client, event, storage)
                decision = _read_decision(client, event, model)
                chunk.format.choose(_columns_read(model.estimator, event, decision))
            try:
                with watch.stage("predict"):
                    infer = functools.partial(_kinds_of_objects, client, storage, Path(folder), chunk)
                    try:
                        scored = _score_chunk(chunk, part, rejected, model, event, decision, infer)
                    except Exception as error:
                        if not model.is_stored or isinstance(error, _OF_S3):
                            raise
                        logger.info(_log_line({"message": f"scored again by the model itself, after {type(error).__name__}"}))
                        model = _cached_model(client, event, storage)
                        scored = _score_chunk(chunk, part, rejected, model, event, decision, infer)
            except (InvalidDataError, ColumnTypeError) as error:
                if cut := chunk.cut_segment():
                    message = f"{cut.source.s3_uri} bytes=[{cut.source.start}, {cut.stop}) cut a quoted field: {error}"
                    raise UnsafeSplitError(message) from error
                if isinstance(error, ColumnTypeError) and decision and receipt_s3_uri:
                    _put_json(client, _types_uri(receipt_s3_uri), _wider_kinds(chunk, model, event, decision))
                raise
        with watch.stage("upload"):
            if rejected:
                rejected.complete()
            part.complete()
        removal.submit(shutil.rmtree, folder, ignore_errors=True)  # freeing half a GB takes as long as two requests
        times = {"started": started, "milliseconds": watch.stop(), "memory_mb": _memory_mb()}
        receipt = _receipt(event, chunk, scored, decision) | times | {"model": model.facts}
        if receipt_s3_uri:
            receipt["output_etag"] = _head(client, _Object(output_s3_uri)).etag
            receipt["rejected_etag"] = _head(client, _Object(rejected_s3_uri)).etag if rejected_s3_uri else None
            # The statistics are not in what is returned: a state's result may have 256 KiB.
            _put_json(client, receipt_s3_uri, {**receipt, "statistics": scored.statistics})
    # `rows` is for those who invoke the function directly.
    return {"rows": scored.rows, **receipt}


_OF_S3 = (TransientS3Error, InputNotFoundError, InputChangedError, InvalidRequestError)
"""What S3 answers while a chunk is scored: another model would not help."""


def _receipt(event: dict[str, Any], chunk: _Chunk, scored: ScoredFile, decision: _Decision | None) -> dict[str, Any]:
    """Return what `contract.Receipt` says of a chunk and of its part.

    `data_sha256` is as functions/workflow/fingerprint.py has it from the plan; parts under one header must share `layout_sha256`.
    """
    data = (
        {"segments_s3_uri": event.get("segments_s3_uri")}
        if chunk.is_group
        else {"data_s3_uri": chunk.s3_uri, chunk.format.range_name: chunk.segments[0].byte_range or [0, scored.read.bytes]}
    )
    return {
        "chunk_index": event.get("chunk_index"),
        **data,
        "objects": len(chunk.segments),
        "rows_read": scored.read.rows,
        "rows_written": scored.rows,
        "rejected_rows": scored.rejected_rows,
        "rounded_integers": scored.rounded_integers,
        "input_bytes": scored.read.bytes,
        "data_sha256": _json_sha256([[one.source.s3_uri, one.source.start, one.stop, one.etag] for one in chunk.segments]),
        "output_s3_uri": event["output_s3_uri"],
        "output_bytes": scored.bytes,
        "header_bytes": scored.header_bytes,
        "layout_sha256": _json_sha256(
            [scored.columns, scored.prediction_columns, chunk.header.line_end.decode(), *scored.prediction_types]
        ),
        "decision_sha256": decision.sha256 if decision else None,
        "quote_parity": scored.read.quotes % 2,
    }


WHOLE_OBJECT_BYTES = 64_000_000
"""The largest object that is read whole although only a range of it is scored: its other values may decide a column's type."""


def _kinds_of_objects(client: S3Client, storage: _Storage, folder: Path, chunk: _Chunk, columns: _Columns) -> dict[str, str]:
    """Decide the open columns by all values of the chunk's objects; if it has only a range of one, the rest is read as well."""
    kinds = _infer_kinds(chunk.blocks(BLOCK_BYTES), columns)
    for segment in [] if chunk.format.is_read_by_header else chunk.partial_segments():
        undecided = [name for name in columns.names if name in columns.open and kinds.get(name) != TEXT]
        if not undecided:  # text stays text, whatever the rest holds
            break
        if (segment.object_bytes or 0) > WHOLE_OBJECT_BYTES:
            raise InvalidRequestError(
                f"the type of column {undecided[0]!r} is open, and only bytes={segment.byte_range} of "
                f"{segment.source.s3_uri} are scored, which has {segment.object_bytes} bytes: state the type in column_types"
            )
        whole = replace(segment, source=_Source(segment.source.s3_uri, 0), stop=None, data=folder / "whole.csv", header=None)
        storage.take_for_chunk(segment.object_bytes or 0, segment.source.s3_uri)
        _download(client, _Object(segment.source.s3_uri, etag=segment.etag), folder / "whole.csv")
        for name, kind in _infer_kinds(_Chunk([whole], chunk.format, is_group=True).blocks(BLOCK_BYTES), columns).items():
            kinds[name] = _seen(columns, name, join_kinds(kinds.get(name, kind), kind))
    return kinds


def _wider_kinds(chunk: _Chunk, model: _Model, event: dict[str, Any], decision: _Decision) -> dict[str, str]:
    """Return the kinds, by all values of the chunk, of those columns that do not fit what the run has decided."""
    columns, _ = _decide_columns(model.estimator, event, decision, lambda _: {}, chunk.header.footer)
    if written := _make_scorer(model, event, chunk.s3_uri, chunk.header, decision, lambda _: {}).writer.reads:
        columns = _Columns(
            [*written.names, *(name for name in columns.names if name not in written.kinds)],
            columns.kinds | written.kinds,
            columns.open | written.open,
            columns.numeric | written.numeric,
            exact=written.exact,
        )
    found = _infer_kinds(chunk.blocks(BLOCK_BYTES), columns)
    joined = {name: _seen(columns, name, join_kinds(columns.kinds[name], kind)) for name, kind in found.items()}
    return {name: kind for name, kind in found.items() if joined[name] != columns.kinds[name]}


def _types_uri(receipt_s3_uri: str) -> str:
    """Return where a chunk writes what its columns hold; functions/workflow/work.py reads it there."""
    return f"{receipt_s3_uri.removesuffix('.json')}.types.json"


def _json_sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _memory_mb() -> int | None:
    """Return the function's memory as Lambda states it; None elsewhere."""
    memory = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
    return int(memory) if memory.isdecimal() else None


def _limiting_memory_mb() -> int | None:
    """Return the memory that limits this function; None elsewhere, also on the local AWS, which only says what it would be."""
    return None if _deployed_package() else _memory_mb()


class _Stopwatch:
    """Milliseconds by stage."""

    def __init__(self) -> None:
        self._milliseconds = dict(_served.milliseconds) if _served else _init_milliseconds()
        self._before = sum(self._milliseconds.values())
        self._started = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._milliseconds[name] = round((time.perf_counter() - started) * 1000, 3)

    def stop(self) -> dict[str, float]:
        """Return the stages and their `total`: all the time since the start, and what was before it."""
        total = (time.perf_counter() - self._started) * 1000 + self._before
        return {**self._milliseconds, "total": round(total, 3)}


def _init_milliseconds() -> dict[str, float]:
    return {} if _model_cache or _child else {"init": INIT_MILLISECONDS}  # a container without a model is new


# --- probe ----------------------------------------------------------------------------------------------------------------------
# In: a checked event with `probe_rows`.
# Out: how the model does with the first rows, and what it makes of the columns, in S3 or in the answer.
# Touches: S3, and the models in memory; of the data, only the first megabytes of objects are read.

MAX_DECISION_BYTES = 2**24
"""The largest decision that is read from S3: 10,000 of the longest names of columns take some 10 MB."""
MAX_COLUMNS_BYTES = MAX_DECISION_BYTES - 2**10
"""The most that a probe writes to S3 about columns: a decision repeats it and adds two digests."""
MAX_ANSWER_BYTES = 2**21
"""The most that a probe answers about columns, as JSON: Lambda answers with 6 MB, in which this JSON is escaped once more."""
MORE_PROBE_ROWS = 20_000
"""Rows within the first `BLOCK_BYTES` that the probe tries before it gives up, if it cannot predict a single one."""
TIMED_SECONDS = 0.5
"""What the probe takes of a vCPU for a timing of the model, of which there are two at most."""
_CHANGE_OUTPUT = "output_s3_uri must change, nothing can be written there"


def probe_model(client: S3Client, event: dict[str, Any]) -> dict[str, Any]:
    """Score the first `probe_rows` rows; returns `contract.Probe`.

    What is wrong with the model or its columns is known here in seconds, not after thousands of chunks. What the probe finds out
    about the columns goes to `receipt_s3_uri`, because an execution's document has no room for thousands of names; without one it
    is in the answer.
    """
    model = _cached_model(client, event)
    has_data = event.get("data_s3_uri") is not None
    found = _first_predicted(client, event, model) if has_data else _probe_without_rows(model, event)
    features, names = found.scorer.columns, found.prediction_columns
    written = found.scorer.writer.reads or _Columns([], {})
    result = {
        "rows": found.rows,
        "row_bytes": round(found.row_bytes, 1),
        "rows_per_second": round(found.rows_per_second, 1),
        "one_worker": _has_one_worker(found.scorer.estimator),
        "warnings": [found.warning] if found.warning else [],
        "model": model.facts,
    }
    columns = {
        "feature_columns": features.names,
        "prediction_columns": names,
        "column_types": _open_kinds(features) | _open_kinds(written),
        "stated_types": _stated_types(event, None),
        "numeric_columns": sorted(features.numeric | (written.numeric & written.open)),
        "output_columns": event.get("output_columns"),
    }
    if found.prediction_types:
        columns["prediction_types"] = found.prediction_types
    s3_uri = event.get("receipt_s3_uri")
    size, room = len(json.dumps(columns)), MAX_COLUMNS_BYTES if s3_uri else MAX_ANSWER_BYTES
    if size > room:
        raise InvalidRequestError(
            f"{len(features.names)} feature columns and {len(names)} prediction columns have names of {size} bytes, more "
            f"than {room}: {'shorten prediction_column_name' if s3_uri else 'give a receipt_s3_uri, to which they are written'}"
        )
    if not s3_uri:
        return result | columns
    result |= _store_model(client, event, model, found)
    sha256 = _put_json(client, s3_uri, columns, _CHANGE_OUTPUT)
    return result | {"columns_s3_uri": s3_uri, "columns_sha256": sha256}


class _Probed(NamedTuple):
    scorer: _Scorer
    prediction_columns: list[str]
    warning: str | None
    rows: int = 0
    row_bytes: float = 0.0
    rows_per_second: float = 0.0
    sample: _Block | None = None
    """The rows themselves; None if there are none."""
    prediction_types: list[str] | None = None
    """Of the prediction columns, if what is written has types."""


def _first_predicted(client: S3Client, event: dict[str, Any], model: _Model) -> _Probed:
    """Score the first rows of one object after another until one can be predicted; if none can, the first one's error says why."""
    refusal: InvalidDataError | None = None
    header, lacks_rows = None, True
    for item in [event, *(event.get("further_data") or ())]:
        s3_uri, block = item["data_s3_uri"], None
        try:
            table = _format_of(event)
            table.choose(_columns_read(model.estimator, event, None))
            block, share = table.first_block(client, s3_uri, item.get("data_etag"))
            if not block.rows and item is event and event.get("on_no_rows") == "succeed":
                header = block.header
            probed = _probe_rows(model, event, s3_uri, block, event["probe_rows"])
            return probed._replace(row_bytes=probed.row_bytes * share)
        except InvalidDataError as error:
            refusal = error if lacks_rows else refusal  # what an object with rows says comes first
            lacks_rows = lacks_rows and block is not None and not block.rows
            if not lacks_rows and event.get("on_bad_row") != "quarantine":
                break
    if header and lacks_rows:
        return _probe_without_rows(model, event, header)
    assert refusal
    raise refusal


def _probe_rows(model: _Model, event: dict[str, Any], s3_uri: str, block: _Block, wanted: int) -> _Probed:
    """Score rows of a block, so many at once, until one can be predicted."""
    if not block.rows:
        blank = ", only blank lines" if block.has_blank_lines else ""
        raise InvalidDataError(f"{s3_uri} {_format_of(event).lacks_rows}{blank}", _NAME_ROWS)
    refused: Counter[str] = Counter()
    for start in range(0, min(block.rows, max(MORE_PROBE_ROWS, wanted)), wanted):
        stop = min(start + wanted, block.rows)
        rows = block.part(start, stop)
        scorer = _make_scorer(model, event, s3_uri, block.header, None, functools.partial(_infer_kinds, [block]))
        vcpu_seconds = _vcpu_clock()
        try:
            scored = scorer.score(rows)
        except (ModelError, InvalidDataError) as error:
            raise _with_open_columns(error, scorer.columns) from error
        first = rows.rows / vcpu_seconds()
        if len(scored.rejected) < rows.rows:
            _check_new_names(scored.names, s3_uri, scorer.writer.columns, block.header.dialect)
            dependence = scorer.depends_on_other_rows(rows)
            if dependence and scorer.strict:
                raise ModelError(f"{event['model_s3_uri']} is refused, because the request is strict: {dependence}")
            row_bytes = rows.input_bytes / rows.rows
            speed = _rows_per_second(scorer, block, first)
            types = scorer.writer.types_of(scored.joined)
            return _Probed(scorer, scored.names, dependence, rows.rows, row_bytes, speed, rows, types)
        refused += scored.statistics.reasons
    refusal = scorer.nothing_predicted(refused)
    raise _with_open_columns(type(refusal)(f"{s3_uri}: {refusal.what}", refusal.advice), scorer.columns)


def _rows_per_second(scorer: _Scorer, block: _Block, first: float) -> float:
    """Return how fast a worker splits and scores so many of the block's rows as take `TIMED_SECONDS` by the `first` speed.

    The first speed is that of a model's first call, which loads libraries, and of too few rows for a model that scores thousands as
    fast as one. If the object is small, its rows are scored several times.
    """
    speed = first

    def timed(wanted: int) -> float:
        vcpu_seconds, rows = _vcpu_clock(), 0
        for part in block.again(wanted):
            rows += scorer.score(part).rows
        return rows / vcpu_seconds()

    # A later row may be a bad one: its chunk says so.
    with ThreadPoolExecutor(1, initializer=_limit_threads) as pool, suppress(PredictionError):
        speed = max(first, pool.submit(timed, math.ceil(first * TIMED_SECONDS)).result())
        if speed > 2 * first:  # there is time for more rows, to which the cost of a call matters less
            speed = max(speed, pool.submit(timed, math.ceil(speed * TIMED_SECONDS)).result())
    return speed


def _vcpu_clock() -> Callable[[], float]:
    """Return what tells the seconds from now on that a worker would take on a whole vCPU.

    They are processor time, and of a model that waits, the share of the time that the memory buys. Time alone would not do: a share
    of a vCPU is a whole one for some milliseconds, and then none.
    """
    share = min(1.0, (_limiting_memory_mb() or MB_PER_VCPU) / MB_PER_VCPU)
    started, processor = time.perf_counter(), time.process_time()
    return lambda: max(share * (time.perf_counter() - started), time.process_time() - processor, 1e-6)


def _with_open_columns(error: PredictionError, columns: _Columns) -> PredictionError:
    """Add to an error which kinds the first rows give the open columns: later rows may give them others, and be the cause."""
    narrow = [name for name in columns.names if name in columns.open and columns.kinds[name] != TEXT]
    if columns.types or not narrow or (isinstance(error, ModelError) and error.advice != _CALL_IT):
        return error
    seen = ", ".join(f"column {name!r} holds {_KIND_NAMES[columns.kinds[name]]}" for name in narrow[:3])
    advice = f"{error.advice}; if a column is of another type in later rows, state it in column_types"
    return type(error)(f"{error.what}. As far as the probe has read, {seen}", advice)


def _probe_without_rows(model: _Model, event: dict[str, Any], header: Header | None = None) -> _Probed:
    """Probe a model for data without rows, perhaps without any object: an example row names the prediction columns."""
    names = _feature_columns(model.estimator, event, None)
    s3_uri = event["data_s3_uri"] if header else "the data"
    header = header or Header(b"", b"", list(dict.fromkeys([*names, *(event.get("output_columns") or ())])))
    scorer = _make_scorer(model, event, s3_uri, header, None, lambda _: {})
    _method_of(scorer.estimator, scorer.method)
    warning = None
    try:
        columns = scorer.expected_names()
    except (ModelError, InvalidDataError):
        columns = [scorer.name]
        warning = f"the model cannot predict a made-up row, so this output without rows has one prediction column, {scorer.name}"
    _check_new_names(columns, s3_uri, scorer.writer.columns, header.dialect)
    return _Probed(scorer, columns, warning, prediction_types=scorer.writer.types)


def _store_model(client: S3Client, event: dict[str, Any], model: _Model, found: _Probed) -> dict[str, str | None]:
    """Write the model as numbers, if it can be, beside what is found of the columns: chunks need no scikit-learn for them."""
    result: dict[str, str | None] = {"stored_model_s3_uri": None, "stored_model_sha256": None}
    sample, columns = found.sample, found.scorer.columns
    stored_model = _beside("stored_model")
    if not (sample and stored_model) or TYPED in columns.kinds.values() or _served:
        return result
    try:

        def scorer_of(stored: Any) -> _Scorer:
            return _make_scorer(_model_of_numbers(stored), event, "", sample.header, None, lambda _: columns.kinds)

        unread: set[int] = set()  # their chunks reject such rows without the model
        features = sample.features(columns, lambda row, _: unread.add(row))
        table = features.take(np.delete(np.arange(sample.rows), list(unread))).table
        content = stored_model.checked(stored_model.Stored(*model[:3]), found.scorer, scorer_of, table)
    except Exception as error:  # noqa: BLE001  # then chunks take the model itself
        logger.info(_log_line({"message": f"the model is not stored as numbers: {_reason_of(error).public}"}))
        return result
    s3_uri = f"{event['receipt_s3_uri'].removesuffix('.json')}.model"
    return {
        "stored_model_s3_uri": s3_uri,
        "stored_model_sha256": _put(client, s3_uri, content, "application/octet-stream", _CHANGE_OUTPUT),
    }


# --- score loop -----------------------------------------------------------------------------------------------------------------
# In: a chunk in local files, a model, the event, and what the run has decided.
# Out: a local part, and beside it the rows that were rejected; what was counted on the way is returned.
# Touches: these two files.

BLOCK_BYTES = 2_000_000
"""Bytes of input read at once. Measured: 4 MB cost 50 MB more memory and save no time (docs/performance.md)."""
FOREST_BLOCK_ROWS, FOREST_BLOCK_BYTES = 32_000, 8_000_000
"""Rows to give scikit-learn's forests at once, as each call has a cost for every tree, and the most bytes that they may take."""
MB_PER_VCPU = 1769
"""https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""


class ScoredFile(NamedTuple):
    """What an output holds, and what was read for it."""

    read: _Tally
    rows: int
    """Written, as `bytes` and `header_bytes` are."""
    bytes: int
    header_bytes: int
    rejected_rows: int
    rounded_integers: int
    columns: list[str]
    """Of the data, before the predictions'."""
    prediction_columns: list[str]
    statistics: dict[str, Any]
    """As `contract.Statistics`."""
    prediction_types: Sequence[str] = ()
    """Of the columns, if the output has types."""


def score_file(
    data: str | Path | Sequence[str | Path],
    output: str | Path,
    model: Any,
    *,
    prediction_column_name: str = "prediction",
    feature_columns: list[str] | None = None,
    column_types: dict[str, str] | None = None,
    prediction_method: str = "predict",
    predictions: list[Any] | None = None,
    output_columns: list[str] | None = None,
    output_format: str | None = None,
    on_bad_row: str = "fail",
    on_no_rows: str = "fail",
    strict: bool = False,
    input_format: str = "auto",
    output_compression: str | None = None,
    csv: dict[str, Any] | None = None,
) -> ScoredFile:
    """Score a local table into a local file: what `predict_chunk` does between download and upload.

    `data` is a file, or several files of the same columns that become one output; `model` is a fitted estimator. The other
    arguments are the event's fields of these names (docs/prediction_handler.md); rejected rows go to `<output>.rejected.csv`.
    Raises a PredictionError; the output is not complete then.
    """
    options = {
        "prediction_column_name": prediction_column_name,
        "feature_columns": feature_columns,
        "column_types": column_types,
        "prediction_method": prediction_method,
        "predictions": predictions,
        "output_columns": output_columns,
        "output_format": output_format or promise_of(str(output)).format,
        "on_bad_row": on_bad_row,
        "on_no_rows": on_no_rows,
        "strict": strict,
        "input_format": input_format,
        "output_compression": output_compression or promise_of(str(output)).compression,
        "csv": csv,
    }
    problems = _field_problems(options, {name: _EVENT_FIELDS[name] for name in options})
    is_group = not isinstance(data, (str, Path))
    paths = [Path(file) for file in data] if is_group else [Path(data)]  # type: ignore[union-attr, arg-type]
    options["input_format"] = _read_as({**options, "data_s3_uri": paths[0].name})
    if problems := problems + _method_problems(options) + _format_problems(options):
        raise InvalidRequestError(f"score_file has {_listed(problems)}")
    if mistake := _written_as(options).mistake:
        raise InvalidRequestError(f"{output} {mistake}")
    chunk = _local_chunk(paths, options, is_group=is_group, may_lack_rows=on_no_rows == "succeed")
    packed = _with_packed_trees(model, logger.warning)
    rejected = Path(f"{output}.rejected.csv") if on_bad_row == "quarantine" else None
    return _score_chunk(chunk, Path(output), rejected, _Model(packed, {}), {**options, "input_format": chunk.format.name})


def _score_chunk(
    chunk: _Chunk,
    part: Path | _Upload,
    rejected: Path | _Upload | None,
    model: _Model,
    event: dict[str, Any],
    decision: _Decision | None = None,
    infer: Infer | None = None,
) -> ScoredFile:
    """Score a local chunk into a part, and list its rejected rows if they are quarantined.

    Without `infer`, the chunk's own values decide the columns whose types the model, the request and the run leave open.
    """
    chunk.format.choose(_columns_read(model.estimator, event, decision))
    read, header = _Tally(), chunk.header
    infer = infer or (lambda columns: _infer_kinds(chunk.blocks(BLOCK_BYTES), columns))
    known = header if decision else chunk.format.first_header(chunk)
    scorer = _make_scorer(model, event, chunk.s3_uri, known, decision, infer)
    statistics, writer = scorer.statistics, scorer.writer
    names = decision.prediction_columns if decision else []
    rows = header_bytes = rejected_rows = rounded_integers = 0
    bytes_to_come = chunk.record_bytes if writer.keeps_all else 0
    with part.open("wb") as output, (rejected or Path(os.devnull)).open("wb") as rejected_list:
        rejected_list.write(_csv_lines([("data_s3_uri", "row", chunk.format.place_name, "reason")], header.line_end))

        def begin() -> int:
            _check_new_names(names, chunk.s3_uri, writer.columns, header.dialect)
            return writer.begin(output, names)

        workers = _workers(scorer.estimator)
        for scored in _map_blocks(scorer.score, chunk.blocks(_block_bytes(scorer.estimator, chunk), read), workers):
            names = names or scored.names
            if scored.names != names:
                raise ModelError(f"the model gave the outputs {names} for some rows and {scored.names} for others")
            if not rows:
                header_bytes = begin()
            bytes_to_come -= scored.input_bytes
            if isinstance(output, _Upload):
                output.bytes_to_come = max(0, bytes_to_come)
            writer.write(scored.joined)
            listed = [(place.source.s3_uri, place.row + 1, place[2], reason) for place, reason in scored.rejected]
            rejected_list.write(_csv_lines(listed, header.line_end))
            statistics.add(names, scored.statistics)
            rows += scored.rows
            rejected_rows += len(scored.rejected)
            rounded_integers += scored.rounded_integers
        if not rows:
            if not (chunk.is_group or chunk.may_lack_rows or decision):
                raise InvalidDataError(f"{chunk.s3_uri} {chunk.format.lacks_rows}", _NAME_ROWS)
            names = scorer.expected_names()
            header_bytes = begin()
        elif rejected_rows == rows and not decision and event.get("chunk_index") is None:  # the whole output, not a share of it
            raise scorer.nothing_predicted(statistics.reasons)
        header_bytes += writer.end(read)
        size = output.tell()
    counted, types = statistics.result(), writer.types or ()
    return ScoredFile(read, rows, size, header_bytes, rejected_rows, rounded_integers, writer.columns, names, counted, types)


def _workers(estimator: Any) -> int:
    """Return how many blocks are scored at once: one a core, but on Lambda no more than the vCPUs that the memory buys.

    Lambda shows three cores from 3,009 MB on, although two vCPUs are paid for.
    """
    if _has_one_worker(estimator):
        return 1
    cores, memory_mb = os.cpu_count() or 1, _limiting_memory_mb()
    return cores if memory_mb is None else min(cores, max(1, round(memory_mb / MB_PER_VCPU)))


def _has_one_worker(estimator: Any) -> bool:
    """Tell whether blocks are scored one after the other: custom models, and those of other libraries, may not be thread-safe."""
    steps = [step for _, step in getattr(estimator, "steps", [("", estimator)])]
    return bool(_parts_of(steps[:-1] if _is_packed(estimator) else steps).strangers)


def _block_bytes(estimator: Any, chunk: _Chunk) -> int:
    """Return how many bytes of input to score at once: more if rows are long and each call of the model is costly."""
    last = _last_step(estimator)
    # Forests and their like; packed trees and histogram boosting are as fast with 8,000 rows as with 32,000.
    if _is_packed(estimator) or not hasattr(last, "estimators_"):
        return BLOCK_BYTES
    return max(BLOCK_BYTES, min(chunk.format.row_bytes(chunk) * FOREST_BLOCK_ROWS, FOREST_BLOCK_BYTES))


def _is_packed(estimator: Any) -> bool:
    """Tell whether the kernel scores a model's trees, for which any number of threads may call it."""
    values = getattr(_last_step(estimator), "__dict__", {}).values()
    return any(type(value).__module__ in ("packed_trees", "packed_boosters", "tree_kernel") for value in values)


def _last_step(estimator: Any) -> Any:
    return estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator


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
    """Give each worker one BLAS and OpenMP thread; OpenMP keeps its limit per thread, so each worker sets its own."""
    import threadpoolctl  # noqa: PLC0415  # comes with scikit-learn; a model of another kind does without

    threadpoolctl.threadpool_limits(1)


def _csv_lines(records: Iterable[tuple[Any, ...]], line_end: bytes) -> bytes:
    lines = io.StringIO(newline="")
    csv.writer(lines, lineterminator=line_end.decode()).writerows(records)
    return lines.getvalue().encode()


def _check_new_names(names: list[str], s3_uri: str, columns: list[str], dialect: Dialect) -> None:
    present = set(columns)
    if taken := [name for name in names if name in present]:
        raise InvalidRequestError(f"{s3_uri} has columns {shown_names(taken)} already", "choose another prediction_column_name")
    if lost := [name for name in names if not is_in_encoding(name, dialect)]:
        what = f"{shown_names(lost, 5)} cannot be written in {dialect.encoding.upper()}, the encoding of the data"
        raise InvalidRequestError(f"{s3_uri}: {what}", "choose another prediction_column_name, or convert the data to UTF-8")


class _Decision(NamedTuple):
    """What a run has decided before its first chunk (`contract.Decision`)."""

    column_types: dict[str, str]
    """The kinds of the columns that the model leaves open."""
    prediction_columns: list[str]
    feature_columns: list[str] | None
    """None in a decision that leaves them to the event."""
    stated_types: dict[str, str] | None
    """What the request states; None likewise."""
    output_columns: list[str] | None
    """The columns of the data that the output has; None if it has all, or likewise."""
    sha256: str
    """The digest of the document in S3."""
    prediction_types: list[str] | None = None
    """Of the prediction columns; None in a decision for outputs without types."""


def _read_decision(client: S3Client, event: dict[str, Any], model: _Model) -> _Decision | None:
    """Read what the run has decided, if the event names it; InputChangedError if that is for another model or deployment."""
    s3_uri = event.get("decision_s3_uri")
    if not s3_uri:
        return None
    document, found = _read_json(client, s3_uri, MAX_DECISION_BYTES, "what the run has decided", event.get("decision_sha256"))
    names = _get(document, "prediction_columns")
    kinds = _get(document, "column_types")
    if not (isinstance(names, list) and names and all(_is_text(name) for name in names) and _is_kinds(kinds, DECIDED_KINDS)):
        raise InvalidRequestError(f"{s3_uri} is not what a run decides: it needs column_types and prediction_columns")
    features, stated, kept = (_get(document, name) for name in ("feature_columns", "stated_types", "output_columns"))
    are_columns = (features is None or _is_columns(features)) and (kept is None or _is_columns(kept, 0))
    if not are_columns or not (stated is None or _is_kinds(stated, STATED_KINDS)):
        raise InvalidRequestError(f"{s3_uri} is not what a run decides: its columns or stated_types are invalid")
    for field_name, expected, what in (
        ("deployment", model.facts.get("deployment"), "the prediction function was deployed anew"),
        ("model_sha256", model.facts.get("sha256"), "the model was replaced"),
    ):
        is_by_hand = field_name == "deployment" and not event.get("raise_errors")  # somebody may look into a chunk elsewhere
        if document.get(field_name) not in (None, expected) and not is_by_hand:
            raise InputChangedError(f"{what} after the run was planned: start the request again")
    types = _get(document, "prediction_types")
    if types is not None and not (isinstance(types, list) and len(types) == len(names) and all(map(_is_arrow_type, types))):
        raise InvalidRequestError(f"{s3_uri} is not what a run decides: its prediction_types are invalid")
    return _Decision(kinds, names, features, stated, kept, found, types)


def _make_scorer(
    model: _Model,
    event: dict[str, Any],
    s3_uri: str,
    header: Header,
    decision: _Decision | None,
    infer: Infer,
) -> _Scorer:
    """Check the request's columns against the data's, and decide how each is read."""
    names, name = _feature_columns(model.estimator, event, decision), event["prediction_column_name"]
    stated = event.get("column_types") or {}
    used = names
    if header.sampled_rows is not None:
        used = [name for name in names if header.sampled_rows and not decision and name not in stated]
    _require_columns(used, header, s3_uri, by_model=not event.get("feature_columns"))
    kept = _kept_columns(event, decision, header, s3_uri)
    if name in (header.names if kept is None else kept):
        raise InvalidRequestError(f"{s3_uri} has a column {name!r} already", "choose another prediction_column_name")
    if nested := [column for column in names if header.footer and _is_nested(header.footer.types[column])]:
        what = f"{s3_uri} has lists, maps or groups in column {nested[0]!r}"
        raise InvalidRequestError(what, "choose feature_columns of single values")
    columns, examples = _decide_columns(model.estimator, event, decision, infer, header.footer)
    writer = _writer_of(event, decision, header, kept, columns, infer, s3_uri)
    writer.types = decision.prediction_types if decision else None
    are_read = "the model's" if writer.reads is None else "the model's, nor among the output's"
    if unknown := sorted(_stated_types(event, decision).keys() - {*names, *(writer.reads.names if writer.reads else ())}):
        raise InvalidRequestError(f"column_types names columns that are not among {are_read}: {shown_names(unknown)}")
    given = _input_of(model.estimator, _parts_of(model.estimator), columns)
    given = TABLE if model.is_stored and given in (FRAME, VALUES) else given
    fitted = fitted_columns(model.estimator) or []
    if given != ARRAY and _module_of(model.estimator).startswith("lightgbm.") and sorted(fitted) == sorted(names):
        _require_fitted_columns(model.estimator, names)  # it takes columns by their places, whatever their names
    if given == ARRAY:
        _require_fitted_columns(model.estimator, names)
        warnings.filterwarnings("ignore", "X does not have valid feature names")  # just checked
    answers = _answers_of(model.estimator, name, event.get("predictions"))
    return _Scorer(
        model.estimator,
        writer,
        columns,
        given,
        examples,
        name,
        PREDICT_PROBA if answers else event.get("prediction_method") or PREDICT,
        quarantine=event.get("on_bad_row") == "quarantine",
        strict=bool(event.get("strict")),
        decision=decision,
        saved_with=_saved_by_another((model.facts.get("sklearn_version") or "").split(", ")),
        is_stored=model.is_stored,
        answers=answers,
    )


def _feature_columns(estimator: Any, event: dict[str, Any], decision: _Decision | None) -> list[str]:
    """Return the columns that the model gets: as the run has decided, else as the event says, else as the model knows them."""
    decided = decision.feature_columns if decision else None
    named: list[str] | None = event.get("feature_columns")
    if decided and named not in (None, decided):
        raise InvalidRequestError("feature_columns names other columns than the run has decided", "leave it out")
    names = decided or named or fitted_columns(estimator)
    if not names:
        if _is_unfitted(estimator):
            raise ModelError(f"the model, a {type(estimator).__name__}, is not fitted", "fit it, and dump it then")
        raise InvalidRequestError(
            f"the model, a {type(estimator).__name__}, does not know the names of its columns",
            "list them in feature_columns, in the order in which it was fitted",
        )
    return names


def _kept_columns(event: dict[str, Any], decision: _Decision | None, header: Header, s3_uri: str) -> list[str] | None:
    """Return the columns of the data that the output has, in the data's order; None if it has all."""
    decided = decision.output_columns if decision else None
    named: list[str] | None = event.get("output_columns")
    if decided is not None and named not in (None, decided):
        raise InvalidRequestError("output_columns names other columns than the run has decided", "leave it out")
    wanted = decided if decided is not None else named
    if wanted is None or (header.sampled_rows is not None and (decision or not header.sampled_rows)):
        return wanted
    _require_columns(wanted, header, s3_uri, named_by="output_columns")
    if header.sampled_rows:  # rows have their columns in any order
        return wanted
    chosen = set(wanted)
    return [name for name in header.names if name in chosen]


def _writer_of(
    event: dict[str, Any],
    decision: _Decision | None,
    header: Header,
    kept: list[str] | None,
    columns: _Columns,
    infer: Infer,
    s3_uri: str,
) -> _Writer:
    """Return what writes the part: the data's own format, or another, which needs to know how each column is read."""
    source, written = _format_of(event), _written_as(event)
    writer: _Writer
    if written.format in (None, source.name):
        writer = source.writer(header, kept)
    else:
        if kept is None and (header.sampled_rows is not None or header.footer):
            what = f"{FORMATS[source.name]} is written as {FORMATS[written.format]} only with output_columns"
            raise InvalidRequestError(what, "name the columns of the data that the output has, perhaps none ([])")
        if header.footer and (nested := [name for name in kept or () if _is_nested(header.footer.types[name])]):
            what = f"column {nested[0]!r} has lists, maps or groups, which {FORMATS[written.format]} would not have as they are"
            raise InvalidRequestError(what, "name output_columns of single values")
        if kept is None:
            _require_columns(list(dict.fromkeys(header.names)), header, s3_uri)  # each once
        if header.footer and kept is not None:
            reads = _Columns(kept, dict.fromkeys(kept, TYPED))
        else:
            reads = _decide_written(event, decision, header.names if kept is None else kept, columns, infer)
        writers: dict[str, Callable[[_Columns], _Writer]]
        writers = {"csv": _CsvOfTables, "jsonl": _JsonLinesOfTables, "parquet": _ParquetOfTables}
        writer = writers[written.format](reads)
    return _compressed(writer, event)


def _columns_read(estimator: Any, event: dict[str, Any], decision: _Decision | None) -> list[str]:
    """Return the columns of which a format needs the bytes: the features, and those of an output of another format."""
    features, written = _feature_columns(estimator, event, decision), _written_as(event).format
    if written in (None, _read_as(event)):
        return features
    kept = decision.output_columns if decision else event.get("output_columns")
    return list(dict.fromkeys([*features, *(kept or ())]))


def _decide_written(
    event: dict[str, Any], decision: _Decision | None, kept: list[str], columns: _Columns, infer: Infer
) -> _Columns:
    """Decide how columns are read that are written in another format: as the model takes them, or the request or the run says.

    The model's numbers are integers if all of the column are.
    """
    stated = _stated_types(event, decision)
    numeric = columns.numeric | (columns.plain - stated.keys())
    kinds = {name: columns.kinds[name] for name in kept if name in columns.kinds and name not in columns.plain - stated.keys()}
    kinds |= {name: stated[name] for name in kept if name in stated}
    undecided = [name for name in kept if name not in kinds]
    reads = _Columns(
        kept,
        kinds | dict.fromkeys(undecided, EMPTY),
        frozenset(undecided) | (columns.open & kinds.keys()),
        numeric,
        {name: spellings for name, spellings in columns.known.items() if name in kinds},
        frozenset(name for name in undecided if name not in columns.kinds),
    )
    if not undecided:
        return reads
    decided = decision.column_types if decision else reads.kinds | infer(replace(reads, open=frozenset(undecided)))
    if lacking := [name for name in undecided if name not in decided]:
        raise InvalidRequestError(f"the run has not decided the type of {', '.join(map(repr, lacking[:5]))}: plan it again")
    return replace(reads, kinds=kinds | {name: decided[name] for name in undecided})


def _open_kinds(columns: _Columns) -> dict[str, str]:
    return {name: columns.kinds[name] for name in columns.names if name in columns.open}


def _stated_types(event: dict[str, Any], decision: _Decision | None) -> dict[str, str]:
    decided = decision.stated_types if decision else None
    named: dict[str, str] | None = event.get("column_types")
    if decided is not None and named not in (None, decided):
        raise InvalidRequestError("column_types states other types than the run has decided", "leave it out")
    return (decided if decided is not None else named) or {}


def _decide_columns(
    estimator: Any, event: dict[str, Any], decision: _Decision | None, infer: Infer, footer: _Footer | None = None
) -> tuple[_Columns, dict[str, Any]]:
    """Decide how each column is read, by what the model, the request and the run say, or else by `infer`; also returns examples."""
    names = _feature_columns(estimator, event, decision)
    expected = expected_columns(estimator, names)
    if _is_fitted_on_array(estimator):
        expected = _in_one_array(expected)
    stated = _stated_types(event, decision)
    fixed = {TEXT: TEXT, NUMBER: NUMBER, UNREAD: TEXT}  # what no step reads may be anything
    kinds = {name: stated.get(name) or fixed.get(expected[name].kind, "") for name in names}
    if footer:
        if stated:
            raise InvalidRequestError("column_types is for text: the columns of a Parquet file have types", "leave it out")
        kinds = {name: footer.kind_of(name, is_number=kinds[name] == NUMBER) for name in names}
    open_names = frozenset(name for name, kind in kinds.items() if not kind)
    columns = _Columns(
        names,
        kinds,
        open_names,
        frozenset(name for name in open_names if expected[name].kind == INTEGERS_TOO),
        {name: expected[name].known for name in names if expected[name].known and not footer},
        types={name: footer.types[name] for name in names} if footer else {},
    )
    if open_names:
        said = footer.kinds(open_names) if footer and not decision else {}
        found = infer(columns) if open_names - said.keys() and not decision else {}
        decided = decision.column_types if decision else dict.fromkeys(open_names, EMPTY) | found | said
        if lacking := sorted(open_names - decided.keys()):
            raise InvalidRequestError(f"the run has not decided the type of {', '.join(map(repr, lacking[:5]))}: plan it again")
        columns = replace(columns, kinds=kinds | {name: decided[name] for name in open_names})
    return columns, {name: opinion.example for name, opinion in expected.items()}


def _require_columns(
    used: list[str], header: Header, s3_uri: str, *, by_model: bool = False, named_by: str = "feature_columns"
) -> None:
    """Raise if a column that is used, by its name in a field of the event or (`by_model`) in the model, is missing or repeated."""
    times = Counter(header.names)
    if repeated := [name for name in used if times[name] > 1]:
        raise InvalidDataError(f"{s3_uri} has {repeated_columns(repeated)}", REPEATED_ADVICE)
    if used and header.sampled_rows and not header.names:
        what = f"is not JSON Lines: none of its first {header.sampled_rows} line(s) is a JSON object that has a key"
        raise InvalidDataError(f"{s3_uri} {what}", f"{_ON_ONE_LINE}; if it is CSV, set input_format to csv")
    if header.footer and (missing := [name for name in used if name not in times]):
        advice = f"correct {named_by}, or the names in the file"
        if by_model:
            advice = "the model was fitted on columns of these names: correct the names in the file"
        what = f"has no column {shown_names(missing, SHOWN_MISSING)}; it has {shown_names(header.names)}"
        raise InvalidRequestError(f"{s3_uri} {what}", advice)
    if any(name not in times for name in used):
        mistake = lacking_columns(used, header.names, named_by, header.dialect)
        advice = mistake.advice
        if header.sampled_rows is not None:
            first = f"{mistake.what}, as far as its first {header.sampled_rows} row(s) show"
            advice = "correct the name or, if only later rows have the column, state its type in column_types"
            if named_by == "output_columns":
                advice = "correct output_columns: one of the first rows must have each name"
            raise InvalidRequestError(f"{s3_uri} {first}", advice)
        if by_model and "feature_columns" in advice:
            where = "the header, which is the file's first line" if header.dialect.header else "csv.column_names"
            advice = f"the model was fitted on columns of these names: correct the names in {where}"
        raise InvalidRequestError(f"{s3_uri} {mistake.what}", advice)


class _Scored(NamedTuple):
    """What becomes of a block."""

    rows: int
    input_bytes: int
    names: list[str]
    """The names of the prediction columns."""
    joined: Any
    """The block's share of the part, as its writer takes it."""
    rejected: list[tuple[_Place, str]]
    """Rows that keep their places with an empty prediction, and why."""
    rounded_integers: int
    statistics: _BlockStatistics


@dataclass(frozen=True)
class _Scorer:
    """Scores blocks with one model, for one request."""

    estimator: Any
    writer: _Writer
    columns: _Columns
    given: str
    """What the model gets: ARRAY, VALUES, FRAME, TEXTS or TABLE."""
    examples: dict[str, Any]
    """A value of each column that the model knows."""
    name: str
    method: str
    quarantine: bool
    strict: bool
    decision: _Decision | None
    """If there is one, the model has predicted rows of this data before."""
    saved_with: tuple[str, str] | None = None
    """What to say, and to do, if another version of scikit-learn than the one here saved the model."""
    is_stored: bool = False
    """Whether the model is one of numbers alone: if it does not take rows, the model itself says why."""
    answers: _Answers | None = None
    """What the request's `predictions` makes of the model's probabilities; None if what `method` gives is written as it is."""

    def score(self, block: _Block) -> _Scored:
        """Score a block; InvalidDataError names the first row that cannot be scored, unless such rows are quarantined."""
        reasons: dict[int, _Reason] = {}

        def reject(row: int, reason: _Reason) -> None:
            if reason.is_models and self.saved_with:
                raise self.unfit(reason)
            if not self.quarantine:
                raise (ModelError if reason.is_models else InvalidDataError)(f"{block.at(row)}, {reason.public}", reason.advice)
            reasons.setdefault(row, reason)

        features = block.features(self.columns, reject)
        written = block if self.writer.reads is None else _Rows(block.rows, block.features(self.writer.reads, reject).table)
        rounded = _rounded_integers(block, self.columns, features)
        if self.strict:
            for row, column, text in rounded:
                fault = "too large to be exact (2^53)"
                shown, public = f"{shown_text(text)} is an integer {fault}", f"an integer of {len(text)} characters is {fault}"
                reject(row, _Reason(shown, public, f"an integer {fault}").after(f"column {column!r}: "))
        rows = np.arange(block.rows)
        if reasons:  # to delete nothing would take longer than a linear model
            rows = np.delete(rows, list(reasons))
        rows, predictions = self._predict(features if not reasons else features.take(rows), rows, reject)
        if predictions is None:
            names = self.expected_names(reasons.values())
        else:
            names = self.output_names(predictions.shape[1] if predictions.ndim == 2 else None)
        columns = None if predictions is None else self._written(predictions)
        joined = self.writer.joined(written, rows, columns, names)
        rejected = [(block.at(row), reasons[row].private) for row in sorted(reasons)]
        counted = _BlockStatistics(_NOTHING_COUNTED, _NOTHING_COUNTED, Counter(reason.counted for reason in reasons.values()))
        if columns is not None:
            counted = counted._replace(
                features=self.statistics.count_features(features if len(rows) == block.rows else features.take(rows)),
                predictions=self.statistics.count_predictions(names, columns, self.method, is_classifier=self._is_classifier()),
            )
        return _Scored(block.rows, block.input_bytes, names, joined, rejected, len(rounded), counted)

    @functools.cached_property
    def statistics(self) -> _Statistics:
        """What is counted of the blocks."""
        return _Statistics(self.columns)

    def _is_classifier(self) -> bool:
        return getattr(self.estimator, "classes_", None) is not None

    def _predict(self, parsed: _Features, rows: Array, reject: Reject) -> tuple[Array, Array | None]:
        """Predict rows, given with their numbers in the block; returns those that the model accepts, and the predictions."""
        if not len(rows):
            return rows, None
        try:
            has_matrix = self.given == ARRAY and parsed.matrix is not None
            return rows, self._call(parsed.matrix if has_matrix else self._input(parsed.table))
        except ModelError:
            raise
        except Exception:  # models raise what they like
            if self.is_stored:
                raise
            features = self._input(parsed.table)  # a step may have changed them where they are
            missing = np.column_stack([_missing(column) for column in parsed.table.columns])

        accepted, predictions, reasons = bisect_refused(self._call, self.method, features, missing)
        if predictions is None and not self.takes_rows():
            raise self.unfit(next(iter(reasons.values())))
        for row in sorted(reasons):
            names = [repr(self.columns.names[i]) for i in np.flatnonzero(missing[row] == NO_VALUE)[:5]]
            reject(int(rows[row]), _refused(reasons[row], f"no value in {', '.join(names)}: " if names else ""))
        return rows[accepted], predictions

    def predict(self, table: pa.Table) -> Array:
        """Predict rows, all of which the model must take."""
        return self._call(self._input(table))

    def output_names(self, n_outputs: int | None) -> list[str]:
        if self.answers:
            return self.answers.names
        return _output_columns(self.name, self.estimator, self.method, n_outputs)

    def _input(self, table: pa.Table) -> Any:
        return _to_model_input(table, self.given, self.columns.kinds)

    def _call(self, features: Any) -> Array:
        if self.answers:
            return self.answers.call(features)
        return _call_model(self.estimator, self.method, features)

    def _written(self, predictions: Array) -> _Predictions:
        """Return the columns that are written of what the model gave."""
        return self.answers.columns(predictions) if self.answers else predictions

    def expected_names(self, reasons: Iterable[_Reason] = ()) -> list[str]:
        """Name the prediction columns although no row shows them: as the run has decided, or as an example row shows."""
        if self.decision:
            return self.decision.prediction_columns
        try:
            columns = self._written(self._call(self._example_row()))
        except Exception as error:  # models raise what they like
            raise self.nothing_predicted(Counter(reason.counted for reason in reasons)) from error
        self.writer.expect(columns)
        return self.output_names(columns.shape[1] if isinstance(columns, np.ndarray) and columns.ndim == 2 else None)

    def nothing_predicted(self, reasons: Counter[str]) -> PredictionError:
        """Return the error for rows of which none could be predicted: the data are to blame if the model takes an example row."""
        most = next((reason or OTHER for reason, _ in reasons.most_common(1)), "")
        shown = f": {most}" if most else ""
        is_models = _FAILS in most
        if self.takes_rows() and not is_models:
            what = f"none of {reasons.total()} row(s) could be predicted, most often because of this{shown}"
            return InvalidDataError(what, "give data that the model can predict, or the model's own kinds of values")
        if self.saved_with:
            return self.unfit(_Reason(most, most, most, is_models))
        what = f"the model, a {type(self.estimator).__name__}, predicts none of {reasons.total()} row(s){shown}"
        return ModelError(what, _CALL_IT)

    def unfit(self, reason: _Reason) -> ModelError:
        """Return the error for a model that refuses every row, for this reason among others."""
        model = f"the model, a {type(self.estimator).__name__},"
        if reason.counted == _UNFITTED:
            return ModelError(f"{model} is not fitted", "fit it, and dump it then")
        is_order_wrong = "feature names" in reason.public.lower().replace("_", " ")
        if differ := _other_columns(self.estimator, self.columns.names, is_order_wrong=is_order_wrong):
            return ModelError(f"{model} does not fit the feature columns: {differ.what}", differ.advice)
        if self.saved_with:
            said, advice = self.saved_with
            return ModelError(f"{model} fails in its {self.method} ({reason.public}): {said}", advice)
        if _fitted_categories(self.estimator) and not any(map(pa.types.is_dictionary, self.columns.types.values())):
            if self.columns.types:
                what = f"{model} was fitted on pandas' categories, and none of these columns is one: {reason.public}"
                return ModelError(what, "write the data with such columns, or fit the model with an encoder in its pipeline")
            what = f"{model} was fitted on pandas' categories, which neither CSV nor JSON Lines has: {reason.public}"
            return ModelError(what, "fit it with an encoder in its pipeline in their place")
        words, advice = self._words_of_example(reason)
        return ModelError(f"{model} fails in its {self.method}: {words}", advice)

    def _words_of_example(self, reason: _Reason) -> tuple[str, str]:
        """Return what the model says, and what to do: all of it if it says the same of an example row, which holds no values."""
        features = self._example_row()
        try:
            self._call(features)
        except ModuleNotFoundError as error:
            lacks = _lacks(str(error.name))
            return f"it {lacks.what}", lacks.advice or _CALL_IT
        except Exception as error:  # noqa: BLE001  # models raise what they like
            text = _brief(error)
            given = {str(value) for value in np.asarray(features).ravel().tolist()} - {"", "0", "0.0", "False"}
            if _reason_of(error).public != reason.public or any(value in text for value in given):  # the model knows it by a row
                return reason.public, _CALL_IT
            key = error.args[0] if isinstance(error, KeyError) and error.args else None
            is_column = isinstance(key, str) and key not in self.columns.names
            advice = f"add {key!r} to feature_columns, if that is a column that the model uses" if is_column else _CALL_IT
            if isinstance(error, FileNotFoundError):
                advice = "put that file into the function's container image (docs/package.md), or into the model itself"
            return text if text == type(error).__name__ else f"{type(error).__name__}: {text}", advice
        return reason.public, _CALL_IT

    def takes_rows(self) -> bool:
        """Tell whether the model takes rows of these columns at all."""
        return self.decision is not None or not _refuses(lambda _: self._call(self._example_row()), None)

    def _example_row(self) -> Any:
        """Return one row of values that the model knows, or else of zeros and empty texts."""
        names, booleans = self.columns.names, (False, pa.bool_())
        types = self.columns.types
        plain_values = {TEXT: ("", pa.string()), BOOLEAN: booleans, OPTIONAL_BOOLEAN: booleans, INTEGER: (0, pa.int64())}

        def column(name: str) -> pa.Array:
            plain, kind = plain_values.get(self.columns.kinds[name], (0.0, pa.float64()))
            known = self.examples.get(name)
            if self.columns.kinds[name] == TYPED:
                return _example_of(types[name], known)
            try:
                return pa.array([plain if known is None else known]).cast(kind)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # the model knows another type than is decided
                return pa.array([plain]).cast(kind)

        return self._input(pa.table([column(name) for name in names], names=names))

    def depends_on_other_rows(self, block: _Block) -> str | None:
        """Return a warning if predictions of a block's rows depend on which rows are predicted together with them."""
        reasons: set[int] = set()
        features = block.features(self.columns, lambda row, _: reasons.add(row))
        rows, whole = self._predict(features, np.arange(block.rows), lambda row, _: reasons.add(row))
        kept = np.delete(np.arange(block.rows), list(reasons))
        if whole is None or len(kept) < 2 or len(rows) != len(kept):
            return None
        middle = len(kept) // 2
        try:
            halves = [self.predict(features.table.take(part)) for part in (kept[:middle], kept[middle:])]
            together = self.predict(features.table.take(kept))
            differ = _differ(together, np.concatenate(halves))
        except Exception:  # noqa: BLE001  # it takes all rows or one by one, but not these
            return None
        if not differ.any():
            return None
        return (
            f"predictions depend on which rows are predicted together: {int(differ.sum())} of the first {len(kept)} rows "
            "get another one in two halves than at once, so the output depends on how the data is cut"
        )


def _differ(predictions: Array, others: Array) -> Array:
    """Tell which rows have another label, or a number that differs by more than 1e-9 of the largest."""
    if predictions.shape != others.shape:
        return np.ones(len(predictions), bool)
    if predictions.dtype.kind in "fiub" and others.dtype.kind in "fiub":
        finite = np.abs(predictions[np.isfinite(predictions)])
        close = np.isclose(others, predictions, rtol=1e-9, atol=1e-9 * finite.max(initial=0.0), equal_nan=True)
    else:
        close = np.array(_printed(predictions.ravel())) == np.array(_printed(others.ravel()))
    return np.asarray(~close.reshape(len(predictions), -1).all(axis=1))


_OR_KEEP_ASIDE = "or keep such rows aside (on_bad_row: quarantine)"


class _Reason(NamedTuple):
    """Why a row cannot be scored: for the list of rejected rows, which is as private as the data, and for errors and logs."""

    private: str
    """May hold the row's values."""
    public: str
    """Holds no values."""
    counted: str
    """The public reason without what differs from row to row: rows with the same fault are counted by it."""
    is_models: bool = False
    """Whether the model is to blame, and not the row."""
    advice: str = f"correct the value, {_OR_KEEP_ASIDE}"

    def after(self, words: str) -> _Reason:
        """Return the reason with these words before each of its texts."""
        return self._replace(private=words + self.private, public=words + self.public, counted=words + self.counted)


Reject = Callable[[int, _Reason], None]
"""Takes a row (from 0, in its block) and why it cannot be scored; raises InvalidDataError unless bad rows are quarantined."""

# --- event ----------------------------------------------------------------------------------------------------------------------
# In: whatever somebody sent.
# Out: the same, every field of it checked; or all problems at once.
# Touches: nothing; the environment says which places in S3 an event may name.

MAX_KEY_BYTES = 1024
"""In UTF-8: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""
MAX_COLUMNS, MAX_COLUMN_NAME_CHARACTERS = 10_000, 1000
"""The most features of an event, and the longest name of a prediction."""
MAX_EVENT_SEGMENTS, MAX_SEGMENTS = 10_000, 20_000
"""The most segments of an event, and of a list in S3: the planner groups no more (functions/workflow/chunking.py)."""
MAX_PROBE_ROWS = 1_000_000
MAX_FURTHER_DATA = 100
"""The most objects in which a probe looks for a row that can be predicted."""
MAX_EXECUTION_NAME_CHARACTERS = 80
"""https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html"""
MAX_VERSION_ID_CHARACTERS = 1024
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html"""
MESSAGE_CHARACTERS = 8000
"""Step Functions takes a cause of 32,768 characters, and a URI may have 1,093."""
INPUT_FORMATS = ("auto", "csv", "jsonl", "parquet")
PREDICT, PREDICT_PROBA = "predict", "predict_proba"
PREDICTION_METHODS = (PREDICT, PREDICT_PROBA, "decision_function")
LABEL, PROBABILITY, PROBABILITIES, TOP_K, THRESHOLD = "label", "probability", "probabilities", "top_k", "threshold"
"""What an event may ask of a classifier, each once: the first three by these words, the last three by an object of one key."""
MAX_TOP_K = 1000
TEXT, NUMBER = "text", "number"
INTEGER, BOOLEAN, OPTIONAL_BOOLEAN, EMPTY = "integer", "boolean", "optional_boolean", "empty"
TYPED = "typed"
"""Of a type that text has not, as a file has: dates, categories, bytes."""
STATED_KINDS = (BOOLEAN, INTEGER, NUMBER, TEXT)
"""What a request may say of a column."""
DECIDED_KINDS = (EMPTY, BOOLEAN, OPTIONAL_BOOLEAN, INTEGER, NUMBER, TEXT)
"""What a run may decide for a column that the model leaves open: as `pandas.read_csv` types a whole column."""


def validate_event(event: dict[str, Any]) -> None:
    """Check an event's fields; null counts as absent.

    The data are named in one way: `data_s3_uri` with an optional `byte_range` (of Parquet: `row_groups`) and `data_etag`;
    `segments`, a list of these three that are scored as one chunk; or `segments_s3_uri`, such a list as JSON in S3.
    Raises InvalidRequestError (a ValueError) that names every missing, wrong or unknown field at once.
    """
    if not isinstance(event, dict):
        raise InvalidRequestError("the event is not a JSON object")
    is_probe = bool(event.get("probe_rows"))
    problems = _field_problems(event, _EVENT_FIELDS, optional=("output_s3_uri",) if is_probe else ())
    named = [name for name in ("data_s3_uri", "segments", "segments_s3_uri") if event.get(name) is not None]
    if not named and not (is_probe and event.get("on_no_rows") == "succeed"):
        problems.append("data_s3_uri is missing (give it, segments or segments_s3_uri)")
    if len(named) > 1:
        problems.append(f"{' and '.join(named)} exclude each other: give one of them")
    if named and "data_s3_uri" not in named:
        lonely = [name for name in ("byte_range", "row_groups", "data_etag", "probe_rows") if event.get(name) is not None]
        problems += [f"{name} is allowed only with data_s3_uri" for name in lonely]
    if event.get("further_data") is not None and not is_probe:
        problems.append("further_data is allowed only with probe_rows")
    for name in ("segments", "further_data"):
        if isinstance(event.get(name), list):
            problems += _segment_problems(event[name], name)
    segments = event["segments"] if isinstance(event.get("segments"), list) else []
    problems += _range_problems(_read_as(event), [event, *segments]) + _format_problems(event)
    read, written = _read_by(event), _written_by(event)
    problems += _confinement_problems([*read, *written], event.get("work_s3_uri"))
    if mistake := _written_as(event).mistake:
        problems.append(f"output_s3_uri {event['output_s3_uri']} {mistake}")
    problems += _model_problems(event.get("model_s3_uri"), written) + _overwrite_problems(read, written)
    problems += _method_problems(event)
    if problems:
        raise InvalidRequestError(f"the event has {_listed(problems)}")


def _format_problems(event: dict[str, Any]) -> list[str]:
    """Say which fields are not for data of this format."""
    kind, problems = _read_as(event), []
    if kind == "parquet" and event.get("column_types"):
        problems.append("column_types is for text: the columns of a Parquet file have types")
    if kind != "csv" and event.get("csv"):
        problems.append(f"csv says how CSV is written, and the data are {FORMATS[kind]}: leave csv out, or say input_format: csv")
    return problems


def _read_as(event: dict[str, Any]) -> str:
    """Return the format of an event's data: the stated one, or else the one that the first object's name promises."""
    stated = event.get("input_format") or "auto"
    segments = event.get("segments")
    first = _get(segments[0], "data_s3_uri") if isinstance(segments, list) and segments else event.get("data_s3_uri")
    named = promise_of(str(first)).format if stated == "auto" else stated
    return str(named if named in INPUT_FORMATS else "csv")


def _written_as(event: dict[str, Any]) -> Written:
    name, output_format = str(event.get("output_s3_uri")), event.get("output_format")
    compression, delimiter = event.get("output_compression"), delimiter_of(event.get("csv"))
    return written_as(name, _read_as(event), output_format if output_format in FORMATS else None, compression, delimiter)


def _range_problems(kind: str, segments: Iterable[Any]) -> list[str]:
    """Say which field names a range of another format: a file of text is cut between bytes, and Parquet between row groups."""
    name, instead = ("byte_range", "row_groups") if kind == "parquet" else ("row_groups", "byte_range")
    if all(_get(segment, name) is None for segment in segments):
        return []
    return [f"{name} is not for {FORMATS[kind]}: give {instead}"]


def _field_problems(
    document: dict[str, Any], fields: dict[str, _Field], prefix: str = "", optional: Collection[str] = ()
) -> list[str]:
    """Say which fields are unknown, missing or wrong; `optional` ones may be missing although they are required elsewhere."""
    problems = [f"unknown field {prefix}{name}" for name in document if name not in fields]
    for name, rule in fields.items():
        value = document.get(name)
        if value is None:
            if rule.required and name not in optional:
                problems.append(f"{prefix}{name} is missing")
        elif name == "csv":
            problems += dialect_problems(value)
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


_Named = list[tuple[str, str]]
"""URIs, each with what an event calls it."""


def _read_by(event: dict[str, Any]) -> _Named:
    single = [
        (name, event.get(name))
        for name in ("model_s3_uri", "stored_model_s3_uri", "segments_s3_uri", "decision_s3_uri", "data_s3_uri")
    ]
    listed = [named for name in ("segments", "further_data") for named in _data_in(event.get(name), name)]
    return [(name, uri) for name, uri in single if isinstance(uri, str)] + listed


def _data_in(segments: object, name: str = "") -> _Named:
    items = enumerate(segments) if isinstance(segments, list) else ()
    named = [(f"{name}[{index}].data_s3_uri", _get(item, "data_s3_uri")) for index, item in items]
    return [(name, uri) for name, uri in named if isinstance(uri, str)]


def _written_by(event: dict[str, Any]) -> _Named:
    """Return what an event writes, also what it does not name."""
    output, receipt = event.get("output_s3_uri"), event.get("receipt_s3_uri")
    written = []
    if isinstance(output, str):
        written += [("output_s3_uri", output), ("the list of rejected rows", f"{output}.rejected.csv")]
    if isinstance(receipt, str):
        written += [("receipt_s3_uri", receipt), ("what is found of the columns' types", _types_uri(receipt))]
    return written


def _listed(problems: list[str]) -> str:
    more = f"; and {len(problems) - _SHOWN_PROBLEMS} more" if len(problems) > _SHOWN_PROBLEMS else ""
    text = f"{len(problems)} problem(s): {'; '.join(problems[:_SHOWN_PROBLEMS])}{more}"
    return text if len(text) <= MESSAGE_CHARACTERS else f"{text[: MESSAGE_CHARACTERS - 1]}…"


_SHOWN_PROBLEMS = 50
"""A list may have thousands of segments, and as many problems."""


_WORK_FIELDS = ("segments_s3_uri", "decision_s3_uri", "output_s3_uri", "receipt_s3_uri")
_PREFIX_VARIABLES = {
    "model_s3_uri": "MODEL_S3_PREFIX", "data_s3_uri": "DATA_S3_PREFIX", "stored_model_s3_uri": "OUTPUT_S3_PREFIX",
    **dict.fromkeys(_WORK_FIELDS, "OUTPUT_S3_PREFIX"),
}  # fmt: skip


def _confinement_problems(named: _Named, work: object = None) -> list[str]:
    """Say which URIs are outside of the prefix for their field, or of the run's own work, or mean another key to other tools.

    An event of the workflow names its `work`, because its item in S3 may have been changed.
    """
    problems = []
    for name, uri in named:
        field_name = name.rpartition(".")[2]
        if field_name not in _PREFIX_VARIABLES or not _is_uri(uri):
            continue
        allowed = os.environ.get(_PREFIX_VARIABLES[field_name])
        if allowed and not uri.startswith(allowed):
            only = f"the only place that this function may use for it: choose a URI that begins with {allowed}"
            problems.append(f"{name} {uri} is not under {allowed}, {only}")
        if field_name != "data_s3_uri" and (problem := _ambiguous(uri)):  # the data's key may come from a listing, and is literal
            problems.append(f"{name} {problem}")
        if field_name in _WORK_FIELDS and isinstance(work, str) and not uri.startswith(work):
            problems.append(f"{name} {uri} is not under work_s3_uri {work}")
    return problems


_DECODINGS = 5
"""Times that a key may be percent-encoded over: no tool decodes more often."""
_AMBIGUOUS = re.compile(r"^/|//|(^|[/\\])\.\.?([/\\]|$)|[\x00-\x1f\x7f-\x9f]")


def _ambiguous(uri: str) -> str | None:
    """Say that a key means another one to tools that normalise paths."""
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


# {{{cog cog.outl(reference.copied("csv_dialect", "class Dialect")) }}}
class Dialect(NamedTuple):
    """How CSV is written, beside what all of it has in common: quotes, doubled in quoted fields, and LF or CRLF."""

    delimiter: str = ","
    header: bool = True
    column_names: tuple[str, ...] | None = None
    """The names of the columns, if there is no header."""
    encoding: str = "utf-8"
    """As Python calls its codec. UTF-16 is read as its text in UTF-8, and written in UTF-16 again."""
    decimal: str = "."
    comment: str | None = None
    """The first character of lines that are no rows."""


COMMAS = Dialect()
"""CSV as it is if nobody says otherwise."""
MAX_NAMES_CHARACTERS = 16_000
"""Of `column_names` together: each chunk's event has them, and an execution's document, which may have 256 KiB, three times."""


WIDE_CODECS = {"utf-16": "utf-16-le", "utf-16-le": "utf-16-le", "utf-16-be": "utf-16-be"}
"""UTF-16, of which the usual one has the lower byte first: a byte order mark may say so, too."""


def dialect_of(given: Mapping[str, Any] | None) -> Dialect:
    """Return the dialect that a field `csv`, which has no problems, says."""
    found = COMMAS._replace(**{name: value for name, value in (given or {}).items() if value is not None})
    names = found.column_names
    return found._replace(column_names=names and tuple(names), encoding=codec_of(found.encoding) or "")


def field_of(dialect: Dialect) -> dict[str, Any] | None:
    """Return the field `csv` that says a dialect, and no more than that; None for the usual one."""
    said = {name: value for name, value in dialect._asdict().items() if value != getattr(COMMAS, name)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()} or None


def is_wide(dialect: Dialect) -> bool:
    """Whether a line end is more than one octet: such data cannot be cut by looking at octets."""
    return dialect.encoding in WIDE_CODECS


def of_text(dialect: Dialect) -> Dialect:
    """Return the dialect of the text that is read: UTF-16 becomes UTF-8."""
    return dialect._replace(encoding="utf-8") if is_wide(dialect) else dialect


def delimiter_of(given: object) -> str:
    """Return the delimiter that a field `csv` says; the usual one if there is no field, or if it has problems."""
    if isinstance(given, dict) and not any(dialect_problems(given)):
        return dialect_of(given).delimiter
    return COMMAS.delimiter


def dialect_problems(given: object) -> Iterator[str]:
    """Say what is wrong with a field `csv`."""
    if not isinstance(given, dict):
        yield "csv must be an object"
        return
    said = {name: value for name, value in given.items() if value is not None}
    rules = {
        "delimiter": (_is_mark, "one ASCII character that is no letter, digit, quote or line end, and none of + - ."),
        "header": (lambda value: isinstance(value, bool), "true or false"),
        "column_names": (_are_names, f"a list of different names, of {MAX_NAMES_CHARACTERS} characters together at most"),
        "encoding": (lambda value: isinstance(value, str), "the name of an encoding"),
        "decimal": ((".", ",").__contains__, "'.' or ','"),
        "comment": (
            lambda value: _is_mark(value) and value >= "!",
            "as csv.delimiter, and to be seen",
        ),
    }
    unknown = [f"csv has no field {name}: it has {', '.join(rules)}" for name in said if name not in rules]
    wrong = [f"csv.{name} must be {rules[name][1]}" for name in rules if name in said and not rules[name][0](said[name])]
    yield from unknown + wrong
    if unknown or wrong:
        return
    dialect = COMMAS._replace(**said)
    if not codec_of(dialect.encoding):
        yield (
            f"csv.encoding {dialect.encoding[:40]!r} is none that can be read: that is UTF-8, UTF-16, or what has one byte for "
            "each character, and ASCII among them, such as cp1252 or latin-1; convert the data to UTF-8"
        )
    for name in ("decimal", "comment"):
        if dialect.delimiter == getattr(dialect, name):
            yield f"csv.delimiter and csv.{name} are both {dialect.delimiter!r}: they must differ"
    if dialect.header and dialect.column_names:
        yield "csv.column_names are for data without a header: say header: false, too, or leave them out"
    if not dialect.header and not dialect.column_names:
        yield "csv.column_names is missing: data without a header needs the names of all of its columns, in their order"


def _is_mark(value: object) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r'[^\0\r\n"0-9A-Za-z+.\x80-\U0010ffff-]', value))


def _are_names(value: object) -> bool:
    if not isinstance(value, list) or not all(isinstance(name, str) and re.fullmatch("[^\ud800-\udfff]+", name) for name in value):
        return False
    return 0 < len(set(value)) == len(value) and sum(map(len, value)) <= MAX_NAMES_CHARACTERS


def codec_of(encoding: str) -> str | None:
    """Return the name of Python's codec for an encoding in which data can be read; None if it is no such one."""
    try:
        name = codecs.lookup(encoding).name
    except (LookupError, ValueError):
        return None
    if name in ("utf-8", "utf-8-sig"):  # a byte order mark is welcome in both
        return "utf-8"
    if name in WIDE_CODECS:
        return WIDE_CODECS[name]
    return name if name == "ascii" or undefined_octets(name) is not None else None


@functools.lru_cache(maxsize=16)
def undefined_octets(codec: str) -> bytes | None:
    """Return the octets that are no character; None if a character may be several octets, or not all of ASCII is itself."""
    beyond, undefined = range(128, 256), bytearray()
    try:
        # The second are what some of Python's own codecs take for one letter.
        if any(text.decode(codec) != text.decode("ascii") for text in (bytes(range(92)), bytes(range(93, 128)), rb"\u0041")):
            return None
        for octet in beyond:
            try:
                if bytes([octet]).decode(codec).isascii():  # as good as a second spelling of a quote or a delimiter
                    return None
            except UnicodeDecodeError as error:
                if error.encoding not in ("charmap", "ascii"):  # the first of several octets
                    return None
                undefined.append(octet)
    except (LookupError, ValueError):
        return None
    return bytes(undefined) if codec == "ascii" or len(undefined) < len(beyond) else None


def is_in_encoding(text: str, dialect: Dialect) -> bool:
    """Whether a text can be written as the data are."""
    try:
        text.encode(dialect.encoding)
    except UnicodeEncodeError:
        return False
    return True


# Possessive, because a field may have millions of characters: nothing that matched is ever given back.
QUOTED = re.compile(rb'"[^"]*+"')


@functools.lru_cache(maxsize=8)
def record_pattern(delimiter: str) -> re.Pattern[bytes]:
    """Return what a record of RFC 4180, without its line end, matches as a whole."""
    mark = re.escape(delimiter).encode()
    field = rb'(?:"[^"]*+(?:""[^"]*+)*+"|[^"%b\r\n]*+)' % mark
    return re.compile(rb"%b(?:%b%b)*+" % (field, mark, field))


@functools.lru_cache(maxsize=8)
def skipped_line(dialect: Dialect) -> re.Pattern[bytes]:
    """Return what a line that is no row, without its line end, matches as a whole: spaces, as for pandas, or a comment."""
    return re.compile(_skipped(dialect))


@functools.lru_cache(maxsize=8)
def skipped_lines(dialect: Dialect) -> re.Pattern[bytes]:
    """Return what as many such lines as there are match, each with its line end."""
    return re.compile(rb"(?:(?:%b)\r?\n)*" % _skipped(dialect))


def _skipped(dialect: Dialect) -> bytes:
    spaces = rb"[%b]*+" % b" \t".replace(dialect.delimiter.encode(), b"")
    return spaces if dialect.comment is None else rb"%b[^\n]*+|%b" % (re.escape(dialect.comment).encode(), spaces)


# {{{end}}} of the copy

# {{{cog cog.outl(reference.copied("data_names", "FORMATS", "def is_hidden")) }}}
FORMATS = {"csv": "CSV", "jsonl": "JSON Lines", "parquet": "Parquet"}
"""The formats of `input_format` and `output_format`, and what people call them."""
CONVERSIONS = {"csv": ("csv", "jsonl", "parquet"), "jsonl": ("jsonl", "csv", "parquet"), "parquet": ("parquet", "csv", "jsonl")}
"""By the format of the data, what its output can be."""
COMPRESSIONS = ("none", "gzip", "zstd")
"""What `output_compression` can be."""
TABLE_ENDINGS = {
    ".csv": ("csv", None), ".tsv": ("csv", "\t"), ".tab": ("csv", "\t"), ".psv": ("csv", "|"),
    ".jsonl": ("jsonl", None), ".ndjson": ("jsonl", None),
    ".parquet": ("parquet", None), ".parq": ("parquet", None), ".pq": ("parquet", None),
}  # fmt: skip
"""Ends of names, in lower case, with the format that they promise, and its delimiter if they promise one."""
COMPRESSED_ENDINGS = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
OTHER_ENDINGS = (
    ".7z", ".arrow", ".avro", ".br", ".bz2", ".db", ".duckdb", ".feather", ".h5", ".hdf", ".hdf5", ".htm", ".html", ".ipc",
    ".joblib", ".json", ".lz4", ".npy", ".npz", ".ods", ".orc", ".pickle", ".pkl", ".rar", ".snappy", ".sqlite", ".tar", ".tgz",
    ".xls", ".xlsb", ".xlsm", ".xlsx", ".xml", ".xz", ".zip",
)  # fmt: skip
"""Ends of names that promise what no output is: whoever reads an output of that name would take it for that."""


class Promise(NamedTuple):
    """What the end of a name says of the object."""

    ending: str
    """In lower case; empty if it says nothing."""
    format: str | None
    """None if it says at most that the object is compressed, or if it is one of `OTHER_ENDINGS`."""
    delimiter: str | None
    compression: str
    is_other: bool
    """Whether it promises what no output is."""


def promise_of(name: str) -> Promise:
    """Return what the end of a name promises: `.csv.gz` is CSV that is compressed, and `.gz` alone anything that is."""
    lower = name.lower()
    outer = next((ending for ending in COMPRESSED_ENDINGS if lower.endswith(ending)), "")
    inner = lower.removesuffix(outer)
    ending = next((ending for ending in (*TABLE_ENDINGS, *OTHER_ENDINGS) if inner.endswith(ending)), "")
    kind, delimiter = TABLE_ENDINGS.get(ending, (None, None))
    return Promise(ending + outer, kind, delimiter, COMPRESSED_ENDINGS.get(outer, "none"), ending in OTHER_ENDINGS)


class Written(NamedTuple):
    """How an output is written."""

    format: str | None
    """None if it is that of the data, which is not known yet."""
    compression: str
    mistake: str | None
    """Why it cannot be: completes a sentence that begins with the output."""


def written_as(
    name: str,
    input_format: str | None = None,
    output_format: str | None = None,
    output_compression: str | None = None,
    delimiter: str = ",",
) -> Written:
    """Decide how an output is written: as the request says, else as its name promises, else as the data and uncompressed.

    `delimiter` is that of CSV. Names that promise anything else than what is written are a mistake.
    """
    promise = promise_of(name)
    kind = output_format or promise.format or input_format
    compression = output_compression or promise.compression
    return Written(kind, compression, _mistake(promise, input_format, kind, compression, delimiter))


def _mistake(  # noqa: PLR0911  # one a mistake
    promise: Promise, input_format: str | None, kind: str | None, compression: str, delimiter: str
) -> str | None:
    possible = CONVERSIONS[input_format] if input_format else tuple(FORMATS)
    written = " or ".join(FORMATS[one] for one in possible)
    is_possible = kind is None or kind in possible
    usual = ".tsv" if kind == "csv" and delimiter == "\t" else f".{kind if kind and is_possible else possible[0]}"
    usual += {"gzip": ".gz", "zstd": ".zst"}.get(compression, "") if usual != ".parquet" else ""
    choose = f"choose a name that ends in {usual}"
    if promise.is_other or (promise.format == kind and not is_possible):
        return f"ends in {promise.ending}, and what is written is {written}: {choose}"
    if not is_possible:
        return f"cannot be {FORMATS[str(kind)]}, because what is written of such data is {written}: choose another output_format"
    if kind == "parquet" and compression != "none":
        return f"is Parquet, which compresses its own pages, and not all of it by {compression}: leave that out"
    if promise.format not in (None, kind):
        return f"ends in {promise.ending}, and output_format is {kind}: {choose}, or another output_format"
    if promise.ending and promise.compression != compression:
        return f"ends in {promise.ending}, and output_compression is {compression}: {choose}, or another output_compression"
    if kind == "csv" and promise.delimiter not in (None, delimiter):
        return f"ends in {promise.ending}, and its fields are separated by {delimiter!r}: {choose}"
    return None


# {{{end}}} of the copy


def _model_problems(model: object, written: _Named) -> list[str]:
    """Say what would be written where models are read, or the other way round.

    A text can be a CSV and a pickle at once: whoever may write data could make a model of an output, and a model is code.
    """
    models, outputs = os.environ.get("MODEL_S3_PREFIX"), os.environ.get("OUTPUT_S3_PREFIX")
    data = os.environ.get("DATA_S3_PREFIX")
    because = "a model runs code, and an output holds what its data hold"
    problems = [
        f"{uri} would be written where models are read ({models}): {because}; write it elsewhere"
        for _, uri in written
        if models and uri.startswith(models)
    ]
    if isinstance(model, str) and _is_uri(model):
        is_work = WORK_MARK in parse_s3_uri(model)[1]
        if is_work or (outputs and not models and model.startswith(outputs)):
            place = f"under {WORK_MARK}" if is_work else outputs
            problems.append(f"model_s3_uri {model} lies where outputs are written ({place}): {because}; keep models elsewhere")
        if models and data and model.startswith(models) and model.startswith(data):
            place = "a model runs code; keep models where no data are written"
            problems.append(f"model_s3_uri {model} lies where data are read ({data}): {place}")
    return problems


def _overwrite_problems(read: _Named, written: _Named) -> list[str]:
    """Say which objects would be written over something else that the event reads or writes."""
    taken = {uri: name for name, uri in reversed(written)}
    return [
        f"{taken[uri]} {uri} is also {name}, and would overwrite it: choose another"
        for name, uri in (*read, *written)
        if taken.get(uri, name) != name
    ]


def _method_problems(event: dict[str, Any]) -> list[str]:
    if event.get("predictions") is None or event.get("prediction_method") in (None, PREDICT):
        return []
    return ["predictions and prediction_method exclude each other, as both say what is written: give one of them"]


def parse_s3_uri(s3_uri: str) -> tuple[str, str]:
    """Split `s3://bucket/key` into bucket and key; InvalidRequestError (a ValueError) for anything else."""
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


def _is_text(value: object, characters: int | None = None) -> bool:
    """Tell whether a value is a text that UTF-8 can hold: JSON's escapes can spell half a surrogate pair, which it cannot."""
    return isinstance(value, str) and 1 <= len(value) <= (characters or len(value)) and not re.search("[\ud800-\udfff]", value)


def _is_columns(value: object, least: int = 1) -> bool:
    if not isinstance(value, list) or not least <= len(value) <= MAX_COLUMNS:
        return False
    return all(_is_text(name) for name in value) and len(set(value)) == len(value)


def _is_count(value: object, largest: int = 2**63 - 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= largest


def _is_kinds(value: object, kinds: Sequence[str]) -> bool:
    """Tell whether a value gives each of some columns one of these kinds."""
    if not isinstance(value, dict) or len(value) > MAX_COLUMNS:
        return False
    return all(_is_text(name) and isinstance(kind, str) and kind in kinds for name, kind in value.items())


def _is_predictions(value: object) -> bool:
    """Tell whether a value is a list of what a classifier may be asked for, each once."""
    if not isinstance(value, list) or not value:
        return False
    for item in value:
        is_detailed = isinstance(item, dict) and len(item) == 1
        if not (_is_detailed(*next(iter(item.items()))) if is_detailed else item in (LABEL, PROBABILITY, PROBABILITIES)):
            return False
    return len({kind for kind, _ in map(_kind_and_detail, value)}) == len(value)


def _kind_and_detail(item: Any) -> tuple[str, Any]:
    """Return what an item of `predictions` asks for, and of what, if it says so."""
    return next(iter(item.items())) if isinstance(item, dict) else (item, None)


def _is_detailed(kind: str, detail: Any) -> bool:
    if kind == TOP_K:
        return _is_count(detail, MAX_TOP_K) and detail > 0
    if kind == PROBABILITIES and isinstance(detail, dict) and detail.keys() == {"classes"}:
        classes = detail["classes"]
        return isinstance(classes, list) and bool(classes) and all(isinstance(label, (str, int, float)) for label in classes)
    shares = list(detail.values()) if isinstance(detail, dict) else [detail]
    return kind == THRESHOLD and bool(shares) and all(type(share) in (int, float) and 0 <= share <= 1 for share in shares)


def _get(event: object, name: str) -> Any:
    return event.get(name) if isinstance(event, dict) else None


class _Field(NamedTuple):
    is_valid: Callable[[object], bool]
    expected: str
    required: bool = False


_URI = _Field(_is_uri, f"an S3 URI, s3://bucket/key, with a key of at most {MAX_KEY_BYTES} bytes")
_FILE_URI = _Field(lambda value: _is_uri(value) and not str(value).endswith("/"), f"{_URI.expected} that does not end in /")
_FOLDER_URI = _Field(lambda value: _is_uri(value) and str(value).endswith("/"), f"{_URI.expected} that ends in /")
_ETAG = _Field(lambda value: _is_text(value) and str(value).isascii() and str(value).isprintable(), "an ETag")
_SHA256 = _Field(lambda value: bool(re.fullmatch("[0-9a-f]{64}", str(value))), "64 hexadecimal digits")
_FLAG = _Field(lambda value: isinstance(value, bool), "true or false")


def _text_up_to(most: int) -> _Field:
    return _Field(lambda value: _is_text(value, most), f"a text of 1 to {most} characters")


_EVENT_FIELDS = {
    "model_s3_uri": _URI._replace(required=True),
    "data_s3_uri": _URI,
    "segments": _Field(
        lambda value: isinstance(value, list) and 1 <= len(value) <= MAX_EVENT_SEGMENTS,
        f"a list of 1 to {MAX_EVENT_SEGMENTS} segments (segments_s3_uri takes more)",
    ),
    "segments_s3_uri": _URI,
    "output_s3_uri": _FILE_URI._replace(required=True),
    "prediction_column_name": _text_up_to(MAX_COLUMN_NAME_CHARACTERS)._replace(required=True),
    "feature_columns": _Field(_is_columns, f"a list of 1 to {MAX_COLUMNS} different column names"),
    "input_format": _Field(INPUT_FORMATS.__contains__, f"one of {', '.join(INPUT_FORMATS)}"),
    "csv": _Field(lambda value: not any(dialect_problems(value)), f"an object with any of {', '.join(Dialect._fields)}"),
    "prediction_method": _Field(PREDICTION_METHODS.__contains__, f"one of {', '.join(PREDICTION_METHODS)}"),
    "predictions": _Field(
        _is_predictions,
        "a list of label, probability, probabilities (or an object of this one key, with classes), and objects of one key, "
        f"top_k (1 to {MAX_TOP_K}) or threshold (0 to 1, or an object of classes with theirs), each once",
    ),
    "output_columns": _Field(functools.partial(_is_columns, least=0), f"a list of at most {MAX_COLUMNS} different column names"),
    "on_bad_row": _Field(("fail", "quarantine").__contains__, "fail or quarantine"),
    "on_no_rows": _Field(("fail", "succeed").__contains__, "fail or succeed"),
    "output_format": _Field(FORMATS.__contains__, f"one of {', '.join(FORMATS)}"),
    "output_compression": _Field(COMPRESSIONS.__contains__, f"one of {', '.join(COMPRESSIONS)}"),
    "model_sha256": _SHA256,
    "model_version_id": _text_up_to(MAX_VERSION_ID_CHARACTERS),
    "model_etag": _ETAG,
    "data_etag": _ETAG,
    "byte_range": _Field(
        lambda value: isinstance(value, list) and len(value) == 2 and all(map(_is_count, value)) and value[0] < value[1],
        "[start, stop) in bytes, 0 <= start < stop",
    ),
    "row_groups": _Field(
        lambda value: isinstance(value, list) and len(value) == 2 and all(map(_is_count, value)) and value[0] <= value[1],
        "[start, stop) in row groups, from 0, start <= stop",
    ),
    "column_types": _Field(
        lambda value: _is_kinds(value, STATED_KINDS), f"an object of columns, each one of {', '.join(STATED_KINDS)}"
    ),
    "decision_s3_uri": _URI,
    "decision_sha256": _SHA256,
    "stored_model_s3_uri": _URI,
    "stored_model_sha256": _SHA256,
    "work_s3_uri": _FOLDER_URI,
    "chunk_index": _Field(_is_count, "an integer from 0"),
    "receipt_s3_uri": _FILE_URI,
    "probe_rows": _Field(lambda value: _is_count(value, MAX_PROBE_ROWS), f"an integer from 0 to {MAX_PROBE_ROWS}"),
    "further_data": _Field(
        lambda value: isinstance(value, list) and len(value) <= MAX_FURTHER_DATA,
        f"a list of at most {MAX_FURTHER_DATA} objects with data_s3_uri",
    ),
    "strict": _FLAG,
    "raise_errors": _FLAG,
    "execution_name": _text_up_to(MAX_EXECUTION_NAME_CHARACTERS),
}
_SEGMENT_FIELDS = {
    "data_s3_uri": _URI._replace(required=True),
    "byte_range": _EVENT_FIELDS["byte_range"],
    "row_groups": _EVENT_FIELDS["row_groups"],
    "data_etag": _ETAG,
}

# --- S3 -------------------------------------------------------------------------------------------------------------------------
# In: URIs, and local files to write or to read.
# Out: the objects' bytes in local files, and local files in S3; every failure is a PredictionError.
# Touches: S3, and the temporary directory.

BODY_ATTEMPTS = 5
"""How often a body that breaks midway is asked for: botocore repeats requests, not bodies."""
DOWNLOADS_AT_ONCE = 16
"""Objects of a grouped chunk that are fetched side by side; small ones cost the wait for S3 (some 20 ms), not their bytes."""
DOWNLOAD_PIECE_BYTES = 1 << 20
"""Bytes of a body that are in memory before they go to disk: 16 MiB for all downloads together, whatever the objects' sizes."""
UPLOAD_PIECE_BYTES, UPLOADS_AT_ONCE = 2**25, 4
"""What is larger leaves in pieces of this size, so many side by side: the requests of a TB are 0.15 $, 0.60 $ with 8 MiB.

One before the last may have a quarter of it; S3 takes 10,000 pieces of 5 MiB or more, and a smaller last one:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
"""
UPLOAD_PATIENCE_SECONDS = 5
"""How long a connection waits for bytes that are not scored yet, before it is given up: S3 ends idle ones after some 20 s, by
RequestTimeout of https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html."""
WORK_MARK, WORK_TAG = ".work/", "batch-predict=work"
"""In the keys of objects that the workflow deletes after publishing, and on them: a rule can match tags, not key suffixes."""


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


class _Object(NamedTuple):
    """An object, or some of its bytes: what a caller asks S3 for, and then what S3 has answered."""

    s3_uri: str
    byte_range: Sequence[int] | None = None
    """[start, stop); None for all."""
    etag: str | None = None
    """Known to the caller, who accepts no other; or as S3 has said."""
    version_id: str | None = None
    size: int = 0
    """Bytes of the whole object, as S3 has said."""

    def __str__(self) -> str:
        return f"{self.s3_uri} version {self.version_id}" if self.version_id else self.s3_uri


def download_from_s3(client: S3Client, s3_uri: str, local_path: str | Path) -> None:
    """Write the object to `local_path`; InputNotFoundError, or TransientS3Error after all retries."""
    _download(client, _Object(s3_uri), Path(local_path))


def _download(client: S3Client, wanted: _Object, target: Path | _GrowingFile, check: Check | None = None) -> _Object:
    """Write an object, or all bytes of its range, to a local file; for `check` see `_fetch`."""
    growing, path = (target, target.path) if isinstance(target, _GrowingFile) else (None, target)
    with path.open("wb", buffering=0) as file:
        found = _fetch(client, wanted, file, check, growing)
        start, stop = wanted.byte_range or (0, file.tell())
        if file.tell() != stop - start and (growing is None or growing.is_wanted):
            lacks = f"bytes=[{start}, {stop}) are not all there"
            raise InputChangedError(f"{wanted.s3_uri} is shorter than when it was planned: {lacks}")
    return found


def _head(client: S3Client, wanted: _Object) -> _Object:
    bucket, key = parse_s3_uri(wanted.s3_uri)
    options: dict[str, Any] = {"VersionId": wanted.version_id} if wanted.version_id else {}
    with _s3_errors(str(wanted)):
        answer = client.head_object(Bucket=bucket, Key=key, **options)
    return wanted._replace(etag=answer["ETag"], version_id=answer.get("VersionId"), size=answer["ContentLength"])


def _read(client: S3Client, wanted: _Object, check: Check | None = None) -> tuple[bytes, _Object]:
    """Return an object's bytes, or those of its range that exist; for `check` see `_fetch`."""
    sink = io.BytesIO()
    found = _fetch(client, wanted, sink, check)
    return sink.getvalue(), found


def _read_json(client: S3Client, s3_uri: str, most_bytes: int, what: str, sha256: str | None = None) -> tuple[Any, str]:
    """Return a JSON document and the SHA-256 of its bytes, which may be given; `what` says in errors what it should be."""

    def require_size(response: dict[str, Any]) -> None:
        if response["ContentLength"] > most_bytes:
            size = response["ContentLength"]
            raise InvalidRequestError(f"{s3_uri} has {size} bytes, more than the {most_bytes} of {what}")

    body, _ = _read(client, _Object(s3_uri), require_size)
    found = hashlib.sha256(body).hexdigest()
    if sha256 not in (None, found):
        raise InputChangedError(f"{s3_uri} is not {what}: its SHA-256 is {found}")
    try:
        return json.loads(body), found
    except (ValueError, RecursionError) as error:  # JSON may be nested deeper than Python's stack
        raise InvalidRequestError(f"{s3_uri} is not JSON: it should be {what}") from error


def _fetch(
    client: S3Client, wanted: _Object, sink: IO[bytes], check: Check | None = None, growing: _GrowingFile | None = None
) -> _Object:
    """Write what is wanted, as far as it exists, to an empty file, and return the object as S3 has it.

    A body that breaks midway is continued at the byte where it broke, of the same object (If-Match). `check` sees S3's first
    answer before any of its body is read, and may refuse it by raising an error. `growing` is told what has arrived.
    """
    bucket, key = parse_s3_uri(wanted.s3_uri)
    start, stop = wanted.byte_range or (0, None)
    found = wanted
    with _s3_errors(str(wanted)):
        for attempt in range(1, BODY_ATTEMPTS + 1):
            arrived = sink.tell()
            is_part = start + arrived > 0 or stop is not None
            options: dict[str, Any] = {
                "IfMatch": found.etag,
                "Range": f"bytes={start + arrived}-{'' if stop is None else stop - 1}" if is_part else None,
                "VersionId": wanted.version_id,
            }
            given = {name: value for name, value in options.items() if value}
            response = client.get_object(Bucket=bucket, Key=key, **given)
            body = response["Body"]
            if check and attempt == 1:
                try:
                    check(response)
                except BaseException:
                    body.close()  # nobody will read it, and S3 would send it all
                    raise
            size = int(response["ContentRange"].rpartition("/")[2]) if "ContentRange" in response else response["ContentLength"]
            found = wanted._replace(etag=response["ETag"], version_id=response.get("VersionId"), size=size)
            try:
                for piece in body.iter_chunks(DOWNLOAD_PIECE_BYTES):
                    sink.write(piece)
                    if growing:
                        growing.advance(len(piece))
                        if not growing.is_wanted:
                            break
            except TRANSIENT_EXCEPTIONS as error:
                is_wrong = isinstance(error, boto_errors.FlexibleChecksumError)  # all bytes have come, but not those that were sent
                if attempt == BODY_ATTEMPTS or (is_wrong and growing):  # they may have been scored
                    raise
                if is_wrong:
                    sink.seek(arrived)
                    sink.truncate()
            else:
                break
    return found


class _GrowingFile:
    """A local file that grows while others read it, who wait for its bytes: a download, or an output. It is opened as a Path is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_wanted = True
        """Whether anybody still reads; if not, the download ends early."""
        self.object_bytes: int | None = None
        """Size of the whole object, known after the download."""
        self._changed = threading.Condition()
        self._bytes = 0
        self._is_over = False
        self._error: BaseException | None = None

    def fill(self, client: S3Client, wanted: _Object, check: Check) -> None:
        """Download into the file; an error is raised where its bytes are waited for."""
        self.fill_by(lambda: _download(client, wanted, self, check).size)

    def fill_by(self, write: Callable[[], int]) -> None:
        """Let the file be written, which returns the object's size; an error is raised where its bytes are waited for."""
        error = None
        try:
            self.object_bytes = write()
        except BaseException as caught:  # noqa: BLE001  # raised by `wait_for`
            error = caught
        self.end(error)

    def end(self, error: BaseException | None = None) -> None:
        """Say that nothing more will come, and what is raised for whoever waits."""
        with self._changed:
            self._is_over, self._error = True, error
            self._changed.notify_all()

    def advance(self, count: int) -> None:
        with self._changed:
            self._bytes += count
            self._changed.notify_all()

    def wait_for(self, position: int, seconds: float | None = None) -> None:
        """Wait until the bytes up to `position` have come, or all have, or time is over; raises what ended the download."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or self._bytes >= position, seconds)
            if self._error:
                raise self._error

    @contextmanager
    def open(self, mode: str) -> Iterator[Self]:
        """Read from the beginning; one reader at a time."""
        self.wait_for(1)  # the file exists from its first byte on
        with self.path.open(mode, buffering=0) as file:
            self._file: IO[bytes] = file
            yield self

    def read(self, size: int) -> bytes:
        self.wait_for(self._file.tell() + size)
        return self._file.read(size)

    def seek(self, position: int) -> None:
        self._file.seek(position)


def upload_to_s3(client: S3Client, local_path: str | Path, s3_uri: str) -> None:
    """Write the file to `s3_uri`: whole or not at all, in parallel pieces when it is large.

    Raises InvalidRequestError if S3 refuses (no such bucket, no permission), TransientS3Error after botocore's retries.
    """
    with _Upload(client, Path(local_path), s3_uri) as upload:
        upload.complete()


class _Upload:
    """A local file that leaves for S3 while it is written: a whole object after `complete`, and none if a `with` ends before.

    It is opened as a Path is. boto3's own upload of a stream would keep all pieces that are on their way in memory, and go on
    reading to the end after one has failed.
    """

    def __init__(self, client: S3Client, path: Path, s3_uri: str, content_type: str = "text/csv") -> None:
        self._client, self._path, self._s3_uri = client, path, s3_uri
        bucket, key = parse_s3_uri(s3_uri)
        self._place: dict[str, Any] = {"Bucket": bucket, "Key": key}
        self._description = {**self._place, "ContentType": content_type, **_work_tag(key)}
        self._pool = ThreadPoolExecutor(UPLOADS_AT_ONCE, "upload")
        self._begin()

    def _begin(self) -> None:
        self._growing = _GrowingFile(self._path)
        self._pieces: list[Future[CompletedPartTypeDef]] = []
        self._announced_bytes = 0
        """Bytes of all pieces that have begun to leave; the last one may not be written yet."""
        self.bytes_to_come = 0
        """How many more will be written at least, beyond the next `write`; if it was too many, the last piece is sent again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._pool:
            self._take_back()

    def _take_back(self) -> None:
        self._growing.end(_CutOff())
        for piece in self._pieces:
            piece.cancel()
        wait(self._pieces)  # none may arrive after the abort
        if "UploadId" in self._place:
            with suppress(*S3_EXCEPTIONS):  # what stays is ended by the merge of its run, or by a lifecycle rule
                self._client.abort_multipart_upload(**self._place)
            del self._place["UploadId"]

    @contextmanager
    def open(self, mode: str) -> Iterator[Self]:
        """Write from the beginning: what has left of an earlier attempt is taken back."""
        self._take_back()
        self._begin()
        with self._path.open(mode) as file:
            self._file: IO[bytes] = file
            yield self

    def tell(self) -> int:
        return self._file.tell()

    def write(self, data: bytes | memoryview) -> int:
        """Write, and send pieces as soon as they begin; raises what an earlier one has failed of."""
        for piece in self._pieces:
            if piece.done():
                piece.result()
        written = self._file.write(data)
        self._file.flush()
        self._growing.advance(written)
        while size := self._next_piece(self._file.tell()):
            self._send(size)
        return written

    def _next_piece(self, written: int) -> int:
        """Return the size of the piece that begins, 0 if none does.

        It leaves while it is written, so that little is left after the last row. The sizes depend on bytes alone, never on time: a
        chunk that is scored twice at once has one ETag.
        """
        certain = written + self.bytes_to_come
        size = min(UPLOAD_PIECE_BYTES, certain - self._announced_bytes)
        least = UPLOAD_PIECE_BYTES // 4 if self.bytes_to_come else UPLOAD_PIECE_BYTES
        return size if written > self._announced_bytes and certain > UPLOAD_PIECE_BYTES and size >= least else 0

    def complete(self) -> None:
        """Send the rest of the file, and let the object appear; raises what any piece has failed of."""
        self._growing.end()
        size = self._path.stat().st_size
        if not self._pieces and size <= UPLOAD_PIECE_BYTES:
            with self._errors(), self._path.open("rb") as file:
                self._client.put_object(**self._description, Body=file)
            return
        while self._announced_bytes < size:
            self._send(min(size - self._announced_bytes, UPLOAD_PIECE_BYTES))
        parts = [piece.result() for piece in self._pieces]
        with self._errors():
            self._client.complete_multipart_upload(**self._place, MultipartUpload={"Parts": parts})
        del self._place["UploadId"]

    def _send(self, size: int) -> None:
        """Send these next bytes of the file in the background."""
        if "UploadId" not in self._place:
            with self._errors():  # the kind of checksum that goes with each piece must be said beforehand
                created = self._client.create_multipart_upload(**self._description, ChecksumAlgorithm="CRC32")
            self._place["UploadId"] = created["UploadId"]
        self._pieces.append(self._pool.submit(self._send_piece, len(self._pieces) + 1, self._announced_bytes, size))
        self._announced_bytes += size

    def _send_piece(self, number: int, start: int, size: int) -> CompletedPartTypeDef:
        growing = self._growing
        try:
            sent = self._put_piece(number, _Piece(growing, start, size))
        except _CutOff:  # bytes came too slowly, or fewer than were certain
            growing.wait_for(start + size)
            sent = self._put_piece(number, _Piece(growing, start, min(size, self._path.stat().st_size - start)))
        checksum: CompletedPartTypeDef = {"ChecksumCRC32": sent["ChecksumCRC32"]} if "ChecksumCRC32" in sent else {}
        return {"PartNumber": number, "ETag": sent["ETag"], **checksum}  # an emulator may know no checksums

    def _put_piece(self, number: int, piece: _Piece) -> UploadPartOutputTypeDef:
        with self._errors(), piece as body:
            return self._client.upload_part(**self._place, PartNumber=number, Body=body, ChecksumAlgorithm="CRC32")

    def _errors(self) -> AbstractContextManager[None]:
        return _s3_errors(self._s3_uri, "cannot write the output")


class _CutOff(BaseException):  # botocore would repeat the request after an Exception
    """A piece's bytes do not come, or not now."""


class _Piece:
    """Some bytes of a growing file as the body of a request, which waits for them; it can be sent again."""

    def __init__(self, growing: _GrowingFile, start: int, size: int) -> None:
        self._growing, self._start, self._size = growing, start, size

    def __enter__(self) -> Any:
        self._file = self._growing.path.open("rb", buffering=0)
        self.seek(0)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._size

    def tell(self) -> int:
        return self._file.tell() - self._start

    def seek(self, position: int) -> None:
        self._file.seek(self._start + position)

    def read(self, size: int | None = None) -> bytes:
        left = self._size - self.tell()
        wanted = left if size is None or size < 0 else min(size, left)
        self._growing.wait_for(self._file.tell() + wanted, UPLOAD_PATIENCE_SECONDS)
        content = self._file.read(wanted)
        if len(content) < wanted:
            raise _CutOff
        return content


def _put_json(client: S3Client, s3_uri: str, document: dict[str, Any], refusal: str = "cannot write the receipt") -> str:
    """Write a document; returns the SHA-256 of the object's bytes."""
    try:
        body = orjson.dumps(document)  # a tenth of the time for a receipt with 200 features
    except TypeError:  # integers beyond 64 bits, or half of a surrogate pair
        body = json.dumps(document, separators=(",", ":")).encode()
    return _put(client, s3_uri, body, "application/json", refusal)


def _put(client: S3Client, s3_uri: str, body: bytes, content_type: str, refusal: str) -> str:
    bucket, key = parse_s3_uri(s3_uri)
    with _s3_errors(s3_uri, refusal):
        client.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type, **_work_tag(key))
    return hashlib.sha256(body).hexdigest()


def _work_tag(key: str) -> dict[str, Any]:
    return {"Tagging": WORK_TAG} if WORK_MARK in key else {}


def _temporary_directory() -> tempfile.TemporaryDirectory[str]:
    """Make a directory that is deleted at the end of a `with`; its name says which process it belongs to."""
    _remove_leftovers()
    return tempfile.TemporaryDirectory(prefix=f"predict-{os.getpid()}-")


@functools.cache
def _remove_leftovers() -> None:
    """Delete what killed processes have left: Lambda keeps /tmp after a crash, and a few of them would fill it.

    https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
    """
    for left in Path(tempfile.gettempdir()).glob("predict-*-*"):
        owner = left.name.split("-")[1]
        if owner.isdecimal() and (int(owner) == os.getpid() or not _is_running(int(owner))):
            shutil.rmtree(left, ignore_errors=True)
    for lock in Path(tempfile.gettempdir()).glob(f"{_BUNDLE_FOLDER}{'[0-9a-f]' * 16}.lock"):
        _remove_unused(lock.with_suffix(""))


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)  # but another user's
    return True


class _Storage:
    """The function's ephemeral storage, reserved in advance: what does not fit is refused before it is downloaded."""

    def __init__(self, folder: str | Path) -> None:
        self._free = shutil.disk_usage(folder).free
        self._chunk_bytes = 0
        self._taken = 0
        self._lock = threading.Lock()

    def take_for_chunk(self, n_bytes: int, s3_uri: str) -> None:
        """Reserve room for bytes of the chunk and as many of its part; InvalidRequestError if they do not fit."""
        with self._lock:
            chunk_bytes = self._chunk_bytes + n_bytes
            if self._taken + 2 * n_bytes > self._free:  # nothing is taken: the model may still fit, and is not to blame
                raise InvalidRequestError(
                    f"{s3_uri}: the chunk's {chunk_bytes} bytes and its part need {2 * chunk_bytes} bytes of the "
                    f"function's ephemeral storage, where {self._free} are free",
                    "raise PredictEphemeralStorageSize or lower chunk_size_mb",
                )
            self._chunk_bytes = chunk_bytes
            self._taken += 2 * n_bytes

    def take_for_model(self, n_bytes: int, subject: str) -> None:
        """Reserve room for a model; ModelError if it does not fit, whose sentence begins with the subject."""
        with self._lock:
            if self._taken + n_bytes > self._free:
                raise ModelError(
                    f"{subject} {n_bytes} bytes, more than the {self._free - self._taken} that are free of the function's "
                    "ephemeral storage",
                    "raise PredictEphemeralStorageSize",
                )
            self._taken += n_bytes


@contextmanager
def _s3_errors(s3_uri: str, refusal: str = "") -> Iterator[None]:
    """Translate what S3 calls raise into named errors about `s3_uri`; `refusal` says that it cannot be written."""
    try:
        yield
    except S3_EXCEPTIONS as error:
        failure = failure_of_call(error)
        kinds = {kind.__name__: kind for kind in PredictionError.__subclasses__()}
        kind = kinds.get(failure.error, InternalError)  # a merge's own error would be of an upload that was made wrongly
        if refusal and kind is InputNotFoundError:  # it is no input
            raise InvalidRequestError(f"{refusal}: {s3_uri} {failure.reason}", failure.advice) from error
        raise kind(f"{s3_uri} {failure.reason}", failure.advice) from error


# {{{cog cog.outl(reference.copied("s3_errors", "class S3Failure")) }}}
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


# {{{end}}} of the copy

# --- model ----------------------------------------------------------------------------------------------------------------------
# In: the event's model, by URI, version, ETag and SHA-256.
# Out: the fitted estimator in memory, ready to predict, with what a receipt says of it.
# Touches: S3, /tmp, joblib's unpickler while a model is loaded; the pickle's own code runs here and nowhere before.

MODEL_CACHE_SIZE = 4
"""Models kept between warm invocations."""
MODEL_CACHE_BYTES = 500_000_000
"""Bytes of all kept models together, as pickled; the one in use is always kept."""


class _Model(NamedTuple):
    estimator: Any
    facts: dict[str, Any]
    """As `contract.Model` describes them; written into every receipt."""
    differences: tuple[str, ...] = ()
    """What may make its predictions other ones than where it was fitted: `strict` refuses it then."""
    is_stored: bool = False
    """Whether it is one of numbers alone, which the run's probe has written (stored_model.py)."""


_model_cache: OrderedDict[tuple[str, str | None, str], _Model] = OrderedDict()
"""By URI, version and ETag; those that a probe has stored, by URI and SHA-256."""


def _stored_model(client: S3Client, event: dict[str, Any]) -> _Model | None:
    """Take the event's model as its run's probe has stored it; None if it has not, or if the model itself is in memory already."""
    s3_uri, sha256 = event.get("stored_model_s3_uri"), event.get("stored_model_sha256")
    itself = (event["model_s3_uri"], event.get("model_version_id"), str(event.get("model_etag")))
    if not (s3_uri and sha256 and _beside("stored_model")) or itself in _model_cache or _served:
        return None
    place = (s3_uri, None, sha256)
    try:
        stored = _model_cache.get(place) or _read_stored_model(client, s3_uri, sha256)
    except Exception as error:  # noqa: BLE001  # without the model's numbers, the model itself will do
        logger.warning(_log_line({"message": f"{s3_uri} cannot be used: {_reason_of(error).public}"}))
        return None
    named = {"s3_uri": "model_s3_uri", "etag": "model_etag", "version_id": "model_version_id", "sha256": "model_sha256"}
    is_it = all(event.get(field_name) in (None, stored.facts[name]) for name, field_name in named.items())
    if not is_it or stored.facts["deployment"] != _deployment() or (event.get("strict") and stored.differences):
        return None
    _keep_model(place, stored)
    return stored


def _read_stored_model(client: S3Client, s3_uri: str, sha256: str) -> _Model:
    stored_model = _beside("stored_model")
    content, _ = _read(client, _Object(s3_uri), stored_model.require_size)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise InputChangedError("it is not what the probe has written there")
    return _model_of_numbers(stored_model.read(content))


def _model_of_numbers(stored: Any) -> _Model:
    return _Model(stored.estimator, stored.facts, stored.differences, is_stored=True)


def _cached_model(client: S3Client, event: dict[str, Any], storage: _Storage | None = None) -> _Model:
    """Take the event's model from memory if this container has scored with the same bytes before."""
    s3_uri, sha256, version_id = event["model_s3_uri"], event.get("model_sha256"), event.get("model_version_id")
    wanted = _Object(s3_uri, etag=event.get("model_etag"), version_id=version_id)
    known = _served.found if _served else wanted if wanted.etag else _head(client, wanted)
    place = (s3_uri, known.version_id, str(known.etag))
    cached = _model_cache.get(place)
    if cached is None:
        cached = _fetch_model(client, event, wanted._replace(etag=known.etag), storage)
    _keep_model(place, cached)
    if event.get("strict") and cached.differences:
        raise ModelError(f"{s3_uri} is refused, because the request is strict: {'; '.join(cached.differences)}")
    if sha256:
        _require_pinned(s3_uri, cached.facts["sha256"], sha256)
    return cached


def _keep_model(place: tuple[str, str | None, str], model: _Model) -> None:
    """Keep a model that is in use, and forget those that were used long ago."""
    _model_cache[place] = model
    _model_cache.move_to_end(place)
    while len(_model_cache) > 1 and (
        len(_model_cache) > MODEL_CACHE_SIZE or sum(kept.facts["bytes"] for kept in _model_cache.values()) > MODEL_CACHE_BYTES
    ):
        _model_cache.popitem(last=False)


def _require_pinned(s3_uri: str, found: str, sha256: str) -> None:
    if found != sha256:
        raise ModelError(f"{s3_uri} is not the pinned model: its SHA-256 is {found}, the request allows only {sha256}")


def _fetch_model(client: S3Client, event: dict[str, Any], wanted: _Object, storage: _Storage | None) -> _Model:
    s3_uri, sha256 = wanted.s3_uri, event.get("model_sha256")
    if _served:
        return _described(functools.partial(_load_of_bundle, _served.bundle), _served.found, _served.sha256)
    with _one_child:
        _end_child()  # it takes memory, and models are seldom used in turn
    with _temporary_directory() as folder:
        path = Path(folder, "model.joblib")
        room = storage or _Storage(folder)

        def require_room(response: dict[str, Any]) -> None:
            size, memory_mb = response["ContentLength"], _limiting_memory_mb()
            if memory_mb and size > memory_mb * 2**20:
                raise ModelError(f"{s3_uri} has {size} bytes, more than the function's {memory_mb} MB", "raise PredictMemorySize")
            room.take_for_model(size, f"{s3_uri} has")

        found = _download(client, wanted, path, require_room)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256:  # before anything is unpickled: unpickling runs code
            _require_pinned(s3_uri, digest, sha256)
        return _described(functools.partial(load_model, path), found._replace(etag=wanted.etag), digest)


def _described(load: Callable[[], Any], found: _Object, sha256: str) -> _Model:
    """Load a model of an object that was found in S3, and say what a receipt says of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator = load()
        except ModelError as error:
            raise ModelError(f"{found.s3_uri} {error.what}", error.advice) from error
    installed = importlib.metadata.version("scikit-learn")
    versions = {w.message.original_sklearn_version for w in caught if hasattr(w.message, "original_sklearn_version")}
    fitted = ", ".join(sorted(versions)) or installed
    differences = (
        *([f"it was fitted with scikit-learn {fitted}, and scored with {installed}"] if versions else []),
        *(_fitting_differences(_served.bundle) if _served else ()),
        *_package_differences(),
    )
    notes = list(differences)
    return _Model(
        _with_packed_trees(estimator, notes.append),
        {
            "s3_uri": found.s3_uri,
            "etag": found.etag,
            "version_id": found.version_id,
            "sha256": sha256,
            "bytes": found.size,
            "estimator": type(estimator).__name__,
            "sklearn_version": fitted if _is_sklearn(estimator) else None,
            "versions": _versions(estimator),
            "steps": _steps(estimator),
            "deployment": _deployment(),
            **(_bundle_facts(_served.bundle) if _served else {"bundle": None}),
            "warnings": notes,
        },
        differences,
    )


def _with_packed_trees(estimator: Any, warn: Callable[[str], object]) -> Any:
    """Let the kernel in C score trees, to the bit as their library does, if its modules lie beside this file."""
    packed_trees = _beside("packed_trees")
    if packed_trees is None or (_served and _brings_trees(_served.bundle)):
        return estimator
    try:
        return packed_trees.with_packed_trees(estimator, warn)
    except Exception as error:  # noqa: BLE001  # what is wrong with a model is found when it is called
        logger.warning(_log_line({"message": f"trees not packed: {type(error).__name__}"}))
        return estimator


def load_model(model_path: str | Path) -> Any:
    """Unpickle a model written by `joblib.dump`. Unpickling runs code: load only models that you trust.

    Raises ModelError if the file is not a model, needs a module that is not installed, or has no `predict`; before any of its code
    runs, if that can be.
    """
    import joblib  # noqa: PLC0415  # brings scikit-learn's import time with the unpickling, not before

    path = Path(model_path)
    if other := _other_file(path):
        raise ModelError(*other)
    contents = _contents_of(path)
    if scripts := [name.removeprefix("__main__.") for name in contents.names if name.startswith("__main__.")]:
        raise _of_a_script(scripts)
    if contents.is_whole is False and (text := _text_of(path)):  # its letters may be taken for opcodes, and name something
        raise next(ModelError(what, advice) for pattern, what, advice in _TEXTS if re.match(pattern, text))
    if contents.has_damaged_type:
        raise ModelError("is damaged: the type of one of its arrays is not as NumPy writes it", "copy it again")
    try:
        for find in contents.names.values():  # all of them before the pickle runs anything
            find()
        with _checked_unpickling(contents):
            estimator = joblib.load(path)
    except (MemoryError, PredictionError):
        raise
    except ModuleNotFoundError as error:
        raise _lacks(str(error.name)) from error
    except Exception as error:  # unpickling arbitrary bytes can raise anything
        raise _stopped(path, error, contents) from error
    if no_model := _no_estimator(estimator):
        raise ModelError(*no_model)
    _use_one_thread(estimator)
    _return_freed_memory()
    return estimator


def _return_freed_memory() -> None:
    """Give back the gaps that unpickling leaves between a model's arrays: glibc keeps them once the kernel is loaded (memory.c)."""
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


_unpickling = threading.RLock()


@contextmanager
def _checked_unpickling(contents: _Contents) -> Iterator[None]:
    """Let joblib resolve the names in a pickle by `_resolve`, in the same pass; for one model at a time."""
    from joblib import numpy_pickle  # noqa: PLC0415  # as above

    original = getattr(numpy_pickle, "NumpyUnpickler", None)
    if original is None:  # it is private to joblib; without it a model still loads, and errors say less
        yield
        return
    with _unpickling:
        numpy_pickle.NumpyUnpickler = _checked(original, contents)
        try:
            yield
        finally:
            numpy_pickle.NumpyUnpickler = original


def _checked(base: Any, contents: _Contents) -> Any:
    """Return a subclass of an unpickler that resolves names by `_resolve`."""

    class CheckedUnpickler(base):  # type: ignore[misc]
        def find_class(self, module: str, name: str) -> Any:
            contents.reached = f"{module}.{name}"
            return _resolve(super().find_class, module, name, contents)

    return CheckedUnpickler


def _resolve(find_class: Callable[[str, str], Any], module: str, name: str, contents: _Contents) -> Any:
    """Return the class or function that a pickle names."""
    top = module.partition(".")[0]
    if top == "__main__":
        raise _of_a_script([name])
    _make_importable(module)
    try:
        found = find_class(module, name)
    except ModuleNotFoundError as error:
        lacking = str(error.name or module)
        of_sklearn = any(named.startswith("sklearn.") for named in contents.names)
        if lacking == top and top.startswith("_") and of_sklearn:  # its compiled modules may name themselves without it, as _loss
            raise _gone(f"{module}.{name}", "sklearn", contents) from error
        if lacking != top and lacking.partition(".")[0] == top:
            raise _gone(f"{module}.{name}", top, contents) from error
        raise _lacks(lacking, f"{module}.{name}") from error
    except (MemoryError, PredictionError):
        raise
    except (Exception, SystemExit) as error:  # a module runs code of its own when it is imported
        if isinstance(error, AttributeError) and module in sys.modules:
            raise _gone(f"{module}.{name}", top, contents) from error
        raise _not_imported(module, name, error) from error
    if found is pickle.loads:  # a pickle in the pickle: joblib.wrap_non_picklable_objects
        return lambda data, **options: _checked(pickle.Unpickler, contents)(io.BytesIO(data), **options).load()
    return _checked_constructor(found, name)


def _use_one_thread(estimator: Any) -> None:
    """Set `n_jobs` to 1: blocks are scored side by side, one a core, and the estimator's own threads would compete with them."""
    try:
        parallel = {name: 1 for name in estimator.get_params() if name.rpartition("__")[2] == "n_jobs"}
        estimator.set_params(**parallel)
    except Exception as error:  # noqa: BLE001  # a custom estimator, with its own idea of params, or none
        logger.info(_log_line({"message": f"n_jobs left as it is: {type(error).__name__}"}))


def _is_sklearn(estimator: object) -> bool:
    return type(estimator).__module__.partition(".")[0] == "sklearn"


def _lacks(module: str, named: str | None = None) -> ModelError:
    of = f" (for its {named})" if named else ""
    if module.partition(".")[0] in _deployed_package().get("modules", ()):
        return ModelError(
            f"needs the Python module {module!r}{of}, which the deployed package has and this environment lacks", "install it here"
        )
    if _served or _loads_bundle:
        return ModelError(
            f"needs the Python module {module!r}{of}, which neither the bundle nor the prediction function has",
            f"{_MAKE_IT_AGAIN}, and name the library in --requires, or your own file of that name in --code",
        )
    return ModelError(
        f"needs the Python module {module!r}{of}, which the prediction function does not have",
        "make a bundle of it with batch-predict bundle, which brings the library, or your own file of that name; or add that to "
        "the function's container image (docs/package.md)",
    )


def _not_imported(module: str, name: str, error: BaseException) -> ModelError:
    """Return the error for a module that fails while it is imported; its words hold no values, because no row has been read."""
    if isinstance(error, SystemExit):
        return ModelError(
            f"needs {module}.{name}, and its module ends the process when it is imported",
            "put what it runs as a script below if __name__ == '__main__', or move what the model needs into a file of its own",
        )
    words = _brief(error).partition(" (/")[0]
    return ModelError(
        f"needs {module}.{name}, and its module fails when it is imported: {type(error).__name__}: {words}",
        f"correct it so that import {module} works with the function's libraries (docs/package.md)",
    )


def _gone(named: str, library: str, contents: _Contents) -> ModelError:
    """Return the error for a name that a library has in another version, but not here."""
    library = "scikit-learn" if library == "sklearn" else library
    here = _installed(library)
    ours = f"{library} {here}" if here else library
    if library == "scikit-learn" and (saved := _saved_by_another(contents.sklearn_versions)):
        return ModelError(f"needs {named}, which {ours} does not have: {saved[0]}", saved[1])
    return ModelError(
        f"needs {named}, which {ours} does not have: it was probably saved with another version of {library}",
        f"fit it again with {ours}",
    )


def _saved_by_another(versions: Iterable[str]) -> tuple[str, str] | None:
    """Say that another scikit-learn than the one here saved a model, and what to do; None if these versions are this one's."""
    here = importlib.metadata.version("scikit-learn")
    saved = ", ".join(version for version in versions if version and version.split(".")[:2] != here.split(".")[:2])
    if not saved:
        return None
    return (
        f"it was saved with scikit-learn {saved}, and here is {here}",
        f"fit it again with scikit-learn {here}{'' if _served else ', or make a bundle of it with batch-predict bundle'}",
    )


def _stopped(path: Path, error: Exception, contents: _Contents) -> ModelError:
    """Return the error for a file that is no pickle, or one that cannot be read to its end."""
    for words, what, advice in _UNPICKLERS_WORDS:
        if words in str(error):
            return ModelError(what, advice)
    if _is_copied_as_text(path):
        return ModelError(
            "was copied as text, which destroys it", "copy it again as binary (in Git, *.joblib binary in .gitattributes)"
        )
    if _ends_too_early(path, error, contents):
        return ModelError("ends too early: it was not written or copied to its end", "copy it again")
    named = contents.reached
    if not named:
        return ModelError(
            "is not a model that joblib can load: its first bytes are of no known format, and it may be encrypted", _DUMP_IT
        )
    what = f"cannot be loaded ({type(error).__name__} at its {named})"
    if saved := _saved_by_another(contents.sklearn_versions):
        return ModelError(f"{what}: {saved[0]}", saved[1])
    library = named.partition(".")[0]
    advice = "load it where it was written, and look for that class there"
    here = _installed(library)
    if here and library != "sklearn":  # which states its version
        advice = f"compare the {library} that wrote it with {here}, which is here; with another, fit it again"
    return ModelError(what, advice)


def _no_estimator(loaded: Any) -> tuple[str, str] | None:
    """Say what was dumped in place of a fitted estimator, and what to dump; None if it may be one."""
    if isinstance(loaded, type):
        fit = f"fit one, {loaded.__name__}().fit(X, y), and dump that"
        return f"holds the class {loaded.__name__} and no fitted estimator of it", fit
    kind = type(loaded).__name__
    if kind == "Booster" and _module_of(loaded).startswith("xgboost."):
        return "holds XGBoost's Booster, which predicts no table, but its own DMatrix", _DUMP_BOOSTER
    if callable(getattr(loaded, "predict", None)):
        return None
    inside = loaded.items() if isinstance(loaded, dict) else enumerate(loaded) if isinstance(loaded, (list, tuple)) else ()
    found = [place for place, item in islice(inside, MAX_REASONS) if callable(getattr(item, "predict", None))]
    last, lacks = "", f"holds a {kind}, which has no predict method"
    with suppress(Exception):  # anybody's object may have such an attribute
        last = type(loaded.steps[-1][1]).__name__
    off = next((option for option in ("refit", "novelty") if getattr(loaded, option, None) is False), None)
    fits_alone = callable(getattr(loaded, "fit_predict", None)) and not last
    cases = (
        (found, f"{lacks}, with an estimator in it, at {found[:1]}", f"dump that one: joblib.dump(model{found[:1]}, …)"),
        (kind in ("DataFrame", "Series", "ndarray", "csr_matrix", "Table"), f"holds a {kind}: data, and no model", _SWAPPED),
        (off, f"{lacks}, because of {off}=False", f"fit it with {off}=True"),
        (
            fits_alone,
            f"holds a {kind}, which predicts only the rows that it is fitted on",
            "dump an estimator that has a predict method",
        ),
        (last, f"{lacks}, because its last step is a {last}", "dump a pipeline that ends in an estimator with predict"),
        (hasattr(loaded, "transform"), f"{lacks}: it transforms data", "dump the fitted estimator, best in one pipeline with it"),
        (True, lacks, "dump the fitted estimator itself"),
    )
    return next((what, advice) for applies, what, advice in cases if applies)


# How many figures of a library's version count when predictions are compared: NumPy's feature releases keep what models compute.
_TELLING_FIGURES = {"scikit-learn": 2, "pandas": 2, "numpy": 1}


def _package_differences() -> list[str]:
    """Return the libraries whose versions differ from the deployed package's so that predictions may differ; none on AWS."""
    there = _deployed_package().get("versions", {})
    pairs = [(name, _installed(name), there.get(name), figures) for name, figures in _TELLING_FIGURES.items()]
    return [
        f"it was scored here with {name} {here}, and the deployed package has {deployed}"
        for name, here, deployed, figures in pairs
        if here and deployed and here.split(".")[:figures] != deployed.split(".")[:figures]
    ]


def _installed(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:  # a user's own module may still state one
        return getattr(sys.modules.get(distribution), "__version__", None)


def _deployed_package() -> dict[str, Any]:
    """Return what the deployed package has, if this is not the package itself: a local run says so (`deployed_package.py`)."""
    package: dict[str, Any] = json.loads(os.environ.get("DEPLOYED_PACKAGE", "{}"))
    return package


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


@functools.cache
def _deployment() -> str:
    """Return a digest of all that decides what a model answers: distributions and their versions, Python, processor, own code.

    The package lists its distributions in `deployment.json`; elsewhere they are the *.dist-info folders that Python sees.
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
        "python": _python(),
        **({"bundle": _served.bundle.digest} if _served else {}),
    }
    return _json_sha256(facts)


LIBRARIES = ("scikit-learn", "numpy", "scipy", "pyarrow", "joblib")
"""The libraries that score with every model."""
MAX_LIBRARIES, MAX_STEPS, STEP_CHARACTERS, STEP_DEPTH = 20, 40, 160, 6
"""How much of a model is told: enough to recognise it, and little in the execution's document and in each receipt."""


def _versions(estimator: Any) -> dict[str, str]:
    """Return the versions of Python and of the libraries that score: those of every model, and those that this one is made of."""
    parts = _parts_of(estimator)
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    versions |= {name: version for name in LIBRARIES if (version := _installed(name))}
    others = {module.partition(".")[0] for module in parts.strangers} | ({"pandas"} if parts.sees_frames else set())
    for library in sorted(others)[:MAX_LIBRARIES]:
        version = _installed(library)
        if isinstance(version, str):  # a user's own module has none
            versions[library[:STEP_CHARACTERS]] = version[:STEP_CHARACTERS]
    return versions


def _steps(estimator: Any) -> list[str]:
    """Return the steps of a pipeline and what they are made of, a line each: `scale > num: StandardScaler, 3 columns`."""
    try:
        return list(islice(_steps_within(estimator, ()), MAX_STEPS))
    except Exception as error:  # noqa: BLE001  # a model that scores is not refused because it cannot be described
        logger.warning(_log_line({"message": f"steps not told: {type(error).__name__}"}))
        return []


def _steps_within(estimator: Any, path: tuple[str, ...]) -> Iterator[str]:
    steps = getattr(estimator, "steps", None) or getattr(estimator, "transformer_list", None)
    named: list[tuple[str, Any, int | None]]
    if hasattr(estimator, "transformers_"):
        named = [(name, step, len(chosen) if isinstance(chosen, (list, np.ndarray)) else None)
                 for name, step, chosen in estimator.transformers_]  # fmt: skip
    elif isinstance(steps, list):
        named = [(name, step, None) for name, step, *_ in steps]
    else:  # the first of many alike, such as one a class
        kinds = {type(step).__name__: step for step, _ in reversed(_inner_estimators(estimator))}
        named = [("inner", step, None) for step in reversed(kinds.values())]
    for name, step, columns in named:
        within = (*path, str(name)[:STEP_CHARACTERS])
        what = step if isinstance(step, str) else type(step).__name__
        function = getattr(getattr(step, "func", None), "__name__", None)
        what += f" of {function}" if isinstance(function, str) else ""
        count = "" if columns is None else f", {columns} column{'' if columns == 1 else 's'}"
        yield f"{' > '.join(within)}: {what}{count}"[:STEP_CHARACTERS]
        if len(within) < STEP_DEPTH and not isinstance(step, str):
            yield from _steps_within(step, within)


CARRIED = Path(__file__).with_name("carried")
"""The folder of the deployed package with the libraries that only some models need, compressed, and their `index.json`.

It exists nowhere else. The libraries would not fit unpacked, and scikit-learn would import pandas for every model."""
_carrying = threading.RLock()


@functools.cache
def _beside(module: str) -> Any:
    """Return a module that makes this file faster; None if it does not lie beside it: the file may be taken alone."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        return None


def _make_importable(module: str) -> None:
    """Unpack the library that a module belongs to, if the package carries it, so that it can be imported.

    Raises InvalidRequestError if ephemeral storage is full, and InternalError if the package is damaged.
    """
    name = module.partition(".")[0]
    with _carrying:
        library = _carried_libraries().get(name)
        if library is None:
            return
        for needed in library["needs"]:
            _make_importable(needed)
        sys.path.append(str(_unpacked(name, library)))  # at the end: what can be imported already stays the same
        if name == "pandas":
            pa.lib._pandas_api.pd  # noqa: B018, SLF001  # pyarrow looks once, and may have looked before
        del _carried_libraries()[name]


@functools.cache
def _carried_libraries() -> dict[str, dict[str, Any]]:
    """Return what the package says about the libraries that it carries and that cannot be imported yet, by their modules."""
    index = CARRIED / "index.json"
    libraries: dict[str, dict[str, Any]] = json.loads(index.read_bytes()) if index.is_file() else {}
    return libraries


def _unpacked(name: str, library: dict[str, Any]) -> Path:
    """Return the folder of an unpacked library, which this process, one beside it, or an earlier one in this container unpacks."""
    folder = Path(tempfile.gettempdir(), f"carried-{name}-{library['sha256'][:16]}")
    try:
        _make_shared(folder, functools.partial(_unpack, CARRIED / f"{name}.zip", library["sha256"])).close()
    except OSError as error:
        if error.errno in _FULL_DISK:
            needed = f"{name} takes {library['bytes']} bytes"
            raise InvalidRequestError(f"ephemeral storage is full ({needed})", "raise PredictEphemeralStorageSize") from error
        raise
    return folder


def _unpack(archive: Path, sha256: str, folder: Path) -> None:
    content = archive.read_bytes() if archive.is_file() else b""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise InternalError(f"{archive.name} in the function's package is damaged", "deploy the function again")
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        opened.extractall(folder)  # noqa: S202  # of a zip, whose SHA-256 is checked


def _make_shared(folder: Path, make: Callable[[Path], object]) -> IO[str]:
    """Have a folder made, unless another process has done so, and return its lock: while it is open, nobody removes the folder.

    It is renamed when it is whole. If a process is killed meanwhile, its lock is released, and what it left is deleted.
    """
    import fcntl  # noqa: PLC0415  # Lambda's Linux has it; this module is imported on other systems, too

    partial, path = folder.with_suffix(".partial"), folder.with_suffix(".lock")
    while True:
        lock = path.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
            if _is_at(path, lock) and not folder.is_dir():
                fcntl.flock(lock, fcntl.LOCK_EX)  # nobody keeps the other one for long while there is no folder
                if _is_at(path, lock) and not folder.is_dir():
                    shutil.rmtree(partial, ignore_errors=True)
                    try:
                        partial.mkdir(mode=0o700)
                        make(partial)
                        partial.rename(folder)
                    except BaseException:
                        shutil.rmtree(partial, ignore_errors=True)  # the room is free again, whatever the reason
                        raise
                fcntl.flock(lock, fcntl.LOCK_SH)  # for a moment, it may have none
            if folder.is_dir() and _is_at(path, lock):
                _require_own(folder)
                return lock
        except BaseException:
            lock.close()
            raise
        lock.close()


def _require_own(folder: Path) -> None:
    """Refuse a folder of another user, who could have code run here by making it first; on Lambda there is none."""
    if folder.lstat().st_uid != os.getuid():
        raise InternalError(f"{folder.name} among the temporary files is another user's", "delete it, or set TMPDIR")


def _is_at(path: Path, file: IO[str]) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _remove_unused(folder: Path) -> None:
    """Delete a shared folder and its lock, unless a process uses it."""
    import fcntl  # noqa: PLC0415  # as above

    path, partial = folder.with_suffix(".lock"), folder.with_suffix(".partial")
    with suppress(OSError), path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(path, lock):
            shutil.rmtree(partial, ignore_errors=True)
            if folder.is_dir():
                folder.rename(partial)  # it is never whole by name only
            shutil.rmtree(partial, ignore_errors=True)
            path.unlink()


# --- processes ------------------------------------------------------------------------------------------------------------------
# In: an event whose model is a bundle.
# Out: the result, or the error, of a process of its own, in which the bundle's libraries come before the function's.
# Touches: S3, /tmp, that process. In this one, no code of the bundle runs and none of its libraries is imported.

TO_ANSWER_SECONDS = 5
"""How long before the function's time ends a process that does not answer is killed, so that the error can still be told."""
LEAST_LEFT_BYTES, NOTHING_LEFT_BYTES = 2**27, 2**26
"""Memory without which a process of a bundle is not begun with, and below which whatever fails has failed for lack of memory."""
_BUNDLE_FOLDER = "batch-predict-bundle-"
_one_child = threading.Lock()
_child: _Child | None = None
"""The process of the latest bundle, which is kept while the function is warm."""


def _result_by_child(client: S3Client, event: dict[str, Any], context: object) -> dict[str, Any]:
    """Have the process with the bundle's libraries score an event; if it dies, a new one does, once."""
    left = getattr(context, "get_remaining_time_in_millis", None)
    deadline = time.monotonic() + max(left() / 1000 - TO_ANSWER_SECONDS, left() / 2000) if left else None
    with _one_child:
        times, started = _init_milliseconds(), time.perf_counter()
        child = _child_of(client, event)
        for is_last in (False, True):
            try:
                if not child.is_running():
                    child.start(deadline)
                    times["bundle"] = round((time.perf_counter() - started) * 1000, 3)
                answer = child.ask({"event": event, "milliseconds": times}, deadline)
                break
            except _ChildDied as died:
                child.kill()
                what = f"{event['model_s3_uri']}: the process with its libraries {died}"
                if is_last:
                    raise ModelError(f"{what}, twice", died.advice) from died
                logger.warning(_log_line({"message": f"{what}, and is started again"}))
        if answer.get("is_last"):
            child.kill()
    if "error" in answer:
        kinds = {kind.__name__: kind for kind in PredictionError.__subclasses__()}
        raise kinds[answer["error"]](answer["what"], answer["advice"])
    return answer["result"]  # type: ignore[no-any-return]


def _child_of(client: S3Client, event: dict[str, Any]) -> _Child:
    """Return the process of the event's bundle, which may have to be started; another bundle's is ended."""
    global _child  # noqa: PLW0603  # as models are kept, but for one
    s3_uri, sha256 = event["model_s3_uri"], event.get("model_sha256")
    wanted = _Object(s3_uri, etag=event.get("model_etag"), version_id=event.get("model_version_id"))
    known = wanted if wanted.etag else _head(client, wanted)
    place = (s3_uri, known.version_id, str(known.etag))
    if not (_child and _child.place == place):
        _end_child()
        folder = Path(tempfile.gettempdir(), f"{_BUNDLE_FOLDER}{_json_sha256(place)[:16]}")
        try:
            lock = _make_shared(folder, functools.partial(_fetch_bundle, client, wanted._replace(etag=known.etag), sha256))
        except BaseException:
            _remove_unused(folder)
            raise
        _child = _Child(place, folder, lock)
    if sha256:
        _require_pinned(s3_uri, _child.sha256, sha256)
    return _child


def _end_child() -> None:
    global _child  # noqa: PLW0603
    if _child:
        _child.end()
    _child = None


def _fetch_bundle(client: S3Client, wanted: _Object, sha256: str | None, folder: Path) -> None:
    """Download and unpack a bundle, and note beside it what S3 has said of it."""
    with _temporary_directory() as temporary:
        path = Path(temporary, "model.bundle.zip")

        def require_room(response: dict[str, Any]) -> None:
            if (size := response["ContentLength"]) > MAX_BUNDLE_BYTES:
                raise ModelError(f"{wanted.s3_uri} has {size} bytes, more than the {MAX_BUNDLE_BYTES} of a bundle", _LESS_IN_IT)
            _Storage(temporary).take_for_model(size, f"{wanted.s3_uri} has")

        found = _download(client, wanted, path, require_room)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256:  # before anything is made of it
            _require_pinned(wanted.s3_uri, digest, sha256)
        try:
            unpack_bundle(path, folder)
        except ModelError as error:
            raise ModelError(f"{wanted.s3_uri} {error.what}", error.advice) from error
    facts = {"s3_uri": wanted.s3_uri, "etag": wanted.etag, "version_id": found.version_id, "size": found.size}
    (folder / "found.json").write_text(json.dumps({"found": facts, "sha256": digest}))


class _ChildDied(Exception):  # noqa: N818  # its words follow those of the process
    """The process with a bundle's libraries has ended, or said what is no answer."""

    advice = "try the bundle where it was made, or raise PredictMemorySize; the function's log has what it wrote last"


class _Child:
    """The process with a bundle's libraries, which is this module, started once more."""

    def __init__(self, place: tuple[str, str | None, str], folder: Path, lock: IO[str]) -> None:
        self.place, self._folder, self._lock = place, folder, lock
        self._bundle = _bundle_in(folder)
        self.sha256 = json.loads((folder / "found.json").read_bytes())["sha256"]
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Any = None

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, deadline: float | None) -> None:
        """Start it, and wait until it has imported this module; ModelError if it cannot, with the bundle's libraries."""
        from multiprocessing.connection import Connection  # noqa: PLC0415  # only bundles need it

        atexit.register(_end_child)  # of which one is enough, and several do no harm
        self.kill()
        try:
            _require_of_function(self._bundle)
        except ModelError as error:
            raise ModelError(f"{self.place[0]} {error.what}", error.advice) from error
        own, memory_mb = str(Path(__file__).parent), _limiting_memory_mb()
        ours, theirs = socket.socketpair()
        with theirs:
            start = {
                "socket": theirs.fileno(),
                "parent": os.getpid(),
                "memory_bytes": memory_mb * 2**20 - _memory_bytes()[0] if memory_mb else None,
                "path": [*self._bundle.path, *map(os.path.abspath, sys.path), own],
                "folder": str(self._folder),
            }
            self._process = subprocess.Popen(  # noqa: S603  # this module, by this Python
                [sys.executable, "-S", "-s", "-P", "-c", _BOOT, json.dumps(start)],
                env=_environment_of(self._bundle),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=2,  # standard output is for metrics, and for whoever runs this function locally
                process_group=0,  # so that it is killed with all that it has started
            )
        self._connection = Connection(ours.detach())
        answer = self._receive(deadline)
        if answer.get("left_bytes", LEAST_LEFT_BYTES) < LEAST_LEFT_BYTES:
            self.kill()
            raise InvalidRequestError(
                f"the function has {memory_mb} MB, of which {answer['left_bytes'] // 2**20} are left for a bundle's libraries and "
                f"the data, less than {LEAST_LEFT_BYTES // 2**20}",
                "raise PredictMemorySize",
            )
        if failed := answer.get("failed"):
            self.kill()
            words = " ".join("…" if "/" in word else word for word in failed.split())  # without paths
            if hiding := [name for name in self._bundle.document["code_modules"] if _is_functions(name)]:
                raise ModelError(
                    f"{self.place[0]} has a module of its own called {hiding[0][:200]!r}, as one of the function's, which "
                    f"cannot start with it: {words}",
                    "give it another name, fit the model with that, and make the bundle again",
                )
            raise ModelError(f"{self.place[0]} has libraries with which the function cannot start: {words}", _MAKE_IT_AGAIN)

    def ask(self, message: dict[str, Any], deadline: float | None) -> dict[str, Any]:
        with suppress(OSError):  # what it said last, and why it is gone, is found when it is read
            self._connection.send_bytes(json.dumps(message).encode())
        answer = self._receive(deadline)
        if not {"result", "error"} & answer.keys():
            raise _ChildDied("answered what is no answer")
        return answer

    def _receive(self, deadline: float | None) -> dict[str, Any]:
        try:
            while not self._connection.poll(1 if deadline is None else max(0, min(1, deadline - time.monotonic()))):
                if not self.is_running() and not self._connection.poll():  # what it has started keeps the connection open
                    raise self._died()
                if deadline is not None and time.monotonic() >= deadline:
                    self.kill()
                    raise ModelError(
                        f"{self.place[0]}: the process with its libraries did not answer before the function's time was over",
                        "lower chunk_size_mb if the model is slow; if it hangs, try the bundle where it was made",
                    )
            answer: dict[str, Any] = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            raise self._died() from None
        except (ValueError, OverflowError):  # a model has written into the connection
            answer = {}
        if not isinstance(answer, dict):
            answer = {}
        return answer

    def _died(self) -> _ChildDied:
        assert self._process
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return _ChildDied("closed its connection to the function")
        if code >= 0:
            return _ChildDied(f"ended itself with status {code}")
        name = next((one.name for one in signal.Signals if one == -code), f"signal {-code}")
        died = _ChildDied(f"was ended by {name}")
        if code == -signal.SIGKILL:
            died.advice = "raise PredictMemorySize: it was probably killed because memory ran out"
        return died

    def kill(self) -> None:
        """End it and whatever it has started, with their temporary files."""
        if self._connection:
            self._connection.close()
        if self._process:
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            for left in Path(tempfile.gettempdir()).glob(f"predict-{self._process.pid}-*"):
                shutil.rmtree(left, ignore_errors=True)
        self._process = self._connection = None

    def end(self) -> None:
        self.kill()
        self._lock.close()
        _remove_unused(self._folder)


def _is_functions(module: str) -> bool:
    """Tell whether a module of the first level is one that this process would import, too."""
    return module in sys.stdlib_module_names or importlib.machinery.PathFinder.find_spec(module) is not None


def _require_of_function(bundle: Bundle) -> None:
    """Raise ModelError unless the function has those libraries that the bundle takes from it, in the same versions."""
    for one in bundle.here()["distributions"]:
        here = _version_here(one["name"]) if one["from"] == "function" else one["version"]
        if here != one["version"]:
            raise ModelError(
                f"takes {one['name']} {one['version']} from the function, which has {here or 'none'}",
                f"{_MAKE_IT_AGAIN}, for the function as it is now",
            )


def _version_here(distribution: str) -> str | None:
    """Return the version of a distribution that the function has, also if the package carries it compressed."""
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(distribution)
    built = Path(__file__).with_name("deployment.json")
    listed = json.loads(built.read_bytes())["distributions"] if built.is_file() else ()
    names = (one.rpartition("-") for one in listed)
    return next((version for name, _, version in names if re.sub(r"[-_.]+", "-", name).lower() == distribution), None)


def _memory_bytes() -> tuple[int, int]:
    """Return the memory that this process holds, and what it has asked for beside code; Lambda is Linux."""
    pages = [int(number) * os.sysconf("SC_PAGE_SIZE") for number in Path("/proc/self/statm").read_text().split()]
    return pages[1], pages[5]


def _limit_memory(most_bytes: int) -> int:
    """Let this process hold so much memory, and return what is left of that: it may ask for so much from now on."""
    import resource  # noqa: PLC0415  # for the process of a bundle alone

    held, asked = _memory_bytes()
    left = max(0, most_bytes - held)
    resource.setrlimit(resource.RLIMIT_DATA, (asked + left, asked + left))
    return left


def _is_out_of_memory() -> bool:
    """Tell whether nearly nothing is left: then threads do not start, and libraries do not load, by errors of all kinds."""
    import resource  # noqa: PLC0415  # as above

    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return limit != resource.RLIM_INFINITY and limit - _memory_bytes()[1] < NOTHING_LEFT_BYTES


def _environment_of(bundle: Bundle) -> dict[str, str]:
    """Return this environment; what a local run is told of the deployed package is told with the bundle in it."""
    # Byte-code would take room in /tmp; and what Arrow asks for in advance would count as if it were used.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "MIMALLOC_ARENA_EAGER_COMMIT": "0"}
    shared = bundle.folder / "unpacked/libraries/lib"
    if shared.is_dir():  # what wheels look for in the system: LightGBM's brings no libgomp.so.1
        environment["LD_LIBRARY_PATH"] = ":".join([str(shared), *filter(None, [environment.get("LD_LIBRARY_PATH")])])
    if package := _deployed_package():
        package["modules"] = [*package.get("modules", ()), *bundle.modules()]
        package["python"] = f"{sys.version_info.major}.{sys.version_info.minor}"  # which the bundle is for
        package["versions"] = package.get("versions", {}) | {one["name"]: one["version"] for one in bundle.here()["distributions"]}
        environment["DEPLOYED_PACKAGE"] = json.dumps(package)
    return environment


_BOOT = """
import json, os, sys
from multiprocessing.connection import Connection
start = json.loads(sys.argv.pop())
connection = Connection(start["socket"])
try:
    if sys.platform == "linux":
        import ctypes
        ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL: it ends with its parent also while it is busy
    if os.getppid() != start["parent"]:
        os._exit(1)
    sys.path[:] = start["path"]
    if package := os.environ.get("DEPLOYED_PACKAGE"):
        try:
            from as_packaged import lack_other_modules
        except ModuleNotFoundError:
            pass
        else:
            lack_other_modules(json.loads(package)["modules"])
    from prediction_handler import _serve
except BaseException as error:
    connection.send_bytes(json.dumps({"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}).encode())
    raise
_serve(connection, start["folder"], start["memory_bytes"])
"""


class _Served(NamedTuple):
    """The bundle that this process has the libraries of."""

    bundle: Bundle
    found: _Object
    """As S3 has it."""
    sha256: str
    milliseconds: dict[str, float]
    """What it took to get here, of the event that is being scored."""


_served: _Served | None = None
"""None but in the process of a bundle."""


def _serve(connection: Any, folder: str, memory_bytes: int | None) -> None:
    """Score events for the process that has started this one, until it closes the connection."""
    global _served  # noqa: PLW0603  # a process of a bundle is one from its start
    logger.addHandler(logging.StreamHandler())
    bundle, facts = _bundle_in(Path(folder)), json.loads(Path(folder, "found.json").read_bytes())
    _served = _Served(bundle, _Object(**facts["found"]), facts["sha256"], {})
    for name in bundle.modules():  # it has them itself
        _carried_libraries().pop(name, None)
    started = {"left_bytes": _limit_memory(memory_bytes)} if memory_bytes else {}
    with suppress(EOFError, OSError):
        connection.send_bytes(json.dumps(started).encode())
        while True:
            message = json.loads(connection.recv_bytes())
            _served.milliseconds.clear()
            _served.milliseconds.update(message["milliseconds"])
            answer = _answered(message["event"])
            with suppress(Exception):  # whatever a model has made of it
                sys.stdout.flush()
            connection.send_bytes(answer)
    os._exit(0)  # a thread of a library may not end


def _answered(event: dict[str, Any]) -> bytes:
    """Return an event's result, or its error, as JSON."""
    try:
        return json.dumps({"result": _result_of(event)}).encode()
    except Exception as error:  # noqa: BLE001  # lambda_handler raises it again
        is_of_memory = _is_out_of_memory() and not isinstance(error, PredictionError)
        known = _named_error(MemoryError() if is_of_memory else error)
        if known is not error:
            facts = {"execution_name": event.get("execution_name"), "error": type(known).__name__, "message": str(known)}
            logger.warning(_log_line({**facts, "stack_trace": "".join(traceback.format_tb(error.__traceback__))}))
        # What it was loading then may be there by half.
        is_last = is_of_memory or isinstance(error, MemoryError)
        facts = {"error": type(known).__name__, "what": known.what, "advice": known.advice, "is_last": is_last}
        return json.dumps(facts).encode()


_CARRIED_MODULES = {"xgboost-cpu": "xgboost"}
"""Modules of carried libraries with another name than their distribution."""


_loads_bundle = False
"""Whether the model that is being loaded is a bundle's: `batch-predict` tries bundles where nothing is served."""


def _load_of_bundle(bundle: Bundle) -> Any:
    """Load the model of this process by joblib, or by the loader that the bundle has for it."""
    global _loads_bundle  # noqa: PLW0603  # said for what explains the errors
    _loads_bundle = True
    try:
        return _loaded_of_bundle(bundle)
    finally:
        _loads_bundle = False


def _loaded_of_bundle(bundle: Bundle) -> Any:
    for one in bundle.here()["distributions"]:  # also what only another library imports
        if one["from"] == "function":
            _make_importable(_CARRIED_MODULES.get(one["name"], one["name"]))
    if bundle.loader is None:
        return load_model(bundle.model)
    _make_importable("pandas")  # LightGBM looks for it once, and what is no estimator of scikit-learn's gets a DataFrame
    try:
        estimator = importlib.import_module(bundle.loader).load(str(bundle.model))
    except (MemoryError, PredictionError):
        raise
    except (Exception, SystemExit) as error:  # it is anybody's code; no row has been read
        raise ModelError(
            f"cannot be loaded by its {bundle.loader}: {type(error).__name__}: {_brief(error)}", _MAKE_IT_AGAIN
        ) from error
    if no_model := _no_estimator(estimator):
        raise ModelError(*no_model)
    _use_one_thread(estimator)
    _return_freed_memory()
    return estimator


def _bundle_facts(bundle: Bundle) -> dict[str, Any]:
    return {"bundle": bundle.digest, "unpacked_bytes": bundle.unpacked_bytes(), "file_bytes": bundle.model.stat().st_size}


def _brings_trees(bundle: Bundle) -> bool:
    """Tell whether it has other libraries than those whose trees are packed."""
    brought = {one["name"] for one in bundle.here()["distributions"] if one["from"] == "bundle"}
    return bool(brought & {"scikit-learn", "lightgbm", "xgboost", "xgboost-cpu"})


def _fitting_differences(bundle: Bundle) -> list[str]:
    """Return what scores in other versions than the model was fitted with; scikit-learn says so itself."""
    pairs = [(name, _installed(name), bundle.document["fitted_with"].get(name)) for name in ("numpy", "pandas")]
    return [
        f"it was fitted with {name} {fitted}, and scored with {here}"
        for name, here, fitted in pairs
        if here and fitted and here.split(".")[: _TELLING_FIGURES[name]] != fitted.split(".")[: _TELLING_FIGURES[name]]
    ]


# --- bundles --------------------------------------------------------------------------------------------------------------------
# In: a local file that should be a bundle: a zip with a model, its libraries and its own modules (`batch-predict bundle`).
# Out: a folder with what this platform needs of it, each file as `bundle.json` says.
# Touches: that folder; not a line of the bundle's code runs.

BUNDLE_SUFFIX, BUNDLE_FORMAT = ".bundle.zip", 1
MAX_BUNDLE_BYTES, MAX_UNPACKED_BYTES = 2**30, 2**32
"""Lambda's ephemeral storage has up to 10 GB."""
MAX_DOCUMENT_BYTES = 2**22
"""Of a `bundle.json`."""
MAX_FILES = 2**16 - 2
"""In a zip; one with more has another kind of directory."""
_MAKE_IT_AGAIN = "make it again with batch-predict bundle"
_COPY_IT_AGAIN = "copy it again, or make it again with batch-predict bundle"
_LESS_IN_IT = "make it with fewer or smaller libraries"


class Bundle(NamedTuple):
    """A bundle that is checked, and unpacked for this platform."""

    document: dict[str, Any]
    """Its `bundle.json`."""
    folder: Path
    model: Path
    loader: str | None
    """A module of its own with `load(path)`; None if joblib loads the model."""
    path: list[str]
    """What comes first in sys.path: its libraries, then its own modules."""
    digest: str

    def here(self) -> dict[str, Any]:
        """Return what it says of this platform."""
        return self.document["platforms"][bundle_platform()]  # type: ignore[no-any-return]

    def modules(self) -> list[str]:
        """Return the top-level modules that it brings."""
        return [*self.here()["modules"], *self.document["code_modules"]]

    def unpacked_bytes(self) -> int:
        """Return what it takes in /tmp."""
        return sum(facts.get("unpacked_bytes", facts["bytes"]) for facts in _files_here(self.document).values())


def is_bundle(s3_uri: str) -> bool:
    """Tell by its name whether a model is a bundle."""
    return s3_uri.endswith(BUNDLE_SUFFIX)


def bundle_platform() -> str:
    """Return the name that a bundle has for a system, a processor and a Python: linux-x86_64-py313."""
    return f"{platform.system().lower()}-{platform.machine()}-py{sys.version_info.major}{sys.version_info.minor}"


def unpack_bundle(path: str | Path, folder: str | Path) -> Bundle:
    """Check a bundle, and unpack into a folder what this platform needs of it.

    Raises ModelError, whose words come behind the bundle's name. None of the bundle's code has run then, nor does it here.
    """
    folder = Path(folder)
    try:
        _unpack_checked(Path(path), folder)
    except (MemoryError, PredictionError):
        raise
    except Exception as error:  # zipfile raises half a dozen kinds about a damaged archive
        if isinstance(error, OSError) and error.errno in _FULL_DISK:
            raise
        raise ModelError(f"is damaged ({type(error).__name__})", _COPY_IT_AGAIN) from error
    return _bundle_in(folder)


def _unpack_checked(path: Path, folder: Path) -> None:
    with _opened_zip(path) as archive:
        document = _document_of(archive)
        _require_platform(document)
        here = _files_here(document)
        needed = sum(facts["bytes"] + facts.get("unpacked_bytes", 0) for facts in here.values())
        if needed > MAX_UNPACKED_BYTES:
            raise ModelError(f"unpacks to {needed} bytes, more than {MAX_UNPACKED_BYTES}", _LESS_IN_IT)
        folder.mkdir(parents=True, exist_ok=True)
        _Storage(folder).take_for_model(needed, "unpacks to")
        for name, facts in document["files"].items():
            with _new_file(folder / name) if name in here else nullcontext() as target:
                digest = _copy_entry(archive, archive.getinfo(name), target)
            if digest != facts["sha256"]:
                raise ModelError(f"is damaged: its {name} has the SHA-256 {digest}, and not {facts['sha256']}", _COPY_IT_AGAIN)
    for name in [name for name in here if not name.startswith("model/")]:
        place = folder / "unpacked" / name.partition("/")[0].removesuffix(".zip")
        _unpack_inner(folder / name, here[name]["unpacked_bytes"], place, f"has a {name} that ")
    (folder / "bundle.json").write_text(json.dumps(document))


def _bundle_in(folder: Path) -> Bundle:
    """Return the bundle that was unpacked into a folder."""
    document = json.loads((folder / "bundle.json").read_bytes())
    model, paths = document["model"], (folder / "unpacked/libraries", folder / "unpacked/code")
    first = [str(path) for path in paths if path.is_dir()]
    return Bundle(document, folder, folder / model["path"], model["loader"], first, document["digest"])


def _files_here(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the entries that are needed on this platform."""
    here = f"libraries/{bundle_platform()}.zip"
    return {name: facts for name, facts in document["files"].items() if name == here or not name.startswith("libraries/")}


@contextmanager
def _opened_zip(path: Path, subject: str = "") -> Iterator[zipfile.ZipFile]:
    """Open a zip of plain files that stay within their folder; ModelError for another one, before it is read."""
    with path.open("rb") as file:
        start, size = file.read(4), file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 22))
        end = file.read()
    if not end.startswith(b"PK\x05\x06") and start != b"PK\x03\x04":
        what, _ = _other_file(path) or ("is no zip archive", "")
        raise ModelError(f"{subject}is no bundle: it {what}", "make one with batch-predict bundle")
    if not end.startswith(b"PK\x05\x06"):
        raise ModelError(f"{subject}is cut off, or has bytes behind its end", _COPY_IT_AGAIN)
    if int.from_bytes(end[10:12], "little") > MAX_FILES or int.from_bytes(end[12:16], "little") > MAX_FILES * 1000:
        raise ModelError(f"{subject}has more than {MAX_FILES} files", _LESS_IN_IT)
    with zipfile.ZipFile(path) as archive:
        names = Counter(entry.filename for entry in archive.infolist())
        for entry in archive.infolist():
            name, kind = entry.orig_filename, stat.S_IFMT(entry.external_attr >> 16)
            parts = name.removesuffix("/").split("/")
            cases = (
                ("would leave its folder", {"", ".", ".."} & set(parts) or re.search(r"[\\\0]|^[A-Za-z]:", name)),
                ("is a link or a device", kind not in (0, stat.S_IFREG, stat.S_IFDIR)),
                ("is there twice", names[name] > 1),
                ("lies within a file", any("/".join(parts[:length]) in names for length in range(1, len(parts)))),
                ("is encrypted", entry.flag_bits & 1),
                ("is compressed as batch-predict does not", entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)),
            )
            for what, applies in cases:
                if applies:
                    raise ModelError(f"{subject}has an entry {name[:200]!r} that {what}", _MAKE_IT_AGAIN)
        yield archive


_SHAPE: Any = {
    "digest": str, "made_by": str, "python": str, "code_modules": [str], "fitted_with": {"*": str},
    "model": {"path": str, "loader": (str, type(None))},
    "files": {"*": {"sha256": str, "bytes": int}},
    "platforms": {"*": {"modules": [str], "distributions": [{"name": str, "version": str, "from": str}]}},
}  # fmt: skip


def _has_shape(value: Any, shape: Any) -> bool:
    if isinstance(shape, list):
        return isinstance(value, list) and all(_has_shape(item, shape[0]) for item in value)
    if isinstance(shape, dict):
        names = value if "*" in shape else shape
        return isinstance(value, dict) and all(
            name in value and _has_shape(value[name], shape.get(name, shape.get("*"))) for name in names
        )
    return isinstance(value, shape) and not isinstance(value, bool) and not (shape is int and value < 0)


def _document_of(archive: zipfile.ZipFile) -> dict[str, Any]:
    """Return a bundle's `bundle.json`, which agrees with itself and with the entries beside it, or raise ModelError."""
    first, *others = archive.infolist() or [zipfile.ZipInfo("nothing")]
    if first.filename != "bundle.json":
        raise ModelError("is no bundle: its first entry is not bundle.json", "make one with batch-predict bundle")
    if first.file_size > MAX_DOCUMENT_BYTES:
        raise ModelError(f"has a bundle.json of {first.file_size} bytes, more than {MAX_DOCUMENT_BYTES}", _MAKE_IT_AGAIN)
    try:
        document = json.loads(archive.read(first))
        number = document["format"]
        digest = document.get("digest")
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise ModelError("has a bundle.json that is not as batch-predict writes it", _MAKE_IT_AGAIN) from error
    if not isinstance(number, int) or number < BUNDLE_FORMAT:
        raise ModelError("has a bundle.json that is not as batch-predict writes it", _MAKE_IT_AGAIN)
    if number > BUNDLE_FORMAT:
        raise ModelError(
            f"was made by a newer batch-predict: its format is {str(number)[:20]}, and this function knows {BUNDLE_FORMAT}",
            "deploy the function with that batch-predict, or make the bundle with the one that has deployed it",
        )
    content = json.dumps({name: part for name, part in document.items() if name != "digest"}, sort_keys=True, separators=(",", ":"))
    if digest != hashlib.sha256(content.encode()).hexdigest():
        raise ModelError("is damaged: its bundle.json is not that of its digest", _COPY_IT_AGAIN)
    is_whole = _has_shape(document, _SHAPE) and all(
        ("unpacked_bytes" not in facts) if name.startswith("model/") else _has_shape(facts, {"unpacked_bytes": int})
        for name, facts in document["files"].items()
    )
    if not is_whole:
        raise ModelError("has a bundle.json that is not as batch-predict writes it", _MAKE_IT_AGAIN)
    files, model = document["files"], document["model"]["path"]
    if {entry.filename: entry.file_size for entry in others} != {name: facts["bytes"] for name, facts in files.items()}:
        raise ModelError("is damaged: it does not have the files, of the sizes, that its bundle.json lists", _COPY_IT_AGAIN)
    if model not in files or not model.startswith("model/"):
        raise ModelError(f"has no {model[:200]!r}, which its bundle.json names as the model", _MAKE_IT_AGAIN)
    return document  # type: ignore[no-any-return]


def _require_platform(document: dict[str, Any]) -> None:
    here = bundle_platform()
    if here not in document["platforms"]:
        there = ", ".join(sorted(document["platforms"])) or "none"
        raise ModelError(f"has no libraries for {here}, by which it would be scored here: it has them for {there}",
                         f"{_MAKE_IT_AGAIN} --platform {here}")  # fmt: skip


def _copy_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: IO[bytes] | None) -> str:
    """Copy an entry, and return its SHA-256; zipfile reads no more than the size that the entry states."""
    digest = hashlib.sha256()
    with archive.open(entry) as source:
        while piece := source.read(2**20):
            digest.update(piece)
            if target:
                target.write(piece)
    return digest.hexdigest()


def _new_file(path: Path) -> IO[bytes]:
    try:
        return path.open("xb")
    except FileNotFoundError:
        path.parent.mkdir(parents=True)
        return path.open("xb")


def _unpack_inner(path: Path, unpacked_bytes: int, folder: Path, subject: str) -> None:
    """Unpack a zip of the bundle, and delete it."""
    with _opened_zip(path, subject) as archive:
        if (size := sum(entry.file_size for entry in archive.infolist())) != unpacked_bytes:
            raise ModelError(f"{subject}unpacks to {size} bytes, and its bundle.json says {unpacked_bytes}", _MAKE_IT_AGAIN)
        folder.mkdir(parents=True)
        for entry in archive.infolist():
            if not entry.is_dir():
                with archive.open(entry) as source, _new_file(folder / entry.filename) as target:
                    shutil.copyfileobj(source, target, 2**20)
    path.unlink()


# --- pickles --------------------------------------------------------------------------------------------------------------------
# In: a local file that should be a model.
# Out: what the file is instead, if it is not a model; what it names, and which Python and scikit-learn wrote it.
# Touches: nothing: not a line of the pickle's code runs.


# What a file is that is not a model, by its first bytes; a zip archive by the names in it, and text by its first words.
_DUMP_IT = "write the fitted estimator with joblib.dump"
_DUMP_ANOTHER = "this function scores scikit-learn's estimators: dump one with joblib.dump"
_DUMP_BOOSTER = "load it into an XGBClassifier or XGBRegressor, and dump that with joblib.dump"
_BUNDLE_IT = "make a bundle of it with batch-predict bundle, and give that"
_GIVE_DUMPED = "give the file that joblib.dump has written"
_SWAPPED = "give the model; perhaps model and data are swapped"
_UNPACK = "unpack it, and give the model that is in it"
_OTHER_FILES = (
    (rb'.{4}\x00{4}\{\s*"', "is safetensors, which hold arrays and no estimator", _DUMP_IT),
    (rb"version https://git-lfs", "is a pointer of Git LFS and not the model", "have git-lfs fetch it"),
    (rb"\s*(?:<\?xml[^>]*>\s*)?<Error>", "is an error message of S3 in XML", "get the model again, with permission to read it"),
    (rb"\s*(?:<\?xml.*?)?<PMML", "is PMML", _DUMP_IT),
    (rb"\s*<[!?a-zA-Z]", "is HTML or XML, perhaps the page of a failed download", "get the model again"),
    (rb'\s*\{\s*"cells"', "is a Jupyter notebook", f"{_DUMP_IT} in it, and give that file"),
    (rb'\{\s*"learner"|\{L.{0,9}learner', "is a model of XGBoost's own (save_model)", _BUNDLE_IT),
    (rb"\s*[\[{]", "is JSON or UBJSON", _DUMP_IT),
    (rb"binf", "is a model of XGBoost's own (save_model)", _BUNDLE_IT),
    (rb"tree\r?\nversion=", "is a model of LightGBM's own (save_model)", _BUNDLE_IT),
    (rb"CBM1", "is a model of CatBoost's own (save_model)", _BUNDLE_IT),
    (rb"\x89HDF\r\n", "is HDF5, as Keras writes models (.h5)", _DUMP_ANOTHER),
    (rb"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19", "is PyTorch's (torch.save)", _DUMP_ANOTHER),
    (
        # by its fields: the format's version, who wrote it, and the graph; https://onnx.ai/onnx/repo-docs/IR.html
        rb"\x08[\x01-\x20](?:(?:[\x12\x1a\x22].[\w .+-]{0,60}){0,3}(?:\x28.)?(?:\x32\x00)?:|[\x12\x1a\x22].{0,4000}(?:onnx|ONNX))",
        "is ONNX",
        _BUNDLE_IT,
    ),
    (rb"\x08\x01\x12.{0,4000}(?:serve|tensorflow|TensorFlow)", "is TensorFlow's SavedModel", _DUMP_ANOTHER),
    (rb"\x1c\x00\x00\x00TFL3|.{4}TFL3", "is TensorFlow Lite's", _DUMP_ANOTHER),
    (rb"PAR1", "is Parquet: data, and no model", _SWAPPED),
    (rb"ARROW1|FEA1|\xff{4}.{4}\x10\x00\x00\x00", "is Arrow: data, and no model", _SWAPPED),
    (rb"ORC", "is ORC: data, and no model", _SWAPPED),
    (rb"\x93NUMPY", "is an array of NumPy (.npy)", _DUMP_IT),
    (rb"RD[AX][23]\n|[XAB]\n\x00\x00\x00[\x02\x03]", "is an object of R (saveRDS or save)", _DUMP_ANOTHER),
    (rb"SQLite format 3", "is an SQLite database", _DUMP_IT),
    (
        rb"\x28\xb5\x2f\xfd",
        "is compressed by Zstandard, which joblib does not read",
        "decompress it, or dump the model again with joblib.dump",
    ),
    (rb"7z\xbc\xaf\x27\x1c|Rar!", "is a 7z or RAR archive", _UNPACK),
    (rb"\x00{64}", "begins with zeros, as a file does that was not copied to its end", "copy it again"),
    (rb"\x7fELF|MZ.{58}|%PDF|\x89PNG|\xff\xd8\xff", "is a program, a document or a picture, and no model", _GIVE_DUMPED),
    (
        rb"age-encryption\.org|Salted__|\$ANSIBLE_VAULT|-----BEGIN (?:PGP|AGE)|\x85[\x01-\x04]\x0c\x03|\x8c\x0d\x04",
        "is encrypted",
        "decrypt it first; S3 can encrypt what it keeps by itself",
    ),
)
_BUNDLE_OF_FOLDER = "unpack it, make a bundle of the folder with batch-predict bundle, and give that"
_IN_A_ZIP = (
    (r"^bundle\.json$", "is a bundle under another name", "give it one that ends in .bundle.zip"),
    (r"schema\.json", "is a model of skops", _BUNDLE_IT),
    (r"model\.weights\.h5|metadata\.json", "is a model of Keras (.keras)", _DUMP_ANOTHER),
    (r"(?:^|/)data\.pkl|(?:^|/)constants\.pkl", "is PyTorch's (torch.save)", _DUMP_ANOTHER),
    (r"\[Content_Types\]\.xml|^xl/", "is an Excel workbook: data, and no model", _SWAPPED),
    (r"\.npy$", "is an archive of NumPy's arrays (.npz)", _DUMP_IT),
    (r"(?:^|/)MLmodel$", "is a zip archive of an MLflow model", _BUNDLE_OF_FOLDER),
    (r"\.(?:joblib|pkl|pickle)(?:\.\w{1,4})?$", "is a zip archive with a model in it", _UNPACK),
)
_TEXTS = (
    (
        r"(?ms).*^flavors:",
        "is the description of an MLflow model (MLmodel)",
        "make a bundle of its folder with batch-predict bundle, and give that",
    ),
    (
        r"""(?m)(?:#!|["']{3}|import |from \w+ import |def |class )""",
        "is source code and not the model",
        f"run it, {_DUMP_IT}, and give that file",
    ),
    (r"[^\n]{0,4000}[,;\t|]", "is text, perhaps CSV, and no model", _SWAPPED),
    (r"", "is text, and no model", _GIVE_DUMPED),
)
_UNPICKLERS_WORDS = (
    (
        "out-of-band",
        "was pickled with its arrays out of band (buffer_callback), and they are not in the file",
        "dump it with joblib.dump",
    ),
    ("LZ4", "is compressed by LZ4, which the function has no library for", f"{_DUMP_IT}(…, compress=3)"),
)
"""What pickle and joblib say if they lack something."""
_LOOKED_AT_BYTES = 4096
"""Bytes of a file's beginning that are looked at."""


def _other_file(path: Path) -> tuple[str, str] | None:
    """Say what a file is, if it is one of those that are often taken for a model, and what to do; nothing of it is run."""
    try:
        with path.open("rb") as file:
            start = file.read(_LOOKED_AT_BYTES)
    except OSError:  # no file at all
        return None
    if not start:
        return "is empty", "write the model again with joblib.dump"
    with suppress(Exception), _decompressed(path) as opened:  # whoever reads the file later says what is broken
        start = opened.read(_LOOKED_AT_BYTES) or start
    if start[257:262] == b"ustar":
        what = "is a tar archive, as SageMaker's model.tar.gz is"
        with suppress(Exception), _decompressed(path) as opened, tarfile.open(fileobj=opened, mode="r|") as archive:
            what += next((f", and begins with {file.name[:100]!r}" for file in islice(archive, 20) if file.isfile()), "")
        return what, _BUNDLE_IT
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        names = [start[30 : 30 + int.from_bytes(start[26:28], "little")].decode(errors="replace")]  # the first, if it is broken
        with suppress(Exception), zipfile.ZipFile(path) as archive:
            names = archive.namelist() or names
        found = ((what, advice) for pattern, what, advice in _IN_A_ZIP if any(re.search(pattern, name) for name in names))
        return next(found, ("is a zip archive", _DUMP_IT))
    return next(((what, advice) for pattern, what, advice in _OTHER_FILES if re.match(pattern, start, re.DOTALL)), None)


def _text_of(path: Path) -> str:
    """Return the beginning of a file if it is text, and else nothing."""
    try:
        with path.open("rb") as file:
            start = file.read(_LOOKED_AT_BYTES)
        text = start.decode("utf-8-sig") if len(start) < _LOOKED_AT_BYTES else start[:-4].decode("utf-8-sig", "ignore")
    except (OSError, UnicodeDecodeError):
        return ""
    return text if all(letter.isprintable() or letter in "\t\r\n\f" for letter in text) else ""


def _is_copied_as_text(path: Path) -> bool:
    """Tell whether a pickle was copied as text: each line feed has become CR LF, or each byte beyond ASCII U+FFFD."""
    openers: tuple[Callable[[Path], Any], ...] = (functools.partial(Path.open, mode="rb"), _decompressed)
    for opener in openers:  # the file, or what was compressed afterwards
        with suppress(OSError, ValueError, EOFError, zlib.error, lzma.LZMAError), opener(path) as file:
            start = file.read(2**20)
            if start.startswith(b"\xef\xbf\xbd") or 2 <= start.count(b"\n") == start.count(b"\r\n"):
                return True
    return False


def _ends_too_early(path: Path, error: Exception, contents: _Contents) -> bool:
    """Tell whether a pickle does not end as one does: if it breaks off within an array, other bytes are read as its own."""
    try:
        with _decompressed(path) as file:
            if not contents.reached and not re.match(rb"\x80[\x02-\x05]", file.read(2)):
                return False
            if isinstance(error, EOFError) or any(word in str(error) for word in ("truncated", "exhausted", "EOF")):
                return True
            file.seek(-1, os.SEEK_END)
            return file.read(1) != pickle.STOP
    except EOFError:  # of a compressed file
        return True
    except (OSError, ValueError, zlib.error, lzma.LZMAError):
        return False


@contextmanager
def _decompressed(path: Path) -> Iterator[IO[bytes]]:
    """Open a file as joblib does, whichever of joblib's compressions it has; OSError or the like if it is broken."""
    with path.open("rb") as file:
        start = file.read(6)
    opened: IO[bytes]
    if start.startswith(b"\x78"):
        from joblib.compressor import BinaryZlibFile  # noqa: PLC0415  # as above

        opened = io.BufferedReader(BinaryZlibFile(str(path), "rb"))
    else:
        opener = next((opener for magic, opener in _COMPRESSIONS.items() if start.startswith(magic)), Path.open)
        opened = opener(path, "rb")
    with opened:
        yield opened


_COMPRESSIONS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7zXZ": lzma.open, b"\x5d\x00": lzma.open,
}  # fmt: skip
SCANNED_STEPS, SCANNED_BYTES, KEPT_BYTES = 100_000, 2**26, 2**16
"""How much of a model is read without running it: reads, bytes after decompression, and bytes of a value. Arrays are skipped."""


@dataclass
class _Contents:
    """What a pickle names and states, as far as it was read."""

    names: dict[str, Callable[[], Any]] = field(default_factory=dict)
    """Classes and functions, `module.name`, in order; each with what finds it as unpickling would, and calls nothing."""
    sklearn_versions: dict[str, None] = field(default_factory=dict)
    """The versions that estimators say they were saved with."""
    is_whole: bool | None = False
    """Whether it ends as a pickle does; None if it is too long to say."""
    reached: str = ""
    """The last of the names that unpickling has come to."""
    has_damaged_type: bool = False
    """Whether an array's type has a state that NumPy does not write, and that may crash it."""


def _contents_of(path: Path) -> _Contents:
    """Read what a pickle names and which versions it states. No code runs: placeholders stand for all that it names."""
    contents = _Contents()
    try:
        with _decompressed(path) as file:
            _PickleReader(_Scanned(file), contents).load()
        contents.is_whole = True
    except _ScannedEnough:
        contents.is_whole = None
    except Exception as error:  # noqa: BLE001  # whoever loads the file says what is wrong with it
        logger.info(_log_line({"message": f"the model's pickle is not read to its end: {type(error).__name__}"}))
    return contents


class _ScannedEnough(Exception):  # noqa: N818  # it is not an error
    """The pickle is longer than what is read of it."""


class _Scanned:
    """A file that is read only so far, and so many times."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._steps, self._bytes = file, 0, 0

    def read(self, size: int) -> bytes:
        if size > KEPT_BYTES:
            self.skip(size)
            return b""
        self._count(size)
        return self._file.read(size)

    def readline(self) -> bytes:
        line = self._file.readline(SCANNED_BYTES)
        self._count(len(line))
        return line

    def skip(self, size: int) -> None:
        """Pass over bytes: at once in a plain file, in pieces in a compressed one."""
        if isinstance(self._file, io.BufferedReader) and isinstance(self._file.raw, io.FileIO):
            self._count(0)
            self._file.seek(size, os.SEEK_CUR)
            return
        while size > 0:
            piece = self._file.read(min(size, 2**20))
            self._count(len(piece))
            if not piece:
                raise EOFError
            size -= len(piece)

    def _count(self, size: int) -> None:
        self._steps += 1
        self._bytes += size
        if self._steps > SCANNED_STEPS or self._bytes > SCANNED_BYTES:
            raise _ScannedEnough


class _Placeholder:
    """Stands for whatever a pickle names or makes, and does nothing."""

    named = ""
    arguments: tuple[Any, ...] = ()

    def __new__(cls, *_arguments: Any, **_options: Any) -> Self:
        made = object.__new__(_Placeholder)
        made.named = cls.named
        return made  # type: ignore[return-value]

    def __call__(self, *arguments: Any, **_options: Any) -> _Placeholder:
        made = _Placeholder()
        is_made_by_copyreg = self.named.endswith("._reconstructor") and arguments  # in the first protocols
        made.named = getattr(arguments[0], "named", "") if is_made_by_copyreg else self.named
        made.arguments = arguments
        return made

    def ignore(self, *_: Any) -> None:
        """Take what a container would take, and forget it."""

    append = extend = add = update = __setitem__ = ignore


class _PickleReader(pickle._Unpickler):  # noqa: SLF001  # the one in Python, whose parts can be overridden
    """Follows a pickle and joblib's arrays in it, and puts placeholders in the place of all that it names."""

    stack: list[Any]
    read: Callable[[int], bytes]
    append: Callable[[Any], None]

    def __init__(self, file: _Scanned, contents: _Contents) -> None:
        super().__init__(file)
        self._scanned, self._contents = file, contents

    def find_class(self, module: str, name: str) -> Any:
        found = _Placeholder()
        found.named = f"{module}.{name}"
        find = functools.partial(_resolve, super().find_class, module, name, self._contents)
        self._contents.names.setdefault(found.named, find)
        return found

    def load_frame(self) -> None:
        self.read(8)  # what is in a frame follows at once, and need not be in memory

    def load_bytearray8(self) -> None:
        self._scanned.skip(int.from_bytes(self.read(8), "little"))
        self.append(b"")

    def load_build(self) -> None:
        state = self.stack.pop()
        made = self.stack[-1]
        stated = state if isinstance(state, dict) else {}
        version = stated.get("_sklearn_version")
        if isinstance(version, str) and len(self._contents.sklearn_versions) < MAX_REASONS:
            self._contents.sklearn_versions[version[:40]] = None
        if isinstance(made, _Placeholder) and made.named == "numpy.dtype" and _is_damaged_type(made.arguments, state):
            self._contents.has_damaged_type = True
        if isinstance(made, _Placeholder) and made.named == "joblib.numpy_pickle.NumpyArrayWrapper":
            self._pass_over_array(stated)

    def _pass_over_array(self, wrapper: dict[Any, Any]) -> None:
        """Skip the array that follows its wrapper's state in joblib's files (joblib/numpy_pickle.py, read_array)."""
        arguments: Sequence[Any] = wrapper["dtype"].arguments
        kind = re.fullmatch(r"[<>|=]?([a-zA-Z])(\d{0,9})", arguments[0])
        if not kind:
            raise pickle.UnpicklingError("an array of unknown type")
        if kind[1] == "O":
            type(self)(self._scanned, self._contents).load()
            return
        if wrapper.get("numpy_array_alignment_bytes") is not None:
            self._scanned.skip(self._scanned.read(1)[0])
        self._scanned.skip(math.prod(wrapper["shape"]) * int(kind[2] or 1) * (4 if kind[1] == "U" else 1))

    dispatch: ClassVar[dict[int, Callable[..., Any]]] = pickle._Unpickler.dispatch | {  # noqa: SLF001
        pickle.FRAME[0]: load_frame, pickle.BYTEARRAY8[0]: load_bytearray8, pickle.BUILD[0]: load_build,
    }  # fmt: skip


def _is_damaged_type(arguments: Sequence[Any], state: Any) -> bool:
    """Tell whether a NumPy type without fields has other flags than NumPy writes (arraydescr_setstate in descriptor.c).

    NumPy believes them: with those of objects it takes numbers for addresses.
    """
    kind = re.fullmatch(r"[<>|=]?([biufcmMSUO])\d*", str(arguments[0])) if arguments else None
    is_whole = isinstance(state, tuple) and len(state) in (8, 9)  # version, order, subtype, names, fields, size, alignment, flags
    return kind is not None and not (is_whole and state[2:5] == (None,) * 3 and state[7] == {"O": 63, "U": 8}.get(kind[1], 0))


def _of_a_script(names: list[str]) -> ModelError:
    shown = " and ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    are, them = ("is", "it") if len(names) == 1 else ("are", "them")
    imports = ", ".join(dict.fromkeys(name.partition(".")[0] for name in names[:5]))
    return ModelError(
        f"needs {shown} of the script or notebook that fitted it (__main__), which {are} not in the file",
        f"move {them} into a file of its own, such as steps.py, import {them} from there (from steps import {imports}), "
        "fit and dump the model again, and make a bundle of it with batch-predict bundle; or use what scikit-learn has in its "
        "place",
    )


# A pickle may carry code by value, as byte-code, and that of another Python ends the process. Which Python wrote it is told by the
# number of RESUME, the first instruction whose argument can be 0. 3.11 and 3.12 share that number, and are told apart by the
# instructions that only one of them has, and by the empty words that follow an instruction:
# https://github.com/python/cpython/blob/3.12/Lib/opcode.py, and Lib/_opcode_metadata.py from 3.13 on
_RESUME = {151: ("3.11", "3.12"), 149: ("3.13",), 128: ("3.14",)}
_ABSENT = {"3.11": {3, 4, 5, 26, 27, 55, 121, 127, 141, 143, 150}, "3.12": {10, 70, 82, 84, 86, 88, 111, 112, 148, 160, 166}}
_CACHE_WORDS = {
    "3.11": {25: 4, 60: 1, 92: 1, 95: 4, 106: 4, 107: 2, 116: 5, 122: 1, 160: 10, 166: 1, 171: 4},
    "3.12": {25: 1, 60: 1, 92: 1, 93: 1, 95: 4, 106: 9, 107: 1, 116: 4, 122: 1, 123: 1, 141: 1, 171: 3},
}
_CODE_ARGUMENTS = 18
"""Arguments of `types.CodeType` since Python 3.11; earlier it took fewer."""


def _checked_constructor(found: Any, name: str) -> Any:
    """Return what a pickle's name stands for; if that makes code objects, return what checks their Python first."""
    if found is CodeType:
        return functools.partial(_make_code, found, "cloudpickle")
    if name in ("_builtin_type", "_load_type"):  # cloudpickle's and dill's way to a type by its name
        return lambda type_name: _checked_constructor(found(type_name), type_name)
    if name == "_create_code":
        return functools.partial(_make_code, found, "dill")
    return found


def _make_code(make: Callable[..., Any], library: str, *arguments: Any) -> Any:
    """Make a code object, unless it is byte-code of another Python than this one's, or than the deployed package's."""
    here = _python()
    written, package = _pythons_of(arguments), _deployed_package().get("python", here)
    if package in written and here in written:
        return make(*arguments)
    name = next((text for text in reversed(arguments) if isinstance(text, str)), "?")
    by = f"its function {name!r} was pickled by value ({library}) under Python {' or '.join(written) or 'of another version'}"
    if package in written:
        raise ModelError(
            f"cannot be loaded here: {by}, as the deployed package runs; this is Python {here}", f"use Python {package} here"
        )
    raise ModelError(
        f"cannot be loaded: {by}, and the prediction function runs Python {package}. Such code loads only under the same Python",
        f"dump the model under Python {package}, or use what scikit-learn has in its place",
    )


def _pythons_of(arguments: tuple[Any, ...]) -> tuple[str, ...]:
    """Return the Pythons whose byte-code the arguments of `types.CodeType` may be; none if the byte-code is unknown."""
    if len(arguments) < _CODE_ARGUMENTS:
        return ("3.10 or older",)
    code = next((after for before, after in pairwise(arguments) if isinstance(before, int) and isinstance(after, bytes)), b"")
    known = {**_RESUME, **({opcode.opmap["RESUME"]: (_python(),)} if sys.version_info[:2] > (3, 14) else {})}
    started = zip(code[::2], code[1::2], strict=False)
    pythons: tuple[str, ...] = next((known[number] for number, argument in started if argument == 0 and number in known), ())
    return tuple(python for python in pythons if python not in _ABSENT or _is_of(code, python))


def _is_of(code: bytes, python: str) -> bool:
    """Tell whether each instruction is one of this Python's, with the right number of empty words behind it."""
    words, absent = _CACHE_WORDS[python], _ABSENT[python]
    at = 0
    while at < len(code):
        number, empty = code[at], words.get(code[at], 0)
        if number == 0 or number in absent or any(code[at + 2 : at + 2 + 2 * empty : 2]):
            return False
        at += 2 + 2 * empty
    return True


# --- expectations ---------------------------------------------------------------------------------------------------------------
# In: a fitted estimator, and the columns that it gets.
# Out: for each column what the model determines: its kind, an example, texts that are no missing values.
# Touches: nothing; the model is read and not called.

ANY, INTEGERS_TOO, UNREAD = "any", "integers too", "unread"
"""Further kinds of an expectation: no opinion; numbers, of which integers stay integers, because a step can tell; never read."""


class _Expected(NamedTuple):
    """What a fitted model determines about one of its columns."""

    kind: str
    """TEXT, NUMBER (as float64, because no step can tell it from an integer), INTEGERS_TOO, ANY or UNREAD."""
    example: Any = None
    """A value that the column may have; None if the model does not say."""
    known: tuple[str, ...] = ()
    """Categories that are spelled like missing values, and are values."""


_Expectations = dict[str, _Expected]
_NextStep = Callable[[list[str]], _Expectations]
"""Says what the steps behind a step expect of its output columns."""

# Modules whose estimators turn whatever they get into floats. A subclass is defined elsewhere, and does not count.
_NUMERIC_MODULES = (
    "cluster", "covariance", "cross_decomposition", "decomposition", "discriminant_analysis", "ensemble._forest", "ensemble._gb",
    "ensemble._hist_gradient_boosting", "ensemble._iforest", "gaussian_process", "impute._iterative", "impute._knn", "isotonic",
    "kernel_approximation", "kernel_ridge", "linear_model", "manifold", "mixture", "naive_bayes", "neighbors", "neural_network",
    "preprocessing._data", "preprocessing._discretization", "preprocessing._polynomial", "random_projection", "semi_supervised",
    "svm", "tree",
)  # fmt: skip
_NOT_NUMERIC = ("Binarizer", "SelfTrainingClassifier", "RANSACRegressor")
"""Exceptions in these modules: the first keeps integers, and the others pass them on."""
_BOOSTERS = ("lightgbm", "xgboost")
"""Libraries whose scikit-learn interface takes numbers, and turns them into float32 or float64."""


def expected_columns(estimator: Any, columns: Sequence[str]) -> _Expectations:
    """Return what the fitted model determines about each column; `columns` are in the order in which the model gets them.

    `pandas.read_csv` decides by the values of the whole file, and a chunk sees only its own: what the model knows comes first.
    """
    try:
        found = _expected(estimator, list(columns), _no_opinion)
    except Exception as error:  # noqa: BLE001  # private attributes of many versions of many estimators
        why = f"{type(error).__name__} in {type(estimator).__name__}"
        logger.info(_log_line({"message": f"column types are left to the data: {why}"}))
        found = {}
    return {column: found.get(column, _Expected(ANY)) for column in columns}


def _no_opinion(columns: list[str]) -> _Expectations:
    return dict.fromkeys(columns, _Expected(ANY))


def _expected(step: Any, columns: list[str], then: _NextStep) -> _Expectations:  # noqa: C901, PLR0911, PLR0912  # a branch a family
    """Return what one step expects of columns; if it passes them on unchanged, `then` says what the next steps expect."""
    if step is None or (isinstance(step, str) and step == "passthrough") or _is_identity(step):
        return then(columns)
    if isinstance(step, str) and step == "drop":
        return dict.fromkeys(columns, _Expected(UNREAD))
    if not _is_sklearn(step):  # its attributes may have scikit-learn's names, and another meaning
        if stated := _expected_as_stated(step, columns):
            return stated
        return dict.fromkeys(columns, _Expected(NUMBER, 0.0) if _is_numeric(step) else _Expected(ANY))
    if hasattr(step, "transformers_"):  # ColumnTransformer
        return _combine(_expected_of_transformers(step, columns, then))
    if hasattr(step, "steps"):  # Pipeline
        return _expected_in_turn([inner for _, inner in step.steps], columns, then)
    if hasattr(step, "transformer_list"):  # FeatureUnion
        return _combine([_expected(inner, columns, _no_opinion) for _, inner in step.transformer_list])
    if getattr(step, "_preprocessor", None) is not None:  # histogram boosting with categories; its numbers go on to the trees
        return _expected(step._preprocessor, columns, lambda names: dict.fromkeys(names, _Expected(NUMBER)))  # noqa: SLF001
    if isinstance(getattr(step, "categories_", None), list):  # one-hot, ordinal and target encoders
        return {column: _expected_of_values(values) for column, values in zip(columns, step.categories_, strict=False)}
    if hasattr(step, "statistics_"):  # SimpleImputer
        return _expected_of_imputer(step, columns, then)
    if _is_vectorizer(step):
        return dict.fromkeys(columns, _Expected(TEXT, "a"))
    if hasattr(step, "get_support"):  # feature selection passes on what it selects, as it is
        return _expected_of_selected(step, columns, then)
    if inner := _inner_estimators(step):
        opinions = [
            _expected(part, [columns[i] for i in chosen] if chosen is not None else columns, _no_opinion) for part, chosen in inner
        ]
        if getattr(step, "passthrough", False) and hasattr(step, "final_estimator_"):  # stacking: predictions, then the columns
            final = step.final_estimator_
            behind = [f"\0{position}" for position in range(getattr(final, "n_features_in_", len(columns)) - len(columns))]
            found = _expected(final, behind + columns, _no_opinion)
            opinions.append({column: found[column] for column in columns if column in found})
        return _in_one_array(_combine(opinions))
    if type(step).__name__ == "MissingIndicator" and (step.missing_values is None or step.missing_values != step.missing_values):
        return dict.fromkeys(columns, _Expected(UNREAD))
    if _is_numeric(step):
        return dict.fromkeys(columns, _Expected(NUMBER, 0.0))
    return _no_opinion(columns)


def _expected_as_stated(step: Any, columns: list[str]) -> _Expectations:
    """Return what a class of one's own states of its columns: `column_types_`, for each column its type, or its categories."""
    stated, fitted = getattr(step, "column_types_", None), _feature_names_in(step)
    if not isinstance(stated, (list, tuple)) or len(stated) != len(columns):
        return {}
    kinds = {NUMBER: _Expected(NUMBER, 0.0), INTEGER: _Expected(INTEGERS_TOO, 0), TEXT: _Expected(TEXT, "a")}
    names = fitted if sorted(fitted) == sorted(columns) else columns
    return {
        name: _expected_of_values(one) if isinstance(one, (list, tuple)) else kinds.get(one, _Expected(ANY))
        for name, one in zip(names, stated, strict=True)
    }


def _expected_in_turn(steps: list[Any], columns: list[str], then: _NextStep) -> _Expectations:
    if not steps:
        return then(columns)
    return _expected(steps[0], columns, lambda names: _expected_in_turn(steps[1:], names, then))


def _expected_of_transformers(transformer: Any, columns: list[str], then: _NextStep) -> list[_Expectations]:
    """Return what each part of a ColumnTransformer expects; the transformer's output has the columns in another order."""
    fitted = _feature_names_in(transformer)
    known = fitted if fitted and set(fitted) <= set(columns) else columns  # positions are the fit's
    places = getattr(transformer, "output_indices_", {})

    @functools.cache
    def put_out() -> tuple[list[str], _Expectations]:  # once for all parts, of which there may be thousands
        names = _names_put_out(transformer, max(other.stop for other in places.values()))
        return names, then(names)

    def behind(place: slice, names: list[str]) -> _Expectations:
        if place.stop - place.start != len(names):
            return _no_opinion(names)
        outputs, found = put_out()
        return {name: found.get(outputs[place.start + index], _Expected(ANY)) for index, name in enumerate(names)}

    opinions = []
    for name, part, _ in transformer.transformers_:
        selected = [known[position] for position in transformer._transformer_to_input_indices[name]]  # noqa: SLF001
        found = _expected(part, selected, functools.partial(behind, places.get(name, slice(0, 0))))
        opinions.append({column: found.get(column, _Expected(ANY)) for column in selected})
    return opinions


def _names_put_out(transformer: Any, outputs: int) -> list[str]:
    """Name a ColumnTransformer's output columns as a later step may choose them, or else by names that no column has."""
    try:
        names = [str(name) for name in transformer.get_feature_names_out()]
    except Exception:  # noqa: BLE001  # not every transformer names its outputs
        names = []
    return names if len(names) == outputs else [f"\0{position}" for position in range(outputs)]


def _expected_of_selected(selector: Any, columns: list[str], then: _NextStep) -> _Expectations:
    """Return what a feature selection expects: numbers, which stay integers if a later step can tell."""
    chosen = [columns[i] for i in selector.get_support(indices=True)]
    behind = then(chosen)
    numbers = {NUMBER: NUMBER, UNREAD: NUMBER}
    found = {column: _Expected(numbers.get(behind.get(column, _Expected(NUMBER)).kind, INTEGERS_TOO), 0.0) for column in columns}
    return _in_one_array(found)


def _in_one_array(found: _Expectations) -> _Expectations:
    """Keep integers in all columns if one column must have them: a step that makes one array of them gives it one type."""
    if all(expected.kind in (NUMBER, TEXT, UNREAD) for expected in found.values()):
        return found
    return {column: one._replace(kind=INTEGERS_TOO) if one.kind == NUMBER else one for column, one in found.items()}


def _expected_of_imputer(imputer: Any, columns: list[str], then: _NextStep) -> _Expectations:
    """Return what a SimpleImputer expects: its statistics have its columns' types, and later steps may know more."""
    statistics = list(imputer.statistics_)
    keeps_columns = len(statistics) == len(columns) and not any(value != value for value in statistics if isinstance(value, float))  # noqa: PLR0124
    indicators = getattr(getattr(imputer, "indicator_", None), "features_", ())
    behind = then(columns + [f"\0{number}" for number in range(len(indicators))]) if keeps_columns else _no_opinion(columns)
    found = {}
    for column, value in zip(columns, statistics, strict=False):
        own, later = _expected_of_values([value]), behind.get(column, _Expected(ANY))
        known = tuple(text for text in later.known if text != value)  # what only the imputer makes is no value of the data's
        if imputer.strategy == "constant":  # what it fills in says nothing about the rest
            own = later._replace(known=known)
        elif own.kind == TEXT:
            own = own._replace(known=known)
        elif own.kind == NUMBER and imputer.strategy == "most_frequent" and later.kind in (ANY, INTEGERS_TOO):
            own = own._replace(kind=INTEGERS_TOO)  # it keeps integers as they are
        found[column] = own
    return _in_one_array(found)


def _expected_of_values(values: Iterable[Any]) -> _Expected:
    """Return what a column's fitted values tell. Booleans tell nothing: pandas may have read them as objects."""
    known = [value for value in values if value is not None and value == value]  # noqa: PLR0124  # NaN is not itself
    if known and all(isinstance(value, str) for value in known):
        return _Expected(TEXT, known[0], tuple(value for value in known if value in MISSING_VALUES))
    if known and all(isinstance(value, (int, float, np.number)) and not isinstance(value, bool) for value in known):
        return _Expected(NUMBER, known[0])
    return _Expected(ANY, known[0] if known else None)


def _combine(opinions: list[_Expectations]) -> _Expectations:
    """Merge what several steps that read the same columns expect of them."""
    gathered: dict[str, list[_Expected]] = {}
    for opinion in opinions:
        for column, expected in opinion.items():
            gathered.setdefault(column, []).append(expected)
    return {column: _combined(expected) for column, expected in gathered.items()}


def _combined(opinions: list[_Expected]) -> _Expected:
    kinds = {opinion.kind for opinion in opinions} - {UNREAD}
    example = next((opinion.example for opinion in opinions if opinion.example is not None), None)
    known = tuple(dict.fromkeys(text for opinion in opinions for text in opinion.known))
    if len(kinds) <= 1:
        return _Expected(next(iter(kinds), UNREAD), example, known)
    if TEXT not in kinds:  # numbers for one, for another nothing that it would say: it may tell integers from others
        return _Expected(INTEGERS_TOO, example)
    return _Expected(TEXT if kinds == {TEXT, ANY} else ANY, example, known)


def _module_of(item: Any) -> str:
    named = item if callable(item) and hasattr(item, "__name__") else type(item)
    return str(getattr(named, "__module__", None) or "builtins")


def _is_numeric(estimator: object) -> bool:
    """Tell whether an estimator turns whatever it gets into floats."""
    if type(estimator).__name__ in _NOT_NUMERIC:
        return False
    library, _, rest = type(estimator).__module__.partition(".")
    if library in _BOOSTERS:
        return not _fitted_categories(estimator)
    return library == "sklearn" and any(f"{rest}.".startswith(f"{module}.") for module in _NUMERIC_MODULES)


def _fitted_categories(booster: Any) -> bool:
    """Tell whether a boosted model was fitted on pandas' categories, which a CSV file does not have."""
    inner = getattr(booster, "_Booster", None)
    return bool(getattr(inner, "pandas_categorical", None)) or "c" in (getattr(inner, "feature_types", None) or ())


def _is_identity(step: Any) -> bool:
    """Tell whether a step is a FunctionTransformer without a function, which scikit-learn puts in the place of "passthrough"."""
    return type(step).__name__ == "FunctionTransformer" and _is_sklearn(step) and step.func is None


def _is_vectorizer(step: Any) -> bool:
    return hasattr(step, "vocabulary_") or (type(step).__name__ == "HashingVectorizer" and _is_sklearn(step))


_Inner = tuple[Any, "list[int] | None"]
"""An estimator, and the positions of its columns; None for all."""


def _inner_estimators(estimator: Any) -> list[_Inner]:
    """Return the fitted estimators to which another passes its rows: those of a search, a calibration, a vote or a bag."""
    if _is_numeric(estimator):  # forests and boosting have estimators, too
        return []
    if type(estimator).__name__ in ("FrozenEstimator", "_CalibratedClassifier"):
        calibrated = getattr(estimator, "estimator", None)  # in models of before scikit-learn 1.2, it has another name
        return [] if calibrated is None else [(calibrated, None)]
    for attribute in ("best_estimator_", "regressor_", "calibrated_classifiers_", "estimators_", "estimator_"):
        found = getattr(estimator, attribute, None)
        if found is None:
            continue
        chosen = getattr(estimator, "estimators_features_", None) if attribute == "estimators_" else None
        return [
            (part, None if chosen is None else list(chosen[index]))
            for index, part in enumerate(_flat(found))
            if not isinstance(part, str) and type(part).__name__ != "_ConstantPredictor"
        ]
    return []


def _flat(parts: Any) -> list[Any]:
    """Return the items of nested lists, or of an array; a pipeline looks like a sequence, too, but is one item."""
    if isinstance(parts, np.ndarray):
        return list(parts.ravel())
    return [item for part in parts for item in _flat(part)] if isinstance(parts, list) else [parts]


def _takes_texts(estimator: Any) -> bool:
    """Tell whether a model was fitted on a sequence of texts: a vectorizer comes first, and would read the names of a frame."""
    if hasattr(estimator, "transformers_") or not _is_sklearn(estimator):
        return False  # it gives each part what that part was fitted on; what a custom class does is unknown
    if hasattr(estimator, "steps"):
        first = next((step for _, step in estimator.steps if step not in (None, "passthrough")), None)
        return first is not None and _takes_texts(first)
    if hasattr(estimator, "transformer_list"):
        parts = [part for _, part in estimator.transformer_list if not isinstance(part, str)]
    elif _is_vectorizer(estimator):
        return True
    else:
        parts = [part for part, _ in _inner_estimators(estimator)]
    return bool(parts) and all(map(_takes_texts, parts))


_PLAIN_TYPES = (str, bytes, int, float, complex, bool, type(None), np.generic)
_TRUSTED_LIBRARIES = frozenset(
    {"sklearn", "numpy", "scipy", "pandas", "joblib", "packed_trees", "tree_kernel", *sys.stdlib_module_names} - {"__main__"}
)


class _Parts(NamedTuple):
    """What an estimator is made of, all that it holds included."""

    strangers: frozenset[str]
    """Modules of classes and functions that are not of scikit-learn or the libraries below it."""
    sees_frames: bool
    """Whether a step can tell a DataFrame from an array: it chooses columns by name, or puts out frames."""


def _parts_of(estimator: Any) -> _Parts:
    """Walk over an estimator and all that it is made of: steps, inner estimators, functions, metrics and kernels."""
    waiting: list[Any] = [estimator]
    seen: set[int] = set()
    strangers: set[str] = set()
    sees_frames = False
    while waiting:
        item = waiting.pop()
        if isinstance(item, _PLAIN_TYPES) or id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, np.ndarray):
            item = item.ravel().tolist() if item.dtype == object else ()
        if isinstance(item, dict):
            item = list(item.values())
        if isinstance(item, (list, tuple, set, frozenset)):
            if not all(issubclass(kind, _PLAIN_TYPES) for kind in set(map(type, item))):
                waiting.extend(item)
            continue
        if isinstance(item, functools.partial):
            waiting += [item.func, *item.args, *item.keywords.values()]
            continue
        module = _module_of(item)
        library = module.partition(".")[0]
        if library not in _TRUSTED_LIBRARIES:
            strangers.add(module)
        elif library == "sklearn" and not isinstance(item, type) and not module.startswith("sklearn.tree"):
            sees_frames = sees_frames or hasattr(item, "transformers_") or bool(getattr(item, "_sklearn_output_config", None))
            waiting.extend(getattr(item, "__dict__", {}).values())
    return _Parts(frozenset(strangers), sees_frames)


def fitted_columns(estimator: Any) -> list[str] | None:
    """Return the names of the columns that a model was fitted on, in its order; None if it does not know them.

    XGBoost has them in scikit-learn's attribute, LightGBM in its own. Names made up for an array (`Column_0`, `f0`) do not count.
    """
    while hasattr(estimator, "steps"):  # a pipeline asks only its very first step, which may be none
        steps = (step for _, step in estimator.steps if step not in (None, "passthrough"))
        estimator = next((step for step in steps if _has_feature_names(step) or not _is_identity(step)), None)
    for attribute in ("feature_names_in_", "feature_name_", "feature_name"):
        try:
            found = getattr(estimator, attribute, None)
            found = found() if callable(found) else found
            names = None if found is None or isinstance(found, str) else list(found)
        except Exception:  # noqa: BLE001  # a custom property, or one of a library's unfitted model
            names = None
        made_up = [[f"{stem}{place}" for place in range(len(names or ()))] for stem in ("Column_", "f")]
        if names and all(isinstance(name, str) for name in names) and names not in made_up:
            names = [str(name) for name in names]  # numpy's texts are no JSON
            return names if _is_columns(names) and getattr(estimator, "n_features_in_", len(names)) == len(names) else None
    return None


def _feature_names_in(estimator: Any) -> list[str]:
    """Return the names that scikit-learn has kept of a fit; none if it kept none, or if they are not all texts."""
    names = getattr(estimator, "feature_names_in_", None)
    found = list(names) if isinstance(names, (list, tuple, np.ndarray)) else []
    return [str(name) for name in found] if all(isinstance(name, str) for name in found) else []


def _has_feature_names(estimator: Any) -> bool:
    return getattr(estimator, "feature_names_in_", None) is not None


def _is_fitted_on_array(estimator: Any) -> bool:
    return _is_sklearn(estimator) and not _has_feature_names(estimator) and getattr(estimator, "n_features_in_", None) is not None


def _is_unfitted(estimator: Any) -> bool:
    """Tell whether a model says itself that it is not fitted: one of scikit-learn's, or one that has its method for that."""
    from sklearn.exceptions import NotFittedError  # noqa: PLC0415  # takes scikit-learn's import time only if a model is loaded
    from sklearn.utils.validation import check_is_fitted  # noqa: PLC0415

    last = estimator
    while hasattr(last, "steps") and last.steps:
        last = last.steps[-1][1]
    if not (_is_sklearn(last) or hasattr(last, "__sklearn_is_fitted__")):
        return False
    try:
        check_is_fitted(last)
    except Exception as error:  # noqa: BLE001  # a custom idea of it
        return isinstance(error, NotFittedError)
    return False


def _require_fitted_columns(estimator: Any, columns: list[str]) -> None:
    """Raise if the columns are not those that the model was fitted on, as far as it knows them: an array would hide that."""
    if differ := _other_columns(estimator, columns, is_order_wrong=True):
        what = f"the model, a {type(estimator).__name__}, does not fit the feature columns: {differ.what}"
        raise ModelError(what, differ.advice)


def _other_columns(estimator: Any, columns: list[str], *, is_order_wrong: bool) -> Mistake | None:
    """Say how a request's columns differ from those that the model was fitted on; None if they do not, or if it does not know."""
    if fitted := _feature_names_in(estimator):
        shown = ", ".join(map(shown_text, fitted[:SHOWN_COLUMNS])) + (", …" if len(fitted) > SHOWN_COLUMNS else "")
        if set(fitted) != set(columns):
            what = f"it was fitted on {len(fitted)} columns, and {difference(columns, fitted, 'feature_columns')}"
            return Mistake(what, f"give {shown} as feature_columns")
        if is_order_wrong and fitted != columns:
            first = next(index for index, name in enumerate(fitted) if name != columns[index])
            what = (
                f"they are the same columns in another order: column {first + 1} was {shown_text(fitted[first])} in the fit, "
                f"and is {shown_text(columns[first])} in feature_columns"
            )
            return Mistake(what, f"give them in the order of the fit: {shown}")
    expected = getattr(estimator, "n_features_in_", None)
    if expected not in (None, len(columns)):
        what = f"it was fitted on {expected} features, feature_columns gives {len(columns)}"
        return Mistake(what, "give as many, in the order of the fit")
    return None


# --- types ----------------------------------------------------------------------------------------------------------------------
# In: a column's texts, and the kind that was decided for it.
# Out: the column as that kind, or the kind that its texts have.
# Touches: nothing; a value that does not fit goes to `reject`.


def join_kinds(kind: str, other: str) -> str:
    """Return the kind of a column that has values of both kinds, as functions/workflow/column_types.py does."""
    both = {kind, other}
    if len(both) == 1:
        return kind
    if both <= {EMPTY, BOOLEAN, OPTIONAL_BOOLEAN}:
        return OPTIONAL_BOOLEAN
    return NUMBER if both <= {EMPTY, INTEGER, NUMBER} else TEXT


# https://pandas.pydata.org/docs/reference/api/pandas.read_csv.html, na_values
MISSING_VALUES = ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
                  "NULL", "NaN", "None", "n/a", "nan", "null")  # fmt: skip

# As pandas' parser has them, in RE2's syntax: each is linear in the length of the text.
_PADDING = " \t\n\v\f\r"
_LARGE_INTEGERS = r"\A[ \t\n\v\f\r]*[+-]?[0-9]{19,}[ \t\n\v\f\r]*\z"
"""2^63 has 19 digits."""
_INTEGERS = r"\A[ \t\n\v\f\r]*[+-]?[0-9]+[ \t\n\v\f\r]*\z"
_NUMBERS = (
    r"\A([ \t\n\v\f\r]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t\n\v\f\r]*|[+-]?[iI][nN][fF]([iI][nN][iI][tT][yY])?)\z"
)
_BOOLEANS = r"\A([tT][rR][uU][eE]|[fF][aA][lL][sS][eE])\z"  # in any case RE2 also takes the long s
_NUMBER = re.compile(r"[+-]?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?")
_NAN = re.compile(r"[+-]?nan(\([a-z0-9_]*+\))?")
"""What pyarrow takes for a missing number; pandas takes `nan` alone."""
_SPELLED_NUMBERS = {"inf": np.inf, "infinity": np.inf, "true": 1.0, "false": 0.0}
_HIVES_NULL = r"\N"
"""How Athena and Hive write a missing value; in CSV as it usually is, it is a text."""
_INTEGER_DIGITS = 19
"""The most digits that an integer of 64 bits has."""
_KIND_NAMES = {
    EMPTY: "nothing but missing values",
    BOOLEAN: "booleans",
    OPTIONAL_BOOLEAN: "booleans and missing values",
    INTEGER: "integers",
    NUMBER: "numbers",
    TEXT: "text",
}


def kind_of(texts: pa.ChunkedArray | pa.Array) -> str:
    """Return the kind that `pandas.read_csv` would make of a column of these texts; null is a missing value."""
    if texts.null_count == len(texts):
        return EMPTY
    if _match(texts, _INTEGERS):
        return NUMBER if texts.null_count else INTEGER
    if _match(texts, _NUMBERS):
        return NUMBER
    if _match(texts, _BOOLEANS):
        return OPTIONAL_BOOLEAN if texts.null_count else BOOLEAN
    return TEXT


def _match(texts: pa.ChunkedArray | pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(texts, pattern)).as_py())


def _seen(columns: _Columns, name: str, kind: str) -> str:
    """Return the kind that an open column counts as: if the model takes it for numbers, a text in it is a bad row."""
    return NUMBER if kind == TEXT and name in columns.numeric else kind


def _as_kind(
    block: _Block, columns: _Columns, name: str, values: pa.ChunkedArray, reject: Reject, kind: str | None = None
) -> pa.ChunkedArray | pa.Array:
    """Return a column as it was decided; `kind` is the one that its values have, if that does not follow from their texts."""
    decided, dialect = columns.kinds[name], block.header.dialect
    if pa.types.is_floating(values.type) or decided == TEXT:
        return values
    if name in columns.open:
        found = _seen(columns, name, kind or kind_of(_with_points(values, dialect.decimal)))
        if name in columns.exact and _is_beyond_64_bits(values):
            found = TEXT
        if _seen(columns, name, join_kinds(decided, found)) != decided:
            raise ColumnTypeError(
                f"{block.at(0)} and the {block.rows - 1} rows after it: column {name!r} holds "
                f"{_KIND_NAMES[found]}, where the run has seen {_KIND_NAMES[decided]} so far"
            )
    if decided in (BOOLEAN, OPTIONAL_BOOLEAN):
        return _to_booleans(name, values, reject, is_sure=name in columns.open)
    if decided == INTEGER:
        return _to_integers(name, values, reject)
    if name in columns.open:
        _reject_beyond_64_bits(name, values, reject)
        with suppress(pa.ArrowInvalid):
            return pc.utf8_trim(_with_points(values, dialect.decimal), characters=_PADDING).cast(pa.float64())
    return _to_numbers(name, values, reject, dialect)


def _is_beyond_64_bits(texts: pa.ChunkedArray) -> bool:
    """Tell whether one of the texts is an integer beyond 64 bits."""
    large = texts.filter(pc.fill_null(pc.match_substring_regex(texts, _LARGE_INTEGERS), False)).to_pylist()
    return not all(-(2**63) <= int(text) < 2**63 for text in large)


def _to_booleans(name: str, texts: pa.ChunkedArray, reject: Reject, *, is_sure: bool) -> pa.ChunkedArray:
    """Read texts as booleans; `is_sure` if all of them are known to be some."""
    if not is_sure:
        fits = pc.fill_null(pc.match_substring_regex(texts, _BOOLEANS), False)
        _reject_texts(name, texts, fits, "is not a boolean", reject)
    return pc.equal(pc.utf8_lower(texts), "true")


def _to_integers(name: str, texts: pa.ChunkedArray, reject: Reject) -> pa.ChunkedArray:
    """Read texts as int64; what is not an integer of 64 bits is rejected."""
    fits = pc.fill_null(pc.match_substring_regex(texts, _INTEGERS), False)
    _reject_texts(name, texts, fits, "is not an integer", reject)
    within = pc.and_(fits, _reject_beyond_64_bits(name, texts, reject))
    digits = pc.utf8_ltrim(pc.utf8_trim(texts, characters=_PADDING), characters="+")
    return pc.if_else(within, digits, None).cast(pa.int64())


def _reject_beyond_64_bits(name: str, texts: pa.ChunkedArray, reject: Reject) -> pa.ChunkedArray:
    """Reject integers that do not fit into int64, and return which values are not such integers.

    pandas reads such a column as text, Python integers or floats, depending on what else is in it and in which order.
    """
    lengths = pc.binary_length(texts)
    within = np.ones(len(texts), bool)
    for row in np.flatnonzero(pc.fill_null(pc.greater_equal(lengths, _INTEGER_DIGITS), False).to_numpy()):
        text = texts[int(row)].as_py().strip(_PADDING)
        if re.fullmatch(r"[+-]?[0-9]+", text):
            digits = text.lstrip("+-").lstrip("0")
            within[row] = (
                len(digits) <= _INTEGER_DIGITS and -(2**63) <= int(text[:1].strip("+0123456789") + (digits or "0")) < 2**63
            )
    _reject_texts(name, texts, pa.array(within), "is an integer beyond 64 bits: state the column's type in column_types", reject)
    return pa.chunked_array([pa.array(within)])


def _reject_texts(
    name: str, texts: pa.ChunkedArray, fits: Any, fault: str, reject: Reject, counted: str = "", advice: str | None = None
) -> None:
    """Reject the rows whose texts do not fit; `counted` says what they are counted as, if that is not the fault alone."""
    for row in np.flatnonzero(~np.asarray(fits)):
        text = texts[int(row)].as_py()
        reason = _Reason(missing := f"a missing value {fault}", missing, missing)
        if text is not None:
            public = f"a text of {len(text)} character(s) {fault}"
            reason = _Reason(f"{shown_text(text)} {fault}", public, counted or f"a value {fault}")
        reject(int(row), reason._replace(advice=advice or reason.advice).after(f"column {name!r}: "))


def _to_numbers(column: str, texts: pa.ChunkedArray, reject: Reject, dialect: Dialect) -> pa.Array:
    """Read texts as pandas reads numbers: also infinities, booleans and padded ones; each spelling once."""
    encoded = pc.dictionary_encode(texts.combine_chunks())
    values = [_to_number(text, dialect) for text in encoded.dictionary.to_pylist()]
    if None in values:
        is_number = np.array([value is not None for value in values] + [True])  # the last one is for missing values
        fits = is_number[pc.fill_null(encoded.indices, -1).to_numpy()]
        wrong = [text for text, value in zip(encoded.dictionary.to_pylist(), values, strict=True) if value is None]
        _reject_texts(column, texts, fits, "is not a number", reject, "not a number", _decimal_advice(wrong, dialect))
    return pc.take(pa.array(values, pa.float64()), encoded.indices)


def _decimal_advice(texts: Iterable[str], dialect: Dialect) -> str | None:
    """Say what to do about texts that are no numbers, if one of them would be one with the other decimal mark."""
    other = "," if dialect.decimal == "." else "."
    if not any(_to_number(text, dialect._replace(decimal=other)) is not None for text in texts if other in text):
        return None
    if other == dialect.delimiter:
        return f"write numbers with decimal points, {_OR_KEEP_ASIDE}"
    so = f"if that is a decimal {'comma' if other == ',' else 'point'}, say so in the request: {said(dialect, decimal=other)}"
    return f"{so}; else correct the value, {_OR_KEEP_ASIDE}"


def _with_points(texts: pa.ChunkedArray, decimal: str) -> pa.ChunkedArray:
    """Put a point in the place of another decimal mark, and let no text that has a point already be a number."""
    return texts if decimal == "." else pc.replace_substring(pc.replace_substring(texts, ".", "_"), decimal, ".")


def _to_number(text: str, dialect: Dialect) -> float | None:
    stripped = text.strip(_PADDING)
    if dialect.decimal != ".":
        stripped = stripped.translate({ord(dialect.decimal): ".", ord("."): "_"})
    if stripped == _HIVES_NULL and dialect != COMMAS:
        return math.nan
    if _NUMBER.fullmatch(stripped):
        return float(stripped)
    if _NAN.fullmatch(stripped.lower()):
        return math.nan
    sign = -1.0 if stripped.startswith("-") else 1.0
    value = _SPELLED_NUMBERS.get(stripped.removeprefix("-").removeprefix("+").lower())
    return None if value is None else sign * value


# --- features -------------------------------------------------------------------------------------------------------------------
# In: blocks, and how each column is read.
# Out: an Arrow table of the feature columns, and the array, DataFrame or texts that the model gets.
# Touches: nothing; a row that does not fit goes to `reject`.


def load_data(data_path: str | Path, feature_columns: list[str], csv: dict[str, Any] | None = None) -> pd.DataFrame:
    """Read the feature columns of a small local CSV file, shape (n_rows, n_features), for `make_predictions`; needs pandas.

    Columns have the types that `pandas.read_csv` gives them by all of their values. Raises InvalidDataError for a file without rows
    or that is not CSV, InvalidRequestError for a missing column.
    """
    path = Path(data_path)
    chunk = _local_chunk([path], {"csv": csv})
    _require_columns(feature_columns, chunk.header, path.name)
    columns = _Columns(feature_columns, {}, open=frozenset(feature_columns))
    columns = replace(columns, kinds=_infer_kinds(chunk.blocks(BLOCK_BYTES), columns))

    def parse(block: _Block) -> pa.Table:
        def reject(row: int, reason: _Reason) -> None:
            raise InvalidDataError(f"{block.at(row)}, {reason.public}")

        return block.features(columns, reject).table

    tables = [parse(block) for block in chunk.blocks(BLOCK_BYTES)]
    if not tables:
        raise InvalidDataError(f"{path.name} {chunk.format.lacks_rows}", _NAME_ROWS)
    return _to_frame(pa.concat_tables(tables), columns.kinds)


@dataclass(frozen=True)
class _Columns:
    """How each feature column is read: one decision for all rows of a run."""

    names: list[str]
    kinds: dict[str, str]
    """One of `DECIDED_KINDS` for each."""
    open: frozenset[str] = frozenset()
    """Columns whose kind the data decides. A value that does not fit refutes the decision; in other columns it is a bad row."""
    numeric: frozenset[str] = frozenset()
    """Columns that are numbers for the model, and integers if the data has integers; a text in them is a bad row."""
    known: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Spellings of missing values that are values of a column."""
    exact: frozenset[str] = frozenset()
    """Open columns that are text if they hold an integer beyond 64 bits; in others it is a bad row."""
    types: dict[str, Any] = field(default_factory=dict)
    """Arrow's types of all columns, if the data have types."""

    @functools.cached_property
    def are_alike(self) -> bool:
        """Whether any of them side by side become float64, or all are of one narrower type, as in one array."""
        narrow = {kind for kind in self.types.values() if kind in (pa.float16(), pa.float32())}
        return not narrow or len(set(self.types.values())) == 1

    @functools.cached_property
    def plain(self) -> frozenset[str]:
        """The columns that are float64, whatever their values look like."""
        return frozenset(name for name in self.names if self.kinds[name] == NUMBER and name not in self.open)


@dataclass(frozen=True)
class _Features:
    """The feature columns of some rows, in order."""

    make_table: Callable[[], pa.Table]
    matrix: Array | None = None
    """The table's memory as the model gets it, if the kernel in C has read all columns."""
    exact: frozenset[str] = frozenset()
    """Columns of which it is known that no number is beyond 2^53."""

    @functools.cached_property
    def table(self) -> pa.Table:
        """Made when it is asked for: a table of hundreds of columns costs half as much as reading them."""
        return self.make_table()

    def take(self, rows: Array) -> _Features:
        """Return some of the rows."""
        return _Features(functools.partial(self.table.take, rows))


def _rounded_integers(block: _Block, columns: _Columns, features: _Features) -> list[tuple[int, str, str]]:
    """Return (row, column, text) of each integer that its float64 rounds, as pandas and scikit-learn do beyond 2^53."""
    found: list[tuple[int, str, str]] = []
    for column in columns.names:
        if column in features.exact or not pa.types.is_floating(features.table[column].type):
            continue
        values = np.asarray(features.table[column])  # NaN where a value is missing
        if values.max(initial=0.0) < 2**53 and values.min(initial=0.0) > -(2**53):
            continue
        with np.errstate(invalid="ignore"):
            large = np.abs(values) >= 2**53
        if large.any():
            texts = block.texts([column])[column]
            large_texts = [(int(row), column, texts[int(row)].as_py().strip()) for row in np.flatnonzero(large)]
            found += [item for item in large_texts if not _is_exact(item[2])]
    return found


def _is_exact(text: str) -> bool:
    """Tell whether a float64 holds an integer exactly; other numbers are meant to be rounded."""
    stripped = text.strip(_PADDING)
    if not re.fullmatch(r"[+-]?[0-9]+", stripped):
        return True
    value = float(stripped)
    digits = stripped.lstrip("+-0") or "0"
    return math.isfinite(value) and len(digits) < sys.get_int_max_str_digits() and abs(int(value)) == int(digits)


def _infer_kinds(blocks: Iterable[_Block], columns: _Columns) -> dict[str, str]:
    """Decide the open columns as pandas does, by all values of the blocks; text columns are not read further."""
    kinds: dict[str, str] = {}
    unreadable: set[str] = set()
    for block in blocks:
        names = [name for name in columns.names if name in columns.open and kinds.get(name) != TEXT]
        if not names:
            break
        for name, kind in block.kinds(names).items():
            if kind in (INTEGER, NUMBER) and name in columns.exact and _is_beyond_64_bits(block.texts([name])[name]):
                kind = TEXT  # noqa: PLW2901
            found = _seen(columns, name, kind)
            kinds[name] = _seen(columns, name, join_kinds(kinds.get(name, found), found))
        unreadable |= set(names) - kinds.keys()
    return {name: _seen(columns, name, EMPTY) for name in unreadable} | kinds


ARRAY, VALUES, FRAME, TEXTS, TABLE = "array", "values", "frame", "texts", "table"
"""What a model gets: a float64 array by columns; what `to_numpy` makes of a DataFrame; a DataFrame; a Series of texts; or, if it
is stored as numbers, a pyarrow.Table in place of a DataFrame and of its values."""


def _input_of(estimator: Any, parts: _Parts, columns: _Columns) -> str:
    """Return what the model gets: a DataFrame as pandas would read it, or less if no step can tell the difference."""
    if not _is_sklearn(estimator):
        return FRAME
    if _takes_texts(estimator) and len(columns.names) == 1:
        return TEXTS
    if len(columns.plain) == len(columns.names) and columns.are_alike and not parts.strangers and not parts.sees_frames:
        return ARRAY
    is_numeric = not {TEXT, BOOLEAN, OPTIONAL_BOOLEAN, TYPED} & set(columns.kinds.values())
    return VALUES if is_numeric and _is_fitted_on_array(estimator) else FRAME


def _to_model_input(table: pa.Table, given: str, kinds: dict[str, str]) -> Any:
    """Shape features, (n_rows, n_features), as the model gets them; missing values are NaN in each."""
    if given == ARRAY:
        return _matrix(table)
    if given == TABLE:
        return table
    frame = _to_frame(table, kinds)
    if given == VALUES:
        return frame.to_numpy()
    return frame.iloc[:, 0] if given == TEXTS else frame


def _matrix(table: pa.Table) -> Array:
    """Return columns of numbers, all of one type, as an array by columns: linear models take half the time of one by rows."""
    array = np.empty((table.num_rows, table.num_columns), table.schema.types[0].to_pandas_dtype(), order="F")
    for position, column in enumerate(table.columns):
        array[:, position] = column.to_numpy()
    array.flags.writeable = False
    return array


def _to_frame(table: pa.Table, kinds: dict[str, str]) -> pd.DataFrame:
    """Make a DataFrame as pandas reads it: of text with int64, float64, bool, str, and object for booleans with missing values.

    A table with metadata is of Parquet, and pyarrow makes of it what `pandas.read_parquet` does; there a missing object is None.
    """
    _make_importable("pandas")
    try:
        frame: pd.DataFrame = table.to_pandas()
    except ImportError as error:
        raise ModelError(
            "the model needs its features as a DataFrame, and this function has no pandas", "deploy it, too"
        ) from error
    for name, column in zip(table.column_names, table.columns, strict=True):
        if kinds[name] == OPTIONAL_BOOLEAN:  # also where these rows lack none: the column does
            frame[name] = frame[name].astype(object)
        if table.schema.metadata is None and column.null_count and frame[name].dtype.kind == "O" and frame[name].dtype != "str":
            frame[name] = frame[name].where(np.asarray(column.is_valid()), np.nan)  # pyarrow's missing value is None
    return frame


# --- predictions ----------------------------------------------------------------------------------------------------------------
# In: features as the model gets them.
# Out: predictions, the names of their columns, and the reasons of the rows that it refuses.
# Touches: nothing; the model is called, and called again with fewer rows if it refuses some.


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


def _call_model(estimator: Any, method: str, features: Any) -> Array:
    """Call the model once; the result has shape (n_rows,) or (n_rows, n_outputs)."""
    try:
        answer = _answer_of(_method_of(estimator, method), features)
    except SystemExit as error:
        raise ModelError(f"the model's {method} ends the process (SystemExit)", _CALL_IT) from error
    if isinstance(answer, list) and answer and all(getattr(part, "ndim", 0) == 2 for part in answer):
        answer = np.hstack(answer)  # probabilities of several outputs, each with its classes
    if isinstance(answer, np.ma.MaskedArray):
        answer = np.ma.filled(answer.astype(object), np.nan)
    predictions = np.array(answer.toarray() if hasattr(answer, "toarray") else answer)  # a copy: the model may use its own again
    if predictions.ndim == 0 and len(features) == 1:
        predictions = predictions.reshape(1)  # np.squeeze makes this of one row
    if predictions.ndim not in (1, 2) or len(predictions) != len(features):
        raise ModelError(f"the model's {method} gave an array of shape {predictions.shape} for {len(features)} rows")
    if predictions.ndim == 2 and predictions.shape[1] == 0:
        raise ModelError(f"the model's {method} gives no outputs", "fit it with a target")
    return predictions[:, 0] if predictions.ndim == 2 and predictions.shape[1] == 1 and method == "predict" else predictions


def _answer_of(predict: Callable[[Any], Any], features: Any) -> Any:
    """Call a method with features that it may only read, as it reads a frame's: what a step changed, the next one would see."""
    try:
        return predict(features)
    except ValueError as error:
        is_changed = "read-only" in str(error)  # so numpy and Cython call what a step wanted to change where it is
        if not (is_changed and isinstance(features, np.ndarray)):
            raise
    return predict(features.copy(order="K"))


def _method_of(estimator: Any, method: str) -> Callable[[Any], Any]:
    found: Callable[[Any], Any] | None = getattr(estimator, method, None)
    if found is None:
        raise ModelError(f"the model, a {type(estimator).__name__}, has no {method}", "choose another prediction_method")
    return found


def bisect_refused(
    call: Callable[[Any], Array], method: str, features: Any, missing: Array
) -> tuple[Array, Array | None, dict[int, _Reason]]:
    """Call the model, and find by bisection the rows that it refuses.

    `missing`, of shape (n_rows, n_features) as `_missing` has it, tells which rows lack the same values: they are refused for the
    same reason.
    Returns the positions of the accepted rows, in order, with their predictions, and the reason of each refused row; None takes
    the place of the predictions if no row is accepted.
    """
    reasons: dict[int, _Reason] = {}
    accepted: list[tuple[Array, Array]] = []

    def solve(rows: Array) -> None:
        try:
            accepted.append((rows, call(_take(features, rows))))
        except ModelError:
            raise
        except Exception as error:  # models raise what they like
            if isinstance(error, MemoryError) and len(rows) == 1:
                raise
            if len(rows) == 1 or _lack_the_same(call, features, missing, rows):
                reasons.update(dict.fromkeys(rows.tolist(), _reason_of(error)))
            else:
                middle = len(rows) // 2
                solve(rows[:middle])
                solve(rows[middle:])

    solve(np.lexsort(missing.T))  # stable: rows that miss the same values stand together, otherwise in their order
    if not accepted:
        return np.empty(0, np.intp), None, reasons
    rows = np.concatenate([piece for piece, _ in accepted])
    order = np.argsort(rows)
    if len(shapes := {predictions.shape[1:] for _, predictions in accepted}) > 1:
        raise ModelError(f"the model's {method} gave arrays of different shapes for different rows: {sorted(shapes)} for each")
    return rows[order], np.concatenate([predictions for _, predictions in accepted])[order], reasons


NO_VALUE, POSITIVE_INFINITY, NEGATIVE_INFINITY = 1, 2, 3


def _missing(column: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.int8]]:
    """Return a code for each value of a feature that is missing or infinite, which models often refuse; 0 for all others."""
    codes = np.asarray(column.is_null(nan_is_null=True)).astype(np.int8)
    if pa.types.is_floating(column.type):
        values = np.asarray(column)
        codes[np.isposinf(values)] = POSITIVE_INFINITY
        codes[np.isneginf(values)] = NEGATIVE_INFINITY
    return codes


def _lack_the_same(call: Callable[[Any], object], features: Any, missing: Array, rows: Array) -> bool:
    """Tell whether all rows are refused for the same missing values: one row is, and all are accepted with these filled in."""
    if not missing[rows[0]].any() or (missing[rows] != missing[rows[0]]).any():
        return False
    return _refuses(call, _take(features, rows[:1])) and not _refuses(call, _filled(_take(features, rows)))


def _refuses(call: Callable[[Any], object], features: Any) -> bool:
    try:
        call(features)
    except Exception:  # noqa: BLE001  # models raise what they like
        return True
    return False


def _take(features: Any, rows: Array) -> Any:
    if hasattr(features, "iloc"):
        return features.iloc[rows]
    taken = features[rows]
    taken.flags.writeable = features.flags.writeable
    return taken


def _filled(features: Any) -> Any:
    """Replace each missing or infinite value by 0, False or an empty text."""
    if hasattr(features, "columns"):  # a DataFrame
        return features.apply(_filled)
    if not hasattr(features, "fillna"):
        return np.where(np.isfinite(features), features, 0.0)
    if features.dtype.kind in "fiub":
        return features.replace([np.inf, -np.inf], np.nan).fillna(0)
    if features.dtype in (object, "str"):
        return features.where(features.notna(), False if features.dtype == object else "")
    known = features.dropna()  # of dates or categories, any will do
    return features.fillna(known.iloc[0]) if len(known) else features


# What a model raises if it meets a limit of its own, and no value of the row is wrong.
_MODELS_LIMITS = (AttributeError, TypeError, NameError, ImportError, NotImplementedError)
_MODELS_WORDS = re.compile(
    r"\bufunc\b|categorical_feature|feature.?names|feature shape|features, but|columns are missing|number of features",
    re.IGNORECASE,
)
_UNFITTED = "the model is not fitted"
_CALL_IT = "call it with such rows where it was fitted, and correct it there"
"""The advice for a model that fails for an unknown reason."""
_FAILS, _REFUSES = "the model fails on this row: ", "the model refuses this row: "


def _reason_of(error: Exception) -> _Reason:
    """Take a model's own words; in public only those before the first that may be a value: quoted, in brackets, or a number.

    Names of types, attributes and functions do not come from rows, and are shown.
    """
    text = _brief(error)
    if any(kind.__name__ == "NotFittedError" for kind in type(error).__mro__):
        return _Reason(text, _UNFITTED, _UNFITTED, is_models=True)
    is_models = isinstance(error, _MODELS_LIMITS) or bool(_MODELS_WORDS.search(text))
    words = _named_words(error, text) if isinstance(error, _MODELS_LIMITS) else _MAY_BE_VALUE.split(text, maxsplit=1)[0].strip()
    public = words or type(error).__name__
    return _Reason(text, public, public, is_models)


_MAY_BE_VALUE = re.compile(r"""['"\[({:]|(?<!\w)[+-]?\.?\d""")
_QUOTED_NAME = re.compile(r"(: ?)?'(\w{1,80}|[<>=+*/%&|^~-]{1,3})'")


def _named_words(error: Exception, text: str) -> str:
    """Return an error's words up to what may be a value, with the names of code that they quote; they begin with its kind."""
    known, text = _names_of_code(error), text.replace("type(s)", "types")
    words, position = "", 0
    while position < len(text):
        quoted = _QUOTED_NAME.match(text, position)
        if quoted and (quoted[2] in known or isinstance(vars(np).get(quoted[2]), np.ufunc)):
            words += f"{' ' if quoted[1] else ''}{quoted[2]!r}"
            position = quoted.end()
        elif _MAY_BE_VALUE.match(text, position):
            break
        else:
            words += text[position]
            position += 1
    words = words.strip()
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _names_of_code(error: Exception) -> set[str]:
    """Return names that cannot come from a row: those in the code that raised the error, types and operators."""
    names = {name for name, value in vars(builtins).items() if isinstance(value, type)} | {"NoneType", *_OPERATORS}
    names |= {kind.__name__ for kind in type(getattr(error, "obj", None)).__mro__}
    trace = error.__traceback__
    while trace:
        code = trace.tb_frame.f_code
        names.update(code.co_names, (constant for constant in code.co_consts if isinstance(constant, str)))
        trace = trace.tb_next
    return names


_OPERATORS = ("<", "<=", ">", ">=", "==", "+", "-", "*", "/", "//", "%", "**", "&", "|", "^", "~")


def _refused(reason: _Reason, lacks: str) -> _Reason:
    """Return why the model does not take a row; `lacks` says which values the row lacks, if it does."""
    how, advice = _REFUSES, reason.advice
    if reason.is_models:
        how, advice = _FAILS, f"call the model with such a row where it was fitted, and correct it there, {_OR_KEEP_ASIDE}"
    if lacks:
        advice = f"fill in the value, give the model's pipeline a step that does (SimpleImputer), {_OR_KEEP_ASIDE}"
    return reason.after(f"{lacks}{how}")._replace(advice=advice)


def _brief(error: BaseException) -> str:
    """Reduce a library's message to the sentences that fit a line."""
    text = " ".join(str(error).split()) or type(error).__name__
    if len(text) <= 200:
        return text
    sentences = text[:200].rpartition(". ")[0]
    return f"{sentences}." if sentences else f"{text[:200]}…"


class _Labels(NamedTuple):
    """The labels of rows, each by its place in the classes."""

    classes: Array
    places: Array

    @property
    def values(self) -> Array:
        """The labels themselves."""
        return self.classes.take(self.places)


_Predictions = np.ndarray[Any, Any] | list[np.ndarray[Any, Any] | _Labels]
"""Of rows: an array of one or more columns of one type, or columns of several, which are labels or numbers."""


def _columns_of(predictions: _Predictions) -> list[Array | _Labels]:
    """Return the columns one by one, each of shape (n_rows,)."""
    return predictions if isinstance(predictions, list) else [*predictions.reshape(len(predictions), -1).T]


class _Output(NamedTuple):
    """One output of a classifier."""

    name: str
    """Of its label's column; those of its probabilities begin with it."""
    classes: Array
    known: dict[str, int]
    """The place of each class by its name, in their order."""

    @property
    def class_names(self) -> list[str]:
        """The classes as they are printed; or their numbers, if some print alike."""
        return [*self.known]

    def places_of(self, labels: Iterable[Any]) -> list[int]:
        """Return the places of classes that a request names; InvalidRequestError if the model lacks one, or one is named twice."""
        places = [self._place_of(label) for label in labels]
        if repeated := [self.class_names[place] for place, times in Counter(places).items() if times > 1]:
            raise InvalidRequestError(f"predictions names the class {shown_text(repeated[0])} twice", "leave one out")
        return places

    def _place_of(self, label: Any) -> int:
        spelled = [str(label)]
        if type(label) in (int, float) and float(label).is_integer():  # JSON does not tell 1 from 1.0
            spelled += [str(int(label)), str(float(label))]
        for text in spelled:
            if text in self.known:
                return self.known[text]
        close = close_name(spelled[0], self.class_names)
        what = (
            f"predictions names the class {shown_text(spelled[0])}, and the model has the classes {shown_names(self.class_names)}"
        )
        raise InvalidRequestError(what, f"did you mean {shown_text(close)}?" if close else "name one of these")


AS_PREDICTED, BY_LARGEST, BUT_FOR_ROUNDING = "as predicted", "by the largest", "but for rounding"
"""How a classifier's label follows from its probabilities: not at all, so that `predict` is called, too; it is the class of the
largest one, and of several the first; or it is the class whose score is the largest, which rounding may hide."""
_BY_LARGEST = frozenset((
    "sklearn.RandomForestClassifier", "sklearn.ExtraTreesClassifier", "sklearn.DecisionTreeClassifier",
    "sklearn.ExtraTreeClassifier", "sklearn.BaggingClassifier", "sklearn.VotingClassifier", "sklearn.CalibratedClassifierCV",
    "sklearn.LabelPropagation", "sklearn.LabelSpreading", "lightgbm.LGBMClassifier",
))  # fmt: skip
_BUT_FOR_ROUNDING = frozenset((
    "sklearn.LogisticRegression", "sklearn.LogisticRegressionCV", "sklearn.SGDClassifier", "sklearn.GradientBoostingClassifier",
    "sklearn.HistGradientBoostingClassifier", "sklearn.AdaBoostClassifier", "sklearn.GaussianNB", "sklearn.MultinomialNB",
    "sklearn.ComplementNB", "sklearn.BernoulliNB", "sklearn.CategoricalNB", "sklearn.LinearDiscriminantAnalysis",
    "sklearn.QuadraticDiscriminantAnalysis", "sklearn.KNeighborsClassifier", "sklearn.MLPClassifier", "xgboost.XGBClassifier",
    "xgboost.XGBRFClassifier",
))  # fmt: skip
CLOSE_PROBABILITIES = 1e-6
"""Where the two largest probabilities differ by no more, `predict` is asked: float32 has them to 1e-7."""


@dataclass(frozen=True)
class _Answers:
    """What is written of a classifier's probabilities, as the request's `predictions` asks."""

    estimator: Any
    asked: list[tuple[str, Any]]
    outputs: list[_Output]
    rule: str
    """AS_PREDICTED, BY_LARGEST or BUT_FOR_ROUNDING."""
    is_of_ones: bool
    """Whether the model gives only the probability of each output's second class."""

    @functools.cached_property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [name for name, _ in self._named(np.empty((0, self._edges[-1] + len(self.outputs))))]

    def call(self, features: Any) -> Array:
        """Call the model: the probabilities of each output's classes, then of each output the place of its label, all as numbers.

        One array of numbers is all that the model gives, so rows that it refuses are found as those of any other model.
        """
        needs_label = any(kind in (LABEL, PROBABILITY) for kind, _ in self.asked)
        is_called_again = needs_label and self.rule != BY_LARGEST
        shares = _call_model(self.estimator, PREDICT_PROBA, _unshared(features) if is_called_again else features)
        shares = shares if shares.dtype in (np.float32, np.float64) else shares.astype(np.float64)
        if self.is_of_ones:
            shares = np.stack([1 - shares, shares], axis=-1).reshape(len(shares), -1)
        if shares.shape[1:] != (self._edges[-1],):
            what = f"the model's predict_proba gave an array of shape {shares.shape} for {self._edges[-1]} classes"
            raise ModelError(what, "leave predictions out")
        return np.column_stack([shares, self._places(shares, features).astype(shares.dtype)]) if needs_label else shares

    @functools.cached_property
    def _edges(self) -> list[int]:
        """Where the outputs' classes end among all."""
        return [int(edge) for edge in np.cumsum([len(output.classes) for output in self.outputs])]

    def _shares(self, numbers: Array) -> list[Array]:
        return np.split(numbers, self._edges, axis=1)[: len(self.outputs)]

    def _places(self, shares: Array, features: Any) -> Array:
        """Return of each row and output the place of the label, as `predict` says it."""
        places = np.column_stack([one.argmax(axis=1) for one in self._shares(shares)])
        if self.rule == BY_LARGEST or (self.rule == BUT_FOR_ROUNDING and not any(map(_are_close, self._shares(shares)))):
            return places
        labels = _call_model(self.estimator, PREDICT, features)
        labels = labels.reshape(len(labels), -1)
        if labels.shape != places.shape:
            what = f"the model predicts {labels.shape[1]} labels of a row, and gives the probabilities of {places.shape[1]}"
            raise ModelError(what, "leave predictions out")
        return np.column_stack([_places_in(one.classes, found) for one, found in zip(self.outputs, labels.T, strict=True)])

    def columns(self, numbers: Array) -> _Predictions:
        """Return the columns that are written of what `call` has given."""
        found = [column for _, column in self._named(numbers)]
        if any(isinstance(column, _Labels) for column in found):
            return found
        return np.column_stack(found)  # which the kernel prints at once

    def _named(self, numbers: Array) -> Iterator[tuple[str, Array | _Labels]]:
        places = [*numbers[:, self._edges[-1] :].astype(np.intp).T] or [None] * len(self.outputs)
        outputs = [*zip(self.outputs, self._shares(numbers), places, strict=True)]
        for kind, detail in self.asked:
            for output, shares, labels in outputs:
                yield from _ASKED[kind](output, shares, labels, detail)


_Column = tuple[str, np.ndarray[Any, Any] | _Labels]


def _label(output: _Output, _: Array, places: Array, __: None) -> Iterator[_Column]:
    yield output.name, _Labels(output.classes, places)


def _probability(output: _Output, shares: Array, places: Array, _: None) -> Iterator[_Column]:
    yield f"{output.name}_probability", _taken(shares, places)


def _probabilities(output: _Output, shares: Array, _: None, detail: Any) -> Iterator[_Column]:
    names = output.class_names
    for place in output.places_of(detail["classes"]) if detail else range(len(names)):
        yield f"{output.name}_probability_{names[place]}", shares[:, place]


def _top_k(output: _Output, shares: Array, _: None, k: int) -> Iterator[_Column]:
    if k > len(output.classes):
        raise InvalidRequestError(f"predictions asks for top_k {k}, and the model has {len(output.classes)} classes", "lower top_k")
    order = np.argsort(-shares, axis=1, kind="stable")  # of equal ones, the first class comes first
    for rank, places in enumerate(order[:, :k].T, 1):
        yield f"{output.name}_top_{rank}", _Labels(output.classes, places)
        yield f"{output.name}_top_{rank}_probability", _taken(shares, places)


def _by_threshold(output: _Output, shares: Array, _: None, detail: Any) -> Iterator[_Column]:
    """Choose the class whose probability is the most times its threshold, at least once; if none is, the likeliest of the others.

    Others are the classes without a threshold. If every class has one, the one that comes closest is chosen.
    """
    if not isinstance(detail, dict) and len(output.classes) != 2:
        what = f"predictions asks for one threshold, and the model has {len(output.classes)} classes"
        raise InvalidRequestError(what, f"name the class that has it: {json.dumps({THRESHOLD: {output.class_names[0]: detail}})}")
    limits = np.full(len(output.classes), np.nan, shares.dtype)  # of the same precision, as scikit-learn compares them
    limits[output.places_of(detail) if isinstance(detail, dict) else 1] = [*detail.values()] if isinstance(detail, dict) else detail
    with np.errstate(divide="ignore", invalid="ignore"):
        times = np.where(limits > 0, shares / limits, np.inf)
    reached, is_other = shares >= limits, np.isnan(limits)
    others = np.where(is_other, shares, -1) if is_other.any() else times
    places = np.where(reached.any(axis=1), np.where(reached, times, -1).argmax(axis=1), others.argmax(axis=1))
    yield f"{output.name}_by_threshold", _Labels(output.classes, places)


_ASKED: dict[str, Callable[..., Iterator[_Column]]] = {
    LABEL: _label,
    PROBABILITY: _probability,
    PROBABILITIES: _probabilities,
    TOP_K: _top_k,
    THRESHOLD: _by_threshold,
}


def _taken(shares: Array, places: Array) -> Array:
    return np.take_along_axis(shares, places[:, None], axis=1)[:, 0]


def _are_close(shares: Array) -> bool:
    """Tell whether the two largest probabilities of some row are equal, but for rounding, or not numbers."""
    if shares.shape[1] < 2:
        return False
    largest = np.partition(shares, -2, axis=1)[:, -2:]
    return not bool((largest[:, 1] - largest[:, 0] > CLOSE_PROBABILITIES).all())


def _places_in(classes: Array, labels: Array) -> list[int]:
    known = {label: place for place, label in enumerate(classes.tolist())}
    try:
        # An instant's unit decides what NumPy makes of it.
        return [known[label] for label in (labels.astype(classes.dtype) if classes.dtype.kind == "M" else labels).tolist()]
    except (KeyError, TypeError) as error:
        raise ModelError("the model predicts a label that is not among its classes (classes_)", "leave predictions out") from error


def _unshared(features: Any) -> Any:
    """Return features for a call after which the model is called again: a step may change them where they are."""
    if hasattr(features, "iloc"):
        return features.copy(deep=False)  # pandas copies on write
    return features.copy(order="K") if isinstance(features, np.ndarray) and features.flags.writeable else features


def _answers_of(estimator: Any, name: str, predictions: list[Any] | None) -> _Answers | None:
    """Return what is written of a classifier; None if that is what its `predict` gives. Raises if the model does not have it."""
    asked = [_kind_and_detail(item) for item in predictions or []]
    if not asked or asked == [(LABEL, None)]:
        return None
    model = f"the model, a {type(estimator).__name__},"
    classes: Any = getattr(estimator, "classes_", None)
    if classes is None and _is_unfitted(estimator):
        raise ModelError(f"{model} is not fitted", "fit it, and dump it then")
    if not hasattr(estimator, PREDICT_PROBA):
        wanted = next(kind for kind, _ in asked if kind != LABEL)
        what = f"{model} gives no probabilities (it has no predict_proba), and predictions asks for {wanted}"
        raise ModelError(what, "leave predictions out")
    has_several = isinstance(classes, (list, tuple)) and all(np.ndim(one) == 1 for one in classes)
    if not (has_several or np.ndim(classes) == 1):
        raise ModelError(f"{model} does not say of which classes its probabilities are (classes_)", "leave predictions out")
    deciding = _deciding(estimator)
    ones = _classes_of_labels(deciding, classes)
    of_outputs = ones or (classes if has_several else [classes])
    names = _output_columns(name, estimator, PREDICT, len(of_outputs) if has_several or ones else None)
    outputs = [_output_of(*one) for one in zip(names, map(np.asarray, of_outputs), strict=True)]
    answers = _Answers(estimator, asked, outputs, AS_PREDICTED if ones else _label_rule(deciding), bool(ones))
    if len(set(answers.names)) < len(answers.names):  # a label of several may end like the name of a probability
        return replace(answers, outputs=[output._replace(name=f"{name}_{number}") for number, output in enumerate(outputs)])
    return answers


def _output_of(name: str, classes: Array) -> _Output:
    known = {label: place for place, label in enumerate(_printed(classes))}
    return _Output(name, classes, known if len(known) == len(classes) else {str(place): place for place in range(len(classes))})


def _deciding(estimator: Any) -> Any:
    """Return the classifier whose class has the `predict` by which a model labels rows: the last step, or the best of a search.

    Only scikit-learn's own classes pass a call on as they do: what is derived of them may have a threshold of its own.
    """
    while True:
        kind = _kind(estimator)
        if kind in ("sklearn.Pipeline", "imblearn.Pipeline"):
            inner = _last_step(estimator)
        else:
            passed_on = {"sklearn.FrozenEstimator": "estimator", "sklearn.StackingClassifier": "final_estimator_"}
            name = passed_on.get(kind, "best_estimator_" if _is_sklearn(estimator) else "")
            inner = getattr(estimator, name, None)
        if inner is None:
            return estimator
        estimator = inner


def _kind(estimator: Any) -> str:
    """Return the name of an estimator's class behind that of its library."""
    return f"{type(estimator).__module__.partition('.')[0]}.{type(estimator).__name__}"


def _label_rule(estimator: Any) -> str:
    kind = _kind(estimator)
    if callable(getattr(estimator, "_objective", None)):  # LightGBM then gives scores in place of labels
        return AS_PREDICTED
    if kind in _BY_LARGEST or (kind == "sklearn.KNeighborsClassifier" and estimator.weights == "uniform"):
        return BY_LARGEST
    return BUT_FOR_ROUNDING if kind in _BUT_FOR_ROUNDING else AS_PREDICTED


def _classes_of_labels(estimator: Any, classes: Any) -> list[Array] | None:
    """Return the classes of each label, if a row has several and the model gives the probability of each being there."""
    kind = _kind(estimator)
    if kind == "sklearn.ClassifierChain":
        return [np.array([0.0, 1.0])] * len(classes)  # so it predicts them, whatever it was fitted on
    if kind.startswith("xgboost.") and (targets := _xgboost_targets(estimator)) > 1:
        return [np.array([0.0, 1.0])] * targets
    binarizers = {"sklearn.OneVsRestClassifier": "label_binarizer_", "sklearn.MLPClassifier": "_label_binarizer"}
    of_labels = getattr(getattr(estimator, binarizers.get(kind, ""), None), "y_type_", "")
    return [np.array([0, 1])] * len(classes) if of_labels.startswith("multilabel") else None


def _xgboost_targets(estimator: Any) -> int:
    try:
        return int(json.loads(estimator.get_booster().save_config())["learner"]["learner_model_param"]["num_target"])
    except Exception:  # noqa: BLE001  # a stored one has no booster, and one number a row
        return 1


def _output_columns(name: str, estimator: Any, method: str, n_outputs: int | None) -> list[str]:
    """Name the prediction columns, each differently: by the name alone for a flat array (None), or with what a column is of.

    That is its class, for probabilities, decisions of one class against the rest and multilabel predictions; its output's number
    and its class, for probabilities of several outputs; else its number.
    """
    if n_outputs is None:
        return [name]
    classes = getattr(estimator, "classes_", None)
    labels: list[str] = []
    if isinstance(classes, (list, tuple)) and all(np.ndim(one) == 1 for one in classes):  # a list for several outputs
        if method == "predict_proba":
            labels = [f"{output}_{label}" for output, one in enumerate(classes) for label in _printed(np.asarray(one))]
    elif (
        classes is not None and np.ndim(classes) == 1 and not (method == "decision_function" and _decides_between_pairs(estimator))
    ):
        labels = _printed(np.asarray(classes))
    if len(labels) != n_outputs or len(set(labels)) != n_outputs:
        labels = [str(number) for number in range(n_outputs)]
    return [f"{name}_{label}" for label in labels]


def _decides_between_pairs(estimator: Any) -> bool:
    """Tell whether a decision function has a column for each pair of classes: three classes have three pairs, too."""
    while True:
        if getattr(estimator, "decision_function_shape", None) is not None:
            return bool(estimator.decision_function_shape == "ovo")
        inner = [step for _, step in estimator.steps[-1:]] if hasattr(estimator, "steps") else [
            part for part, _ in _inner_estimators(estimator)
        ][:1]  # fmt: skip
        if not inner or type(estimator).__name__ in ("OneVsOneClassifier", "OneVsRestClassifier"):
            return False
        estimator = inner[0]


def _printed(values: Array) -> list[str]:
    """Print labels as `str` does; an instant as its date, with the time unless that is midnight."""
    if values.dtype.kind == "M":
        return [re.sub(r"(?<=\d)T", " ", text) for text in np.datetime_as_string(values, unit="auto").tolist()]
    return [str(value) for value in values.tolist()]


# --- statistics -----------------------------------------------------------------------------------------------------------------
# In: the features and predictions of a block's scored rows.
# Out: counts that add up over blocks and chunks, in any order.
# Touches: nothing.

MAX_STATISTICS_COLUMNS = 200
"""So many features, and so many predictions, have statistics: the first ones. With 200 features a receipt has some 100 kB."""
MAX_CLASSES, MAX_REASONS = 100, 50
"""The most labels of a prediction, and the most reasons of rejected rows, that are counted by name."""
OTHER = "other"
HASHES = 64
"""Texts are counted by so many hashes: enough to see that a column has changed, too few to say what it holds."""
HISTOGRAM_SCALE, HISTOGRAM_BUCKETS = 5, 80
"""The finest scale, at which a bucket is 2.2 % wide, and the most buckets between the smallest and the largest magnitude."""
_MAX_SHIFT = 6
"""Scales that are coarser than the finest: 80 buckets of the last one hold all magnitudes."""
_ZERO_EXPONENT = -60
"""Magnitudes of up to 2^-60 count as zero, from about 2^64 on as infinite. At the finest scale, 2^6 divides its bucket's number."""
_CELLS = 1 << 16
"""Buckets are made of cells. A cell is the upper 16 bits of a number's square as float32; 7 of these belong to the mantissa."""
_SHARES = 65_000
"""Probabilities are rounded to so many equal parts: 650 for each percent."""
LARGEST_COUNTED, MAX_COUNTED = 128, 64
"""Whole numbers up to this magnitude have a cell each. If there are at most `MAX_COUNTED`, each is counted by itself."""
_FIRST_BUCKET = 2 * _ZERO_EXPONENT * 2 ** (HISTOGRAM_SCALE - 1)
_BUCKETS = 128 * 2 ** (HISTOGRAM_SCALE - 1) - _FIRST_BUCKET
"""The first bucket of the finest scale, and how many there are of either sign: squares are below 2^128, as float32."""
_COARSE_BITS = 3
"""Once a column is so wide that this is joined, the kernel counts it in bins that are coarser by as much (statistics.c)."""
_FIRST_COARSE = 1 + 2 * _BUCKETS
_FIRST_WHOLE = _FIRST_COARSE + 2 * (_BUCKETS >> _COARSE_BITS)
"""The first of the coarse bins, and the first one of a whole number (`_Bins`)."""
CLASS, SHARE = "class", "share"
"""Two more kinds that a column is counted as: labels, and probabilities."""


def column_statistics(blocks: Iterable[Any], kinds: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the statistics of columns by name, over all blocks, as a receipt has them.

    A block gives each column by its name, as a pyarrow.Table does, and has at least one row. `kinds` says how each is counted:
    TEXT, CLASS (labels), SHARE (probabilities); any other kind is numbers.
    """
    sums = _ColumnSums()
    for block in blocks:
        sums.add(sums.count(block, kinds))
    found = sums.result()
    return {name: found[name] for name in kinds if name in found}


class _ColumnCounts(NamedTuple):
    """What a block adds to the statistics of some columns."""

    numbers: _Numbers | None
    others: dict[str, _Counted]
    """Texts and labels."""


_NOTHING_COUNTED = _ColumnCounts(None, {})


class _BlockStatistics(NamedTuple):
    """What a block adds to a chunk's statistics."""

    features: _ColumnCounts
    predictions: _ColumnCounts
    reasons: Counter[str]
    """How many rows were not scored for each reason."""


class _Statistics:
    """The statistics of a chunk, added up block by block; thousands of blocks take as much memory as one.

    Workers count blocks, several at once and in any order; what they return is added in the order of the blocks.
    """

    def __init__(self, columns: _Columns) -> None:
        self._feature_names, self._prediction_names = columns.names, list[str]()
        self._kinds = {name: columns.kinds[name] for name in columns.names[:MAX_STATISTICS_COLUMNS]}
        self._features, self._predictions = _ColumnSums(), _ColumnSums()
        self.reasons: Counter[str] = Counter()
        """How many rows were not scored for each reason."""

    def count_features(self, features: _Features) -> _ColumnCounts:
        """Count the features of a block's scored rows, at least one."""
        if features.matrix is not None:
            return self._features.count_numbers([*self._kinds], features.matrix.T[: len(self._kinds)])
        return self._features.count(features.table, self._kinds)

    def count_predictions(self, names: list[str], predictions: _Predictions, method: str, *, is_classifier: bool) -> _ColumnCounts:
        """Count a block's predictions, at least one row, by what they are: labels, probabilities or other numbers."""
        names = names[:MAX_STATISTICS_COLUMNS]
        if isinstance(predictions, list):
            found = dict(zip(names, predictions, strict=False))
            others = {name: _count_places(column) for name, column in found.items() if isinstance(column, _Labels)}
            shares = {name: np.ascontiguousarray(column, np.float64) for name, column in found.items() if name not in others}
            if not shares:
                return _ColumnCounts(None, others)
            counted = self._predictions.count_numbers([*shares], [*shares.values()], [True] * len(shares))
            return counted._replace(others=others)
        columns = predictions.reshape(len(predictions), -1).T[: len(names)]
        try:
            if not _are_numbers(predictions) or (method == "predict" and is_classifier):
                return _ColumnCounts(None, {name: _count_labels(column) for name, column in zip(names, columns, strict=True)})
            are_shares = [method == "predict_proba"] * len(names)
            return self._predictions.count_numbers(names, np.ascontiguousarray(columns, np.float64), are_shares)
        except Exception as error:  # noqa: BLE001  # what could be printed is not lost because nobody can count it
            logger.warning(_log_line({"message": f"predictions not counted: {type(error).__name__}"}))
            uncounted = _Counted(CLASS, len(predictions), 0, Counter({None: len(predictions)}))  # labels beyond those with a name
            return _ColumnCounts(None, dict.fromkeys(names, uncounted))

    def add(self, predictions: list[str], block: _BlockStatistics) -> None:
        """Add a block, whose predictions have these names."""
        self._prediction_names = predictions
        self._features.add(block.features)
        self._predictions.add(block.predictions)
        if block.reasons:
            self.reasons = _added(self.reasons, block.reasons, MAX_REASONS)

    def result(self) -> dict[str, Any]:
        """Return the statistics as `contract.Statistics` describes them."""
        features, predictions = self._features.result(), self._predictions.result()
        return {
            "predictions": {name: predictions[name] for name in self._prediction_names if name in predictions},
            "predictions_left_out": max(len(self._prediction_names) - MAX_STATISTICS_COLUMNS, 0),
            "features": {name: features[name] for name in self._feature_names if name in features},
            "features_left_out": max(len(self._feature_names) - MAX_STATISTICS_COLUMNS, 0),
            "rejected_reasons": {reason or OTHER: count for reason, count in self.reasons.items()},
        }


class _ColumnSums:
    """The statistics of some columns, added up block by block."""

    def __init__(self) -> None:
        self._numbers = _NumberSums()
        self._others: dict[str, _Counted] = {}

    def count(self, block: Any, kinds: dict[str, str]) -> _ColumnCounts:
        """Count a block, which gives each column by its name, and has at least one row."""
        counters = {TEXT: _count_texts, TYPED: _count_texts, CLASS: _count_labels}
        others = {name: counters[kind](block[name]) for name, kind in kinds.items() if kind in counters}
        names = [name for name in kinds if name not in others]
        if not names:
            return _ColumnCounts(None, others)
        columns, shares = [_plain_numbers(block[name]) for name in names], [kinds[name] == SHARE for name in names]
        return self.count_numbers(names, columns, shares)._replace(others=others)

    def count_numbers(self, names: list[str], columns: Sequence[Array] | Array, shares: Sequence[bool] = ()) -> _ColumnCounts:
        """Count float64 columns, each contiguous, in which NaN is missing; `shares` tells which are probabilities, if any are."""
        return _ColumnCounts(self._numbers.count(names, columns, shares), {})

    def add(self, block: _ColumnCounts) -> None:
        """Add a block that was counted."""
        if block.numbers:
            self._numbers.add(block.numbers)
        for name, more in block.others.items():
            before = self._others.get(name, _Counted(more.kind, 0, 0, Counter()))
            counts = _added(before.counts, more.counts, HASHES if more.kind == TEXT else MAX_CLASSES)
            self._others[name] = _Counted(more.kind, before.rows + more.rows, before.missing + more.missing, counts)

    def result(self) -> dict[str, dict[str, Any]]:
        return self._numbers.result() | {name: counted.written() for name, counted in self._others.items()}


class _Numbers(NamedTuple):
    """The columns of numbers of one block, whose values have been counted."""

    rows: int
    measures: Array
    """Of shape (measures, columns), float64: `_MEASURES`."""


_MEASURES = ("missing", "infinite", "total", "squares", "low", "is_whole", "high")
"""Four sums; the smallest finite value, infinite if there is none; 1 if all finite ones are whole numbers; the largest one."""
_MOST_ROWS = 2**32 - 1
"""That are counted in 32 bits, which take half as long as 64."""


class _NumberSums:
    """The columns of numbers. Blocks are counted in any order, which changes no count, and their measures are added in theirs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: list[str] = []
        self._shares = self._are_coarse = np.empty(0, np.bool_)
        self._counts = np.empty((0, 0), np.uint32)
        self._counted, self._settled = 0, np.zeros((), np.int64)
        self._rows = 0
        self._measures: Array | None = None

    def count(self, names: list[str], columns: Sequence[Array] | Array, shares: Sequence[bool]) -> _Numbers:
        rows = len(columns[0])
        with self._lock:
            if not self._names:
                self._names, self._shares = names, np.array(shares or [False] * len(names))
                self._counts = np.zeros((len(names), len(_bins().buckets)), np.uint32)
                self._are_coarse = np.zeros(len(names), np.bool_)
            if self._counted + rows > _MOST_ROWS:
                self._settled, self._counted = self._settled + self._counts, 0
                self._counts[:] = 0
            self._counted += rows
            return _Numbers(rows, _count_numbers(columns, self._shares, self._are_coarse, self._counts))

    def add(self, numbers: _Numbers) -> None:
        self._rows += numbers.rows
        if self._measures is None:
            self._measures = numbers.measures
            return
        before, more = self._measures, numbers.measures
        with np.errstate(over="ignore", invalid="ignore"):
            before[:4] += more[:4]
        np.minimum(before[4:6], more[4:6], out=before[4:6])
        np.maximum(before[6], more[6], out=before[6])

    def result(self) -> dict[str, dict[str, Any]]:
        """Return each column's statistics as `contract.NumberValues` describes them."""
        if self._measures is None:
            return {}
        measures = (self._measures.T + 0.0).tolist()  # no negative zero
        counts = self._settled + self._counts if self._settled.ndim else self._counts
        joined = _join_buckets(counts).tolist()
        return {name: self._of(counts[index], joined[index], index, *measures[index]) for index, name in enumerate(self._names)}

    def _of(
        self,
        counts: Array,
        joined: list[int],
        index: int,
        missing: float,
        infinite: float,
        total: float,
        squares: float,
        low: float,
        is_whole: float,
        high: float,
    ) -> dict[str, Any]:
        counted = {
            "kind": NUMBER,
            "rows": self._rows,
            "missing": int(missing),
            "sum": _finite_or_none(total),
            "sum_of_squares": _finite_or_none(squares),
            "min": _finite_or_none(low),
            "max": _finite_or_none(high),
            "whole": bool(is_whole),
            "whole_numbers": None,
            "histogram": _histogram(joined, int(missing), int(infinite)),
        }
        is_share = self._shares[index] and not missing and not infinite and low >= 0 and high <= 1
        is_counted = is_whole and not infinite and low >= -LARGEST_COUNTED and high <= LARGEST_COUNTED
        if is_share or is_counted:
            finer, bins = counts[_FIRST_WHOLE:], _bins()
            filled = np.flatnonzero(finer)
            if is_share:
                percents = np.bincount(bins.percents[filled], finer[filled], 101)
                counted["percents"] = percents.astype(np.int64).tolist()
            if is_counted:
                counted["whole_numbers"] = _whole_numbers(bins.numbers[filled], finer[filled], int(missing))
        return counted


def _plain_numbers(column: pa.ChunkedArray | Array) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a column as contiguous float64, NaN in place of missing values."""
    if not isinstance(column, np.ndarray):
        column = (column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column).to_numpy()
    return np.ascontiguousarray(column, np.float64)


def _count_numbers(columns: Sequence[Array] | Array, shares: Array, are_coarse: Array, counts: Array) -> Array:
    """Add columns of a block to the counts by bins, shape (columns, bins), and return their measures: in C if there is a kernel."""
    bins, kernel = _bins(), _beside("statistics_kernel")
    measures: Array | None = kernel and kernel.count(columns, shares, are_coarse, bins, _FIRST_WHOLE, HISTOGRAM_BUCKETS, counts)
    if measures is None:
        return np.array([_count_column(*column) for column in zip(columns, shares, counts, strict=True)]).T
    return measures


def _count_column(values: np.ndarray[Any, np.dtype[np.float64]], is_share: bool, counts: Array) -> tuple[float, ...]:
    """Count a column, and return its `_MEASURES`, as statistics.c does for many."""
    missing = infinite = 0
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        single = values.astype(np.float32)
        finite, squares = values, np.dot(values, values)
        if not squares < 2.0**126:  # also NaN
            square = single * single
            missing, infinite = np.isnan(values).sum(), np.isinf(square).sum()
            single[~np.isfinite(square)] = 0.0
            finite = values[np.isfinite(values)]
            squares = np.dot(finite, finite)
        bins = _bins().of_cells[_cells_of(single)]
        if is_share:
            chosen = (values >= 0) & (values <= 1)
            bins[chosen] = _bins().of_shares[np.rint(values[chosen] * _SHARES).astype(np.int64)]
        first = bins.min()
        found = np.bincount(bins - first)
        counts[first : first + len(found)] += found.astype(np.uint32)
        is_whole = all((np.rint(some) == some).all() for some in (finite[:8], finite))  # of most columns the first ones are not
        return missing, infinite, finite.sum(), squares, finite.min(initial=np.inf), is_whole, finite.max(initial=-np.inf)


def _cells_of(single: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """Return the cells of numbers, none of which is infinite.

    Logarithms would cost several times as much; the bits of a float are nearly its logarithm, and the same on every processor.
    """
    square = np.abs(single)
    square *= single  # keeps the sign
    bits: np.ndarray[Any, np.dtype[np.uint32]] = square.view(np.uint32)
    bits -= 1  # so that a bucket's upper edge is in it; zero becomes the last cell of either sign
    bits >>= 16
    return bits


class _Bins(NamedTuple):
    """The bins in which values are counted.

    The first is for what is too small for a bucket; then each bucket has one, the positive and the negative one side by side, and
    so have coarse buckets; each cell with a whole number up to `LARGEST_COUNTED` has one, and so have probabilities by their bucket
    and their percents.
    """

    of_cells: np.ndarray[Any, np.dtype[np.uint16]]
    coarse_of_cells: np.ndarray[Any, np.dtype[np.uint16]]
    of_shares: np.ndarray[Any, np.dtype[np.uint16]]
    """The bin of each 65,000th."""
    buckets: Array
    """For each bin, the one of its bucket."""
    numbers: Array
    """For each bin from `_FIRST_WHOLE` on, the whole number in it, if a column has whole numbers alone."""
    percents: Array
    """And its percents, if it has probabilities alone."""


@functools.cache
def _bins() -> _Bins:
    octave = 2 ** (HISTOGRAM_SCALE - 1)  # buckets of a power of two of the square
    edges = np.round(np.exp2(np.arange(octave) / octave) * 128) - 128
    cells = np.arange(_CELLS)
    exponents = ((cells >> 7) & 255) - 127
    buckets = exponents * octave + np.searchsorted(edges, cells & 127, side="right") - 1 - _FIRST_BUCKET
    is_zero = (exponents == 128) | (buckets < 0)
    in_buckets = np.where(is_zero, 0, 1 + 2 * buckets + (cells >= _CELLS // 2))

    whole = np.arange(-LARGEST_COUNTED, LARGEST_COUNTED + 1)
    cells_of_whole = _cells_of(whole.astype(np.float32))
    of_cells = in_buckets.copy()
    of_cells[cells_of_whole] = _FIRST_WHOLE + LARGEST_COUNTED + whole
    of_cells[_cells_of(np.array([-0.0], np.float32))] = _FIRST_WHOLE + LARGEST_COUNTED
    places, sides = np.divmod(in_buckets - 1, 2)
    in_coarse = _FIRST_COARSE + 2 * (places >> _COARSE_BITS) + sides
    coarse = np.arange(_FIRST_WHOLE - _FIRST_COARSE)
    first_in_coarse = 1 + 2 * (coarse // 2 << _COARSE_BITS) + coarse % 2

    shares = np.arange(_SHARES + 1)
    percents = np.rint(shares / (_SHARES / 100)).astype(np.int64)
    percents[-1] += 1  # for now, so that 1 has a bin of its own
    in_share_buckets = in_buckets[_cells_of((shares / _SHARES).astype(np.float32))]
    _, firsts, of_shares = np.unique(in_share_buckets * 102 + percents, return_index=True, return_inverse=True)
    return _Bins(
        of_cells.astype(np.uint16),
        np.where(of_cells == in_buckets, np.where(is_zero, 0, in_coarse), of_cells).astype(np.uint16),
        (_FIRST_WHOLE + len(whole) + of_shares).astype(np.uint16),
        np.concatenate([np.arange(_FIRST_COARSE), first_in_coarse, in_buckets[cells_of_whole], in_share_buckets[firsts]]),
        np.concatenate([whole, (firsts == _SHARES).astype(np.int64)]),
        np.concatenate([np.zeros(len(whole), np.int64), np.minimum(percents[firsts], 100)]),
    )


def _whole_numbers(numbers: Array, counts: Array, missing: int) -> dict[str, int] | None:
    """Count each whole number by itself; None if there are too many."""
    found: Counter[int] = Counter()
    for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
        found[number] += count
    found[0] -= missing  # as which they are counted
    kept = {str(number): count for number, count in sorted(found.items()) if count}
    return kept if len(kept) <= MAX_COUNTED else None


def _join_buckets(counts: Array) -> Array:
    """Join the counts of columns by bins to buckets, of the finest scale at which they fit: in C if there is a kernel.

    Returns for each column how much coarser that scale is, the first bucket, the count of zero, and those of the buckets from the
    first one on, `HISTOGRAM_BUCKETS` of either sign.
    """
    buckets, kernel = _bins().buckets, _beside("statistics_kernel")
    joined: Array | None = None
    if kernel and counts.dtype == np.uint32:
        joined = kernel.join(counts, buckets, HISTOGRAM_BUCKETS)
    return np.array([_join_column(column, buckets) for column in counts]) if joined is None else joined


def _join_column(counts: Array, buckets: Array) -> Array:
    filled = np.flatnonzero(counts)
    places, sides = np.divmod(buckets[filled] - 1, 2)  # zero's place is -1
    low, high = int(places[places >= 0].min(initial=_BUCKETS)), int(places.max(initial=-1))
    shift = 0
    while (high >> shift) - (low >> shift) >= HISTOGRAM_BUCKETS:
        shift += 1
    first = low >> shift if high >= 0 else 0
    index = np.where(places < 0, 0, 1 + sides * HISTOGRAM_BUCKETS + (places >> shift) - first)
    return np.array([shift, first, *np.bincount(index, counts[filled], 1 + 2 * HISTOGRAM_BUCKETS).astype(np.int64)])


def _histogram(joined: list[int], missing: int, infinite: int) -> dict[str, Any]:
    """Write a column's joined buckets as an exponential histogram."""
    shift, first, zero, *counts = joined

    def side(counts: list[int]) -> dict[str, Any]:
        filled = [place for place, count in enumerate(counts) if count]
        if not filled:
            return {"offset": 0, "counts": []}
        return {"offset": (_FIRST_BUCKET >> shift) + first + filled[0], "counts": counts[filled[0] : filled[-1] + 1]}

    return {
        "scale": HISTOGRAM_SCALE - shift,
        "zero": zero - missing - infinite,  # as which they are counted
        "positive": side(counts[:HISTOGRAM_BUCKETS]),
        "negative": side(counts[HISTOGRAM_BUCKETS:]),
        "infinite": infinite,
    }


def _finite_or_none(value: float) -> float | None:
    """JSON has no infinity."""
    return float(value) if math.isfinite(value) else None


class _Counted(NamedTuple):
    """The texts of a column counted by their hash, or its labels counted by themselves."""

    kind: str
    """TEXT or CLASS."""
    rows: int
    missing: int
    counts: Counter[Any]

    def written(self) -> dict[str, Any]:
        counted = {"kind": self.kind, "rows": self.rows, "missing": self.missing}
        if self.kind == TEXT:
            return counted | {"hashed": [self.counts[index] for index in range(HASHES)]}
        classes = {label: count for label, count in sorted(self.counts.items(), key=str) if label is not None}
        return counted | {"classes": classes, "other_classes": self.counts[None]}


def _count_texts(column: pa.ChunkedArray) -> _Counted:
    counts: Counter[Any] = Counter()
    if not pa.types.is_string(column.type):
        column = _as_texts(column)
    for text, count in _distinct(column.drop_null()):
        counts[zlib.crc32(text.encode()) % HASHES] += count
    return _Counted(TEXT, len(column), column.null_count, counts)


def _distinct(column: pa.Array | pa.ChunkedArray) -> Iterator[tuple[Any, int]]:
    counted = pc.value_counts(column)
    return zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)


def _count_labels(values: pa.ChunkedArray | Array) -> _Counted:
    """Count labels as they are printed."""
    if not isinstance(values, np.ndarray):
        values = np.array(values.to_pylist(), object)
    if values.dtype.kind in "biu" and values.dtype.isnative:
        return _Counted(CLASS, len(values), 0, Counter({str(label): count for label, count in _distinct(pa.array(values))}))
    is_missing = [_is_missing(value) for value in values.tolist()]
    counts = Counter(None if missing else text for missing, text in zip(is_missing, _printed(values), strict=True))
    return _Counted(CLASS, len(values), counts.pop(None, 0), counts)


def _count_places(labels: _Labels) -> _Counted:
    counts = np.bincount(labels.places, minlength=len(labels.classes)).tolist()
    return _Counted(CLASS, len(labels.places), 0, Counter(dict(zip(_printed(labels.classes), counts, strict=True))) - Counter())


def _is_missing(value: Any) -> bool:
    """Tell whether a prediction is missing: None, NaN, NaT or NA, of any library."""
    try:
        return value is None or bool(value != value)  # noqa: PLR0124  # NaN is not itself
    except ValueError:  # an array has no truth
        return False
    except Exception:  # noqa: BLE001  # pandas' NA has none either, and a signalling NaN is not to be compared
        return True


def _are_numbers(predictions: Array) -> bool:
    """Tell numbers from labels, also in an array of objects, as models return that keep their features' frame."""
    if predictions.dtype.kind != "O":
        return predictions.dtype.kind in "fiub"
    try:
        for value in predictions.flat:
            float(value)
    except (OverflowError, TypeError, ValueError):  # Python's integers may be too large, and complex numbers are no floats
        return False
    return all(isinstance(value, (int, float, np.number, np.bool_)) for value in predictions.flat)


def _added(counts: Counter[Any], more: Counter[Any], most: int) -> Counter[Any]:
    """Add up counts by name, for at most so many names; the others are counted together under None."""
    added = counts.copy()
    for name, count in more.items():
        known = name in added or len(added.keys() - {None}) < most
        added[name if known else None] += count
    return added


# --- segments -------------------------------------------------------------------------------------------------------------------
# In: what an event, or a list in S3, names as one chunk, and the format of its objects.
# Out: the chunk's objects in local files that a download fills, and their rows in order.
# Touches: S3, and the chunk's directory.

MAX_SEGMENTS_LIST_BYTES = 2**26
"""The most bytes of a list in S3: 20,000 of the longest keys take less than half."""


@dataclass
class _Segment:
    """A chunk's share of one object, in a local file of its own."""

    source: _Source
    stop: int | None
    """Byte of the object at which it stops; None at the object's end."""
    etag: str | None
    data: Path | _GrowingFile
    header: Header | None = None
    is_begun: bool = False
    surplus: int = 0
    """How many bytes more than its own are in its text, once that is read."""

    @contextmanager
    def text(self) -> Iterator[Any]:
        """Open it to be read forward from its beginning, as the text that it is or that is compressed in it."""
        with self.data.open("rb") as file:
            compression = None if self.source.start else compression_of(file.read(COMPRESSION_MAGIC_BYTES))
            file.seek(0)
            opened = _Decompressed(file, compression, self.source.s3_uri, self) if compression else None
            yield opened or file
            self.surplus = opened.surplus if opened else 0

    @property
    def byte_range(self) -> list[int] | None:
        return None if self.stop is None else [self.source.start, self.stop]

    @property
    def object_bytes(self) -> int | None:
        """Size of the whole object, known after the download."""
        return self.data.object_bytes if isinstance(self.data, _GrowingFile) else None

    def is_whole_object(self) -> bool:
        """Whether it stops where its object does: waits for the download, which tells the object's size."""
        if self.stop is None or not isinstance(self.data, _GrowingFile):
            return True
        self.data.wait_for(2**63)
        return self.stop == self.object_bytes


@dataclass
class _Chunk:
    """What is scored as one: an object, a byte range of one, or a group of such segments one after the other.

    Rows and bytes (and quotes) are counted in each segment by itself, so that one segment's fault never moves the next one's rows.
    """

    segments: list[_Segment]
    format: _Format
    is_group: bool = False
    """A group may lack rows: its objects may be only headers."""
    may_lack_rows: bool = False

    @property
    def s3_uri(self) -> str:
        """The first object, which names the columns."""
        return self.segments[0].source.s3_uri

    @functools.cached_property
    def header(self) -> Header:
        """The first object's, with what it lacks from the others."""
        return self.format.joint_header(map(self.header_of, self.segments))

    @functools.cached_property
    def planned_bytes(self) -> int:
        """Bytes of the segments whose ends are known from the start."""
        if self.format.range_name != "byte_range":
            return 0
        return sum(segment.stop - segment.source.start for segment in self.segments if segment.stop is not None)

    @property
    def record_bytes(self) -> int:
        """`planned_bytes` without headers, if these are as long as the first one."""
        return self.planned_bytes - self.header.size * sum(segment.source.start == 0 for segment in self.segments)

    def header_of(self, segment: _Segment) -> Header:
        segment.is_begun = True
        if segment.header is None:
            segment.header = self.format.header(segment, may_be_all=self.is_group or self.may_lack_rows)
        return segment.header

    def blocks(self, block_bytes: int, tally: _Tally | None = None) -> Iterator[_Block]:
        """Cut all segments into blocks of whole rows, in order."""
        blocks = (block for segment in self.segments for block in self._segment_blocks(segment, block_bytes, tally or _Tally()))
        return self.format.joined_small(blocks, block_bytes) if len(self.segments) > 1 else blocks

    def _segment_blocks(self, segment: _Segment, block_bytes: int, tally: _Tally) -> Iterator[_Block]:
        self.header_of(segment)
        self.format.require_alike(segment, self)
        yield from self.format.blocks(segment, self.header, block_bytes, tally)
        tally.bytes -= segment.surplus

    def cut_segment(self) -> _Segment | None:
        """Find the first segment, of those that were read so far, whose ends show that they are not between two rows."""
        for segment in self.segments:
            if segment.is_begun and self.format.may_be_cut(segment):
                is_whole = segment.stop is None or (self.is_group and segment.byte_range == [0, segment.object_bytes])
                if not is_whole:
                    return segment
        return None

    def partial_segments(self) -> list[_Segment]:
        """Return the segments that are not their whole objects; waits for the download, which tells the objects' sizes."""
        for segment in self.segments:
            if isinstance(segment.data, _GrowingFile):
                segment.data.wait_for(2**63)
        return [segment for segment in self.segments if segment.byte_range not in (None, [0, segment.object_bytes])]


def _plan_segments(client: S3Client, event: dict[str, Any], folder: Path) -> list[_Segment]:
    """Take the event's segments, each with the local file that it will have."""
    uri = event.get("segments_s3_uri")
    listed = _read_segments(client, event) if uri else event.get("segments") or [event]
    segments = []
    for index, item in enumerate(listed):
        start, stop = item.get("byte_range") or item.get("row_groups") or (0, None)
        data = _GrowingFile(folder / f"data-{index}.csv")
        segments.append(_Segment(_Source(item["data_s3_uri"], start), stop, item.get("data_etag"), data))
    return segments


def _local_chunk(paths: Sequence[Path], event: dict[str, Any], *, is_group: bool = False, may_lack_rows: bool = False) -> _Chunk:
    """Take whole local files as one chunk."""
    segments = [_Segment(_Source(path.name, 0), None, None, path) for path in paths]
    return _Chunk(segments, _format_of({"data_s3_uri": paths[0].name, **event}), is_group, may_lack_rows)


def _read_segments(client: S3Client, event: dict[str, Any]) -> list[dict[str, Any]]:
    """Read the list that `segments_s3_uri` names; InvalidRequestError if it is not one."""
    s3_uri = event["segments_s3_uri"]
    segments, _ = _read_json(client, s3_uri, MAX_SEGMENTS_LIST_BYTES, "a list of segments")
    if not isinstance(segments, list) or not segments:
        raise InvalidRequestError(f"{s3_uri} is not a list of segments, or an empty list")
    if len(segments) > MAX_SEGMENTS:
        raise InvalidRequestError(f"{s3_uri} lists {len(segments)} segments, more than {MAX_SEGMENTS}: split the chunk")
    problems = _segment_problems(segments, "")
    read = _data_in(segments)
    problems += _confinement_problems(read) + _overwrite_problems(read, _written_by(event))
    if problems:
        raise InvalidRequestError(f"{s3_uri} is not a list of segments: it has {_listed(problems)}")
    return list(segments)


def _fetch_headers(client: S3Client, chunk: _Chunk, segments: Iterable[_Segment]) -> None:
    """Read from S3 what is to be known of objects before they are downloaded, and their ETags if the event does not have them."""
    wanted = [segment for segment in segments if not segment.header and chunk.format.has_header_elsewhere(segment)]
    with ThreadPoolExecutor(DOWNLOADS_AT_ONCE, "header") as pool:
        list(pool.map(functools.partial(chunk.format.fetch_header, client), wanted))


@contextmanager
def _downloading(client: S3Client, chunk: _Chunk, storage: _Storage) -> Iterator[None]:
    """Download in the background, the first segments first; all can be read at once."""

    def download(segment: _Segment, file: _GrowingFile) -> None:
        def require_room(response: dict[str, Any]) -> None:
            if segment.stop is None or chunk.format.is_read_by_header:
                storage.take_for_chunk(response["ContentLength"], segment.source.s3_uri)

        chunk.format.download(client, segment, file, require_room)

    files = [segment.data for segment in chunk.segments if isinstance(segment.data, _GrowingFile)]
    pool = ThreadPoolExecutor(DOWNLOADS_AT_ONCE, "download")
    try:
        for segment, file in zip(chunk.segments, files, strict=True):
            pool.submit(download, segment, file)
        yield
    finally:
        for file in files:
            file.is_wanted = False
        chunk.format.choose([])  # who waits for that need not
        pool.shutdown(cancel_futures=True)


# --- compression ----------------------------------------------------------------------------------------------------------------
# In: an open file, or an object's first bytes, that gzip or Zstandard have compressed.
# Out: the text, piece by piece, or what is wrong with the file.
# Touches: nothing.

MAX_TEXT_BYTES = 2**36
"""The most text of one object: a function, which has 15 minutes, does not score as much."""

STORED_PIECE_BYTES = 1 << 14
"""Compressed bytes that are decompressed at once: from few of them, the probe knows how many bytes of text they are."""
CONTENT_TYPES = {"gzip": "application/gzip", "zstd": "application/zstd"}
"""Of a compressed output. Its `Content-Encoding` is not set: some clients would decompress it unasked."""
GZIP_LEVEL, ZSTD_LEVEL = 4, 3
"""Of gzip, level 6 makes outputs smaller by 4 to 8 % and takes over three times as long (docs/performance.md)."""


class _Stored:
    """The compressed file as pyarrow wants it: counted, and not closed."""

    closed = False

    def __init__(self, file: Any) -> None:
        self._file = file
        self.bytes = 0

    def read(self, size: int) -> bytes:
        piece: bytes = self._file.read(min(size, STORED_PIECE_BYTES))
        self.bytes += len(piece)
        return piece

    def close(self) -> None:
        pass


class _Decompressed:
    """The text of an open compressed file, all gzip members or Zstandard frames of it; read forward only.

    pyarrow checks what they say of their contents, refuses windows of more than 128 MiB, and keeps 1 MB and the window in memory.
    """

    def __init__(
        self, file: Any, compression: str, s3_uri: str, segment: _Segment | None = None, *, is_beginning: bool = False
    ) -> None:
        self._compression, self._s3_uri, self._segment, self._is_beginning = compression, s3_uri, segment, is_beginning
        self._stored = _Stored(file)
        self._text = pa.CompressedInputStream(pa.PythonFile(self._stored, "r"), compression)
        self._bytes = 0

    @property
    def surplus(self) -> int:
        """How many bytes more than the compressed ones were read."""
        return self._bytes - self._stored.bytes

    @property
    def stored_share(self) -> float:
        """Compressed bytes for a byte of text, so far."""
        return self._stored.bytes / max(1, self._bytes)

    def read(self, size: int) -> bytes:
        """Return so many bytes, fewer only at the end; InvalidDataError if the file is damaged or not whole."""
        try:
            text: bytes = self._text.read(size)
        except OSError as error:
            if self._is_beginning and _TRUNCATED in str(error):
                return b""
            if error.errno is not None:  # the disk's own
                raise
            raise self._damage(str(error)) from error
        self._bytes += len(text)
        if self._bytes > MAX_TEXT_BYTES:
            raise InvalidDataError(
                f"{self._s3_uri} holds more than {MAX_TEXT_BYTES} bytes of text in its {self._name}",
                "split it into several objects",
            )
        return text

    def seek(self, position: int) -> None:
        while self._bytes < position and self.read(min(position - self._bytes, BLOCK_BYTES)):
            pass

    @property
    def _name(self) -> str:
        return COMPRESSION_NAMES[self._compression]

    def _damage(self, reason: str) -> PredictionError:
        """Say what is wrong, by what pyarrow says."""
        segment = self._segment
        if _TRUNCATED in reason and segment and segment.stop not in (None, segment.object_bytes):
            return _only_whole(self._s3_uri, self._compression)
        if _TRUNCATED in reason:
            what = f"{self._s3_uri} is not whole: it ends in the middle of its {self._name}"
            return InvalidDataError(what, "write or upload it again")
        if "too much memory" in reason:
            what = f"{self._s3_uri} is {self._name} with a window of more than 128 MiB"
            return InvalidDataError(what, "compress it without --long, or with --long=27 at most")
        if "ictionary" in reason:
            return InvalidDataError(f"{self._s3_uri} is {self._name} that needs a dictionary", "compress it without one")
        what = f"{self._s3_uri} is damaged, or something else follows its {self._name}: after {self._bytes} bytes of its text"
        return InvalidDataError(what, "write or upload it again")


def _only_whole(s3_uri: str, compression: str) -> InvalidRequestError:
    what = f"{s3_uri} is {COMPRESSION_NAMES.get(compression, compression)}, of which no range of bytes can be read"
    return InvalidRequestError(what, "leave byte_range out")


_TRUNCATED = "Truncated"
"""In what pyarrow says of a file that ends too early."""


def _beginning_of_text(stored: bytes, compression: str, s3_uri: str, most: int, *, is_whole: bool) -> tuple[bytes, bool, float]:
    """Return so much of the text whose compressed beginning this is, whether that is all, and how many bytes one of it takes."""
    file = _Decompressed(io.BytesIO(stored), compression, s3_uri, is_beginning=not is_whole)
    text = b""
    while len(text) < most and (piece := file.read(1 << 16)):
        text += piece
    return text, is_whole and not file.read(1), file.stored_share


class _TextWriter:
    """What writers of text have alike: no types, and, but for CSV's own, no header and nothing behind the last row."""

    types: list[str] | None = None
    line_end = b""
    keeps_all = False
    reads: _Columns | None = None
    _output: Any = None

    def begin(self, output: Any, names: list[str]) -> int:  # noqa: ARG002  # each line of JSON names its predictions
        self._output = output
        return 0

    def write(self, joined: Any) -> None:
        self._output.write(joined)

    def end(self, tally: _Tally) -> int:  # noqa: ARG002  # blank lines are no rows
        return 0

    def types_of(self, joined: Any) -> None:
        """There are none."""

    def expect(self, predictions: _Predictions) -> None:
        """There are none."""


class _CompressedWriter(_TextWriter):
    """Writes what another writer does, as gzip members or Zstandard frames: one for the header, and one for each block.

    So parts can be joined, and the header left out, by whoever knows bytes alone, and several threads compress.
    """

    def __init__(self, writer: _Writer, compression: str) -> None:
        self.columns, self.reads = writer.columns, writer.reads
        self._writer, self._compressed = writer, {"gzip": _gzip_member, "zstd": _zstd_frame}[compression]
        self._text = io.BytesIO()
        """What the other writer writes by itself."""
        self._header_end = b""

    def joined(self, block: Any, rows: Array, predictions: _Predictions | None, names: list[str]) -> bytes:
        text, line_end = self._writer.joined(block, rows, predictions, names), self._writer.line_end
        return self._compressed(memoryview(text)[len(line_end) :], line_end)  # it belongs to the header, and to no block

    def begin(self, output: Any, names: list[str]) -> int:
        self._output = output
        header = self._text.getvalue() if self._writer.begin(self._text, names) else b""
        if header in (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):  # of CSV without a header: no line ends there
            return int(output.write(self._compressed(header, b"")))
        self._header_end = self._writer.line_end if header else b""
        return int(output.write(self._compressed(header, self._header_end))) if header else 0

    def end(self, tally: _Tally) -> int:
        written = self._text.tell()
        self._writer.end(tally)
        rest = self._text.getvalue()[written:].removeprefix(self._header_end)
        if rest or not self._output.tell():  # an object without bytes is neither gzip nor Zstandard
            self._output.write(self._compressed(rest))
        return 0


def _compressed(writer: _Writer, event: dict[str, Any]) -> _Writer:
    """Return a writer that compresses what another one writes, if the event or the output's name says so."""
    compression = _written_as(event).compression
    return writer if compression == "none" else _CompressedWriter(writer, compression)


def _gzip_member(*texts: bytes | memoryview) -> bytes:
    member = zlib.compressobj(GZIP_LEVEL, wbits=31)  # without a name or an instant: twins of a chunk write the same bytes
    return b"".join([*map(member.compress, texts), member.flush()])


def _zstd_frame(*texts: bytes | memoryview) -> bytes:
    frame: bytes = pa.Codec("zstd", compression_level=ZSTD_LEVEL).compress(b"".join(texts), asbytes=True)
    return frame


# --- tables ---------------------------------------------------------------------------------------------------------------------
# In: a block's rows as a table of typed columns, and their predictions.
# Out: rows of another format than the data's.
# Touches: nothing.


class _Rows(NamedTuple):
    """A block in typed columns."""

    rows: int
    table: pa.Table
    """Without columns it does not know how many rows it has."""


class _OfTables(_TextWriter):
    """Writes rows of typed columns."""

    def __init__(self, reads: _Columns) -> None:
        self.columns, self.reads = reads.names, reads


class _JsonLinesOfTables(_OfTables):
    """Writes rows as JSON objects, each on a line: the columns, then the predictions."""

    def joined(self, block: Any, rows: Array, predictions: _Predictions | None, names: list[str]) -> memoryview:
        columns = [_json_texts(_simple(column)) for column in block.table.columns]
        return _json_objects(dict(zip(self.columns, columns, strict=True)), block.rows, rows, predictions, names)


class _CsvOfTables(_OfTables):
    """Writes rows as CSV with commas and LF: the columns, then the predictions; nothing for a missing value."""

    def joined(self, block: Any, rows: Array, predictions: _Predictions | None, names: list[str]) -> memoryview:
        places = np.full(block.rows, -1, np.int64)
        places[rows] = np.arange(len(rows))
        columns = [_csv_texts(_simple(column)) for column in block.table.columns]
        for values in [None] * len(names) if predictions is None else _columns_of(predictions):
            printed = pa.nulls(1, pa.binary()) if values is None else _format_column(values, COMMAS)
            columns.append(pc.fill_null(pc.take(printed, pa.array(places, mask=places < 0)), b","))
        if len(columns) == 1:  # a line without anything would be no row
            columns = [pc.replace_substring_regex(columns[0], _NOTHING, rb'\1"\2"')]
        columns[0] = pc.binary_replace_slice(columns[0], 0, 1, b"")
        return _joined_texts([*columns, pa.repeat(pa.scalar(b"\n", pa.binary()), block.rows)])

    def begin(self, output: Any, names: list[str]) -> int:
        self._output = output
        fields = [_after(name, COMMAS)[1:] for name in (*self.columns, *names)]
        if len(fields) == 1 and not fields[0].strip(b" \t"):
            fields = [b'"%b"' % fields[0]]  # as above
        return int(output.write(b",".join(fields) + b"\n"))


def _simple(column: pa.ChunkedArray) -> pa.Array:
    """Return a column of any type as text, integers, float64 or booleans: an instant with its zone as that of UTC."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_floating(kind):
        column = column.cast(pa.float64())
    elif pa.types.is_timestamp(kind) and kind.tz:  # by itself Arrow would look for the zone in a database that may not be there
        column = pc.binary_join_element_wise(column.cast(pa.timestamp(kind.unit)).cast(pa.string()), "Z", "")
    elif not (pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        column = _as_texts(column)
    return column.combine_chunks()


def _csv_texts(column: pa.Array) -> pa.Array:
    """Print a column's values as CSV, each after a comma; nothing for a missing one."""
    if pa.types.is_string(column.type):
        texts = column
        if pc.any(needs := pc.match_substring_regex(column, r'[",\r\n]')).as_py():
            quoted = pc.binary_join_element_wise('"', pc.replace_substring(column, '"', '""'), '"', "")
            texts = pc.if_else(needs, quoted, column)
        return pc.fill_null(pc.binary_join_element_wise(",", texts, "").cast(pa.binary()), b",")
    if pa.types.is_boolean(column.type):
        return pc.fill_null(pc.if_else(column, b",True", b",False"), b",")
    plain = np.asarray(pc.fill_null(column, pa.scalar(0).cast(column.type)))
    return pc.if_else(column.is_valid(), _format_column(plain, COMMAS), b",") if len(column) else pa.array([], pa.binary())


def _json_objects(
    columns: dict[str, pa.Array], n_rows: int, rows: Array, predictions: _Predictions | None, names: list[str]
) -> memoryview:
    """Join the JSON of columns' values, null for a missing one, and predictions, as one object on each line."""
    places = np.full(n_rows, -1, np.int64)
    places[rows] = np.arange(len(rows))
    taken = pa.array(places, mask=places < 0)
    for name, values in zip(names, [None] * len(names) if predictions is None else _columns_of(predictions), strict=True):
        columns[name] = pc.take(pa.nulls(1, pa.binary()) if values is None else _json_column(values), taken)
    texts = []
    for index, (name, column) in enumerate(columns.items()):
        key = (b"," if index else b"{") + orjson.dumps(name) + b":"
        texts += [pa.repeat(pa.scalar(key, pa.binary()), n_rows), pc.fill_null(column, b"null")]
    return _joined_texts([*texts, pa.repeat(pa.scalar(b"}\n", pa.binary()), n_rows)])


def _json_texts(column: pa.Array) -> pa.Array:
    """Print a column's values as JSON; null for a missing one, and, as JSON has no word for it, for what is no finite number."""
    if not pa.types.is_string(column.type):
        valid, plain = column.is_valid(), np.asarray(pc.fill_null(column, pa.scalar(0).cast(column.type)))
        return pc.if_else(valid, _json_column(plain), None) if len(column) else pa.array([], pa.binary())
    if pc.any(pc.match_substring_regex(column, _ESCAPED_IN_JSON)).as_py():
        encoded = column.dictionary_encode()
        return pc.take(pa.array(map(orjson.dumps, encoded.dictionary.to_pylist()), pa.binary()), encoded.indices)
    return pc.binary_join_element_wise('"', column, '"', "").cast(pa.binary())


_ESCAPED_IN_JSON = r'["\\\x00-\x1f]'


# --- formats --------------------------------------------------------------------------------------------------------------------
# In: the format that an event names.
# Out: the few verbs in which formats differ; everything else is the same code for all of them.
# Touches: nothing.

MAX_RECORD_BYTES = 16_000_000
"""A longer record is taken for an unbalanced quote."""


class _Format(Protocol):
    """A format of tables."""

    name: ClassVar[str]
    content_type: ClassVar[str]
    """Of a part, as S3 tells it."""
    range_name: ClassVar[str]
    """The field that names a segment's share of its object."""
    place_name: ClassVar[str]
    """What stands beside a row's number in a list of rejected rows."""
    is_read_by_header: ClassVar[bool]
    """Whether the header says what is to be read of an object at all."""

    @property
    def lacks_rows(self) -> str:
        """What to say of an object without rows."""

    def choose(self, names: list[str]) -> None:
        """Say which columns will be read; only the first call counts."""

    def has_header_elsewhere(self, segment: _Segment) -> bool:
        """Tell whether a segment's own bytes do not show the columns."""

    def fetch_header(self, client: S3Client, segment: _Segment) -> None:
        """Read a segment's columns, and its ETag, from S3."""

    def download(self, client: S3Client, segment: _Segment, file: _GrowingFile, check: Check) -> None:
        """Fill a segment's file; `check` gets S3's answer before any byte is written."""

    def header(self, segment: _Segment, *, may_be_all: bool) -> Header:
        """Read the columns of a segment's file; `may_be_all` if it may lack rows."""

    def joint_header(self, headers: Iterator[Header]) -> Header:
        """Return the header of a chunk: the first segment's; of the others no more are read than is needed."""

    def require_alike(self, segment: _Segment, chunk: _Chunk) -> None:
        """Raise InvalidDataError if a segment, whose header was read, cannot stand under the chunk's header."""

    def first_header(self, chunk: _Chunk) -> Header:
        """Return the chunk's header with the names of its columns, if only rows show them those of the first ones."""

    def row_bytes(self, chunk: _Chunk) -> int:
        """Return about how many bytes of a block a row takes, by the first rows."""

    def blocks(self, segment: _Segment, header: Header, block_bytes: int, tally: _Tally) -> Iterator[_Block]:
        """Cut a segment into blocks of whole rows, of about so many bytes each."""

    def joined_small(self, blocks: Iterator[_Block], block_bytes: int) -> Iterator[_Block]:
        """Join the blocks of neighbouring small objects: a model's call costs much the same for ten rows as for a thousand."""

    def may_be_cut(self, segment: _Segment) -> bool:
        """Tell whether a segment's bytes show that it does not end between two rows."""

    def first_block(self, client: S3Client, s3_uri: str, etag: str | None) -> _First:
        """Read the first rows of an object, for the probe; a block of none if the object has none."""

    def writer(self, header: Header, kept: list[str] | None) -> _Writer:
        """Return what makes a part of blocks under this header, with these of the data's columns, or with all."""


class _Block(Protocol):
    """Some whole rows of a chunk."""

    @property
    def header(self) -> Header:
        """The chunk's."""

    @property
    def has_blank_lines(self) -> bool:
        """Whether there are lines that are no rows."""

    @property
    def rows(self) -> int:
        """Their number."""

    @property
    def input_bytes(self) -> int:
        """The bytes that they take."""

    def at(self, row: int) -> _Place:
        """Return where a row, from 0 in the block, stands in its object."""

    def part(self, start: int, stop: int) -> _Block:
        """Return some of the rows, [start, stop), of a block of one object."""

    def again(self, wanted: int) -> Iterator[_Block]:
        """Cut the first rows into blocks again, about so many rows: several times if they are fewer."""

    def features(self, columns: _Columns, reject: Reject) -> _Features:
        """Parse the feature columns, in order; `reject` gets the rows with what does not fit their columns' types.

        Raises ColumnTypeError if a value refutes what was decided for an open column.
        """

    def texts(self, names: Sequence[str]) -> pa.Table:
        """Return some columns as texts, null for a missing value."""

    def kinds(self, names: Sequence[str]) -> dict[str, str]:
        """Return the kinds of some columns, as pandas would read these rows."""


class _Text:
    """What formats of text have alike."""

    range_name: ClassVar[str] = "byte_range"
    place_name: ClassVar[str] = "byte"
    is_read_by_header: ClassVar[bool] = False

    def choose(self, names: list[str]) -> None:
        """All columns are read."""


class _First(NamedTuple):
    """The first rows of an object."""

    block: _Block
    stored_share: float = 1.0
    """Bytes of the object for each of `block.input_bytes`: fewer if it is compressed."""


class _Writer(Protocol):
    """Makes a chunk's part."""

    line_end: bytes
    """What a block's share begins with, because it belongs to the row before."""
    columns: list[str]
    """The columns of the data that the part has, in the data's order."""
    keeps_all: bool
    """Whether the part has all that was read, and so at least as many bytes."""
    reads: _Columns | None
    """How the data's columns are read that it writes; None if it takes blocks as they are, else it takes `_Rows`."""
    types: list[str] | None
    """Of the prediction columns, if they have any: as the run has decided, or as the first predictions show."""

    def types_of(self, joined: Any) -> list[str] | None:
        """Return the types that a block's share shows; None if it has none."""

    def expect(self, predictions: _Predictions) -> None:
        """Take the types of predictions of which no row of the data is."""

    def joined(self, block: Any, rows: Array, predictions: _Predictions | None, names: list[str]) -> Any:
        """Return a block's share: its rows with their predictions, or none for a row that is not in `rows`.

        `predictions` are of `rows`, (n_rows,) or (n_rows, n_outputs); several threads call this at once.
        """

    def begin(self, output: Any, names: list[str]) -> int:
        """Begin the part, with these prediction columns; returns the bytes of its header so far."""

    def write(self, joined: Any) -> None:
        """Add a block's share."""

    def end(self, tally: _Tally) -> int:
        """End the part; returns how many bytes more its header has, now that it is known."""


class Header(NamedTuple):
    """The first record of an object."""

    raw: bytes
    """As it stands there, with a byte order mark and comments if there are such, without its line end; a mark alone, or nothing, if
    there is no header."""
    line_end: bytes
    """Empty if the object ends without one."""
    names: list[str]
    dialect: Dialect = COMMAS
    sampled_rows: int | None = None
    """The rows that were looked at for the names, if others may have other columns; None if all have these."""
    footer: _Footer | None = None
    """In its place, of Parquet."""

    @property
    def size(self) -> int:
        """Bytes up to the first data record."""
        return len(self.raw) + len(self.line_end) * self.dialect.header


class _Source(NamedTuple):
    s3_uri: str
    start: int
    """Byte of the object at which the chunk, or its share of this object, starts."""


class _Place(NamedTuple):
    source: _Source
    row: int
    """From 0, in the source."""
    byte: int
    """In the object."""

    def __str__(self) -> str:
        s3_uri, start = self.source
        if start == 0:
            return f"{s3_uri} row {self.row + 1} (byte {self.byte})"
        return f"{s3_uri} byte {self.byte} (row {self.row + 1} of the chunk that starts at byte {start})"


@dataclass
class _Tally:
    """What was read of a chunk, for its receipt."""

    blank_lines: bytes = b""
    """The blank lines after the last record so far, each with its line end."""
    rows: int = 0
    bytes: int = 0
    quotes: int = 0
    empty_groups: int = 0
    """Row groups without rows behind the last row so far."""


def _bytes_of_a_line(chunk: _Chunk) -> int:
    sample = b""
    for segment in chunk.segments:
        if len(sample) < HEADER_READ_BYTES:
            with segment.text() as file:
                sample += file.read(HEADER_READ_BYTES - len(sample))
    return len(sample) // max(sample.count(b"\n"), 1)


def _joined_small(blocks: Iterator[Any], block_bytes: int, join: Callable[[list[Any]], _Block]) -> Iterator[_Block]:
    """Join neighbouring blocks of text as far as they stay small."""
    waiting: list[Any] = []
    for block in blocks:
        if waiting and sum(one.input_bytes for one in waiting) + block.input_bytes > block_bytes:
            yield join(waiting) if len(waiting) > 1 else waiting[0]
            waiting = []
        waiting.append(block)
    if waiting:
        yield join(waiting) if len(waiting) > 1 else waiting[0]


def _read_first_block(
    client: S3Client, s3_uri: str, etag: str | None, block_of: Callable[..., _Block | None], advice: str
) -> _First:
    """Read the first rows of an object of text: 2 MB, or as much as the first record takes; `block_of` gets what was read."""
    size, share = BLOCK_BYTES, 1.0
    while size <= MAX_RECORD_BYTES * 4:
        try:
            beginning, found = _read(client, _Object(s3_uri, (0, size), etag))
            is_whole = len(beginning) == found.size
        except InputChangedError as error:
            if "InvalidRange" not in str(error.__cause__):
                raise
            beginning, is_whole = b"", True  # an object has a first byte unless it is empty
        if compression := compression_of(beginning):
            beginning, is_whole, share = _beginning_of_text(beginning, compression, s3_uri, size, is_whole=is_whole)
        if block := block_of(beginning, is_whole=is_whole):
            return _First(block, share)
        size *= 4
    raise InvalidDataError(f"{s3_uri} row 1 has more than {MAX_RECORD_BYTES} bytes", advice)


def _content_type(event: dict[str, Any]) -> str:
    """Return what S3 is told of the output."""
    written = _written_as(event)
    formats = {one.name: one.content_type for one in (_Csv, _JsonLines, _Parquet)}
    return CONTENT_TYPES.get(written.compression) or formats[written.format or _Csv.name]


def _format_of(event: dict[str, Any]) -> _Format:
    """Return the format of an event's data."""
    kind = _read_as(event)
    if kind == "parquet":
        return _Parquet()
    return _JsonLines() if kind == "jsonl" else _Csv(dialect_of(event.get("csv")))


# --- CSV ------------------------------------------------------------------------------------------------------------------------
# In: an open file, or an object's first bytes.
# Out: its header, and blocks of whole records, whose bytes are the input's own; predictions are printed behind them.
# Touches: nothing; one block of a file is in memory at a time.

csv.field_size_limit(max(csv.field_size_limit(), MAX_RECORD_BYTES))  # 131,072 characters otherwise
HEADER_READ_BYTES = 65_536
"""First ranged read for the header of a chunk that does not start at 0."""


@dataclass(frozen=True)
class _Csv(_Text):
    """RFC 4180 in a dialect: something between fields, quotes doubled in quoted ones, LF or CRLF."""

    dialect: Dialect = COMMAS
    name: ClassVar[str] = "csv"
    content_type: ClassVar[str] = "text/csv"

    @property
    def lacks_rows(self) -> str:
        return "has a header and no rows" if self.dialect.header else "has no rows"

    def has_header_elsewhere(self, segment: _Segment) -> bool:
        return bool(segment.source.start)

    def fetch_header(self, client: S3Client, segment: _Segment) -> None:
        segment.header, segment.etag = _remote_header(client, segment.source.s3_uri, segment.etag, self.dialect)

    def download(self, client: S3Client, segment: _Segment, file: _GrowingFile, check: Check) -> None:
        file.fill(client, _Object(segment.source.s3_uri, segment.byte_range, segment.etag), check)

    def header(self, segment: _Segment, *, may_be_all: bool) -> Header:
        return _local_header(segment, self, may_be_all=may_be_all)

    @contextmanager
    def open(self, segment: _Segment) -> Iterator[Any]:
        """Open a segment's text, to be read forward from its beginning: as it is, or in UTF-8."""
        with segment.text() as file:
            narrowed = _Narrowed(file, self.dialect.encoding, segment.source.s3_uri) if is_wide(self.dialect) else None
            yield narrowed or file
        segment.surplus += narrowed.surplus if narrowed else 0

    def joint_header(self, headers: Iterator[Header]) -> Header:
        first = next((header for header in headers if header.names), None)
        if first is None:
            raise InvalidDataError("all objects of the chunk are empty, as compressed files of nothing are", _NAME_ROWS)
        line_end = first.line_end or next((header.line_end for header in headers if header.line_end), b"\n")
        return first._replace(line_end=line_end)

    def require_alike(self, segment: _Segment, chunk: _Chunk) -> None:
        """Raise InvalidDataError if a segment's header is not the chunk's; byte order marks and quoting may differ."""
        header = chunk.header_of(segment)
        if header.names and header.names != chunk.header.names:  # a compressed file of nothing has none
            missing = set(chunk.header.names).difference(header.names)
            if mistake := mistaken_first_line(
                chunk.header.names, header.names, self.dialect
            ):  # its values are not to be shown as names
                raise InvalidDataError(f"{segment.source.s3_uri} {mistake.what}, unlike {chunk.s3_uri}", mistake.advice)
            repeated = list((Counter(header.names) - Counter(chunk.header.names)).keys() & set(chunk.header.names))
            if repeated and not missing:
                raise InvalidDataError(f"{segment.source.s3_uri} has {repeated_columns(repeated)}", REPEATED_ADVICE)
            what = f"has other columns than {chunk.s3_uri}: {difference(header.names, chunk.header.names)}"
            raise InvalidDataError(f"{segment.source.s3_uri} {what}", "make all objects alike")
        if header.line_end not in (b"", chunk.header.line_end):
            other = next(one.source.s3_uri for one in chunk.segments if chunk.header_of(one).line_end)
            ends = {b"\n": "LF", b"\r\n": "CRLF"}
            raise InvalidDataError(
                f"{segment.source.s3_uri} ends its lines in {ends[header.line_end]}, {other} in {ends[chunk.header.line_end]}",
                "use one kind of line end",
            )

    def first_header(self, chunk: _Chunk) -> Header:
        return chunk.header

    def row_bytes(self, chunk: _Chunk) -> int:
        return _bytes_of_a_line(chunk)

    def blocks(self, segment: _Segment, header: Header, block_bytes: int, tally: _Tally) -> Iterator[_Block]:
        own, start = segment.header, segment.source.start
        if is_wide(self.dialect) and not segment.is_whole_object():
            raise _only_whole(segment.source.s3_uri, "UTF-16")
        with self.open(segment) as file:
            if start == 0 and own:
                tally.bytes += own.size
                tally.quotes += own.raw.count(b'"')
                file.seek(own.size)
                start = own.size
            yield from _read_blocks(file, header, segment.source, start, block_bytes, tally)

    def joined_small(self, blocks: Iterator[Any], block_bytes: int) -> Iterator[_Block]:
        return _joined_small(blocks, block_bytes, _join_blocks)

    def may_be_cut(self, segment: _Segment) -> bool:
        """Count a segment's quotes: an odd number shows that one end lies in a quoted field."""
        quotes = 0
        with self.open(segment) as file:
            may_be_cut = not isinstance(file, (_Decompressed, _Narrowed))  # these are read whole
            while may_be_cut and (piece := file.read(1 << 20)):
                quotes += piece.count(b'"')
        return bool(quotes % 2)

    def first_block(self, client: S3Client, s3_uri: str, etag: str | None) -> _First:
        def block_of(beginning: bytes, *, is_whole: bool) -> _CsvBlock | None:
            if is_wide(self.dialect):
                file = _Narrowed(io.BytesIO(beginning), self.dialect.encoding, s3_uri, is_beginning=not is_whole)
                beginning = file.read(2 * len(beginning))
            return _first_block(beginning, s3_uri, of_text(self.dialect), is_whole=is_whole)

        first = _read_first_block(client, s3_uri, etag, block_of, _IS_A_QUOTE_MISSING)
        return first._replace(stored_share=2 * first.stored_share) if is_wide(self.dialect) else first  # but for some letters

    def writer(self, header: Header, kept: list[str] | None) -> _CsvWriter:
        return _CsvWriter(header, kept, self.dialect.encoding if is_wide(self.dialect) else None)


class _Narrowed:
    """The text of an open file of UTF-16, in UTF-8; read forward only."""

    def __init__(self, file: Any, codec: str, s3_uri: str, *, is_beginning: bool = False) -> None:
        self._file, self._codec, self._s3_uri, self._is_beginning = file, codec, s3_uri, is_beginning
        self._decoder = codecs.getincrementaldecoder(codec)()
        self._text = b""  # decoded, and not read yet
        self._bytes = self._stored = 0

    @property
    def surplus(self) -> int:
        """How many bytes more than the stored ones were read."""
        return self._bytes - self._stored

    def read(self, size: int) -> bytes:
        """Return so many bytes, fewer only at the end; InvalidDataError if the file is not UTF-16."""
        is_more = True
        while len(self._text) < size and is_more:
            stored = self._file.read(max(HEADER_READ_BYTES, 2 * (size - len(self._text))))
            is_more = bool(stored)
            if not self._stored:
                self._require_wide(stored)
            self._stored += len(stored)
            try:
                self._text += self._decoder.decode(stored, final=not (is_more or self._is_beginning)).encode()
            except UnicodeError as error:
                what = f"{self._s3_uri} holds what is not UTF-16, after {self._bytes + len(self._text)} bytes of its text in UTF-8"
                raise InvalidDataError(what, "write or upload it again") from error
        text, self._text = self._text[:size], self._text[size:]
        self._bytes += len(text)
        return text

    def _require_wide(self, beginning: bytes) -> None:
        """Raise if a file does not begin as UTF-16 does, whose delimiters and digits have a zero in them."""
        marks = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}
        if beginning[:2] in marks.values() and beginning[:2] != marks[self._codec]:
            other = next(codec for codec, mark in marks.items() if mark == beginning[:2])
            raise InvalidDataError(f"{self._s3_uri} is UTF-16 of the other byte order", f"say {other} in csv.encoding")
        if beginning and beginning[:2] != marks[self._codec] and b"\0" not in beginning:
            raise InvalidDataError(f"{self._s3_uri} is not UTF-16", "leave csv.encoding out, or say another one there")

    def seek(self, position: int) -> None:
        while self._bytes < position and self.read(min(position - self._bytes, BLOCK_BYTES)):
            pass


class _CsvWriter(_TextWriter):
    """Writes the records, or some of their fields, as they are, each with its predictions before the line end.

    Blank lines, which are no rows, stay as they are only if the records do.
    """

    def __init__(self, header: Header, kept: list[str] | None, wide_codec: str | None = None) -> None:
        self._header, self._wide_codec = header, wide_codec
        self.line_end = bytes(self._encoded(header.line_end))
        self.columns, self._keeps_records = header.names if kept is None else kept, kept is None
        self.keeps_all = self._keeps_records and not wide_codec  # else nobody counts how many bytes of it are to come
        chosen = set(self.columns)
        edges = np.flatnonzero(np.diff([False, *(name in chosen for name in header.names), False])).tolist()
        self._runs = list(zip(edges[::2], edges[1::2], strict=True))
        """Neighbouring fields that are kept: [first, stop) of each."""
        self._has_lines = False

    def joined(self, block: Any, rows: Array, predictions: _Predictions | None, names: list[str]) -> Any:
        block = block if self._keeps_records else _selected(block, self._runs)
        return self._encoded(_append_predictions(block, rows, predictions, len(names)))

    def _encoded(self, text: Any) -> Any:
        """Return UTF-8 as it is written."""
        return str(text, "utf-8").encode(self._wide_codec) if self._wide_codec else text

    def begin(self, output: Any, names: list[str]) -> int:
        self._output = output
        header, dialect = self._header, self._header.dialect
        if not dialect.header:
            return int(output.write(self._encoded(header.raw)))
        mark = codecs.BOM_UTF8 if header.raw.startswith(codecs.BOM_UTF8) else b""
        raw = header.raw.removeprefix(mark)
        if not self._keeps_records:
            comments = skipped_lines(dialect).match(raw) if dialect.comment else None
            raw = raw[comments.end() :] if comments else raw
            offsets = np.array([0, len(header.line_end) + len(raw)], np.int32)
            block = _CsvBlock(header, header.line_end + raw + header.line_end, offsets, b'"' in raw, ())
            raw = _selected(block, self._runs).record(0)
        first, *others = (_after(name, dialect) for name in names)
        if not self._runs:
            raw, first = b"", first[1:]
            if dialect.comment and first.startswith(dialect.comment.encode()):
                first = b'"%b"' % first
        return int(output.write(self._encoded(b"".join([mark, raw, first, *others]))))

    def write(self, joined: memoryview) -> None:
        # A block begins with the line end before its first record, which is that of the header.
        is_first = not (self._has_lines or self._header.dialect.header)
        self._output.write(joined[len(self.line_end) :] if is_first else joined)
        self._has_lines = True

    def end(self, tally: _Tally) -> int:
        is_named = self._header.dialect.header
        blank_lines = self._encoded(tally.blank_lines if self._keeps_records else b"")
        self._output.write((self.line_end if is_named or self._has_lines else b"") + blank_lines)
        return len(self.line_end) * is_named


@dataclass(frozen=True, slots=True)
class _CsvBlock:
    """Some whole records of a chunk.

    `data` is the records' bytes after one line end, so that element i of the offsets, `data[offsets[i]:offsets[i + 1]]`, is a line
    end and record i without its own: joined with predictions, elements are the output. Blank lines, which are no rows, stand
    between that line end and the record, and so come out as they went in.
    """

    header: Header
    data: bytes
    offsets: np.ndarray[Any, np.dtype[np.int32]]
    """n_rows + 1 positions."""
    has_quotes: bool
    origins: tuple[tuple[int, _Place], ...]
    """Rows of the block (from 0) at which another object begins, the first one first, and where these stand there."""
    has_blank_lines: bool = False
    copied: tuple[list[str], memoryview] | None = None
    """Some columns' names, and CSV of them alone."""
    has_fields: bool = True
    """False if the output has none of the data's columns: of the records, only their line ends are there."""

    @property
    def rows(self) -> int:
        return len(self.offsets) - 1

    @property
    def input_bytes(self) -> int:
        return int(self.offsets[-1] - self.offsets[0])

    def at(self, row: int) -> _Place:
        first, place = self.origins[bisect_right(self.origins, row, key=lambda origin: origin[0]) - 1]
        byte = place.byte + int(self.offsets[row] - self.offsets[first]) + (self._blank_bytes(row) if self.has_blank_lines else 0)
        return _Place(place.source, place.row + row - first, byte)

    def _blank_bytes(self, row: int) -> int:
        """Return how many bytes of blank lines, and comments, stand before a record."""
        start = int(self.offsets[row]) + len(self.header.line_end)
        stop = int(self.offsets[row + 1]) if row < self.rows else len(self.data)
        skipped = skipped_lines(self.header.dialect).match(self.data, start, stop)
        return skipped.end() - start if skipped else 0

    def elements(self) -> memoryview:
        """Return all records with their line ends, and the blank lines before each."""
        edge = len(self.header.line_end)
        return memoryview(self.data)[int(self.offsets[0]) + edge : int(self.offsets[-1]) + edge]

    def part(self, start: int, stop: int) -> _CsvBlock:
        _, place = self.origins[0]
        first = place._replace(row=place.row + start, byte=place.byte + int(self.offsets[start] - self.offsets[0]))
        return replace(self, offsets=self.offsets[start : stop + 1], origins=((0, first),))

    def again(self, wanted: int) -> Iterator[_CsvBlock]:
        records = bytes(self.part(0, min(self.rows, wanted)).elements())
        records *= max(1, min(wanted // self.rows, BLOCK_BYTES // len(records)))
        return _read_blocks(io.BytesIO(records), self.header, self.at(0).source, 0, BLOCK_BYTES)

    def features(self, columns: _Columns, reject: Reject) -> _Features:
        numbers, copied = _read_numbers(self, columns)
        if numbers and len(numbers.names) == len(columns.names):
            return _Features(numbers.table, numbers.matrix, numbers.exact)
        read = numbers.table() if numbers else pa.table({})
        known = set(read.column_names)
        others = [name for name in columns.names if name not in known]
        table = _parse_others(copied, columns, others)
        parsed = {name: _as_kind(self, columns, name, table[name], reject) for name in others}
        table = pa.table([parsed[name] if name in parsed else read[name] for name in columns.names], names=columns.names)
        return _Features(lambda: table, exact=numbers.exact if numbers else frozenset())

    def texts(self, names: Sequence[str]) -> pa.Table:
        """Return some columns as texts; InvalidDataError names the row that cannot be parsed."""
        try:
            return _parse_columns(self, names)
        except pa.ArrowInvalid as error:  # whose own words repeat the row
            raise _unreadable(self) from error

    def kinds(self, names: Sequence[str]) -> dict[str, str]:
        texts = self.texts(names)
        return {name: kind_of(_with_points(texts[name], self.header.dialect.decimal)) for name in names}

    def records(self) -> bytes | memoryview:
        """Return all records with their line ends, without blank lines."""
        if self.has_blank_lines:
            return b"".join(self.record(row) + self.header.line_end for row in range(self.rows))
        return self.elements()

    def record(self, row: int) -> bytes:
        start = int(self.offsets[row]) + len(self.header.line_end)
        return self.data[start + (self._blank_bytes(row) if self.has_blank_lines else 0) : int(self.offsets[row + 1])]


_NAME_ROWS = 'name data that has rows; if that is no failure, set on_no_rows to "succeed"'
_IS_A_QUOTE_MISSING = "look for a quote that is missing"


def _local_header(segment: _Segment, source: _Csv, *, may_be_all: bool = False) -> Header:
    """Read an object's header; `may_be_all` accepts one without a line end, and so without rows."""
    s3_uri, dialect = segment.source.s3_uri, of_text(source.dialect)
    with source.open(segment) as file:
        beginning = b""
        while fresh := file.read(max(HEADER_READ_BYTES, len(beginning))):
            beginning += fresh
            header = _read_header(beginning, s3_uri, dialect)
            if header:
                return header
            if len(beginning) > MAX_RECORD_BYTES:
                break
    if not beginning:
        with segment.data.open("rb") as file:
            is_compressed = bool(file.read(1))
        if is_compressed and may_be_all:
            return Header(b"", b"", [])
        raise InvalidDataError(f"{s3_uri} is empty", _needs_rows(dialect))
    # Only a header without a line end; let the header's own problems speak first.
    header = _read_header(beginning + b"\n", s3_uri, dialect)
    if header and (may_be_all or not dialect.header) and len(beginning) <= MAX_RECORD_BYTES:
        return header._replace(line_end=b"")
    if header:
        raise InvalidDataError(f"{s3_uri} has a header and no rows", _NAME_ROWS)
    raise _endless(beginning, s3_uri, dialect)


def _remote_header(client: S3Client, s3_uri: str, etag: str | None, dialect: Dialect) -> tuple[Header, str]:
    """Read the header of an object whose later bytes are scored, by ranged reads of its beginning; returns its ETag, too."""
    size = HEADER_READ_BYTES
    while size <= MAX_RECORD_BYTES * 2:
        beginning, found = _read(client, _Object(s3_uri, (0, size), etag))
        if compression := "UTF-16" if is_wide(dialect) else compression_of(beginning):
            raise _only_whole(s3_uri, compression)
        header = _read_header(beginning, s3_uri, dialect)
        if header:
            return header, str(found.etag)
        size, etag = size * 4, found.etag
    raise _endless(beginning, s3_uri, dialect)


def _first_block(beginning: bytes, s3_uri: str, dialect: Dialect = COMMAS, *, is_whole: bool) -> _CsvBlock | None:
    """Return the rows in an object's first bytes, which are none if the whole object has none; None if not one row ends there."""
    if is_whole and not beginning:
        raise InvalidDataError(f"{s3_uri} is empty", _needs_rows(dialect))
    header = _read_header(beginning + b"\n" if is_whole else beginning, s3_uri, dialect)  # a header alone may lack its line end
    if header is None and is_whole:
        raise _endless(beginning, s3_uri, dialect)
    if header is None:
        return None
    records, source = beginning[header.size :], _Source(s3_uri, 0)
    if not is_whole:  # leave the cut record out: the last one ends at the last line feed behind an even number of quotes
        octets = np.frombuffer(records, np.uint8)
        feeds, quotes = (np.flatnonzero(octets == ord(octet)) for octet in '\n"')
        ends = feeds[np.searchsorted(quotes, feeds) % 2 == 0]
        records = records[: ends[-1] + 1 if len(ends) else 0]
    if block := next(_read_blocks(io.BytesIO(records), header, source, header.size, len(records) + 1), None):
        return block
    origins = ((0, _Place(source, 0, header.size)),)
    no_rows = _CsvBlock(header, header.line_end, np.zeros(1, np.int32), False, origins, has_blank_lines=bool(records))
    return no_rows if is_whole else None


def _endless(beginning: bytes, s3_uri: str, dialect: Dialect) -> InvalidDataError:
    if dialect.comment and skipped_lines(dialect).fullmatch(beginning + b"\n"):
        return InvalidDataError(f"{s3_uri} has comments and nothing else", _needs_rows(dialect))
    return InvalidDataError(f"{s3_uri} has no end to its {'header' if dialect.header else 'first row'}", _IS_A_QUOTE_MISSING)


def _needs_rows(dialect: Dialect) -> str:
    return f"it needs {'a header and ' * dialect.header}at least one row"


def _read_header(beginning: bytes, s3_uri: str, dialect: Dialect = COMMAS) -> Header | None:
    """Split the header off an object's first bytes; None when its record does not end there."""
    bom = len(codecs.BOM_UTF8) if dialect.encoding == "utf-8" and beginning.startswith(codecs.BOM_UTF8) else 0
    skipped = skipped_lines(dialect).match(beginning, bom) if dialect.comment and dialect.header else None
    first = skipped.end() if skipped and skipped.end() > bom else 0
    end, before = first - 1, 0
    while True:
        start, end = end + 1, beginning.find(b"\n", end + 1)
        before += beginning.count(b'"', start, max(end, start))  # a quoted name may hold as many line feeds as it likes
        if end < 0 or before % 2 == 0:
            break
    if foreign := foreign_to_csv(beginning[: end if end >= 0 else HEADER_READ_BYTES]):
        raise InvalidDataError(f"{s3_uri} is not CSV but {foreign.what}", foreign.advice)
    if end < 0:
        return None
    line_end = b"\r\n" if beginning[:end].endswith(b"\r") else b"\n"
    raw = beginning[: end + 1 - len(line_end)]
    if dialect.column_names:
        return Header(beginning[:bom], line_end, list(dialect.column_names), dialect)
    if mistake := header_mistake(raw[first:], dialect):
        raise InvalidDataError(f"{s3_uri} {mistake.what}", mistake.advice)
    text = raw[first:].decode("utf-8-sig" if dialect.encoding == "utf-8" else dialect.encoding)
    return Header(raw, line_end, _names_in(text, dialect.delimiter), dialect)


@functools.lru_cache(maxsize=4)
def _names_in(header: str, delimiter: str) -> list[str]:
    """Return a header's names. Equal headers share one list: thousands of objects may have thousands of columns each."""
    return next(csv.reader(io.StringIO(header, newline=""), delimiter=delimiter, strict=True), [""])


@functools.lru_cache(maxsize=4)
def _may_stand_beside_quotes(delimiter: str) -> Array:
    """Tell by octet what may stand before an opening or after a closing quote."""
    return np.isin(np.arange(256), list(f'{delimiter}\n"'.encode()))


def _quote_problem(octets: Array, quotes: Array, delimiter: str) -> int | None:
    """Return the position of the first quote that RFC 4180 does not allow there; `octets` start and end with a line end."""
    opening, closing = quotes[0::2], quotes[1::2]
    may_stand_beside = _may_stand_beside_quotes(delimiter)
    # A doubled quote looks like a closing one followed at once by an opening one.
    bad_opening = opening[~may_stand_beside[octets[opening - 1]]]
    after = octets[closing + 1]
    returns = (after == ord("\r")) & (octets[np.minimum(closing + 2, len(octets) - 1)] == ord("\n"))
    bad_closing = closing[~(may_stand_beside[after] | returns)]
    bad = np.concatenate([bad_opening, bad_closing])
    return int(bad.min()) if len(bad) else None


def _bare_return(octets: Array, quotes: Array, line_end: bytes) -> int | None:
    """Return the position of the first carriage return outside quotes that is not part of a CRLF line end."""
    returns = np.flatnonzero(octets == ord("\r"))
    outside = returns[np.searchsorted(quotes, returns) % 2 == 0]
    if line_end == b"\r\n":
        outside = outside[octets[np.minimum(outside + 1, len(octets) - 1)] != ord("\n")]
    return int(outside[0]) if len(outside) else None


def _positions(data: bytes, octet: int) -> Array:
    """Find an octet; without the kernel in C in steps whose masks stay in the processor's cache."""
    if (library := _beside("number_kernel")) and (known := library.find(data, octet)) is not None:
        return np.asarray(known)
    octets, step = np.frombuffer(data, np.uint8), 1 << 18
    found = [np.flatnonzero(octets[start : start + step] == octet) + start for start in range(0, len(octets), step)]
    return np.concatenate(found)


def _read_blocks(
    file: IO[bytes] | _GrowingFile, header: Header, source: _Source, first_byte: int, block_bytes: int, tally: _Tally | None = None
) -> Iterator[_CsvBlock]:
    """Cut the rest of an open file into blocks of whole records; the tally keeps the blank lines after the last one."""
    line_end = header.line_end
    tally = tally or _Tally()
    rest, tally.blank_lines = tally.blank_lines, b""  # of the object before
    tally.bytes -= len(rest)
    row, byte = 0, first_byte - len(rest)
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
        feeds = _positions(data, ord("\n"))
        quotes = _positions(data, ord('"')) if has_quotes else feeds[:0]
        if has_quotes:
            feeds = feeds[np.searchsorted(quotes, feeds) % 2 == 0]
        edges = (feeds - (len(line_end) - 1)).astype(np.int32)
        if at_end and len(quotes) % 2:
            row += max(len(edges) - 1, 0)
            advice = "look for a single quote, also in comments" if header.dialect.comment else None
            raise InvalidDataError(f"{_Place(source, row, byte + int(edges[-1]))}: a quoted field that is never closed", advice)
        is_row = _are_rows(data, octets, edges, header)
        offsets = edges if is_row.all() else np.concatenate([edges[:1], edges[1:][is_row]])
        block = _CsvBlock(
            header, data, offsets, has_quotes, ((0, _Place(source, row, byte)),), has_blank_lines=offsets is not edges
        )
        if block.rows or at_end:
            _check_block(block, edges, quotes, is_row)
        if block.rows:
            yield block
            row += block.rows
            byte += int(offsets[-1])
            rest = data[int(offsets[-1]) + len(line_end) :]
            tally.rows += block.rows
            tally.quotes += int(np.searchsorted(quotes, offsets[-1]))
            tally.bytes += int(offsets[-1])
        else:
            rest += fresh
        if at_end:
            tally.blank_lines = data[int(offsets[-1]) + len(line_end) :]
            tally.bytes += len(tally.blank_lines) - added
            return
        if len(rest) > MAX_RECORD_BYTES:
            raise InvalidDataError(
                f"{_Place(source, row, byte)}: a record of more than {MAX_RECORD_BYTES} bytes", _IS_A_QUOTE_MISSING
            )


def _are_rows(data: bytes, octets: Array, edges: Array, header: Header) -> Array:
    """Tell which records are rows, not blank lines or comments; `edges` are the positions of the line ends around them."""
    edge, comment = len(header.line_end), header.dialect.comment
    is_row = np.diff(edges) > edge
    firsts = octets.take(edges[:-1] + edge)  # of an empty record, its line end
    may_be_blank = (firsts == ord(" ")) | (firsts == ord("\t"))
    if comment:
        is_row &= firsts != ord(comment)
    blank = skipped_line(header.dialect._replace(comment=None))
    for record in np.flatnonzero(may_be_blank & is_row):
        is_row[record] = not blank.fullmatch(data, int(edges[record]) + edge, int(edges[record + 1]))
    return is_row


def _join_blocks(blocks: list[_CsvBlock]) -> _CsvBlock:
    header = blocks[0].header
    rows = np.cumsum([0, *(block.rows for block in blocks)]).tolist()
    starts = np.cumsum([0, *(block.offsets[-1] for block in blocks)]).tolist()
    shifted = [block.offsets[:-1] + start for block, start in zip(blocks, starts, strict=False)]
    return _CsvBlock(
        header,
        b"".join([header.line_end, *(block.elements() for block in blocks)]),
        np.concatenate([*shifted, starts[-1:]]).astype(np.int32),
        any(block.has_quotes for block in blocks),
        tuple((row + first, place) for block, row in zip(blocks, rows, strict=False) for first, place in block.origins),
        any(block.has_blank_lines for block in blocks),
    )


def _check_block(block: _CsvBlock, edges: Array, quotes: Array, is_row: Array) -> None:
    """Raise InvalidDataError if the bytes are not RFC 4180, of one encoding and one kind of line end; `edges` are all line ends."""
    dialect = block.header.dialect
    edge, end = len(block.header.line_end), int(edges[-1])
    octets = np.frombuffer(block.data, np.uint8)[: end + edge]

    def fail(position: int, reason: str, advice: str | None = None) -> None:
        row = int(np.searchsorted(block.offsets, position - edge, side="right")) - 1
        raise InvalidDataError(f"{block.at(max(min(row, block.rows - 1), 0))}: {reason}", advice)

    if block.has_quotes:
        quotes = quotes[: np.searchsorted(quotes, end)]
        if dialect.comment:
            quoted_feeds = np.setdiff1d(np.flatnonzero(octets[:end] == ord("\n")), edges + edge - 1)
            if len(spread := quoted_feeds[~is_row[np.searchsorted(edges, quoted_feeds) - 1]]):
                fail(int(spread[0]), "a comment with a single quote in it", "take quotes out of comments, or write them in pairs")
            quotes = quotes[is_row[np.searchsorted(edges, quotes) - 1]]
        problem = _quote_problem(octets, quotes, dialect.delimiter)
        if problem is not None:
            advice = _NO_ESCAPES if octets[problem - 1] == ord("\\") else None
            fail(problem, "a quote inside a field that is not quoted, or text after a closing quote", advice)
    if edge == 2:
        wrong = np.flatnonzero(octets[edges] != ord("\r"))
        if len(wrong):
            fail(int(edges[wrong[0]]), "ends in LF, the header in CRLF", "use one kind of line end")
    if b"\r" in block.data:
        bare = _bare_return(octets, quotes, block.header.line_end)
        if bare is not None:
            fail(bare, "a carriage return outside quotes that does not belong to the file's line ends")
    foreign = _utf8_problem(block.data, end) if dialect.encoding == "utf-8" else _undefined(octets, dialect.encoding)
    if foreign is not None:
        fail(foreign, f"bytes that are not {dialect.encoding.upper()}", encoding_advice(block.data[:end], dialect))


_NO_ESCAPES = "write what is quoted with doubled quotes: a backslash escapes nothing here (Redshift: ADDQUOTES or CSV, not ESCAPE)"


def _undefined(octets: Array, codec: str) -> int | None:
    """Return the position of the first octet that an encoding of one octet a character does not have."""
    undefined = undefined_octets(codec)
    places = np.flatnonzero(np.isin(octets, list(undefined or b"")))
    return int(places[0]) if len(places) else None


def _utf8_problem(data: bytes, end: int) -> int | None:
    """Return the position of the first bytes before `end` that are not UTF-8."""
    if np.frombuffer(data, np.uint8).max(initial=0) < 128:  # a third of the time that bytes.isascii takes
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


def _read_numbers(block: _CsvBlock, columns: _Columns) -> tuple[Any, _CsvBlock]:
    """Let the kernel in C read plain numbers; also returns the block, with a copy of the other columns if there are such.

    None in place of the numbers means that pyarrow has to read all: no kernel is there, or it does not take the block.
    """
    names = [name for name in columns.names if name in columns.plain and name not in columns.known]
    while names and not block.has_blank_lines and (library := _beside("number_kernel")):
        left = columns.kinds.keys() - names
        others = [name for name in block.header.names if name in left] if left else []
        edge, dialect = len(block.header.line_end), block.header.dialect
        numbers = library.read(
            block.data, block.offsets, edge, block.header.names, names, others, dialect.delimiter, dialect.decimal
        )
        if numbers is None:
            break
        if not numbers.declined:
            return numbers, replace(block, copied=(others, numbers.copied)) if others else block
        names = [name for name in names if name not in numbers.declined]
    return None, block


def _parse_others(block: _CsvBlock, columns: _Columns, names: list[str]) -> pa.Table:
    """Parse columns by pyarrow: plain numbers as float64, or as text if one is spelled as pyarrow does not take it."""
    are_plain = len(columns.plain) == len(columns.names)
    # Plain numbers first as if only empty fields were missing values, which saves a sixth of the time.
    for missing_values in (("",), MISSING_VALUES) if are_plain else (MISSING_VALUES,):
        with suppress(pa.ArrowInvalid):
            table = _parse_columns(block, names, columns.plain, missing_values)
            break
    else:
        table = block.texts(names)
    return _with_known_texts(block, columns, table) if columns.known else table


def _parse_columns(
    block: _CsvBlock, columns: Sequence[str], numbers: Collection[str] = (), missing_values: Sequence[str] = MISSING_VALUES
) -> pa.Table:
    """Parse some columns of a block, `numbers` as float64 and the others as text; missing values are null.

    Raises pyarrow.ArrowInvalid when a number is not one in pyarrow's spelling, or a row has too many or too few fields.
    """
    names, records = block.copied or (block.header.names, block.records())
    dialect = block.header.dialect
    if dialect.encoding != "utf-8":
        records = str(records, dialect.encoding).encode()
    if records[:3] == codecs.BOM_UTF8:  # pyarrow drops one at the start of whatever it reads
        records = codecs.BOM_UTF8 + bytes(records)
    table = pacsv.read_csv(
        pa.BufferReader(pa.py_buffer(records)),
        read_options=pacsv.ReadOptions(use_threads=False, column_names=names, block_size=len(records) + 1),
        parse_options=pacsv.ParseOptions(
            delimiter=dialect.delimiter, newlines_in_values=block.has_quotes, ignore_empty_lines=False
        ),
        convert_options=pacsv.ConvertOptions(
            include_columns=list(columns),
            column_types={column: pa.float64() if column in numbers else pa.string() for column in columns},
            null_values=list(missing_values),
            strings_can_be_null=True,
            decimal_point=dialect.decimal,
        ),
    )
    if table.num_rows != block.rows:
        raise pa.ArrowInvalid("row count")
    return table


def _unreadable(block: _CsvBlock) -> InvalidDataError:
    """Say why a block cannot be read: which row has too few or too many fields."""
    expected, dialect = len(block.header.names), block.header.dialect
    mark = "comma" if dialect.delimiter == "," else "delimiter"
    for row in range(block.rows):
        record = block.record(row).decode(dialect.encoding)
        fields = next(csv.reader(io.StringIO(record, newline=""), delimiter=dialect.delimiter, strict=True), [""])
        if len(fields) != expected:
            advice = "correct that row or, if the file ends there, copy the file again: it may have been cut off"
            if len(fields) > expected:
                advice = f"quote the values that hold {mark}s, or correct that row"
            if f"\\{dialect.delimiter}" in record or record.endswith("\\"):
                advice = _NO_ESCAPES
            if len(fields) == expected + 1 and not fields[-1]:
                advice = f"take away the {mark} at the end of the lines, or end the header with one, too"
            where = "the header has" if dialect.header else "csv.column_names has"
            return InvalidDataError(f"{block.at(row)} has {len(fields)} field(s), {where} {expected}", advice)
    return InvalidDataError(f"{block.at(0)} and the {block.rows - 1} rows after it cannot be read as CSV")


def _with_known_texts(block: _CsvBlock, columns: _Columns, table: pa.Table) -> pa.Table:
    """Parse again, and keep categories of the model as values although they are spelled like missing values."""
    names = [name for name in columns.names if columns.known.get(name)]
    whole = _parse_columns(block, names, missing_values=())
    read = dict(zip(table.column_names, table.columns, strict=True))
    for name in names:
        missing = pa.array([spelling for spelling in MISSING_VALUES if spelling not in columns.known[name]])
        read[name] = pc.if_else(pc.is_in(whole[name], missing), pa.scalar(None, pa.string()), whole[name])
    return pa.table(read)


def _format_column(values: Array | _Labels, dialect: Dialect) -> pa.Array:
    """Print predictions, each after a delimiter: floats in the shortest form that reads back, text quoted if it must be."""
    if isinstance(values, _Labels):
        return pc.take(_format_column(values.classes, dialect), pa.array(values.places))
    if values.dtype.kind == "f":
        values = values.astype(np.float64, copy=False)
        if not np.isfinite(values).all() or dialect != COMMAS:
            mark = dialect.delimiter.encode()
            texts = [orjson.dumps(v) if np.isfinite(v) else str(v).encode() for v in values.tolist()]
            return pa.array([mark + text.replace(b".", dialect.decimal.encode()) for text in texts], pa.binary())
    if values.dtype.kind not in "fiu":
        labels, inverse = np.unique(_printed(values), return_inverse=True)
        return pc.take(pa.array([_after(label, dialect) for label in labels.tolist()], pa.binary()), pa.array(inverse))
    if not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
    text = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY).replace(b"[", b",", 1)
    offsets = np.append(_positions(text, ord(",")), len(text) - 1).astype(np.int32)
    text = text.replace(b",", dialect.delimiter.encode())
    return pa.Array.from_buffers(pa.binary(), len(values), [None, pa.py_buffer(offsets), pa.py_buffer(text)])


def _require_utf8(text: str) -> None:
    if not text.isascii() and not _is_text(text):
        raise ModelError("the model predicts half a surrogate pair, a text that UTF-8 cannot hold", "change its classes")


def _after(text: str, dialect: Dialect) -> bytes:
    """Return a text as it stands in a record after another field, quoted if it must be."""
    _require_utf8(text)
    if dialect.delimiter in text or re.search(r'["\r\n]', text):
        text = f'"{text.replace(chr(34), chr(34) * 2)}"'
    if not is_in_encoding(text, dialect):
        what = f"the model predicts a text that {dialect.encoding.upper()}, the encoding of the data, cannot hold"
        raise ModelError(what, "convert the data to UTF-8, or change the model's classes")
    return f"{dialect.delimiter}{text}".encode(dialect.encoding)


def _selected(block: _CsvBlock, runs: list[tuple[int, int]]) -> _CsvBlock:
    """Return a block of some of the fields, [first, stop) each, as they stand there, and without blank lines."""
    data, offsets, edge, fields = block.data, block.offsets, len(block.header.line_end), len(block.header.names)
    if block.has_blank_lines:
        records = [block.header.line_end + block.record(row) for row in range(block.rows)]
        data, offsets = b"".join(records), np.cumsum([0, *map(len, records)]).astype(np.int32)
    library, delimiter = _beside("field_kernel"), block.header.dialect.delimiter
    known = library.select(data, offsets, edge, fields, runs, ord(delimiter)) if library else None
    data, offsets = known or _select_fields(data, offsets, edge, fields, runs, ord(delimiter)) or (b"", offsets)
    if not data:
        raise _unreadable(block)
    return _uncommented(replace(block, data=data, offsets=offsets, has_blank_lines=False, has_fields=bool(runs)))


def _uncommented(block: _CsvBlock) -> _CsvBlock:
    """Quote the first field of records that would be comments, as another field stood before it in the data."""
    dialect, edge = block.header.dialect, len(block.header.line_end)
    if not dialect.comment or not block.has_fields:
        return block
    octets, firsts = np.frombuffer(block.data, np.uint8), block.offsets[:-1] + edge
    found = np.flatnonzero(firsts < block.offsets[1:])
    found = found[octets[firsts[found]] == ord(dialect.comment)]
    if not len(found):
        return block
    records = [block.data[start:stop] for start, stop in pairwise(block.offsets.tolist())]
    for row in found.tolist():
        first, delimiter, others = records[row][edge:].partition(dialect.delimiter.encode())
        records[row] = b'%b"%b"%b%b' % (records[row][:edge], first, delimiter, others)
    return replace(block, data=b"".join(records), offsets=np.cumsum([0, *map(len, records)]).astype(np.int32), has_quotes=True)


def _select_fields(
    data: bytes, offsets: Array, edge: int, fields: int, runs: list[tuple[int, int]], delimiter: int
) -> tuple[bytes, np.ndarray[Any, np.dtype[np.int32]]] | None:
    """Do what field_kernel.py does, without the kernel in C."""
    octets, places = np.frombuffer(data, np.uint8), _positions(data, delimiter)
    if b'"' in data:
        places = places[np.searchsorted(_positions(data, ord('"')), places) % 2 == 0]
    edges = np.searchsorted(places, offsets)
    if (np.diff(edges) != fields - 1).any():
        return None
    inner = places[edges[0] : edges[-1]].reshape(len(offsets) - 1, fields - 1)
    around = np.column_stack([offsets[:-1] + edge - 1, inner, offsets[1:]])  # the bytes before and behind each field
    starts = np.column_stack([offsets[:-1], *(around[:, first] + (index == 0) for index, (first, _) in enumerate(runs))])
    stops = np.column_stack([offsets[:-1] + edge, *(around[:, stop] for _, stop in runs)])
    lengths = (stops - starts).ravel()
    ends = lengths.cumsum()
    selected = octets[np.repeat(starts.ravel() + lengths - ends, lengths) + np.arange(lengths.sum())]
    return selected.tobytes(), np.append(0, ends[len(runs) :: len(runs) + 1]).astype(np.int32)


def _append_predictions(block: _CsvBlock, rows: Array, predictions: _Predictions | None, n_outputs: int) -> memoryview:
    """Join each record with its printed predictions, or empty ones if it is not in `rows`; line ends stand before the records."""
    library, dialect = _beside("number_kernel"), block.header.dialect
    is_whole = len(rows) == block.rows and block.has_fields
    if library and isinstance(predictions, np.ndarray) and predictions.dtype.kind == "f" and is_whole:
        numbers = predictions.astype(np.float64, order="C", copy=False)
        if (known := library.join_numbers(block.data, block.offsets, numbers, dialect.delimiter, dialect.decimal)) is not None:
            return memoryview(known)
    if predictions is None:
        columns = [pa.array([dialect.delimiter.encode()] * block.rows, pa.binary())] * n_outputs
    else:
        columns = [_format_column(values, dialect) for values in _columns_of(predictions)]
        if len(rows) < block.rows:
            columns = [_spread(column, rows, block) for column in columns]
    if block.has_fields:
        columns.insert(0, pa.Array.from_buffers(pa.binary(), block.rows, [None, *map(pa.py_buffer, (block.offsets, block.data))]))
    else:
        if n_outputs == 1:  # a line without anything would be no row
            columns = [pc.replace_substring_regex(columns[0], _NOTHING, rb'\1"\2"')]
        begun = f"{dialect.delimiter}{dialect.comment}".encode()
        if dialect.comment and pc.any(pc.starts_with(columns[0], begun)).as_py():
            texts = [b'%b"%b"' % (text[:1], text[1:]) if text.startswith(begun) else text for text in columns[0].to_pylist()]
            columns[0] = pa.array(texts, pa.binary())
        columns[0] = pc.binary_replace_slice(columns[0], 0, 1, block.header.line_end)
    return _joined_texts(columns)


def _joined_texts(columns: list[pa.Array]) -> memoryview:
    """Join binary columns without nulls, row by row."""
    if (library := _beside("number_kernel")) and (known := library.join(columns)) is not None:
        return memoryview(known)
    joined = pc.binary_join_element_wise(*columns, pa.scalar(b"", pa.binary()))
    _, offsets, data = joined.buffers()
    edges = np.frombuffer(offsets, np.int32)[joined.offset : joined.offset + len(joined) + 1]
    return memoryview(data)[int(edges[0]) : int(edges[-1])]


_NOTHING = rb"(?s)\A(.)([ \t]*)\z"
"""A prediction, after a delimiter, that `pandas.read_csv` would not see in a line of its own."""


def _spread(column: pa.Array, rows: Array, block: _CsvBlock) -> pa.Array:
    """Put printed predictions at their rows, and an empty prediction at all others."""
    places = np.full(block.rows, -1, np.int64)
    places[rows] = np.arange(len(rows))
    return pc.fill_null(pc.take(column, pa.array(places, mask=places < 0)), block.header.dialect.delimiter.encode())


# --- JSON Lines -----------------------------------------------------------------------------------------------------------------
# In: an open file, or an object's first bytes.
# Out: blocks of lines, their features, and the lines with predictions before their closing braces.
# Touches: nothing; one block of a file is in memory at a time.

_ON_ONE_LINE = "write each object on a line of its own, as JSON Lines is"


class _JsonLines(_Text):
    """A JSON object on each line, with any keys in any order, in UTF-8; what Python's json reads is read alike."""

    name: ClassVar[str] = "jsonl"
    content_type: ClassVar[str] = "application/jsonl"
    lacks_rows = "has no rows"

    def has_header_elsewhere(self, segment: _Segment) -> bool:  # noqa: ARG002  # a line shows its columns itself
        return False

    def fetch_header(self, client: S3Client, segment: _Segment) -> None:
        """Never called: no segment has its header elsewhere."""

    def download(self, client: S3Client, segment: _Segment, file: _GrowingFile, check: Check) -> None:
        file.fill(client, _Object(segment.source.s3_uri, segment.byte_range, segment.etag), check)

    def header(self, segment: _Segment, *, may_be_all: bool) -> Header:  # noqa: ARG002  # an object without rows has no header
        with segment.text() as file:
            beginning = file.read(HEADER_READ_BYTES)
        return _json_header(beginning if segment.source.start == 0 else b"", segment.source.s3_uri)

    def joint_header(self, headers: Iterator[Header]) -> Header:
        return next(headers)

    def require_alike(self, segment: _Segment, chunk: _Chunk) -> None:
        """Lines may differ, whatever object they stand in."""

    def first_header(self, chunk: _Chunk) -> Header:
        block = next(chunk.blocks(BLOCK_BYTES), None)
        return _with_keys(block).header if isinstance(block, _LineBlock) else chunk.header

    def row_bytes(self, chunk: _Chunk) -> int:
        return _bytes_of_a_line(chunk)

    def blocks(self, segment: _Segment, header: Header, block_bytes: int, tally: _Tally) -> Iterator[_Block]:
        start = segment.source.start
        with segment.text() as file:
            if start == 0 and segment.header:
                start = len(segment.header.raw)
                tally.bytes += start
                file.seek(start)
            yield from _read_lines(file, header, segment.source, start, block_bytes, tally)

    def joined_small(self, blocks: Iterator[Any], block_bytes: int) -> Iterator[_Block]:
        return _joined_small(blocks, block_bytes, _join_lines)

    def may_be_cut(self, segment: _Segment) -> bool:  # noqa: ARG002  # a line feed ends a row, wherever it stands
        return False

    def first_block(self, client: S3Client, s3_uri: str, etag: str | None) -> _First:
        return _read_first_block(client, s3_uri, etag, functools.partial(_first_lines, s3_uri=s3_uri), _ON_ONE_LINE)

    def writer(self, header: Header, kept: list[str] | None) -> _Writer:  # noqa: ARG002  # each line has its own
        return _JsonLinesWriter() if kept is None else _JsonLinesOfFields(kept)


def _json_header(beginning: bytes, s3_uri: str) -> Header:
    """Return what stands before the first line: a byte order mark, or nothing; refuse what is no JSON Lines at first sight."""
    if foreign := foreign_format(beginning):
        raise InvalidDataError(f"{s3_uri} is not JSON Lines but {foreign.what}", foreign.advice.replace("CSV", "JSON Lines"))
    raw = codecs.BOM_UTF8 if beginning.startswith(codecs.BOM_UTF8) else b""
    if beginning[len(raw) :].lstrip()[:1] == b"[":
        raise InvalidDataError(f"{s3_uri} is not JSON Lines but begins with a JSON array", _ON_ONE_LINE)
    return Header(raw, b"\n", [], sampled_rows=0)


def _first_lines(beginning: bytes, s3_uri: str, *, is_whole: bool) -> _LineBlock | None:
    """Return the rows in an object's first bytes, which are none if the whole object has none; None if not one row ends there."""
    header = _json_header(beginning, s3_uri)
    source, start = _Source(s3_uri, 0), len(header.raw)
    lines = beginning[start:] if is_whole else beginning[start : beginning.rfind(b"\n") + 1]
    if block := next(_read_lines(io.BytesIO(lines), header, source, start, len(lines) + 1, _Tally()), None):
        return _with_keys(block)
    origins = ((0, _Place(source, 0, start)),)
    return _LineBlock(header, b"", np.zeros(1, np.int32), origins, has_blank_lines=bool(lines)) if is_whole else None


def _with_keys(block: _LineBlock) -> _LineBlock:
    """Give a block's header the columns that its rows have."""
    names: dict[str, Any] = {}
    for row in range(block.rows):
        line = block.line(row)
        try:
            found = orjson.loads(line)  # a third of the time
            names.update(found if isinstance(found, dict) else {})
        except orjson.JSONDecodeError:
            with suppress(_NotAnObjectError):
                names.update(_object_in(line))
    return replace(block, header=block.header._replace(names=list(names), sampled_rows=block.rows))


def _read_lines(
    file: IO[bytes] | _GrowingFile, header: Header, source: _Source, first_byte: int, block_bytes: int, tally: _Tally
) -> Iterator[_LineBlock]:
    """Cut the rest of an open file into blocks of whole lines; the tally keeps blank lines that no row stands before."""
    rest, tally.blank_lines = tally.blank_lines, b""  # of the object before
    tally.bytes -= len(rest)
    row, byte = 0, first_byte - len(rest)
    while True:
        wanted = max(block_bytes, len(rest))  # doubles while one line is longer than a block
        fresh = file.read(wanted)
        data, at_end = rest + fresh, len(fresh) < wanted
        added = int(at_end and data[-1:] not in (b"", b"\n"))  # the last line need not have an end
        data += b"\n" * added
        feeds = _positions(data, ord("\n")) if data else np.zeros(0, np.int32)
        starts = np.concatenate([[0], feeds + 1]).astype(np.int32)
        firsts = starts[:-1][_are_filled(data, starts)]
        rest = data
        if len(firsts):
            lines = np.concatenate([[0], firsts[1:], starts[-1:]]).astype(np.int32)
            has_blank_lines = len(firsts) < len(starts) - 1
            block = _LineBlock(header, data, lines, ((0, _Place(source, row, byte)),), has_blank_lines)
            yield block
            row += block.rows
            byte += int(lines[-1])
            rest = data[int(lines[-1]) :]
            tally.rows += block.rows
            tally.bytes += int(lines[-1]) - added
            added = 0
        if at_end:
            tally.blank_lines = rest
            tally.bytes += len(rest) - added
            return
        if len(rest) > MAX_RECORD_BYTES:
            raise InvalidDataError(f"{_Place(source, row, byte)}: a line of more than {MAX_RECORD_BYTES} bytes", _ON_ONE_LINE)


def _are_filled(data: bytes, starts: Array) -> Array:
    """Tell which lines are rows, that is, not only white space."""
    octets = np.frombuffer(data, np.uint8)
    are = octets.take(starts[:-1]) > ord(" ") if len(starts) > 1 else np.zeros(0, bool)
    for line in np.flatnonzero(~are):
        are[line] = bool(data[starts[line] : starts[line + 1]].strip(_JSON_SPACE))
    return are


_JSON_SPACE = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class _LineBlock:
    """Some whole lines of a chunk, each with the blank lines after it, which are no rows; the first one with those before it."""

    header: Header
    data: bytes
    lines: np.ndarray[Any, np.dtype[np.int32]]
    """n_rows + 1 positions."""
    origins: tuple[tuple[int, _Place], ...]
    """As a `_CsvBlock` has them."""
    has_blank_lines: bool = False

    @property
    def rows(self) -> int:
        return len(self.lines) - 1

    @property
    def input_bytes(self) -> int:
        return int(self.lines[-1] - self.lines[0])

    def at(self, row: int) -> _Place:
        first, place = self.origins[bisect_right(self.origins, row, key=lambda origin: origin[0]) - 1]
        text = self.data[self.lines[row] : self.lines[row + 1]]
        blank_bytes = text.rfind(b"\n", 0, len(text) - len(text.lstrip(_JSON_SPACE))) + 1
        byte = place.byte + int(self.lines[row] - self.lines[first]) + blank_bytes
        return _Place(place.source, place.row + row - first, byte)

    def line(self, row: int) -> bytes:
        return self.data[self.lines[row] : self.lines[row + 1]].strip(_JSON_SPACE)

    def elements(self) -> memoryview:
        """Return all lines as they are."""
        return memoryview(self.data)[int(self.lines[0]) : int(self.lines[-1])]

    def part(self, start: int, stop: int) -> _LineBlock:
        _, place = self.origins[0]
        first = place._replace(row=place.row + start, byte=place.byte + int(self.lines[start] - self.lines[0]))
        return replace(self, lines=self.lines[start : stop + 1], origins=((0, first),))

    def again(self, wanted: int) -> Iterator[_LineBlock]:
        lines = bytes(self.part(0, min(self.rows, wanted)).elements())
        lines *= max(1, min(wanted // self.rows, BLOCK_BYTES // len(lines)))
        return _read_lines(io.BytesIO(lines), self.header, self.at(0).source, 0, BLOCK_BYTES, _Tally())

    def features(self, columns: _Columns, reject: Reject) -> _Features:
        numbers = [name for name in columns.names if name in columns.plain]
        others = [name for name in columns.names if name not in columns.plain]
        matrix, exact, values, bad = self._read(numbers, others, reject)
        if not others:
            return _Features(lambda: _number_table(numbers, matrix), None if any(bad.values()) else matrix, exact)
        parsed = dict(zip(numbers, _number_table(numbers, matrix).columns, strict=True))
        for name, column in zip(others, values, strict=True):
            found = "" if columns.kinds[name] == TEXT else _kind_of_values(column, bad[name]) or columns.kinds[name]
            parsed[name] = _as_kind(self, columns, name, pa.chunked_array([_texts_of(column)]), reject, found)
        table = pa.table([parsed[name] for name in columns.names], names=columns.names)
        return _Features(lambda: table, exact=exact)

    def fields(self, names: Sequence[str]) -> list[pa.Array]:
        """Return some columns as their values are spelled, whatever these are; null for a key that a line lacks."""
        library = _beside("json_kernel")
        read = library.read(self.data, self.lines, [], names) if library else None
        values = read.values if read else [pa.nulls(self.rows, pa.binary())] * len(names)
        declined = range(self.rows)
        if read and _utf8_problem(self.data, int(self.lines[-1])) is None:
            declined = read.declined.tolist()
        if not declined:
            return list(values)
        spelled = {row: _spelled_in(self.line(row), frozenset(names)) for row in declined}
        columns = [column.to_pylist() for column in values]
        for name, column in zip(names, columns, strict=True):
            for row, found in spelled.items():
                column[row] = found.get(name)
        return [pa.array(column, pa.binary()) for column in columns]

    def texts(self, names: Sequence[str]) -> pa.Table:
        """Return some columns as texts; a number as it stands in its line."""
        _, _, values, _ = self._read([], names, lambda *_: None)
        return pa.table([_texts_of(column) for column in values], names=list(names))

    def kinds(self, names: Sequence[str]) -> dict[str, str]:
        _, _, values, bad = self._read([], names, lambda *_: None)
        found = {name: _kind_of_values(column, bad[name]) for name, column in zip(names, values, strict=True)}
        return {name: kind for name, kind in found.items() if kind is not None}

    def _read(
        self, numbers: Sequence[str], others: Sequence[str], reject: Reject
    ) -> tuple[Array, frozenset[str], list[pa.Array], dict[str, set[int]]]:
        """Read columns as numbers, and others as their values' JSON, null for a missing one; bad rows go to `reject`.

        Returns the numbers, by columns; the columns of them that have none beyond 2^53; the others; and each one's unreadable rows.
        """
        library = _beside("json_kernel")
        read = library.read(self.data, self.lines, numbers, others) if library else None
        matrix, is_large, values, _, declined = read or (
            np.full((self.rows, len(numbers)), np.nan, order="F"),
            np.zeros(len(numbers), bool),
            [pa.nulls(self.rows, pa.binary())] * len(others),
            np.zeros(0, bool),
            np.arange(self.rows),
        )
        if _utf8_problem(self.data, int(self.lines[-1])) is not None:
            declined = np.arange(self.rows)  # each line is decoded by itself
        bad: dict[str, set[int]] = {name: set() for name in (*numbers, *others)}
        if len(declined):
            self._read_declined(declined, numbers, others, (matrix, is_large, values), bad, reject)
        matrix.flags.writeable = False
        return matrix, frozenset(name for name, large in zip(numbers, is_large.tolist(), strict=True) if not large), values, bad

    def _read_declined(
        self,
        rows: Array,
        numbers: Sequence[str],
        others: Sequence[str],
        read: tuple[Array, Array, list[pa.Array]],
        bad: dict[str, set[int]],
        reject: Reject,
    ) -> None:
        """Read lines by Python's json, and put their values into what was read of the others."""
        wanted = frozenset([*numbers, *others])
        found: list[dict[str, bytes | None]] = []
        for row in rows.tolist():
            try:
                line, faults = _values_in(self.line(row), wanted)
            except _NotAnObjectError as error:
                line, faults = {}, dict.fromkeys(wanted, error.reason)
                reject(row, error.reason)
            found.append(line)
            for name, reason in faults.items():
                bad[name].add(row)
                reject(row, reason)
        matrix, is_large, values = read

        for place, name in enumerate(numbers):

            def reject_declined(place: int, reason: _Reason, name: str = name) -> None:
                bad[name].add(int(rows[place]))
                reject(int(rows[place]), reason)

            texts = _texts_of(pa.array([line.get(name) for line in found], pa.binary()))
            column = _to_numbers(name, pa.chunked_array([texts]), reject_declined, COMMAS).to_numpy(zero_copy_only=False)
            matrix[rows, place] = column
            is_large[place] |= bool((np.abs(column) >= 2**53).any())
        for place, name in enumerate(others):
            column = values[place].to_pylist()
            for row, line in zip(rows.tolist(), found, strict=True):
                column[row] = line.get(name)
            values[place] = pa.array(column, pa.binary())


def _join_lines(blocks: list[_LineBlock]) -> _LineBlock:
    rows = np.cumsum([0, *(block.rows for block in blocks)]).tolist()
    starts = np.cumsum([0, *(block.input_bytes for block in blocks)]).tolist()
    shifted = [block.lines[:-1] - block.lines[0] + start for block, start in zip(blocks, starts, strict=False)]
    return _LineBlock(
        blocks[0].header,
        b"".join(block.elements() for block in blocks),
        np.concatenate([*shifted, starts[-1:]]).astype(np.int32),
        tuple((row + first, place) for block, row in zip(blocks, rows, strict=False) for first, place in block.origins),
        any(block.has_blank_lines for block in blocks),
    )


def _number_table(names: Sequence[str], matrix: Array) -> pa.Table:
    return pa.table([pa.array(matrix[:, place], from_pandas=True) for place in range(len(names))], names=list(names))


class _NotAnObjectError(Exception):
    """A line is not an object that can be read."""

    def __init__(self, what: str, counted: str | None = None, advice: str | None = None) -> None:
        advice = advice or f"correct the line, {_OR_KEEP_ASIDE}"
        self.reason = _Reason(what, what, counted or what, advice=advice)
        super().__init__(what)


class _Number(str):
    """A number as it stands in its line."""

    __slots__ = ()


_DECODER = json.JSONDecoder(object_pairs_hook=tuple, parse_int=_Number, parse_float=_Number, parse_constant=_Number)


def _object_in(line: bytes) -> tuple[tuple[str, Any], ...]:
    """Return an object's keys and values; its numbers are texts, and the objects in it are tuples, too."""
    try:
        found = _DECODER.decode(line.decode())
    except UnicodeDecodeError as error:
        raise _NotAnObjectError("bytes that are not UTF-8", advice=f"save the file as UTF-8, {_OR_KEEP_ASIDE}") from error
    except json.JSONDecodeError as error:
        what = f"the line is not JSON: {error.msg.partition(': ')[0]}"  # what follows may be a value
        advice = "correct the line or, if the file ends there, copy the file again (it may have been cut off)"
        raise _NotAnObjectError(f"{what} (at its character {error.pos + 1})", what, f"{advice}, {_OR_KEEP_ASIDE}") from error
    except RecursionError as error:
        raise _NotAnObjectError("the line is nested too deeply") from error
    if not isinstance(found, tuple):
        raise _NotAnObjectError("the line is JSON, but no object")
    return found


def _values_in(line: bytes, wanted: frozenset[str]) -> tuple[dict[str, bytes | None], dict[str, _Reason]]:
    """Return the values of the wanted columns as JSON, None for null and NaN, as pandas has it; and why some have none."""
    values: dict[str, bytes | None] = {}
    faults: dict[str, _Reason] = {}
    for key, value in _object_in(line):
        if key not in wanted:
            continue
        fault = None
        if key in values:
            fault = "is there twice"
        elif isinstance(value, (tuple, list)):
            fault = f"holds {'an array' if isinstance(value, list) else 'an object'}, not one value"
        elif isinstance(value, _Number):
            values[key] = None if value == "NaN" else value.encode()
        elif isinstance(value, str) and value and not _is_text(value):
            fault = "holds half a surrogate pair, a text that UTF-8 cannot hold"
        else:
            values[key] = None if value is None else orjson.dumps(value)
        if fault:
            values[key] = None
            faults.setdefault(key, _NotAnObjectError(f"column {key!r} {fault}").reason)
    return values, faults


def _spelled_in(line: bytes, wanted: frozenset[str]) -> dict[str, bytes]:
    """Return the values of the wanted columns as they stand in a line, of a repeated key the last one; none if it is no object."""
    found: dict[str, bytes] = {}
    with suppress(_NotAnObjectError):
        _object_in(line)
        text = line.decode()
        place = _JSON_GAP.match(text, 1).end()  # type: ignore[union-attr]  # it matches nothing, too
        while text[place] != "}":
            key, place = _DECODER.raw_decode(text, place)
            place = _JSON_GAP.match(text, place).end()  # type: ignore[union-attr]
            _, stop = _DECODER.raw_decode(text, place)
            if key in wanted:
                found[key] = text[place:stop].encode()
            place = _JSON_GAP.match(text, stop).end()  # type: ignore[union-attr]
    return found


_JSON_GAP = re.compile(r"[ \t\r\n]*[:,]?[ \t\r\n]*")


def _texts_of(values: pa.Array) -> pa.Array:
    """Return values in JSON as texts: strings as what they say, all others as they are written."""
    if pc.all(pc.equal(pc.binary_slice(values, 0, 1), b'"')).as_py() and not pc.any(pc.match_substring(values, "\\")).as_py():
        return pc.binary_slice(values, 1, -1).cast(pa.string())
    encoded = values.dictionary_encode()
    texts = [orjson.loads(value) if value[:1] == b'"' else value.decode() for value in encoded.dictionary.to_pylist()]
    return pc.take(pa.array(texts, pa.string()), encoded.indices)


def _kind_of_values(values: pa.Array, bad: set[int]) -> str | None:
    """Return the kind that `pandas.read_json` without conversions would make of a column of these values, but of the bad rows.

    None if there are no others.
    """
    if len(bad) == len(values):
        return None
    if bad:
        values = values.take(np.delete(np.arange(len(values)), list(bad)))
    firsts = set(pc.unique(pc.binary_slice(values, 0, 1)).to_pylist())
    has_missing = None in firsts
    firsts.discard(None)
    if not firsts:
        return EMPTY
    if firsts <= {b"t", b"f"}:
        return OPTIONAL_BOOLEAN if has_missing else BOOLEAN
    if firsts & {b'"', b"t", b"f"}:
        return TEXT
    return NUMBER if has_missing or not _match(values, _INTEGERS) else INTEGER


class _JsonLinesWriter(_TextWriter):
    """Writes the lines as they are, each with its predictions before the closing brace.

    A byte order mark, which JSON does not have, is left out: it would stand in the middle of a joined output.
    """

    keeps_all = True

    def __init__(self) -> None:
        self.columns: list[str] = []  # each line names its own

    def joined(self, block: Any, rows: Array, predictions: _Predictions | None, names: list[str]) -> memoryview:
        """Return the lines; one that is not in `rows` gets null if it is an object, and stays as it is if not."""
        _require_new_keys(block, names)
        octets = np.frombuffer(block.data, np.uint8)
        braces = _before_spaces(octets, block.lines[1:])
        lacks = np.ones(block.rows + 1, bool)
        lacks[rows] = False  # the last element is what follows the last brace
        kept = [row for row in np.flatnonzero(lacks[:-1]).tolist() if not _is_object(block.line(row))] + [block.rows]
        offsets = np.concatenate([block.lines[:1], braces, block.lines[-1:]]).astype(np.int32)
        columns = [pa.Array.from_buffers(pa.binary(), len(lacks), [None, pa.py_buffer(offsets), pa.py_buffer(block.data)])]
        outputs = [None] * len(names) if predictions is None else _columns_of(predictions)
        places = np.zeros(len(lacks), np.int64)
        places[rows] = np.arange(len(rows))
        before = np.append(octets[_before_spaces(octets, braces)] == ord("{"), False).astype(np.int64)
        before[kept] = 2
        for name, values in zip(names, outputs, strict=True):
            printed = pa.nulls(1, pa.binary()) if values is None else _json_column(values)
            printed = pc.fill_null(pc.take(printed, pa.array(places, mask=lacks)), b"null")
            printed = pc.if_else(pa.array(before == 2), b"", printed)
            key = orjson.dumps(name) + b":"
            columns += [pc.take(pa.array([b"," + key, key, b""], pa.binary()), pa.array(before)), printed]
            before[before == 1] = 0  # after the first prediction, no object is empty
        return _joined_texts(columns)

    def end(self, tally: _Tally) -> int:
        self._output.write(tally.blank_lines)
        return 0


class _JsonLinesOfFields(_TextWriter):
    """Writes some of the lines' values, as they are spelled, and the predictions; null for a key that a line lacks."""

    def __init__(self, kept: list[str]) -> None:
        self.columns = kept

    def joined(self, block: Any, rows: Array, predictions: _Predictions | None, names: list[str]) -> memoryview:
        return _json_objects(dict(zip(self.columns, block.fields(self.columns), strict=True)), block.rows, rows, predictions, names)


def _before_spaces(octets: Array, stops: Array) -> Array:
    """Return where the last octet before each position is that is not white space."""
    places = stops.astype(np.intp) - 1
    spaces = np.arange(len(places))
    while len(spaces := spaces[np.isin(octets[places[spaces]], np.frombuffer(_JSON_SPACE, np.uint8))]):
        places[spaces] -= 1
    return places


def _is_object(line: bytes) -> bool:
    try:
        _object_in(line)
    except _NotAnObjectError:
        return False
    return True


_NAMES_AT_ONCE = 16
"""Predictions' names that are looked for in one pass: each takes room for a block's lines."""


def _require_new_keys(block: _LineBlock, names: list[str]) -> None:
    """Raise InvalidRequestError if a line has a key that is called like a prediction: readers would take either for it."""
    start, stop = int(block.lines[0]), int(block.lines[-1])
    beginning = orjson.dumps(names[0] if len(names) == 1 else os.path.commonprefix(names))  # noqa: RUF071  # they are no paths
    beginning, last = beginning[1:-1], beginning[-1:] if len(names) == 1 else b""
    found, position = [], block.data.find(beginning, start, stop)  # quotes are frequent, and would make it slower
    while position >= 0:
        if block.data[position - 1 : position] == b'"' and block.data.startswith(last, position + len(beginning)):
            found.append(position)
        position = block.data.find(beginning, position + 1, stop)
    rows = np.searchsorted(block.lines, found, side="right") - 1
    if block.data.find(b"\\", start, stop) >= 0:  # a key may be spelled with escapes
        library = _beside("json_kernel")
        for first in range(0, len(names), _NAMES_AT_ONCE):
            read = library.read(block.data, block.lines, [], names[first : first + _NAMES_AT_ONCE]) if library else None
            some = [read.declined, np.flatnonzero(read.has_key.any(axis=0))] if read else [np.arange(block.rows)]
            rows = np.concatenate([rows, *some])
    taken = frozenset(names)
    for row in np.unique(rows.astype(np.intp)).tolist():
        with suppress(_NotAnObjectError):
            if present := [key for key, _ in _object_in(block.line(row)) if key in taken]:
                what = f"{block.at(row)} has {shown_names(present)} already"
                raise InvalidRequestError(what, "choose another prediction_column_name")


def _json_column(values: Array | _Labels) -> pa.Array:
    """Print predictions as JSON; null for what is not finite, as pandas and orjson do, because JSON has no other word for it."""
    if isinstance(values, _Labels):
        return pc.take(_json_column(values.classes), pa.array(values.places))
    if values.dtype.kind not in "fiub":
        labels, inverse = np.unique([_json_label(value) for value in _labels(values)], return_inverse=True)
        return pc.take(pa.array([label.encode() for label in labels.tolist()], pa.binary()), pa.array(inverse))
    values = values.astype(np.float64 if values.dtype.kind == "f" else values.dtype.newbyteorder("="), copy=False)
    text = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    data = text[1:-1].replace(b",", b"")
    offsets = np.concatenate([[0], _positions(text, ord(",")) - np.arange(1, len(values)), [len(data)]]).astype(np.int32)
    return pa.Array.from_buffers(pa.binary(), len(values), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def _labels(values: Array) -> list[Any]:
    return _printed(values) if values.dtype.kind in "Mm" else list(values.tolist())


def _json_label(value: Any) -> str:
    """Print a label: a number, a truth or a text as such, null if it is missing, and anything else as its text."""
    if isinstance(value, (bool, int, float, np.bool_, np.number)) or _is_missing(value):
        plain = value.item() if isinstance(value, np.generic) else value
        is_known = isinstance(plain, (bool, int)) or (isinstance(plain, float) and math.isfinite(plain))
        return json.dumps(plain) if is_known else "null"
    _require_utf8(text := str(value))
    return orjson.dumps(text).decode()


# --- Parquet --------------------------------------------------------------------------------------------------------------------
# In: objects whose footers say where the pages of each column lie.
# Out: blocks of the feature columns, of whose pages alone any are read; a part is Parquet of the prediction columns alone.
# Touches: S3, and the chunk's directory.

PARQUET_MAGIC, ENCRYPTED_MAGIC = b"PAR1", b"PARE"
FOOTER_READ_BYTES = 2**16
"""First read from an object's end: most footers are whole in it."""
MAX_FOOTER_BYTES = 2**28
"""As for what the workflow writes; Arrow takes many times as much memory for it."""
PAGES_READ_BYTES, PAGES_GAP_BYTES = 2**23, 2**13
"""The most bytes of one request for pages, and what is read along where the next ones are as close."""
PAGES_PADDING_BYTES = 100
"""Arrow reads so much more of columns that were written before 2014 (PARQUET-816)."""
COLUMN_BUFFER_BYTES = 2**16
"""What Arrow holds of each column's pages before they are decompressed."""
MIN_BLOCK_ROWS, MAX_BLOCK_ROWS = 1024, 2**16
MAX_GROUP_ROWS = 2**26
"""The most rows that Arrow writes into a row group."""
MAX_WAITING_ROWS = 2**22
"""Predictions that wait in memory for the end of their row group: 32 MB of numbers."""
_WRITE_ANEW = "write the file anew"


def _parquet() -> Any:
    """Import what other formats do without."""
    import pyarrow.parquet  # noqa: PLC0415

    return pyarrow.parquet


@dataclass(frozen=True)
class _Parquet:
    """Files whose columns lie in pages of their own, row group by row group."""

    chosen: Future[list[str]] = field(default_factory=Future)
    """The columns that are read: known with the model."""
    name: ClassVar[str] = "parquet"
    content_type: ClassVar[str] = "application/vnd.apache.parquet"
    lacks_rows: ClassVar[str] = "has no rows"
    range_name: ClassVar[str] = "row_groups"
    place_name: ClassVar[str] = "row_group"
    is_read_by_header: ClassVar[bool] = True

    def choose(self, names: list[str]) -> None:
        if not self.chosen.done():
            self.chosen.set_result(names)

    def has_header_elsewhere(self, segment: _Segment) -> bool:
        return isinstance(segment.data, _GrowingFile)

    def fetch_header(self, client: S3Client, segment: _Segment) -> None:
        footer, segment.etag = _fetch_footer(client, segment.source.s3_uri, segment.etag)
        segment.header = Header(b"", b"\n", footer.schema.names, footer=footer)
        groups = footer.metadata.num_row_groups
        if segment.stop is None:
            segment.stop = groups
        if segment.stop > groups:
            what = f"{segment.source.s3_uri} has {groups} row group(s), and row_groups names {segment.byte_range}"
            raise InvalidRequestError(what, "name row groups that it has, from 0")

    def header(self, segment: _Segment, *, may_be_all: bool) -> Header:  # noqa: ARG002
        """Read the footer of a local file."""
        assert isinstance(segment.data, Path)
        with segment.data.open("rb") as file:

            def read(start: int, stop: int) -> bytes:
                file.seek(start)
                return file.read(stop - start)

            footer = _footer_of(segment.source.s3_uri, segment.data.stat().st_size, read)
        segment.stop = footer.metadata.num_row_groups
        return Header(b"", b"\n", footer.schema.names, footer=footer)

    def joint_header(self, headers: Iterator[Header]) -> Header:
        first, *others = headers
        return first._replace(footer=replace(_footer_in(first), others=tuple(map(_footer_in, others))))

    def require_alike(self, segment: _Segment, chunk: _Chunk) -> None:
        """Raise InvalidDataError if the pages of a segment's columns mean anything else than those of the chunk's first one."""
        first, own = (_page_columns(header) for header in (chunk.header, chunk.header_of(segment)))
        for expected, found in zip_longest(first, own, fillvalue="no column"):
            if expected != found:
                what = f"{segment.source.s3_uri} has {found} where {chunk.s3_uri} has {expected}"
                raise InvalidDataError(f"the objects have different schemas: {what}", "give objects of one schema")

    def first_header(self, chunk: _Chunk) -> Header:
        return chunk.header

    def row_bytes(self, chunk: _Chunk) -> int:  # noqa: ARG002
        return 8 * len(self.chosen.result())

    def may_be_cut(self, segment: _Segment) -> bool:  # noqa: ARG002
        return False

    def download(self, client: S3Client, segment: _Segment, file: _GrowingFile, check: Check) -> None:
        file.fill_by(lambda: self._download(client, segment, file, check))

    def _download(self, client: S3Client, segment: _Segment, file: _GrowingFile, check: Check) -> int:
        """Fetch the pages, several requests at once; they lie in the file as they are read."""
        footer, path = _footer_in(segment.header), file.path
        spans = footer.spans(segment, self.chosen.result())
        check({"ContentLength": sum(stop - start for start, stop in spans)})
        path.touch()

        def fetch(place: int, start: int, stop: int) -> int:
            if file.is_wanted:
                wanted = _Object(segment.source.s3_uri, (start, stop), segment.etag)
                with path.open("r+b", buffering=0) as opened:
                    _fetch(client, wanted, _Share(opened, place))  # type: ignore[arg-type]
            return stop - start

        pieces = [
            (place + cut - start, cut, min(cut + PAGES_READ_BYTES, stop))
            for place, (start, stop) in zip(_places(spans), spans, strict=True)
            for cut in range(start, stop, PAGES_READ_BYTES)
        ]
        running = [self._pool.submit(fetch, *piece) for piece in pieces]
        try:
            for one in running:
                file.advance(one.result())
        finally:
            for one in running:
                one.cancel()
            wait(running)
        return footer.object_bytes

    @functools.cached_property
    def _pool(self) -> ThreadPoolExecutor:
        """For the pages of all segments together."""
        return ThreadPoolExecutor(DOWNLOADS_AT_ONCE, "pages")

    def blocks(self, segment: _Segment, header: Header, block_bytes: int, tally: _Tally) -> Iterator[_Block]:
        footer, names = _footer_in(segment.header), self.chosen.result()
        if isinstance(segment.data, Path):
            with segment.data.open("rb") as whole:
                yield from _read_row_groups(whole, segment, footer, names, header, block_bytes, tally)
            return
        growing, spans = segment.data, footer.spans(segment, names)
        starts, places = [start for start, _ in spans], _places(spans)
        growing.wait_for(1)
        with growing.path.open("rb", buffering=0) as file:

            def read(position: int, size: int) -> bytes:
                span = bisect_right(starts, position) - 1
                if span < 0 or position + size > spans[span][1]:
                    raise InternalError(f"bytes [{position}, {position + size}) of a Parquet file were not fetched")
                place = places[span] + position - starts[span]
                growing.wait_for(place + size)
                return os.pread(file.fileno(), size, place)

            yield from _read_row_groups(_Pages(footer.object_bytes, read), segment, footer, names, header, block_bytes, tally)

    def joined_small(self, blocks: Iterator[Any], block_bytes: int) -> Iterator[_Block]:
        waiting: list[_ParquetBlock] = []
        for block in blocks:
            if waiting and sum(one.memory_bytes for one in (*waiting, block)) > block_bytes:
                yield _join_row_blocks(waiting)
                waiting = []
            waiting.append(block)
        if waiting:
            yield _join_row_blocks(waiting)

    def first_block(self, client: S3Client, s3_uri: str, etag: str | None) -> _First:
        """Read the first rows: the beginnings of pages at once, and what more Arrow asks for one by one."""
        names = self.chosen.result()
        footer, etag = _fetch_footer(client, s3_uri, etag)
        header = Header(b"", b"\n", footer.schema.names, footer=footer)
        groups = (group for group, rows in enumerate(footer.group_rows) if rows)
        first = next(groups, footer.metadata.num_row_groups)
        segment = _Segment(_Source(s3_uri, first), min(first + 1, footer.metadata.num_row_groups), etag, Path(), header)
        spans = footer.pages(segment, names)

        def fetch(start: int, stop: int) -> bytes:
            return _read(client, _Object(s3_uri, (start, stop), etag))[0]

        most = max(COLUMN_BUFFER_BYTES, BLOCK_BYTES * 2 // max(1, len(spans)))
        begun = dict(zip(spans, self._pool.map(lambda span: fetch(span[0], min(span[0] + most, span[1])), spans), strict=True))

        def read(position: int, size: int) -> bytes:
            for (start, _), content in begun.items():
                if start <= position and position + size <= start + len(content):
                    return content[position - start : position - start + size]
            return fetch(position, position + size)

        pages = _Pages(footer.object_bytes, read)
        blocks = _read_row_groups(pages, segment, footer, names, header, BLOCK_BYTES, _Tally())
        no_rows = _ParquetBlock(header, footer.schema.empty_table(), 0, ((0, _GroupPlace(segment.source, 0, 0), (0,)),), ())
        return _First(next(blocks, no_rows))

    def writer(self, header: Header, kept: list[str] | None) -> _ParquetWriter:
        return _ParquetWriter(header, kept)


@dataclass(frozen=True)
class _Footer:
    """What stands at the end of a Parquet file."""

    metadata: Any
    """A pyarrow.parquet.FileMetaData."""
    object_bytes: int
    start: int
    """The byte at which it starts."""
    schema: pa.Schema
    """With Arrow's own types, where an Arrow library has written them down."""
    others: tuple[_Footer, ...] = ()
    """Those of a chunk's further objects."""

    @functools.cached_property
    def types(self) -> dict[str, Any]:
        return dict(zip(self.schema.names, self.schema.types, strict=True))

    @functools.cached_property
    def group_rows(self) -> list[int]:
        """The rows of each row group."""
        return [self.metadata.row_group(group).num_rows for group in range(self.metadata.num_row_groups)]

    @functools.cached_property
    def _leaves(self) -> dict[str, int]:
        """The place of each column among those that have pages; a nested one has several, and is not read."""
        sizes = [_leaves_in(kind) for kind in self.schema.types]
        return dict(zip(self.schema.names, accumulate(sizes, initial=0), strict=False))

    def leaves(self, names: Iterable[str]) -> list[int]:
        """Return the places of columns, each once, as far as there are such."""
        return sorted({self._leaves[name] for name in names if name in self._leaves})

    @functools.cached_property
    def _pandas(self) -> dict[str, Any]:
        """What pandas has written down of its columns, by name."""
        try:
            columns = json.loads((self.schema.metadata or {})[b"pandas"])["columns"]
            return {column["field_name"]: column for column in columns if column["field_name"] is not None}
        except (KeyError, TypeError, ValueError):
            return {}

    def pandas_metadata(self, names: Iterable[str]) -> dict[bytes, bytes]:
        """Return what pyarrow is to know of columns to make of them what pandas has written."""
        columns = [self._pandas[name] for name in names if name in self._pandas]
        return {b"pandas": json.dumps({"columns": columns, "index_columns": [], "column_indexes": []}).encode()}

    def kind_of(self, name: str, *, is_number: bool) -> str:
        """Return the kind that a column has for all rows, empty if nulls decide; `is_number` if the model takes it for numbers."""
        kind = self.types[name]
        is_whole = pa.types.is_integer(kind) or pa.types.is_boolean(kind)
        is_floating, is_text = pa.types.is_floating(kind), _is_text_type(kind)
        if is_number and (
            is_whole or is_floating or pa.types.is_decimal(kind) or is_text or pa.types.is_null(kind) or _is_category(kind)
        ):
            return NUMBER
        if (is_whole or is_floating) and not _is_numpys(self._pandas.get(name, {}).get("numpy_type", "object")):
            return TYPED  # Int64, boolean and their like have missing values of their own
        if is_whole:
            return ""
        return NUMBER if is_floating else TEXT if is_text else TYPED

    def kinds(self, names: Iterable[str]) -> dict[str, str]:
        """Return the kinds of integers and booleans by all rows, as far as the writers have counted nulls."""
        found = {}
        for name in names:
            nulls = [count for footer in (self, *self.others) for count in footer.null_counts(name)]
            if any(nulls) or None not in nulls:
                found[name] = _kind_with_nulls(self.types[name], has_nulls=any(nulls))
        return found

    def null_counts(self, name: str) -> Iterator[int | None]:
        """Return how many nulls each row group has of a column; None if its writer does not say."""
        leaf = self._leaves[name]
        if self.metadata.schema.column(leaf).max_definition_level == 0:
            return
        for group, rows in enumerate(self.group_rows):
            statistics = self.metadata.row_group(group).column(leaf).statistics if rows else None
            if rows:
                yield statistics.null_count if statistics and statistics.has_null_count else None

    def pages(self, segment: _Segment, names: Iterable[str]) -> list[tuple[int, int]]:
        """Return where the pages of columns lie in a segment's row groups, in ascending order."""
        leaves = self.leaves(names)
        return sorted(
            _pages_of(self, segment.source.s3_uri, self.metadata.row_group(group).column(leaf))
            for group in range(segment.source.start, segment.stop or 0)
            if self.group_rows[group]
            for leaf in leaves
        )

    def spans(self, segment: _Segment, names: Iterable[str]) -> list[tuple[int, int]]:
        """Return what is fetched for these pages: close ones are one span."""
        spans: list[tuple[int, int]] = []
        for start, stop in self.pages(segment, names):
            if spans and start - spans[-1][1] <= PAGES_GAP_BYTES:
                spans[-1] = spans[-1][0], max(stop, spans[-1][1])
            else:
                spans.append((start, stop))
        return spans


def _footer_in(header: Header | None) -> _Footer:
    """Return what was read in a header's place."""
    assert header
    assert header.footer
    return header.footer


def _fetch_footer(client: S3Client, s3_uri: str, etag: str | None) -> tuple[_Footer, str]:
    """Read an object's footer, by one or two requests; returns its ETag, too."""
    found = _head(client, _Object(s3_uri))
    etag = etag or str(found.etag)
    return _footer_of(s3_uri, found.size, lambda start, stop: _read(client, _Object(s3_uri, (start, stop), etag))[0]), etag


def _footer_of(s3_uri: str, size: int, read: Callable[[int, int], bytes]) -> _Footer:
    """Read the footer of a file of a size."""
    tail_start = max(0, size - FOOTER_READ_BYTES)
    tail = read(tail_start, size) if size else b""
    encrypted = InvalidDataError(f"{s3_uri} is encrypted (Parquet modular encryption)", "give the data without it")
    if tail.endswith(ENCRYPTED_MAGIC):
        raise encrypted
    length = int.from_bytes(tail[-8:-4], "little")
    start = size - 8 - length
    if not tail.endswith(PARQUET_MAGIC) or start < len(PARQUET_MAGIC) or length > MAX_FOOTER_BYTES:
        advice = "give Parquet; or, if it was cut off, copy it again"
        raise InvalidDataError(f"{s3_uri} is not Parquet, or not whole: no footer is at its end", advice)
    if start < tail_start:
        tail = read(start, tail_start) + tail
    try:
        metadata = _parquet().read_metadata(io.BytesIO(tail[-8 - length :]))
        schema = metadata.schema.to_arrow_schema()
    except pa.ArrowNotImplementedError as error:  # it names no column, and it need not be one that is used
        what = f"{s3_uri} has a column of a type that is not read here: {error}"
        raise InvalidDataError(what, "write that column as another type, or leave it out") from error
    except (pa.ArrowException, OSError) as error:
        raise InvalidDataError(f"the Parquet footer of {s3_uri} cannot be read", _WRITE_ANEW) from error
    if metadata.serialized_size != length:  # a signature follows; Arrow would end the process at an encrypted column
        raise encrypted
    return _Footer(metadata, size, start, schema)


def _pages_of(footer: _Footer, s3_uri: str, chunk: Any) -> tuple[int, int]:
    """Return where a column chunk lies."""
    offsets = [chunk.data_page_offset, chunk.dictionary_page_offset if chunk.has_dictionary_page else None]
    start = min((offset for offset in offsets if offset), default=0)
    stop = start + chunk.total_compressed_size
    if chunk.file_path or not len(PARQUET_MAGIC) <= start <= stop <= footer.start:
        raise InvalidDataError(f"{s3_uri} has no pages of column {chunk.path_in_schema!r} where its footer says", _WRITE_ANEW)
    return start, min(stop + PAGES_PADDING_BYTES, footer.start)


def _places(spans: list[tuple[int, int]]) -> list[int]:
    """Return where spans begin that stand one after the other."""
    return list(accumulate((stop - start for start, stop in spans), initial=0))[:-1]


def _leaves_in(kind: Any) -> int:
    """Return how many columns of pages a column has."""
    if isinstance(kind, pa.BaseExtensionType):
        return _leaves_in(kind.storage_type)
    return sum(_leaves_in(kind.field(place).type) for place in range(kind.num_fields)) if pa.types.is_nested(kind) else 1


def _is_nested(kind: Any) -> bool:
    """Tell whether a column has several values in a row, such as pandas' intervals, which are groups by another name."""
    return bool(pa.types.is_nested(kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind))


def _is_text_type(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_category(kind: Any) -> bool:
    """Tell whether a column has texts as categories."""
    return bool(pa.types.is_dictionary(kind) and _is_text_type(kind.value_type))


def _is_numpys(name: str) -> bool:
    """Tell whether pandas takes one of NumPy's types for a column, and not one of its own."""
    try:
        np.dtype(name)
    except TypeError:
        return False
    return True


def _kind_with_nulls(kind: Any, *, has_nulls: bool) -> str:
    """Return what pandas makes of integers or booleans."""
    if pa.types.is_boolean(kind):
        return OPTIONAL_BOOLEAN if has_nulls else BOOLEAN
    return NUMBER if has_nulls else INTEGER


def _is_arrow_type(name: object) -> bool:
    """Tell whether this names a type that a prediction column can have."""
    try:
        pa.type_for_alias(name)
    except (TypeError, ValueError):
        return False
    return True


def _example_of(kind: Any, known: Any) -> pa.Array:
    """Return one value of a type: one that the model knows, or else a plain one."""
    plain = "" if _is_category(kind) else b"" if pa.types.is_binary(kind) else 0
    for value in (known, plain, None):
        with suppress(pa.ArrowException, TypeError, ValueError):
            return pa.array([value]).cast(kind)
    return pa.nulls(1, kind)


def _page_columns(header: Header) -> list[str]:
    """Say what the columns of pages are, each in words that differ wherever the pages mean something else."""
    schema = _footer_in(header).metadata.schema
    return [
        f"the column {column.path!r} ({'optional' if column.max_definition_level else 'required'} {column.physical_type}"
        f" {column.logical_type}, {column.length}, {column.max_definition_level}, {column.max_repetition_level})"
        for column in map(schema.column, range(len(schema)))
    ]


class _Share:
    """A part of an open file, as it is written from its beginning."""

    def __init__(self, file: IO[bytes], place: int) -> None:
        self._file, self._place = file, place
        file.seek(place)

    def write(self, data: bytes) -> int:
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell() - self._place

    def seek(self, position: int) -> None:
        self._file.seek(self._place + position)

    def truncate(self) -> None:
        """Leave what stands behind: it belongs to others, or will be written over."""


class _Pages(io.RawIOBase):
    """A Parquet file of which only some bytes are at hand; another reads them."""

    def __init__(self, size: int, read_at: Callable[[int, int], bytes]) -> None:
        super().__init__()
        self._size, self._read_at, self._position = size, read_at, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def read(self, size: int = -1) -> bytes:
        found = self._read_at(self._position, size)
        self._position += len(found)
        return found


class _GroupPlace(NamedTuple):
    source: _Source
    row: int
    """From 0, in the object."""
    row_group: int

    def __str__(self) -> str:
        return f"{self.source.s3_uri} row group {self.row_group}, row {self.row + 1}"


def _read_row_groups(
    pages: Any, segment: _Segment, footer: _Footer, names: list[str], header: Header, block_bytes: int, tally: _Tally
) -> Iterator[_ParquetBlock]:
    """Read columns of a segment's row groups in blocks of some rows, which may be of several row groups."""
    s3_uri, groups = segment.source.s3_uri, range(segment.source.start, segment.stop or 0)
    if too_long := [group for group in groups if footer.group_rows[group] > MAX_GROUP_ROWS]:
        what = f"row group {too_long[0]} of {s3_uri} has {footer.group_rows[too_long[0]]} rows, more than {MAX_GROUP_ROWS}"
        raise InvalidDataError(what, "write the file with smaller row groups")
    leaves, filled = footer.leaves(names), [group for group in groups if footer.group_rows[group]]
    chunks = [footer.metadata.row_group(group).column(leaf) for group in groups for leaf in leaves]
    ends = list(accumulate(footer.group_rows, initial=0))
    first, left = ends[groups.start], deque(ends[groups.start + 1 : groups.stop + 1])
    rows, size = ends[groups.stop] - first, sum(chunk.total_compressed_size for chunk in chunks)
    tally.bytes += size
    memory_bytes = max(8 * len(leaves), sum(chunk.total_uncompressed_size for chunk in chunks) // max(1, rows))
    wanted = min(max(block_bytes // max(1, memory_bytes), MIN_BLOCK_ROWS), MAX_BLOCK_ROWS)
    types = [_footer_in(header).types[name] for name in footer.schema.names if name in set(names)]
    row = first
    for batch in _batches(pages, s3_uri, footer, wanted, filled, leaves):
        table = pa.Table.from_batches([batch])
        if table.schema.types != types:
            table = pa.table(
                [column.cast(kind) for column, kind in zip(table.columns, types, strict=True)], names=table.column_names
            )
        closed = [row] * tally.empty_groups
        tally.empty_groups = 0
        while left and left[0] <= row + table.num_rows:
            closed.append(left.popleft())
        origin = (0, _GroupPlace(segment.source, row, 0), tuple(ends))
        yield _ParquetBlock(header, table, size / rows, (origin,), tuple(end - row for end in closed))
        row += table.num_rows
        tally.rows += table.num_rows
    if row != first + rows:
        raise InvalidDataError(f"{s3_uri} has pages of {row - first} rows where its footer says {rows}", _WRITE_ANEW)
    tally.empty_groups += len(left)


def _batches(pages: Any, s3_uri: str, footer: _Footer, rows: int, groups: list[int], leaves: list[int]) -> Iterator[Any]:
    """Decode columns; InvalidDataError if their pages are damaged, or encrypted."""
    if not groups:
        return
    try:
        file = _parquet().ParquetFile(pages, metadata=footer.metadata, pre_buffer=False, buffer_size=COLUMN_BUFFER_BYTES)
        yield from file.reader.iter_batches(rows, groups, leaves, False)  # by places: names may be ambiguous
    except MemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        what = f"the pages of the feature columns of {s3_uri} cannot be read: they are damaged, encrypted, or of an unknown kind"
        raise InvalidDataError(what, _WRITE_ANEW) from error


@dataclass(frozen=True)
class _ParquetBlock:
    """Some rows of a chunk's feature columns."""

    header: Header
    table: pa.Table
    row_bytes: float
    """What a row takes of the file's pages."""
    origins: tuple[tuple[int, _GroupPlace, tuple[int, ...]], ...]
    """Rows of the block at which another object begins, where these stand there, and the first rows of its row groups."""
    ends: tuple[int, ...]
    """The rows of the block behind which a row group ends, in order; several ones at once if some have no rows."""
    has_blank_lines: ClassVar[bool] = False

    @property
    def rows(self) -> int:
        return int(self.table.num_rows)

    @property
    def input_bytes(self) -> int:
        return round(self.rows * self.row_bytes)

    @property
    def memory_bytes(self) -> int:
        return int(self.table.nbytes)

    def at(self, row: int) -> Any:
        first, place, starts = self.origins[bisect_right(self.origins, row, key=lambda origin: origin[0]) - 1]
        there = place.row + row - first
        return _GroupPlace(place.source, there, max(bisect_right(starts, there) - 1, 0))

    def part(self, start: int, stop: int) -> _ParquetBlock:
        _, place, starts = self.origins[0]
        origins = ((0, place._replace(row=place.row + start), starts),)
        return replace(self, table=self.table.slice(start, stop - start), origins=origins, ends=())

    def again(self, wanted: int) -> Iterator[_ParquetBlock]:
        part = self.part(0, min(self.rows, wanted))
        yield from [part] * max(1, wanted // self.rows)

    def features(self, columns: _Columns, reject: Reject) -> _Features:
        read = {name: self._column(name, columns, reject) for name in dict.fromkeys(columns.names)}
        footer = _footer_in(self.header)
        metadata = footer.pandas_metadata(name for name in columns.names if columns.kinds[name] != NUMBER)
        table = pa.table([read[name] for name in columns.names], pa.schema(_fields(columns.names, read), metadata))
        whole = {name for name in columns.names if not _is_wide(footer.types[name])}
        has_matrix = len(columns.plain) == len(columns.names) and set(table.schema.types) == {pa.float64()}
        return _Features(lambda: table, _matrix(table) if has_matrix else None, frozenset(whole))

    def _column(self, name: str, columns: _Columns, reject: Reject) -> pa.ChunkedArray:
        """Return a column as it was decided."""
        column, decided = self.table[name], columns.kinds[name]
        kind = column.type
        if decided in (INTEGER, BOOLEAN) and column.null_count:
            raise ColumnTypeError(
                f"{self.at(0)} and the {self.rows - 1} rows after it: column {name!r} has nulls, "
                f"and the run has seen {_KIND_NAMES[decided]} without so far"
            )
        if decided == TEXT:
            return column.cast(pa.string())
        if decided != NUMBER or pa.types.is_floating(kind):
            return column
        if _is_text_type(kind) or _is_category(kind):
            return pa.chunked_array([_to_numbers(name, column.cast(pa.string()), reject, COMMAS)])
        if pa.types.is_decimal(kind):
            column = column.cast(pa.string())  # Arrow's own way to float64 does not always find the nearest one
        return column.cast(pa.float64(), safe=False)

    def texts(self, names: Sequence[str]) -> pa.Table:
        return pa.table({name: _as_texts(self.table[name]) for name in names})

    def kinds(self, names: Sequence[str]) -> dict[str, str]:
        columns = {name: self.table[name] for name in names}
        return {name: _kind_with_nulls(column.type, has_nulls=column.null_count > 0) for name, column in columns.items()}


def _fields(names: Sequence[str], columns: dict[str, Any]) -> list[Any]:
    return [pa.field(name, columns[name].type) for name in names]


def _is_wide(kind: Any) -> bool:
    """Tell whether a type has integers that float64 has not."""
    return kind in (pa.int64(), pa.uint64()) or _is_text_type(kind) or _is_category(kind)


def _as_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Print a column, whatever it has."""
    try:
        return column.cast(pa.string())
    except pa.ArrowException:  # bytes need not be UTF-8
        texts = [None if value is None else _as_text(value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])


def _as_text(value: object) -> str:
    """Print a value that Arrow does not print, or whose neighbours it does not: each by itself, however rows are cut."""
    if isinstance(value, bytes):
        with suppress(UnicodeDecodeError):
            return value.decode()
    return str(value)


def _join_row_blocks(blocks: list[_ParquetBlock]) -> _ParquetBlock:
    if len(blocks) == 1:
        return blocks[0]
    table = pa.concat_tables([block.table for block in blocks])
    firsts = list(accumulate((block.rows for block in blocks), initial=0))
    origins = tuple(
        (row + first, place, starts) for block, row in zip(blocks, firsts, strict=False) for first, place, starts in block.origins
    )
    ends = tuple(row + end for block, row in zip(blocks, firsts, strict=False) for end in block.ends)
    size = sum(block.rows * block.row_bytes for block in blocks)
    return _ParquetBlock(blocks[0].header, table, size / table.num_rows, origins, ends)


ROW_GROUP_BYTES = 1 << 25
"""Of Arrow's memory, in a row group that is made of other data: it waits until so much is there."""


class _Typed(NamedTuple):
    """A block's share of a part."""

    rows: int
    columns: list[pa.Array] | None
    """None if no row is predicted."""
    ends: tuple[int, ...] = ()
    """As the block has them."""
    data: pa.Table | None = None
    """What is written before them."""


class _ParquetWriter:
    """Writes the prediction columns alone, in row groups of as many rows as those of the data."""

    line_end = b""
    keeps_all = False

    reads: _Columns | None = None

    def __init__(self, header: Header, kept: list[str] | None) -> None:
        self.types: list[str] | None = None
        self.columns = header.names if kept is None else kept
        self._header = header
        self._output: Any = None
        self._sink = _Sink()
        self._names: list[str] = []
        self._untyped: list[_Typed] = []
        """What was written before any row was predicted."""
        self._waiting: list[pa.Table] = []
        """What there is of the row group that is written next."""
        self._spilled: tuple[Any, ...] = ()
        """A file that has what came before that, if it is much, and what writes it."""

    def joined(self, block: Any, rows: Array, predictions: _Predictions | None, names: list[str]) -> _Typed:  # noqa: ARG002
        return _Typed(block.rows, self._columns_of(block.rows, rows, predictions), block.ends)

    def _columns_of(self, n_rows: int, rows: Array, predictions: _Predictions | None) -> list[pa.Array] | None:
        """Return predictions as columns, with null for a row that has none."""
        columns = None if predictions is None else [_typed(values) for values in _columns_of(predictions)]
        if columns is None or len(rows) == n_rows:
            return columns
        places = np.full(n_rows, -1, np.int64)
        places[rows] = np.arange(len(rows))
        return [pc.take(column, pa.array(places, mask=places < 0)) for column in columns]

    def types_of(self, joined: _Typed) -> list[str] | None:
        return None if joined.columns is None else [str(column.type) for column in joined.columns]

    def expect(self, predictions: _Predictions) -> None:
        self.types = self.types or [str(_typed(values).type) for values in _columns_of(predictions)]

    def begin(self, output: Any, names: list[str]) -> int:
        self._output, self._names = output, names
        return len(PARQUET_MAGIC)

    def write(self, joined: _Typed) -> None:
        self.types = self.types or self.types_of(joined)
        self._untyped.append(joined)
        if self.types:
            for one in self._untyped:
                self._add(one)
            self._untyped = []

    def end(self, tally: _Tally) -> int:
        self.types = self.types or ["double"] * len(self._names)  # nothing was predicted
        for one in self._untyped:
            self._add(one)
        for _ in range(tally.empty_groups):
            self._close_group()
        if self._spilled or any(table.num_rows for table in self._waiting):
            self._close_group()
        with self._sink.taking(self._output):
            self._file.close()
        return 0

    def _add(self, joined: _Typed) -> None:
        table, start = self._table_of(joined), 0
        for end in joined.ends:
            self._waiting.append(table.slice(start, end - start))
            self._close_group()
            start = end
        self._waiting.append(table.slice(start))
        if not self._fields and sum(waiting.num_rows for waiting in self._waiting) >= MAX_WAITING_ROWS:
            self._spill()

    def _close_group(self) -> None:
        """Write a row group: Arrow takes the whole of it at once, from /tmp if it is large."""
        if self._spilled:
            self._spill()
            self._spilled[1].close()
            with self._spilled[0] as file, pa.memory_map(file.name) as mapped:
                self._write_group(pa.ipc.open_file(mapped).read_all())
            self._spilled = ()
            return
        self._write_group(pa.concat_tables([self._schema.empty_table(), *self._waiting]))
        self._waiting = []

    def _write_group(self, table: pa.Table) -> None:
        with self._sink.taking(self._output):
            self._file.write_table(table, row_group_size=max(1, table.num_rows))

    def _spill(self) -> None:
        """Keep what waits in a file."""
        if not self._spilled:
            file = tempfile.NamedTemporaryFile()  # noqa: SIM115  # closed with its row group
            self._spilled = file, pa.ipc.new_file(file.name, self._schema)
        for table in self._waiting:
            self._spilled[1].write_table(table)
        self._waiting = []

    def _table_of(self, joined: _Typed) -> pa.Table:
        types, data = self._schema.types[len(self._fields) :], joined.data.columns if joined.data else []
        if joined.columns is None:
            return pa.table([*data, *(pa.nulls(joined.rows, kind) for kind in types)], self._schema)
        try:
            casts = [column.cast(kind) for column, kind in zip(joined.columns, types, strict=True)]
            return pa.table([*data, *casts], self._schema)
        except pa.ArrowException as error:
            found, expected = (", ".join(names or ()) for names in (self.types_of(joined), self.types))
            what = f"the model gives predictions of type {found} for some rows, and of type {expected} for others"
            raise ModelError(what, "have it give one type") from error

    @functools.cached_property
    def _schema(self) -> pa.Schema:
        added = [pa.field(name, pa.type_for_alias(kind)) for name, kind in zip(self._names, self.types or (), strict=True)]
        return pa.schema([*self._fields, *added])

    _fields: Sequence[Any] = ()
    """Of columns of the data."""

    @functools.cached_property
    def _file(self) -> Any:
        """Compressed as the data are: who reads these reads the predictions. Without dictionaries, which some readers confuse."""
        metadata = _footer_in(self._header).metadata
        has_pages = metadata.num_row_groups and metadata.num_columns
        codec = metadata.row_group(0).column(0).compression.lower() if has_pages else "snappy"
        codec = "none" if codec == "uncompressed" else codec if codec in ("gzip", "zstd", "brotli", "lz4") else "snappy"
        return _parquet().ParquetWriter(self._sink, self._schema, use_dictionary=False, compression=codec)


class _ParquetOfTables(_ParquetWriter):
    """Writes columns of data that is not Parquet, and the predictions, in row groups of some megabytes."""

    def __init__(self, reads: _Columns) -> None:
        super().__init__(Header(b"", b"", reads.names), None)
        self.reads = reads
        kinds = {TEXT: pa.string(), INTEGER: pa.int64(), BOOLEAN: pa.bool_(), OPTIONAL_BOOLEAN: pa.bool_()}
        self._fields = [pa.field(name, kinds.get(reads.kinds[name], pa.float64())) for name in reads.names]

    def joined(self, block: Any, rows: Array, predictions: _Predictions | None, names: list[str]) -> _Typed:  # noqa: ARG002
        return _Typed(block.rows, self._columns_of(block.rows, rows, predictions), data=block.table)

    def _add(self, joined: _Typed) -> None:
        super()._add(joined)
        if sum(table.nbytes for table in self._waiting) >= ROW_GROUP_BYTES:
            self._close_group()

    @functools.cached_property
    def _file(self) -> Any:
        return _parquet().ParquetWriter(self._sink, self._schema, compression="snappy")


class _Sink(io.RawIOBase):
    """What is written to, as Arrow wants it.

    Arrow writes a footer also when it forgets a file that was given up; by then, another attempt may have the output.
    """

    def __init__(self) -> None:
        super().__init__()
        self._output: Any = None

    @contextmanager
    def taking(self, output: Any) -> Iterator[None]:
        """Pass on what is written meanwhile."""
        self._output = output
        try:
            yield
        finally:
            self._output = None

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self._output.tell()) if self._output else 0

    def write(self, data: Any) -> int:
        return int(self._output.write(bytes(data))) if self._output else len(data)


def _typed(values: Array | _Labels) -> pa.Array:  # noqa: PLR0911  # one a type
    """Return predictions as a column: numbers as float64, int64 or uint64, booleans, dates, instants; anything else as text.

    Labels are nulls where they are missing, and numbers are NaN.
    """
    if isinstance(values, _Labels):
        return pc.take(_typed(values.classes), pa.array(values.places))
    kind = values.dtype.kind
    if kind == "O":
        labels = [None if _is_missing(value) else value for value in values.tolist()]
        classes = {type(label) for label in labels if label is not None}
        for types, whole in (({bool}, pa.bool_()), ({int}, pa.int64()), ({int, float}, pa.float64())):
            if classes and classes <= types:
                with suppress(pa.ArrowException, OverflowError):
                    return pa.array(labels, whole)
        return _text_column([None if label is None else str(label) for label in labels])
    if kind in "iuf":
        wide = {"f": np.float64, "i": np.int64, "u": np.uint64 if values.dtype.itemsize == 8 else np.int64}[kind]
        return pa.array(np.ascontiguousarray(values, wide))
    if kind == "b":
        return pa.array(np.ascontiguousarray(values))
    if kind == "M" and np.datetime_data(values.dtype)[0] in ("D", "ms", "us", "ns"):
        return pa.array(np.ascontiguousarray(values))
    return _text_column(_printed(values))


def _text_column(labels: Sequence[str | None]) -> pa.Array:
    try:
        return pa.array(labels, pa.string())
    except UnicodeEncodeError as error:
        what = "the model predicts half a surrogate pair, a text that UTF-8 cannot hold"
        raise ModelError(what, "change its classes") from error


# --- headers --------------------------------------------------------------------------------------------------------------------
# In: a first line, and the columns that are wanted.
# Out: what is wrong with it, and what to do; no value that may stand in it is repeated.
# Touches: nothing.

# {{{cog cog.outl(reference.copied("header_mistakes", "SEPARATORS")) }}}
SEPARATORS = {
    ";": "';'", "\t": "tabs", "|": "'|'", "^": "'^'", "\x01": "U+0001, as Hive writes", "~": "'~'", ":": "':'", ",": "commas",
    " ": "spaces",
}  # fmt: skip
MAX_DATA_COLUMNS = 100_000
"""Columns of one table. The time to read a record grows with all columns, used or not: so many take 8 ms, as measured."""
SHOWN_COLUMNS, SHOWN_MISSING, COMPARED_COLUMNS, COMPARED_CHARACTERS = 50, 10, 1000, 60
"""Columns of a header that a message names, missing ones that it names, and how many and how long ones it compares with these."""
_VALUE = re.compile(
    r"[+-]?(?:[0-9]{1,30}[.,]?[0-9]{0,30}|[.,][0-9]{1,30})(?:[eE][+-]?[0-9]{1,4})?|[0-9]{4}-[0-9]{2}-[0-9]{2}.{0,30}"
)
"""A number or a date, as no column is called."""


class Mistake(NamedTuple):
    """What is wrong with a header: completes a sentence that begins with the object's URI."""

    what: str
    advice: str


_PICKLE = Mistake("a Python pickle, as models are", "give the table as CSV: perhaps model and data are swapped")
_UTF_16 = Mistake("UTF-16", "convert it to UTF-8 first")
# The mistakes that people make, by the first bytes of the file.
FOREIGN_FORMATS = {
    b"\x1f\x8b": Mistake("gzip", "decompress it first"),
    b"BZh": Mistake("bzip2", "decompress it first"),
    b"\xfd7zXZ": Mistake("xz", "decompress it first"),
    b"\x28\xb5\x2f\xfd": Mistake("Zstandard", "decompress it first"),
    b"\x04\x22\x4d\x18": Mistake("LZ4", "decompress it first"),
    b"7z\xbc\xaf": Mistake("a 7z archive", "unpack it first"),
    b"PK\x03\x04": Mistake("a zip archive (or an Excel workbook)", "convert it to CSV first"),
    b"\xd0\xcf\x11\xe0": Mistake("an Excel workbook", "save it as CSV first"),
    b"PAR1": Mistake("Parquet", "set input_format to parquet, and give all objects as Parquet"),
    b"ARROW1": Mistake("Arrow (Feather)", "convert it to CSV first"),
    b"ORC": Mistake("ORC", "convert it to CSV first"),
    b"Obj\x01": Mistake("Avro", "convert it to CSV first"),
    b"SQLite format 3": Mistake("an SQLite database", "export the table as CSV first"),
    b"\x89HDF": Mistake("HDF5", "convert it to CSV first"),
    b"%PDF": Mistake("PDF", "give the table as CSV"),
    b"\x80\x03": _PICKLE, b"\x80\x04": _PICKLE, b"\x80\x05": _PICKLE,
    b"\xff\xfe": _UTF_16, b"\xfe\xff": _UTF_16,
}  # fmt: skip


COMPRESSION_NAMES = {"gzip": "gzip", "zstd": "Zstandard"}
"""The compressions that are read, and what people call them."""
_COMPRESSED = {"gzip": re.compile(rb"\x1f\x8b"), "zstd": re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")}
COMPRESSION_MAGIC_BYTES = 4


def compression_of(data: bytes) -> str | None:
    """Return which of the compressions that are read an object's first bytes show; Zstandard may begin with a skippable frame."""
    return next((name for name, magic in _COMPRESSED.items() if magic.match(data)), None)


def foreign_format(data: bytes) -> Mistake | None:
    """Say what the first bytes of an object are if they are not text."""
    binary = b"\0" in data
    for magic, mistake in FOREIGN_FORMATS.items():
        if data.startswith(magic) and (binary or not magic.isalnum()):  # a column may be called ORC
            return mistake
    if not binary:
        return None
    pairs = data[: len(data) // 2 * 2][:100]
    if len(pairs) >= 6 and any(pairs) and not (any(pairs[::2]) and any(pairs[1::2])):
        return _UTF_16
    return Mistake("binary (it holds NUL bytes)", "convert it to CSV first")


def foreign_to_csv(data: bytes) -> Mistake | None:
    """Say what the first bytes of an object are if they are not CSV; a request may say that they are UTF-16."""
    found = foreign_format(data)
    if found != _UTF_16:
        return found
    codec = "utf-16-be" if data.startswith((codecs.BOM_UTF16_BE, b"\0")) else "utf-16"
    return found._replace(advice=f"say so in the request: {said(COMMAS, encoding=codec)}")


def header_mistake(raw: bytes, dialect: Dialect = COMMAS) -> Mistake | None:  # noqa: PLR0911  # one a mistake
    """Say why a first line, without its line end, is no header of RFC 4180; it is not repeated, because it may hold values."""
    try:
        text = raw.decode("utf-8-sig" if dialect.encoding == "utf-8" else dialect.encoding)
    except UnicodeDecodeError as error:
        perhaps = ", but perhaps Latin-1 or Windows-1252" if dialect.encoding == "utf-8" else ""
        what = f"is not {dialect.encoding.upper()} at byte {error.start} of its header{perhaps}"
        return Mistake(what, encoding_advice(raw, dialect))
    if record_pattern(dialect.delimiter).fullmatch(raw.removeprefix(codecs.BOM_UTF8)):
        columns = 1 + QUOTED.sub(b"", raw).count(dialect.delimiter.encode())
        what, advice = (
            f"has {columns} columns, more than {MAX_DATA_COLUMNS}",
            "split the table, or leave out columns that nobody needs",
        )
        return Mistake(what, advice) if columns > MAX_DATA_COLUMNS else None
    if kind := _markup(text):
        return kind
    if separator := re.search(r'"([;\t|^,])"', text):
        return _separated_by(separator[1], dialect)
    if re.search(r'(?:^|,) +"[^",]*"|" +,', text.replace(dialect.delimiter, ",")):
        mark = "comma" if dialect.delimiter == "," else "delimiter"
        return Mistake(f"has spaces between a {mark} and a quote in its header", f"write {mark}s and quotes side by side")
    if re.search("\r(?!\n)", text):
        return Mistake("has a bare carriage return in its header", "end lines with LF or CRLF")
    return Mistake("has a stray or unclosed quote in its header", "quote the whole name and double the quote inside")


def encoding_advice(data: bytes, dialect: Dialect) -> str:
    """Say what to do about data that are not encoded as they should be."""
    may_be_cp1252 = not set(undefined_octets("cp1252") or b"").intersection(data)
    named = (
        f"perhaps {said(dialect, encoding='cp1252')}" if may_be_cp1252 and dialect.encoding == "utf-8" else 'csv: {"encoding": …}'
    )
    return f"save it as UTF-8, or say in the request how it is encoded: {named}"


def said(dialect: Dialect, **changes: Any) -> str:
    """Return the field of a request that says a dialect but for some changes; of one that lists many columns, the changes alone."""
    of = COMMAS if dialect.column_names else dialect
    return f"csv: {json.dumps(field_of(of._replace(**changes)), ensure_ascii=False)}"


_MARKUP = {
    "JSON": r"""\s{0,9}(?:\{|\[\s{0,9}(?:[{\["0-9-]|$))""",
    "HTML or XML": r"\s{0,9}<[!?a-zA-Z]",
    "a pointer of Git LFS": "version https://git-lfs",
    "ORC": r"ORC\Z",  # a line feed follows
}


def _markup(text: str) -> Mistake | None:
    kind = next((kind for kind, beginning in _MARKUP.items() if re.match(beginning, text)), None)
    return Mistake(f"is {kind} and not CSV", "give the table itself as CSV") if kind else None


def lacking_columns(wanted: list[str], names: list[str], named_by: str = "feature_columns", dialect: Dialect = COMMAS) -> Mistake:
    """Say which columns a header lacks, and why, if that can be seen; it names columns, and no values in their place."""
    if mistake := mistaken_first_line(wanted, names, dialect):
        return mistake
    known_names = set(names)
    missing = [name for name in wanted if name not in known_names]
    places: dict[str, str] = {}
    for name in names:
        places.setdefault(_plain_name(name), name)
    shown = [f"{shown_text(name)}{_similar_name(name, names, places)}" for name in missing[:SHOWN_MISSING]]
    more = f" and {len(missing) - SHOWN_MISSING} more" if len(missing) > SHOWN_MISSING else ""
    what = f"has no column {', '.join(shown)}{more}; it has {shown_names(names)}"
    return Mistake(what, f"correct {named_by}, or the names in {'the header' if dialect.header else 'csv.column_names'}")


REPEATED_ADVICE = "rename one: a column that is used must be the only one of its name"


def repeated_columns(names: list[str]) -> str:
    """Say that columns which are used are there more than once."""
    return f"more than one column named {shown_names(names, SHOWN_MISSING)}"


def difference(names: list[str], expected: list[str], subject: str = "it") -> str:
    """Say in which columns a header, or whatever the subject is, differs from another."""
    here, there = set(names), set(expected)
    missing = [name for name in expected if name not in here]
    added = [name for name in names if name not in there]
    if not missing and not added and len(names) != len(expected):
        return f"{subject} has {len(names)} columns, not {len(expected)}"
    if not missing and not added:
        first = next(index for index, name in enumerate(names) if name != expected[index])
        return f"they are in another order, column {first + 1} is {shown_text(names[first])}, not {shown_text(expected[first])}"
    verbs = {"lacks": missing, "adds": added}
    return " and ".join(f"{subject} {verb} {shown_names(columns, 20)}" for verb, columns in verbs.items() if columns)


def mistaken_first_line(  # noqa: PLR0911  # one a mistake
    wanted: list[str], names: list[str], dialect: Dialect = COMMAS
) -> Mistake | None:
    """Recognise a first line that is no header of this dialect; whatever it is, it may hold values, and is not repeated.

    If it has one of the wanted columns, it is the header, whatever else it holds.
    """
    if not (set(wanted).isdisjoint(names) and dialect.header):
        return None
    first = names[0].strip()
    if first.lower().startswith("sep="):
        advice = f"delete it, and say it in the request: {said(dialect, delimiter=first[4:5] or ';')}"
        return Mistake("begins with Excel's line 'sep=', which is not the header", advice)
    if kind := _markup(first):
        return kind
    for separator in (mark for mark in SEPARATORS if mark not in (dialect.delimiter, " ")):
        parts = {part.strip(" \"'") for name in names if separator in name for part in name.split(separator)}
        if separator in "~:" and (len(names) > 1 or parts.isdisjoint(wanted)):  # names hold these, too
            continue
        if parts and (len(names) == 1 or not parts.isdisjoint(wanted)):
            return _separated_by(separator, dialect)
    if len(names) == 1 and len(first.split()) > 1 and not set(first.split()).isdisjoint(wanted):
        return _separated_by(" ", dialect, is_single=" ".join(first.split()) == first)
    if first.startswith("#") and first.strip("# ") not in wanted:
        advice = f"delete the lines before the header, or say in the request what they are: {said(dialect, comment='#')}"
        return Mistake("begins with a comment ('#'), which is not the header", advice)
    if not any(name.strip() for name in names):
        return Mistake("begins with a line that names nothing, and not with its header", "delete the lines before the header")
    numbered = names if names[0] else names[1:]  # behind an index
    if numbered == [str(number) for number in range(len(numbered))]:
        what = "has 0, 1, … for its header, as pandas writes if the columns have no names"
        return Mistake(what, "write it with the names of the columns")
    values = sum(_VALUE.fullmatch(name.strip()) is not None for name in names)
    if values and 2 * values >= len(names) and not any(map(_VALUE.fullmatch, wanted)):
        named = 'csv: {"header": false, "column_names": […]}'
        advice = f"put the names of the columns above them, or say them in the request, all {len(names)}: {named}"
        return Mistake("seems to have no header: its first line holds values", advice)
    return None


def _separated_by(separator: str, dialect: Dialect, *, is_single: bool = True) -> Mistake:
    own, other = (SEPARATORS.get(mark) or repr(mark) for mark in (dialect.delimiter, separator))
    advice = "leave csv.delimiter out" if separator == "," else f"say so in the request: {said(dialect, delimiter=separator)}"
    what = f"is not separated by {own}: its fields are separated by {other}"
    return Mistake(what, advice if is_single else "write one character between fields")


def _similar_name(name: str, names: list[str], places: dict[str, str]) -> str:
    """Say in brackets what a header has in the place of a missing name; `places` are its names by `_plain_name`."""
    found = places.get(_plain_name(name))
    if found is not None:
        if found.casefold() == name.casefold():
            how = "with other capitals"
        else:
            how = "with spaces around it" if found.strip(" ") == name.strip(" ") else "with other or invisible characters in it"
        return f" (it has {shown_text(found)}, {how})"
    unnamed = re.fullmatch(r"Unnamed: ([0-9]{1,6})", name)
    if unnamed and int(unnamed[1]) < len(names) and not names[int(unnamed[1])]:
        return f" (as pandas calls column {int(unnamed[1]) + 1}, which has no name: '')"
    base, _, number = name.rpartition(".")
    if number.isdecimal() and names.count(base) > 1:
        return f" (as pandas calls one of the columns named {shown_text(base)})"
    close = close_name(name, names)
    return f" (did you mean {shown_text(close)}?)" if close else ""


def close_name(name: str, names: list[str]) -> str | None:
    """Return the name that is most like another; None if none is, or if there are too many or too long ones to compare."""
    if len(names) > COMPARED_COLUMNS or len(name) > COMPARED_CHARACTERS:
        return None
    close = difflib.get_close_matches(name, [other for other in names if len(other) <= COMPARED_CHARACTERS], n=1)
    return close[0] if close else None


def _plain_name(name: str) -> str:
    """Return a name without its case, its spaces and what nobody sees."""
    return "".join(letter for letter in name if letter.isprintable() and not letter.isspace()).casefold()


def shown_names(names: list[str], most: int = SHOWN_COLUMNS) -> str:
    """List names as a message shows them, the first of them if they are many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(shown_text, names[:most])) + more


def shown_text(text: str) -> str:
    """Quote a text, or the beginning of a long one."""
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


# {{{end}}} of the copy
