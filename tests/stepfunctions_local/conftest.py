"""The rewritten state machine on each engine that is there, and functions on the embedded local AWS for both."""

import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from engines import stepfunctions_client, workflow_on

from batch_predict.deployed import stack_directory
from batch_predict.local.aws import local_aws
from batch_predict.local.deploy import zip_function
from support.s3_proxy import FUNCTIONS, behind, function_names, s3_proxy

# What a Step Functions Local that is running already was started with: its port is where the functions are, by its secret it signs.
ENDPOINT = os.environ.get("STEPFUNCTIONS_LOCAL_ENDPOINT")
LAMBDA_ENDPOINT = os.environ.get("LAMBDA_ENDPOINT", "http://127.0.0.1:3001")
SECRET = os.environ.get("LAMBDA_SECRET_ACCESS_KEY")


@pytest.fixture(scope="package")
def aws():
    """The project's own stack: S3 and the functions."""
    assert SECRET or not ENDPOINT, "LAMBDA_SECRET_ACCESS_KEY must be what the engine at STEPFUNCTIONS_LOCAL_ENDPOINT signs with"
    port = urlsplit(LAMBDA_ENDPOINT).port if ENDPOINT else None
    with local_aws(port, enforce_iam=True, wait_scale=0, secret_access_key=SECRET) as running:
        yield running


@pytest.fixture(scope="package")
def arns(aws, tmp_path_factory):
    """The functions' ARNs by the names that the definition has for them; the planner's is the one that returns the items."""
    client = aws.client("lambda")
    configured = {
        logical_id: client.get_function_configuration(FunctionName=name)
        for logical_id, name in function_names(aws).items()
        if logical_id in FUNCTIONS
    }
    planner = configured["PlanChunksFunction"]
    directory = tmp_path_factory.mktemp("planner")
    shutil.copytree(stack_directory() / "functions" / "workflow", directory / "workflow")
    shutil.copy(Path(__file__).with_name("plan_with_items.py"), directory / "workflow")
    handler = "workflow.plan_with_items.lambda_handler"
    configured["PlanChunksFunction"] = client.create_function(
        FunctionName="plan-with-items",
        Handler=handler,
        Code={"ZipFile": zip_function(directory, handler)},
        **{field: planner[field] for field in ("Runtime", "Role", "Timeout", "MemorySize")},
        Environment={"Variables": planner["Environment"]["Variables"]},
    )
    return {f"{logical_id}Arn": found["FunctionArn"] for logical_id, found in configured.items()}


@pytest.fixture(scope="package", params=["emulator", "Step Functions Local"])
def workflow(request, aws, arns):
    """The rewritten state machine on the emulator's engine, and on Step Functions Local if there is one."""
    text = (stack_directory() / "statemachine" / "batch_prediction.asl.json").read_text()
    emulator = aws.client("stepfunctions")
    role = emulator.describe_state_machine(stateMachineArn=aws.state_machine_arn)["roleArn"]
    if request.param == "emulator":
        return workflow_on(emulator, text, arns, role)
    if ENDPOINT:
        return workflow_on(stepfunctions_client(ENDPOINT, aws.secret_access_key), text, arns, role)
    pytest.skip(
        "no Step Functions Local: STEPFUNCTIONS_LOCAL_ENDPOINT names none, and only `make test-sfn-local` starts it by Docker"
    )


@pytest.fixture
def proxy(aws):
    """Between the prediction function and S3."""
    with s3_proxy(aws.endpoint_url) as proxy, behind(proxy, aws, "PredictChunkFunction"):
        yield proxy
