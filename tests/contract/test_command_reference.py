"""docs/commands.md has every command's help, word for word."""

import re

import typer

from batch_predict.cli import app as cli
from tools.command_reference import BEGIN, COLUMNS, command_reference
from tools.request_reference import END, with_table


def test_the_command_reference_is_the_help(root):
    page = (root / "docs/commands.md").read_text()
    assert page == with_table(page, command_reference(), BEGIN), "docs/commands.md is not what --help says: run `make docs`"


def test_every_command_has_a_section_with_its_usage_and_example(root):
    generated = (root / "docs/commands.md").read_text().partition(BEGIN)[2].partition(END)[0]
    sections = dict(re.findall(r"^## batch-predict ?([\w-]*)\n```text\n(.*?)\n```$", generated, re.DOTALL | re.MULTILINE))

    assert set(sections) == {"", *typer.main.get_command(cli.app).commands}
    for command, text in sections.items():
        assert text.startswith(f"Usage: {f'batch-predict {command}'.strip()} ")
        assert "\n  Example" in text, command
        assert max(map(len, text.splitlines())) <= COLUMNS
