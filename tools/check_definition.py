"""Checks the state machine's definition, which `sam validate --lint` and cfn-lint on the template do not open.

    python -m tools.check_definition [FILE]

Prints each problem as `state: problem` and exits 1; docs/definition.md says what is checked.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from tools.state_rules import Stack, own_problems
from tools.state_schema import parsed, schema_problems
from tools.states import DEFINITION, Problem, all_states

ROOT = Path(__file__).parents[1]


def stack_of(directory: Path) -> Stack:
    """Return the stack whose template is in a directory."""
    return Stack(yaml_parse((directory / "template.yaml").read_text()), directory)


def definition_file(stack: Stack) -> Path:
    """Return the file that the template names."""
    return stack.directory / str(stack.template["Resources"]["StateMachine"]["Properties"]["DefinitionUri"])


def problems_of(text: str, stack: Stack) -> list[Problem]:
    """Return what is wrong with a definition, as it is written in its file; the rules look only at what fits the schema."""
    try:
        definition = parsed(text)
    except ValueError as error:
        return [Problem(DEFINITION, str(error))]
    return schema_problems(definition) or own_problems(text, definition, stack)


def main(arguments: list[str] | None = None) -> int:
    """Check one file, the template's own unless another is named."""
    parser = argparse.ArgumentParser(prog="python -m tools.check_definition", description="Check the state machine's definition.")
    parser.add_argument("file", metavar="FILE", nargs="?", type=Path, help="the one that template.yaml names unless given")
    stack = stack_of(ROOT)
    file = parser.parse_args(arguments).file or definition_file(stack)
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"cannot read {file}: {error}")
    problems = problems_of(text, stack)
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{file.name}: {len(all_states(parsed(text)))} states, no problem")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
