"""What the local adaptations and the caveats of the docs rest on. After an upgrade of ministack a failure here says what changed.

If a test of a defect fails (its name says so), that is good news: an adaptation or a caveat may go. What the emulator does right
is held by the tests of the workflow: names of errors, retries, catches and paths by faults/, permissions by test_permissions.py,
conditional writes by faults/test_scenarios.py.
"""

import io
import json
import time
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

pytestmark = [pytest.mark.emulator("it is about the emulator"), pytest.mark.thorough]

SCHEDULER_SECONDS = 60  # the emulator looks every 10
SCHEDULED_INPUT = {"scheduled_time": "<aws.scheduler.scheduled-time>"}


@pytest.fixture(scope="module")
def invoke(canary_aws):
    """Invoke a function with an event; return the error type (None without an error) and the decoded result."""
    client = canary_aws.client("lambda")

    def invoke(event, function_name=canary_aws.predict_function_name):
        response = client.invoke(FunctionName=function_name, Payload=json.dumps(event))
        result = json.loads(response["Payload"].read())
        assert response.get("FunctionError") in {None, "Unhandled"}
        return (result["errorType"] if "FunctionError" in response else None), result

    return invoke


@pytest.fixture(scope="module")
def run_states(canary_aws, run_execution):
    """Create a state machine of these states, run it with this input, and return the execution."""
    client = canary_aws.client("stepfunctions")

    def run_states(states, request):
        state_machine = client.create_state_machine(
            name=f"canary-{uuid.uuid4()}",
            roleArn=canary_aws.outputs["StateMachineRoleArn"],
            definition=json.dumps({"StartAt": next(iter(states)), "States": states}),
        )
        return run_execution(canary_aws, request, state_machine_arn=state_machine["stateMachineArn"])

    return run_states


@pytest.fixture
def canary_task(canary_aws):
    return {"Type": "Task", "Resource": canary_aws.outputs["CanaryFunctionArn"], "End": True}


@pytest.fixture
def distributed_map(canary_task):
    """A Distributed Map of the canary function over $.items, with further fields of the state."""

    def distributed_map(**fields):
        processor = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "Canary"}
        return {
            "Type": "Map",
            "ItemsPath": "$.items",
            "ItemProcessor": {**processor, "States": {"Canary": canary_task}},
            "End": True,
            **fields,
        }

    return distributed_map


@pytest.fixture
def schedule(canary_aws):
    """A schedule that is due at once."""
    client = canary_aws.client("stepfunctions")
    state_machine = client.create_state_machine(
        name="scheduled",
        roleArn=canary_aws.outputs["StateMachineRoleArn"],
        definition=json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}),
    )
    due = datetime.now(UTC) + timedelta(seconds=1)
    canary_aws.client("scheduler").create_schedule(
        Name="canary",
        ScheduleExpression=f"at({due:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": state_machine["stateMachineArn"],
            "RoleArn": canary_aws.outputs["StateMachineRoleArn"],
            "Input": json.dumps(SCHEDULED_INPUT),
        },
    )
    return state_machine["stateMachineArn"]


class TestLambda:
    def test_invocations_at_once_run_in_processes_of_their_own(self, invoke):
        with ThreadPoolExecutor(4) as threads:
            results = list(threads.map(lambda _: invoke({"sleep": 2})[1], range(4)))

        assert len({result["function"] for result in results}) == 4

    def test_defect_python_runtimes_report_every_exception_as_handler_error(self, canary_aws, canary_stack, invoke):
        """Why local deployment changes the runtime."""
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            archive.write(canary_stack / "function" / "canary.py", "canary.py")
        canary_aws.client("lambda").create_function(
            FunctionName="python-runtime",
            Runtime="python3.13",
            Handler="canary.lambda_handler",
            Role=canary_aws.outputs["StateMachineRoleArn"],
            Code={"ZipFile": package.getvalue()},
        )

        assert invoke({"raise": "InputChangedError"}, "python-runtime")[0] == "Runtime.HandlerError"


class TestStates:
    def test_defect_the_role_of_a_state_machine_is_not_enforced(self, canary_aws, run_states):
        """So the permissions of StateMachineRole are proven by nothing local."""
        task = {"Type": "Task", "Resource": canary_aws.outputs["ImpatientFunctionArn"], "End": True}

        assert run_states({"Not Allowed": task}, {})["status"] == "SUCCEEDED"


class TestDistributedMap:
    def test_defect_result_writer_writes_nothing_and_results_come_inline(self, canary_aws, run_states, distributed_map):
        writer = {
            "Resource": "arn:aws:states:::s3:putObject",
            "Parameters": {"Bucket": canary_aws.bucket, "Prefix": "map-results"},
        }

        execution = run_states({"Map": distributed_map(ResultWriter=writer)}, {"items": [{}, {}]})

        assert [set(result) for result in execution["output"]] == [set(execution["output"][0])] * 2
        written = canary_aws.client("s3").list_objects_v2(Bucket=canary_aws.bucket, Prefix="map-results")
        assert written["KeyCount"] == 0

    @pytest.mark.parametrize(
        ("fields", "processes"),
        [
            pytest.param({"MaxConcurrency": 1}, 1, id="literal-applied"),
            pytest.param({"MaxConcurrencyPath": "$.limit"}, 3, id="defect-path-ignored"),
        ],
    )
    def test_max_concurrency(self, run_states, distributed_map, fields, processes):
        execution = run_states({"Map": distributed_map(**fields)}, {"items": [{"sleep": 1.5}] * 3, "limit": 1})

        assert len({result["function"] for result in execution["output"]}) == processes

    @pytest.mark.parametrize(
        ("fields", "error"),
        [
            pytest.param({}, "States.ExceedToleratedFailureThreshold", id="default-is-0"),
            pytest.param({"ToleratedFailurePercentage": 50}, None, id="literal-applied"),
            pytest.param({"ToleratedFailurePercentage": 49}, "States.ExceedToleratedFailureThreshold", id="literal-exceeded"),
            pytest.param(
                {"ToleratedFailurePercentagePath": "$.tolerated"},
                "States.ExceedToleratedFailureThreshold",
                id="defect-path-ignored",
            ),
        ],
    )
    def test_tolerated_failure_percentage(self, run_states, distributed_map, fields, error):
        request = {"items": [{}, {"raise": "InvalidDataError"}], "tolerated": 100}

        execution = run_states({"Map": distributed_map(**fields)}, request)

        assert execution.get("error") == error


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
    s3.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket=canary_aws.bucket, Key="small")["Body"].read() == b"23452345"


def test_defect_scheduler_passes_its_context_attribute_literally(canary_aws, schedule):
    """AWS puts the time in its place. Also shows that a schedule starts an execution."""
    client = canary_aws.client("stepfunctions")
    deadline = time.monotonic() + SCHEDULER_SECONDS
    while not (executions := client.list_executions(stateMachineArn=schedule)["executions"]):
        assert time.monotonic() < deadline, f"the schedule did not fire within {SCHEDULER_SECONDS} s"
        time.sleep(0.2)

    execution = client.describe_execution(executionArn=executions[0]["executionArn"])
    assert json.loads(execution["input"]) == SCHEDULED_INPUT
