"""S3 as the workflow uses it: whatever a call raises arrives under a name of `errors.py`."""

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, FlexibleChecksumError

from .conforms import conforms
from .errors import ERRORS, BatchPredictionError, InputChangedError, InputNotFoundError, InvalidRequestError, TransientS3Error
from .multipart import PARTS_IN_FLIGHT
from .s3_errors import S3_EXCEPTIONS, TRANSIENT_EXCEPTIONS, failure_of_call
from .utf8 import is_encodable, json_text
from .work import WORK_MARK, WORK_TAG

if TYPE_CHECKING:
    import mypy_boto3_s3

S3Client: TypeAlias = "mypy_boto3_s3.S3Client"
"""boto3's types, which Lambda does not have."""

CONCURRENT_REQUESTS = 16
"""S3 requests that one function has in flight at once: far below S3's limits, enough to hide its latency."""

MAX_CONNECTIONS = PARTS_IN_FLIGHT + CONCURRENT_REQUESTS
"""Connections of the client: the most requests that any function has in flight."""

BODY_ATTEMPTS = 5
"""Times that a body is asked for which breaks midway: botocore repeats requests, not bodies."""

PIECE_BYTES = 2**20
"""Bytes of a body that are read at once: what has come before it breaks is kept."""

REGION_HEADER = "x-amz-bucket-region"

DELETE_BATCH = 1000
"""https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html"""

Item = TypeVar("Item")
Result = TypeVar("Result")
Shape = TypeVar("Shape")

_URI = re.compile(r"s3://(?!([0-9]+\.){3}[0-9]+/)(?![^/]*\.\.)([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.+)", re.DOTALL)


class ObjectHead(NamedTuple):
    """What HEAD tells of an object."""

    size: int
    etag: str
    metadata: dict[str, str]


@cache
def s3_client() -> S3Client:
    """Return the container's one client. The environment says where S3 is (`AWS_ENDPOINT_URL`)."""
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 5},
        connect_timeout=5,  # seconds
        read_timeout=60,  # seconds; S3 copies up to 5 GiB within it
        max_pool_connections=MAX_CONNECTIONS,
    )
    return boto3.client("s3", config=config)


def in_parallel(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Call a function that asks S3 for each item, many at once; return the results in the items' order."""
    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
        return list(pool.map(function, items))


def read_ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield the results in the items' order, of which only a few are in memory: a receipt may have 100 kB and more."""
    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
        pending: deque[Future[Result]] = deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 2 * CONCURRENT_REQUESTS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def parse_s3_uri(uri: str) -> tuple[str, str]:
    """Split `s3://bucket/key`; a prefix is a key that ends in `/`."""
    match = _URI.fullmatch(uri)
    if not match or not is_encodable(uri):
        raise InvalidRequestError(f"{uri!r} is not an S3 URI: write s3://bucket/key")
    return match[2], match[3]


@contextmanager
def s3_calls(uri: str) -> Iterator[None]:
    """Translate what S3 calls on `uri` raise."""
    try:
        yield
    except S3_EXCEPTIONS as error:
        raise s3_failure(error, uri) from error


def s3_failure(error: Exception, uri: str) -> BatchPredictionError:
    """Return the named error for what an S3 call on `uri` raised; raise it `from error`."""
    failure = failure_of_call(error)
    return ERRORS[failure.error](f"{uri} {failure.reason}", failure.advice)


def error_code(error: Exception) -> str:
    """Return S3's code, "" where there was no answer."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def head_object(client: S3Client, uri: str, version_id: str | None = None) -> ObjectHead:
    """Return size, ETag and metadata of an object, or of one version of it."""
    bucket, key = parse_s3_uri(uri)
    version: Any = {"VersionId": version_id} if version_id else {}
    with s3_calls(f"{uri} version {version_id}" if version_id else uri):
        head = client.head_object(Bucket=bucket, Key=key, **version)
    return ObjectHead(head["ContentLength"], head["ETag"], head["Metadata"])


def find_object(client: S3Client, uri: str) -> ObjectHead | None:
    """Return size, ETag and metadata of an object; None if there is none that may be seen."""
    try:
        return head_object(client, uri)
    except InputNotFoundError:
        return None


def bucket_region(client: S3Client, bucket: str) -> str | None:
    """Return a bucket's region, which S3 says to whoever asks, also to those that it refuses; None if it does not say it.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html
    """
    uri = f"s3://{bucket}/"
    answer: Any
    with s3_calls(uri):
        try:
            answer = client.head_bucket(Bucket=bucket)
        except ClientError as error:  # 301, 403: what is wrong with the bucket, the requests say that need more of it
            if isinstance(failure := s3_failure(error, uri), TransientS3Error):
                raise failure from error
            answer = error.response
    region: str | None = answer["ResponseMetadata"].get("HTTPHeaders", {}).get(REGION_HEADER)
    return region


def read_range(client: S3Client, uri: str, start: int, stop: int, etag: str) -> bytes:
    """Return the bytes [start, stop) of an object, which must still have this ETag."""
    data = _read_body(client, uri, start, stop, etag)
    if len(data) != stop - start:
        raise InputChangedError(f"{uri} is shorter than it was when it was planned: bytes=[{start}, {stop}) are not all there")
    return data


def _read_body(
    client: S3Client, uri: str, start: int = 0, stop: int | None = None, etag: str | None = None, max_bytes: int | None = None
) -> bytes:
    """Read an object or a range of it; a body that breaks is taken up at the byte where it broke, of the same object."""
    bucket, key = parse_s3_uri(uri)
    data = bytearray()
    with s3_calls(uri):
        for attempt in range(1, BODY_ATTEMPTS + 1):
            arrived = len(data)
            options: Any = {"IfMatch": etag} if etag else {}
            if start + arrived or stop is not None:
                options["Range"] = f"bytes={start + arrived}-{'' if stop is None else stop - 1}"
            response = client.get_object(Bucket=bucket, Key=key, **options)
            etag = response["ETag"]
            if max_bytes is not None and response["ContentLength"] > max_bytes:
                response["Body"].close()  # S3 would send it all
                raise InvalidRequestError(
                    f"{uri} has {response['ContentLength']} bytes, more than the {max_bytes} that it may have: split the run"
                )
            try:
                for piece in response["Body"].iter_chunks(PIECE_BYTES):
                    data += piece
            except TRANSIENT_EXCEPTIONS as error:
                if attempt == BODY_ATTEMPTS:
                    raise
                if isinstance(error, FlexibleChecksumError):
                    del data[arrived:]  # all bytes have come, but not those that were sent
            else:
                break
    return bytes(data)


def get_text(client: S3Client, uri: str, *, max_bytes: int | None = None) -> str:
    """Return a whole object in UTF-8; ValueError if it is not, InvalidRequestError if it has more than `max_bytes`."""
    try:
        return _read_body(client, uri, max_bytes=max_bytes).decode()
    except InputChangedError as error:
        # No version was asked for, so the new one is as good; but what has come is of the old one.
        raise TransientS3Error(f"{uri} was replaced while it was read") from error


def get_json(client: S3Client, uri: str, *, max_bytes: int | None = None) -> Any:
    """Return the value of a JSON object; ValueError if it is not JSON, or nested deeper than anything written here."""
    return parse_json(get_text(client, uri, max_bytes=max_bytes))


def parse_json(text: str) -> Any:
    """Return the value of a text; ValueError if it is not JSON, or nested deeper than anything written here."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def get_document(client: S3Client, uri: str, shape: type[Shape]) -> Shape | None:
    """Return the value of a JSON object that has a shape; None if there is none, or something else: it is only a hint."""
    try:
        value = get_json(client, uri)
    except (InputNotFoundError, ValueError):
        return None
    return value if conforms(value, shape) else None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def only_in_place_of(etag: str | None) -> Any:
    """Return the condition by which a write replaces the object with this ETag or, if it is None, nothing."""
    return {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}


def put_json(client: S3Client, uri: str, value: object, *, indent: int | None = None, condition: Any = None) -> str:
    """Write a value as a JSON object, and return its ETag; InputChangedError if a condition (`only_in_place_of`) does not hold."""
    separators = (",", ":") if indent is None else None
    return put_text(client, uri, json_text(value, indent=indent, separators=separators), condition=condition)


def put_text(client: S3Client, uri: str, text: str, *, condition: Any = None) -> str:
    """Write a text that is JSON, in UTF-8, as `put_json` does."""
    return put_bytes(client, uri, text.encode(), "application/json", condition=condition)


def put_bytes(client: S3Client, uri: str, content: bytes, content_type: str, *, condition: Any = None) -> str:
    """Write an object, as `put_json` does."""
    bucket, key = parse_s3_uri(uri)
    options: Any = ({"Tagging": WORK_TAG} if WORK_MARK in key else {}) | (condition or {})
    with s3_calls(uri):
        return client.put_object(Bucket=bucket, Key=key, Body=content, ContentType=content_type, **options)["ETag"]


def list_pages(client: S3Client, uri: str, *, delimiter: str = "") -> Iterator[list[tuple[str, int, str]]]:
    """Yield (URI, size, ETag) of objects under a prefix, page by page, but for those with the delimiter after the prefix."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")  # which may be empty: a whole bucket
    options: Any = {"Delimiter": delimiter} if delimiter else {}
    with s3_calls(uri):
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, **options):
            yield [(f"s3://{bucket}/{item['Key']}", item["Size"], item["ETag"]) for item in page.get("Contents", ())]


def modified_under(client: S3Client, uri: str) -> dict[str, datetime]:
    """Return when each object under a prefix was written, by its URI, in S3's own time."""
    bucket, prefix = parse_s3_uri(uri)
    with s3_calls(uri):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {f"s3://{bucket}/{item['Key']}": item["LastModified"] for page in pages for item in page.get("Contents", ())}


def delete_object(client: S3Client, uri: str, etag: str) -> None:
    """Delete an object if it still has this ETag; another in its place stays."""
    bucket, key = parse_s3_uri(uri)
    try:
        client.delete_object(Bucket=bucket, Key=key, IfMatch=etag)
    except S3_EXCEPTIONS as error:
        if error_code(error) not in ("PreconditionFailed", "412", "NoSuchKey", "404"):
            raise s3_failure(error, uri) from error


def delete_objects(client: S3Client, uris: Iterable[str]) -> list[str]:
    """Delete objects of one bucket; return the keys that S3 refused to delete."""
    refused: list[str] = []
    listed = list(uris)
    for start in range(0, len(listed), DELETE_BATCH):
        batch = listed[start : start + DELETE_BATCH]
        bucket, _ = parse_s3_uri(batch[0])
        keys: Any = [{"Key": parse_s3_uri(uri)[1]} for uri in batch]
        with s3_calls(batch[0]):
            answer = client.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
        refused += [error.get("Key", "") for error in answer.get("Errors", ())]
    return refused
