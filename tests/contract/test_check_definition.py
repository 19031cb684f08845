"""A definition that is broken on purpose is caught, each rule by one fault."""

import copy
import json

import pytest

from tools import check_definition

ALL = ["States.ALL"]


def at(definition, *path):
    """The object under a path of names and numbers; a state of the Map's children is found by its name, too."""
    found = dict(check_definition.all_states(definition)) | {"": definition}
    for step in path:
        found = found[step]
    return found


def put(*path, **fields):
    return lambda definition: at(definition, *path).update(fields)


def drop(*path):
    return lambda definition: at(definition, *path[:-1]).pop(path[-1])


def add(**fields):
    return lambda definition: definition["States"].update({"Left Over": {"Comment": "New.", **fields}})


FAULTS = [
    # The schema.
    (drop("", "StartAt"), "definition: 'StartAt' is a required property"),
    (drop("Plan Chunks", "Next"), "Plan Chunks: Only one of ['Next', 'End'] is a required property"),
    (put("Plan Chunks", ResultsPath="$.plan"), "Plan Chunks: ResultsPath: Additional properties"),
    (put("Plan Chunks", "Catch", 0, Resultpath="$.failure"), "Plan Chunks: Catch.0.Resultpath: Additional properties"),
    (put("Plan Chunks", "Retry", 0, MaxDelay=60), "Plan Chunks: Retry.0.MaxDelay: Additional properties"),
    (put("Decide What To Run", "Choices", 2, NumericEqual=0), "Decide What To Run: Choices.2.NumericEqual: Additional properties"),
    # The graph.
    (put("", StartAt="Begin"), "definition: leads to Begin, which is no state here"),
    (put("Is Merged", Default="Done"), "definition: leads to Done"),
    (put("Plan Chunks", "Catch", 0, Next="Explain"), "definition: leads to Explain"),
    (put("Record Failure", Next="Explain Failure"), "Predict Chunks: leads to Explain Failure"),
    (put("Validate Request", Next="Plan Chunks"), "Probe Model: is never reached"),
    (add(Type="Pass", Next="Left Over"), "Left Over: never reaches an end"),
    (drop("Is Merged", "Default"), "Is Merged: has no Default"),
    (put("Merge Outputs", ResultPath="$.plan"), "Merge Outputs: overwrites $.plan of Plan Chunks"),
    (put("Plan Chunks", "Catch", 1, ResultPath="$.plan"), "Plan Chunks: overwrites $.plan of Plan Chunks"),
    # Each state.
    (drop("Probe Model", "Comment"), "Probe Model: has no Comment"),
    (drop("Probe Model", "Catch", 1, "Comment"), "Probe Model: has no Comment"),
    (put("Predict Chunks", "ItemSelector", arn="$.execution.arn"), "Predict Chunks: $.execution.arn is taken as it is written"),
    (put("Merge Outputs", TimeoutSeconds=900), "Merge Outputs: TimeoutSeconds must be above the 900 s"),
    (drop("Merge Outputs", "Retry"), "Merge Outputs: has other retriers"),
    (put("Predict Chunk", "Retry", 0, MaxAttempts=3), "Predict Chunk: has other retriers"),
    (put("Predict Chunk", "Retry", 1, ErrorEquals=ALL), "Predict Chunk: Retry of States.ALL repeats bugs"),
    (drop("Plan Chunks", "Catch", 1), "Plan Chunks: must catch States.ALL, alone and last"),
    (put("Plan Chunks", "Catch", 0, ErrorEquals=ALL), "Plan Chunks: must catch States.ALL, alone and last"),
    (drop("Predict Chunks", "Catch"), "Predict Chunks: must catch States.ALL"),
    (drop("Plan Chunks", "Catch", 1, "ResultPath"), "Plan Chunks: a Catch loses the document"),
    (drop("Prediction Failed", "ErrorPath"), "Prediction Failed: needs Error or ErrorPath"),
    # The Map.
    (put("Predict Chunks", Label="Predict Chunks"), "Predict Chunks: needs a Label"),
    (drop("Predict Chunks", "ItemReader"), "Predict Chunks: must read its items from S3"),
    (put("Predict Chunks", "ItemReader", "Parameters", Key="plan.json"), "Predict Chunks: must read its items from S3, by a path"),
    (drop("Predict Chunks", "ResultWriter"), "Predict Chunks: must write its results to S3"),
    (put("Predict Chunks", ResultPath="$.chunks"), "Predict Chunks: its results would pass 256 KiB"),
    (put("Predict Chunks", "ItemProcessor", "ProcessorConfig", ExecutionType="EXPRESS"), "Predict Chunks: must run its children"),
    (drop("Predict Chunks", "MaxConcurrencyPath"), "Predict Chunks: must take MaxConcurrencyPath"),
]


@pytest.mark.parametrize(("break_it", "problem"), FAULTS, ids=[problem for _, problem in FAULTS])
def test_a_broken_definition_is_caught(definition, template, break_it, problem):
    broken = copy.deepcopy(definition)
    break_it(broken)
    found = [str(found) for found in check_definition.problems_of(json.dumps(broken), template)]
    assert any(line.startswith(problem) for line in found), found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"StartAt": "A"', "definition: Expecting ',' delimiter"),
        ("[]", "definition: is no JSON object"),
        ('{"StartAt": "A", "StartAt": "B"}', "definition: the key 'StartAt' stands twice"),
        (None, "cannot read"),
    ],
)
def test_what_is_no_definition_is_said(text, problem, tmp_path, capsys):
    file = tmp_path / "broken.asl.json"
    if text is None:
        with pytest.raises(SystemExit):
            check_definition.main([str(file)])
    else:
        file.write_text(text)
        assert check_definition.main([str(file)]) == 1
    captured = capsys.readouterr()
    assert problem in captured.out + captured.err


def test_the_definition_has_no_problem(capsys):
    assert check_definition.main([]) == 0
    assert capsys.readouterr().out == "batch_prediction.asl.json: 19 states, no problem\n"
