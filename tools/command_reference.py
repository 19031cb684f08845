"""Writes the help of every command into docs/commands.md: `make docs`, or `python -m tools.command_reference`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import typer
from typer.testing import CliRunner

from batch_predict.cli import app as cli
from tools.request_reference import with_table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/commands.md"
BEGIN = "<!-- from --help of each command, by `make docs` -->\n"
PROGRAM = "batch-predict"
COLUMNS = 80


def main() -> None:
    """Write the help into the page, and say whether it has changed."""
    before = PAGE.read_text(encoding="utf-8")
    after = with_table(before, command_reference(), BEGIN)
    PAGE.write_text(after, encoding="utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)}: {'written' if before != after else 'as the commands say'}\n")


def command_reference() -> str:
    """Return a section for the program and for each of its commands, in the order of its help."""
    return "\n\n".join(_sections())


def _sections() -> Iterator[str]:
    program = typer.main.get_command(cli.app)
    for words in ([], *([name] for name in program.list_commands(typer.Context(program)))):  # type: ignore[attr-defined]
        text = "\n".join(line.rstrip() for line in _help_of(words).strip().splitlines())
        yield f"## {' '.join([PROGRAM, *words])}\n```text\n{text}\n```"


def _help_of(words: list[str]) -> str:
    """Return what `--help` prints on a page of `COLUMNS` columns, whatever terminal this is."""
    # Without TERM, no library takes it for a terminal with colours.
    arguments = [*words, "--help"]
    result = CliRunner().invoke(cli.app, arguments, prog_name=PROGRAM, terminal_width=COLUMNS, env={"TERM": None})
    if result.exit_code:
        raise SystemExit(f"{' '.join([PROGRAM, *words])} --help failed: {result.output}")
    return result.output


if __name__ == "__main__":
    main()
