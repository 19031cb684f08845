"""How every command ends: an error that the user can correct is one sentence, and a signal is a clean end."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from batch_predict.cli.visible_output import VisibleConsole
from batch_predict.errors import BatchPredictError
from batch_predict.local.interruption import RunInterrupted, stop_signals
from batch_predict.runs import outcome
from batch_predict.runs.outcome import INTERRUPTED, Failed


@contextmanager
def ending(*, as_json: bool = False) -> Iterator[None]:
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
