"""What is read from a column's statistics, against numpy on the values themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_records import histogram, number_values, text_values

from batch_predict.value_summary import Values, commonest_hashes, shared_edges

finite = st.floats(-1e9, 1e9, allow_subnormal=False).filter(lambda value: value == 0 or abs(value) > 1e-9)


@given(st.lists(finite, min_size=1, max_size=200), st.integers(0, 6))
def test_every_value_is_in_one_interval(values, scale):
    column = summary(values, scale)
    assert column.count == len(values)
    for low, high, count in column.intervals:
        inside = [value for value in values if low < value <= high or value == low == high or (high < 0 and low <= value < high)]
        assert len(inside) == count


@given(st.lists(finite, min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_is_within_a_bucket_of_the_real_one(values, share):
    found = summary(values, 4).quantile(share)
    real = np.quantile(values, share, method="inverted_cdf")
    assert found == pytest.approx(real, rel=2 ** (1 / 16) - 1 + 1e-6)


@given(st.lists(finite, min_size=1, max_size=200))
def test_bins_over_everything_hold_everything(values):
    column = summary(values, 2)
    bins = column.bins(np.linspace(-2.4e9, 2.4e9, 31))
    assert bins.shares.sum() == pytest.approx(1)
    assert (bins.shares >= 0).all()


def test_bins_follow_the_values():
    values = np.random.default_rng(3).gamma(3, 10, 50_000)
    edges = np.linspace(0, 100, 21)
    real = np.histogram(values, edges)[0] / len(values)
    assert np.abs(summary(values, 4).bins(edges).shares - real).max() < 0.01


def test_zeros_are_in_the_bin_that_begins_with_them():
    bins = summary([0.0, 0.0, 0.0, 1.5], 2).bins(np.array([-1.0, 0.0, 1.0, 2.0]))
    assert bins.shares == pytest.approx([0, 0.75, 0.25])
    assert summary([0.0], 2).bins(np.array([-1.0, 0.0])).shares == pytest.approx([1.0])


def test_mean_and_deviation_are_exact():
    values = np.random.default_rng(3).normal(100, 5, 1000)
    assert summary(values).mean == pytest.approx(values.mean())
    assert summary(values).standard_deviation == pytest.approx(values.std())


def test_a_deviation_that_float64_cannot_hold_is_none():
    assert summary([1e9 + 1e-4] * 3).standard_deviation == 0.0


def test_nothing_is_known_of_no_values():
    column = Values({**number_values([], missing=3), "infinite": 0})
    assert (column.count, column.mean, column.standard_deviation, column.quantile(0.5), column.span()) == (
        0,
        None,
        None,
        None,
        None,
    )
    assert shared_edges([column], 4) is None


def test_infinite_values_are_counted_apart():
    values = number_values([1.0, 3.0])
    values["histogram"]["infinite"] = 2
    column = Values(values)
    assert (column.infinite, column.count, column.mean) == (2, 2, 2.0)


def test_a_bucket_past_the_largest_float_ends_there():
    values = number_values([1.0])
    values["histogram"].update(scale=0, positive={"offset": 1023, "counts": [1]})
    assert Values(values).intervals == [(2.0**1023, np.finfo(float).max, 1)]


def test_a_picture_leaves_far_values_out():
    low, high = summary([*np.linspace(10, 20, 1000), 1e6]).span()
    assert 9 < low < 11
    assert 19 < high < 25


def test_a_picture_of_one_value_has_a_width():
    low, high = summary([0.0] * 9).span()
    assert low < 0 < high


def test_edges_are_those_of_all_columns():
    edges = shared_edges([summary([1.0, 2.0]), summary([50.0, 60.0])], 4)
    assert edges[0] <= 1
    assert edges[-1] >= 60
    assert len(edges) == 5


def test_texts_are_compared_by_their_commonest_hashes():
    now, reference = commonest_hashes([text_values("bbbbbcc"), text_values("aaaab")], 2)
    assert len(commonest_hashes([text_values("ab"), text_values("c")], 20)[0].shares) == 3
    assert reference.shares == pytest.approx([0.8, 0.2])
    assert now.shares == pytest.approx([0, 5 / 7])
    assert commonest_hashes([text_values("abbb")], 20)[0].shares == pytest.approx([0.75, 0.25])
    assert commonest_hashes([text_values("")], 20) == []


def summary(values, scale=2):
    column = number_values(values)
    column["histogram"] = histogram(np.asarray(values, dtype=float), scale)
    return Values(column)
