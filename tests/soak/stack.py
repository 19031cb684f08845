"""The embedded AWS, as the soak uses it: objects, executions and their histories."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from support.histories import failures

EXECUTION_SECONDS = 300  # a storm of faults, with botocore's own waits between attempts
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Execution:
    """How one execution ended."""

    arn: str
    status: str
    error: str
    cause: str
    output: dict[str, Any]

    @property
    def succeeded(self):
        """Whether there is an output."""
        return self.status == "SUCCEEDED"


@dataclass(frozen=True)
class History:
    """What Step Functions recorded of an execution and its children."""

    chunks: int
    """Children of all map runs."""
    retries: int
    """Tasks that were tried again."""
    failures: Counter[str]
    """Failed attempts by error."""


class Stack:
    """One stack, for any number of threads."""

    def __init__(self, aws):
        self.aws = aws
        self.s3 = aws.client("s3")
        self.states = aws.client("stepfunctions")

    def put(self, uri, content):
        """Store an object."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self.s3.put_object(Bucket=bucket, Key=key, Body=content)

    def get(self, uri):
        """Return an object, None where there is none."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        try:
            content = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
                return None
            raise
        return content

    def keys(self, prefix):
        """List keys."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.aws.bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def uploads(self, prefix=""):
        """List multipart uploads that are neither completed nor aborted: their keys by id."""
        pages = self.s3.get_paginator("list_multipart_uploads").paginate(Bucket=self.aws.bucket, Prefix=prefix)
        found = [upload for page in pages for upload in page.get("Uploads", []) if upload["Key"].startswith(prefix)]
        return {upload["UploadId"]: upload["Key"] for upload in found}

    def noted_uploads(self, prefix):
        """Return the ids of the uploads that merges have noted, for whoever goes on with them."""
        notes = [key for key in self.keys(prefix) if key.endswith("/upload.json")]
        return {json.loads(self.get(f"s3://{self.aws.bucket}/{key}") or b"{}").get("upload_id") for key in notes}

    def delete(self, *prefixes):
        """Delete all under some prefixes, and end what is noted there: the emulator's objects live in memory."""
        for prefix in prefixes:
            uploads = self.uploads(prefix)
            for upload_id in uploads.keys() & self.noted_uploads(prefix):
                self.s3.abort_multipart_upload(Bucket=self.aws.bucket, Key=uploads[upload_id], UploadId=upload_id)
            for key in self.keys(prefix):
                self.s3.delete_object(Bucket=self.aws.bucket, Key=key)

    def execute(self, requests):
        """Start executions of requests at once, and wait for all."""
        started = [
            self.states.start_execution(stateMachineArn=self.aws.state_machine_arn, input=json.dumps(request))["executionArn"]
            for request in requests
        ]
        return [self._ended(arn) for arn in started]

    def _ended(self, arn):
        deadline = time.monotonic() + EXECUTION_SECONDS
        while True:
            found = self.states.describe_execution(executionArn=arn)
            if found["status"] != "RUNNING":
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"{arn} runs for more than {EXECUTION_SECONDS} s")
            time.sleep(POLL_SECONDS)
        output = json.loads(found["output"]) if found["status"] == "SUCCEEDED" else {}
        return Execution(arn, found["status"], found.get("error", ""), found.get("cause", ""), output)

    def history(self, execution):
        """Count chunks, retries and failed attempts of an execution."""
        histories = [self._events(execution.arn)]
        for run in self.states.list_map_runs(executionArn=execution.arn)["mapRuns"]:
            pages = self.states.get_paginator("list_executions").paginate(mapRunArn=run["mapRunArn"])
            histories += [self._events(child["executionArn"]) for page in pages for child in page["executions"]]
        return History(
            chunks=len(histories) - 1,
            retries=sum(map(retries_in, histories)),
            failures=Counter(error for events in histories for error in failures(events)),
        )

    def _events(self, arn):
        pages = self.states.get_paginator("get_execution_history").paginate(executionArn=arn)
        return [event for page in pages for event in page["events"]]


def retries_in(events):
    """Count tasks that failed and were scheduled again next."""
    retries = 0
    function, failed = "", False
    for event in events:
        if event["type"] == "TaskScheduled":
            scheduled = event["taskScheduledEventDetails"]["resource"]
            retries += failed and scheduled == function
            function, failed = scheduled, False
        else:
            failed = failed or event["type"] == "TaskFailed"
    return retries
