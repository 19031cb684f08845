"""The embedded AWS, as the soak uses it: objects, executions and their histories."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from support.executions import run_execution
from support.histories import child_histories, history
from support.places import split_uri


class Execution(NamedTuple):
    arn: str
    status: str
    error: str
    cause: str
    output: dict[str, Any] | None
    """Of one that has succeeded."""


class Stack:
    """One stack, for any number of threads."""

    def __init__(self, aws):
        self.aws = aws
        self.s3 = aws.client("s3")

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
        """Run an execution of each request, all at once."""
        with ThreadPoolExecutor(len(requests)) as pool:
            ended = pool.map(partial(run_execution, self.aws), requests)
            return [
                Execution(one["executionArn"], one["status"], one.get("error", ""), one.get("cause", ""), one["output"])
                for one in ended
            ]

    def history(self, execution):
        """Return how many chunks an execution has run, and how many tasks were tried again."""
        described = {"executionArn": execution.arn}
        children = child_histories(self.aws, described)
        return len(children), sum(map(retries, [history(self.aws, described), *children.values()]))


def retries(events):
    """Count tasks that follow themselves: after a failure, as no plan or merge here is so large that it goes on."""
    scheduled = [event["taskScheduledEventDetails"]["resource"] for event in events if event["type"] == "TaskScheduled"]
    return sum(one == other for one, other in pairwise(scheduled))
