"""batch-predict as `pip install` leaves it: built as a wheel, installed with what it requires into an environment of its own."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]


class Installed(NamedTuple):
    """An environment that has batch-predict's wheel and what that requires, in the lock's versions, and nothing else."""

    bin: Path
    home: Path

    def run(self, command, directory, **variables):
        """Run a shell's command as a user of this environment would: no variable of the tests' own environment is there."""
        environment = {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(self.home), "LANG": "C.UTF-8", **variables}
        return subprocess.run(command, shell=True, check=False, cwd=directory, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    (path,) = directory.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    directory = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", directory / "venv"], check=True)
    # Constraints pick versions and bring nothing in. Their hashes would ask for one of the wheel, which has none.
    locked = re.findall(r"^([a-z0-9-]+==\S+(?: ; .*?)?) \\$", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert len(locked) > 50
    (directory / "constraints.txt").write_text("\n".join(locked))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    command = [directory / "venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "-c", directory / "constraints.txt"]
    done = subprocess.run([*command, wheel], check=False, cwd=directory, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (directory / "home").mkdir()
    return Installed(directory / "venv/bin", directory / "home")


@pytest.fixture(scope="session")
def required():
    """The names that pyproject.toml requires."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {re.match(r"[a-z0-9-]+", line)[0] for line in project["dependencies"]}
