"""A proxy between functions and S3 that injects faults by rules.

    with s3_proxy(aws.endpoint_url) as proxy, behind(proxy, aws):
        with proxy.rules(Rule("throttle", function="PlanChunksFunction", operation="HeadObject", times=2)) as (throttled,):
            ...  # run an execution
        assert throttled.injected == 2

Each workflow function has a port of its own, so that a rule knows who calls.
"""

from __future__ import annotations

import random
import re
import socket
import struct
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, NamedTuple, get_args
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import unescape

import urllib3

from support.s3_rules import STATUS

Fault = Literal[
    "delay",  # the request is passed on after `seconds`
    "throttle",  # 503 SlowDown
    "500",  # InternalError
    "503",  # ServiceUnavailable
    "403",  # AccessDenied
    "404",  # NoSuchKey, NoSuchUpload or NoSuchBucket, whatever the operation can miss
    "412",  # PreconditionFailed
    "409",  # ConditionalRequestConflict
    "reset",  # the connection is reset before S3 has seen the request
    "reset_after",  # S3 has done it, and the connection is reset instead of the answer
    "cut",  # the answer's body ends midway, and the connection with it
    "stall",  # the answer's body stops midway, and the connection ends after `seconds`
    "error_in_200",  # 200 with an <Error> body, and S3 has not seen the request
    "corrupt",  # one byte of the answer's body is another one
    "corrupt_sent",  # one byte of the request's body is another one
]

REFUSALS = {
    "throttle": "SlowDown",
    "500": "InternalError",
    "503": "ServiceUnavailable",
    "403": "AccessDenied",
    "412": "PreconditionFailed",
    "409": "ConditionalRequestConflict",
}
MISSING = {"GetObject": "NoSuchKey", "HeadObject": "NoSuchKey", "UploadPartCopy": "NoSuchKey"} | dict.fromkeys(
    ("UploadPart", "CompleteMultipartUpload", "AbortMultipartUpload", "ListParts"), "NoSuchUpload"
)
"""What an operation misses, if that is not the bucket."""

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
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect"}
ANSWERED_HERE = {"content-length", "date", "server"}

FUNCTIONS = (
    "ValidateRequestFunction",
    "PredictChunkFunction",
    "PlanChunksFunction",
    "RecordFailureFunction",
    "MergeOutputsFunction",
    "ExplainFailureFunction",
)
"""Logical ids in the template."""


@dataclass(frozen=True)
class Rule:
    """Which requests meet which fault; what is None matches all."""

    fault: Fault
    function: str | None = None
    """Logical id of the caller, as in the template."""
    operation: str | None = None
    """Its name in S3's API, like `GetObject`."""
    key: str | None = None
    """Regular expression, searched in `bucket/key`, of a listing in `bucket/prefix`."""
    range: str | None = None
    """Regular expression, searched in the header Range, of a copy in x-amz-copy-source-range."""
    after: int = 0
    """Requests that match and are passed on before the first fault."""
    times: int | None = 1
    """Faults at most; None for no end."""
    probability: float = 1.0
    """Of a request that matches to meet the fault."""
    seed: int = 0
    """Of the probability."""
    seconds: float = 0.0
    """Of a delay or a stall."""

    def __post_init__(self):
        assert self.fault in get_args(Fault), self.fault


class Request(NamedTuple):
    """What passed the proxy."""

    function: str
    operation: str
    key: str
    """`bucket/key`, of a listing `bucket/prefix`, of a deletion of many the first one's."""
    range: str
    fault: str | None = None
    """What was injected."""


class RuleInForce:
    """A rule, and how many faults it has injected."""

    def __init__(self, rule):
        self.rule = rule
        self.random = random.Random(rule.seed)
        self.matched = 0
        self.injected = 0

    def strikes(self, request):
        """Whether this request meets the fault."""
        rule = self.rule
        if any(getattr(rule, name) not in {None, getattr(request, name)} for name in ("function", "operation")):
            return False
        if not all(re.search(getattr(rule, name) or "", getattr(request, name)) for name in ("key", "range")):
            return False
        if rule.times is not None and self.injected >= rule.times:
            return False
        self.matched += 1
        if self.matched <= rule.after or self.random.random() >= rule.probability:
            return False
        self.injected += 1
        return True


class S3Proxy:
    """All ports and rules; any thread may use it."""

    def __init__(self, endpoint_url, *, journal):
        self.s3 = urllib3.connection_from_url(endpoint_url, maxsize=64, timeout=120, retries=False)
        self._lock = threading.Lock()
        self._in_force = []
        self._entries = [] if journal else None
        self._servers = {}

    def url(self, function):
        """Return the endpoint for one caller, by any name that the rules should know it under; opened on first use."""
        if function not in self._servers:
            self._servers[function] = server = Server(self, function)
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return f"http://127.0.0.1:{self._servers[function].server_address[1]}"

    def add(self, rule):
        """Put a rule into force; of several that match a request, the first one added that is not used up counts."""
        in_force = RuleInForce(rule)
        with self._lock:
            self._in_force.append(in_force)
        return in_force

    def clear(self):
        """Let no rule be in force any longer."""
        with self._lock:
            self._in_force = []

    @contextmanager
    def rules(self, *rules):
        """Have rules in force for a while; yield them with their counts."""
        added = [self.add(rule) for rule in rules]
        try:
            yield added
        finally:
            with self._lock:
                self._in_force = [rule for rule in self._in_force if rule not in added]

    def journal(self, key=""):
        """Return the requests whose `bucket/key` matches a regular expression, in the order in which they came."""
        with self._lock:
            return [entry for entry in self._entries if re.search(key, entry.key)]

    def rule_for(self, request):
        """Return the rule that a request meets, and count it."""
        with self._lock:
            rule = next((in_force.rule for in_force in self._in_force if in_force.strikes(request)), None)
            if self._entries is not None:
                self._entries.append(request._replace(fault=rule and rule.fault))
            return rule

    def close(self):
        for server in self._servers.values():
            server.shutdown()
            server.server_close()
        self.s3.close()


class Server(ThreadingHTTPServer):
    """The port of one caller."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, proxy, caller):
        super().__init__(("127.0.0.1", 0), Handler)
        self.proxy, self.caller = proxy, caller

    def shutdown_request(self, request):
        self.close_request(request)  # without the FIN of a shutdown(), so that SO_LINGER decides how it ends

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), OSError):  # the client may go at any time
            super().handle_error(request, client_address)


def refusal_of(fault, operation):
    """Return status and code where the fault is an answer of S3's."""
    if fault == "error_in_200":
        return 200, "InternalError"
    code = MISSING.get(operation, "NoSuchBucket") if fault == "404" else REFUSALS.get(fault)
    return (STATUS[code], code) if code else None


def flipped(content):
    """Return the content with one bit in the middle changed."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :] if content else content


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = self.described(body)
        rule = self.server.proxy.rule_for(request) or Rule("delay")
        if refusal := refusal_of(rule.fault, request.operation):
            status, code = refusal
            answer = f"<Error><Code>{code}</Code><Message>Injected by the test.</Message></Error>".encode()
            self.answer(status, {"Content-Type": "application/xml"}, answer)
        elif rule.fault == "reset":
            self.reset()
        else:
            if rule.fault == "delay":
                time.sleep(rule.seconds)
            self.pass_on(flipped(body) if rule.fault == "corrupt_sent" else body, rule)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_request  # noqa: N815 - BaseHTTPRequestHandler's names

    def described(self, body):
        url = urlsplit(self.path)
        query = parse_qs(url.query, keep_blank_values=True)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        names = {*query, *(name.lower() for name in self.headers), *(["key"] if key else [])}
        fitting = (name for verb, needed, name in OPERATIONS if verb == self.command and needed <= names)
        operation = next(fitting, self.command)
        if operation == "DeleteObjects":  # the first one stands for all
            key = unescape(body.partition(b"<Key>")[2].partition(b"</Key>")[0].decode())
        key = key or query.get("prefix", [""])[0]
        ranged = self.headers.get("Range") or self.headers.get("x-amz-copy-source-range") or ""
        return Request(self.server.caller, operation, f"{bucket}/{key}", ranged)

    def pass_on(self, body, rule):
        # The Host header stays the client's: it is part of the signature.
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        try:
            response = self.server.proxy.s3.urlopen(self.command, self.path, body or None, headers, decode_content=False)
        except urllib3.exceptions.HTTPError:
            self.reset()  # S3 itself is gone
            return
        if rule.fault == "reset_after":
            self.reset()
            return
        content = flipped(response.data) if rule.fault == "corrupt" else response.data
        broken = rule.fault in {"cut", "stall"}
        kept = {name: value for name, value in response.headers.items() if name.lower() not in HOP_BY_HOP | ANSWERED_HERE}
        size = response.headers.get("Content-Length", 0) if self.command == "HEAD" else len(content)
        self.answer(response.status, kept, content[: len(content) // 2] if broken else content, size)
        if broken:
            time.sleep(rule.seconds)
            self.close_connection = True

    def answer(self, status, headers, content, size=None):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if size is None else size))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, *_):
        pass


@contextmanager
def s3_proxy(endpoint_url, *, journal=False):
    """Start a proxy to the S3 at `endpoint_url`; a journal of every request takes memory, so only when asked for."""
    proxy = S3Proxy(endpoint_url, journal=journal)
    try:
        yield proxy
    finally:
        proxy.close()


@contextmanager
def behind(proxy, aws, *functions):
    """Let functions of the stack (all, unless named) reach S3 through the proxy; their other variables stay."""
    endpoints = {function: proxy.url(function) for function in functions or FUNCTIONS}
    try:
        set_s3_endpoints(aws, endpoints)
        yield
    finally:
        set_s3_endpoints(aws, dict.fromkeys(endpoints))


def set_s3_endpoints(aws, endpoints):
    """Say for each function where S3 is; None for where all else is."""
    client = aws.client("lambda")
    names = function_names(aws)
    for function, endpoint in endpoints.items():
        configuration = client.get_function_configuration(FunctionName=names[function])
        variables = configuration.get("Environment", {}).get("Variables", {})
        variables.pop("AWS_ENDPOINT_URL_S3", None)
        if endpoint:
            variables["AWS_ENDPOINT_URL_S3"] = endpoint
        client.update_function_configuration(FunctionName=names[function], Environment={"Variables": variables})


def function_names(aws):
    """Return the functions' names by logical id."""
    stack_name = aws.state_machine_arn.rpartition(":")[2]  # the state machine's name
    pages = aws.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack_name)
    return {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for page in pages
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] == "AWS::Lambda::Function"
    }
