"""The scale benchmark sees what it is there for: wrong bytes, and every limit that is passed.

Its S3 of formulas agrees with itself; that it refuses what S3 refuses is in tests/unit/support/test_s3_rules.py.
"""

import copy
import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.formula_objects import QUOTED_EVERY, RECORD_BYTES, Records
from benchmarks.formula_s3 import FormulaS3
from benchmarks.scale_case import add_predictions, measure_case, output_problems, statistics_problems
from benchmarks.scale_input import add_input, parse_case
from benchmarks.scale_limits import checks_of, growth_checks

BUCKET = "bucket"
PHASE = {"seconds": 1.0, "peak_bytes": 10**8, "calls": {"GetObject": 10_000}, "bytes_read": 10**6, "bytes_written": 0}
FIGURES = {
    "case": "10TB",
    "input_bytes": 10**13,
    "objects": 1,
    "features": 0,
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


NOTHING = {"offset": 0, "counts": []}


def broken(**changed):
    return [check.what for check in checks_of({**FIGURES, **changed}) if not check.holds]


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
        ({"features": 200, "merge": {**PHASE, "seconds": 61.0}}, "merge: seconds"),
        ({"features": 200, "merge": {**PHASE, "peak_bytes": 300_000_001}}, "merge: peak memory"),
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


@pytest.mark.parametrize(
    "name",
    [
        "1KB",
        "20MB-quoted",
        "30-objects",
        pytest.param("1GB-3-features", marks=pytest.mark.thorough),
        pytest.param("10TB", marks=pytest.mark.thorough),
    ],
)
def test_the_workflow_keeps_the_limits_at_any_size(name):
    """10 TB are 10,000 chunks and parts. But for memory: this process has much more in it than the function."""
    broken = [check for check in checks_of(measure_case(parse_case(name))) if not check.holds]
    assert [check for check in broken if "peak memory" not in check.what] == []


@pytest.fixture
def client():
    client = FormulaS3(BUCKET)
    yield client
    client.close()


def test_a_wrong_byte_of_the_output_or_a_lost_record_at_an_edge_is_seen(client):
    expected = Records([(0, 1000)], scored=True)
    whole = expected.read(0, expected.size)
    for content, is_right in ((whole, True), (whole.replace(b"7.25", b"7.35", 1), False), (whole[:-1], False)):
        client.add_bytes("out/result.csv", content)
        assert bool(output_problems(client, expected, [500])) != is_right
    large, edge = 10**8, 10**7
    client.add("out/result.csv", Records([(0, edge), (edge + 1, large + 1)], scored=True))
    assert output_problems(client, Records([(0, large)], scored=True), [111 + 105 * edge])


def test_a_wrong_sum_of_statistics_is_seen():
    variants = [
        {
            "features": {
                "x": {"rows": rows, "histogram": {"scale": 1, "positive": {"offset": 5, "counts": [rows]}, "negative": NOTHING}}
            }
        }
        for rows in (3, 4)
    ]
    right = {"scale": 0, "positive": {"offset": 2, "counts": [10]}, "negative": NOTHING}
    for chunks, rows, histogram, is_right in (
        (3, 10, right, True),
        (3, 11, right, False),
        (2, 10, right, False),
        (3, 10, {**right, "positive": NOTHING}, False),
    ):
        report = {"chunks": chunks, "features": {"x": {"rows": rows, "histogram": histogram}}}
        assert bool(statistics_problems(report, variants, 3)) != is_right


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


@pytest.mark.parametrize("quoted", [False, True])
def test_records_are_csv_of_one_length_and_scored_ones_have_a_prediction_more(quoted):
    number = 3 * QUOTED_EVERY
    plain, scored = (Records([(0, number)], quoted=quoted, scored=scored) for scored in (False, True))
    rows, scored_rows = (
        list(csv.reader(io.StringIO(found.read(0, found.size).decode(), newline=""), strict=True)) for found in (plain, scored)
    )
    assert plain.size == RECORD_BYTES * (number + 1)
    assert [int(row[0]) for row in rows[1:]] == list(range(number))
    assert {len(row) for row in rows} == {4}
    assert sum("\n" in row[3] for row in rows) == (3 if quoted else 0)
    assert scored_rows == [[*row, "7.25" if index else "prediction"] for index, row in enumerate(rows)]


def test_calls_and_bytes_are_counted(client):
    client.add("in", Records([(0, 1000)]))
    before = client.used()

    def read(_):
        return client.get_object(Bucket=BUCKET, Key="in", Range="bytes=0-49")["Body"].read()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, range(200)))
    client.get_object(Bucket=BUCKET, Key="in")["Body"].read(7)
    used = client.used() - before
    assert used.calls == {"GetObject": 201}
    assert (used.bytes_read, used.bytes_written) == (10_007, 0)
