"""The one door to what is deployed: the stack's files, the workflow's modules and the prediction handler.

A module of the workflow is loaded when it is first used, as `deployed.errors`: its libraries take long to import.
"""

import importlib
import importlib.util
import json
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import yaml

from batch_predict.errors import BatchPredictError

if TYPE_CHECKING:
    from workflow import (
        accounting,
        chunking,
        csv_dialect,
        csv_records,
        data_names,
        distributions,
        errors,
        estimate,
        formats,
        header_mistakes,
        inputs,
        lambda_limits,
        limits,
        prices,
        report,
        schema,
        sizing,
    )

# Modules of the workflow.
__all__ = [
    "accounting",
    "chunking",
    "csv_dialect",
    "csv_records",
    "data_names",
    "distributions",
    "errors",
    "estimate",
    "formats",
    "header_mistakes",
    "inputs",
    "lambda_limits",
    "limits",
    "prices",
    "report",
    "schema",
    "sizing",
]

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


def __getattr__(name: str) -> ModuleType:
    """Import a module of the workflow's functions, such as ``errors``."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _WORKFLOW not in sys.modules:
        _load(_WORKFLOW, stack_directory() / "functions" / "workflow" / "__init__.py")
    return importlib.import_module(f"{_WORKFLOW}.{name}")


def prediction_handler() -> ModuleType:
    """Load the prediction handler anew, as its S3 client is one stack's, under the name that models may have been pickled by."""
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
