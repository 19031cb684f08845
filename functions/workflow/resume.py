"""What an earlier execution of the same request has left in the work prefix, and which of it can be used again."""

from collections.abc import Sequence
from functools import partial

from .accounting import PlannedChunk, read_error_record, require_agreement
from .contract import Model
from .errors import IncompleteOutputError, InputNotFoundError, InternalError, InvalidDataError, ModelError, UnsafeSplitError
from .formats.format import Format
from .s3 import S3Client, get_json, in_parallel, list_pages
from .work import ERROR_RECORD_SUFFIX, rejected_uri

EarlierWork = dict[str, tuple[int, str]]
"""Size and ETag by URI."""


def earlier_work(client: S3Client, prefix: str) -> EarlierWork:
    """List what the chunks of earlier executions have left: a page or two for each thousand of them, one on a first run."""
    try:
        return {uri: (size, etag) for page in list_pages(client, f"{prefix}chunk-") for uri, size, etag in page}
    except InputNotFoundError:
        return {}  # no such bucket, or no permission: the plan's own PUT says so


REFUTING_ERRORS = {error.__name__ for error in (UnsafeSplitError, InvalidDataError, ModelError, InternalError)}
"""Errors of a guessed chunk after which the next execution does not guess again.

The first says that a boundary is wrong. Rows between two wrong boundaries may end a chunk by any of the others, and nobody has
counted the quotes of a large input yet: without this, the same request could fail by its own guess for ever."""


def is_refuted(client: S3Client, earlier: EarlierWork) -> bool:
    """Whether a chunk of this plan was lost by what a boundary inside quotes leads to."""
    found = in_parallel(partial(read_error_record, client), [uri for uri in earlier if uri.endswith(ERROR_RECORD_SUFFIX)])
    return any(record["error"] in REFUTING_ERRORS and "byte_range" in record for record in found if record)


def finished_chunks(
    client: S3Client, chunks: Sequence[PlannedChunk], earlier: EarlierWork, model: Model, target: Format, *, quarantine: bool
) -> set[int]:
    """Return the indexes of the chunks whose receipts agree with plan and probe, and whose parts and lists are as these say."""

    def is_finished(planned: PlannedChunk) -> bool:
        chunk = planned.chunk
        if not {chunk["receipt_s3_uri"], chunk["output_s3_uri"]} <= earlier.keys():
            return False
        try:
            receipt = require_agreement(planned, get_json(client, chunk["receipt_s3_uri"]), model, target)
        except (InputNotFoundError, IncompleteOutputError, ValueError):
            return False
        if quarantine and receipt["rejected_etag"] != earlier.get(rejected_uri(chunk["output_s3_uri"]), (0, ""))[1]:
            return False
        return earlier[chunk["output_s3_uri"]] == (receipt["output_bytes"], receipt["output_etag"])

    finished = in_parallel(is_finished, chunks)
    return {planned.chunk["chunk_index"] for planned, is_done in zip(chunks, finished, strict=True) if is_done}
