import io
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from batch_predict.execution import AttemptFailed, ChunksCounted, ExecutionEnded, StateEntered, StateExited
from batch_predict.local_run import RunResult
from batch_predict.screen import Screen, TerminalScreen, detail_of, plan_lines, print_failure, print_result, result_lines

NOW = datetime(2026, 11, 24, 2, tzinfo=UTC)
PLAN = {"plan": {"chunks": 9, "pending_chunks": 9, "input_bytes": 31_053_850}}
OUTPUT = {"output": {"rows": 336_776, "bytes": 37_500_000}}
RUN = [
    StateEntered("Plan Chunks", "Task", NOW),
    StateExited("Plan Chunks", "Task", 0.31, None, PLAN),
    StateEntered("Decide What To Run", "Choice", NOW),
    StateExited("Decide What To Run", "Choice", 0, None, PLAN),
    StateEntered("Predict Chunks", "Map", NOW),
    ChunksCounted(9, 0, 0),
    ChunksCounted(9, 1, 0),
    ChunksCounted(9, 9, 0),
    StateExited("Predict Chunks", "Map", 4.04, None, PLAN),
    StateEntered("Merge Outputs", "Task", NOW),
    StateExited("Merge Outputs", "Task", 0.7, None, OUTPUT),
    StateEntered("Published", "Succeed", NOW),
    ExecutionEnded("arn", "SUCCEEDED", 6.0),
]
REJECTED = [
    StateEntered("Validate Request", "Task", NOW),
    AttemptFailed("Validate Request", "InvalidRequestError"),
    StateExited("Validate Request", "Task", 0.3, "InvalidRequestError", {}),
    StateEntered("Explain Rejection", "Pass", NOW),
    StateExited("Explain Rejection", "Pass", 0, None, {}),
    StateEntered("Request Rejected", "Fail", NOW),
    ExecutionEnded("arn", "FAILED", 0.4, {}, "InvalidRequestError", "x"),
]


@pytest.fixture
def plain_lines():
    """What a screen that is no terminal prints of some progress, without the times of day."""

    def plain_lines(progress):
        file = io.StringIO()
        with Screen(file) as screen:
            for step in progress:
                screen.show(step)
        lines = file.getvalue().splitlines()
        assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)
        return [line[9:] for line in lines]

    return plain_lines


@pytest.fixture
def terminal_file():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    return Terminal()


def test_plain_lines_of_a_run(plain_lines):
    assert plain_lines(RUN) == [
        "Plan Chunks … 0.3 s, 9 chunks, 31.1 MB",
        "Predict Chunks … 0 of 9 chunks",
        "Predict Chunks … 9 of 9 chunks",
        "Predict Chunks … 4.0 s, 9 chunks",
        "Merge Outputs … 0.7 s, 336,776 rows, 37.5 MB",
        "Published",
    ]


def test_plain_lines_of_a_rejection(plain_lines):
    assert plain_lines(REJECTED) == ["Validate Request … failed with InvalidRequestError", "Request Rejected"]


def test_failed_chunks_are_counted(plain_lines):
    assert plain_lines([RUN[4], ChunksCounted(9, 7, 2)]) == ["Predict Chunks … 7 of 9 chunks, 2 failed"]


def test_a_step_says_what_it_does_and_what_came_of_it():
    file = io.StringIO()
    with Screen(file) as screen, screen.step("Local AWS", "starting") as conclude:
        conclude("http://127.0.0.1:1")

    assert re.fullmatch(r"\S+ Local AWS … starting\n\S+ Local AWS … 0\.0 s, http://127\.0\.0\.1:1\n", file.getvalue())


def test_a_terminal_has_a_bar_and_is_given_back(terminal_file, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    with TerminalScreen(terminal_file) as screen:
        for step in RUN[:7]:
            screen.show(step)
        screen._live.refresh()

    text = terminal_file.getvalue()
    assert "━" in text
    assert "1 of 9 chunks" in text
    assert "\x1b[2K" in text.rpartition("of 9 chunks")[2]  # the last frame is wiped
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor


def test_result_is_a_table_of_states_and_what_came_of_it():
    screen = Screen(io.StringIO())
    for step in RUN:
        screen.show(step)
    file = io.StringIO()
    result = RunResult("SUCCEEDED", Path("out.csv"), Path("out.csv.report.json"), rows=336_776, chunks=9, seconds=6.0)
    print_result(Console(file=file, width=80), screen.rows, result)

    assert [line.rstrip() for line in file.getvalue().splitlines()] == [
        "✓ Plan Chunks      0.3 s 9 chunks, 31.1 MB",
        "✓ Predict Chunks   4.0 s 9 chunks",
        "✓ Merge Outputs    0.7 s 336,776 rows, 37.5 MB",
        "● Published",
        "",
        "Rows    336,776 in 9 chunks and 6.0 s, 56,129 rows/s",
        "Output  out.csv",
        "Report  out.csv.report.json",
    ]


@pytest.mark.parametrize(
    ("state", "document", "detail"),
    [
        (
            "Plan Chunks",
            {"plan": {"chunks": 9, "pending_chunks": 2, "input_bytes": 10**6}},
            "9 chunks, 7 of them there already, 1.0 MB",
        ),
        (
            "Plan Chunks",
            {"plan": {"chunks": 9, "pending_chunks": 9, "input_bytes": 10**6, "skipped_objects": 2}},
            "9 chunks, 1.0 MB; 2 objects skipped: hidden, empty or only a header",
        ),
        ("Predict Chunks", {"plan": {"chunks": 9, "pending_chunks": 2, "input_bytes": 10**6}}, "2 chunks"),
        ("Plan Chunks", {"plan": {"continuation": {"done": 10, "total": 2000}}}, "10 of 2,000, goes on"),
        ("Merge Outputs", {"output": {"continuation": {"done": 10, "total": 2000}}}, "10 of 2,000, goes on"),
    ],
)
def test_what_is_resumed_and_what_goes_on_is_said(state, document, detail):
    assert detail_of(StateExited(state, "Task", 1.0, None, document)) == detail


def test_a_plan_says_what_is_skipped():
    result = RunResult("SUCCEEDED", chunks=1, objects=2, input_bytes=10**6, skipped_objects=1)

    assert list(plan_lines(result, compare=False, skipped="3 files skipped: 3 hidden (…)"))[:2] == [
        ("Objects", "2, 1.0 MB; 1 object skipped: hidden, empty or only a header"),
        ("", "3 files skipped: 3 hidden (…)"),
    ]


def test_a_dry_run_says_what_the_run_would_take_and_what_that_assumes():
    dollars = {"lambda": 0.012, "step_functions": 0.003, "s3": 0.0051, "total": 0.0201}
    estimate = {"rows": 336_000, "seconds": 12.3, "chunk_seconds": 1.26, "dollars": dollars, "assumptions": ["One.", "Two."]}
    result = RunResult("SUCCEEDED", chunks=9, input_bytes=31_053_850, estimate=estimate)
    assert list(result_lines(result)) == [
        ("Plan", "9 chunks, 31.1 MB; nothing was scored"),
        ("Rows", "about 336,000"),
        ("On AWS", "about 12 s; a chunk takes 1.3 s"),
        ("Cost", "about $0.0201 (Lambda 0.0120, Step Functions 0.0030, S3 0.0051)"),
        ("Assumes", "One."),
        ("", "Two."),
    ]


def test_a_failure_is_one_line_where_no_one_wraps_it():
    file = io.StringIO()
    screen = Screen(file)
    cause = "s3://b/k [bold]row[/bold] 7 " * 20
    print_failure(screen, RunResult("FAILED", error="InvalidDataError", cause=cause, advice="Correct it."))

    assert file.getvalue() == f"InvalidDataError: {cause}\nCorrect it.\n"


def test_an_execution_that_ended_before_its_first_state_shows_nothing():
    file = io.StringIO()
    with Screen(file) as shown:
        shown.show(ExecutionEnded("arn", "ABORTED", 0.1, {}, "Cancelled", "x"))

    assert (shown.rows, file.getvalue()) == ([], "")
