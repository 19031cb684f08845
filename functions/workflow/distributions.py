"""The distributions of predictions and features: the chunks' statistics, added up. They hold no output back.

A histogram is exponential, as OpenTelemetry's (https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponentialhistogram):
at a scale of s, bucket i holds magnitudes above base^i and up to base^(i+1), base = 2^(2^-s), with edges rounded by up to 0.2 %.
Two buckets of one scale make one of the next coarser, so histograms add up exactly, in any order and grouping.
"""

import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
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


BATCH = 32
"""Chunks whose statistics are added at once: many lists are added in a fraction of the time of one after the other."""


class StatisticsSum:
    """The statistics of chunks, added up: as much memory for a few chunks as for thousands."""

    def __init__(self) -> None:
        self._sum = empty()
        self._waiting: list[Statistics] = []
        self._kinds: dict[str, dict[str, str]] = {"predictions": {}, "features": {}}
        self._chunks = 0

    def add(self, statistics: object) -> None:
        """Add a chunk's. What is none, or does not fit to the others, is left out: it is missing from `chunks` then."""
        try:
            found = checked(statistics)
            self._kinds = {group: _kinds(known, found[group]) for group, known in self._kinds.items()}  # type: ignore[literal-required]
        except ValueError:
            return
        self._chunks += 1
        self._waiting.append(found)
        if len(self._waiting) == BATCH:
            self._add_up()

    def _add_up(self) -> None:
        self._sum, self._waiting = merged(self._sum, *self._waiting), []

    def result(self) -> ReportStatistics:
        """Return the sum, and of how many chunks it is."""
        self._add_up()
        return {"chunks": self._chunks, **self._sum}


def _kinds(known: Mapping[str, str], columns: Mapping[str, Any]) -> dict[str, str]:
    """Return the kinds of all columns; ValueError if one has another kind than before, or if there are too many."""
    kinds = {**known, **{name: values["kind"] for name, values in columns.items()}}
    if any(kinds[name] != kind for name, kind in known.items()):
        raise ValueError("a column is of two kinds")
    if len(kinds) > MAX_STATISTICS_COLUMNS:
        raise ValueError(f"more than {MAX_STATISTICS_COLUMNS} columns")
    return kinds


def empty() -> Statistics:
    """Return the statistics of no row."""
    return {"predictions": {}, "predictions_left_out": 0, "features": {}, "features_left_out": 0, "rejected_reasons": {}}


def merged(*parts: Statistics) -> Statistics:
    """Return the statistics of all together; a column is of one kind in all of them."""
    return {
        "predictions": _merged_columns([part["predictions"] for part in parts]),
        "predictions_left_out": max(part["predictions_left_out"] for part in parts),
        "features": _merged_columns([part["features"] for part in parts]),
        "features_left_out": max(part["features_left_out"] for part in parts),
        "rejected_reasons": _merged_counts([part["rejected_reasons"] for part in parts], MAX_REASONS, OTHER)[0],
    }


def _merged_columns(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = dict.fromkeys(chain.from_iterable(parts))
    return {name: merged_values(*(part[name] for part in parts if name in part)) for name in names}


def merged_values(*parts: Any) -> Any:
    """Return the statistics (`Values`) of all values of one column."""
    kind = parts[0]["kind"]
    both = {"kind": kind, **{name: sum([part[name] for part in parts]) for name in ("rows", "missing")}}
    if kind == "number":
        joined = {
            **both,
            "sum": _added([part["sum"] for part in parts]),
            "sum_of_squares": _added([part["sum_of_squares"] for part in parts]),
            "min": min([part["min"] for part in parts if part["min"] is not None], default=None),
            "max": max([part["max"] for part in parts if part["max"] is not None], default=None),
            "whole": all(part["whole"] for part in parts),
            "whole_numbers": _added_whole_numbers([part["whole_numbers"] for part in parts]),
            "histogram": merged_histograms(*(part["histogram"] for part in parts)),
        }
        if all("percents" in part for part in parts):
            joined["percents"] = _added_counts([part["percents"] for part in parts])
        return joined
    if kind == "text":
        return {**both, "hashed": _added_counts([part["hashed"] for part in parts])}
    classes, beyond = _merged_counts([part["classes"] for part in parts], MAX_CLASSES)
    return {**both, "classes": classes, "other_classes": sum([part["other_classes"] for part in parts]) + beyond}


def _added_counts(lists: Sequence[list[int]]) -> list[int]:
    return list(map(sum, zip(*lists, strict=True)))


def _added_whole_numbers(parts: Sequence[Mapping[str, int] | None]) -> dict[str, int] | None:
    counts: Counter[str] = Counter()
    for part in parts:
        if part is None:
            return None
        counts.update(part)
    return {number: counts[number] for number in sorted(counts, key=int)} if len(counts) <= MAX_COUNTED else None


def _added(parts: Sequence[float | None]) -> float | None:
    """Add one after the other, as `sum` did until Python 3.12; None if a float cannot hold it, which JSON cannot say."""
    total: float = 0
    for part in parts:
        if part is None or not math.isfinite(total := total + part):
            return None
    return total


def _merged_counts(parts: Sequence[Mapping[str, int]], most: int, other: str | None = None) -> tuple[dict[str, int], int]:
    """Add up counts by name, of at most so many names; what has no place is counted under `other`, or returned."""
    counts: dict[str, int] = dict(parts[0])
    beyond = 0
    for name, count in chain.from_iterable(part.items() for part in parts[1:]):
        if name in counts or name == other or len(counts) - (other in counts) < most:
            counts[name] = counts.get(name, 0) + count
        else:
            beyond += count
    if other is not None and beyond:
        counts[other] = counts.get(other, 0) + beyond
    return counts, beyond


def merged_histograms(*histograms: Histogram) -> Histogram:
    """Return the histogram of all together: the one of all values at once."""
    scale = min(histogram["scale"] for histogram in histograms)
    by_scale: dict[int, list[Histogram]] = {}
    for histogram in histograms:
        by_scale.setdefault(histogram["scale"], []).append(histogram)
    positive, negative = (
        _joined([coarser(_joined([histogram[sign] for histogram in own]), finer - scale) for finer, own in by_scale.items()])
        for sign in ("positive", "negative")
    )
    ends = [end for side in (positive, negative) if side["counts"] for end in _ends(side)]
    shift = 0
    while ends and (max(ends) >> shift) - (min(ends) >> shift) >= HISTOGRAM_BUCKETS:
        shift += 1
    return {
        "scale": scale - shift,
        "zero": sum([histogram["zero"] for histogram in histograms]),
        "positive": coarser(positive, shift),
        "negative": coarser(negative, shift),
        "infinite": sum([histogram["infinite"] for histogram in histograms]),
    }


def _joined(sides: Sequence[HistogramSide]) -> HistogramSide:
    filled = [side for side in sides if side["counts"]]
    if len(filled) < 2:
        return filled[0] if filled else {"offset": 0, "counts": []}
    first, last = min(side["offset"] for side in filled), max(_ends(side)[1] for side in filled)
    aligned = [[0] * (side["offset"] - first) + side["counts"] + [0] * (last - _ends(side)[1]) for side in filled]
    return {"offset": first, "counts": _added_counts(aligned)}


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
    ends = [end for side in filled for end in _ends(side)] or [0]
    return (
        COARSEST_SCALE <= histogram["scale"] <= HISTOGRAM_SCALE
        and all(side["counts"][0] and side["counts"][-1] for side in filled)
        and -MAX_OFFSET <= min(ends) <= max(ends) <= MAX_OFFSET
        and max(ends) - min(ends) < HISTOGRAM_BUCKETS
    )
