import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from workflow.estimate import BUNDLE_PROCESSOR_SECONDS, UNPACKING_PROCESSOR_SECONDS, Work, estimate
from workflow.estimate import merge_seconds as merging
from workflow.multipart import MIN_PART_BYTES
from workflow.prices import LAMBDA_ARM64_GB_SECOND, LAMBDA_REQUEST, S3_GET_REQUEST, S3_PUT_REQUEST, STATE_TRANSITION

MB = 10**6
TWO_VCPUS = 3538
COLD = 0.3 + 1.2
"""A container, and the processor seconds of the model itself on a whole vCPU."""
VALIDATE, PROBE = 0.3 + 0.25 + 5 * 0.03, 0.3 + 1.3 + 0.15
ONE_OBJECT = Work(chunks=10, pending_chunks=10, objects=1, grouped_objects=0, grouped_chunks=0, input_bytes=700 * MB, row_bytes=100)
COUNTS = ("lambda_requests", "s3_put_requests", "s3_get_requests", "state_transitions")
AMOUNTS = ("rows", "seconds", "lambda_gb_seconds", *COUNTS)


@st.composite
def works(draw):
    """Any plan that the planner may make, up to 10 TB in 10,000 chunks."""
    chunks = draw(st.integers(0, 10_000))
    pending = draw(st.integers(0, chunks))
    grouped = draw(st.integers(0, pending))
    grouped_objects = draw(st.integers(2 * grouped, 2 * grouped + 100_000)) if grouped else 0
    return Work(
        chunks=chunks,
        pending_chunks=pending,
        objects=grouped_objects + draw(st.integers(1, 10_000)),
        grouped_objects=grouped_objects,
        grouped_chunks=grouped,
        input_bytes=draw(st.integers(4 * pending, 10**13)) if pending else 0,
        row_bytes=draw(st.floats(2, 16 * MB)),
        is_stored=draw(st.booleans()),
        one_worker=draw(st.booleans()),
    )


def is_copied(work):
    """Whether the parts are large enough for S3 to copy them, which is faster than to gather them."""
    rows = round(work.input_bytes / work.row_bytes)
    return not work.pending_chunks or (work.input_bytes + work.prediction_bytes * rows) / work.pending_chunks > MIN_PART_BYTES


SPEEDS = st.one_of(st.just(0.0), st.floats(0.1, 1e8))
CONCURRENCY = st.integers(1, 10_000)
MEMORY = st.integers(512, 10_240)


def plan_seconds(headers_and_boundaries):
    return 0.3 + 0.25 + 10 * 0.03 + 0.002 * headers_and_boundaries


def merge_seconds(chunks, joining):
    return 0.3 + 0.25 + 21 * 0.03 + 0.002 * chunks + joining


def test_a_linear_model_on_one_object_by_hand():
    found = estimate(ONE_OBJECT, probe_rows_per_second=10**6, max_concurrency=5, memory_mb=TWO_VCPUS)
    # Writing ten parts of 83.3 MB at 625 Mbit/s x 3538 / 2048 = 135 MB/s takes longer than reading, and than scoring 7 M rows at
    # 2 M rows/s, even without the last bytes of each part.
    writing, waiting, cold = 833 / 135, 10 * 0.15, 5 * COLD
    assert found["rows"] == 7_000_000
    assert found["chunk_seconds"] == round((writing + waiting + cold) / 10, 1) == 1.5
    # Validating, probing, planning (1 header, 10 boundaries), two waves of 0.77 s after a cold start, ten copies at once.
    plan, merge = plan_seconds(11), merge_seconds(10, 2.7 + 83.3 / 80)
    assert found["seconds"] == round(VALIDATE + PROBE + plan + COLD + 2 * 0.767 + merge, 1) == 11.3
    gb_seconds = (1769 * (VALIDATE + plan + merge) + 3538 * (PROBE + writing + waiting + cold)) / 1024
    assert found["lambda_gb_seconds"] == round(gb_seconds, 1) == 69.7
    assert found["lambda_requests"] == 4 + 10
    assert found["state_transitions"] == 9 + 2 * 10
    # A listing; ten parts of 83.3 MB in 4 pieces each with start and end, and ten receipts; ten copies; a listing to delete.
    assert found["s3_put_requests"] == 10 + 1 + 10 * (4 + 2 + 1) + 10 + 1
    # Headers and boundaries; header and range of each chunk; HEAD of each part; ten decisions; five models; ten receipts.
    assert found["s3_get_requests"] == 13 + (1 + 10) + 2 * 10 + 10 + 10 + 5 + 10
    # About 70 GB-s at 0.0000133334 and 14 requests at 0.0000002; 29 at 0.000025; 92 at 0.000005 and 79 at 0.0000004.
    assert found["dollars"] == {"lambda": 0.000932, "step_functions": 0.000725, "s3": 0.000492, "total": 0.002149}


def test_a_slow_model_is_bound_by_the_probes_speed():
    found = estimate(ONE_OBJECT, probe_rows_per_second=1000, max_concurrency=10, memory_mb=TWO_VCPUS)
    # 700,000 rows a chunk at 2 x 1,000 rows/s, and 0.04 s to write the last of it, 0.15 s to wait, and the start.
    assert found["chunk_seconds"] == round(350 + 0.04 + 0.15 + COLD, 1)


@pytest.mark.parametrize(("memory_mb", "share"), [(1769, 1), (5307, 1), (512, 512 / 1769)])
def test_a_chunk_by_a_stored_model_starts_sooner_and_with_less_memory_later(memory_mb, share):
    by_model, stored = (
        estimate(ONE_OBJECT._replace(is_stored=is_stored), 10**6, max_concurrency=10, memory_mb=memory_mb)
        for is_stored in (False, True)
    )
    assert by_model["seconds"] - stored["seconds"] == pytest.approx((1.2 - 0.4) / share, abs=0.11)
    assert any(f"each starts cold once, {0.3 + 0.4 / share:.1f} s by the stored model" in told for told in stored["assumptions"])


def test_a_bundle_is_downloaded_and_unpacked_by_each_new_container():
    bundled = ONE_OBJECT._replace(bundle_bytes=150 * 10**6, unpacked_bytes=400 * 10**6)
    plain, with_bundle = (estimate(work, 10**6, max_concurrency=10, memory_mb=1769) for work in (ONE_OBJECT, bundled))
    more = 150 / 75 + BUNDLE_PROCESSOR_SECONDS + 400 * UNPACKING_PROCESSOR_SECONDS
    assert with_bundle["seconds"] - plain["seconds"] == pytest.approx(more, abs=0.11)
    assert any(f"each starts cold once, {COLD + more:.1f} s with the bundle" in told for told in with_bundle["assumptions"])


@pytest.mark.parametrize(
    ("chunks", "copied_mb"),
    [(1, 2**27 / 1e6), (16, 2**27 / 1e6), (64, 250), (100, 500), (128, 500), (129, 2 * 500), (1000, 8 * 500)],
)
def test_parts_of_500_mb_are_cut_if_they_are_few_and_copied_in_turns_if_they_are_many(chunks, copied_mb):
    assert merging(chunks, 500 * MB) == pytest.approx(merge_seconds(chunks, 2.7 + copied_mb / 80))


@pytest.mark.parametrize(("memory_mb", "scoring"), [(1769, 700), (5307, 700 / 3), (884, 700 * 1769 / 884), (512, 700 * 1769 / 512)])
def test_less_than_a_vcpu_is_slower_than_the_probe_says_of_a_whole_one(memory_mb, scoring):
    found = estimate(ONE_OBJECT, probe_rows_per_second=1000, max_concurrency=10, memory_mb=memory_mb)
    assert found["chunk_seconds"] == pytest.approx(scoring + 0.05 + 0.15 + 0.3 + 1.2 / min(1, memory_mb / 1769), abs=0.2)


def test_many_predictions_a_row_are_bound_by_writing_them():
    """Ten probabilities, say: the part is three times the chunk."""
    found = estimate(ONE_OBJECT._replace(prediction_bytes=190), probe_rows_per_second=10**7, max_concurrency=10, memory_mb=1769)
    assert found["chunk_seconds"] == round(70 * 2.9 / 75 + 0.15 + COLD, 1)


def test_small_objects_are_gathered_by_hand():
    work = Work(chunks=2, pending_chunks=2, objects=2000, grouped_objects=2000, grouped_chunks=2, input_bytes=8 * MB, row_bytes=100)
    found = estimate(work, probe_rows_per_second=10**6, max_concurrency=100, memory_mb=TWO_VCPUS)
    # A part has 4 MB and 40,000 predictions of 19 bytes: too small to be copied, so both are read, and sent as 2 parts of 8 MiB.
    assert found["s3_put_requests"] == 10 + 2 + 2 * (1 + 1) + 2 + 1
    assert found["s3_get_requests"] == 13 + (2000 + 2) + 2000 + 2 + 2 + 2 + 2 + 2
    # 1,000 objects a chunk take 2 ms each, whatever is in them.
    assert found["chunk_seconds"] == round(4 / 135 + 4.76 / 135 + 0.15 + 2 + COLD, 1)


def test_where_nothing_is_pending_only_the_workflow_costs():
    work = ONE_OBJECT._replace(pending_chunks=0, input_bytes=0)
    found = estimate(work, probe_rows_per_second=10**6, max_concurrency=5, memory_mb=TWO_VCPUS)
    assert (found["rows"], found["chunk_seconds"]) == (0, 0)
    assert found["seconds"] == round(VALIDATE + PROBE + plan_seconds(11) + merge_seconds(10, 2.7 + 5 * 2**20 / 80e6), 1)
    assert (found["lambda_requests"], found["state_transitions"]) == (4, 9)
    assert found["s3_put_requests"] == 10 + 1 + 10 + 1
    assert found["s3_get_requests"] == 13 + (1 + 10) + 2 * 10 + 10
    assert found["dollars"]["total"] > 0


def test_many_short_chunks_wait_for_step_functions_to_start_them():
    work = ONE_OBJECT._replace(chunks=10_000, pending_chunks=10_000, input_bytes=10_000 * MB)
    found = estimate(work, probe_rows_per_second=10**7, max_concurrency=10_000, memory_mb=TWO_VCPUS)
    chunk = 1 / 135 + 1.19 / 135 + 0.15
    # 10,000 parts of 1.19 MB pass through the merge.
    merge = merge_seconds(10_000, 10_000 * 1.19 / 75)
    assert found["seconds"] == round(VALIDATE + PROBE + plan_seconds(10_001) + COLD + 10_000 / 100 + chunk + merge, 1)


@given(works(), SPEEDS, CONCURRENCY, MEMORY)
def test_every_plan_has_an_estimate_that_adds_up(work, speed, concurrency, memory_mb):
    found = estimate(work, speed, concurrency, memory_mb)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert all(found[field] >= 0 for field in (*AMOUNTS, "chunk_seconds"))
    dollars = dict(found["dollars"])
    total = dollars.pop("total")
    assert all(amount >= 0 for amount in dollars.values())
    assert total == pytest.approx(sum(dollars.values()), abs=1e-9, rel=1e-9)
    # The dollars are the counts times the prices; GB-seconds were rounded to 0.1.
    gb_seconds, invocations = found["lambda_gb_seconds"], found["lambda_requests"]
    computed = gb_seconds * LAMBDA_ARM64_GB_SECOND.dollars + invocations * LAMBDA_REQUEST.dollars
    assert dollars["lambda"] == pytest.approx(computed, abs=2e-6, rel=1e-9)
    assert dollars["step_functions"] == pytest.approx(found["state_transitions"] * STATE_TRANSITION.dollars, abs=1e-6, rel=1e-9)
    requested = found["s3_put_requests"] * S3_PUT_REQUEST.dollars + found["s3_get_requests"] * S3_GET_REQUEST.dollars
    assert dollars["s3"] == pytest.approx(requested, abs=1e-6, rel=1e-9)


@given(works(), st.integers(1, 5), SPEEDS, CONCURRENCY, MEMORY, MEMORY)
def test_more_work_never_takes_less_and_more_memory_never_longer(work, times, speed, concurrency, memory_mb, more_mb):
    def found(changed, memory_mb=memory_mb):
        return estimate(changed, speed, concurrency, memory_mb)

    whole = found(work)
    resumed = found(work._replace(pending_chunks=0, grouped_objects=0, grouped_chunks=0, input_bytes=0))
    counts = {field: times * count for field, count in work._asdict().items() if type(count) is int}
    repeated = work._replace(**counts | {"prediction_bytes": work.prediction_bytes})
    assume(is_copied(repeated) == is_copied(work))  # but for one row
    more_chunks = found(repeated)
    shorter = work._replace(row_bytes=work.row_bytes / times)
    shorter_rows = found(shorter)
    more_memory = found(work, max(memory_mb, more_mb))
    paid = ("seconds", "lambda_gb_seconds", "lambda_requests", "state_transitions")
    assert all(resumed[field] <= whole[field] or not is_copied(work) for field in paid)
    assert all(more_chunks[field] >= whole[field] for field in AMOUNTS)
    assert all(more_chunks["dollars"][service] >= dollars for service, dollars in whole["dollars"].items())
    if is_copied(shorter) == is_copied(work):
        assert all(shorter_rows[field] >= whole[field] for field in ("rows", "seconds", "lambda_gb_seconds"))
    assert more_memory["seconds"] <= whole["seconds"]
    assert [more_memory[field] for field in COUNTS] == [whole[field] for field in COUNTS]
