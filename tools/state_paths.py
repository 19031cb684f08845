"""Paths and intrinsic functions: their syntax, and which paths each field of a state reads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from tools.states import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.states import JsonObject

# Named fields alone: indices, slices and filters are for Python. https://states-language.net/#ref-paths
REFERENCE_PATH = re.compile(r"\$(\.[A-Za-z_]\w*)*")

# https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html
CONTEXT = {
    *("Execution.Id", "Execution.Input", "Execution.Name", "Execution.RoleArn", "Execution.StartTime"),
    *("Execution.RedriveCount", "Execution.RedriveTime", "State.EnteredTime", "State.Name", "State.RetryCount"),
    *("StateMachine.Id", "StateMachine.Name", "Task.Token"),
}
CONTEXT_OF_AN_ITEM = {"Map.Item.Index", "Map.Item.Key", "Map.Item.Source", "Map.Item.Value"}

# Number of arguments, least and most: https://docs.aws.amazon.com/step-functions/latest/dg/intrinsic-functions.html
INTRINSIC_FUNCTIONS = {
    "States.Array": (0, 99),
    "States.ArrayContains": (2, 2),
    "States.ArrayGetItem": (2, 2),
    "States.ArrayLength": (1, 1),
    "States.ArrayPartition": (2, 2),
    "States.ArrayRange": (3, 3),
    "States.ArrayUnique": (1, 1),
    "States.Base64Decode": (1, 1),
    "States.Base64Encode": (1, 1),
    "States.Format": (1, 99),
    "States.Hash": (2, 2),
    "States.JsonMerge": (3, 3),
    "States.JsonToString": (1, 1),
    "States.MathAdd": (2, 2),
    "States.MathRandom": (2, 3),
    "States.StringSplit": (2, 2),
    "States.StringToJson": (1, 1),
    "States.UUID": (0, 0),
}

TOKEN = re.compile(
    r"\s*(?:(?P<function>[A-Za-z]\w*\.\w+)\s*(?P<open>\()|(?P<path>\$[^\s,()]*)|(?P<text>'(?:[^'\\]|\\.)*')|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<word>true|false|null)|(?P<sign>[,)]))\s*"
)

PATH_FIELDS = (
    *("InputPath", "OutputPath", "ResultPath", "ItemsPath", "MaxConcurrencyPath", "ToleratedFailurePercentagePath"),
    *("ToleratedFailureCountPath", "TimeoutSecondsPath", "HeartbeatSecondsPath", "SecondsPath", "TimestampPath"),
    *("ErrorPath", "CausePath"),
)
MAY_CALL = {"ErrorPath", "CausePath"}
"""Fields that take an intrinsic function, too."""
TEMPLATES = ("Parameters", "ResultSelector", "ItemSelector")


class Call(NamedTuple):
    """An intrinsic function and its arguments."""

    function: str
    arguments: list[Expression]


class Path(NamedTuple):
    """A path into the document, `$.a.b`, or into the context object, `$$.a.b`."""

    text: str


class Literal(NamedTuple):
    """A number, a text, true, false or null, as it is written."""

    text: str


Expression = Call | Path | Literal


def parse(text: str, *, of_item: bool = False) -> Expression:
    """Parse what may stand in a field whose name ends in `.$`; ValueError says what is wrong with it."""
    expression, stop = _parse(text, 0, of_item=of_item)
    if stop != len(text) or isinstance(expression, Literal):
        raise ValueError(f"{text} is neither a path nor a call of an intrinsic function")
    return expression


def _parse(text: str, start: int, *, of_item: bool) -> tuple[Expression, int]:
    token = TOKEN.match(text, start)
    if not token or token["sign"]:
        raise ValueError(f"{text} is neither a path nor a call of an intrinsic function")
    if token["path"]:
        return parse_path(token["path"], of_item=of_item), token.end()
    if not token["function"]:
        return Literal(token.group().strip()), token.end()
    arguments: list[Expression] = []
    stop = token.end()
    end = TOKEN.match(text, stop)
    while not (end and end["sign"] == ")"):
        argument, stop = _parse(text, stop, of_item=of_item)
        arguments.append(argument)
        end = TOKEN.match(text, stop)
        if not end or not end["sign"]:
            raise ValueError(f"{text} lacks a comma or a bracket")
        if end["sign"] == ",":
            stop = end.end()
    return checked(Call(token["function"], arguments)), end.end()


def checked(call: Call) -> Call:
    """Return the call; ValueError where Step Functions knows no such function, or not with so many arguments."""
    if call.function not in INTRINSIC_FUNCTIONS:
        raise ValueError(f"{call.function} is no intrinsic function")
    least, most = INTRINSIC_FUNCTIONS[call.function]
    if not least <= len(call.arguments) <= most:
        raise ValueError(f"{call.function} does not take {len(call.arguments)} arguments")
    if call.function == "States.JsonMerge" and call.arguments[2] != Literal("false"):
        raise ValueError("States.JsonMerge knows only shallow merging: its third argument must be false")
    return call


def parse_path(text: str, *, of_item: bool = False) -> Path:
    """Return the path; ValueError where it is none, or not of named fields, or of a context that is not there."""
    if text.startswith("$$"):
        name = text.removeprefix("$$.")
        if name in CONTEXT_OF_AN_ITEM and not of_item:
            raise ValueError(f"{text} exists only in an ItemSelector")
        if name not in CONTEXT | CONTEXT_OF_AN_ITEM:
            raise ValueError(f"{text} is not in the context object")
    elif not REFERENCE_PATH.fullmatch(text):
        raise ValueError(f"{text} is no path of named fields")
    return Path(text)


def paths_in(expression: Expression) -> Iterator[str]:
    """Yield every path into the document."""
    if isinstance(expression, Call):
        for argument in expression.arguments:
            yield from paths_in(argument)
    elif isinstance(expression, Path) and not expression.text.startswith("$$"):
        yield expression.text


def template_fields(template: object, field: str) -> Iterator[tuple[str, Any]]:
    """Yield (field, value) of everything in a payload template that is no object, or should be none."""
    if isinstance(template, dict) and not field.endswith(".$"):
        for name, value in template.items():
            yield from template_fields(value, f"{field}.{name}")
    else:
        yield field, template


def expressions(state: JsonObject) -> Iterator[tuple[str, str]]:
    """Yield (field, text) of all payload templates' paths and calls."""
    for field, template in templates(state):
        for name, value in template_fields(template, field):
            if name.endswith(".$"):
                yield name, value


def templates(state: JsonObject) -> Iterator[tuple[str, Any]]:
    """Yield (field, template) of a state."""
    for field in TEMPLATES:
        if field in state:
            yield field, state[field]
    for field in ("ItemReader", "ResultWriter"):
        if isinstance(state.get(field), dict) and "Parameters" in state[field]:
            yield field, state[field]["Parameters"]


def path_problems(name: str, state: JsonObject) -> Iterator[Problem]:
    """Yield what is wrong with the syntax of a state's paths and calls."""
    for field, text in _written(state):
        if text is None and field in {"InputPath", "OutputPath", "ResultPath"}:
            continue
        try:
            if not isinstance(text, str):
                raise ValueError(f"{text!r} is no text")  # noqa: TRY004, TRY301 - one word for all that is wrong with it
            if field.endswith(".$") or field in MAY_CALL:
                parse(text, of_item=field.startswith("ItemSelector"))
            else:
                path = parse_path(text)
                if field.endswith("ResultPath") and path.text.startswith("$$"):
                    raise ValueError(f"{text} cannot be written")  # noqa: TRY301
        except ValueError as error:
            yield Problem(name, f"{field}: {error}")
    for field, template in templates(state):
        for inner, value in template_fields(template, field):
            if not inner.endswith(".$") and isinstance(value, str) and re.match(r"\$\.|\$\$\.|States\.", value):
                yield Problem(name, f"{inner} is taken as it is written, as its name does not end in .$")


def _written(state: JsonObject) -> Iterator[tuple[str, Any]]:
    for field in PATH_FIELDS:
        if field in state:
            yield field, state[field]
    for rule in state.get("Choices", []):
        yield "Variable", rule.get("Variable")
    for catcher in state.get("Catch", []):
        if "ResultPath" in catcher:
            yield "Catch ResultPath", catcher["ResultPath"]
    yield from expressions(state)
