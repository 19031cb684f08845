"""Runs that were started before: by this command line, by StartExecution or by a schedule. Found by name, asked, explained, ended.

Everything here is read from Step Functions and S3, so it is the same for a deployed stack and for the embedded local AWS.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from batch_predict.deployed import facts_so_far, split_advice
from batch_predict.errors import BatchPredictError
from batch_predict.report.input import ReportInput, StateRun
from batch_predict.runs.execution import (
    ChunksCounted,
    Progress,
    StateExited,
    count_chunks,
    decoded,
    error_of,
    finished_by_plan,
    follow_execution,
    history_events,
    newest_map_run,
    once_known,
    progress_of,
)
from batch_predict.runs.stack import Stack

LIST_PAGE = 100
RECORDS_READ = 100
"""Error records of lost chunks that are read: more than anybody looks at."""
READERS = 16
HISTORIES_READ = 200
"""Of a Map Run's children: 10 s at the quota of GetExecutionHistory, 20 a second."""
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
    """Since its start, or of all of it."""
    state: str | None = None
    """The newest state that it entered."""
    chunks: ChunksCounted | None = None
    """Of the Distributed Map; None before it."""
    finished_before: int = 0
    """Of the newest plan: those that were done when it was made, and so are no part of `chunks`."""
    reused_chunks: int = 0
    """Of these, those of an earlier run: an execution that plans again finds what it has finished itself."""
    output: Mapping[str, Any] | None = None
    """What the execution ended with, where it succeeded."""
    error: str | None = None
    cause: str | None = None
    advice: str | None = None


@dataclass(frozen=True)
class ListedRun:
    """One line of a list of runs."""

    name: str
    status: str
    started: datetime
    stopped: datetime | None


def started_with(described: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the request in an execution's input."""
    found = decoded(described.get("input"))
    request: Mapping[str, Any] = found["request"] if isinstance(found.get("request"), dict) else found
    return request


class Run:
    """One execution of a stack's state machine."""

    def __init__(self, stack: Stack, execution_arn: str) -> None:
        self.stack = stack
        self.execution_arn = execution_arn
        self.name = execution_arn.rpartition(":")[2]

    def describe(self) -> Mapping[str, Any]:
        """Return what Step Functions says of the execution; BatchPredictError where it knows none."""
        try:
            found: Mapping[str, Any] = once_known(lambda: self._stepfunctions.describe_execution(executionArn=self.execution_arn))
        except ClientError as error:
            if error.response["Error"]["Code"] in {"ExecutionDoesNotExist", "InvalidArn"}:
                raise BatchPredictError(
                    f"{self.stack.title} has no run {self.name}: `batch-predict list` shows those that it has"
                ) from error
            raise
        return found

    def status(self) -> RunStatus:
        """Return how far it is."""
        described = self.describe()
        stopped = described.get("stopDate")
        error = described.get("error") or (described["status"] if described["status"] in ENDED[1:] else None)
        cause, advice = split_advice(error or "", message_of(described.get("cause") or ""))
        events = list(self._history())
        states, there = _closed(states_of(iter(events)), described), finished_by_plan(progress_of(iter(events)))
        return RunStatus(
            name=self.name,
            status=described["status"],
            started=described["startDate"],
            stopped=stopped,
            seconds=((stopped or datetime.now(UTC)) - described["startDate"]).total_seconds(),
            state=states[-1].name if states else None,
            chunks=count_chunks(self._stepfunctions, self.execution_arn),
            finished_before=there[-1] if there else 0,
            reused_chunks=there[0] if there else 0,
            output=decoded(described.get("output")) if described["status"] == "SUCCEEDED" else None,
            error=error,
            cause=cause or None,
            advice=advice,
        )

    def follow(self, *, poll_seconds: float = 1.0) -> Iterator[Progress]:
        """Yield what happened and happens, from the first state to the end."""
        return follow_execution(self._stepfunctions, self.execution_arn, poll_seconds=poll_seconds)

    def cancel(self, reason: str = "ended by batch-predict cancel", error: str = CANCELLED) -> None:
        """End it; what its chunks have written stays for the next run of the same request. BatchPredictError where it is over."""
        status = self.describe()["status"]
        if status in ENDED:
            raise BatchPredictError(f"run {self.name} is over: it ended as {status}")
        self._stepfunctions.stop_execution(executionArn=self.execution_arn, error=error, cause=reason)

    @property
    def request(self) -> Mapping[str, Any]:
        """Return the request that it was started with, by whomever: an object's event starts with one in it."""
        return started_with(self.describe())

    def states(self) -> list[StateRun]:
        """Return the states that it went through, in order."""
        return _closed(states_of(self._history()), self.describe())

    def document(self) -> Mapping[str, Any]:
        """Return the execution's document as the newest state that grew it left it: request, plan, output (contract.py)."""
        return _document_of(self._history())

    def report(self) -> Mapping[str, Any]:
        """Return `<output>.report.json`; BatchPredictError where this run did not come so far."""
        if "report_s3_uri" not in decoded(self.describe().get("output")):
            raise BatchPredictError(f"run {self.name} has no report: `batch-predict explain {self.name}` says why")
        # Where it is follows from the request: what the execution says of it may come from a report that somebody else has written.
        place = f"{self.document().get('request', {}).get('output_s3_uri')}.report.json"
        found = self._json(place)
        if not isinstance(found, dict):
            raise BatchPredictError(f"{place} is gone")
        return found

    def chunks(self) -> list[Mapping[str, Any]]:
        """Return the chunks of the plan; BatchPredictError where there is none, or no longer."""
        plan = self.document().get("plan", {})
        if "plan_key" not in plan:
            raise BatchPredictError(f"run {self.name} has no plan: it ended before, or is not that far")
        found = self._json(f"s3://{plan['bucket']}/{plan['plan_key']}")
        if not isinstance(found, list):
            raise BatchPredictError(
                f"the plan of run {self.name} has been deleted with its other work, as it is after publishing: start the "
                "request again with keep_work"
            )
        return found

    def chunk_event(self, number: int) -> dict[str, Any]:
        """Return the event of chunk ``number``, from 1 as messages count, for a direct invocation of the prediction function.

        It writes the very part and receipt that the run needs, so that the same request, started again, finds them.
        """
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
        records = list(islice(self._error_record_uris(plan), RECORDS_READ))
        with ThreadPoolExecutor(READERS) as pool:
            found = [record for record in pool.map(self._json, records) if isinstance(record, dict)]
        mine = (record for record in found if record.get("execution_arn") == self.execution_arn)
        return sorted(mine, key=lambda record: record["chunk_index"])

    def so_far(self) -> dict[str, Any]:
        """Return what is known of a run that has no report, as the fields of one: from its history, its plan and its receipts.

        `chunks.failed` counts the error records that this run has left. Empty where it ended before it knew its model.
        """
        document = self.document()
        if "model" not in document:
            return {}
        probe = document["model"]
        known = {"model": probe["model"], "warnings": probe["warnings"]}
        try:
            chunks = self.chunks()
            facts = facts_so_far(document, self._with_receipts(document["plan"], chunks))
        except (
            BatchPredictError,
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
        ):  # no plan, or no longer, or what is there is none
            return known
        decision = self._json(f"s3://{document['plan']['bucket']}/{document['plan']['work_prefix']}decision.json")
        decided = decision.get("column_types") if isinstance(decision, dict) else None
        types = {"column_types": decided} if isinstance(decided, dict) else {}
        return known | types | facts | {"chunks": facts["chunks"] | {"failed": len(self.lost_chunks())}}

    def _with_receipts(
        self, plan: Mapping[str, Any], chunks: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[Mapping[str, Any], Any]]:
        """Yield the plan's chunks, each with what is in the place of its receipt, None where nothing is; a few are read at once."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=plan["bucket"], Prefix=f"{plan['work_prefix']}chunk-")
        there = {f"s3://{plan['bucket']}/{item['Key']}" for page in pages for item in page.get("Contents", ())}

        def read(chunk: Mapping[str, Any]) -> Any:
            return self._json(chunk["receipt_s3_uri"]) if chunk["receipt_s3_uri"] in there else None

        with ThreadPoolExecutor(READERS) as pool:
            for begin in range(0, len(chunks), 4 * READERS):
                some = chunks[begin : begin + 4 * READERS]
                yield from zip(some, pool.map(read, some), strict=True)

    def attempts(self) -> dict[int, int]:
        """Return how often each chunk was invoked, by its index, as the histories of the newest Map Run's children say.

        Empty where there are more than `HISTORIES_READ` children, whose histories would take minutes, or Step Functions no longer
        has them (it keeps them for 90 days).
        """
        map_run_arn = newest_map_run(self._stepfunctions, self.execution_arn)
        if map_run_arn is None:
            return {}
        pages = self._stepfunctions.get_paginator("list_executions").paginate(mapRunArn=map_run_arn)
        children = list(islice((child for page in pages for child in page["executions"]), HISTORIES_READ + 1))
        if len(children) > HISTORIES_READ:
            return {}
        with ThreadPoolExecutor(HISTORY_READERS) as pool:
            return dict(filter(None, pool.map(lambda child: self._attempts_of(child["executionArn"]), children)))

    def _attempts_of(self, child_arn: str) -> tuple[int, int] | None:
        document = decoded(self._stepfunctions.describe_execution(executionArn=child_arn).get("input"))
        index = document.get("event", {}).get("chunk_index")
        invoked = 0
        for event in history_events(self._stepfunctions, child_arn):
            # Of a Task that names the function itself; the emulator calls it a Task's.
            details = event.get("lambdaFunctionScheduledEventDetails") or event.get("taskScheduledEventDetails") or {}
            invoked += details.get("resource", "").endswith(f":function:{self.stack.predict_function_name}")
        return (index, invoked) if isinstance(index, int) and invoked else None

    def record(self) -> ReportInput:
        """Put together all that is known of the run, for its page."""
        described = self.describe()
        try:
            report = self.report()
        except BatchPredictError:
            report = None
        status = self.status()
        return ReportInput(
            name=self.name,
            execution_arn=self.execution_arn,
            status=status.status,
            started=status.started,
            stopped=status.stopped,
            request=report["request"] if report else self.document().get("request") or started_with(described),
            states=self.states(),
            definition=self._definition(),
            report=report,
            so_far={} if report else self.so_far(),
            failures=report["failed_chunks"] if report else self.lost_chunks(),
            attempts=self.attempts(),
            error=status.error,
            cause=status.cause,
            advice=status.advice,
        )

    def logs(self, chunk: int | None = None) -> Iterator[tuple[datetime, str]]:
        """Yield the functions' log lines of this run, or of its chunk ``chunk`` (from 1), oldest first.

        Lines name the execution or its work. A chunk that failed names its number only: of several runs at once, theirs are
        shown, too.
        """
        described, plan = self.describe(), self.document().get("plan", {})
        marks = [self.name, plan.get("work_prefix") or self.name]
        window = {"startTime": _milliseconds(described["startDate"])}
        if "stopDate" in described:
            window["endTime"] = _milliseconds(described["stopDate"]) + 60_000  # functions may log a little later
        pages = self.stack.client("logs").get_paginator("filter_log_events")
        for page in pages.paginate(logGroupName=self.stack.outputs["LogGroupName"], **window):
            for event in page["events"]:
                if _is_about(event["message"], marks, chunk):
                    yield datetime.fromtimestamp(event["timestamp"] / 1000, UTC), event["message"].rstrip()

    def _history(self) -> Iterator[Mapping[str, Any]]:
        return history_events(self._stepfunctions, self.execution_arn)

    @cached_property
    def _stepfunctions(self) -> Any:
        return self.stack.client("stepfunctions")

    @cached_property
    def _s3(self) -> Any:
        return self.stack.client("s3")

    def _definition(self) -> Mapping[str, Any]:
        try:
            described = self._stepfunctions.describe_state_machine_for_execution(executionArn=self.execution_arn)
        except (BotoCoreError, ClientError):  # the page does without
            return {}
        return decoded(described["definition"])

    def _error_record_uris(self, plan: Mapping[str, Any]) -> Iterator[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=plan["bucket"], Prefix=f"{plan['work_prefix']}chunk-")
        for page in pages:
            for item in page.get("Contents", ()):
                if item["Key"].endswith(".error.json"):
                    yield f"s3://{plan['bucket']}/{item['Key']}"

    def _json(self, uri: str) -> Any:
        """Return a JSON object of S3, None where it is not there or cannot be read."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        try:
            return json.loads(self._s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        except ClientError as error:
            if error.response["Error"]["Code"] in NOT_THERE:
                return None
            raise
        except ValueError:
            return None


def find_run(stack: Stack, run: str) -> Run:
    """Return the run of this name, or of this execution's ARN; BatchPredictError where the stack has none."""
    arn = run if run.startswith("arn:") else f"{stack.state_machine_arn.replace(':stateMachine:', ':execution:')}:{run}"
    found = Run(stack, arn)
    found.describe()
    return found


def list_runs(stack: Stack, limit: int) -> list[ListedRun]:
    """Return the newest runs of a stack, newest first by their start.

    Step Functions lists those that run by their start, all others by their end: of these a long run may stand before a later one.
    So a page of them is looked at, however few are wanted.
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


def states_of(events: Iterator[Mapping[str, Any]]) -> list[StateRun]:
    """Return the visits to states that a history tells of."""
    found: list[StateRun] = []
    attempts, error, is_open = 0, None, False
    for event in events:
        kind = event["type"]
        if kind.endswith("StateEntered"):
            attempts, error, is_open = 0, None, True
            found.append(StateRun(event["stateEnteredEventDetails"]["name"], kind.partition("State")[0], event["timestamp"], None))
        elif not is_open:
            continue
        elif kind.endswith("Scheduled"):
            attempts, error = attempts + 1, None
        elif kind.endswith(("Failed", "TimedOut")) and not kind.startswith("Execution"):
            error = error_of(event, error) or error
        last = found[-1] if found else None
        if last and kind in {"ExecutionAborted", "ExecutionTimedOut"}:  # `_closed` says how
            is_open = False
        elif last and (kind.endswith(("StateExited", "Failed", "TimedOut")) or kind.startswith("Execution")):
            seconds = (event["timestamp"] - last.started).total_seconds()
            is_open = kind.endswith(("Failed", "TimedOut")) and not kind.startswith("Execution")
            found[-1] = StateRun(last.name, last.kind, last.started, seconds, error, max(attempts, 1))
    return found


def _closed(states: list[StateRun], described: Mapping[str, Any]) -> list[StateRun]:
    """Return the states of an execution that is over: one that it has not left was ended from outside."""
    last = states[-1] if states else None
    if last is None or last.seconds is not None or "stopDate" not in described or last.kind in {"Succeed", "Fail"}:
        return states
    seconds = max(0.0, (described["stopDate"] - last.started).total_seconds())
    return [*states[:-1], replace(last, seconds=seconds, error=described.get("error") or described["status"], is_stopped=True)]


def _document_of(events: Iterator[Mapping[str, Any]]) -> Mapping[str, Any]:
    newest: Mapping[str, Any] = {}
    for progress in progress_of(events):
        # The last states return a part of the document, and no longer the document.
        if isinstance(progress, StateExited) and "prediction" in progress.document:
            newest = progress.document
    return newest


def message_of(cause: str) -> str:
    """Return the sentence in a cause that is a Lambda function's error as JSON; one that could not be explained ends as it came."""
    try:
        return str(json.loads(cause)["errorMessage"])
    except (ValueError, TypeError, KeyError):
        return cause


@contextmanager
def aws_troubles(stack: Stack) -> Iterator[None]:
    """Say in one sentence what AWS does not do."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise BatchPredictError(f"{stack.title} failed: {error}") from error


def _is_about(line: str, marks: Sequence[str], chunk: int | None) -> bool:
    number = None if chunk is None else f'"chunk_index": {chunk - 1},'
    plain = line.replace('\\"', '"')  # Lambda's JSON format escapes what the function logs
    if number is not None and number not in plain and f"chunk-{chunk - 1:05}" not in plain:  # type: ignore[operator]
        return False
    is_failure = '"source": "prediction_handler"' in plain and '"output_s3_uri"' not in plain and '"rows_per_second"' not in plain
    return any(mark in plain for mark in marks) or is_failure


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)
