"""docs/tutorial.md, followed from top to bottom in a directory of its own: each `bash` and `python` block, and what it prints."""

import json
import re
from itertools import pairwise
from pathlib import Path

import jsonschema
import pandas as pd
import pytest

from support.pages import READERS, blocks, run

pytestmark = [pytest.mark.emulator("the command line runs on the embedded AWS"), pytest.mark.thorough]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/tutorial.md").read_text()
# What differs from machine to machine, or with the versions of libraries.
MEASURED = re.compile(r"[0-9a-f]{64}|[\d.,]+ (kB|MB|s|rows/s)\b|(scikit-learn|Pipeline) [\d.]+")


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """The directory, and [(what was to be printed, what was printed)]."""
    directory = tmp_path_factory.mktemp("tutorial")
    printed = []
    for (language, block), (following, text) in pairwise([*blocks(PAGE, "bash|python|text"), ("", "")]):
        if language != "text":
            done = run(language, block, directory, READERS)
            printed.append((text if following == "text" else "", done.stderr + done.stdout))
    return directory, printed


def test_every_block_prints_what_the_page_says(followed):
    _, printed = followed

    def plain(text):
        return MEASURED.sub("#", text)

    assert sum(bool(expected) for expected, _ in printed) == 5
    for expected, output in printed:
        lines = plain(output).splitlines()
        assert [line for line in plain(expected).splitlines() if line not in lines] == [], output


def test_every_row_of_the_week_is_there(followed):
    directory, _ = followed
    days = sorted(directory.glob("data/*/flights.csv"))
    rows = [line for day in days for line in day.read_text().splitlines()[1:]]

    output = (directory / "predictions.csv").read_text().splitlines()
    assert len(days) == 7
    assert [line.rpartition(",")[0] for line in output[1:]] == rows
    assert pd.read_csv(directory / "predictions.csv")["predicted_delay"].notna().all()


def test_parquet_gives_the_same_predictions(followed):
    directory, _ = followed
    pd.testing.assert_frame_equal(pd.read_parquet(directory / "predictions.parquet"), pd.read_csv(directory / "predictions.csv"))


def test_the_failure_leaves_no_output(followed):
    directory, _ = followed

    assert (directory / "damaged.csv").exists()
    assert not list(directory.glob("damaged-*"))


@pytest.mark.parametrize("name", ["request", "nightly"])
def test_its_requests_are_valid(followed, name):
    schema = json.loads((ROOT / "functions/workflow/request.schema.json").read_text())
    jsonschema.validate(json.loads((followed[0] / f"{name}.json").read_text()), schema)
