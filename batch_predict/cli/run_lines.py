"""What is printed of runs that were started before: status, list, explanation."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from batch_predict.cli.progress import counted, duration, megabytes, plural, tolerated
from batch_predict.runs.outcome import INTERRUPTED
from batch_predict.runs.run import CANCELLED, ENDED, ListedRun, RunStatus

LABEL_WIDTH = 9
BESIDE_LINES = 3
"""Of a text beside its label: a longer one goes on below it, where there is more room."""
SHOWN_CHUNKS = 10
STYLES = {"SUCCEEDED": "green", "RUNNING": "cyan"}

QUARANTINE = "batch-predict run … --on-bad-row quarantine"
COMMANDS = {
    "OutputExistsError": "batch-predict run … --overwrite",
    "ModelError": "batch-predict check-model MODEL --data SAMPLE.csv",
    "InputNotFoundError": "aws s3 ls URI",
    "InputChangedError": "batch-predict run …",
    "TransientS3Error": "batch-predict run …",
    CANCELLED: "batch-predict run …",
    INTERRUPTED: "batch-predict run …",
}
"""What is typed next; … stands for the options of the run."""


def print_lines(console: Console, lines: Iterable[tuple[str, str]]) -> None:
    """Print label and text, one below the other: wrapped between words on a terminal, else each on its line."""
    for label, text in lines:
        if not console.is_terminal:
            console.print(f"{label:{LABEL_WIDTH}}{text}", soft_wrap=True)
        elif len(text) > BESIDE_LINES * (console.width - LABEL_WIDTH):
            console.print(Text.assemble((f"{label:{LABEL_WIDTH}}", "bold"), text))
        else:
            table = Table.grid()
            table.add_column(width=LABEL_WIDTH, no_wrap=True)
            table.add_column(overflow="fold")
            table.add_row(Text(label, style="bold"), Text(text))
            console.print(table)


def status_lines(status: RunStatus, stack: str | None = None, readable: Callable[[str], str] = str) -> Iterator[tuple[str, str]]:
    """Yield how far a run is, as label and text; ``readable`` puts local paths into messages."""
    yield "Run", status.name
    yield "Status", f"{status.status}, {duration(status.seconds)}, started {_moment(status.started)}"
    if status.state and status.stopped is None:
        yield "State", status.state
    yield from _chunk_lines(status)
    output = status.output or {}
    if "rows" in output:
        yield "Rows", f"{output['rows']:,}, {megabytes(output['bytes'])}"
        if output.get("rejected_rows"):
            yield "Bad", f"{plural(output['rejected_rows'], 'row')} without a prediction: {readable(output['rejected_s3_uri'])}"
        yield "Output", readable(output["output_s3_uri"])
    elif output:
        yield "Plan", f"{plural(output['chunks'], 'chunk')}, {megabytes(output['input_bytes'])}; nothing was scored"
    if status.error:
        yield "Error", readable(f"{status.error}: {status.cause}" if status.cause else status.error)
        yield "Command", f"batch-predict explain {status.name}{_place(stack)}"


def _chunk_lines(status: RunStatus) -> Iterator[tuple[str, str]]:
    there = f"; {status.reused_chunks:,} of them were there already" if status.reused_chunks else ""
    if status.chunks:
        yield "Chunks", f"{counted(status.chunks, status.finished_before)}{there}"


def _place(stack: str | None) -> str:
    return f" --stack {stack}" if stack else ""


def print_runs(console: Console, runs: Sequence[ListedRun]) -> None:
    """Print a table of runs, newest first."""
    if not runs:
        console.print("No runs yet.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("RUN", "STATUS", "STARTED", "TOOK"):
        # Where there is little room the name is folded: it can be read still, and half a time is another time.
        table.add_column(column, no_wrap=column != "RUN", overflow="fold", justify="right" if column == "TOOK" else "left")
    for run in runs:
        table.add_row(run.name, Text(run.status, style=STYLES.get(run.status, "red")), _moment(run.started), _took(run))
    console.print(table, soft_wrap=not console.is_terminal)


def explanation_lines(
    status: RunStatus,
    request: Mapping[str, Any],
    lost: Sequence[Mapping[str, Any]],
    stack: str | None,
    readable: Callable[[str], str] = str,
) -> Iterator[tuple[str, str]]:
    """Yield what failed, where, why, what to do and the command for it."""
    place = _place(stack)
    yield "Run", f"{status.name}, {status.status}"
    if status.status == "SUCCEEDED":
        yield from _explained_success(status, place, readable)
        return
    if not status.error:
        yield "State", f"{status.state}; nothing has failed so far"
        yield "Command", f"batch-predict watch {status.name}{place}"
        return
    yield "Error", status.error
    if status.cause:
        yield "Why", readable(status.cause)
    yield from _chunk_lines(status)
    for number, record in enumerate(lost[:SHOWN_CHUNKS]):
        what, advice = record["message"], record.get("advice") or status.advice
        known = what in (status.cause or "")  # Explain Failure speaks of the first
        reason = "" if known else f": {record['error']}: {what}{f' ({advice})' if advice != status.advice else ''}"
        yield "" if number else "Where", readable(f"chunk {record['chunk_index'] + 1}, {_where(record)}{reason}")
    if len(lost) > SHOWN_CHUNKS:
        yield "", f"and {len(lost) - SHOWN_CHUNKS} more"
    if status.advice:
        yield "Do", status.advice
    if status.error in {CANCELLED, INTERRUPTED}:
        yield "Do", "Start the same request again: it goes on from the chunks that are finished."
    if lost:
        yield "Command", f"batch-predict chunk {status.name} {lost[0]['chunk_index'] + 1} --here{place}"
    keeps_rows_aside = "on_bad_row" in (status.advice or "")  # no other fault is helped by it
    if command := QUARANTINE if keeps_rows_aside else COMMANDS.get(status.error):
        model = readable(str(request.get("model_s3_uri", "MODEL")))
        yield "" if lost else "Command", command.replace("run …", f"run{place} …").replace("MODEL", model)


def _explained_success(status: RunStatus, place: str, readable: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    output = status.output or {}
    missing, rejected = output.get("failed_chunks"), output.get("rejected_rows")
    if missing:
        yield "Missing", f"{tolerated(missing)}: the report lists {'it' if missing == 1 else 'them'}"
    if rejected:
        yield (
            "Bad",
            f"{plural(rejected, 'row')} without a prediction, with place and reason in {readable(output['rejected_s3_uri'])}",
        )
    if missing or rejected:
        yield "Command", f"batch-predict report {status.name}{place}"
    else:
        yield "", "nothing failed"


def _where(record: Mapping[str, Any]) -> str:
    if record.get("byte_range"):
        start, stop = record["byte_range"]
        return f"{record['data_s3_uri']} bytes=[{start}, {stop})"
    return f"the objects listed in {record.get('segments_s3_uri')}"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def _took(run: ListedRun) -> str:
    if run.stopped is None and run.status in ENDED:
        return ""
    return duration(((run.stopped or datetime.now(UTC)) - run.started).total_seconds())
