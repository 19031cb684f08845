"""Checks a value against a JSON Schema, with all problems at once and sentences for people.

It interprets the keywords of `request.schema.json` (`x-expected` says a pattern in words), in which what is compared, by `enum` and
`uniqueItems`, is text alone. A test compares it with jsonschema.
"""

import difflib
import re
from collections.abc import Iterator
from operator import ge, gt, le
from typing import Any

from .utf8 import is_encodable, json_text

Schema = dict[str, Any]

_TYPE_NAMES = {
    "string": "a string",
    "array": "a list",
    "object": "an object",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
}


def problems(value: object, schema: Schema, name: str = "the request") -> Iterator[str]:
    """Yield a sentence for each way in which a value breaks its schema; none if it is valid."""
    if "type" in schema and not any(_is_type(value, type_name) for type_name in _types(schema)):
        wanted = " or ".join(_TYPE_NAMES[type_name] for type_name in _types(schema))
        yield f"{name} must be {wanted}, not {_shown(value)}"
        return
    if "enum" in schema and value not in schema["enum"]:
        close = _suggestion(value, schema["enum"])
        yield f"{name} must be one of {', '.join(filter(None, schema['enum']))}, not {_shown(value)}{close}"
    if isinstance(value, str):
        yield from _string_problems(value, schema, name)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number_problems(value, schema, name)
    elif isinstance(value, list):
        yield from _array_problems(value, schema, name)
    elif isinstance(value, dict):
        yield from _object_problems(value, schema, name)


def with_defaults(value: dict[str, Any], schema: Schema) -> dict[str, Any]:
    """Return a valid object with every default filled in, and whole numbers as int."""
    complete = {name: part["default"] for name, part in schema["properties"].items() if "default" in part} | value
    whole = (name for name, part in schema["properties"].items() if "integer" in _types(part) and name in complete)
    return complete | {name: int(complete[name]) for name in whole}


def full_match(pattern: str, text: str) -> bool:
    """Whether a schema's pattern matches. In a schema `$` is the very end; Python's would let a line feed follow."""
    return re.search(re.sub(r"\$\Z", r"\\Z", pattern), text) is not None


def _string_problems(value: str, schema: Schema, name: str) -> Iterator[str]:
    if len(value) < schema.get("minLength", 0):
        yield f"{name} must not be empty"
    if len(value) > schema.get("maxLength", len(value)):
        yield f"{name} must have at most {schema['maxLength']} characters, not {len(value)}"
        return
    if not is_encodable(value):
        yield f"{name} must be a text that UTF-8 can hold, not {_shown(value)}: it has half a surrogate pair"
    if "pattern" in schema and not full_match(schema["pattern"], value):
        yield f"{name} must be {schema.get('x-expected', schema['pattern'])}, not {_shown(value)}"


def _number_problems(value: float, schema: Schema, name: str) -> Iterator[str]:
    for keyword, is_within, words in (("exclusiveMinimum", gt, "above"), ("minimum", ge, "at least"), ("maximum", le, "at most")):
        if keyword in schema and not is_within(value, schema[keyword]):  # NaN is within none
            yield f"{name} must be {words} {schema[keyword]}, not {_shown(value)}"


def _array_problems(value: list[Any], schema: Schema, name: str) -> Iterator[str]:
    if len(value) < schema.get("minItems", 0):
        yield f"{name} must name at least {schema['minItems']}"
    if len(value) > schema.get("maxItems", len(value)):
        yield f"{name} must name at most {schema['maxItems']}, not {len(value)}"
        return
    if schema.get("uniqueItems"):
        seen: set[str] = set()
        for item in value:
            text = json_text(item)
            if text in seen:
                yield f"{name} names {_shown(item)} twice"
            seen.add(text)
    if "items" in schema:
        for index, item in enumerate(value):
            yield from problems(item, schema["items"], f"{name}[{index}]")


def _object_problems(value: dict[str, Any], schema: Schema, name: str) -> Iterator[str]:
    known = schema.get("properties", {})
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value)):
        wanted = "one field" if schema.get("maxProperties") == 1 else f"at least {schema['minProperties']} field"
        yield f"{name} must have {wanted}, not {len(value)}"
    for field in schema.get("required", ()):
        if field not in value:
            yield f"{field} is missing"
    for field, item in value.items():
        if field in known:
            yield from problems(item, known[field], field)
        elif schema.get("additionalProperties"):
            yield from problems(item, schema["additionalProperties"], f"{name}[{_shown(field)}]")
        elif "additionalProperties" in schema:
            yield f"{_shown(field)} is not a field of {name}{_suggestion(field, known)}"


def _types(schema: Schema) -> list[str]:
    types = schema.get("type", [])
    return types if isinstance(types, list) else [types]


def _is_type(value: object, type_name: str) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return {
        "string": isinstance(value, str),
        "array": isinstance(value, list),
        "object": isinstance(value, dict),
        "number": number,
        "integer": number and (isinstance(value, int) or float(value).is_integer()),  # type: ignore[arg-type]
        "boolean": isinstance(value, bool),
        "null": value is None,
    }[type_name]


def _suggestion(value: object, known: Any) -> str:
    close = difflib.get_close_matches(str(value), [str(name) for name in known], n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _shown(value: object) -> str:
    text = json_text(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
