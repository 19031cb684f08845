"""The places where the handler runs, and how much of the table is held against it in each."""

import functools

import pytest

from batch_predict.setup import package, target
from differential import files, models, table
from tools import smoke

FEW_VARIANTS = ("plain", "missing", "digits_then_text", "booleans_and_missing", "large_integers")


@pytest.fixture(scope="session")
def is_whole(pytestconfig):
    return pytestconfig.getoption("whole_table", default=False)


@pytest.fixture(scope="session", params=["environment", pytest.param("package", marks=pytest.mark.thorough)])
def place(request, tmp_path_factory):
    """The project's environment, and the package unpacked, in an interpreter without site-packages."""
    if request.param == "environment":
        return table.environment_place()
    if target.host_architecture() is None:
        pytest.skip("Lambda's libraries run on Linux alone")
    built_for, interpreter = smoke.smoke_target()
    path = package.zip_predict(built_for, say=lambda _: None)
    unpacked = smoke.unpack(path, built_for, interpreter, tmp_path_factory.mktemp("unpacked"))
    return table.Place("package", unpacked.command(), unpacked.environment(AWS_DEFAULT_REGION="us-east-1"))


@pytest.fixture(scope="session")
def table_of(tmp_path_factory):
    """Return a table of some models and variants; it is made once for both places."""

    @functools.cache
    def table_of(chosen, variants):
        return table.Table(tmp_path_factory.mktemp("models"), [models.MODELS[name] for name in chosen], variants)

    return table_of


@pytest.fixture(scope="session")
def held_table(is_whole, place, table_of):
    """All of it with `--whole-table`; else a few models in the environment, and each in the package, which may lack a library."""
    if is_whole:
        return table_of(tuple(models.MODELS), tuple(files.VARIANTS))
    if place.name == "package":
        return table_of(tuple(models.MODELS), ("plain", "missing"))
    return table_of(models.FEW, FEW_VARIANTS)


@pytest.fixture(scope="session")
def verdicts(held_table, place):
    return held_table.run(place)
