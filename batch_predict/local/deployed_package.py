"""What the deployed prediction function has: its Python, its libraries and their versions, read from the files that build it.

Local runs and `check-model` score with the user's own, and refuse by this what the package would refuse.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from batch_predict.setup.wheels import RUNTIME

VARIABLE = "DEPLOYED_PACKAGE"
"""The environment variable that the handler and `as_packaged` read."""

IMAGE_REQUIREMENTS = "requirements-image.txt"
MODULES = {"python-dateutil": "dateutil", "scikit-learn": "sklearn", "xgboost-cpu": "xgboost"}
"""Modules with another name than their distribution, even if another distribution brings them here."""
RUNTIME_CLIENT = "runtime_client"
"""The compiled module of awslambdaric, beside the one of that name."""


@dataclass(frozen=True)
class DeployedPackage:
    """The prediction function as it is deployed."""

    python: str
    """Such as "3.13"."""
    versions: dict[str, str]
    """Pinned versions, by distribution."""
    modules: frozenset[str]
    """Top-level modules of the zip, and of Lambda's runtime."""
    image_modules: frozenset[str]
    """Modules that only the container image has: what somebody adds to its requirements is meant for it."""

    @property
    def environment(self) -> dict[str, str]:
        """Return the variable that tells a local process about it."""
        facts = {
            "python": self.python,
            "versions": dict(sorted(self.versions.items())),
            "modules": sorted(self.modules | self.image_modules),
        }
        return {VARIABLE: json.dumps(facts)}


def deployed_package(directory: Path) -> DeployedPackage:
    """Read the package of the stack whose `template.yaml` is in ``directory``."""
    template: dict[str, Any] = yaml_parse((directory / "template.yaml").read_text())
    function = directory / "functions/predict"
    files = sorted(function.glob("requirements*.txt"))
    zipped = dict(_pins(file for file in files if file.name != IMAGE_REQUIREMENTS))
    added = {
        name: version for name, version in _pins(file for file in files if file.name == IMAGE_REQUIREMENTS) if name not in zipped
    }
    modules = frozenset({*_modules([*zipped, *RUNTIME]), RUNTIME_CLIENT, *(path.stem for path in function.glob("*.py"))})
    return DeployedPackage(
        python=template["Globals"]["Function"]["Runtime"].removeprefix("python"),
        versions={name: version for name, version in (zipped | added).items() if version},
        modules=modules,
        image_modules=frozenset(_modules(_with_dependencies(added))) - modules,
    )


def _pins(files: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Yield the names of requirements, normalized, with their versions, which may be empty."""
    for file in files:
        for line in file.read_text().splitlines():
            if pin := re.match(r"([A-Za-z0-9][\w.-]*)(?:\[[^]]*\])?\s*(?:==\s*([\w.+!-]+))?", line):
                yield _normalized(pin[1]), pin[2] or ""


def _normalized(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _modules(distributions: Iterable[str]) -> Iterator[str]:
    for name in distributions:
        module = MODULES.get(name, name.replace("-", "_"))
        yield module
        if name not in MODULES and not find_spec(module):  # it may call its modules otherwise
            yield from (top for top, of in packages_distributions().items() if name in map(_normalized, of))


def _with_dependencies(distributions: Iterable[str]) -> set[str]:
    """Return distributions with those that pip brings with them, as far as they are installed here."""
    found: set[str] = set()
    ahead = list(distributions)
    while ahead:
        name = ahead.pop()
        if name in found:
            continue
        found.add(name)
        try:
            needed = requires(name) or []
        except PackageNotFoundError:
            continue
        ahead += [_normalized(pin[0]) for line in needed if "extra" not in line and (pin := re.match(r"[\w.-]+", line))]
    return found
