"""A bundle's own process that is killed, once or twice, or with its function: the output is whole and exact, or absent."""

import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from runs import RUNS, Case, prepare

from support.histories import child_histories, failures
from support.processes import functions_of, is_alive
from support.s3_proxy import Rule

pytestmark = [pytest.mark.thorough, pytest.mark.emulator("it kills the processes of functions")]

RUN = replace(RUNS["grouped"], model="tree.bundle.zip")
WAIT_SECONDS = 60


def wait_for(condition, what):
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {WAIT_SECONDS} s"
        time.sleep(0.05)
    return found


def scoring(aws):
    """The process that has a part open, if one alone has."""
    found = [process for process in functions_of(aws) if any(path.endswith("/part.csv") for path, *_ in process.open_files())]
    return found[0] if len(found) == 1 else None


@pytest.fixture
def ended(aws, faulty, executor):
    """Run the case, and do something to the process of its first chunk while that is held, each time that it is."""

    def ended(name, kill, times=1):
        case = Case(name, aws.bucket)
        request = prepare(executor.s3, case, RUN)
        hold = Rule("delay", "PredictChunkFunction", "PutObject", f"{case.pattern}.*chunk-00000.csv$", seconds=15, times=times)
        with faulty.rules(hold) as (held,), ThreadPoolExecutor(1) as pool:
            ending = pool.submit(executor.ending, case, request)
            for number in range(1, times + 1):
                wait_for(lambda number=number: held.injected == number, "the chunk")
                kill(wait_for(lambda: scoring(aws), "the end of the other chunks"))
        first = ending.result()
        for directory in {process.environ()["TMPDIR"] for process in functions_of(aws)}:
            for left in Path(directory).glob("predict-*"):  # of whoever was killed, as in /tmp on AWS
                shutil.rmtree(left)
        return first, executor.ending(case, request)

    return ended


def killed(process):
    assert process.parent().environ().get("AWS_LAMBDA_FUNCTION_NAME"), "it is not the child of a function"
    process.kill()


def first_chunks_failures(aws, ending):
    return failures(child_histories(aws, {"executionArn": ending.execution_arn})[0])


def test_a_child_that_is_killed_is_started_again_for_the_same_event(aws, ended):
    ending, _ = ended("child-killed", killed)
    assert (ending.status, ending.output) == ("SUCCEEDED", RUN.input().output), ending.cause
    assert ending.work == ending.uploads == []
    assert first_chunks_failures(aws, ending) == []


def test_a_child_that_is_killed_twice_fails_by_name_and_a_repeat_succeeds(aws, ended):
    ending, repeat = ended("child-killed-twice", killed, times=2)
    assert (ending.status, ending.error, ending.output) == ("FAILED", "ModelError", None)
    assert "SIGKILL" in ending.cause
    assert first_chunks_failures(aws, ending) == ["ModelError"]
    assert (repeat.status, repeat.output, repeat.work, repeat.uploads) == ("SUCCEEDED", RUN.input().output, [], [])


def test_a_child_ends_with_its_function(aws, ended):
    children = []

    def kill_the_function(process):
        children.append(process.pid)
        os.kill(process.ppid(), signal.SIGKILL)

    ending, _ = ended("function-killed", kill_the_function)
    assert (ending.status, ending.output) == ("SUCCEEDED", RUN.input().output), ending.cause
    assert first_chunks_failures(aws, ending) == ["Runtime.ExitError"]
    (child,) = children
    wait_for(lambda: not (psutil.pid_exists(child) and is_alive(child)), "the child's end")
