"""The multipart upload that becomes the output: taken up where an earlier attempt was stopped, never left behind.

`upload.json` in the work prefix says which uploads there were of the same key, then which one is ours. So whatever attempt is
stopped, wherever, the next one finds what it left.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from .contract import UploadRecord
from .errors import IncompleteOutputError, InputChangedError, InputNotFoundError
from .invocation import log
from .multipart import PARTS_IN_FLIGHT, GatheredPart, Part, Piece
from .s3 import CONCURRENT_REQUESTS, S3Client, error_code, get_document, parse_s3_uri, put_json, read_range, s3_calls
from .s3_errors import S3_EXCEPTIONS
from .work import upload_record_uri

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef, CopyPartResultTypeDef, PartTypeDef, UploadPartOutputTypeDef


GATHERED_IN_FLIGHT = 8
"""Parts that pass through memory at once: each takes up to 18 MiB, and as much again to be sent."""


class Upload(NamedTuple):
    """A multipart upload in progress."""

    output: str
    upload_id: str
    uploaded: dict[int, CompletedPartTypeDef]
    """What earlier attempts have sent, by part number."""


def open_upload(client: S3Client, output: str, work_uri: str, parts: Sequence[Part], description: dict[str, Any]) -> Upload:
    """Take up the upload of an earlier attempt that has these very parts, or start one; no other of this run stays behind."""
    digest = hashlib.sha256(repr((parts, description)).encode()).hexdigest()
    record = get_document(client, upload_record_uri(work_uri), UploadRecord)
    upload_id = record and record.get("upload_id")
    if record and upload_id and record["parts_sha256"] == digest:
        uploaded = _uploaded_parts(client, output, upload_id, parts)
        if uploaded is not None:
            return Upload(output, upload_id, uploaded)
    discard_upload(client, output, work_uri)
    bucket, key = parse_s3_uri(output)
    record = {"parts_sha256": digest, "others": sorted(_uploads_of(client, output))}
    put_json(client, upload_record_uri(work_uri), record)
    with s3_calls(output):
        # boto3 sends a CRC32 with every part, which S3 refuses unless the upload was created for it.
        created = client.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="CRC32", **description)
    if created["ResponseMetadata"]["RetryAttempts"]:  # the answer to an attempt before may have been lost, and its upload with it
        for upload_id in _uploads_of(client, output) - {*record["others"], created["UploadId"]}:
            abort(client, output, upload_id)
    put_json(client, upload_record_uri(work_uri), record | {"upload_id": created["UploadId"]})
    return Upload(output, created["UploadId"], {})


def discard_upload(client: S3Client, output: str, work_uri: str) -> None:
    """Abort what an earlier attempt of this run has left: the upload that it noted, or else those that are new since its note."""
    record = get_document(client, upload_record_uri(work_uri), UploadRecord)
    if not record:
        return
    noted = record.get("upload_id")
    for upload_id in [noted] if noted else _uploads_of(client, output) - set(record["others"]):
        abort(client, output, upload_id)


def _uploads_of(client: S3Client, output: str) -> set[str]:
    return {upload_id for uri, upload_id in uploads_under(client, output) if uri == output}


def uploads_under(client: S3Client, uri: str) -> list[tuple[str, str]]:
    """Return (URI, upload id) of all uploads in progress of keys that start with this URI's."""
    bucket, prefix = parse_s3_uri(uri)
    with s3_calls(uri):
        pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
        return [(f"s3://{bucket}/{upload['Key']}", upload["UploadId"]) for page in pages for upload in page.get("Uploads", ())]


def _uploaded_parts(client: S3Client, output: str, upload_id: str, parts: Sequence[Part]) -> dict[int, CompletedPartTypeDef] | None:
    """Return the parts that are there whole, by number; None if the upload is gone."""
    bucket, key = parse_s3_uri(output)
    found: dict[int, CompletedPartTypeDef] = {}
    with s3_calls(output):
        try:
            for page in client.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=upload_id):
                for listed in page.get("Parts", ()):
                    number = listed["PartNumber"]
                    if number <= len(parts) and listed["Size"] == parts[number - 1].size:
                        found[number] = completed_part(number, listed)
        except ClientError as error:
            if error_code(error) == "NoSuchUpload":
                return None
            raise
    return found


def upload_parts(client: S3Client, upload: Upload, parts: Sequence[Part], deadline: float) -> list[CompletedPartTypeDef]:
    """Copy or send the missing parts, beginning none after `deadline`; return all that are there, in order.

    On a failure it waits for those in flight: none may arrive after an abort.
    """
    bucket, key = parse_s3_uri(upload.output)
    memory = threading.BoundedSemaphore(GATHERED_IN_FLIGHT)
    failed = threading.Event()

    def send(number: int, part: Part) -> CompletedPartTypeDef:
        if isinstance(part, Piece):
            return completed_part(number, copy_part(client, upload, number, part))
        with memory:
            body = gather(client, readers, part)
            with s3_calls(upload.output):
                sent = client.upload_part(Bucket=bucket, Key=key, UploadId=upload.upload_id, PartNumber=number, Body=body)
        return completed_part(number, sent)

    def send_unless_late(numbered: tuple[int, Part]) -> CompletedPartTypeDef | None:
        number, part = numbered
        if number in upload.uploaded or failed.is_set() or time.monotonic() >= deadline:
            return upload.uploaded.get(number)
        try:
            return send(number, part)
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as readers, ThreadPoolExecutor(PARTS_IN_FLIGHT) as pool:
        return [sent for sent in pool.map(send_unless_late, enumerate(parts, start=1)) if sent]


def completed_part(number: int, answer: UploadPartOutputTypeDef | CopyPartResultTypeDef | PartTypeDef) -> CompletedPartTypeDef:
    """Return what the completion must repeat of a part. An emulator may know no checksums."""
    part: CompletedPartTypeDef = {"PartNumber": number, "ETag": answer["ETag"]}
    if checksum := answer.get("ChecksumCRC32"):
        part["ChecksumCRC32"] = checksum
    return part


def copy_part(client: S3Client, upload: Upload, number: int, piece: Piece) -> CopyPartResultTypeDef:
    """Let S3 copy a piece, if it is still of the part of its receipt."""
    bucket, key = parse_s3_uri(upload.output)
    source_bucket, source_key = parse_s3_uri(piece.uri)
    with part_as_in_receipt(piece), s3_calls(piece.uri):
        copied = client.upload_part_copy(
            Bucket=bucket,
            Key=key,
            UploadId=upload.upload_id,
            PartNumber=number,
            CopySource={"Bucket": source_bucket, "Key": source_key},
            CopySourceRange=f"bytes={piece.start}-{piece.stop - 1}",
            CopySourceIfMatch=piece.etag,
        )
    return copied["CopyPartResult"]


def gather(client: S3Client, readers: ThreadPoolExecutor, part: GatheredPart) -> bytes:
    """Read small pieces and join them."""

    def read(piece: Piece) -> bytes:
        with part_as_in_receipt(piece):
            data = read_range(client, piece.uri, piece.start, piece.stop, piece.etag)
        if len(data) != piece.size:
            raise IncompleteOutputError(f"{piece.uri} is shorter than its receipt says")
        return data

    return b"".join(readers.map(read, part.pieces))


@contextmanager
def part_as_in_receipt(piece: Piece) -> Iterator[None]:
    """Call a part that is gone, or is not the one of its receipt, what it is: an output that cannot be made whole."""
    try:
        yield
    except (InputChangedError, InputNotFoundError) as error:
        raise IncompleteOutputError(f"the part {piece.uri} is not the one of its receipt: {error}") from error


def abort(client: S3Client, output: str, upload_id: str) -> None:
    """Abort an upload, without hiding why it failed: the bucket's lifecycle rule ends what stays."""
    bucket, key = parse_s3_uri(output)
    try:
        client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
    except S3_EXCEPTIONS as error:
        if error_code(error) != "NoSuchUpload":
            log("upload not aborted", output_s3_uri=output, upload_id=upload_id, error=str(error))
