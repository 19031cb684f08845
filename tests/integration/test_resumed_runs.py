"""A local run that failed, was stopped or was killed: what is said of it, and the same command again."""

import html
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import joblib
import pandas as pd
import pexpect
import pytest
from sklearn.linear_model import LinearRegression

from batch_predict.local.kept_runs import KeptRuns
from support.command_line import invoke, succeed, write_files

pytestmark = pytest.mark.emulator("the command line runs on the embedded AWS")

ROWS = 6000
BAD_ROW = 4500
SECONDS = 90
COMMAND = [sys.executable, "-c", "from batch_predict.cli.app import main; main()"]
RUN = "run --model model.joblib --features a,b --prediction p --chunk-size-mb 0.002"
CHUNKS = 27


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_files(ROWS, BAD_ROW)


def start_until(text, number):
    """Start a run, and return its process when so many chunks have been finished."""
    process = subprocess.Popen([*COMMAND, *text.split()], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    while (line := process.stderr.readline()) and not any(f" {done} of " in line for done in range(number, CHUNKS)):
        pass
    assert line, "the run ended before"
    return process


def how_it_ended(run):
    """What four commands say: status, list, explain and the page."""
    status = json.loads(invoke(f"status {run} --json").stdout)
    listed = next(found for found in json.loads(invoke("list --json").stdout) if found["name"] == run)
    explained = json.loads(invoke(f"explain {run} --json").stdout)
    succeed(f"report {run} --output page.html")
    page = html.unescape(Path("page.html").read_text())
    assert listed["status"] in page
    assert status["cause"].partition(" It is row ")[0] in page  # which may be passed on, and holds no value
    said = {(found["status"], found["error"], found["cause"]) for found in (status, explained, listed["result"])}
    assert len(said) == 1, said
    assert listed["status"] == status["status"]
    return said.pop()


def parts():
    return list(Path(".batch-predict").rglob("chunk-*.csv"))


def receipts():
    """Of the chunks that are finished: a part may be there whose receipt was not written any more."""
    return list(Path(".batch-predict").rglob("chunk-?????.json"))


def is_scored():
    frame = pd.read_csv("out.csv")
    expected = joblib.load("model.joblib").predict(frame[["a", "b"]])
    return len(frame) == ROWS and abs(frame["p"] - expected).max() < 1e-9


@pytest.mark.thorough
def test_a_run_that_was_killed_goes_on_by_the_same_command():
    run = f"{RUN} --data data.csv --output out.csv --name night"
    process = start_until(run, 4)
    process.kill()
    process.wait()
    assert how_it_ended("night") == ("ABORTED", "Interrupted", "its process was killed")
    assert not list(Path(".batch-predict").rglob("data.csv"))
    shutil.rmtree(".batch-predict/night/aws/state")  # as where the machine lost power: Step Functions' record is gone
    assert "Error    Interrupted: its process was killed\n" in invoke("status night").stdout
    succeed("report night --output page.html")
    finished = len(receipts())
    assert finished >= 4

    again = invoke(f"{run} --json")
    assert again.exit_code == 0, again.stderr
    result = json.loads(again.stdout)
    assert (result["name"], result["chunks"], result["reused_chunks"]) == ("night", CHUNKS, finished)
    assert is_scored()
    assert not parts()
    status = json.loads(invoke("status night --json").stdout)
    assert (status["chunks"]["total"], status["reused_chunks"]) == (CHUNKS - finished, finished)


@pytest.mark.thorough
def test_a_run_that_was_stopped_keeps_the_screen_and_goes_on_unless_the_model_changed():
    arguments = f"{RUN} --data data.csv --output out.csv --name first"
    process = pexpect.spawn(COMMAND[0], [*COMMAND[1:], *arguments.split()], timeout=SECONDS, encoding="utf-8", dimensions=(30, 110))
    process.expect(rf"(?:[4-9]|1\d) of {CHUNKS} chunks")
    process.sendintr()
    process.expect(pexpect.EOF)
    text = process.before
    process.close()

    assert process.exitstatus == 130
    screen = text.rpartition("\x1b[?25h")[0]
    assert "Plan Chunks" in screen
    assert f"of {CHUNKS} chunks" in screen
    assert "Run first is over: the same command goes on from its" in text
    assert text.endswith("Error: stopped by SIGINT\r\n")
    assert "batch-predict explain first" in text
    assert how_it_ended("first") == ("ABORTED", "Interrupted", "stopped by SIGINT")

    finished = len(receipts())
    planned = invoke(f"plan {arguments.removeprefix('run').replace(' --name first', '')} --json")
    assert f"{finished} of them there already" in planned.stderr
    Path("model.joblib").rename("old.joblib")
    data = pd.read_csv("data.csv")
    joblib.dump(LinearRegression().fit(data, data["a"]), "model.joblib")
    changed = invoke(f"{arguments.replace('--name first', '--name second')} --json")
    assert (changed.exit_code, json.loads(changed.stdout)["reused_chunks"]) == (0, 0), changed.stderr
    assert is_scored()
    assert not parts()  # also those of the first: they were for that output


def test_a_run_that_failed_in_the_middle_runs_only_what_is_missing():
    run = f"{RUN} --data bad.csv --output out.csv"
    failed = invoke(f"{run} --name first")
    assert failed.exit_code == 1
    assert f"{CHUNKS - 1} of {CHUNKS} chunks, 1 failed" in failed.stderr
    assert "Merge Outputs" not in failed.stderr  # as on AWS: the Map has failed
    assert "batch-predict explain first" in failed.stderr
    status, error, cause = how_it_ended("first")
    assert (status, error) == ("FAILED", "InvalidDataError")
    number = cause.split()[1]  # chunk 20 of 27, …

    again = invoke(f"{run} --name second --json")
    assert json.loads(again.stdout)["error"] == "InvalidDataError"
    assert f"{CHUNKS} chunks, {CHUNKS - 1} of them there already" in again.stderr
    status = json.loads(invoke("status second --json").stdout)
    assert (status["chunks"]["total"], status["reused_chunks"]) == (1, CHUNKS - 1)
    # The second has changed nothing of what the first has left.
    assert f"chunk {number}, bad.csv" in invoke("explain first").stdout


@pytest.mark.thorough
def test_a_detached_run_is_stopped_by_its_process_id():
    invoke(f"{RUN.replace('0.002', '0.00002')} --data data.csv --output out.csv --name far --detach")
    processes = subprocess.run(["ps", "-Aww", "-o", "pid=,args="], check=True, capture_output=True, text=True).stdout.splitlines()
    folder = str(KeptRuns().get("far").path.absolute())
    (pid,) = [int(line.split()[0]) for line in processes if "batch_predict.local.detached" in line and folder in line]
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + SECONDS
    while KeptRuns().get("far").status() == "RUNNING" and time.monotonic() < deadline:
        time.sleep(0.2)
    assert "Error    Interrupted: stopped by SIGTERM\n" in invoke("status far").stdout
