"""Where runs happen: on this machine, each on an embedded AWS of its own, or on a deployed stack.

The command line and `BatchPredictor` are both written on these two, which do the same.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from batch_predict.errors import BatchPredictError
from batch_predict.local.kept_runs import KeptRuns
from batch_predict.runs.execution import Progress
from batch_predict.runs.prepared_request import (
    PreparedRequest,
    RunResult,
    conclude,
    megabytes_of,
    prepare,
    prepare_for,
    start,
    upload,
)
from batch_predict.runs.run import Run, aws_troubles, find_run, list_runs
from batch_predict.runs.stack import DeployedStack, find_stack

Show = Callable[[Progress], None]
Step = Callable[[str, str], AbstractContextManager[Callable[[str], None]]]
"""Surrounds what happens outside the execution: its name, and what it does; takes what came of it."""


def no_show(_: Progress) -> None:
    """Show nothing of an execution."""


def no_step(_name: str, _doing: str) -> AbstractContextManager[Callable[[str], None]]:
    """Show nothing of what happens outside it."""
    return nullcontext(lambda _: None)


class Place(Protocol):
    """What can be done at either place. All raise BatchPredictError with a sentence for people."""

    def prepare(self, request: Mapping[str, Any]) -> PreparedRequest:
        """Check a request and its local files."""

    def run(self, local_run: PreparedRequest, name: str | None = None, show: Show = no_show, step: Step = no_step) -> RunResult:
        """Run to the end, and bring the output here where it is wanted here."""

    def submit(self, local_run: PreparedRequest, name: str | None = None) -> str:
        """Start a run, leave it to itself, and return its name."""

    def opened(self, name: str | None) -> AbstractContextManager[tuple[Run, Mapping[Path, str]]]:
        """Find a run, by default the newest, and yield it with the local files that belong to it, by their URIs."""

    def runs(self, limit: int) -> Sequence[Any]:
        """Return the newest runs, newest first: each with `name`, `status` and `started`."""


class ThisMachine:
    """Runs on this machine, kept in `.batch-predict/`."""

    def __init__(self, home: Path | None = None) -> None:
        self.local_runs = KeptRuns(home)

    def prepare(self, request: Mapping[str, Any]) -> PreparedRequest:
        """Check a request whose URIs are local paths."""
        return prepare(request)

    def run(self, local_run: PreparedRequest, name: str | None = None, show: Show = no_show, step: Step = no_step) -> RunResult:
        """Run on an embedded AWS that lives as long as the run; nothing is kept of a dry run, whose plan is its result."""
        directory = self.local_runs.create(local_run, name)
        try:
            return directory.execute(show, step)
        finally:
            if local_run.request.get("dry_run"):
                shutil.rmtree(directory.path, ignore_errors=True)

    def submit(self, local_run: PreparedRequest, name: str | None = None) -> str:
        """Run in a process of its own."""
        directory = self.local_runs.create(local_run, name)
        directory.detach()
        return directory.name

    @contextmanager
    def opened(self, name: str | None) -> Iterator[tuple[Run, Mapping[Path, str]]]:
        """Find a run, by default the newest, and reach its embedded AWS."""
        if name is None and not self.local_runs.all():
            raise BatchPredictError(
                f"there are no runs in {self.local_runs.home}/: name the stack with --stack, or begin with `batch-predict run`"
            )
        directory = self.local_runs.get(name) if name is not None else self.local_runs.all()[0]
        with directory.opened() as aws, aws_troubles(aws):
            yield directory.run(aws), directory.local_paths()

    def runs(self, limit: int) -> Sequence[Any]:
        """Return the newest runs that are kept, newest first."""
        return [directory.status() for directory in self.local_runs.all()[:limit]]


class OnStack:
    """Runs on a stack on AWS."""

    def __init__(self, stack: DeployedStack) -> None:
        self.stack = stack

    def prepare(self, request: Mapping[str, Any]) -> PreparedRequest:
        """Check a request whose URIs may be local paths, too."""
        return prepare_for(self.stack, request)

    def run(
        self,
        local_run: PreparedRequest,
        name: str | None = None,
        show: Show = no_show,
        step: Step = no_step,
        interrupted: Callable[[Run], None] = lambda _: None,
    ) -> RunResult:
        """Upload, execute, and download; ``interrupted`` decides what becomes of the execution after Ctrl-C."""
        with step("Upload", megabytes_of(local_run)):
            upload(self.stack, local_run)
        execution_arn = start(self.stack, local_run, name)
        try:
            return conclude(self.stack, local_run, execution_arn, show)
        except KeyboardInterrupt:
            interrupted(Run(self.stack, execution_arn))
            raise

    def submit(self, local_run: PreparedRequest, name: str | None = None) -> str:
        """Upload and start: what goes on needs nobody here."""
        upload(self.stack, local_run)
        return start(self.stack, local_run, name).rpartition(":")[2]

    @contextmanager
    def opened(self, name: str | None) -> Iterator[tuple[Run, Mapping[Path, str]]]:
        """Find a run, by default the newest."""
        with aws_troubles(self.stack):
            if name is None:
                newest = list_runs(self.stack, 1)
                if not newest:
                    raise BatchPredictError(f"{self.stack.title} has no runs yet")
                name = newest[0].name
            yield find_run(self.stack, name), {}

    def runs(self, limit: int) -> Sequence[Any]:
        """Return the newest executions, newest first."""
        with aws_troubles(self.stack):
            return list_runs(self.stack, limit)


def place_of(stack: str | None, profile: str | None = None, region: str | None = None) -> ThisMachine | OnStack:
    """Return the deployed stack of this name, or this machine; BatchPredictError where there is no such stack."""
    if stack is None:
        if profile or region:
            raise BatchPredictError("--profile and --region go with --stack")
        return ThisMachine()
    return OnStack(find_stack(stack, profile=profile, region=region))
