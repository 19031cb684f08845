"""The report and the list of rejected rows beside an output: gone before it is replaced, and written beside nobody else's.

S3 replaces one object at a time. So the old ones are deleted before the new output is there, and new ones written after it, each
only in place of what was seen beside that output. Whoever writes them looks once more whether the output is still his, and else
takes back what he wrote: a reader never sees the report of another output for longer.
"""

import csv
import io
import tempfile
from collections.abc import Callable, Iterator

from .accounting import Account
from .errors import IncompleteOutputError, InputChangedError, InputNotFoundError, OutputExistsError, TransientS3Error
from .formats.format import Format
from .s3 import S3Client, delete_object, find_object, get_text, only_in_place_of, parse_s3_uri, s3_calls
from .work import rejected_uri, side_uris

SPOOLED_BYTES = 64 * 2**20
"""Longer lists go through /tmp."""


def clear_side_files(client: S3Client, output: str, etag: str | None) -> None:
    """Delete what stands beside the output with this ETag, or beside none; what another output brings has other ETags and stays."""
    found = {uri: seen for uri in side_uris(output) if (seen := etag_of(client, uri))}
    if not found or etag_of(client, output) != etag:
        return
    for uri, seen in found.items():
        delete_object(client, uri, seen)


class SideFiles:
    """What a run writes beside its output."""

    def __init__(self, client: S3Client, output: str, etag: str) -> None:
        self._client, self._output, self._etag = client, output, etag
        self._written: dict[str, str] = {}

    def write(self, uri: str, write: Callable[..., str]) -> None:
        """Write one if there is none, or, if the output is this run's, in place of what is there, whose ETag `write` takes."""
        try:
            self._written[uri] = write()
        except InputChangedError as error:
            there = etag_of(self._client, uri)
            self.require_output()  # looked at after what is replaced: whoever replaces the output writes something else there
            try:
                self._written[uri] = write(there)
            except InputChangedError:
                self.require_output()
                raise TransientS3Error(f"another execution of this request writes {uri} at the same time") from error

    def require_output(self) -> None:
        """Take back what was written, and raise OutputExistsError, if the output is no longer this run's."""
        there = etag_of(self._client, self._output)
        if there == self._etag:
            return
        for uri, seen in self._written.items() if there else ():  # what cannot be seen for a moment has not been replaced
            delete_object(self._client, uri, seen)
        raise OutputExistsError(
            f"{self._output} was {'replaced' if there else 'deleted'} by someone else after this run had published it"
        )


def etag_of(client: S3Client, uri: str) -> str | None:
    """Return an object's ETag, None if there is none."""
    head = find_object(client, uri)
    return head.etag if head else None


def write_rejected(client: S3Client, uri: str, account: Account, source: Format, replaced: str | None = None) -> str:
    """Gather the chunks' lists, by one PUT, below a header, and return its ETag; InputChangedError if another list is there."""
    bucket, key = parse_s3_uri(uri)
    with tempfile.SpooledTemporaryFile(SPOOLED_BYTES) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(source.rejected_columns)
        writer.writerows(rejected_rows(client, account))
        text.detach()
        file.seek(0)
        with s3_calls(uri):
            condition = only_in_place_of(replaced)
            return client.put_object(Bucket=bucket, Key=key, Body=file, ContentType="text/csv", **condition)["ETag"]


def rejected_rows(client: S3Client, account: Account) -> Iterator[tuple[str, int | str, str, str]]:
    """Yield (object, row from 1, byte or row group, reason) in the output's order; no row if it cannot be known."""
    missing = {chunk["data_s3_uri"]: chunk["byte_range"][0] for chunk in reversed(account.missing) if "byte_range" in chunk}
    rows_before = 0
    for chunk, receipt in account.done:
        # Objects in a group are whole, and a list of Parquet numbers the rows of its object.
        start = chunk["byte_range"][0] if "byte_range" in chunk else 0
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
