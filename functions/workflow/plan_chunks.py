"""Plan Chunks: byte ranges that cover every object exactly once, on record boundaries, as a plan in S3."""

from __future__ import annotations

import hashlib
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from csv_records import record_boundaries
from errors import InputNotFoundError, InvalidDataError, InvalidRequestError, OutputExistsError
from inputs import InputObject, Listing, has_rows, read_header, resolve
from log import log
from s3 import CONCURRENT_REQUESTS, head_object, parse_s3_uri, put_json, read_blocks, s3_client
from work import FINGERPRINT_METADATA, part_uri, receipt_uri, work_prefix

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from contract import Chunk, Document, Plan
    from csv_records import Header

MAX_CHUNKS = 10_000
"""Every chunk may become one part of the output: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""

BYTES_PER_MB = 10**6

NAMED_COLUMNS = 10
"""Columns that a message names before it only counts."""


class PlannedObject(NamedTuple):
    """An input object that has rows."""

    object: InputObject
    header: Header


class PlannedRange(NamedTuple):
    """The bytes [start, stop) of an object, on record boundaries."""

    object: InputObject
    start: int
    stop: int


def lambda_handler(event: Document, context: object) -> Plan:  # noqa: ARG001 - Lambda passes it
    """Add the plan to the execution's document."""
    started = time.monotonic()
    plan = plan_chunks(s3_client(), event)
    milliseconds = round(1000 * (time.monotonic() - started))
    log("chunks planned", execution=event["execution"]["name"], milliseconds=milliseconds, **plan)
    return plan


def plan_chunks(client: S3Client, document: Document) -> Plan:
    """Resolve the inputs, split them, and write the plan beside the output."""
    request = document["request"]
    output = request["output_s3_uri"]
    published = None if request["overwrite"] else published_fingerprint(client, output)

    listing = resolve_inputs(client, request["data_s3_uri"])
    planned = objects_with_rows(client, listing.objects)
    require_same_layout(planned)
    ranges = split_objects(client, planned, fitting_chunk_bytes(planned, request["chunk_size_mb"]))

    fingerprint = fingerprint_of(document, ranges)
    if published not in (None, fingerprint):
        raise output_exists(output)

    bucket, prefix = parse_s3_uri(work_prefix(output, fingerprint))
    plan: Plan = {
        "bucket": bucket,
        "plan_key": f"{prefix}plan.json",
        "work_prefix": prefix,
        "map_run_prefix": f"{prefix}map-run",
        "fingerprint": fingerprint,
        "chunks": len(ranges),
        "objects": len(planned),
        "input_bytes": sum(found.object.size for found in planned),
        "skipped_objects": listing.skipped + len(listing.objects) - len(planned),
    }
    write_plan(client, plan, chunks_of(ranges, work_prefix(output, fingerprint)))
    return plan


def published_fingerprint(client: S3Client, output: str) -> str | None:
    """Return whose result an existing output is; None where there is no output; OutputExistsError where it is nobody's."""
    try:
        metadata = head_object(client, output).metadata
    except InputNotFoundError:
        return None  # an output that may not be seen may not be written either: the plan's own PUT says so
    if FINGERPRINT_METADATA not in metadata:
        raise output_exists(output)
    return metadata[FINGERPRINT_METADATA]


def output_exists(output: str) -> OutputExistsError:
    """Say what to do about an output that is in the way."""
    return OutputExistsError(f"{output} exists already: choose another output_s3_uri, or set overwrite to true")


def resolve_inputs(client: S3Client, uris: list[str]) -> Listing:
    """Return the objects of all entries in the caller's order; an object that is named twice is there twice."""
    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
        listings = list(pool.map(lambda uri: resolve(client, uri), uris))
    for uri, listing in zip(uris, listings, strict=True):
        if not listing.objects:
            raise InputNotFoundError(f"{uri} holds no objects with data: check the prefix")
    return Listing([found for listing in listings for found in listing.objects], sum(listed.skipped for listed in listings))


def objects_with_rows(client: S3Client, objects: list[InputObject]) -> list[PlannedObject]:
    """Read every header; leave out the objects that hold nothing else."""
    distinct = list(dict.fromkeys(objects))
    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
        headers = dict(zip(distinct, pool.map(lambda found: read_header(client, found), distinct), strict=True))
    planned = [PlannedObject(found, headers[found]) for found in objects if has_rows(found, headers[found])]
    if not planned:
        raise InvalidDataError(f"{objects[0].uri} holds a header but no rows: there is nothing to predict")
    if len(planned) > MAX_CHUNKS:
        raise InvalidRequestError(
            f"data_s3_uri names {len(planned)} objects, more than the {MAX_CHUNKS} of one request: "
            "combine objects, or split the request"
        )
    return planned


def require_same_layout(planned: list[PlannedObject]) -> None:
    """Raise where an object's columns or line ends differ from the first one's: its rows would not fit under that header."""
    first = planned[0]
    for other in planned[1:]:
        if other.header.columns != first.header.columns:
            raise InvalidDataError(
                f"{other.object.uri} has other columns than {first.object.uri}: "
                f"{_column_difference(first.header.columns, other.header.columns)}; make all objects alike"
            )
        if other.header.line_end != first.header.line_end:
            names = {b"\n": "LF", b"\r\n": "CRLF"}
            raise InvalidDataError(
                f"{other.object.uri} ends its lines with {names[other.header.line_end]}, but {first.object.uri} "
                f"with {names[first.header.line_end]}: make all objects alike"
            )


def _column_difference(first: list[str], other: list[str]) -> str:
    missing = [column for column in first if column not in set(other)]
    extra = [column for column in other if column not in set(first)]
    if not missing and not extra:
        position = next((index for index, pair in enumerate(zip(first, other, strict=False)) if pair[0] != pair[1]), len(first))
        return f"they are in another order from column {position + 1} on"
    sentences = [f"it lacks {_named(missing)}"] if missing else []
    return " and ".join([*sentences, *([f"it adds {_named(extra)}"] if extra else [])])


def _named(columns: list[str]) -> str:
    rest = f" and {len(columns) - NAMED_COLUMNS} more" if len(columns) > NAMED_COLUMNS else ""
    return ", ".join(column[:100] for column in columns[:NAMED_COLUMNS]) + rest


def fitting_chunk_bytes(planned: list[PlannedObject], chunk_size_mb: float) -> int:
    """Return the target size of a chunk in bytes, grown until all objects together make no more than `MAX_CHUNKS`."""
    chunk_bytes = max(1, round(chunk_size_mb * BYTES_PER_MB))
    while sum(_pieces(found.object.size, chunk_bytes) for found in planned) > MAX_CHUNKS:
        chunk_bytes += math.ceil(chunk_bytes / 8)
    return chunk_bytes


def _pieces(size: int, chunk_bytes: int) -> int:
    return -(-size // chunk_bytes)


def split_objects(client: S3Client, planned: list[PlannedObject], chunk_bytes: int) -> list[PlannedRange]:
    """Return the ranges of all objects, in order. An object that is there twice is scanned once."""
    distinct = {found.object: found for found in planned}.values()
    split = {found.object: split_object(client, found, chunk_bytes) for found in distinct}
    return [piece for found in planned for piece in split[found.object]]


def split_object(client: S3Client, planned: PlannedObject, chunk_bytes: int) -> list[PlannedRange]:
    """Split an object into pieces of about equal size, none far above `chunk_bytes`, by an exact scan of its quotes."""
    found, header = planned
    pieces = _pieces(found.size, chunk_bytes)
    targets = [found.size * piece // pieces for piece in range(1, pieces)]
    if not targets:
        return [PlannedRange(found, 0, found.size)]
    # From the end of the header on, so that the first chunk has a row, too.
    blocks = read_blocks(client, found.uri, header.stop, found.size, found.etag)
    try:
        boundaries = list(record_boundaries(blocks, header.stop, targets))
    except ValueError as error:
        raise InvalidDataError(f"{found.uri} cannot be read as CSV: {error}") from error
    edges = [0, *(boundary for boundary in boundaries if boundary < found.size), found.size]
    return [PlannedRange(found, start, stop) for start, stop in pairwise(edges)]


def fingerprint_of(document: Document, ranges: list[PlannedRange]) -> str:
    """Return the SHA-256 of everything that decides the output's bytes and where it was cut."""
    prediction = document["prediction"]
    model = document["model"]["model"]
    identity = {
        "model": [prediction["model_s3_uri"], prediction["model_etag"]],
        "feature_columns": prediction["feature_columns"],
        "prediction_column_name": prediction["prediction_column_name"],
        "prediction_method": prediction["prediction_method"],
        "on_bad_row": prediction["on_bad_row"],
        "handler_version": model["handler_version"],
        "versions": model["versions"],
        "ranges": [[*piece.object, piece.start, piece.stop] for piece in ranges],
    }
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def chunks_of(ranges: list[PlannedRange], prefix: str) -> list[Chunk]:
    """Return the plan's items."""
    return [
        {
            "chunk_index": index,
            "data_s3_uri": piece.object.uri,
            "byte_range": [piece.start, piece.stop],
            "data_etag": piece.object.etag,
            "output_s3_uri": part_uri(prefix, index),
            "receipt_s3_uri": receipt_uri(prefix, index),
        }
        for index, piece in enumerate(ranges)
    ]


def write_plan(client: S3Client, plan: Plan, chunks: list[Chunk]) -> None:
    """Write the plan, the first object that a run writes: where the role may not, the request must name another output."""
    try:
        put_json(client, f"s3://{plan['bucket']}/{plan['plan_key']}", chunks)
    except InputNotFoundError as error:
        raise InvalidRequestError(f"output_s3_uri must change, nothing can be written there: {error}") from error
