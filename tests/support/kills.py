"""Processes that are killed at an S3 call. A killed process runs no handlers: nothing that it still tries reaches S3."""

import threading


class Killed(BaseException):
    """The process is gone. No `except Exception` may take this for a failure that it can handle."""


class Doomed:
    """A process with an S3 client of its own, killed at its n-th S3 call (from 1).

    `moment` is "unsent", before S3 sees the call, or "unheard", after S3 has carried it out and before the caller sees the answer.
    From then on every call of every thread raises, also in `except` and `finally`, and no answer arrives any more. The client
    stays dead: the repeat needs another one.
    """

    def __init__(self, client, number, moment):
        assert moment in {"unsent", "unheard"}
        self.killed_in = None
        self.calls = []
        self._client, self._number, self._moment = client, number, moment
        self._lock = threading.Lock()
        client.meta.events.register_first("before-call.s3", self._before)
        client.meta.events.register_last("after-call.s3", self._after)

    def run(self, work):
        """Return what the work returns, None where it was killed: what a dying process makes of it, nobody hears."""
        threads = set(threading.enumerate())
        try:
            result = work(self._client)
        except BaseException:
            if not self.killed_in:
                raise
            result = None
        finally:
            for thread in set(threading.enumerate()) - threads:
                thread.join()
        return None if self.killed_in else result

    def _before(self, model, context, **_):
        with self._lock:
            self._raise_if_killed()
            self.calls.append(model.name)
            context["number_of_call"] = len(self.calls)
            self._kill("unsent", model, context)

    def _after(self, model, context, **_):
        with self._lock:
            self._raise_if_killed()
            self._kill("unheard", model, context)

    def _kill(self, moment, model, context):
        if (moment, context["number_of_call"]) == (self._moment, self._number):
            self.killed_in = model.name
            self._raise_if_killed()

    def _raise_if_killed(self):
        if self.killed_in:
            raise Killed(f"killed at call {self._number}, {self.killed_in}, {self._moment}")
