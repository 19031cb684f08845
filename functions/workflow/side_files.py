"""The report and the list of rejected rows beside an output: gone before it is replaced, and written beside nobody else's.

S3 replaces one object at a time. So the old ones are deleted before the new output is there, each only if it still is the one that
was seen beside the old output; the new ones are written only where there are none; and whoever writes them looks once more whether
the output is still his, and else takes back what he wrote. A reader never sees an output with the report of another for longer than
that look takes.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from errors import InputChangedError, InputNotFoundError, OutputExistsError, TransientS3Error
from s3 import delete_object, head_object
from work import side_uris

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client


def clear_side_files(client: S3Client, output: str, etag: str | None) -> None:
    """Delete what stands beside the output with this ETag, or beside none; where there is another output, nothing is touched.

    Whoever replaces the output meanwhile writes other side files, which have other ETags and stay.
    """
    found = {uri: seen for uri in side_uris(output) if (seen := etag_of(client, uri))}
    if not found or etag_of(client, output) != etag:
        return
    for uri, seen in found.items():
        delete_object(client, uri, seen)


@contextmanager
def beside(client: S3Client, output: str, etag: str) -> Iterator[dict[str, str]]:
    """Let side files be written for the output with this ETag, and noted by URI with their own.

    OutputExistsError where that output has been replaced or deleted; what was written is taken back.
    """
    written: dict[str, str] = {}
    conflict: InputChangedError | None = None
    try:
        yield written
    except InputChangedError as error:
        conflict = error
    there = etag_of(client, output)
    if there != etag:
        if there:  # what cannot be seen for a moment has not been replaced
            for uri, seen in written.items():
                delete_object(client, uri, seen)
        raise OutputExistsError(
            f"{output} was {'replaced' if there else 'deleted'} by someone else after this run had published it"
        ) from conflict
    if conflict:
        raise TransientS3Error(f"another execution of this request reports on {output} at the same time") from conflict


def etag_of(client: S3Client, uri: str) -> str | None:
    """Return an object's ETag, None where there is none."""
    try:
        return head_object(client, uri).etag
    except InputNotFoundError:
        return None
