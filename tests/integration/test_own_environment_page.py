"""docs/own_environment.md, followed from top to bottom: an older environment, a module beside the model, a notebook's class."""

import re
from pathlib import Path

import pandas as pd
import pytest

from support.pages import READERS, blocks, run

pytestmark = [
    pytest.mark.emulator("the command line runs on the embedded AWS"),
    pytest.mark.thorough,
    pytest.mark.timeout(900),  # the first time, it downloads two environments
]

DOWNLOAD_SECONDS = 600
PAGE = (Path(__file__).parents[2] / "docs/own_environment.md").read_text()


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """The directory, and what was printed by all blocks together."""
    directory = tmp_path_factory.mktemp("own_environment")
    done = [run(language, block, directory, READERS, DOWNLOAD_SECONDS) for language, block in blocks(PAGE, "bash|python")]
    return directory, "".join(one.stdout for one in done)


def test_every_block_runs_and_prints_what_the_page_says(followed):
    _, printed = followed
    for _, text in blocks(PAGE, "text"):
        assert text in printed


def test_the_trials_have_compared(followed):
    """Of the older environment made-up rows, of the own module those of the data."""
    _, printed = followed
    trials = re.findall(r"^Trial +(.*)$", printed, re.MULTILINE)
    assert [trial.partition(";")[0] for trial in trials] == [
        "64 made-up rows scored by the prediction function",
        "1,000 rows scored by the prediction function",
    ]
    assert all("to the model where it was fitted" in trial for trial in trials)
    assert "brings" in printed
    assert "scikit-learn 1.5.2" in printed


def test_the_outputs_are_there(followed):
    directory, _ = followed
    assert set(pd.read_csv(directory / "scored.csv")["churn"]) == {"leaves", "stays"}
    spending = pd.read_csv(directory / "spending.csv")
    assert len(spending) == 2000
    assert (directory / "doubled.pkl").is_file()
