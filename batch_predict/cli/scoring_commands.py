"""The commands that score data, `run`, or say what that would take, `plan`."""

import json
import sys
from contextlib import suppress
from typing import Annotated, Any

import typer

from batch_predict.cli.commands import Place, QuietOption, command, example, stack_option
from batch_predict.cli.progress import Screen, screen
from batch_predict.cli.request_options import DataFilesCommand, request_options
from batch_predict.cli.run_lines import plan_lines, print_failure, print_lines, result_lines
from batch_predict.places import OnStack, ThisMachine
from batch_predict.runs import outcome
from batch_predict.runs.local_files import skipped_files
from batch_predict.runs.outcome import Failed, Outcome, Planned
from batch_predict.runs.prepared_request import PreparedRequest
from batch_predict.runs.run import Run
from batch_predict.runs.stack import aws_troubles

RUN_EXAMPLE, PLAN_EXAMPLE = (
    example(
        f"""\
batch-predict {name} --model .demo/arrival_delay.joblib \\
  --data .demo/flights.csv \\
  --features month,dep_time,dep_delay,distance,carrier,origin,dest \\
  --prediction predicted_arr_delay --output predictions.csv --{option}""",
        "with the files that `batch-predict demo` leaves",
    )
    for name, option in (("run", "overwrite"), ("plan", "compare"))
)

app = typer.Typer(rich_markup_mode=None)


@command(app, RUN_EXAMPLE, cls=DataFilesCommand)
def run(
    *,
    request: Annotated[dict[str, Any], request_options()],
    place: Place,
    name: Annotated[
        str | None, typer.Option(help="Name of the run; by default output and time.", metavar="RUN", show_default=False)
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when the run has started, and leave it to itself.")] = False,
    quiet: QuietOption = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object, and progress as JSON lines on standard error.")
    ] = False,
) -> None:
    """Score tables with a model: here, or with --stack on AWS.

    Runs the whole workflow, the very state machine and functions that go to AWS, on an embedded local AWS; with --stack on the
    stack of that name, to which local files are uploaded.
    Exits 0 when the output is there, 1 when the run failed or could not start, and 130 after Ctrl-C.
    """
    prepared = place.prepare(request)
    if detach:
        if (skipped := skipped_files(prepared.skipped)) and not quiet:
            typer.echo(skipped, err=True)
        started = place.submit(prepared, name)
        follow = f"Run {started} has started.\nFollow it: batch-predict watch {started}{stack_option(place)}"
        typer.echo(json.dumps({"name": started, "status": "RUNNING"}) if as_json else follow)
        return
    with screen(quiet=quiet, as_json=as_json) as shown:
        result = _run_at(place, prepared, name, shown)
    is_kept = isinstance(place, OnStack) or not prepared.is_dry_run
    conclude(shown, result, place if is_kept else None, as_json=as_json, quiet=quiet)


@command(app, PLAN_EXAMPLE, cls=DataFilesCommand)
def plan(
    *,
    request: Annotated[dict[str, Any], request_options("tolerated_failure_percentage", "keep_work", "dry_run")],
    place: Place,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also what one instance of SageMaker Batch Transform would cost.")
    ] = False,
    quiet: QuietOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as one JSON object.")] = False,
) -> None:
    """Say what a run would take: objects, chunks, rows, time, dollars and limits. Nothing is scored but the first rows.

    The same request as `run` with --dry-run. Exits 0 when the run could start.
    """
    prepared = place.prepare({**request, "dry_run": True})
    with screen(quiet=quiet, as_json=as_json) as shown:
        result = _run_at(place, prepared, None, shown)
    if as_json or not isinstance(result, Planned):
        conclude(shown, result, place if isinstance(place, OnStack) else None, as_json=as_json)
        return
    print_lines(plan_lines(result, compare=compare, skipped=skipped_files(prepared.skipped)))


def _run_at(place: ThisMachine | OnStack, prepared: PreparedRequest, name: str | None, shown: Screen) -> Outcome:
    """Run to the end. Ctrl-C asks whether an execution on AWS, which needs nobody here, is to go on."""
    if isinstance(place, ThisMachine):
        return place.run(prepared, name, shown)

    def interrupted(run: Run) -> None:
        shown.leave()
        if _wants_to_stop(run.name, stack_option(place)):
            with aws_troubles(place.stack):
                run.cancel("ended by Ctrl-C")
            more = f"batch-predict explain {run.name}{stack_option(place)}"
            typer.echo(f"Run {run.name} is over: the same command goes on from its finished chunks. See also `{more}`.", err=True)

    return place.run(prepared, name, shown, interrupted)


def _wants_to_stop(name: str, stack: str) -> bool:
    """Ask whether to stop an execution that goes on; if nobody can be asked, it goes on."""
    with suppress(typer.Abort):  # the end of the input is no answer
        if sys.stdin.isatty() and not typer.confirm(f"\nLeave run {name} running?", default=True, err=True):
            return True
    typer.echo(f"Run {name} goes on: batch-predict watch {name}{stack}", err=True)
    return False


def conclude(
    shown: Screen, result: Outcome, kept_at: ThisMachine | OnStack | None, *, as_json: bool = False, quiet: bool = False
) -> None:
    """Print the result, and exit by its status; a failure is printed in any case, with what explains it if the run is kept."""
    if as_json:
        typer.echo(json.dumps(outcome.as_json(result), default=str))
    if isinstance(result, Failed):
        more = f"batch-predict explain {result.name}{stack_option(kept_at)}" if kept_at else None
        print_failure(shown.console, result, more)
        raise typer.Exit(1)
    if not as_json and not quiet:
        print_lines(result_lines(result))
