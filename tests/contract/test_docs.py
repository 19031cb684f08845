"""What the documentation says is what the files say, and its links lead somewhere."""

import json
import re

import jsonschema
import pytest
import typer

import prediction_handler
from batch_predict.cli import app as cli
from tools import figures, pages, reference


def test_what_is_generated_is_what_the_code_says(capfd):
    assert pages.main("--check", "--diff") == 0, f"run `make docs`: {capfd.readouterr().out}"


def test_every_page_that_says_what_the_code_says_is_generated(root):
    """A mark that is lost would leave its table to itself."""
    marks = {page.name: re.findall(r"{{{cog cog.outl\((.*)\) }}}", page.read_text()) for page in root.glob("docs/*.md")}
    assert {page: found for page, found in marks.items() if found} == {
        "commands.md": ["reference.commands()"],
        "comparison.md": ["figures.comparison()"],
        "local_aws.md": ["reference.local_adaptations()"],
        "operations.md": ["figures.watching()", "figures.tuning()"],
        "prediction_handler.md": ["figures.speeds()", "figures.invocations()", "figures.gigabyte()"],
        "report.md": ["reference.report_fields()"],
        "request.md": ["reference.request_fields()"],
    }


def test_every_command_has_a_section_with_its_usage_and_example():
    text = reference.commands()
    sections = dict(re.findall(r"^## batch-predict ?([\w-]*)\n```text\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE))

    assert set(sections) == {"", *typer.main.get_command(cli.app).commands}
    for command, text in sections.items():
        assert text.startswith(f"Usage: {f'batch-predict {command}'.strip()} ")
        assert not command or re.search(rf"\n  Example[^\n]*:\n\n +batch-predict {command}\b", text), command
        assert max(map(len, text.splitlines())) <= reference.COLUMNS


def test_the_readme_fits_in_a_window(root):
    lines = (root / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if len(line) > 140] == []


def test_the_lock_and_the_sources_name_no_registry(root):
    for path in [*root.glob("*.lock"), *root.glob("functions/**/requirements*.txt"), root / "pyproject.toml", root / "Makefile"]:
        assert not re.search(r"index-url|find-links|https?://[^ ]*(pypi|simple)", path.read_text()), path


@pytest.mark.parametrize("name", ["start_execution", "schedule_request", "schedule_yesterday"])
def test_sample_requests_are_valid(root, schema, name):
    jsonschema.validate(json.loads((root / f"events/{name}.json").read_text()), schema)


def test_files_in_commands_are_there(root):
    for page in [root / "README.md", *root.glob("docs/*.md")]:
        for path in re.findall(r"file://([\w./-]+)|\$\(cat ([\w./-]+)\)", page.read_text()):
            assert (root / "".join(path)).exists(), f"{page.name}: {path}"


def test_the_comparison_names_no_price_limit_or_ratio_but_those_of_the_files(root, template):
    page, performance = ((root / f"docs/{name}.md").read_text() for name in ("comparison", "performance"))
    text = " ".join(page.split())
    assert "$" not in page.replace(figures.comparison(), "")
    assert f"[{figures.on_lambda(figures.ARM) / figures.on_instance():.2f} times]" in page
    assert f"records above {prediction_handler.MAX_RECORD_BYTES // 10**6} MB" in page
    assert f"larger than {template['Parameters']['PredictMemorySize']['MaxValue']:,} MB" in page
    assert f"longer than {template['Resources']['PredictChunkFunction']['Properties']['Timeout'] // 60} minutes" in page
    ratios = dict(re.findall(r"^\| a (ridge|forest) \| ([\d.]+) \| ", performance, re.MULTILINE))
    assert f"estimate has it over in {figures.ten_gigabytes()['seconds']:.0f} seconds" in text
    assert f"{ratios['ridge']} times with a linear model, {ratios['forest']} with a forest" in text


def anchor(heading):
    """Return a heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("folder", [".", "docs", "events"])
def test_every_link_leads_to_a_file_and_a_heading(root, folder):
    broken = []
    for page in (root / folder).glob("*.md"):
        for target in re.findall(r"\]\((?!http)([^)]+)\)", page.read_text()):
            path, _, name = target.partition("#")
            file = page.parent / path if path else page
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE) if name and file.exists() else []
            if not file.exists() or (name and name not in map(anchor, headings)):
                broken.append(f"{page.name}: {target}")
    assert broken == []


def test_every_path_that_a_page_names_is_there(root):
    pages = [root / "README.md", root / "CONTRIBUTING.md", *root.glob("docs/*.md"), *root.glob("events/*.md")]
    folders = "batch_predict|benchmarks|docs|events|examples|functions|statemachine|tests|tools"
    missing = {
        f"{page.name}: {path}"
        for page in pages
        for path in re.findall(rf"`((?:{folders})/[\w./-]+)`", page.read_text())
        if not (root / path).exists()
    }
    assert missing - {"performance.md: benchmarks/results/"} == set()  # a benchmark writes there
