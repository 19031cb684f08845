"""What a package is built for, read from `template.yaml`, and the interpreter of that Python on this machine if there is one."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


def _root() -> Path:
    """Return the folder of `template.yaml`: an installed batch-predict's `stack/`, the one that was ejected, or the checkout."""
    here = Path(__file__).resolve().parent
    folders = (here.parent / "stack", here.parent, here.parent.parent)
    return next((folder for folder in folders if (folder / "template.yaml").is_file()), here.parent.parent)


ROOT = _root()


def build_folder() -> Path:
    """Return where the results of slow steps are kept: `build/` beside the template, or an installed batch-predict's user cache."""
    if Path(__file__).resolve().parents[1] / "stack" != ROOT:
        return ROOT / "build"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "batch-predict"


ARCHITECTURES = {"arm64": "aarch64", "x86_64": "x86_64"}
"""Lambda's names and those of wheels."""
NEWEST_GLIBC, OLDEST_GLIBC = 34, 17
"""Minor versions. Amazon Linux 2023 has 2.34: https://docs.aws.amazon.com/linux/al2023/ug/compare-with-al2.html"""


class PackageError(Exception):
    """The package cannot be built; the message says what to do."""


class Target(NamedTuple):
    """A Python and a processor of Lambda's."""

    architecture: str
    python: tuple[int, int]

    @property
    def name(self) -> str:
        """The target in names of files: arm64-py313."""
        return f"{self.architecture}-py{self.python[0]}{self.python[1]}"

    @property
    def python_version(self) -> str:
        """The Python as pip and commands name it: 3.13."""
        return f"{self.python[0]}.{self.python[1]}"

    @property
    def platforms(self) -> list[str]:
        """The wheels' platforms that run there, best first; `manylinux2014` alone silently resolves to old versions."""
        machine = ARCHITECTURES[self.architecture]
        return [f"manylinux_2_{minor}_{machine}" for minor in range(NEWEST_GLIBC, OLDEST_GLIBC - 1, -1)] + [
            f"manylinux2014_{machine}"
        ]


class Interpreter(NamedTuple):
    """A Python of the target's minor version, which can therefore compile and run for it."""

    path: str
    version: str
    """The whole version, because byte-code may differ between patches."""


def template_functions(template: Path = ROOT / "template.yaml") -> list[str]:
    """Return the names of the functions."""
    return re.findall(r"^  (\w+):(?: *#.*)?\n    Type: AWS::Serverless::Function$", template.read_text(), re.MULTILINE)


def template_target(template: Path = ROOT / "template.yaml", settings: Path | None = None) -> Target:
    """Return what the functions are deployed as, by the template and by samconfig.toml, both read as text: there may be no library.

    `sam build` passes no parameters to make, so the `Architecture` that `sam deploy` reads counts.
    """
    text = template.read_text()
    settings = settings or template.with_name("samconfig.toml")
    stated = re.findall(r"""^[^#\n]*\bArchitecture=\W*(\w+)""", settings.read_text(), re.MULTILINE) if settings.is_file() else []
    runtimes = set(re.findall(r"^\s*Runtime: python3\.(\d+)\s*(?:#.*)?$", text, re.MULTILINE))
    architectures = set(stated or re.findall(r"^  Architecture:\n    Type: String\n    Default: (\w+)$", text, re.MULTILINE))
    referred = len(re.findall(r"^\s*Architectures: \[!Ref Architecture\]\s*(?:#.*)?$", text, re.MULTILINE))
    if len(runtimes) != 1 or referred != 1 or text.count("Architectures:") != 1 or len(architectures) != 1:
        raise PackageError(
            f"{template} must have one `Runtime: python3.N`, and one `Architectures: [!Ref Architecture]` with its parameter"
        )
    if not architectures <= set(ARCHITECTURES):
        raise PackageError(
            f"Architecture must be one of {', '.join(ARCHITECTURES)}, not {architectures.pop()}: correct {settings.name}"
        )
    return Target(architectures.pop(), (3, int(runtimes.pop())))


def template_storage_mb(template: Path = ROOT / "template.yaml", settings: Path | None = None) -> int:
    """Return the MB of /tmp that the prediction function is deployed with, by samconfig.toml or else the template."""
    settings = settings or template.with_name("samconfig.toml")
    stated = settings.read_text() if settings.is_file() else ""
    given = re.findall(r"""^[^#\n]*\bPredictEphemeralStorageSize=\W*(\d+)""", stated, re.MULTILINE)
    default = re.search(
        r"^  PredictEphemeralStorageSize:\n    Type: Number\n    Default: (\d+)", template.read_text(), re.MULTILINE
    )
    if not given and not default:
        raise PackageError(f"{template} must have a parameter PredictEphemeralStorageSize with its default")
    return int(given[-1] if given or default is None else default[1])


def host_architecture() -> str | None:
    """Return Lambda's name of this machine's processor if it runs Lambda's libraries, which only Linux does."""
    names = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
    return names.get(platform.machine()) if sys.platform == "linux" else None


def find_interpreter(python: tuple[int, int]) -> Interpreter | None:
    """Return an interpreter of that minor version: this one, one on PATH, pyenv's or uv's."""
    for path in _candidates(python):
        found = _interpreter(path)
        if found and tuple(int(number) for number in found.version.split(".")[:2]) == python:
            return found
    return None


def _candidates(python: tuple[int, int]) -> Iterator[str]:
    version = f"{python[0]}.{python[1]}"
    if sys.version_info[:2] == python:
        yield sys.executable
    if on_path := shutil.which(f"python{version}"):
        yield on_path
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    yield from (str(path) for path in sorted(pyenv.glob(f"versions/{version}.*/bin/python"), reverse=True))
    if uv := shutil.which("uv"):
        command = [uv, "python", "find", "--no-python-downloads", version]
        yield subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _interpreter(path: str) -> Interpreter | None:
    """Ask an interpreter for its version; pyenv's stand-ins on PATH fail if no such version is chosen."""
    question = "import json, platform, sys; print(json.dumps([sys.version_info.releaselevel, platform.python_version()]))"
    try:
        answer = subprocess.run([path, "-I", "-c", question], capture_output=True, text=True, check=True, timeout=30).stdout
        level, version = json.loads(answer)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Interpreter(path, version) if level == "final" else None  # byte-code of a preview is another
