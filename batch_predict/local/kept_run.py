"""One run on this machine, in its folder `.batch-predict/<run>/`.

What its embedded AWS knew at the end (execution, history, logs, plan, receipts and report, but no copy of model, data and output)
is kept there, and comes up again when somebody asks for it.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from batch_predict.errors import BatchPredictError
from batch_predict.figures import plural
from batch_predict.local import kept_work
from batch_predict.local.aws import LocalAws, local_aws
from batch_predict.local.interruption import RunInterrupted, stopped_by
from batch_predict.local.own_folders import why_foreign, write_private
from batch_predict.local.run_lock import RunLock
from batch_predict.runs.execution import UNWATCHED, Watcher, count_chunks
from batch_predict.runs.history import History
from batch_predict.runs.outcome import INTERRUPTED, Failed, Outcome, Published, as_json, conclude, from_json, start
from batch_predict.runs.prepared_request import PreparedRequest
from batch_predict.runs.run import ListedRun, Run, find_run
from batch_predict.runs.transfer import upload

BEGIN_SECONDS = 90
"""Within which a run that was left to itself has begun; it takes two."""


class KeptRun:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.lock = RunLock(path / "lock")

    @cached_property
    def about(self) -> Mapping[str, Any]:
        """Return what it was started with: `created`, `request`, `uploads`, `output_directory`."""
        found: Mapping[str, Any] = json.loads((self.path / "run.json").read_text())
        return found

    @cached_property
    def prepared(self) -> PreparedRequest:
        """Return the request and its local files; by whole paths, unless it is this process that has them."""
        about = self.about
        return PreparedRequest(
            about["request"],
            {Path(path): uri for path, uri in about["uploads"].items()},
            Path(about["output_directory"]),
            about["manifest_s3_uri"],
            tuple(about["manifest"]),
        )

    @property
    def created(self) -> datetime:
        """Return when it was started."""
        return datetime.fromisoformat(self.about["created"])

    @property
    def objects(self) -> Path:
        """Return where the objects of its embedded AWS lie."""
        return self.path / "aws" / "objects"

    @property
    def output(self) -> tuple[str, str]:
        """Return the folder and the name of its output, placeholders as they were given."""
        return self.about["output_directory"], self.about["request"]["output_s3_uri"]

    def why_foreign(self) -> str | None:
        """Return why the folder is not to be opened; None if this user has made it."""
        try:
            return why_foreign(self.path, self.about)
        except (OSError, ValueError, AttributeError):
            return "its run.json cannot be read"

    def outcome(self) -> Outcome | None:
        """Return how it ended, if that was written down."""
        try:
            return from_json(json.loads((self.path / "ended.json").read_text()))
        except FileNotFoundError:
            return None

    def status(self) -> str:
        """Return RUNNING, or how the execution ended; ABORTED if its process ended before it."""
        if (outcome := self.outcome()) is None:
            self.lock.await_orphans()
            outcome = self.outcome()  # which may have been written meanwhile
        return outcome.status if outcome else "RUNNING" if self._live() or self.lock.is_held() else "ABORTED"

    def listed(self) -> ListedRun:
        """Return its line in the list of runs."""
        status, outcome = self.status(), self.outcome()
        stopped = self.created + timedelta(seconds=outcome.seconds) if outcome else None
        return ListedRun(self.name, status, self.created, stopped, as_json(outcome) if outcome else None)

    @property
    def is_unfinished(self) -> bool:
        """Whether it is over without an output, so that its finished chunks are of use."""
        return self.status() not in {"RUNNING", "SUCCEEDED"}

    def settle(self) -> None:
        """Write down the end of a run whose process could not do it, and delete the copies that it has left."""
        if self.status() == "RUNNING" or self.outcome():
            return
        written = max((path.stat().st_mtime for path in self.path.rglob("*") if path.is_file()), default=0.0)
        seconds = round(max(0.0, written - self.created.timestamp()), 3)
        if self.outcome() is None:  # its process may have been about to write it
            self._end(Failed(status="ABORTED", error=INTERRUPTED, cause="its process was killed", seconds=seconds, name=self.name))

    def local_paths(self) -> dict[Path, str]:
        """Return the run's local files with their URIs in its embedded AWS; its output is one of them, published or not."""
        output, _, name = str(self.about["request"].get("output_s3_uri", "")).rpartition("/")
        outcome = self.outcome()
        places = (outcome.output, outcome.report, outcome.rejected) if isinstance(outcome, Published) else ()
        written = [Path(self.about["output_directory"], name)] if name else []
        written += [Path(place) for place in places if place]
        uris = {**self.prepared.uploads, **{path: f"{output}/{path.name}" for path in written}}
        here = Path.cwd()
        return {path.relative_to(here) if path.is_relative_to(here) else path: uri for path, uri in uris.items()}

    @contextmanager
    def opened(self) -> Iterator[LocalAws]:
        """Reach the run's embedded AWS if it is up, or else bring it up as it was at its end."""
        deadline = time.monotonic() + BEGIN_SECONDS
        while not (live := self._live()) and not self.outcome() and self.lock.is_held() and time.monotonic() < deadline:
            time.sleep(0.1)
        if live:
            yield live
            return
        self.settle()
        try:
            with self._serving() as aws:
                yield aws
        finally:
            kept_work.delete(self.objects, kept_work.COPIES)

    def run(self, aws: LocalAws) -> Run:
        """Return the run as its embedded AWS knows it, ended as it ended here."""
        return _RunHere(aws, self)

    def execute(self, watcher: Watcher = UNWATCHED) -> Outcome:
        """Do the whole run in this process, and keep how it ended; RunInterrupted if the process is told to stop."""
        began = self.created
        result: Outcome = Failed(status="ABORTED", error=INTERRUPTED, cause="its process was ended", name=self.name)
        try:
            with ExitStack() as stack:
                with watcher.step("Local AWS", "starting") as concluded:
                    aws = stack.enter_context(self._serving())
                    concluded(aws.endpoint_url)
                with watcher.step("Upload", self.prepared.upload_summary()):
                    upload(aws, self.prepared)
                began = datetime.now(UTC)
                execution_arn = start(aws, self.prepared, self.name)
                try:
                    result = conclude(aws, self.prepared, execution_arn, watcher)
                except KeyboardInterrupt as error:
                    with suppress(BatchPredictError, BotoCoreError, ClientError):  # over already, or the local AWS with it
                        Run(aws, execution_arn).cancel(stopped_by(error), INTERRUPTED)
                        if counts := count_chunks(aws.client("stepfunctions"), execution_arn):
                            watcher.show(counts)
                    result = replace(result, seconds=_seconds_since(began))
                    raise
        except BatchPredictError as error:
            result = Failed(error=type(error).__name__, cause=str(error), name=self.name)
            raise
        except KeyboardInterrupt as error:
            if not isinstance(result, Failed):
                raise  # the run had ended; its local AWS was being stopped
            result = replace(result, cause=stopped_by(error), seconds=result.seconds or _seconds_since(began))
            if self.prepared.is_dry_run:
                raise  # no run is kept
            raise RunInterrupted(self._how_to_go_on(), result) from error
        finally:
            self._end(result)
        return result

    def detach(self) -> None:
        """Do the whole run in a process of its own, and return when its execution has started."""
        log_file = self.path / "process.log"
        with log_file.open("wb") as log:
            command = [sys.executable, "-m", "batch_predict.local.detached", str(self.path.absolute())]
            process = subprocess.Popen(  # noqa: S603  # this Python, on our own folder
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + BEGIN_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                if self.outcome():
                    return  # already
                raise BatchPredictError(f"run {self.name} did not begin: {log_file.read_text()[-2000:].strip()}")
            if live := self._live():
                with suppress(BatchPredictError):
                    find_run(live, self.name)
                    return
            time.sleep(0.1)
        raise BatchPredictError(f"run {self.name} has not begun within {BEGIN_SECONDS} s: see {log_file}")

    def begin_again(self) -> None:
        """Keep nothing but the objects: another run takes the name of this one, and with it its place."""
        shutil.rmtree(self.path / "aws" / "state", ignore_errors=True)
        for name in ("ended.json", "live.json", "aws.log", "process.log"):
            (self.path / name).unlink(missing_ok=True)
        kept_work.delete(self.objects, kept_work.ERROR_RECORDS)

    @contextmanager
    def _serving(self) -> Iterator[LocalAws]:
        """Run the embedded AWS of this run, and leave its address in the folder for other processes."""
        tolerates = bool(self.about["request"].get("tolerated_failure_percentage"))
        with (
            self.lock.held() as lock,
            local_aws(state_directory=self.path / "aws", log_file=self.path / "aws.log", tolerates=tolerates, lock=lock) as aws,
        ):
            live = self.path / "live.json"
            write_json(live, asdict(aws))
            try:
                yield aws
            finally:
                live.unlink(missing_ok=True)

    def _live(self) -> LocalAws | None:
        """Return the run's embedded AWS if it is up: on this machine, and the one that the folder was written by."""
        with suppress(OSError, ValueError, TypeError, AttributeError):
            aws = LocalAws(**json.loads((self.path / "live.json").read_text()))
            if aws.is_up():
                return aws
        return None

    def _how_to_go_on(self) -> str:
        number = kept_work.finished_chunks(self.objects)
        again = f"goes on from its {plural(number, 'finished chunk')}" if number else "starts again, as no chunk was finished"
        return f"Run {self.name} is over: the same command {again}. See also `batch-predict explain {self.name}`."

    def _end(self, outcome: Outcome) -> None:
        write_json(self.path / "ended.json", as_json(outcome))
        kept_work.delete(self.objects, kept_work.COPIES)


class _RunHere(Run):
    """A run on this machine. If its process was stopped, or could not bring the output here, that is how it ended."""

    def __init__(self, aws: LocalAws, kept: KeptRun) -> None:
        super().__init__(aws, f"{aws.state_machine_arn.replace(':stateMachine:', ':execution:')}:{kept.name}")
        self._kept = kept

    def describe(self) -> Mapping[str, Any]:
        """Return what Step Functions says of the execution, as far as it says how the run ended."""
        outcome = self._kept.outcome()
        if not outcome:
            return super().describe()
        try:
            known = super().describe()
        except BatchPredictError:  # ended before its execution began, or killed with its embedded AWS
            known = {"name": self.name, "startDate": self._kept.created, "input": json.dumps(self._kept.about["request"])}
        error, cause = (outcome.error, outcome.cause) if isinstance(outcome, Failed) else (None, None)
        said = (known.get("status"), known.get("error") or known.get("status"))
        if said == (outcome.status, error or outcome.status):
            return known
        stopped = known["startDate"] + timedelta(seconds=outcome.seconds)
        return {**known, "status": outcome.status, "error": error, "cause": cause, "stopDate": stopped}

    def history(self) -> History:
        """Return the history so far; none if the execution never began."""
        try:
            return super().history()
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionDoesNotExist" or not self._kept.outcome():
                raise
        return History()


def _seconds_since(moment: datetime) -> float:
    return round((datetime.now(UTC) - moment).total_seconds(), 3)


def write_json(path: Path, value: Any) -> None:
    """Write a whole file or none: others may read it at any time."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    write_private(temporary, json.dumps(value, default=str).encode())
    temporary.replace(path)
