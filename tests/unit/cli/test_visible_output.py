"""Nothing that somebody else has written steers the reader's terminal, or hides what stands there."""

import io
import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime

import pytest
import typer
from rich.text import Text
from typer.testing import CliRunner

from batch_predict.cli import model_command
from batch_predict.cli.app import app, main
from batch_predict.cli.progress import Screen, TerminalScreen
from batch_predict.cli.run_lines import explanation_lines, print_failure, print_lines, print_runs, result_lines
from batch_predict.cli.visible_output import VisibleConsole, VisibleStream, visible_streams
from batch_predict.runs.outcome import Failed, Published
from batch_predict.runs.run import ListedRun, RunStatus
from batch_predict.visible_text import visible, visible_lines
from support.steering import STEERING, steers

each = pytest.mark.parametrize("text", STEERING.values(), ids=STEERING)


@each
def test_a_text_is_made_readable(text):
    for shown in (visible(text), visible(text, 2), visible_lines(text, 1000)):
        assert steers(shown) == []


@pytest.mark.parametrize(
    "text", ["می‌خواهم", "👩‍👩‍👧 ❤️", "é e\u0301", "日本語\u3000", "naïve “quoted”", "\U0001f3f3\ufe0f\u200d\U0001f308"]
)
def test_what_people_write_stays(text):
    assert visible(text) == text


@each
def test_a_stream_keeps_lines_and_tabs_and_nothing_else_that_moves(text):
    file = io.StringIO()
    VisibleStream(file).write(f"a\tb{text}c\n")

    assert steers(file.getvalue()) == []
    assert file.getvalue().startswith("a\tb")
    assert file.getvalue().endswith("c\n")


def console_on(file, *, is_terminal=False):
    file.isatty = lambda: is_terminal
    return VisibleConsole(file)


@each
def test_what_commands_print_is_readable(text, monkeypatch):
    """Through the very functions that they print with; what `typer.echo` writes goes through the streams."""
    monkeypatch.setenv("NO_COLOR", "1")
    now = datetime(2026, 11, 28, tzinfo=UTC)
    status = RunStatus(text, "FAILED", now, now, 1.0, state=text, error=text, cause=text, advice=text)
    lost = [{"error": text, "message": text, "chunk_index": 0, "data_s3_uri": text, "byte_range": [0, 1]}]
    result = Failed(error=text, cause=text, advice=text, name=text)
    file = io.StringIO()
    console = console_on(file)
    print_lines(explanation_lines(status, {"model_s3_uri": text}, lost, text), console)
    print_runs([ListedRun(text, text, now, now)], console)
    published = Published(output=text, report=text, rejected=text, rows=1, rejected_rows=1, chunks=1, output_bytes=1, name=text)
    print_lines(result_lines(published), console)
    print_failure(console, result)
    with Screen(file).step(text, text) as concluded:
        concluded(text)

    assert steers(file.getvalue()) == []


def test_its_own_colours_reach_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    file = io.StringIO()
    console = console_on(file, is_terminal=True)

    console.print(Text("red", style="red"))

    assert file.getvalue() == "\x1b[31mred\x1b[0m\n"


def test_what_is_printed_beside_a_moving_table_hides_nothing_and_links_nowhere(monkeypatch):
    """rich reads escape sequences in what comes on standard error meanwhile, and draws them itself."""
    monkeypatch.setenv("TERM", "xterm-256color")
    file = io.StringIO()
    file.isatty = lambda: True
    with TerminalScreen(file):
        sys.stderr.write(f"before {STEERING['conceal']} {STEERING['link']} {STEERING['title']} after\n")

    assert "before" in file.getvalue()
    assert not [code for code in ("\x1b[8m", ";8m", "\x1b]") if code in file.getvalue()]


@each
def test_errors_of_a_command_are_readable(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in (["status", f"x{text}"], ["check-model", f"x{text}.joblib"], [f"x{text}"], ["list", f"--x{text}"]):
        done = CliRunner().invoke(app, [part.replace("\0", "") for part in arguments])

        assert done.exit_code
        assert steers(done.output.replace("\n", "")) == []


def test_streams_are_given_back_also_after_a_pipe_has_broken():
    before = sys.stdout
    with visible_streams():
        assert sys.stdout is not before
        typer.echo("")
    assert sys.stdout is before
    silent = io.StringIO()
    with visible_streams():
        sys.stdout = silent
    assert sys.stdout is silent
    sys.stdout = before


COMMAND = "from batch_predict.cli.app import main; main()"


def test_a_terminal_gets_no_escape_sequence_of_a_file_name(tmp_path):
    """Of a real process on a real terminal, with a name as a download may have it."""
    name = "".join(text for kind, text in STEERING.items() if kind not in {"null", "link", "surrogate"})
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", COMMAND, "check-model", f"{name}.joblib"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True):
        os.close(theirs)
        pieces = []
        with suppress(OSError):  # Linux's end of it
            while piece := os.read(ours, 65536):
                pieces.append(piece)
    os.close(ours)
    shown = b"".join(pieces).decode()

    assert "pwned" in shown
    assert steers(shown.replace("\r\n", "")) == []


def test_an_error_of_our_own_is_readable_too(tmp_path, monkeypatch, capsys):
    """It is printed after the command has ended, with all that it quotes."""

    def broken(*_, **__):
        raise KeyError("\x1b]0;pwned\x07\u202e")

    monkeypatch.setattr(model_command, "model_check", broken)
    monkeypatch.setattr(sys, "argv", ["batch-predict", "check-model", "model.joblib"])
    with pytest.raises(SystemExit) as ended:
        main()

    said = capsys.readouterr().err
    assert (ended.value.code, "KeyError" in said, "pwned" in said) == (1, True, True)
    assert steers(said.replace("\n", "")) == []


def test_json_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["status", "x\x1b]0;\u202e", "--json"])

    assert "x\x1b]0;\u202e" in json.loads(done.stdout.splitlines()[-1])["cause"]
