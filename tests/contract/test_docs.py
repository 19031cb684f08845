"""What the documentation says is what the files say."""

import json
import re

import jsonschema
import pytest

from batch_predict.cli import app as cli
from batch_predict.local.deploy import LOCAL_ADAPTATIONS
from tools.request_reference import BEGIN, END, request_table, with_table


def test_the_request_reference_is_the_schema(root, schema):
    page = (root / "docs/request.md").read_text()
    assert page == with_table(page, request_table(schema)), "docs/request.md is not what the schema says: run `make docs`"


def test_a_reference_is_written_between_its_marks_and_nowhere_else():
    page = f"before\n{BEGIN}an old table{END}\nafter\n"
    written = with_table(page, "| a |")
    assert written == f"before\n{BEGIN}\n| a |\n{END}\nafter\n"
    assert with_table(written, "| a |") == written
    for damaged in (page.replace(BEGIN, ""), page.replace(END, ""), page + BEGIN):
        with pytest.raises(SystemExit, match="the page must hold"):
            with_table(damaged, "| a |")


def test_a_reference_shows_what_a_schema_says_of_a_field():
    schema = {
        "required": ["a"],
        "properties": {
            "a": {"type": ["string", "null"], "description": "The first."},
            "b": {"type": "string", "enum": ["x", "y"], "default": "x", "description": "The second."},
            "c": {"type": "string", "description": "The third."},
        },
    }
    assert request_table(schema).splitlines()[2:] == [
        "| `a` | string | required | The first. |",
        '| `b` | `x`, `y` | `"x"` | The second. |',
        "| `c` | string | see there | The third. |",
    ]


def test_the_report_reference_is_the_schema(root):
    properties = json.loads((root / "functions/workflow/report.schema.json").read_text())["properties"]
    table = "\n".join(
        ["| field | meaning |", "|---|---|", *(f"| `{name}` | {rule['description']} |" for name, rule in properties.items())]
    )
    assert table in (root / "docs/report.md").read_text(), f"docs/report.md must hold:\n{table}"


def test_the_list_of_local_adaptations_is_the_codes(root):
    text = (root / "docs/local_aws.md").read_text()
    for adaptation in LOCAL_ADAPTATIONS:
        assert f"| {adaptation.what} | {adaptation.local} | {adaptation.reason} |" in text


def test_the_readme_fits_and_links_to_files_that_are_there(root):
    readme = (root / "README.md").read_text()
    assert len(readme.splitlines()) <= 150
    for target in re.findall(r"\]\((?!http)([^)#]+)", readme):
        assert (root / target).exists(), target


def test_the_lock_and_the_sources_name_no_registry(root):
    for path in [*root.glob("*.lock"), *root.glob("functions/**/requirements*.txt"), root / "pyproject.toml", root / "Makefile"]:
        assert not re.search(r"index-url|find-links|https?://[^ ]*(pypi|simple)", path.read_text()), path


def test_what_the_lambda_installs_is_what_the_tests_ran_on(root):
    lock = (root / "requirements.lock").read_text()
    for line in (root / "functions/predict/requirements.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            assert f"{line.split()[0]} " in lock, line


@pytest.mark.parametrize("name", ["start_execution", "schedule_request", "schedule_yesterday"])
def test_sample_requests_are_valid(root, schema, name):
    jsonschema.validate(json.loads((root / f"events/{name}.json").read_text()), schema)


def commands(text):
    """The commands in a page's code blocks, each on one line."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    programs = ("make ", "aws ", "sam ", "batch-predict ", ".venv/bin/batch-predict ")
    return [" ".join(line.split("  #")[0].split()) for line in lines if line.startswith(programs)]


def test_the_readmes_commands_are_those_that_tests_run(root):
    """Of make, targets that are there; of the command line, the help's examples, which integration tests run."""
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    found = commands((root / "README.md").read_text())
    assert {"make demo", "make test"} <= set(found)
    examples = {
        " ".join(example.replace("\\\n", " ").split()) for example in (cli.RUN_EXAMPLE, cli.SERVE_EXAMPLE, cli.DEMO_EXAMPLE)
    }
    for command in found:
        if command.startswith("make "):
            assert set(command.split()[1:]) <= targets, command
        if command.startswith(("batch-predict init", "batch-predict deploy")):
            continue  # they ask, and so are tested by themselves: tests/unit/cli/test_init.py, test_deploy_command.py
        if command.startswith("batch-predict run --model model.joblib "):
            continue  # tests/installed runs it, in an environment of its own
        if "batch-predict " in command:
            assert any(example.endswith(command.removeprefix(".venv/bin/")) for example in examples), command


def test_files_in_commands_are_there(root):
    for page in [root / "README.md", *root.glob("docs/*.md")]:
        for path in re.findall(r"file://([\w./-]+)|\$\(cat ([\w./-]+)\)", page.read_text()):
            assert (root / "".join(path)).exists(), f"{page.name}: {path}"
