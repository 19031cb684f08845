"""How thoroughly the property tests look, and what the integration tests run against."""

import os
import sys
from functools import cache
from pathlib import Path

import botocore.session
import pytest
from hypothesis import settings

# A few dozen examples in `make test`; `make test-thorough` and `make test-nightly` look longer.
settings.register_profile("default", max_examples=60, deadline=None)
settings.register_profile("thorough", max_examples=300, deadline=None)
settings.register_profile("nightly", max_examples=10_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

INTEGRATION = Path(__file__).with_name("integration")
AWS_TEST_SECONDS = 3600  # an execution takes minutes there, and waits before its retries


@pytest.fixture(scope="session", autouse=True)
def _botocore_reads_its_models_once():
    """Not anew for each session, of which every test has its own: that took half of the unit tests' time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", cache(botocore.session.create_loader))
        yield


@pytest.fixture(scope="session", autouse=True)
def _key_of_local_runs_is_the_tests_own(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def say(pytestconfig):
    """Write a line to the terminal, which a worker of pytest-xdist reaches by standard error alone."""

    def say(line):
        with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print(f"\n{line}", file=sys.stderr)

    return say


def pytest_addoption(parser):
    group = parser.getgroup("batch-predict")
    group.addoption("--aws", action="store_true", help="run the integration tests against a deployed stack, with your credentials")
    group.addoption("--whole-table", action="store_true", help="tests/differential: every model, file and cut (make smoke)")
    group.addoption("--stack", metavar="NAME", default="batch-predict", help="the stack's name; batch-predict unless given")


def pytest_collection_modifyitems(config, items):
    """With --aws only integration tests run, and of these what does not look at the emulator itself."""
    if not config.getoption("aws"):
        return
    elsewhere = [item for item in items if INTEGRATION not in item.path.parents]
    config.hook.pytest_deselected(items=elsewhere)
    items[:] = [item for item in items if item not in elsewhere]
    for item in items:
        item.add_marker(pytest.mark.timeout(AWS_TEST_SECONDS))
        if reason := why_not_on_aws(item):
            item.add_marker(pytest.mark.skip(reason=reason))


def why_not_on_aws(item):
    """Return why a test is for the emulator only; None for those that say that they run on AWS, too."""
    if marker := item.get_closest_marker("emulator"):
        return f"for the emulator: {marker.args[0]}"
    if "proxy" in getattr(item, "fixturenames", ()):
        return "for the emulator: it puts a proxy between a function and S3"
    return None if item.get_closest_marker("aws") else "for the emulator: it is not marked `aws`"
