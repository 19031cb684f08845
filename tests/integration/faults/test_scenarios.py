"""Processes that are killed, twins, rivals, and inputs that change: the output is whole and exact, or absent."""

import json
import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from executions import Executor
from runs import RUNS, Case, prepare

from batch_predict.local.aws import local_aws
from support.histories import child_histories, failures
from support.processes import functions_of
from support.s3_proxy import Rule, s3_proxy, set_s3_endpoints

pytestmark = pytest.mark.emulator("it kills the processes of functions")

WAIT_SECONDS = 60


def wait_until(condition, what):
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {WAIT_SECONDS} s"
        time.sleep(0.05)


def succeeded(ending, output):
    assert ending.status == "SUCCEEDED", (ending.error, ending.cause)
    assert ending.output == output
    assert ending.work == ending.uploads == []


@pytest.mark.parametrize("run", ["grouped", pytest.param("large", marks=pytest.mark.thorough)])
def test_a_prediction_function_killed_in_the_middle_of_a_chunk(aws, faulty, executor, run):
    """While it sends its part: the state machine repeats the chunk, and nothing of the killed one stays in S3."""
    case = Case(f"killed-{run}", aws.bucket)
    request = prepare(executor.s3, case, RUNS[run])
    operation = "PutObject" if run == "grouped" else "UploadPart"
    hold = Rule("delay", "PredictChunkFunction", operation, f"{case.pattern}.*chunk-00000.csv$", seconds=30)

    with faulty.rules(hold) as (held,), ThreadPoolExecutor(1) as pool:
        ending = pool.submit(executor.ending, case, request)
        wait_until(lambda: held.injected, "the chunk")
        wait_until(lambda: len(at_work(aws)) == 1, "the end of the other chunks")
        os.kill(at_work(aws)[0], signal.SIGKILL)
        succeeded(ending.result(), RUNS[run].input().output)

    assert failures(child_histories(aws, {"executionArn": ending.result().execution_arn})[0]) == ["Runtime.ExitError"]
    # What the process had in its own directory stays, as in /tmp on AWS, until another process starts.
    for directory in {process.environ()["TMPDIR"] for process in functions_of(aws)}:
        for left in Path(directory).glob("predict-*"):
            shutil.rmtree(left)


def at_work(aws):
    """Ids of the prediction functions' processes that have a part open."""
    return [process.pid for process in functions_of(aws) if any(path.endswith("/part.csv") for path, *_ in process.open_files())]


@pytest.mark.thorough
def test_one_chunk_twice_at_once_has_one_part_and_a_valid_receipt(aws, executor, run_execution):
    case = Case("twice", aws.bucket)
    request = prepare(executor.s3, case, RUNS["split"])
    plan = run_execution(aws, {**request, "dry_run": True})["output"]

    def stored(key):
        return executor.s3.get_object(Bucket=case.bucket, Key=key)["Body"].read()

    chunk = json.loads(stored(plan["plan_key"]))[1]
    prediction = ("model_s3_uri", "feature_columns", "prediction_column_name", "on_bad_row")
    event = {**chunk, **{field: request[field] for field in prediction}, "raise_errors": True}

    def invoke(_):
        answer = aws.client("lambda").invoke(FunctionName=aws.predict_function_name, Payload=json.dumps(event))
        return json.loads(answer["Payload"].read())

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(invoke, range(2))

    varying = ("milliseconds", "memory_mb", "started")
    assert {k: v for k, v in first.items() if k not in varying} == {k: v for k, v in second.items() if k not in varying}
    part = stored(chunk["output_s3_uri"].removeprefix(f"s3://{case.bucket}/"))
    receipt = json.loads(stored(chunk["receipt_s3_uri"].removeprefix(f"s3://{case.bucket}/")))
    assert len(part) == receipt["output_bytes"] == first["output_bytes"]

    succeeded(executor.ending(case, request), RUNS["split"].input().output)
    assert report(executor, case)["chunks"] == {"planned": 3, "predicted": 3, "reused": 1, "failed": 0}


def report(executor, case):
    body = executor.s3.get_object(Bucket=case.bucket, Key=case.key("output", "out.csv.report.json"))["Body"]
    return json.loads(body.read())


@pytest.mark.parametrize("run", ["grouped", pytest.param("copied", marks=pytest.mark.thorough)])
def test_two_executions_of_one_request_at_once_both_succeed(executor, aws, run):
    """And of the multipart uploads of the copied one, none stays."""
    case = Case(f"twins-{run}", aws.bucket)
    request = prepare(executor.s3, case, RUNS[run])
    with ThreadPoolExecutor(2) as pool:
        endings = list(pool.map(lambda _: executor.ending(case, request), range(2)))
    assert [(ending.error, ending.cause) for ending in endings] == [(None, None)] * 2
    succeeded(executor.ending(case, request), RUNS[run].input().output)


@pytest.mark.thorough
@pytest.mark.parametrize("run", ["grouped", "copied"])
def test_of_two_requests_to_one_output_at_once_exactly_one_wins(aws, faulty, executor, run):
    """Both are held just before they publish."""
    case = Case(f"rivals-{run}", aws.bucket)
    request = prepare(executor.s3, case, RUNS[run])
    other = {**request, "prediction_column_name": "score"}
    operation = "PutObject" if run == "grouped" else "CompleteMultipartUpload"
    hold = Rule("delay", "MergeOutputsFunction", operation, f"{case.pattern}out.csv$", seconds=15, times=None)

    with faulty.rules(hold) as (held,), ThreadPoolExecutor(2) as pool:
        endings = list(pool.map(lambda one: executor.ending(case, one), (request, other)))
        assert held.injected == 2

    assert sorted(ending.error or "" for ending in endings) == ["", "OutputExistsError"]
    won = endings.index(next(ending for ending in endings if ending.error is None))
    whole = RUNS[run].input().output
    expected = [whole, whole.replace(b",prediction\n", b",score\n", 1)][won]
    # The loser's work stays for whoever lets it overwrite; of uploads nothing does.
    repeated = executor.ending(case, (request, other)[won])
    assert (repeated.status, repeated.output, repeated.uploads) == ("SUCCEEDED", expected, [])


@pytest.mark.thorough
@pytest.mark.parametrize("run", ["grouped", "copied"])
def test_of_two_requests_that_overwrite_one_output_at_once_exactly_one_wins(aws, faulty, executor, run):
    """Both have seen the old output, and are held just before they replace it: no report is another's."""
    case = Case(f"overwriting-{run}", aws.bucket)
    request = {**prepare(executor.s3, case, RUNS[run]), "overwrite": True}
    other = {**request, "prediction_column_name": "score"}
    for suffix in ("", ".report.json", ".rejected.csv"):
        executor.s3.put_object(Bucket=case.bucket, Key=case.key("output", f"out.csv{suffix}"), Body=b"old")
    operation = "PutObject" if run == "grouped" else "CompleteMultipartUpload"
    hold = Rule("delay", "MergeOutputsFunction", operation, f"{case.pattern}out.csv$", seconds=8, times=None)

    with faulty.rules(hold) as (held,), ThreadPoolExecutor(2) as pool:
        endings = list(pool.map(lambda one: executor.ending(case, one), (request, other)))
        assert held.injected == 2

    assert sorted(ending.error or "" for ending in endings) == ["", "OutputExistsError"]
    lost, won = sorted(endings, key=lambda ending: ending.error is None)
    assert "by someone else" in lost.cause
    whole = RUNS[run].input().output
    assert executor.ending(case, (request, other)[endings.index(won)]).output == (
        whole if won is endings[0] else whole.replace(b",prediction\n", b",score\n", 1)
    )
    head = executor.s3.head_object(Bucket=case.bucket, Key=case.key("output", "out.csv"))
    said = report(executor, case)
    assert (said["output"]["etag"], said["identity"]) == (head["ETag"], head["Metadata"]["batch-predict-identity"])
    assert said["execution"]["arn"] == won.execution_arn
    assert case.key("output", "out.csv.rejected.csv") not in executor.keys(case, case.key("output", ""))


@pytest.mark.thorough
def test_a_restart_in_the_middle_of_a_run(tmp_path):
    """The emulator ends while a chunk is held, and comes back with its objects: the same request uses what is there."""
    case = Case("restarted", "batch-predict")
    run = RUNS["grouped"]
    settings = {"enforce_iam": True, "wait_scale": 0, "state_directory": tmp_path}
    with local_aws(**settings) as aws, s3_proxy(aws.endpoint_url) as proxy:
        set_s3_endpoints(aws, {"PredictChunkFunction": proxy.url("PredictChunkFunction")})
        request = prepare(aws.client("s3"), case, run)
        held = proxy.add(Rule("delay", operation="PutObject", key="chunk-00002.csv$", seconds=120))
        aws.client("stepfunctions").start_execution(stateMachineArn=aws.state_machine_arn, input=json.dumps(request))
        wait_until(lambda: held.injected and receipts(aws, case) == 2, "two of three chunks")

    with local_aws(**settings) as aws, s3_proxy(aws.endpoint_url) as proxy:
        set_s3_endpoints(aws, {"PredictChunkFunction": None})
        executor = Executor(aws, proxy)
        assert receipts(aws, case) == 2
        succeeded(executor.ending(case, request), run.input().output)
        assert report(executor, case)["chunks"] == {"planned": 3, "predicted": 3, "reused": 2, "failed": 0}


def receipts(aws, case):
    listed = aws.client("s3").list_objects_v2(Bucket=case.bucket, Prefix=case.key("output", "")).get("Contents", [])
    return sum(item["Key"].rpartition("/")[2] in {f"chunk-{n:05}.json" for n in range(3)} for item in listed)
