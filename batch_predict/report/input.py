"""What is known of one run: put together from Step Functions and S3 by the caller, and drawn by page.py."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from batch_predict import deployed
from batch_predict.errors import BatchPredictError
from batch_predict.runs.history import StateVisit
from batch_predict.runs.run import READERS, Run, RunStatus


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
    """What is known of a run without a report, as the fields of one: `so_far`."""
    failures: Sequence[Mapping[str, Any]] = ()
    """The error records of a failed run, or the report's `failed_chunks`: `chunk_index`, `data_s3_uri`, `byte_range` [start, stop),
    `segments_s3_uri`, `error`, `message`, `advice`."""
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


def so_far(run: Run) -> dict[str, Any]:
    """Return what is known of a run as the fields of a report; nothing if it ended before it knew its model."""
    document = run.document()
    if "model" not in document:
        return {}
    probe = document["model"]
    known = {"model": probe["model"], "warnings": probe["warnings"]}
    try:
        facts = _facts(document, _with_receipts(run, document["plan"], run.chunks()))
    except (BatchPredictError, AttributeError, KeyError, TypeError, ValueError):  # there is no plan, or something else in its place
        return known
    decision = run.read_json(f"s3://{document['plan']['bucket']}/{document['plan']['work_prefix']}decision.json")
    decided = decision.get("column_types") if isinstance(decision, dict) else None
    types = {"column_types": decided} if isinstance(decided, dict) else {}
    return known | types | facts | {"chunks": facts["chunks"] | {"failed": len(run.lost_chunks())}}


def _facts(document: Any, chunks: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    """Return what the receipts say, in the shape of a report; what is no receipt of its chunk is passed over, as by a merge."""
    counted, account = deployed.distributions.StatisticsSum(), deployed.accounting.Account([], [])
    written = deployed.formats.output_format(document)
    for chunk, receipt in chunks:
        try:
            start, stop = chunk.get("byte_range") or (0, receipt["input_bytes"])
            measure = deployed.formats.Measure(stop - start, None)
            expected = deployed.accounting.PlannedChunk(chunk, receipt["objects"], measure, receipt.get("data_sha256"))
            deployed.accounting.require_agreement(expected, receipt, document["model"]["model"], written)
        except (ValueError, TypeError, KeyError, deployed.errors.IncompleteOutputError):
            account.missing.append(chunk)
            continue
        counted.add(receipt.pop("statistics", None))
        account.done.append(deployed.accounting.Done(chunk, receipt))
    return deployed.report.facts_of_chunks(document, account, counted.result())


def _with_receipts(
    run: Run, plan: Mapping[str, Any], chunks: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """Yield the plan's chunks, each with what stands in the place of its receipt, or None; a few are read at once."""
    there = set(run.work_uris(plan))

    def read(chunk: Mapping[str, Any]) -> Any:
        return run.read_json(chunk["receipt_s3_uri"]) if chunk["receipt_s3_uri"] in there else None

    with ThreadPoolExecutor(READERS) as pool:
        for begin in range(0, len(chunks), 4 * READERS):
            some = chunks[begin : begin + 4 * READERS]
            yield from zip(some, pool.map(read, some), strict=True)
