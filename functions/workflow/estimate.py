"""What a planned run will take and cost: the dry run's answer, computed from the plan and the probe's speed.

A model, not a promise: every number that it assumes is a constant here, and those that matter are said in `assumptions`.
"""

import math
from typing import NamedTuple, TypedDict

from .lambda_limits import MB_PER_GB, network_mb_per_second, vcpus
from .multipart import GATHER_BYTES, LEAST_COPY_BYTES, MIN_PART_BYTES, PARTS_IN_FLIGHT, copy_bytes_of
from .prices import COLLECTED, LAMBDA_ARM64_GB_SECOND, LAMBDA_REQUEST, REGION, S3_GET_REQUEST, S3_PUT_REQUEST, STATE_TRANSITION

WORKFLOW_MB = 1769
"""Memory of Validate Request, Plan Chunks and Merge Outputs in template.yaml."""

CONTAINER_SECONDS = 0.3
"""A new container of Lambda takes so long until it imports our code. The median of all starts of Python functions is 0.2 to 0.4 s,
with their own imports: https://edjgeek.com/blog/lambda-cold-starts-dead. Reading the package's 250 MB may come on top."""
MODEL_PROCESSOR_SECONDS, STORED_PROCESSOR_SECONDS, PROBE_PROCESSOR_SECONDS = 1.2, 0.4, 1.3
"""Processor seconds of a new process until its first event is answered: a chunk by the model itself, a chunk by a stored model,
the probe with its 1,000 rows. Medians of the models in docs/package.md, measured by `make smoke` with the package itself."""
BUNDLE_PROCESSOR_SECONDS, UNPACKING_PROCESSOR_SECONDS = 0.8, 0.006
"""What a bundle takes beside that: its own process, and each MB (10^6 bytes) that is unpacked and checked. Between what
docs/performance.md has of bundles, measured by `make bench-bundles` with the package itself on a busy machine."""
WORKFLOW_PROCESSOR_SECONDS = 0.25
"""Processor seconds of a new process until a function of the workflow has its S3 client; measured, see docs/performance.md."""
REQUEST_SECONDS = 0.03
"""S3 answers nine of ten reads within 20 ms: https://github.com/dvassallo/s3-benchmark. Writes and lists take longer."""
SMALL_REQUEST_SECONDS = 0.002
"""16 small requests are in flight (`s3.CONCURRENT_REQUESTS`)."""
VALIDATE_REQUESTS, PLAN_REQUESTS, MERGE_REQUESTS = 5, 10, 21
"""Requests of the states that wait for one another, in a run of any size; counted with a client that waits before each."""
CHUNK_REQUESTS = 5
"""The same of the prediction function: the first bytes, the last piece, its completion, the part's HEAD and the receipt."""
INVOCATION_SECONDS = CHUNK_REQUESTS * REQUEST_SECONDS
COPY_START_SECONDS, COPY_MB_PER_SECOND = 2.7, 80
"""S3 copies an object in parts: start and end together, and MB (10^6 bytes) a second of each copy, however many there are at once.
The line through the 25 measurements of https://github.com/awslabs/aws-c-s3/pull/288, of up to 10 GiB; 24 lie within a quarter."""
PREDICTION_BYTES = 19
"""A comma and a float64 of 17 digits and a point: each column of predictions adds as much to a row."""
SLOWEST_ROWS_PER_SECOND = 0.05
"""The probe rounds what is slower to 0."""

PARENT_TRANSITIONS = 9
"""States of the successful path; each state that is executed counts: https://aws.amazon.com/step-functions/pricing/"""
CHILD_TRANSITIONS = 2
"""The start of a Distributed Map's child is charged as one transition, and its one state, Predict Chunk, as another:
https://docs.aws.amazon.com/step-functions/latest/dg/concepts-transitions.html"""
CHILD_STARTS_PER_SECOND = 100
"""Step Functions starts about so many Standard children a second."""
LAMBDA_REQUESTS = 4
"""Validate Request, Probe Model, Plan Chunks, Merge Outputs."""
PUT_REQUESTS = 10
"""Any run has them: LIST to validate, decision, plan, size of chunks, three results of the Map, start and end of the upload, the
report."""
GET_REQUESTS = 13
"""Any run has them: the three buckets' and the model's HEAD, header; probe's rows, model; output's HEAD; size of chunks; the plan
for the Map and the merge; decision; report. Windows of the data, which are read only if the model leaves a column's type open, are
left out."""
UPLOAD_PIECE_BYTES = 2**25
"""The prediction function sends parts up to this size at once, larger ones in pieces of this size, and two smaller ones.
Fewer bytes are left after the last row than `MIN_PART_BYTES`, on average."""
LISTED_KEYS = 1000
"""Keys in one answer: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html"""


class Row(NamedTuple):
    """A row on average, and how fast it is scored."""

    input_bytes: float
    """With its line end; above 0."""
    prediction_bytes: float
    per_vcpu_second: float
    """Rows; above 0."""
    one_worker: bool = False
    """Whether one worker scores all blocks, which more than one vCPU does not help."""


class Work(NamedTuple):
    """What a plan holds. Only pending chunks run: the others have their part and receipt from an earlier execution."""

    chunks: int
    """All chunks of the plan."""
    pending_chunks: int
    objects: int
    """All objects of the plan."""
    grouped_objects: int
    """Objects that pending grouped chunks read whole, one after the other."""
    grouped_chunks: int
    """Pending chunks that read several objects."""
    input_bytes: int
    """Input of the pending chunks."""
    row_bytes: float
    """Mean record length with its line end, without headers; above 0."""
    prediction_bytes: float = PREDICTION_BYTES
    """What a row of the output has more."""
    is_stored: bool = False
    """Whether chunks score by a stored model, and so start without the model's library."""
    bundle_bytes: int = 0
    """What each new container downloads, if the model is a bundle, and, in the next field, unpacks."""
    unpacked_bytes: int = 0
    one_worker: bool = False
    """As in `Row`."""
    copied_bytes: int = 0
    """What S3 copies of the input's objects into the output by itself: then the parts have the predictions alone."""


Dollars = TypedDict("Dollars", {"lambda": float, "step_functions": float, "s3": float, "total": float})
"""US dollars, by service."""


class Estimate(TypedDict):
    """What the rest of a run will take: for a plan that nothing of ran, the whole run."""

    rows: int
    """Rows of the pending chunks."""
    chunk_seconds: float
    """Mean duration of one chunk's invocation; 0 if no chunk is pending."""
    seconds: float
    """From start to end of the execution."""
    lambda_gb_seconds: float
    lambda_requests: int
    s3_put_requests: int
    """PUT, COPY, LIST, and each request of a multipart upload."""
    s3_get_requests: int
    """GET and HEAD."""
    state_transitions: int
    """Those of the execution and of its children."""
    dollars: Dollars
    assumptions: list[str]


def estimate(
    work: Work, probe_rows_per_second: float, max_concurrency: int, memory_mb: int, measured_seconds: float | None = None
) -> Estimate:
    """Return duration, requests and cost of what is pending; `memory_mb` is the prediction function's.

    If all predictions are over, `measured_seconds` of them together replace what the probe promises.
    """
    rows = round(work.input_bytes / work.row_bytes)
    row = Row(work.row_bytes, work.prediction_bytes, max(probe_rows_per_second, SLOWEST_ROWS_PER_SECOND), work.one_worker)
    workers = min(max_concurrency, work.pending_chunks)
    waiting = INVOCATION_SECONDS * work.pending_chunks + SMALL_REQUEST_SECONDS * work.grouped_objects
    warm = scoring_seconds(work.input_bytes, work.pending_chunks, row, memory_mb) + waiting
    cold = cold_start_seconds(cold_processor_seconds(work), memory_mb)
    cold += work.bundle_bytes / (network_mb_per_second(memory_mb) * 1e6)
    predict = warm + cold * workers if measured_seconds is None else measured_seconds
    # If all parts are there already, their size is not known: copying them costs more.
    output_bytes = work.prediction_bytes * rows + (0 if work.copied_bytes else work.input_bytes)
    part_bytes = output_bytes / work.pending_chunks if work.pending_chunks else MIN_PART_BYTES + 1
    piece_bytes = part_bytes + work.copied_bytes / max(1, work.chunks)
    validate, probe = validate_seconds(), probe_seconds(memory_mb)
    plan, merge = plan_seconds(work.objects, work.chunks), merge_seconds(work.chunks, piece_bytes)
    seconds = validate + probe + plan + _map_seconds(work, warm, cold, workers) + merge

    mb_seconds = {
        "the workflow's functions": WORKFLOW_MB * (validate + plan + merge),
        "Probe Model": memory_mb * probe,
        "Predict Chunk": memory_mb * predict,
    }
    gb_seconds = sum(mb_seconds.values()) / MB_PER_GB
    invocations = LAMBDA_REQUESTS + work.pending_chunks
    transitions = PARENT_TRANSITIONS + CHILD_TRANSITIONS * work.pending_chunks
    puts, gets = _put_requests(work, part_bytes, piece_bytes), _get_requests(work, piece_bytes, workers)
    by = "by the stored model" if work.is_stored else "with the bundle" if work.bundle_bytes else "by the model itself"
    used = used_vcpus(row, memory_mb)
    speed = f"{row.per_vcpu_second * used:,.1f}".removesuffix(".0")
    return {
        "rows": rows,
        "chunk_seconds": round(predict / max(1, work.pending_chunks), 1),
        "seconds": round(seconds, 1),
        "lambda_gb_seconds": round(gb_seconds, 1),
        "lambda_requests": invocations,
        "s3_put_requests": puts,
        "s3_get_requests": gets,
        "state_transitions": transitions,
        "dollars": _dollars(gb_seconds, invocations, transitions, puts, gets),
        "assumptions": [
            f"The model scores {speed} rows/s on {used:.1f} vCPUs ({memory_mb:,} MB), each as fast as the probe.",
            f"Rows are scored while others are read and written, at {network_mb_per_second(memory_mb):.0f} MB/s each way.",
            f"Functions at once: {workers:,}, as the quota allows; each starts cold once, {cold:.1f} s {by} (not on Lambda).",
            f"Step Functions starts {CHILD_STARTS_PER_SECOND} chunks per second; what a Map takes to begin and end is left out.",
            f"Predictions add {work.prediction_bytes:,.0f} bytes to a row.",
            f"Planning reads only headers or footers, and around chunk boundaries, {SMALL_REQUEST_SECONDS * 1000:.0f} ms each.",
            f"S3 copies {PARTS_IN_FLIGHT} parts at once, each at {COPY_MB_PER_SECOND} MB/s.",
            "Nothing is retried, no row is rejected, and no chunk boundary has to be looked for again.",
            f"Prices are those of {REGION} in {COLLECTED}, for arm64, without free tiers; storage, logs and traces are left out.",
        ],
    }


def cold_processor_seconds(work: Work) -> float:
    """Return the processor seconds of a new process until it has scored its first rows."""
    if work.is_stored:
        return STORED_PROCESSOR_SECONDS
    bundle = BUNDLE_PROCESSOR_SECONDS + UNPACKING_PROCESSOR_SECONDS * work.unpacked_bytes / 1e6 if work.bundle_bytes else 0
    return MODEL_PROCESSOR_SECONDS + bundle


def cold_start_seconds(processor_seconds: float, memory_mb: int) -> float:
    """Return how long a new container takes: its imports have one thread, and the share of a vCPU that the memory buys."""
    return CONTAINER_SECONDS + processor_seconds / min(1, vcpus(memory_mb))


def validate_seconds() -> float:
    """Return how long Validate Request takes."""
    return _state_seconds(VALIDATE_REQUESTS)


def probe_seconds(memory_mb: int) -> float:
    """Return how long Probe Model takes."""
    return cold_start_seconds(PROBE_PROCESSOR_SECONDS, memory_mb) + INVOCATION_SECONDS


def plan_seconds(objects: int, chunks: int) -> float:
    """Return how long Plan Chunks takes, which reads headers and around boundaries."""
    return _state_seconds(PLAN_REQUESTS) + SMALL_REQUEST_SECONDS * (objects + chunks)


def merge_seconds(chunks: int, part_bytes: float) -> float:
    """Return how long Merge Outputs takes, which reads receipts, and has parts of these bytes copied, or gathers small ones."""
    return _state_seconds(MERGE_REQUESTS) + SMALL_REQUEST_SECONDS * chunks + _joining_seconds(chunks, part_bytes)


def _state_seconds(requests: int) -> float:
    return cold_start_seconds(WORKFLOW_PROCESSOR_SECONDS, WORKFLOW_MB) + REQUEST_SECONDS * requests


def _joining_seconds(chunks: int, part_bytes: float) -> float:
    if not chunks or part_bytes <= MIN_PART_BYTES:
        return chunks * part_bytes / (network_mb_per_second(WORKFLOW_MB) * 1e6)
    # Few parts are cut, though copies below the least size are no faster; many are copied in turns.
    turns = math.ceil(chunks / PARTS_IN_FLIGHT) / max(1, PARTS_IN_FLIGHT // chunks)
    copied_bytes = max(part_bytes * turns, min(part_bytes, LEAST_COPY_BYTES))
    return COPY_START_SECONDS + copied_bytes / (COPY_MB_PER_SECOND * 1e6)


def used_vcpus(row: Row, memory_mb: int) -> float:
    """Return the processor seconds a second by which rows are scored."""
    return min(1, vcpus(memory_mb)) if row.one_worker else vcpus(memory_mb)


def scoring_seconds(input_bytes: float, chunks: int, row: Row, memory_mb: int) -> float:
    """Return how long download, scoring and upload of some equal chunks take, one chunk after the other.

    The three overlap, but a small part, or the last piece of a larger one, can only be sent after the last row.
    """
    rows, network = input_bytes / row.input_bytes, network_mb_per_second(memory_mb) * 1e6
    output_bytes = input_bytes + rows * row.prediction_bytes
    last_bytes = output_bytes if output_bytes <= UPLOAD_PIECE_BYTES * chunks else MIN_PART_BYTES * chunks
    computing = rows / (row.per_vcpu_second * used_vcpus(row, memory_mb))
    return max(input_bytes / network, computing, (output_bytes - last_bytes) / network) + last_bytes / network


def _map_seconds(work: Work, warm: float, cold: float, workers: int) -> float:
    """Chunks run in waves, unless Step Functions starts them more slowly than they end."""
    if not work.pending_chunks:
        return 0
    chunk = warm / work.pending_chunks
    waves = math.ceil(work.pending_chunks / workers)
    return cold + max(waves * chunk, work.pending_chunks / CHILD_STARTS_PER_SECOND + chunk)


def _put_requests(work: Work, part_bytes: float, piece_bytes: float) -> int:
    upload = 1 if part_bytes <= UPLOAD_PIECE_BYTES else 3 + math.ceil(part_bytes / UPLOAD_PIECE_BYTES)
    requests = {
        "listing the input": math.ceil(work.objects / LISTED_KEYS),
        "parts and receipts": (upload + 1) * work.pending_chunks,
        "merging": _merging_requests(work.chunks, piece_bytes),
        "listing the work": math.ceil(2 * work.chunks / LISTED_KEYS),
    }
    return PUT_REQUESTS + sum(requests.values())


def _merging_requests(chunks: int, part_bytes: float) -> int:
    total_bytes = part_bytes * chunks
    if part_bytes <= MIN_PART_BYTES:
        return math.ceil(total_bytes / GATHER_BYTES)
    return chunks * math.ceil(part_bytes / copy_bytes_of(total_bytes, chunks))


def _get_requests(work: Work, piece_bytes: float, workers: int) -> int:
    requests = {
        "headers and boundaries": work.objects + work.chunks,
        "receipts and HEADs of earlier parts": 2 * (work.chunks - work.pending_chunks),
        "headers and ranges": 2 * (work.pending_chunks - work.grouped_chunks),
        "grouped objects": work.grouped_objects,
        "HEADs of new parts": work.pending_chunks,
        "decisions": work.pending_chunks,
        "models": workers,
        "receipts": work.chunks,
        "gathering": 0 if piece_bytes > MIN_PART_BYTES else work.chunks,
    }
    return GET_REQUESTS + sum(requests.values())


def _dollars(gb_seconds: float, invocations: int, transitions: int, puts: int, gets: int) -> Dollars:
    compute = round(gb_seconds * LAMBDA_ARM64_GB_SECOND.dollars + invocations * LAMBDA_REQUEST.dollars, 6)
    step_functions = round(transitions * STATE_TRANSITION.dollars, 6)
    s3 = round(puts * S3_PUT_REQUEST.dollars + gets * S3_GET_REQUEST.dollars, 6)
    return {"lambda": compute, "step_functions": step_functions, "s3": s3, "total": round(compute + step_functions + s3, 6)}
