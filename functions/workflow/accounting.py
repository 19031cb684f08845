"""Whether the receipts add up to the plan. Nothing is published unless they do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from reprlib import repr as brief
from typing import TYPE_CHECKING, NamedTuple

from .conforms import conforms
from .contract import EXTENTS, Chunk, Decision, Document, ErrorRecord, Extent, Model, Plan, Receipt, Segment
from .distributions import OTHER
from .errors import ColumnTypeError, IncompleteOutputError, InvalidDataError, MissingChunksError, UnsafeSplitError
from .fingerprint import Whole, cut_of, data_sha256_of, fingerprint_of, identity_of
from .s3 import S3Client, get_document
from .work import chunk_places

if TYPE_CHECKING:
    from .formats.format import Format, Measure  # which are made of what is here


class PlannedChunk(NamedTuple):
    """A chunk, and what its segments add up to."""

    chunk: Chunk
    objects: int
    measure: Measure
    data_sha256: str


def planned_chunk(chunk: Chunk, segments: Sequence[Segment], source: Format, measure: Measure) -> PlannedChunk:
    """Add up a chunk's segments."""
    objects = sum(segment[source.extent][0] == 0 for segment in segments)
    return PlannedChunk(chunk, objects, measure, data_sha256_of(segments, source.extent))


class Done(NamedTuple):
    """A chunk that has its part."""

    chunk: Chunk
    receipt: Receipt


class Account(NamedTuple):
    """The chunks of a plan, by whether they have their part; both in the plan's order."""

    done: list[Done]
    missing: list[Chunk]


def settle(document: Document, planned: Sequence[PlannedChunk], receipts: Sequence[object], target: Format) -> Account:
    """Return what may be published, by what stands in the place of each chunk's receipt: None if there is nothing.

    Raises MissingChunksError if that is too little, IncompleteOutputError if it does not add up, and UnsafeSplitError if the chunks
    that are there do not prove where they were cut.
    """
    pairs = list(zip(planned, receipts, strict=True))
    missing = [expected.chunk for expected, receipt in pairs if receipt is None]
    tolerated = document["request"]["tolerated_failure_percentage"]
    # The tolerance is checked here, too, so that the outcome does not depend on what the engine's Map counts.
    if missing and (len(missing) == len(pairs) or len(missing) * 100 > tolerated * len(pairs)):
        raise MissingChunksError(
            f"{len(missing)} of {len(pairs)} chunks have no output, more than tolerated_failure_percentage "
            f"{tolerated:g} allows; the first is {located(missing[0])}"
        )
    model = document["model"]["model"]
    done = [
        Done(expected.chunk, require_agreement(expected, receipt, model, target))
        for expected, receipt in pairs
        if receipt is not None
    ]
    require_one_layout(done)
    require_proven_boundaries(document["plan"], missing, [expected.chunk for expected in planned])
    return Account(done, missing)


def require_chunks(items: object, prefix: str, ending: str) -> list[Chunk]:
    """Return the items of a plan that was read back, whose work lies under `prefix`; ValueError if they are not that."""
    if not conforms(items, list[Chunk]) or not all(map(names_its_data, items)):
        raise ValueError(f"{brief(items)} is not a list of chunks")
    for index, chunk in enumerate(items):
        names = {"chunk_index": index, **chunk_places(prefix, index, ending, grouped="segments_s3_uri" in chunk)}
        for field, name in names.items():
            if chunk[field] != name:  # type: ignore[literal-required]
                raise ValueError(f"{field} of chunk {index + 1} is {brief(chunk[field])}, not {name}")  # type: ignore[literal-required]
    return items


def names_its_data(chunk: Chunk | ErrorRecord) -> bool:
    """Whether a chunk names a list of objects, or a range of one."""
    return ("segments_s3_uri" in chunk) != ("data_s3_uri" in chunk and any(extent in chunk for extent in EXTENTS))


def read_error_record(client: S3Client, uri: str) -> ErrorRecord | None:
    """Return an error record, None if there is none that can be read: it is a hint why a chunk is lost, never a reason to fail."""
    record = get_document(client, uri, ErrorRecord)
    return record if record and names_its_data(record) else None


def segments_of(chunk: Chunk, listed: object, extent: Extent) -> list[Segment]:
    """Return the segments of a chunk: its own one, or those that are listed for a group. ValueError if these are not segments."""
    if "segments_s3_uri" not in chunk:
        listed = [{field: chunk.get(field) for field in ("data_s3_uri", extent, "data_etag")}]
    if not (conforms(listed, list[Segment]) and listed and all(extent in segment for segment in listed)):
        raise ValueError(f"{brief(listed)} is not a list of segments")
    return listed


def planned_chunks(
    document: Document, decision: Decision, source: Format, chunks: Iterable[tuple[Chunk, Sequence[Segment], Measure]]
) -> list[PlannedChunk]:
    """Check that the chunks are those that were planned, and that they cover every object once, from 0 on and without a gap."""
    plan = document["plan"]
    planned: list[PlannedChunk] = []
    cuts: list[list[int]] = []
    identity = identity_of(document, decision, _objects_of(source, chunks, planned, cuts))
    is_decided_otherwise = any(chunk.chunk["decision_sha256"] != plan["decision_sha256"] for chunk in planned)
    fingerprint = fingerprint_of(identity, plan["decision_sha256"], cuts)
    if is_decided_otherwise or (identity, fingerprint) != (plan["identity"], plan["fingerprint"]):
        input_bytes = sum(chunk.measure.input_bytes for chunk in planned)
        raise IncompleteOutputError(
            f"the plan in {plan['plan_key']} is not the one that was made: it has {len(planned)} chunks and {input_bytes} bytes, "
            f"but {plan['chunks']} chunks and {plan['input_bytes']} bytes were planned, or others"
        )
    return planned


def _objects_of(
    source: Format,
    chunks: Iterable[tuple[Chunk, Sequence[Segment], Measure]],
    planned: list[PlannedChunk],
    cuts: list[list[int]],
) -> Iterator[Whole]:
    """Yield the objects that the segments of all chunks make up, of which there may be millions, and note each chunk meanwhile."""
    before: Whole | None = None
    for chunk, segments, measure in chunks:
        for segment in segments:
            start, stop = segment[source.extent]
            so_far = Whole(segment["data_s3_uri"], start, segment["data_etag"])
            if not (0 <= start < stop or start == stop == 0) or (start and before != so_far):
                raise IncompleteOutputError(f"the plan has a gap or an overlap at {located(chunk)}")
            if before and start == 0:
                yield before
            before = so_far._replace(stop=stop)
        cuts.append(cut_of([segment[source.extent] for segment in segments]))
        planned.append(planned_chunk(chunk, segments, source, measure))
    if before:
        yield before


IDENTIFYING_FIELDS = ("chunk_index", "data_s3_uri", *EXTENTS, "segments_s3_uri", "decision_sha256", "output_s3_uri")
"""Fields of a chunk that its receipt repeats."""

_REDEPLOYED = "another deployment of the prediction function"
SCORED_BY = {"deployment": _REDEPLOYED, "versions": _REDEPLOYED, "sha256": "another model"}
"""What a receipt says of its model, and what it means if the probe said something else."""


def require_agreement(planned: PlannedChunk, receipt: object, model: Model, target: Format) -> Receipt:
    """Return a receipt that is this chunk's, has read and written all of it, and was scored by what was probed."""
    chunk = planned.chunk
    if not conforms(receipt, Receipt):
        raise IncompleteOutputError(f"the receipt of {located(chunk)} is not a receipt: {brief(receipt)}")
    for field, other in SCORED_BY.items():
        if receipt["model"][field] != model[field]:  # type: ignore[literal-required]
            raise IncompleteOutputError(f"{located(chunk)} was scored by {other} than the probe's")
    expected = {field: chunk.get(field) for field in IDENTIFYING_FIELDS} | {
        "input_bytes": planned.measure.input_bytes,
        "data_sha256": planned.data_sha256,  # a changed list of segments may name other data of the same size
        "rows_written": receipt["rows_read"],
        "quote_parity": 0,
    }
    if "segments_s3_uri" in chunk:
        expected["objects"] = planned.objects
    if planned.measure.rows is not None:
        expected["rows_read"] = planned.measure.rows
    for field, value in expected.items():
        if receipt.get(field) != value:
            raise IncompleteOutputError(
                f"the receipt of {located(chunk)} does not add up: its {field} is {brief(receipt.get(field))}, not {value}"
            )
    if not (receipt["layout_sha256"] and receipt["rejected_rows"] <= receipt["rows_read"] and target.fits(receipt)):
        raise IncompleteOutputError(
            f"the receipt of {located(chunk)} does not add up: its rows, bytes and header are {brief(receipt)}"
        )
    return receipt


def require_one_layout(done: list[Done]) -> None:
    """Check that all parts may stand under one header: one object's are alike; others' may differ by BOM and quotes."""
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
    """Raise if a missing chunk leaves a guess unproven: an object's boundaries are right if all of its chunks are even."""
    if plan["boundaries"] == "exact":
        return
    for chunk in missing:
        index = chunk["chunk_index"]
        if any("byte_range" in neighbour and neighbour["byte_range"][0] for neighbour in chunks[index : index + 2]):
            raise UnsafeSplitError(f"the boundaries of {located(chunk)}, which was lost, are guessed and not proven")


def require_unrefuted_plan(errors: Iterable[ErrorRecord | None]) -> None:
    """Raise if a chunk was lost because the plan was wrong, in a boundary or a type: then no other chunk can be trusted."""
    for error in errors:
        for refutation in (UnsafeSplitError, ColumnTypeError):
            if error and error["error"] == refutation.__name__:
                raise refutation(error["message"], error["advice"])


def require_predictions(account: Account, rejected_reasons: Mapping[str, int]) -> None:
    """Raise if rows were read and none was predicted: that is not a success, whatever is tolerated."""
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
    told = " ".join(f"{_TOLD[extent]}=[{chunk[extent][0]}, {chunk[extent][1]})" for extent in EXTENTS if extent in chunk)
    return f"{number}, {chunk['data_s3_uri']} {told}"


_TOLD: dict[Extent, str] = {"byte_range": "bytes", "row_groups": "row groups"}
