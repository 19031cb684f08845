"""The distributions of predictions and features: the chunks' statistics, added up. They hold no output back.

A histogram is exponential, as OpenTelemetry's (https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponentialhistogram):
at a scale of s, bucket i holds magnitudes above base^i and up to base^(i+1), base = 2^(2^-s), with edges rounded by up to 0.2 %.
Two buckets of one scale make one of the next coarser, so histograms add up exactly, in any order and grouping.
"""

import math
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast

from .conforms import conforms
from .contract import ClassValues, Histogram, HistogramSide, NumberValues, ReportStatistics, Statistics, TextValues, Values

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
MAX_OFFSET = 2 ** (6 + HISTOGRAM_SCALE)
"""Above every bucket's number, at any scale: magnitudes are between 2^-60 and 2^64."""


class StatisticsSum:
    """The statistics of chunks, added up: as much memory for a few chunks as for thousands."""

    def __init__(self) -> None:
        self._columns: dict[str, dict[str, Any]] = {"predictions": {}, "features": {}}
        self._left_out = dict.fromkeys(self._columns, 0)
        self._reasons: dict[str, int] = {}
        self._chunks = 0

    def add(self, statistics: object) -> None:
        """Add a chunk's. What is none, or does not fit to the others, is left out: it is missing from `chunks` then."""
        try:
            found: Any = checked(statistics)
            for group, known in self._columns.items():
                _require_fit(known, found[group])
        except ValueError:
            return
        for group, known in self._columns.items():
            for name, values in found[group].items():
                if name not in known:
                    known[name] = _SUMS[values["kind"]]()
                known[name].add(values)
            self._left_out[group] = max(self._left_out[group], found[f"{group}_left_out"])
        _add_by_name(self._reasons, found["rejected_reasons"], MAX_REASONS, OTHER)
        self._chunks += 1

    def result(self) -> ReportStatistics:
        """Return the sum, and of how many chunks it is."""
        found: dict[str, Any] = {"chunks": self._chunks}
        for group, known in self._columns.items():
            found[group] = {name: values.result() for name, values in known.items()}
            found[f"{group}_left_out"] = self._left_out[group]
        return cast("ReportStatistics", found | {"rejected_reasons": {**self._reasons}})


def _require_fit(known: Mapping[str, Any], columns: Mapping[str, Any]) -> None:
    """Raise ValueError if a column has another kind than before, or if there are too many."""
    if any(known[name].kind != values["kind"] for name, values in columns.items() if name in known):
        raise ValueError("a column is of two kinds")
    if len(known.keys() | columns.keys()) > MAX_STATISTICS_COLUMNS:
        raise ValueError(f"more than {MAX_STATISTICS_COLUMNS} columns")


class _NumberSum:
    """`NumberValues` of chunks."""

    kind = "number"

    def __init__(self) -> None:
        self._rows = self._missing = 0
        self._sum = self._squares = 0.0
        self._low, self._high = math.inf, -math.inf
        self._is_whole = True
        self._numbers: dict[str, int] | None = {}
        self._percents: int | None = 0
        self._histogram = _HistogramSum()

    def add(self, values: NumberValues) -> None:
        low, high = values["min"], values["max"]
        numbers, percents = values["whole_numbers"], values.get("percents")
        self._rows += values["rows"]
        self._missing += values["missing"]
        self._sum += math.nan if (more := values["sum"]) is None else more
        self._squares += math.nan if (more := values["sum_of_squares"]) is None else more
        self._low = self._low if low is None or low >= self._low else low
        self._high = self._high if high is None or high <= self._high else high
        self._is_whole = self._is_whole and values["whole"]
        if numbers is None or self._numbers is None:
            self._numbers = None
        else:
            _add_by_name(self._numbers, numbers, len(_COUNTED))
        self._percents = None if percents is None or self._percents is None else self._percents + _packed(percents)
        self._histogram.add(values["histogram"])

    def result(self) -> NumberValues:
        numbers = self._numbers
        found: NumberValues = {
            "kind": "number",
            "rows": self._rows,
            "missing": self._missing,
            "sum": _finite_or_none(self._sum),
            "sum_of_squares": _finite_or_none(self._squares),
            "min": _finite_or_none(self._low),
            "max": _finite_or_none(self._high),
            "whole": self._is_whole,
            "whole_numbers": None,
            "histogram": self._histogram.result(),
        }
        if numbers is not None and len(numbers) <= MAX_COUNTED:
            found["whole_numbers"] = {number: numbers[number] for number in sorted(numbers, key=int)}
        if self._percents is not None:
            found["percents"] = _unpacked(self._percents, PERCENTS)
        return found


class _TextSum:
    """`TextValues` of chunks."""

    kind = "text"

    def __init__(self) -> None:
        self._rows = self._missing = self._hashed = 0

    def add(self, values: TextValues) -> None:
        self._rows += values["rows"]
        self._missing += values["missing"]
        self._hashed += _packed(values["hashed"])

    def result(self) -> TextValues:
        return {"kind": "text", "rows": self._rows, "missing": self._missing, "hashed": _unpacked(self._hashed, HASHES)}


class _ClassSum:
    """`ClassValues` of chunks."""

    kind = "class"

    def __init__(self) -> None:
        self._rows = self._missing = self._others = 0
        self._classes: dict[str, int] = {}

    def add(self, values: ClassValues) -> None:
        self._rows += values["rows"]
        self._missing += values["missing"]
        self._others += values["other_classes"] + _add_by_name(self._classes, values["classes"], MAX_CLASSES)

    def result(self) -> ClassValues:
        counted = {**self._classes}
        return {"kind": "class", "rows": self._rows, "missing": self._missing, "classes": counted, "other_classes": self._others}


_SUMS: dict[str, Callable[[], Any]] = {each.kind: each for each in (_NumberSum, _TextSum, _ClassSum)}


def _finite_or_none(value: float) -> float | None:
    """JSON has no infinity. A sum that was infinite, or that a chunk did not know, has never become finite again."""
    return value if math.isfinite(value) else None


def _add_by_name(counts: dict[str, int], more: Mapping[str, int], most: int, other: str | None = None) -> int:
    """Add to counts of at most so many names; what has no place is counted under `other`, or returned."""
    beyond = 0
    for name, count in more.items():
        if name in counts or name == other or len(counts) - (other in counts) < most:
            counts[name] = counts.get(name, 0) + count
        else:
            beyond += count
    if other is not None and beyond:
        counts[other] = counts.get(other, 0) + beyond
        return 0
    return beyond


def merged_histograms(*histograms: Histogram) -> Histogram:
    """Return the histogram of all together: the one of all values at once."""
    total = _HistogramSum()
    for histogram in histograms:
        total.add(histogram)
    return total.result()


class _HistogramSum:
    """Histograms, added up scale by scale; only the sums are made coarser."""

    def __init__(self) -> None:
        self._zero = self._infinite = 0
        self._sides: dict[int, tuple[_SideSum, _SideSum]] = {}

    def add(self, histogram: Histogram) -> None:
        self._zero += histogram["zero"]
        self._infinite += histogram["infinite"]
        scale = histogram["scale"]
        if scale not in self._sides:
            self._sides[scale] = (_SideSum(), _SideSum())
        positive, negative = self._sides[scale]
        positive.add(histogram["positive"])
        negative.add(histogram["negative"])

    def result(self) -> Histogram:
        scale = min(self._sides, default=HISTOGRAM_SCALE)
        joined = (_SideSum(), _SideSum())
        for finer, sides in self._sides.items():
            for total, side in zip(joined, sides, strict=True):
                total.add(coarser(side.result(), finer - scale))
        positive, negative = (side.result() for side in joined)
        ends = [end for side in (positive, negative) if side["counts"] for end in _ends(side)]
        shift = 0
        while ends and (max(ends) >> shift) - (min(ends) >> shift) >= HISTOGRAM_BUCKETS:
            shift += 1
        return {
            "scale": scale - shift,
            "zero": self._zero,
            "positive": coarser(positive, shift),
            "negative": coarser(negative, shift),
            "infinite": self._infinite,
        }


class _SideSum:
    """Buckets of one sign and scale."""

    def __init__(self) -> None:
        self._offset = self._counts = 0

    def add(self, side: HistogramSide) -> None:
        if not side["counts"]:
            return
        counts, ahead = _packed(side["counts"]), side["offset"] - self._offset
        if not self._counts:
            self._offset, self._counts = side["offset"], counts
        elif ahead >= 0:
            self._counts += counts << ahead * COUNT_BITS
        else:
            self._offset, self._counts = side["offset"], counts + (self._counts << -ahead * COUNT_BITS)

    def result(self) -> HistogramSide:
        length = -(-self._counts.bit_length() // COUNT_BITS)
        return {"offset": self._offset, "counts": _unpacked(self._counts, length)}


COUNT_BITS = 64
"""A list of counts is added to another as one integer, in which each has so many bits: a tenth of the time of one by one."""


def _packed(counts: list[int]) -> int:
    return int.from_bytes(array("Q", counts), "little")  # as all processors of Lambda are


def _unpacked(packed: int, length: int) -> list[int]:
    return array("Q", packed.to_bytes(length * COUNT_BITS // 8, "little")).tolist()


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
        labelled = values["other_classes"] + sum(values["classes"].values())
        return len(values["classes"]) <= MAX_CLASSES and values["rows"] == values["missing"] + labelled
    low, high, numbers, percents = values["min"], values["max"], values["whole_numbers"], values.get("percents")
    counted = _counted_in(values["histogram"])
    if counted is None or values["rows"] != values["missing"] + values["histogram"]["infinite"] + counted:
        return False
    return (
        (low is None) == (high is None)
        and (low is None or high is None or low <= high)
        and (numbers is None or (values["whole"] and len(numbers) <= MAX_COUNTED and sum(numbers.values()) == counted))
        and (numbers is None or numbers.keys() <= _COUNTED)
        and (percents is None or (len(percents) == PERCENTS and sum(percents) == counted))
    )


_COUNTED = {str(number) for number in range(-LARGEST_COUNTED, LARGEST_COUNTED + 1)}


def _counted_in(histogram: Histogram) -> int | None:
    """Return how many finite values are in a histogram, None if it cannot be one."""
    counted, first, last = histogram["zero"], MAX_OFFSET, -MAX_OFFSET  # so one with buckets far beyond them is too long
    for side in (histogram["positive"], histogram["negative"]):
        if counts := side["counts"]:
            if not (counts[0] and counts[-1]):
                return None
            counted += sum(counts)
            first, last = min(first, side["offset"]), max(last, side["offset"] + len(counts) - 1)
    is_possible = COARSEST_SCALE <= histogram["scale"] <= HISTOGRAM_SCALE and last - first < HISTOGRAM_BUCKETS
    return counted if is_possible else None
