"""What the documentation and the prediction handler repeat of the program's files: `tools/pages.py` writes it."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from batch_predict.cli import app as cli
from batch_predict.local.deploy import LOCAL_ADAPTATIONS

ROOT = Path(__file__).parents[1]
PROGRAM = "batch-predict"
COLUMNS = 80


def request_fields() -> str:
    """Return the table of a request's fields, in the schema's order."""
    schema = _schema("request")
    rows = [
        (f"`{name}`", _type(rule), _default(rule, required=name in schema["required"]), rule["description"])
        for name, rule in schema["properties"].items()
    ]
    return table(("field", "type", "default", "meaning"), rows)


def report_fields() -> str:
    """Return the table of a report's fields, in the schema's order."""
    return table(
        ("field", "meaning"), [(f"`{name}`", rule["description"]) for name, rule in _schema("report")["properties"].items()]
    )


def local_adaptations() -> str:
    """Return the table of what the embedded AWS gets otherwise than AWS does."""
    return table(("what", "locally", "why"), [(one.what, one.local, one.reason) for one in LOCAL_ADAPTATIONS])


def commands() -> str:
    """Return a section for the program and for each of its commands, in the order of its help."""
    return "\n\n".join(_sections())


def copied(module: str, start: str, stop: str | None = None) -> str:
    """Return the lines of a module of the workflow from one that begins with `start`, up to one that begins with `stop`.

    The prediction handler is one file that must stand alone, so it has copies.
    """
    lines = (ROOT / "functions" / "workflow" / f"{module}.py").read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(start))
    last = next((number for number in range(first + 1, len(lines)) if stop and lines[number].startswith(stop)), len(lines))
    return "\n".join(lines[first:last]).rstrip("\n") + "\n\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = False) -> str:
    """Return a table in Markdown; all columns but the first may be ``numbers``, which stand on the right."""
    alignment = ["---", *(["---:" if numbers else "---"] * (len(head) - 1))]
    lines = [f"| {' | '.join(cells)} |" for cells in [head, *rows]]
    return "\n".join([lines[0], f"|{'|'.join(alignment)}|", *lines[1:]])


def _schema(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((ROOT / f"functions/workflow/{name}.schema.json").read_text(encoding="utf-8"))
    return schema


def _type(rule: dict[str, Any]) -> str:
    if "enum" in rule:
        return ", ".join(f"`{value}`" for value in rule["enum"] if value)
    return rule["type"] if isinstance(rule["type"], str) else " or ".join(name for name in rule["type"] if name != "null")


def _default(rule: dict[str, Any], *, required: bool) -> str:
    if required:
        return "required"
    return f"`{json.dumps(rule['default'])}`" if "default" in rule else "see there"


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
