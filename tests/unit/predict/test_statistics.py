"""What a chunk counts of its predictions and features while it scores them."""

import json
import math
import zlib
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from harness import DATA, MODEL, OUTPUT, FirstColumn, invoke, linear, make_event, score_locally
from hypothesis import given
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import prediction_handler as handler
import statistics_kernel
from support.chunk_statistics import merged
from workflow import distributions

RECEIPT = f"{OUTPUT}.json"

any_numbers = st.one_of(
    st.floats(width=32),
    st.integers(-1000, 1000).map(float),
    st.floats(0.5, 2.0, width=32),
    st.integers(-60, 63).map(lambda exponent: 2.0**exponent),
)
columns = st.lists(any_numbers, min_size=1, max_size=60)


def edge(scale, index):
    """Lower edge of a bucket, squared: base^i, rounded as the report's documentation says."""
    octave, part = divmod(index << (5 - scale), 16)
    return np.ldexp(np.round(2 ** (part / 16) * 128) / 128, octave)


def squared(values):
    """Values that have a bucket, as their squares with their sign; in float32, as the documentation says."""
    with np.errstate(over="ignore", under="ignore"):
        single = np.asarray(values, np.float32)
        squares = single * np.abs(single)
    return squares[(np.abs(squares) > 2.0**-120) & np.isfinite(squares)].astype(float)


def counted(*columns, kind="number"):
    """Return the statistics of columns that come in blocks."""
    kinds = {f"x{index}": kind for index in range(len(columns[0]))}
    found = handler.column_statistics((dict(zip(kinds, block, strict=True)) for block in columns), kinds)
    return [*found.values()]


def count(values):
    return counted([np.array(values, float)])[0]


def statistics_of(get):
    return json.loads(get(RECEIPT))["statistics"]


@given(columns)
def test_a_histogram_is_numpys_over_the_documented_edges(values):
    counted = count(values)
    histogram, array = counted["histogram"], np.array(values)
    squares = squared(array)
    with np.errstate(over="ignore"):
        infinite = int((np.abs(array) >= 2.0**63.9999).sum())
    assert counted["rows"] == len(values)
    assert counted["missing"] == np.isnan(array).sum()
    assert histogram["infinite"] == infinite
    assert histogram["zero"] == len(values) - counted["missing"] - infinite - len(squares)
    for name, numbers in (("positive", squares[squares > 0]), ("negative", -squares[squares < 0])):
        side = histogram[name]
        edges = [edge(histogram["scale"], side["offset"] + index) for index in range(len(side["counts"]) + 1)]
        # numpy's buckets hold their lower edge, ours the upper: negated, they are the same.
        found = np.histogram(-numbers, -np.array(edges[::-1]))[0][::-1].tolist() if side["counts"] else []
        on_the_lowest = int((numbers == edges[0]).sum()) if side["counts"] else 0
        assert on_the_lowest == 0
        assert found == side["counts"]
        assert sum(found) == len(numbers)


@given(columns)
def test_the_scale_is_the_finest_that_fits(values):
    histogram = count(values)["histogram"]
    magnitudes = np.abs(squared(values))
    ends = [
        end
        for side in (histogram["positive"], histogram["negative"])
        if side["counts"]
        for end in (side["offset"], side["offset"] + len(side["counts"]) - 1)
    ]
    if not len(magnitudes):
        assert (histogram["scale"], ends) == (5, [])
        return
    assert max(ends) - min(ends) < 80
    if histogram["scale"] < 5:
        finer = [edge(histogram["scale"] + 1, index) for index in range(2 * min(ends), 2 * max(ends) + 3)]
        buckets = np.searchsorted(finer, [magnitudes.min(), magnitudes.max()])
        assert buckets[1] - buckets[0] >= 80


@given(st.lists(columns, min_size=1, max_size=40))
def test_blocks_add_up_to_the_whole(blocks):
    merged = counted(*([np.array(block), -np.array(block)] for block in blocks))
    whole = np.concatenate([np.array(block) for block in blocks])
    for found, expected in zip(merged, (count(whole), count(-whole)), strict=True):
        with np.errstate(over="ignore"):
            assert found.pop("sum") == pytest.approx(expected.pop("sum"), rel=1e-9, abs=1e32)
            assert found.pop("sum_of_squares") == pytest.approx(expected.pop("sum_of_squares"))
        assert found == expected


with_missing = st.lists(
    st.one_of(st.none(), any_numbers, st.integers(-200, 200).map(float), st.just(-0.0)), min_size=1, max_size=80
)
whole_with_missing = st.lists(st.one_of(st.none(), st.integers(-140, 140).map(float)), min_size=1, max_size=150)


@given(st.one_of(with_missing, whole_with_missing))
def test_extremes_and_whole_numbers_are_pythons_of_what_is_there(values):
    (found,) = counted([pa.chunked_array([pa.array(values, pa.float64())])])
    found = json.loads(json.dumps(found, allow_nan=False))
    there = [value for value in values if value is not None and math.isfinite(value)]
    assert found["min"] == min(there, default=None)
    assert found["max"] == max(there, default=None)
    assert found["whole"] == all(value.is_integer() for value in there)
    expected = Counter(f"{value:.0f}" for value in there if value) + Counter({"0": there.count(0.0)})
    is_counted = (
        found["whole"] and found["histogram"]["infinite"] == 0 and len(expected) <= 64 and all(abs(x) <= 128 for x in there)
    )
    assert found["whole_numbers"] == (expected if is_counted else None)


def test_booleans_and_integers_are_whole_numbers():
    for column in (pa.array([True, None, False, True]), pa.array([1, None, 0, 1], pa.int64())):
        assert counted([pa.chunked_array([column])])[0]["whole_numbers"] == {"0": 1, "1": 2}


shares = st.one_of(
    st.floats(0, 1), st.integers(0, 200).map(lambda step: step / 200), st.integers(0, 64).map(lambda step: step / 64)
)


def counted_shares(*blocks):
    return counted(*([np.array(block), 1 - np.array(block)] for block in blocks), kind="share")


@given(st.lists(shares, min_size=1, max_size=60))
def test_probabilities_are_counted_by_whole_percents_and_of_two_one_mirrors_the_other(values):
    yes, no = counted_shares(values)
    assert yes["percents"] == no["percents"][::-1]
    off = [abs(100 * value - place) for place, value in zip(np.repeat(range(101), yes["percents"]), sorted(values), strict=True)]
    assert max(off) <= 0.5 + 100 / 65_000
    close = count(np.round(np.array(values) * 65_000) / 65_000)
    assert (yes["histogram"], yes["min"], yes["max"]) == (close["histogram"], min(values), max(values))


def test_a_forests_probabilities_are_the_percents_that_they_are():
    yes, no = counted_shares(np.arange(101) / 100)
    assert yes["percents"] == no["percents"] == [1] * 101


@pytest.mark.parametrize("odd", [1.25, -0.25, np.nan, np.inf])
def test_what_is_not_between_0_and_1_is_no_probability(odd):
    blocks = [[0.25, 0.5], [0.75, odd], [1.0, 0.0, 2.0**-20]]
    for order in (blocks, blocks[::-1], *([block] * 20 + blocks for block in blocks)):
        found = counted_shares(*order)[0]
        values = np.concatenate(order)
        expected = count(values)
        assert "percents" not in found
        assert found.pop("histogram") == count(np.where(values == 2.0**-20, 0, values))["histogram"]
        del expected["histogram"]
        assert found == expected


hostile = st.one_of(
    any_numbers,
    st.floats(),
    st.integers(-131, 131).map(float),
    st.floats(0, 1),
    st.sampled_from([-0.0, np.nan, np.inf, -np.inf, 5e-324, 2.0**-61, 2.0**52 + 1, 2.0**64, 0.5 / 65_000, 1.5 / 65_000]),
)


def test_what_counts_as_zero_makes_no_column_wide(library):
    found = counted(*[[np.array([2.0**-61, 1.3] * 20)]] * 2)[0]["histogram"]
    assert (found["scale"], found["zero"], found["positive"]["counts"]) == (5, 40, [40])


@given(st.lists(st.lists(hostile, min_size=1, max_size=9), min_size=1, max_size=4), st.integers(1, 40) | st.integers(900, 3000))
def test_the_kernel_counts_as_numpy_does(library, columns, rows):  # it must be there
    """To the bit, but for the last ones of sums, and in vectors of any size alike; columns lie together or apart."""
    together = np.array([np.resize(column, rows) for column in columns])
    shares = np.arange(len(columns)) % 2 == 1
    counts, expected_counts, again = np.zeros((3, len(columns), len(handler._bins().buckets)), np.uint32)
    fine, are_coarse = np.zeros((2, len(columns)), np.bool_)
    measures = handler._count_numbers(together, shares, are_coarse, counts)
    assert handler._count_numbers([*together], shares, fine.copy(), again).tobytes() == measures.tobytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics_kernel, "has_avx2", lambda: False)
        assert handler._count_numbers(together, shares, fine.copy(), again).tobytes() == measures.tobytes()
        patch.setattr(statistics_kernel, "kernel", lambda: None)
        expected = handler._count_numbers(together, shares, fine, expected_counts)
        joined, joined_twice = (handler._join_buckets(times * expected_counts) for times in (1, 2))
    assert (counts == expected_counts)[~are_coarse].all()
    assert (again == 2 * counts).all()
    assert (handler._join_buckets(counts) == joined).all()
    handler._count_numbers(together, shares, are_coarse, counts)  # wide columns in coarse bins, from their first value on
    assert (handler._join_buckets(counts) == joined_twice).all()
    assert (counts[are_coarse] != again[are_coarse]).any(axis=1).all()
    exact = [index for index, name in enumerate(handler._MEASURES) if name not in {"total", "squares"}]
    np.testing.assert_array_equal(measures[exact], expected[exact])
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.where(np.isfinite(together), together, 0)
        for index, terms in ((2, finite), (3, finite**2)):
            sure = np.isfinite(np.abs(terms).sum(axis=1))
            close = np.abs(measures[index] - expected[index])[sure] <= 1e-12 * np.abs(terms).sum(axis=1)[sure]
            assert close.all()


def test_more_rows_than_32_bits_count_add_up(monkeypatch):
    blocks = [[1.0, 0.3], [2.0, np.nan], [3.0, 5e9]] * 5
    expected = counted_shares(*blocks)
    monkeypatch.setattr(handler, "_MOST_ROWS", 5)
    assert counted_shares(*blocks) == expected


@pytest.mark.parametrize(
    ("values", "total", "squares", "infinite", "missing"),
    [
        ([1.0, 2.0], 3.0, 5.0, 0, 0),
        ([1.0, np.nan, -2.0], -1.0, 5.0, 0, 1),
        ([1.0, np.inf, -np.inf], 1.0, 1.0, 2, 0),
        ([1e200, 1.0], 1e200, None, 1, 0),
        ([1.7e308, 1.7e308], None, None, 2, 0),
        ([1e-300, 0.0, -0.0], 1e-300, 0.0, 0, 0),
    ],
)
def test_what_is_no_plain_number_is_told_apart(values, total, squares, infinite, missing):
    counted = count(values)
    assert (counted["sum"], counted["sum_of_squares"]) == (total, squares)
    assert (counted["histogram"]["infinite"], counted["missing"]) == (infinite, missing)
    json.dumps(counted, allow_nan=False)


def test_the_receipt_has_them_and_the_answer_has_not(put, get):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,4\n2,4\n3,-4\n")
    status, body = invoke(receipt_s3_uri=RECEIPT)
    assert (status, "statistics" in body) == (200, False)
    assert body["started"] > 1.7e12
    statistics = statistics_of(get)
    assert distributions.checked(statistics) == statistics
    assert list(statistics["features"]) == ["x1", "x2"]
    x2, prediction = statistics["features"]["x2"], statistics["predictions"]["prediction"]
    assert (x2["rows"], x2["sum"], x2["sum_of_squares"]) == (3, 4.0, 48.0)
    # 4 = 2^2 is the upper edge of bucket 2 * 2^5 - 1.
    assert x2["histogram"] == {
        "scale": 5,
        "zero": 0,
        "positive": {"offset": 63, "counts": [2]},
        "negative": {"offset": 63, "counts": [1]},
        "infinite": 0,
    }
    predicted = [float(line.rpartition(",")[2]) for line in get(OUTPUT).decode().split()[1:]]
    assert prediction["sum"] == pytest.approx(sum(predicted))


def test_rejected_rows_are_counted_by_reason_and_nowhere_else(put, get):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,secret\n2,no\n3,3\n,4\n5,9007199254740993\n")
    status, body = invoke(receipt_s3_uri=RECEIPT, on_bad_row="quarantine", strict=True)
    assert (status, body["rejected_rows"]) == (200, 4)
    statistics = statistics_of(get)
    words = "no value in 'x1': the model refuses this row: Input X contains NaN."
    assert {reason: rows for reason, rows in statistics["rejected_reasons"].items() if "refuses" not in reason} == {
        "column 'x2': not a number": 2,
        "column 'x2': an integer too large to be exact (2^53)": 1,
    }
    assert [rows for reason, rows in statistics["rejected_reasons"].items() if reason.startswith(words[:30])] == [1]
    assert [values["rows"] for values in (*statistics["features"].values(), *statistics["predictions"].values())] == [1, 1, 1]
    assert statistics["features"]["x1"]["sum"] == 3.0


def test_missing_values_texts_and_classes(put, get):
    frame = pd.DataFrame({"city": ["Bern", "Zürich", "Bern", "Lima"], "x": [1.0, 2.0, 3.0, 4.0]})
    encoder = ColumnTransformer([("city", OneHotEncoder(handle_unknown="ignore"), ["city"])], remainder="drop")
    put(MODEL, make_pipeline(encoder, LogisticRegression()).fit(frame, ["late, very", "on time", "late, very", "on time"]))
    put(DATA, "city,x\nBern,1\nZürich,2\nBern,3\n,4\nBern,5\n")
    assert invoke(receipt_s3_uri=RECEIPT, feature_columns=["city", "x"])[0] == 200
    statistics = statistics_of(get)
    city = statistics["features"]["city"]
    expected = [0] * 64
    for text in ("Bern", "Zürich", "Bern", "Bern"):
        expected[zlib.crc32(text.encode()) % 64] += 1
    assert city == {"kind": "text", "rows": 5, "missing": 1, "hashed": expected}
    prediction = statistics["predictions"]["prediction"]
    assert (prediction["kind"], prediction["rows"], prediction["other_classes"]) == ("class", 5, 0)
    printed = [line.rpartition(',"')[2].rstrip('"') for line in get(OUTPUT).decode().splitlines()[1:]]
    assert prediction["classes"]["late, very"] == printed.count("late, very") >= 3
    assert "Bern" not in get(RECEIPT).decode()


def test_the_labels_of_a_classifier_are_classes_and_its_probabilities_numbers(put, get):
    put(MODEL, LogisticRegression().fit([[0.0, 0], [1, 1], [5, 5], [6, 6]], [0, 0, 1, 1]))
    put(DATA, "x1,x2\n0,0\n6,6\n7,7\n")
    assert invoke(receipt_s3_uri=RECEIPT)[0] == 200
    assert statistics_of(get)["predictions"]["prediction"]["classes"] == {"0": 1, "1": 2}
    assert invoke(receipt_s3_uri=RECEIPT, prediction_method="predict_proba")[0] == 200
    predictions = statistics_of(get)["predictions"]
    assert {name: (values["kind"], values["rows"]) for name, values in predictions.items()} == {
        "prediction_0": ("number", 3),
        "prediction_1": ("number", 3),
    }
    assert predictions["prediction_0"]["sum"] + predictions["prediction_1"]["sum"] == pytest.approx(3)
    assert predictions["prediction_0"]["percents"] == predictions["prediction_1"]["percents"][::-1]
    assert invoke(receipt_s3_uri=RECEIPT, prediction_method="decision_function")[0] == 200
    assert "percents" not in statistics_of(get)["predictions"]["prediction"]


class Labels:
    """Predicts a label for each value."""

    def predict(self, features):
        return np.array([f"label {value:.0f}" for value in np.asarray(features)[:, 0]], object)


def test_labels_and_reasons_beyond_the_limit_are_counted_together(tmp_path):
    data = b"x1\n" + b"".join(b"%d\n" % (row % 150) for row in range(600))
    facts, _ = score_locally(data, tmp_path, block_bytes=200, model=Labels())
    found = facts.statistics["predictions"]["p"]
    assert len(found["classes"]) == 100
    assert set(found["classes"].values()) == {4}
    assert (found["rows"], found["other_classes"]) == (600, 200)


@pytest.mark.parametrize("block_bytes", [60, 700, 10_000_000])
def test_blocks_of_any_size_give_the_same(tmp_path, block_bytes):
    """As many blocks as are added up at once, more of them, and one alone; the model leaves the kinds open."""
    rows = np.random.default_rng(3).normal(size=(800, 2)).round(3) * [1, 1000]
    data = b"x1,x2,x3\n" + b"".join(
        b"%r,%r,%s\n" % (float(a), float(b), [b"a", b"bc", b""][i % 3]) for i, (a, b) in enumerate(rows)
    )
    facts, _ = score_locally(data, tmp_path, block_bytes=block_bytes, feature_columns=["x1", "x2", "x3"])
    found = facts.statistics
    for name, values in zip(("x1", "x2"), rows.T, strict=True):
        expected, counted = count(values), found["features"][name]
        assert counted["sum"] == pytest.approx(expected["sum"])
        assert counted["histogram"] == expected["histogram"]
    assert found["predictions"]["p"]["histogram"] == found["features"]["x1"]["histogram"]
    assert (found["features"]["x3"]["missing"], sum(found["features"]["x3"]["hashed"])) == (266, 534)


def test_two_hundred_features_fit_a_receipt(tmp_path):
    """Of more features, the first 200 are counted; their receipt stays small."""
    names = [f"feature_{index:03d}" for index in range(203)]
    rows = np.random.default_rng(0).normal(size=(5000, 203)).round(4)
    data = pd.DataFrame(rows, columns=names).to_csv(index=False).encode()
    model = LinearRegression().fit(rows[:300], rows[:300, 0])
    facts, _ = score_locally(data, tmp_path, model=model, feature_columns=names)
    found = facts.statistics
    assert (len(found["features"]), found["features_left_out"]) == (200, 3)
    assert list(found["features"]) == names[:200]
    assert len(json.dumps(found, separators=(",", ":"))) < 120_000


def test_a_chunk_without_rows_has_none(put, get):
    put(MODEL, FirstColumn())
    put(DATA, "x1,x2\n")
    event = make_event(data_s3_uri=None, segments=[{"data_s3_uri": DATA}], receipt_s3_uri=RECEIPT)
    assert handler.lambda_handler(event, None)["statusCode"] == 200
    assert statistics_of(get) == merged()


def test_a_probe_tells_the_mean_length_of_its_rows(put):
    put(MODEL, linear())
    put(DATA, "x1,x2\r\n1,2\r\n10,2000\r\n")
    status, body = invoke(probe_rows=10)
    assert (status, body["rows"], body["row_bytes"]) == (200, 2, 7.0)


def test_texts_of_one_hash_add_up():
    texts = [f"text {index}" for index in range(200)]
    assert sum(counted([pa.chunked_array([texts])], kind="text")[0]["hashed"]) == 200


def test_integers_that_no_float_holds_are_labels():
    """They are printed as they are, so counting them must not fail."""
    predictions = np.array([10**400, 1], object)

    assert not handler._are_numbers(predictions)
    assert counted([predictions], kind="class")[0]["rows"] == 2
    assert handler._are_numbers(np.array([10**20, 1.5], object))
