"""`batch-predict bundle` for real: libraries from PyPI, a trial on the embedded AWS, and a local run equal to the model.

Nothing but the model is named: what it needs, the command finds out.
"""

import json
import subprocess
import sys
import textwrap

import pandas as pd
import pytest

from batch_predict.bundle.platforms import HERE, stack_platform
from batch_predict.deployed import stack_directory
from support.kinds_of_models import MODELS, RATIOS, TABLE, WRITE
from support.pages import READERS

pytestmark = [
    pytest.mark.emulator("the command line runs on the embedded AWS"),
    pytest.mark.thorough,
    pytest.mark.timeout(600),  # the first one may have to download
]


@pytest.fixture(scope="session")
def imbalanced_learn(tmp_path_factory):
    """A folder with imbalanced-learn, which the tests' environment lacks."""
    folder = tmp_path_factory.mktemp("imbalanced")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target", folder]
    subprocess.run([*command, "imbalanced-learn", "sklearn-compat"], check=True)
    return folder


def run(command, folder, *, status=0, **variables):
    """Run a command line in a folder; return what it has printed."""
    words = ["bash", "-c", command] if isinstance(command, str) else command
    environment = {**READERS, **variables}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("name", MODELS)
def test_a_bundle_predicts_as_the_model_does(name, tmp_path, request):
    path = f"{tmp_path}"
    if name == "imbalanced":
        path = f"{request.getfixturevalue('imbalanced_learn')}:{path}"
    search = f"{path}:{READERS.get('PYTHONPATH', '')}"
    if name == "own_module":
        (tmp_path / "ratios.py").write_text(RATIOS)
    run([sys.executable, "-c", TABLE + textwrap.dedent(MODELS[name]) + WRITE], tmp_path, PYTHONPATH=search)

    command = "batch-predict bundle model.joblib -o model.bundle.zip --json"
    if name == "notebook" and HERE.rpartition("-")[2] != stack_platform(stack_directory()).rpartition("-")[2]:
        refused = run(command, tmp_path, status=1, PYTHONPATH=search)
        assert "the model holds functions or classes as Python 3." in refused.stderr
        assert not (tmp_path / "model.bundle.zip").exists()
        command += f" --platform {HERE}"  # no stack could run it; this machine can
    bundle = json.loads(run(command, tmp_path, PYTHONPATH=search).stdout)
    trial = bundle["trial"]
    assert (trial["rows"], trial["are_made_up"], trial["not_compared"]) == (64, True, None)
    assert "predict" in trial["compared"]
    assert trial["largest_difference"] == 0  # the same libraries, and the same machine

    data = "data.parquet" if name == "lightgbm" else "data.csv"  # CSV has no categories
    output = f"scored.{data.partition('.')[2]}"
    # The run knows nothing of the folders where the model's modules are: the bundle has them.
    columns = "--features text" if name == "texts" else ""  # a vectorizer knows no name of its column
    run(f"batch-predict run --model model.bundle.zip --data {data} {columns} --prediction label --output {output}", tmp_path)
    scored = (pd.read_parquet if name == "lightgbm" else pd.read_csv)(tmp_path / output)
    assert len(scored) == 400
    assert (scored["label"] == scored["expected"]).all()
    assert scored["label"].nunique() == 2

    if name == "own_module":
        shown = run("batch-predict check-model model.bundle.zip --data data.csv", tmp_path).stdout
        assert bundle["digest"] in shown
        assert "Estimator  Pipeline" in shown
        assert "400 rows" in shown
