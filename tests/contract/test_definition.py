"""The state machine keeps its own rules."""

from state_names import resource_of

FIELD_ORDER = ["Type", "Comment", "Label", "Resource", "TimeoutSeconds", "ItemReader", "InputPath", "Parameters", "ItemSelector",
               "Choices", "Default", "MaxConcurrencyPath", "ToleratedFailurePercentagePath", "ItemProcessor", "ResultWriter",
               "ResultPath", "OutputPath", "Retry", "Catch", "Next", "End", "ErrorPath", "CausePath"]  # fmt: skip


def by_type(states, state_type):
    return {name: state for name, state in states.items() if state["Type"] == state_type}


def test_every_state_says_what_it_guarantees(states):
    assert [name for name, state in states.items() if not state.get("Comment")] == []


def test_fields_stand_in_the_same_order_everywhere(states):
    for name, state in states.items():
        positions = [FIELD_ORDER.index(field) for field in state]
        assert positions == sorted(positions), name


def test_every_task_has_the_same_two_retriers(states):
    retriers = [task["Retry"] for task in by_type(states, "Task").values()]
    assert len(retriers[0]) == 2
    assert all(retry == retriers[0] for retry in retriers)


def test_bugs_and_bad_input_are_never_retried(states):
    retried = {error for task in by_type(states, "Task").values() for retrier in task["Retry"] for error in retrier["ErrorEquals"]}
    assert not retried & {"States.ALL", "States.TaskFailed"}
    assert {error for error in retried if "." not in error} == {"TransientS3Error"}


def test_every_task_and_map_catches_everything_in_the_end(states):
    for name, state in states.items():
        if state["Type"] in {"Task", "Map"}:
            assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"], name
            assert all(catcher["ResultPath"].startswith("$.") for catcher in state["Catch"]), name


def test_every_fail_has_error_and_cause(states):
    fails = by_type(states, "Fail")
    assert set(fails) == {"Request Rejected", "Prediction Failed", "Failure Unexplained", "Chunk Failed"}
    for fail in fails.values():
        assert fail["ErrorPath"]
        assert fail["CausePath"]


def test_every_state_can_be_reached_and_every_target_exists(definition):
    machines = [definition, definition["States"]["Predict Chunks"]["ItemProcessor"]]
    for machine in machines:
        reached, waiting = set(), [machine["StartAt"]]
        while waiting:
            name = waiting.pop()
            if name in reached:
                continue
            reached.add(name)
            state = machine["States"][name]
            waiting += [state[field] for field in ("Next", "Default") if field in state]
            waiting += [item["Next"] for item in state.get("Catch", []) + state.get("Choices", [])]
        assert reached == set(machine["States"])


def test_no_state_overwrites_what_another_wrote(definition):
    written = [
        state["ResultPath"] for state in definition["States"].values() if state.get("ResultPath") and state["ResultPath"] != "$"
    ]
    assert len(written) == len(set(written))


def test_a_task_gives_up_after_its_function_does(states, template):
    default = template["Globals"]["Function"]["Timeout"]
    for name, task in by_type(states, "Task").items():
        function = template["Resources"][resource_of(name)]["Properties"]
        assert task["TimeoutSeconds"] > function.get("Timeout", default), name


def test_the_map_takes_its_limits_from_the_document(definition):
    state = definition["States"]["Predict Chunks"]
    assert state["MaxConcurrencyPath"] == "$.request.max_concurrency"
    # The request's is of all chunks, but the Map sees only those that are left to do.
    assert state["ToleratedFailurePercentagePath"] == "$.plan.tolerated_failure_percentage"
