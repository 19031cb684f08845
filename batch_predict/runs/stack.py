"""The stack that a command talks to, on AWS or on the embedded local AWS: both answer the same calls."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from batch_predict.errors import BatchPredictError

# The prediction function may run as long: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
CLIENT_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 5}, read_timeout=910)


@dataclass(frozen=True)
class Stack(ABC):
    """What commands need of a stack; `LocalAws` is one, too."""

    outputs: Mapping[str, str] = field(repr=False)
    """All outputs of the stack, as template.yaml declares them."""
    poll_seconds: ClassVar = 1.0
    """Pause between two looks at an execution."""

    @property
    def state_machine_arn(self) -> str:
        """Return what StartExecution takes."""
        return self.outputs["StateMachineArn"]

    @property
    def predict_function_name(self) -> str:
        """Return the prediction function's name."""
        return self.outputs["PredictFunctionName"]

    @property
    @abstractmethod
    def title(self) -> str:
        """Return how messages call it."""

    @abstractmethod
    def client(self, service: str) -> Any:
        """Return a boto3 client."""


@dataclass(frozen=True)
class DeployedStack(Stack):
    """A stack on AWS, reached as boto3 is configured: by environment, profile or role."""

    name: str
    session: Any = field(repr=False)

    @property
    def title(self) -> str:
        """Return how messages call it."""
        return f"the stack {self.name}"

    def client(self, service: str) -> Any:
        """Return a boto3 client of the session."""
        return self.session.client(service, config=CLIENT_CONFIG)


def find_stack(name: str, *, profile: str | None = None, region: str | None = None) -> DeployedStack:
    """Find a deployed stack by its name, and what it holds by its outputs."""
    try:
        session: Any = boto3.Session(profile_name=profile, region_name=region)
        outputs = stack_outputs(session.client("cloudformation", config=CLIENT_CONFIG), name)
    except ClientError as error:
        raise BatchPredictError(f"the stack {name} cannot be looked up: {error}") from error
    except BotoCoreError as error:
        raise BatchPredictError(
            f"the stack {name} cannot be looked up: {error}; set credentials and region as for the AWS CLI, "
            "or with --profile and --region"
        ) from error
    if outputs is None:
        raise BatchPredictError(f"there is no stack {name} in this account and region: name it as `sam deploy` did")
    missing = [key for key in ("StateMachineArn", "PredictFunctionName", "ModelUri", "DataUri", "OutputUri") if key not in outputs]
    if missing:
        raise BatchPredictError(
            f"the stack {name} has no output {', '.join(missing)}: it was not deployed from this project's template"
        )
    return DeployedStack(outputs, name, session)


def stack_outputs(cloudformation: Any, name: str) -> dict[str, str] | None:
    """Return the outputs of a stack by their names; None if there is no such stack."""
    try:
        stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":  # CloudFormation's word for: does not exist
            return None
        raise
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", ())}


@contextmanager
def aws_troubles(stack: Stack) -> Iterator[None]:
    """Say in one sentence what AWS does not do."""
    try:
        yield
    except (BotoCoreError, ClientError, Boto3Error) as error:
        raise BatchPredictError(f"{stack.title} failed: {error}") from error
