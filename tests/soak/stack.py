"""The embedded AWS, as the soak uses it: objects, executions and their histories."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from botocore.exceptions import ClientError

from support.places import split_uri

EXECUTION_SECONDS = 300  # a storm of faults, with botocore's own waits between attempts
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Execution:
    arn: str
    status: str
    error: str
    cause: str
    output: dict[str, Any]

    @property
    def succeeded(self):
        return self.status == "SUCCEEDED"


class Stack:
    """One stack, for any number of threads."""

    def __init__(self, aws):
        self.aws = aws
        self.s3 = aws.client("s3")
        self.states = aws.client("stepfunctions")

    def put(self, uri, content):
        bucket, key = split_uri(uri)
        self.s3.put_object(Bucket=bucket, Key=key, Body=content)

    def get(self, uri):
        bucket, key = split_uri(uri)
        try:
            return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
                return None
            raise

    def keys(self, prefix):
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
        machine = self.aws.state_machine_arn
        started = [self.states.start_execution(stateMachineArn=machine, input=json.dumps(request)) for request in requests]
        return [self._ended(execution["executionArn"]) for execution in started]

    def _ended(self, arn):
        deadline = time.monotonic() + EXECUTION_SECONDS
        while (found := self.states.describe_execution(executionArn=arn))["status"] == "RUNNING":
            if time.monotonic() > deadline:
                raise TimeoutError(f"{arn} runs for more than {EXECUTION_SECONDS} s")
            time.sleep(POLL_SECONDS)
        return Execution(
            arn, found["status"], found.get("error", ""), found.get("cause", ""), json.loads(found.get("output") or "{}")
        )

    def history(self, execution):
        """Return how many chunks an execution has run, and how many tasks were tried again."""
        children = [
            child["executionArn"]
            for run in self.states.list_map_runs(executionArn=execution.arn)["mapRuns"]
            for page in self.states.get_paginator("list_executions").paginate(mapRunArn=run["mapRunArn"])
            for child in page["executions"]
        ]
        return len(children), sum(map(self._retries, [execution.arn, *children]))

    def _retries(self, arn):
        """Count tasks that follow themselves: after a failure, as no plan or merge here is so large that it goes on."""
        pages = self.states.get_paginator("get_execution_history").paginate(executionArn=arn)
        events = [event for page in pages for event in page["events"] if event["type"] == "TaskScheduled"]
        return sum(one == other for one, other in pairwise(event["taskScheduledEventDetails"]["resource"] for event in events))
