"""Merge Outputs: the whole output, published at once, then its report; then the work is deleted."""

import gc
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from .accounting import (
    located,
    planned_chunks,
    read_error_record,
    require_chunks,
    require_predictions,
    require_unrefuted_plan,
    segments_of,
    settle,
)
from .contract import Chunk, Document, ErrorRecord, Output, Plan, Segment, Unfinished
from .decision import read_decision
from .distributions import StatisticsSum
from .errors import (
    BatchPredictionError,
    IncompleteOutputError,
    InputNotFoundError,
    MissingChunksError,
    OutputExistsError,
    TransientS3Error,
)
from .fingerprint import incomplete_identity
from .formats import Format, Measure, input_format, output_format
from .invocation import NO_DEADLINE, OutOfTimeError, entry_point, log, put_metrics, resumable
from .multipart import MAX_PARTS, GatheredPart, Part, Piece, digest_of, parts_of
from .published import Result, published_output, standing_while_publishing
from .report import report_of
from .s3 import (
    CONCURRENT_REQUESTS,
    S3Client,
    delete_objects,
    error_code,
    get_json,
    get_text,
    in_parallel,
    list_pages,
    modified_under,
    only_in_place_of,
    parse_json,
    parse_s3_uri,
    put_json,
    read_ahead,
    s3_client,
    s3_failure,
)
from .s3_errors import S3_EXCEPTIONS
from .side_files import SideFiles, clear_side_files, write_rejected
from .upload import abort, discard_upload, gather, open_upload, upload_parts, uploads_under
from .work import UPLOAD_RECORD, columns_prefix, decision_uri, error_record_uri, rejected_uri, report_uri, request_prefix

HAND_OVER_SECONDS = 180
"""Before the end of the function's time: the parts in flight may take up to three attempts of a minute."""

GARBAGE_THRESHOLD = 100_000
"""New objects after which Python looks for cycles: some hundred receipts with their statistics."""

NOT_AS_EXPECTED = ("PreconditionFailed", "412", "NoSuchKey", "404", "ConditionalRequestConflict", "409", "NoSuchUpload")
"""S3's answers to a conditional write if the key is not as the condition says, or if another write of it is under way.

S3 answers the same if a write succeeded, but its answer was lost and botocore repeated it; a completion then finds no upload.
"""


@entry_point
def lambda_handler(event: Document, context: Any) -> Output | Unfinished:
    """Add the output to the execution's document."""
    work = partial(merge_outputs, s3_client(), event)
    return resumable(work, context, HAND_OVER_SECONDS, whole="output published", unfinished="output not whole yet")


def merge_outputs(client: S3Client, document: Document, deadline: float = NO_DEADLINE) -> Output:
    """Publish the output and its report once, however often this runs; OutOfTimeError if they are not whole by `deadline`."""
    request, plan = document["request"], document["plan"]
    published = (client, request["output_s3_uri"], plan["identity"], document["execution"]["arn"])
    output = published_output(*published)
    if output is None:
        try:
            output = publish_output(client, document, deadline)
        except (IncompleteOutputError, MissingChunksError, InputNotFoundError, OutputExistsError, TransientS3Error):
            # Another execution of the same request may have published, and deleted the work under this one.
            output = published_output(*published)
            if output is None:
                raise
    clean_up(client, document, keep_work=request["keep_work"] or not output["complete"])
    return output


def publish_output(client: S3Client, document: Document, deadline: float) -> Output:
    """Account for every chunk, merge the parts, publish, and write the report last."""
    request, plan = document["request"], document["plan"]
    decision = read_decision(client, decision_uri(plan["agreed"]["work_s3_uri"]), plan["decision_sha256"])
    source, target = input_format(document, decision), output_format(document)
    chunks = read_plan(client, plan, target.ending)
    planned = planned_chunks(document, decision, source, read_ahead(partial(read_segments, client, source), chunks))
    statistics = StatisticsSum()
    with rare_garbage_collection():
        texts = read_ahead(partial(read_receipt, client), chunks)
        receipts = [parse_receipt(chunk, text, statistics) for chunk, text in zip(chunks, texts, strict=True)]
    account = settle(document, planned, receipts, target)
    execution_arn = document["execution"]["arn"]

    def error_record(chunk: Chunk) -> ErrorRecord | None:  # of this execution, if there is one
        record = read_error_record(client, error_record_uri(chunk["receipt_s3_uri"]))
        return record if record and record["execution_arn"] == execution_arn else None

    errors = in_parallel(error_record, account.missing)
    require_unrefuted_plan(errors)
    require_predictions(account, statistics.result()["rejected_reasons"])
    identity = incomplete_identity(plan["identity"], plan["fingerprint"], [chunk["chunk_index"] for chunk in account.missing])
    pieces = target.pieces(client, plan["agreed"]["work_s3_uri"], decision, source, account)
    size = sum(piece.size for piece in pieces) if pieces else len(target.nothing)
    result = Result(identity, size, digest_of(pieces))
    etag = merge(client, document, pieces, result, deadline)
    output: Output = {
        "output_s3_uri": request["output_s3_uri"],
        "report_s3_uri": report_uri(request["output_s3_uri"]),
        "etag": etag,
        "bytes": result.size,
        "rows": sum(done.receipt["rows_written"] for done in account.done),
        "rejected_rows": sum(done.receipt["rejected_rows"] for done in account.done),
        "rejected_s3_uri": rejected_uri(request["output_s3_uri"]) if request["on_bad_row"] == "quarantine" else None,
        "chunks": plan["chunks"],
        "failed_chunks": len(account.missing),
        "complete": not account.missing,
    }
    report = report_of(document, decision, account, output, identity, errors, statistics.result(), datetime.now(UTC))

    def write_report(replaced: str | None = None) -> str:
        return put_json(client, output["report_s3_uri"], report, indent=2, condition=only_in_place_of(replaced))

    side_files = SideFiles(client, output["output_s3_uri"], etag)
    if output["rejected_s3_uri"]:
        side_files.write(output["rejected_s3_uri"], partial(write_rejected, client, output["rejected_s3_uri"], account, source))
    side_files.write(output["report_s3_uri"], write_report)
    side_files.require_output()
    cost = report["estimated_cost"]
    dollars = {"EstimatedDollars": cost["dollars"]["total"]} if cost else {}
    published = {"PublishedRuns": 1, "PublishedRows": output["rows"]}
    put_metrics(published | dollars, output_s3_uri=output["output_s3_uri"])
    return output


def read_plan(client: S3Client, plan: Plan, ending: str) -> list[Chunk]:
    """Return the plan's items."""
    uri = f"s3://{plan['bucket']}/{plan['plan_key']}"
    try:
        return require_chunks(get_json(client, uri), plan["agreed"]["work_s3_uri"], ending)
    except ValueError as error:
        raise IncompleteOutputError(f"{uri} is not the plan: {error}") from error


def read_segments(client: S3Client, source: Format, chunk: Chunk) -> tuple[Chunk, list[Segment], Measure]:
    """Return a chunk with its segments, of which a group has a list, and with what they add up to."""
    listed = chunk.get("segments_s3_uri")
    try:
        segments = segments_of(chunk, get_json(client, listed) if listed else None, source.extent)
    except ValueError as error:
        raise IncompleteOutputError(f"{listed or located(chunk)}: {error}") from error
    return chunk, segments, source.measure(client, segments)


def read_receipt(client: S3Client, chunk: Chunk) -> str | None:
    """Return what stands in the place of a chunk's receipt, None if the chunk never finished."""
    try:
        return get_text(client, chunk["receipt_s3_uri"])
    except InputNotFoundError:
        return None
    except ValueError as error:
        raise _no_receipt(chunk, error) from error


def parse_receipt(chunk: Chunk, text: str | None, statistics: StatisticsSum) -> Any:
    """Return a receipt without its statistics, which are added to the others': 10,000 receipts are kept at once.

    The threads that read do not parse: they would take turns, and each would find the others' receipts in the processor's cache.
    """
    if text is None:
        return None
    try:
        receipt = parse_json(text)
    except ValueError as error:
        raise _no_receipt(chunk, error) from error
    if receipt is None:
        raise _no_receipt(chunk, "it is null")
    if isinstance(receipt, dict):  # else it is refused with what else does not add up
        statistics.add(receipt.pop("statistics", None))
    return receipt


def _no_receipt(chunk: Chunk, reason: object) -> IncompleteOutputError:
    return IncompleteOutputError(f"{chunk['receipt_s3_uri']} is not a receipt: {reason}")


@contextmanager
def rare_garbage_collection() -> Iterator[None]:
    """Look for cycles less often meanwhile: receipts have none, and looking through them took a quarter of a merge's time."""
    before = gc.get_threshold()
    gc.set_threshold(GARBAGE_THRESHOLD, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def merge(client: S3Client, document: Document, pieces: list[Piece], result: Result, deadline: float) -> str:
    """Make the pieces one object, visible at once or not at all, in place of what was seen while planning; return its ETag."""
    output, work_uri = document["request"]["output_s3_uri"], document["plan"]["agreed"]["work_s3_uri"]
    try:
        standing = standing_while_publishing(client, document, result)
    except OutputExistsError:
        discard_upload(client, output, work_uri)
        raise
    if standing.etag and standing.is_result:
        discard_upload(client, output, work_uri)
        return standing.etag
    parts = parts_of(pieces) or [GatheredPart([])]  # without any object there is not even a header
    if len(parts) > MAX_PARTS:
        raise IncompleteOutputError(f"{output} would need {len(parts)} parts, more than S3's {MAX_PARTS}", "raise chunk_size_mb")
    target = output_format(document)
    description: dict[str, Any] = {"ContentType": target.content_type, "Metadata": result.metadata}
    try:
        if len(parts) == 1 and isinstance(parts[0], GatheredPart):
            return put_whole(client, output, parts[0], target.nothing, description, standing.etag)
        return upload_whole(client, output, work_uri, parts, description, standing.etag, deadline)
    except S3_EXCEPTIONS as error:
        if error_code(error) not in NOT_AS_EXPECTED:
            raise s3_failure(error, output) from error
        standing = standing_while_publishing(client, document, result)
        if standing.etag and standing.is_result:  # by a twin, or by an attempt whose answer was lost
            return standing.etag
        raise TransientS3Error(f"{output} could not be published: it was being written or deleted, or its upload ended") from error


def put_whole(
    client: S3Client, output: str, part: GatheredPart, nothing: bytes, description: dict[str, Any], replaced: str | None
) -> str:
    """Publish an output that fits in memory: if it is made of nothing, what the format has for that."""
    bucket, key = parse_s3_uri(output)
    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as readers:
        body = gather(client, readers, part) if part.pieces else nothing
    clear_side_files(client, output, replaced)
    return client.put_object(Bucket=bucket, Key=key, Body=body, **description, **only_in_place_of(replaced))["ETag"]


def upload_whole(
    client: S3Client,
    output: str,
    work_uri: str,
    parts: Sequence[Part],
    description: dict[str, Any],
    replaced: str | None,
    deadline: float,
) -> str:
    """Publish by a multipart upload, left to the next attempt in passing trouble. What the completion raises is not translated."""
    bucket, key = parse_s3_uri(output)
    upload = open_upload(client, output, work_uri, parts, description)
    try:
        uploaded = upload_parts(client, upload, parts, deadline)
        require_all(output, len(upload.uploaded), len(uploaded), len(parts))
        clear_side_files(client, output, replaced)
        return client.complete_multipart_upload(
            Bucket=bucket,
            Key=key,
            UploadId=upload.upload_id,
            MultipartUpload={"Parts": uploaded},
            MpuObjectSize=sum(part.size for part in parts),
            **only_in_place_of(replaced),
        )["ETag"]
    except BaseException as error:
        if not may_go_on(error, output):
            abort(client, output, upload.upload_id)
        raise


def require_all(output: str, before: int, now: int, total: int) -> None:
    """Raise OutOfTimeError unless all parts are there; TransientS3Error if none was added: no execution goes round for ever."""
    if before == now < total:
        raise TransientS3Error(f"{output}: no part could be copied before the function's time was over")
    if now < total:
        raise OutOfTimeError(now, total)


def may_go_on(error: BaseException, output: str) -> bool:
    """Whether the next attempt can go on with the upload. After a conflict S3 wants a new one, and all of its parts again."""
    if isinstance(error, S3_EXCEPTIONS) and error_code(error) not in NOT_AS_EXPECTED:
        error = s3_failure(error, output)
    return isinstance(error, (TransientS3Error, OutOfTimeError))


def clean_up(client: S3Client, document: Document, *, keep_work: bool) -> None:
    """Leave nothing of a published run that nobody needs. What cannot be deleted is left to the bucket's lifecycle rules."""
    output, plan = document["request"]["output_s3_uri"], document["plan"]
    uri = request_prefix(output, plan["identity"])
    try:
        if keep_work:
            discard_upload(client, output, plan["agreed"]["work_s3_uri"])
            return
        refused = delete_work(client, output, uri)
        probe = document["model"]
        refused += delete_objects(client, columns_until(client, output, probe["columns_s3_uri"], probe["stored_model_s3_uri"]))
    except BatchPredictionError as error:
        log("work not deleted", work_prefix=uri, error=str(error))
    else:
        if refused:
            log("work not deleted", work_prefix=uri, keys=refused[:10], refused=len(refused))


def delete_work(client: S3Client, output: str, uri: str) -> list[str]:
    """Delete the work of a published output, and uploads that killed functions or other plans have left; return refused keys."""
    for part, upload_id in uploads_under(client, uri):
        abort(client, part, upload_id)
    refused: list[str] = []
    for page in list_pages(client, uri):
        uris = [listed for listed, _, _ in page]
        for record in uris:
            if record.endswith(f"/{UPLOAD_RECORD}"):
                discard_upload(client, output, record.removesuffix(UPLOAD_RECORD))
        refused += delete_objects(client, uris)
    return refused


def columns_until(client: S3Client, output: str, own: str, stored_model: str | None) -> list[str]:
    """Return what this execution's probe has written, and those before it: one in the same second may still be about to plan."""
    written = modified_under(client, columns_prefix(output))
    earlier = [uri for uri, modified in written.items() if own in written and modified < written[own] and uri != stored_model]
    return [own, *filter(None, [stored_model]), *earlier]
