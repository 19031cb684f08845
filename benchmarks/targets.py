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


TIMES_PANDAS: dict[Case, float] = {
    Case("a", "ridge"): 15,
    Case("c", "ridge"): 15,
    Case("a", "columns"): 10,
    Case("b", "ridge"): 10,
    Case("b", "forest"): 10,
    Case("a", "histgb"): 6,
    Case("a", "forest"): 3,
}
FLOOR_CASES = (Case("a", "histgb"), Case("a", "forest"), Case("c", "histgb"), Case("c", "forest"))
AGAINST_POLARS = (("work", "work_seconds", 1.0), ("CPU", "work_cpu_seconds", 0.7), ("peak memory", "peak_bytes", 0.5))
PLAIN, QUOTED = Case("a", "ridge"), Case("aq", "ridge")


def targets(results: Results) -> Iterator[Target]:
    """Yield the targets in the order in which they were set."""
    for case, bound in TIMES_PANDAS.items():
        yield Target(f"work against pandas, {case}", "≥", bound, "x", results.ratio(case, "pandas", "ours", "work_seconds"))
    for case in FLOOR_CASES:
        share = results.ratio(case, "floor", "ours", "work_seconds")
        yield Target(f"predict and copy, as share of our work, {case}", "≥", 0.80, "", share)
    yield Target(f"whole process against pandas, {PLAIN}", "≥", 8, "x", results.ratio(PLAIN, "pandas", "ours", "process_seconds"))
    for what, figure, bound in AGAINST_POLARS:
        yield Target(f"{what} against polars, {PLAIN}", "≤", bound, "x", results.ratio(PLAIN, "ours", "polars", figure))
    quoted = results.ratio_between_cases(QUOTED, PLAIN, "ours", "work_seconds")
    yield Target("work on quoted data against plain, ridge", "≤", 1.2, "x", quoted)
    peaks = [*results.values(PLAIN, "ours", "peak_bytes"), *(peak for peaks in results.memory.values() for peak in peaks)]
    yield Target("largest peak memory, a ridge", "≤", 300, "MB", max(peaks) / 1e6 if peaks else None)
    yield Target("peak memory's spread over file sizes", "≤", 15, "%", _spread(results.memory))


def _spread(memory: dict[int, list[int]]) -> float | None:
    """Largest distance of a size's median from the middle between the smallest and the largest, in percent."""
    medians = [median(peaks) for peaks in memory.values()]
    return 100 * (max(medians) - min(medians)) / (max(medians) + min(medians)) if len(medians) > 1 else None
