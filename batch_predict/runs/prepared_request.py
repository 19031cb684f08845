"""One run of the whole workflow with local files: they go up, the output and its report come down.

    with local_aws() as aws:
        result = run(aws, prepare({"model_s3_uri": "model.joblib", "data_s3_uri": ["data/"], "output_s3_uri": "out.csv", ...}))

A request here is the one of StartExecution, with local paths in place of S3 URIs: of all on the embedded local AWS, which starts
empty, of any on a deployed stack (`prepare_for`).
"""

import hashlib
import json
import os
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from batch_predict.deployed import is_hidden, natural_order, other_format, request_problems, split_advice
from batch_predict.errors import BatchPredictError, InvalidRequestError
from batch_predict.local.aws import BUCKET
from batch_predict.runs.execution import (
    ChunksCounted,
    ExecutionEnded,
    Progress,
    StateExited,
    finished_by_plan,
    follow_execution,
    start_execution,
)
from batch_predict.runs.run import message_of
from batch_predict.runs.stack import Stack
from batch_predict.runs.value_here import with_value
from batch_predict.visible_text import visible

POLL_SECONDS = 0.1  # the local AWS has no quotas
SUFFIXES = ("", ".rejected.csv", ".report.json")
"""Of what is published: the output, the list of its rejected rows if they are quarantined, and the report."""
S3_SCHEME = "s3://"
NAMED_FILES = 100
"""A request has a limit of 180,000 bytes: more files than these are listed in a manifest."""
WILDCARDS = r"[*?\[]"
"""What makes a path that does not exist a glob: as in data_s3_uri, but in any part."""
CSV_SUFFIX = ".csv"
"""Of the files of a folder that are data, in any case: a folder on this machine holds other files, too."""
NAMED_SKIPPED = 3
"""Files of each kind that are named where some were skipped."""
MANIFEST_SUFFIX = ".manifest.json"  # functions/workflow/inputs.py; a contract test holds the two equal
MARKER = "_SUCCESS"  # likewise
MANIFEST_NAME = f"files{MANIFEST_SUFFIX}"
"""No data file can have it: manifests are no local data."""
UPLOADS = "uploads/"
"""Below the stack's prefixes for models and data: local files, each under the SHA-256 of its content."""
DIGEST_DIGITS = 16
SHOWN_PLACE = 200
"""Characters of a place that is refused."""
INTERRUPTED = "Interrupted"
"""Error name of a run whose process was stopped or killed."""


Skipped = Mapping[str, Sequence[Path]]
"""Files of folders that are no data, by what they are: `hidden`, `not CSV`, `empty`, `linked folder`.

Their paths begin with the folder's name."""


@dataclass(frozen=True)
class PreparedRequest:
    """A request that may start, and the local files that belong to it."""

    request: Mapping[str, Any]
    """As StartExecution takes it."""
    uploads: Mapping[Path, str]
    """Where each local file goes, as an S3 URI."""
    output_directory: Path | None
    """Where the output comes down to; None where it stays in S3."""
    manifest_s3_uri: str | None = None
    manifest: tuple[str, ...] = ()
    """URIs of the data's objects, where they are too many for the request to name, or none: then it names `manifest_s3_uri`."""
    keeps_uploads: bool = False
    """Whether a file that is there already, by its content, need not go up again."""
    skipped: Skipped = field(default_factory=dict)
    """Files in the data's folders that are no data."""

    @property
    def upload_bytes(self) -> int:
        """Size of all local files together."""
        return sum(path.stat().st_size for path in self.uploads)


@dataclass(frozen=True)
class RunResult:
    """How a run ended."""

    status: str
    """SUCCEEDED, FAILED, TIMED_OUT or ABORTED, as the execution's."""
    output: Path | str | None = None
    """A local file, or the URI of one that stays in S3; as the two that follow."""
    report: Path | str | None = None
    rejected: Path | str | None = None
    """The list of rejected rows, where they are quarantined."""
    rows: int | None = None
    rejected_rows: int | None = None
    """Of the rows: those with an empty prediction."""
    chunks: int | None = None
    """Of the plan."""
    reused_chunks: int | None = None
    """Of the chunks: those that an earlier run of the same request had finished."""
    failed_chunks: int | None = None
    """Of the chunks: those that are missing from the output, tolerated or not."""
    input_bytes: int | None = None
    objects: int | None = None
    skipped_objects: int | None = None
    """Of a dry run: those under a prefix or glob that hold no data, and those that are only a header."""
    output_bytes: int | None = None
    estimate: Mapping[str, Any] | None = None
    """Of a dry run: rows, seconds, requests and dollars on AWS (`Estimate` in functions/workflow/estimate.py)."""
    probe_rows_per_second: float | None = None
    """Of the model on the first rows, on one vCPU."""
    seconds: float = 0.0
    """Of the execution: without the start of the local AWS, uploads and downloads."""
    states: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each Task and Map state, in order."""
    error: str | None = None
    cause: str | None = None
    advice: str | None = None
    warnings: Sequence[str] = ()
    """Of the model and its predictions: that it was fitted with another scikit-learn, say."""
    name: str | None = None
    """Of the execution: RUN of the other commands."""


class RunInterrupted(KeyboardInterrupt):  # no error: somebody wanted it
    """A run on this machine was stopped; its message says how it goes on."""

    def __init__(self, sentence: str, result: RunResult) -> None:
        super().__init__(sentence)
        self.result = result


def stopped_by(error: BaseException) -> str:
    """Return the clause that says what stopped a run: `endings.stop_signals` gives the signal's name."""
    return f"stopped by {error.args[0]}" if error.args else "stopped"


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
        return _names(start, paths) if self.is_local else _content_names(f"{start}{UPLOADS}", paths)


_BUCKET_URI = f"{S3_SCHEME}{BUCKET}/"
LOCAL_PLACES = _Places(f"{_BUCKET_URI}models/", f"{_BUCKET_URI}data/", f"{_BUCKET_URI}output/", is_local=True)


def prepare(request: Mapping[str, Any]) -> PreparedRequest:
    """Check the local files of a request for the embedded local AWS, and say which file goes where.

    Raises InvalidRequestError; nothing has been started or written then.
    """
    return _prepare(request, LOCAL_PLACES)


def prepare_for(stack: Stack, request: Mapping[str, Any]) -> PreparedRequest:
    """Do the same for a deployed stack: S3 URIs stay, and local files go below its prefixes, under the SHA-256 of their content.

    So the same file is uploaded once, and the same request again is the same to the workflow: it finishes what is missing.
    Raises InvalidRequestError.
    """
    outputs = stack.outputs
    return _prepare(request, _Places(outputs["ModelUri"], outputs["DataUri"], outputs["OutputUri"], is_local=False))


def _prepare(request: Mapping[str, Any], places: _Places) -> PreparedRequest:
    model, model_problems = _inputs("model", [request.get("model_s3_uri")], places, {})
    data_value = request.get("data_s3_uri")
    skipped: dict[str, list[Path]] = {}
    data_values = data_value if isinstance(data_value, list) else [data_value]
    may_lack_rows = request.get("on_no_rows") == "succeed"
    data, data_problems = _inputs("data", data_values, places, skipped, may_lack_rows=may_lack_rows)
    files = [path for path in data if isinstance(path, Path)]
    if model and model[0] in files:
        data_problems.append(f"data file {model[0]} is also the model: name a CSV file")
    # What cannot be read has no digest, and its problem is known.
    uploads = places.uris(places.models, [path for path in model if isinstance(path, Path)]) | places.uris(places.data, files)
    directory, output_uri, output_problems = _output_place(
        request.get("output_s3_uri"), places, overwrite=request.get("overwrite") is True, inputs=uploads
    )

    # What is not a path goes on as it is, for the schema to judge; what has been judged here passes it.
    located: dict[str, object] = dict(request)
    if model or model_problems:
        located["model_s3_uri"] = _located(model[0], uploads) if model else f"{places.models}model"
    objects = [_located(path, uploads) for path in data]
    manifest = tuple(objects) if len(objects) > NAMED_FILES and not any(isinstance(path, str) for path in data) else ()
    only_empty_folders = not data and not data_problems and may_lack_rows and _are_names(data_values)
    manifest_s3_uri = _manifest_uri(places, manifest) if manifest or only_empty_folders else None
    if data or data_problems or only_empty_folders:
        located["data_s3_uri"] = [manifest_s3_uri] if manifest_s3_uri else objects or places.data
    if output_uri:
        located["output_s3_uri"] = output_uri
    if found := [*model_problems, *data_problems, *output_problems, *request_problems(located)]:
        raise InvalidRequestError("; ".join(found))
    return PreparedRequest(located, uploads, directory, manifest_s3_uri, manifest, not places.is_local, skipped)


def _located(place: Path | str, uploads: Mapping[Path, str]) -> str:
    return place if isinstance(place, str) else uploads[place]


def _manifest_uri(places: _Places, manifest: Sequence[str]) -> str:
    if places.is_local:
        return f"{places.data}{MANIFEST_NAME}"
    digest = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
    return f"{places.data}{UPLOADS}{digest[:DIGEST_DIGITS]}/{MANIFEST_NAME}"


def _are_names(values: Sequence[object]) -> bool:
    return bool(values) and all(isinstance(value, str) and value for value in values)


def _inputs(
    noun: str, values: Sequence[object], places: _Places, skipped: dict[str, list[Path]], *, may_lack_rows: bool = False
) -> tuple[list[Path | str], list[str]]:
    """Return the local files and S3 URIs that a field of the request names, and what is wrong with them; add to ``skipped``."""
    files: list[Path | str] = []
    found: list[str] = []
    if not _are_names(values):
        return files, found  # the schema says it
    for value in map(str, values):
        path = Path(value)
        if value.startswith(S3_SCHEME):
            if places.is_local:
                found.append(f"{noun} {value} is not on this machine, and the local AWS starts empty: give a local path")
            else:
                files.append(value)
        elif noun == "data" and (below := _files_below(path)):
            files += below.data
            found += below.problems
            for kind, paths in below.skipped.items():
                skipped.setdefault(kind, []).extend(paths)
            if not (below.data or below.problems or may_lack_rows):
                sentence = skipped_files(below.skipped)
                found.append(f"data {below.named}{f' ({sentence})' if sentence else ''}")
        elif noun == "data" and value.endswith(MANIFEST_SUFFIX):
            found.append(f"data file {value} is a manifest of objects in S3: name the files themselves, or their directory")
        elif problem := unreadable(path):
            found.append(f"{noun} file {value} {problem}")
        else:
            files.append(path)
    return files, found


def unreadable(path: Path) -> str | None:
    """Say why a path is no file that can be read; None where it is one."""
    if not path.exists():
        return "does not exist"
    if not path.is_file():
        return _folder_kind(path) if path.is_dir() else "is not a regular file"
    return None if os.access(path, os.R_OK) else "may not be read: check its permissions"


def _folder_kind(path: Path) -> str:
    """Say that a path is a folder, and which, where it is one that other tools save a model as."""
    if (path / "MLmodel").is_file():
        return "is a directory, the folder of an MLflow model: give the model.pkl that is in it"
    if (path / "saved_model.pb").is_file():
        return "is a directory, a SavedModel of TensorFlow: dump a fitted scikit-learn estimator with joblib.dump"
    return "is a directory"


def _files_below(path: Path) -> "_FolderFiles | None":
    """Return the files that a folder or a glob names; None where a path is neither."""
    if folder := _folder_of(path):
        return _FolderFiles(folder)
    wild = next((index for index, part in enumerate(path.parts) if re.search(WILDCARDS, part)), None)
    return None if wild is None or path.exists() else _FolderFiles(Path(*path.parts[:wild]), path.parts[wild:])


def _folder_of(path: Path) -> Path | None:
    """Return the folder that a path names; also the marker of a whole folder names it, as it does in S3."""
    if path.is_dir():
        return path
    return path.parent if path.name == MARKER and path.parent.is_dir() else None


class _FolderFiles:
    """The files below a folder, as the workflow takes the objects under a prefix; but only those called *.csv, in any case.

    With a glob, those that match it, whatever they are called; or, if it matches folders alone, the files of these.
    """

    def __init__(self, folder: Path, glob: Sequence[str] = ()) -> None:
        self.problems: list[str] = []
        self.skipped: dict[str, list[Path]] = {}
        self._folder = folder
        found = sorted(self._walk(), key=lambda path: (natural_order(self._below(path)), self._below(path)))
        self._names_files = False
        if glob:
            matching = [path for path in found if _matches(path.relative_to(folder).parts, glob)]
            self._names_files = bool(matching)
            found = matching or [path for path in found if _is_below_match(path.relative_to(folder).parts, glob)]
        self._names_hidden_ones = bool(glob) and glob[-1][0] in "_."
        self.named = f"glob {folder.joinpath(*glob)} matches no files" if glob else f"directory {folder} holds no *.csv files"
        self.data: list[Path] = [path for path in found if self._is_data(path)]

    def _walk(self) -> Iterator[Path]:
        def refused(error: OSError) -> None:
            why = "does not exist" if isinstance(error, FileNotFoundError) else "may not be read: check its permissions"
            self.problems.append(f"data directory {error.filename} {why}")

        # Links to folders are not followed: they may lead round, or to what is there already.
        for root, folders, names in os.walk(self._folder, onerror=refused):
            self._skip("linked folder", [path for path in (Path(root, name) for name in sorted(folders)) if path.is_symlink()])
            yield from (Path(root, name) for name in names)

    def _below(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def _is_data(self, path: Path) -> bool:
        if is_hidden(self._below(path)) and not (self._names_files and self._names_hidden_ones):
            self._skip("hidden", [path])
        elif not self._names_files and not path.name.lower().endswith(CSV_SUFFIX):
            self._skip("not CSV", [path])
        elif problem := unreadable(path):
            self.problems.append(f"data file {path} {problem}")
        elif path.stat().st_size == 0:
            self._skip("empty", [path])
        else:
            return True
        return False

    def _skip(self, kind: str, paths: Sequence[Path]) -> None:
        if paths:
            self.skipped.setdefault(kind, []).extend(path.relative_to(self._folder.parent) for path in paths)


def _matches(parts: Sequence[str], glob: Sequence[str]) -> bool:
    """Whether a path matches a glob, each part as in a shell; `**` stands for any number of folders, also none."""
    if not glob:
        return not parts
    if glob[0] == "**":
        return any(_matches(parts[skipped:], glob[1:] or ("*",)) for skipped in range(len(parts)))
    return bool(parts) and fnmatchcase(parts[0], glob[0]) and _matches(parts[1:], glob[1:])


def _is_below_match(parts: Sequence[str], glob: Sequence[str]) -> bool:
    return any(_matches(parts[:depth], glob) for depth in range(1, len(parts)))


def skipped_files(skipped: Skipped) -> str:
    """Say how many files of folders are no data, and which; nothing where there are none."""
    number = sum(map(len, skipped.values()))
    kinds = []
    for kind, paths in skipped.items():
        more = ", …" if len(paths) > NAMED_SKIPPED else ""
        kinds.append(f"{len(paths):,} {kind} ({', '.join(map(visible, paths[:NAMED_SKIPPED]))}{more})")
    return f"{number:,} file{'' if number == 1 else 's'} skipped: {', '.join(kinds)}" if number else ""


def _names(start: str, paths: Sequence[Path]) -> dict[Path, str]:
    """Give each file the URI that a reader of error messages expects; files of one name are told apart by a number."""
    names = _safe_names(paths)
    times = Counter(names.values())
    return {
        path: f"{start}{name}" if times[name] == 1 else f"{start}{number}/{name}"
        for number, (path, name) in enumerate(names.items(), start=1)
    }


def _content_names(start: str, paths: Sequence[Path]) -> dict[Path, str]:
    """Give each file a URI by its content and its name."""
    return {path: f"{start}{sha256_of(path)[:DIGEST_DIGITS]}/{name}" for path, name in _safe_names(paths).items()}


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _safe_names(paths: Sequence[Path]) -> dict[Path, str]:
    # Braces are placeholders and * ? [ ] are patterns to the workflow, and it refuses what others might decode. A name that is no
    # UTF-8 has surrogates here.
    return {path: re.sub(r"[{}*?\[\]%\\\x00-\x1f\x7f-\x9f\ud800-\udfff]", "_", path.name) for path in dict.fromkeys(paths)}


def _output_place(
    value: object, places: _Places, *, overwrite: bool, inputs: Iterable[Path]
) -> tuple[Path | None, str | None, list[str]]:
    """Return the local directory of the output, its URI, and what is wrong with it.

    The name is known when the workflow has resolved the placeholders. An S3 URI stays in S3, and comes down into the current
    directory where that S3 is the local AWS.
    """
    if not isinstance(value, str) or not value:
        return Path(), None, []
    found: list[str] = []
    if ending := other_format(value):
        found.append(f"output {value} ends in {ending}, and what is written is CSV: choose a name that ends in .csv")
    if value.startswith(S3_SCHEME):
        if not places.is_local:
            return None, value, found
        path, uri = Path(_name(value)), value
    else:
        path, uri = Path(value), f"{places.output}{Path(value).name}"
    if path.is_dir() or value.endswith("/"):
        found.append(f"output {value} is a directory: name a file")
        uri = f"{places.output}output"  # passes the schema, which would say the same of it again
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


def run(aws: Stack, local_run: PreparedRequest, show: Callable[[Progress], None] = lambda _: None) -> RunResult:
    """Upload, execute, and download."""
    upload(aws, local_run)
    return execute(aws, local_run, show)


def upload(aws: Stack, local_run: PreparedRequest) -> None:
    """Put the run's local files into S3; BatchPredictError where that fails."""
    s3 = aws.client("s3")
    with _troubles(aws):
        for path, uri in local_run.uploads.items():
            if not (local_run.keeps_uploads and _is_there(s3, uri, path.stat().st_size)):
                bucket, key = split_uri(uri)
                s3.upload_file(str(path), bucket, key)
        if local_run.manifest_s3_uri:
            bucket, key = split_uri(local_run.manifest_s3_uri)
            s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(local_run.manifest).encode())


def megabytes_of(local_run: PreparedRequest) -> str:
    """Return how much there is to upload, and what is left out, for people."""
    files = len(local_run.uploads)
    sizes = f"{files:,} file{'' if files == 1 else 's'}, {local_run.upload_bytes / 1e6:,.1f} MB"
    skipped = skipped_files(local_run.skipped)
    return f"{sizes}; {skipped}" if skipped else sizes


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


def execute(aws: Stack, local_run: PreparedRequest, show: Callable[[Progress], None] = lambda _: None) -> RunResult:
    """Start the execution, follow it to its end, and download what it published."""
    return conclude(aws, local_run, start(aws, local_run), show)


def start(aws: Stack, local_run: PreparedRequest, name: str | None = None) -> str:
    """Start the execution, and return its ARN; what was uploaded must be there."""
    with _troubles(aws):
        return start_execution(aws.client("stepfunctions"), aws.state_machine_arn, local_run.request, name)


def conclude(
    aws: Stack,
    local_run: PreparedRequest,
    execution_arn: str,
    show: Callable[[Progress], None] = lambda _: None,
    poll_seconds: float | None = None,
) -> RunResult:
    """Follow the execution to its end, and download what it published: output and report appear whole, or not at all.

    ``show`` is called with each step of the execution. A failed execution is a result; raises BatchPredictError where AWS stops
    answering, or the output cannot be written here.
    """
    states: dict[str, float] = {}
    probe: Mapping[str, Any] = {}
    resolved: str | None = None
    plan: Mapping[str, Any] = {}
    exited: list[StateExited] = []
    failed: int | None = None
    seconds = poll_seconds or (1.0 if local_run.keeps_uploads else POLL_SECONDS)
    with _troubles(aws):
        for progress in follow_execution(aws.client("stepfunctions"), execution_arn, poll_seconds=seconds):
            show(progress)
            if isinstance(progress, StateExited) and progress.kind in {"Task", "Map"}:
                exited.append(progress)
                resolved = resolved or progress.document.get("request", {}).get("output_s3_uri")
                probe = progress.document.get("model", probe)
                states[progress.name] = round(states.get(progress.name, 0.0) + progress.seconds, 3)
                plan = progress.document.get("plan", plan)
            elif isinstance(progress, ChunksCounted):
                failed = progress.failed
        assert isinstance(progress, ExecutionEnded)
        result = replace(
            _result(aws, local_run, progress, states, resolved),
            probe_rows_per_second=probe.get("rows_per_second"),
            warnings=[*probe.get("warnings", ()), *probe.get("model", {}).get("warnings", ())],
        )
        there = finished_by_plan(exited)
        if not there:
            return result
        counts = {} if progress.status == "SUCCEEDED" else {"chunks": plan["chunks"], "failed_chunks": failed}
        return replace(result, reused_chunks=there[0], **counts)


@contextmanager
def _troubles(aws: Stack) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError, Boto3Error) as error:
        raise BatchPredictError(f"{aws.title} failed: {error}") from error
    except OSError as error:
        raise BatchPredictError(f"{error.filename or 'a file'} cannot be read or written: {error.strerror or error}") from error


def _result(
    aws: Stack, local_run: PreparedRequest, ended: ExecutionEnded, states: Mapping[str, float], resolved: str | None
) -> RunResult:
    name = ended.execution_arn.rpartition(":")[2]
    if ended.status != "SUCCEEDED":
        error = ended.error or ended.status
        cause, advice = split_advice(error, message_of(ended.cause or ""))
        cause = told_here(cause, local_run.uploads)
        return RunResult(
            status=ended.status,
            name=name,
            seconds=ended.seconds,
            states=states,
            error=error,
            cause=cause,
            advice=advice,
        )
    # A dry run ends with its plan, and has nothing to download.
    is_published = "output_s3_uri" in ended.output
    if is_published:
        _require_own(local_run, ended.output, name, resolved)
    files = _download(aws, local_run, ended.output) if is_published and local_run.output_directory is not None else {}
    in_s3 = ended.output if is_published and local_run.output_directory is None else {}
    return RunResult(
        status=ended.status,
        name=name,
        output=files.get("output_s3_uri") or in_s3.get("output_s3_uri"),
        report=files.get("report_s3_uri") or in_s3.get("report_s3_uri"),
        rejected=files.get("rejected_s3_uri") or in_s3.get("rejected_s3_uri"),
        rows=ended.output.get("rows"),
        rejected_rows=ended.output.get("rejected_rows"),
        chunks=ended.output.get("chunks"),
        failed_chunks=ended.output.get("failed_chunks"),
        input_bytes=ended.output.get("input_bytes"),
        objects=ended.output.get("objects"),
        skipped_objects=ended.output.get("skipped_objects"),
        estimate=ended.output.get("estimate"),
        output_bytes=ended.output.get("bytes"),
        seconds=ended.seconds,
        states=states,
    )


def told_here(text: str, uploads: Mapping[Path, str]) -> str:
    """Return a message as whoever owns the data may read it: with the value at the place that it names, and with local paths."""
    return with_local_paths(with_value(text, uploads), uploads)


def with_local_paths(text: str, uploads: Mapping[Path, str]) -> str:
    """Put the user's own paths in place of the URIs in a message: nobody sees where a file was uploaded to."""
    paths = {uri: str(path) for path, uri in uploads.items()}
    # The longest first: s3://b/data/a.csv is also the beginning of s3://b/data/a.csv.old
    for uri in sorted(paths, key=len, reverse=True):
        text = text.replace(uri, paths[uri])
    return text


def _require_own(
    local_run: PreparedRequest, published: Mapping[str, Any], name: str | None = None, resolved: str | None = None
) -> None:
    """Raise BatchPredictError unless the execution names the places that follow from the request's output.

    What it names it may have read from a report in S3, which others may be able to write; files here are named after it.
    ``resolved`` is the request's output as Validate Request has returned it, with its placeholders resolved.
    """
    output, report, rejected = (published.get(field) for field in ("output_s3_uri", "report_s3_uri", "rejected_s3_uri"))
    asked = resolved or output
    template = local_run.request.get("output_s3_uri", asked)
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


def _resolves(template: str, uri: str, name: str | None) -> bool:
    """Whether a URI is the template with its placeholders resolved; a time has a slash only where its format has one."""
    pattern = ""
    for part in re.split(r"(\{[^{}]*\})", template):
        if part == "{execution_name}" and name:
            pattern += re.escape(name)
        elif part.startswith("{"):
            pattern += r"[^\x00-\x1f]*" if "/" in part else r"[^/\x00-\x1f]*"
        else:
            pattern += re.escape(part)
    return re.fullmatch(pattern, uri) is not None


def _download(aws: Stack, local_run: PreparedRequest, published: Mapping[str, Any]) -> dict[str, Path]:
    """Bring what was published here: all of it is here before any of it is in place, and the report is in place last, as in S3."""
    _require_own(local_run, published)
    directory = local_run.output_directory
    assert directory is not None
    output = directory / _name(published["output_s3_uri"])
    # Looked at again: placeholders are resolved now, and a run takes time.
    if problems := list(_in_the_way(output, overwrite=local_run.request.get("overwrite") is True)):
        raise BatchPredictError("; ".join(problems))
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
def _fetched(aws: Stack, uri: str, path: Path) -> Iterator[Path]:
    """Download an object to a temporary file beside ``path``, on the same file system, and leave nothing of it."""
    bucket, key = split_uri(uri)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            aws.client("s3").download_fileobj(bucket, key, file)
        yield temporary
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
