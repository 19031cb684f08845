"""The stack starts by itself: by its schedule, and by an object that says that data is whole; and tells how it ended."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from batch_predict.deployed import stack_directory
from batch_predict.local.aws import STACK_PARAMETERS
from batch_predict.local.deploy import deploy

pytestmark = pytest.mark.emulator("it deploys a stack of its own by the local steps")

EVENTS = Path(__file__).parents[2] / "events"
SECONDS = 90
"""Enough for the emulator's Scheduler, which looks every 10, and a run."""


def put_day(aws, flights, day):
    rows = flights.iloc[:200].to_csv(index=False).encode()
    aws.client("s3").put_object(Bucket=aws.bucket, Key=f"data/flights/day={day}/part-0.csv", Body=rows)


@pytest.fixture(scope="module")
def due():
    """The instant that the schedule is for."""
    return datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)


@pytest.fixture(scope="module")
def yesterday(due):
    return f"{due.astimezone(ZoneInfo('Europe/Berlin')) - timedelta(days=1):%Y-%m-%d}"


@pytest.fixture(scope="module")
def stack(aws, stored, flights, due, yesterday):
    """The stack once more, with everything on that is off by default; its bucket sends its events. Yields its outputs."""
    put_day(aws, flights, yesterday)
    request = (EVENTS / "schedule_yesterday.json").read_text()
    parameters = STACK_PARAMETERS | {
        "ScheduleExpression": f"at({due:%Y-%m-%dT%H:%M:%S})",
        # What AWS puts in; the emulator passes the words (test_emulator_canary.py).
        "ScheduleRequest": request.replace("<aws.scheduler.scheduled-time>", f"{due:%Y-%m-%dT%H:%M:%SZ}"),
        "StartOnObjectSuffix": "_SUCCESS",
        "ObjectRequest": (EVENTS / "object_request.json").read_text(),
        "NotificationEmail": "somebody@example.com",
        "NotifyOfSuccess": "true",
        "PermissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess",
        "PredictReservedConcurrency": "50",
    }
    s3 = aws.client("s3")
    s3.put_bucket_notification_configuration(Bucket=aws.bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
    yield deploy(aws.client, stack_directory(), bucket=aws.bucket, stack_name="starts", parameters=parameters)
    s3.put_bucket_notification_configuration(Bucket=aws.bucket, NotificationConfiguration={})
    aws.client("cloudformation").delete_stack(StackName="starts")
    for item in s3.list_objects_v2(Bucket=aws.bucket, Prefix="data/flights/day=")["Contents"]:  # others score all of data/flights/
        s3.delete_object(Bucket=aws.bucket, Key=item["Key"])


@pytest.fixture(scope="module")
def told(aws, stack):
    """Return a function that waits for the notification on an execution: what a mail would say."""
    sqs = aws.client("sqs")
    queue = sqs.create_queue(QueueName="told")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    send = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [send]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    aws.client("sns").subscribe(TopicArn=stack["NotificationsArn"], Protocol="sqs", Endpoint=arn)
    texts = []

    def told(name):
        deadline = time.monotonic() + SECONDS
        while not any(name in text for text in texts):
            assert time.monotonic() < deadline, f"nobody was told of {name}: {texts}"
            received = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1, MaxNumberOfMessages=10).get("Messages", ())
            texts.extend(json.loads(message["Body"])["Message"] for message in received)
        return next(text for text in texts if name in text)

    yield told
    sqs.delete_queue(QueueUrl=queue)


@pytest.fixture(scope="module")
def ended(aws, stack):
    """Return a function that waits until executions whose request names this data have ended, and returns them."""
    states = aws.client("stepfunctions")

    def ended(data, count=1):
        deadline = time.monotonic() + SECONDS
        while True:
            listed = states.list_executions(stateMachineArn=stack["StateMachineArn"])["executions"]
            found = [states.describe_execution(executionArn=execution["executionArn"]) for execution in listed]
            found = [execution for execution in found if data in execution["input"] and execution["status"] != "RUNNING"]
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, f"{len(found)} of {count} executions of {data} have ended"
            time.sleep(0.5)

    return ended


@pytest.fixture(scope="module")
def started_by_object(aws, stack, flights, ended):
    """The execution that the bucket's own event has started."""
    put_day(aws, flights, "2026-11-20")
    aws.client("s3").put_object(Bucket=aws.bucket, Key="data/flights/day=2026-11-20/_SUCCESS", Body=b"")

    (execution,) = ended("day=2026-11-20")
    return execution


def test_an_object_that_says_that_data_is_whole_starts_a_run(aws, started_by_object, read):
    execution = started_by_object
    assert execution["status"] == "SUCCEEDED", execution.get("cause")
    output = json.loads(execution["output"])
    instant = json.loads(execution["input"])["time"]
    written = datetime.fromisoformat(instant).strftime("%Y-%m-%dT%H%M%S")
    assert output["output_s3_uri"] == f"s3://{aws.bucket}/output/data/flights/day=2026-11-20/_SUCCESS/{written}.csv"
    assert read(output["output_s3_uri"]).count(b"\n") == 201


@pytest.mark.thorough
def test_the_same_event_twice_is_the_same_output(aws, stack, started_by_object, run_execution):
    """EventBridge delivers at least once: the second delivery starts with the same input, and finds the output published."""
    first = started_by_object
    again = run_execution(aws, json.loads(first["input"]), state_machine_arn=stack["StateMachineArn"])
    assert again["status"] == "SUCCEEDED", again.get("cause")
    assert again["output"]["etag"] == json.loads(first["output"])["etag"]
    assert again["output"]["output_s3_uri"] == json.loads(first["output"])["output_s3_uri"]


@pytest.mark.thorough
def test_a_key_with_quotes_writes_no_field_of_the_request(aws, stack, flights, ended):
    """Whoever may write an object chooses its key: in a text of the rule's template it would have ended the text."""
    key = 'data/flights/day=2026-11-19/","overwrite":true,"strict":true,"x":"_SUCCESS'
    aws.client("s3").put_object(Bucket=aws.bucket, Key=key, Body=flights.iloc[:20].to_csv(index=False).encode())

    (execution,) = ended("day=2026-11-19")
    assert execution["status"] == "SUCCEEDED", execution.get("cause")
    assert json.loads(execution["input"])["request"].keys() == json.loads((EVENTS / "object_request.json").read_text()).keys()
    assert json.loads(execution["output"])["output_s3_uri"].startswith(f"s3://{aws.bucket}/output/{key}/")


def test_the_rule_takes_the_markers_of_the_data_alone(aws, stack):
    """With the sample of the event that S3 sends."""
    events = aws.client("events")
    pattern = next(rule["EventPattern"] for rule in events.list_rules(NamePrefix="starts-ObjectStart")["Rules"])
    event = json.loads((EVENTS / "object_created.json").read_text())

    def is_taken(bucket=aws.bucket, key=event["detail"]["object"]["key"], kind="Object Created"):
        detail = {**event["detail"], "bucket": {"name": bucket}, "object": {**event["detail"]["object"], "key": key}}
        changed = json.dumps({**event, "detail-type": kind, "detail": detail})
        return events.test_event_pattern(EventPattern=pattern, Event=changed)["Result"]

    assert is_taken()
    assert not is_taken(bucket="another")
    assert not is_taken(key="other/day=1/_SUCCESS")
    assert not is_taken(key="data/day=1/_SUCCESS/part-0.csv")
    assert not is_taken(key="data/day=1/_SUCCESS.crc")
    assert not is_taken(kind="Object Deleted")


@pytest.mark.thorough
def test_a_schedule_scores_yesterdays_partition(aws, stack, ended, read, yesterday):
    """Yesterday by the calendar of its time zone."""
    (execution,) = ended("nightly")

    assert execution["status"] == "SUCCEEDED", execution.get("cause")
    output = json.loads(execution["output"])
    assert output["output_s3_uri"] == f"s3://{aws.bucket}/output/nightly/{yesterday}.csv"
    assert read(output["output_s3_uri"]).startswith(b"year,month,")


@pytest.mark.thorough
def test_the_end_of_an_execution_is_told_in_a_sentence(aws, stack, told):
    name = "told-of-its-failure"
    started = aws.client("stepfunctions").start_execution(stateMachineArn=stack["StateMachineArn"], name=name, input="{}")
    text = told(name)
    assert f"The batch prediction {name} ended as FAILED at " in text
    assert text.rstrip('"').endswith(f"aws stepfunctions describe-execution --execution-arn {started['executionArn']}")
    assert "{" not in text
