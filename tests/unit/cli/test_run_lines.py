import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from batch_predict.cli.run_commands import _told
from batch_predict.cli.run_lines import explanation_lines, print_lines, print_runs, status_lines
from batch_predict.runs.execution import ChunksCounted
from batch_predict.runs.run import ListedRun, RunStatus

START = datetime(2026, 11, 24, 2, tzinfo=UTC)
CAUSE = "chunk 5 of 8, s3://b/in.csv bytes=[10, 20): row 3 is wrong."
ADVICE = "Correct it (on_bad_row: quarantine)"
FAILED = RunStatus("r", "FAILED", START, START, 70, error="InvalidDataError", cause=CAUSE, advice=ADVICE)
LOST = [
    {
        "chunk_index": 4,
        "data_s3_uri": "s3://b/in.csv",
        "byte_range": [10, 20],
        "error": "InvalidDataError",
        "message": "row 3 is wrong",
    },
    {"chunk_index": 6, "segments_s3_uri": "s3://b/x.segments.json", "error": "ModelError", "message": "no.", "advice": "fit it"},
]


def lines(status, lost=(), stack=""):
    request = {"model_s3_uri": "s3://b/m"}
    return list(explanation_lines(status, request, lost, stack))


def test_a_failure_is_explained_once_with_places_and_commands():
    assert lines(FAILED, LOST, " --stack prod") == [
        ("Run", "r, FAILED"),
        ("Error", "InvalidDataError"),
        ("Why", CAUSE),
        ("Where", "chunk 5, s3://b/in.csv bytes=[10, 20)"),
        ("", "chunk 7, the objects listed in s3://b/x.segments.json: ModelError: no. (fit it)"),
        ("Do", ADVICE),
        ("Command", "batch-predict chunk r 5 --here --stack prod"),
        ("", "batch-predict run --stack prod … --on-bad-row quarantine"),
    ]


def test_local_files_are_called_by_their_paths_in_all_that_is_said_of_a_run():
    output = {"rejected_rows": 2, "rejected_s3_uri": "s3://b/in.csv"}
    told = _told(replace(FAILED, output=output, chunks=ChunksCounted(9, 4, 1)), {Path("in.csv"): "s3://b/in.csv"})
    assert told == replace(
        FAILED, output=output | {"rejected_s3_uri": "in.csv"}, chunks=ChunksCounted(9, 4, 1), cause=CAUSE.replace("s3://b/", "")
    )


def test_no_command_is_advised_that_does_not_help():
    """Keeping bad rows aside helps a bad row, and no file that is no CSV."""
    status = RunStatus("r", "FAILED", START, START, 1, error="InvalidDataError", cause="in.csv is UTF-16", advice="Convert it.")
    assert lines(status)[-1] == ("Do", "Convert it.")


def test_a_run_that_goes_on_has_nothing_to_explain():
    running = RunStatus("r", "RUNNING", START, None, 3725, state="Predict Chunks", chunks=ChunksCounted(9, 4, 1))

    assert lines(running)[1:] == [("State", "Predict Chunks; nothing has failed so far"), ("Command", "batch-predict watch r")]
    assert ("Chunks", "4 of 9 chunks, 1 failed") in list(status_lines(running))
    assert next(text for label, text in status_lines(running) if label == "Status").startswith("RUNNING, 1 h 02 min")


def test_what_was_tolerated_and_rejected_is_explained():
    output = {"failed_chunks": 1, "rejected_rows": 2, "rejected_s3_uri": "s3://b/o.rejected.csv"}
    labels = [label for label, _ in lines(RunStatus("r", "SUCCEEDED", START, START, 1, output=output))]

    assert labels == ["Run", "Missing", "Bad", "Command"]


def test_the_status_of_a_failed_run_names_the_command_that_explains_it():
    assert list(status_lines(FAILED))[-1] == ("Command", "batch-predict explain r")
    assert list(status_lines(FAILED, " --stack prod"))[-1] == ("Command", "batch-predict explain r --stack prod")


@pytest.mark.parametrize(("reused", "says"), [(6, "; 6 of them were there already"), (0, "")], ids=["an earlier run's", "its own"])
def test_chunks_that_were_finished_before_the_plan_are_counted_among_the_plans(reused, says):
    chunks = ChunksCounted(1, 0, 1)
    status = RunStatus("r", "FAILED", START, START, 1, chunks=chunks, finished_before=6, reused_chunks=reused, error="X", cause="c")
    assert ("Chunks", f"6 of 7 chunks, 1 failed{says}") in list(status_lines(status))
    assert ("Chunks", f"6 of 7 chunks, 1 failed{says}") in lines(status)


def test_a_list_of_runs_shortens_no_time_on_a_narrow_terminal():
    console = Console(file=io.StringIO(), width=60, force_terminal=True, color_system=None, markup=False, highlight=False)
    print_runs([ListedRun("predictions-20261128-103559", "SUCCEEDED", START, START + timedelta(seconds=754))], console)
    printed = console.file.getvalue()
    assert "12 min 34 s" in printed
    assert "…" not in printed


@pytest.mark.parametrize("error", ["Interrupted", "Cancelled"])
def test_a_run_that_was_stopped_is_started_again(error):
    assert lines(RunStatus("r", "ABORTED", START, START, 1, error=error, cause="stopped by SIGINT"))[-2:] == [
        ("Do", "Start the same request again: it goes on from the chunks that are finished."),
        ("Command", "batch-predict run …"),
    ]


@pytest.mark.parametrize(("width", "number"), [(60, 5), (110, 3)])
def test_a_long_text_goes_on_below_its_label_where_that_takes_fewer_lines(width, number):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, markup=False, highlight=False)
    print_lines([("Run", "r, FAILED"), ("Why", "word " * 52)], console)
    printed = console.file.getvalue().splitlines()

    assert (printed[0].rstrip(), len(printed)) == ("Run      r, FAILED", 1 + number)
    assert all(len(line) <= width for line in printed)
