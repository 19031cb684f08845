"""How a run ends: it has published its output, was only planned, or failed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from batch_predict.runs.execution import UNWATCHED, ChunksCounted, ExecutionEnded, Watcher, follow_execution
from batch_predict.runs.history import History
from batch_predict.runs.prepared_request import PreparedRequest
from batch_predict.runs.stack import Stack, aws_troubles
from batch_predict.runs.transfer import download, require_own
from batch_predict.runs.value_here import told_here

INTERRUPTED = "Interrupted"
"""Error name of a run whose process was stopped or killed."""


@dataclass(frozen=True, kw_only=True)
class _Ended:
    name: str | None = None
    """Name of the execution: RUN of the commands."""
    seconds: float = 0.0
    """Duration of the execution, without the start of the local AWS, uploads and downloads."""
    states: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each Task and Map state, in order."""
    reused_chunks: int | None = None
    """How many of the chunks an earlier run of the same request had finished."""
    probe_rows_per_second: float | None = None
    """The model's speed on the first rows, on one vCPU."""
    warnings: Sequence[str] = ()
    """About the model and its predictions: that it was fitted with another scikit-learn, say."""


@dataclass(frozen=True, kw_only=True)
class Published(_Ended):
    """The output is there."""

    status: str = "SUCCEEDED"
    output: Path | str
    """A local file, or the URI of one that stays in S3; so are the two that follow."""
    report: Path | str
    rejected: Path | str | None = None
    """The list of rejected rows, if they are quarantined."""
    rows: int
    rejected_rows: int = 0
    """Rows with an empty prediction."""
    chunks: int
    failed_chunks: int = 0
    """Chunks that are missing from the output, and were tolerated."""
    output_bytes: int


@dataclass(frozen=True, kw_only=True)
class Planned(_Ended):
    """A dry run has ended with its plan."""

    status: str = "SUCCEEDED"
    chunks: int
    input_bytes: int
    objects: int
    skipped_objects: int
    """Objects under a prefix or glob that hold no data, or only a header."""
    input_format: str = "csv"
    """What the data are, asked for or recognised."""
    input_compression: list[str] = field(default_factory=list)
    """How objects are compressed, of those that were looked at."""
    estimate: Mapping[str, Any] | None
    """Rows, seconds, requests and dollars on AWS (`Estimate` in functions/workflow/estimate.py)."""


@dataclass(frozen=True, kw_only=True)
class Failed(_Ended):
    """The run is over without an output."""

    status: str = "FAILED"
    """Or TIMED_OUT or ABORTED."""
    error: str
    cause: str | None = None
    advice: str | None = None
    chunks: int | None = None
    """Chunks of the plan, if it came so far."""
    failed_chunks: int | None = None


Outcome = Published | Planned | Failed


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome for JSON, with the fields of every kind of outcome: those that it lacks are None."""
    names = (one.name for kind in (Published, Planned, Failed) for one in fields(kind))
    return dict.fromkeys(names) | asdict(outcome)


def from_json(found: Mapping[str, Any]) -> Outcome:
    """Return the outcome that `as_json` gave, with paths again."""
    kind = Failed if found["error"] else Published if found["output"] else Planned
    paths = {name: Path(found[name]) for name in ("output", "report", "rejected") if found[name]}
    return kind(**{one.name: found[one.name] for one in fields(kind)} | paths)


def start(stack: Stack, prepared: PreparedRequest, name: str | None = None) -> str:
    """Start the execution, and return its ARN; what was uploaded must be there."""
    named = {"name": name} if name else {}  # else AWS gives it one
    request = json.dumps(prepared.request)
    with aws_troubles(stack):
        client = stack.client("stepfunctions")
        arn: str = client.start_execution(stateMachineArn=stack.state_machine_arn, input=request, **named)["executionArn"]
    return arn


def conclude(stack: Stack, prepared: PreparedRequest, execution_arn: str, watcher: Watcher = UNWATCHED) -> Outcome:
    """Follow the execution to its end, and download what it published, all or nothing; ``watcher`` is shown each step.

    Raises BatchPredictError if AWS stops answering, or the output cannot be written here.
    """
    history, lost_chunks = History(), None
    client = stack.client("stepfunctions")
    with aws_troubles(stack):
        for progress in follow_execution(client, execution_arn, poll_seconds=stack.poll_seconds, history=history):
            watcher.show(progress)
            if isinstance(progress, ChunksCounted):
                lost_chunks = progress.failed
        assert isinstance(progress, ExecutionEnded)
        return _outcome(stack, prepared, progress, history, lost_chunks)


def _outcome(stack: Stack, prepared: PreparedRequest, ended: ExecutionEnded, history: History, lost_chunks: int | None) -> Outcome:
    name = ended.execution_arn.rpartition(":")[2]
    probe = history.document.get("model", {})
    states: dict[str, float] = {}
    for visit in history.visits:
        if visit.kind in {"Task", "Map"} and visit.seconds is not None:
            states[visit.name] = round(states.get(visit.name, 0.0) + visit.seconds, 3)
    known: dict[str, Any] = {
        "name": name,
        "seconds": ended.seconds,
        "states": states,
        "probe_rows_per_second": probe.get("rows_per_second"),
        "warnings": [*probe.get("warnings", ()), *probe.get("model", {}).get("warnings", ())],
        "reused_chunks": history.reused_chunks if history.plan else None,
    }
    output = ended.output
    if ended.status != "SUCCEEDED":
        error = ended.error or ended.status
        cause, advice = history.told(error, ended.cause)
        known |= {"error": error, "cause": told_here(cause or "", prepared.uploads, prepared.request.get("csv")), "advice": advice}
        return Failed(**known, status=ended.status, chunks=history.plan.get("chunks"), failed_chunks=lost_chunks)
    if "output_s3_uri" not in output:
        planned: dict[str, Any] = {name: output.get(name) for name in ("input_bytes", "objects", "skipped_objects", "estimate")}
        planned |= {name: output[name] for name in ("input_format", "input_compression") if name in output}
        return Planned(**known, **planned, chunks=output["chunks"])
    require_own(prepared, output, name, history.document.get("request", {}).get("output_s3_uri"))
    places = output if prepared.output_directory is None else download(stack, prepared, output)
    return Published(
        **known,
        output=places["output_s3_uri"],
        report=places["report_s3_uri"],
        rejected=places.get("rejected_s3_uri"),
        output_bytes=output["bytes"],
        **{name: output[name] for name in ("rows", "rejected_rows", "chunks", "failed_chunks")},
    )
