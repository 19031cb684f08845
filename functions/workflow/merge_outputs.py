"""Merge Outputs: the whole output, published at once, then its report; then the work is deleted."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from accounting import Account, Done, settle
from errors import (
    S3_EXCEPTIONS,
    BatchPredictionError,
    IncompleteOutputError,
    InputChangedError,
    InputNotFoundError,
    OutputExistsError,
    TransientS3Error,
    s3_failure,
)
from log import log
from multipart import MAX_PARTS, CopiedPart, GatheredPart, Part, Piece, parts_of
from rejected import write_rejected
from report import report_of
from s3 import CONCURRENT_REQUESTS, delete_prefix, get_json, head_object, parse_s3_uri, put_json, read_range, s3_calls, s3_client
from work import FINGERPRINT_METADATA, error_record_uri, rejected_uri, report_uri, result_identity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef, CopyPartResultTypeDef, UploadPartOutputTypeDef

    from contract import Chunk, Document, ErrorRecord, Output, Plan, Receipt

PARTS_IN_FLIGHT = 8
"""Parts that are copied or gathered at once: gathered ones take up to 18 MiB of memory each, and as much again to be sent."""

LOST_THE_RACE = ("PreconditionFailed", "412")
UPLOAD_IS_GONE = ("NoSuchUpload",)
"""Also what a completion answers that botocore repeated after its first answer was lost."""


def lambda_handler(event: Document, context: object) -> Output:  # noqa: ARG001 - Lambda passes it
    """Add the output to the execution's document."""
    started = time.monotonic()
    output = merge_outputs(s3_client(), event)
    milliseconds = round(1000 * (time.monotonic() - started))
    log("output published", execution=event["execution"]["name"], milliseconds=milliseconds, **output)
    return output


def merge_outputs(client: S3Client, document: Document) -> Output:
    """Publish the output and its report once, however often this runs."""
    output = published_output(client, document)
    if output is None:
        try:
            output = publish_output(client, document)
        except (IncompleteOutputError, InputNotFoundError):
            # Another execution of the same request may have published, and deleted the work under this one.
            output = published_output(client, document)
            if output is None:
                raise
    if output["complete"] and not document["request"]["keep_work"]:
        delete_work(client, document["plan"])
    return output


def published_output(client: S3Client, document: Document) -> Output | None:
    """Return the output if it is there with its report and is this request's on these inputs: nothing is left to publish."""
    output_s3_uri = document["request"]["output_s3_uri"]
    try:
        report = get_json(client, report_uri(output_s3_uri))
        head = head_object(client, output_s3_uri)
        output: Output = report["output"]
        same_result = report["fingerprint"] == document["plan"]["fingerprint"]
        # An incomplete output is the result of one execution's bad luck: another execution makes its own.
        same_chunks = output["complete"] or report["execution"]["arn"] == document["execution"]["arn"]
        same_object = head.etag == output["etag"] and head.metadata.get(FINGERPRINT_METADATA) == report["identity"]
    except (InputNotFoundError, ValueError, KeyError, TypeError):
        return None
    return output if same_result and same_chunks and same_object else None


def publish_output(client: S3Client, document: Document) -> Output:
    """Account for every chunk, merge the parts, publish, and write the report last."""
    request, plan = document["request"], document["plan"]
    chunks = read_plan(client, plan)
    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
        receipts = list(pool.map(lambda chunk: read_receipt(client, chunk), chunks))
    account = settle(plan, chunks, receipts, request["tolerated_failure_percentage"])
    identity = result_identity(plan["fingerprint"], [chunk["chunk_index"] for chunk in account.missing])
    pieces = pieces_of(account.done)
    etag = merge(client, request["output_s3_uri"], pieces, identity, overwrite=request["overwrite"])
    rejected_s3_uri = None
    if request["on_bad_row"] == "quarantine":
        rejected_s3_uri = rejected_uri(request["output_s3_uri"])
        write_rejected(client, rejected_s3_uri, account)
    output: Output = {
        "output_s3_uri": request["output_s3_uri"],
        "report_s3_uri": report_uri(request["output_s3_uri"]),
        "etag": etag,
        "bytes": sum(piece.size for piece in pieces),
        "rows": sum(done.receipt["rows_written"] for done in account.done),
        "rejected_rows": sum(done.receipt["rejected_rows"] for done in account.done),
        "rejected_s3_uri": rejected_s3_uri,
        "chunks": plan["chunks"],
        "failed_chunks": len(account.missing),
        "complete": not account.missing,
    }
    errors = error_records(client, account, document["execution"]["arn"])
    report = report_of(document, account, output, identity, errors, datetime.now(UTC))
    put_json(client, output["report_s3_uri"], report)
    return output


def read_plan(client: S3Client, plan: Plan) -> list[Chunk]:
    """Return the plan's items."""
    uri = f"s3://{plan['bucket']}/{plan['plan_key']}"
    try:
        chunks: list[Chunk] = get_json(client, uri)
    except ValueError as error:
        raise IncompleteOutputError(f"{uri} is not a plan: {error}") from error
    return chunks


def read_receipt(client: S3Client, chunk: Chunk) -> Receipt | None:
    """Return a chunk's receipt, None where the chunk never finished."""
    try:
        receipt: Receipt = get_json(client, chunk["receipt_s3_uri"])
    except InputNotFoundError:
        return None
    except ValueError as error:
        raise IncompleteOutputError(f"{chunk['receipt_s3_uri']} is not a receipt: {error}") from error
    if not isinstance(receipt, dict):
        raise IncompleteOutputError(f"{chunk['receipt_s3_uri']} is not a receipt")
    return receipt


def pieces_of(done: list[Done]) -> list[Piece]:
    """Return what the output is made of: the first part with its header, the others without."""
    return [
        Piece(
            uri=item.receipt["output_s3_uri"],
            etag=item.receipt["output_etag"],
            start=item.receipt["header_bytes"] if index else 0,
            stop=item.receipt["output_bytes"],
        )
        for index, item in enumerate(done)
    ]


def merge(client: S3Client, output: str, pieces: list[Piece], identity: str, *, overwrite: bool) -> str:
    """Make the pieces one object, visible at once or not at all; return its ETag."""
    parts = list(parts_of(pieces))
    if len(parts) > MAX_PARTS:
        raise IncompleteOutputError(f"{output} would need {len(parts)} parts, more than S3's {MAX_PARTS}: raise chunk_size_mb")
    description: dict[str, Any] = {"ContentType": "text/csv", "Metadata": {FINGERPRINT_METADATA: identity}}
    condition = {} if overwrite else {"IfNoneMatch": "*"}
    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as readers:
        try:
            if len(parts) == 1 and isinstance(parts[0], GatheredPart):
                return put_whole(client, readers, output, parts[0], {**description, **condition})
            return upload_whole(client, readers, output, parts, description, condition)
        except S3_EXCEPTIONS as error:
            return etag_after(client, error, output, identity)


def put_whole(client: S3Client, readers: ThreadPoolExecutor, output: str, part: GatheredPart, options: dict[str, Any]) -> str:
    """Publish an output that fits in memory."""
    bucket, key = parse_s3_uri(output)
    return client.put_object(Bucket=bucket, Key=key, Body=gather(client, readers, part), **options)["ETag"]


def upload_whole(
    client: S3Client,
    readers: ThreadPoolExecutor,
    output: str,
    parts: list[Part],
    description: dict[str, Any],
    condition: dict[str, Any],
) -> str:
    """Publish by a multipart upload, which is aborted on any failure. What the completion itself raises is not translated."""
    bucket, key = parse_s3_uri(output)
    with s3_calls(output):
        # boto3 sends a CRC32 with every part, which S3 refuses unless the upload was created for it.
        created = client.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="CRC32", **description)
    upload_id = created["UploadId"]
    try:
        completed = upload_parts(client, readers, output, upload_id, parts)
        return client.complete_multipart_upload(
            Bucket=bucket,
            Key=key,
            UploadId=upload_id,
            MultipartUpload={"Parts": completed},
            MpuObjectSize=sum(part.size for part in parts),
            **condition,
        )["ETag"]
    except BaseException:
        abort(client, output, upload_id)
        raise


def upload_parts(
    client: S3Client, readers: ThreadPoolExecutor, output: str, upload_id: str, parts: list[Part]
) -> list[CompletedPartTypeDef]:
    """Copy or send every part. On a failure it waits for those in flight: none may arrive after the abort."""
    bucket, key = parse_s3_uri(output)

    def upload(numbered: tuple[int, Part]) -> CompletedPartTypeDef:
        number, part = numbered
        if isinstance(part, CopiedPart):
            return completed_part(number, copy_part(client, output, upload_id, number, part))
        body = gather(client, readers, part)
        with s3_calls(output):
            sent = client.upload_part(Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=body)
        return completed_part(number, sent)

    with ThreadPoolExecutor(PARTS_IN_FLIGHT) as pool:
        return list(pool.map(upload, enumerate(parts, start=1)))


def completed_part(number: int, answer: UploadPartOutputTypeDef | CopyPartResultTypeDef) -> CompletedPartTypeDef:
    """Return what the completion must repeat of a part. An emulator may know no checksums."""
    part: CompletedPartTypeDef = {"PartNumber": number, "ETag": answer["ETag"]}
    if checksum := answer.get("ChecksumCRC32"):
        part["ChecksumCRC32"] = checksum
    return part


def copy_part(client: S3Client, output: str, upload_id: str, number: int, part: CopiedPart) -> CopyPartResultTypeDef:
    """Let S3 copy a range of a part, if it is still the one of its receipt."""
    bucket, key = parse_s3_uri(output)
    source_bucket, source_key = parse_s3_uri(part.piece.uri)
    with part_as_in_receipt(part.piece), s3_calls(part.piece.uri):
        copied = client.upload_part_copy(
            Bucket=bucket,
            Key=key,
            UploadId=upload_id,
            PartNumber=number,
            CopySource={"Bucket": source_bucket, "Key": source_key},
            CopySourceRange=f"bytes={part.piece.start}-{part.piece.stop - 1}",
            CopySourceIfMatch=part.piece.etag,
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
        log("upload not aborted", output_s3_uri=output, upload_id=upload_id, error=str(error))


def etag_after(client: S3Client, error: Exception, output: str, identity: str) -> str:
    """Return the ETag of the output if it is published all the same: by a twin, or by an attempt whose answer was lost."""
    code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
    if code not in (*LOST_THE_RACE, *UPLOAD_IS_GONE):
        raise s3_failure(error, output) from error
    try:
        head = head_object(client, output)
    except InputNotFoundError:
        head = None
    if head and head.metadata.get(FINGERPRINT_METADATA) == identity:
        return head.etag
    if head and code in LOST_THE_RACE:
        raise OutputExistsError(
            f"{output} was written by someone else: choose another output_s3_uri, or set overwrite to true"
        ) from error
    raise TransientS3Error(f"{output} could not be published: its upload was ended, or the output deleted, meanwhile") from error


def error_records(client: S3Client, account: Account, execution_arn: str) -> list[ErrorRecord | None]:
    """Return why each missing chunk is missing, None where this execution left no record."""

    def read(chunk: Chunk) -> ErrorRecord | None:
        try:
            record: ErrorRecord = get_json(client, error_record_uri(chunk["receipt_s3_uri"]))
        except (InputNotFoundError, ValueError):
            return None
        return record if record["execution_arn"] == execution_arn else None

    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
        return list(pool.map(read, account.missing))


def delete_work(client: S3Client, plan: Plan) -> None:
    """Delete the work prefix. The output is published: what cannot be deleted is left to the bucket's lifecycle rule."""
    uri = f"s3://{plan['bucket']}/{plan['work_prefix']}"
    try:
        refused = delete_prefix(client, uri)
    except BatchPredictionError as error:
        log("work not deleted", work_prefix=uri, error=str(error))
    else:
        if refused:
            log("work not deleted", work_prefix=uri, keys=refused[:10], refused=len(refused))
