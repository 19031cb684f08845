"""What S3 allows and refuses, said once: its limits, the status of each code, and the rules of each call.

`strict_s3.py` holds moto to these rules, `benchmarks/formula_s3.py` is built on them, and the proxy and the scripted S3 take from
here which status goes with a code. Where S3 is known to be kinder (it may answer a repeated completion as it did the first one),
the rule here is the harder one that its documentation allows:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html, https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
and the API reference's page of each operation.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MIN_PART_BYTES = 5 * 2**20
MAX_PART_BYTES = 5 * 2**30
"""Also of what one UploadPartCopy copies, and of an object that one PutObject writes."""
MAX_PARTS = 10_000
MAX_OBJECT_BYTES = int(48.8 * 2**40)
RANGED_COPY_BYTES = 5_000_000
"""The source of a ranged copy is larger."""
PAGE = 1000
"""Most that a page of a listing holds, and that DeleteObjects takes."""

STATUS = {
    "AccessDenied": 403,
    "ConditionalRequestConflict": 409,
    "EntityTooLarge": 400,
    "EntityTooSmall": 400,
    "InternalError": 500,
    "InvalidArgument": 400,
    "InvalidPart": 400,
    "InvalidPartOrder": 400,
    "InvalidRange": 416,
    "InvalidRequest": 400,
    "MalformedXML": 400,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NoSuchUpload": 404,
    "NotImplemented": 501,
    "PreconditionFailed": 412,
    "ServiceUnavailable": 503,
    "SlowDown": 503,
}


class RefusedError(Exception):
    """A call is against a rule: S3 answers with this code and its status."""

    def __init__(self, code: str, message: str = "") -> None:
        self.code, self.status, self.message = code, STATUS[code], message


class Uploaded(NamedTuple):
    etag: str
    size: int


def require_match(wanted: str | None, etag: str) -> None:
    """Refuse a call for another ETag than the object has."""
    if wanted not in {None, "*"} and (wanted or "").strip('"') != etag.strip('"'):
        raise RefusedError("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")


def require_writable(params: Mapping[str, Any], etag: str | None) -> None:
    """Refuse a write whose condition does not hold for the ETag of what is there, or for None if nothing is."""
    if params.get("IfNoneMatch", "*") != "*":
        raise RefusedError("NotImplemented")
    if "IfNoneMatch" in params and etag:
        raise RefusedError("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
    if "IfMatch" in params:
        if etag is None:
            raise RefusedError("NoSuchKey", "The specified key does not exist.")
        require_match(params["IfMatch"], etag)


def require_part_number(number: int) -> None:
    if not 1 <= number <= MAX_PARTS:
        raise RefusedError("InvalidArgument", f"Part number must be an integer between 1 and {MAX_PARTS}, inclusive")


def require_few(objects: Sequence[Any]) -> None:
    """Refuse to delete no objects, or more than a request may name."""
    if not 0 < len(objects) <= PAGE:
        raise RefusedError("MalformedXML")


def read_range(header: str, size: int) -> tuple[int, int]:
    """Return [start, stop) of a Range header, which may end behind the object."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header)
    if not match or match.groups() == ("", ""):
        return 0, size  # as S3: what it cannot read it ignores
    if not match[1]:
        start, stop = max(0, size - int(match[2])), size
    else:
        start, stop = int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
    if start >= size or start >= stop:
        raise RefusedError("InvalidRange", "The requested range is not satisfiable")
    return start, stop


def copied_range(header: str | None, size: int) -> tuple[int, int]:
    """Return [start, stop) of what a part copies of a source of this size; without a header, all of it."""
    start, stop = 0, size
    if header is not None:
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", header)
        start, stop = (int(match[1]), int(match[2]) + 1) if match else (1, 0)
        if not start < stop <= size:
            raise RefusedError("InvalidArgument", f"Range specified is not valid for source object of size: {size}")
        if size <= RANGED_COPY_BYTES:
            raise RefusedError("InvalidRequest", "The specified copy source is not supported as a byte-range copy source")
    if stop - start > MAX_PART_BYTES:
        raise RefusedError("InvalidRequest", f"The copy source is larger than the maximum of {MAX_PART_BYTES} bytes")
    return start, stop


def require_complete(params: Mapping[str, Any], uploaded: Mapping[int, Uploaded]) -> None:
    """Refuse a completion unless it names parts that were uploaded, in order, large enough, and of the size that it says."""
    named = params.get("MultipartUpload", {}).get("Parts", ())
    if not 0 < len(named) <= MAX_PARTS:
        raise RefusedError("MalformedXML", "The XML you provided was not well-formed or did not validate")
    if any(after["PartNumber"] <= before["PartNumber"] for before, after in pairwise(named)):
        raise RefusedError("InvalidPartOrder", "The list of parts was not in ascending order.")
    parts = [uploaded.get(part["PartNumber"], Uploaded("", 0)) for part in named]
    if any(found.etag.strip('"') != part["ETag"].strip('"') for found, part in zip(parts, named, strict=True)):
        raise RefusedError("InvalidPart", "One or more of the specified parts could not be found.")
    if any(part.size < MIN_PART_BYTES for part in parts[:-1]):
        raise RefusedError("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
    size = sum(part.size for part in parts)
    if params.get("MpuObjectSize", size) != size:
        raise RefusedError("InvalidRequest", f"The provided MpuObjectSize does not match the {size} bytes of the parts")
    if size > MAX_OBJECT_BYTES:
        raise RefusedError("EntityTooLarge")
