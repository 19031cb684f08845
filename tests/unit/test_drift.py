"""Features against those of a reference sample."""

from __future__ import annotations

import csv
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import distributions
import prediction_handler as handler
from batch_predict.drift import LARGE, MODERATE, population_stability_index, reference_statistics

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 20_000


def number(values: Any) -> Any:
    sums = handler._NumberSums()
    sums.add(handler._measure_numbers([np.asarray(values, float)]))
    return sums.result()[0]


@pytest.fixture
def normal() -> Any:
    return np.random.default_rng(0).normal(size=ROWS)


def test_the_same_column_has_no_drift(normal: Any) -> None:
    assert population_stability_index(number(normal), number(normal)) == 0
    again = np.random.default_rng(1).normal(size=ROWS)
    assert 0 < population_stability_index(number(normal), number(again)) < 0.01


@pytest.mark.parametrize(
    ("change", "low", "high"),
    [
        (lambda x: x + 0.1, 0.003, MODERATE),
        (lambda x: x + 0.4, MODERATE, LARGE),
        (lambda x: x + 1.0, LARGE, 20),
        (lambda x: -np.abs(x), LARGE, 20),
        (lambda x: x * 3, LARGE, 20),
        (lambda x: np.where(np.arange(ROWS) % 4, x, np.nan), LARGE, 20),
        (lambda x: np.where(np.arange(ROWS) % 4, x, np.inf), LARGE, 20),
    ],
    ids=["a tenth", "two fifths", "one deviation", "one sign", "scale", "missing", "infinite"],
)
def test_the_index_grows_with_the_change(normal: Any, change: Any, low: float, high: float) -> None:
    assert low < population_stability_index(number(normal), number(change(normal))) < high


def test_it_is_the_formula_over_tenths_of_the_reference(normal: Any) -> None:
    """Against numpy's own tenths: buckets are coarser than those, so about."""
    current = normal + 0.4
    edges = np.quantile(normal, np.arange(1, 10) / 10)
    shares = [np.bincount(np.searchsorted(edges, side), minlength=10) / ROWS for side in (normal, current)]
    expected = float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
    assert population_stability_index(number(normal), number(current)) == pytest.approx(expected, rel=0.15)


def test_histograms_of_other_scales_compare() -> None:
    narrow, wide = number([100.0, 101.0] * 50), number([100.0, 101.0, 1e-9, 1e9] * 25)
    assert narrow["histogram"]["scale"] > wide["histogram"]["scale"]
    assert population_stability_index(narrow, wide) > LARGE


def text(counts: dict[int, int], missing: int = 0) -> Any:
    hashed = [counts.get(index, 0) for index in range(64)]
    return {"kind": "text", "rows": sum(hashed) + missing, "missing": missing, "hashed": hashed}


def test_texts_and_labels_by_hand() -> None:
    expected = (0.75 - 0.5) * math.log(0.75 / 0.5) + (0.25 - 0.5) * math.log(0.25 / 0.5)
    assert population_stability_index(text({1: 50, 2: 50}), text({1: 75, 2: 25})) == pytest.approx(expected)
    assert population_stability_index(text({1: 50}, 50), text({1: 75}, 25)) == pytest.approx(expected)
    gone = (0.5 - 0.0001) * math.log(0.5 / 0.0001) + (0.5 - 1.0) * math.log(0.5)
    assert population_stability_index(text({1: 100}), text({1: 50, 2: 50})) == pytest.approx(gone)
    labels = [{"kind": "class", "rows": 4, "missing": 0, "classes": {"a": a, "b": 4 - a}, "other_classes": 0} for a in (2, 3)]
    assert population_stability_index(*labels) == pytest.approx(expected)


def test_what_cannot_be_compared_is_said() -> None:
    with pytest.raises(ValueError, match="kind number cannot be compared with one of kind text"):
        population_stability_index(text({1: 1}), number([1.0]))
    with pytest.raises(ValueError, match="without rows"):
        population_stability_index(text({}), text({1: 1}))


def test_a_reference_sample_is_counted_as_the_function_counts(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    rows = [
        [f"{generator.normal():.4f}" if index % 9 else "NA", ["Zürich", "New York, NY", ""][index % 3], "True", "left out"]
        for index in range(300)
    ]
    path = tmp_path / "reference.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["x", "city", "flag", "note"], *rows])
    kinds = {"x": "number", "city": "text", "flag": "number", "absent": "number"}
    found = reference_statistics(path, {name: {"kind": kind} for name, kind in kinds.items()})
    assert list(found) == ["x", "city", "flag"]
    statistics = distributions.empty() | {"features": found}
    assert json.dumps(distributions.checked(statistics)) == json.dumps(statistics)
    expected = number([float(row[0]) if row[0] != "NA" else np.nan for row in rows])
    assert found["x"].pop("sum_of_squares") == pytest.approx(expected.pop("sum_of_squares"))
    assert found["x"].pop("sum") == pytest.approx(expected.pop("sum"))
    assert found["x"] == expected
    assert (found["city"]["missing"], found["flag"]["sum"]) == (100, 300.0)


def test_a_row_of_the_reference_whose_number_is_none_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "reference.csv"
    path.write_text("x,y\n1,2\ntwo,3\n5,6\n")
    found = reference_statistics(path, {"x": {"kind": "number"}, "y": {"kind": "number"}})
    assert [(found[name]["rows"], found[name]["sum"]) for name in ("x", "y")] == [(2, 6.0), (2, 8.0)]
    path.write_text("x,y\n")
    with pytest.raises(ValueError, match="no rows"):
        reference_statistics(path, {"x": {"kind": "number"}})
