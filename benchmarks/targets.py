"""What the handler is held to, at full size."""

from __future__ import annotations

import operator
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.cases import Case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.results import Results


class Target(NamedTuple):
    """A bound, and the value measured: None where this run did not measure it."""

    measure: str
    sign: str
    bound: float
    unit: str
    value: float | None

    @property
    def is_met(self) -> bool | None:
        compare: Callable[[float, float], bool] = operator.ge if self.sign == "≥" else operator.le
        return None if self.value is None else compare(self.value, self.bound)


LINEAR = (Case("a", "ridge"), Case("b", "ridge"), Case("c", "ridge"))
TIMES_PANDAS: dict[Case, float] = {
    **dict.fromkeys(LINEAR, 25),
    Case("a", "columns"): 10,
    Case("b", "forest"): 10,
    Case("a", "histgb"): 12,
    Case("a", "forest"): 10,
}
TIMES_FLOOR = {Case("a", "histgb"): 1.5, Case("a", "forest"): 1.5, Case("c", "forest"): 3}
AGAINST_POLARS = dict.fromkeys(LINEAR, 0.6)
PLAIN, QUOTED = Case("a", "ridge"), Case("aq", "ridge")


def targets(results: Results) -> Iterator[Target]:
    """Yield the targets in the order in which they were set."""
    for case, bound in TIMES_PANDAS.items():
        yield Target(f"work against pandas, {case}", "≥", bound, "x", results.ratio(case, "pandas", "ours", "work_seconds"))
    for case, bound in TIMES_FLOOR.items():
        yield Target(f"work against the floor, {case}", "≥", bound, "x", results.ratio(case, "floor", "ours", "work_seconds"))
    yield Target(f"whole process against pandas, {PLAIN}", "≥", 8, "x", results.ratio(PLAIN, "pandas", "ours", "process_seconds"))
    for case, bound in AGAINST_POLARS.items():
        yield Target(f"work against polars, {case}", "≤", bound, "x", results.ratio(case, "ours", "polars", "work_seconds"))
    yield Target(f"peak memory against polars, {PLAIN}", "≤", 0.5, "x", results.ratio(PLAIN, "ours", "polars", "peak_bytes"))
    quoted = results.ratio_between_cases(QUOTED, PLAIN, "ours", "work_seconds")
    yield Target("work on quoted data against plain, ridge", "≤", 1.2, "x", quoted)
    peaks = [*results.values(PLAIN, "ours", "peak_bytes"), *(peak for peaks in results.memory.values() for peak in peaks)]
    yield Target("largest peak memory, a ridge", "≤", 300, "MB", max(peaks) / 1e6 if peaks else None)
    yield Target("peak memory's spread over file sizes", "≤", 15, "%", _spread(results.memory))


def _spread(memory: dict[int, list[int]]) -> float | None:
    """Largest distance of a size's median from the middle between the smallest and the largest, in percent."""
    medians = [median(peaks) for peaks in memory.values()]
    return 100 * (max(medians) - min(medians)) / (max(medians) + min(medians)) if len(medians) > 1 else None
