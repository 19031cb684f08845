"""Runs on this machine, kept so that they can be looked at when they are over: `.batch-predict/<run>/` in the current directory.

Each run has an embedded AWS of its own. What that one knew at its end (the execution, its history, logs, plan, receipts and
report, but no copy of model, data and output) is kept in the run's folder, and comes up again for whoever asks for it.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from batch_predict.execution import Progress
from batch_predict.local_aws import LocalAws, LocalAwsError, local_aws
from batch_predict.local_run import LocalRun, LocalRunError, RunResult, conclude, megabytes_of, start, upload
from batch_predict.runs import Run, RunError, find_run

HOME_VARIABLE = "BATCH_PREDICT_HOME"
HOME = Path(".batch-predict")
KEPT_RUNS = 20
"""Older ones that are over are deleted when another begins."""
BEGIN_SECONDS = 90
"""Within which a run that was left to itself has begun; it takes two."""
DELETED_PREFIXES = ("models/", "data/", ".deploy/")
"""What a run that is over has no need of: copies of what is on this machine."""
DELETED_AT_ONCE = 1000  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html


@dataclass(frozen=True)
class LocalRunStatus:
    """One line of the list of local runs."""

    name: str
    status: str
    """RUNNING, or as the execution ended; ABORTED where its process ended before it."""
    started: datetime
    result: Mapping[str, Any]
    """`RunResult` as JSON; empty while it runs."""


class LocalRunDirectory:
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
    def local_run(self) -> LocalRun:
        """Return the request and its local files; by whole paths, unless it is this process that has them."""
        about = self.about
        return LocalRun(
            about["request"],
            {Path(path): uri for path, uri in about["uploads"].items()},
            Path(about["output_directory"]),
            about["manifest_s3_uri"],
            tuple(about["manifest"]),
        )

    def status(self) -> LocalRunStatus:
        """Return how it is; without its embedded AWS."""
        result: dict[str, Any] = {}
        with suppress(FileNotFoundError):
            result = json.loads((self.path / "ended.json").read_text())
        status = result.get("status") or ("RUNNING" if self._live() or self._is_beginning() else "ABORTED")
        return LocalRunStatus(self.name, status, datetime.fromisoformat(self.about["created"]), result)

    def local_paths(self) -> dict[Path, str]:
        """Return the local files of the run, its output and what belongs to it included, with their URIs in its embedded AWS."""
        output = str(self.about["request"].get("output_s3_uri", "")).rpartition("/")[0]
        result = self.status().result
        published = [Path(path) for field in ("output", "report", "rejected") if (path := result.get(field))]
        uris = {**self.local_run.uploads, **{path: f"{output}/{path.name}" for path in published}}
        here = Path.cwd()
        return {path.relative_to(here) if path.is_relative_to(here) else path: uri for path, uri in uris.items()}

    @contextmanager
    def serving(self) -> Iterator[LocalAws]:
        """Run the run's embedded AWS, and say where it is to whoever asks meanwhile."""
        with self._locked(), local_aws(state_directory=self.path / "aws", log_file=self.path / "aws.log") as aws:
            live = self.path / "live.json"
            _write_json(live, asdict(aws))
            try:
                yield aws
            finally:
                live.unlink(missing_ok=True)

    @contextmanager
    def opened(self) -> Iterator[LocalAws]:
        """Reach the run's embedded AWS where it is up, and else bring it up as it was at its end."""
        if live := self._live():
            yield live
        elif not (self.path / "aws" / "state").is_dir():
            raise RunError(f"run {self.name} has left nothing to look at: its process was killed")
        else:
            with self.serving() as aws:
                yield aws

    def execute(
        self,
        show: Callable[[Progress], None] = lambda _: None,
        step: Callable[[str, str], AbstractContextManager[Callable[[str], None]]] = lambda *_: nullcontext(lambda _: None),
    ) -> RunResult:
        """Do the whole run in this process, and keep how it ended.

        ``show`` is called with each step of the execution; ``step`` surrounds what comes before it, with its name and what it does.
        """
        local_run = self.local_run
        result = RunResult("ABORTED", error="Interrupted", cause="its process was ended", name=self.name)
        try:
            with ExitStack() as stack:
                with step("Local AWS", "starting") as concluded:
                    aws = stack.enter_context(self.serving())
                    concluded(aws.endpoint_url)
                with step("Upload", megabytes_of(local_run)):
                    upload(aws, local_run)
                result = conclude(aws, local_run, start(aws, local_run, self.name), show)
                self._forget_copies(aws, f"output/{Path(result.output).name}" if result.output else None)
        except (LocalRunError, LocalAwsError) as error:
            result = RunResult("FAILED", error=type(error).__name__, cause=str(error), name=self.name)
            raise
        finally:
            _write_json(self.path / "ended.json", asdict(result))
        return result

    def detach(self) -> None:
        """Do the whole run in a process of its own, and return when its execution has started; RunError where it does not."""
        with (self.path / "process.log").open("wb") as log:
            command = [sys.executable, "-m", "batch_predict.detached", str(self.path.absolute())]
            process = subprocess.Popen(  # noqa: S603  # this Python, on our own folder
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + BEGIN_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                if (self.path / "ended.json").exists():
                    return  # already
                raise RunError(f"run {self.name} did not begin: {(self.path / 'process.log').read_text()[-2000:].strip()}")
            if live := self._live():
                with suppress(RunError):
                    find_run(live, self.name)
                    return
            time.sleep(0.1)
        raise RunError(f"run {self.name} has not begun within {BEGIN_SECONDS} s: see {self.path / 'process.log'}")

    @contextmanager
    def with_inputs(self, aws: LocalAws) -> Iterator[None]:
        """Have model and data there again, for one chunk by hand; RunError where a file is gone."""
        try:
            upload(aws, self.local_run)
        except LocalRunError as error:
            raise RunError(str(error)) from error
        try:
            yield
        finally:
            if self.status().result:  # a run that goes on needs them
                self._forget_copies(aws)

    def _forget_copies(self, aws: LocalAws, output: str | None = None) -> None:
        s3 = aws.client("s3")
        keys = [
            item["Key"]
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=aws.bucket)
            for item in page.get("Contents", ())
            if item["Key"].startswith(DELETED_PREFIXES) or item["Key"] == output
        ]
        for begin in range(0, len(keys), DELETED_AT_ONCE):
            objects = [{"Key": key} for key in keys[begin : begin + DELETED_AT_ONCE]]
            s3.delete_objects(Bucket=aws.bucket, Delete={"Objects": objects, "Quiet": True})

    def _live(self) -> LocalAws | None:
        """Return the run's embedded AWS where it is up: on this machine, and the one that the folder was written by."""
        try:
            aws = LocalAws(**json.loads((self.path / "live.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return aws if aws.is_up() else None

    def _is_beginning(self) -> bool:
        """Whether somebody holds the folder, and its embedded AWS is not up yet, or not down yet."""
        with (self.path / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the folder alone: two embedded AWS in it would write over each other's state."""
        with (self.path / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class LocalRuns:
    """All runs that are kept here."""

    def __init__(self, home: Path | None = None) -> None:
        self.home = home or Path(os.environ.get(HOME_VARIABLE) or HOME)

    def create(self, local_run: LocalRun, name: str | None = None) -> LocalRunDirectory:
        """Make the folder of a new run, and delete the oldest beyond `KEPT_RUNS`; RunError where the name is taken."""
        path = self.home / (name or self._new_name(local_run))
        try:
            path.mkdir(parents=True)
        except FileExistsError as error:
            raise RunError(f"there is a run {path.name} already: choose another name") from error
        except OSError as error:
            raise RunError(
                f"{path} cannot be made: {error.strerror}; set {HOME_VARIABLE} to a folder that may be written"
            ) from error
        with suppress(FileExistsError):
            (self.home / ".gitignore").write_text("*\n")
        about = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "request": dict(local_run.request),
            "uploads": {str(file.absolute()): uri for file, uri in local_run.uploads.items()},
            "output_directory": str((local_run.output_directory or Path()).absolute()),
            "manifest_s3_uri": local_run.manifest_s3_uri,
            "manifest": local_run.manifest,
        }
        _write_json(path / "run.json", about)
        for old in self.all()[KEPT_RUNS:]:
            if old.status().status != "RUNNING":
                shutil.rmtree(old.path, ignore_errors=True)
        created = LocalRunDirectory(path)
        created.local_run = local_run
        return created

    def all(self) -> list[LocalRunDirectory]:
        """Return the runs that are kept, newest first."""
        found = [LocalRunDirectory(file.parent) for file in self.home.glob("*/run.json")]
        return sorted(found, key=lambda run: (run.about["created"], run.name), reverse=True)

    def get(self, name: str) -> LocalRunDirectory:
        """Return the run of this name; RunError where there is none."""
        run = LocalRunDirectory(self.home / name)
        if "/" in name or not (run.path / "run.json").is_file():
            raise RunError(f"there is no run {name} in {self.home}/: see `batch-predict list`, or name the stack with --stack")
        return run

    def _new_name(self, local_run: LocalRun) -> str:
        """Return a name that says what and when: an execution may have 80 of these characters."""
        output = str(local_run.request["output_s3_uri"]).rpartition("/")[2].partition(".")[0]
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", output).strip("-")[:40] or "run"
        start = f"{stem}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
        names = (start, *(f"{start}-{number}" for number in range(2, 1000)))
        return next(name for name in names if not (self.home / name).exists())


@contextmanager
def opened_local_run(name: str) -> Iterator[Run]:
    """Find a run on this machine, and reach its embedded AWS."""
    directory = LocalRuns().get(name)
    with directory.opened() as aws:
        yield find_run(aws, name)


def _write_json(path: Path, value: Any) -> None:
    """Write a whole file or none: others may read it at any time."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(value, default=str))
    temporary.replace(path)
