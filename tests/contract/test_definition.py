"""What is particular to this state machine; the rules of any are in `tools/state_rules.py`."""

import typing

from tools.state_paths import Call, Literal, parse
from workflow import contract


def test_the_ends_are_these(states):
    ends = {name for name, state in states.items() if state["Type"] in {"Succeed", "Fail"}}
    assert ends == {"Planned", "Published", "Request Rejected", "Prediction Failed", "Failure Unexplained", "Chunk Failed"}


def test_the_map_takes_its_limits_from_the_document(definition):
    state = definition["States"]["Predict Chunks"]
    assert state["MaxConcurrencyPath"] == "$.request.max_concurrency"
    # The request's is of all chunks, but the Map sees only those that are left to do.
    assert state["ToleratedFailurePercentagePath"] == "$.plan.tolerated_failure_percentage"


def merged(expression, documents):
    """Evaluate `States.JsonMerge`, where the second document wins."""
    if isinstance(expression, Call):
        assert expression.function == "States.JsonMerge"
        first, second, deep = expression.arguments
        assert deep == Literal("false")
        return {**merged(first, documents), **merged(second, documents)}
    return documents[expression.text]


def test_a_plan_that_somebody_has_changed_cannot_say_what_the_request_says(definition):
    """The Map reads its items from S3, where who may write outputs may write, too: the model's pin is not theirs to lift."""
    event = parse(definition["States"]["Predict Chunks"]["ItemSelector"]["event.$"], of_item=True)
    request = dict.fromkeys(typing.get_type_hints(contract.PredictionFields), "the request's")
    agreed = dict.fromkeys(typing.get_type_hints(contract.Agreed), "the plan's")
    forged = dict.fromkeys({**request, **agreed}, None) | {"chunk_index": 0}
    documents = {"$.prediction": request, "$.plan.agreed": agreed, "$$.Map.Item.Value": forged}
    assert merged(event, documents) == request | agreed | {"chunk_index": 0}
