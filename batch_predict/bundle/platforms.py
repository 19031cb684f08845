"""What a bundle's libraries are for: the stack's platform or this machine's, and what the function has there itself."""

import importlib.metadata
import platform
import re
import sys
from pathlib import Path
from typing import NamedTuple

from batch_predict.bundle.libraries import normalized
from batch_predict.bundle.plan import BundleError
from batch_predict.setup import target, wheels
from batch_predict.setup.target import ARCHITECTURES, Target

HERE = f"{platform.system().lower()}-{platform.machine()}-py{sys.version_info[0]}{sys.version_info[1]}"
"""This machine's, as the prediction handler names the platform that it runs on."""


class Platform(NamedTuple):
    """Where a bundle's libraries can run."""

    name: str
    """linux-aarch64-py313."""
    python: tuple[int, int]
    target: Target | None
    """What pip is told to get wheels for; None for this machine's pip as it is."""
    function: dict[str, str]
    """The versions that the function has there itself, by distribution; what it carries compressed is among them."""

    @property
    def python_version(self) -> str:
        """The Python as people name it: 3.13."""
        return f"{self.python[0]}.{self.python[1]}"

    @property
    def is_linux(self) -> bool:
        """Whether its shared libraries are ELF files."""
        return self.name.startswith("linux-")

    @property
    def markers(self) -> dict[str, str]:
        """What the markers of requirements ask for; empty if pip's own answers are right."""
        if self.target is None:
            return {}
        full = f"{self.python_version}.0"
        machine = {"platform_machine": ARCHITECTURES[self.target.architecture], "platform_release": "", "platform_version": ""}
        return {
            **wheels.ON_LAMBDA,
            **machine,
            "python_version": self.python_version,
            "python_full_version": full,
            "implementation_version": full,
        }


def stack_platform(stack: Path) -> str:
    """Return the platform that the stack in a folder is deployed on."""
    return _name_of(target.template_target(stack / "template.yaml"))


def default_platforms(stack: Path) -> list[str]:
    """Return the stack's platform and this machine's, where local runs score; one if they are the same."""
    return list(dict.fromkeys([stack_platform(stack), HERE]))


def platform_of(name: str, stack: Path) -> Platform:
    """Return a platform by its name. Raises BundleError for what is neither Linux's nor this machine's."""
    on_lambda = re.fullmatch(r"linux-(x86_64|aarch64)-py3(\d+)", name)
    if name != HERE and not on_lambda:
        raise BundleError(
            f"{name} is no platform that a bundle can be made for: name one as {stack_platform(stack)}, or this machine's, {HERE}"
        )
    is_stacks = name == stack_platform(stack)
    function = _pinned(stack)
    if name == HERE:
        here = _installed(function)
        function = {one: here[one] for one, pinned in function.items() if one in here and (not is_stacks or here[one] == pinned)}
    python = (3, int(name.rpartition("-py3")[2]))
    built_for = None
    if on_lambda and (is_stacks or name != HERE):
        built_for = Target(next(key for key, machine in ARCHITECTURES.items() if machine == on_lambda[1]), python)
    return Platform(name, python, built_for, function)


def _name_of(built_for: Target) -> str:
    return f"linux-{ARCHITECTURES[built_for.architecture]}-py{built_for.python[0]}{built_for.python[1]}"


def _pinned(stack: Path) -> dict[str, str]:
    """Return what the function's package has; what Lambda's runtime brings may change any day."""
    files = (stack / "functions/predict" / name for name in ("requirements.txt", "requirements-carried.txt"))
    lines = [line for file in files for line in file.read_text().splitlines()]
    pins = (re.match(r"([A-Za-z0-9][\w.-]*)==([\w.+!-]+)", line) for line in lines)
    found = {normalized(pin[1]): pin[2] for pin in pins if pin}
    return {name: version for name, version in found.items() if name not in wheels.RUNTIME}


def _installed(names: dict[str, str]) -> dict[str, str]:
    """Return this machine's versions of the function's libraries: local runs score with them."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
