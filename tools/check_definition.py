"""Checks the state machine's definition, which `sam validate --lint` and cfn-lint on the template do not open.

    python -m tools.check_definition [FILE]

Prints each problem as `state: problem` and exits 1; docs/definition.md says what is checked.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import cfnlint.data.schemas.other.step_functions as cfnlint_schemas  # type: ignore[import-untyped]
import networkx as nx  # type: ignore[import-untyped]  # cfn-lint's
from cfnlint.jsonschema import StandardValidator, ValidationError  # type: ignore[import-untyped]
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

JsonObject = dict[str, Any]

ROOT = Path(__file__).parents[1]
DEFINITION = "definition"
"""The place of a problem that belongs to no state."""


class Problem(NamedTuple):
    """What is wrong, and in which state."""

    where: str
    what: str

    def __str__(self) -> str:
        """Return it as the command prints it."""
        return f"{self.where}: {self.what}"


class Machine(NamedTuple):
    """States that lead to each other alone: those of the definition, or those of a Map's children."""

    where: str
    start_at: str
    states: dict[str, JsonObject]


def main(arguments: list[str] | None = None) -> int:
    """Check one file, the template's own unless another is named."""
    parser = argparse.ArgumentParser(prog="python -m tools.check_definition", description="Check the state machine's definition.")
    parser.add_argument("file", metavar="FILE", nargs="?", type=Path, help="the one that template.yaml names unless given")
    template = yaml_parse((ROOT / "template.yaml").read_text())
    own = ROOT / str(template["Resources"]["StateMachine"]["Properties"]["DefinitionUri"])
    file = parser.parse_args(arguments).file or own
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"cannot read {file}: {error}")
    problems = problems_of(text, template)
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{file.name}: {len(all_states(json.loads(text)))} states, no problem")
    return 1 if problems else 0


def problems_of(text: str, template: JsonObject) -> list[Problem]:
    """Return what is wrong with a definition, as it is written in its file; the rules look only at what fits the schema."""
    try:
        definition = parsed(text)
    except ValueError as error:
        return [Problem(DEFINITION, str(error))]
    return schema_problems(definition) or sorted({*graph_problems(definition), *state_problems(definition, template)})


def parsed(text: str) -> JsonObject:
    """Return the definition; ValueError if it is no JSON object, or if an object has a key twice: the last one would win."""

    def unique(pairs: list[tuple[str, Any]]) -> JsonObject:
        names = [key for key, _ in pairs]
        if twice := [key for key in names if names.count(key) > 1]:
            raise ValueError(f"the key {twice[0]!r} stands twice in the object of {', '.join(names)}")
        return dict(pairs)

    definition = json.loads(text, object_pairs_hook=unique)
    if not isinstance(definition, dict):
        raise ValueError("is no JSON object")  # noqa: TRY004 - as json.loads says what is no JSON
    return definition


# --- the schema -------------------------------------------------------------------------------------------------------------------


def schema_problems(definition: JsonObject) -> list[Problem]:
    """Return where the definition, with an ARN for each substitution, does not fit cfn-lint's schema of the language."""
    arn = "arn:aws:lambda:us-east-1:123456789012:function:any"
    substituted = json.loads(re.sub(r"\$\{\w+\}", arn, json.dumps(definition)))
    return sorted({_problem(error) for error in _validator().iter_errors(substituted)})


def _problem(error: ValidationError) -> Problem:
    """Return a problem of the innermost state, with the place within that state."""
    path = [str(step) for step in error.absolute_path]
    last = max((index for index, (step, _) in enumerate(pairwise(path)) if step == "States"), default=None)
    where, within = (DEFINITION, path) if last is None else (path[last + 1], path[last + 2 :])
    return Problem(where, f"{'.'.join(within)}: {error.message}" if within else error.message)


@cache
def _validator() -> Any:
    """Return cfn-lint's schema, with no unknown fields in retriers, catchers and rules, and with a mistake corrected."""
    schema = json.loads((files(cfnlint_schemas) / "statemachine.json").read_text())
    definitions = schema["definitions"]
    # https://states-language.net/#succeed-state
    definitions["succeed"]["properties"] |= {"InputPath": {"type": ["string", "null"]}, "OutputPath": {"type": ["string", "null"]}}
    for kind in ("task", "map"):
        retrier, catcher = (definitions[kind]["properties"][field]["items"] for field in ("Retry", "Catch"))
        newer = {"MaxDelaySeconds": {"type": "integer"}, "JitterStrategy": {"enum": ["FULL", "NONE"]}}
        retrier["properties"] |= newer | {"Comment": {}}
        catcher["properties"] |= {"Comment": {}, "ResultPath": {"type": ["string", "null"]}}
        retrier["additionalProperties"] = catcher["additionalProperties"] = False
    operator = definitions["choice"]["definitions"]["Operator"]
    operator["properties"] |= {"Comment": {}}
    operator["additionalProperties"] = False
    definitions["choice"]["properties"]["Choices"]["minItems"] = 1
    return StandardValidator(schema)


# --- the graph of states ----------------------------------------------------------------------------------------------------------


def machines(definition: JsonObject, where: str = DEFINITION) -> Iterator[Machine]:
    """Yield the definition itself, then the children of its Maps."""
    yield Machine(where, definition["StartAt"], definition["States"])
    for name, state in definition["States"].items():
        if state["Type"] == "Map":
            yield from machines(state["ItemProcessor"], name)


def all_states(definition: JsonObject) -> list[tuple[str, JsonObject]]:
    """Return every state with its name, those of a Map's children too."""
    return [found for machine in machines(definition) for found in machine.states.items()]


def graph_problems(definition: JsonObject) -> Iterator[Problem]:
    """Find ways that lead nowhere, states that no way leads to, and results that are written over."""
    for machine in machines(definition):
        graph = nx.DiGraph([(name, target) for name, state in machine.states.items() for target in targets(state)])
        graph.add_nodes_from([*machine.states, machine.start_at])
        if missing := graph.nodes - machine.states.keys():
            yield Problem(machine.where, f"leads to {', '.join(sorted(missing))}, which is no state here")
        for name in graph.nodes - nx.descendants(graph, machine.start_at) - {machine.start_at}:
            yield Problem(name, "is never reached")
        ends = [name for name, ways_out in graph.out_degree if not ways_out]
        for name in graph.nodes - set(ends).union(*(nx.ancestors(graph, end) for end in ends)):
            yield Problem(name, "never reaches an end")
        yield from overwritten(machine)


def targets(state: JsonObject) -> Iterator[str]:
    """Yield the names of all states that a state leads to."""
    yield from (state[field] for field in ("Next", "Default") if field in state)
    yield from (item["Next"] for field in ("Catch", "Choices") for item in state.get(field, []))


def overwritten(machine: Machine) -> Iterator[Problem]:
    """Find results that another state's result replaces: the document grows by name, and a Catch has a place of its own."""
    results = [(name, state["ResultPath"]) for name, state in machine.states.items() if state.get("ResultPath")]
    caught = [(name, catcher.get("ResultPath")) for name, state in machine.states.items() for catcher in state.get("Catch", [])]
    for number, (name, path) in enumerate([*results, *caught]):
        for earlier, taken in results[:number]:
            if path == taken and path != "$":
                yield Problem(name, f"overwrites {path} of {earlier}")


# --- each state -------------------------------------------------------------------------------------------------------------------


def state_problems(definition: JsonObject, template: JsonObject) -> Iterator[Problem]:
    """Find what breaks the rules that a state must keep by itself, or together with its function in the template."""
    states = all_states(definition)
    retriers = [state.get("Retry", []) for _, state in states if state["Type"] == "Task"]
    for name, state in states:
        kind = state["Type"]
        items = [item for field in ("Retry", "Catch") for item in state.get(field, [])]
        if not all(item.get("Comment") for item in [state, *items]):
            yield Problem(name, "has no Comment that says what it guarantees, or why it is retried or caught")
        yield from (Problem(name, f"{text} is taken as it is written: its field must end in .$") for text in unread_paths(state))
        if kind == "Task":
            yield from task_problems(name, state, template)
            if state.get("Retry") != max(retriers, key=retriers.count):
                yield Problem(name, "has other retriers than most Tasks: all have the same")
        if kind in {"Task", "Map"}:
            yield from catch_problems(name, state)
        if kind == "Map":
            yield from (Problem(name, what) for field, (holds, what) in MAP_RULES.items() if not holds(state.get(field, "")))
        if kind == "Choice" and "Default" not in state:
            yield Problem(name, "has no Default: what no rule matches would end the execution")
        if kind == "Fail" and not all((field in state) != (f"{field}Path" in state) for field in ("Error", "Cause")):
            yield Problem(name, "needs Error or ErrorPath, and Cause or CausePath")


def unread_paths(value: Any, field: str = "") -> Iterator[str]:
    """Yield every path or call in a field whose name does not make it one."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from unread_paths(inner, name) if name not in {"States", "Comment"} else ()
    elif (
        isinstance(value, str) and re.match(r"\$\.|\$\$\.|States\.\w+\(", value) and not re.search(r"\.\$$|Path$|^Variable$", field)
    ):
        yield value


def task_problems(name: str, state: JsonObject, template: JsonObject) -> Iterator[Problem]:
    """Find a Task that ends before its function does, or that retries everything."""
    function = template["Resources"].get(re.sub(r"^\$\{|Arn\}$", "", state["Resource"]), {}).get("Properties", {})
    seconds = function.get("Timeout", template["Globals"]["Function"]["Timeout"])
    if not state.get("TimeoutSeconds", 0) > seconds:
        yield Problem(name, f"TimeoutSeconds must be above the {seconds} s that its function has")
    retried = {error for retrier in state.get("Retry", []) for error in retrier["ErrorEquals"]}
    if everything := retried & {"States.ALL", "States.TaskFailed"}:
        yield Problem(name, f"Retry of {', '.join(sorted(everything))} repeats bugs and bad input")


def catch_problems(name: str, state: JsonObject) -> Iterator[Problem]:
    """Find a Task or a Map that does not catch everything in the end, or loses the document."""
    catchers = state.get("Catch", [])
    everything = [number for number, catcher in enumerate(catchers) if "States.ALL" in catcher["ErrorEquals"]]
    if everything != [len(catchers) - 1] or catchers[-1]["ErrorEquals"] != ["States.ALL"]:
        yield Problem(name, "must catch States.ALL, alone and last")
    for catcher in catchers:
        if not str(catcher.get("ResultPath", "")).startswith("$."):
            yield Problem(name, "a Catch loses the document: it needs a ResultPath")


def by_path(part: JsonObject) -> bool:
    """Return whether a reader or a writer is there, and takes its place from the document."""
    return bool(part) and all(name.endswith(".$") for name in part["Parameters"])


MAP_RULES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "Label": (
        lambda label: re.fullmatch(r"[A-Za-z0-9_-]{1,40}", label),
        "needs a Label of 40 letters and digits at most: its Map Runs' ARNs have it",
    ),
    "ItemReader": (by_path, "must read its items from S3, by a path: the state does not grow with the number of chunks"),
    "ResultWriter": (by_path, "must write its results to S3, by a path"),
    "ResultPath": (lambda path: path is None, "its results would pass 256 KiB of state: ResultPath must be null"),
    "ItemProcessor": (
        lambda processor: processor["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "must run its children as DISTRIBUTED and STANDARD: they take longer than five minutes",
    ),
    "MaxConcurrencyPath": (bool, "must take MaxConcurrencyPath from the document"),
    "ToleratedFailurePercentagePath": (bool, "must take ToleratedFailurePercentagePath from the document"),
}
"""What a Map must have, and why. https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html"""


if __name__ == "__main__":
    sys.exit(main())
