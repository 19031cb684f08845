"""The report beside the output: what was predicted by what, what is missing and why, and where the time went."""

from collections import Counter
from datetime import datetime
from typing import Any, TypedDict

from .accounting import Account
from .contract import Decision, Document, ErrorRecord, Output, ReportStatistics
from .estimate import Dollars, Work, estimate
from .formats import is_copied

SCHEMA_VERSION = 2


def report_of(
    document: Document,
    decision: Decision,
    account: Account,
    output: Output,
    identity: str,
    errors: list[ErrorRecord | None],
    statistics: ReportStatistics,
    finished: datetime,
) -> dict[str, Any]:
    """Return the report, as report.schema.json describes it; `errors` are those of the missing chunks, in their order."""
    plan = document["plan"]
    return {
        "schema_version": SCHEMA_VERSION,
        "fingerprint": plan["fingerprint"],
        "identity": identity,
        "execution": document["execution"],
        "started": document["execution"]["start_time"],
        "finished": finished.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "request": document["request"]
        | {
            "feature_columns": decision["feature_columns"],
            "column_types": decision["stated_types"] or None,
            "output_columns": decision["output_columns"],
        },
        "plan": {
            field: plan[field]
            for field in (
                *("boundaries", "chunk_size_mb", "chunk_size_reason", "chunks", "objects", "input_bytes", "input_compression"),
                "skipped_objects",
            )
        },
        "output": output,
        "bytes": {"read": sum(done.receipt["input_bytes"] for done in account.done), "written": output["bytes"]},
        "failed_chunks": [
            {
                "chunk_index": chunk["chunk_index"],
                "data_s3_uri": chunk.get("data_s3_uri"),
                "byte_range": chunk.get("byte_range"),
                **({"row_groups": chunk["row_groups"]} if "row_groups" in chunk else {}),
                "segments_s3_uri": chunk.get("segments_s3_uri"),
                "error": error["error"] if error else None,
                "message": error["message"] if error else "left no error record",
                "advice": error["advice"] if error else None,
            }
            for chunk, error in zip(account.missing, errors, strict=True)
        ],
        "column_types": decision["column_types"],
        **facts_of_chunks(document, account, statistics),
    }


def facts_of_chunks(document: Document, account: Account, statistics: ReportStatistics) -> dict[str, Any]:
    """Return what the chunks that are done say of the run: the part of the report that is known before there is an output."""
    plan = document["plan"]
    receipts = [done.receipt for done in account.done]
    began = datetime.fromisoformat(document["execution"]["start_time"]).timestamp() * 1000
    by_stage: Counter[str] = Counter()
    for receipt in receipts:
        by_stage.update(receipt["milliseconds"])
    read, rejected = (sum(receipt[name] for receipt in receipts) for name in ("rows_read", "rejected_rows"))
    return {
        "rows": {"read": read, "predicted": read - rejected, "rejected": rejected},
        "rounded_integers": sum(receipt["rounded_integers"] for receipt in receipts),
        "chunks": {
            "planned": plan["chunks"],
            "predicted": len(account.done),
            # The plan cannot say it: made again, it finds this execution's own chunks.
            "reused": sum(receipt["started"] < began for receipt in receipts),
            "failed": len(account.missing),
        },
        "model": (receipts[0] if receipts else document["model"])["model"],
        "warnings": document["model"]["warnings"],
        "milliseconds": {stage: round(milliseconds, 3) for stage, milliseconds in by_stage.items()},
        "estimated_cost": estimated_cost(document, account),
        "statistics": statistics,
        "timeline": timeline(account),
    }


def timeline(account: Account) -> dict[str, list[Any]]:
    """Return when each chunk of the output ran, a list for each fact, in the plan's order; also chunks of earlier executions."""
    done = account.done
    groups = [chunk.get("row_groups") for chunk, _ in done]
    return {
        "chunk_index": [chunk["chunk_index"] for chunk, _ in done],
        "started": [receipt["started"] for _, receipt in done],
        "milliseconds": [receipt["milliseconds"].get("total") for _, receipt in done],
        "rows": [receipt["rows_written"] for _, receipt in done],
        "rejected_rows": [receipt["rejected_rows"] for _, receipt in done],
        "cold_start": ["init" in receipt["milliseconds"] for _, receipt in done],
        "data_s3_uri": [chunk.get("data_s3_uri") for chunk, _ in done],
        "byte_range": [chunk.get("byte_range") for chunk, _ in done],
        **({"row_groups": groups} if any(groups) else {}),
    }


class Cost(TypedDict):
    """What the output has cost, whichever executions made its chunks; without retries and chunks that failed."""

    lambda_gb_seconds: float
    dollars: Dollars


def estimated_cost(document: Document, account: Account) -> Cost | None:
    """Return the cost by the duration that the chunks report; None if one does not report it, or not its function's memory."""
    receipts = [done.receipt for done in account.done]
    memory_mb = receipts[0]["memory_mb"] if receipts else None
    if not memory_mb or not all("total" in receipt["milliseconds"] for receipt in receipts):
        return None
    grouped = [receipt for receipt in receipts if "segments_s3_uri" in receipt]
    input_bytes = sum(receipt["input_bytes"] for receipt in receipts)
    work = Work(
        chunks=len(receipts),
        pending_chunks=len(receipts),
        objects=document["plan"]["objects"],
        grouped_objects=sum(receipt["objects"] for receipt in grouped),
        grouped_chunks=len(grouped),
        input_bytes=input_bytes,
        row_bytes=input_bytes / max(1, sum(receipt["rows_read"] for receipt in receipts)),
        copied_bytes=document["plan"]["input_bytes"] if is_copied(document) else 0,
    )
    seconds = sum(receipt["milliseconds"]["total"] for receipt in receipts) / 1000
    probe = document["model"]["rows_per_second"]
    found = estimate(work, probe, document["request"]["max_concurrency"], memory_mb, measured_seconds=seconds)
    return {"lambda_gb_seconds": found["lambda_gb_seconds"], "dollars": found["dollars"]}
