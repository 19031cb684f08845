"""Where the rewritten definition runs: the emulator's own Step Functions, or AWS Step Functions Local."""

import json
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

import boto3
from botocore.config import Config

from tools.stepfunctions_local import rewritten

EXECUTION_SECONDS = 120


class Ended(NamedTuple):
    """What an engine says of an execution that is over."""

    error: str | None  # None if it succeeded
    output: dict[str, Any]
    last_state: str
    document: dict[str, Any]  # what its last state was given
    failures: list[str]  # errors of failed attempts, in order


class Workflow(NamedTuple):
    """The rewritten state machine on an engine."""

    client: Any
    state_machine_arn: str

    def run(self, request: Mapping[str, Any]) -> Ended:
        """Start an execution, wait for its end, and read its history."""
        arn = self.client.start_execution(stateMachineArn=self.state_machine_arn, input=json.dumps(request))["executionArn"]
        deadline = time.monotonic() + EXECUTION_SECONDS
        while (execution := self.client.describe_execution(executionArn=arn))["status"] == "RUNNING":
            assert time.monotonic() < deadline, f"{arn} runs for more than {EXECUTION_SECONDS} s"
            time.sleep(0.05)
        pages = self.client.get_paginator("get_execution_history").paginate(executionArn=arn)
        events = [event for page in pages for event in page["events"]]
        details = [value for event in events for name, value in event.items() if name.endswith("FailedEventDetails")]
        entered = [event["stateEnteredEventDetails"] for event in events if "stateEnteredEventDetails" in event][-1]
        failed = execution["status"] != "SUCCEEDED"
        return Ended(
            details[-1]["error"] if failed else None,  # the execution's own event is the last
            {} if failed else json.loads(execution["output"]),
            entered["name"],
            json.loads(entered["input"]),
            [detail["error"] for detail in (details[:-1] if failed else details)],
        )


def workflow_on(client: Any, text: str, arns: Mapping[str, str], role: str) -> Workflow:
    """Create the rewritten state machine."""
    definition = re.sub(r"\$\{(\w+)\}", lambda match: arns[match[1]], json.dumps(rewritten(json.loads(text))))
    name = f"rewritten-{uuid.uuid4()}"  # an engine that runs on keeps those of earlier runs
    return Workflow(client, client.create_state_machine(name=name, definition=definition, roleArn=role)["stateMachineArn"])


def stepfunctions_client(endpoint_url: str, secret_access_key: str) -> Any:
    """Return a client for an engine, once it answers: botocore asks again for about a minute."""
    client = boto3.client(
        "stepfunctions",
        endpoint_url=endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key=secret_access_key,
        config=Config(retries={"mode": "standard", "total_max_attempts": 10}, proxies={}),
    )
    client.list_state_machines()
    return client
