import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.estimate import Work, estimate
from workflow.prices import LAMBDA_ARM64_GB_SECOND, LAMBDA_REQUEST, S3_GET_REQUEST, S3_PUT_REQUEST, STATE_TRANSITION

MB = 10**6
TWO_VCPUS = 3538
ONE_OBJECT = Work(chunks=10, pending_chunks=10, objects=1, grouped_objects=0, grouped_chunks=0, input_bytes=700 * MB, row_bytes=100)
COUNTS = ("lambda_requests", "s3_put_requests", "s3_get_requests", "state_transitions")
AMOUNTS = ("rows", "seconds", "lambda_gb_seconds", *COUNTS)


@st.composite
def works(draw):
    """Any plan that the planner may make, up to 10 TB in 10,000 chunks."""
    chunks = draw(st.integers(1, 10_000))
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
    )


SPEEDS = st.one_of(st.just(0.0), st.floats(0.1, 1e8))
CONCURRENCY = st.integers(1, 10_000)
MEMORY = st.integers(512, 10_240)


def test_a_linear_model_on_one_object_by_hand():
    found = estimate(ONE_OBJECT, probe_rows_per_second=10**6, max_concurrency=5, memory_mb=TWO_VCPUS)
    # Writing ten parts of 83.3 MB at 625 Mbit/s x 3538 / 2048 = 135 MB/s takes longer than reading, and than scoring 7 M rows at
    # 2 M rows/s, even without the last 5 MiB of each part.
    writing, waiting, cold = 833 / 135, 10 * 0.2, 5 * 4.8
    assert found["rows"] == 7_000_000
    assert found["chunk_seconds"] == round((writing + waiting + cold) / 10, 1) == 3.2
    # Validating, probing, planning (1 header, 10 boundaries), two waves of 0.82 s after a cold start, merging 10 chunks.
    assert found["seconds"] == round(1 + 5.8 + 1.022 + (4.8 + 2 * 0.817) + 1.4, 1) == 15.7
    gb_seconds = (1769 * 1 + 3538 * 5.8 + 1769 * 1.022 + 3538 * 32.17 + 1769 * 1.4) / 1024
    assert found["lambda_gb_seconds"] == round(gb_seconds, 1) == 137.1
    assert found["lambda_requests"] == 4 + 10
    assert found["state_transitions"] == 9 + 2 * 10
    # A listing; ten parts of 83.3 MB in 4 pieces each with start and end, and ten receipts; ten copies; a listing to delete.
    assert found["s3_put_requests"] == 10 + 1 + 10 * (4 + 2 + 1) + 10 + 1
    # Headers and boundaries; header and range of each chunk; HEAD of each part; ten decisions; five models; ten receipts.
    assert found["s3_get_requests"] == 13 + (1 + 10) + 2 * 10 + 10 + 10 + 5 + 10
    # About 137 GB-s at 0.0000133334 and 14 requests at 0.0000002; 29 at 0.000025; 92 at 0.000005 and 79 at 0.0000004.
    assert found["dollars"] == {"lambda": 0.001831, "step_functions": 0.000725, "s3": 0.000492, "total": 0.003048}


def test_a_slow_model_is_bound_by_the_probes_speed():
    found = estimate(ONE_OBJECT, probe_rows_per_second=1000, max_concurrency=10, memory_mb=TWO_VCPUS)
    # 700,000 rows a chunk at 2 x 1,000 rows/s, and 0.04 s to write the last of it, 0.2 s to wait, 4.8 s to start.
    assert found["chunk_seconds"] == round(350 + 0.04 + 0.2 + 4.8, 1)


@pytest.mark.parametrize(("memory_mb", "scoring"), [(1769, 700), (5307, 700 / 3), (884, 700), (512, 700)])
def test_a_share_of_a_vcpu_is_in_the_probes_speed_already(memory_mb, scoring):
    found = estimate(ONE_OBJECT, probe_rows_per_second=1000, max_concurrency=10, memory_mb=memory_mb)
    assert found["chunk_seconds"] == pytest.approx(scoring + 0.05 + 0.2 + 4.8, abs=0.2)


def test_many_predictions_a_row_are_bound_by_writing_them():
    """Ten probabilities, say: the part is three times the chunk."""
    found = estimate(ONE_OBJECT._replace(prediction_bytes=190), probe_rows_per_second=10**7, max_concurrency=10, memory_mb=1769)
    assert found["chunk_seconds"] == round(70 * 2.9 / 75 + 0.2 + 4.8, 1)


def test_small_objects_are_gathered_by_hand():
    work = Work(chunks=2, pending_chunks=2, objects=2000, grouped_objects=2000, grouped_chunks=2, input_bytes=8 * MB, row_bytes=100)
    found = estimate(work, probe_rows_per_second=10**6, max_concurrency=100, memory_mb=TWO_VCPUS)
    # A part has 4 MB and 40,000 predictions of 19 bytes: too small to be copied, so both are read, and sent as 2 parts of 8 MiB.
    assert found["s3_put_requests"] == 10 + 2 + 2 * (1 + 1) + 2 + 1
    assert found["s3_get_requests"] == 13 + (2000 + 2) + 2000 + 2 + 2 + 2 + 2 + 2
    # 1,000 objects a chunk take 2 ms each, whatever is in them.
    assert found["chunk_seconds"] == round(4 / 135 + 4.76 / 135 + 0.2 + 2 + 4.8, 1)


def test_where_nothing_is_pending_only_the_workflow_costs():
    work = ONE_OBJECT._replace(pending_chunks=0, input_bytes=0)
    found = estimate(work, probe_rows_per_second=10**6, max_concurrency=5, memory_mb=TWO_VCPUS)
    assert (found["rows"], found["chunk_seconds"]) == (0, 0)
    assert found["seconds"] == round(1 + 5.8 + 1.022 + 1.4, 1)
    assert (found["lambda_requests"], found["state_transitions"]) == (4, 9)
    assert found["s3_put_requests"] == 10 + 1 + 10 + 1
    assert found["s3_get_requests"] == 13 + (1 + 10) + 2 * 10 + 10
    assert found["dollars"]["total"] > 0


def test_many_short_chunks_wait_for_step_functions_to_start_them():
    work = ONE_OBJECT._replace(chunks=10_000, pending_chunks=10_000, input_bytes=10_000 * MB)
    found = estimate(work, probe_rows_per_second=10**7, max_concurrency=10_000, memory_mb=TWO_VCPUS)
    chunk = 1 / 135 + 1.19 / 135 + 0.2
    assert found["seconds"] == round(1 + 5.8 + (1 + 0.002 * 10_001) + (4.8 + 10_000 / 100 + chunk) + (1 + 400), 1)


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
    counts = {field: times * count for field, count in work._asdict().items() if isinstance(count, int)}
    more_chunks = found(work._replace(**counts | {"prediction_bytes": work.prediction_bytes}))
    shorter_rows = found(work._replace(row_bytes=work.row_bytes / times))
    more_memory = found(work, max(memory_mb, more_mb))
    paid = ("seconds", "lambda_gb_seconds", "lambda_requests", "state_transitions")
    assert all(resumed[field] <= whole[field] for field in paid)
    assert all(more_chunks[field] >= whole[field] for field in AMOUNTS)
    assert all(more_chunks["dollars"][service] >= dollars for service, dollars in whole["dollars"].items())
    assert all(shorter_rows[field] >= whole[field] for field in ("rows", "seconds", "lambda_gb_seconds"))
    assert more_memory["seconds"] <= whole["seconds"]
    assert [more_memory[field] for field in COUNTS] == [whole[field] for field in COUNTS]
