"""How a run on this machine is stopped: by Ctrl-C or SIGTERM, in good order."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from batch_predict.runs.outcome import Failed


class RunInterrupted(KeyboardInterrupt):  # no error: somebody wanted it
    """A run on this machine was stopped; its message says how it goes on."""

    def __init__(self, sentence: str, result: Failed) -> None:
        super().__init__(sentence)
        self.result = result


@contextmanager
def stop_signals() -> Iterator[list[signal.Signals]]:
    """Raise KeyboardInterrupt at the first SIGINT or SIGTERM, and note which it was; further ones do not disturb the clean-up."""
    received: list[signal.Signals] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        if not received:
            received.append(signal.Signals(number))
            raise KeyboardInterrupt(received[0].name)

    # SIGINT may be ignored, as a shell does for its background processes: it counts here, too.
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stopped_by(error: BaseException) -> str:
    """Return the clause that says what stopped a run: `stop_signals` gives the signal's name."""
    return f"stopped by {error.args[0]}" if error.args else "stopped"
