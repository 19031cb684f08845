"""Runs on this machine, kept so that they can be looked at when they are over: `.batch-predict/<run>/` in the current directory.

Each run has an embedded AWS of its own. What that one knew at its end (the execution, its history, logs, plan, receipts and
report, but no copy of model, data and output) is kept in the run's folder, and comes up again for whoever asks for it.

A run that failed or was stopped keeps its finished chunks, too, until the same request has published: its next run shares them.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from botocore.exceptions import BotoCoreError, ClientError

from batch_predict.errors import BatchPredictError
from batch_predict.local import kept_work
from batch_predict.local.aws import LocalAws, local_aws
from batch_predict.local.own_folders import FOLDER_MODE, mark_of, why_foreign, why_not_ours, write_private
from batch_predict.runs.execution import Progress, count_chunks
from batch_predict.runs.prepared_request import (
    INTERRUPTED,
    PreparedRequest,
    RunInterrupted,
    RunResult,
    conclude,
    megabytes_of,
    sha256_of,
    start,
    stopped_by,
    upload,
)
from batch_predict.runs.run import Run, find_run

HOME_VARIABLE = "BATCH_PREDICT_HOME"
HOME = Path(".batch-predict")
KEPT_RUNS = 20
"""Older ones that are over are deleted when another begins."""
BEGIN_SECONDS = 90
"""Within which a run that was left to itself has begun; it takes two."""
ORPHAN_SECONDS = 15
"""Within which all that a killed process has left has ended: its guard gives it three."""
KEPT_WORK = 3
"""Requests that failed or were stopped, the newest, whose finished chunks are kept for their next run."""
NOT_DECIDING = {
    *("overwrite", "keep_work", "dry_run", "strict", "model_sha256"),
    *("max_concurrency", "tolerated_failure_percentage"),
}
"""Fields of a request that its finished chunks do not depend on. This only finds chunks: which of them a run may use is the
workflow's to say, by their identity."""


@dataclass(frozen=True)
class KeptRunStatus:
    """One line of the list of local runs."""

    name: str
    status: str
    """RUNNING, or as the execution ended; ABORTED where its process ended before it."""
    started: datetime
    result: Mapping[str, Any]
    """`RunResult` as JSON; empty while it runs."""


class KeptRun:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name

    @cached_property
    def about(self) -> Mapping[str, Any]:
        """Return what it was started with: `created`, `request`, `uploads`, `output_directory`."""
        found: Mapping[str, Any] = json.loads((self.path / "run.json").read_text())
        return found

    @cached_property
    def local_run(self) -> PreparedRequest:
        """Return the request and its local files; by whole paths, unless it is this process that has them."""
        about = self.about
        return PreparedRequest(
            about["request"],
            {Path(path): uri for path, uri in about["uploads"].items()},
            Path(about["output_directory"]),
            about["manifest_s3_uri"],
            tuple(about["manifest"]),
        )

    def why_foreign(self) -> str | None:
        """Return why the folder is not to be opened; None where this user has made it."""
        try:
            return why_foreign(self.path, self.about)
        except (OSError, ValueError, AttributeError):
            return "its run.json cannot be read"

    @property
    def objects(self) -> Path:
        """Return where the objects of its embedded AWS lie."""
        return self.path / "aws" / "objects"

    def status(self) -> KeptRunStatus:
        """Return how it is; without its embedded AWS."""
        result: dict[str, Any] = {}
        with suppress(FileNotFoundError):
            result = json.loads((self.path / "ended.json").read_text())
        if not result:
            self._await_orphans()
        status = result.get("status") or ("RUNNING" if self._live() or self._is_beginning() else "ABORTED")
        return KeptRunStatus(self.name, status, datetime.fromisoformat(self.about["created"]), result)

    @property
    def is_unfinished(self) -> bool:
        """Whether it is over without an output, so that its finished chunks are of use."""
        return self.status().status not in {"RUNNING", "SUCCEEDED"}

    def settle(self) -> None:
        """Write down the end of a run whose process could not do it, and delete the copies that it has left."""
        status = self.status()
        if status.status == "RUNNING" or status.result:
            return
        written = max((path.stat().st_mtime for path in self.path.rglob("*") if path.is_file()), default=0.0)
        seconds = round(max(0.0, written - status.started.timestamp()), 3)
        _write_json(
            self.path / "ended.json",
            asdict(RunResult("ABORTED", error=INTERRUPTED, cause="its process was killed", seconds=seconds, name=self.name)),
        )
        kept_work.delete_copies(self.objects)

    def local_paths(self) -> dict[Path, str]:
        """Return the local files of the run, with their URIs in its embedded AWS.

        Its output is one of them, whether it was published or not, and so is what was published beside it.
        """
        output, _, name = str(self.about["request"].get("output_s3_uri", "")).rpartition("/")
        result = self.status().result
        published = [Path(path) for field in ("output", "report", "rejected") if (path := result.get(field))]
        written = [Path(self.about["output_directory"], name), *published] if name else published
        uris = {**self.local_run.uploads, **{path: f"{output}/{path.name}" for path in written}}
        here = Path.cwd()
        return {path.relative_to(here) if path.is_relative_to(here) else path: uri for path, uri in uris.items()}

    @contextmanager
    def serving(self) -> Iterator[LocalAws]:
        """Run the run's embedded AWS, and say where it is to whoever asks meanwhile."""
        tolerates = bool(self.about["request"].get("tolerated_failure_percentage"))
        with (
            self._locked() as lock,
            local_aws(state_directory=self.path / "aws", log_file=self.path / "aws.log", tolerates=tolerates, lock=lock) as aws,
        ):
            live = self.path / "live.json"
            _write_json(live, asdict(aws))
            try:
                yield aws
            finally:
                live.unlink(missing_ok=True)

    @contextmanager
    def opened(self) -> Iterator[LocalAws]:
        """Reach the run's embedded AWS where it is up, and else bring it up as it was at its end."""
        deadline = time.monotonic() + BEGIN_SECONDS
        while not (live := self._live()) and not self.status().result and self._is_beginning() and time.monotonic() < deadline:
            time.sleep(0.1)
        if live:
            yield live
            return
        self.settle()
        try:
            with self.serving() as aws:
                yield aws
        finally:
            kept_work.delete_copies(self.objects)

    def run(self, aws: LocalAws) -> Run:
        """Return the run as its embedded AWS knows it, ended as it ended here."""
        return _RunHere(aws, self)

    def execute(
        self,
        show: Callable[[Progress], None] = lambda _: None,
        step: Callable[[str, str], AbstractContextManager[Callable[[str], None]]] = lambda *_: nullcontext(lambda _: None),
    ) -> RunResult:
        """Do the whole run in this process, and keep how it ended.

        ``show`` is called with each step of the execution; ``step`` surrounds what comes before it, with its name and what it does.
        Raises RunInterrupted where the process is told to stop.
        """
        local_run, began = self.local_run, self.status().started
        result = RunResult("ABORTED", error=INTERRUPTED, cause="its process was ended", name=self.name)
        try:
            with ExitStack() as stack:
                with step("Local AWS", "starting") as concluded:
                    aws = stack.enter_context(self.serving())
                    concluded(aws.endpoint_url)
                with step("Upload", megabytes_of(local_run)):
                    upload(aws, local_run)
                began = datetime.now(UTC)
                execution_arn = start(aws, local_run, self.name)
                try:
                    result = conclude(aws, local_run, execution_arn, show)
                except KeyboardInterrupt as error:
                    with suppress(BatchPredictError, BotoCoreError, ClientError):  # over already, or the local AWS with it
                        Run(aws, execution_arn).cancel(stopped_by(error), INTERRUPTED)
                        if counts := count_chunks(aws.client("stepfunctions"), execution_arn):
                            show(counts)
                    result = replace(result, seconds=_seconds_since(began))
                    raise
        except BatchPredictError as error:
            result = RunResult("FAILED", error=type(error).__name__, cause=str(error), name=self.name)
            raise
        except KeyboardInterrupt as error:
            result = replace(result, cause=stopped_by(error), seconds=result.seconds or _seconds_since(began))
            if local_run.request.get("dry_run"):
                raise  # nothing is kept of it
            raise RunInterrupted(self._how_to_go_on(), result) from error
        finally:
            _write_json(self.path / "ended.json", asdict(result))
            kept_work.delete_copies(self.objects)
            if result.status == "SUCCEEDED" and not local_run.request.get("dry_run"):
                self._forget_work(result)
        return result

    def _how_to_go_on(self) -> str:
        number = kept_work.finished_chunks(self.objects)
        finished = f"{number:,} finished chunk{'' if number == 1 else 's'}"
        again = f"goes on from its {finished}" if number else "starts again, as no chunk was finished"
        return f"Run {self.name} is over: the same command {again}. See also `batch-predict explain {self.name}`."

    def _forget_work(self, result: RunResult) -> None:
        """Delete what nobody needs once the request has published: this run's copy of the output, and the parts of all its runs."""
        if result.output:
            kept_work.delete_object(self.objects, f"output/{Path(result.output).name}")
        if not self.about["request"].get("keep_work"):
            kept_work.delete_parts(self.objects)
        for other in KeptRuns(self.path.parent).all():
            if other.name != self.name and other.output == self.output and other.is_unfinished:
                kept_work.delete_parts(other.objects)

    @property
    def output(self) -> tuple[str, str]:
        """Return the folder and the name of its output, placeholders as they were given."""
        return self.about["output_directory"], self.about["request"]["output_s3_uri"]

    def detach(self) -> None:
        """Do the whole run in a process of its own, and return when its execution has started."""
        with (self.path / "process.log").open("wb") as log:
            command = [sys.executable, "-m", "batch_predict.local.detached", str(self.path.absolute())]
            process = subprocess.Popen(  # noqa: S603  # this Python, on our own folder
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + BEGIN_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                if (self.path / "ended.json").exists():
                    return  # already
                raise BatchPredictError(f"run {self.name} did not begin: {(self.path / 'process.log').read_text()[-2000:].strip()}")
            if live := self._live():
                with suppress(BatchPredictError):
                    find_run(live, self.name)
                    return
            time.sleep(0.1)
        raise BatchPredictError(f"run {self.name} has not begun within {BEGIN_SECONDS} s: see {self.path / 'process.log'}")

    def restore_inputs(self, aws: LocalAws) -> None:
        """Have model and data there again, for one chunk by hand; BatchPredictError where a file is gone."""
        try:
            upload(aws, self.local_run)
        except BatchPredictError as error:
            raise BatchPredictError(str(error)) from error

    def _live(self) -> LocalAws | None:
        """Return the run's embedded AWS where it is up: on this machine, and the one that the folder was written by."""
        with suppress(OSError, ValueError, TypeError, AttributeError):
            aws = LocalAws(**json.loads((self.path / "live.json").read_text()))
            if aws.is_up():
                return aws
        return None

    def _is_beginning(self) -> bool:
        """Whether somebody holds the folder, and its embedded AWS is not up yet, or not down yet."""
        with (self.path / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _await_orphans(self) -> None:
        """Wait for the end of what a killed process has left: its guard ends the embedded AWS, which keeps its state first."""
        deadline = time.monotonic() + ORPHAN_SECONDS
        while self._is_beginning() and not self._has_owner() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _has_owner(self) -> bool:
        """Whether the process that has locked the folder lives."""
        try:
            pid = int((self.path / "lock").read_text())
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except (OSError, ValueError):  # somebody else's, or not written yet
            return True
        with suppress(OSError):  # not on macOS
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        return True

    @contextmanager
    def _locked(self) -> Iterator[IO[str]]:
        """Hold the folder alone: two embedded AWS in it would write over each other's state."""
        with (self.path / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield file


class KeptRuns:
    """All runs that are kept here."""

    def __init__(self, home: Path | None = None) -> None:
        self.home = home or Path(os.environ.get(HOME_VARIABLE) or HOME)

    def create(self, local_run: PreparedRequest, name: str | None = None) -> KeptRun:
        """Make the folder of a new run, with the finished chunks of the request's newest run, if that is over without an output.

        Deletes the oldest runs beyond `KEPT_RUNS`, and the finished chunks of unfinished ones beyond `KEPT_WORK` requests.
        BatchPredictError where the name is taken, unless by a run that this one goes on with.
        """
        self._require_ours()
        digest = _digest(local_run)
        earlier = self._unfinished(digest)
        path = self.home / (name or self._new_name(local_run))
        if earlier and earlier.name == name:
            _begin_again(earlier)
        else:
            _make_folder(path)
            if earlier:
                kept_work.share(earlier.objects, KeptRun(path).objects)
        with suppress(FileExistsError):
            (self.home / ".gitignore").write_text("*\n")
        about = {
            "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request": dict(local_run.request),
            "uploads": {str(file.absolute()): uri for file, uri in local_run.uploads.items()},
            "output_directory": str((local_run.output_directory or Path()).absolute()),
            "manifest_s3_uri": local_run.manifest_s3_uri,
            "manifest": local_run.manifest,
            "digest": digest,
        }
        _write_json(path / "run.json", about | {"mark": mark_of(path.name, about)})
        self._clean_up()
        created = KeptRun(path)
        created.local_run = local_run
        return created

    def _unfinished(self, digest: str) -> KeptRun | None:
        """Return the newest run of a request, where it is over without an output."""
        runs = (run for run in self.all() if run.about.get("digest") == digest)
        newest = next((run for run in runs if run.status().status != "RUNNING"), None)
        if newest is None or not newest.is_unfinished:
            return None
        newest.settle()
        return newest

    def _clean_up(self) -> None:
        requests: set[str] = set()
        for number, run in enumerate(self.all()):
            if run.status().status == "RUNNING":
                continue
            if number >= KEPT_RUNS:
                shutil.rmtree(run.path, ignore_errors=True)
            elif number:  # the first is the one that begins now
                run.settle()
                if run.is_unfinished:
                    requests.add(run.about.get("digest", run.name))
                    if len(requests) > KEPT_WORK:
                        kept_work.delete_parts(run.objects)

    def all(self) -> list[KeptRun]:
        """Return the runs that are kept, newest first; folders that this user has not made are left alone."""
        self._require_ours()
        found = [run for run in self._folders() if run.why_foreign() is None]
        return sorted(found, key=lambda run: (run.about["created"], run.name), reverse=True)

    def foreign(self) -> list[str]:
        """Return the names of folders that look like runs, and are none that this user has made."""
        self._require_ours()
        return sorted(run.name for run in self._folders() if run.why_foreign())

    def get(self, name: str) -> KeptRun:
        """Return the run of this name; BatchPredictError where there is none, or this user has not made it."""
        self._require_ours()
        run = KeptRun(self.home / name)
        if "/" in name or not (run.path / "run.json").is_file():
            raise BatchPredictError(
                f"there is no run {name} in {self.home}/: see `batch-predict list`, or name the stack with --stack"
            )
        if reason := run.why_foreign():
            raise BatchPredictError(f"{run.path} is left alone: {reason}")
        return run

    def _folders(self) -> list[KeptRun]:
        return [KeptRun(file.parent) for file in self.home.glob("*/run.json")]

    def _require_ours(self) -> None:
        """Raise BatchPredictError where another user could put runs here."""
        with suppress(OSError):  # what is to be done there says why it cannot be
            if reason := why_not_ours(self.home.resolve(strict=True)):
                raise BatchPredictError(f"{self.home} is left alone: {reason}; set {HOME_VARIABLE} to a folder of your own")

    def _new_name(self, local_run: PreparedRequest) -> str:
        """Return a name that says what and when: an execution may have 80 of these characters."""
        output = str(local_run.request["output_s3_uri"]).rpartition("/")[2].partition(".")[0]
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", output).strip("-")[:40] or "run"
        start = f"{stem}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
        names = (start, *(f"{start}-{number}" for number in range(2, 1000)))
        return next(name for name in names if not (self.home / name).exists())


@contextmanager
def opened_local_run(name: str) -> Iterator[Run]:
    """Find a run on this machine, and reach its embedded AWS."""
    directory = KeptRuns().get(name)
    with directory.opened() as aws:
        yield directory.run(aws)


class _RunHere(Run):
    """A run on this machine. If its process was stopped, or could not bring the output here, that is how it ended."""

    def __init__(self, aws: LocalAws, directory: KeptRun) -> None:
        super().__init__(aws, f"{aws.state_machine_arn.replace(':stateMachine:', ':execution:')}:{directory.name}")
        self._directory = directory

    def describe(self) -> Mapping[str, Any]:
        """Return what Step Functions says of the execution, as far as it says how the run ended."""
        status = self._directory.status()
        if not status.result:
            return super().describe()
        try:
            known = super().describe()
        except BatchPredictError:  # ended before its execution began, or killed with its embedded AWS
            request = self._directory.about["request"]
            known = {"name": self.name, "startDate": status.started, "input": json.dumps(request)}
        said = (known.get("status"), known.get("error") or known.get("status"))
        if said == (status.status, status.result["error"] or status.status):
            return known
        stopped = known["startDate"] + timedelta(seconds=status.result["seconds"])
        error, cause = status.result["error"], status.result["cause"]
        return {**known, "status": status.status, "error": error, "cause": cause, "stopDate": stopped}

    def _history(self) -> Iterator[Mapping[str, Any]]:
        try:
            yield from super()._history()
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionDoesNotExist" or not self._directory.status().result:
                raise


def _seconds_since(moment: datetime) -> float:
    return round((datetime.now(UTC) - moment).total_seconds(), 3)


def _digest(local_run: PreparedRequest) -> str:
    """Return a SHA-256 of all that decides the finished chunks of a request, the contents of its files included."""
    try:
        files = [(uri, sha256_of(path)) for path, uri in local_run.uploads.items()]
    except OSError as error:
        raise BatchPredictError(f"{error.filename} cannot be read: {error.strerror}") from error
    request = {field: value for field, value in local_run.request.items() if field not in NOT_DECIDING}
    place = str((local_run.output_directory or Path()).absolute())
    return hashlib.sha256(json.dumps([request, place, files], sort_keys=True).encode()).hexdigest()


def _make_folder(path: Path) -> None:
    """Make a run's folder, and the one around it where it is not there: they are this user's alone."""
    if path.exists():
        raise BatchPredictError(f"there is a run {path.name} already: choose another name")
    try:
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        path.mkdir(mode=FOLDER_MODE)
    except OSError as error:
        raise BatchPredictError(
            f"{path} cannot be made: {error.strerror}; set {HOME_VARIABLE} to a folder that may be written"
        ) from error


def _begin_again(run: KeptRun) -> None:
    """Keep nothing of a run but its objects: another one takes its name, and with it its place."""
    shutil.rmtree(run.path / "aws" / "state", ignore_errors=True)
    for name in ("ended.json", "live.json", "aws.log", "process.log"):
        (run.path / name).unlink(missing_ok=True)
    kept_work.delete_error_records(run.objects)


def _write_json(path: Path, value: Any) -> None:
    """Write a whole file or none: others may read it at any time."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    write_private(temporary, json.dumps(value, default=str).encode())
    temporary.replace(path)
