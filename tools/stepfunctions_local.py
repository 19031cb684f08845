"""Rewrites the definition for AWS Step Functions Local, which knows no Distributed Map.

    python -m tools.stepfunctions_local [--legacy] [--before-2023-09] [FILE]

Prints the definition after the rewriting; docs/definition.md says what changes, and how to run it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

JsonObject = dict[str, Any]

ROOT = Path(__file__).parents[1]

ITEMS_PATH = "$.plan.items"
"""Where the plan's items must be: an inline Map reads none from S3."""
CONCURRENCY = 2
"""Chunks at once. Step Functions Local runs on somebody's machine."""


class Rewriting(NamedTuple):
    """One change of each state of a Type, and what for."""

    state_type: str
    fields: str
    becomes: str
    reason: str
    option: str
    """Of the command; none where it is always done."""
    apply: Callable[[JsonObject], JsonObject]


def replaced(old: str, new: str, value: object) -> Callable[[JsonObject], JsonObject]:
    """Put another field in the place of one."""
    return lambda state: dict((new, value) if field == old else (field, there) for field, there in state.items())


def renamed(old: str, new: str) -> Callable[[JsonObject], JsonObject]:
    """Give a field another name, in its place."""
    return lambda state: {new if field == old else field: there for field, there in state.items()}


def without(*fields: str) -> Callable[[JsonObject], JsonObject]:
    """Leave fields out."""
    return lambda state: {field: there for field, there in state.items() if field not in fields}


def within(field: str, change: Callable[[JsonObject], JsonObject]) -> Callable[[JsonObject], JsonObject]:
    """Change the object, or each of the objects, of a field."""

    def changed(state: JsonObject) -> JsonObject:
        value = state[field]
        return {**state, field: [change(item) for item in value] if isinstance(value, list) else change(value)}

    return changed


INLINE = {"Mode": "INLINE"}

REWRITINGS = (
    Rewriting(
        "Map",
        "ItemReader",
        f'`"ItemsPath": "{ITEMS_PATH}"`',
        "an inline Map has its items in the document",
        "",
        replaced("ItemReader", "ItemsPath", ITEMS_PATH),
    ),
    Rewriting("Map", "ResultWriter", "gone", "an inline Map's results are its state's", "", without("ResultWriter")),
    Rewriting(
        "Map",
        "ProcessorConfig",
        f"`{json.dumps(INLINE)}`",
        "there are no child executions",
        "",
        within("ItemProcessor", replaced("ProcessorConfig", "ProcessorConfig", INLINE)),
    ),
    Rewriting("Map", "Label", "gone", "it is of a Map Run's ARN", "", without("Label")),
    Rewriting(
        "Map",
        "MaxConcurrencyPath",
        f'`"MaxConcurrency": {CONCURRENCY}`',
        "it came with the Distributed Map",
        "",
        replaced("MaxConcurrencyPath", "MaxConcurrency", CONCURRENCY),
    ),
    Rewriting(
        "Map",
        "ToleratedFailurePercentagePath",
        "gone",
        "an inline Map tolerates nothing: the first lost chunk ends it",
        "",
        without("ToleratedFailurePercentagePath"),
    ),
    Rewriting("Map", "ItemSelector", "`Parameters`", "its name before 1.12", "--legacy", renamed("ItemSelector", "Parameters")),
    Rewriting("Map", "ItemProcessor", "`Iterator`", "its name before 1.12", "--legacy", renamed("ItemProcessor", "Iterator")),
    Rewriting("Map", "ProcessorConfig", "gone", "an Iterator has none", "--legacy", within("Iterator", without("ProcessorConfig"))),
    Rewriting(
        "Fail",
        "ErrorPath, CausePath",
        "gone",
        "they came in September 2023",
        "--before-2023-09",
        without("ErrorPath", "CausePath"),
    ),
    Rewriting(
        "Task",
        "Retry: MaxDelaySeconds, JitterStrategy",
        "gone",
        "they came in September 2023",
        "--before-2023-09",
        within("Retry", without("MaxDelaySeconds", "JitterStrategy")),
    ),
)


def rewritten(definition: JsonObject, *options: str) -> JsonObject:
    """Return the definition as Step Functions Local takes it, by all rewritings of these options."""

    def of_state(state: JsonObject) -> JsonObject:
        if state["Type"] == "Map":
            state = {**state, "ItemProcessor": of_machine(state["ItemProcessor"])}
        for rewriting in REWRITINGS:
            if rewriting.state_type == state["Type"] and rewriting.option in ("", *options):
                state = rewriting.apply(state)
        return state

    def of_machine(machine: JsonObject) -> JsonObject:
        return {**machine, "States": {name: of_state(state) for name, state in machine["States"].items()}}

    return of_machine(definition)


def text_of(definition: JsonObject) -> str:
    """Return a definition as its file has it."""
    return json.dumps(definition, indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Print the rewritten definition."""
    parser = argparse.ArgumentParser(prog="python -m tools.stepfunctions_local", description="Rewrite for Step Functions Local.")
    parser.add_argument("--legacy", action="store_true", help="for engines before 1.12, which know no ItemProcessor")
    parser.add_argument("--before-2023-09", action="store_true", help="for engines before September 2023, which know no ErrorPath")
    parser.add_argument("file", nargs="?", type=Path, default=ROOT / "statemachine/batch_prediction.asl.json")
    given = parser.parse_args(arguments)
    options = [option for option, wanted in (("--legacy", given.legacy), ("--before-2023-09", given.before_2023_09)) if wanted]
    try:
        definition = json.loads(given.file.read_text())
        sys.stdout.write(text_of(rewritten(definition, *options)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        parser.error(f"{given.file} cannot be rewritten ({error!r}): python -m tools.check_definition says what is wrong with it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
