"""Runs that were started before, by whomever: found by name, asked, explained, ended.

All is read from Step Functions and S3, so it is the same for a deployed stack and for the embedded local AWS.
"""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from batch_predict.errors import BatchPredictError
from batch_predict.runs.execution import ChunksCounted, Progress, count_chunks, follow_execution, newest_map_run
from batch_predict.runs.history import History, decoded, history_events, once_known
from batch_predict.runs.stack import Stack
from batch_predict.runs.transfer import split_uri

LIST_PAGE = 100
RECORDS_READ = 100
"""Error records of lost chunks that are read: more than anybody looks at."""
READERS = 16
HISTORIES_READ = 200
"""Histories of a Map Run's children that are read: 10 s at the quota of GetExecutionHistory, 20 a second."""
HISTORY_READERS = 4
ENDED = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
NOT_THERE = ("NoSuchKey", "404", "NoSuchBucket")
CANCELLED = "Cancelled"
"""Error name of an execution that `cancel` ended."""


@dataclass(frozen=True)
class RunStatus:
    """How far a run is."""

    name: str
    status: str
    """RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED or PENDING_REDRIVE."""
    started: datetime
    stopped: datetime | None
    seconds: float
    """From its start until now, or until its end."""
    state: str | None = None
    """The newest state that it entered."""
    chunks: ChunksCounted | None = None
    """Chunks of the Distributed Map; None before it."""
    finished_before: int = 0
    """Chunks of the newest plan that were done when it was made, and so are no part of `chunks`."""
    reused_chunks: int = 0
    """How many of these an earlier run has finished: an execution that plans again finds what it has finished itself."""
    output: Mapping[str, Any] | None = None
    """What the execution ended with, if it succeeded."""
    error: str | None = None
    cause: str | None = None
    advice: str | None = None


@dataclass(frozen=True)
class ListedRun:
    """One line of a list of runs."""

    name: str
    status: str
    """As `RunStatus` has it; on this machine, ABORTED also if its process ended before it."""
    started: datetime
    stopped: datetime | None
    result: Mapping[str, Any] | None = None
    """How a run on this machine ended: `outcome.as_json`."""


class Run:
    """One execution of a stack's state machine."""

    def __init__(self, stack: Stack, execution_arn: str) -> None:
        self.stack = stack
        self.execution_arn = execution_arn
        self.name = execution_arn.rpartition(":")[2]

    def describe(self) -> Mapping[str, Any]:
        """Return what Step Functions says of the execution; BatchPredictError if it knows none."""
        try:
            found: Mapping[str, Any] = once_known(lambda: self.stepfunctions.describe_execution(executionArn=self.execution_arn))
        except ClientError as error:
            if error.response["Error"]["Code"] in {"ExecutionDoesNotExist", "InvalidArn"}:
                raise BatchPredictError(
                    f"{self.stack.title} has no run {self.name}: `batch-predict list` shows those that it has"
                ) from error
            raise
        return found

    def history(self) -> History:
        """Return the history so far."""
        return History(history_events(self.stepfunctions, self.execution_arn))

    def status(self) -> RunStatus:
        """Return how far it is."""
        described, history = self.describe(), self.history()
        status, stopped = described["status"], described.get("stopDate")
        error = described.get("error") or (status if status in ENDED[1:] else None)
        cause, advice = history.told(error or "", described.get("cause"))
        return RunStatus(
            name=self.name,
            status=status,
            started=described["startDate"],
            stopped=stopped,
            seconds=((stopped or datetime.now(UTC)) - described["startDate"]).total_seconds(),
            state=history.visits[-1].name if history.visits else None,
            chunks=count_chunks(self.stepfunctions, self.execution_arn),
            finished_before=history.finished_before,
            reused_chunks=history.reused_chunks,
            output=decoded(described.get("output")) if status == "SUCCEEDED" else None,
            error=error,
            cause=cause,
            advice=advice,
        )

    def follow(self) -> Iterator[Progress]:
        """Yield what happened and happens, from the first state to the end."""
        return follow_execution(self.stepfunctions, self.execution_arn, poll_seconds=self.stack.poll_seconds)

    def cancel(self, reason: str = "ended by batch-predict cancel", error: str = CANCELLED) -> None:
        """End it; what its chunks have written stays for the next run of the same request. BatchPredictError if it is over."""
        status = self.describe()["status"]
        if status in ENDED:
            raise BatchPredictError(f"run {self.name} is over: it ended as {status}")
        self.stepfunctions.stop_execution(executionArn=self.execution_arn, error=error, cause=reason)

    @property
    def request(self) -> Mapping[str, Any]:
        """Return the request that it was started with, by whomever: an object's event starts with one in it."""
        found = decoded(self.describe().get("input"))
        return found["request"] if isinstance(found.get("request"), dict) else found

    def document(self) -> Mapping[str, Any]:
        """Return the execution's document as the newest state that grew it left it: request, plan, output (contract.py)."""
        return self.history().document

    def report(self) -> Mapping[str, Any]:
        """Return `<output>.report.json`; BatchPredictError if this run did not come so far."""
        if "report_s3_uri" not in decoded(self.describe().get("output")):
            raise BatchPredictError(f"run {self.name} has no report: `batch-predict explain {self.name}` says why")
        # Where it is follows from the request: what the execution says of it may come from a report that somebody else has written.
        place = f"{self.document().get('request', {}).get('output_s3_uri')}.report.json"
        found = self.read_json(place)
        if not isinstance(found, dict):
            raise BatchPredictError(f"{place} is gone")
        return found

    def chunks(self) -> list[Mapping[str, Any]]:
        """Return the chunks of the plan; BatchPredictError if there is none, or no longer."""
        plan = self.document().get("plan", {})
        if "plan_key" not in plan:
            raise BatchPredictError(f"run {self.name} has no plan: it ended before that, or has not planned yet")
        found = self.read_json(f"s3://{plan['bucket']}/{plan['plan_key']}")
        if not isinstance(found, list):
            raise BatchPredictError(
                f"the plan of run {self.name} has been deleted with its other work, as it is after publishing: start the "
                "request again with keep_work"
            )
        return found

    def chunk_event(self, number: int) -> dict[str, Any]:
        """Return the event by which the prediction function writes chunk ``number``, from 1, as the run needs it."""
        chunks = self.chunks()
        if not 1 <= number <= len(chunks):
            raise BatchPredictError(f"run {self.name} has chunks 1 to {len(chunks)}, not {number}")
        document = self.document()
        # As in the state machine: what the document says wins over the plan's items, which somebody may have changed.
        return {**chunks[number - 1], **document["prediction"], **document["plan"]["agreed"], "raise_errors": False}

    def invoke(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Invoke the prediction function with an event, and return its answer: `statusCode` and `body`, decoded."""
        answer = self.stack.client("lambda").invoke(
            FunctionName=self.stack.predict_function_name, Payload=json.dumps(event).encode()
        )
        result = json.loads(answer["Payload"].read())
        if "statusCode" not in result:  # out of time or memory, or killed
            return {"statusCode": 500, "body": {"error": "FunctionError", "message": str(result.get("errorMessage", result))}}
        return {"statusCode": result["statusCode"], "body": json.loads(result["body"])}

    def lost_chunks(self) -> list[Mapping[str, Any]]:
        """Return the error records that this run has left, in the plan's order, `RECORDS_READ` at most."""
        plan = self.document().get("plan", {})
        if "work_prefix" not in plan:
            return []
        records = list(islice((uri for uri in self.work_uris(plan) if uri.endswith(".error.json")), RECORDS_READ))
        with ThreadPoolExecutor(READERS) as pool:
            found = [record for record in pool.map(self.read_json, records) if isinstance(record, dict)]
        mine = (record for record in found if record.get("execution_arn") == self.execution_arn)
        return sorted(mine, key=lambda record: record["chunk_index"])

    def attempts(self) -> dict[int, int]:
        """Return how often each chunk was invoked, by its index, as the newest Map Run's children say.

        Empty if there are more than `HISTORIES_READ`, or Step Functions no longer has them (it keeps them for 90 days).
        """
        map_run_arn = newest_map_run(self.stepfunctions, self.execution_arn)
        if map_run_arn is None:
            return {}
        pages = self.stepfunctions.get_paginator("list_executions").paginate(mapRunArn=map_run_arn)
        children = list(islice((child for page in pages for child in page["executions"]), HISTORIES_READ + 1))
        if len(children) > HISTORIES_READ:
            return {}
        with ThreadPoolExecutor(HISTORY_READERS) as pool:
            return dict(filter(None, pool.map(lambda child: self._attempts_of(child["executionArn"]), children)))

    def _attempts_of(self, child_arn: str) -> tuple[int, int] | None:
        document = decoded(self.stepfunctions.describe_execution(executionArn=child_arn).get("input"))
        index = document.get("event", {}).get("chunk_index")
        invoked = 0
        for event in history_events(self.stepfunctions, child_arn):
            # Of a Task that names the function itself; the emulator calls it a Task's.
            details = event.get("lambdaFunctionScheduledEventDetails") or event.get("taskScheduledEventDetails") or {}
            invoked += details.get("resource", "").endswith(f":function:{self.stack.predict_function_name}")
        return (index, invoked) if isinstance(index, int) and invoked else None

    def log_lines(self, chunk: int | None = None) -> Iterator[tuple[datetime, str]]:
        """Yield the functions' log lines, or those of its chunk ``chunk`` (from 1), oldest first. Each names its execution."""
        described = self.describe()
        window = {"startTime": int(described["startDate"].timestamp() * 1000)}
        if "stopDate" in described:
            window["endTime"] = int(described["stopDate"].timestamp() * 1000) + 60_000  # functions may log a little later
        names = {json.dumps(self.name), f'"{self.name}"'}  # the two kinds of functions escape letters beyond ASCII, and do not
        pages = self.stack.client("logs").get_paginator("filter_log_events")
        for page in pages.paginate(logGroupName=self.stack.outputs["LogGroupName"], **window):
            for event in page["events"]:
                line = event["message"].replace('\\"', '"')  # Lambda's JSON format escapes what the function logs
                is_own = any(f'"execution_name": {name}' in line for name in names)  # run-1 is in run-10, too
                if is_own and (chunk is None or f'"chunk_index": {chunk - 1},' in line):
                    yield datetime.fromtimestamp(event["timestamp"] / 1000, UTC), event["message"].rstrip()

    def definition(self) -> Mapping[str, Any]:
        """Return the state machine's definition as this execution has it; an empty one if it cannot be read."""
        try:
            described = self.stepfunctions.describe_state_machine_for_execution(executionArn=self.execution_arn)
        except (BotoCoreError, ClientError):
            return {}
        return decoded(described["definition"])

    def work_uris(self, plan: Mapping[str, Any]) -> Iterator[str]:
        """Yield the URIs of what the chunks of a plan have left in its work prefix."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=plan["bucket"], Prefix=f"{plan['work_prefix']}chunk-")
        return (f"s3://{plan['bucket']}/{item['Key']}" for page in pages for item in page.get("Contents", ()))

    def read_json(self, uri: str) -> Any:
        """Return what a JSON object in S3 holds, None if it is not there or cannot be read."""
        bucket, key = split_uri(uri)
        try:
            return json.loads(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        except ClientError as error:
            if error.response["Error"]["Code"] in NOT_THERE:
                return None
            raise
        except ValueError:
            return None

    @cached_property
    def stepfunctions(self) -> Any:
        """Return the stack's client of Step Functions."""
        return self.stack.client("stepfunctions")

    @cached_property
    def s3(self) -> Any:
        """Return the stack's client of S3."""
        return self.stack.client("s3")


def find_run(stack: Stack, run: str) -> Run:
    """Return the run of this name, or of this execution's ARN; BatchPredictError if the stack has none."""
    arn = run if run.startswith("arn:") else f"{stack.state_machine_arn.replace(':stateMachine:', ':execution:')}:{run}"
    found = Run(stack, arn)
    found.describe()
    return found


def list_runs(stack: Stack, limit: int) -> list[ListedRun]:
    """Return the newest runs of a stack, newest first by their start.

    Step Functions lists those that are over by their end, so a page of them is looked at, however few are wanted.
    """
    pages = (
        stack.client("stepfunctions")
        .get_paginator("list_executions")
        .paginate(stateMachineArn=stack.state_machine_arn, PaginationConfig={"PageSize": LIST_PAGE})
    )
    # Children of a Distributed Map are no runs.
    found = (item for page in pages for item in page["executions"] if not item.get("mapRunArn"))
    newest = sorted(islice(found, max(limit, LIST_PAGE)), key=lambda item: item["startDate"], reverse=True)
    return [ListedRun(item["name"], item["status"], item["startDate"], item.get("stopDate")) for item in newest[:limit]]
