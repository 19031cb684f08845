"""Faults of S3 while a bundle's own process scores: the parent fetches the model, the child all else, and both are survived."""

from dataclasses import replace

import pytest
from call_sites import Site
from expectations import CELLS, REFUSALS, REPRESENTATIVES, SITES, TRANSIENT, Cell
from matrix import try_cells
from runs import RUNS

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.emulator("its S3 gets a proxy that injects faults"),
    pytest.mark.timeout(600),  # the first test waits for all executions
]

BUNDLED = {"split": replace(RUNS["split"], model="tree.bundle.zip")}
MODEL = Site("PredictChunk", "GetObject", "model")
STAYS = Cell(MODEL, "throttle", persistent=True)
LOOKED_AT = [
    cell
    for cell in CELLS
    if cell.site.function == "PredictChunk" and SITES[cell.site] == "split" and not cell.persistent
    if cell.fault not in REFUSALS or cell.site == MODEL
]


@pytest.fixture(scope="module")
def verdicts(executor):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(REPRESENTATIVES, MODEL, ("throttle", TRANSIENT))
        return try_cells(executor, [*LOOKED_AT, STAYS], BUNDLED)


@pytest.mark.parametrize("cell", [*LOOKED_AT, STAYS], ids=str)
def test_a_fault_is_survived_or_fails_as_with_any_model(cell, verdicts):
    assert verdicts[cell].as_expected, verdicts[cell].why
