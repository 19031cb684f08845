"""The report beside the output: what was predicted by what, what is missing and why, and where the time went."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from accounting import Account
    from contract import Document, ErrorRecord, Output

SCHEMA_VERSION = 1


def report_of(
    document: Document,
    account: Account,
    output: Output,
    identity: str,
    errors: list[ErrorRecord | None],
    finished: datetime,
) -> dict[str, Any]:
    """Return the report, as report.schema.json describes it; `errors` are those of the missing chunks, in their order."""
    plan = document["plan"]
    receipts = [done.receipt for done in account.done]
    return {
        "schema_version": SCHEMA_VERSION,
        "fingerprint": plan["fingerprint"],
        "identity": identity,
        "execution": document["execution"],
        "started": document["execution"]["start_time"],
        "finished": finished.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "request": document["request"],
        "plan": {field: plan[field] for field in ("boundaries", "chunks", "objects", "input_bytes", "skipped_objects")},
        "output": output,
        "rows": {
            "read": sum(receipt["rows_read"] for receipt in receipts),
            "predicted": output["rows"] - output["rejected_rows"],
            "rejected": output["rejected_rows"],
        },
        "bytes": {
            "read": sum(receipt["input_bytes"] for receipt in receipts),
            "written": output["bytes"],
        },
        "chunks": {
            "planned": plan["chunks"],
            "predicted": len(account.done),
            "reused": plan["chunks"] - plan["pending_chunks"],
            "failed": len(account.missing),
        },
        "failed_chunks": [
            {
                "chunk_index": chunk["chunk_index"],
                "data_s3_uri": chunk.get("data_s3_uri"),
                "byte_range": chunk.get("byte_range"),
                "segments_s3_uri": chunk.get("segments_s3_uri"),
                "error": error["error"] if error else None,
                "message": error["message"] if error else "left no error record",
            }
            for chunk, error in zip(account.missing, errors, strict=True)
        ],
        "model": receipts[0].get("model"),
        "milliseconds": milliseconds_by_stage(account),
    }


def milliseconds_by_stage(account: Account) -> dict[str, float]:
    """Return the time of all chunks together, by stage."""
    total: Counter[str] = Counter()
    for done in account.done:
        for stage, milliseconds in done.receipt.get("milliseconds", {}).items():
            total[stage] += milliseconds  # type: ignore[assignment]
    return {stage: round(milliseconds, 3) for stage, milliseconds in total.items()}
