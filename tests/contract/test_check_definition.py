"""Every definition that is broken on purpose is caught; docs/definition.md says which level catches it."""

import copy
import json

import pytest
from cfnlint.api import lint_file
from cfnlint.config import ManualArgs
from definition_mutations import MUTATIONS

from tools import check_definition
from tools.state_rules import Stack
from tools.state_schema import parsed, schema_problems


@pytest.fixture(scope="module")
def found(definition, template, root):
    """What is said of each mutation, by its fault, and which level says so."""
    return {mutation.fault: levelled(*mutation.applied(definition, template), root) for mutation in MUTATIONS}


def levelled(text, template, root):
    """What the check says, and which level says so: those that come after look only at what fits."""
    problems = list(map(str, check_definition.problems_of(text, Stack(template, root))))
    try:
        return "schema" if schema_problems(parsed(text)) else "rules", problems
    except ValueError:
        return "JSON", problems


def test_the_definition_has_no_problem(capsys):
    assert check_definition.main([]) == 0
    assert capsys.readouterr().out == "batch_prediction.asl.json: 19 states, no problem\n"


def test_the_command_prints_problems_and_fails(definition, tmp_path, capsys):
    broken = copy.deepcopy(definition)
    del broken["States"]["Is Merged"]["Type"]
    file = tmp_path / "broken.asl.json"
    file.write_text(json.dumps(broken))
    assert check_definition.main([str(file)]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed == ["Is Merged: 'Type' is a required property"]


def test_a_file_that_cannot_be_read_is_said(tmp_path, capsys):
    with pytest.raises(SystemExit) as exited:
        check_definition.main([str(tmp_path / "absent.json")])
    assert exited.value.code == 2
    assert "absent.json" in capsys.readouterr().err


def test_there_are_enough_mutations():
    assert len(MUTATIONS) >= 40
    assert len({mutation.fault for mutation in MUTATIONS}) == len(MUTATIONS)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation.fault for mutation in MUTATIONS])
def test_a_broken_definition_is_caught(mutation, found):
    _, problems = found[mutation.fault]
    assert any(problem.startswith(mutation.problem) for problem in problems), problems


def mutation_table(found):
    """The table of docs/definition.md."""
    lines = ["| fault | found by | as |", "|---|---|---|"]
    lines += [f"| {mutation.fault} | {found[mutation.fault][0]} | `{mutation.problem}` |" for mutation in MUTATIONS]
    return "\n".join(lines)


def test_the_documented_table_is_what_is_caught(found, root):
    table = mutation_table(found)
    assert table in (root / "docs/definition.md").read_text(), f"docs/definition.md must hold:\n{table}"


def test_cfn_lint_does_not_open_the_file_that_the_template_names(root, tmp_path):
    """Nor does `sam validate --lint`, which runs it: so the project has a check of its own."""
    (tmp_path / "template.yaml").write_text((root / "template.yaml").read_text())
    (tmp_path / "statemachine").mkdir()
    (tmp_path / "functions").symlink_to(root / "functions")
    (tmp_path / "statemachine/batch_prediction.asl.json").write_text("not even JSON")
    assert lint_file(tmp_path / "template.yaml", config=ManualArgs(regions=["us-east-1"])) == []
