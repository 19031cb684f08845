"""Where runs happen: on this machine, each on an embedded AWS of its own, or on a deployed stack.

The command line and `BatchPredictor` are both written on these two, which do the same.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from batch_predict.errors import BatchPredictError
from batch_predict.local.kept_runs import KeptRuns
from batch_predict.runs.execution import UNWATCHED, Watcher
from batch_predict.runs.outcome import Outcome, conclude, start
from batch_predict.runs.prepared_request import PreparedRequest, prepare
from batch_predict.runs.run import ListedRun, Run, find_run, list_runs
from batch_predict.runs.stack import DeployedStack, aws_troubles, find_stack
from batch_predict.runs.transfer import upload


class ThisMachine:
    """Runs on this machine, kept in `.batch-predict/`."""

    def __init__(self, home: Path | None = None) -> None:
        self.kept_runs = KeptRuns(home)

    def prepare(self, request: Mapping[str, Any]) -> PreparedRequest:
        """Check a request whose URIs are local paths."""
        return prepare(request)

    def run(self, prepared: PreparedRequest, name: str | None = None, watcher: Watcher = UNWATCHED) -> Outcome:
        """Run on an embedded AWS that lives as long as the run; nothing is kept of a dry run, whose plan is its result."""
        kept = self.kept_runs.create(prepared, name)
        try:
            return self.kept_runs.execute(kept, watcher)
        finally:
            if prepared.is_dry_run:
                shutil.rmtree(kept.path, ignore_errors=True)

    def submit(self, prepared: PreparedRequest, name: str | None = None) -> str:
        """Run in a process of its own; return the run's name."""
        kept = self.kept_runs.create(prepared, name)
        kept.detach()
        return kept.name

    @contextmanager
    def opened(self, name: str | None) -> Iterator[tuple[Run, Mapping[Path, str]]]:
        """Find a run, by default the newest, and yield it with its local files and their URIs."""
        kept = self.kept_runs.get(name) if name is not None else next(iter(self.kept_runs.all()), None)
        if kept is None:
            raise BatchPredictError(
                f"there are no runs in {self.kept_runs.home}/: name the stack with --stack, or begin with `batch-predict run`"
            )
        with kept.opened() as aws, aws_troubles(aws):
            yield kept.run(aws), kept.local_paths()

    def runs(self, limit: int) -> Sequence[ListedRun]:
        """Return the newest runs that are kept, newest first."""
        return [kept.listed() for kept in self.kept_runs.all()[:limit]]


class OnStack:
    """Runs on a stack on AWS."""

    def __init__(self, stack: DeployedStack) -> None:
        self.stack = stack

    def prepare(self, request: Mapping[str, Any]) -> PreparedRequest:
        """Check a request whose URIs may be local paths, too."""
        return prepare(request, self.stack)

    def run(
        self,
        prepared: PreparedRequest,
        name: str | None = None,
        watcher: Watcher = UNWATCHED,
        interrupted: Callable[[Run], None] = lambda _: None,
    ) -> Outcome:
        """Upload, execute, and download; after Ctrl-C, ``interrupted`` decides what happens to the execution."""
        with watcher.step("Upload", prepared.upload_summary()):
            upload(self.stack, prepared)
        execution_arn = start(self.stack, prepared, name)
        try:
            return conclude(self.stack, prepared, execution_arn, watcher)
        except KeyboardInterrupt:
            interrupted(Run(self.stack, execution_arn))
            raise

    def submit(self, prepared: PreparedRequest, name: str | None = None) -> str:
        """Upload and start: the execution does not need this process. Return the run's name."""
        upload(self.stack, prepared)
        return start(self.stack, prepared, name).rpartition(":")[2]

    @contextmanager
    def opened(self, name: str | None) -> Iterator[tuple[Run, Mapping[Path, str]]]:
        """Find a run, by default the newest; no local files belong to it."""
        with aws_troubles(self.stack):
            newest = list_runs(self.stack, 1) if name is None else []
            if name is None and not newest:
                raise BatchPredictError(f"{self.stack.title} has no runs yet")
            yield find_run(self.stack, name or newest[0].name), {}

    def runs(self, limit: int) -> Sequence[ListedRun]:
        """Return the newest executions, newest first."""
        with aws_troubles(self.stack):
            return list_runs(self.stack, limit)


def place_of(stack: str | None, profile: str | None = None, region: str | None = None) -> ThisMachine | OnStack:
    """Return the deployed stack of this name, or this machine."""
    if stack is None:
        if profile or region:
            raise BatchPredictError("--profile and --region go with --stack")
        return ThisMachine()
    return OnStack(find_stack(stack, profile=profile, region=region))
