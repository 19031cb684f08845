"""What the command line knows of a request and of errors: read from the very files that are deployed."""

import importlib.util
import json
import sys
from functools import cache
from types import ModuleType
from typing import Any

from batch_predict.deploy import stack_directory


@cache
def request_schema() -> dict[str, Any]:
    """Return the only description of the request."""
    schema: dict[str, Any] = json.loads((stack_directory() / "functions/workflow/request.schema.json").read_text())
    return schema


def request_problems(request: object) -> list[str]:
    """Return a sentence for each way in which a request breaks its schema, as Validate Request would say it."""
    return list(_workflow_module("schema").problems(request, request_schema()))


def advice(error: str) -> str | None:
    """Return what to do about an error that an execution ended with; None where nobody knows."""
    found: str | None = _workflow_module("errors").ADVICE.get(error)
    return found


@cache
def _workflow_module(name: str) -> ModuleType:
    """Load one of the workflow functions' own modules by its file: they are deployed flat, and no package holds them.

    What it imports of its neighbours is found beside it, and forgotten: their names are too plain for a process of somebody else's.
    """
    directory = stack_directory() / "functions" / "workflow"
    spec = importlib.util.spec_from_file_location(f"batch_predict_workflow_{name}", directory / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    known = set(sys.modules)
    sys.path.insert(0, str(directory))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(directory))
        for neighbour in {path.stem for path in directory.glob("*.py")} - known:
            sys.modules.pop(neighbour, None)
    return module
