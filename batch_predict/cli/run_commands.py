"""The commands that look at runs, end them, or take one chunk out: the same for a deployed stack and for this machine."""

import json
import re
import sys
import time
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError

from batch_predict.cli.endings import ending
from batch_predict.cli.progress import screen, text_console
from batch_predict.cli.run_lines import explanation_lines, print_lines, print_runs, status_lines
from batch_predict.errors import BatchPredictError
from batch_predict.local.kept_runs import KeptRuns
from batch_predict.local.one_chunk import invoke_here
from batch_predict.places import place_of
from batch_predict.report.drift import drift_of, reference_statistics
from batch_predict.report.input import ReportInput, report_input
from batch_predict.runs.logs import log_lines
from batch_predict.runs.run import Run, RunStatus
from batch_predict.runs.stack import aws_troubles
from batch_predict.runs.transfer import upload
from batch_predict.runs.value_here import told_here, with_local_paths

LISTED = 20

CANCEL_EXAMPLE = "Example, for a run that goes on:\n\n\b\n  batch-predict cancel NAME\n"
CHUNK_EXAMPLE = "Example, for a run with --keep-work or one that failed:\n\n\b\n  batch-predict chunk NAME 3 --here\n"

StackOption = Annotated[
    str | None, typer.Option("--stack", help="A stack on AWS, by its name; by default, this machine.", metavar="NAME")
]
ProfileOption = Annotated[str | None, typer.Option("--profile", help="Profile of the AWS configuration.", metavar="NAME")]
RegionOption = Annotated[str | None, typer.Option("--region", help="AWS region of the stack.", metavar="NAME")]
RunArgument = Annotated[
    str | None,
    typer.Argument(help="A run: the execution's name or ARN; by default the newest.", metavar="[RUN]", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _example(command: str) -> str:
    return f"Example, after `batch-predict demo` or a run:\n\n\b\n  batch-predict {command}\n"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=_example("status"))(status)
    app.command(epilog=_example("watch"))(watch)
    app.command("list", epilog=_example("list --limit 5"))(list_command)
    app.command(epilog=CANCEL_EXAMPLE)(cancel)
    app.command(epilog=_example("logs --chunk 1"))(logs)
    app.command(epilog=_example("report --output report.html"))(report)
    app.command(epilog=CHUNK_EXAMPLE)(chunk)
    app.command(epilog=_example("explain"))(explain)


def status(
    run: RunArgument = None,
    stack: StackOption = None,
    profile: ProfileOption = None,
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how far a run is, or how it ended."""
    with ending(as_json=as_json), place_of(stack, profile, region).opened(run) as (found, uploads):
        known = found.status()
        if as_json:
            _print_json(asdict(known), uploads)
        else:
            print_lines(text_console(sys.stdout), status_lines(known, stack, lambda text: told_here(text, uploads)))


def watch(
    run: RunArgument = None,
    stack: StackOption = None,
    profile: ProfileOption = None,
    region: RegionOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the status as JSON at the end, and progress as JSON lines.")
    ] = False,
) -> None:
    """Follow a run to its end; Ctrl-C stops watching, not the run.

    Exits 0 where the run succeeded, and 1 where it did not.
    """
    with ending(as_json=as_json):
        known, uploads = _watched(run, stack, profile, region, quiet=quiet, as_json=as_json)
        if as_json:
            _print_json(asdict(known), uploads)
        else:
            print_lines(text_console(sys.stdout), status_lines(known, stack, lambda text: told_here(text, uploads)))
        if known.status != "SUCCEEDED":
            raise typer.Exit(1)


def _watched(
    run: str | None, stack: str | None, profile: str | None, region: str | None, *, quiet: bool, as_json: bool
) -> tuple[RunStatus, Mapping[Path, str]]:
    """Follow a run to its end; return how it ended, and the local files that belong to it."""
    name = run
    try:
        with place_of(stack, profile, region).opened(run) as (found, _):
            name = found.name
            with screen(quiet=quiet, as_json=as_json) as shown:
                try:
                    for progress in found.follow(poll_seconds=1.0 if stack else 0.1):
                        shown.show(progress)
                except KeyboardInterrupt:
                    shown.leave()
                    typer.echo(f"Run {name} goes on: batch-predict watch {name}{f' --stack {stack}' if stack else ''}", err=True)
                    raise
            if stack:
                return found.status(), {}
    except (BotoCoreError, BatchPredictError):
        # The local AWS ends with its run.
        if stack or name is None:
            raise
    _wait_for_process(name)  # the output comes down after the execution's end
    with place_of(None).opened(name) as (found, uploads):
        return found.status(), uploads


def _wait_for_process(name: str) -> None:
    directory = KeptRuns().get(name)
    while directory.status() == "RUNNING":
        time.sleep(0.1)


def list_command(
    stack: StackOption = None,
    profile: ProfileOption = None,
    region: RegionOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Runs to show.", metavar="N")] = LISTED,
    as_json: JsonOption = False,
) -> None:
    """List the newest runs, newest first."""
    with ending(as_json=as_json):
        runs = place_of(stack, profile, region).runs(limit)
        if as_json:
            typer.echo(json.dumps([asdict(one) for one in runs], default=str))
        else:
            print_runs(text_console(sys.stdout), runs)
        if not stack and (foreign := KeptRuns().foreign()):
            typer.echo(f"Left alone, as you have not made them on this machine: {', '.join(foreign)}", err=True)


def cancel(
    run: Annotated[str, typer.Argument(help="A run: the execution's name or ARN.", metavar="RUN")],
    stack: StackOption = None,
    profile: ProfileOption = None,
    region: RegionOption = None,
) -> None:
    """End a run that goes on. Its finished chunks are kept: the same request, started again, goes on from them."""
    with ending(), place_of(stack, profile, region).opened(run) as (found, _):
        found.cancel()
        typer.echo(f"Run {found.name} is cancelled.")


def logs(
    run: RunArgument = None,
    stack: StackOption = None,
    profile: ProfileOption = None,
    region: RegionOption = None,
    chunk_number: Annotated[
        int | None, typer.Option("--chunk", min=1, help="Of one chunk only, from 1 as messages count.", metavar="N")
    ] = None,
) -> None:
    """Print the log lines of a run's functions, oldest first."""
    with ending(), place_of(stack, profile, region).opened(run) as (found, _):
        lines = 0
        for moment, line in log_lines(found, chunk_number):
            lines += 1
            typer.echo(f"{moment.isoformat(timespec='milliseconds')} {line}")
        if not lines:
            typer.echo("No log lines: they come with a delay, and go after LogRetentionDays of the stack.", err=True)


def report(
    run: RunArgument = None,
    stack: StackOption = None,
    profile: ProfileOption = None,
    region: RegionOption = None,
    output: Annotated[Path | None, typer.Option(help="Where to write it; by default RUN.html.", metavar="FILE")] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="What to compare with: a CSV sample, of the training data say, or the output or report of another run.",
            metavar="FILE",
        ),
    ] = None,
    opens: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Make a page of a run, in one HTML file that needs no network."""
    with ending():
        render = _page_renderer()
    with ending(), place_of(stack, profile, region).opened(run) as (found, uploads):
        page = output or Path(re.sub(r"[^A-Za-z0-9._-]", "_", f"{found.name}.html"))
        if reference is not None and not reference.is_file():
            raise BatchPredictError(f"reference {reference} is not a file")
        record = replace(with_local_places(report_input(found), uploads), is_local=stack is None)
        if reference is not None:
            record = compared(record, reference)
        try:
            page.write_text(render(record), encoding="utf-8")
        except OSError as error:
            raise BatchPredictError(f"{page} cannot be written: {error.strerror}") from error
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


def with_local_places(record: ReportInput, uploads: Mapping[Path, str]) -> ReportInput:
    """Return the record with the local paths that a reader knows, in the place of where the files were uploaded to."""
    texts = {name: _localized(getattr(record, name), uploads) for name in ("request", "report", "so_far", "failures", "cause")}
    return replace(record, **texts) if uploads else record


def _localized(value: Any, uploads: Mapping[Path, str], told: Callable[[str, Mapping[Path, str]], str] = with_local_paths) -> Any:
    if isinstance(value, str):
        return told(value, uploads)
    if isinstance(value, Mapping):
        return {name: _localized(inner, uploads, told) for name, inner in value.items()}
    return [_localized(inner, uploads, told) for inner in value] if isinstance(value, list) else value


def _print_json(value: Mapping[str, Any], uploads: Mapping[Path, str]) -> None:
    typer.echo(json.dumps(_localized(value, uploads, told_here), default=str))


def compared(record: ReportInput, reference: Path) -> ReportInput:
    """Return the record with its drift against a reference; BatchPredictError where they cannot be compared."""
    statistics = record.known.get("statistics") or {}
    if not statistics.get("features"):
        raise BatchPredictError(f"run {record.name} has no statistics of its features to compare {reference} with")
    try:
        found = reference_statistics(reference, statistics)
    except ValueError as error:
        raise BatchPredictError(f"reference {reference} cannot be compared: {error}") from error
    return replace(
        record,
        reference=found["features"],
        reference_predictions=found["predictions"],
        reference_name=str(reference),
        drift=drift_of(found["features"], statistics["features"]),
        prediction_drift=drift_of(found["predictions"], statistics["predictions"]),
    )


def chunk(
    run: Annotated[str, typer.Argument(help="A run: the execution's name or ARN.", metavar="RUN")],
    number: Annotated[int, typer.Argument(min=1, help="The chunk, from 1 as messages count.", metavar="N")],
    stack: StackOption = None,
    profile: ProfileOption = None,
    region: RegionOption = None,
    here: Annotated[bool, typer.Option("--here", help="In this process, under a debugger say, not in the Lambda.")] = False,
) -> None:
    """Run one chunk directly, and print the event and the answer.

    Writes the chunk's own part and receipt, which the same request, started again, then finds. Exits 1 where it fails.
    """
    with ending():
        if not stack:
            directory = KeptRuns().get(run)
            with directory.opened() as aws, aws_troubles(aws):
                event = directory.run(aws).chunk_event(number)
                upload(aws, directory.prepared)
                answer = _scored(directory.run(aws), event, here=here)
                if answer["statusCode"] != 200:
                    typer.echo(f"Here: {told_here(str(answer['body'].get('message')), directory.local_paths())}", err=True)
        else:
            with place_of(stack, profile, region).opened(run) as (found, _):
                event = found.chunk_event(number)
                answer = _scored(found, event, here=here)
        if answer["statusCode"] != 200:
            raise typer.Exit(1)


def _scored(run: Run, event: Mapping[str, Any], *, here: bool) -> dict[str, Any]:
    typer.echo(f"Event:\n{json.dumps(event, indent=2)}")
    answer = invoke_here(run.stack, event) if here else run.invoke(event)
    typer.echo(f"Answer:\n{json.dumps(answer, indent=2)}")
    return answer


def explain(
    run: RunArgument = None,
    stack: StackOption = None,
    profile: ProfileOption = None,
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what failed in a run, where, why, and what to do about it."""
    with ending(as_json=as_json), place_of(stack, profile, region).opened(run) as (found, uploads):
        known, lost = found.status(), found.lost_chunks()
        if as_json:
            _print_json({**asdict(known), "lost_chunks": lost}, uploads)
            return
        lines = explanation_lines(known, found.request, lost, stack, lambda text: told_here(text, uploads))
        print_lines(text_console(sys.stdout), lines)
