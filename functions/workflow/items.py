"""The plan's items as they are read again: of the shape, and of the names, that Plan Chunks gives them."""

from __future__ import annotations

from reprlib import repr as brief
from typing import TYPE_CHECKING, Any

from .work import decision_uri, part_uri, receipt_uri, segments_uri

if TYPE_CHECKING:
    from .contract import Chunk, Segment


def require_chunks(items: Any, prefix: str) -> list[Chunk]:
    """Return the items of a plan whose work lies under `prefix`; ValueError where they are not that."""
    if not isinstance(items, list):
        raise ValueError(f"it is {brief(items)}, not a list of chunks")  # noqa: TRY004 - a value that was read, not an argument
    for index, item in enumerate(items):
        names = {
            "chunk_index": index,
            "decision_s3_uri": decision_uri(prefix),
            "output_s3_uri": part_uri(prefix, index),
            "receipt_s3_uri": receipt_uri(prefix, index),
        }
        if isinstance(item, dict) and "segments_s3_uri" in item:
            names["segments_s3_uri"] = segments_uri(prefix, index)
        elif not _is_segment(item):
            raise ValueError(f"chunk {index + 1} is {brief(item)}")
        for field, name in names.items():
            if item.get(field) != name:
                raise ValueError(f"{field} of chunk {index + 1} is {brief(item.get(field))}, not {name}")
    return items


def require_segments(items: Any) -> list[Segment]:
    """Return the segments of a grouped chunk; ValueError where they are none."""
    if not isinstance(items, list) or not items:
        raise ValueError(f"it is {brief(items)}")
    for index, item in enumerate(items):
        if not _is_segment(item):
            raise ValueError(f"segment {index + 1} is {brief(item)}")
    return items


def segments_of(chunk: Chunk) -> list[Segment]:
    """Return the one segment of a chunk that is not grouped."""
    return [{"data_s3_uri": chunk["data_s3_uri"], "byte_range": chunk["byte_range"], "data_etag": chunk["data_etag"]}]


def _is_segment(item: Any) -> bool:
    if not isinstance(item, dict):
        return False
    edges = item.get("byte_range")
    return (
        isinstance(item.get("data_s3_uri"), str)
        and isinstance(item.get("data_etag"), str)
        and isinstance(edges, list)
        and len(edges) == 2
        and type(edges[0]) is type(edges[1]) is int  # a bool is none
    )
