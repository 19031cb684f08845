"""Installed libraries: their files, the modules that they bring, and what they require. It runs as `look.py` does."""

from __future__ import annotations  # Python 3.8 has no list[str]

import ast
import csv
import json
import os
import platform
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse
from urllib.request import url2pathname

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

COMPILED = (".so", ".pyd", ".dylib", ".dll")


def normalized(name: str) -> str:
    """Return a distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


class Library:
    """An installed distribution."""

    def __init__(self, found: Any) -> None:
        self.found = found
        self.name, self.version = normalized(found.metadata["Name"]), str(found.version)
        self.folder = Path(str(found.locate_file("")))
        self._about = Path(str(getattr(found, "_path", "")))
        self.files = self._files()
        self.project = self._project()

    def _files(self) -> list[str]:
        """Return the files that its RECORD lists, or an egg's list; relative to its folder."""
        if record := self.found.read_text("RECORD"):
            return [row[0].replace("\\", "/") for row in csv.reader(record.splitlines()) if row]
        listed = self.found.read_text("installed-files.txt") or ""
        whole = [os.path.normpath(self._about / line) for line in listed.splitlines()]
        return [os.path.relpath(file, self.folder).replace(os.sep, "/") for file in whole]

    def _project(self) -> Path | None:
        """Return the folder that it was installed from, or for a repository an empty path; None for what came from elsewhere.

        Packages of conda name the folder where conda built them, which is not here: https://peps.python.org/pep-0610/
        """
        stated = json.loads(self.found.read_text("direct_url.json") or "{}")
        if "vcs_info" in stated:
            return Path()
        if "dir_info" in stated:
            folder = Path(url2pathname(unquote(urlparse(stated.get("url", "")).path)))
            return folder if folder.is_dir() else None
        is_of_develop = not self.files and (self.folder / "setup.py").is_file()  # setup.py develop, and pip -e of old
        return self.folder if is_of_develop else None

    @property
    def is_own(self) -> bool:
        """Whether it is somebody's own code, not of an index, and all of it is Python."""
        return self.project is not None and not any(file.endswith(COMPILED) for file in self.files)

    def may_be_of(self, module: str, path: Path) -> bool:
        """Tell whether a module of the first level, at a path, may be this own library's: it lies in its project, or is its."""
        above = path.resolve().parents
        is_of_project = self.project is not None and bool(self.project.parts) and self.project.resolve() in above
        return is_of_project or (self.folder.resolve() in above and module in self.modules())

    def modules(self) -> Iterator[str]:
        """Yield the modules that it brings, a.b.c; those of the first level alone if its files are not known."""
        if not self.files:
            yield from (self.found.read_text("top_level.txt") or "").split()
        for file in self.files:
            head, _, last = file.rpartition("/")
            if last.endswith((".py", *COMPILED)) and not file.startswith((".", "__editable__")):
                stem = last.partition(".")[0]
                yield ".".join(part for part in (*head.split("/"), stem) if part and part != "__init__")

    def requirements(self, extras: Iterable[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield the name of each distribution that it needs here, and the extras that it wants of it."""
        for line in self.found.requires or ():
            wanted, _, marker = line.partition(";")
            name = re.match(r"\s*([\w.-]+)\s*(?:\[([^\]]*)\])?", wanted)
            if name and any(holds(marker, extra) for extra in ("", *extras)):
                yield normalized(name[1]), tuple(extra.strip() for extra in (name[2] or "").split(",") if extra.strip())

    def about(self) -> dict[str, Path]:
        """Return the files that say what it is, by their paths in an archive: own code may ask importlib.metadata for them."""
        names = ("METADATA", "PKG-INFO", "entry_points.txt", "top_level.txt")
        return {f"{self._about.name}/{name}": self._about / name for name in names if (self._about / name).is_file()}


def holds(marker: str, extra: str = "") -> bool:
    """Tell whether a requirement's marker holds here; one that cannot be read does: https://peps.python.org/pep-0508/.

    A marker reads as an expression of Python's, but for two of its operators.
    """
    if not marker.strip():
        return True
    values = {
        "os_name": os.name,
        "sys_platform": sys.platform,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "python_full_version": platform.python_version(),
        "implementation_name": sys.implementation.name,
        "implementation_version": platform.python_version(),
        "extra": normalized(extra),
    }
    try:
        return _holds(ast.parse(marker.strip().replace("~=", "**").replace("===", "=="), mode="eval").body, values)
    except (SyntaxError, KeyError, ValueError):
        return True


def _holds(node: ast.expr, values: dict[str, str]) -> bool:
    if isinstance(node, ast.BoolOp):
        return (all if isinstance(node.op, ast.And) else any)(_holds(part, values) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):  # ~=
        left, right = _version(_value(node.left, values)), _version(_value(node.right, values))
        return left >= right and left[: len(right) - 1] == right[:-1]
    if not isinstance(node, ast.Compare) or len(node.ops) != 1:
        raise ValueError(ast.dump(node))
    return _compares(_value(node.left, values), node.ops[0], _value(node.comparators[0], values), "extra" in ast.dump(node))


def _value(node: ast.expr, values: dict[str, str]) -> str:
    return values[node.id] if isinstance(node, ast.Name) else str(ast.literal_eval(node))


def _compares(left: str, operator: ast.cmpop, right: str, is_extra: bool) -> bool:
    if isinstance(operator, (ast.In, ast.NotIn)):
        return (left in right) is isinstance(operator, ast.In)
    if is_extra:
        left, right = normalized(left), normalized(right)
    if isinstance(operator, (ast.Eq, ast.NotEq)) and right.endswith(".*"):
        wanted = _version(right[:-2])
        return (_version(left)[: len(wanted)] == wanted) is isinstance(operator, ast.Eq)
    order = (left > right) - (left < right)
    if all(re.fullmatch(r"\d+(\.\d+)*", side) for side in (left, right)):
        width = max(left.count("."), right.count(".")) + 1
        first, second = (_version(side) + (0,) * (width - 1 - side.count(".")) for side in (left, right))
        order = (first > second) - (first < second)
    allowed = {ast.Eq: {0}, ast.NotEq: {-1, 1}, ast.Lt: {-1}, ast.LtE: {-1, 0}, ast.Gt: {1}, ast.GtE: {0, 1}}
    return order in allowed[type(operator)]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split("."))
