"""The runs on this machine that can be looked at when they are over: `.batch-predict/` in the current directory.

A run that failed or was stopped keeps its finished chunks until the same request has published: its next run shares them.
"""

import hashlib
import json
import os
import re
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from batch_predict.errors import BatchPredictError, file_troubles
from batch_predict.local import kept_work
from batch_predict.local.kept_run import KeptRun, write_json
from batch_predict.local.own_folders import FOLDER_MODE, mark_of, why_not_ours
from batch_predict.runs.execution import UNWATCHED, Watcher
from batch_predict.runs.outcome import Outcome, Published
from batch_predict.runs.prepared_request import PreparedRequest, sha256_of

HOME_VARIABLE = "BATCH_PREDICT_HOME"
HOME = Path(".batch-predict")
KEPT_RUNS = 20
"""Older ones that are over are deleted when another begins."""
KEPT_WORK = 3
"""Requests that failed or were stopped, the newest, whose finished chunks are kept for their next run."""
NOT_DECIDING = {
    *("overwrite", "keep_work", "dry_run", "strict", "model_sha256"),
    *("max_concurrency", "tolerated_failure_percentage"),
}
"""Fields of a request that its finished chunks do not depend on. This only finds chunks; by their
identity, the workflow decides which of them a run may use."""


class KeptRuns:
    """All runs that are kept here."""

    def __init__(self, home: Path | None = None) -> None:
        self.home = home or Path(os.environ.get(HOME_VARIABLE) or HOME)

    def create(self, prepared: PreparedRequest, name: str | None = None) -> KeptRun:
        """Make the folder of a new run, with the finished chunks of the request's newest run, if that is over without an output.

        Deletes what is beyond `KEPT_RUNS` and `KEPT_WORK`. BatchPredictError if the name is taken, unless this run goes on with it.
        """
        self._require_ours()
        digest = _digest(prepared)
        earlier = self._unfinished(digest)
        path = self.home / (name or self._new_name(prepared))
        if earlier and earlier.name == name:
            earlier.begin_again()
        else:
            _make_folder(path)
            if earlier:
                kept_work.share(earlier.objects, KeptRun(path).objects)
        with suppress(FileExistsError):
            (self.home / ".gitignore").write_text("*\n")
        about = {
            "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request": dict(prepared.request),
            "uploads": {str(file.absolute()): uri for file, uri in prepared.uploads.items()},
            "output_directory": str((prepared.output_directory or Path()).absolute()),
            "manifest_s3_uri": prepared.manifest_s3_uri,
            "manifest": prepared.manifest,
            "digest": digest,
        }
        write_json(path / "run.json", about | {"mark": mark_of(path.name, about)})
        self._clean_up()
        created = KeptRun(path)
        created.prepared = prepared
        return created

    def execute(self, run: KeptRun, watcher: Watcher = UNWATCHED) -> Outcome:
        """Do a whole run in this process; when it has published, delete what is no longer needed."""
        outcome = run.execute(watcher)
        if isinstance(outcome, Published):
            self._forget_work(run, outcome)
        return outcome

    def _forget_work(self, run: KeptRun, published: Published) -> None:
        """Delete the run's copy of the output, and the parts of all runs for that output."""
        kept_work.delete(run.objects, re.compile(rf"output/{re.escape(Path(published.output).name)}\Z"))
        if not run.about["request"].get("keep_work"):
            kept_work.delete(run.objects, kept_work.PARTS)
        for other in self.all():
            if other.name != run.name and other.output == run.output and other.is_unfinished:
                kept_work.delete(other.objects, kept_work.PARTS)

    def _unfinished(self, digest: str) -> KeptRun | None:
        """Return the newest run of a request, if it is over without an output."""
        runs = (run for run in self.all() if run.about.get("digest") == digest)
        newest = next((run for run in runs if run.status() != "RUNNING"), None)
        if newest is None or not newest.is_unfinished:
            return None
        newest.settle()
        return newest

    def _clean_up(self) -> None:
        requests: set[str] = set()
        for number, run in enumerate(self.all()):
            if run.status() == "RUNNING":
                continue
            if number >= KEPT_RUNS:
                shutil.rmtree(run.path, ignore_errors=True)
            elif number:  # the first is the one that begins now
                run.settle()
                if run.is_unfinished:
                    requests.add(run.about.get("digest", run.name))
                    if len(requests) > KEPT_WORK:
                        kept_work.delete(run.objects, kept_work.PARTS)

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
        """Return the run of this name; BatchPredictError if there is none, or this user has not made it."""
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
        """Raise BatchPredictError if another user could put runs here."""
        with suppress(OSError):  # what is to be done there says why it cannot be
            if reason := why_not_ours(self.home.resolve(strict=True)):
                raise BatchPredictError(f"{self.home} is left alone: {reason}; set {HOME_VARIABLE} to a folder of your own")

    def _new_name(self, prepared: PreparedRequest) -> str:
        """Return a name that says what and when: an execution may have 80 of these characters."""
        output = str(prepared.request["output_s3_uri"]).rpartition("/")[2].partition(".")[0]
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", output).strip("-")[:40] or "run"
        start = f"{stem}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
        names = (start, *(f"{start}-{number}" for number in range(2, 1000)))
        return next(name for name in names if not (self.home / name).exists())


def _digest(prepared: PreparedRequest) -> str:
    """Return a SHA-256 of all that decides the finished chunks of a request, the contents of its files included."""
    with file_troubles("read"):
        files = [(uri, sha256_of(path)) for path, uri in prepared.uploads.items()]
    request = {field: value for field, value in prepared.request.items() if field not in NOT_DECIDING}
    place = str((prepared.output_directory or Path()).absolute())
    return hashlib.sha256(json.dumps([request, place, files], sort_keys=True).encode()).hexdigest()


def _make_folder(path: Path) -> None:
    """Make a run's folder, and the one around it if it is missing: only this user can read them."""
    if path.exists():
        raise BatchPredictError(f"there is a run {path.name} already: choose another name")
    try:
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        path.mkdir(mode=FOLDER_MODE)
    except OSError as error:
        raise BatchPredictError(
            f"{path} cannot be created: {error.strerror}; set {HOME_VARIABLE} to a folder that you can write to"
        ) from error
