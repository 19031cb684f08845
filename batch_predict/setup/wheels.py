"""Gets wheels for a target from the project's lock file: the target's Python and processor, whatever this machine's are."""

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from .target import ROOT, PackageError, Target, build_folder

LOCK = ROOT / "requirements.lock"
REQUIREMENTS = ROOT / "functions/predict/requirements.txt"
CARRIED_REQUIREMENTS = ROOT / "functions/predict/requirements-carried.txt"
CACHE = build_folder() / "wheels"

RUNTIME = (
    *("boto3", "botocore", "s3transfer", "urllib3", "jmespath", "python-dateutil", "six"),
    *("awslambdaric", "simplejson", "snapshot-restore-py"),
)
"""What Lambda's Python runtime brings, and the package therefore leaves out:
https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html#python-sdk-included"""

ON_LAMBDA = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "",  # the lock's lines are for both processors
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "sys_platform": "linux",
}
"""What the markers of a lock ask for: https://packaging.python.org/en/latest/specifications/dependency-specifiers/"""


def required_names(requirements: Path = REQUIREMENTS) -> list[str]:
    """Return the names in a requirements file."""
    lines = (line.partition("#")[0].strip() for line in requirements.read_text().splitlines())
    return [line.partition("==")[0] for line in lines if line]


def locked(names: Iterable[str], python: tuple[int, int], lock: Path = LOCK) -> list[str]:
    """Return the lock's lines of ``names`` without markers: pip's library judges these for any Python, pip for its own."""
    if importlib.util.find_spec("pip") is None:
        raise PackageError(
            f"{sys.executable} has no pip, which gets the wheels: install it there (python -m ensurepip, or uv pip install pip), "
            "or build by another Python, as in make PYTHON=python3 package"
        )
    from pip._vendor.packaging.requirements import Requirement  # noqa: PLC0415 - a plain Python has no other

    version = f"{python[0]}.{python[1]}"
    environment = {**ON_LAMBDA, "python_version": version, "python_full_version": f"{version}.0"}
    lines: dict[str, str] = {}
    for line in re.findall(r"^[a-z0-9].*", re.sub(r" *\\\n *", " ", lock.read_text()), re.MULTILINE):
        text, *hashes = line.split(" --hash=")
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            lines[requirement.name] = " --hash=".join([f"{requirement.name}{requirement.specifier}", *hashes])
    wanted = list(names)
    if missing := [name for name in wanted if name not in lines]:
        raise PackageError(f"{lock.name} has no {', '.join(missing)} for Python {version}: run make lock")
    return [lines[name] for name in wanted]


def download(lines: list[str], target: Target, cache: Path = CACHE) -> list[Path]:
    """Return wheels for the lock's ``lines``, and nothing else: pip fails if one of them needs what is not in ``lines``."""
    key = hashlib.sha256("\n".join([*lines, target.name]).encode()).hexdigest()[:16]
    folder = cache / f"{target.name}-{key}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as partial:
            requirements = Path(partial) / "requirements.txt"
            requirements.write_text("\n".join(lines))
            wheels = Path(partial) / "wheels"
            _pip_download(requirements, wheels, target)
            try:
                wheels.rename(folder)  # whole or not at all
            except OSError:
                if not folder.is_dir():  # else another process was first, with the same wheels
                    raise
    return sorted(folder.glob("*.whl"))


def _pip_download(requirements: Path, folder: Path, target: Target) -> None:
    platforms = [f"--platform={platform}" for platform in target.platforms]
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--require-hashes"),
        *("--only-binary=:all:", "--implementation=cp", f"--python-version={target.python_version}", *platforms),
        *("--dest", str(folder), "-r", str(requirements)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PackageError(f"pip could not get the wheels for {target.name}:\n{done.stderr.strip()}")


def unpack(wheels: Iterable[Path], directory: Path) -> dict[str, int]:
    """Unpack wheels as Lambda's task root, and return the bytes of each library, by the wheel's name."""
    sizes = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(directory)
            sizes[library_name(wheel)] = sum(entry.file_size for entry in archive.infolist())
    for data in directory.glob("*.data"):
        for modules in (data / "purelib", data / "platlib"):
            if modules.is_dir():
                shutil.copytree(modules, directory, dirs_exist_ok=True)
        shutil.rmtree(data)  # the rest are scripts and the like, which an installer puts elsewhere
    return sizes


def library_name(wheel: Path) -> str:
    """Return a wheel's library, spelt as in its file's name: xgboost_cpu."""
    return wheel.name.partition("-")[0]


def owners(wheels: Iterable[Path]) -> dict[str, str]:
    """Return which library each top-level folder or module came with."""
    found = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            found.update({name.partition("/")[0]: library_name(wheel) for name in archive.namelist()})
    return found
