"""Have features and predictions changed? A report's statistics against those of a sample, of an output or of another report.

reference = reference_statistics(Path("fitted_on.csv"), report["statistics"])["features"]
drift = drift_of(reference, report["statistics"]["features"])
"""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from batch_predict import deployed
from batch_predict.deployed import prediction_handler
from batch_predict.errors import BatchPredictError
from batch_predict.report.input import ReportInput

BINS = 10
"""Bins of numbers, beside those of missing and infinite ones: the usual number, for which the bands below were found."""
SMALLEST_SHARE = 1e-4
"""Stands for an empty bin's share, because zero has no logarithm."""
MODERATE, LARGE = 0.1, 0.25
"""The usual bands of the index: below the first a column has hardly changed, from the second on it is another one."""


def tone_of(index: float) -> str:
    """Return the colour of an index by its band, as a CSS variable of the page: `main`, `warm` or `bad`."""
    return "main" if index < MODERATE else "warm" if index < LARGE else "bad"


def compared(record: ReportInput, reference: Path) -> ReportInput:
    """Return the record with its drift against a reference; BatchPredictError if they cannot be compared."""
    statistics = record.known.get("statistics") or {}
    if not statistics.get("features"):
        raise BatchPredictError(f"run {record.name} has no statistics of its features to compare {reference} with")
    try:
        found = reference_statistics(reference, statistics, record.request.get("csv"))
    except ValueError as error:
        raise BatchPredictError(f"reference {reference} cannot be compared: {error}") from error
    return replace(
        record,
        reference=found["features"],
        reference_predictions=found["predictions"],
        reference_name=str(reference),
        drift=drift_of(found["features"], statistics["features"]),
        prediction_drift=drift_of(found["predictions"], statistics["predictions"]),
    )


def reference_statistics(
    path: Path, statistics: Mapping[str, Any], csv: Mapping[str, Any] | None = None
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the `features` and `predictions` of a reference, of the shape of a report's ``statistics``, which it is for.

    It is the report of another run, or CSV: a sample, or another run's output, which has predictions, too. CSV is counted as
    the prediction function counts: by the same kinds, buckets and hashes. A column that it does not have is left out; so is a row
    in which a number cannot be read, or which has no prediction. `csv` is the run's own field, by which CSV is read.
    Raises ValueError if the file is neither, or has no rows.
    """
    with path.open("rb") as file:
        is_report = file.read(1) == b"{"
    return _of_report(path) if is_report else _counted(path, statistics, csv)


def _of_report(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the statistics in a report; ValueError if there are none."""
    try:
        statistics = json.loads(path.read_bytes())["statistics"]
        statistics.pop("chunks", None)
        found: Any = deployed.distributions.checked(statistics)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path.name} is no report with statistics, and no CSV") from error
    return {"features": found["features"], "predictions": found["predictions"]}


def _counted(path: Path, statistics: Mapping[str, Any], csv: Mapping[str, Any] | None) -> dict[str, dict[str, dict[str, Any]]]:
    handler = prediction_handler()
    chunk = handler._local_chunk([path], {"csv": csv})  # noqa: SLF001  # the very reader and counter of the prediction function
    features, predictions = (
        {name: values for name, values in statistics.get(group, {}).items() if name in chunk.header.names}
        for group in ("features", "predictions")
    )
    kinds = {name: values["kind"] for name, values in (features | predictions).items()}
    read_as = {name: handler.NUMBER if kind == "number" else handler.TEXT for name, kind in kinds.items()}
    labels = [name for name in predictions if kinds[name] == handler.CLASS]
    numbers = [name for name in predictions if name not in labels]
    if all("percents" in predictions[name] for name in numbers):
        kinds |= dict.fromkeys(numbers, handler.SHARE)
    known = {name: tuple(set(predictions[name]["classes"]) & set(handler.MISSING_VALUES) - {""}) for name in labels}
    columns = handler._Columns([*kinds], read_as, known=known)  # noqa: SLF001

    def tables() -> Iterator[Any]:
        for block in chunk.blocks(handler.BLOCK_BYTES):
            rejected: set[int] = set()
            table = block.features(columns, lambda row, _, rows=rejected: rows.add(row)).table
            for name, values in predictions.items():
                if not values["missing"]:  # so this model gives no missing ones: the row was rejected when it was scored
                    rejected.update(np.flatnonzero(table[name].is_null().to_numpy()).tolist())
            table = table.take([row for row in range(block.rows) if row not in rejected]) if rejected else table
            if table.num_rows:
                yield table

    found = handler.column_statistics(tables(), kinds)
    if kinds and not found:
        raise ValueError(f"{path.name} has no rows to compare with")
    return {
        "features": {name: found[name] for name in features if name in found},
        "predictions": {name: found[name] for name in predictions if name in found},
    }


def drift_of(reference: Mapping[str, Mapping[str, Any]], current: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the index of each column that both sides have, of one kind and with rows; the others cannot be compared."""
    return {
        name: population_stability_index(values, current[name])
        for name, values in reference.items()
        if name in current and values["kind"] == current[name]["kind"] and values["rows"] and current[name]["rows"]
    }


def population_stability_index(reference: Mapping[str, Any], current: Mapping[str, Any]) -> float:
    """Return the PSI of one column: the sum over bins of (c - r) * ln(c / r), of the shares of rows in each.

    Missing values have a bin, and so have infinite ones. Numbers have up to 10 more, cut at buckets of both histograms' common
    scale, or for probabilities at percents if these are finer, so that each holds about a tenth of the reference; texts have 64
    by their hash, labels one each. A share of less than 0.0001 counts as that. With few rows, chance alone makes an index of a
    few tenths. Both sides must be of one kind, and have rows.
    """
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
    distributions = deployed.distributions
    scale = distributions.merged_histograms(reference["histogram"], current["histogram"])["scale"]
    sides = (reference, current)
    buckets: list[Counter[Any]] = [
        Counter({bucket.low: bucket.rows for bucket in distributions.buckets_of(values["histogram"], scale)}) for values in sides
    ]
    if all("percents" in values for values in sides):
        percents: list[Counter[Any]] = [Counter(dict(enumerate(values["percents"]))) for values in sides]
        buckets = min(buckets, percents, key=lambda found: max(found[0].values(), default=0))
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
