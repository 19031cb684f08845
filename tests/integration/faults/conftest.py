"""All six functions reach S3 through a fault proxy, with IAM enforced."""

import json

import pytest

from batch_predict.deployed import stack_directory
from support.s3_proxy import behind, s3_proxy


@pytest.fixture(scope="module")
def faulty(aws):
    """The proxy between all functions of the stack and S3; other modules may run between these, and have their own."""
    with s3_proxy(aws.endpoint_url, journal=True) as proxy, behind(proxy, aws):
        yield proxy


@pytest.fixture(scope="session")
def definition_tasks():
    """Names of all Task states."""

    def tasks(states):
        for name, state in states.items():
            if state["Type"] == "Task":
                yield name
            if state["Type"] == "Map":
                yield from tasks(state["ItemProcessor"]["States"])

    definition = json.loads((stack_directory() / "statemachine" / "batch_prediction.asl.json").read_text())
    return set(tasks(definition["States"]))
