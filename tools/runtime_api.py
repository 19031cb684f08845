"""The Lambda Runtime API for one function process: what `awslambdaric` asks for events and gives answers to.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from types import TracebackType

PATH = "/2018-06-01/runtime/"
TIMEOUT_SECONDS = 900
"""Lambda's longest."""


class FunctionError(Exception):
    """The function raised, or did not start, or gave no answer."""


class Answer(NamedTuple):
    """What came of an event."""

    result: Any
    milliseconds: float
    """From when the function's process got the event until its answer was here."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: a process that was ended breaks its connection off."""


class RuntimeApi:
    """Serves one function process, on a free port of this machine alone, until the block ends."""

    def __init__(self) -> None:
        self.ready = threading.Event()
        """Set when the process first asks for an event: its init is over."""
        self._events: Queue[bytes | None] = Queue()
        self._answers: Queue[tuple[str, bytes, float]] = Queue()
        self._started = 0.0
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                api._next(self)

            def do_POST(self) -> None:
                api._answer(self)

            def log_message(self, *_: object) -> None:
                """Say nothing: what matters reaches the caller."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def address(self) -> str:
        """The value of AWS_LAMBDA_RUNTIME_API."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        """Start to listen."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Let the function go, and stop."""
        self._events.put(None)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def invoke(self, event: object, timeout_seconds: float = TIMEOUT_SECONDS) -> Answer:
        """Hand an event to the function, and return its answer. Raises FunctionError if there is none."""
        self._events.put(json.dumps(event).encode())
        try:
            kind, body, milliseconds = self._answers.get(timeout=timeout_seconds)
        except Empty:
            raise FunctionError(f"no answer within {timeout_seconds:g} s") from None
        if kind != "response":
            error = json.loads(body)
            raise FunctionError("\n".join([f"{error['errorType']}: {error['errorMessage']}", *error.get("stackTrace", [])]))
        return Answer(json.loads(body), milliseconds)

    def init_error(self) -> str | None:
        """Return what the process said if its init failed."""
        try:
            return self._answers.get_nowait()[1].decode()
        except Empty:
            return None

    def _next(self, request: BaseHTTPRequestHandler) -> None:
        self.ready.set()
        event = self._events.get()
        if event is None:  # the end
            request.close_connection = True
            return
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(event)))
        request.send_header("Lambda-Runtime-Aws-Request-Id", str(uuid.uuid4()))
        request.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + TIMEOUT_SECONDS) * 1000)))
        request.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:smoke")
        request.end_headers()
        self._started = time.perf_counter()
        request.wfile.write(event)

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        milliseconds = (time.perf_counter() - self._started) * 1000
        body = request.rfile.read(int(request.headers["Content-Length"] or 0))
        self._answers.put((request.path.rpartition("/")[2], body, milliseconds))
        request.send_response(202)
        request.send_header("Content-Length", "0")
        request.end_headers()
