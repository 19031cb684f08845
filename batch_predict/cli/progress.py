"""What a run looks like: the states with a bar on a terminal, plain lines anywhere else; what came of it stands below them.

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

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from batch_predict.cli.visible_output import VisibleConsole
from batch_predict.local.check_model import SCORING_MB, ModelCheck, deployed_memory_mb
from batch_predict.runs.costs import chunk_dollars, sagemaker_instance
from batch_predict.runs.execution import ChunksCounted, ExecutionEnded, Progress
from batch_predict.runs.history import AttemptFailed, StateEntered, StateExited
from batch_predict.runs.outcome import Failed, Planned, Published

SHOWN_KINDS = {"Task", "Map", "Succeed", "Fail"}
"""States that do something or end; a Choice or a Pass only leads to the next."""
ENDS = {"Succeed", "Fail"}

PLAIN_SECONDS = 1.0  # between two lines of chunk counts
FRAMES_PER_SECOND = 8
BAR_WIDTH = 16
SECONDS_WIDTH = 7
LEFT_WIDTH = len(", 12 min 30 s left")
INDENT = 2
SHOWN_NAMES = 50
"""Of the columns that a model was fitted on, which may be thousands."""
SHOWN_LABELS = 20

MAX_CHUNKS = 10_000
"""Of a plan, as S3 has as many parts in an upload: functions/workflow/chunking.py."""
FUNCTION_SECONDS = 900
"""Of an invocation: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
NEAR = 0.8

NOT_MERGED = {"ColumnTypeError", "IncompleteOutputError", "MissingChunksError", "UnsafeSplitError"}
"""Errors of a merge that has only counted: the chunks go on to be planned again, or the run to its end."""

COST_ITEMS = (("Lambda", "lambda"), ("Step Functions", "step_functions"), ("S3", "s3"))
"""Of an estimate's dollars, with the names that people know."""


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
    """Rows of all chunks of a Map, about; None where nobody knows."""
    note: str = ""
    """Before its detail."""
    there: int = 0
    """Chunks of the plan that the Map need not run: they were there already."""
    overhead: float = 0.0
    """Seconds of the rows before it: a speed that is taken over less says nothing."""

    @property
    def is_end(self) -> bool:
        """Whether the execution ends here."""
        return self.kind in ENDS


class Screen:
    """Shows steps and states as they happen, as plain lines: `12:00:01 Plan Chunks … 0.3 s, 9 chunks, 31.1 MB`."""

    def __init__(self, file: TextIO | None = None) -> None:
        self.rows: list[Row] = []
        self.console = text_console(file or sys.stderr)
        self._chunks_printed = 0.0
        self._row_bytes: float | None = None
        self._input_bytes = 0.0
        self._there = 0
        self._goes_on = False

    def __enter__(self) -> Self:
        """Begin to show."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop showing; what was under way is said to have failed, or to have been stopped."""
        if error is not None and not self._goes_on:
            self._end_rows("stopped" if isinstance(error, KeyboardInterrupt) else "failed")
        self.stop()

    def leave(self) -> None:
        """Stop showing what goes on without this process, and so has not ended."""
        self._goes_on = True
        self.stop()

    def stop(self) -> None:
        """Stop drawing, perhaps before the end, to ask something: what was drawn stays."""

    def _end_rows(self, how: str) -> None:
        for row in self.rows:
            if row.seconds is None:
                row.seconds, row.failed = time.monotonic() - row.started, True
                row.detail = _joined(counted(row.chunks, row.there) if row.chunks else "", how)
                self._print(row.name, row.detail)

    @contextmanager
    def step(self, name: str, doing: str) -> Iterator[Callable[[str], None]]:
        """Show what happens outside the execution; the function that it yields takes what came of it."""
        row = self._begin(Row(name, detail=doing))
        self._print(name, doing)

        def conclude(detail: str) -> None:
            row.detail = detail

        try:
            yield conclude
        except KeyboardInterrupt:
            raise  # it was stopped, and has not failed: `__exit__` says it
        except BaseException:
            row.failed = True
            row.seconds = time.monotonic() - row.started
            raise
        row.seconds = time.monotonic() - row.started
        self._print(name, _joined(f"{row.seconds:.1f} s", row.detail if row.detail != doing else ""))

    def show(self, progress: Progress) -> None:
        """Show what happened in the execution."""
        match progress:
            case StateEntered(name=name, kind=kind) if kind in SHOWN_KINDS:
                is_again = name == "Plan Chunks" and any(row.name == "Explain Failure" for row in self.rows)
                row = self._begin(Row(name, kind, note="planned again: " if is_again else ""))
                if row.is_end:
                    row.seconds, row.failed = 0.0, kind == "Fail"
                    self._print(name)
            case StateExited(kind=kind) if kind in SHOWN_KINDS - ENDS:
                row = self.rows[-1]
                lost = row.chunks.failed if row.chunks else 0
                row.seconds, row.failed = progress.seconds, progress.error is not None or lost > 0
                row.detail = counted(row.chunks, row.there) if row.chunks and lost else f"{row.note}{detail_of(progress)}"
                self._note(progress.document)
                if not progress.error or lost:  # else its last attempt has been shown
                    self._print(row.name, _joined(f"{row.seconds:.1f} s", row.detail))
            case AttemptFailed(error=error) if not (self.rows[-1].chunks and self.rows[-1].chunks.failed):
                self.rows[-1].detail = failed_with(self.rows[-1].name, error)
                self._print(self.rows[-1].name, self.rows[-1].detail)
            case ChunksCounted():
                self.rows[-1].chunks, self.rows[-1].there = progress, self._there
                self.rows[-1].rows = self._input_bytes / self._row_bytes if self._row_bytes else None
                self._show_chunks(progress)
            case ExecutionEnded() if self.rows:  # one that was cancelled at once has entered no state
                self._end_rows("stopped" if progress.status == "ABORTED" else "failed")
            case _:
                pass

    def _show_chunks(self, chunks: ChunksCounted) -> None:
        is_last = chunks.succeeded + chunks.failed == chunks.total
        if is_last or time.monotonic() - self._chunks_printed >= PLAIN_SECONDS:
            self._chunks_printed = time.monotonic()
            self._print(self.rows[-1].name, going(self.rows[-1]))

    def _note(self, document: Mapping[str, Any]) -> None:
        """Keep what the counts of chunks are made into rows by: the probe's record length, and the plan's bytes."""
        self._row_bytes = document.get("model", {}).get("row_bytes") or self._row_bytes
        plan = document.get("plan", {})
        if plan.get("chunks"):
            self._there = plan["chunks"] - plan["pending_chunks"]
            self._input_bytes = plan["input_bytes"] * plan["pending_chunks"] / plan["chunks"]

    def _begin(self, row: Row) -> Row:
        row.overhead = sum(earlier.seconds or 0.0 for earlier in self.rows)
        self.rows.append(row)
        return row

    def _print(self, name: str, text: str = "") -> None:
        line = f"{datetime.now().astimezone():%H:%M:%S} {name}"
        self.console.print(f"{line} … {text}" if text else line, soft_wrap=True)


class TerminalScreen(Screen):
    """Shows the same as a table that moves, and stays as it was when the run ended."""

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
        """Stop drawing, and give the cursor back."""
        if self._live.is_started:
            self._live.stop()
            self.console.print()

    def _print(self, name: str, text: str = "") -> None:
        """Leave it to the next frame."""

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
    """Return the screen that fits standard error, or what was asked for."""
    if quiet:
        return QuietScreen()
    if as_json:
        return JsonScreen()
    return TerminalScreen() if text_console(sys.stderr).is_terminal else Screen()


def text_console(file: TextIO) -> Console:
    """Return a console that prints texts as they are: no markup in a column's name, no colours in numbers."""
    return VisibleConsole(file)


def rows_table(rows: Sequence[Row], spinner: RenderableType = "", width: int = 80) -> RenderableType:
    """Return the steps and states one below the other, as the execution went through them, in so many columns.

    What does not fit beside a name stands below it, as wide as the screen.
    """
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
            "" if row.is_end else f"{seconds:.1f} s",
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
    return Text("●" if row.is_end else "✓", style="green")


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
    """Return what a state did, from the document as it left it."""
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
    """Say what came of a state that failed. A merge that finds chunks missing, or a plan to be void, has merged nothing."""
    return f"nothing merged: {error}" if state == "Merge Outputs" and error in NOT_MERGED else f"failed with {error}"


def unfinished(result: Mapping[str, Any]) -> str | None:
    """Say how far a state is that goes on in its next invocation; None where it is done."""
    if "continuation" not in result:
        return None
    return f"{result['continuation']['done']:,} of {result['continuation']['total']:,}, goes on"


def _planned(plan: Mapping[str, Any]) -> str:
    there = plan["chunks"] - plan["pending_chunks"]
    reused = f", {there:,} of them there already" if there else ""
    skipped = skipped_objects(plan.get("skipped_objects"))
    return f"{plural(plan['chunks'], 'chunk')}{reused}, {megabytes(plan['input_bytes'])}{skipped}"


def skipped_objects(number: int | None) -> str:
    """Return how many objects are no data, to stand behind what else is said; nothing where there are none."""
    return f"; {plural(number, 'object')} skipped: hidden, empty or only a header" if number else ""


def counted(chunks: ChunksCounted, there: int = 0) -> str:
    """Return the counts of a plan as text: of a Map Run, and of the chunks that were ``there`` before it."""
    failed = f", {chunks.failed:,} failed" if chunks.failed else ""
    return f"{chunks.succeeded + there:,} of {plural(chunks.total + there, 'chunk')}{failed}"


def _share(chunks: ChunksCounted) -> float:
    return (chunks.succeeded + chunks.failed) / max(chunks.total, 1)


def _pace(row: Row) -> dict[str, float]:
    """Return rows a second, seconds left, and dollars so far on AWS, as far as they can be said."""
    chunks, found = row.chunks, {}
    elapsed = time.monotonic() - row.started
    assert chunks
    if (share := _share(chunks)) and elapsed > 0:
        if row.rows and elapsed > row.overhead:
            found["rows_per_second"] = round(row.rows * share / elapsed, 1)
        if share < 1:
            found["seconds_left"] = round(elapsed / share * (1 - share), 1)
    if chunks.chunk_seconds:
        found["dollars"] = round((chunks.succeeded + chunks.failed) * chunk_dollars(chunks.chunk_seconds, deployed_memory_mb()), 6)
    return found


def going(row: Row, width: int | None = None) -> str:
    """Return how a Map goes on: chunks, rows, speed, time left, cost so far; of these, what fits into so many columns."""
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


def duration(seconds: float) -> str:
    """Return `12 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def result_lines(result: Published | Planned) -> Iterator[tuple[str, str]]:
    """Yield what came of a run that succeeded, as label and text."""
    for warning in result.warnings:
        yield "Warning", f"{warning}"
    if isinstance(result, Planned):
        yield "Plan", f"{plural(result.chunks, 'chunk')}, {megabytes(result.input_bytes)}; nothing was scored"
        if result.estimate:
            yield from estimate_lines(result.estimate)
        return
    predicted = f"{result.chunks - result.failed_chunks:,} of " if result.failed_chunks else ""
    chunks = f"{predicted}{plural(result.chunks, 'chunk')}"
    reused = f" ({result.reused_chunks:,} of them from an earlier run)" if result.reused_chunks else ""
    yield "Rows", f"{result.rows:,} in {chunks}{reused} and {result.seconds:.1f} s{_speed(result)}"
    if result.failed_chunks:
        yield "Missing", f"{tolerated(result.failed_chunks)}: see the report"
    if result.rejected_rows:
        yield "Bad", f"{plural(result.rejected_rows, 'row')} without a prediction: see {result.rejected}"
    yield "Output", f"{result.output}"
    yield "Report", f"{result.report}"
    if result.name:
        yield "Run", f"{result.name}: `batch-predict report` makes a page of it"


def tolerated(chunks: int) -> str:
    """Say that chunks are missing from an output."""
    return f"{plural(chunks, 'chunk')} failed and {'was' if chunks == 1 else 'were'} tolerated"


def _speed(result: Published) -> str:
    """Return the rows a second, where scoring took longer than all that is about it, and these rows alone were scored."""
    scoring = result.states.get("Predict Chunks", 0.0)
    if result.reused_chunks or scoring <= result.seconds - scoring:
        return ""
    return f", {result.rows / result.seconds:,.0f} rows/s"


def estimate_lines(estimate: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what the rest of the run would take on AWS, and what that assumes."""
    dollars = estimate["dollars"]
    parts = ", ".join(f"{name} {dollars[key]:.4f}" for name, key in COST_ITEMS)
    yield "Rows", f"about {estimate['rows']:,}"
    yield "On AWS", f"about {estimate['seconds']:,.0f} s; a chunk takes {estimate['chunk_seconds']:,.1f} s"
    yield "Cost", f"about ${dollars['total']:.4f} ({parts})"
    for number, assumption in enumerate(estimate["assumptions"]):
        yield "" if number else "Assumes", assumption


def plan_lines(result: Planned, *, compare: bool, skipped: str = "") -> Iterator[tuple[str, str]]:
    """Yield what a run would take, item by item, and the limits that it comes near.

    `skipped` says which local files are no data.
    """
    estimate = result.estimate or {}
    yield "Objects", f"{result.objects:,}, {megabytes(result.input_bytes)}{skipped_objects(result.skipped_objects)}"
    if skipped:
        yield "", skipped
    yield "Chunks", f"{result.chunks:,} of {MAX_CHUNKS:,} at most"
    if not estimate:
        return
    yield "Rows", f"about {estimate['rows']:,}"
    yield "Time", f"about {duration(estimate['seconds'])}; a chunk takes {estimate['chunk_seconds']:,.1f} s of {FUNCTION_SECONDS}"
    dollars = estimate["dollars"]
    yield "Cost", f"about ${dollars['total']:.4f} on AWS"
    for (label, key), amount in zip(
        COST_ITEMS,
        (
            f"{estimate['lambda_requests']:,} invocations, {estimate['lambda_gb_seconds']:,.1f} GB-seconds",
            f"{estimate['state_transitions']:,} state transitions",
            f"{estimate['s3_put_requests']:,} PUT and {estimate['s3_get_requests']:,} GET requests",
        ),
        strict=True,
    ):
        yield "", f"{label:15}${dollars[key]:.4f}  {amount}"
    if compare:
        instance = sagemaker_instance(estimate["rows"], result.probe_rows_per_second or 0.0)
        yield (
            "Compare",
            f"SageMaker Batch Transform, one {instance.name}: about {instance.hours * 60:,.1f} min, ${instance.dollars:.4f}",
        )
        yield "", f"with {instance.assumption}"
    if estimate["chunk_seconds"] > FUNCTION_SECONDS * NEAR:
        yield "Limit", f"a chunk takes nearly the {FUNCTION_SECONDS} s that a function has: lower --chunk-size-mb"
    if result.chunks > MAX_CHUNKS * NEAR:
        yield "Limit", f"nearly {MAX_CHUNKS:,} chunks: beyond them, chunks grow"
    for number, assumption in enumerate(estimate["assumptions"]):
        yield "" if number else "Assumes", assumption


def print_failure(shown: Screen, result: Failed, command: str | None = None) -> None:
    """Say on standard error why a run failed, what to do, and the ``command`` that says more."""
    one_line = not shown.console.is_terminal  # whatever reads it there may look for a sentence
    shown.console.print(Text(f"{result.error}: {result.cause}", style="red"), soft_wrap=one_line)
    if result.advice:
        shown.console.print(Text(f"What to do: {result.advice}"), soft_wrap=one_line)
    if command:
        shown.console.print(f"More: {command}", soft_wrap=True)


def model_lines(checked: ModelCheck) -> Iterator[tuple[str, str]]:
    """Yield what a model is, as label and text."""
    yield "Model", f"{checked.path}, {megabytes(checked.bytes)}"
    yield "SHA-256", checked.sha256
    facts = checked.facts
    if not facts:
        return
    yield "Estimator", f"{facts['estimator']}, scikit-learn {facts['sklearn_version']}; has {', '.join(facts['methods'])}"
    names = facts["feature_columns"]
    number = plural(len(names) if names else facts["n_features"] or 0, "column")
    yield (
        "Features",
        f"{number}: {', '.join(names[:SHOWN_NAMES])}{', …' if len(names) > SHOWN_NAMES else ''}"
        if names
        else f"{number}, whose names it does not know",
    )
    if facts["classes"] is not None:
        labels = facts["classes"]
        yield "Classes", f"{len(labels)}: {', '.join(labels[:SHOWN_LABELS])}{', …' if len(labels) > SHOWN_LABELS else ''}"
    loaded = f"{facts['memory_bytes'] / 2**20:,.0f} MB, loaded in {facts['load_seconds']:.2f} s"
    yield "Memory", f"{loaded}; the function has {checked.memory_mb:,} MB, and takes {SCORING_MB} beside a model at most"
    if checked.sample:
        sample = checked.sample
        columns = ", ".join(sample.prediction_columns)
        yield "Sample", f"{plural(sample.rows, 'row')}, {sample.rows_per_second:,.0f} rows/s on one core here; adds {columns}"


def print_model_check(console: Console, checked: ModelCheck) -> None:
    """Print what a model is, and a request to begin with."""
    for label, text in model_lines(checked):
        console.print(f"{label:11}{text}", soft_wrap=True)
    if checked.request:
        console.print(f"\nA request to begin with:\n{json.dumps(checked.request, indent=2)}", soft_wrap=True)


def first_rows_table(header: Sequence[str], records: Sequence[Mapping[str, Any]]) -> Table:
    """Return the first rows of an output as a table."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in header:
        table.add_column(column, justify="right", overflow="fold")
    for record in records:
        table.add_row(*(Text(str(record[column])) for column in header))
    return table


def _joined(*texts: str) -> str:
    return ", ".join(filter(None, texts))


def plural(number: int, noun: str) -> str:
    """Return `1 row`, `2,000 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def megabytes(size: int) -> str:
    """Return a size in MB (10^6), with as many digits as say something."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"
