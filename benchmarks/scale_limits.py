"""What planning and merging are held to at any size, and what their S3 calls cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from support.s3_rules import MAX_PART_BYTES, MAX_PARTS, MIN_PART_BYTES
from workflow.prices import S3_GET_REQUEST, S3_PUT_REQUEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    Figures = dict[str, Any]

MAX_CHUNKS = MAX_PARTS
PLAN_BYTES = 7_000_000
"""The planner's own budget."""
STATE_BYTES = 256 * 2**10
"""Of a state's input and output: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"""
BYTES_THROUGH = 10**9
"""Most that the functions read and write of one object, however large it is."""
PEAK_BYTES = 200_000_000
"""Of one object, however large it is."""
FUNCTION_BYTES = 1769 * 2**20
"""Memory of the functions that plan and merge (template.yaml): the list of a million objects takes its share."""
MERGE_SECONDS = {23: 20, 200: 60}
"""Most that a merge may take, by the features whose statistics each receipt has."""
STATISTICS_BYTES = 1000
"""Of one feature in a receipt, beside which all else is small."""
MERGE_PEAK_BYTES = 300_000_000
"""Of a merge of receipts with statistics."""
LAMBDA_SECONDS = 900
"""https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
CALLS_PER_CHUNK = 1.25
"""Most that the calls a chunk may grow by from 1 TB to 10 TB."""
TERABYTE = 10**12

# What is in neither is free.
WRITES = (
    *("PutObject", "CreateMultipartUpload", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload"),
    *("ListObjectsV2", "ListParts", "ListMultipartUploads"),
)
READS = ("GetObject", "HeadObject")


class Check(NamedTuple):
    """A limit, and whether it holds."""

    case: str
    what: str
    limit: str
    found: str
    holds: bool


def dollars(calls: dict[str, int]) -> float:
    """Return what S3 asks for the calls."""
    writes, reads = (sum(calls.get(name, 0) for name in names) for names in (WRITES, READS))
    return writes * S3_PUT_REQUEST.dollars + reads * S3_GET_REQUEST.dollars


def bytes_through(figures: Figures, *phases: str) -> int:
    """Return what the functions read and wrote themselves."""
    return sum(figures[phase][direction] for phase in phases for direction in ("bytes_read", "bytes_written"))


def checks_of(figures: Figures) -> Iterator[Check]:
    """Yield the checks of one case; one that did not end has one, which is broken."""
    case = figures["case"]

    def at_most(what: str, found: float, limit: float, unit: str = "") -> Check:
        return Check(case, what, f"at most {limit:,} {unit}".strip(), f"{found:,}", found <= limit)

    if error := figures.get("error"):
        yield Check(case, "ends well", "", error, holds=False)
        return
    problems, features = figures["problems"], figures["features"]
    yield Check(case, "output is every record and its prediction, work deleted", "", "; ".join(problems) or "yes", not problems)
    yield at_most("chunks", figures["chunks"], MAX_CHUNKS)
    yield at_most("plan.json", figures["plan_bytes"], PLAN_BYTES, "bytes")
    yield at_most("largest item with the request's fields", figures["largest_item_bytes"], STATE_BYTES, "bytes")
    yield at_most("the execution's document", figures["document_bytes"], STATE_BYTES, "bytes")
    for phase in ("plan", "merge"):
        limit = FUNCTION_BYTES if figures["objects"] > 1 else MERGE_PEAK_BYTES if features and phase == "merge" else PEAK_BYTES
        yield at_most(f"{phase}: peak memory", figures[phase]["peak_bytes"], limit, "bytes")
        most = MERGE_SECONDS.get(features, LAMBDA_SECONDS) if phase == "merge" else LAMBDA_SECONDS
        yield at_most(f"{phase}: seconds, without S3's", round(figures[phase]["seconds"], 1), most)
    if figures["objects"] == 1 and figures["input_bytes"] >= TERABYTE:
        limit = BYTES_THROUGH + figures["chunks"] * features * STATISTICS_BYTES
        yield at_most("bytes read and written by plan and merge", bytes_through(figures, "plan", "merge"), limit)
    if parts := figures["part_bytes"]:
        yield at_most("parts", len(parts), MAX_PARTS)
        yield at_most("largest part", max(parts), MAX_PART_BYTES, "bytes")
        smallest = min(parts[:-1], default=MIN_PART_BYTES)
        yield Check(
            case, "smallest part but the last", f"at least {MIN_PART_BYTES:,} bytes", f"{smallest:,}", smallest >= MIN_PART_BYTES
        )


def growth_checks(cases: dict[str, Figures]) -> Iterator[Check]:
    """Yield whether calls grow with the chunks, not with the bytes."""
    if all("calls" in cases.get(name, {}).get("plan", {}) for name in ("1TB", "10TB")):
        small, large = (calls_per_chunk(cases[name]) for name in ("1TB", "10TB"))
        holds = large <= CALLS_PER_CHUNK * small
        what = "calls a chunk, against 1TB"
        yield Check("10TB", what, f"at most {CALLS_PER_CHUNK} times {small:.2f}", f"{large:.2f}", holds)


def calls_per_chunk(figures: Figures) -> float:
    return sum(sum(figures[phase]["calls"].values()) for phase in ("plan", "merge")) / figures["chunks"]
