"""The list of rejected rows beside the output: the chunks' own lists, with rows counted from the start of each object."""

from __future__ import annotations

import csv
import io
import tempfile
from typing import TYPE_CHECKING

from .errors import IncompleteOutputError, InputNotFoundError
from .s3 import get_text, only_in_place_of, parse_s3_uri, s3_calls
from .work import rejected_uri

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

    from .accounting import Account

COLUMNS = ("data_s3_uri", "row", "byte", "reason")

SPOOLED_BYTES = 64 * 2**20
"""Longer lists go through /tmp."""


def write_rejected(client: S3Client, uri: str, account: Account, replaced: str | None = None) -> str:
    """Gather the chunks' lists, and return the ETag of the whole; an empty list has a header, too.

    It raises InputChangedError if there is another list than the one to be replaced. One PUT sends more than /tmp holds.
    """
    bucket, key = parse_s3_uri(uri)
    with tempfile.SpooledTemporaryFile(SPOOLED_BYTES) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rejected_rows(client, account))
        text.detach()
        file.seek(0)
        with s3_calls(uri):
            condition = only_in_place_of(replaced)
            return client.put_object(Bucket=bucket, Key=key, Body=file, ContentType="text/csv", **condition)["ETag"]


def rejected_rows(client: S3Client, account: Account) -> Iterator[tuple[str, int | str, str, str]]:
    """Yield (object, row from 1, byte, reason) in the output's order; no row if a chunk before it in its object is missing."""
    missing = {chunk["data_s3_uri"]: chunk["byte_range"][0] for chunk in reversed(account.missing) if "byte_range" in chunk}
    rows_before = 0
    for chunk, receipt in account.done:
        start = chunk["byte_range"][0] if "byte_range" in chunk else 0  # objects in a group are whole
        rows_before = 0 if start == 0 else rows_before
        counted = start == 0 or start <= missing.get(chunk["data_s3_uri"], start)
        if receipt["rejected_rows"]:
            for data_s3_uri, row, byte, reason in listed_rows(client, rejected_uri(chunk["output_s3_uri"])):
                yield data_s3_uri, rows_before + row if counted else "", byte, reason
        rows_before += receipt["rows_read"]


def listed_rows(client: S3Client, uri: str) -> list[tuple[str, int, str, str]]:
    """Return the rows of one chunk's list."""
    try:
        listed = list(csv.reader(io.StringIO(get_text(client, uri), newline=""), strict=True))
        return [(data_s3_uri, int(row), byte, reason) for data_s3_uri, row, byte, reason in listed[1:]]
    except (ValueError, csv.Error, InputNotFoundError) as error:
        # Its own words might hold a row's.
        raise IncompleteOutputError(f"{uri} cannot be read as a list of rejected rows ({type(error).__name__})") from error
