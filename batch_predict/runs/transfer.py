"""Bring a request's local files into S3, and what was published to this machine."""

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from batch_predict.errors import BatchPredictError, file_troubles
from batch_predict.runs.local_files import S3_SCHEME
from batch_predict.runs.prepared_request import PreparedRequest, in_the_way
from batch_predict.runs.stack import Stack, aws_troubles
from batch_predict.visible_text import visible

SHOWN_PLACE = 200
"""Characters of a place that is refused."""


def upload(stack: Stack, prepared: PreparedRequest) -> None:
    """Put the run's local files into S3."""
    s3 = stack.client("s3")
    with aws_troubles(stack), file_troubles():
        for path, uri in prepared.uploads.items():
            if not (prepared.keeps_uploads and _is_there(s3, uri, path.stat().st_size)):
                bucket, key = split_uri(uri)
                s3.upload_file(str(path), bucket, key)
        if prepared.manifest_s3_uri:
            bucket, key = split_uri(prepared.manifest_s3_uri)
            s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(prepared.manifest).encode())


def split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key."""
    bucket, _, key = uri.removeprefix(S3_SCHEME).partition("/")
    return bucket, key


def _is_there(s3: Any, uri: str, size: int) -> bool:
    bucket, key = split_uri(uri)
    try:
        return bool(s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == size)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] in {403, 404}:  # 403: whoever may not list sees no 404
            return False
        raise


def require_own(prepared: PreparedRequest, published: Mapping[str, Any], name: str, resolved: str | None) -> None:
    """Raise BatchPredictError unless the execution names the places that follow from the request's output.

    It may have read them from a report that others may write. ``resolved`` is the output as Validate Request has returned it.
    """
    output, report, rejected = (published.get(field) for field in ("output_s3_uri", "report_s3_uri", "rejected_s3_uri"))
    asked = resolved or output
    template = prepared.request.get("output_s3_uri", asked)
    if not (
        isinstance(asked, str)
        and _resolves(str(template), asked, name)
        and (output, report) == (asked, f"{asked}.report.json")
        and rejected in (None, f"{asked}.rejected.csv")
    ):
        named = ", ".join(visible(place, SHOWN_PLACE) for place in (output, report, rejected) if place is not None)
        raise BatchPredictError(
            f"the execution says that it has published {named}, which is not what follows from {visible(template, SHOWN_PLACE)}: "
            "somebody else may have written the report beside the output; nothing was brought here; look at who may write there, "
            "and choose another output"
        )


def _resolves(template: str, uri: str, name: str) -> bool:
    """Whether a URI is the template with its placeholders resolved; a time has a slash only if its format has one."""
    pattern = ""
    for part in re.split(r"(\{[^{}]*\})", template):
        if part == "{execution_name}":
            pattern += re.escape(name)
        elif part.startswith("{"):
            pattern += r"[^\x00-\x1f]*" if "/" in part else r"[^/\x00-\x1f]*"
        else:
            pattern += re.escape(part)
    return re.fullmatch(pattern, uri) is not None


def download(stack: Stack, prepared: PreparedRequest, published: Mapping[str, Any]) -> dict[str, Path]:
    """Download what was published: all files are here before the first is in its place, and the report comes last, as in S3."""
    directory = prepared.output_directory
    assert directory is not None
    # Looked at again: placeholders are resolved now, and a run takes time.
    output = directory / _name(published["output_s3_uri"])
    if problems := list(in_the_way(output, overwrite=prepared.request.get("overwrite") is True)):
        raise BatchPredictError("; ".join(problems))
    fields = [field for field in ("output_s3_uri", "rejected_s3_uri", "report_s3_uri") if published.get(field)]
    files = {field: directory / _name(published[field]) for field in fields}
    with file_troubles(), ExitStack() as fetching:
        fetched = {path: fetching.enter_context(_fetched(stack, published[field], path)) for field, path in files.items()}
        for path, temporary in fetched.items():
            temporary.replace(path)
    return files


def _name(uri: str) -> str:
    return uri.rpartition("/")[2]


@contextmanager
def _fetched(stack: Stack, uri: str, path: Path) -> Iterator[Path]:
    """Download an object to a temporary file beside ``path``, on the same file system, which is gone afterwards."""
    bucket, key = split_uri(uri)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            stack.client("s3").download_fileobj(bucket, key, file)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
