"""What follows from measured invocations: their bound, their price, and those of memory sizes that this machine cannot be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.cases import Case
from benchmarks.targets import Target
from workflow import estimate, prices
from workflow.lambda_limits import DEFAULT_MEMORY_MB, MB_PER_GB, network_mb_per_second, vcpus
from workflow.validate_request import request_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CONCURRENCY: int = request_schema()["properties"]["max_concurrency"]["default"]
"""Functions at once, each of which starts cold once."""
CHUNK_PUTS, CHUNK_GETS = 1, 2
"""Requests that planning and merging add to a chunk's own: a copy; a boundary and a receipt."""
PLANNED_MB = 512
"""MB (10^6 bytes) of the chunks that the planner makes of a large input if /tmp has the template's size: priced, not measured."""
BURST_BYTES = 10**10
WITHIN_MEMORY = 0.9
"""Share of a function's memory that its process may take; assumed, as the runtime takes some, too."""

Size = tuple[Case, int, int]
"""Case, MB of a chunk, MB of memory."""


class Dollars(NamedTuple):
    compute: float
    """Lambda."""
    requests: float
    """To S3: those of the function, and those that planning and merging add."""
    states: float
    """Step Functions: the chunk's child execution."""


class Invocation(NamedTuple):
    seconds: float
    processor_seconds: float
    main_thread_seconds: float
    upload_seconds: float
    """The handler's own stage: what is left to send once all is scored."""


@dataclass(frozen=True)
class Figures:
    """A case with chunks of a size, at a memory size."""

    case: Case
    chunk_mb: int
    memory_mb: int
    is_measured: bool
    bytes_in: int
    bytes_out: int
    puts: int
    gets: int
    peak_bytes: int
    other_cores: float
    """Cores that other processes of the machine took meanwhile."""
    cold: Invocation
    """The first one of a process, with its start and imports."""
    warm: Invocation

    @property
    def size(self) -> Size:
        return self.case, self.chunk_mb, self.memory_mb

    @property
    def bound_seconds(self) -> float:
        """What no warm invocation with this work can be faster than: the largest of download, upload and compute."""
        network = network_mb_per_second(self.memory_mb) * 1e6
        return max(self.bytes_in / network, self.bytes_out / network, self.warm.processor_seconds / vcpus(self.memory_mb))

    @property
    def times_bound(self) -> float:
        return self.warm.seconds / self.bound_seconds

    @property
    def mb_per_vcpu_second(self) -> float:
        return self.bytes_in / 1e6 / self.warm.processor_seconds

    @property
    def fits(self) -> bool:
        return self.peak_bytes <= WITHIN_MEMORY * self.memory_mb * 2**20

    def gb_seconds(self, invocation: Invocation) -> float:
        return invocation.seconds * self.memory_mb / MB_PER_GB

    def dollars(self, invocation: Invocation) -> Dollars:
        """Return what one chunk costs."""
        compute = self.gb_seconds(invocation) * prices.LAMBDA_ARM64_GB_SECOND.dollars + prices.LAMBDA_REQUEST.dollars
        puts, gets = self.puts + CHUNK_PUTS, self.gets + CHUNK_GETS
        requests = puts * prices.S3_PUT_REQUEST.dollars + gets * prices.S3_GET_REQUEST.dollars
        return Dollars(compute, requests, estimate.CHILD_TRANSITIONS * prices.STATE_TRANSITION.dollars)

    @property
    def tb_dollars(self) -> Dollars:
        """Of a TB (10^12 bytes) of which `CONCURRENCY` chunks start cold."""
        chunks = 1e12 / self.bytes_in
        cold = min(chunks, CONCURRENCY)
        pairs = zip(self.dollars(self.cold), self.dollars(self.warm), strict=True)
        return Dollars(*(cold * first + (chunks - cold) * later for first, later in pairs))

    @property
    def dollars_per_tb(self) -> float:
        return sum(self.tb_dollars)


def reckoned(base: Figures, memory_mb: int) -> Figures:
    """Return what another memory size would take for the same work.

    Scoring takes as long as the slowest of download, processors and the main thread, which no second vCPU helps; what `base` took
    beyond that, it takes again; the upload after it goes with the network; a cold start is one thread's.
    """
    work, start = base.warm, base.cold.processor_seconds - base.warm.processor_seconds

    def scoring(memory_mb: int) -> float:
        share = vcpus(memory_mb)
        compute = max(work.processor_seconds / share, work.main_thread_seconds / min(1, share))
        return max(base.bytes_in / 1e6 / network_mb_per_second(memory_mb), compute)

    waits = max(0, work.seconds - work.upload_seconds - scoring(base.memory_mb))
    upload = work.upload_seconds * network_mb_per_second(base.memory_mb) / network_mb_per_second(memory_mb)
    warm = work._replace(seconds=scoring(memory_mb) + waits + upload, upload_seconds=upload)
    cold_waits = max(0, base.cold.seconds - work.seconds - start / min(1, vcpus(base.memory_mb)))
    cold = base.cold._replace(seconds=warm.seconds + start / min(1, vcpus(memory_mb)) + cold_waits)
    return replace(base, memory_mb=memory_mb, is_measured=False, warm=warm, cold=cold)


def stretched(small: Figures, large: Figures, bytes_in: float) -> Figures:
    """Return what a chunk of another size would take: each number lies on the line through those of two sizes."""
    share = (bytes_in - small.bytes_in) / (large.bytes_in - small.bytes_in)

    def between(one: float, other: float) -> float:
        return one + share * (other - one)

    cold, warm = (Invocation(*map(between, one, other)) for one, other in ((small.cold, large.cold), (small.warm, large.warm)))
    bytes_out, puts, gets = (round(between(getattr(small, name), getattr(large, name))) for name in ("bytes_out", "puts", "gets"))
    return replace(
        large, chunk_mb=round(bytes_in / 1e6), is_measured=False, bytes_in=round(bytes_in), bytes_out=bytes_out, puts=puts,
        gets=gets, cold=cold, warm=warm,
    )  # fmt: skip


def error_of_reckoning(found: Iterable[Figures]) -> float:
    """Return how far off, as a share, the worst measured size would be if it were reckoned from the next smaller one."""
    measured = sorted((figures for figures in found if figures.is_measured), key=lambda figures: figures.size)
    pairs = [(small, large) for small, large in pairwise(measured) if small.size[:2] == large.size[:2]]
    return max((abs(reckoned(small, large.memory_mb).warm.seconds / large.warm.seconds - 1) for small, large in pairs), default=0)


def cheapest(found: list[Figures]) -> Figures | None:
    return min((figures for figures in found if figures.fits), key=lambda figures: figures.dollars_per_tb, default=None)


def fastest(found: list[Figures]) -> Figures | None:
    """The cheapest among the fastest: what is within 1 % of the least seconds."""
    fitting = [figures for figures in found if figures.fits]
    if not fitting:
        return None
    least = min(figures.warm.seconds for figures in fitting)
    return cheapest([figures for figures in fitting if figures.warm.seconds <= 1.01 * least])


def burst_seconds(small: Figures, large: Figures) -> float:
    """Return what a run of 10 GB takes, all of whose chunks start cold at once: simulated, with what the estimate assumes."""
    chunk = stretched(small, large, BURST_BYTES / CONCURRENCY)
    before = estimate.validate_seconds() + estimate.probe_seconds(large.memory_mb) + estimate.plan_seconds(1, CONCURRENCY)
    chunks = CONCURRENCY / estimate.CHILD_STARTS_PER_SECOND + estimate.CONTAINER_SECONDS + chunk.cold.seconds
    return before + chunks + estimate.merge_seconds(CONCURRENCY, chunk.bytes_out)


SPEED_BOUNDS = {Case("a", "ridge"): 210, Case("b", "ridge"): 210, Case("c", "ridge"): 210, Case("a", "columns"): 90}
DOLLAR_BOUNDS = {Case("a", "ridge"): 0.6, Case("b", "ridge"): 0.6, Case("c", "ridge"): 0.6, Case("a", "forest"): 1.0}


def targets(found: dict[Size, Figures], large_mb: int, small_mb: int) -> Iterator[Target]:
    """Yield the targets, at full size."""
    measured = [figures for figures in found.values() if figures.is_measured]
    large = [figures for figures in measured if figures.chunk_mb == large_mb]
    yield Target("warm invocation against its bound, worst", "≤", 1.15, "x", max((one.times_bound for one in large), default=None))
    for case, bound in DOLLAR_BOUNDS.items():
        pairs = [(found.get((case, small_mb, size)), one) for (of, mb, size), one in found.items() if (of, mb) == (case, large_mb)]
        best = cheapest([stretched(small, one, PLANNED_MB * 1e6) for small, one in pairs if small])
        what = f"a TB in chunks of {PLANNED_MB} MB at the cheapest size, {case}" + (f" ({best.memory_mb:,} MB)" if best else "")
        yield Target(what, "≤", bound, "$", best and best.dollars_per_tb)
    for case, bound in SPEED_BOUNDS.items():
        speeds = [figures.mb_per_vcpu_second for figures in large if figures.case == case]
        yield Target(f"whole invocation, {case}", "≥", bound, "MB/vCPU-s", max(speeds, default=None))
    yield Target("largest peak memory through S3", "≤", 300, "MB", max((one.peak_bytes / 1e6 for one in measured), default=None))
    same = [(one, other) for one in large for other in measured if other.size == (one.case, small_mb, one.memory_mb)]
    spreads = [100 * abs(one.peak_bytes - other.peak_bytes) / (one.peak_bytes + other.peak_bytes) for one, other in same]
    yield Target("its spread over chunk sizes, worst", "≤", 10, "%", max(spreads, default=None))
    seconds = {
        memory: burst_seconds(small, figures)
        for (case, chunk_mb, memory), figures in found.items()
        if (case, chunk_mb) == (Case("a", "ridge"), large_mb) and (small := found.get((case, small_mb, memory)))
    }
    for memory in dict.fromkeys((DEFAULT_MEMORY_MB, min(seconds, key=seconds.__getitem__, default=DEFAULT_MEMORY_MB))):
        what = f"10 GB, concurrency {CONCURRENCY}, all cold, a ridge, {memory:,} MB (simulated)"
        yield Target(what, "≤", 8, "s", seconds.get(memory))
