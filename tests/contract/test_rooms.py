"""Imports between the rooms of `batch_predict/` go one way."""

import ast
import sys

import pytest

from batch_predict.setup import package

DOOR = {"deployed", "errors", "figures", "visible_text"}
MAY_IMPORT = {
    "runs": DOOR,
    "report": DOOR | {"runs"},
    "setup": DOOR,
    "bundle": DOOR | {"setup"},
    "local": DOOR | {"runs", "setup", "bundle"},
    "cli": DOOR | {"runs", "report", "setup", "bundle", "local", "places"},
}
TERMINAL = {"rich", "typer", "click"}


def imported(file):
    """Return what a file imports, wherever in it that stands."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files_of(root, room):
    return sorted((root / "batch_predict" / room).glob("*.py"))


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_what_lies_below_it_alone(root, room):
    for file in files_of(root, room):
        rooms = {name.split(".")[1] for name in imported(file) if name.startswith("batch_predict.")}
        assert rooms <= MAY_IMPORT[room] | {room}, file


@pytest.mark.parametrize("room", ["runs", "report", "local", "setup", "bundle"])
def test_only_the_command_line_knows_a_terminal(root, room):
    for file in files_of(root, room):
        assert not TERMINAL & {name.partition(".")[0] for name in imported(file)}, file


def test_the_builder_needs_the_standard_library_and_pip_alone(root):
    """It runs beside a stack, too, under whatever Python `sam build` finds."""
    for name in package.SOURCES:
        top_level = {one.partition(".")[0] for one in imported(root / "batch_predict/setup" / name)}
        assert top_level <= sys.stdlib_module_names | {"pip"}, name


def test_printing_imports_nothing_of_model_inspection(root):
    for name in ("progress", "run_lines", "visible_output"):
        assert not [one for one in imported(root / f"batch_predict/cli/{name}.py") if "model" in one], name
