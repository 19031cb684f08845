import io
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from batch_predict.cli.progress import Row, Screen, TerminalScreen, detail_of, going, rows_table
from batch_predict.cli.run_lines import plan_lines, print_failure, result_lines
from batch_predict.cli.visible_output import VisibleConsole
from batch_predict.errors import BatchPredictError
from batch_predict.runs.execution import ChunksCounted, ExecutionEnded
from batch_predict.runs.history import AttemptFailed, StateEntered, StateExited
from batch_predict.runs.outcome import Failed, Planned, Published

PLAN = {"plan": {"chunks": 9, "pending_chunks": 9, "input_bytes": 31_053_850}}
OUTPUT = {"output": {"rows": 336_776, "bytes": 37_500_000}}
RUN = [
    StateEntered("Plan Chunks", "Task"),
    StateExited("Plan Chunks", "Task", 0.31, None, PLAN),
    StateEntered("Decide What To Run", "Choice"),
    StateExited("Decide What To Run", "Choice", 0, None, PLAN),
    StateEntered("Predict Chunks", "Map"),
    ChunksCounted(9, 0, 0),
    ChunksCounted(9, 1, 0),
    ChunksCounted(9, 9, 0),
    StateExited("Predict Chunks", "Map", 4.04, None, PLAN),
    StateEntered("Merge Outputs", "Task"),
    StateExited("Merge Outputs", "Task", 0.7, None, OUTPUT),
    StateEntered("Published", "Succeed"),
    ExecutionEnded("arn", "SUCCEEDED", 6.0),
]
REJECTED = [
    StateEntered("Validate Request", "Task"),
    AttemptFailed("Validate Request", "InvalidRequestError"),
    StateExited("Validate Request", "Task", 0.3, "InvalidRequestError", {}),
    StateEntered("Explain Rejection", "Pass"),
    StateExited("Explain Rejection", "Pass", 0, None, {}),
    StateEntered("Request Rejected", "Fail"),
    ExecutionEnded("arn", "FAILED", 0.4, {}, "InvalidRequestError", "x"),
]


def shown(steps, then=lambda _: None):
    """What a screen that is no terminal prints of steps and of what follows, without the times of day; and its rows."""
    file = io.StringIO()
    with suppress(KeyboardInterrupt), Screen(file) as screen:
        for step in steps:
            screen.show(step)
        then(screen)
    lines = file.getvalue().splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)
    return [line[9:] for line in lines], screen.rows


def plain_lines(steps):
    return shown(steps)[0]


def test_plain_lines_of_a_run():
    assert plain_lines(RUN) == [
        "Plan Chunks … 0.3 s, 9 chunks, 31.1 MB",
        "Predict Chunks … 0 of 9 chunks",
        "Predict Chunks … 9 of 9 chunks",
        "Predict Chunks … 4.0 s, 9 chunks",
        "Merge Outputs … 0.7 s, 336,776 rows, 37.5 MB",
        "Published",
    ]


def test_plain_lines_of_a_rejection():
    assert plain_lines(REJECTED) == ["Validate Request … failed with InvalidRequestError", "Request Rejected"]


@pytest.mark.parametrize("error", [None, "States.ExceedToleratedFailureThreshold"], ids=["tolerated", "too many"])
def test_a_map_that_lost_chunks_looks_failed_whether_it_went_on_or_not(error):
    failed = [AttemptFailed("Predict Chunks", error)] if error else []
    lost = [RUN[4], ChunksCounted(9, 7, 2), *failed, StateExited("Predict Chunks", "Map", 4.04, error, PLAN)]
    lines, (row,) = shown(lost)
    assert lines[1:] == ["Predict Chunks … 4.0 s, 7 of 9 chunks, 2 failed"]
    assert (row.failed, row.detail) == (True, "7 of 9 chunks, 2 failed")


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_step_says_what_it_does_and_what_came_of_it(is_stopped):
    def start(screen):
        with screen.step("Local AWS", "starting") as conclude:
            if is_stopped:
                raise KeyboardInterrupt
            conclude("http://127.0.0.1:1")

    end = "stopped" if is_stopped else "0.0 s, http://127.0.0.1:1"
    assert shown([], start)[0] == ["Local AWS … starting", f"Local AWS … {end}"]


def test_a_plan_that_is_made_again_is_no_second_merge():
    error = "UnsafeSplitError"
    again = [
        *RUN[4:6],
        ChunksCounted(9, 8, 1),
        StateExited("Predict Chunks", "Map", 4.04, None, PLAN),
        StateEntered("Merge Outputs", "Task"),
        AttemptFailed("Merge Outputs", error),
        StateExited("Merge Outputs", "Task", 0.1, error, PLAN),
        StateEntered("Explain Failure", "Task"),
        StateExited("Explain Failure", "Task", 0.2, None, PLAN),
        *RUN[:2],
    ]
    assert plain_lines(again)[2:] == [
        "Predict Chunks … 4.0 s, 8 of 9 chunks, 1 failed",
        "Merge Outputs … nothing merged: UnsafeSplitError",
        "Explain Failure … 0.2 s",
        "Plan Chunks … 0.3 s, planned again: 9 chunks, 31.1 MB",
    ]


@pytest.fixture
def drawn(monkeypatch):
    """What a terminal of some width shows in the end, when something happened after some progress."""

    def drawn(progress, width, error=None):
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", str(width))
        file = type("Terminal", (io.StringIO,), {"isatty": lambda _: True})()
        with suppress(KeyboardInterrupt, BatchPredictError), TerminalScreen(file) as screen:
            for step in progress:
                screen.show(step)
            if error:
                screen._live.refresh()
                raise error
        text = file.getvalue()
        assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is given back
        return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip() for line in text.rpartition("\x1b[2K")[2].splitlines()]

    return drawn


def test_a_terminal_has_a_bar_and_what_it_showed_stays(drawn):
    assert [line for line in drawn(RUN, 80) if line] == [
        "✓ Plan Chunks      0.3 s 9 chunks, 31.1 MB",
        "✓ Predict Chunks   4.0 s 9 chunks",
        "✓ Merge Outputs    0.7 s 336,776 rows, 37.5 MB",
        "● Published",
    ]
    assert any("━" in line and "1 of 9 chunks" in line for line in drawn(RUN[:7], 80))


@pytest.mark.parametrize(("error", "how"), [(KeyboardInterrupt("SIGINT"), "stopped"), (BatchPredictError("disk full"), "failed")])
def test_what_was_under_way_is_said_to_have_ended(drawn, error, how):
    lines = drawn(RUN[:7], 80, error)
    assert "✓ Plan Chunks      0.3 s 9 chunks, 31.1 MB" in lines
    assert any(re.fullmatch(rf"✗ Predict Chunks +0\.0 s 1 of 9 chunks, {how}", line) for line in lines), lines


def test_what_goes_on_without_this_process_is_not_said_to_have_ended():
    def leave(screen):
        screen.leave()
        raise KeyboardInterrupt

    lines, rows = shown(RUN[:7], leave)
    assert lines[-1] == "Predict Chunks … 0 of 9 chunks"
    assert not rows[-1].failed


def test_an_execution_that_is_cancelled_leaves_no_state_under_way():
    ended = ExecutionEnded("arn", "ABORTED", 6.0, {}, "Cancelled", "x")
    assert plain_lines([*RUN[4:7], ended])[-1] == "Predict Chunks … 1 of 9 chunks, stopped"


@pytest.mark.parametrize("width", [60, 110])
def test_a_long_detail_stands_below_its_name_where_it_does_not_fit_beside(drawn, width):
    skipped = (
        "2 files, 0.2 MB; 8 files skipped: 5 hidden (in/.x0.csv, in/.x1.csv, in/.x2.csv, …), 2 not CSV (in/b.xlsx, in/notes.txt)"
    )
    upload = Row("Upload", seconds=1.0, detail=skipped)
    file = io.StringIO()
    Console(file=file, width=width).print(rows_table([upload, Row("Validate Request", seconds=1.0)], "", width))
    lines = [line.rstrip() for line in file.getvalue().splitlines()]

    assert lines[0] == "✓ Upload             1.0 s"
    assert len(lines) <= 5
    assert all(len(line) <= width for line in lines)
    assert " ".join(line.strip() for line in lines[1:-1]) == skipped


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (None, "5 of 9 chunks, about 50,000 rows, 500 rows/s, 1 min 20 s left, $0.0015 on AWS"),
        (66, "5 of 9 chunks, 500 rows/s, 1 min 20 s left, $0.0015 on AWS"),
        (33, "5 of 9 chunks, 1 min 20 s left"),
        (14, "5 of 9 chunks"),
    ],
)
def test_how_a_map_goes_on_is_one_line(width, text, monkeypatch):
    monkeypatch.setattr("batch_predict.cli.progress.time", SimpleNamespace(monotonic=lambda: 200.0))
    row = Row("Predict Chunks", "Map", started=100.0, chunks=ChunksCounted(9, 5, 0, 3.0), rows=90_000.0, overhead=50.0)
    found = going(row, width)
    assert re.sub(r"\$[\d.]+", "$0.0015", found) == text


def test_no_speed_is_said_before_scoring_has_taken_longer_than_what_is_about_it(monkeypatch):
    monkeypatch.setattr("batch_predict.cli.progress.time", SimpleNamespace(monotonic=lambda: 104.0))
    row = Row("Predict Chunks", "Map", started=100.0, chunks=ChunksCounted(9, 5, 0), rows=90_000.0, overhead=5.0)
    assert going(row) == "5 of 9 chunks, about 50,000 rows, 3 s left"


@pytest.mark.parametrize(
    ("pending", "counted", "says"),
    [
        (3, ChunksCounted(3, 3, 0), "9 of 9 chunks, about 3,000 rows"),  # of the chunks that it runs itself
        (9, ChunksCounted(9, 8, 1), "8 of 9 chunks, 1 failed, about 8,000 rows"),
    ],
)
def test_the_rows_of_a_map_are_those_of_the_chunks_that_it_has_finished(pending, counted, says):
    planned = {"model": {"row_bytes": 100.0}, "plan": {"chunks": 9, "pending_chunks": pending, "input_bytes": 900_000}}
    steps = [RUN[0], StateExited("Plan Chunks", "Task", 0.31, None, planned), RUN[4], counted]
    assert plain_lines(steps)[-1] == f"Predict Chunks … {says}"


RESULT = Published(output=Path("out.csv"), report=Path("out.csv.report.json"), rows=336_776, chunks=9, seconds=6.0, output_bytes=1)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"states": {"Predict Chunks": 3.5}}, "336,776 in 9 chunks and 6.0 s, 56,129 rows/s"),
        ({"states": {"Predict Chunks": 2.5}}, "336,776 in 9 chunks and 6.0 s"),
        ({"states": {}}, "336,776 in 9 chunks and 6.0 s"),
        ({"failed_chunks": 2}, "336,776 in 7 of 9 chunks and 6.0 s"),
        (
            {"states": {"Predict Chunks": 3.5}, "reused_chunks": 2},
            "336,776 in 9 chunks (2 of them from an earlier run) and 6.0 s",
        ),
    ],
)
def test_a_result_has_a_speed_where_it_says_something(fields, text):
    missing = [("Missing", "2 chunks failed and were tolerated: see the report")] if "failed_chunks" in fields else []
    assert list(result_lines(replace(RESULT, **fields))) == [
        ("Rows", text),
        *missing,
        ("Output", "out.csv"),
        ("Report", "out.csv.report.json"),
    ]


def test_what_a_model_that_works_warns_of_is_said_first():
    warning = "it was fitted with scikit-learn 1.2.2, and scored with 1.9.1"
    assert next(iter(result_lines(replace(RESULT, warnings=[warning])))) == ("Warning", warning)


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
    result = Planned(chunks=1, objects=2, input_bytes=10**6, skipped_objects=1, estimate=None)

    assert list(plan_lines(result, compare=False, skipped="3 files skipped: 3 hidden (…)"))[:2] == [
        ("Objects", "2, 1.0 MB; 1 object skipped: hidden, empty or only a header"),
        ("", "3 files skipped: 3 hidden (…)"),
    ]


def test_a_plan_says_what_its_data_are_unless_they_are_plain_csv():
    plain = Planned(chunks=1, objects=2, input_bytes=10**6, skipped_objects=0, estimate=None)
    assert "Format" not in dict(plan_lines(plain, compare=False))
    compressed = replace(plain, input_format="jsonl", input_compression=["gzip", "zstd"])
    assert dict(plan_lines(compressed, compare=False))["Format"] == "JSON Lines, gzip, Zstandard"


def test_a_dry_run_says_what_the_run_would_take_and_what_that_assumes():
    dollars = {"lambda": 0.012, "step_functions": 0.003, "s3": 0.0051, "total": 0.0201}
    estimate = {"rows": 336_000, "seconds": 12.3, "chunk_seconds": 1.26, "dollars": dollars, "assumptions": ["One.", "Two."]}
    result = Planned(chunks=9, objects=1, input_bytes=31_053_850, skipped_objects=0, estimate=estimate)
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
    cause = "s3://b/k [bold]row[/bold] 7 " * 20
    result = Failed(error="InvalidDataError", cause=cause, advice="Correct it.")
    print_failure(VisibleConsole(file), result, "batch-predict explain r")

    assert file.getvalue() == f"InvalidDataError: {cause}\nWhat to do: Correct it.\nMore: batch-predict explain r\n"


def test_an_execution_that_ended_before_its_first_state_shows_nothing():
    assert shown([ExecutionEnded("arn", "ABORTED", 0.1, {}, "Cancelled", "x")]) == ([], [])
