"""Plan Chunks: chunks that cover every object exactly once, on record boundaries, as a plan in S3."""

import os
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, cast

from .accounting import PlannedChunk, planned_chunk
from .chunking import (
    BYTES_PER_MB,
    Span,
    asked_chunk_bytes,
    fitting_chunk_bytes,
    largest_chunk_bytes,
    shares_of,
)
from .column_types import Kind, widened
from .contract import (
    Chunk,
    Columns,
    Decision,
    Document,
    KeptChunkSize,
    OutputFound,
    Plan,
    Probe,
    Request,
    Unfinished,
)
from .decision import decision_of, decision_sha256, read_columns, refutations, write_decision
from .errors import InputChangedError, InputNotFoundError, InvalidRequestError
from .estimate import PREDICTION_BYTES, SLOWEST_ROWS_PER_SECOND, Estimate, Row, Work, estimate
from .fingerprint import Whole, cut_of, fingerprint_of, identity_of
from .formats import Format, Header, input_format, is_copied, output_format
from .inputs import (
    InputObject,
    Listing,
    no_data,
    nothing_to_predict,
    repeated_in,
    resolve,
)
from .invocation import NO_DEADLINE, entry_point, resumable
from .lambda_limits import DEFAULT_MEMORY_MB
from .limits import ObjectCount, chunk_room_bytes, model_storage_bytes, require_ephemeral_storage
from .published import found_while_planning
from .resume import EarlierWork, earlier_work, finished_chunks, is_refuted
from .s3 import S3Client, get_document, in_parallel, parse_s3_uri, put_json, s3_client
from .sizing import WORTHWHILE_BYTES, ChunkSize, chunk_size_of, described, memory_advice, needed_mb, overlong
from .splitting import Notes
from .work import chunk_places, chunk_size_uri, decision_uri, scan_uri, work_prefix, written_uris

HAND_OVER_SECONDS = 60
"""Before the function's time is over no further block is read: those in flight may be read again."""

MEMORY_VARIABLE = "PREDICT_MEMORY_SIZE"
"""MB of the prediction function, which the template tells this one for the size of chunks and the dry run's estimate."""


class Inputs(NamedTuple):
    """The objects of a request that may hold rows, and the headers that were read."""

    format: Format
    objects: list[InputObject]
    headers: dict[InputObject, Header]
    skipped: int


class Cutting(NamedTuple):
    """Where the inputs would be cut."""

    chunks: list[list[Span]]
    guessed: bool

    def spans(self) -> list[Span]:
        """Return the pieces of objects, in their order."""
        return [span for spans in self.chunks for span in spans]


class Draft(NamedTuple):
    """Where the inputs would be cut, and what all chunks would agree on."""

    cutting: Cutting
    decision: Decision
    decision_sha256: str
    fingerprint: str
    prefix: str
    earlier: EarlierWork
    """What chunks of this very draft have left."""


@entry_point
def lambda_handler(event: Document, context: Any) -> Plan | Unfinished:
    """Add the plan to the execution's document."""
    work = partial(plan_chunks, s3_client(), event)
    return resumable(work, context, HAND_OVER_SECONDS, whole="chunks planned", unfinished="scan not over yet")


def plan_chunks(client: S3Client, document: Document, deadline: float = NO_DEADLINE) -> Plan:
    """Resolve the inputs, cut or group them, see what is there already, and write the plan; OutOfTimeError if a scan goes on."""
    request = document["request"]
    output = request["output_s3_uri"]
    listing = resolve_inputs(client, request)
    columns = read_columns(client, document["model"])
    source = input_format(document, columns)
    inputs = read_inputs(client, request, source, listing)
    has_any = any(found not in inputs.headers or inputs.headers[found].has_rows for found in inputs.objects)
    is_known = not has_any or any(header.compression != "zstd" for _, header in compared(inputs))  # only the probe reads that
    if has_any != (document["model"]["rows"] > 0) and is_known:  # without rows, it could not see what the model makes of them
        before, now = ("no rows", "rows") if has_any else ("rows", "no rows")
        raise InputChangedError(f"the data had {before} when the model was probed, and now it has {now}")
    written = written_uris(output)
    for found in inputs.objects:  # entries that name one by itself never get here
        if found.uri in written or found.uri.startswith(f"{output}.work/"):
            raise InvalidRequestError(f"output_s3_uri {output} would overwrite the input {found.uri}: choose another output_s3_uri")
    whole = (Whole(found.uri, source.stop(found), found.etag) for found in inputs.objects)
    identity = identity_of(document, columns, whole)
    output_found, published = found_while_planning(client, document, identity)

    sizes = [source.weight(found) for found in inputs.objects]
    row = row_of(document["model"], columns)
    chunk_size = find_chunk_size(client, document, identity, sizes, row)
    chunk_bytes, chunks_told = chunk_size.bytes, described(chunk_size, row, memory_mb(), sizes)
    model_bytes = model_storage_bytes(document["model"]["model"])
    require_ephemeral_storage(largest_chunk_bytes(sizes, chunk_bytes), model_bytes)
    notes = Notes(scan_uri(output, identity, chunk_bytes), deadline)
    exactly = document.get("explanation", {}).get("plan_exactly", False)
    draft = None
    while not draft:  # exact boundaries cannot be refuted
        cutting = cut_inputs(client, inputs, chunk_bytes, notes, exactly=exactly)
        draft, exactly = unrefuted_draft(client, document, columns, inputs, cutting, identity), True

    planned = planned_of(client, draft, source, target := output_format(document))
    largest = max((item.measure.input_bytes for item in planned), default=0)
    require_ephemeral_storage(largest, model_bytes)  # again: a cut waits for the end of its record
    chunks_told += overlong(largest, row, memory_mb())
    quarantine = request["on_bad_row"] == "quarantine"
    finished = finished_chunks(client, planned, draft.earlier, document["model"]["model"], target, quarantine=quarantine)
    pending = [] if published else [item for item in planned if item.chunk["chunk_index"] not in finished]
    plan = plan_of(document, inputs, draft, planned, pending, identity, output_found, chunk_bytes, chunks_told)
    if request["dry_run"]:
        plan["estimate"] = estimate_of(client, document, row, draft, planned, pending, source, plan["input_bytes"])
        plan["estimate"]["assumptions"].insert(0, chunks_told)
    write_plan(client, plan, draft, planned, pending, source)
    if request["chunk_size_mb"] is None and not request["dry_run"]:
        put_json(client, chunk_size_uri(output, identity), {"chunk_bytes": chunk_bytes, "reason": chunk_size.reason})
    return plan


def find_chunk_size(client: S3Client, document: Document, identity: str, sizes: Sequence[int], row: Row | None) -> ChunkSize:
    """Return the size of chunks: as the request says, as an earlier execution of it has chosen, or as suits the work."""
    request = document["request"]
    if (asked_mb := request["chunk_size_mb"]) is not None:
        return ChunkSize(asked_chunk_bytes(sizes, asked_mb), f"the request asks for {asked_mb:g} MB")
    if kept := get_document(client, chunk_size_uri(request["output_s3_uri"], identity), KeptChunkSize):
        return ChunkSize(fitting_chunk_bytes(sizes, kept["chunk_bytes"]), kept["reason"])
    if not row:
        return ChunkSize(WORTHWHILE_BYTES, "there are no rows")
    room_bytes = chunk_room_bytes(model_storage_bytes(document["model"]["model"]))
    return chunk_size_of(sizes, row, request["max_concurrency"], memory_mb(), room_bytes)


def row_of(probe: Probe, columns: Columns) -> Row | None:
    """Return what the probe has found of a row; None if there is none."""
    if not probe["rows"]:
        return None
    speed = max(probe["rows_per_second"], SLOWEST_ROWS_PER_SECOND)
    return Row(probe["row_bytes"], PREDICTION_BYTES * len(columns["prediction_columns"]), speed, probe["one_worker"])


def memory_mb() -> int:
    """Return the prediction function's memory."""
    return int(os.environ.get(MEMORY_VARIABLE, DEFAULT_MEMORY_MB))


def read_inputs(client: S3Client, request: Request, source: Format, listing: Listing) -> Inputs:
    """Return the objects of all entries in order, without those known to hold no rows; one for its columns if none needs any."""
    headers = read_headers(client, source, evenly_spread(listing.objects, source.headers_compared))
    objects = [found for found in listing.objects if found not in headers or headers[found].has_rows]
    if not objects:
        if request["on_no_rows"] != "succeed":
            raise nothing_to_predict(listing.objects[0], has_header=bool(headers[listing.objects[0]].columns))
        objects = [found for found in listing.objects if not headers[found].is_void][:1]
    inputs = Inputs(source, objects, headers, listing.skipped + len(listing.objects) - len(objects))
    source.require_same_layout(compared(inputs))
    return inputs


def compared(inputs: Inputs) -> list[tuple[InputObject, Header]]:
    """Return the objects whose headers were read, in order."""
    return [(found, inputs.headers[found]) for found in inputs.objects if found in inputs.headers]


def resolve_inputs(client: S3Client, request: Request) -> Listing:
    """Return the objects of all entries in the caller's order; InvalidRequestError if two of them name the same object."""
    uris, may_lack_rows = request["data_s3_uri"], request["on_no_rows"] == "succeed"
    count = ObjectCount()
    listings = in_parallel(lambda uri: resolve(client, uri, count, may_lack_rows=may_lack_rows), uris)
    for uri, listing in zip(uris, listings, strict=True):
        if not (listing.objects or may_lack_rows):
            raise InputNotFoundError(no_data(uri))
    objects = [found for listing in listings for found in listing.objects]
    if len(uris) > 1 and (repeated := repeated_in([found.uri for found in objects])):
        named = [uri for uri, listing in zip(uris, listings, strict=True) if repeated in {found.uri for found in listing.objects}]
        raise InvalidRequestError(
            f"data_s3_uri names {repeated} more than once, by {' and by '.join(named[:2])}: its rows would be scored as often",
            "name each object once",
        )
    return Listing(objects, sum(listed.skipped for listed in listings))


def evenly_spread(objects: Sequence[InputObject], most: int | None) -> list[InputObject]:
    """Return all objects, each once, or as many of them as are wanted at most, the first among them."""
    distinct = list(dict.fromkeys(objects))
    count = len(distinct) if most is None else min(len(distinct), most)
    return [distinct[index * len(distinct) // count] for index in range(count)]


def read_headers(client: S3Client, source: Format, objects: Sequence[InputObject]) -> dict[InputObject, Header]:
    """Read the headers of objects in parallel."""
    return dict(zip(objects, in_parallel(partial(source.read_header, client), objects), strict=True))


def unrefuted_draft(
    client: S3Client, document: Document, columns: Columns, inputs: Inputs, cutting: Cutting, identity: str
) -> Draft | None:
    """Return the draft of these pieces that no chunk has refuted yet; None if a guessed boundary may lie inside quotes.

    A chunk refutes a draft by a boundary, or by values that a column's type does not fit: then the next draft has the wider type.
    Between guessed boundaries, which may be wrong, that counts for nothing: the pieces are cut exactly.
    """
    types = first_types(client, document, columns, inputs, cutting)
    while True:
        decision = decision_of(columns, types, document["model"]["model"])
        sha256 = decision_sha256(decision)
        cuts = (cut_of([(span.start, span.stop) for span in spans]) for spans in cutting.chunks)
        fingerprint = fingerprint_of(identity, sha256, cuts)
        prefix = work_prefix(document["request"]["output_s3_uri"], identity, fingerprint)
        earlier = earlier_work(client, prefix)
        found = refutations(client, earlier)
        if cutting.guessed and (found or is_refuted(client, earlier)):
            return None
        wider = widened(types, found, columns["numeric_columns"])
        if wider == types:
            return Draft(cutting, decision, sha256, fingerprint, prefix, earlier)
        types = wider


def first_types(client: S3Client, document: Document, columns: Columns, inputs: Inputs, cutting: Cutting) -> dict[str, Kind]:
    """Return the types of open columns by the probed rows and by windows of the data; without open columns nothing is read."""
    probed = columns["column_types"]
    if not (probed and document["model"]["rows"]):
        return probed
    first = inputs.objects[0]
    header = inputs.headers.get(first) or inputs.format.read_header(client, first)
    sampled = inputs.format.kinds(client, cutting.spans(), header, probed)
    return widened(probed, [sampled], columns["numeric_columns"])


def cut_inputs(client: S3Client, inputs: Inputs, chunk_bytes: int, notes: Notes, *, exactly: bool) -> Cutting:
    """Cut large objects, and group small ones."""
    objects, source = inputs.objects, inputs.format
    shares = list(shares_of([source.weight(found) for found in objects], chunk_bytes))
    large = {objects[share.first]: share.pieces for share in shares if share.pieces > 1}
    unread = [found for found in large if found not in inputs.headers]
    headers = inputs.headers | read_headers(client, source, unread)
    source.require_same_layout([*compared(inputs)[:1], *((found, headers[found]) for found in unread)])
    split = source.split(client, large, headers, notes, exactly=exactly)
    chunks: list[list[Span]] = []
    for share in shares:
        if share.pieces > 1:
            chunks += [[span] for span in split.spans[objects[share.first]]]
        else:
            chunks.append([Span(found, 0, source.stop(found)) for found in objects[share.first : share.stop]])
    return Cutting(chunks, split.guessed)


def planned_of(client: S3Client, draft: Draft, source: Format, target: Format) -> list[PlannedChunk]:
    """Return the plan's items, each with what its segments add up to."""
    planned = []
    for index, spans in enumerate(draft.cutting.chunks):
        segments = [span.segment(source.extent) for span in spans]
        places = chunk_places(draft.prefix, index, target.ending, grouped=len(spans) > 1)
        data: Any = segments[0] if len(spans) == 1 else {}
        chunk = {"chunk_index": index, **data, **places, "decision_sha256": draft.decision_sha256}
        planned.append(planned_chunk(cast("Chunk", chunk), segments, source, source.measure(client, segments)))
    return planned


def plan_of(
    document: Document,
    inputs: Inputs,
    draft: Draft,
    planned: Sequence[PlannedChunk],
    pending: Sequence[PlannedChunk],
    identity: str,
    output_found: OutputFound | None,
    chunk_bytes: int,
    chunks_told: str,
) -> Plan:
    """Describe the plan."""
    (bucket, prefix), tolerated = parse_s3_uri(draft.prefix), document["request"]["tolerated_failure_percentage"]
    plan_key = f"{prefix}plan.json"
    # Executions of the same request have the same plan, but each has its own share left to do.
    pending_key = plan_key if len(pending) == len(planned) else f"{prefix}pending-{document['execution']['name']}.json"
    return {
        "bucket": bucket,
        "plan_key": plan_key,
        "pending_key": pending_key,
        "work_prefix": prefix,
        "map_run_prefix": f"{prefix}map-run",
        "identity": identity,
        "fingerprint": draft.fingerprint,
        "decision_sha256": draft.decision_sha256,
        "agreed": {
            "decision_s3_uri": decision_uri(draft.prefix),
            "decision_sha256": draft.decision_sha256,
            "work_s3_uri": draft.prefix,
            "stored_model_s3_uri": document["model"]["stored_model_s3_uri"],
            "stored_model_sha256": document["model"]["stored_model_sha256"],
        },
        "boundaries": "guessed" if draft.cutting.guessed else "exact",
        "chunk_size_mb": chunk_bytes / BYTES_PER_MB,
        "chunk_size_reason": chunks_told,
        "chunks": len(planned),
        "pending_chunks": len(pending),
        # The request's tolerance is of all chunks, but the Map sees only those that it runs.
        "tolerated_failure_percentage": min(100, tolerated * len(planned) / max(1, len(pending))),
        "input_format": inputs.format.name,
        "input_compression": sorted({header.compression for _, header in compared(inputs) if header.compression}),
        "objects": len(inputs.objects),
        "input_bytes": sum(found.size for found in inputs.objects),
        "skipped_objects": inputs.skipped,
        "output_found": output_found,
    }


def write_plan(
    client: S3Client,
    plan: Plan,
    draft: Draft,
    planned: Sequence[PlannedChunk],
    pending: Sequence[PlannedChunk],
    source: Format,
) -> None:
    """Write the decision, the first object of a run, and the plan: if the role may not, the request must name another output."""
    try:
        write_decision(client, decision_uri(draft.prefix), draft.decision)
        put_json(client, f"s3://{plan['bucket']}/{plan['plan_key']}", [item.chunk for item in planned])
    except InputNotFoundError as error:
        raise InvalidRequestError(f"output_s3_uri must change, nothing can be written there: {error}") from error

    def write_segments(item: PlannedChunk) -> None:
        spans = draft.cutting.chunks[item.chunk["chunk_index"]]
        put_json(client, item.chunk["segments_s3_uri"], [span.segment(source.extent) for span in spans])

    in_parallel(write_segments, (item for item in planned if "segments_s3_uri" in item.chunk))
    if plan["pending_key"] != plan["plan_key"]:
        put_json(client, f"s3://{plan['bucket']}/{plan['pending_key']}", [item.chunk for item in pending])


def estimate_of(
    client: S3Client,
    document: Document,
    row: Row | None,
    draft: Draft,
    planned: Sequence[PlannedChunk],
    pending: Sequence[PlannedChunk],
    source: Format,
    input_bytes: int,
) -> Estimate:
    """Return what the rest of the run would take, and which memory sizes would suit it."""
    probe = document["model"]
    grouped = [item for item in pending if "segments_s3_uri" in item.chunk]
    work = Work(
        chunks=len(planned),
        pending_chunks=len(pending),
        objects=sum(item.objects for item in pending),
        grouped_objects=sum(item.objects for item in grouped),
        grouped_chunks=len(grouped),
        input_bytes=sum(item.measure.input_bytes for item in pending),
        row_bytes=source.row_bytes(client, draft.cutting.spans()) or (row.input_bytes if row else 1),
        prediction_bytes=row.prediction_bytes if row else 0,
        is_stored=probe["stored_model_s3_uri"] is not None,
        bundle_bytes=probe["model"]["bytes"] if probe["model"]["bundle"] else 0,
        unpacked_bytes=probe["model"].get("unpacked_bytes", 0),
        one_worker=probe["one_worker"],
        copied_bytes=input_bytes if is_copied(document) else 0,
    )
    found = estimate(work, probe["rows_per_second"], document["request"]["max_concurrency"], memory_mb())
    if row:
        room_bytes = chunk_room_bytes(model_storage_bytes(probe["model"]))
        advice = memory_advice(row, needed_mb(probe["model"]), memory_mb(), room_bytes)
        found["assumptions"].append(f"{advice} A model whose file is compressed needs more: `batch-predict check-model` says it.")
    return found
