"""Rewrites the definition for AWS Step Functions Local, which knows no Distributed Map.

    python -m tools.stepfunctions_local [FILE]

Prints the definition after the rewriting; docs/definition.md says what changes, and how to run it.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

JsonObject = dict[str, Any]

ROOT = Path(__file__).parents[1]

INLINE = {
    "ItemsPath": "$.plan.items",  # an inline Map reads nothing from S3, so its items must be in the document
    "MaxConcurrency": 2,  # it runs on somebody's machine
}
DISTRIBUTED_ONLY = ("Label", "ItemReader", "ResultWriter", "MaxConcurrencyPath", "ToleratedFailurePercentagePath")


def rewritten(definition: JsonObject) -> JsonObject:
    """Return the definition with its Distributed Map as an inline one; all other states stay as they are."""
    return {**definition, "States": {name: _inline(state) for name, state in definition["States"].items()}}


def _inline(state: JsonObject) -> JsonObject:
    if state["Type"] != "Map":
        return state
    kept = {field: value for field, value in state.items() if field not in DISTRIBUTED_ONLY}
    return {**kept, **INLINE, "ItemProcessor": {**state["ItemProcessor"], "ProcessorConfig": {"Mode": "INLINE"}}}


def main(arguments: list[str] | None = None) -> int:
    """Print the rewritten definition."""
    parser = argparse.ArgumentParser(prog="python -m tools.stepfunctions_local", description="Rewrite for Step Functions Local.")
    parser.add_argument("file", nargs="?", type=Path, default=ROOT / "statemachine/batch_prediction.asl.json")
    file = parser.parse_args(arguments).file
    try:
        definition = rewritten(json.loads(file.read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        parser.error(f"{file} cannot be rewritten ({error!r}): python -m tools.check_definition says what is wrong with it")
    sys.stdout.write(json.dumps(definition, indent=2, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
