"""The schema level of the check: JSON, and the JSON Schema of the Amazon States Language that cfn-lint brings.

cfn-lint applies it only to a definition that stands in the template, and lets a text pass for a number, as CloudFormation
does. Ours is a file that the template names, so it is held to the schema here, types and all.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import cfnlint.data.schemas.other.step_functions as cfnlint_schemas  # type: ignore[import-untyped]
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from tools.states import DEFINITION, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.states import JsonObject

SHOWN_NAMES = 4
"""Of the many fields of which one must be there."""

ANY_FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:any"


def parsed(text: str) -> JsonObject:
    """Return the definition; ValueError where it is no JSON object, or where an object has a key twice: the last one would win."""

    def unique(pairs: list[tuple[str, Any]]) -> JsonObject:
        found: JsonObject = {}
        for key, value in pairs:
            if key in found:
                raise ValueError(f"the key {key!r} stands twice in the object of {', '.join(dict(pairs))}")
            found[key] = value
        return found

    definition = json.loads(text, object_pairs_hook=unique)
    if not isinstance(definition, dict):
        raise ValueError("is no JSON object")  # noqa: TRY004 - as json.loads says what is no JSON
    return definition


def schema_problems(definition: JsonObject) -> list[Problem]:
    """Return where the definition, with an ARN in the place of each substitution, does not fit the schema."""
    substituted = json.loads(re.sub(r"\$\{\w+\}", ANY_FUNCTION, json.dumps(definition)))
    return sorted({problem_of(error) for error in _validator().iter_errors(substituted)})


def problem_of(error: ValidationError) -> Problem:
    """Return a problem of the innermost state, with the place within that state."""
    path = [str(step) for step in error.absolute_path]
    last = max((index for index, (step, _) in enumerate(pairwise(path)) if step == "States"), default=None)
    where, within = (DEFINITION, path) if last is None else (path[last + 1], path[last + 2 :])
    return Problem(where, f"{'.'.join(within)}: {error.message}" if within else error.message)


@cache
def _validator() -> Any:
    schema = json.loads((files(cfnlint_schemas) / "statemachine.json").read_text())
    definitions = schema["definitions"]
    definitions["common"] = {}  # which fields go with JSONata; the rules refuse all of its fields by name
    # Allowed in the language, refused by cfn-lint 1.58: https://states-language.net/#succeed-state
    definitions["succeed"]["properties"] |= {"InputPath": {"type": ["string", "null"]}, "OutputPath": {"type": ["string", "null"]}}
    # Refused by Step Functions, allowed by cfn-lint 1.58: fields that nobody knows, where its schema stays open; empty lists.
    for kind in ("task", "map"):
        retrier, catcher = (definitions[kind]["properties"][field]["items"] for field in ("Retry", "Catch"))
        retrier["properties"] |= {
            "Comment": {},
            "MaxDelaySeconds": {"type": "integer"},
            "JitterStrategy": {"enum": ["FULL", "NONE"]},
        }
        catcher["properties"] |= {"Comment": {}, "ResultPath": {"type": ["string", "null"]}}
        catcher["properties"]["ErrorEquals"]["minItems"] = 1
        retrier["additionalProperties"] = catcher["additionalProperties"] = False
    operator = definitions["choice"]["definitions"]["Operator"]
    operator["properties"] |= {"Comment": {}}
    operator["additionalProperties"] = False
    definitions["choice"]["properties"]["Choices"]["minItems"] = 1
    with_xor: Any = extend(Draft202012Validator, {"requiredXor": _required_xor})  # type: ignore[no-untyped-call]
    return with_xor(schema)


def _required_xor(_: Any, names: list[str], instance: Any, schema: JsonObject) -> Iterator[ValidationError]:  # noqa: ARG001
    """Apply cfn-lint's own keyword: exactly one of the fields must be there."""
    there = [name for name in names if isinstance(instance, dict) and name in instance]
    if isinstance(instance, dict) and len(there) != 1:
        shown = [*names[:SHOWN_NAMES], "…"] if len(names) > SHOWN_NAMES else names
        yield ValidationError(f"needs one of {', '.join(shown)}, but has {' and '.join(there) or 'none'}")
