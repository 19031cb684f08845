"""Own modules: where they lie, the files of their packages, and what they import. It runs as `look.py` does."""

from __future__ import annotations  # Python 3.8 has no list[str]

import ast
import importlib.machinery
import opcode
import os
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .libraries import COMPILED

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_DATA_BYTES, MAX_CODE_BYTES = 2**20, 50 * 2**20
"""The most of a file in an own package that is no module, and of all files of the package, if data is to go along."""


class Own(NamedTuple):
    """A module of the first level, or a package, of somebody's own."""

    name: str
    path: Path
    is_package: bool

    @property
    def is_regular(self) -> bool:
        """Whether it is more than a folder with modules in it, which Python takes for a package if it finds nothing else."""
        return (self.path / "__init__.py" if self.is_package else self.path).is_file()

    def files(self, notes: list[str]) -> dict[str, Path]:
        """Return all its files by their paths in an archive: modules, and data that is small."""
        if not self.is_package:
            return {self.path.name: self.path}
        found: dict[str, Path] = {}
        left_out: list[str] = []
        compiled: list[str] = []
        for folder, folders, names in os.walk(self.path):
            folders[:] = sorted(name for name in folders if _is_code(Path(folder, name)))
            for file in (Path(folder, name) for name in sorted(names)):
                place = f"{self.name}/{file.relative_to(self.path).as_posix()}"
                if file.suffix in COMPILED:
                    compiled.append(place)
                elif file.suffix == ".pyc" or file.name.startswith(".") or not file.is_file():
                    continue
                elif file.suffix == ".py" or file.stat().st_size <= MAX_DATA_BYTES:
                    found[place] = file
                else:
                    left_out.append(place)
        if sum(file.stat().st_size for file in found.values()) > MAX_CODE_BYTES:
            left_out += [place for place in found if not place.endswith(".py")]
            found = {place: file for place, file in found.items() if place.endswith(".py")}
        if left_out:
            notes.append(f"large files beside own modules are left out: {_some(left_out)}")
        if compiled:
            notes.append(f"compiled own modules are left out, because they run on one platform alone: {_some(compiled)}")
        return found

    def file_of(self, below: Sequence[str]) -> tuple[Path, bool]:
        """Return the file where a module below this one should be, and whether it is a package; its own for an empty sequence."""
        if not self.is_package:
            return self.path, False
        place = self.path.joinpath(*below)
        module = place.with_name(f"{place.name}.py")
        return (module, False) if below and module.is_file() else (place / "__init__.py", True)


def _is_code(folder: Path) -> bool:
    is_environment = (folder / "pyvenv.cfg").is_file()
    return folder.name not in ("__pycache__", "node_modules") and not folder.name.startswith(".") and not is_environment


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def own_at(path: Path) -> Own:
    """Return the module or package that a path is, or lies in: its outermost package."""
    path = path.resolve()
    while (path.parent / "__init__.py").is_file():
        path = path.parent
    return Own(path.stem, path, is_package=False) if path.is_file() else Own(path.name, path, is_package=True)


def own_in(top: str, folders: Sequence[Path]) -> Own | None:
    """Return the module or package of that name in one of the folders, or a folder of that name."""
    return own_of(top, importlib.machinery.PathFinder.find_spec(top, [str(folder) for folder in folders]))


def own_of(top: str, spec: Any) -> Own | None:
    """Return what Python's search for a module has found, if it is a file or a folder of Python."""
    places = [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
    if places:
        return Own(top, places[0], is_package=True)
    is_file = spec and spec.origin and spec.origin.endswith(".py")
    return Own(top, Path(spec.origin), is_package=False) if is_file else None


def is_standard(top: str) -> bool:
    """Tell whether a module of the first level is Python's own; 3.8 and 3.9 do not list theirs."""
    if top in sys.builtin_module_names or top == "__main__" or top.startswith("_frozen_importlib"):
        return True
    if hasattr(sys, "stdlib_module_names"):
        return top in sys.stdlib_module_names
    folders = {sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib")}
    folders |= {str(Path(folder, "lib-dynload")) for folder in folders}
    found = importlib.machinery.PathFinder.find_spec(top, sorted(folders))
    return found is not None and found.origin is not None


def imports_of(file: Path, package: str) -> dict[str, bool]:
    """Return what a module imports, a.b, and whether it is not imported without: what stands in no function, `if` or `try`.

    `package` is where its relative imports start. What runs as a script, or only for who checks types, is left out.
    """
    visitor = _Imports(package)
    for statement in ast.parse(file.read_bytes(), str(file)).body:
        visitor.must = isinstance(statement, (ast.Import, ast.ImportFrom))
        visitor.visit(statement)
    return visitor.found


class _Imports(ast.NodeVisitor):
    def __init__(self, package: str) -> None:
        self.package = package
        self.found: dict[str, bool] = {}
        self.must = False

    def _add(self, module: str) -> None:
        if module:
            self.found[module] = self.must or self.found.get(module, False)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = [node.module] if node.module else []
        if node.level:
            above = self.package.split(".")
            base = [*above[: len(above) - node.level + 1], *base]
        for alias in node.names:
            self._add(".".join(base if alias.name == "*" else [*base, alias.name]))

    def visit_Call(self, node: ast.Call) -> None:
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        first = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
        if called in ("import_module", "__import__") and isinstance(first, str) and not first.startswith("."):
            self._add(first)
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        test = ast.dump(node.test)
        is_of_a_script = "'__name__'" in test and "'__main__'" in test
        is_for_types = "TYPE_CHECKING" in test and not isinstance(node.test, ast.UnaryOp)
        for part in node.orelse if is_of_a_script or is_for_types else [node.test, *node.body, *node.orelse]:
            self.visit(part)


def imports_of_function(code: bytes, names: Sequence[str]) -> list[str]:
    """Return the modules that byte-code of this Python imports."""
    found, argument = [], 0
    for operation, low in zip(code[::2], code[1::2]):  # noqa: B905  # Python 3.8 has no strict
        argument = argument << 8 | low
        if operation == opcode.opmap["IMPORT_NAME"] and argument < len(names):
            found.append(names[argument])
        if operation != opcode.EXTENDED_ARG:
            argument = 0
    return found
