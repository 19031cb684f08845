"""What is read from a column's statistics, against numpy on the values themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_predict.report.distribution import Values, commonest_hashes, shared_edges
from batch_predict.report.tables import rounded
from support.chunk_statistics import number_statistics
from support.report_records import number_values, text_values

finite = st.floats(-1e9, 1e9, allow_subnormal=False).filter(lambda value: value == 0 or abs(value) > 1e-9)


def summary(values):
    """What the histogram knows of the values."""
    return Values(number_values(values) | {"whole": False, "whole_numbers": None})


def counted(values, *, are_shares=False):
    return Values(number_statistics(values, are_shares=are_shares))


@given(st.lists(finite, min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_is_within_a_bucket_of_the_real_one(values, share):
    real = np.quantile(values, share, method="inverted_cdf")
    bucket = 2**0.5 ** number_values(values)["histogram"]["scale"]
    assert summary(values).quantile(share) == pytest.approx(real, rel=bucket - 1 + 1e-6)


@given(st.lists(finite, min_size=1, max_size=200))
def test_bins_over_everything_hold_everything(values):
    column = summary(values)
    bins = column.bins(np.linspace(-2.4e9, 2.4e9, 31))
    assert column.count == len(values)
    assert bins.shares.sum() == pytest.approx(1)
    assert (bins.shares >= 0).all()


def test_bins_follow_the_values():
    values = np.random.default_rng(3).gamma(3, 10, 50_000)
    edges = np.linspace(0, 100, 21)
    real = np.histogram(values, edges)[0] / len(values)
    assert np.abs(summary(values).bins(edges).shares - real).max() < 0.01


def test_zeros_are_in_the_bin_that_begins_with_them():
    bins = summary([0.0, 0.0, 0.0, 1.5]).bins(np.array([-1.0, 0.0, 1.0, 2.0]))
    assert bins.shares == pytest.approx([0, 0.75, 0.25])
    assert summary([0.0]).bins(np.array([-1.0, 0.0])).shares == pytest.approx([1.0])


def test_mean_and_deviation_are_exact():
    values = np.random.default_rng(3).normal(100, 5, 1000)
    assert summary(values).mean == pytest.approx(values.mean())
    assert summary(values).standard_deviation == pytest.approx(values.std())
    # float64 cannot hold this one
    assert summary([1e9 + 1e-4] * 3).standard_deviation == 0.0


def test_nothing_is_known_of_no_values():
    column = Values(number_values([], missing=3))
    assert (column.count, column.mean, column.standard_deviation, column.quantile(0.5), column.span()) == (0, *[None] * 4)
    assert shared_edges([column], 4) is None


def test_infinite_values_are_counted_apart():
    values = number_values([1.0, 3.0])
    values["histogram"]["infinite"] = 2
    column = Values(values)
    assert (column.infinite, column.count, column.mean) == (2, 2, 2.0)


def test_a_bucket_past_the_largest_float_ends_there():
    values = number_values([1.0])
    values |= {"min": 1.5e308, "max": 1.7e308, "whole_numbers": None}
    values["histogram"].update(scale=0, positive={"offset": 1023, "counts": [1]})
    assert Values(values).intervals == [(1.5e308, 1.7e308, 1)]
    values |= {"min": None, "max": None}
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
    assert edges[-1] >= 59.9
    assert len(edges) == 5


def test_texts_are_compared_by_their_commonest_hashes():
    now, reference = commonest_hashes([text_values("bbbbbcc"), text_values("aaaab")], 2)
    assert len(commonest_hashes([text_values("ab"), text_values("c")], 20)[0].shares) == 3
    assert reference.shares == pytest.approx([0.8, 0.2])
    assert now.shares == pytest.approx([0, 5 / 7])
    assert commonest_hashes([text_values("abbb")], 20)[0].shares == pytest.approx([0.75, 0.25])
    assert commonest_hashes([text_values("")], 20) == []


@given(st.lists(st.integers(-128, 128), min_size=1, max_size=64), st.floats(0.01, 1))
def test_quantiles_of_few_whole_numbers_are_exact(values, share):
    column = counted(values)
    assert column.is_exact
    assert column.known_quantile(share) == (np.quantile(values, share, method="inverted_cdf"), 0)


@given(st.lists(st.one_of(st.integers(-20, 20), st.integers(-3000, 3000)), min_size=1, max_size=200), st.floats(0.01, 1))
def test_quantiles_of_many_whole_numbers_are_whole_and_as_exact_as_said(values, share):
    values = [*values, *range(-100, 100)]
    value, width = counted(values).known_quantile(share)
    real = np.quantile(values, share, method="inverted_cdf")
    assert value == round(value)
    assert abs(value - real) <= width
    if width == 0:
        assert value == real


def test_a_bucket_with_one_whole_number_is_that_number():
    values = [*range(1, 13)] * 9 + [2013] * 100
    assert counted([*values, *range(200)]).known_quantile(1 / 40) == (1, 0)
    for number in (-9, -8, -7, -4, -3, -2, -1, 0, 1, 2, 3, 4, 7, 8, 9):
        assert counted([number] * 5000 + [*range(-200, 200)]).known_quantile(0.5) == (number, 0), number
    assert [counted([2013] * 9).known_quantile(share) for share in (0.25, 0.75)] == [(2013, 0)] * 2


@given(
    st.lists(st.one_of(st.floats(0, 1), st.integers(0, 100).map(lambda step: step / 100)), min_size=1, max_size=99),
    st.floats(0.01, 1),
)
def test_quantiles_of_probabilities_are_known_by_the_percent(values, share):
    value, width = counted(values, are_shares=True).known_quantile(share)
    real = np.quantile(values, share, method="inverted_cdf")
    if all(round(known, 2) == known for known in values):
        assert value == real
    assert abs(value - real) <= max(width, 2e-5)
    assert width <= 0.01


def test_small_probabilities_have_more_digits():
    value, width = counted([0.0011] * 90 + [0.9] * 10, are_shares=True).known_quantile(0.5)
    assert value == pytest.approx(0.0011, rel=0.1)
    assert width < 0.0002


def test_the_pictures_of_p_and_of_1_minus_p_mirror_each_other():
    values = np.concatenate([np.random.default_rng(1).beta(2, 5, 500), [0.5, 0.29, 0, 1, 0.005]])
    yes, no = counted(values, are_shares=True), counted(1 - values, are_shares=True)
    edges = shared_edges([yes], 40)
    assert (shared_edges([no], 40) == edges).all()
    assert yes.bins(edges).shares.tolist() == no.bins(edges).shares[::-1].tolist()
    assert yes.bins(edges).shares.sum() == pytest.approx(1)


def test_each_bar_of_whole_numbers_stands_for_as_many_of_them():
    months = counted([*range(1, 13)] * 5)
    edges = shared_edges([months], 40)
    assert edges.tolist() == [number - 0.5 for number in range(1, 14)]
    assert months.bins(edges).shares == pytest.approx([1 / 12] * 12)
    days = counted(range(1, 61))
    assert np.diff(shared_edges([days], 20)).tolist() == [3.0] * 20
    assert days.bins(shared_edges([days], 20)).shares == pytest.approx([0.05] * 20)
    flags = counted([0, 1, 1, 1])
    assert flags.bins(shared_edges([flags], 40)).shares.tolist() == [0.25, 0.75]


@pytest.mark.parametrize(
    ("value", "width", "text"),
    [
        (6.0, 0, "6"),
        (0.123456, 0, "0.1235"),
        (11267.3, 980.0, "11,300"),
        (11267.3, 1200.0, "11,000"),
        (0.39, 0.01, "0.39"),
        (-0.004, 0.01, "0.00"),
        (8.314, 1.3, "8"),
        (1.23e-7, 1e-9, "1.23e-07"),
    ],
)
def test_a_quartile_has_the_digits_that_are_known(value, width, text):
    assert rounded(value, width) == text
