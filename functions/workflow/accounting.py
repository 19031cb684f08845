"""Whether the receipts add up to the plan. Nothing is published unless they do."""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import TYPE_CHECKING, NamedTuple

from errors import IncompleteOutputError
from failures import CHUNKS_WITHOUT_OUTPUT

if TYPE_CHECKING:
    from contract import Chunk, Plan, Receipt


class Done(NamedTuple):
    """A chunk that has its part."""

    chunk: Chunk
    receipt: Receipt


class Account(NamedTuple):
    """The chunks of a plan, by whether they have their part; both in the plan's order."""

    done: list[Done]
    missing: list[Chunk]


def settle(plan: Plan, chunks: list[Chunk], receipts: list[Receipt | None], tolerated_failure_percentage: float) -> Account:
    """Return what may be published; IncompleteOutputError where too many chunks are missing or anything does not add up."""
    account = Account(
        [Done(chunk, receipt) for chunk, receipt in zip(chunks, receipts, strict=True) if receipt is not None],
        [chunk for chunk, receipt in zip(chunks, receipts, strict=True) if receipt is None],
    )
    require_enough(account, tolerated_failure_percentage)
    require_whole_objects(plan, chunks)
    for done in account.done:
        require_agreement(done)
    require_equal_headers(account.done)
    return account


def require_enough(account: Account, tolerated_failure_percentage: float) -> None:
    """Check the tolerance here, too, so that the outcome does not depend on what the engine's Map counts."""
    total = len(account.done) + len(account.missing)
    if account.missing and (not account.done or len(account.missing) * 100 > tolerated_failure_percentage * total):
        raise IncompleteOutputError(
            f"{len(account.missing)} of {total} {CHUNKS_WITHOUT_OUTPUT}, more than tolerated_failure_percentage "
            f"{tolerated_failure_percentage:g} allows; the first is {located(account.missing[0])}"
        )


def require_whole_objects(plan: Plan, chunks: list[Chunk]) -> None:
    """Check that the ranges cover every planned object once, from 0 on and without a gap, in the plan's order."""
    if [chunk["chunk_index"] for chunk in chunks] != list(range(plan["chunks"])):
        raise IncompleteOutputError(f"the plan should have {plan['chunks']} chunks in order, but has {len(chunks)}")
    for chunk in chunks:
        start, stop = chunk["byte_range"]
        if not 0 <= start < stop:
            raise IncompleteOutputError(f"the plan has an impossible range: {located(chunk)}")
    for before, after in pairwise(chunks):
        same = [before[field] == after[field] for field in ("data_s3_uri", "data_etag")]
        if after["byte_range"][0] and not (all(same) and after["byte_range"][0] == before["byte_range"][1]):
            raise IncompleteOutputError(f"the plan has a gap or an overlap between {located(before)} and {located(after)}")
    objects = sum(chunk["byte_range"][0] == 0 for chunk in chunks)
    input_bytes = sum(chunk["byte_range"][1] - chunk["byte_range"][0] for chunk in chunks)
    if chunks[0]["byte_range"][0] or (objects, input_bytes) != (plan["objects"], plan["input_bytes"]):
        raise IncompleteOutputError(
            f"the plan covers {input_bytes} bytes of {objects} objects, not the {plan['input_bytes']} bytes of "
            f"{plan['objects']} objects that were found"
        )


def require_agreement(done: Done) -> None:
    """Check that a receipt is this chunk's, and that it consumed all of its bytes and wrote every row it read."""
    chunk, receipt = done
    start, stop = chunk["byte_range"]
    expected = {
        "chunk_index": chunk["chunk_index"],
        "data_s3_uri": chunk["data_s3_uri"],
        "byte_range": chunk["byte_range"],
        "output_s3_uri": chunk["output_s3_uri"],
        "input_bytes": stop - start,
        "rows_written": receipt.get("rows_read"),
        "quote_parity": 0,
    }
    for field, value in expected.items():
        if receipt.get(field) != value:
            raise IncompleteOutputError(
                f"the receipt of {located(chunk)} does not add up: its {field} is {receipt.get(field)}, not {value}"
            )
    if not isinstance(receipt.get("output_etag"), str) or not plausible_sizes(receipt):
        raise IncompleteOutputError(f"the receipt of {located(chunk)} does not add up: its rows, bytes and header are {receipt}")


def plausible_sizes(receipt: Receipt) -> bool:
    """Whether the part can hold its header and its rows: each is at least a delimiter and a line end."""
    try:
        header, size, rows = int(receipt["header_bytes"]), int(receipt["output_bytes"]), int(receipt["rows_read"])
    except (KeyError, TypeError, ValueError):
        return False
    rejected = receipt.get("rejected_rows")
    return header > 0 and rows >= 0 and size >= header + 2 * rows and isinstance(rejected, int) and 0 <= rejected <= rows


def require_equal_headers(done: list[Done]) -> None:
    """Check that an object's parts have one header. Objects may differ by their BOM and by how they quote the names."""
    by_object = groupby(done, key=lambda item: (item.chunk["data_s3_uri"], item.chunk["data_etag"]))
    for _, group in by_object:
        first, *others = group
        for other in others:
            if other.receipt["header_bytes"] != first.receipt["header_bytes"]:
                raise IncompleteOutputError(
                    f"the receipts of {located(first.chunk)} and {located(other.chunk)} do not add up: headers of "
                    f"{first.receipt['header_bytes']} and {other.receipt['header_bytes']} bytes"
                )


def located(chunk: Chunk) -> str:
    """Name a chunk and the bytes that it stands for."""
    start, stop = chunk["byte_range"]
    return f"chunk {chunk['chunk_index'] + 1}, {chunk['data_s3_uri']} bytes=[{start}, {stop})"
