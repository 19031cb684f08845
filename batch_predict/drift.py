"""Have the features changed? A report's statistics against those of a reference sample, such as what the model was fitted on.

reference = reference_statistics(Path("fitted_on.csv"), report["statistics"]["features"])
drift = {name: population_stability_index(reference[name], values) for name, values in report["statistics"]["features"].items()}
"""

import importlib.util
import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from batch_predict.deploy import stack_directory

BINS = 10
"""Of numbers, beside the missing and the infinite ones: so many are usual, and what the bands below were found with."""
SMALLEST_SHARE = 1e-4
"""In place of an empty bin's share, whose logarithm there is not."""
MODERATE, LARGE = 0.1, 0.25
"""The usual bands of the index: below the first a column has hardly changed, from the second on it is another one."""


def reference_statistics(path: Path, features: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Count a reference sample's columns as the prediction function counts features: by the same kinds, buckets and hashes.

    ``features`` are a report's, or a receipt's. A column that the sample does not have is left out; so is a row in which a number
    is none. Raises ValueError where the file is not CSV, or has no rows.
    """
    handler = _deployed("predict", "prediction_handler")
    header = handler._local_header(path, path.name)  # noqa: SLF001  # the very reader and counter of the prediction function
    kinds = {name: handler.TEXT if values["kind"] == "text" else handler.NUMBER for name, values in features.items()}
    columns = handler._Columns([name for name in features if name in header.names], kinds)  # noqa: SLF001
    statistics = handler._Statistics(columns)  # noqa: SLF001
    with path.open("rb") as file:
        file.seek(header.size)
        source = handler._Source(path.name, 0)  # noqa: SLF001
        for block in handler._read_blocks(file, header, source, header.size, handler.BLOCK_BYTES):  # noqa: SLF001
            rejected: set[int] = set()
            table = handler._parse_features(block, columns, lambda row, _, rows=rejected: rows.add(row))  # noqa: SLF001
            table = table.take([row for row in range(block.rows) if row not in rejected]) if rejected else table
            if table.num_rows:
                statistics.add([], handler._count_features(table, columns))  # noqa: SLF001
    found: dict[str, dict[str, Any]] = statistics.result()["features"]
    if columns.names and not found:
        raise ValueError(f"{path.name} has no rows to compare with")
    return found


def population_stability_index(reference: Mapping[str, Any], current: Mapping[str, Any]) -> float:
    """Return the PSI of one column: the sum over bins of (c - r) * ln(c / r), of the shares of rows in each.

    Missing values have a bin, and so have infinite ones. Numbers have up to 10 more, cut at buckets of both histograms' common
    scale so that each holds about a tenth of the reference; texts have 64 by their hash, labels one each. A share of less than
    0.0001 counts as that. Usual bands: below 0.1 no change, from 0.25 on a large one; of few rows also chance makes tenths.
    Raises ValueError where the kinds differ, or a side has no rows.
    """
    if reference["kind"] != current["kind"]:
        raise ValueError(f"a column of kind {current['kind']} cannot be compared with one of kind {reference['kind']}")
    if not (reference["rows"] and current["rows"]):
        raise ValueError("a column without rows cannot be compared")
    before, after = _bins(reference, current)
    index = 0.0
    for name in before.keys() | after.keys():
        was, is_now = (max(bins[name] / side["rows"], SMALLEST_SHARE) for bins, side in ((before, reference), (after, current)))
        index += (is_now - was) * math.log(is_now / was)
    return index


def _bins(reference: Mapping[str, Any], current: Mapping[str, Any]) -> tuple[Counter[Any], Counter[Any]]:
    """Count both sides' rows by the same bins."""
    if reference["kind"] == "number":
        return _number_bins(reference, current)

    def counted(values: Mapping[str, Any]) -> Counter[Any]:
        bins: Counter[Any] = Counter({"missing": values["missing"]})
        if values["kind"] == "text":
            bins.update(dict(enumerate(values["hashed"])))
        else:
            bins.update({("label", label): count for label, count in values["classes"].items()})
            bins["other"] = values["other_classes"]
        return bins

    return counted(reference), counted(current)


def _number_bins(reference: Mapping[str, Any], current: Mapping[str, Any]) -> tuple[Counter[Any], Counter[Any]]:
    distributions = _deployed("workflow", "distributions")
    scale = distributions.merged_histograms(reference["histogram"], current["histogram"])["scale"]
    buckets = [
        Counter(dict(_ordered_buckets(values["histogram"], scale, distributions.coarser))) for values in (reference, current)
    ]
    most = (reference["rows"] - reference["missing"] - reference["histogram"]["infinite"]) / BINS
    bins: tuple[Counter[Any], Counter[Any]] = (Counter(), Counter())
    number, filled = 0, 0
    for place in sorted(buckets[0].keys() | buckets[1].keys()):
        if filled >= most and number < BINS - 1:
            number, filled = number + 1, 0
        filled += buckets[0][place]
        for side, own in zip(bins, buckets, strict=True):
            side[number] += own[place]
    for side, values in zip(bins, (reference, current), strict=True):
        side |= {"missing": values["missing"], "infinite": values["histogram"]["infinite"]}
    return bins


def _ordered_buckets(histogram: Mapping[str, Any], scale: int, coarser: Any) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield counts by what orders them as the numbers are: sign, then the bucket, which falls with negative numbers."""
    yield (0, 0), histogram["zero"]
    for sign, name in ((-1, "negative"), (1, "positive")):
        side = coarser(histogram[name], histogram["scale"] - scale)
        for index, count in enumerate(side["counts"], side["offset"]):
            yield (sign, sign * index), count


@cache
def _deployed(function: str, name: str) -> ModuleType:
    """Load a file of the functions as they are deployed, under a name of its own: theirs are too plain for another's process."""
    spec = importlib.util.spec_from_file_location(
        f"batch_predict_{name}", stack_directory() / "functions" / function / f"{name}.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look for their module
    spec.loader.exec_module(module)
    return module
