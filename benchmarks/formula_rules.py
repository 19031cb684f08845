"""What S3 refuses, and with which codes.

Rules: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html, and the API reference's page of each operation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from benchmarks.formula_objects import Content, Reference

MIN_PART_BYTES = 5 * 2**20
MAX_PART_BYTES = 5 * 2**30
"""Also of an object that one PutObject writes."""
MAX_PARTS = 10_000
MAX_OBJECT_BYTES = int(48.8 * 2**40)
RANGED_COPY_BYTES = 5_000_000
"""The source of a ranged copy is larger."""
PAGE = 1000
"""Most that a page of a listing holds, and that DeleteObjects takes."""


class RefusedError(Exception):
    """Becomes a ClientError with the operation's name."""

    def __init__(self, code: str, status: int, message: str = "") -> None:
        self.code, self.status, self.message = code, status, message


class Entry(NamedTuple):
    """An object of the bucket."""

    content: Content
    etag: str
    metadata: dict[str, str]


@dataclass
class Upload:
    """A multipart upload that has not ended."""

    key: str
    metadata: dict[str, str]
    parts: dict[int, Part] = field(default_factory=dict)


class Part(NamedTuple):
    """An uploaded part."""

    reference: Reference
    etag: str


def require_match(etag: str | None, entry: Entry) -> None:
    if etag not in (None, "*") and etag.strip('"') != entry.etag.strip('"'):
        raise RefusedError("PreconditionFailed", 412)


def require_part_number(number: int) -> None:
    if not 1 <= number <= MAX_PARTS:
        raise RefusedError("InvalidArgument", 400, f"Part number must be an integer between 1 and {MAX_PARTS}, inclusive")


def get_range(header: str, size: int) -> tuple[int, int]:
    """Return [start, stop) of a Range header; it may end behind the object."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header)
    if not match or match.groups() == ("", ""):
        return 0, size  # as S3: what it cannot read it ignores
    if not match[1]:
        start, stop = max(0, size - int(match[2])), size
    else:
        start, stop = int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
    if start >= size or start >= stop:
        raise RefusedError("InvalidRange", 416)
    return start, stop


def copy_range(header: str, size: int) -> tuple[int, int]:
    """Return [start, stop) of a copy, which must lie inside a source that is large enough."""
    match = re.fullmatch(r"bytes=(\d+)-(\d+)", header)
    if not match:
        raise RefusedError("InvalidArgument", 400, "The x-amz-copy-source-range value must be of the form bytes=first-last")
    if size <= RANGED_COPY_BYTES:
        raise RefusedError("InvalidRequest", 400, f"A range can be copied only of a source above {RANGED_COPY_BYTES} bytes")
    start, stop = int(match[1]), int(match[2]) + 1
    if not start < stop <= size:
        raise RefusedError("InvalidArgument", 400, f"Range specified is not valid for source object of size: {size}")
    return start, stop


def chosen_parts(upload: Upload, listed: list[dict[str, Any]]) -> list[Part]:
    """Return the parts that a completion names, which must be there, in order and large enough."""
    if not 0 < len(listed) <= MAX_PARTS:
        raise RefusedError("MalformedXML", 400)
    if any(after["PartNumber"] <= before["PartNumber"] for before, after in pairwise(listed)):
        raise RefusedError("InvalidPartOrder", 400)
    parts = [upload.parts.get(item["PartNumber"]) for item in listed]
    if any(part is None or part.etag.strip('"') != item["ETag"].strip('"') for part, item in zip(parts, listed, strict=True)):
        raise RefusedError("InvalidPart", 400)
    found = [part for part in parts if part]
    if any(part.reference.size < MIN_PART_BYTES for part in found[:-1]):
        raise RefusedError("EntityTooSmall", 400)
    return found
