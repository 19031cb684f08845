"""Which sizes suit a run: of its chunks, if the request does not say it, and of the prediction function's memory.

Both come from the estimate's model of time and dollars. Nothing here talks to S3.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from .chunking import BYTES_PER_MB, MAX_CHUNKS, MAX_SEGMENTS, fitting_chunk_bytes, floor_bytes, number_of_chunks
from .contract import Model
from .estimate import INVOCATION_SECONDS, SMALL_REQUEST_SECONDS, Row, Work, estimate, scoring_seconds, used_vcpus
from .lambda_limits import FUNCTION_SECONDS, MB_PER_VCPU, network_mb_per_second

MAX_CHUNK_SECONDS = 60
"""What a chunk takes at most: a retry repeats all of it, and a run ends with its last chunk."""
WORTHWHILE_SAVING = 0.02
"""Chunks grow as long as twice the size makes the run cheaper by this share; memory sizes that cost so little more are as cheap."""
WORTHWHILE_BYTES = 64 * BYTES_PER_MB
"""A small run is not cut finer than into chunks of a second of work, or of so many bytes: each may start a container."""
FEW_CHUNKS, FEW_CHUNKS_BYTES = 4, 16 * BYTES_PER_MB
"""But into so many chunks if each has so many bytes: a machine of one's own has a few cores, and S3 can copy the parts."""
SMALLEST_CHUNK_BYTES = BYTES_PER_MB / 2**10

TB = 10**12
MANY_FUNCTIONS = 100
"""Functions at once, by which the price of a TB is reckoned: how often functions start cold hardly matters for so much."""

MEMORY_SIZES_MB = (512, 640, 768, 1024, 1769, 2688, 3538, 5307, 7076, 10_240)
"""Those that are compared, also by `make bench-lambda`. In a new account 3,008 is the most."""
SCORING_MB = 410
"""MB (2^20 bytes) that the function takes beside the model, at most: *b* forest without the kernel, in docs/performance.md."""
LOADED_TIMES = 2
"""What a model takes while it is loaded, by its file: the unpickler holds what it has read until its end, beside what the model has
copied of it. Measured with forests: 2.03 to 2.06."""
PARENT_MB = 90
"""MB of the function itself while a bundle's model scores in a process of its own; measured: 55 to 85 (docs/performance.md)."""


class ChunkSize(NamedTuple):
    """The target size of a chunk, and why it is so."""

    bytes: int
    reason: str
    """A clause of a sentence."""


class MemorySize(NamedTuple):
    """What a memory size of the prediction function makes of a model."""

    memory_mb: int
    mb_per_second: float
    """MB (10^6 bytes) of input that one function takes a second, without its start."""
    dollars_per_tb: float


def chunk_size_of(sizes: Sequence[int], row: Row, max_concurrency: int, memory_mb: int, room_bytes: int) -> ChunkSize:
    """Return the size of chunks for objects of these sizes: large, but spread evenly over the functions that may run at once.

    `room_bytes` is what a chunk and its part may take of the prediction function's disk.
    """
    total = sum(sizes)
    limit = largest_chunk(row, memory_mb, room_bytes, sizes)
    second = 1 / (1 / (1e6 * mb_per_second(row, memory_mb)) + SMALL_REQUEST_SECONDS * (len(sizes) - 1) / max(1, total))
    worthwhile = min(WORTHWHILE_BYTES, max(FEW_CHUNKS_BYTES, total // FEW_CHUNKS), round(second))
    smallest = min(limit.bytes, floor_bytes(total, worthwhile))
    turns = max(1, math.ceil(total / (limit.bytes * max_concurrency)))
    even = math.ceil(total / (turns * max_concurrency))
    chunk_bytes = max(smallest, even)
    wanted = max(turns * max_concurrency, -(-len(sizes) // MAX_SEGMENTS))
    while chunk_bytes < limit.bytes and number_of_chunks(sizes, chunk_bytes) > wanted:  # whole objects do not fill them evenly
        chunk_bytes = min(limit.bytes, chunk_bytes + -(-chunk_bytes // 8))
    at_once = f"max_concurrency lets {max_concurrency:,} run at once"
    if (fitting := fitting_chunk_bytes(sizes, chunk_bytes)) > chunk_bytes:
        return ChunkSize(fitting, f"there may be {MAX_CHUNKS:,} at most")
    if chunk_bytes == limit.bytes:
        return limit
    if even < smallest:
        return ChunkSize(chunk_bytes, "smaller ones are not worth an invocation")
    if turns > 1:
        return ChunkSize(chunk_bytes, f"{at_once}, {turns:,} times over, and {limit.reason}")
    return ChunkSize(chunk_bytes, at_once)


def described(size: ChunkSize, row: Row | None, memory_mb: int, sizes: Sequence[int]) -> str:
    """Return a sentence about the size of chunks, with what one takes if anything was probed."""
    mb = figure(size.bytes / BYTES_PER_MB)
    if not row:
        return f"Chunks of {mb} MB: {size.reason}."
    seconds, speed = (figure(value) for value in (chunk_seconds(size.bytes, row, memory_mb, sizes), mb_per_second(row, memory_mb)))
    return f"Chunks of {mb} MB, {seconds} s each at {speed} MB/s: {size.reason}."


def overlong(chunk_bytes: int, row: Row | None, memory_mb: int) -> str:
    """Return a sentence about the largest chunk of a plan if it takes longer than a function may; nothing otherwise."""
    if not row or (seconds := chunk_seconds(chunk_bytes, row, memory_mb)) <= FUNCTION_SECONDS:
        return ""
    return (
        f" The largest has {figure(chunk_bytes / BYTES_PER_MB)} MB and may take {figure(seconds)} s, and a function has "
        f"{FUNCTION_SECONDS} s: an object that is compressed is never cut, so split it, or raise PredictMemorySize."
    )


def largest_chunk(row: Row, memory_mb: int, room_bytes: int, sizes: Sequence[int] = ()) -> ChunkSize:
    """Return the largest size that time, disk and prices allow, in MB a power of two: a little more speed hardly ever changes it.

    The `sizes` are those of the objects, if they may be small.
    """
    chunk_bytes, reason = SMALLEST_CHUNK_BYTES, ""
    while not reason:
        doubled = 2 * chunk_bytes
        before, after = (dollars_per_tb(size, row, memory_mb) for size in (chunk_bytes, doubled))
        if chunk_seconds(doubled, row, memory_mb, sizes) > MAX_CHUNK_SECONDS:
            reason = f"larger ones take more than {MAX_CHUNK_SECONDS} s, all of which a retry repeats"
        elif doubled * (2 + row.prediction_bytes / row.input_bytes) > room_bytes:
            reason = "larger ones and their parts do not fit into PredictEphemeralStorageSize"
        elif before - after < WORTHWHILE_SAVING * before:
            reason = f"larger ones are cheaper by less than {WORTHWHILE_SAVING:.0%}"
        else:
            chunk_bytes = doubled
    return ChunkSize(int(chunk_bytes), reason)


def chunk_seconds(chunk_bytes: float, row: Row, memory_mb: int, sizes: Sequence[int] = ()) -> float:
    """Return how long a chunk's invocation takes, without a cold start; it opens one object of these sizes after the other."""
    further = min(MAX_SEGMENTS, max(1, len(sizes)) - 1, len(sizes) * chunk_bytes / max(1, sum(sizes)))
    return INVOCATION_SECONDS + SMALL_REQUEST_SECONDS * further + scoring_seconds(chunk_bytes, 1, row, memory_mb)


def mb_per_second(row: Row, memory_mb: int) -> float:
    """Return how many MB (10^6 bytes) of input one function takes a second: what the slower of network and processor allows."""
    network = network_mb_per_second(memory_mb) / (1 + row.prediction_bytes / row.input_bytes)
    return min(network, row.per_vcpu_second * used_vcpus(row, memory_mb) * row.input_bytes / 1e6)


def dollars_per_tb(chunk_bytes: float, row: Row, memory_mb: int) -> float:
    """Return what a TB of input costs in chunks of this size."""
    chunks = math.ceil(TB / chunk_bytes)
    work = Work(chunks, chunks, 1, 0, 0, TB, row.input_bytes, row.prediction_bytes, one_worker=row.one_worker)
    return estimate(work, row.per_vcpu_second, MANY_FUNCTIONS, memory_mb)["dollars"]["total"]


def needed_mb(model: Model) -> float:
    """Return the memory that the prediction function needs with a model, as far as its file tells that."""
    parent_mb = PARENT_MB if model.get("bundle") else 0
    return parent_mb + SCORING_MB + LOADED_TIMES * model.get("file_bytes", model["bytes"]) / 2**20


def memory_sizes(row: Row, needed_mb: float, room_bytes: int) -> list[MemorySize]:
    """Return what each size that has enough memory makes of a model; the last one alone if none has."""
    enough = [memory_mb for memory_mb in MEMORY_SIZES_MB if memory_mb >= needed_mb] or [MEMORY_SIZES_MB[-1]]
    return [memory_size(row, memory_mb, room_bytes) for memory_mb in enough]


def memory_size(row: Row, memory_mb: int, room_bytes: int) -> MemorySize:
    """Return what one size makes of a model, in chunks of the largest size."""
    chunk = largest_chunk(row, memory_mb, room_bytes)
    return MemorySize(memory_mb, mb_per_second(row, memory_mb), dollars_per_tb(chunk.bytes, row, memory_mb))


def memory_advice(row: Row, needed_mb: float, memory_mb: int, room_bytes: int) -> str:
    """Say which memory sizes are the cheapest and the fastest for a model, and what it has."""
    sizes = memory_sizes(row, needed_mb, room_bytes)
    cheap, fast = cheapest(sizes), fastest(sizes)
    both = f"{_said(cheap)} is the cheapest for this model, {_said(fast)} the fastest"
    best = both if cheap != fast else f"{_said(cheap)} is the cheapest and the fastest for this model"
    here = _said(memory_size(row, memory_mb, room_bytes))
    why = f" One worker scores it, so more than {MB_PER_VCPU:,} MB buy a faster network alone." if row.one_worker else ""
    return f"PredictMemorySize: {best}; the function has {here}. About {needed_mb:,.0f} MB are needed.{why}"


def cheapest(sizes: Sequence[MemorySize]) -> MemorySize:
    """Return the fastest of the sizes that cost the least, or hardly more."""
    least = min(size.dollars_per_tb for size in sizes)
    return fastest([size for size in sizes if size.dollars_per_tb <= least * (1 + WORTHWHILE_SAVING)])


def fastest(sizes: Sequence[MemorySize]) -> MemorySize:
    """Return the smallest of the sizes that are as fast as any."""
    return max(sizes, key=lambda size: (size.mb_per_second, -size.memory_mb))


def _said(size: MemorySize) -> str:
    return f"{size.memory_mb:,} MB ({figure(size.mb_per_second)} MB/s a function, ${size.dollars_per_tb:,.2f} a TB)"


def figure(value: float) -> str:
    """Write a number with three significant digits, or with all that stand before its point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
