"""What the documentation says is what the files say."""

import json
import re

import jsonschema
import pytest

from batch_predict.deploy import LOCAL_ADAPTATIONS


def request_table(schema):
    """The table of docs/request.md, out of the schema."""
    lines = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for name, rule in schema["properties"].items():
        kind = rule["type"] if isinstance(rule["type"], str) else " or ".join(t for t in rule["type"] if t != "null")
        if "enum" in rule:
            kind = ", ".join(f"`{value}`" for value in rule["enum"])
        default = (
            "required" if name in schema["required"] else f"`{json.dumps(rule['default'])}`" if "default" in rule else "see there"
        )
        lines.append(f"| `{name}` | {kind} | {default} | {rule['description']} |")
    return "\n".join(lines)


def test_the_request_reference_is_the_schema(root, schema):
    table = request_table(schema)
    assert table in (root / "docs/request.md").read_text(), f"docs/request.md must hold:\n{table}"


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


@pytest.mark.parametrize("name", ["start_execution", "schedule_request"])
def test_sample_requests_are_valid(root, schema, name):
    jsonschema.validate(json.loads((root / f"events/{name}.json").read_text()), schema)
