"""How a command is registered: groups of options become one parameter, and every command ends in the same way.

@command(app, "Example: ...")
def status(run: RunArgument = None, *, place: Place, as_json: JsonOption = False) -> None: ...
"""

import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from batch_predict.cli.visible_output import VisibleConsole
from batch_predict.errors import BatchPredictError
from batch_predict.local.interruption import RunInterrupted, stop_signals
from batch_predict.places import OnStack, ThisMachine, place_of
from batch_predict.runs import outcome
from batch_predict.runs.outcome import INTERRUPTED, Failed


@dataclass(frozen=True)
class OptionGroup:
    """Several options that a command takes as one parameter."""

    options: Sequence[Parameter]
    value: Callable[..., Any]
    """Return the parameter's value; takes what was given for each option, by its name."""


def option(name: str, kind: Any, shown: Any) -> Parameter:
    """Return an option of a group, as `typer.Option` shows it."""
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=Annotated[kind, shown], default=False if kind is bool else None)


_PLACE = OptionGroup(
    (
        option("stack", str | None, typer.Option(help="A stack on AWS, by its name; by default, this machine.", metavar="NAME")),
        option("profile", str | None, typer.Option(help="Profile of the AWS configuration.", metavar="NAME")),
        option("region", str | None, typer.Option(help="AWS region of the stack.", metavar="NAME")),
    ),
    place_of,
)
Place = Annotated[ThisMachine | OnStack, _PLACE]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Show nothing but errors.")]


def stack_option(place: ThisMachine | OnStack) -> str:
    """Return what a command line needs to find this place: ` --stack NAME`, or nothing for this machine."""
    return f" --stack {place.stack.name}" if isinstance(place, OnStack) else ""


def example(command: str, after: str = "") -> str:
    """Return the end of a command's help: an example, whose line breaks stay as they are."""
    lines = "\n".join(f"  {line}" for line in command.splitlines())
    return f"Example{f', {after}' if after else ''}:\n\n\b\n{lines}\n"


def command(
    app: typer.Typer, epilog: str, name: str | None = None, cls: type[TyperCommand] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command: its groups of options are gathered, and it ends as `_ending` says."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        app.command(name, cls=cls, epilog=epilog)(_with_flat_options(function))
        return function

    return register


def _with_flat_options(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command that takes each option of its groups by itself, as typer wants them."""
    parameters = signature(function).parameters
    groups = {
        name: part
        for name, parameter in parameters.items()
        for part in getattr(parameter.annotation, "__metadata__", ())
        if isinstance(part, OptionGroup)
    }

    @wraps(function)
    def flat(**given: Any) -> None:
        with _ending(as_json=given.get("as_json", False)):
            for name, group in groups.items():
                given[name] = group.value(**{each.name: given.pop(each.name) for each in group.options})
            function(**given)

    options: list[Parameter] = []
    for name, parameter in parameters.items():
        options += groups[name].options if name in groups else [parameter.replace(kind=Parameter.KEYWORD_ONLY)]
    flat.__signature__ = signature(function).replace(parameters=options)  # type: ignore[attr-defined]
    return flat


@contextmanager
def _ending(*, as_json: bool = False) -> Iterator[None]:
    """Turn an error that the user can correct into one sentence, and a signal into a clean end that leaves nothing behind."""

    def end(result: Failed, sentence: object) -> None:
        typer.echo(f"Error: {sentence}", err=True)
        if as_json:
            typer.echo(json.dumps(outcome.as_json(result), default=str))

    with stop_signals() as received:
        try:
            yield
        except BatchPredictError as error:
            end(Failed(error=type(error).__name__, cause=str(error)), error)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            number = received[0] if received else signal.SIGINT
            result = Failed(status="ABORTED", error=INTERRUPTED, cause=f"stopped by {number.name}")
            if isinstance(error, RunInterrupted):
                console = VisibleConsole(sys.stderr)
                console.print(str(error), soft_wrap=not console.is_terminal)
                result = error.result
            end(result, result.cause)
            raise typer.Exit(128 + number) from error
