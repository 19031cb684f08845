"""One run of the whole workflow on a local AWS: local files in, a local output and its report out.

    with local_aws() as aws:
        result = run(aws, prepare({"model_s3_uri": "model.joblib", "data_s3_uri": ["data/"], "output_s3_uri": "out.csv", ...}))

A request here is the one of StartExecution, with local paths in place of the S3 URIs.
"""

import json
import os
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from batch_predict.execution import ExecutionEnded, Progress, StateExited, follow_execution, start_execution
from batch_predict.local_aws import BUCKET, LocalAws
from batch_predict.workflow_contract import advice, request_problems

POLL_SECONDS = 0.1  # the local AWS has no quotas
SUFFIXES = ("", ".rejected.csv", ".report.json")
"""Of what is published: the output, the list of its rejected rows if they are quarantined, and the report."""
S3_SCHEME = "s3://"
NAMED_FILES = 100
"""A request has a limit of 60,000 bytes: more files than these are listed in a manifest."""
MANIFEST_SUFFIX = ".manifest.json"  # functions/workflow/inputs.py; a contract test holds the two equal
MANIFEST_KEY = f"data/files{MANIFEST_SUFFIX}"
"""No data file can have it: manifests are no local data."""


class LocalRunError(Exception):
    """The run cannot go on: the local AWS fails, or its output cannot be brought here."""


class InvalidRequestError(LocalRunError):
    """The request or its local files must change before it can run; the message lists every problem."""


@dataclass(frozen=True)
class LocalRun:
    """A request that may start, and the local files that belong to it."""

    request: Mapping[str, Any]
    """As StartExecution takes it."""
    uploads: Mapping[Path, str]
    """Key of each local file."""
    output_directory: Path
    manifest: tuple[str, ...] = ()
    """URIs of the data's objects, where they are too many for the request to name: then it names `MANIFEST_KEY`."""

    @property
    def upload_bytes(self) -> int:
        """Size of all local files together."""
        return sum(path.stat().st_size for path in self.uploads)


@dataclass(frozen=True)
class RunResult:
    """How a run ended."""

    status: str
    """SUCCEEDED, FAILED, TIMED_OUT or ABORTED, as the execution's."""
    output: Path | None = None
    report: Path | None = None
    rejected: Path | None = None
    """The list of rejected rows, where they are quarantined."""
    rows: int | None = None
    rejected_rows: int | None = None
    """Of the rows: those with an empty prediction."""
    chunks: int | None = None
    failed_chunks: int | None = None
    """Tolerated, and missing from the output."""
    input_bytes: int | None = None
    output_bytes: int | None = None
    estimate: Mapping[str, Any] | None = None
    """Of a dry run: rows, seconds, requests and dollars on AWS (`Estimate` in functions/workflow/estimate.py)."""
    seconds: float = 0.0
    """Of the execution: without the start of the local AWS, uploads and downloads."""
    states: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each Task and Map state, in order."""
    error: str | None = None
    cause: str | None = None
    advice: str | None = None


def prepare(request: Mapping[str, Any]) -> LocalRun:
    """Check the local files of a request and the request by itself, and say which file goes where.

    Raises InvalidRequestError; nothing has been started or written then.
    """
    model, model_problems = _input_files("model", [request.get("model_s3_uri")])
    data_value = request.get("data_s3_uri")
    data, data_problems = _input_files("data", data_value if isinstance(data_value, list) else [data_value])
    if model and model[0] in data:
        data_problems.append(f"data file {model[0]} is also the model: name a CSV file")
    uploads = _keys("models/", model) | _keys("data/", data)
    overwrite = request.get("overwrite") is True
    directory, output_uri, output_problems = _output_place(request.get("output_s3_uri"), overwrite=overwrite, inputs=uploads)

    # What is not a path goes on as it is, for the schema to judge; what has been judged here passes it.
    located: dict[str, object] = dict(request)
    if model or model_problems:
        located["model_s3_uri"] = _uri(uploads[model[0]] if model else "models/")
    objects = [_uri(uploads[path]) for path in data]
    manifest = tuple(objects) if len(objects) > NAMED_FILES else ()
    if data or data_problems:
        located["data_s3_uri"] = [_uri(MANIFEST_KEY)] if manifest else objects or _uri("data/")
    if output_uri:
        located["output_s3_uri"] = output_uri
    if found := [*model_problems, *data_problems, *output_problems, *request_problems(located)]:
        raise InvalidRequestError("; ".join(found))
    return LocalRun(located, uploads, directory, manifest)


def _input_files(noun: str, values: Sequence[object]) -> tuple[list[Path], list[str]]:
    """Return the local files that a field of the request names, and what is wrong with them."""
    files: list[Path] = []
    found: list[str] = []
    if not all(isinstance(value, str) and value for value in values):
        return files, found  # the schema says it
    for value in map(str, values):
        path = Path(value)
        if value.startswith(S3_SCHEME):
            found.append(f"{noun} {value} is not on this machine, and the local AWS starts empty: give a local path")
        elif noun == "data" and path.is_dir():
            inside = sorted(path.glob("*.csv"), key=_natural_order)
            files += inside
            if not inside:
                found.append(f"data directory {value} holds no *.csv files")
        elif noun == "data" and value.endswith(MANIFEST_SUFFIX):
            found.append(f"data file {value} is a manifest of objects in S3: name the files themselves, or their directory")
        elif problem := _unreadable(path):
            found.append(f"{noun} file {value} {problem}")
        else:
            files.append(path)
    return files, found


def _unreadable(path: Path) -> str | None:
    if not path.exists():
        return "does not exist"
    if not path.is_file():
        return "is a directory" if path.is_dir() else "is not a regular file"
    return None if os.access(path, os.R_OK) else "may not be read: check its permissions"


def _natural_order(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key that puts part-2 before part-10, as the workflow does with the objects of a prefix."""
    pieces = re.split(r"([0-9]+)", path.name)
    return [(1, int(piece), "") if index % 2 else (0, 0, piece) for index, piece in enumerate(pieces)], path.name


def _keys(prefix: str, paths: Sequence[Path]) -> dict[Path, str]:
    """Give each file the key that a reader of error messages expects; files of one name are told apart by a number."""
    distinct = dict.fromkeys(paths)
    # Braces are placeholders and * ? [ ] are patterns to the workflow, and it refuses what others might decode.
    names = {path: re.sub(r"[{}*?\[\]%\\\x00-\x1f\x7f-\x9f]", "_", path.name) for path in distinct}
    times = Counter(names.values())
    return {
        path: f"{prefix}{name}" if times[name] == 1 else f"{prefix}{number}/{name}"
        for number, (path, name) in enumerate(names.items(), start=1)
    }


def _uri(key: str) -> str:
    return f"{S3_SCHEME}{BUCKET}/{key}"


def _output_place(value: object, *, overwrite: bool, inputs: Iterable[Path]) -> tuple[Path, str | None, list[str]]:
    """Return the local directory of the output, its URI, and what is wrong with it.

    The name is known when the workflow has resolved the placeholders. An S3 URI comes down into the current directory.
    """
    if not isinstance(value, str) or not value:
        return Path(), None, []
    if value.startswith(S3_SCHEME):
        path, uri = Path(_name(value)), value
    else:
        path, uri = Path(value), _uri(f"output/{Path(value).name}")
    found: list[str] = []
    if path.is_dir() or value.endswith("/"):
        found.append(f"output {value} is a directory: name a file")
    elif not path.parent.is_dir():
        found.append(f"output directory {path.parent} does not exist: create it first")
    elif not os.access(path.parent, os.W_OK):
        found.append(f"output directory {path.parent} may not be written: check its permissions")
    elif any(path.exists() and path.samefile(file) for file in inputs):
        found.append(f"output {value} is also an input: choose another output")
    else:
        found += _in_the_way(path, overwrite=overwrite)
    return path.parent, uri, found


def _in_the_way(output: Path, *, overwrite: bool) -> Iterator[str]:
    for path in (output.with_name(f"{output.name}{suffix}") for suffix in SUFFIXES):
        if path.is_dir():
            yield f"{path} is a directory"
        elif path.exists() and not overwrite:
            yield f"{path} exists already: choose another output, or set overwrite"


def run(aws: LocalAws, local_run: LocalRun, show: Callable[[Progress], None] = lambda _: None) -> RunResult:
    """Upload, execute, and download."""
    upload(aws, local_run)
    return execute(aws, local_run, show)


def upload(aws: LocalAws, local_run: LocalRun) -> None:
    """Put the run's local files into the local bucket; LocalRunError where that fails."""
    s3 = aws.client("s3")
    with _local_troubles(aws):
        for path, key in local_run.uploads.items():
            s3.upload_file(str(path), aws.bucket, key)
        if local_run.manifest:
            s3.put_object(Bucket=aws.bucket, Key=MANIFEST_KEY, Body=json.dumps(local_run.manifest).encode())


def execute(aws: LocalAws, local_run: LocalRun, show: Callable[[Progress], None] = lambda _: None) -> RunResult:
    """Start the execution, follow it to its end, and download what it published: output and report appear whole, or not at all.

    ``show`` is called with each step of the execution. A failed execution is a result; raises LocalRunError where the local AWS
    stops answering, or the output cannot be written here.
    """
    stepfunctions = aws.client("stepfunctions")
    states: dict[str, float] = {}
    with _local_troubles(aws):
        arn = start_execution(stepfunctions, aws.state_machine_arn, local_run.request)
        for progress in follow_execution(stepfunctions, arn, poll_seconds=POLL_SECONDS):
            show(progress)
            if isinstance(progress, StateExited) and progress.kind in {"Task", "Map"}:
                states[progress.name] = round(states.get(progress.name, 0.0) + progress.seconds, 3)
        assert isinstance(progress, ExecutionEnded)
        return _result(aws, local_run, progress, states)


@contextmanager
def _local_troubles(aws: LocalAws) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError, Boto3Error) as error:
        raise LocalRunError(f"the local AWS at {aws.endpoint_url} failed: {error}") from error
    except OSError as error:
        raise LocalRunError(f"{error.filename or 'a file'} cannot be read or written: {error.strerror or error}") from error


def _result(aws: LocalAws, local_run: LocalRun, ended: ExecutionEnded, states: Mapping[str, float]) -> RunResult:
    if ended.status != "SUCCEEDED":
        error, cause = ended.error or ended.status, _with_local_paths(_message(ended.cause or ""), local_run)
        known = advice(error)
        return RunResult(
            status=ended.status,
            seconds=ended.seconds,
            states=states,
            error=error,
            cause=cause,
            advice=known if known and known not in cause else None,
        )
    # A dry run ends with its plan, and has nothing to download.
    files = _download(aws, local_run, ended.output) if "output_s3_uri" in ended.output else {}
    return RunResult(
        status=ended.status,
        output=files.get("output_s3_uri"),
        report=files.get("report_s3_uri"),
        rejected=files.get("rejected_s3_uri"),
        rows=ended.output.get("rows"),
        rejected_rows=ended.output.get("rejected_rows"),
        chunks=ended.output.get("chunks"),
        failed_chunks=ended.output.get("failed_chunks"),
        input_bytes=ended.output.get("input_bytes"),
        estimate=ended.output.get("estimate"),
        output_bytes=ended.output.get("bytes"),
        seconds=ended.seconds,
        states=states,
    )


def _message(cause: str) -> str:
    """Return the sentence in a cause that is a Lambda function's error as JSON; one that could not be explained ends as it came."""
    try:
        return str(json.loads(cause)["errorMessage"])
    except (ValueError, TypeError, KeyError):
        return cause


def _with_local_paths(text: str, local_run: LocalRun) -> str:
    """Put the user's own paths in place of the URIs in a message: nobody sees the local bucket."""
    paths = {_uri(key): str(path) for path, key in local_run.uploads.items()}
    # The longest first: s3://b/data/a.csv is also the beginning of s3://b/data/a.csv.old
    for uri in sorted(paths, key=len, reverse=True):
        text = text.replace(uri, paths[uri])
    return text


def _download(aws: LocalAws, local_run: LocalRun, published: Mapping[str, Any]) -> dict[str, Path]:
    """Bring what was published here: all of it is here before any of it is in place, and the report is in place last, as in S3."""
    directory = local_run.output_directory
    output = directory / _name(published["output_s3_uri"])
    # Looked at again: placeholders are resolved now, and a run takes time.
    if problems := list(_in_the_way(output, overwrite=local_run.request.get("overwrite") is True)):
        raise LocalRunError("; ".join(problems))
    fields = [field for field in ("output_s3_uri", "rejected_s3_uri", "report_s3_uri") if published.get(field)]
    files = {field: directory / _name(published[field]) for field in fields}
    with ExitStack() as stack:
        fetched = {path: stack.enter_context(_fetched(aws, published[field], path)) for field, path in files.items()}
        for path, temporary in fetched.items():
            temporary.replace(path)
    return files


def _name(uri: str) -> str:
    return uri.rpartition("/")[2]


@contextmanager
def _fetched(aws: LocalAws, uri: str, path: Path) -> Iterator[Path]:
    """Download an object to a temporary file beside ``path``, on the same file system, and leave nothing of it."""
    bucket, _, key = uri.removeprefix(S3_SCHEME).partition("/")
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            aws.client("s3").download_fileobj(bucket, key, file)
        yield temporary
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
