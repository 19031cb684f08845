"""How every command ends: what the user can change is one sentence, and signals are a clean end."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType

import typer

from batch_predict.local_aws import LocalAwsError
from batch_predict.local_run import LocalRunError, RunResult
from batch_predict.runs import RunError
from batch_predict.stack import StackError


@contextmanager
def ending(*, as_json: bool = False) -> Iterator[None]:
    """Turn what the user can change into one sentence, and Ctrl-C and SIGTERM into a clean end; nothing is left behind."""

    def fail(status: str, error: str, cause: str) -> None:
        typer.echo(f"Error: {cause}", err=True)
        if as_json:
            typer.echo(json.dumps(asdict(RunResult(status, error=error, cause=cause)), default=str))

    with stop_signals() as received:
        try:
            yield
        except (LocalRunError, LocalAwsError, RunError, StackError) as error:
            fail("FAILED", type(error).__name__, str(error))
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            number = received[0] if received else signal.SIGINT
            fail("ABORTED", "Interrupted", f"stopped by {number.name}")
            raise typer.Exit(128 + number) from error


@contextmanager
def stop_signals() -> Iterator[list[signal.Signals]]:
    """Raise KeyboardInterrupt at the first SIGINT or SIGTERM, and note which it was; further ones do not disturb the clean-up."""
    received: list[signal.Signals] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        if not received:
            received.append(signal.Signals(number))
            raise KeyboardInterrupt

    # Also where SIGINT was ignored, as a shell does for its background processes.
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
