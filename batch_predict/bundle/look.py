"""Look into the environment where a model was fitted: which libraries and own modules the names in its pickle need there.

It runs there, under any Python from 3.8 on, with the standard library alone, and imports nothing of what it finds: `environment.py`
starts it. stdin is the request, a JSON object:

modules        {"sklearn.pipeline": "sklearn.pipeline.Pipeline"}: the modules that are needed, and what needs each
distributions  names of libraries that are taken, too, if they are installed there
functions      [[byte-code in hex, names], ...] of functions that lie in the pickle by value: what they import is needed, too
folders        where own modules are looked for before sys.path
code           files and packages that are taken as own modules, whole; of another folder, the modules that are needed

stdout is the answer, a JSON object:

python, platform  "3.11.7" and "linux-x86_64"
installed         {name: version} of all that is installed there, with normalized names
distributions     [{name, version, folder, files}, ...]: those that are needed, and whatever these need
code              {path in an archive: file}: own modules, with all that lies in their packages
missing           {module: what needs it}: what was found nowhere
notes             sentences

A library that was installed from a folder or a repository is own code if all of it is Python. Own modules are followed by what they
import; libraries by their metadata's requirements, of which those are left out that are not installed: they were not needed there.
"""

from __future__ import annotations  # Python 3.8 has no list[str]

import importlib.metadata
import importlib.util
import json
import platform
import re
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from .libraries import Library, normalized
from .own_modules import Own, imports_of, imports_of_function, is_standard, own_at, own_in, own_of

LEFT_OUT = re.compile(r"nvidia-nccl-")
"""Libraries for several graphics cards, 300 MB: xgboost predicts without them."""
DRAWING = {"matplotlib", "seaborn", "plotly", "bokeh", "altair", "IPython"}
"""Modules that draw; a function that imports one is not called by predictions."""


class Look:
    """What was found; it follows what is needed from the modules that are asked for."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.folders = [Path(folder) for folder in request["folders"]]
        self.libraries: dict[str, Library] = {}
        for found in importlib.metadata.distributions():
            with suppress(Exception):  # what is left of a library that was half removed, without a name or a version
                library = Library(found)
                self.libraries.setdefault(library.name, library)  # the first on sys.path is the one that is imported
        self.brings: dict[str, Library] = {}
        for library in self.libraries.values():
            for module in library.modules():
                self.brings.setdefault(module, library)
        self.taken: dict[str, set[str]] = {}  # with the extras that are wanted of each
        self.own: dict[str, Own] = {}
        self.code: dict[str, Path] = {}
        self.read: set[Path] = set()
        self.missing: dict[str, str] = {}
        self.notes: list[str] = []
        self.queue = deque((module, by, True) for module, by in request["modules"].items())
        self.given = [path for path in map(Path, request["code"]) if not self._take_path(path)]
        for name in request["distributions"]:
            self._take_library(normalized(name))
        for code, names in request["functions"]:
            self.queue += [(module, "the pickle", False) for module in imports_of_function(bytes.fromhex(code), names)]
        while self.queue:
            self._need(*self.queue.popleft())

    def _take_path(self, path: Path) -> bool:
        """Take a file or a package that the caller names; a folder that is no package is one to look for modules in."""
        if path.is_dir() and not (path / "__init__.py").is_file():
            self.folders.insert(0, path)
            return False
        own = own_at(path)
        self.folders.insert(0, own.path.parent)
        self._take_own(own, own.name)
        return True

    def _need(self, module: str, by: str, must: bool) -> None:
        """Find a module, and take what it belongs to: a folder without `__init__.py` if there is nothing else, as Python does."""
        top = module.partition(".")[0]
        if is_standard(top):
            return
        if top in self.own:
            self._follow(self.own[top], module)
            return
        near, library = own_in(top, self.folders), self._bringing(module)
        if not (near and near.is_regular) and library and not library.is_own:
            if must or library.name in self.taken:
                self._take_library(library.name)
            elif top in DRAWING:
                self.notes.append(f"{library.name} is left out: {by} imports it in a function, to draw; --requires takes it along")
            else:
                self.notes.append(f"{library.name} goes along: {by} may import it, in a function, an if or a try")
                self._take_library(library.name)
            return
        far = own_in(top, [library.folder]) if library and not (near and near.is_regular) else None
        far = far or own_of(top, _spec_of(top))
        given = next((Own(top, path, True) for path in self.given if path.name == top), None)
        candidates = [own for own in (near, far, given) if own]
        if candidates:
            self._take_own(next((own for own in candidates if own.is_regular), candidates[0]), module)
        elif must and not self._is_part(top):
            self.missing.setdefault(module, by)

    def _bringing(self, module: str) -> Library | None:
        """Return the library of a module, or of the nearest package above it."""
        parts = module.split(".")
        above = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
        return next((self.brings[name] for name in above if name in self.brings), None)

    def _is_part(self, top: str) -> bool:
        """Tell whether a compiled module of a library names itself without its package, as scikit-learn's _loss does."""
        return top.startswith("_") and any(module.endswith(f".{top}") for module in self.brings)

    def _take_library(self, name: str, extras: tuple[str, ...] = ()) -> None:
        """Take a library and all that it needs."""
        library = self.libraries.get(name)
        if library is None or (name in self.taken and set(extras) <= self.taken[name]):
            return
        if LEFT_OUT.match(name):
            self.notes.append(f"{name} is left out: it is for several graphics cards")
            return
        self.taken[name] = self.taken.get(name, set()) | set(extras)
        for needed, wanted in library.requirements(self.taken[name]):
            self._take_library(needed, wanted)

    def _take_own(self, own: Own, module: str) -> None:
        """Take a module or package of one's own, and follow what a module in it imports."""
        self.own[own.name] = own
        self.code.update(own.files(self.notes))
        for library in self.libraries.values():
            if library.is_own and library.may_be_of(own.name, own.path):
                self.code.update(library.about())
        self._follow(own, module)

    def _follow(self, own: Own, module: str) -> None:
        """Read what a.b.c imports, and what the packages above it do."""
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            file, is_package = own.file_of(parts[1:end])
            if file in self.read or not file.is_file():
                continue
            self.read.add(file)
            try:
                found = imports_of(file, ".".join(parts[: end if is_package else end - 1]))
            except (SyntaxError, ValueError) as error:
                self.notes.append(f"{file.name} is not read for what it imports: {error}")
                continue
            self.queue += [(name, file.name if not own.is_package else f"{own.name}/{file.name}", found[name]) for name in found]

    def answer(self) -> dict[str, Any]:
        """Return what was found."""
        taken = [self.libraries[name] for name in sorted(self.taken)]
        for path in self.given:
            if not any(path.resolve() in file.resolve().parents for file in self.code.values()):
                self.notes.append(f"nothing of the folder {path.name} is needed; a package in it has an __init__.py")
        return {
            "python": platform.python_version(),
            "platform": f"{platform.system().lower()}-{platform.machine()}",
            "installed": {name: library.version for name, library in sorted(self.libraries.items())},
            "distributions": [
                {"name": one.name, "version": one.version, "folder": str(one.folder), "files": one.files} for one in taken
            ],
            "code": {place: str(file) for place, file in sorted(self.code.items())},
            "missing": self.missing,
            "notes": list(dict.fromkeys(self.notes)),
        }


def _spec_of(top: str) -> Any:
    try:
        return importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):  # what hooks of other packages raise
        return None


def main() -> None:
    """Answer one request."""
    print(json.dumps(Look(json.load(sys.stdin)).answer()))
