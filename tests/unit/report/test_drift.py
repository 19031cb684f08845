"""Features against those of a reference sample."""

import csv
import json
import math

import numpy as np
import pytest

from batch_predict.report.drift import LARGE, MODERATE, drift_of, population_stability_index, reference_statistics
from support.chunk_statistics import merged
from support.chunk_statistics import number_statistics as number
from workflow import distributions

ROWS = 20_000


@pytest.fixture
def normal():
    return np.random.default_rng(0).normal(size=ROWS)


def test_the_same_column_has_no_drift(normal):
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
def test_the_index_grows_with_the_change(normal, change, low, high):
    assert low < population_stability_index(number(normal), number(change(normal))) < high


def test_it_is_the_formula_over_tenths_of_the_reference(normal):
    """Against numpy's own tenths: buckets are coarser than those, so about."""
    current = normal + 0.4
    edges = np.quantile(normal, np.arange(1, 10) / 10)
    shares = [np.bincount(np.searchsorted(edges, side), minlength=10) / ROWS for side in (normal, current)]
    expected = float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
    assert population_stability_index(number(normal), number(current)) == pytest.approx(expected, rel=0.15)


def test_histograms_of_other_scales_compare():
    narrow, wide = number([100.0, 101.0] * 50), number([100.0, 101.0, 1e-9, 1e9] * 25)
    assert narrow["histogram"]["scale"] > wide["histogram"]["scale"]
    assert population_stability_index(narrow, wide) > LARGE


def text(counts, missing=0):
    hashed = [counts.get(index, 0) for index in range(64)]
    return {"kind": "text", "rows": sum(hashed) + missing, "missing": missing, "hashed": hashed}


def test_texts_and_labels_by_hand():
    expected = (0.75 - 0.5) * math.log(0.75 / 0.5) + (0.25 - 0.5) * math.log(0.25 / 0.5)
    assert population_stability_index(text({1: 50, 2: 50}), text({1: 75, 2: 25})) == pytest.approx(expected)
    assert population_stability_index(text({1: 50}, 50), text({1: 75}, 25)) == pytest.approx(expected)
    gone = (0.5 - 0.0001) * math.log(0.5 / 0.0001) + (0.5 - 1.0) * math.log(0.5)
    assert population_stability_index(text({1: 100}), text({1: 50, 2: 50})) == pytest.approx(gone)
    labels = [{"kind": "class", "rows": 4, "missing": 0, "classes": {"a": a, "b": 4 - a}, "other_classes": 0} for a in (2, 3)]
    assert population_stability_index(*labels) == pytest.approx(expected)


def test_a_reference_sample_is_counted_as_the_function_counts(tmp_path):
    generator = np.random.default_rng(5)
    rows = [
        [f"{generator.normal():.4f}" if index % 9 else "NA", ["Zürich", "New York, NY", ""][index % 3], "True", "left out"]
        for index in range(300)
    ]
    path = tmp_path / "reference.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["x", "city", "flag", "note"], *rows])
    kinds = {"x": "number", "city": "text", "flag": "number", "absent": "number"}
    found = reference_statistics(path, {"features": {name: {"kind": kind} for name, kind in kinds.items()}})["features"]
    assert list(found) == ["x", "city", "flag"]
    statistics = merged() | {"features": found}
    assert json.dumps(distributions.checked(statistics)) == json.dumps(statistics)
    expected = number([float(row[0]) if row[0] != "NA" else np.nan for row in rows])
    assert found["x"].pop("sum_of_squares") == pytest.approx(expected.pop("sum_of_squares"))
    assert found["x"].pop("sum") == pytest.approx(expected.pop("sum"))
    assert found["x"] == expected
    assert (found["city"]["missing"], found["flag"]["sum"]) == (100, 300.0)


def test_a_row_of_the_reference_whose_number_is_none_is_left_out(tmp_path):
    path = tmp_path / "reference.csv"
    path.write_text("x,y\n1,2\ntwo,3\n5,6\n")
    found = reference_statistics(path, {"features": {"x": {"kind": "number"}, "y": {"kind": "number"}}})["features"]
    assert [(found[name]["rows"], found[name]["sum"]) for name in ("x", "y")] == [(2, 6.0), (2, 8.0)]
    path.write_text("x,y\n")
    with pytest.raises(ValueError, match="no rows"):
        reference_statistics(path, {"features": {"x": {"kind": "number"}}})


def probabilities(values):
    return number(values, are_shares=True)


def test_probabilities_are_cut_at_percents_or_finer_where_they_are_small():
    shares = np.random.default_rng(2).beta(8, 2, ROWS)
    for side in (lambda p: p, lambda p: 1 - p):
        assert population_stability_index(probabilities(side(shares)), probabilities(side(shares))) == 0
        moved = population_stability_index(probabilities(side(shares)), probabilities(side(shares**1.5)))
        assert LARGE < moved < 1
    small = shares / 500  # all of them round to 0 %
    assert population_stability_index(probabilities(small), probabilities(small * 1.3)) > LARGE


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def test_the_output_of_another_run_has_predictions_and_its_rejected_rows_do_not_count(tmp_path):
    rows = [[index, index / 100] for index in range(100)]
    path = write(tmp_path / "out.csv", [["x", "p"], *rows, [7, ""], [8, ""]])
    current = {"features": {"x": number([1.0])}, "predictions": {"p": probabilities([0.5]), "q": probabilities([0.5])}}
    found = reference_statistics(path, current)
    assert (found["features"]["x"]["rows"], found["features"]["x"]["sum"]) == (100, 4950.0)
    assert found["predictions"] == {"p": probabilities([share for _, share in rows])}
    current["predictions"]["p"] |= {"missing": 1}
    found = reference_statistics(path, current)["predictions"]["p"]
    assert (found["rows"], found["missing"]) == (102, 2)


def test_labels_of_an_output_are_counted_as_they_are_printed(tmp_path):
    path = write(tmp_path / "out.csv", [["x", "p"], [1, "late, very"], [2, "NA"], [3, "late, very"], [4, ""], [5, "None"]])
    label = {"kind": "class", "rows": 3, "missing": 0, "classes": {"late, very": 2, "NA": 1}, "other_classes": 0}
    found = reference_statistics(path, {"features": {"x": number([1.0])}, "predictions": {"p": label}})
    assert found["predictions"] == {"p": label}
    assert found["features"]["x"]["sum"] == 6.0
    assert drift_of(found["predictions"], {"p": label}) == {"p": 0.0}


def test_another_report_is_a_reference(tmp_path):
    statistics = merged() | {"features": {"x": number([1.0, 2.0])}, "predictions": {"p": probabilities([0.5])}}
    path = tmp_path / "out.csv.report.json"
    path.write_text(json.dumps({"statistics": statistics}))
    assert reference_statistics(path, {}) == {name: statistics[name] for name in ("features", "predictions")}


@pytest.mark.parametrize(
    "text", ["{", '{"statistics": 7}', '{"statistics": {"features": {"x": 1}, "predictions": {}}}', "{}", "{1"]
)
def test_what_is_no_report_is_said(tmp_path, text):
    path = tmp_path / "no.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"no\.json is no report with statistics, and no CSV"):
        reference_statistics(path, {"features": {"x": number([1.0])}})


def test_columns_of_another_kind_or_without_rows_have_no_drift():
    assert drift_of({"x": text({1: 1}), "y": number([1.0]), "z": text({})}, {"x": number([1.0]), "z": text({1: 1})}) == {}
