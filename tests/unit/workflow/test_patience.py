"""How long a chunk waits for one of the account's concurrent executions: simulated, with the numbers of the definition."""

import heapq
import json
import random

import pytest

from batch_predict.deployed import stack_directory

CHUNKS, SECONDS = 4000, 60
"""As many, and as long, as the planner makes of 2 TB if it may: new chunks win against those that wait, until the run's end."""
NEW_ACCOUNT_EXECUTIONS = 10
"""Concurrent executions of Lambda in a new account."""
MAX_CONCURRENCY = 100
"""Chunks that a request has in flight unless it says otherwise."""
SEEDS = range(3)


@pytest.fixture(scope="module")
def definition():
    return json.loads((stack_directory() / "statemachine/batch_prediction.asl.json").read_text())


@pytest.fixture(scope="module")
def retriers(definition):
    """The retriers of the state that scores a chunk."""
    return definition["States"]["Predict Chunks"]["ItemProcessor"]["States"]["Predict Chunk"]["Retry"]


def retrier_of(error, retriers):
    """The first one that names the error, as Step Functions takes it."""
    return next(retrier for retrier in retriers if error in retrier["ErrorEquals"])


def delay(retrier, attempt, rng):
    """Seconds before an attempt, from 1: https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html."""
    longest = min(retrier["MaxDelaySeconds"], retrier["IntervalSeconds"] * retrier["BackoffRate"] ** (attempt - 1))
    return rng.uniform(0, longest) if retrier.get("JitterStrategy") == "FULL" else longest


def lost_chunks(retrier, seed):
    """How many chunks are given up: one that finds every execution taken tries again after the retrier's delay."""
    rng = random.Random(seed)
    waiting = [(0.0, chunk, 0) for chunk in range(MAX_CONCURRENCY)]  # seconds, chunk, retries
    started, lost, running = MAX_CONCURRENCY, 0, []
    while waiting:
        now, chunk, retries = heapq.heappop(waiting)
        while running and running[0] <= now:
            heapq.heappop(running)
        if len(running) < NEW_ACCOUNT_EXECUTIONS:
            heapq.heappush(running, now + SECONDS)
            over = now + SECONDS
        elif retries < retrier["MaxAttempts"]:
            heapq.heappush(waiting, (now + delay(retrier, retries + 1, rng), chunk, retries + 1))
            continue
        else:
            lost, over = lost + 1, now
        if started < CHUNKS:  # the Map starts the next child
            heapq.heappush(waiting, (over, started, 0))
            started += 1
    return lost


def test_no_chunk_is_lost_to_the_ten_executions_of_a_new_account(retriers):
    throttled = retrier_of("Lambda.TooManyRequestsException", retriers)
    assert [lost_chunks(throttled, seed) for seed in SEEDS] == [0] * len(SEEDS)


def test_a_throttled_chunk_is_patient_for_eight_hours_and_asks_once_a_minute_at_least(retriers):
    throttled = retrier_of("Lambda.TooManyRequestsException", retriers)
    assert throttled is retriers[0]
    longest = [delay(throttled | {"JitterStrategy": "NONE"}, attempt, None) for attempt in range(1, throttled["MaxAttempts"] + 1)]
    assert max(longest) == 60
    assert 29_000 < sum(longest) / 2 < 31_000  # full jitter waits for half of it on average
    assert throttled["JitterStrategy"] == "FULL"  # else all would come at once, again and again


def test_a_function_that_is_not_ready_is_waited_for_longer_than_two_minutes(retriers):
    unready = retrier_of("Lambda.CodeArtifactUserPendingException", retriers)
    waits = [delay(unready, attempt, None) for attempt in range(1, unready["MaxAttempts"] + 1)]
    assert waits == [5, 10, 20, 40, 60, 60]  # without jitter: with it, half of the waits could be over in a minute
    for error in ("Lambda.ResourceNotReadyException", "Lambda.ResourceConflictException"):
        assert retrier_of(error, retriers) is unready


def test_an_error_has_one_retrier(retriers):
    """The first that names it wins, so a second one would never be asked."""
    named = [error for retrier in retriers for error in retrier["ErrorEquals"]]
    assert len(named) == len(set(named))


def test_no_time_out_ends_the_waiting(definition):
    """A Task's time-out is of each attempt: `LambdaFunctionScheduled`, an event of each, has it. Nothing else has one."""
    assert "TimeoutSeconds" not in definition
    limited = {name for name, state in definition["States"].items() if state["Type"] != "Task" and "TimeoutSeconds" in state}
    assert not limited
    processor = definition["States"]["Predict Chunks"]["ItemProcessor"]["ProcessorConfig"]
    assert processor["ExecutionType"] == "STANDARD"  # an Express child ends after five minutes
