"""What we rely on in the emulator, good and bad. After an upgrade of ministack a failure here says what changed.

Where a test holds a defect (its name says so), a failure is good news: an adaptation or a caveat in the docs may go.
"""

import io
import json
import time
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from batch_predict.local import deploy

pytestmark = pytest.mark.emulator("it is about the emulator")

SCHEDULER_SECONDS = 30  # the emulator looks every 10
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


@pytest.fixture(scope="module", autouse=True)
def schedule(canary_aws):
    """A schedule that is due at once, made before the first test so that the last need not wait so long."""
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


def test_emulator_is_the_one_that_was_tried():
    assert version("ministack") == "1.5.33", "read this file and docs, then change the pin and this line"


class TestLambda:
    def test_an_exception_is_reported_under_its_own_class_name(self, invoke):
        error_type, error = invoke({"raise": "InputChangedError", "message": "s3://b/k changed"})

        assert error_type == "InputChangedError"
        assert error["errorMessage"] == "s3://b/k changed"

    def test_a_function_stays_warm_also_after_an_exception(self, invoke):
        _, before = invoke({})
        invoke({"raise": "InputChangedError"})
        _, after = invoke({})

        assert (after["function"], after["invocations"]) == (before["function"], before["invocations"] + 2)

    def test_a_handler_that_cannot_be_imported_is_reported(self, canary_aws, invoke):
        client = canary_aws.client("lambda")
        function = client.get_function_configuration(FunctionName=canary_aws.predict_function_name)
        code = deploy.zip_function(Path(__file__).with_name("canary_stack") / "function", "absent.lambda_handler")
        client.create_function(
            FunctionName="absent-handler",
            Handler="absent.lambda_handler",
            Code={"ZipFile": code},
            **{field: function[field] for field in ("Runtime", "Role")},
        )

        _, error = invoke({}, "absent-handler")

        assert "Unable to import module 'absent'" in error["errorMessage"]

    def test_a_function_that_exits_is_runtime_exit_error(self, invoke):
        assert invoke({"exit": True})[0] == "Runtime.ExitError"

    def test_a_function_out_of_time_is_sandbox_timedout(self, canary_aws, invoke):
        assert invoke({"sleep": 3}, canary_aws.outputs["ImpatientFunctionName"])[0] == "Sandbox.Timedout"

    def test_invocations_at_once_run_in_processes_of_their_own(self, invoke):
        with ThreadPoolExecutor(4) as threads:
            results = list(threads.map(lambda _: invoke({"sleep": 0.5})[1], range(4)))

        assert len({result["function"] for result in results}) == 4

    def test_a_function_is_given_the_endpoint(self, canary_aws, invoke):
        _, result = invoke({})

        assert result["environment"]["AWS_ENDPOINT_URL"] == canary_aws.endpoint_url

    def test_a_function_may_do_what_its_policies_allow_and_nothing_else(self, canary_aws, invoke):
        for key in ("data/allowed", "models/denied"):
            canary_aws.client("s3").put_object(Bucket=canary_aws.bucket, Key=key, Body=key.encode())

        assert invoke({"read": {"Bucket": canary_aws.bucket, "Key": "data/allowed"}}) == (None, "data/allowed")
        assert invoke({"read": {"Bucket": canary_aws.bucket, "Key": "models/denied"}})[0] == "AccessDenied"

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
    def test_retry_matches_the_class_name_and_need_not_wait(self, invoke, run_states, canary_task):
        _, warm = invoke({})
        retry = [{"ErrorEquals": ["TransientS3Error"], "IntervalSeconds": 9999, "MaxAttempts": 5}]

        execution = run_states(
            {"Canary": {**canary_task, "Retry": retry}},
            {"raise": "TransientS3Error", "until_invocation": warm["invocations"] + 2},
        )

        assert execution["status"] == "SUCCEEDED"
        assert execution["output"]["invocations"] == warm["invocations"] + 3

    def test_retry_does_not_match_another_name(self, invoke, run_states, canary_task):
        """Nor the name of a base class."""
        _, warm = invoke({})
        retry = [{"ErrorEquals": ["RuntimeError", "TransientS3Error"], "MaxAttempts": 5}]

        execution = run_states(
            {"Canary": {**canary_task, "Retry": retry}},
            {"raise": "InvalidDataError", "until_invocation": warm["invocations"] + 1},
        )

        assert (execution["status"], execution["error"]) == ("FAILED", "InvalidDataError")

    def test_catch_matches_the_class_name_and_gives_error_and_cause(self, run_states, canary_task):
        catch = [{"ErrorEquals": ["ModelError"], "ResultPath": "$.failure", "Next": "Caught"}]

        execution = run_states(
            {"Canary": {**canary_task, "Catch": catch}, "Caught": {"Type": "Pass", "End": True}},
            {"raise": "ModelError", "message": "not a model"},
        )

        assert execution["output"]["failure"]["Error"] == "ModelError"
        assert json.loads(execution["output"]["failure"]["Cause"])["errorMessage"] == "not a model"

    def test_fail_takes_error_and_cause_from_paths(self, run_states):
        fail = {"Type": "Fail", "ErrorPath": "$.error", "CausePath": "$.cause"}

        execution = run_states({"Failed": fail}, {"error": "ModelError", "cause": "not a model"})

        assert (execution["error"], execution["cause"]) == ("ModelError", "not a model")

    def test_a_choice_leads_back_while_a_field_is_there(self, run_states):
        """So a function goes on that ran out of time, and a wrong plan is made again."""
        states = {
            "Work": {"Type": "Pass", "Result": {"continuation": {"done": 1}}, "ResultPath": "$.output", "Next": "Is Done"},
            "Is Done": {
                "Type": "Choice",
                "Choices": [
                    {"Variable": "$.again", "IsPresent": True, "Next": "Finished"},
                    {"Variable": "$.output.continuation", "IsPresent": True, "Next": "Again"},
                ],
                "Default": "Finished",
            },
            "Again": {"Type": "Pass", "Result": 1, "ResultPath": "$.again", "Next": "Work"},
            "Finished": {"Type": "Pass", "End": True},
        }
        execution = run_states(states, {})
        assert execution["output"] == {"output": {"continuation": {"done": 1}}, "again": 1}

    def test_defect_the_role_of_a_state_machine_is_not_enforced(self, canary_aws, run_states):
        """So the permissions of StateMachineRole are proven by nothing local."""
        task = {"Type": "Task", "Resource": canary_aws.outputs["ImpatientFunctionArn"], "End": True}

        assert run_states({"Not Allowed": task}, {})["status"] == "SUCCEEDED"


class TestDistributedMap:
    def test_items_are_read_from_s3_and_shaped_by_the_selector(self, canary_aws, run_states, distributed_map):
        canary_aws.client("s3").put_object(Bucket=canary_aws.bucket, Key="plan.json", Body=b'[{"a": 1, "b": 9}, {"a": 2}]')
        echo = {"StartAt": "Echo", "States": {"Echo": {"Type": "Pass", "End": True}}}
        state = distributed_map(
            ItemReader={
                "Resource": "arn:aws:states:::s3:getObject",
                "ReaderConfig": {"InputType": "JSON"},
                "Parameters": {"Bucket": canary_aws.bucket, "Key.$": "$.plan_key"},
            },
            ItemSelector={"event.$": "States.JsonMerge(States.JsonMerge($$.Map.Item.Value, $.request, false), $.more.own, false)"},
            ItemProcessor={"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, **echo},
        )
        del state["ItemsPath"]

        execution = run_states({"Map": state}, {"plan_key": "plan.json", "request": {"b": 3}, "more": {"own": {"c": 4}}})

        assert execution["output"] == [{"event": {"a": 1, "b": 3, "c": 4}}, {"event": {"a": 2, "b": 3, "c": 4}}]

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
        execution = run_states({"Map": distributed_map(**fields)}, {"items": [{"sleep": 0.4}] * 3, "limit": 1})

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

    def test_a_tolerated_failed_child_yields_null(self, run_states, distributed_map):
        execution = run_states(
            {"Map": distributed_map(ToleratedFailurePercentage=100)}, {"items": [{"raise": "InvalidDataError"}, {}]}
        )

        assert execution["output"][0] is None
        assert execution["output"][1] is not None


class TestS3:
    @pytest.fixture
    def source(self, canary_aws):
        """Return the ETag of s3://<bucket>/source, ten digits."""
        return canary_aws.client("s3").put_object(Bucket=canary_aws.bucket, Key="source", Body=b"0123456789")["ETag"]

    @pytest.fixture
    def copy_twice(self, canary_aws, source):
        """Publish two copies of bytes 2-5 of the source by a multipart upload, under conditions."""
        s3, bucket = canary_aws.client("s3"), canary_aws.bucket

        def copy_twice(key, *, if_match=source, **conditions):
            target = {"Bucket": bucket, "Key": key}
            target["UploadId"] = s3.create_multipart_upload(**target)["UploadId"]
            parts = []
            for number in (1, 2):
                copied = s3.upload_part_copy(
                    **target,
                    PartNumber=number,
                    CopySource={"Bucket": bucket, "Key": "source"},
                    CopySourceRange="bytes=2-5",
                    CopySourceIfMatch=if_match,
                )
                parts.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})
            s3.complete_multipart_upload(**target, MultipartUpload={"Parts": parts}, **conditions)
            return s3.get_object(Bucket=bucket, Key=key)["Body"].read()

        return copy_twice

    def test_defect_small_parts_and_ranged_copies_of_small_sources_are_accepted(self, copy_twice):
        """AWS answers EntityTooSmall and InvalidRequest; tests check the calls themselves."""
        assert copy_twice("small") == b"23452345"

    def test_what_publishing_relies_on_is_checked(self, canary_aws, copy_twice):
        assert copy_twice("published", IfNoneMatch="*", MpuObjectSize=8) == b"23452345"

        with pytest.raises(ClientError, match="PreconditionFailed"):
            copy_twice("published", IfNoneMatch="*")
        with pytest.raises(ClientError, match="PreconditionFailed"):
            copy_twice("other", if_match='"another"')
        with pytest.raises(ClientError, match=r"InvalidRequest.*does not match what was computed"):
            copy_twice("other", MpuObjectSize=9)
        with pytest.raises(ClientError, match="PreconditionFailed"):
            canary_aws.client("s3").get_object(Bucket=canary_aws.bucket, Key="source", IfMatch='"another"')

    def test_an_object_is_replaced_and_deleted_only_as_it_was_seen(self, canary_aws, copy_twice):
        s3, here = canary_aws.client("s3"), {"Bucket": canary_aws.bucket, "Key": "replaced"}
        first = s3.put_object(**here, Body=b"first")["ETag"]
        assert copy_twice("replaced", IfMatch=first) == b"23452345"
        with pytest.raises(ClientError, match="PreconditionFailed"):
            copy_twice("replaced", IfMatch=first)
        with pytest.raises(ClientError, match="PreconditionFailed"):
            s3.put_object(**here, Body=b"second", IfMatch=first)
        with pytest.raises(ClientError, match="PreconditionFailed"):
            s3.delete_object(**here, IfMatch=first)
        second = s3.put_object(**here, Body=b"second", IfMatch=s3.head_object(**here)["ETag"])["ETag"]
        s3.delete_object(**here, IfMatch=second)
        for call in (s3.delete_object, lambda **named: s3.put_object(**named, Body=b"third")):
            with pytest.raises(ClientError, match="NoSuchKey"):
                call(**here, IfMatch=second)
        with pytest.raises(ClientError, match="NoSuchKey"):
            copy_twice("replaced", IfMatch=second)


def test_defect_scheduler_passes_its_context_attribute_literally(canary_aws, schedule):
    """AWS puts the time in its place. Also shows that a schedule starts an execution."""
    client = canary_aws.client("stepfunctions")
    deadline = time.monotonic() + SCHEDULER_SECONDS
    while not (executions := client.list_executions(stateMachineArn=schedule)["executions"]):
        assert time.monotonic() < deadline, f"the schedule did not fire within {SCHEDULER_SECONDS} s"
        time.sleep(0.2)

    execution = client.describe_execution(executionArn=executions[0]["executionArn"])
    assert json.loads(execution["input"]) == SCHEDULED_INPUT
