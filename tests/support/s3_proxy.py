"""A proxy between functions and S3, in a process of its own, that injects faults by rules.

    with s3_proxy(aws.endpoint_url) as proxy, behind(proxy, aws):
        number = proxy.add(Rule("throttle", function="PlanChunksFunction", operation="HeadObject", times=2))
        ...  # run an execution
        assert proxy.injected()[number] == 2

Each workflow function has a port of its own, so that a rule knows who calls. The process ends with its owner, also by `kill -9`.
What serves is `s3_proxy_server.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

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

FAULTS: tuple[Fault, ...] = get_args(Fault)

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


class Request(NamedTuple):
    """What passed the proxy."""

    function: str
    operation: str
    key: str
    """`bucket/key`, of a listing `bucket/prefix`, of a deletion of many the first one's."""
    range: str
    condition: str
    """The header that makes the request conditional, in lower case."""
    fault: str | None
    """What was injected."""


class S3Proxy:
    """The owner's end; any thread may use it."""

    def __init__(self, process):
        self._process = process
        self._lock = threading.Lock()
        self._faults = {}

    def url(self, function):
        """Return the endpoint for one caller, by any name that the rules should know it under; opened on first use."""
        return f"http://127.0.0.1:{self._ask('open', function)}"

    def add(self, rule):
        """Put a rule into force; of several that match a request, the first one added that is not used up counts."""
        number = self._ask("add", asdict(rule))
        self._faults[number] = rule.fault
        return number

    def remove(self, *numbers):
        """Let rules no longer be in force; what they injected stays counted."""
        self._ask("remove", numbers)

    def clear(self):
        self._ask("clear", None)

    @contextmanager
    def rules(self, *rules):
        """Have rules in force for a while; yield their numbers."""
        numbers = [self.add(rule) for rule in rules]
        try:
            yield numbers
        finally:
            self.remove(*numbers)

    def injected(self):
        """Return how many faults each rule ever added has injected, by number."""
        counts = self._ask("injected", None)
        return {int(number): count for number, count in counts.items()}

    def injected_faults(self):
        total = Counter()
        for number, count in self.injected().items():
            total[self._faults[number]] += count
        return total

    def journal(self, key=""):
        """Return the requests whose `bucket/key` matches a regular expression, in the order in which they came."""
        return [Request(*entry) for entry in self._ask("journal", key)]

    def _ask(self, command, argument):
        with self._lock:
            assert self._process.stdin
            assert self._process.stdout
            self._process.stdin.write(json.dumps([command, argument]) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        assert answer, f"the proxy ended with {self._process.wait()} when asked to {command} {argument!r}"
        value = json.loads(answer)
        if isinstance(value, dict) and "problem" in value:
            raise ValueError(value["problem"])
        return value


@contextmanager
def s3_proxy(endpoint_url, *, journal=False):
    """Start a proxy to the S3 at `endpoint_url`; a journal of every request takes memory, so only when asked for."""
    server = Path(__file__).with_name("s3_proxy_server.py")
    command = [sys.executable, str(server), endpoint_url, *(["--journal"] if journal else [])]
    # A session of its own: Ctrl-C is for the owner, whose end ends the proxy.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdin
        try:
            yield S3Proxy(process)
        finally:
            process.stdin.close()
            process.wait(10)


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
    pages = aws.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack_name(aws))
    return {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for page in pages
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] == "AWS::Lambda::Function"
    }


def stack_name(aws):
    """Return the stack's name, which is the state machine's."""
    return aws.state_machine_arn.rpartition(":")[2]
