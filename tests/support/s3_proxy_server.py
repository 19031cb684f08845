"""The process behind `s3_proxy.py`: serves a port for each caller, and takes commands on standard input.

A command is a line of JSON, `[name, argument]`, as is its answer on standard output. When standard input ends, so does this.
"""

import http.client
import json
import os
import random
import re
import select
import socket
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import unescape

from s3_rules import STATUS  # beside this file, which runs as a script

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect"}
ANSWERED_HERE = {"content-length", "date", "server"}
UPSTREAM_SECONDS = 120
PIECE_BYTES = 2**16

REFUSALS = {
    "throttle": "SlowDown",
    "500": "InternalError",
    "503": "ServiceUnavailable",
    "403": "AccessDenied",
    "412": "PreconditionFailed",
    "409": "ConditionalRequestConflict",
}
OTHER_FAULTS = {"delay", "404", "error_in_200", "reset", "reset_after", "cut", "stall", "corrupt", "corrupt_sent"}
MISSING = {"GetObject": "NoSuchKey", "HeadObject": "NoSuchKey", "UploadPartCopy": "NoSuchKey"}
NEEDS_AN_UPLOAD = {"UploadPart", "CompleteMultipartUpload", "AbortMultipartUpload", "ListParts"}

CONDITIONS = ("if-match", "if-none-match", "x-amz-copy-source-if-match")

# (method, what of the query or headers must be there) -> operation; the first that fits.
OPERATIONS = (
    ("GET", {"list-type"}, "ListObjectsV2"),
    ("GET", {"uploads"}, "ListMultipartUploads"),
    ("GET", {"uploadId"}, "ListParts"),
    ("GET", {"key"}, "GetObject"),
    ("HEAD", {"key"}, "HeadObject"),
    ("HEAD", set(), "HeadBucket"),
    ("PUT", {"uploadId", "x-amz-copy-source"}, "UploadPartCopy"),
    ("PUT", {"uploadId"}, "UploadPart"),
    ("PUT", {"x-amz-copy-source"}, "CopyObject"),
    ("PUT", {"key"}, "PutObject"),
    ("POST", {"uploads"}, "CreateMultipartUpload"),
    ("POST", {"uploadId"}, "CompleteMultipartUpload"),
    ("POST", {"delete"}, "DeleteObjects"),
    ("DELETE", {"uploadId"}, "AbortMultipartUpload"),
    ("DELETE", {"key"}, "DeleteObject"),
)


class Request(NamedTuple):
    function: str
    operation: str
    key: str
    range: str
    condition: str


class ActiveRule:
    """A rule and how far it is."""

    def __init__(self, rule):
        self.rule = rule
        self.patterns = [(name, re.compile(rule[name])) for name in ("key", "range") if rule[name] is not None]
        self.random = random.Random(rule["seed"])
        self.matched = 0
        self.injected = 0

    def strikes(self, request):
        """Whether this request meets the fault."""
        rule = self.rule
        if any(rule[name] is not None and rule[name] != getattr(request, name) for name in ("function", "operation")):
            return False
        if not all(pattern.search(getattr(request, name)) for name, pattern in self.patterns):
            return False
        if rule["times"] is not None and self.injected >= rule["times"]:
            return False
        self.matched += 1
        if self.matched <= rule["after"] or self.random.random() >= rule["probability"]:
            return False
        self.injected += 1
        return True


class Proxy:
    """All ports, rules and counts."""

    def __init__(self, endpoint_url, *, journal):
        self.endpoint_url = endpoint_url
        self.upstream = urlsplit(endpoint_url).netloc
        self.lock = threading.Lock()
        self.rules = []
        self.in_force = []
        self.entries = [] if journal else None
        self.ports = {}

    def decide(self, request):
        """Return the rule that the request meets."""
        with self.lock:
            numbers = (number for number in self.in_force if self.rules[number].strikes(request))
            number = next(numbers, None)
            rule = None if number is None else self.rules[number].rule
            if self.entries is not None:
                self.entries.append((*request, rule and rule["fault"]))
            return rule

    # --- commands ----------------------------------------------------------------------------------------------------------------

    def open(self, function):
        if function not in self.ports:
            server = Server(("127.0.0.1", 0), handler_of(self, function))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self.ports[function] = server.server_address[1]
        return self.ports[function]

    def add(self, rule):
        if rule["fault"] not in REFUSALS.keys() | OTHER_FAULTS:
            raise ValueError(f"unknown fault {rule['fault']!r}")
        with self.lock:
            self.rules.append(ActiveRule(rule))
            self.in_force.append(len(self.rules) - 1)
            return self.in_force[-1]

    def remove(self, numbers):
        with self.lock:
            self.in_force = [number for number in self.in_force if number not in numbers]

    def clear(self, _):
        with self.lock:
            self.in_force = []

    def injected(self, _):
        with self.lock:
            return {number: rule.injected for number, rule in enumerate(self.rules)}

    def journal(self, key):
        if self.entries is None:
            raise ValueError("the proxy was started without a journal")
        pattern = re.compile(key)
        with self.lock:
            return [entry for entry in self.entries if pattern.search(entry[2] or "")]


class Server(ThreadingHTTPServer):
    request_queue_size = 128

    def shutdown_request(self, request):
        self.close_request(request)  # without the FIN of a shutdown(), so that SO_LINGER decides how it ends

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), OSError):  # the client may go at any time
            super().handle_error(request, client_address)


def operation_of(method, names):
    return next((operation for verb, needed, operation in OPERATIONS if verb == method and needed <= names), method)


def refusal_of(fault, operation):
    """Return status and code where the fault is an answer of S3's."""
    if fault == "error_in_200":
        return 200, "InternalError"
    missing = "NoSuchUpload" if operation in NEEDS_AN_UPLOAD else MISSING.get(operation, "NoSuchBucket")
    code = missing if fault == "404" else REFUSALS.get(fault)
    return (STATUS[code], code) if code else None


def flipped(content):
    """Return the content with one bit in the middle changed."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :] if content else content


def handler_of(proxy, function):  # noqa: C901 - a class
    """Return the class that handles one caller's connections."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        connection_upstream = None

        def handle_request(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = self.described(body)
            rule = proxy.decide(request)
            fault = rule["fault"] if rule else None
            refusal = refusal_of(fault, request.operation) if fault else None
            if refusal:
                self.refuse(*refusal)
            elif fault == "reset":
                self.reset()
            else:
                if fault == "delay":
                    time.sleep(rule["seconds"])
                try:
                    response = self.pass_on(flipped(body) if fault == "corrupt_sent" else body)
                except (OSError, http.client.HTTPException):
                    self.reset()  # S3 itself is gone
                    return
                self.answer(response, fault, rule["seconds"] if rule else 0.0)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_request  # noqa: N815 - BaseHTTPRequestHandler's names

        def described(self, body):
            url = urlsplit(self.path)
            query = parse_qs(url.query, keep_blank_values=True)
            bucket, _, key = unquote(url.path).lstrip("/").partition("/")
            names = {*query, *(name.lower() for name in self.headers), *(["key"] if key else [])}
            operation = operation_of(self.command, names)
            if operation == "DeleteObjects":  # the first one stands for all
                key = unescape(body.partition(b"<Key>")[2].partition(b"</Key>")[0].decode())
            key = key or query.get("prefix", [""])[0]
            condition = next((name for name in CONDITIONS if name in names), "")
            ranged = self.headers.get("Range") or self.headers.get("x-amz-copy-source-range") or ""
            return Request(function, operation, f"{bucket}/{key}", ranged, condition)

        def refuse(self, status, code):
            answer = f"<Error><Code>{code}</Code><Message>Injected by the test.</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer)

        def reset(self):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True

        def pass_on(self, body):
            upstream = self.connection_upstream
            if upstream and (upstream.sock is None or select.select([upstream.sock], [], [], 0)[0]):
                upstream.close()  # it ended meanwhile
                upstream = None
            upstream = upstream or http.client.HTTPConnection(proxy.upstream, timeout=UPSTREAM_SECONDS)
            self.connection_upstream = upstream
            # The Host header stays the client's: it is part of the signature.
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    upstream.putheader(name, value)
            upstream.endheaders(body or None)
            return upstream.getresponse()

        def answer(self, response, fault, seconds):
            if fault == "reset_after":
                response.read()
                self.reset()
                return
            length = response.getheader("Content-Length")
            # The emulator may answer in chunks: then all of it is read, to know its length.
            content = None if length is not None and fault is None else response.read()
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in HOP_BY_HOP | ANSWERED_HERE:
                    self.send_header(name, value)
            self.send_header("Content-Length", length if content is None or self.command == "HEAD" else str(len(content)))
            self.end_headers()
            if content is None:
                while piece := response.read(PIECE_BYTES):
                    self.wfile.write(piece)
            elif fault in {"cut", "stall"}:
                self.wfile.write(content[: len(content) // 2])
                time.sleep(seconds)
                self.close_connection = True
            else:
                self.wfile.write(flipped(content) if fault == "corrupt" else content)

        def finish(self):
            super().finish()
            if self.connection_upstream:
                self.connection_upstream.close()

        def log_message(self, *_):
            pass

    return Handler


def main():
    """Serve until standard input ends."""
    proxy = Proxy(sys.argv[1], journal="--journal" in sys.argv)
    commands = {name: getattr(proxy, name) for name in ("open", "add", "remove", "clear", "injected", "journal")}
    for line in sys.stdin:
        name, argument = json.loads(line)
        try:
            answer = commands[name](argument)
        except ValueError as problem:
            answer = {"problem": str(problem)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    os._exit(0)  # without waiting for connections


if __name__ == "__main__":
    main()
