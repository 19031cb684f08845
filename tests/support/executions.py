"""Executions from their start to their end."""

import json
import time

from batch_predict.local.aws import LocalAws

EXECUTION_SECONDS = 300  # a fault that stays has botocore and Step Functions wait; 110 s were seen on a busy machine
AWS_EXECUTION_SECONDS = 1800


def run_execution(aws, request, *, state_machine_arn=None, name=None):
    """Start an execution, wait for its end, and return its description with input and output decoded."""
    stepfunctions = aws.client("stepfunctions")
    started = stepfunctions.start_execution(
        stateMachineArn=state_machine_arn or aws.state_machine_arn,
        input=json.dumps(request),
        **({"name": name} if name else {}),
    )
    seconds = EXECUTION_SECONDS if isinstance(aws, LocalAws) else AWS_EXECUTION_SECONDS
    start = time.monotonic()
    while True:
        execution = stepfunctions.describe_execution(executionArn=started["executionArn"])
        if execution["status"] != "RUNNING":
            break
        elapsed = time.monotonic() - start
        assert elapsed < seconds, f"{started['executionArn']} runs for more than {seconds} s"
        time.sleep(min(2, max(0.02, elapsed / 20)))  # looking is work, too, which those that run need
    return {
        **execution,
        "input": json.loads(execution["input"]),
        "output": json.loads(execution["output"]) if execution["status"] == "SUCCEEDED" else None,
    }
