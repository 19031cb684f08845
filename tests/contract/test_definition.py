"""What is particular to this state machine; the rules of any are in `tools/check_definition.py`."""

import re
import typing

from workflow import contract


def test_the_map_takes_its_limits_from_the_document(definition):
    state = definition["States"]["Predict Chunks"]
    assert state["MaxConcurrencyPath"] == "$.request.max_concurrency"
    # The request's is of all chunks, but the Map sees only those that are left to do.
    assert state["ToleratedFailurePercentagePath"] == "$.plan.tolerated_failure_percentage"


def test_a_plan_that_somebody_has_changed_cannot_say_what_the_request_says(definition):
    """The Map reads its items from S3, where anyone who may write outputs may write: they must not be able to lift the pin."""
    event = definition["States"]["Predict Chunks"]["ItemSelector"]["event.$"]
    merged_in_order = re.findall(r"\$[\w.$]+", event)
    assert re.sub(r"\$[\w.$]+", "x", event) == "States.JsonMerge(States.JsonMerge(x, x, false), x, false)"  # the second one wins

    request = dict.fromkeys(typing.get_type_hints(contract.PredictionFields), "the request's")
    agreed = dict.fromkeys(typing.get_type_hints(contract.Agreed), "the plan's")
    forged = dict.fromkeys({**request, **agreed}, None) | {"chunk_index": 0}
    documents = {"$.prediction": request, "$.plan.agreed": agreed, "$$.Map.Item.Value": forged}
    merged = {field: value for name in merged_in_order for field, value in documents[name].items()}
    assert merged == request | agreed | {"chunk_index": 0}
