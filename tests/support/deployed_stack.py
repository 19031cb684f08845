"""The stack that tests run against with `--aws`: deployed before, found by its name, with the user's own credentials."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from support.places import split_uri

if TYPE_CHECKING:
    from collections.abc import Mapping

# A function may run as long: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 5}, read_timeout=910)


@dataclass(frozen=True)
class DeployedStack:
    """What tests need of a stack on AWS; `LocalAws` has the same."""

    state_machine_arn: str
    predict_function_name: str
    outputs: Mapping[str, str] = field(repr=False)

    def client(self, service):
        """Return a new boto3 client, as the user configured boto3."""
        return boto3.client(service, config=CONFIG)


@dataclass(frozen=True)
class Places:
    """Where models, data and output go: in the stack's own prefixes, as URIs that end in `/`."""

    models: str
    data: str
    output: str

    @classmethod
    def of(cls, outputs, below=""):
        """Return the places that the stack's outputs name, or a prefix below each of them."""
        return cls(*(f"{outputs[name]}{below}" for name in ("ModelUri", "DataUri", "OutputUri")))


def find_stack(name):
    """Find the stack by its name, or end all tests with one sentence."""
    try:
        stack = boto3.client("cloudformation", config=CONFIG).describe_stacks(StackName=name)["Stacks"][0]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", ())}
        Places.of(outputs)
        return DeployedStack(outputs["StateMachineArn"], outputs["PredictFunctionName"], outputs)
    except (BotoCoreError, ClientError) as error:
        problem = f"cannot look up the stack {name}: {error}"
    except KeyError as error:
        problem = f"the stack {name} has no output {error}: it was not deployed from this template"
    pytest.exit(f"--aws: {problem}", returncode=pytest.ExitCode.USAGE_ERROR)


def delete_all(s3, uri):
    """Delete what is under a prefix: every version, and every upload that was not completed."""
    bucket, prefix = split_uri(uri)
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        versions = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        if versions:
            objects = [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in versions]
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
            assert not answer.get("Errors"), answer["Errors"]
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
        for upload in page.get("Uploads", ()):
            s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
