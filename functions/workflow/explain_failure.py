"""Explain Failure: the first lost chunk's own error name, what happened and where, and what to do."""

from functools import partial

from .accounting import located, read_error_record
from .column_types import widened
from .contract import Document, ErrorRecord, Explanation, Plan
from .decision import read_decision, refutations
from .errors import (
    ColumnTypeError,
    IncompleteOutputError,
    InputChangedError,
    InputNotFoundError,
    MissingChunksError,
    TransientS3Error,
    UnsafeSplitError,
    told_by,
    with_advice,
)
from .fingerprint import is_incomplete
from .invocation import entry_point, log
from .published import is_whole, published_output
from .s3 import S3Client, find_object, in_parallel, list_pages, s3_client
from .utf8 import encodable
from .work import ERROR_RECORD_SUFFIX, IDENTITY_METADATA, decision_uri

RECORDS_READ = 1000
"""Error records that are read, in the plan's order: enough to find the first one of this execution, within the function's time."""

RESCANNED_BYTES = 2 * 10**9
"""Inputs up to this size are read once more before anything else is blamed for the loss of a guessed chunk."""

NEVER_OF_A_WRONG_CUT = {error.__name__ for error in (InputChangedError, InputNotFoundError, TransientS3Error)}
"""Errors that a chunk ends with whatever bytes it reads."""

# The engine's own names that a Task may end with; if there is a plan, its other names are the Distributed Map's.
TASK_ERRORS = ("States.Timeout", "States.TaskFailed", "States.HeartbeatTimeout")


@entry_point
def lambda_handler(event: Document, context: object) -> Explanation:  # noqa: ARG001 - Lambda passes it
    """Add what the execution ends with to its document."""
    explanation = explain_failure(s3_client(), event)
    log("failure explained", **{field: found for field, found in explanation.items() if field != "message"})  # type: ignore[arg-type]
    return explanation


def explain_failure(client: S3Client, document: Document) -> Explanation:
    """Explain by the chunks that were lost in this execution, else by the failure itself, and say whether it can go on."""
    failure = document["failure"]
    plan = document.get("plan")
    error = failure["Error"]
    message, advice = told_by(failure)
    if not plan or "continuation" in plan:
        return explanation_of(error, message, advice)
    has_lost_chunks = error == MissingChunksError.__name__ or (error.startswith("States.") and error not in TASK_ERRORS)
    if not has_lost_chunks:  # those that were tolerated do not explain any other failure
        if published_so_far := what_is_published(client, document):
            fact, advice = published_so_far
            message = f"{message}. {fact}"
        doubtful = plan["boundaries"] == "guessed" and error == UnsafeSplitError.__name__
        refuted = error == ColumnTypeError.__name__ and is_decision_refuted(client, plan)
        return explanation_of(error, message, advice, plan_exactly=doubtful or refuted)
    # Only lost chunks lead on to the merge: a merge that fails by itself has looked for a published output, and must not go round.
    arn = document["execution"]["arn"]
    published = published_output(client, document["request"]["output_s3_uri"], plan["identity"], arn) is not None
    try:
        lost = lost_chunks(client, plan, arn)
    except InputNotFoundError as unread:  # the failure itself says enough
        log("error records not read", error=str(unread))
        lost = []
    if not lost:
        return explanation_of(error, message, advice, published=published)
    refuted = any(record["error"] == ColumnTypeError.__name__ for record in lost) and is_decision_refuted(client, plan)
    plan_exactly = refuted or is_plan_doubtful(plan, lost)
    first = lost[0]
    message = told_of_chunks(lost, plan["chunks"])
    return explanation_of(first["error"], message, first["advice"], plan_exactly=plan_exactly, published=published)


def explanation_of(
    error: str, message: str, advice: str | None, *, plan_exactly: bool = False, published: bool = False
) -> Explanation:
    """Return the explanation; only its cause has message and advice in one text."""
    return {
        "error": error,
        "message": message,
        "advice": advice,
        "cause": with_advice(message, advice),
        "plan_exactly": plan_exactly,
        "published": published,
    }


def is_decision_refuted(client: S3Client, plan: Plan) -> bool:
    """Whether chunks have found a column to be wider than decided: then the next decision is, so that this ends with the kinds."""
    prefix = plan["agreed"]["work_s3_uri"]
    try:
        decision = read_decision(client, decision_uri(prefix), plan["decision_sha256"])
        left = [uri for page in list_pages(client, f"{prefix}chunk-") for uri, _, _ in page]
        types = decision["column_types"]
        return widened(types, refutations(client, left), decision["numeric_columns"]) != types
    except (InputNotFoundError, IncompleteOutputError):  # deleted by another execution that has published
        return False


def what_is_published(client: S3Client, document: Document) -> tuple[str, str] | None:
    """Say that the output of an execution that fails is there, as it is right, and how to complete the rest; None if it is not."""
    output, plan = document["request"]["output_s3_uri"], document["plan"]
    head = find_object(client, output)
    if head is None or not is_whole(head):
        return None
    identity = head.metadata.get(IDENTITY_METADATA, "")
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

    A chunk that has cut two quoted fields does not know it, and may fail by any error. If counting all quotes takes a minute at
    most, that is ruled out before anything else is blamed. No boundary belongs to a grouped chunk.
    """
    if plan["boundaries"] == "exact":
        return False
    if any(record["error"] == UnsafeSplitError.__name__ for record in lost):
        return True
    looks_wrong = any("byte_range" in record and record["error"] not in NEVER_OF_A_WRONG_CUT for record in lost)
    return looks_wrong and plan["input_bytes"] <= RESCANNED_BYTES


def lost_chunks(client: S3Client, plan: Plan, execution_arn: str) -> list[ErrorRecord]:
    """Return this execution's error records in the plan's order; those of earlier executions stay in the work prefix."""
    pages = list_pages(client, f"{plan['agreed']['work_s3_uri']}chunk-")
    uris = [uri for page in pages for uri, _, _ in page if uri.endswith(ERROR_RECORD_SUFFIX)]
    records = in_parallel(partial(read_error_record, client), uris[:RECORDS_READ])
    mine = (record for record in records if record and record["execution_arn"] == execution_arn)
    return sorted(mine, key=lambda record: record["chunk_index"])


def told_of_chunks(lost: list[ErrorRecord], chunks: int) -> str:
    """Return what happened to the first chunk, and how many others were lost."""
    more = len(lost) - 1
    at_least = "at least " if len(lost) == RECORDS_READ else ""
    others = f" ({at_least}{more} more {'chunk' if more == 1 else 'chunks'} failed)" if more else ""
    return encodable(f"{located(lost[0], chunks)}: {lost[0]['message']}{others}")
