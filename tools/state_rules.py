"""The project's own rules for the definition: what the schema of the language cannot know."""

from __future__ import annotations

import re
from functools import partial
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from tools import state_flow
from tools.state_paths import path_problems
from tools.states import DEFINITION, Machine, Problem, all_states, machines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tools.states import JsonObject

MAX_DEFINITION_BYTES = 2**20
"""https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"""
MAX_LABEL_CHARACTERS = 40
"""https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html"""

FIELD_ORDER = (
    *("Type", "Comment", "Label", "Resource", "TimeoutSeconds", "ItemReader", "InputPath", "Parameters", "ItemSelector", "Choices"),
    *("Default", "MaxConcurrencyPath", "ToleratedFailurePercentagePath", "ItemProcessor", "ResultWriter", "ResultPath"),
    *("OutputPath", "Retry", "Catch", "Next", "End", "ErrorPath", "CausePath"),
)
"""Every field that the definition uses, as they stand in each state."""

THROTTLED = "Lambda.TooManyRequestsException"
NOT_READY_ERRORS = (
    *("Lambda.CodeArtifactUserPendingException", "Lambda.CodeArtifactUserDeletedException"),
    *("Lambda.ResourceNotReadyException", "Lambda.ResourceConflictException"),
)
"""Of a function that was idle for weeks or is just deployed:
https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_Errors"""
LAMBDA_ERRORS = (
    *("Lambda.ServiceException", "Lambda.AWSLambdaException", "Lambda.SdkClientException"),
    "Lambda.ClientExecutionTimeoutException",
)
DEAD_ERRORS = ("Runtime.OutOfMemory", "Lambda.Unknown", "Sandbox.Timedout", "Runtime.ExitError", "States.Timeout")

RETRIERS: list[dict[str, Any]] = [
    {
        "ErrorEquals": [THROTTLED],
        "IntervalSeconds": 2,
        "MaxAttempts": 120,
        "BackoffRate": 2,
        "MaxDelaySeconds": 60,
        "JitterStrategy": "FULL",
    },
    {"ErrorEquals": [*NOT_READY_ERRORS], "IntervalSeconds": 5, "MaxAttempts": 6, "BackoffRate": 2, "MaxDelaySeconds": 60},
    {
        "ErrorEquals": ["TransientS3Error", *LAMBDA_ERRORS],
        "IntervalSeconds": 2,
        "MaxAttempts": 5,
        "BackoffRate": 2,
        "MaxDelaySeconds": 60,
        "JitterStrategy": "FULL",
    },
    {"ErrorEquals": [*DEAD_ERRORS], "IntervalSeconds": 2, "MaxAttempts": 1, "BackoffRate": 2, "JitterStrategy": "FULL"},
]
"""What every Task repeats: throttling for an hour, passing trouble often, a function that died once, bugs and bad input never."""
NEVER_RETRIED = {"States.ALL", "States.TaskFailed"}

STATES_ERRORS = {
    *("States.ALL", "States.BranchFailed", "States.DataLimitExceeded", "States.ExceedToleratedFailureThreshold"),
    *("States.HeartbeatTimeout", "States.IntrinsicFailure", "States.ItemReaderFailed", "States.NoChoiceMatched"),
    *("States.ParameterPathFailure", "States.Permissions", "States.ResultPathMatchFailure", "States.ResultWriterFailed"),
    *("States.Runtime", "States.TaskFailed", "States.Timeout"),
}
"""https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html"""

MAP_FIELDS = {
    "ItemReader": {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSON"}},
    "ResultWriter": {"Resource": "arn:aws:states:::s3:putObject"},
    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
}
"""Of the Distributed Map, beside what is read from the document."""

IMPLIES = {"$.explanation.published": "$.plan", "$.explanation.plan_exactly": "$.plan"}
"""What is true only where something else is there: `explain_failure()` says so of no execution without a plan, whose document
may still be the raw request. tests/unit/workflow/test_explain_failure.py holds it to that."""

SHARED_FUNCTIONS = {"Probe Model": "PredictChunkFunction"}
"""States that have no function of their own."""
PROBE_RESULT = "Probe"
"""What the prediction function, which stands alone, returns to a state: this document of the contract."""

NEEDED: dict[str, set[str] | str] = {
    "Validate Request": {"request", "execution.arn", "execution.name", "execution.start_time"},
    "Probe Model": "ProbeEvent",
    "Plan Chunks": {"request", "execution", "prediction", "model"},
    "Predict Chunk": "PredictionFields",
    "Record Failure": "ChildFailure",
    "Merge Outputs": {"request", "execution", "prediction", "model", "plan"},
    "Explain Failure": {"failure"},  # the rest may not be there yet
}
"""What a function cannot do without: names, or all fields of a document of the contract."""


class Stack(NamedTuple):
    """The template, and the directory that its paths begin in."""

    template: JsonObject
    directory: Path


def own_problems(text: str, definition: JsonObject, stack: Stack) -> list[Problem]:
    """Return what breaks the project's rules; `text` is the definition as it is written."""
    found: list[Problem] = []
    if len(text.encode()) > MAX_DEFINITION_BYTES:
        found.append(Problem(DEFINITION, f"has more than {MAX_DEFINITION_BYTES} bytes"))
    found += substitutions(text, definition, stack)
    for machine in machines(definition):
        found += [*targets_exist(machine), *all_reached(machine), *no_endless_loop(machine), *nothing_overwritten(machine)]
    for name, state in all_states(definition):
        for rule in (comments, field_order, path_problems):
            found += rule(name, state)
        rules: dict[str, Callable[..., Iterator[Problem]]] = {
            "Task": partial(task, stack=stack),
            "Map": distributed_map,
            "Fail": fail,
            "Choice": choice,
        }
        if state.get("Type") in rules:
            found += rules[state["Type"]](name, state)
        found += catchers(name, state, stack)
    if not found:  # the flow follows what is whole
        found += data_flow(definition, stack)
    return sorted(set(found))


# --- names ------------------------------------------------------------------------------------------------------------------------


def substitutions(text: str, definition: JsonObject, stack: Stack) -> Iterator[Problem]:
    """Find what is substituted that is no function's ARN or not declared, and what is declared but not used."""
    declared = stack.template["Resources"]["StateMachine"]["Properties"]["DefinitionSubstitutions"]
    used = re.findall(r"\$\{([^}]*)\}?", text)
    whole = [re.fullmatch(r"\$\{(\w+)\}", str(state.get("Resource", ""))) for _, state in all_states(definition)]
    resources = [match[1] for match in whole if match]
    for name in sorted(set(used)):
        if used.count(name) > resources.count(name):
            yield Problem(DEFINITION, f"${{{name}}} stands elsewhere than as the Resource of a Task")
        if name not in declared:
            yield Problem(DEFINITION, f"${{{name}}} is not declared in DefinitionSubstitutions of the template")
    for name, value in declared.items():
        if value != {"Fn::GetAtt": [name.removesuffix("Arn"), "Arn"]}:
            yield Problem(DEFINITION, f"${{{name}}} is not !GetAtt {name.removesuffix('Arn')}.Arn in the template")
    for name in sorted(set(declared) - set(used)):
        yield Problem(DEFINITION, f"${{{name}}} is declared in the template, but not used")


def function_of(name: str, state: JsonObject, stack: Stack) -> JsonObject | None:
    """Return the properties of a Task's function in the template."""
    logical_id = str(state.get("Resource", "")).removeprefix("${").removesuffix("Arn}")
    resource = stack.template["Resources"].get(logical_id, {})
    properties: JsonObject | None = resource.get("Properties") if resource.get("Type") == "AWS::Serverless::Function" else None
    return properties if logical_id == SHARED_FUNCTIONS.get(name, f"{name.replace(' ', '')}Function") else None


def handler_of(function: JsonObject, stack: Stack) -> Path:
    """Return the file of a function's handler."""
    module = str(function["Handler"]).removesuffix(".lambda_handler").replace(".", "/")
    return stack.directory / str(function["CodeUri"]) / f"{module}.py"


# --- the graph of states ----------------------------------------------------------------------------------------------------------


def targets(state: JsonObject) -> Iterator[tuple[str, str]]:
    """Yield (field, state) of everything that a state leads to."""
    for field in ("Next", "Default"):
        if field in state:
            yield field, state[field]
    for field in ("Catch", "Choices"):
        for item in state.get(field, []):
            if isinstance(item, dict) and "Next" in item:
                yield f"{field} Next", item["Next"]


def targets_exist(machine: Machine) -> Iterator[Problem]:
    """Find ways that lead out of the machine."""
    if machine.start_at not in machine.states:
        yield Problem(machine.where, f"StartAt {machine.start_at} is no state here")
    for name, state in machine.states.items():
        for field, target in targets(state):
            if target not in machine.states:
                yield Problem(name, f"{field} {target} is no state here")


def all_reached(machine: Machine) -> Iterator[Problem]:
    """Find states that are not reached from the start, and states from which no end is reached."""
    edges = {name: {target for _, target in targets(state)} for name, state in machine.states.items()}
    backwards = {name: {source for source, found in edges.items() if name in found} for name in edges}
    ends = {name for name, state in machine.states.items() if state.get("End") or state.get("Type") in {"Succeed", "Fail"}}
    for name in edges.keys() - closure({machine.start_at}, edges):
        yield Problem(name, "is never reached")
    for name in edges.keys() - closure(ends, backwards):
        yield Problem(name, "never reaches an end")


def closure(start: set[str], edges: dict[str, set[str]]) -> set[str]:
    """Return what the edges lead to, the start included."""
    reached, waiting = set(), list(start)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += edges.get(name, ())
    return reached


def no_endless_loop(machine: Machine) -> Iterator[Problem]:
    """Find a loop without a Choice, which alone can leave it."""
    tried = {name: state for name, state in machine.states.items() if state.get("Type") != "Choice"}
    edges = {name: sorted({target for _, target in targets(state)} & tried.keys()) for name, state in tried.items()}
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        yield Problem(error.args[1][-1], f"loops without a Choice: {' <- '.join(error.args[1])}")


# --- the document -----------------------------------------------------------------------------------------------------------------


def nothing_overwritten(machine: Machine) -> Iterator[Problem]:
    """Find what is written over: the document grows by name, and a Catch does not write where a state does."""
    written: dict[str, str] = {}
    for name, state in machine.states.items():
        path = state.get("ResultPath")
        if isinstance(path, str) and path != "$":
            if path in written:
                yield Problem(name, f"overwrites {path} of {written[path]}")
            written[path] = name
    for name, state in machine.states.items():
        for catcher in state.get("Catch", []):
            if catcher.get("ResultPath") in written:
                yield Problem(name, f"its Catch overwrites {catcher['ResultPath']} of {written[catcher['ResultPath']]}")


def data_flow(definition: JsonObject, stack: Stack) -> list[Problem]:
    """Find what a state or its function reads that was not written before on every way to it."""
    contract = stack.directory / "functions/workflow/contract.py"

    def results_of(name: str, state: JsonObject) -> list[state_flow.Shape]:
        function = function_of(name, state, stack)
        if name in SHARED_FUNCTIONS:
            return state_flow.shapes_of(PROBE_RESULT, contract)
        return state_flow.shapes_returned(handler_of(function, stack), contract) if function else [state_flow.ANYTHING]

    needed = {
        name: set(state_flow.fields_by_document(contract)[fields]) if isinstance(fields, str) else fields
        for name, fields in NEEDED.items()
    }
    flow = state_flow.Flow(results_of, IMPLIES, needed)
    flow.follow(definition, {})
    return flow.problems


# --- each state -------------------------------------------------------------------------------------------------------------------


def comments(name: str, state: JsonObject) -> Iterator[Problem]:
    """Find states that do not say what they guarantee, and retriers and catchers that do not say why."""
    if not state.get("Comment"):
        yield Problem(name, "has no Comment")
    for field in ("Retry", "Catch"):
        for number, item in enumerate(state.get(field, [])):
            if not item.get("Comment"):
                yield Problem(name, f"{field}[{number}] has no Comment")


def field_order(name: str, state: JsonObject) -> Iterator[Problem]:
    """Find fields out of order, and fields that nobody has thought about."""
    for field in state:
        if field not in FIELD_ORDER:
            yield Problem(name, f"{field} is not among the fields that the definition uses: see FIELD_ORDER")
    known = [field for field in state if field in FIELD_ORDER]
    for first, second in pairwise(known):
        if FIELD_ORDER.index(first) > FIELD_ORDER.index(second):
            yield Problem(name, f"{first} stands before {second}: see FIELD_ORDER")


def task(name: str, state: JsonObject, stack: Stack) -> Iterator[Problem]:
    """Find a Task without its own function, the four retriers, or more time than the function."""
    function = function_of(name, state, stack)
    if function is None:
        yield Problem(name, f"Resource {state.get('Resource')} is not its function in the template")
    else:
        file = handler_of(function, stack)
        if not file.is_file():
            yield Problem(name, f"its function has no file {file.relative_to(stack.directory)}")
        seconds = function.get("Timeout", stack.template["Globals"]["Function"]["Timeout"])
        if not state.get("TimeoutSeconds", 0) > seconds:
            yield Problem(name, f"TimeoutSeconds must be above the {seconds} s that its function has")
    retriers = [
        {field: value for field, value in retrier.items() if field != "Comment"}
        for retrier in state.get("Retry", [])
        if isinstance(retrier, dict)
    ]
    if retried := {error for retrier in retriers for error in retrier.get("ErrorEquals", [])} & NEVER_RETRIED:
        yield Problem(name, f"Retry of {', '.join(sorted(retried))} repeats bugs and bad input")
    if retriers != RETRIERS:
        yield Problem(name, "has not the four retriers: see RETRIERS")


def catchers(name: str, state: JsonObject, stack: Stack) -> Iterator[Problem]:
    """Find a Task or a Map that does not catch everything, loses the document, or names errors that nothing raises."""
    found = [catcher for catcher in state.get("Catch", []) if isinstance(catcher, dict)]
    if state.get("Type") not in {"Task", "Map"}:
        return
    if not found or found[-1].get("ErrorEquals") != ["States.ALL"]:
        yield Problem(name, "does not catch States.ALL in the end")
    known = STATES_ERRORS | {error for retrier in RETRIERS for error in retrier["ErrorEquals"]} | own_errors(stack)
    caught: set[str] = set()
    for number, catcher in enumerate(found):
        errors = catcher.get("ErrorEquals", [])
        for error in errors:
            if error not in known:
                yield Problem(name, f"Catch[{number}] names {error}, which nothing raises")
            if error in caught:
                yield Problem(name, f"Catch[{number}] names {error}, which is caught before")
            if error == "States.ALL" and (len(errors) > 1 or catcher is not found[-1]):
                yield Problem(name, f"Catch[{number}] names States.ALL, which must stand alone and last")
        caught |= set(errors)
        if not str(catcher.get("ResultPath", "")).startswith("$."):
            yield Problem(name, f"Catch[{number}] loses the document: it needs a ResultPath")


def own_errors(stack: Stack) -> set[str]:
    """Return the names of the errors that the functions raise."""
    text = (stack.directory / "functions/workflow/errors.py").read_text()
    return set(re.findall(r"^class (\w+)\(BatchPredictionError", text, re.MULTILINE))


def fail(name: str, state: JsonObject) -> Iterator[Problem]:
    """Find a Fail that does not say what and why."""
    for field in ("Error", "Cause"):
        if not state.get(field) and not state.get(f"{field}Path"):
            yield Problem(name, f"has no {field}")
        if field in state and f"{field}Path" in state:
            yield Problem(name, f"has {field} and {field}Path")


def choice(name: str, state: JsonObject) -> Iterator[Problem]:
    """Find a Choice that does not know where to go."""
    if not state.get("Default"):
        yield Problem(name, "has no Default: what no rule matches would end the execution")


def distributed_map(name: str, state: JsonObject) -> Iterator[Problem]:
    """Find a Map that does not read its items from S3, leave its results there, and take its limits from the document.

    By these the state does not grow with the number of chunks.
    """
    if not re.fullmatch(rf"[A-Za-z0-9_-]{{1,{MAX_LABEL_CHARACTERS}}}", str(state.get("Label", ""))):
        yield Problem(name, f"needs a Label of {MAX_LABEL_CHARACTERS} letters and digits at most: its Map Runs' ARNs have it")
    if state.get("ResultPath", "$") is not None:
        yield Problem(name, "its results would pass 256 KiB of state: ResultPath must be null")
    for field in ("ItemSelector", "MaxConcurrencyPath", "ToleratedFailurePercentagePath"):
        if not state.get(field):
            yield Problem(name, f"has no {field}")
    processor = state.get("ItemProcessor", {})
    given: dict[str, Any] = {**state, "ProcessorConfig": processor.get("ProcessorConfig")}
    for field, expected in MAP_FIELDS.items():
        value = given.get(field)
        fixed = {inner: part for inner, part in value.items() if inner != "Parameters"} if isinstance(value, dict) else value
        if fixed != expected:
            yield Problem(name, f"{field} must be {expected}, beside its Parameters: see MAP_FIELDS")
    parameters = {"ItemReader": {"Bucket.$", "Key.$"}, "ResultWriter": {"Bucket.$", "Prefix.$"}}
    for field, names in parameters.items():
        found = state.get(field, {}).get("Parameters")
        if not isinstance(found, dict) or found.keys() != names:
            yield Problem(name, f"{field}.Parameters must be {', '.join(sorted(names))}")
    for field in processor.keys() - {"ProcessorConfig", "StartAt", "States"}:
        yield Problem(name, f"ItemProcessor has the unknown field {field}")
