"""The commands that look at runs, end them, or take one chunk out: the same for a deployed stack and for this machine."""

import json
import re
import time
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError

from batch_predict.cli.commands import JsonOption, Place, command, example, stack_option
from batch_predict.cli.progress import screen
from batch_predict.cli.run_lines import SHOWN_CHUNKS, explanation_lines, print_lines, print_runs, status_lines
from batch_predict.errors import BatchPredictError, file_troubles
from batch_predict.local.one_chunk import invoke_here
from batch_predict.places import OnStack, ThisMachine
from batch_predict.report.drift import compared
from batch_predict.report.input import ReportInput, report_input
from batch_predict.runs.run import RunStatus
from batch_predict.runs.transfer import upload
from batch_predict.runs.value_here import told_here, with_local_paths

RunArgument = Annotated[
    str | None,
    typer.Argument(help="A run: the execution's name or ARN; by default the newest.", metavar="RUN", show_default=False),
]
RequiredRun = Annotated[str, typer.Argument(help="A run: the execution's name or ARN.", metavar="RUN")]

Told = Callable[[str, Mapping[Path, str]], str]
"""Returns a message as its reader may see it."""

app = typer.Typer(rich_markup_mode=None)


def _example(words: str, after: str = "after `batch-predict demo` or a run") -> str:
    return example(f"batch-predict {words}", after)


@command(app, _example("status"))
def status(run: RunArgument = None, *, place: Place, as_json: JsonOption = False) -> None:
    """Say how far a run is, or how it ended."""
    with place.opened(run) as (found, uploads):
        _print_status(found.status(), uploads, place, as_json=as_json)


@command(app, _example("watch"))
def watch(
    run: RunArgument = None,
    *,
    place: Place,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the status as JSON at the end, and progress as JSON lines.")
    ] = False,
) -> None:
    """Follow a run to its end; Ctrl-C stops watching, not the run.

    Exits 0 if the run succeeded, and 1 if it did not.
    """
    known, uploads = _watched(run, place, quiet=quiet, as_json=as_json)
    _print_status(known, uploads, place, as_json=as_json)
    if known.status != "SUCCEEDED":
        raise typer.Exit(1)


def _watched(run: str | None, place: ThisMachine | OnStack, *, quiet: bool, as_json: bool) -> tuple[RunStatus, Mapping[Path, str]]:
    """Follow a run to its end; return how it ended, and the local files that belong to it."""
    name = run
    try:
        with place.opened(run) as (found, _):
            name = found.name
            with screen(quiet=quiet, as_json=as_json) as shown:
                try:
                    for progress in found.follow():
                        shown.show(progress)
                except KeyboardInterrupt:
                    shown.leave()
                    typer.echo(f"Run {name} goes on: batch-predict watch {name}{stack_option(place)}", err=True)
                    raise
    except (BotoCoreError, BatchPredictError):
        if isinstance(place, OnStack) or name is None:
            raise  # else the local AWS has ended with its run
    if isinstance(place, ThisMachine):
        kept = place.kept_runs.get(name)
        while kept.status() == "RUNNING":  # its process brings the output here after the execution's end
            time.sleep(0.1)
    with place.opened(name) as (found, uploads):
        return found.status(), uploads


def _print_status(found: RunStatus, uploads: Mapping[Path, str], place: ThisMachine | OnStack, *, as_json: bool) -> None:
    known = _told(found, uploads)
    if as_json:
        typer.echo(json.dumps(asdict(known), default=str))
    else:
        print_lines(status_lines(known, stack_option(place)))


def _told(known: RunStatus, uploads: Mapping[Path, str], told: Told = told_here) -> RunStatus:
    """Return a status with the local paths that a reader knows, and with the values at the places that it names."""
    return replace(known, **_localized(vars(known), uploads, told))


@command(app, _example("list --limit 5"), "list")
def list_command(
    *,
    place: Place,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Runs to show.", metavar="N")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the newest runs, newest first."""
    runs = place.runs(limit)
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in runs], default=str))
    else:
        print_runs(runs)
    if isinstance(place, ThisMachine) and (foreign := place.kept_runs.foreign()):
        typer.echo(f"Left alone, as you have not made them on this machine: {', '.join(foreign)}", err=True)


@command(app, _example("cancel NAME", "for a run that goes on"))
def cancel(run: RequiredRun, *, place: Place) -> None:
    """End a run that goes on. Its finished chunks are kept: the same request, started again, goes on from them."""
    with place.opened(run) as (found, _):
        found.cancel()
        typer.echo(f"Run {found.name} is cancelled.")


@command(app, _example("logs --chunk 1"))
def logs(
    run: RunArgument = None,
    *,
    place: Place,
    chunk_number: Annotated[
        int | None, typer.Option("--chunk", min=1, help="Of one chunk only, from 1 as messages count.", metavar="N")
    ] = None,
) -> None:
    """Print the log lines of a run's functions, oldest first."""
    with place.opened(run) as (found, _):
        lines = 0
        for moment, line in found.log_lines(chunk_number):
            lines += 1
            typer.echo(f"{moment.isoformat(timespec='milliseconds')} {line}")
        if not lines:
            typer.echo("No log lines: they come with a delay, and go after LogRetentionDays of the stack.", err=True)


@command(app, _example("report --output report.html"))
def report(
    run: RunArgument = None,
    *,
    place: Place,
    output: Annotated[Path | None, typer.Option(help="Where to write it; by default RUN.html.", metavar="FILE")] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="What to compare with: CSV, of the training data say or another run's output, or the report of another run.",
            metavar="FILE",
        ),
    ] = None,
    opens: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Make a page of a run, in one HTML file that needs no network."""
    render = _page_renderer()
    with place.opened(run) as (found, uploads):
        page = output or Path(re.sub(r"[^A-Za-z0-9._-]", "_", f"{found.name}.html"))
        if reference is not None and not reference.is_file():
            raise BatchPredictError(f"reference {reference} is not a file")
        record = replace(report_input(found), is_local=isinstance(place, ThisMachine))
        texts = ("request", "report", "so_far", "failures", "cause") if uploads else ()
        record = replace(record, **{name: _localized(getattr(record, name), uploads) for name in texts})
        if reference is not None:
            record = compared(record, reference)
        with file_troubles("written", page):
            page.write_text(render(record), encoding="utf-8")
        typer.echo(f"{page}")
    if opens and not webbrowser.open(page.absolute().as_uri()):
        typer.echo("No browser could be opened: open the file yourself.", err=True)


def _page_renderer() -> Callable[[ReportInput], str]:
    """Import what makes the page only here: matplotlib takes long to import, and is an extra of the installation."""
    try:
        from batch_predict.report.page import render  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise BatchPredictError(
            "the page's charts are drawn by matplotlib, which is not installed here: pip install matplotlib, "
            "or install batch-predict with its extra, batch-predict[report]"
        ) from error
    return render


def _localized(value: Any, uploads: Mapping[Path, str], told: Told = with_local_paths) -> Any:
    """Put the local paths that a reader knows in place of the URIs that the files were uploaded to."""
    if isinstance(value, str):
        return told(value, uploads)
    if isinstance(value, Mapping):
        return {name: _localized(inner, uploads, told) for name, inner in value.items()}
    return [_localized(inner, uploads, told) for inner in value] if isinstance(value, list) else value


@command(app, _example("chunk NAME 3 --here", "for a run with --keep-work or one that failed"))
def chunk(
    run: RequiredRun,
    number: Annotated[int, typer.Argument(min=1, help="The chunk, from 1 as messages count.", metavar="N")],
    *,
    place: Place,
    here: Annotated[bool, typer.Option("--here", help="In this process, under a debugger say, not in the Lambda.")] = False,
) -> None:
    """Run one chunk directly, and print the event and the answer.

    Writes the chunk's own part and receipt, which the same request, started again, then finds. Exits 1 if it fails.
    """
    with place.opened(run) as (found, uploads):
        event = found.chunk_event(number)
        if isinstance(place, ThisMachine):  # its copies of model and data were deleted at its end
            upload(found.stack, place.kept_runs.get(run).prepared)
        typer.echo(f"Event:\n{json.dumps(event, indent=2)}")
        answer = invoke_here(found.stack, event) if here else found.invoke(event)
        typer.echo(f"Answer:\n{json.dumps(answer, indent=2)}")
        if answer["statusCode"] != 200:
            if isinstance(place, ThisMachine):
                typer.echo(f"Here: {told_here(str(answer['body'].get('message')), uploads)}", err=True)
            raise typer.Exit(1)


@command(app, _example("explain"))
def explain(run: RunArgument = None, *, place: Place, as_json: JsonOption = False) -> None:
    """Say what failed in a run, where, why, and what to do about it."""
    with place.opened(run) as (found, uploads):
        told = partial(told_here, csv_field=found.request.get("csv"))
        known, lost = _told(found.status(), uploads, told), found.lost_chunks()
        shown = len(lost) if as_json else SHOWN_CHUNKS  # what is at the place of each is looked up in a file
        lost[:shown] = _localized(lost[:shown], uploads, told)
        if as_json:
            typer.echo(json.dumps({**asdict(known), "lost_chunks": lost}, default=str))
        else:
            print_lines(explanation_lines(known, _localized(found.request, uploads), lost, stack_option(place)))
