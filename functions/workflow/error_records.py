"""Error records as they are read again: a hint why a chunk is lost, never a reason to fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

from .errors import InputNotFoundError
from .s3 import get_json

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from .contract import ErrorRecord


def read_error_record(client: S3Client, uri: str) -> ErrorRecord | None:
    """Return an error record, None where there is none that can be read."""
    try:
        record = get_json(client, uri)
    except (InputNotFoundError, ValueError):
        return None
    return record if _is_error_record(record) else None


def _is_error_record(record: Any) -> TypeGuard[ErrorRecord]:
    if not isinstance(record, dict):
        return False
    texts = all(isinstance(record.get(field), str) for field in ("error", "message", "execution_arn"))
    advises = "advice" in record and isinstance(record["advice"], str | None)
    return texts and advises and type(record.get("chunk_index")) is int and (_is_group(record) or _is_range(record))


def _is_group(record: dict[str, Any]) -> bool:
    return isinstance(record.get("segments_s3_uri"), str)


def _is_range(record: dict[str, Any]) -> bool:
    edges = record.get("byte_range")
    return (
        isinstance(record.get("data_s3_uri"), str)
        and isinstance(edges, list)
        and len(edges) == 2
        and all(type(edge) is int for edge in edges)
    )
