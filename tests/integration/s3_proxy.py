"""A proxy between functions and S3 that answers some requests with S3's own errors, and passes the others on."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}


class Request(NamedTuple):
    """What a rule sees."""

    method: str
    path: str
    range: str


class Refusal(NamedTuple):
    """What S3 would say."""

    status: int
    code: str


Rule = Callable[[Request], Refusal | None]


class S3Proxy:
    """Counts what it refused; `rule` may be set at any time."""

    def __init__(self, endpoint_url: str) -> None:
        self.upstream = urlsplit(endpoint_url).netloc
        self.rule: Rule = lambda _: None
        self.refused: list[Request] = []
        self.lock = threading.Lock()
        self.url = ""

    def decide(self, request: Request) -> Refusal | None:
        with self.lock:
            refusal = self.rule(request)
            if refusal:
                self.refused.append(request)
            return refusal


@contextmanager
def s3_proxy(endpoint_url: str) -> Iterator[S3Proxy]:
    """Serve a proxy to `endpoint_url` on a free port of 127.0.0.1."""
    proxy = S3Proxy(endpoint_url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_request(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            refusal = proxy.decide(Request(self.command, self.path, self.headers.get("Range", "")))
            if refusal:
                answer = f"<Error><Code>{refusal.code}</Code><Message>Injected by the test.</Message></Error>".encode()
                self.send_response(refusal.status)
                self.send_header("Content-Type", "application/xml")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer)
                return
            upstream = http.client.HTTPConnection(proxy.upstream, timeout=60)
            try:
                # The Host header stays the client's: it is part of the signature.
                upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in HOP_BY_HOP:
                        upstream.putheader(name, value)
                upstream.endheaders(body)
                response = upstream.getresponse()
                content = response.read()
                self.send_response(response.status)
                for name, value in response.getheaders():
                    if name.lower() not in HOP_BY_HOP | {"content-length", "date", "server"}:
                        self.send_header(name, value)
                length = response.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
                self.send_header("Content-Length", length or "0")
                self.end_headers()
                self.wfile.write(content)
            finally:
                upstream.close()

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_request  # noqa: N815  # BaseHTTPRequestHandler's names

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
