"""Definitions that are broken on purpose, each in one place, and what the check must say of it."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from tools.states import all_states

if TYPE_CHECKING:
    from collections.abc import Callable


class Mutation(NamedTuple):
    """One fault."""

    fault: str
    """In words, for docs/definition.md."""
    problem: str
    """A line that the check must print, or its beginning."""
    change: Callable[[dict[str, Any]], object] = lambda _: None
    """Of the states by name, `""` for the definition itself."""
    text: Callable[[str], str] = lambda text: text
    """Of the definition as it is written."""
    template: Callable[[dict[str, Any]], object] = lambda _: None
    """Of the template."""

    def applied(self, definition: dict[str, Any], template: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the broken definition as text, and the template."""
        definition, template = copy.deepcopy(definition), copy.deepcopy(template)
        self.change({"": definition, **dict(all_states(definition))})
        self.template(template["Resources"])
        return self.text(json.dumps(definition, indent=2, ensure_ascii=False)), template


def put(state: str, **fields: Any) -> Callable[[dict[str, Any]], object]:
    return lambda states: states[state].update(fields)


def drop(state: str, *fields: str) -> Callable[[dict[str, Any]], object]:
    return lambda states: [states[state].pop(field) for field in fields]


def put_in(state: str, *steps: str | int, **fields: Any) -> Callable[[dict[str, Any]], object]:
    """Set fields of an object within a state."""

    def change(states: dict[str, Any]) -> None:
        found = states[state]
        for step in steps:
            found = found[step]
        found.update(fields)

    return change


def drop_in(state: str, field: str, item: str | int) -> Callable[[dict[str, Any]], object]:
    return lambda states: states[state][field].pop(item)


def renamed(state: str, old: str, new: str) -> Callable[[dict[str, Any]], object]:
    """Give a field another name, in its place."""

    def change(states: dict[str, Any]) -> None:
        fields = [(new if name == old else name, value) for name, value in states[state].items()]
        states[state].clear()
        states[state].update(fields)

    return change


def add_state(name: str, **fields: Any) -> Callable[[dict[str, Any]], object]:
    return lambda states: states[""]["States"].update({name: {"Comment": "New.", **fields}})


def swap_retriers(states: dict[str, Any]) -> None:
    states["Merge Outputs"]["Retry"].reverse()


def swap_catchers(states: dict[str, Any]) -> None:
    states["Plan Chunks"]["Catch"].reverse()


def loop_without_a_choice(states: dict[str, Any]) -> None:
    states["Explain Failure"]["Next"] = "Plan Chunks"
    states["Decide What To Run"].update({"Type": "Pass", "Next": "Merge Outputs"})
    for field in ("Choices", "Default"):
        del states["Decide What To Run"][field]


def moved_to_the_end(state: str, field: str) -> Callable[[dict[str, Any]], object]:
    return lambda states: states[state].update({field: states[state].pop(field)})


def in_choice(number: int, **fields: Any) -> Callable[[dict[str, Any]], object]:
    """Replace the operator of a rule of Decide What To Run."""

    def change(states: dict[str, Any]) -> None:
        rule = states["Decide What To Run"]["Choices"][number]
        rules = {"Variable": rule["Variable"], "Next": rule["Next"], **fields}
        states["Decide What To Run"]["Choices"][number] = rules

    return change


def plan_thrown_away(states: dict[str, Any]) -> None:
    states["Plan Chunks"]["ResultPath"] = None
    del states["Decide What To Run"]["Choices"][2], states["Planned"]["OutputPath"]


def fixed_concurrency(states: dict[str, Any]) -> None:
    del states["Predict Chunks"]["MaxConcurrencyPath"]
    states["Predict Chunks"]["MaxConcurrency"] = 9


def two_dead_ends(states: dict[str, Any]) -> None:
    """Two states that lead to each other alone."""
    states["Is Merged"].update({"Default": "Merge Outputs"})
    states["Merge Outputs"]["Catch"][-1]["Next"] = "Is Merged"


OTHER_RETRIERS = "has not the four retriers"

MUTATIONS = [
    # --- the file
    Mutation("a file that is cut off", "definition: Unterminated", text=lambda text: text[: text.index("Plan Chunks")]),
    Mutation("not an object", "definition: is no JSON object", text=lambda text: f"[{text}]"),
    Mutation(
        "a key twice",
        "definition: the key 'Next' stands twice",
        text=lambda text: text.replace('"Next": "Probe Model"', '"Next": "Nowhere", "Next": "Probe Model"'),
    ),
    Mutation("larger than 1 MB", "definition: has more than 1048576 bytes", put("", Comment="x" * 2**20)),
    # --- fields
    Mutation("StartAt is missing", "definition: 'StartAt' is a required property", drop("", "StartAt")),
    Mutation("an unknown field of the definition", "definition: Additional properties", put("", Timeout=1)),
    Mutation("a state's Type with a typo", "Planned: Type: 'Success' is not one of", put("Planned", Type="Success")),
    Mutation("a Task without Resource", "Plan Chunks: 'Resource' is a required property", drop("Plan Chunks", "Resource")),
    Mutation("a Task without Next and End", "Plan Chunks: needs one of Next, End, but has none", drop("Plan Chunks", "Next")),
    Mutation("a Task with Next and End", "Plan Chunks: needs one of Next, End, but has Next and End", put("Plan Chunks", End=True)),
    Mutation("a field with a typo", "Plan Chunks: Additional properties", renamed("Plan Chunks", "ResultPath", "ResultsPath")),
    Mutation(
        "a field of another Type", "Published: Additional properties", put("Published", Resource="${MergeOutputsFunctionArn}")
    ),
    Mutation(
        "a field of JSONata",
        "Plan Chunks: Arguments is not among the fields",
        put("Plan Chunks", Arguments={}),
    ),
    Mutation(
        "a time-out that is text", "Plan Chunks: TimeoutSeconds: '910' is not of type", put("Plan Chunks", TimeoutSeconds="910")
    ),
    Mutation(
        "an unknown field of a Catch",
        "Plan Chunks: Catch.0: Additional properties",
        put_in("Plan Chunks", "Catch", 0, Resultpath="$.failure"),
    ),
    Mutation(
        "an unknown field of a retrier",
        "Plan Chunks: Retry.0: Additional properties",
        put_in("Plan Chunks", "Retry", 0, MaxDelay=60),
    ),
    Mutation(
        "a field that nobody thought about", "Plan Chunks: HeartbeatSeconds is not among", put("Plan Chunks", HeartbeatSeconds=9)
    ),
    Mutation(
        "fields in another order",
        "Planned: OutputPath stands before Type",
        moved_to_the_end("Planned", "Type"),
    ),
    Mutation("a state without Comment", "Probe Model: has no Comment", drop("Probe Model", "Comment")),
    Mutation(
        "a Catch without Comment", "Probe Model: Catch[1] has no Comment", lambda s: s["Probe Model"]["Catch"][1].pop("Comment")
    ),
    Mutation("a Choice without rules", "Is Merged: Choices: [] should be non-empty", put("Is Merged", Choices=[])),
    # --- the graph
    Mutation("StartAt names no state", "definition: StartAt Begin is no state here", put("", StartAt="Begin")),
    Mutation("Next names no state", "Plan Chunks: Next Decide is no state here", put("Plan Chunks", Next="Decide")),
    Mutation("Default names no state", "Is Merged: Default Done is no state here", put("Is Merged", Default="Done")),
    Mutation(
        "a Catch names no state",
        "Plan Chunks: Catch Next Explain is no state here",
        put_in("Plan Chunks", "Catch", 0, Next="Explain"),
    ),
    Mutation(
        "a Choice names no state",
        "Is Merged: Choices Next Merge is no state here",
        put_in("Is Merged", "Choices", 0, Next="Merge"),
    ),
    Mutation(
        "a child leads out of its Map",
        "Record Failure: Next Explain Failure is no state here",
        put("Record Failure", Next="Explain Failure"),
    ),
    Mutation(
        "the Map's StartAt names no state",
        "Predict Chunks: StartAt Predict is no state here",
        put_in("Predict Chunks", "ItemProcessor", StartAt="Predict"),
    ),
    Mutation("a state that is never reached", "Left Over: is never reached", add_state("Left Over", Type="Succeed")),
    Mutation("a state that is skipped", "Probe Model: is never reached", put("Validate Request", Next="Plan Chunks")),
    Mutation("states that never reach an end", "Is Merged: never reaches an end", two_dead_ends),
    Mutation(
        "a state that leads to itself", "Record Failure: loops without a Choice", put("Record Failure", Next="Record Failure")
    ),
    Mutation("a loop without a Choice", "Explain Failure: loops without a Choice", loop_without_a_choice),
    Mutation("a Choice without Default", "Is Merged: has no Default", drop("Is Merged", "Default")),
    Mutation(
        "an unknown operator of a Choice",
        "Decide What To Run: Choices.2: Additional properties",
        in_choice(2, NumericEqual=0),
    ),
    # --- retries, catches, ends
    Mutation("a Task without Retry", f"Merge Outputs: {OTHER_RETRIERS}", drop("Merge Outputs", "Retry")),
    Mutation("a Task that lacks a retrier", f"Merge Outputs: {OTHER_RETRIERS}", drop_in("Merge Outputs", "Retry", 1)),
    Mutation("retriers in another order", f"Merge Outputs: {OTHER_RETRIERS}", swap_retriers),
    Mutation("fewer attempts in one state", f"Predict Chunk: {OTHER_RETRIERS}", put_in("Predict Chunk", "Retry", 0, MaxAttempts=3)),
    Mutation("no jitter", f"Predict Chunk: {OTHER_RETRIERS}", lambda s: s["Predict Chunk"]["Retry"][0].pop("JitterStrategy")),
    Mutation(
        "bad input is retried",
        f"Predict Chunk: {OTHER_RETRIERS}",
        lambda s: s["Predict Chunk"]["Retry"][0]["ErrorEquals"].append("InvalidDataError"),
    ),
    Mutation(
        "everything is retried",
        "Predict Chunk: Retry of States.ALL repeats bugs",
        put_in("Predict Chunk", "Retry", 1, ErrorEquals=["States.ALL"]),
    ),
    Mutation(
        "every failed Task is retried",
        "Predict Chunk: Retry of States.TaskFailed repeats bugs",
        put_in("Predict Chunk", "Retry", 1, ErrorEquals=["States.TaskFailed"]),
    ),
    Mutation("a Task without Catch", "Merge Outputs: does not catch States.ALL", drop("Merge Outputs", "Catch")),
    Mutation("a Map without Catch", "Predict Chunks: does not catch States.ALL", drop("Predict Chunks", "Catch")),
    Mutation("the last Catch is missing", "Plan Chunks: does not catch States.ALL", drop_in("Plan Chunks", "Catch", 1)),
    Mutation("Catches in another order", "Plan Chunks: Catch[0] names States.ALL, which must stand alone and last", swap_catchers),
    Mutation(
        "an error name with a typo",
        "Plan Chunks: Catch[0] names InvalidRequest, which nothing raises",
        put_in("Plan Chunks", "Catch", 0, ErrorEquals=["InvalidRequest"]),
    ),
    Mutation(
        "a Catch that loses the document",
        "Plan Chunks: Catch[1] loses the document",
        lambda s: s["Plan Chunks"]["Catch"][1].pop("ResultPath"),
    ),
    Mutation("a Fail without Error", "Prediction Failed: has no Error", drop("Prediction Failed", "ErrorPath")),
    Mutation("a Fail without Cause", "Chunk Failed: has no Cause", drop("Chunk Failed", "CausePath")),
    Mutation("a Fail with Cause and CausePath", "Chunk Failed: has Cause and CausePath", put("Chunk Failed", Cause="Lost.")),
    # --- functions
    Mutation(
        "a time-out before the function's",
        "Merge Outputs: TimeoutSeconds must be above the 900 s",
        put("Merge Outputs", TimeoutSeconds=900),
    ),
    Mutation("a Task without time-out", "Merge Outputs: TimeoutSeconds must be above", drop("Merge Outputs", "TimeoutSeconds")),
    Mutation(
        "another state's function",
        "Merge Outputs: Resource ${PlanChunksFunctionArn} is not its function",
        put("Merge Outputs", Resource="${PlanChunksFunctionArn}"),
    ),
    Mutation(
        "a literal ARN",
        "Merge Outputs: Resource arn:aws:lambda:us-east-1:123456789012:function:merge is not its function",
        put("Merge Outputs", Resource="arn:aws:lambda:us-east-1:123456789012:function:merge"),
    ),
    Mutation(
        "a substitution that is not declared",
        "definition: ${MergeFunctionArn} is not declared",
        put("Merge Outputs", Resource="${MergeFunctionArn}"),
    ),
    Mutation(
        "a declared substitution that is not used",
        "definition: ${OldFunctionArn} is declared in the template, but not used",
        template=lambda r: r["StateMachine"]["Properties"]["DefinitionSubstitutions"].update(OldFunctionArn="x"),
    ),
    Mutation(
        "a substitution by another function's ARN",
        "definition: ${MergeOutputsFunctionArn} is not !GetAtt MergeOutputsFunction.Arn",
        template=lambda r: r["StateMachine"]["Properties"]["DefinitionSubstitutions"].update(
            MergeOutputsFunctionArn={"Fn::GetAtt": ["PlanChunksFunction", "Arn"]}
        ),
    ),
    Mutation(
        "something else than an ARN substituted",
        "definition: ${MergeOutputsFunctionArn} stands elsewhere",
        put("Merge Outputs", Comment="${MergeOutputsFunctionArn}"),
    ),
    Mutation(
        "a function that the template does not have",
        "Record Failure: Resource ${RecordFailureFunctionArn} is not its function",
        template=lambda r: r.pop("RecordFailureFunction"),
    ),
    Mutation(
        "a function without its file",
        "Record Failure: its function has no file functions/workflow/record.py",
        template=lambda r: r["RecordFailureFunction"]["Properties"].update(Handler="workflow.record.lambda_handler"),
    ),
    # --- the Map
    Mutation("a Map without Label", "Predict Chunks: needs a Label", drop("Predict Chunks", "Label")),
    Mutation("a Label that no ARN may have", "Predict Chunks: needs a Label", put("Predict Chunks", Label="Predict Chunks")),
    Mutation("a Map without ItemReader", "Predict Chunks: ItemReader must be", drop("Predict Chunks", "ItemReader")),
    Mutation("a Map without ResultWriter", "Predict Chunks: ResultWriter must be", drop("Predict Chunks", "ResultWriter")),
    Mutation("a Map without ItemSelector", "Predict Chunks: has no ItemSelector", drop("Predict Chunks", "ItemSelector")),
    Mutation(
        "a Map that reads CSV",
        "Predict Chunks: ItemReader must be",
        put_in("Predict Chunks", "ItemReader", "ReaderConfig", InputType="CSV"),
    ),
    Mutation(
        "a fixed object as the plan",
        "Predict Chunks: ItemReader.Parameters must be",
        put_in("Predict Chunks", "ItemReader", Parameters={"Bucket": "bucket", "Key": "plan.json"}),
    ),
    Mutation(
        "an inline Map",
        "Predict Chunks: ProcessorConfig must be",
        put_in("Predict Chunks", "ItemProcessor", ProcessorConfig={"Mode": "INLINE"}),
    ),
    Mutation(
        "Express children",
        "Predict Chunks: ProcessorConfig must be",
        put_in("Predict Chunks", "ItemProcessor", "ProcessorConfig", ExecutionType="EXPRESS"),
    ),
    Mutation(
        "fixed concurrency",
        "Predict Chunks: has no MaxConcurrencyPath",
        fixed_concurrency,
    ),
    Mutation(
        "the Map's results in the state", "Predict Chunks: its results would pass 256 KiB", put("Predict Chunks", ResultPath="$.x")
    ),
    Mutation(
        "a Map without children", "Predict Chunks: needs one of ItemProcessor, Iterator", drop("Predict Chunks", "ItemProcessor")
    ),
    # --- paths and calls
    Mutation("a path with a hole", "Planned: OutputPath: $..plan is no path", put("Planned", OutputPath="$..plan")),
    Mutation("a path without $", "Planned: OutputPath: plan is no path", put("Planned", OutputPath="plan")),
    Mutation(
        "a filter in a path",
        "Planned: OutputPath: $.plan[?(@.chunks)] is no path of named fields",
        put("Planned", OutputPath="$.plan[?(@.chunks)]"),
    ),
    Mutation(
        "a result into the context object",
        "Merge Outputs: ResultPath: $$.Execution.Name cannot be written",
        put("Merge Outputs", ResultPath="$$.Execution.Name"),
    ),
    Mutation(
        "an unknown field of the context object",
        "Receive Request: Parameters.execution.name.$: $$.Execution.Nom is not in the context object",
        put_in("Receive Request", "Parameters", "execution", **{"name.$": "$$.Execution.Nom"}),
    ),
    Mutation(
        "an item outside of a Map",
        "Explain Rejection: Parameters.error.$: $$.Map.Item.Value exists only in an ItemSelector",
        put_in("Explain Rejection", "Parameters", **{"error.$": "$$.Map.Item.Value"}),
    ),
    Mutation(
        "a path that is taken as text",
        "Predict Chunks: ItemSelector.execution_arn is taken as it is written",
        put_in("Predict Chunks", "ItemSelector", execution_arn="$.execution.arn"),
    ),
    Mutation(
        "an unknown intrinsic function",
        "Explain Rejection: Parameters.details.$: States.ParseJson is no intrinsic function",
        put_in("Explain Rejection", "Parameters", **{"details.$": "States.ParseJson($.failure.Cause)"}),
    ),
    Mutation(
        "too few arguments",
        "Predict Chunks: ItemSelector.event.$: States.JsonMerge does not take 2 arguments",
        put_in("Predict Chunks", "ItemSelector", **{"event.$": "States.JsonMerge($.prediction, $$.Map.Item.Value)"}),
    ),
    Mutation(
        "a deep merge",
        "Predict Chunks: ItemSelector.event.$: States.JsonMerge knows only shallow merging",
        put_in("Predict Chunks", "ItemSelector", **{"event.$": "States.JsonMerge($.prediction, $$.Map.Item.Value, true)"}),
    ),
    Mutation(
        "a bracket too few",
        "Explain Rejection: Parameters.details.$: States.StringToJson($.failure.Cause lacks",
        put_in("Explain Rejection", "Parameters", **{"details.$": "States.StringToJson($.failure.Cause"}),
    ),
    # --- the data flow
    Mutation(
        "a function is not given what it needs",
        "Validate Request: its function is not given execution.name coming from Receive Request",
        lambda states: states["Receive Request"]["Parameters"]["execution"].pop("name.$"),
    ),
    Mutation(
        "a chunk's function is given what is around its event",
        "Predict Chunk: its function is not given model_etag at the start",
        drop("Predict Chunk", "InputPath"),
    ),
    Mutation(
        "a function is entered before its document is there",
        "Merge Outputs: its function is not given plan coming from Probe Model",
        put("Probe Model", Next="Merge Outputs"),
    ),
    Mutation(
        "a field with a typo is read",
        "Decide What To Run: Variable reads $.request.dryrun, which may not be there coming from Plan Chunks",
        put_in("Decide What To Run", "Choices", 1, Variable="$.request.dryrun"),
    ),
    Mutation("a field that nothing writes", "Planned: OutputPath reads $.plans", put("Planned", OutputPath="$.plans")),
    Mutation(
        "a state before what it reads",
        "Predict Chunks: ItemReader.Bucket.$ reads $.plan.bucket, which may not be there coming from Probe Model",
        put("Probe Model", Next="Predict Chunks"),
    ),
    Mutation(
        "the unfinished result is taken for the plan",
        "Decide What To Run: Variable reads $.plan.pending_chunks, which may not be there coming from Plan Chunks",
        drop_in("Decide What To Run", "Choices", 0),
    ),
    Mutation(
        "a result under another name", "Probe Model: InputPath reads $.probe", put("Validate Request", ResultPath="$.validated")
    ),
    Mutation(
        "a result that is thrown away",
        "Predict Chunks: ItemReader.Bucket.$ reads $.plan.bucket",
        plan_thrown_away,
    ),
    Mutation(
        "a failure that no Catch wrote",
        "Failure Unexplained: ErrorPath reads $.explain_failures.Error",
        put("Failure Unexplained", ErrorPath="$.explain_failures.Error"),
    ),
    Mutation(
        "a Catch that writes elsewhere",
        "Chunk Failed: CausePath reads $.failure.Cause",
        put_in("Predict Chunk", "Catch", 0, ResultPath="$.lost"),
    ),
    Mutation(
        "a child reads what the item lacks", "Predict Chunk: InputPath reads $.chunk", put("Predict Chunk", InputPath="$.chunk")
    ),
    Mutation(
        "a number compared with a truth value",
        "Decide What To Run: $.plan.pending_chunks is int, not Boolean",
        in_choice(2, BooleanEquals=False),
    ),
    Mutation(
        "an object as the Error",
        "Prediction Failed: ErrorPath $.explanation is no text",
        put("Prediction Failed", ErrorPath="$.explanation"),
    ),
    Mutation(
        "a state overwrites another's result",
        "Merge Outputs: overwrites $.plan of Plan Chunks",
        put("Merge Outputs", ResultPath="$.plan"),
    ),
    Mutation(
        "a Catch overwrites a result",
        "Plan Chunks: its Catch overwrites $.plan of Plan Chunks",
        put_in("Plan Chunks", "Catch", 1, ResultPath="$.plan"),
    ),
]
