"""What is printed about runs: results and plans, the status of a run, the list of all, and what explains a failure."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from batch_predict import deployed
from batch_predict.cli.progress import counted, skipped_objects
from batch_predict.cli.request_options import field_flag
from batch_predict.cli.visible_output import VisibleConsole
from batch_predict.figures import COST_ITEMS, duration, megabytes, plural
from batch_predict.runs.costs import sagemaker_comparison
from batch_predict.runs.outcome import INTERRUPTED, Failed, Planned, Published
from batch_predict.runs.run import CANCELLED, ENDED, ListedRun, RunStatus

LABEL_WIDTH = 9
BESIDE_LINES = 3
"""How many lines a text may take beside its label; a longer one goes on below it, where there is more room."""
SHOWN_CHUNKS = 10
FUNCTION_SECONDS = 900
"""How long an invocation may take: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
NEAR = 0.8
"""The share of a limit from which on a plan warns of it."""
STYLES = {"SUCCEEDED": "green", "RUNNING": "cyan"}

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


def print_lines(lines: Iterable[tuple[str, str]], console: Console | None = None) -> None:
    """Print label and text, one below the other: wrapped between words on a terminal, else each on its line."""
    console = console or VisibleConsole(sys.stdout)
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


def result_lines(result: Published | Planned) -> Iterator[tuple[str, str]]:
    """Yield the result of a run that succeeded, as label and text."""
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
    """Return the rows a second, if scoring took longer than the rest of the run and no rows were reused."""
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
    yield from _under("Assumes", estimate["assumptions"])


def _under(label: str, texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    return zip_longest([label][: len(texts)], texts, fillvalue="")


def plan_lines(result: Planned, *, compare: bool, skipped: str = "") -> Iterator[tuple[str, str]]:
    """Yield what a run would take, item by item, what local files are `skipped`, and the limits that it comes near."""
    estimate = result.estimate or {}
    yield "Objects", f"{result.objects:,}, {megabytes(result.input_bytes)}{skipped_objects(result.skipped_objects)}"
    if skipped:
        yield "", skipped
    if result.input_format != "csv" or result.input_compression:
        compressed = [deployed.header_mistakes.COMPRESSION_NAMES[name] for name in result.input_compression]
        yield "Format", ", ".join([deployed.data_names.FORMATS[result.input_format], *compressed])
    max_chunks = deployed.chunking.MAX_CHUNKS
    yield "Chunks", f"{result.chunks:,} of {max_chunks:,} at most"
    if not estimate:
        return
    yield "Rows", f"about {estimate['rows']:,}"
    yield "Time", f"about {duration(estimate['seconds'])}; a chunk takes {estimate['chunk_seconds']:,.1f} s of {FUNCTION_SECONDS}"
    dollars = estimate["dollars"]
    yield "Cost", f"about ${dollars['total']:.4f} on AWS"
    amounts = (
        f"{estimate['lambda_requests']:,} invocations, {estimate['lambda_gb_seconds']:,.1f} GB-seconds",
        f"{estimate['state_transitions']:,} state transitions",
        f"{estimate['s3_put_requests']:,} PUT and {estimate['s3_get_requests']:,} GET requests",
    )
    for (label, key), amount in zip(COST_ITEMS, amounts, strict=True):
        yield "", f"{label:15}${dollars[key]:.4f}  {amount}"
    if compare:
        yield from _under("Compare", sagemaker_comparison(estimate["rows"], result.probe_rows_per_second or 0.0))
    if estimate["chunk_seconds"] > FUNCTION_SECONDS * NEAR:
        yield "Limit", f"a chunk takes nearly the {FUNCTION_SECONDS} s that a function has: lower --chunk-size-mb, or split the run"
    if result.chunks > max_chunks * NEAR:
        yield "Limit", f"nearly {max_chunks:,} chunks: beyond them, chunks grow"
    yield from _under("Assumes", estimate["assumptions"])


def print_failure(console: Console, result: Failed, command: str | None = None) -> None:
    """Say why a run failed, what to do, and the ``command`` that says more."""
    one_line = not console.is_terminal  # a program that reads it may look for a sentence
    console.print(Text(f"{result.error}: {result.cause}", style="red"), soft_wrap=one_line)
    if result.advice:
        console.print(Text(f"What to do: {result.advice}"), soft_wrap=one_line)
    if command:
        console.print(f"More: {command}", soft_wrap=True)


def status_lines(status: RunStatus, stack_option: str = "") -> Iterator[tuple[str, str]]:
    """Yield how far a run is, as label and text."""
    yield "Run", status.name
    yield "Status", f"{status.status}, {duration(status.seconds)}, started {_moment(status.started)}"
    if status.state and status.stopped is None:
        yield "State", status.state
    yield from _chunk_lines(status)
    output = status.output or {}
    if "rows" in output:
        yield "Rows", f"{output['rows']:,}, {megabytes(output['bytes'])}"
        if output.get("rejected_rows"):
            yield "Bad", f"{plural(output['rejected_rows'], 'row')} without a prediction: {output['rejected_s3_uri']}"
        yield "Output", output["output_s3_uri"]
    elif output:
        yield "Plan", f"{plural(output['chunks'], 'chunk')}, {megabytes(output['input_bytes'])}; nothing was scored"
    if status.error:
        yield "Error", f"{status.error}: {status.cause}" if status.cause else status.error
        yield "Command", f"batch-predict explain {status.name}{stack_option}"


def _chunk_lines(status: RunStatus) -> Iterator[tuple[str, str]]:
    there = f"; {status.reused_chunks:,} of them were there already" if status.reused_chunks else ""
    if status.chunks:
        yield "Chunks", f"{counted(status.chunks, status.finished_before)}{there}"


def print_runs(runs: Sequence[ListedRun], console: Console | None = None) -> None:
    """Print a table of runs, newest first."""
    console = console or VisibleConsole(sys.stdout)
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
    status: RunStatus, request: Mapping[str, Any], lost: Sequence[Mapping[str, Any]], stack_option: str = ""
) -> Iterator[tuple[str, str]]:
    """Yield what failed, where, why, what to do and the command for it."""
    yield "Run", f"{status.name}, {status.status}"
    if status.status == "SUCCEEDED":
        yield from _explained_success(status, stack_option)
        return
    if not status.error:
        yield "State", f"{status.state}; nothing has failed so far"
        yield "Command", f"batch-predict watch {status.name}{stack_option}"
        return
    yield "Error", status.error
    if status.cause:
        yield "Why", status.cause
    yield from _chunk_lines(status)
    reasons = [_reason(record, status.advice) for record in lost[:SHOWN_CHUNKS]]
    said = reasons[0] if lost and lost[0]["error"] == status.error else ""  # Explain Failure speaks of the first
    whys = (f": {reason}" if reason != said else "" for reason in reasons)
    places = (f"chunk {record['chunk_index'] + 1}, {_where(record)}{why}" for record, why in zip(lost, whys, strict=False))
    yield from _under("Where", list(places))
    if len(lost) > SHOWN_CHUNKS:
        yield "", f"and {len(lost) - SHOWN_CHUNKS} more"
    if status.advice:
        yield "Do", status.advice
    if status.error in {CANCELLED, INTERRUPTED}:
        yield "Do", "Start the same request again: it goes on from the chunks that are finished."
    if lost:
        yield "Command", f"batch-predict chunk {status.name} {lost[0]['chunk_index'] + 1} --here{stack_option}"
    command = COMMANDS.get(status.error)
    if remedy := deployed.errors.field_to_set(status.advice):
        command = f"batch-predict run … {field_flag(remedy[0])} {remedy[1]}"
    if command:
        model = str(request.get("model_s3_uri", "MODEL"))
        yield "" if lost else "Command", command.replace("run …", f"run{stack_option} …").replace("MODEL", model)


def _reason(record: Mapping[str, Any], advice: str | None) -> str:
    """Return why a chunk was lost, and what to do about it unless that is the ``advice`` for the run."""
    own = record.get("advice") or advice
    return f"{record['error']}: {record['message']}{f' ({own})' if own != advice else ''}"


def _explained_success(status: RunStatus, stack_option: str) -> Iterator[tuple[str, str]]:
    output = status.output or {}
    missing, rejected = output.get("failed_chunks"), output.get("rejected_rows")
    if missing:
        yield "Missing", f"{tolerated(missing)}: the report lists {'it' if missing == 1 else 'them'}"
    if rejected:
        yield "Bad", f"{plural(rejected, 'row')} without a prediction, with place and reason in {output['rejected_s3_uri']}"
    if missing or rejected:
        yield "Command", f"batch-predict report {status.name}{stack_option}"
    else:
        yield "", "nothing failed"


def _where(record: Mapping[str, Any]) -> str:
    for name, said in (("byte_range", "bytes"), ("row_groups", "row groups")):
        if edges := record.get(name):
            return f"{record['data_s3_uri']} {said}=[{edges[0]}, {edges[1]})"
    return f"the objects listed in {record.get('segments_s3_uri')}"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def _took(run: ListedRun) -> str:
    if run.stopped is None and run.status in ENDED:
        return ""
    return duration(((run.stopped or datetime.now(UTC)) - run.started).total_seconds())
