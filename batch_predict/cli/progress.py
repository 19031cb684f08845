"""How a run looks while it goes on: a table of its states that moves on a terminal, plain lines anywhere else.

All progress goes to standard error, and stays there; standard output has the result alone.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from batch_predict.cli.visible_output import VisibleConsole
from batch_predict.figures import duration, megabytes, plural
from batch_predict.runs.costs import chunk_dollars
from batch_predict.runs.execution import ChunksCounted, ExecutionEnded, Progress, Watcher
from batch_predict.runs.history import ENDS, AttemptFailed, StateEntered, StateExited

SHOWN_KINDS = {"Task", "Map", *ENDS}
"""States that do something or end; a Choice or a Pass only leads to the next."""

PLAIN_SECONDS = 1.0  # between two lines of chunk counts
FRAMES_PER_SECOND = 8
BAR_WIDTH = 16
SECONDS_WIDTH = 7
LEFT_WIDTH = len(", 12 min 30 s left")
INDENT = 2

NOT_MERGED = {"ColumnTypeError", "IncompleteOutputError", "MissingChunksError", "UnsafeSplitError"}
"""Errors of a merge that has only counted: the chunks go on to be planned again, or the run to its end."""


@dataclass
class Row:
    """One step or state."""

    name: str
    kind: str = "Step"
    started: float = field(default_factory=time.monotonic)
    seconds: float | None = None
    """None while it runs."""
    detail: str = ""
    failed: bool = False
    chunks: ChunksCounted | None = None
    rows: float | None = None
    """About how many rows all chunks of a Map have, if that is known."""
    note: str = ""
    """What is said before its detail."""
    there: int = 0
    """Chunks of the plan that the Map need not run: they were there already."""
    overhead: float = 0.0
    """Seconds that the rows before it took: a speed over less time than that says nothing."""


class Screen(Watcher):
    """Shows steps and states as they happen, as plain lines: `12:00:01 Plan Chunks … 0.3 s, 9 chunks, 31.1 MB`."""

    def __init__(self, file: TextIO | None = None) -> None:
        self.rows: list[Row] = []
        self.console = VisibleConsole(file or sys.stderr)
        self._chunks_printed = 0.0
        self._document: Mapping[str, Any] = {}
        self._goes_on = False

    def __enter__(self) -> Self:
        """Begin to show."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop showing, and say of what was under way that it has failed, or was stopped."""
        if error is not None and not self._goes_on:
            self._end_rows("stopped" if isinstance(error, KeyboardInterrupt) else "failed")
        self.stop()

    def leave(self) -> None:
        """Stop showing a run that goes on without this process."""
        self._goes_on = True
        self.stop()

    def stop(self) -> None:
        """Stop drawing, also to ask something before the end: what was drawn stays."""

    def _end_rows(self, how: str) -> None:
        for row in self.rows:
            if row.seconds is None:
                row.seconds, row.failed = time.monotonic() - row.started, True
                row.detail = _joined(counted(row.chunks, row.there) if row.chunks else "", how)
                self._print(row.name, row.detail)

    @contextmanager
    def step(self, name: str, doing: str) -> Iterator[Callable[[str], None]]:
        """Show a step outside the execution; the function that it yields takes the step's result as text."""
        row = self._begin(Row(name, detail=doing))
        self._print(name, doing)

        def conclude(detail: str) -> None:
            row.detail = detail

        try:
            yield conclude
        except Exception:  # if it was stopped, it has not failed: `__exit__` says so
            row.failed = True
            row.seconds = time.monotonic() - row.started
            raise
        row.seconds = time.monotonic() - row.started
        self._print(name, _joined(f"{row.seconds:.1f} s", row.detail if row.detail != doing else ""))

    def tell(self, doing: str) -> None:
        """Show what the step that is under way does now."""
        row = self.rows[-1]
        row.detail = doing
        self._print(row.name, doing)

    def show(self, progress: Progress) -> None:
        """Show what happened in the execution."""
        match progress:
            case StateEntered(name=name, kind=kind) if kind in SHOWN_KINDS:
                is_again = name == "Plan Chunks" and any(row.name == "Explain Failure" for row in self.rows)
                row = self._begin(Row(name, kind, note="planned again: " if is_again else ""))
                if kind in ENDS:
                    row.seconds, row.failed = 0.0, kind == "Fail"
                    self._print(name)
            case StateExited(kind=kind) if kind in SHOWN_KINDS - ENDS:
                row = self.rows[-1]
                lost = row.chunks.failed if row.chunks else 0
                row.seconds, row.failed = progress.seconds, progress.error is not None or lost > 0
                row.detail = counted(row.chunks, row.there) if row.chunks and lost else f"{row.note}{detail_of(progress)}"
                self._document = progress.document
                if not progress.error or lost:  # else its last attempt has been shown
                    self._print(row.name, _joined(f"{row.seconds:.1f} s", row.detail))
            case AttemptFailed(error=error) if not (self.rows[-1].chunks and self.rows[-1].chunks.failed):
                self.rows[-1].detail = failed_with(self.rows[-1].name, error)
                self._print(self.rows[-1].name, self.rows[-1].detail)
            case ChunksCounted():
                self._show_chunks(self.rows[-1], progress)
            case ExecutionEnded():
                self._end_rows("stopped" if progress.status == "ABORTED" else "failed")
            case _:
                pass

    def _show_chunks(self, row: Row, chunks: ChunksCounted) -> None:
        row.chunks = chunks
        if (plan := self._document.get("plan", {})).get("chunks"):
            row.there = plan["chunks"] - plan["pending_chunks"]
            if row_bytes := self._document.get("model", {}).get("row_bytes"):
                row.rows = plan["input_bytes"] * plan["pending_chunks"] / plan["chunks"] / row_bytes
        is_last = chunks.succeeded + chunks.failed == chunks.total
        if is_last or time.monotonic() - self._chunks_printed >= PLAIN_SECONDS:
            self._chunks_printed = time.monotonic()
            self._print(row.name, going(row))

    def _begin(self, row: Row) -> Row:
        row.overhead = sum(earlier.seconds or 0.0 for earlier in self.rows)
        self.rows.append(row)
        return row

    def _print(self, name: str, text: str = "") -> None:
        line = f"{datetime.now().astimezone():%H:%M:%S} {name}"
        self.console.print(f"{line} … {text}" if text else line, soft_wrap=True)


class TerminalScreen(Screen):
    """Shows the same as a table that moves, and that stays as it was when the run ended."""

    def __init__(self, file: TextIO | None = None) -> None:
        super().__init__(file)
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(
            get_renderable=self._frame,
            console=self.console,
            refresh_per_second=FRAMES_PER_SECOND,
            redirect_stdout=False,
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def stop(self) -> None:
        """Stop drawing, and show the cursor again."""
        if self._live.is_started:
            self._live.stop()
            self.console.print()

    def _print(self, name: str, text: str = "") -> None:
        """Print nothing: the next frame shows it."""

    def _frame(self) -> RenderableType:
        return rows_table(self.rows, self._spinner, self.console.width)


class QuietScreen(Screen):
    """Shows nothing."""

    def _print(self, name: str, text: str = "") -> None:
        pass


class JsonScreen(Screen):
    """Shows each step as one line of JSON: `time`, `state`, and what is known of it."""

    def _print(self, name: str, text: str = "") -> None:
        row = self.rows[-1]
        known: dict[str, Any] = {"seconds": row.seconds, "failed": row.failed or None, "detail": text or None}
        if row.chunks and row.seconds is None:
            known["chunks"] = asdict(row.chunks)
            known |= {"rows": row.rows and round(row.rows * _share(row.chunks)), **_pace(row)}
        facts = {field: value for field, value in known.items() if value is not None}
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "state": name, **facts}
        self.console.print(json.dumps(line), soft_wrap=True)


def screen(*, quiet: bool = False, as_json: bool = False) -> Screen:
    """Return the screen that was asked for, by default the one that fits standard error."""
    if quiet:
        return QuietScreen()
    if as_json:
        return JsonScreen()
    return TerminalScreen() if VisibleConsole(sys.stderr).is_terminal else Screen()


def rows_table(rows: Sequence[Row], spinner: RenderableType = "", width: int = 80) -> RenderableType:
    """Return the steps and states in their order; a detail that does not fit beside its name stands below it."""
    names = max((len(row.name) for row in rows), default=0)
    beside = width - (1 + 1 + names + 1 + SECONDS_WIDTH + 1)
    parts: list[RenderableType] = []
    for row in rows:
        seconds = time.monotonic() - row.started if row.seconds is None else row.seconds
        is_running = row.chunks is not None and row.seconds is None
        fits = is_running or len(row.detail) <= beside
        detail = Text(row.detail, style="red" if row.failed else "")
        table = Table.grid(padding=(0, 1))
        table.add_column(width=1)
        table.add_column(width=names, no_wrap=True)
        table.add_column(justify="right", no_wrap=True, width=SECONDS_WIDTH)
        table.add_column(overflow="fold")
        table.add_row(
            _mark(row, spinner),
            Text(row.name, style="bold" if row.kind != "Step" else ""),
            "" if row.kind in ENDS else f"{seconds:.1f} s",
            _running_chunks(row, beside) if is_running else detail if fits else "",
        )
        parts.append(table)
        if not fits:
            parts.append(Padding(detail, (0, 0, 0, INDENT)))
    return Group(*parts)


def _mark(row: Row, spinner: RenderableType) -> RenderableType:
    if row.seconds is None:
        return spinner
    if row.failed:
        return Text("✗", style="red")
    return Text("●" if row.kind in ENDS else "✓", style="green")


def _running_chunks(row: Row, width: int) -> RenderableType:
    assert row.chunks
    done = row.chunks.succeeded + row.chunks.failed
    if len(counted(row.chunks, row.there)) + LEFT_WIDTH + BAR_WIDTH + 1 > width:  # the time that is left says more than a bar
        return Text(going(row, width), overflow="ellipsis", no_wrap=True)
    line = Table.grid(padding=(0, 1))
    line.add_row(
        ProgressBar(total=max(row.chunks.total, 1), completed=done, width=BAR_WIDTH, complete_style="cyan", finished_style="green"),
        going(row, width - BAR_WIDTH - 1),
    )
    return line


def detail_of(exited: StateExited) -> str:
    """Return what a state did, as the document that it left says."""
    if exited.error:
        return failed_with(exited.name, exited.error)
    document = exited.document
    match exited.name:
        case "Probe Model" if "model" in document:
            probe = document["model"]
            return f"{probe['model']['estimator']}, {plural(probe['rows'], 'row')}"
        case "Plan Chunks" if "plan" in document:
            plan = document["plan"]
            return unfinished(plan) or _planned(plan)
        case "Predict Chunks" if "plan" in document:
            return plural(document["plan"]["pending_chunks"], "chunk")
        case "Merge Outputs" if "output" in document:
            output = document["output"]
            return unfinished(output) or f"{plural(output['rows'], 'row')}, {megabytes(output['bytes'])}"
    return ""


def failed_with(state: str, error: str) -> str:
    """Say how a state failed. A merge that finds chunks missing, or the plan wrong, has merged nothing."""
    return f"nothing merged: {error}" if state == "Merge Outputs" and error in NOT_MERGED else f"failed with {error}"


def unfinished(result: Mapping[str, Any]) -> str | None:
    """Say how far a state has got that goes on in its next invocation; None if it is done."""
    if "continuation" not in result:
        return None
    return f"{result['continuation']['done']:,} of {result['continuation']['total']:,}, goes on"


def _planned(plan: Mapping[str, Any]) -> str:
    there = plan["chunks"] - plan["pending_chunks"]
    reused = f", {there:,} of them there already" if there else ""
    skipped = skipped_objects(plan.get("skipped_objects"))
    return f"{plural(plan['chunks'], 'chunk')}{reused}, {megabytes(plan['input_bytes'])}{skipped}"


def skipped_objects(number: int | None) -> str:
    """Return how many objects are skipped as no data, to be appended to a sentence; an empty text if there are none."""
    return f"; {plural(number, 'object')} skipped: hidden, empty or only a header" if number else ""


def counted(chunks: ChunksCounted, there: int = 0) -> str:
    """Return the counts of a plan's chunks as text: those of a Map Run, and those that were ``there`` before it."""
    failed = f", {chunks.failed:,} failed" if chunks.failed else ""
    return f"{chunks.succeeded + there:,} of {plural(chunks.total + there, 'chunk')}{failed}"


def _share(chunks: ChunksCounted) -> float:
    return (chunks.succeeded + chunks.failed) / max(chunks.total, 1)


def _pace(row: Row) -> dict[str, float]:
    """Return rows a second, seconds left, and dollars so far on AWS, as far as they are known."""
    chunks, found = row.chunks, {}
    elapsed = time.monotonic() - row.started
    assert chunks
    if (share := _share(chunks)) and elapsed > 0:
        if row.rows and elapsed > row.overhead:
            found["rows_per_second"] = round(row.rows * share / elapsed, 1)
        if share < 1:
            found["seconds_left"] = round(elapsed / share * (1 - share), 1)
    if chunks.chunk_seconds:
        found["dollars"] = round((chunks.succeeded + chunks.failed) * chunk_dollars(chunks.chunk_seconds), 6)
    return found


def going(row: Row, width: int | None = None) -> str:
    """Return a running Map's chunks, rows, speed, time left and cost so far; of these, what fits into so many columns."""
    assert row.chunks
    pace = _pace(row)
    texts = {"chunks": counted(row.chunks, row.there)}
    if row.rows and row.chunks.succeeded:
        texts["rows"] = f"about {row.rows * row.chunks.succeeded / row.chunks.total:,.0f} rows"
    if "rows_per_second" in pace:
        texts["speed"] = f"{pace['rows_per_second']:,.0f} rows/s"
    if "seconds_left" in pace:
        texts["left"] = f"{duration(pace['seconds_left'])} left"
    if "dollars" in pace:
        texts["dollars"] = f"${pace['dollars']:.4f} on AWS"
    for dispensable in ("rows", "dollars", "speed", "left"):
        if width is not None and len(", ".join(texts.values())) > width:
            texts.pop(dispensable, None)
    return ", ".join(texts.values())


def _joined(*texts: str) -> str:
    return ", ".join(filter(None, texts))
