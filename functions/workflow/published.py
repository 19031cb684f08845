"""What is at the output's key: this very result, or what may be replaced by it, or what must stay."""

from typing import NamedTuple

from .conforms import conforms
from .contract import Document, Output, OutputFound
from .errors import InputNotFoundError, OutputExistsError, TransientS3Error
from .fingerprint import is_incomplete
from .s3 import ObjectHead, S3Client, find_object, get_json, head_object
from .work import IDENTITY_METADATA, PARTS_METADATA, SIZE_METADATA, rejected_uri, report_uri


class Result(NamedTuple):
    """What an output is recognised by. It is known before the output is there, and so can be written into its metadata."""

    identity: str
    size: int
    parts_sha256: str
    """`multipart.digest_of` its pieces."""

    @property
    def metadata(self) -> dict[str, str]:
        """The user metadata that the output is published with."""
        return {IDENTITY_METADATA: self.identity, SIZE_METADATA: str(self.size), PARTS_METADATA: self.parts_sha256}

    def is_in(self, head: ObjectHead) -> bool:
        """Whether an object is this result."""
        return head.size == self.size and self.metadata.items() <= head.metadata.items()


class Standing(NamedTuple):
    """What is at the output's key, if this run may go on."""

    etag: str | None
    """None if nothing is there."""
    is_result: bool
    """Whether it is the result already; otherwise it is what the run may replace."""


def published_output(client: S3Client, output_s3_uri: str, identity: str, execution_arn: str) -> Output | None:
    """Return the output if it is there with its report as the result of this identity: nothing is left to do but to clean up.

    The report has the output's ETag, so bytes of somebody else in its place are found out, whatever their size and metadata.
    """
    try:
        report = get_json(client, report_uri(output_s3_uri))
        head = head_object(client, output_s3_uri)
        output, reported_identity, arn = report["output"], report["identity"], report["execution"]["arn"]
    except (InputNotFoundError, ValueError, KeyError, TypeError):
        return None
    if not conforms(output, Output):
        return None
    # Who could write the report may have named other places.
    places = (output["output_s3_uri"], output["report_s3_uri"]) == (output_s3_uri, report_uri(output_s3_uri))
    places = places and output["rejected_s3_uri"] in (None, rejected_uri(output_s3_uri))
    # An incomplete output is the result of one execution's bad luck: another execution makes its own.
    same_result = reported_identity == identity if output["complete"] else arn == execution_arn
    found = (head.etag, head.size, head.metadata.get(IDENTITY_METADATA))
    same_object = found == (output["etag"], output["bytes"], reported_identity)
    return output if places and same_result and same_object else None


def found_while_planning(client: S3Client, document: Document, identity: str) -> tuple[OutputFound | None, bool]:
    """Return what is at the output's key, and whether it is this result with its report; OutputExistsError if it must stay."""
    request = document["request"]
    output = request["output_s3_uri"]
    head = find_object(client, output)
    if head is None:
        return None, False  # an output that may not be seen may not be written either: the plan's own PUT says so
    found = head.metadata.get(IDENTITY_METADATA, "")
    if found == identity and published_output(client, output, identity, document["execution"]["arn"]):
        return {"etag": head.etag, "is_result": True}, True
    changed = _how_it_changed(client, output, head, identity) if found == identity else None
    is_result = found == identity and changed is None  # it lacks only its report
    if is_result or request["overwrite"]:
        return {"etag": head.etag, "is_result": is_result}, False
    if changed:
        raise OutputExistsError(
            f"{output} is not what this request has published there: {changed}",
            "choose another output_s3_uri, or set overwrite to true to compute it again",
        )
    if is_incomplete(found, identity):
        raise OutputExistsError(
            f"{output} is there without chunks that failed and were tolerated", "set overwrite to true to replace it by the whole"
        )
    raise OutputExistsError(f"{output} exists already", "choose another output_s3_uri, or set overwrite to true")


def standing_while_publishing(client: S3Client, document: Document, result: Result) -> Standing:
    """Return what is at the output's key; OutputExistsError if it must stay, TransientS3Error if a twin's report is to come."""
    request, plan = document["request"], document["plan"]
    output, planned = request["output_s3_uri"], plan["output_found"]
    head = find_object(client, output)
    if head is None:
        return Standing(None, is_result=False)
    is_as_planned = planned is not None and planned["etag"] == head.etag
    is_known_to_be_another = planned is not None and is_as_planned and not planned["is_result"]
    if result.is_in(head) and not is_known_to_be_another:
        return Standing(head.etag, is_result=True)
    found = head.metadata.get(IDENTITY_METADATA, "")
    if found == plan["identity"] and is_whole(head) and not is_known_to_be_another:
        if not is_as_planned:
            raise TransientS3Error(
                f"{output} has just been published by another execution of this request, whose report is to come"
            )
        if result.identity != found:
            raise OutputExistsError(f"{output} is there as a whole: this request's result without some chunks does not replace it")
    is_completed = is_incomplete(found, plan["identity"]) and result.identity == plan["identity"]
    if request["overwrite"] and (is_as_planned or is_completed):
        return Standing(head.etag, is_result=False)
    if is_completed:
        raise OutputExistsError(
            f"{output} has been published without some chunks", "set overwrite to true to replace it by the whole"
        )
    raise OutputExistsError(f"{output} was written by someone else while this run was under way, and is left as it is")


def is_whole(head: ObjectHead) -> bool:
    """Whether a published output still has the size that it was published with."""
    return head.metadata.get(SIZE_METADATA) == str(head.size)


def _how_it_changed(client: S3Client, output: str, head: ObjectHead, identity: str) -> str | None:
    """Say what tells an object with this result's metadata from what was published; None if nothing does."""
    if not is_whole(head):
        return f"it has {head.size} bytes, not {head.metadata.get(SIZE_METADATA, 'those that its metadata should say')}"
    try:
        report = get_json(client, report_uri(output))
        is_rewritten = report["identity"] == identity and report["output"]["etag"] != head.etag
    except (InputNotFoundError, ValueError, KeyError, TypeError):
        return None
    return "it was rewritten, and has another ETag than its report says" if is_rewritten else None
