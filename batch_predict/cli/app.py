"""The command `batch-predict`: the whole workflow on this machine or on a deployed stack, and everything around a run."""

import sys
import traceback
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from batch_predict.cli import (
    bundle_command,
    deploy_command,
    init_command,
    local_commands,
    model_command,
    run_commands,
    scoring_commands,
)
from batch_predict.cli.visible_output import visible_streams

BAD_INPUT = 1
"""Exit code of everything that the user can change, the command's own options included."""
WRONG_COMMAND = 2
"""Typer's exit code for these options."""


class _Commands(TyperGroup):
    """Ends a command that is itself wrong (an unknown option, a missing argument) like any other bad input."""

    def main(self, *arguments: Any, **settings: Any) -> Any:
        with visible_streams():
            try:
                return super().main(*arguments, **settings)
            except SystemExit as ended:
                if ended.code == WRONG_COMMAND:
                    raise SystemExit(BAD_INPUT) from ended
                raise


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,  # keeps the line breaks of the examples
    pretty_exceptions_enable=False,
    epilog=local_commands.DEMO_EXAMPLE,
)
for commands in (scoring_commands, model_command, bundle_command, local_commands, run_commands, init_command, deploy_command):
    app.add_typer(commands.app)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal that cannot show a … still shows the rest
    try:
        app()
    except Exception:  # noqa: BLE001 - Python would print it, and what it quotes, without making it visible
        with visible_streams():
            traceback.print_exc()
        sys.exit(1)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"batch-predict {version('batch-predict')}")
        raise typer.Exit


@app.callback()
def batch_predict(
    _version: Annotated[bool, typer.Option("--version", callback=_show_version, help="Show the version and exit.")] = False,
) -> None:
    """Score every row of your tables with a fitted scikit-learn model, by AWS Step Functions: on AWS, or on this machine."""
