"""Reads requirement files as pip writes them, and says of each line that it cannot take why not."""

import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

import yaml

from batch_predict.bundle.libraries import normalized
from batch_predict.bundle.plan import HANDLERS_OWN, BundleError

_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)\s*(?:\[[\w\s.,-]*\])?\s*"
    r"(?P<pins>\(?\s*(?:(?:===?|[<>!~]=|[<>])\s*[\w.*+!-]+\s*,?\s*)*\)?)\s*(?P<marker>;.*)?"
)
"""A name, extras, versions, and for which machines: https://packaging.python.org/en/latest/specifications/dependency-specifiers/"""
MAX_NESTED = 5
"""How deep `-r` may lead from one file to the next."""
THE_FUNCTIONS = HANDLERS_OWN | {"python-dateutil", "urllib3"}
"""Those, and what they and Lambda's runtime bring: a list of requirements need not have them."""


class Lines(NamedTuple):
    """What a file of requirements holds."""

    requirements: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def without(self, names: AbstractSet[str], why: str) -> "Lines":
        """Leave out libraries, and those that read and write the data."""
        taken = [one for one in self.requirements if name_of(one) not in names | THE_FUNCTIONS]
        needless = [one for one in self.requirements if name_of(one) in names]
        the_functions = [one for one in self.requirements if name_of(one) in THE_FUNCTIONS - names]
        notes = [*self.notes]
        if needless:
            notes.append(f"left out of the listed requirements, because {why}: {', '.join(needless)}")
        if the_functions:
            notes.append(f"left out, because the prediction function reads and writes with its own: {', '.join(the_functions)}")
        return Lines(tuple(taken), tuple(notes))


def name_of(requirement: str) -> str:
    """Return the name in a requirement, as package indexes compare names."""
    found = re.match(r"[\w.-]+", requirement.strip())
    return normalized(found[0]) if found else ""


def with_those(requirements: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """Put requirements in the place of those of the same name."""
    named = {name_of(one) for one in others}
    return (*(one for one in requirements if name_of(one) not in named), *others)


def pins_of(requirements: Iterable[str]) -> dict[str, str]:
    """Return the versions of the libraries that have to be of one version."""
    pinned = (re.fullmatch(r"([\w.-]+)\s*==\s*([\w.!+]+)\s*(?:;.*)?", one) for one in requirements)
    return {normalized(found[1]): found[2] for found in pinned if found}


def read(path: Path, depth: int = 0) -> Lines:
    """Read a requirements.txt, with the files that it names by -r; BundleError names a line that cannot be taken."""
    found: list[str] = []
    notes: list[str] = []
    for number, line in _joined(path.read_text(encoding="utf-8-sig")):
        where = f"{path}, line {number}"
        if nested := re.match(r"(?:-r|--requirement)[ =]*(\S+)", line):
            inner = _beside(path, nested[1], where)
            if depth == MAX_NESTED:
                raise BundleError(f"{where}: its files name each other too often: write the requirements into one file")
            lines = read(inner, depth + 1)
            found += lines.requirements
            notes += lines.notes
        elif re.match(r"--(?:no-)?(?:only-)?binary|--prefer-binary|--require-hashes|--pre\b", line):
            continue  # wheels are what a bundle takes, and it records their hashes
        else:
            found.append(_requirement(line, where))
    return Lines(tuple(found), tuple(notes))


def read_conda(path: Path) -> Lines:
    """Read what a conda.yaml has pip install; what conda itself installs has other names, and is told in a note."""
    try:
        listed = yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]
        ours = [line for one in listed if isinstance(one, dict) for line in one.get("pip", ())]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path} is not as conda writes it ({type(error).__name__}): log the model again") from error
    of_conda = [str(one) for one in listed if isinstance(one, str) and not re.match(r"(?:python|pip)\b", one)]
    note = f"conda installed more, whose names on package indexes may differ, so they are left out: {', '.join(of_conda)}"
    return Lines(tuple(_requirement(str(line), str(path)) for line in ours), (note,) if of_conda else ())


def _beside(path: Path, name: str, where: str) -> Path:
    inner = (path.parent / name).resolve()
    if not inner.is_relative_to(path.parent.resolve()) or not inner.is_file():
        raise BundleError(f"{where}: {name!r} is not a file beside it: write its requirements into this file")
    return inner


def _joined(text: str) -> Iterable[tuple[int, str]]:
    """Yield each logical line with its number: without comments, and with what follows a backslash at its end."""
    waiting, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        first = first if waiting else number
        whole = waiting + re.sub(r"(?:^|\s)#.*", "", line).rstrip()
        if whole.endswith("\\"):
            waiting = f"{whole[:-1].rstrip()} "
            continue
        waiting = ""
        if whole.strip():
            yield first, whole.strip()
    if waiting.strip():
        yield first, waiting.strip()


_REFUSED = (
    (r"-c\b|--constraint", "constraints are another file's: write the versions into this file"),
    (
        r"-e\b|--editable|\.{0,2}/|file:",
        "no index has a folder of this machine: give its modules by --code, without this line",
    ),
    (r"--(?:extra-)?index-url|-i\b|--find-links|-f\b|--trusted-host", "an index is a setting of pip: set it there (pip config)"),
    (
        r"(?:\w+\+)?\w+://|[\w.-]+(?:\[.*\])?\s*@",
        "an address has no version: name a release, or give its modules by --code",
    ),
    (r"-", "this option of pip is not known here: leave the line out"),
)


def _requirement(line: str, where: str) -> str:
    """Return a line's requirement without its hashes and other options: the bundle has the wheels' own hashes."""
    for pattern, why in _REFUSED:
        if re.match(pattern, line):
            raise BundleError(f"{where}: {line[:200]!r} cannot be taken: {why}")
    bare = re.sub(r"\s+--(?:hash|config-settings?|global-option)[ =]\S+", "", line).strip()
    found = _REQUIREMENT.fullmatch(bare)
    if not found:
        raise BundleError(f"{where}: {line[:200]!r} is no requirement: write it as name==1.2.3")
    return bare
