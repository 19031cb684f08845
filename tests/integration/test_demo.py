"""`make demo`, a slice of the year."""

import json

import joblib
import numpy as np
import pandas as pd
import pytest

from batch_predict.cli.local_commands import DEMO_EXAMPLE
from batch_predict.local import flights
from support.pages import READERS, run

pytestmark = pytest.mark.emulator("the demo runs on the embedded AWS")

EXAMPLE = DEMO_EXAMPLE.rpartition("\b\n")[2].strip()
ROWS = int(EXAMPLE.rpartition(" ")[2])


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """What the example of the demo's help leaves in .demo, and what it prints: the result, and the way to it on standard error."""
    directory = tmp_path_factory.mktemp("demo")
    done = run("bash", EXAMPLE, directory, READERS)
    return directory / ".demo", done.stdout, done.stderr


def test_every_flight_is_scored_as_the_model_scores_it(demo):
    directory = demo[0]
    data = directory / f"flights-{ROWS}.csv"
    expected = joblib.load(directory / "arrival_delay.joblib").predict(pd.read_csv(data)[flights.FEATURES])
    output = (directory / "predictions.csv").read_text().splitlines()

    assert [line.rpartition(",")[0] for line in output] == data.read_text().splitlines()
    np.testing.assert_allclose([float(line.rpartition(",")[2]) for line in output[1:]], expected)


def test_the_model_is_better_than_the_departures_delay(demo):
    output = pd.read_csv(demo[0] / "predictions.csv").dropna(subset=[flights.TARGET])

    def error(prediction):
        return np.abs(prediction - output[flights.TARGET]).mean()

    assert error(output[flights.PREDICTION]) < error(output["dep_delay"])


def test_it_shows_states_rows_and_where_everything_is(demo):
    directory, stdout, stderr = demo

    for state in ("Validate Request", "Probe Model", "Plan Chunks", "Predict Chunks", "Merge Outputs", "Published"):
        assert state in stderr
    assert f"{ROWS:,} in 9 chunks" in stdout
    names = {"predictions.csv", "predictions.csv.report.json", f"flights-{ROWS}.csv", "arrival_delay.joblib"}
    assert {path.name for path in directory.iterdir()} == names  # and nothing else is left
    assert all(f".demo/{name}" in stdout for name in names)
    assert "carrier  flight  origin  dest" in stdout
    assert json.loads((directory / "predictions.csv.report.json").read_text())


def test_what_was_made_once_is_kept(demo):
    directory = demo[0]
    before = {path: path.stat().st_mtime_ns for path in directory.iterdir()}
    flights.write_flights(directory, ROWS)
    flights.fit_model(directory)

    assert {path: path.stat().st_mtime_ns for path in directory.iterdir()} == before
