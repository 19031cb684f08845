"""Writes the table of docs/request.md out of the request's schema: `make docs`, or `python -m tools.request_reference`."""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/request.md"
SCHEMA = ROOT / "functions/workflow/request.schema.json"
BEGIN, END = "<!-- from request.schema.json, by `make docs` -->\n", "\n<!-- end -->"


def main() -> None:
    """Write the table into the page, and say whether it has changed."""
    before = PAGE.read_text(encoding="utf-8")
    after = with_table(before, request_table(json.loads(SCHEMA.read_text(encoding="utf-8"))))
    PAGE.write_text(after, encoding="utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)}: {'written' if before != after else 'as the schema says'}\n")


def request_table(schema: dict[str, Any]) -> str:
    """Return the table of a request's fields, in the schema's order."""
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


def with_table(page: str, table: str, begin: str = BEGIN) -> str:
    """Return a page with a table between its two marks; everything outside of them stays."""
    if page.count(begin) != 1 or END not in page.partition(begin)[2]:
        raise SystemExit(f"the page must hold {begin.strip()} once, and {END.strip()} after it")
    head, _, rest = page.partition(begin)
    return f"{head}{begin}\n{table}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    main()
