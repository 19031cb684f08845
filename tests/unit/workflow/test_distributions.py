"""The chunks' statistics, added up by Merge Outputs."""

import copy
import json
from functools import reduce
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import prediction_handler as handler
from support.chunk_statistics import merged, number_statistics, sample, statistics
from workflow import accounting, distributions, merge_outputs
from workflow.distributions import StatisticsSum, checked

numbers = st.one_of(
    st.lists(st.one_of(st.floats(width=32), st.integers(-50, 50).map(float), st.just(0.0)), min_size=1, max_size=40),
    st.lists(st.integers(-150, 150).map(float), min_size=1, max_size=90),
)
labels = st.lists(st.sampled_from(["a", "b", "other", "ü"]), min_size=1, max_size=5)


chunks = st.builds(statistics, numbers, labels, labels, labels)


def without_sums(value):
    """Floats add up differently in another order."""
    value = copy.deepcopy(value)
    for column in (*value["features"].values(), *value["predictions"].values()):
        for name in ("sum", "sum_of_squares"):
            column.pop(name, None)
    return value


@given(chunks, chunks, chunks)
def test_statistics_add_up_in_any_order_and_grouping(a, b, c):
    together = without_sums(merged(merged(a, b), c))
    assert without_sums(merged(a, merged(b, c))) == together
    assert without_sums(merged(c, merged(b, a))) == together
    assert merged(a, merged()) == merged(merged(), a) == a
    for part in (a, merged(merged(a, b), c)):
        assert checked(part) == part


@given(st.lists(st.tuples(numbers, labels, labels, labels), min_size=1, max_size=6))
def test_the_sum_of_chunks_is_that_of_all_rows(parts):
    counted = [statistics(*part) for part in parts]
    found = merged(*counted)
    assert json.dumps(found) == json.dumps(reduce(merged, counted))
    whole = statistics(*(list(chain.from_iterable(column)) for column in zip(*parts, strict=True)))
    assert without_sums(found) == without_sums(whole)
    sums = [value["features"]["x"]["sum"] for value in (found, whole)]
    if None not in sums:
        assert sums[0] == pytest.approx(sums[1], rel=1e-6, abs=1e32)


def test_more_labels_and_reasons_than_have_a_name_are_counted_together():
    names = [[f"{letter}{index}" for index in range(80)] for letter in "ab"]
    both = merged(*(statistics([1.0], own, ["t"], own[:40]) for own in names))
    classes = both["predictions"]["p"]
    assert (classes["rows"], len(classes["classes"]), classes["other_classes"]) == (160, 100, 60)
    reasons = both["rejected_reasons"]
    assert (len(reasons), reasons["other"], sum(reasons.values())) == (51, 30, 80)
    assert checked(both) == both
    assert merged(both, both)["rejected_reasons"] == {name: 2 * count for name, count in reasons.items()}


def test_whole_numbers_are_counted_while_they_are_few():
    few, more = (statistics([*map(float, part)], ["a"], ["t"], [])["features"]["x"] for part in (range(40), range(30, 80)))
    assert few["whole_numbers"] == {str(number): 1 for number in range(40)}
    both = merged_values(few, more)
    assert (both["whole"], both["whole_numbers"], both["min"], both["max"]) == (True, None, 0, 79)
    assert merged_values(few, few)["whole_numbers"] == {str(number): 2 for number in range(40)}


def test_what_one_chunk_does_not_know_the_sum_does_not_know():
    few, huge = number_statistics([1.0, 2.0]), number_statistics([1e200])
    assert huge["sum_of_squares"] is None
    for columns in ((few, huge), (huge, few)):
        found = merged_values(*columns)
        assert (found["sum"], found["sum_of_squares"], found["max"]) == (1e200, None, 1e200)


def test_of_columns_left_out_the_most_counts():
    parts = [{**merged(), "features_left_out": left_out, "predictions_left_out": 1} for left_out in (3, 7, 5)]
    assert (merged(*parts)["features_left_out"], merged(*parts)["predictions_left_out"]) == (7, 1)


def test_probabilities_add_up_and_no_others_with_them():
    probabilities, numbers = (number_statistics(values, are_shares=True) for values in ([0.0, 0.004, 0.29, 1.0], [0.5, 1.5]))
    twice = merged_values(probabilities, probabilities)
    assert {percent: count for percent, count in enumerate(twice["percents"]) if count} == {0: 4, 29: 2, 100: 2}
    assert "percents" not in merged_values(probabilities, numbers)
    assert merged_values(numbers, probabilities)["histogram"]["zero"] == 1
    statistics = {**merged(), "features": {"x": twice}}
    assert distributions.checked(json.loads(json.dumps(statistics))) == statistics


def test_buckets_ascend_and_hold_every_value_between_their_edges():
    values = [-300.0, -1.5, -0.25, 0.0, 0.0, 1.0, 1.1, 4000.0]
    histogram = number(statistics(values, ["a"], ["b"], ["c"]))["histogram"]
    for scale in (histogram["scale"], 0, -1):
        buckets = list(distributions.buckets_of(histogram, scale))
        assert sum(bucket.rows for bucket in buckets) == len(values)
        assert all(before.high <= after.low for before, after in pairwise(buckets))
        edges = [(low - abs(low) / 500, high + abs(high) / 500) for low, high, _ in buckets]
        assert all(any(low <= value <= high for low, high in edges) for value in values)


def number(value):
    return value["features"]["x"]


def merged_values(*columns):
    return number(merged(*({**merged(), "features": {"x": values}} for values in columns)))


MALFORMED = [
    lambda s: s.pop("features"),
    lambda s: s.update(features={f"x{index}": number(s) for index in range(201)}),
    lambda s: s.update(features_left_out=-1),
    lambda s: s.update(predictions={"p": s["features"]["text"]}),
    lambda s: s.update(rejected_reasons={"why": "secret"}),
    lambda s: s.update(rejected_reasons={str(index): 1 for index in range(52)}),
    lambda s: number(s).update(kind="class"),
    lambda s: number(s).update(rows=4),
    lambda s: number(s).update(sum=float("nan")),
    lambda s: number(s)["histogram"].update(scale=6),
    lambda s: number(s)["histogram"].update(scale=-2),
    lambda s: number(s)["histogram"]["positive"].update(offset=10**9),
    lambda s: number(s)["histogram"]["positive"].update(offset=500),
    *(
        lambda s, at=at: [number(s)["histogram"][sign].update(offset=at) for sign in ("positive", "negative")]
        for at in (3000, -3000)
    ),
    lambda s: number(s)["histogram"]["positive"].update(counts=[0, 1]),
    lambda s: number(s)["histogram"]["positive"].update(counts=[1] * 81),
    lambda s: number(s).update(min=2.0),
    lambda s: number(s).update(whole_numbers={"1": 2, "0": 1}),
    lambda s: number(s).update(whole=True, whole_numbers={"1": 2}),
    lambda s: number(s).update(whole=True, whole_numbers={"1": 2, "0129": 1}),
    lambda s: number(s).update(whole=True, whole_numbers={"1": 2, "129": 1}),
    lambda s: number(s).update(whole=True, whole_numbers={"1": 2, "secret": 1}),
    lambda s: number(s).update(percents=[3]),
    lambda s: number(s).update(percents=[1] * 101),
    lambda s: s["features"]["text"]["hashed"].pop(),
    lambda s: s["features"]["text"]["hashed"].__setitem__(0, -1),
    lambda s: s["predictions"]["p"]["classes"].update(c=2**60),
]


@pytest.mark.parametrize("spoil", MALFORMED)
def test_what_is_no_statistics_is_left_out(spoil):
    total, spoilt = StatisticsSum(), sample()
    total.add(sample())
    spoil(spoilt)
    for value in (spoilt, None, 7, "text", [spoilt], {}):
        total.add(value)
    assert total.result() == {"chunks": 1, **sample()}


def test_a_column_of_another_kind_leaves_its_chunk_out():
    total, other = StatisticsSum(), sample()
    other["features"]["x"] = other["features"]["text"]
    total.add(sample())
    total.add(other)
    total.add(sample())
    assert total.result()["chunks"] == 2
    assert number(total.result())["rows"] == 6


def test_statistics_of_any_number_of_chunks_are_added_and_of_no_more_columns_than_one_may_have():
    total, others = StatisticsSum(), sample()
    others["features"] = {f"x{index}": number(others) for index in range(199)}
    chunks = 65
    for _ in range(chunks):
        total.add(sample())
    total.add(others)
    assert total.result() == {"chunks": chunks, **merged(*[sample()] * chunks)}


def test_the_largest_counts_of_ten_thousand_chunks_do_not_run_into_each_other():
    most, chunks = 2**50, 10_000
    part, total = number_statistics([1.0, 2.0, 2.1]), StatisticsSum()
    counts = part["histogram"]["positive"]["counts"]
    counts[0] = most - sum(counts[1:])
    whole = {**merged(), "features": {"x": {**part, "rows": most}}}
    for _ in range(chunks):
        total.add(whole)
    found = number(total.result())
    assert found["histogram"]["positive"]["counts"] == [chunks * count for count in counts]
    assert found["rows"] == chunks * most


def test_both_deployables_have_the_same_limits():
    for name in ("MAX_STATISTICS_COLUMNS", "MAX_CLASSES", "MAX_REASONS", "OTHER", "HASHES", "HISTOGRAM_SCALE", "HISTOGRAM_BUCKETS",
                 "LARGEST_COUNTED", "MAX_COUNTED"):  # fmt: skip
        assert getattr(distributions, name) == getattr(handler, name)
    assert distributions.COARSEST_SCALE == handler.HISTOGRAM_SCALE - handler._MAX_SHIFT
    whole = number(statistics([2.0**-59, 2.0**63], ["a"], ["b"], ["c"]))["histogram"]
    assert whole["scale"] == distributions.COARSEST_SCALE


# --- in the report ----------------------------------------------------------------------------------------------------------------


def test_the_report_has_the_sum_of_the_receipts_and_their_times(run, get, report):
    execution = run()
    for index in range(3):
        execution.tamper(index, statistics=sample(), started=1_795_600_000_000 + index, rejected_rows=index)
    execution.tamper(2, milliseconds={"init": 1.0, "total": 9.0})
    execution.merge()
    made = report()
    assert made["statistics"] == {"chunks": 3, **reduce(merged, [sample()] * 3)}
    chunks = execution.chunks
    assert made["timeline"] == {
        "chunk_index": [0, 1, 2],
        "started": [1_795_600_000_000, 1_795_600_000_001, 1_795_600_000_002],
        "milliseconds": [4.0, 4.0, 9.0],
        "rows": [10, 10, 10],
        "rejected_rows": [0, 1, 2],
        "cold_start": [False, False, True],
        "data_s3_uri": [chunk.get("data_s3_uri") for chunk in chunks],
        "byte_range": [chunk.get("byte_range") for chunk in chunks],
    }


def test_receipts_without_statistics_or_with_none_keep_no_output_back(run, report):
    execution = run()
    execution.tamper(1, statistics=sample())
    execution.tamper(2, statistics={"features": "31337"})
    assert execution.merge()["complete"]
    made = report()
    assert made["statistics"] == {"chunks": 1, **sample()}
    assert "31337" not in json.dumps(made)


def test_the_timeline_leaves_missing_chunks_out(run, report):
    execution = run(tolerated_failure_percentage=50)
    execution.lose(1)
    execution.merge()
    made = report()
    assert made["timeline"]["chunk_index"] == [0, 2]
    assert {len(column) for column in made["timeline"].values()} == {2}


def test_merging_keeps_no_statistics_but_their_sum(run, monkeypatch):
    execution = run()
    for index in range(3):
        execution.tamper(index, statistics=sample())
    settled = []
    monkeypatch.setattr(merge_outputs, "settle", lambda *parts: settled.extend(parts[2]) or accounting.settle(*parts))
    execution.merge()
    assert [("statistics" in receipt) for receipt in settled] == [False] * 3
