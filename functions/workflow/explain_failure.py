"""Explain Failure: the first lost chunk's own error name, and a cause that says where and what to do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypedDict

from .accounting import located
from .column_types import widened
from .decision import read_decision, refutations
from .entry_point import entry_point
from .error_records import read_error_record
from .errors import (
    ADVICE,
    ColumnTypeError,
    IncompleteOutputError,
    InputChangedError,
    InputNotFoundError,
    TransientS3Error,
    UnsafeSplitError,
    split_advice,
    with_advice,
)
from .failures import CHUNKS_WITHOUT_OUTPUT, message_of
from .fingerprint import is_incomplete
from .log import log
from .published import is_whole, published_output
from .s3 import CONCURRENT_REQUESTS, head_object, list_pages, s3_client
from .utf8 import encodable
from .work import ERROR_RECORD_SUFFIX, IDENTITY_METADATA, decision_uri

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from .contract import Document, ErrorRecord, Explanation, Failure, Plan

RECORDS_READ = 1000
"""Error records that are read, in the plan's order: enough to find the first one of this execution, within the function's time."""

RESCANNED_BYTES = 2 * 10**9
"""Inputs up to this size are read once more before anything else is blamed for the loss of a guessed chunk."""

NEVER_OF_A_WRONG_CUT = {error.__name__ for error in (InputChangedError, InputNotFoundError, TransientS3Error)}
"""Errors that a chunk ends with whatever bytes it reads."""

# The engine's own names that a Task may end with; its others, where a plan exists, are the Distributed Map's.
TASK_ERRORS = ("States.Timeout", "States.TaskFailed", "States.HeartbeatTimeout")


class _Sentence(TypedDict):
    error: str
    cause: str


@entry_point
def lambda_handler(event: Document, context: object) -> Explanation:  # noqa: ARG001 - Lambda passes it
    """Add what the execution ends with to its document."""
    explanation = explain_failure(s3_client(), event)
    # Before Validate Request has answered, the document is still the raw request.
    started = "prediction" in event
    log("failure explained", execution=event["execution"]["name"] if started else None, **explanation)
    return explanation


def explain_failure(client: S3Client, document: Document) -> Explanation:
    """Explain by the chunks that were lost in this execution, else by the failure itself, and say whether it can go on."""
    failure = document["failure"]
    plan = document.get("plan")
    itself: _Sentence = {"error": failure["Error"], "cause": _advised(failure["Error"], message_of(failure))}
    if not plan or "continuation" in plan:
        return {**itself, "plan_exactly": False, "published": False}
    if not is_about_chunks(failure):
        if published_so_far := what_is_published(client, document):
            fact, advice = published_so_far
            itself["cause"] = with_advice(f"{split_advice(message_of(failure))[0]}. {fact}", advice)
        doubtful = plan["boundaries"] == "guessed" and failure["Error"] == UnsafeSplitError.__name__
        refuted = failure["Error"] == ColumnTypeError.__name__ and is_decision_refuted(client, plan)
        return {**itself, "plan_exactly": doubtful or refuted, "published": False}
    # Only lost chunks lead on to the merge: a merge that fails by itself has looked for a published output, and must not go round.
    arn = document["execution"]["arn"]
    published = published_output(client, document["request"]["output_s3_uri"], plan["identity"], arn) is not None
    try:
        lost = lost_chunks(client, plan, arn)
    except InputNotFoundError as error:  # the failure itself says enough
        log("error records not read", execution=document["execution"]["name"], error=str(error))
        lost = []
    if not lost:
        return {**itself, "plan_exactly": False, "published": published}
    refuted = any(record["error"] == ColumnTypeError.__name__ for record in lost) and is_decision_refuted(client, plan)
    plan_exactly = refuted or is_plan_doubtful(plan, lost)
    return {**explain_chunks(lost, plan["chunks"]), "plan_exactly": plan_exactly, "published": published}


def is_decision_refuted(client: S3Client, plan: Plan) -> bool:
    """Whether chunks have found a column to be wider than decided: then the next decision is, so that this ends with the kinds."""
    prefix = f"s3://{plan['bucket']}/{plan['work_prefix']}"
    try:
        decision = read_decision(client, decision_uri(prefix), plan["decision_sha256"])
        left = [uri for page in list_pages(client, f"{prefix}chunk-") for uri, _, _ in page]
        types = decision["column_types"]
        return widened(types, refutations(client, left), decision["numeric_columns"]) != types
    except (InputNotFoundError, IncompleteOutputError):  # deleted by another execution that has published
        return False


def what_is_published(client: S3Client, document: Document) -> tuple[str, str] | None:
    """Say that the output of an execution that fails is there, and how to complete the rest; None where it is not there.

    The merge publishes, then writes what is beside the output, and is retried as often as any state: where that does not help, the
    output stays, because it is right.
    """
    output, plan = document["request"]["output_s3_uri"], document["plan"]
    try:
        head = head_object(client, output)
    except InputNotFoundError:
        return None
    identity = head.metadata.get(IDENTITY_METADATA, "")
    if not is_whole(head):
        return None
    if identity == plan["identity"]:
        return f"{output} is published and whole", "start the same request again: it completes what is missing beside the output"
    planned = plan["output_found"]
    if is_incomplete(identity, plan["identity"]) and (planned is None or planned["etag"] != head.etag):
        return (
            f"{output} is published without the chunks that were lost and tolerated",
            "start the same request again with overwrite set to true: it runs those chunks, and replaces the output by the whole",
        )
    return None


def is_plan_doubtful(plan: Plan, lost: list[ErrorRecord]) -> bool:
    """Whether chunks may have been lost because a guessed boundary lies inside quotes.

    A chunk knows when it has cut one quoted field, but not when it has cut two: then its rows are no rows, and whatever reads them
    may fail by any error. If counting all quotes takes a minute at most, that is ruled out before anything else is blamed. No
    boundary belongs to a grouped chunk.
    """
    if plan["boundaries"] == "exact":
        return False
    if any(record["error"] == UnsafeSplitError.__name__ for record in lost):
        return True
    looks_wrong = any("byte_range" in record and record["error"] not in NEVER_OF_A_WRONG_CUT for record in lost)
    return looks_wrong and plan["input_bytes"] <= RESCANNED_BYTES


def is_about_chunks(failure: Failure) -> bool:
    """Whether the Map failed, or the merge missed chunks; tolerated chunks do not explain any other failure."""
    name = failure["Error"]
    missing = name == "IncompleteOutputError" and CHUNKS_WITHOUT_OUTPUT in failure["Cause"]
    return missing or (name.startswith("States.") and name not in TASK_ERRORS)


def lost_chunks(client: S3Client, plan: Plan, execution_arn: str) -> list[ErrorRecord]:
    """Return this execution's error records in the plan's order; those of earlier executions stay in the work prefix."""
    uris = [
        uri
        for page in list_pages(client, f"s3://{plan['bucket']}/{plan['work_prefix']}chunk-")
        for uri, _, _ in page
        if uri.endswith(ERROR_RECORD_SUFFIX)
    ]
    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
        records = list(pool.map(partial(read_error_record, client), uris[:RECORDS_READ]))
    mine = (record for record in records if record and record["execution_arn"] == execution_arn)
    return sorted(mine, key=lambda record: record["chunk_index"])


def explain_chunks(lost: list[ErrorRecord], chunks: int) -> _Sentence:
    """Speak of the first chunk, and count the others."""
    first = lost[0]
    where = located(first, chunks)
    more = len(lost) - 1
    at_least = "at least " if len(lost) == RECORDS_READ else ""
    others = f" ({at_least}{more} more {'chunk' if more == 1 else 'chunks'} failed)" if more else ""
    what, advice = split_advice(first["message"])
    return {
        "error": first["error"],
        "cause": with_advice(encodable(f"{where}: {what}{others}"), advice or ADVICE.get(first["error"])),
    }


def _advised(error: str, text: str) -> str:
    """Return a text with its own advice, or else with that for the error's name."""
    what, advice = split_advice(text)
    return with_advice(what, advice or ADVICE.get(error))
