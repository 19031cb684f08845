"""What is known of one run: put together from Step Functions and S3 by the caller, and drawn by page.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batch_predict.errors import BatchPredictError
from batch_predict.runs.history import StateVisit
from batch_predict.runs.run import Run, RunStatus
from batch_predict.runs.so_far import so_far


@dataclass(frozen=True, kw_only=True)
class ReportInput(RunStatus):
    """One run of the workflow, whether it goes on, has succeeded or has failed: its status, and all else that is known of it."""

    execution_arn: str
    request: Mapping[str, Any]
    """As it was given, or with defaults and resolved placeholders if the report has it."""
    states: Sequence[StateVisit]
    """In the order in which they were entered."""
    definition: Mapping[str, Any]
    """The state machine's definition, decoded; empty if it cannot be read."""
    report: Mapping[str, Any] | None = None
    """`<output>.report.json`, decoded; None if the run has written none."""
    so_far: Mapping[str, Any] = field(default_factory=dict)
    """What is known of a run without a report, as the fields of one: `so_far.py`."""
    failures: Sequence[Mapping[str, Any]] = ()
    """The error records of a failed run, or the report's `failed_chunks`: `chunk_index`, `data_s3_uri`, `byte_range` [start, stop),
    `segments_s3_uri`, `error`, `message`."""
    attempts: Mapping[int, int] = field(default_factory=dict)
    """Invocations by chunk index, where known."""
    is_local: bool = False
    """Whether it ran on the embedded AWS, where nothing is charged."""
    reference: Mapping[str, Any] | None = None
    """Statistics of the reference's features, of the shape of the report's `statistics.features`; None if nobody named one."""
    reference_predictions: Mapping[str, Any] = field(default_factory=dict)
    """Statistics of the reference's predictions, if it has some."""
    reference_name: str | None = None
    """What the reader knows the reference by: its path."""
    drift: Mapping[str, float] = field(default_factory=dict)
    """Population stability index by feature, of this run against the reference."""
    prediction_drift: Mapping[str, float] = field(default_factory=dict)
    """The same by prediction column."""

    @property
    def known(self) -> Mapping[str, Any]:
        """The report, or as much of one as is known without it."""
        return self.so_far if self.report is None else self.report


def report_input(run: Run) -> ReportInput:
    """Put together all that is known of a run."""
    described, history = run.describe(), run.history()
    try:
        report = run.report()
    except BatchPredictError:
        report = None
    return ReportInput(
        **vars(run.status()),
        execution_arn=run.execution_arn,
        request=report["request"] if report else history.document.get("request") or run.request,
        states=history.visits_of(described),
        definition=run.definition(),
        report=report,
        so_far={} if report else so_far(run),
        failures=report["failed_chunks"] if report else run.lost_chunks(),
        attempts=run.attempts(),
    )
