"""The distributions of predictions and features: the chunks' statistics, added up. They hold no output back.

A histogram is exponential, as OpenTelemetry's (https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponentialhistogram):
at a scale of s, bucket i holds magnitudes above base^i and up to base^(i+1), base = 2^(2^-s), with edges rounded by up to 0.2 %.
Two buckets of one scale make one of the next coarser, so histograms add up exactly, in any order and grouping.
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .conforms import conforms
from .contract import Histogram, HistogramSide, ReportStatistics, Statistics, Values

MAX_STATISTICS_COLUMNS = 200
MAX_CLASSES, MAX_REASONS = 100, 50
OTHER = "other"
HASHES = 64
HISTOGRAM_SCALE, HISTOGRAM_BUCKETS = 5, 80
LARGEST_COUNTED, MAX_COUNTED = 128, 64
PERCENTS = 101
"""As in the prediction function, which explains them; a contract test holds them equal."""
COARSEST_SCALE = -1
"""80 buckets of it hold every magnitude that the prediction function counts."""
MAX_OFFSET = 2**15
"""Above every bucket's number, at any scale: magnitudes are between 2^-60 and 2^64."""


class StatisticsSum:
    """The statistics of chunks, added one by one: as much memory for one chunk as for thousands."""

    def __init__(self) -> None:
        self._sum = empty()
        self._chunks = 0

    def add(self, statistics: object) -> None:
        """Add a chunk's. What is none, or does not fit to the others, is left out: it is missing from `chunks` then."""
        try:
            self._sum = merged(self._sum, checked(statistics))
        except ValueError:
            return
        self._chunks += 1

    def result(self) -> ReportStatistics:
        """Return the sum, and of how many chunks it is."""
        return {"chunks": self._chunks, **self._sum}


def empty() -> Statistics:
    """Return the statistics of no row."""
    return {"predictions": {}, "predictions_left_out": 0, "features": {}, "features_left_out": 0, "rejected_reasons": {}}


def merged(left: Statistics, right: Statistics) -> Statistics:
    """Return the statistics of both together; ValueError if a column is of another kind in each."""
    return {
        "predictions": _merged_columns(left["predictions"], right["predictions"]),
        "predictions_left_out": max(left["predictions_left_out"], right["predictions_left_out"]),
        "features": _merged_columns(left["features"], right["features"]),
        "features_left_out": max(left["features_left_out"], right["features_left_out"]),
        "rejected_reasons": _merged_counts(left["rejected_reasons"], right["rejected_reasons"], MAX_REASONS, OTHER)[0],
    }


def _merged_columns(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    columns = {**left, **right} | {name: merged_values(left[name], right[name]) for name in left.keys() & right.keys()}
    if len(columns) > MAX_STATISTICS_COLUMNS:
        raise ValueError(f"more than {MAX_STATISTICS_COLUMNS} columns")
    return columns


def merged_values(left: Any, right: Any) -> Any:
    """Return the statistics (`Values`) of one column's values on both sides."""
    if left["kind"] != right["kind"]:
        raise ValueError(f"a column is {left['kind']} and {right['kind']}")
    both = {"kind": left["kind"], "rows": left["rows"] + right["rows"], "missing": left["missing"] + right["missing"]}
    if left["kind"] == "number":
        joined = {
            **both,
            "sum": _added(left["sum"], right["sum"]),
            "sum_of_squares": _added(left["sum_of_squares"], right["sum_of_squares"]),
            "min": min((value for value in (left["min"], right["min"]) if value is not None), default=None),
            "max": max((value for value in (left["max"], right["max"]) if value is not None), default=None),
            "whole": left["whole"] and right["whole"],
            "whole_numbers": _added_whole_numbers(left["whole_numbers"], right["whole_numbers"]),
            "histogram": merged_histograms(left["histogram"], right["histogram"]),
        }
        if "percents" in left and "percents" in right:
            joined["percents"] = [a + b for a, b in zip(left["percents"], right["percents"], strict=True)]
        return joined
    if left["kind"] == "text":
        return {**both, "hashed": [a + b for a, b in zip(left["hashed"], right["hashed"], strict=True)]}
    classes, beyond = _merged_counts(left["classes"], right["classes"], MAX_CLASSES)
    return {**both, "classes": classes, "other_classes": left["other_classes"] + right["other_classes"] + beyond}


def _added_whole_numbers(left: Mapping[str, int] | None, right: Mapping[str, int] | None) -> dict[str, int] | None:
    if left is None or right is None or len(left.keys() | right.keys()) > MAX_COUNTED:
        return None
    return {number: left.get(number, 0) + right.get(number, 0) for number in sorted(left.keys() | right.keys(), key=int)}


def _added(left: float | None, right: float | None) -> float | None:
    """Add; None if a sum is too large for a float, which JSON has no word for."""
    if left is None or right is None:
        return None
    total = left + right
    return total if math.isfinite(total) else None


def _merged_counts(
    left: Mapping[str, int], right: Mapping[str, int], most: int, other: str | None = None
) -> tuple[dict[str, int], int]:
    """Add up counts by name, of at most so many names; what has no place is counted under `other`, or returned."""
    counts, beyond = dict(left), 0
    for name, count in right.items():
        if name in counts or name == other or len(counts) - (other in counts) < most:
            counts[name] = counts.get(name, 0) + count
        else:
            beyond += count
    if other is not None and beyond:
        counts[other] = counts.get(other, 0) + beyond
    return counts, beyond


def merged_histograms(left: Histogram, right: Histogram) -> Histogram:
    """Return the histogram of both together: the one of all values at once."""
    scale = min(left["scale"], right["scale"])
    sides = [
        [coarser(histogram[sign], histogram["scale"] - scale) for histogram in (left, right)] for sign in ("positive", "negative")
    ]
    ends = [end for side in (*sides[0], *sides[1]) if side["counts"] for end in _ends(side)]
    shift = 0
    while ends and (max(ends) >> shift) - (min(ends) >> shift) >= HISTOGRAM_BUCKETS:
        shift += 1
    positive, negative = (_joined([coarser(side, shift) for side in both]) for both in sides)
    return {
        "scale": scale - shift,
        "zero": left["zero"] + right["zero"],
        "positive": positive,
        "negative": negative,
        "infinite": left["infinite"] + right["infinite"],
    }


def _ends(side: HistogramSide) -> tuple[int, int]:
    return side["offset"], side["offset"] + len(side["counts"]) - 1


def coarser(side: HistogramSide, bits: int) -> HistogramSide:
    """Return the buckets of a scale that is coarser by so much."""
    if bits == 0 or not side["counts"]:
        return side
    first, last = _ends(side)
    counts = [0] * ((last >> bits) - (first >> bits) + 1)
    for index, count in enumerate(side["counts"], first):
        counts[(index >> bits) - (first >> bits)] += count
    return {"offset": first >> bits, "counts": counts}


class Bucket(NamedTuple):
    """Values between two edges."""

    low: float
    high: float
    rows: int


def buckets_of(histogram: Histogram, scale: int | None = None) -> Iterator[Bucket]:
    """Yield the buckets that hold something, ascending, perhaps at a coarser scale. Zeros are a bucket without width."""
    scale = histogram["scale"] if scale is None else scale
    power = 2.0**-scale
    negative, positive = (coarser(histogram[sign], histogram["scale"] - scale) for sign in ("negative", "positive"))
    for index, count in reversed(list(enumerate(negative["counts"], negative["offset"]))):
        if count:
            yield Bucket(-_power_of_two((index + 1) * power), -_power_of_two(index * power), count)
    if histogram["zero"]:
        yield Bucket(0.0, 0.0, histogram["zero"])
    for index, count in enumerate(positive["counts"], positive["offset"]):
        if count:
            yield Bucket(_power_of_two(index * power), _power_of_two((index + 1) * power), count)


def _power_of_two(exponent: float) -> float:
    """Return 2**exponent, the largest float64 if it is larger."""
    return float(2.0**exponent) if exponent < 1024 else sys.float_info.max


def _joined(sides: Sequence[HistogramSide]) -> HistogramSide:
    filled = [side for side in sides if side["counts"]]
    if len(filled) < 2:
        return filled[0] if filled else {"offset": 0, "counts": []}
    low = min(side["offset"] for side in filled)
    counts = [0] * (max(_ends(side)[1] for side in filled) - low + 1)
    for side in filled:
        for index, count in enumerate(side["counts"], side["offset"] - low):
            counts[index] += count
    return {"offset": low, "counts": counts}


# --- what is read back is checked as if a stranger had written it -----------------------------------------------------------------


def checked(statistics: object) -> Statistics:
    """Return statistics that were read back; ValueError if they cannot be statistics."""
    if not (conforms(statistics, Statistics) and len(statistics["rejected_reasons"]) <= MAX_REASONS + 1):
        raise ValueError("not the statistics of a chunk")
    for columns in (statistics["predictions"], statistics["features"]):
        if len(columns) > MAX_STATISTICS_COLUMNS or not all(map(_adds_up, columns.values())):
            raise ValueError("statistics that do not add up")
    return statistics


def _adds_up(values: Values) -> bool:
    if values["kind"] == "text":
        return len(values["hashed"]) == HASHES and values["rows"] == values["missing"] + sum(values["hashed"])
    if values["kind"] == "class":
        counted = values["other_classes"] + sum(values["classes"].values())
        return len(values["classes"]) <= MAX_CLASSES and values["rows"] == values["missing"] + counted
    histogram, low, high = values["histogram"], values["min"], values["max"]
    finite = histogram["zero"] + sum(histogram["positive"]["counts"]) + sum(histogram["negative"]["counts"])
    numbers, percents = values["whole_numbers"], values.get("percents")
    return (
        values["rows"] == values["missing"] + histogram["infinite"] + finite
        and _is_histogram(histogram)
        and (low is None) == (high is None)
        and (low is None or high is None or low <= high)
        and (numbers is None or (values["whole"] and len(numbers) <= MAX_COUNTED and sum(numbers.values()) == finite))
        and (numbers is None or numbers.keys() <= _COUNTED)
        and (percents is None or (len(percents) == PERCENTS and sum(percents) == finite))
    )


_COUNTED = {str(number) for number in range(-LARGEST_COUNTED, LARGEST_COUNTED + 1)}


def _is_histogram(histogram: Histogram) -> bool:
    filled = [side for side in (histogram["positive"], histogram["negative"]) if side["counts"]]
    ends = [end for side in filled for end in _ends(side)]
    return (
        COARSEST_SCALE <= histogram["scale"] <= HISTOGRAM_SCALE
        and all(side["counts"][0] and side["counts"][-1] for side in filled)
        and all(abs(end) <= MAX_OFFSET for end in ends)
        and (not ends or max(ends) - min(ends) < HISTOGRAM_BUCKETS)
    )
