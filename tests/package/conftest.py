"""The package for both processors, built once; kept under build/ for the next time."""

from pathlib import Path

import pytest

from batch_predict.setup import package, target
from batch_predict.setup.target import Target

ROOT = Path(__file__).parents[2]

HERE = target.host_architecture() or "x86_64"
OTHER = next(name for name in target.ARCHITECTURES if name != HERE)


def silent(_):
    """Print nothing."""


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def python():
    """The template's."""
    return target.template_target().python


@pytest.fixture(scope="session", params=[HERE, pytest.param(OTHER, marks=pytest.mark.thorough)])
def built(request, python):
    """What it was built for, the libraries' folder, and the report."""
    built_for = Target(request.param, python)
    libraries, _, report = package.build_predict(built_for, say=silent)
    return built_for, libraries, report


@pytest.fixture(scope="session")
def runnable():
    """What this machine can run, and by which interpreter."""
    if target.host_architecture() is None:
        pytest.skip("Lambda's libraries run on Linux alone")
    from tools.smoke import smoke_target  # noqa: PLC0415

    return smoke_target()


@pytest.fixture(scope="session")
def unpacked(runnable, tmp_path_factory):
    """The package for this machine, as Lambda would have it."""
    from tools import smoke  # noqa: PLC0415

    built_for, interpreter = runnable
    path = package.zip_predict(built_for, say=silent)
    return smoke.unpack(path, built_for, interpreter, tmp_path_factory.mktemp("unpacked"))
