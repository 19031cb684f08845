"""What is particular to this state machine; the rules of any are in `tools/state_rules.py`."""


def test_the_ends_are_these(states):
    ends = {name for name, state in states.items() if state["Type"] in {"Succeed", "Fail"}}
    assert ends == {"Planned", "Published", "Request Rejected", "Prediction Failed", "Failure Unexplained", "Chunk Failed"}


def test_the_map_takes_its_limits_from_the_document(definition):
    state = definition["States"]["Predict Chunks"]
    assert state["MaxConcurrencyPath"] == "$.request.max_concurrency"
    # The request's is of all chunks, but the Map sees only those that are left to do.
    assert state["ToleratedFailurePercentagePath"] == "$.plan.tolerated_failure_percentage"
