"""The scale benchmark sees what it is there for: wrong bytes, and every limit that is passed."""

import copy
import json

import pytest

from benchmarks.formula_objects import Records
from benchmarks.formula_s3 import FormulaS3
from benchmarks.scale_case import add_predictions, measure_case, output_problems
from benchmarks.scale_input import add_input, parse_case
from benchmarks.scale_limits import checks_of, dollars, growth_checks

PHASE = {"seconds": 1.0, "peak_bytes": 10**8, "calls": {"GetObject": 10_000}, "bytes_read": 10**6, "bytes_written": 0}
FIGURES = {
    "case": "10TB",
    "input_bytes": 10**13,
    "objects": 1,
    "chunks": 10_000,
    "plan_bytes": 4 * 10**6,
    "largest_item_bytes": 1000,
    "document_bytes": 3000,
    "output_bytes": 10**13,
    "part_bytes": [10**9] * 9999 + [1],
    "plan": PHASE,
    "merge": PHASE,
    "problems": [],
}


def broken(**changed):
    return [check.what for check in checks_of({**FIGURES, **changed}) if not check.holds]


def test_names_of_cases():
    assert parse_case("1TB-quoted") == ("1TB-quoted", 10**12, 1, True)
    assert parse_case("2000-objects") == ("2000-objects", 4_000_000, 2000, False)
    for name in ("", "100B", "1PB", "x-objects", "0KB"):
        with pytest.raises(ValueError, match="is not an input"):
            parse_case(name)


def test_all_limits_hold_of_figures_within_them():
    assert broken() == []


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"problems": ["a byte is wrong"]}, "output"),
        ({"chunks": 10_001}, "chunks"),
        ({"plan_bytes": 7_000_001}, "plan.json"),
        ({"largest_item_bytes": 262_145}, "largest item"),
        ({"document_bytes": 262_145}, "the execution's document"),
        ({"plan": {**PHASE, "peak_bytes": 200_000_001}}, "plan: peak memory"),
        ({"merge": {**PHASE, "seconds": 901.0}}, "merge: seconds"),
        ({"merge": {**PHASE, "bytes_written": 10**9}}, "bytes read and written"),
        ({"part_bytes": [10**9] * 10_001}, "parts"),
        ({"part_bytes": [5 * 2**30 + 1]}, "largest part"),
        ({"part_bytes": [5 * 2**20 - 1, 1]}, "smallest part"),
        ({"error": "has not ended after 900 s"}, "ends well"),
    ],
)
def test_every_limit_that_is_passed_is_seen(changed, what):
    (found,) = broken(**changed)
    assert found.startswith(what)


def test_calls_that_grow_with_the_bytes_are_seen():
    large = copy.deepcopy(FIGURES)
    (same,) = growth_checks({"1TB": FIGURES, "10TB": large})
    large["plan"]["calls"]["GetObject"] = 100_000
    (grown,) = growth_checks({"1TB": FIGURES, "10TB": large})
    assert (same.holds, grown.holds) == (True, False)
    assert not list(growth_checks({"1TB": FIGURES, "10TB": {"case": "10TB", "error": "failed"}}))


def test_reads_cost_less_than_writes_and_deletions_nothing():
    assert dollars({"GetObject": 1000, "PutObject": 1000, "DeleteObjects": 1000}) == pytest.approx(0.0054)


@pytest.mark.parametrize("name", ["1KB", "20MB-quoted", "30-objects", pytest.param("10TB", marks=pytest.mark.thorough)])
def test_the_workflow_keeps_the_limits_at_any_size(name):
    """10 TB are 10,000 chunks and parts. But for memory: this process has much more in it than the function."""
    broken = [check for check in checks_of(measure_case(parse_case(name))) if not check.holds]
    assert [check for check in broken if "peak memory" not in check.what] == []


@pytest.fixture
def client():
    client = FormulaS3("bucket")
    yield client
    client.close()


def test_a_wrong_byte_of_the_output_is_seen(client):
    expected = Records([(0, 1000)], scored=True)
    whole = expected.read(0, expected.size)
    client.add_bytes("out/result.csv", whole)
    assert output_problems(client, expected, [500]) == []
    client.add_bytes("out/result.csv", whole.replace(b"7.25", b"7.35", 1))
    assert output_problems(client, expected, [500])
    client.add_bytes("out/result.csv", whole[:-1])
    assert output_problems(client, expected, [500])


def test_a_lost_record_at_an_edge_of_a_large_output_is_seen(client):
    expected = Records([(0, 10**8)], scored=True)
    client.add("out/result.csv", Records([(0, 10**7), (10**7 + 1, 10**8 + 1)], scored=True))
    edge = 111 + 105 * 10**7
    assert output_problems(client, expected, [edge])


def test_a_boundary_inside_a_record_is_seen_and_a_group_is_one_part(client):
    add_input(client, parse_case("3-objects"))
    segments = [
        {"data_s3_uri": f"s3://bucket/in/part-{number}.csv", "byte_range": [0, 2000], "data_etag": '"e"'} for number in (1, 2, 3)
    ]
    client.add_bytes("work/segments.json", json.dumps(segments).encode())
    names = {
        "output_s3_uri": "s3://bucket/work/part.csv",
        "receipt_s3_uri": "s3://bucket/work/receipt.json",
        "decision_sha256": "0" * 64,
    }
    group = {"chunk_index": 0, "segments_s3_uri": "s3://bucket/work/segments.json", **names}
    assert add_predictions(client, [group], is_quoted=False) == ([], [])
    assert client.content("work/part.csv").runs == ((0, 57),)
    inside = {"chunk_index": 0, **segments[0], "byte_range": [0, 1950], **names}
    problems, _ = add_predictions(client, [inside], is_quoted=False)
    assert "not on record boundaries" in problems[0]
