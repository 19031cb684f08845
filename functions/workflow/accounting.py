"""Whether the receipts add up to the plan. Nothing is published unless they do."""

from __future__ import annotations

from itertools import pairwise
from reprlib import repr as brief
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from .distributions import OTHER
from .errors import ColumnTypeError, IncompleteOutputError, InvalidDataError, MissingChunksError, UnsafeSplitError
from .fingerprint import cut_of, data_sha256_of, fingerprint_of, identity_of
from .inputs import InputObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .contract import Chunk, Decision, Document, ErrorRecord, Model, Plan, Receipt, Segment

MAX_OBJECT_BYTES = 50 * 2**40
"""A little above the largest object that S3 holds: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""

MAX_MILLISECONDS = 10**8
MAX_MEMORY_MB = 10**6
"""Far above Lambda's: other engines may give more."""


class PlannedChunk(NamedTuple):
    """A chunk, and what its segments add up to."""

    chunk: Chunk
    objects: int
    input_bytes: int
    data_sha256: str


class Done(NamedTuple):
    """A chunk that has its part."""

    chunk: Chunk
    receipt: Receipt


class Account(NamedTuple):
    """The chunks of a plan, by whether they have their part; both in the plan's order."""

    done: list[Done]
    missing: list[Chunk]


def settle(document: Document, planned: Sequence[PlannedChunk], receipts: Sequence[Receipt | None]) -> Account:
    """Return what may be published.

    Raises MissingChunksError if too many chunks are missing, IncompleteOutputError if anything does not add up, and
    UnsafeSplitError if the chunks that are there do not prove where they were cut.
    """
    pairs = list(zip(planned, receipts, strict=True))
    account = Account(
        [Done(expected.chunk, receipt) for expected, receipt in pairs if receipt is not None],
        [expected.chunk for expected, receipt in pairs if receipt is None],
    )
    require_enough(account, document["request"]["tolerated_failure_percentage"])
    for expected, receipt in pairs:
        if receipt is not None:
            require_agreement(expected, receipt, document["model"]["model"])
    require_one_layout(account.done)
    require_proven_boundaries(document["plan"], account.missing, [expected.chunk for expected in planned])
    return account


def require_enough(account: Account, tolerated_failure_percentage: float) -> None:
    """Check the tolerance here, too, so that the outcome does not depend on what the engine's Map counts."""
    total = len(account.done) + len(account.missing)
    if account.missing and (not account.done or len(account.missing) * 100 > tolerated_failure_percentage * total):
        raise MissingChunksError(
            f"{len(account.missing)} of {total} chunks have no output, more than tolerated_failure_percentage "
            f"{tolerated_failure_percentage:g} allows; the first is {located(account.missing[0])}"
        )


def planned_chunks(document: Document, decision: Decision, chunks: Iterable[tuple[Chunk, Sequence[Segment]]]) -> list[PlannedChunk]:
    """Check that the chunks are those that were planned, and that they cover every object once, from 0 on and without a gap."""
    plan = document["plan"]
    planned: list[PlannedChunk] = []
    cuts: list[list[int]] = []
    try:
        identity = identity_of(document, decision, _objects_of(chunks, planned, cuts))
    except (KeyError, TypeError, ValueError) as error:
        raise IncompleteOutputError(f"the plan in {plan['plan_key']} cannot be read: {error!r}") from error
    is_decided_otherwise = any(chunk.chunk.get("decision_sha256") != plan["decision_sha256"] for chunk in planned)
    fingerprint = fingerprint_of(identity, plan["decision_sha256"], cuts)
    if is_decided_otherwise or (identity, fingerprint) != (plan["identity"], plan["fingerprint"]):
        input_bytes = sum(chunk.input_bytes for chunk in planned)
        raise IncompleteOutputError(
            f"the plan in {plan['plan_key']} is not the one that was made: it has {len(planned)} chunks and {input_bytes} bytes, "
            f"where {plan['chunks']} chunks and {plan['input_bytes']} bytes were planned, or others"
        )
    return planned


def _objects_of(
    chunks: Iterable[tuple[Chunk, Sequence[Segment]]], planned: list[PlannedChunk], cuts: list[list[int]]
) -> Iterator[InputObject]:
    """Yield the objects that the segments of all chunks make up, of which there may be millions, and note each chunk meanwhile."""
    before: Segment | None = None
    for chunk, segments in chunks:
        if chunk["chunk_index"] != len(planned):
            raise IncompleteOutputError(f"the plan should have chunk {len(planned) + 1} in the place of {located(chunk)}")
        for segment in segments:
            start, stop = segment["byte_range"]
            if not 0 <= start < stop or (start and not (before and _continues(before, segment))):
                raise IncompleteOutputError(f"the plan has a gap or an overlap at {located(chunk)}")
            if before and start == 0:
                yield _whole(before)
            before = segment
        byte_ranges = [segment["byte_range"] for segment in segments]
        cuts.append(cut_of(byte_ranges))
        objects = sum(start == 0 for start, _ in byte_ranges)
        input_bytes = sum(stop - start for start, stop in byte_ranges)
        planned.append(PlannedChunk(chunk, objects, input_bytes, data_sha256_of(segments)))
    if before:
        yield _whole(before)


def _whole(last: Segment) -> InputObject:
    return InputObject(last["data_s3_uri"], last["byte_range"][1], last["data_etag"])


def _continues(before: Segment, segment: Segment) -> bool:
    same = all(before[field] == segment[field] for field in ("data_s3_uri", "data_etag"))
    return same and segment["byte_range"][0] == before["byte_range"][1]


IDENTIFYING_FIELDS = ("chunk_index", "data_s3_uri", "byte_range", "segments_s3_uri", "decision_sha256", "output_s3_uri")
"""Of a chunk, and repeated in its receipt."""

_REDEPLOYED = "another deployment of the prediction function"
SCORED_BY = {"deployment": _REDEPLOYED, "versions": _REDEPLOYED, "sha256": "another model"}
"""What a receipt says of its model, and what it means where the probe said something else."""


def require_agreement(planned: PlannedChunk, receipt: Any, model: Model) -> None:
    """Check that a receipt is this chunk's, and that it consumed all of its bytes and wrote every row it read.

    And that what scored it is what answered the probe.
    """
    chunk = planned.chunk
    if not isinstance(receipt, dict):
        raise IncompleteOutputError(f"{chunk['receipt_s3_uri']} is not a receipt")
    expected = {field: chunk.get(field) for field in IDENTIFYING_FIELDS} | {
        "input_bytes": planned.input_bytes,
        "data_sha256": planned.data_sha256,  # a changed list of segments may name other data of the same size
        "rows_written": receipt.get("rows_read"),
        "quote_parity": 0,
    }
    if "segments_s3_uri" in chunk:
        expected["objects"] = planned.objects
    facts = receipt.get("model")
    for field, other in SCORED_BY.items():
        if not isinstance(facts, dict) or facts.get(field) != model[field]:  # type: ignore[literal-required]
            raise IncompleteOutputError(f"{located(chunk)} was scored by {other} than the probe's")
    for field, value in expected.items():
        if receipt.get(field) != value:
            raise IncompleteOutputError(
                f"the receipt of {located(chunk)} does not add up: its {field} is {brief(receipt.get(field))}, not {value}"
            )
    if not all(is_etag(receipt.get(field)) for field in ("output_etag", "layout_sha256")) or not plausible_sizes(receipt):
        raise IncompleteOutputError(
            f"the receipt of {located(chunk)} does not add up: its rows, bytes and header are {brief(receipt)}"
        )
    if not has_plain_facts(receipt):
        raise IncompleteOutputError(
            f"the receipt of {located(chunk)} is not one: its milliseconds, memory_mb, rounded_integers or model cannot be"
        )


def is_etag(value: Any) -> bool:
    """Whether a value may stand in a request's header."""
    return isinstance(value, str) and value != "" and value.isascii() and value.isprintable()


def plausible_sizes(receipt: dict[str, Any]) -> bool:
    """Whether the part can be an object, and can hold its header and its rows: each is at least a delimiter and a line end."""
    counts = [receipt.get(field) for field in ("header_bytes", "output_bytes", "rows_read", "rejected_rows")]
    if not all(is_count(count) for count in counts):
        return False
    header, size, rows, rejected = cast("list[int]", counts)
    return size >= header + 2 * rows and rejected <= rows and (header > 0 or size == 0)


def is_count(value: Any) -> bool:
    """Whether a value can be a number of bytes, rows or milliseconds."""
    return type(value) is int and 0 <= value <= MAX_OBJECT_BYTES


def has_plain_facts(receipt: dict[str, Any]) -> bool:
    """Whether what the report repeats or adds up is plain: nothing in it decides the output, but it must not keep it back."""
    stages, memory_mb, model = (receipt.get(field) for field in ("milliseconds", "memory_mb", "model"))
    return (
        (stages is None or (isinstance(stages, dict) and all(is_milliseconds(spent) for spent in stages.values())))
        and (memory_mb is None or (type(memory_mb) is int and 0 <= memory_mb <= MAX_MEMORY_MB))
        and is_count(receipt.get("rounded_integers", 0))
        and (model is None or (isinstance(model, dict) and all(is_plain(fact) for fact in model.values())))
    )


def is_milliseconds(value: Any) -> bool:
    """Whether a value is the time of a stage."""
    return type(value) in (int, float) and 0 <= value <= MAX_MILLISECONDS


def is_plain(value: Any) -> bool:
    """Whether a value is a text, a number, or a list or an object of texts."""
    if isinstance(value, dict):
        return all(isinstance(text, str) for text in value.values())
    return all(isinstance(text, str) for text in value) if isinstance(value, list) else not isinstance(value, float)


def require_one_layout(done: list[Done]) -> None:
    """Check that all parts may stand under one header: equal columns and line ends, and of one object the very same header.

    Objects may differ by their BOM and by how they quote the names.
    """
    for before, after in pairwise(done):
        same_object = "data_s3_uri" in before.chunk and before.chunk["data_s3_uri"] == after.chunk.get("data_s3_uri")
        fields = ("layout_sha256", "header_bytes") if same_object else ("layout_sha256",)
        for field in fields:
            if before.receipt[field] != after.receipt[field]:  # type: ignore[literal-required]
                raise IncompleteOutputError(
                    f"the receipts of {located(before.chunk)} and {located(after.chunk)} do not add up: {field} "
                    f"{before.receipt[field]} and {after.receipt[field]}"  # type: ignore[literal-required]
                )


def require_proven_boundaries(plan: Plan, missing: Sequence[Chunk], chunks: Sequence[Chunk]) -> None:
    """Raise where a missing chunk leaves a guess unproven: the boundaries of an object are right if all of its chunks are even."""
    if plan["boundaries"] == "exact":
        return
    for chunk in missing:
        index = chunk["chunk_index"]
        if any("byte_range" in neighbour and neighbour["byte_range"][0] for neighbour in chunks[index : index + 2]):
            raise UnsafeSplitError(f"the boundaries of {located(chunk)}, which was lost, are guessed and not proven")


def require_unrefuted_plan(errors: Iterable[ErrorRecord | None]) -> None:
    """Raise where a chunk was lost because the plan was wrong: then no other chunk can be trusted, however many are tolerated.

    A wrong boundary is also in another chunk of its object, and a column's type is that of all chunks.
    """
    for error in errors:
        for refutation in (UnsafeSplitError, ColumnTypeError):
            if error and error["error"] == refutation.__name__:
                raise refutation(error["message"], error["advice"])


def require_predictions(account: Account, rejected_reasons: Mapping[str, int]) -> None:
    """Raise where rows were read and none was predicted: that is no success, whatever is tolerated."""
    rows = sum(done.receipt["rows_read"] for done in account.done)
    if rows == 0 or sum(done.receipt["rejected_rows"] for done in account.done) < rows:
        return
    reason = max(rejected_reasons.items(), key=lambda counted: (counted[0] != OTHER, counted[1]), default=None)
    because = f", most often ({reason[1]}) because of this: {reason[0]}" if reason else ""
    raise InvalidDataError(
        f"none of {rows} row(s) in {len(account.done)} chunk(s) could be predicted{because}; "
        "look whether the model was fitted on such columns"
    )


def located(chunk: Chunk | ErrorRecord, chunks: int | None = None) -> str:
    """Name a chunk, of so many if that is known, and the bytes that it stands for; of a group, its list in the work prefix."""
    number = f"chunk {chunk['chunk_index'] + 1}" + (f" of {chunks}" if chunks else "")
    if "segments_s3_uri" in chunk:
        return f"{number}, the objects listed in {chunk['segments_s3_uri'].rpartition('/')[2]}"
    start, stop = chunk["byte_range"]
    return f"{number}, {chunk['data_s3_uri']} bytes=[{start}, {stop})"
