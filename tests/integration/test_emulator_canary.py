"""What the local adaptations and the caveats of the docs rest on. After an upgrade of ministack a failure here says what changed.

If a test of a defect fails (its name says so), that is good news: an adaptation or a caveat may go. What the emulator does right
is held by the tests of the workflow: names of errors, retries, catches and paths by faults/, permissions by test_permissions.py,
conditional writes by faults/test_scenarios.py.
"""

import hashlib
import io
import json
import time
import uuid
import zipfile
from datetime import UTC, datetime, timedelta

import pytest

pytestmark = [pytest.mark.emulator("it is about the emulator"), pytest.mark.thorough]

SCHEDULER_SECONDS = 60  # the emulator looks every 10
SCHEDULED_INPUT = {"scheduled_time": "<aws.scheduler.scheduled-time>"}


@pytest.fixture(scope="module")
def create_states(canary_aws):
    """Create a state machine of these states; return its ARN."""

    def create_states(states):
        created = canary_aws.client("stepfunctions").create_state_machine(
            name=f"canary-{uuid.uuid4()}",
            roleArn=canary_aws.outputs["StateMachineRoleArn"],
            definition=json.dumps({"StartAt": next(iter(states)), "States": states}),
        )
        return created["stateMachineArn"]

    return create_states


@pytest.fixture
def run_map(canary_aws, create_states, run_execution):
    """Run a Distributed Map of the canary function over $.items, with further fields of the state; return the execution."""

    def run_map(request, **fields):
        task = {"Type": "Task", "Resource": canary_aws.outputs["CanaryFunctionArn"], "End": True}
        mode = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
        processor = {"ProcessorConfig": mode, "StartAt": "Canary", "States": {"Canary": task}}
        state = {"Type": "Map", "ItemsPath": "$.items", "ItemProcessor": processor, "End": True, **fields}
        return run_execution(canary_aws, request, state_machine_arn=create_states({"Map": state}))

    return run_map


def test_defect_python_runtimes_report_every_exception_as_handler_error(canary_aws, canary_stack):
    """Why local deployment changes the runtime."""
    client, package = canary_aws.client("lambda"), io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.write(canary_stack / "function" / "canary.py", "canary.py")
    client.create_function(
        FunctionName="python-runtime",
        Runtime="python3.13",
        Handler="canary.lambda_handler",
        Role=canary_aws.outputs["StateMachineRoleArn"],
        Code={"ZipFile": package.getvalue()},
    )

    answer = client.invoke(FunctionName="python-runtime", Payload=b'{"raise": "InputChangedError"}')
    assert json.loads(answer["Payload"].read())["errorType"] == "Runtime.HandlerError"


def test_defect_the_role_of_a_state_machine_is_not_enforced(canary_aws, create_states, run_execution):
    """So the permissions of StateMachineRole are proven by nothing local."""
    task = {"Type": "Task", "Resource": canary_aws.outputs["ImpatientFunctionArn"], "End": True}

    assert run_execution(canary_aws, {}, state_machine_arn=create_states({"Not Allowed": task}))["status"] == "SUCCEEDED"


def test_defect_result_writer_writes_nothing_and_results_come_inline(canary_aws, run_map):
    where = {"Bucket": canary_aws.bucket, "Prefix": "map-results"}

    execution = run_map({"items": [{}, {}]}, ResultWriter={"Resource": "arn:aws:states:::s3:putObject", "Parameters": where})

    assert [set(result) for result in execution["output"]] == [set(execution["output"][0])] * 2
    assert canary_aws.client("s3").list_objects_v2(**where)["KeyCount"] == 0


@pytest.mark.parametrize(
    ("fields", "processes"),
    [
        pytest.param({"MaxConcurrency": 1}, 1, id="literal-applied"),
        pytest.param({"MaxConcurrencyPath": "$.limit"}, 3, id="defect-path-ignored"),
    ],
)
def test_max_concurrency(run_map, fields, processes):
    """Invocations at once run in processes of their own."""
    execution = run_map({"items": [{"sleep": 1.5}] * 3, "limit": 1}, **fields)

    assert len({result["function"] for result in execution["output"]}) == processes


@pytest.mark.parametrize(
    ("fields", "is_tolerated"),
    [
        pytest.param({}, False, id="default-is-0"),
        pytest.param({"ToleratedFailurePercentage": 50}, True, id="literal-applied"),
        pytest.param({"ToleratedFailurePercentage": 49}, False, id="literal-exceeded"),
        pytest.param({"ToleratedFailurePercentagePath": "$.tolerated"}, False, id="defect-path-ignored"),
    ],
)
def test_tolerated_failure_percentage(run_map, fields, is_tolerated):
    execution = run_map({"items": [{}, {"raise": "InvalidDataError"}], "tolerated": 100}, **fields)

    assert execution.get("error") == (None if is_tolerated else "States.ExceedToleratedFailureThreshold")


def test_defect_small_parts_and_ranged_copies_of_small_sources_are_accepted(canary_aws):
    """AWS answers EntityTooSmall and InvalidRequest: unit tests run on an S3 that does (tests/support/s3_rules.py)."""
    s3, target = canary_aws.client("s3"), {"Bucket": canary_aws.bucket, "Key": "small"}
    source = {**target, "Key": "source"}
    s3.put_object(**source, Body=b"0123456789")
    target["UploadId"] = s3.create_multipart_upload(**target)["UploadId"]
    parts = []
    for number in (1, 2):
        copied = s3.upload_part_copy(**target, PartNumber=number, CopySource=source, CopySourceRange="bytes=2-5")
        parts.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})
    completed = s3.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
    assert completed["ETag"] == f'"{hashlib.md5(2 * hashlib.md5(b"2345").digest()).hexdigest()}-2"'
    assert s3.get_object(Bucket=canary_aws.bucket, Key="small")["Body"].read() == b"23452345"


def test_defect_scheduler_passes_its_context_attribute_literally(canary_aws, create_states):
    """AWS puts the time in its place. Also shows that a schedule starts an execution."""
    machine = create_states({"Done": {"Type": "Succeed"}})
    due = datetime.now(UTC) + timedelta(seconds=1)
    canary_aws.client("scheduler").create_schedule(
        Name="canary",
        ScheduleExpression=f"at({due:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": machine, "RoleArn": canary_aws.outputs["StateMachineRoleArn"], "Input": json.dumps(SCHEDULED_INPUT)},
    )
    client = canary_aws.client("stepfunctions")
    deadline = time.monotonic() + SCHEDULER_SECONDS
    while not (executions := client.list_executions(stateMachineArn=machine)["executions"]):
        assert time.monotonic() < deadline, f"the schedule did not fire within {SCHEDULER_SECONDS} s"
        time.sleep(0.2)

    execution = client.describe_execution(executionArn=executions[0]["executionArn"])
    assert json.loads(execution["input"]) == SCHEDULED_INPUT
