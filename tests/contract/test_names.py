"""One name in five places: state, file, resource, substitution, test."""

import re

import pytest
from state_names import FILES, resource_of


def test_the_table_of_names_lists_every_task(states):
    assert {name for name, state in states.items() if state["Type"] == "Task"} == set(FILES)


@pytest.mark.parametrize("state", FILES)
def test_a_state_has_its_file_test_resource_and_substitution(state, root, states, template):
    file = root / FILES[state]
    assert file.is_file()
    assert list((root / "tests/unit").rglob(f"test_{file.stem}.py"))
    resource = template["Resources"][resource_of(state)]
    code, handler = resource["Properties"]["CodeUri"], resource["Properties"]["Handler"]
    assert f"{code}{handler}" == f"{FILES[state].removesuffix('.py').replace('workflow/', 'workflow.')}.lambda_handler"
    substitution = f"{resource_of(state)}Arn"
    assert states[state]["Resource"] == f"${{{substitution}}}"
    substitutions = template["Resources"]["StateMachine"]["Properties"]["DefinitionSubstitutions"]
    assert substitutions[substitution] == {"Fn::GetAtt": [resource_of(state), "Arn"]}


def test_every_function_belongs_to_a_state(template):
    functions = {name for name, resource in template["Resources"].items() if resource["Type"] == "AWS::Serverless::Function"}
    assert functions == {resource_of(state) for state in FILES}


def test_nothing_but_arns_is_substituted(root, template):
    text = (root / "statemachine/batch_prediction.asl.json").read_text()
    used = set(re.findall(r"\$\{(\w+)\}", text))
    assert used == set(template["Resources"]["StateMachine"]["Properties"]["DefinitionSubstitutions"])


def test_the_state_machine_may_invoke_every_function(template):
    statements = template["Resources"]["StateMachineRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    invoke = next(statement for statement in statements if statement["Action"] == "lambda:InvokeFunction")
    assert {resource["Fn::GetAtt"][0] for resource in invoke["Resource"]} == {resource_of(state) for state in FILES}


def test_every_permission_says_why(root):
    for line in (root / "template.yaml").read_text().splitlines():
        if "- Sid:" in line:
            assert " # " in line, line
