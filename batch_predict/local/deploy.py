"""Deploys `template.yaml` to the embedded local AWS, as `sam package` and `sam deploy` do. Only `LOCAL_ADAPTATIONS` differ."""

import copy
import hashlib
import io
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, WaiterError
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from batch_predict.errors import BatchPredictError
from batch_predict.local.deployed_package import DeployedPackage, deployed_package
from batch_predict.runs.stack import stack_outputs
from batch_predict.setup import kernel
from batch_predict.setup.package import function_files, zip_files

AS_PACKAGED = Path(__file__).with_name("as_packaged.py")
START_FUNCTION = str(Path(__file__).with_name("start_function.py"))
PACKAGE_PREFIX = ".deploy/"
STACK_SECONDS = 120  # far more than the 2 seconds it takes
POLL_SECONDS = 0.1

ClientFactory = Callable[[str], Any]
JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Adaptation:
    """One way in which the stack on the embedded local AWS differs from the stack on AWS."""

    what: str
    local: str
    reason: str


LOCAL_ADAPTATIONS = (
    Adaptation(
        what="Runtime of every AWS::Serverless::Function",
        local="provided.al2023, its package's `bootstrap` starts AWS's own runtime client, awslambdaric",
        reason="in its python3.x the emulator calls every exception Runtime.HandlerError, which no Retry names",
    ),
    Adaptation(
        what="Python and libraries of the prediction function",
        local="the environment's own; `as_packaged.py` and the variable DEPLOYED_PACKAGE make it refuse what the package would",
        reason="the package is for Amazon Linux and the template's Python",
    ),
    Adaptation(
        what="MaxConcurrencyPath of a Distributed Map",
        local="MaxConcurrency, the number of cores",
        reason="the emulator ignores the path, and would start up to 64 processes at once",
    ),
    Adaptation(
        what="ToleratedFailurePercentagePath of a Distributed Map",
        local="ToleratedFailurePercentage, 0 for a run that tolerates nothing, else 100",
        reason="the emulator ignores the path, and would tolerate nothing; the merge checks the tolerance in any case",
    ),
)


def adapt_template(template: JsonObject) -> JsonObject:
    """Return a copy of the SAM ``template`` with the runtime of `LOCAL_ADAPTATIONS`."""
    adapted = copy.deepcopy(template)
    for function in _properties(adapted, "AWS::Serverless::Function"):
        function["Runtime"] = "provided.al2023"
    return adapted


def adapt_definition(definition: JsonObject, *, tolerates: bool = True) -> JsonObject:
    """Return a copy of the state machine ``definition`` with the literals of `LOCAL_ADAPTATIONS`."""
    literals = {
        "MaxConcurrencyPath": ("MaxConcurrency", usable_cores()),
        "ToleratedFailurePercentagePath": ("ToleratedFailurePercentage", 100 if tolerates else 0),
    }

    states: JsonObject = {
        name: dict(literals.get(field, (field, value)) for field, value in state.items())
        for name, state in definition["States"].items()
    }
    return {**definition, "States": states}


def bootstrap(package: DeployedPackage | None = None) -> str:
    """Return the script that starts a provided.al2023 function by this Python, with the modules of its ``package`` alone."""
    assignments = ['PYTHONPATH="$LAMBDA_TASK_ROOT"']
    if package:
        assignments += [f"{name}={shlex.quote(value)}" for name, value in package.environment.items()]
    # -P: the function must not see the modules beside that script.
    command = shlex.join([sys.executable, "-P", START_FUNCTION])
    return f'#!/bin/sh\n{" ".join(assignments)} exec {command} "$_HANDLER"\n'


def usable_cores() -> int:
    """Return how many cores this process may use; a container may have fewer than the machine."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def deploy(
    client: ClientFactory,
    directory: Path,
    *,
    bucket: str,
    stack_name: str,
    parameters: Mapping[str, str],
    tolerates: bool = True,
) -> dict[str, str]:
    """Deploy ``directory``'s `template.yaml`, wait for it, and return the stack's outputs.

    ``client`` makes a boto3 client for a service. Packages go to ``bucket``, under `.deploy/`; the template may declare fewer
    ``parameters``. ``tolerates``: see `LOCAL_ADAPTATIONS`. Raises BatchPredictError with the reasons of the resources that failed.
    """
    template = yaml_parse((directory / "template.yaml").read_text())
    packaged = _package(adapt_template(template), directory, client("s3"), bucket, tolerates=tolerates)
    declared = template.get("Parameters", {})
    cloudformation = client("cloudformation")
    try:
        cloudformation.create_stack(
            StackName=stack_name,
            TemplateBody=json.dumps(packaged, default=str),  # YAML reads an unquoted 2012-10-17 as a date
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items() if name in declared],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
    except ClientError as error:
        raise BatchPredictError(f"{directory / 'template.yaml'} was refused: {error.response['Error']['Message']}") from error
    waiting = {"Delay": POLL_SECONDS, "MaxAttempts": int(STACK_SECONDS / POLL_SECONDS)}
    with suppress(WaiterError):  # what it says is below
        cloudformation.get_waiter("stack_create_complete").wait(StackName=stack_name, WaiterConfig=waiting)
    stack = cloudformation.describe_stacks(StackName=stack_name)["Stacks"][0]
    if stack["StackStatus"] != "CREATE_COMPLETE":
        reasons = "; ".join(_failure_reasons(cloudformation, stack_name)) or stack.get("StackStatusReason", "no reason given")
        raise BatchPredictError(
            f"the stack {stack_name} is {stack['StackStatus']} after at most {STACK_SECONDS} s: {reasons}; "
            f"correct {directory / 'template.yaml'} and start again"
        )
    return stack_outputs(cloudformation, stack_name) or {}


def _package(template: JsonObject, directory: Path, s3: Any, bucket: str, *, tolerates: bool) -> JsonObject:
    """Upload what the template names by local path, and put the S3 locations in place of the paths."""

    def upload(content: bytes, suffix: str) -> JsonObject:
        key = f"{PACKAGE_PREFIX}{hashlib.sha256(content).hexdigest()}{suffix}"
        s3.put_object(Bucket=bucket, Key=key, Body=content)
        return {"Bucket": bucket, "Key": key}

    for function in _properties(template, "AWS::Serverless::Function"):
        code = directory / function["CodeUri"]
        package = deployed_package(directory) if (code / "requirements.txt").exists() else None
        function["CodeUri"] = upload(zip_function(code, function["Handler"], package), ".zip")
    for state_machine in _properties(template, "AWS::Serverless::StateMachine"):
        definition = json.loads((directory / state_machine["DefinitionUri"]).read_text())
        state_machine["DefinitionUri"] = upload(json.dumps(adapt_definition(definition, tolerates=tolerates)).encode(), ".asl.json")
    return template


def zip_function(code: Path, handler: str, package: DeployedPackage | None = None) -> bytes:
    """Return a function's own files and the bootstrap, which knows its ``package``, as a zip: equal for equal files."""
    files = {**function_files(code, handler), "bootstrap": bootstrap(package).encode()}
    if package:
        files[AS_PACKAGED.name] = AS_PACKAGED.read_bytes()
        library = kernel.local_kernel()
        files |= {kernel.LIBRARY: library.read_bytes()} if library else {}
    zipped = io.BytesIO()
    zip_files(zipped, files)
    return zipped.getvalue()


def _properties(template: JsonObject, resource_type: str) -> Iterator[JsonObject]:
    """Yield the Properties of each resource of ``resource_type``."""
    return (resource["Properties"] for resource in template["Resources"].values() if resource["Type"] == resource_type)


def _failure_reasons(cloudformation: Any, stack_name: str) -> list[str]:
    """Return what failed and why, first failure first."""
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack_name)
    return [
        f"{event['LogicalResourceId']} ({event['ResourceType']}): {event['ResourceStatusReason']}"
        for page in pages
        for event in page["StackEvents"]
        if event["ResourceStatus"] == "CREATE_FAILED" and "ResourceStatusReason" in event
    ][::-1]
