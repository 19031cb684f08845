"""Check a request and its local files before anything starts, and say which file goes where.

Local paths stand in place of S3 URIs: of any on a deployed stack, and of all on the embedded local AWS, which starts empty.
"""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batch_predict import deployed
from batch_predict.deployed import request_schema
from batch_predict.errors import InvalidRequestError
from batch_predict.figures import plural
from batch_predict.runs.local_files import S3_SCHEME, Skipped, are_names, find_files, skipped_files
from batch_predict.runs.stack import Stack

LOCAL_BUCKET = "batch-predict"
"""The bucket of the embedded local AWS."""
SUFFIXES = ("", ".rejected.csv", ".report.json")
"""Ends of the names of what is published: the output, the list of its rejected rows if they are quarantined, and the report."""
NAMED_FILES = 100
"""A request has a limit of 180,000 bytes: more files than these are listed in a manifest."""
UPLOADS = "uploads/"
"""Below the stack's prefixes for models and data: local files, each under the SHA-256 of its content."""
DIGEST_DIGITS = 16


@dataclass(frozen=True)
class PreparedRequest:
    """A request that may start, and the local files that belong to it."""

    request: Mapping[str, Any]
    """As StartExecution takes it."""
    uploads: Mapping[Path, str]
    """Where each local file goes, as an S3 URI."""
    output_directory: Path | None
    """Where the output comes down to; None if it stays in S3."""
    manifest_s3_uri: str | None = None
    manifest: tuple[str, ...] = ()
    """URIs of the data's objects, if they are too many for the request to name, or none: then it names `manifest_s3_uri`."""
    keeps_uploads: bool = False
    """Whether a file that is there already, by its content, need not go up again."""
    skipped: Skipped = field(default_factory=dict)
    """Files in the data's folders that are no data."""

    @property
    def is_dry_run(self) -> bool:
        """Whether the run ends with its plan."""
        return self.request.get("dry_run") is True

    def upload_summary(self) -> str:
        """Return how much there is to upload, and what is left out, for people."""
        files, size = len(self.uploads), sum(path.stat().st_size for path in self.uploads)
        skipped = skipped_files(self.skipped)
        return f"{plural(files, 'file')}, {size / 1e6:,.1f} MB{f'; {skipped}' if skipped else ''}"


def prepare(request: Mapping[str, Any], stack: Stack | None = None) -> PreparedRequest:
    """Check a request and its local files, and say which goes where: on a deployed stack, or on the embedded local AWS.

    On a stack they go under the SHA-256 of their content: a file is uploaded once, and the same request finishes what is missing.
    Raises InvalidRequestError; nothing has been started or written then.
    """
    local = [f"{S3_SCHEME}{LOCAL_BUCKET}/{folder}/" for folder in ("models", "data", "output")]
    models, datas, outputs = [stack.outputs[name] for name in ("ModelUri", "DataUri", "OutputUri")] if stack else local
    places = _Places(models, datas, outputs, is_local=stack is None)
    data_value = request.get("data_s3_uri")
    data_values = data_value if isinstance(data_value, list) else [data_value]
    may_lack_rows = request.get("on_no_rows") == "succeed"
    model = find_files("model", [request.get("model_s3_uri")], takes_s3=stack is not None)
    data = find_files(
        "data", data_values, takes_s3=stack is not None, may_lack_rows=may_lack_rows, input_format=request.get("input_format")
    )
    files = [path for path in data.files if isinstance(path, Path)]
    if model.files and model.files[0] in files:
        data.problems.append(f"data file {model.files[0]} is also the model: name a table")
    # What cannot be read has no digest, and its problem is known.
    model_files = [path for path in model.files if isinstance(path, Path)]
    uploads = places.uris(places.models, model_files) | places.uris(places.data, files)
    directory, output_uri, output_problems = _output_place(
        request.get("output_s3_uri"),
        places,
        _written_as(request),
        overwrite=request.get("overwrite") is True,
        used=uploads,
    )

    # What is not a path goes on as it is, for the schema to judge; what has been judged here passes it.
    located: dict[str, object] = dict(request)
    if model.files or model.problems:
        located["model_s3_uri"] = _located(model.files[0], uploads) if model.files else f"{places.models}model"
    objects = [_located(path, uploads) for path in data.files]
    manifest = tuple(objects) if len(objects) > NAMED_FILES and len(files) == len(objects) else ()
    only_empty_folders = not data.files and not data.problems and may_lack_rows and are_names(data_values)
    manifest_s3_uri = places.manifest_uri(manifest) if manifest or only_empty_folders else None
    if data.files or data.problems or only_empty_folders:
        located["data_s3_uri"] = [manifest_s3_uri] if manifest_s3_uri else objects or places.data
    if output_uri:
        located["output_s3_uri"] = output_uri
    if found := [*model.problems, *data.problems, *output_problems, *deployed.schema.problems(located, request_schema())]:
        raise InvalidRequestError("; ".join(found))
    return PreparedRequest(located, uploads, directory, manifest_s3_uri, manifest, not places.is_local, data.skipped)


@dataclass(frozen=True)
class _Places:
    """Where models, data and output go: URIs that end in `/`."""

    models: str
    data: str
    output: str
    is_local: bool
    """Whether it is the embedded local AWS, which knows nothing but what is uploaded now."""

    def uris(self, start: str, paths: Sequence[Path]) -> dict[Path, str]:
        """Return where each local file goes, below one of the places."""
        if self.is_local:
            return _names(start, paths)
        names = _safe_names(paths).items()
        return {path: f"{start}{UPLOADS}{sha256_of(path)[:DIGEST_DIGITS]}/{name}" for path, name in names}

    def manifest_uri(self, manifest: Sequence[str]) -> str:
        """Return where the list of the data's objects goes."""
        name = f"files{deployed.inputs.MANIFEST_SUFFIX}"  # no data file is called so: manifests are no local data
        digest = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
        return f"{self.data}{name}" if self.is_local else f"{self.data}{UPLOADS}{digest[:DIGEST_DIGITS]}/{name}"


def _located(place: Path | str, uploads: Mapping[Path, str]) -> str:
    return place if isinstance(place, str) else uploads[place]


def _names(start: str, paths: Sequence[Path]) -> dict[Path, str]:
    """Give each file the URI that a reader of error messages expects; a number tells files of one name apart."""
    names = _safe_names(paths)
    times = Counter(names.values())
    return {
        path: f"{start}{name}" if times[name] == 1 else f"{start}{number}/{name}"
        for number, (path, name) in enumerate(names.items(), start=1)
    }


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _safe_names(paths: Sequence[Path]) -> dict[Path, str]:
    # Braces are placeholders and * ? [ ] are patterns to the workflow, and it refuses what others might decode. A name that is no
    # UTF-8 has surrogates here.
    return {path: re.sub(r"[{}*?\[\]%\\\x00-\x1f\x7f-\x9f\ud800-\udfff]", "_", path.name) for path in dict.fromkeys(paths)}


def _written_as(request: Mapping[str, Any]) -> Any:
    """Return how the output would be written, as far as the request says; what is wrong with a field alone, the schema says."""
    names = deployed.data_names
    known = {"input_format": names.FORMATS, "output_format": names.FORMATS, "output_compression": names.COMPRESSIONS}
    fields = {field: value for field, values in known.items() if (value := request.get(field)) in (*values,)}
    delimiter = deployed.csv_dialect.delimiter_of(request.get("csv"))
    return names.written_as(str(request.get("output_s3_uri")), delimiter=delimiter, **fields)


def _output_place(
    value: object, places: _Places, written: Any, *, overwrite: bool, used: Iterable[Path]
) -> tuple[Path | None, str | None, list[str]]:
    """Return the local directory of the output, its URI, and what is wrong with it; the workflow resolves its name.

    An S3 URI stays in S3, and comes down into the current directory if that S3 is the local AWS.
    """
    if not isinstance(value, str) or not value:
        return Path(), None, []
    found: list[str] = []
    if written.mistake:
        found.append(f"output {value} {written.mistake}")
    if value.startswith(S3_SCHEME):
        if not places.is_local:
            return None, value, found
        path, uri = Path(value.rpartition("/")[2]), value
    else:
        path, uri = Path(value), f"{places.output}{Path(value).name}"
    if path.is_dir() or value.endswith("/"):
        found.append(f"output {value} is a directory: name a file")
        uri = f"{places.output}output"  # passes the schema, which would only repeat this
    elif not path.parent.is_dir():
        found.append(f"output directory {path.parent} does not exist: create it first")
    elif not os.access(path.parent, os.W_OK):
        found.append(f"output directory {path.parent} may not be written: check its permissions")
    elif any(path.exists() and path.samefile(file) for file in used):
        found.append(f"output {value} is also an input: choose another output")
    else:
        found += in_the_way(path, overwrite=overwrite)
    return path.parent, uri, found


def in_the_way(output: Path, *, overwrite: bool) -> Iterator[str]:
    """Say which files stand where the output and what is published beside it shall be written."""
    for path in (output.with_name(f"{output.name}{suffix}") for suffix in SUFFIXES):
        if path.is_dir():
            yield f"{path} is a directory"
        elif path.exists() and not overwrite:
            yield f"{path} exists already: choose another output, or set overwrite"
