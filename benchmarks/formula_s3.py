"""An S3 in memory, of one bucket, that holds formulas beside what is written to it, keeps S3's rules, and counts.

Its methods are those of boto3's client that the workflow calls, with the same keywords, answers and errors. A copy by S3 is a
reference here: nothing is copied, so an output of 10 TB is as large as the list of its parts. No call waits.
"""

from __future__ import annotations

import hashlib
import heapq
import os
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import wraps
from itertools import count, islice
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self

from botocore.exceptions import ClientError, ParamValidationError

from benchmarks.formula_objects import Content, Joined, Reference, SmallObjects, Stored
from support import s3_rules
from support.s3_rules import PAGE, RefusedError, Uploaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Request = dict[str, Any]

TRANSFER_BYTES = 8 * 2**20
"""boto3's `upload_fileobj` sends larger files in parts of this size."""

MODIFIED = datetime(2026, 11, 1, tzinfo=UTC)


class Entry(NamedTuple):
    """An object of the bucket."""

    content: Content
    etag: str
    metadata: dict[str, str]


class Part(NamedTuple):
    """An uploaded part."""

    reference: Reference
    etag: str


@dataclass
class Upload:
    """A multipart upload that has not ended."""

    key: str
    metadata: dict[str, str]
    parts: dict[int, Part] = field(default_factory=dict)


@dataclass
class Usage:
    """What was asked of S3."""

    calls: Counter[str] = field(default_factory=Counter)
    """By operation; failed ones count, too."""
    bytes_read: int = 0
    """Of bodies, as far as the caller has read them."""
    bytes_written: int = 0
    """Of bodies. What S3 copies by itself is in neither."""

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.calls - other.calls, self.bytes_read - other.bytes_read, self.bytes_written - other.bytes_written)


def _operation(required: str, optional: str = "") -> Callable[[Callable[[Any, Request], Any]], Callable[..., Any]]:
    """Make a method a call of S3: one at a time, counted, with known parameters only, refused as S3 refuses."""
    needed, known = set(required.split()), set(f"{required} {optional}".split())

    def decorate(method: Callable[[Any, Request], Any]) -> Callable[..., Any]:
        name = method.__name__.title().replace("_", "")

        @wraps(method)
        def call(self: FormulaS3, **request: Any) -> Any:
            if wrong := (needed - set(request)) | (set(request) - known):
                raise ParamValidationError(report=f"{name}: missing or unknown {', '.join(sorted(wrong))}")
            with self._lock:
                self.usage.calls[name] += 1
                try:
                    self._require_bucket(request["Bucket"])
                    return {"ResponseMetadata": {"HTTPStatusCode": 200, "RetryAttempts": 0}, **method(self, request)}
                except RefusedError as refused:
                    # HEAD has no body that could name a code.
                    code = str(refused.status) if name.startswith("Head") else refused.code
                    raise ClientError(
                        {
                            "Error": {"Code": code, "Message": refused.message},
                            "ResponseMetadata": {"HTTPStatusCode": refused.status},
                        },
                        name,
                    ) from None

        return call

    return decorate


class FormulaS3:
    """A client of the one bucket."""

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket
        self.usage = Usage()
        self._lock = threading.RLock()
        self._entries: dict[str, Entry] = {}
        self._prefixes: list[SmallObjects] = []
        self._uploads: dict[str, Upload] = {}
        self._upload_numbers = count(1)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        self._file_bytes = 0

    def close(self) -> None:
        """Forget everything that was written."""
        self._file.close()

    # What the benchmark does behind S3's back: neither counted nor checked.

    def add(self, key: str, content: Content) -> str:
        """Put a formula at a key; return its ETag."""
        etag = _md5(f"{key} {content.size}".encode())
        with self._lock:
            self._entries[key] = Entry(content, etag, {})
        return etag

    def add_bytes(self, key: str, body: bytes) -> str:
        """Put bytes at a key; return their ETag."""
        with self._lock:
            return self._store(key, body, {}).etag

    def add_prefix(self, objects: SmallObjects) -> None:
        """Add objects that cannot be deleted or replaced."""
        self._prefixes.append(objects)

    def content(self, key: str) -> Content:
        """Return the bytes at a key; KeyError if there are none."""
        with self._lock:
            if entry := self._find(key):
                return entry.content
        raise KeyError(key)

    def used(self) -> Usage:
        """Return a copy of what has been asked so far."""
        with self._lock:
            return Usage(Counter(self.usage.calls), self.usage.bytes_read, self.usage.bytes_written)

    # Objects

    @_operation("Bucket Key", "IfMatch")
    def head_object(self, request: Request) -> Request:
        entry = self._existing(request["Key"])
        s3_rules.require_match(request.get("IfMatch"), entry.etag)
        return {"ContentLength": entry.content.size, **_described(entry)}

    @_operation("Bucket Key", "IfMatch Range")
    def get_object(self, request: Request) -> Request:
        entry = self._existing(request["Key"])
        s3_rules.require_match(request.get("IfMatch"), entry.etag)
        size = entry.content.size
        start, stop = s3_rules.read_range(request["Range"], size) if "Range" in request else (0, size)
        answer = {"Body": Body(entry.content, start, stop, self._served), "ContentLength": stop - start, **_described(entry)}
        return {**answer, "ContentRange": f"bytes {start}-{stop - 1}/{size}"} if "Range" in request else answer

    @_operation("Bucket Key Body", "IfMatch IfNoneMatch Metadata ContentType Tagging")
    def put_object(self, request: Request) -> Request:
        body = self._received(request["Body"])
        if len(body) > s3_rules.MAX_PART_BYTES:
            raise RefusedError("EntityTooLarge")
        self._require_writable(request)
        return {"ETag": self._store(request["Key"], body, request.get("Metadata", {})).etag}

    @_operation("Bucket Key", "IfMatch")
    def delete_object(self, request: Request) -> Request:
        entry = self._find(request["Key"])
        s3_rules.require_writable(request, entry and entry.etag)
        if self._is_formula(request["Key"]):
            raise RefusedError("AccessDenied")
        self._entries.pop(request["Key"], None)
        return {}

    @_operation("Bucket Delete")
    def delete_objects(self, request: Request) -> Request:
        keys = [item["Key"] for item in request["Delete"]["Objects"]]
        s3_rules.require_few(keys)
        refused = {key for key in keys if self._is_formula(key)}
        for key in keys:
            if key not in refused:
                self._entries.pop(key, None)
        deleted = [] if request["Delete"].get("Quiet") else [{"Key": key} for key in keys if key not in refused]
        errors = [{"Key": key, "Code": "AccessDenied", "Message": "a formula"} for key in keys if key in refused]
        return {**({"Deleted": deleted} if deleted else {}), **({"Errors": errors} if errors else {})}

    def upload_fileobj(self, file: IO[bytes], bucket: str, key: str, ExtraArgs: Request | None = None) -> None:  # noqa: N803 - boto3's name
        """Send a file as boto3 does: at once, or in parts."""
        target = {"Bucket": bucket, "Key": key}
        block = file.read(TRANSFER_BYTES)
        if len(block) < TRANSFER_BYTES:
            self.put_object(**target, Body=block, **(ExtraArgs or {}))
            return
        target["UploadId"] = self.create_multipart_upload(**target, **(ExtraArgs or {}))["UploadId"]
        parts: list[Request] = []
        while block:
            number = len(parts) + 1
            parts.append({"PartNumber": number, "ETag": self.upload_part(**target, PartNumber=number, Body=block)["ETag"]})
            block = file.read(TRANSFER_BYTES)
        self.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})

    # Multipart uploads

    @_operation("Bucket Key", "ContentType Metadata ChecksumAlgorithm")
    def create_multipart_upload(self, request: Request) -> Request:
        upload_id = f"upload-{next(self._upload_numbers):06}"
        self._uploads[upload_id] = Upload(request["Key"], request.get("Metadata", {}))
        return {"Bucket": self.bucket, "Key": request["Key"], "UploadId": upload_id}

    @_operation("Bucket Key UploadId PartNumber Body")
    def upload_part(self, request: Request) -> Request:
        parts = self._upload(request).parts
        body = self._received(request["Body"])
        s3_rules.require_part_number(request["PartNumber"])
        if len(body) > s3_rules.MAX_PART_BYTES:
            raise RefusedError("EntityTooLarge")
        part = Part(Reference(self._stored(body), 0, len(body)), _md5(body))
        parts[request["PartNumber"]] = part
        return {"ETag": part.etag}

    @_operation("Bucket Key UploadId PartNumber CopySource", "CopySourceRange CopySourceIfMatch")
    def upload_part_copy(self, request: Request) -> Request:
        parts = self._upload(request).parts
        s3_rules.require_part_number(request["PartNumber"])
        source = request["CopySource"]
        bucket, key = (source["Bucket"], source["Key"]) if isinstance(source, dict) else source.lstrip("/").split("/", 1)
        self._require_bucket(bucket)
        entry = self._existing(key)
        s3_rules.require_match(request.get("CopySourceIfMatch"), entry.etag)
        start, stop = s3_rules.copied_range(request.get("CopySourceRange"), entry.content.size)
        part = Part(Reference(entry.content, start, stop), _md5(f"{entry.etag} {start} {stop}".encode()))
        parts[request["PartNumber"]] = part
        return {"CopyPartResult": {"ETag": part.etag, "LastModified": MODIFIED}}

    @_operation("Bucket Key UploadId", "MultipartUpload IfMatch IfNoneMatch MpuObjectSize")
    def complete_multipart_upload(self, request: Request) -> Request:
        upload = self._upload(request)
        s3_rules.require_complete(
            request, {number: Uploaded(part.etag, part.reference.size) for number, part in upload.parts.items()}
        )
        self._require_writable(request)
        parts = [upload.parts[part["PartNumber"]] for part in request["MultipartUpload"]["Parts"]]
        etags = bytes.fromhex("".join(part.etag.strip('"') for part in parts))
        etag = f'"{hashlib.md5(etags).hexdigest()}-{len(parts)}"'
        self._entries[upload.key] = Entry(Joined([part.reference for part in parts]), etag, upload.metadata)
        del self._uploads[request["UploadId"]]
        return {"Bucket": self.bucket, "Key": upload.key, "ETag": etag}

    @_operation("Bucket Key UploadId")
    def abort_multipart_upload(self, request: Request) -> Request:
        self._upload(request)
        del self._uploads[request["UploadId"]]
        return {}

    # Listings

    def get_paginator(self, operation: str) -> Paginator:
        return Paginator(getattr(self, operation), _NEXT_PAGE[operation])

    @_operation("Bucket", "Prefix MaxKeys StartAfter ContinuationToken")
    def list_objects_v2(self, request: Request) -> Request:
        prefix, limit = request.get("Prefix", ""), min(request.get("MaxKeys", PAGE), PAGE)
        after = request.get("ContinuationToken") or request.get("StartAfter", "")
        found = list(islice(self._listed(prefix, after), limit + 1))
        page = [{"Key": key, "Size": size, "ETag": etag, "LastModified": MODIFIED} for key, size, etag in found[:limit]]
        answer = {"Name": self.bucket, "Prefix": prefix, "KeyCount": len(page), "MaxKeys": limit}
        return {
            **answer,
            **({"Contents": page} if page else {}),
            **_continued(found, limit, {"NextContinuationToken": "Key"}, page),
        }

    @_operation("Bucket Key UploadId", "MaxParts PartNumberMarker")
    def list_parts(self, request: Request) -> Request:
        limit, after = min(request.get("MaxParts", PAGE), PAGE), int(request.get("PartNumberMarker", 0))
        found = [(number, part) for number, part in sorted(self._upload(request).parts.items()) if number > after]
        page = [
            {"PartNumber": number, "ETag": part.etag, "Size": part.reference.size, "LastModified": MODIFIED}
            for number, part in found[:limit]
        ]
        return {**({"Parts": page} if page else {}), **_continued(found, limit, {"NextPartNumberMarker": "PartNumber"}, page)}

    @_operation("Bucket", "Prefix MaxUploads KeyMarker UploadIdMarker")
    def list_multipart_uploads(self, request: Request) -> Request:
        prefix, limit = request.get("Prefix", ""), min(request.get("MaxUploads", PAGE), PAGE)
        after = (request.get("KeyMarker", ""), request.get("UploadIdMarker", ""))
        listed = sorted((upload.key, upload_id) for upload_id, upload in self._uploads.items())
        found = [item for item in listed if item[0].startswith(prefix) and item > after]
        page = [{"Key": key, "UploadId": upload_id, "Initiated": MODIFIED} for key, upload_id in found[:limit]]
        markers = {"NextKeyMarker": "Key", "NextUploadIdMarker": "UploadId"}
        return {**({"Uploads": page} if page else {}), **_continued(found, limit, markers, page)}

    # The bucket

    def _require_bucket(self, bucket: str) -> None:
        if bucket != self.bucket:
            raise RefusedError("NoSuchBucket")

    def _find(self, key: str) -> Entry | None:
        if key in self._entries:
            return self._entries[key]
        for objects in self._prefixes:
            if number := objects.number(key):
                return Entry(objects.content(number), objects.etag(number), {})
        return None

    def _existing(self, key: str) -> Entry:
        entry = self._find(key)
        if entry is None:
            raise RefusedError("NoSuchKey", "The specified key does not exist.")
        return entry

    def _is_formula(self, key: str) -> bool:
        return any(objects.number(key) for objects in self._prefixes)

    def _upload(self, request: Request) -> Upload:
        upload = self._uploads.get(request["UploadId"])
        if upload is None or upload.key != request["Key"]:
            raise RefusedError("NoSuchUpload")
        return upload

    def _require_writable(self, request: Request) -> None:
        entry = self._find(request["Key"])
        s3_rules.require_writable(request, entry and entry.etag)
        if self._is_formula(request["Key"]):
            raise RefusedError("AccessDenied")

    def _received(self, body: Any) -> bytes:
        received: bytes = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else bytes(_read(body))
        self.usage.bytes_written += len(received)
        return received

    def _served(self, n_bytes: int) -> None:
        with self._lock:
            self.usage.bytes_read += n_bytes

    def _stored(self, body: bytes) -> Stored:
        stored = Stored(self._file.fileno(), self._file_bytes, len(body))
        written = 0
        while written < len(body):
            written += os.pwrite(stored.file_descriptor, memoryview(body)[written:], stored.offset + written)
        self._file_bytes += len(body)
        return stored

    def _store(self, key: str, body: bytes, metadata: dict[str, str]) -> Entry:
        self._entries[key] = entry = Entry(self._stored(body), _md5(body), metadata)
        return entry

    def _listed(self, prefix: str, after: str) -> Iterator[tuple[str, int, str]]:
        """Yield (key, size, ETag) in S3's order: of the keys' UTF-8 bytes, which is that of their code points."""
        keys = sorted(key for key in self._entries if key.startswith(prefix) and key > after)
        stored = ((key, self._entries[key].content.size, self._entries[key].etag) for key in keys)
        return heapq.merge(stored, *(_listed_formulas(objects, prefix, after) for objects in self._prefixes))


class Body:
    """The body of an answer: computed as it is read."""

    def __init__(self, content: Content, start: int, stop: int, served: Callable[[int], None]) -> None:
        self._content, self._position, self._stop, self._served = content, start, stop, served

    def read(self, amt: int | None = None) -> bytes:
        stop = self._stop if amt is None or amt < 0 else min(self._position + amt, self._stop)
        data = self._content.read(self._position, stop) if stop > self._position else b""
        self._position = stop
        self._served(len(data))
        return data

    def iter_chunks(self, chunk_size: int = 1024) -> Iterator[bytes]:
        while data := self.read(chunk_size):
            yield data

    def close(self) -> None:
        self._position = self._stop

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Paginator:
    """Calls a listing until it has ended."""

    def __init__(self, listing: Callable[..., Request], next_page: dict[str, str]) -> None:
        self._listing, self._next_page = listing, next_page

    def paginate(self, **request: Any) -> Iterator[Request]:
        while True:
            page = self._listing(**request)
            yield page
            if not page["IsTruncated"]:
                return
            request |= {parameter: page[found] for parameter, found in self._next_page.items()}


_NEXT_PAGE = {
    "list_objects_v2": {"ContinuationToken": "NextContinuationToken"},
    "list_parts": {"PartNumberMarker": "NextPartNumberMarker"},
    "list_multipart_uploads": {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"},
}


def _continued(found: list[Any], limit: int, markers: dict[str, str], page: list[Request]) -> Request:
    """Say whether a listing goes on, and from where."""
    if len(found) <= limit or not page:
        return {"IsTruncated": False}
    return {"IsTruncated": True, **{marker: page[-1][name] for marker, name in markers.items()}}


def _listed_formulas(objects: SmallObjects, prefix: str, after: str) -> Iterator[tuple[str, int, str]]:
    if not (objects.prefix.startswith(prefix) or prefix.startswith(objects.prefix)):
        return
    for number in objects.numbers_after(after):
        key = objects.key(number)
        if key.startswith(prefix):
            yield key, objects.size, objects.etag(number)
        elif key > prefix:
            return


def _described(entry: Entry) -> Request:
    return {"ETag": entry.etag, "Metadata": dict(entry.metadata), "LastModified": MODIFIED}


def _read(body: Any) -> bytes:
    return body.read() if hasattr(body, "read") else body


def _md5(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'
