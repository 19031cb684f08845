"""What the statistics of a column say, as far as they can: mean, quartiles, equal bins for a picture (docs/report.md).

What is read from a histogram is known as exactly as its buckets are narrow; few whole numbers, and percents, are counted.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch_predict import deployed

CANCELLED = 1e-12
"""A variance below this share of the mean's square is lost in the rounding of float64 sums."""
ROUNDED_EDGES = 0.002
"""A bucket's edges may be rounded by this share of a value."""
EXACT_INTEGERS = 2**53
TAIL = 0.005
"""Share of the values on either side that a picture leaves out, so that one far value does not flatten it."""


@dataclass(frozen=True)
class Bins:
    """Shares of a column's values in neighbouring intervals."""

    edges: NDArray[np.float64]
    """One more than shares, ascending."""
    shares: NDArray[np.float64]
    """Shares of all finite values; they sum to less than 1 if values lie outside the edges."""
    are_apart: bool = False
    """Whether each bin holds a whole number or a hash, so that nothing lies between two bins."""


class Values:
    """The statistics of one column: VALUES of the report, of `kind` number."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self._histogram: Any = values["histogram"]

    @cached_property
    def intervals(self) -> list[tuple[float, float, int]]:
        """Lower and upper edge and count of each interval that holds something, ascending; the edges of a known value are equal."""
        numbers = self._values.get("whole_numbers")
        if numbers is not None:
            return sorted((float(number), float(number), count) for number, count in numbers.items())
        if self.is_probability:
            percents = enumerate(self._values["percents"])
            return [(max(step - 0.5, 0) / 100, min(step + 0.5, 100) / 100, count) for step, count in percents if count]
        return self._buckets

    @cached_property
    def _buckets(self) -> list[tuple[float, float, int]]:
        """Edges and counts of the histogram's buckets, narrowed to where values can be."""
        buckets = deployed.distributions.buckets_of(self._histogram)
        return sorted((*self._narrowed(bucket.low, bucket.high), bucket.rows) for bucket in buckets)

    def _narrowed(self, low: float, high: float) -> tuple[float, float]:
        """Return where in a bucket values can be: not beyond the smallest and largest, and at whole numbers alone if all are."""
        smallest = -math.inf if self.smallest is None else self.smallest
        largest = math.inf if self.largest is None else self.largest
        narrow_low, narrow_high = (min(max(edge, smallest), largest) for edge in (low, high))
        if low == high:  # zero
            return low, high
        if not self.is_whole or not -math.inf < smallest <= narrow_low < narrow_high <= largest < EXACT_INTEGERS:
            return narrow_low, narrow_high
        inner, outer = (low, high) if low > 0 else (-high, -low)
        # A bucket holds its outer edge, and not its inner one.
        nearest = int(inner) + 1 if inner % 1 == 0 else math.ceil(inner * (1 - ROUNDED_EDGES))
        farthest = math.floor(outer * (1 + ROUNDED_EDGES))
        first, last = (nearest, farthest) if low > 0 else (-farthest, -nearest)
        first, last = max(first, int(smallest)), min(last, int(largest))
        return (float(first), float(first)) if first >= last else (first - 0.5, last + 0.5)

    @property
    def smallest(self) -> float | None:
        """The smallest finite value; None if there is none."""
        return self._values.get("min")

    @property
    def largest(self) -> float | None:
        """The largest finite value."""
        return self._values.get("max")

    @property
    def is_whole(self) -> bool:
        """Whether all finite values are known to be whole numbers."""
        return bool(self._values.get("whole", False))

    @property
    def is_exact(self) -> bool:
        """Whether each value is counted by itself."""
        return self._values.get("whole_numbers") is not None

    @property
    def is_probability(self) -> bool:
        """Whether the values are counted by percents."""
        return "percents" in self._values

    @cached_property
    def count(self) -> int:
        """Finite values."""
        return sum(count for _, _, count in self.intervals)

    @property
    def infinite(self) -> int:
        """How many values are infinite; they are in no sum and no bucket."""
        return int(self._histogram["infinite"])

    @property
    def mean(self) -> float | None:
        """Mean of the finite values; None if there are none."""
        return self._values["sum"] / self.count if self.count else None

    @property
    def standard_deviation(self) -> float | None:
        """Standard deviation of the population; 0 if it is too small beside the mean to be computed."""
        if self.mean is None:
            return None
        variance = self._values["sum_of_squares"] / self.count - self.mean**2
        return math.sqrt(variance) if variance > CANCELLED * self.mean**2 else 0.0

    def quantile(self, share: float) -> float | None:
        """Return the value below which a share of the finite values lies, as if they lay evenly in their intervals."""
        found = self.known_quantile(share)
        return None if found is None else found[0]

    def known_quantile(self, share: float) -> tuple[float, float] | None:
        """Return a quantile, and the width of the interval in which it may lie: 0 if it is exact."""
        rank = share * self.count
        low, high, place = _at_rank(self.intervals, rank)
        if self.count == 0:
            return None
        if self.is_whole:
            return float(round(place)), high - low
        if self.is_probability:
            if high > 0.005:  # the first of the percents: below it, the histogram knows more
                return round(100 * (low + high) / 2) / 100, 0.01
            low, high, place = _at_rank(self._buckets, rank)
        return place, high - low

    def span(self) -> tuple[float, float] | None:
        """Return the range of a picture: the values without the farthest on either side, or all if each is counted by itself."""
        if self.is_probability and self.count:
            return 0.0, 1.0
        tail = 0.0 if self.is_exact else TAIL
        low, high = self.quantile(tail), self.quantile(1 - tail)
        if low is None or high is None:
            return None
        if high - low <= 1e-9 * max(abs(low), abs(high)):
            half = 0.5 if self.is_whole else abs(low) * 0.05 or 0.5
            return low - half, high + half
        return low, high

    def bins(self, edges: NDArray[np.float64]) -> Bins:
        """Return the shares between edges, as if the values lay evenly in their buckets."""
        shares = np.zeros(len(edges) - 1)
        for low, high, count in self.intervals:
            if high > low:
                covered = np.clip(np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1]), 0, None)
                shares += count * covered / (high - low)
            elif edges[0] <= low <= edges[-1]:
                shares[min(int(np.searchsorted(edges, low, side="right")) - 1, len(shares) - 1)] += count
        return Bins(edges, shares / max(self.count, 1), are_apart=self.is_whole and bool(np.diff(edges).max() <= 1))

    @property
    def bucket_percent(self) -> float:
        """How much wider than its lower edge a bucket is: what a picture cannot resolve."""
        return float(100 * (2.0**2.0 ** -self._histogram["scale"] - 1))


def shared_edges(columns: Sequence[Values], bins: int) -> NDArray[np.float64] | None:
    """Return the edges of equal bins (of percents, or of equally many whole numbers) over all values; None without finite ones."""
    spans = [(span, column) for column in columns if (span := column.span())]
    if not spans:
        return None
    low, high = min(low for (low, _), _ in spans), max(high for (_, high), _ in spans)
    if all(column.is_probability for _, column in spans):
        return (np.arange(102) - 0.5) / 100
    if all(column.is_whole for _, column in spans) and max(abs(low), abs(high)) < EXACT_INTEGERS:
        first, last = math.ceil(low), math.floor(high)
        step = math.ceil((last - first + 1) / bins)
        return first - 0.5 + step * np.arange(math.ceil((last - first + 1) / step) + 1, dtype=np.float64)
    return np.linspace(low, high, bins + 1)


def commonest_hashes(columns: Sequence[Mapping[str, Any]], number: int) -> list[Bins]:
    """Return the shares of text columns in the buckets that hold most of any, the most of the last column first."""
    counts = [np.asarray(values["hashed"], dtype=np.float64) for values in columns]
    shares = [column / max(float(column.sum()), 1.0) for column in counts]
    larger = np.max(shares, axis=0)
    chosen = np.argsort(-larger, kind="stable")[: min(number, int(np.count_nonzero(larger)))]
    ordered = chosen[np.argsort(-shares[-1][chosen], kind="stable")]
    edges = np.arange(len(ordered) + 1, dtype=np.float64)
    return [Bins(edges, column[ordered], are_apart=True) for column in shares if len(ordered)]


def _at_rank(intervals: Sequence[tuple[float, float, int]], rank: float) -> tuple[float, float, float]:
    """Return the edges of the interval in which a rank lies, and its place there."""
    below = 0
    low = high = place = math.nan
    for low, high, count in intervals:
        place = low + (high - low) * min(1.0, max(0.0, rank - below) / count)
        if below + count >= rank:
            break
        below += count
    return low, high, place
