"""Chunks that the request gives no size, and the memory sizes that are recommended."""

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow import chunking, plan_chunks, sizing
from workflow.chunking import MAX_CHUNKS, number_of_chunks
from workflow.estimate import Row
from workflow.sizing import MAX_CHUNK_SECONDS, MemorySize, cheapest, chunk_seconds, chunk_size_of, fastest, memory_sizes

GB = 10**9
ROOM = 2000 * 2**20
"""What a chunk and its part have of 2,048 MB of ephemeral storage."""
LINEAR = Row(input_bytes=200, prediction_bytes=20, per_vcpu_second=10**6)
FOREST = LINEAR._replace(per_vcpu_second=40_000)
SLOW = LINEAR._replace(per_vcpu_second=100)
TIME, DISK, SPREAD, WORTH, MOST, PRICE = (
    "60 s",
    "PredictEphemeralStorageSize",
    "max_concurrency",
    "not worth",
    "10,000 at most",
    "cheaper by less",
)


@pytest.mark.parametrize(
    ("sizes", "row", "concurrency", "memory_mb", "mb", "reason"),
    [
        ([30 * 10**6], LINEAR, 100, 1769, 16, WORTH),  # two: a machine of one's own has two cores
        ([GB], LINEAR, 100, 1769, 64, WORTH),
        ([GB], FOREST, 100, 1769, 10, SPREAD),
        ([GB], FOREST, 1000, 1769, 10, WORTH),  # parts that S3 can copy
        ([10 * GB], LINEAR, 100, 1769, 100, SPREAD),
        ([10 * GB], LINEAR, 10, 1769, 500, DISK),  # 512, so that both turns are full
        ([51 * GB], LINEAR, 100, 1769, 510, SPREAD),
        ([100 * GB], FOREST, 100, 884, 125, TIME),  # 128, likewise
        ([GB], SLOW, 1000, 1769, 1, TIME),  # a second of work is 0.02 MB, and a minute 1 MB
        ([100 * GB], SLOW, 100, 1769, 10, MOST),
        ([10_000 * GB], LINEAR, 1000, 1769, 1000, MOST),
        ([50 * GB], LINEAR._replace(per_vcpu_second=1000), 100, 10_240, 31, PRICE),  # 32, which takes 28 s; a GB-second is dear
        ([70 * 10**6] * 365, LINEAR, 100, 1769, 280, SPREAD),  # 92 chunks of four whole objects, not 122 of three
        ([2000] * 10**4, LINEAR, 10, 1769, 2, SPREAD),  # 1,000 small objects, each of which takes 2 ms to open
    ],
)
def test_the_size_follows_the_work(sizes, row, concurrency, memory_mb, mb, reason):
    found = chunk_size_of(sizes, row, concurrency, memory_mb, ROOM)
    assert found.bytes / 1e6 == pytest.approx(mb, rel=0.04)
    assert reason in found.reason


ROWS = st.builds(Row, st.floats(2, 10**6), st.floats(2, 10**5), st.floats(0.05, 10**8))


@given(
    st.lists(st.one_of(st.integers(1, 10**6), st.integers(1, 10**13)), min_size=1, max_size=50),
    ROWS,
    st.integers(1, 10_000),
    st.sampled_from(sizing.MEMORY_SIZES_MB),
    st.integers(10**6, 10**10),
)
def test_no_bound_is_passed(sizes, row, concurrency, memory_mb, room_bytes):
    """Time, disk, and the number of chunks, which alone goes before the others; a chunk of the smallest size may take longer."""
    found = chunk_size_of(sizes, row, concurrency, memory_mb, room_bytes)
    assert number_of_chunks(sizes, found.bytes) <= MAX_CHUNKS
    if found.bytes > sizing.SMALLEST_CHUNK_BYTES and MOST not in found.reason:
        assert chunk_seconds(found.bytes, row, memory_mb, sizes) <= MAX_CHUNK_SECONDS
        assert found.bytes * (2 + row.prediction_bytes / row.input_bytes) <= room_bytes
    # A large object is spread over all functions, unless that makes chunks of less than a second.
    second = 1.01 * (10**6 * sizing.mb_per_second(row, memory_mb) + 10**6)
    if len(sizes) == 1 and found.bytes > max(second, sizes[0] / 100):
        assert number_of_chunks(sizes, found.bytes) >= min(concurrency, MAX_CHUNKS)


@given(ROWS, st.sampled_from(sizing.MEMORY_SIZES_MB), st.floats(0.95, 1.05))
def test_a_little_more_speed_changes_the_largest_size_by_one_step_at_most(row, memory_mb, change):
    sizes = [
        sizing.largest_chunk(row._replace(per_vcpu_second=row.per_vcpu_second * factor), memory_mb, ROOM).bytes
        for factor in (1, change)
    ]
    assert max(sizes) <= 2 * min(sizes) + 1


# --- the planner ------------------------------------------------------------------------------------------------------------------

BODY = b"a,b\n" + b"1,2\n" * 30_000


@pytest.fixture
def planned(s3, put, document, monkeypatch):
    """Plan a run of 120 KB with a model of so many rows a second, as an execution of its own; the function has one vCPU."""
    put("in/1.csv", BODY)
    monkeypatch.setenv(plan_chunks.MEMORY_VARIABLE, "1769")

    def plan(rows_per_second, model_mb=0, **changed):
        event = document(**changed)
        event["model"]["model"]["bytes"] = model_mb * 2**20
        event["model"]["rows_per_second"] = rows_per_second
        event["execution"] |= {"name": f"run-{rows_per_second}"}
        return plan_chunks.plan_chunks(s3, event)

    return plan


def test_a_resumed_run_has_its_chunks_whatever_the_probe_says_now(planned, get):
    first = planned(3000)
    assert (first["chunk_size_mb"], first["chunks"]) == (0.012, 11)
    again = planned(10**6)
    assert (again["fingerprint"], again["chunks"]) == (first["fingerprint"], 11)
    assert "smaller ones are not worth an invocation" in again["chunk_size_reason"]
    assert planned(10**6, max_concurrency=1)["fingerprint"] == first["fingerprint"]
    assert planned(10**6, dry_run=True)["fingerprint"] == first["fingerprint"]
    assert planned(10**6, prediction_column_name="other")["chunks"] == 1  # another request


def test_an_explicit_size_wins_and_is_not_kept(planned):
    asked = planned(3000, chunk_size_mb=0.07)
    assert (asked["chunk_size_mb"], asked["chunks"]) == (0.07, 2)
    assert asked["chunk_size_reason"].endswith(": the request asks for 0.07 MB.")
    assert planned(3000)["chunks"] == 11
    assert planned(3000, chunk_size_mb=0.07)["fingerprint"] == asked["fingerprint"]


def test_a_dry_run_explains_the_size_and_binds_nobody(planned, keys):
    plan = planned(3000, dry_run=True)
    reason = "Chunks of 0.012 MB, 1.15 s each at 0.012 MB/s: smaller ones are not worth an invocation."
    assert plan["chunk_size_reason"] == plan["estimate"]["assumptions"][0] == reason
    assert not [key for key in keys("out/") if key.endswith("chunk-size.json")]
    assert planned(10**6)["chunks"] == 1


@pytest.mark.parametrize("kept", [b"{", b'{"chunk_bytes": 0, "reason": ""}'])
def test_a_damaged_note_counts_for_nothing(planned, keys, put, kept):
    first = planned(3000)
    (note,) = [key for key in keys("out/") if key.endswith("chunk-size.json")]
    put(note, kept)
    assert planned(3000)["fingerprint"] == first["fingerprint"]


def test_a_tampered_note_makes_no_more_chunks_than_there_may_be(planned, keys, put, monkeypatch):
    planned(3000)
    (note,) = [key for key in keys("out/") if key.endswith("chunk-size.json")]
    put(note, json.dumps({"chunk_bytes": 1, "reason": ""}))
    monkeypatch.setattr(chunking, "MAX_CHUNKS", 9)
    assert 1 < planned(3000)["chunks"] <= 9


def test_the_bounds_of_disk_and_memory_are_the_stacks(s3, put, document, monkeypatch):
    """What the template tells the planner: the same data is cut otherwise."""
    put("in/1.csv", BODY)
    monkeypatch.setenv("PREDICT_EPHEMERAL_STORAGE_SIZE", "49")
    event = document()
    event["model"]["model"]["bytes"] = 2**20 - 400_000
    plan = plan_chunks.plan_chunks(s3, event)
    assert plan["chunks"] > 1
    assert DISK in plan["chunk_size_reason"]


def test_without_rows_there_is_nothing_to_reckon(s3, put, document):
    put("in/1.csv", b"a,b\n")
    event = document(on_no_rows="succeed", dry_run=True)
    event["model"] |= {"rows": 0, "row_bytes": 0.0, "rows_per_second": 0.0}
    plan = plan_chunks.plan_chunks(s3, event)
    assert plan["chunk_size_reason"] == "Chunks of 64 MB: there are no rows."
    assert not any("PredictMemorySize" in assumption for assumption in plan["estimate"]["assumptions"])


def test_the_memory_sizes_are_in_the_dry_run(planned):
    *_, advice = planned(10**8, dry_run=True)["estimate"]["assumptions"]
    assert advice.startswith("PredictMemorySize: 512 MB (")
    assert "the function has 1,769 MB (" in advice
    assert "About 410 MB are needed. A model whose file is compressed needs more" in advice
    *_, of_a_large_model = planned(10**8, model_mb=310, dry_run=True)["estimate"]["assumptions"]
    assert of_a_large_model.startswith("PredictMemorySize: 1,769 MB (")  # 1,024 hold 307 MB, which are twice that while loading
    assert "About 1,030 MB are needed." in of_a_large_model


# --- memory -----------------------------------------------------------------------------------------------------------------------


def test_a_fast_model_is_cheapest_in_little_memory_and_fastest_in_the_largest():
    sizes = memory_sizes(LINEAR, 410, ROOM)
    assert (cheapest(sizes).memory_mb, fastest(sizes).memory_mb) == (640, 10_240)
    assert cheapest(sizes).mb_per_second == pytest.approx(75 / 1.1)  # the network's speed, which less memory does not lower
    assert fastest(sizes).mb_per_second == pytest.approx(375 / 1.1)


def test_a_model_that_needs_more_memory_is_offered_no_less():
    assert {size.memory_mb for size in memory_sizes(LINEAR, 1300, ROOM)} == {
        memory_mb for memory_mb in sizing.MEMORY_SIZES_MB if memory_mb >= 1300
    }
    assert [size.memory_mb for size in memory_sizes(LINEAR, 20_000, ROOM)] == [10_240]


def test_of_sizes_that_cost_nearly_the_same_the_fastest_is_advised():
    sizes = [MemorySize(512, 20, 1.18), MemorySize(1769, 61, 1.20), MemorySize(3538, 122, 1.30), MemorySize(7076, 122, 2)]
    assert (cheapest(sizes).memory_mb, fastest(sizes).memory_mb) == (1769, 3538)


def test_a_model_that_one_worker_scores_gains_nothing_from_a_second_vcpu():
    sizes = memory_sizes(LINEAR._replace(per_vcpu_second=1000, one_worker=True), 410, ROOM)
    assert (cheapest(sizes).memory_mb, fastest(sizes).memory_mb) == (1769, 1769)
    assert fastest(sizes).mb_per_second == pytest.approx(1000 * 200 / 1e6)
    advice = sizing.memory_advice(LINEAR._replace(per_vcpu_second=1000, one_worker=True), 2000, 1769, ROOM)
    assert "2,688 MB (0.2 MB/s a function" in advice
    assert advice.endswith("One worker scores it, so more than 1,769 MB buy a faster network alone.")


def test_one_size_that_is_the_cheapest_and_the_fastest_is_named_once():
    slow = sizing.memory_advice(LINEAR._replace(per_vcpu_second=1000), 410, 1769, ROOM)
    assert re.match(
        r"PredictMemorySize: 10,240 MB [^;]* is the cheapest and the fastest for this model; the function has 1,769 MB", slow
    )


@given(ROWS.filter(lambda row: row.per_vcpu_second > 1), st.sampled_from(sizing.MEMORY_SIZES_MB))
def test_advice_is_finite_and_adds_up(row, memory_mb):
    size = sizing.memory_size(row, memory_mb, ROOM)
    assert 0 < size.mb_per_second <= 375
    assert math.isfinite(size.dollars_per_tb)
    gb_seconds = 10**6 / size.mb_per_second * memory_mb / 1024
    assert size.dollars_per_tb >= 0.99 * gb_seconds * 0.0000133334
