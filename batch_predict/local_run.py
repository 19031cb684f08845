"""One run of the whole workflow on a local AWS: local files in, a local output and its report out.

    with local_aws() as aws:
        result = run(aws, prepare({"model_s3_uri": "model.joblib", "data_s3_uri": ["data/"], "output_s3_uri": "out.csv", ...}))

A request here is the one of StartExecution, with local paths in place of the S3 URIs.
"""

import os
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from batch_predict.execution import ExecutionEnded, Progress, StateExited, follow_execution, start_execution
from batch_predict.local_aws import BUCKET, LocalAws
from batch_predict.workflow_contract import advice, request_problems

POLL_SECONDS = 0.1  # the local AWS has no quotas
REPORT_SUFFIX = ".report.json"
S3_SCHEME = "s3://"


class LocalRunError(Exception):
    """The run cannot start, or its output cannot be brought here; the message lists every problem."""


@dataclass(frozen=True)
class LocalRun:
    """A request that may start, and the local files that belong to it."""

    request: Mapping[str, Any]
    """As StartExecution takes it."""
    uploads: Mapping[Path, str]
    """Key of each local file."""
    output_directory: Path

    @property
    def upload_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.uploads)


@dataclass(frozen=True)
class RunResult:
    """How a run ended."""

    status: str
    """SUCCEEDED, FAILED, TIMED_OUT or ABORTED, as the execution's."""
    output: Path | None = None
    report: Path | None = None
    rows: int | None = None
    chunks: int | None = None
    failed_chunks: int | None = None
    """Tolerated, and missing from the output."""
    input_bytes: int | None = None
    output_bytes: int | None = None
    seconds: float = 0.0
    """Of the execution: without the start of the local AWS, uploads and downloads."""
    states: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each Task and Map state, in order."""
    error: str | None = None
    cause: str | None = None
    advice: str | None = None


def prepare(request: Mapping[str, Any]) -> LocalRun:
    """Check the local files of a request and the request by itself, and say which file goes where.

    Raises LocalRunError; nothing has been started or written then.
    """
    found: list[str] = []
    overwrite = request.get("overwrite") is True
    model = _input_files("model_s3_uri", request.get("model_s3_uri"), found)
    data = _input_files("data_s3_uri", request.get("data_s3_uri"), found)
    uploads = _keys("models/", model) | _keys("data/", data)
    directory, output_uri = _output_place(request.get("output_s3_uri"), overwrite=overwrite, inputs=uploads, found=found)
    located = {
        **request,
        **({"model_s3_uri": _uri(uploads[model[0]])} if model else {}),
        **({"data_s3_uri": [_uri(uploads[path]) for path in data]} if data else {}),
        **({"output_s3_uri": output_uri} if output_uri else {}),
    }
    said = {field for field in _LOCATIONS if field in request and located[field] is request[field]} if found else set()
    found += [problem for problem in request_problems(located) if problem.partition(" ")[0].partition("[")[0] not in said]
    if found:
        raise LocalRunError("; ".join(found))
    return LocalRun(located, uploads, directory)


_LOCATIONS = ("model_s3_uri", "data_s3_uri", "output_s3_uri")


def _input_files(name: str, value: object, found: list[str]) -> list[Path]:
    """Return the files that a field of the request names; what is no text at all is left to the schema."""
    noun = name.partition("_")[0]
    values = value if isinstance(value, list) else [value]
    files: list[Path] = []
    for item in values:
        if not isinstance(item, str) or not item:
            return []
        if item.startswith(S3_SCHEME):
            found.append(f"{item} is not on this machine, and the local AWS starts empty: give a local path as {noun}")
            continue
        path = Path(item)
        if path.is_dir() and noun == "data":
            inside = sorted(path.glob("*.csv"), key=_natural_order)
            files += inside
            if not inside:
                found.append(f"{noun} directory {item} holds no *.csv files")
        elif problem := _unreadable(path):
            found.append(f"{noun} file {item} {problem}")
        else:
            files.append(path)
    return files


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
    # Braces are placeholders and * ? [ ] are patterns to the workflow.
    names = {path: re.sub(r"[{}*?\[\]\r\n]", "_", path.name) for path in distinct}
    times = Counter(names.values())
    return {
        path: f"{prefix}{name}" if times[name] == 1 else f"{prefix}{number}/{name}"
        for number, (path, name) in enumerate(names.items(), start=1)
    }


def _uri(key: str) -> str:
    return f"{S3_SCHEME}{BUCKET}/{key}"


def _output_place(value: object, *, overwrite: bool, inputs: Mapping[Path, str], found: list[str]) -> tuple[Path, str | None]:
    """Return the local directory of the output, and its URI; its name is known when its placeholders are resolved."""
    if not isinstance(value, str) or not value:
        return Path(), None
    if value.startswith(S3_SCHEME):
        path, uri = Path(value.rpartition("/")[2]), value
    else:
        path, uri = Path(value), _uri(f"output/{Path(value).name}")
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
    return path.parent, uri


def _in_the_way(output: Path, *, overwrite: bool) -> Iterator[str]:
    for path in (output, _report_path(output)):
        if path.is_dir():
            yield f"{path} is a directory"
        elif path.exists() and not overwrite:
            yield f"{path} exists already: choose another output, or overwrite it"


def _report_path(output: Path) -> Path:
    return output.with_name(f"{output.name}{REPORT_SUFFIX}")


def run(aws: LocalAws, local_run: LocalRun, show: Callable[[Progress], None] = lambda _: None) -> RunResult:
    """Upload, execute, and download: the output and its report appear whole, or not at all.

    ``show`` is called with each step of the execution. Raises LocalRunError where the local AWS stops answering or the output
    cannot be written here; a failed execution is a result.
    """
    try:
        upload(aws, local_run)
        return execute(aws, local_run, show)
    except (BotoCoreError, ClientError) as error:
        raise LocalRunError(f"the local AWS at {aws.endpoint_url} failed: {error}") from error
    except OSError as error:
        raise LocalRunError(f"{error.filename or 'a file'} cannot be read or written: {error.strerror or error}") from error


def upload(aws: LocalAws, local_run: LocalRun) -> None:
    """Put the run's local files into the local bucket."""
    s3 = aws.client("s3")
    for path, key in local_run.uploads.items():
        s3.upload_file(str(path), aws.bucket, key)


def execute(aws: LocalAws, local_run: LocalRun, show: Callable[[Progress], None]) -> RunResult:
    """Start the execution, follow it to its end, and download what it published."""
    stepfunctions = aws.client("stepfunctions")
    states: dict[str, float] = {}
    arn = start_execution(stepfunctions, aws.state_machine_arn, local_run.request)
    for progress in follow_execution(stepfunctions, arn, poll_seconds=POLL_SECONDS):
        show(progress)
        if isinstance(progress, StateExited) and progress.kind in {"Task", "Map"}:
            states[progress.name] = states.get(progress.name, 0.0) + round(progress.seconds, 3)
    assert isinstance(progress, ExecutionEnded)
    return _result(aws, local_run, progress, states)


def _result(aws: LocalAws, local_run: LocalRun, ended: ExecutionEnded, states: Mapping[str, float]) -> RunResult:
    if ended.status != "SUCCEEDED":
        error, cause = ended.error or ended.status, _with_local_paths(ended.cause or "", local_run)
        known = advice(error)
        return RunResult(
            status=ended.status,
            seconds=ended.seconds,
            states=states,
            error=error,
            cause=cause,
            advice=known if known and known not in cause else None,
        )
    output = report = None
    if "output_s3_uri" in ended.output:  # a dry run ends with its plan
        output, report = _download(aws, local_run, ended.output)
    return RunResult(
        status=ended.status,
        output=output,
        report=report,
        rows=ended.output.get("rows"),
        chunks=ended.output.get("chunks"),
        failed_chunks=ended.output.get("failed_chunks"),
        input_bytes=ended.output.get("input_bytes"),
        output_bytes=ended.output.get("bytes"),
        seconds=ended.seconds,
        states=states,
    )


def _with_local_paths(text: str, local_run: LocalRun) -> str:
    """Put the user's own paths in place of the URIs in a message: nobody sees the local bucket."""
    paths = {_uri(key): str(path) for path, key in local_run.uploads.items()}
    # The longest first: s3://b/data/a.csv is also the beginning of s3://b/data/a.csv.old
    for uri in sorted(paths, key=len, reverse=True):
        text = text.replace(uri, paths[uri])
    return text


def _download(aws: LocalAws, local_run: LocalRun, published: Mapping[str, Any]) -> tuple[Path, Path]:
    """Bring the output and its report here; the report is in place last, as in S3."""
    output = local_run.output_directory / published["output_s3_uri"].rpartition("/")[2]
    # Looked at again: placeholders are resolved now, and a run takes time.
    if problems := list(_in_the_way(output, overwrite=local_run.request.get("overwrite") is True)):
        raise LocalRunError("; ".join(problems))
    report = _report_path(output)
    with _fetched(aws, published["output_s3_uri"], output) as new_output:
        with _fetched(aws, published["report_s3_uri"], report) as new_report:
            new_output.replace(output)
            new_report.replace(report)
    return output, report


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
