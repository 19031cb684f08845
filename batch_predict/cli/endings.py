"""How every command ends: what the user can change is one sentence, and signals are a clean end."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType

import typer

from batch_predict.cli.progress import text_console
from batch_predict.errors import BatchPredictError
from batch_predict.runs.prepared_request import INTERRUPTED, RunInterrupted, RunResult


@contextmanager
def ending(*, as_json: bool = False) -> Iterator[None]:
    """Turn what the user can change into one sentence, and Ctrl-C and SIGTERM into a clean end; nothing is left behind."""

    def end(result: RunResult, sentence: object) -> None:
        typer.echo(f"Error: {sentence}", err=True)
        if as_json:
            typer.echo(json.dumps(asdict(result), default=str))

    with stop_signals() as received:
        try:
            yield
        except BatchPredictError as error:
            end(RunResult("FAILED", error=type(error).__name__, cause=str(error)), error)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            number = received[0] if received else signal.SIGINT
            result = RunResult("ABORTED", error=INTERRUPTED, cause=f"stopped by {number.name}")
            if isinstance(error, RunInterrupted):
                console = text_console(sys.stderr)
                console.print(str(error), soft_wrap=not console.is_terminal)
                result = error.result
            end(result, result.cause)
            raise typer.Exit(128 + number) from error


@contextmanager
def stop_signals() -> Iterator[list[signal.Signals]]:
    """Raise KeyboardInterrupt at the first SIGINT or SIGTERM, and note which it was; further ones do not disturb the clean-up."""
    received: list[signal.Signals] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        if not received:
            received.append(signal.Signals(number))
            raise KeyboardInterrupt(received[0].name)

    # Also where SIGINT was ignored, as a shell does for its background processes.
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
