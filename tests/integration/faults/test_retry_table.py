"""Which error is tried how often, and how the execution ends: read from its history, state by state and name by name."""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from runs import Case, grouped, tree_bytes

from batch_predict.deployed import stack_directory
from batch_predict.local.aws import STACK_PARAMETERS
from batch_predict.local.deploy import deploy
from support.histories import attempts, child_histories, history, states_entered
from support.s3_proxy import FUNCTIONS, function_names
from tools.check_definition import all_states, targets
from workflow import errors

pytestmark = [
    pytest.mark.emulator("it deploys a stack whose functions fail"),
    pytest.mark.timeout(600),  # the first test waits for all executions
]

STACK = "failing"
EXECUTIONS_AT_ONCE = 4
FUNCTION_SECONDS = 15  # of the function that never ends; others may take as long on a machine that is busy

# What docs/failures.md and the Comments of the state machine promise. Written down here, not read from the definition.
ATTEMPTS = {
    "TransientS3Error": 6,
    "Lambda.ServiceException": 6,
    "Lambda.AWSLambdaException": 6,
    "Lambda.SdkClientException": 6,
    "Lambda.ClientExecutionTimeoutException": 6,
    "Lambda.TooManyRequestsException": 1001,
    "Lambda.CodeArtifactUserPendingException": 7,
    "Lambda.CodeArtifactUserDeletedException": 7,
    "Lambda.ResourceNotReadyException": 7,
    "Lambda.ResourceConflictException": 7,
    "Runtime.OutOfMemory": 2,
    "Lambda.Unknown": 2,
    "Sandbox.Timedout": 2,
    "Runtime.ExitError": 2,
    "States.Timeout": 2,
    "InvalidRequestError": 1,
    "InputNotFoundError": 1,
    "InputChangedError": 1,
    "InvalidDataError": 1,
    "ModelError": 1,
    "UnsafeSplitError": 1,
    "ColumnTypeError": 1,
    "InternalError": 1,
    "IncompleteOutputError": 1,
    "MissingChunksError": 1,
    "OutputExistsError": 1,
}

REJECTED = {"InvalidRequestError", "InputNotFoundError", "OutputExistsError"}
"""Before anything is scored, the caller must change something."""

ENDS = {
    "Validate Request": lambda error: ("Request Rejected" if error in REJECTED else "Prediction Failed", error),
    "Probe Model": lambda error: ("Request Rejected" if error in REJECTED else "Prediction Failed", error),
    "Plan Chunks": lambda error: ("Request Rejected" if error in REJECTED else "Prediction Failed", error),
    "Predict Chunk": lambda error: ("Prediction Failed", error),
    "Record Failure": lambda _: ("Prediction Failed", "MissingChunksError"),  # no record says why the chunk is missing
    "Merge Outputs": lambda error: ("Prediction Failed", error),
    "Explain Failure": lambda _: ("Failure Unexplained", "MissingChunksError"),  # as the merge has said it
}
"""Every Task, and where the execution ends when it fails with an error."""

STATE_OF = {f"{state.replace(' ', '')}Function": state for state in ENDS if state not in {"Probe Model", "Predict Chunk"}}

ADVICE = {
    "Lambda.Unknown": "raise PredictMemorySize or lower chunk_size_mb",
    "Runtime.OutOfMemory": "raise PredictMemorySize or lower chunk_size_mb",
    "Lambda.TooManyRequestsException": "Set max_concurrency to the concurrent executions that the account has free",
    "Lambda.CodeArtifactUserPendingException": "start the request again when its state is Active",
    "Runtime.ExitError": "raise PredictMemorySize or lower chunk_size_mb",
    "Sandbox.Timedout": "lower chunk_size_mb",
    "States.Timeout": "lower chunk_size_mb",
}


class Order(NamedTuple):
    """What shall fail."""

    state: str
    error: str
    reported: str
    """Name under which it arrives."""

    def __str__(self) -> str:
        return f"{self.state}: {self.error}"


AS_PENDING = {"Lambda.CodeArtifactUserDeletedException", "Lambda.ResourceNotReadyException", "Lambda.ResourceConflictException"}
"""They have the retrier of `Lambda.CodeArtifactUserPendingException`, and all states have the same (`make check-definition`)."""

ORDERS = [
    *(Order(state, error, error) for state in ENDS for error in ATTEMPTS if error not in AS_PENDING or state == "Predict Chunk"),
    # What the runtime itself reports, also of AWS's.
    Order("Plan Chunks", "kill -9", "Runtime.ExitError"),
    Order("Predict Chunk", "kill -9", "Runtime.ExitError"),
    Order("Validate Request", "no end", "Sandbox.Timedout"),
]


@pytest.fixture(scope="module")
def failing_aws(aws, tmp_path_factory):
    """A second stack of the same template and definition, whose functions fail as ordered."""
    directory = tmp_path_factory.mktemp("failing")
    for name in ("template.yaml", "statemachine", "functions"):
        source = stack_directory() / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, directory / name)
    failing = Path(__file__).with_name("failing_function.py").read_text()
    workflow = ("validate_request", "plan_chunks", "record_failure", "merge_outputs", "explain_failure")
    for file in (directory / "functions" / "predict" / "prediction_handler.py", *workflow):
        path = file if isinstance(file, Path) else directory / "functions" / "workflow" / f"{file}.py"
        path.rename(path.with_name(f"real_{path.name}"))
        path.write_text(failing)
    outputs = deploy(aws.client, directory, bucket=aws.bucket, stack_name=STACK, parameters=STACK_PARAMETERS)
    stack = replace(aws, outputs=outputs)
    impatient = function_names(stack)["ValidateRequestFunction"]
    aws.client("lambda").update_function_configuration(FunctionName=impatient, Timeout=FUNCTION_SECONDS)
    yield stack
    aws.client("cloudformation").delete_stack(StackName=STACK)


class Told(NamedTuple):
    """What the history tells of an order."""

    attempts: list[str]
    """Errors of the state's attempts, in order."""
    other_failures: dict[str, list[str]]
    end: str
    error: str
    cause: str


@pytest.fixture(scope="module")
def request_of(failing_aws):
    """Return a request by the name of its output and its prediction column, which is the order."""
    s3 = failing_aws.client("s3")
    inputs = Case("retry-table", failing_aws.bucket)
    s3.put_object(Bucket=inputs.bucket, Key=inputs.key("models", "tree.joblib"), Body=tree_bytes())
    s3.put_object(Bucket=inputs.bucket, Key=inputs.key("data", "in.csv"), Body=grouped().objects["parts/part-0.csv"])

    def request_of(name: str, order: str) -> dict[str, object]:
        return {
            "model_s3_uri": inputs.uri("models", "tree.joblib"),
            "data_s3_uri": inputs.uri("data", "in.csv"),
            "output_s3_uri": inputs.uri("output", f"{name}/out.csv"),
            "feature_columns": ["x", "y"],
            "prediction_column_name": order,
        }

    return request_of


@pytest.fixture(scope="module")
def told(request, failing_aws, request_of, run_execution):
    """What the histories tell of the orders that are to be looked at."""
    wanted = [item.callspec.params["order"] for item in request.session.items if "order" in getattr(item, "fixturenames", ())]

    def tell(numbered: tuple[int, Order]) -> Told:
        number, order = numbered
        execution = run_execution(failing_aws, request_of(str(number), f"fail at {order.state} with {order.error}"))
        assert execution["status"] == "FAILED", order
        failed = by_state(attempts(history(failing_aws, execution)), "Probe Model")
        for events in child_histories(failing_aws, execution).values():
            failed |= by_state(attempts(events), "Predict Chunk")
        end = states_entered(failing_aws, execution)[-1]
        return Told(failed.pop(order.state, []), failed, end, execution["error"], execution["cause"])

    with ThreadPoolExecutor(EXECUTIONS_AT_ONCE) as pool:
        return dict(zip(wanted, pool.map(tell, enumerate(wanted)), strict=True))


def by_state(attempts_by_resource, state_of_the_prediction_function):
    """Name the states by their functions; the prediction function has two, one of them in the children."""
    states = {STATE_OF.get(name, state_of_the_prediction_function): name for name in FUNCTIONS}
    return {
        state: errors
        for state, name in states.items()
        for resource, errors in attempts_by_resource.items()
        if f"-{name}-" in resource
    }


def test_the_table_has_every_error_and_every_task():
    assert errors.ERRORS.keys() <= ATTEMPTS.keys()
    definition = json.loads((stack_directory() / "statemachine/batch_prediction.asl.json").read_text())
    assert {name for name, state in all_states(definition) if state["Type"] == "Task"} == set(ENDS)


WAYS = [
    ("no order", "SUCCEEDED"),
    ("answer at Plan Chunks with continuation", "SUCCEEDED"),
    ("answer at Plan Chunks with pending_key", "FAILED"),
    ("answer at Merge Outputs with continuation", "SUCCEEDED"),
    ("answer at Explain Failure with published", "SUCCEEDED"),
    ("answer at Explain Failure with plan_exactly", "SUCCEEDED"),
    ("fail at Merge Outputs with ModelError", "FAILED"),
]
"""Orders of executions that go where no error of `ORDERS` leads, and how they end."""


@pytest.mark.thorough
def test_every_edge_of_the_definition_is_walked(failing_aws, told, request_of, run_execution):
    """Each Next, Catch and Choice: a path that reads what is not there would end an execution otherwise than it is asked to."""
    if len(told) < len(ORDERS):
        pytest.skip("it looks at the executions of all orders")
    for order, end in WAYS:
        wanted = request_of(order, order)
        assert run_execution(failing_aws, wanted)["status"] == end, order
    assert run_execution(failing_aws, wanted)["status"] == "FAILED"  # as the last one, whose chunks are there already
    assert run_execution(failing_aws, request_of("dry", "no order") | {"dry_run": True})["status"] == "SUCCEEDED"

    states = failing_aws.client("stepfunctions")
    machine = states.describe_state_machine(stateMachineArn=failing_aws.state_machine_arn)
    pages = states.get_paginator("list_executions").paginate(stateMachineArn=failing_aws.state_machine_arn)
    ways = [states_entered(failing_aws, execution) for page in pages for execution in page["executions"]]
    edges = {(name, target) for name, state in json.loads(machine["definition"])["States"].items() for target in targets(state)}
    assert {edge for way in ways for edge in pairwise(way)} == edges
    # The emulator's history has no states of the Map's children: the orders of its two Tasks go into their Catches.


@pytest.mark.thorough
@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_attempts_and_end(order, told):
    history = told[order]

    assert history.attempts == [order.reported] * ATTEMPTS[order.reported]
    assert (history.end, history.error) == ENDS[order.state](order.reported)
    # Whatever else failed on the way was tried once: a chunk that was lost on purpose, and the merge that misses it.
    assert set(map(tuple, history.other_failures.values())) <= {("InvalidDataError",), ("MissingChunksError",)}
    if order.reported in ADVICE and history.error == order.reported:
        assert ADVICE[order.reported] in history.cause
    assert not re.search("Traceback|stackTrace", history.cause) or history.end == "Failure Unexplained"
