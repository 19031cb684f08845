"""Merge Outputs: the whole output, published at once, then its report; then the work is deleted."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from accounting import Account, Done, planned_chunks, require_predictions, require_unrefuted_plan, settle
from deadline import NO_DEADLINE, deadline_of
from decision import read_decision
from distributions import StatisticsSum
from entry_point import entry_point
from error_records import read_error_record
from errors import (
    S3_EXCEPTIONS,
    BatchPredictionError,
    IncompleteOutputError,
    InputNotFoundError,
    OutputExistsError,
    TransientS3Error,
    s3_failure,
)
from fingerprint import incomplete_identity
from items import require_chunks, require_segments, segments_of
from log import log
from metrics import put_metrics
from multipart import MAX_PARTS, GatheredPart, Part, Piece, parts_of
from published import published_output
from rejected import write_rejected
from report import report_of
from s3 import CONCURRENT_REQUESTS, batches, delete_prefix, get_json, head_object, parse_s3_uri, put_json, s3_client
from upload import abort, discard_upload, gather, open_upload, upload_parts, uploads_under
from work import IDENTITY_METADATA, decision_uri, error_record_uri, rejected_uri, report_uri, request_prefix

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from mypy_boto3_s3 import S3Client

    from contract import Chunk, Continuation, Document, ErrorRecord, Output, Plan, Receipt, Segment, Unfinished

HAND_OVER_SECONDS = 180
"""Before the function's time is over no further part is begun: those in flight may take up to three attempts of a minute."""

LOST_THE_RACE = ("PreconditionFailed", "412")
UPLOAD_IS_GONE = ("NoSuchUpload",)
"""Also what a completion answers that botocore repeated after its first answer was lost."""


@entry_point
def lambda_handler(event: Document, context: Any) -> Output | Unfinished:
    """Add the output to the execution's document."""
    started = time.monotonic()
    output = merge_outputs(s3_client(), event, deadline_of(context, HAND_OVER_SECONDS))
    milliseconds = round(1000 * (time.monotonic() - started))
    message = "output not whole yet" if "continuation" in output else "output published"
    log(message, execution=event["execution"]["name"], milliseconds=milliseconds, **output)
    return output


def merge_outputs(client: S3Client, document: Document, deadline: float = NO_DEADLINE) -> Output | Unfinished:
    """Publish the output and its report once, however often this runs; what is not done by `deadline` is left to the next run."""
    request, plan = document["request"], document["plan"]
    published = (client, request["output_s3_uri"], plan["identity"], document["execution"]["arn"])
    output: Output | Unfinished | None = published_output(*published)
    if output is None:
        try:
            output = publish_output(client, document, deadline)
        except (IncompleteOutputError, InputNotFoundError, TransientS3Error):
            # Another execution of the same request may have published, and deleted the work under this one.
            output = published_output(*published)
            if output is None:
                raise
    if "continuation" not in output and output["complete"] and not request["keep_work"]:
        delete_work(client, request_prefix(request["output_s3_uri"], plan["identity"]))
    return output


def publish_output(client: S3Client, document: Document, deadline: float) -> Output | Unfinished:
    """Account for every chunk, merge the parts, publish, and write the report last."""
    request, plan = document["request"], document["plan"]
    planned = planned_chunks(document, with_segments(client, read_plan(client, plan)))
    statistics = StatisticsSum()
    receipts = [without_statistics(receipt, statistics) for receipt in read_receipts(client, (item.chunk for item in planned))]
    account = settle(document, planned, receipts)
    errors = error_records(client, account, document["execution"]["arn"])
    require_unrefuted_plan(errors)
    require_predictions(account, statistics.result()["rejected_reasons"])
    decision = read_decision(client, decision_uri(work_uri_of(plan)), plan["decision_sha256"])
    identity = incomplete_identity(plan["identity"], plan["fingerprint"], [chunk["chunk_index"] for chunk in account.missing])
    pieces = pieces_of(account.done)
    etag = published_etag(client, document, identity) or merge(client, document, pieces, identity, deadline)
    if not isinstance(etag, str):
        return {"continuation": etag}
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
    report = report_of(document, decision, account, output, identity, errors, statistics.result(), datetime.now(UTC))
    put_json(client, output["report_s3_uri"], report, indent=2)
    cost = report["estimated_cost"]
    dollars = {"EstimatedDollars": cost["dollars"]["total"]} if cost else {}
    published = {"PublishedRuns": 1, "PublishedRows": output["rows"]}
    put_metrics(published | dollars, execution=document["execution"]["name"], output_s3_uri=output["output_s3_uri"])
    return output


def read_plan(client: S3Client, plan: Plan) -> list[Chunk]:
    """Return the plan's items."""
    uri = f"s3://{plan['bucket']}/{plan['plan_key']}"
    try:
        return require_chunks(get_json(client, uri), work_uri_of(plan))
    except ValueError as error:
        raise IncompleteOutputError(f"{uri} is not a plan: {error}") from error


def with_segments(client: S3Client, chunks: list[Chunk]) -> Iterator[tuple[Chunk, Sequence[Segment]]]:
    """Yield each chunk with its segments, in order; the lists of grouped chunks are read a few at a time."""

    def read(chunk: Chunk) -> Sequence[Segment]:
        if "segments_s3_uri" not in chunk:
            return segments_of(chunk)
        try:
            return require_segments(get_json(client, chunk["segments_s3_uri"]))
        except ValueError as error:
            raise IncompleteOutputError(f"{chunk['segments_s3_uri']} is not a list of segments: {error}") from error

    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
        for batch in batches(chunks, CONCURRENT_REQUESTS):
            yield from zip(batch, pool.map(read, batch), strict=True)


def read_receipts(client: S3Client, chunks: Iterable[Chunk]) -> Iterator[Receipt | None]:
    """Yield each chunk's receipt, in order, read a few ahead: with its statistics one may have 100 kB and more."""
    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
        pending: deque[Future[Receipt | None]] = deque()
        for chunk in chunks:
            pending.append(pool.submit(read_receipt, client, chunk))
            if len(pending) > 2 * CONCURRENT_REQUESTS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def without_statistics(receipt: Receipt | None, statistics: StatisticsSum) -> Receipt | None:
    """Add a receipt's statistics to the others', and drop them: 10,000 receipts are kept at once."""
    if isinstance(receipt, dict):  # else it is refused with what else does not add up
        statistics.add(receipt.pop("statistics", None))
    return receipt


def read_receipt(client: S3Client, chunk: Chunk) -> Receipt | None:
    """Return a chunk's receipt, None where the chunk never finished."""
    try:
        receipt: Receipt = get_json(client, chunk["receipt_s3_uri"])
    except InputNotFoundError:
        return None
    except ValueError as error:
        raise IncompleteOutputError(f"{chunk['receipt_s3_uri']} is not a receipt: {error}") from error
    return receipt


def pieces_of(done: list[Done]) -> list[Piece]:
    """Return what the output is made of: the first part that has a header with it, the others without."""
    with_header = next((index for index, item in enumerate(done) if item.receipt["header_bytes"]), None)
    return [
        Piece(
            uri=item.receipt["output_s3_uri"],
            etag=item.receipt["output_etag"],
            start=0 if index == with_header else item.receipt["header_bytes"],
            stop=item.receipt["output_bytes"],
        )
        for index, item in enumerate(done)
    ]


def published_etag(client: S3Client, document: Document, identity: str) -> str | None:
    """Return the ETag of the output if it is published already, as this result, and only its report is missing."""
    output = document["request"]["output_s3_uri"]
    try:
        head = head_object(client, output)
    except InputNotFoundError:
        return None
    if head.metadata.get(IDENTITY_METADATA) != identity:
        return None
    discard_upload(client, output, work_uri_of(document["plan"]))
    return head.etag


def merge(client: S3Client, document: Document, pieces: list[Piece], identity: str, deadline: float) -> str | Continuation:
    """Make the pieces one object, visible at once or not at all; return its ETag, or how far it is at `deadline`."""
    output = document["request"]["output_s3_uri"]
    parts = parts_of(pieces)
    if len(parts) > MAX_PARTS:
        raise IncompleteOutputError(f"{output} would need {len(parts)} parts, more than S3's {MAX_PARTS}: raise chunk_size_mb")
    description: dict[str, Any] = {"ContentType": "text/csv", "Metadata": {IDENTITY_METADATA: identity}}
    condition = {} if document["request"]["overwrite"] else {"IfNoneMatch": "*"}
    try:
        if len(parts) == 1 and isinstance(parts[0], GatheredPart):
            return put_whole(client, output, parts[0], description | condition)
        return upload_whole(client, output, work_uri_of(document["plan"]), parts, description, condition, deadline)
    except S3_EXCEPTIONS as error:
        return etag_after(client, error, output, identity)


def put_whole(client: S3Client, output: str, part: GatheredPart, options: dict[str, Any]) -> str:
    """Publish an output that fits in memory."""
    bucket, key = parse_s3_uri(output)
    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as readers:
        body = gather(client, readers, part)
    return client.put_object(Bucket=bucket, Key=key, Body=body, **options)["ETag"]


def upload_whole(
    client: S3Client,
    output: str,
    work_uri: str,
    parts: Sequence[Part],
    description: dict[str, Any],
    condition: dict[str, Any],
    deadline: float,
) -> str | Continuation:
    """Publish by a multipart upload, which is aborted on any failure. What the completion itself raises is not translated."""
    bucket, key = parse_s3_uri(output)
    upload = open_upload(client, output, work_uri, parts, description)
    try:
        uploaded = upload_parts(client, upload, parts, deadline)
        if len(uploaded) < len(parts):
            return progress(output, len(upload.uploaded), len(uploaded), len(parts))
        return client.complete_multipart_upload(
            Bucket=bucket,
            Key=key,
            UploadId=upload.upload_id,
            MultipartUpload={"Parts": uploaded},
            MpuObjectSize=sum(part.size for part in parts),
            **condition,
        )["ETag"]
    except BaseException:
        abort(client, output, upload.upload_id)
        raise


def progress(output: str, before: int, now: int, total: int) -> Continuation:
    """Return how far an upload is; raise where that is no further than before, so that no execution goes round for ever."""
    if now == before:
        raise TransientS3Error(f"{output}: no part could be copied before the function's time was over")
    return {"done": now, "total": total}


def etag_after(client: S3Client, error: Exception, output: str, identity: str) -> str:
    """Return the ETag of the output if it is published all the same: by a twin, or by an attempt whose answer was lost."""
    code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
    if code not in (*LOST_THE_RACE, *UPLOAD_IS_GONE):
        raise s3_failure(error, output) from error
    try:
        head = head_object(client, output)
    except InputNotFoundError:
        head = None
    if head and head.metadata.get(IDENTITY_METADATA) == identity:
        return head.etag
    if head and code in LOST_THE_RACE:
        raise OutputExistsError(
            f"{output} was written by someone else: choose another output_s3_uri, or set overwrite to true"
        ) from error
    raise TransientS3Error(f"{output} could not be published: its upload was ended, or the output deleted, meanwhile") from error


def error_records(client: S3Client, account: Account, execution_arn: str) -> list[ErrorRecord | None]:
    """Return why each missing chunk is missing, None where this execution left no record."""

    def read(chunk: Chunk) -> ErrorRecord | None:
        record = read_error_record(client, error_record_uri(chunk["receipt_s3_uri"]))
        return record if record and record["execution_arn"] == execution_arn else None

    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
        return list(pool.map(read, account.missing))


def delete_work(client: S3Client, uri: str) -> None:
    """Delete the work of a published output, however it was cut. What cannot be deleted is left to the bucket's lifecycle rule.

    Also the uploads of large parts whose prediction function was killed: nobody else knows of them.
    """
    try:
        for part, upload_id in uploads_under(client, uri):
            abort(client, part, upload_id)
        refused = delete_prefix(client, uri)
    except BatchPredictionError as error:
        log("work not deleted", work_prefix=uri, error=str(error))
    else:
        if refused:
            log("work not deleted", work_prefix=uri, keys=refused[:10], refused=len(refused))


def work_uri_of(plan: Plan) -> str:
    """Return the work prefix as a URI."""
    return f"s3://{plan['bucket']}/{plan['work_prefix']}"
