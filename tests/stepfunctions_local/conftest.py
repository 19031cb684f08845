"""The rewritten state machine on each engine that is there, and functions on the embedded local AWS for all of them."""

import json
import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import scored_rows
from engines import REWRITTEN_FOR, ROLE, container, docker, stepfunctions_client, wait_until_ready, workflow_on

from batch_predict.deployed import stack_directory
from batch_predict.local.aws import local_aws
from batch_predict.local.deploy import zip_function
from support.s3_proxy import FUNCTIONS, behind, function_names, s3_proxy

ENDPOINT = os.environ.get("STEPFUNCTIONS_LOCAL_ENDPOINT")
LAMBDA_ENDPOINT = os.environ.get("LAMBDA_ENDPOINT", "http://127.0.0.1:3001")
"""What a Step Functions Local that is running already was started with; its port is where the functions are then."""
SECRET = os.environ.get("LAMBDA_SECRET_ACCESS_KEY")
"""What it was started with as AWS_SECRET_ACCESS_KEY, and signs with."""
IMAGE = os.environ.get("STEPFUNCTIONS_LOCAL_IMAGE")
"""What `make test-sfn-local` starts where there is Docker; `make test` starts none."""


@pytest.fixture(scope="package")
def aws():
    """The project's own stack: S3 and the functions."""
    port = urlsplit(LAMBDA_ENDPOINT).port
    assert port, f"LAMBDA_ENDPOINT {LAMBDA_ENDPOINT} names no port"
    assert SECRET or not ENDPOINT, "LAMBDA_SECRET_ACCESS_KEY must be what the engine at STEPFUNCTIONS_LOCAL_ENDPOINT signs with"
    with local_aws(port if ENDPOINT else None, enforce_iam=True, wait_scale=0, secret_access_key=SECRET) as running:
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
    created = client.create_function(
        FunctionName="plan-with-items",
        Handler="workflow.plan_with_items.lambda_handler",
        Code={"ZipFile": zip_function(directory, "workflow.plan_with_items.lambda_handler")},
        **{field: planner[field] for field in ("Runtime", "Role", "Timeout", "MemorySize")},
        Environment={"Variables": planner["Environment"]["Variables"]},
    )
    return {f"{logical_id}Arn": found["FunctionArn"] for logical_id, found in configured.items()} | {
        "PlanChunksFunctionArn": created["FunctionArn"]
    }


@pytest.fixture(scope="package", params=[*REWRITTEN_FOR, None], ids=["inline", "legacy", "before 2023-09", "Step Functions Local"])
def workflow(request, aws, arns):
    """The state machine by each rewriting on the emulator's engine, and on Step Functions Local by the first that it takes."""
    text = (stack_directory() / "statemachine" / "batch_prediction.asl.json").read_text()
    if request.param is not None:
        client = aws.client("stepfunctions")
        role = client.describe_state_machine(stateMachineArn=aws.state_machine_arn)["roleArn"]
        yield workflow_on(client, text, arns, role, [request.param])
        return
    command = docker() if IMAGE and not ENDPOINT else None
    if ENDPOINT:
        yield on_stepfunctions_local(request, ENDPOINT, aws.secret_access_key, text, arns)
    elif command:
        with container(command, IMAGE, aws.endpoint_url, aws.secret_access_key) as endpoint:
            yield on_stepfunctions_local(request, endpoint, aws.secret_access_key, text, arns)
    else:
        pytest.skip(
            "no Step Functions Local: STEPFUNCTIONS_LOCAL_ENDPOINT names none, and "
            + ("there is no Docker that runs" if IMAGE else "only `make test-sfn-local` starts it by Docker")
        )


def on_stepfunctions_local(request, endpoint, secret_access_key, text, arns):
    """Create the state machine, and tell by which rewriting."""
    client = stepfunctions_client(endpoint, secret_access_key)
    wait_until_ready(client)
    workflow = workflow_on(client, text, arns, ROLE, REWRITTEN_FOR)
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    reporter.write_line(f"\n{endpoint} takes the rewriting {' '.join(workflow.options) or 'without options'}")
    return workflow


@pytest.fixture(scope="package")
def proxy(aws):
    """Between the functions that meet faults and S3."""
    with s3_proxy(aws.endpoint_url, aws.environment()) as proxy, behind(proxy, aws, "PredictChunkFunction", "MergeOutputsFunction"):
        yield proxy


@pytest.fixture(scope="package")
def stored(aws):
    """Model and data in S3, good and bad; returns the request's fields for a run of two chunks."""
    s3 = aws.client("s3")
    s3.put_object(Bucket=aws.bucket, Key="models/tree.joblib", Body=scored_rows.tree_bytes())
    s3.put_object(Bucket=aws.bucket, Key="data/good.csv", Body=scored_rows.good())
    s3.put_object(Bucket=aws.bucket, Key="data/bad.csv", Body=scored_rows.bad())
    return {
        "model_s3_uri": f"s3://{aws.bucket}/models/tree.joblib",
        "data_s3_uri": f"s3://{aws.bucket}/data/good.csv",
        "output_s3_uri": f"s3://{aws.bucket}/output/{{execution_name}}.csv",
        "prediction_column_name": "prediction",
        "feature_columns": ["x", "y"],
        "chunk_size_mb": 0.03,
    }


@pytest.fixture
def read(aws):
    def read(uri):
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()

    return read


@pytest.fixture
def error_records(aws):
    """The records of lost chunks under the output's work prefixes."""

    def error_records(output_uri):
        prefix = output_uri.removeprefix(f"s3://{aws.bucket}/")
        s3 = aws.client("s3")
        found = [item["Key"] for item in s3.list_objects_v2(Bucket=aws.bucket, Prefix=f"{prefix}.work/").get("Contents", [])]
        return [
            json.loads(s3.get_object(Bucket=aws.bucket, Key=key)["Body"].read()) for key in found if key.endswith(".error.json")
        ]

    return error_records
