"""The one door to what is deployed: the stack's files, the workflow's modules and the prediction handler.

What this package knows of requests, errors, prices and statistics is read from the very files that run on AWS.
"""

import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from batch_predict.errors import BatchPredictError

HANDLER = "prediction_handler"
_WORKFLOW = "batch_predict.deployed_workflow"
"""The name under which the package `functions/workflow` is imported here: its own could be a user's."""


def stack_directory() -> Path:
    """Return where `template.yaml` and its files are: `stack/` in an installed package, or the checkout around it."""
    package = Path(__file__).parent
    for directory in (package / "stack", package.parent):
        if (directory / "template.yaml").is_file():
            return directory
    raise BatchPredictError(
        f"no template.yaml in {package / 'stack'} or {package.parent}; install batch-predict again, or run a checkout"
    )


def workflow_module(name: str) -> ModuleType:
    """Import a module of the workflow's functions, such as ``errors``."""
    if _WORKFLOW not in sys.modules:
        _load(_WORKFLOW, stack_directory() / "functions" / "workflow" / "__init__.py")
    return importlib.import_module(f"{_WORKFLOW}.{name}")


def prediction_handler() -> ModuleType:
    """Load the prediction handler anew, under its own name.

    Anew, because its S3 client belongs to one stack; under its own name, because a model may have been pickled against it.
    """
    return _load(HANDLER, stack_directory() / "functions" / "predict" / f"{HANDLER}.py")


def _load(name: str, path: Path) -> ModuleType:
    folders = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=folders)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where its dataclasses and its submodules look for it
    spec.loader.exec_module(module)
    return module


@cache
def request_schema() -> dict[str, Any]:
    """Return the only description of the request."""
    schema: dict[str, Any] = json.loads((stack_directory() / "functions/workflow/request.schema.json").read_text())
    return schema


@cache
def template_parameters() -> dict[str, dict[str, Any]]:
    """Return the template's parameters: their descriptions, patterns, bounds and defaults."""
    text = (stack_directory() / "template.yaml").read_text(encoding="utf-8")
    section = re.search(r"^Parameters:\n(?: .*\n|\n)+", text, re.MULTILINE)  # reading all of it takes every command 0.1 s
    assert section
    found: dict[str, dict[str, Any]] = yaml.safe_load(section[0])["Parameters"]
    return found


def deployed_memory_mb() -> int:
    """Return the prediction function's memory, unless the stack is deployed with another."""
    return int(template_parameters()["PredictMemorySize"]["Default"])


def request_problems(request: object) -> list[str]:
    """Return a sentence for each way in which a request breaks its schema, as Validate Request would say it."""
    return list(workflow_module("schema").problems(request, request_schema()))


def split_advice(error: str, cause: str) -> tuple[str, str | None]:
    """Return what an execution's cause says of what happened, and what to do: about just that, or else about such an error."""
    errors = workflow_module("errors")
    what, own = errors.split_advice(cause)
    return what, own or errors.ADVICE.get(error)


def is_hidden(path: str) -> bool:
    """Whether a file, with its folders below what was named, is no data to the workflow, whatever is in it."""
    return bool(workflow_module("data_names").is_hidden(path))


def other_format(name: str) -> str | None:
    """Return the end of a name that promises another format than the CSV that is written."""
    ending: str | None = workflow_module("data_names").other_format(name)
    return ending


def record_stops(data: bytes) -> Iterator[int]:
    """Yield where each record of a CSV file's bytes stops, its line end included."""
    stops: Iterator[int] = workflow_module("csv_records").record_stops(data)
    return stops


def natural_order(path: str) -> str:
    """Return a sort key that puts part-2 before part-10, as the workflow does with the objects under a prefix."""
    return str(workflow_module("data_names").natural_order(path))
