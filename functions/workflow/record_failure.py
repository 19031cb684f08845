"""Record Failure: the error record of a chunk that was lost for good, beside the receipt that it never wrote."""

from .contract import EXTENTS, ChildFailure, ErrorRecord
from .errors import told_by
from .invocation import entry_point, log, put_metrics
from .s3 import S3Client, put_json, s3_client
from .work import error_record_uri


@entry_point
def lambda_handler(event: ChildFailure, context: object) -> ErrorRecord:  # noqa: ARG001 - Lambda passes it
    """Keep what Step Functions saw of the chunk."""
    record = record_failure(s3_client(), event)
    log("chunk lost", record=record)
    put_metrics({"LostChunks": 1}, chunk_index=record["chunk_index"], error=record["error"])
    return record


def record_failure(client: S3Client, child: ChildFailure) -> ErrorRecord:
    """Write the record, also of an error that the chunk's function could not report: out of memory, out of time."""
    chunk = child["event"]
    message, advice = told_by(child["failure"])
    record: ErrorRecord = {
        "chunk_index": chunk["chunk_index"],
        **{field: chunk[field] for field in ("data_s3_uri", *EXTENTS, "segments_s3_uri") if field in chunk},  # type: ignore[literal-required, typeddict-item]
        "error": child["failure"]["Error"],
        "message": message,
        "advice": advice,
        "execution_arn": child["execution_arn"],
    }
    put_json(client, error_record_uri(chunk["receipt_s3_uri"]), record)
    return record
