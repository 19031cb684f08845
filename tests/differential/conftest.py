"""The places where the handler runs, and how much of the table is held against it in each."""

import pytest

from batch_predict.setup import package, target
from differential import files, models, table
from tools import smoke

SMALL_VARIANTS = (
    *("plain", "missing", "missing_first", "one_row_missing", "digits_then_text", "booleans_and_missing", "unusual_texts"),
    "large_integers",
)


@pytest.fixture(scope="session")
def is_whole(pytestconfig):
    return pytestconfig.getoption("whole_table", default=False)


@pytest.fixture(scope="session", params=["environment", "package"])
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
def whole_or_small_table(is_whole, tmp_path_factory):
    chosen = [model for model in models.MODELS.values() if is_whole or model.name in models.IN_SMALL_TABLE]
    variants = list(files.VARIANTS) if is_whole else SMALL_VARIANTS
    return table.Table(tmp_path_factory.mktemp("models"), chosen, variants, is_whole=is_whole)


@pytest.fixture(scope="session")
def verdicts(whole_or_small_table, place):
    return whole_or_small_table.run(place)
