"""The data flow: follows the document from state to state on every way, and finds what is read before it is written.

A document is followed as its shape: an object's fields by name, or the type of anything else. What a function returns is the
annotation of its handler, whose fields are those of `functions/workflow/contract.py`; both are read, not imported. The raw
request is taken as empty, because nothing in it is sure.
"""

from __future__ import annotations

import ast
import json
from collections import deque
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from tools.state_paths import Call, Literal, parse, templates
from tools.states import Problem, states_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path as FilePath

    from tools.state_paths import Expression
    from tools.states import JsonObject

# An object's fields by name; or else the name of a type.
Shape = dict[str, Any] | str

ANYTHING = "anything"
"""The type of what only the running execution knows; every field may be read of it."""

CAUGHT: Shape = {"Error": "str", "Cause": "str"}
"""What a Catch writes."""

TYPES_COMPARED = {"Boolean": {"bool"}, "Numeric": {"int", "float"}, "String": {"str"}}


class Step(NamedTuple):
    """A state that is entered with a document."""

    state: str
    document: Shape
    came_from: str | None

    @property
    def way(self) -> str:
        """How it was reached, in words."""
        return f"coming from {self.came_from}" if self.came_from else "at the start"


class Flow:
    """Follows the documents through a definition."""

    def __init__(
        self, results_of: Callable[[str, JsonObject], list[Shape]], implies: Mapping[str, str], needed: Mapping[str, set[str]]
    ) -> None:
        self.results_of = results_of
        self.implies = implies
        self.needed = needed
        self.problems: list[Problem] = []

    def follow(self, machine: JsonObject, document: Shape) -> None:
        """Go every way from the start: each state with each document that it may be entered with, once."""
        states = states_in(machine)
        waiting = deque([Step(machine["StartAt"], document, None)])
        seen = set()
        while waiting:
            step = waiting.popleft()
            key = (step.state, json.dumps(step.document, sort_keys=True))
            if key not in seen and step.state in states:
                seen.add(key)
                waiting += self.steps_from(step, states[step.state])

    def steps_from(self, step: Step, state: JsonObject) -> Iterator[Step]:
        """Yield what may be entered next, and note what cannot be read."""
        given = self.read(step, "InputPath", state.get("InputPath", "$"), step.document)
        for name, document in self.outcomes(step, state, given):
            yield Step(name, document, step.state)

    def outcomes(self, step: Step, state: JsonObject, given: Shape) -> Iterator[tuple[str, Shape]]:
        """Yield (next state, document)."""
        shaped = self.shaped(step, state, given)
        kind = state["Type"]
        if kind == "Choice":
            yield from self.choices(step, state, given)
        if kind == "Task":
            self.requires(step, shaped.get("Parameters", given))
        if kind == "Succeed":
            self.read(step, "OutputPath", state.get("OutputPath", "$"), given)
        if kind == "Map":
            self.follow(state["ItemProcessor"], shaped.get("ItemSelector", ANYTHING))
        results: dict[str, Callable[[], list[Shape]]] = {
            "Task": lambda: self.results_of(step.state, state),
            "Map": lambda: ["list"],
            "Pass": lambda: [shaped.get("Parameters", given)],
        }
        for result in results[kind]() if kind in results else []:
            document = written(step.document, state.get("ResultPath", "$"), result)
            left = self.read(step, "OutputPath", state.get("OutputPath", "$"), document)
            if "Next" in state:
                yield state["Next"], left
        for catcher in state.get("Catch", []):
            yield catcher["Next"], written(step.document, catcher.get("ResultPath", "$"), CAUGHT)

    def requires(self, step: Step, event: Shape) -> None:
        """Note what a function needs, but may not be given."""
        for name in sorted(self.needed.get(step.state, ())):
            if shape_at(event, f"$.{name}") is None:
                self.note(step, f"its function is not given {name} {step.way}")

    def shaped(self, step: Step, state: JsonObject, given: Shape) -> dict[str, Shape]:
        """Return the shapes that a state's payload templates make, and note which of its paths cannot be read."""
        for field in ("MaxConcurrencyPath", "ToleratedFailurePercentagePath", "ItemsPath"):
            if field in state:
                self.read(step, field, state[field], given)
        for field in ("ErrorPath", "CausePath"):
            if field in state and self.expression(step, field, state[field], given) not in ("str", ANYTHING):
                self.note(step, f"{field} {state[field]} is no text")
        return {field: self.template(step, field, template, given) for field, template in templates(state)}

    def choices(self, step: Step, state: JsonObject, given: Shape) -> Iterator[tuple[str, Shape]]:
        """Yield where a Choice may lead; its rules are tried in order."""
        for rule in state["Choices"]:
            if "IsPresent" in rule:
                found = shape_at(given, rule["Variable"])
                if (found is not None) == rule["IsPresent"] or found == ANYTHING:
                    yield rule["Next"], given
                    if found != ANYTHING:
                        return
                continue
            if rule["Variable"] in self.implies and shape_at(given, self.implies[rule["Variable"]]) is None:
                continue
            kind = self.read(step, "Variable", rule["Variable"], given)
            for operator, types in TYPES_COMPARED.items():
                if any(field.startswith(operator) for field in rule) and kind not in types | {ANYTHING}:
                    self.note(step, f"{rule['Variable']} is {kind if isinstance(kind, str) else 'an object'}, not {operator}")
            yield rule["Next"], given
        if "Default" in state:
            yield state["Default"], given

    def template(self, step: Step, field: str, template: Any, given: Shape) -> Shape:
        """Return the shape that a payload template makes."""
        if not isinstance(template, dict):
            return type(template).__name__
        shape: dict[str, Any] = {}
        for name, value in template.items():
            inner = f"{field}.{name}"
            if name.endswith(".$"):
                shape[name.removesuffix(".$")] = self.expression(step, inner, value, given)
            else:
                shape[name] = self.template(step, inner, value, given)
        return shape

    def expression(self, step: Step, field: str, text: str, given: Shape) -> Shape:
        """Return the shape of what a path or a call yields."""

        def shape_of(expression: Expression) -> Shape:
            if isinstance(expression, Literal):
                return ANYTHING
            if isinstance(expression, Call):
                shapes = [shape_of(argument) for argument in expression.arguments]
                if expression.function == "States.Format":
                    return "str"
                if expression.function == "States.JsonMerge" and isinstance(shapes[0], dict) and isinstance(shapes[1], dict):
                    return {**shapes[0], **shapes[1]}
                return ANYTHING
            if expression.text.startswith("$$"):
                return ANYTHING if "Map.Item" in expression.text else "str"
            return self.read(step, field, expression.text, given)

        return shape_of(parse(text, of_item=field.startswith("ItemSelector")))

    def read(self, step: Step, field: str, path: str | None, document: Shape) -> Shape:
        """Return the shape at a path, and note where it may not be there."""
        if path is None:
            return {}
        if path.startswith("$$"):
            return ANYTHING
        found = shape_at(document, path)
        if found is None:
            self.note(step, f"{field} reads {path}, which may not be there {step.way}")
            return ANYTHING
        return found

    def note(self, step: Step, what: str) -> None:
        """Keep a problem."""
        self.problems.append(Problem(step.state, what))


def shape_at(document: Shape, path: str) -> Shape | None:
    """Return the shape at a path; None where nothing is sure to be."""
    shape: Shape | None = document
    for name in path.split(".")[1:]:
        if shape == ANYTHING:
            return ANYTHING
        shape = shape.get(name) if isinstance(shape, dict) else None
    return shape


def written(document: Shape, path: str | None, value: Shape) -> Shape:
    """Return the document with a value at a path."""
    if path is None:
        return document
    names = path.split(".")[1:]
    if not names:
        return value
    inner = document.get(names[0], {}) if isinstance(document, dict) else {}
    return {**(document if isinstance(document, dict) else {}), names[0]: written(inner, ".".join(["$", *names[1:]]), value)}


# --- what functions return --------------------------------------------------------------------------------------------------------


def shapes_returned(handler: FilePath, contract: FilePath) -> list[Shape]:
    """Return the shapes that a handler's annotation promises, each field that may be absent once with and once without."""
    functions = [node for node in tree_of(handler).body if isinstance(node, ast.FunctionDef) and node.name == "lambda_handler"]
    annotation = functions[0].returns if functions else None
    return shapes_of(ast.unparse(annotation), contract) if annotation else [ANYTHING]


def shapes_of(annotation: str, contract: FilePath) -> list[Shape]:
    """Return the shapes of a type: of documents of the contract all alternatives, of anything else its name."""
    node = ast.parse(annotation, mode="eval").body
    alternatives = annotation.split(" | ")
    documents = fields_by_document(contract)
    if all(name in documents for name in alternatives):
        return [shape for name in alternatives for shape in _document_shapes(documents, name, contract)]
    is_known = isinstance(node, ast.Name) and annotation in {"bool", "int", "float", "str"}
    return [annotation if is_known or " | None" in annotation or annotation.startswith("list[") else ANYTHING]


def _document_shapes(documents: dict[str, dict[str, str]], name: str, contract: FilePath) -> list[Shape]:
    choices: list[list[tuple[str, Shape | None]]] = []
    for field, annotation in documents[name].items():
        inner = annotation.removeprefix("NotRequired[").removesuffix("]") if annotation.startswith("NotRequired[") else annotation
        absent: list[tuple[str, Shape | None]] = [(field, None)] if inner != annotation else []
        choices.append([*((field, shape) for shape in shapes_of(inner, contract)), *absent])
    return [{field: shape for field, shape in fields if shape is not None} for fields in product(*choices)]


@cache
def fields_by_document(contract: FilePath) -> dict[str, dict[str, str]]:
    """Return the fields of each TypedDict with their annotations."""
    documents: dict[str, dict[str, str]] = {}
    for node in tree_of(contract).body:
        if isinstance(node, ast.ClassDef):
            inherited = [documents.get(base.id, {}) for base in node.bases if isinstance(base, ast.Name)]
            documents[node.name] = {name: kind for fields in inherited for name, kind in fields.items()}
            for line in node.body:
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                    documents[node.name][line.target.id] = ast.unparse(line.annotation)
    return documents


@cache
def tree_of(file: FilePath) -> ast.Module:
    """Return a module's syntax tree."""
    return ast.parse(file.read_text())
