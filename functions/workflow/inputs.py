"""The input objects: which ones a request names, and what their headers say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from csv_records import Header, foreign_format, parse_header, record_stop
from errors import InvalidDataError
from s3 import head_object, list_pages, read_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

HEADER_READS = (2**16, 2**20, 2**24)
"""Bytes to read, one after the other, until the first record is whole; no header is longer than the last."""


class InputObject(NamedTuple):
    """One CSV object, as it was when it was resolved."""

    uri: str
    size: int
    etag: str


class Listing(NamedTuple):
    """What one entry of `data_s3_uri` names."""

    objects: list[InputObject]
    skipped: int
    """Objects under a prefix that hold no data: empty ones, folder markers, names that start with `_` (`_SUCCESS`)."""


def is_prefix(uri: str) -> bool:
    """Whether an entry of `data_s3_uri` names all objects under it."""
    return uri.endswith("/")


def resolve(client: S3Client, uri: str) -> Listing:
    """Return the objects that one entry of `data_s3_uri` names, those of a prefix in natural order."""
    if not is_prefix(uri):
        return Listing([_named_object(client, uri)], 0)
    objects: list[InputObject] = []
    skipped = 0
    for page in data_pages(client, uri):
        objects += page.objects
        skipped += page.skipped
    return Listing(sorted(objects, key=natural_order), skipped)


def data_pages(client: S3Client, prefix: str) -> Iterator[Listing]:
    """Yield the objects under a prefix page by page, so that a caller who wants one reads one page."""
    for page in list_pages(client, prefix):
        listed = [InputObject(*item) for item in page]
        objects = [found for found in listed if _holds_data(found)]
        yield Listing(sorted(objects, key=natural_order), len(listed) - len(objects))


def first_objects(client: S3Client, uri: str) -> Iterator[InputObject]:
    """Yield the objects of one entry, listing no further than the caller reads: pages, not the whole, are in natural order."""
    if is_prefix(uri):
        for page in data_pages(client, uri):
            yield from page.objects
    else:
        yield _named_object(client, uri)


def natural_order(found: InputObject) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key that puts `part-2` before `part-10`; the URI itself decides between `part-2` and `part-02`."""
    pieces = re.split(r"([0-9]+)", found.uri)
    return [(1, int(piece), "") if index % 2 else (0, 0, piece) for index, piece in enumerate(pieces)], found.uri


def read_header(client: S3Client, found: InputObject) -> Header:
    """Read the first record of an object; InvalidDataError where there is none."""
    data = b""
    for limit in (min(read, found.size) for read in HEADER_READS):
        data += read_range(client, found.uri, len(data), limit, found.etag)
        if foreign := foreign_format(data):
            raise InvalidDataError(f"{found.uri} is not CSV but {foreign}")
        stop = record_stop(data) or (limit if limit == found.size else None)
        if stop:
            try:
                return parse_header(data[:stop])
            except ValueError as error:
                raise InvalidDataError(f"{found.uri} cannot be read as CSV: {error}") from error
    raise InvalidDataError(
        f"{found.uri} cannot be read as CSV: its header does not end within {HEADER_READS[-1]} bytes; look for an unclosed quote"
    )


def has_rows(found: InputObject, header: Header) -> bool:
    """Whether an object holds more than its header."""
    return found.size > header.stop


def _holds_data(found: InputObject) -> bool:
    name = found.uri.rpartition("/")[2]
    return found.size > 0 and name != "" and not name.startswith("_")


def _named_object(client: S3Client, uri: str) -> InputObject:
    head = head_object(client, uri)
    if head.size == 0:
        raise InvalidDataError(f"{uri} is empty: it needs a header and at least one row")
    return InputObject(uri, head.size, head.etag)
