"""Where the rewritten definition runs: the emulator's own Step Functions, or AWS Step Functions Local."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import socket
import subprocess
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError  # noqa: A004 - botocore's own name

from tools.stepfunctions_local import rewritten

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

REWRITTEN_FOR = ((), ("--legacy",), ("--legacy", "--before-2023-09"))
"""Options of the rewriting, tried in this order: an engine refuses fields that it does not know."""

START_SECONDS = 60
EXECUTION_SECONDS = 120
PORT = 8083
"""Where Step Functions Local listens, always."""
ROLE = "arn:aws:iam::123456789012:role/DummyRole"
"""Step Functions Local checks no permission."""

FAILURES = (
    *("lambdaFunctionFailedEventDetails", "lambdaFunctionTimedOutEventDetails", "lambdaFunctionScheduleFailedEventDetails"),
    *("taskFailedEventDetails", "taskTimedOutEventDetails"),
)


class Told(NamedTuple):
    """What an engine tells of an execution that is over."""

    status: str
    error: str | None
    cause: str | None
    output: dict[str, Any] | None
    last_state: str
    document: dict[str, Any]
    """With which its last state was entered."""
    failures: list[str]
    """Errors of failed attempts, in order."""


class Workflow(NamedTuple):
    """The rewritten state machine on an engine."""

    client: Any
    state_machine_arn: str
    options: tuple[str, ...]
    """Of the rewriting."""

    def run(self, request: Mapping[str, Any]) -> Told:
        """Start an execution, wait for its end, and read its history."""
        started = self.client.start_execution(stateMachineArn=self.state_machine_arn, input=json.dumps(request))
        deadline = time.monotonic() + EXECUTION_SECONDS
        while (execution := self.client.describe_execution(executionArn=started["executionArn"]))["status"] == "RUNNING":
            assert time.monotonic() < deadline, f"{started['executionArn']} runs for more than {EXECUTION_SECONDS} s"
            time.sleep(0.05)
        pages = self.client.get_paginator("get_execution_history").paginate(executionArn=started["executionArn"])
        events = [event for page in pages for event in page["events"]]
        entered = [event["stateEnteredEventDetails"] for event in events if "stateEnteredEventDetails" in event]
        succeeded = execution["status"] == "SUCCEEDED"
        last = next((event for event in events if event["type"] == "ExecutionFailed"), {}).get("executionFailedEventDetails", {})
        return Told(
            execution["status"],
            execution.get("error", last.get("error")),
            execution.get("cause", last.get("cause")),
            json.loads(execution["output"]) if succeeded else None,
            entered[-1]["name"],
            json.loads(entered[-1]["input"]),
            [event[details]["error"] for event in events for details in FAILURES if details in event],
        )


def workflow_on(client: Any, text: str, arns: Mapping[str, str], role: str, tried: Sequence[tuple[str, ...]]) -> Workflow:
    """Create the state machine by the first rewriting that the engine takes."""
    for options in tried:
        definition = re.sub(r"\$\{(\w+)\}", lambda match: arns[match[1]], json.dumps(rewritten(json.loads(text), *options)))
        name = f"rewritten-{uuid.uuid4()}"  # one that runs on keeps those of earlier runs
        try:
            created = client.create_state_machine(name=name, definition=definition, roleArn=role)
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidDefinition" or options == tried[-1]:
                raise
        else:
            return Workflow(client, created["stateMachineArn"], options)
    raise AssertionError(tried)


# --- Step Functions Local ---------------------------------------------------------------------------------------------------------


def stepfunctions_client(endpoint_url: str, secret_access_key: str) -> Any:
    """Return a client for an engine; AWS's own checks no signature."""
    return boto3.client(
        "stepfunctions",
        endpoint_url=endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key=secret_access_key,
        config=Config(retries={"mode": "standard"}, proxies={}),
    )


def wait_until_ready(client: Any) -> None:
    """Wait until an engine answers."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            client.list_state_machines()
        except (ConnectionError, HTTPClientError):
            assert time.monotonic() < deadline, f"{client.meta.endpoint_url} does not answer within {START_SECONDS} s"
            time.sleep(0.2)
        else:
            return


def docker() -> str | None:
    """Return the command of a Docker that runs; None where there is none."""
    command = shutil.which("docker")
    if command and subprocess.run([command, "info"], capture_output=True, timeout=30, check=False).returncode == 0:
        return command
    return None


@contextmanager
def container(command: str, image: str, lambda_endpoint: str, secret_access_key: str) -> Iterator[str]:
    """Run Step Functions Local by Docker, with functions at an endpoint on this machine's loopback; yield its own endpoint.

    The key with which it signs is in no command line, which other users can see.

    On Linux it shares the host's network, because what listens on 127.0.0.1 cannot be reached from another one. Docker
    Desktop reaches it under a name.
    """
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", PORT)), (
            f"something listens on port {PORT}: is it what STEPFUNCTIONS_LOCAL_ENDPOINT names?"
        )
    port = urlsplit(lambda_endpoint).port
    shares = platform.system() == "Linux"
    network = ["--network", "host"] if shares else ["--publish", f"127.0.0.1:{PORT}:{PORT}"]
    host = "127.0.0.1" if shares else "host.docker.internal"
    variables = {
        "LAMBDA_ENDPOINT": f"http://{host}:{port}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "WAIT_TIME_SCALE": "0.1",
    }
    settings = [part for name, value in variables.items() for part in ("--env", f"{name}={value}")]
    run = subprocess.run(
        [command, "run", "--rm", "--detach", *network, *settings, "--env", "AWS_SECRET_ACCESS_KEY", image],
        env={**os.environ, "AWS_SECRET_ACCESS_KEY": secret_access_key},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    try:
        yield f"http://127.0.0.1:{PORT}"
    finally:
        subprocess.run([command, "stop", run.stdout.strip()], capture_output=True, check=True)
