"""What the statistics of a column say, as far as they can: mean, quartiles, equal bins for a picture.

The report keeps no value, only sums and an exponential histogram (docs/report.md), so all but counts and means is approximate.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

CANCELLED = 1e-12
"""Of a variance in the square of the mean: below, the sums of float64 say nothing."""
TAIL = 0.005
"""Share of the values on either side that a picture leaves out, so that one far value does not flatten it."""


@dataclass(frozen=True)
class Bins:
    """Shares of a column's values in neighbouring intervals."""

    edges: NDArray[np.float64]
    """One more than shares, ascending."""
    shares: NDArray[np.float64]
    """Of all finite values; they sum to less than 1 where values lie outside the edges."""


class Values:
    """The statistics of one column: VALUES of the report, of `kind` number."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self._histogram: Mapping[str, Any] = values["histogram"]

    @cached_property
    def intervals(self) -> list[tuple[float, float, int]]:
        """Lower and upper edge and count of each bucket that holds something, ascending; a zero's edges are both 0."""
        power = 2.0 ** -self._histogram["scale"]
        found: list[tuple[float, float, int]] = []
        for side, sign in (("negative", -1), ("positive", 1)):
            buckets = self._histogram[side]
            for place, count in enumerate(buckets["counts"]):
                if count:
                    inner, outer = (_power_of_two((buckets["offset"] + place + step) * power) for step in (0, 1))
                    found.append((inner, outer, count) if sign > 0 else (-outer, -inner, count))
        if self._histogram["zero"]:
            found.append((0.0, 0.0, self._histogram["zero"]))
        return sorted(found)

    @cached_property
    def count(self) -> int:
        """Finite values."""
        return sum(count for _, _, count in self.intervals)

    @property
    def infinite(self) -> int:
        """Values that are infinite; they are in no sum and no bucket."""
        return int(self._histogram.get("infinite", 0))

    @property
    def mean(self) -> float | None:
        """None where there is no finite value."""
        return self._values["sum"] / self.count if self.count else None

    @property
    def standard_deviation(self) -> float | None:
        """Of the population; 0 where it is too small beside the mean to be told from it."""
        if self.mean is None:
            return None
        variance = self._values["sum_of_squares"] / self.count - self.mean**2
        return math.sqrt(variance) if variance > CANCELLED * self.mean**2 else 0.0

    def quantile(self, share: float) -> float | None:
        """Return the value below which a share of the finite values lies, as if they lay evenly in their buckets."""
        rank = share * self.count
        below = 0
        for low, high, count in self.intervals:
            if below + count >= rank:
                return low + (high - low) * max(0.0, rank - below) / count
            below += count
        return None

    def span(self) -> tuple[float, float] | None:
        """Return the range of a picture: the values without the farthest on either side."""
        low, high = self.quantile(TAIL), self.quantile(1 - TAIL)
        if low is None or high is None:
            return None
        if high - low <= 1e-9 * max(abs(low), abs(high)):
            half = abs(low) * 0.05 or 0.5
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
        return Bins(edges, shares / max(self.count, 1))

    @property
    def bucket_percent(self) -> float:
        """How much wider than its lower edge a bucket is: what a picture cannot resolve."""
        return float(100 * (_power_of_two(2.0 ** -self._histogram["scale"]) - 1))


def shared_edges(columns: Sequence[Values], bins: int) -> NDArray[np.float64] | None:
    """Return equal bins over all that the columns hold; None where none holds a finite value."""
    spans = [span for column in columns if (span := column.span())]
    if not spans:
        return None
    return np.linspace(min(low for low, _ in spans), max(high for _, high in spans), bins + 1)


def hashed_shares(values: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the shares of a text column's 64 buckets."""
    counts = np.asarray(values["hashed"], dtype=np.float64)
    shares: NDArray[np.float64] = counts / max(float(counts.sum()), 1.0)
    return shares


def commonest_hashes(columns: Sequence[Mapping[str, Any]], number: int) -> list[Bins]:
    """Return the shares of text columns in the buckets that hold most of any, the most of the last column first."""
    shares = [hashed_shares(values) for values in columns]
    larger = np.max(shares, axis=0)
    chosen = np.argsort(-larger, kind="stable")[: min(number, int(np.count_nonzero(larger)))]
    ordered = chosen[np.argsort(-shares[-1][chosen], kind="stable")]
    edges = np.arange(len(ordered) + 1, dtype=np.float64)
    return [Bins(edges, column[ordered]) for column in shares if len(ordered)]


def _power_of_two(exponent: float) -> float:
    """Return 2**exponent, the largest float64 where it is larger."""
    return float(2.0**exponent) if exponent < 1024 else 1.7976931348623157e308
