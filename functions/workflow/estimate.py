"""What a planned run will take and cost: the dry run's answer, computed from the plan and the probe's speed.

A model, not a promise: every number that it assumes is a constant here, and those that matter are said in `assumptions`.
"""

import math
from typing import NamedTuple, TypedDict

from .lambda_limits import MB_PER_GB, network_mb_per_second, vcpus
from .multipart import GATHER_BYTES, MIN_PART_BYTES
from .prices import COLLECTED, LAMBDA_ARM64_GB_SECOND, LAMBDA_REQUEST, REGION, S3_GET_REQUEST, S3_PUT_REQUEST, STATE_TRANSITION

VALIDATE_MB, PLAN_MB, MERGE_MB = 1769, 1769, 1769
"""Memory of the workflow's functions in template.yaml."""

COLD_START_SECONDS = 4.8
"""What a new container takes more than a warm one: start, imports, unpacking, model. The median of the models in docs/package.md,
with byte-code: measured by `make smoke` with the package itself, outside of Lambda, where reading its 245 MB comes on top. Chunks
that score by a stored model take less, which is not in it."""
INVOCATION_SECONDS = 0.2
"""Every invocation waits for about six S3 requests, one after the other, 30 ms each; assumed."""
SMALL_REQUEST_SECONDS = 0.002
"""A small S3 request takes about 30 ms, and 16 are in flight (`s3.CONCURRENT_REQUESTS`); assumed."""
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
WORKFLOW_START_SECONDS = 1.0
"""Validate Request, Plan Chunks and Merge Outputs each: importing boto3 and their few own requests; assumed."""
PROBE_SECONDS = COLD_START_SECONDS + 1.0
"""Probe Model: a cold start and 1,000 rows."""
MERGE_SECONDS_PER_CHUNK = 0.04
"""40 s for 1,000 chunks: 64 copies in flight, 2.5 s each; assumed."""
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
"""The prediction function sends parts up to this size at once, larger ones in pieces of this size, and two smaller ones."""
LISTED_KEYS = 1000
"""Keys in one answer: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html"""


class Row(NamedTuple):
    """A row on average, and how fast it is scored."""

    input_bytes: float
    """With its line end; above 0."""
    prediction_bytes: float
    per_vcpu_second: float
    """Rows; above 0."""


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
    row = Row(work.row_bytes, work.prediction_bytes, rows_per_vcpu_second(probe_rows_per_second, memory_mb))
    workers = min(max_concurrency, work.pending_chunks)
    waiting = INVOCATION_SECONDS * work.pending_chunks + SMALL_REQUEST_SECONDS * work.grouped_objects
    warm = scoring_seconds(work.input_bytes, work.pending_chunks, row, memory_mb) + waiting
    predict = warm + COLD_START_SECONDS * workers if measured_seconds is None else measured_seconds
    plan = WORKFLOW_START_SECONDS + SMALL_REQUEST_SECONDS * (work.objects + work.chunks)
    merge = WORKFLOW_START_SECONDS + MERGE_SECONDS_PER_CHUNK * work.chunks
    seconds = WORKFLOW_START_SECONDS + PROBE_SECONDS + plan + _map_seconds(work, warm, workers) + merge

    mb_seconds = {
        "Validate Request": VALIDATE_MB * WORKFLOW_START_SECONDS,
        "Probe Model": memory_mb * PROBE_SECONDS,
        "Plan Chunks": PLAN_MB * plan,
        "Predict Chunk": memory_mb * predict,
        "Merge Outputs": MERGE_MB * merge,
    }
    gb_seconds = sum(mb_seconds.values()) / MB_PER_GB
    invocations = LAMBDA_REQUESTS + work.pending_chunks
    transitions = PARENT_TRANSITIONS + CHILD_TRANSITIONS * work.pending_chunks
    # If all parts are there already, their size is not known: copying them costs more.
    output_bytes = work.input_bytes + work.prediction_bytes * rows
    part_bytes = output_bytes / work.pending_chunks if work.pending_chunks else MIN_PART_BYTES + 1
    puts, gets = _put_requests(work, part_bytes), _get_requests(work, part_bytes, workers)
    speed = f"{row.per_vcpu_second * vcpus(memory_mb):,.1f}".removesuffix(".0")
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
            f"The model scores {speed} rows/s on {vcpus(memory_mb):.1f} vCPUs ({memory_mb:,} MB), each as fast as the probe.",
            f"Rows are scored while others are read and written, at {network_mb_per_second(memory_mb):.0f} MB/s each way.",
            f"Functions at once: {workers:,}, as the quota allows; each starts cold once ({COLD_START_SECONDS} s, not on Lambda).",
            f"Step Functions starts {CHILD_STARTS_PER_SECOND} chunks per second.",
            f"Predictions add {work.prediction_bytes:,.0f} bytes to a row.",
            f"Planning reads only headers and around chunk boundaries, {SMALL_REQUEST_SECONDS * 1000:.0f} ms each.",
            f"Merging takes {1000 * MERGE_SECONDS_PER_CHUNK:.0f} s per 1,000 chunks.",
            "Nothing is retried, no row is rejected, and no chunk boundary falls inside quotes.",
            f"Prices are those of {REGION} in {COLLECTED}, for arm64, without free tiers; storage, logs and traces are left out.",
        ],
    }


def rows_per_vcpu_second(probe_rows_per_second: float, memory_mb: int) -> float:
    """Return the speed of a whole vCPU: the probe ran on one, or on the share of one that the memory buys."""
    return max(probe_rows_per_second, SLOWEST_ROWS_PER_SECOND) / min(1, vcpus(memory_mb))


def scoring_seconds(input_bytes: float, chunks: int, row: Row, memory_mb: int) -> float:
    """Return how long download, scoring and upload of some equal chunks take, one chunk after the other.

    The three overlap, but a small part, or the last piece of a larger one, can only be sent after the last row.
    """
    rows, network = input_bytes / row.input_bytes, network_mb_per_second(memory_mb) * 1e6
    output_bytes = input_bytes + rows * row.prediction_bytes
    last_bytes = output_bytes if output_bytes <= UPLOAD_PIECE_BYTES * chunks else MIN_PART_BYTES * chunks
    computing = rows / (row.per_vcpu_second * vcpus(memory_mb))
    return max(input_bytes / network, computing, (output_bytes - last_bytes) / network) + last_bytes / network


def _map_seconds(work: Work, warm: float, workers: int) -> float:
    """Chunks run in waves, unless Step Functions starts them more slowly than they end."""
    if not work.pending_chunks:
        return 0
    chunk = warm / work.pending_chunks
    waves = math.ceil(work.pending_chunks / workers)
    return COLD_START_SECONDS + max(waves * chunk, work.pending_chunks / CHILD_STARTS_PER_SECOND + chunk)


def _put_requests(work: Work, part_bytes: float) -> int:
    upload = 1 if part_bytes <= UPLOAD_PIECE_BYTES else 3 + math.ceil(part_bytes / UPLOAD_PIECE_BYTES)
    requests = {
        "listing the input": math.ceil(work.objects / LISTED_KEYS),
        "parts and receipts": (upload + 1) * work.pending_chunks,
        "merging": work.chunks if part_bytes > MIN_PART_BYTES else math.ceil(part_bytes * work.chunks / GATHER_BYTES),
        "listing the work": math.ceil(2 * work.chunks / LISTED_KEYS),
    }
    return PUT_REQUESTS + sum(requests.values())


def _get_requests(work: Work, part_bytes: float, workers: int) -> int:
    requests = {
        "headers and boundaries": work.objects + work.chunks,
        "receipts and HEADs of earlier parts": 2 * (work.chunks - work.pending_chunks),
        "headers and ranges": 2 * (work.pending_chunks - work.grouped_chunks),
        "grouped objects": work.grouped_objects,
        "HEADs of new parts": work.pending_chunks,
        "decisions": work.pending_chunks,
        "models": workers,
        "receipts": work.chunks,
        "gathering": 0 if part_bytes > MIN_PART_BYTES else work.chunks,
    }
    return GET_REQUESTS + sum(requests.values())


def _dollars(gb_seconds: float, invocations: int, transitions: int, puts: int, gets: int) -> Dollars:
    compute = round(gb_seconds * LAMBDA_ARM64_GB_SECOND.dollars + invocations * LAMBDA_REQUEST.dollars, 6)
    step_functions = round(transitions * STATE_TRANSITION.dollars, 6)
    s3 = round(puts * S3_PUT_REQUEST.dollars + gets * S3_GET_REQUEST.dollars, 6)
    return {"lambda": compute, "step_functions": step_functions, "s3": s3, "total": round(compute + step_functions + s3, 6)}
