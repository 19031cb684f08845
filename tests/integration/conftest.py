"""The embedded AWS, once for all integration tests. IAM is enforced, and Step Functions does not wait before its retries."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batch_predict.local_aws import LocalAws, local_aws

EXECUTION_SECONDS = 120

RunExecution = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def aws() -> Iterator[LocalAws]:
    """The project's own stack."""
    with local_aws(enforce_iam=True, wait_scale=0) as running:
        yield running


@pytest.fixture(scope="session")
def canary_stack() -> Path:
    """The directory of the smallest stack that local_aws() takes."""
    return Path(__file__).with_name("canary_stack")


@pytest.fixture(scope="session")
def canary_aws(canary_stack: Path) -> Iterator[LocalAws]:
    """The canary stack, on an emulator of its own."""
    with local_aws(enforce_iam=True, wait_scale=0, directory=canary_stack) as running:
        yield running


@pytest.fixture(scope="session")
def run_execution() -> RunExecution:
    """Start an execution, wait for its end, and return its description with input and output decoded."""

    def run(aws: LocalAws, request: Any, *, state_machine_arn: str | None = None, name: str | None = None) -> dict[str, Any]:
        stepfunctions = aws.client("stepfunctions")
        started = stepfunctions.start_execution(
            stateMachineArn=state_machine_arn or aws.state_machine_arn,
            input=json.dumps(request),
            **({"name": name} if name else {}),
        )
        deadline = time.monotonic() + EXECUTION_SECONDS
        while True:
            execution = stepfunctions.describe_execution(executionArn=started["executionArn"])
            if execution["status"] != "RUNNING":
                break
            assert time.monotonic() < deadline, f"{started['executionArn']} runs for more than {EXECUTION_SECONDS} s"
            time.sleep(0.02)
        return {
            **execution,
            "input": json.loads(execution["input"]),
            "output": json.loads(execution["output"]) if execution["status"] == "SUCCEEDED" else None,
        }

    return run
