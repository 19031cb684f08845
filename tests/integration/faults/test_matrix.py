"""Every fault at every call site of S3: the output is whole and exact or absent, and a repeat finishes the work.

`make test` tries throttling at each call of one ordinary run, and one refusal.
"""

import os
from pathlib import Path

import pytest
from expectations import CELLS, SITES, TABLE
from matrix import fault_free_sites, markdown, try_cells

from support.processes import functions_of

pytestmark = [
    pytest.mark.emulator("its S3 gets a proxy that injects faults"),
    pytest.mark.timeout(1200),  # the first test waits for all executions
]


ONE_REFUSAL = "PredictChunk GetObject model: 403"
IN_MAKE_TEST = {
    cell
    for cell in CELLS
    if str(cell) == ONE_REFUSAL or (SITES[cell.site] == "split" and cell.fault == "throttle" and not cell.persistent)
}


@pytest.fixture(scope="module")
def seen(executor):
    """The call sites of each run, without faults."""
    return fault_free_sites(executor)


@pytest.fixture(scope="module")
def verdicts(request, executor, say):
    """What came of the cells that are to be looked at; the table of all, on the terminal and in FAULTS_TABLE."""
    wanted = {item.callspec.params["cell"] for item in request.session.items if "cell" in getattr(item, "fixturenames", ())}
    verdicts = try_cells(executor, [cell for cell in CELLS if cell in wanted])
    table = markdown(verdicts)
    if path := os.environ.get("FAULTS_TABLE"):
        Path(path).write_text(table)
    say(table.splitlines()[-1])
    return verdicts


@pytest.mark.thorough
def test_no_call_site_is_missing_from_the_table(seen):
    """A new request to S3 needs a line in TABLE: what each fault at it leads to."""
    assert set().union(*seen.values()) == set(SITES)


@pytest.mark.thorough
def test_every_call_site_is_looked_at_in_a_run_that_has_it(seen):
    assert {site: run for site, run in SITES.items() if site not in seen[run]} == {}


def test_expectations_are_documented():
    """Names of errors are those of docs/failures.md."""
    documented = (Path(__file__).parents[3] / "docs" / "failures.md").read_text()
    names = {name for row in TABLE.values() for name in row[1:]} - {"survived"}
    assert {name for name in names if f"| `{name}` |" not in documented} == set()


def test_the_documentation_has_every_call_site():
    """`make faults FAULTS_TABLE=...` makes its table."""
    documented = (Path(__file__).parents[3] / "docs" / "reliability.md").read_text()
    assert [str(site) for site in SITES if f"| {site} |" not in documented] == []


@pytest.mark.parametrize(
    "cell", [cell if cell in IN_MAKE_TEST else pytest.param(cell, marks=pytest.mark.thorough) for cell in CELLS], ids=str
)
def test_a_fault_is_survived_or_fails_as_documented_and_a_repeat_succeeds(cell, verdicts):
    assert verdicts[cell].as_expected, verdicts[cell].why


def test_functions_leave_nothing_in_their_temporary_directory(aws, verdicts):
    directories = {process.environ()["TMPDIR"] for process in functions_of(aws)}
    assert directories, "no function runs: nothing to look at"
    left = {path.name for directory in directories for path in Path(directory).iterdir() if not path.name.startswith("ministack-")}
    assert left <= {"state"}  # the emulator's own
