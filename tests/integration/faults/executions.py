"""Executions of a case, and what they leave behind."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runs import Case, prepare

from support.executions import run_execution

if TYPE_CHECKING:
    from support.s3_proxy import Request


@dataclass(frozen=True)
class Ending:
    """What an execution came to."""

    execution_arn: str
    status: str
    error: str | None
    cause: str | None
    output: bytes | None
    work: list[str]
    """Keys left under the work prefix."""
    uploads: list[str]
    """Keys of multipart uploads in progress."""


@dataclass(frozen=True)
class Outcome:
    """What a run came to that met faults, and its repeat without them."""

    first: Ending
    repeat: Ending | None
    injected: list[int]
    """Faults by rule."""
    expected: bytes
    """Output of a run that succeeds on its way."""
    expected_of_repeat: bytes
    requests: list[Request] = field(repr=False)
    """Of the run that is looked at."""


class Executor:
    """Runs cases on the embedded AWS; any thread may use it."""

    def __init__(self, aws, proxy):
        self.aws = aws
        self.proxy = proxy
        self.s3 = aws.client("s3")

    def outcome(self, run, name, rules):
        """Run a case under rules; then, unless all went well, once more without any."""
        case = Case(name, self.aws.bucket)
        request = prepare(self.s3, case, run)
        try:
            for earlier in run.before(case):
                with self.proxy.rules(*earlier):
                    run_execution(self.aws, request)
            before = len(self.proxy.journal(case.pattern))
            faults = rules(case)
            with self.proxy.rules(*faults, *run.during(case)) as in_force:
                first = self.ending(case, request)
            requests = self.proxy.journal(case.pattern)[before:]
            all_well = first.status == "SUCCEEDED" and not first.work and not first.uploads
            # What was published without lost chunks is replaced by the whole only when told to.
            again = {**request, "overwrite": True} if run.output else request
            repeat = None if all_well else self.ending(case, again)
        finally:
            self.delete(case)
        whole = run.input().output
        return Outcome(
            first,
            repeat,
            [rule.injected for rule in in_force[: len(faults)]],
            run.output() if run.output else whole,
            whole,
            requests,
        )

    def ending(self, case, request):
        """Start an execution, and look at what it leaves."""
        execution = run_execution(self.aws, request)
        output = None
        with suppress(self.s3.exceptions.NoSuchKey):
            output = self.s3.get_object(Bucket=case.bucket, Key=case.key("output", "out.csv"))["Body"].read()
        prefix = case.key("output", "")
        uploads = self.s3.list_multipart_uploads(Bucket=case.bucket, Prefix=prefix).get("Uploads", [])
        return Ending(
            execution["executionArn"],
            execution["status"],
            execution.get("error"),
            execution.get("cause"),
            output,
            [key for key in self.keys(case, prefix) if ".work/" in key],
            [upload["Key"] for upload in uploads],
        )

    def keys(self, case, prefix):
        listed = self.s3.list_objects_v2(Bucket=case.bucket, Prefix=prefix)
        return [item["Key"] for item in listed.get("Contents", [])]

    def delete(self, case):
        """Give the memory back: the emulator keeps objects in it."""
        for kind in ("models", "data", "output"):
            for key in self.keys(case, case.key(kind, "")):
                self.s3.delete_object(Bucket=case.bucket, Key=key)
