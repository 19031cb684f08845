"""Score one chunk by the prediction handler in this process: for a debugger, or if the Lambda's log is not enough."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3

from batch_predict.deployed import prediction_handler, stack_directory
from batch_predict.local.aws import LocalAws
from batch_predict.local.deployed_package import deployed_package
from batch_predict.runs.stack import DeployedStack, Stack

PREFIXES = {"MODEL_S3_PREFIX": "ModelUri", "DATA_S3_PREFIX": "DataUri", "OUTPUT_S3_PREFIX": "OutputUri"}
"""The handler's variables that confine it, and the outputs of the stack that say the same."""


def invoke_here(stack: Stack, event: Mapping[str, Any]) -> dict[str, Any]:
    """Call the handler's `lambda_handler`, as you; return `statusCode` and `body`, decoded. It runs the code in the model."""
    # An event comes from a plan in S3: with your credentials, too, the handler goes nowhere that the stack's own could not.
    confined = {name: stack.outputs[output] for name, output in PREFIXES.items() if output in stack.outputs}
    with _environment(_variables(stack) | confined | deployed_package(stack_directory()).environment):
        answer = prediction_handler().lambda_handler(dict(event), None)
    return {"statusCode": answer["statusCode"], "body": json.loads(answer["body"])}


def _variables(stack: Stack) -> dict[str, str]:
    """Return what leads boto3 to the stack: the handler makes its client as in Lambda, by the environment."""
    if isinstance(stack, LocalAws):
        return stack.environment()
    assert isinstance(stack, DeployedStack)
    session = stack.session
    return {"AWS_PROFILE": session.profile_name, "AWS_DEFAULT_REGION": session.region_name}


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    if "AWS_CONFIG_FILE" in variables:
        os.environ.pop("AWS_PROFILE", None)
    if variables.get("AWS_PROFILE") == "default":  # boto3's word for: none was named
        variables = {name: value for name, value in variables.items() if name != "AWS_PROFILE"}
    os.environ.update(variables)
    session = boto3.DEFAULT_SESSION  # it keeps the credentials that it has found first
    boto3.DEFAULT_SESSION = None
    try:
        yield
    finally:
        boto3.DEFAULT_SESSION = session
        os.environ.clear()
        os.environ.update(before)
