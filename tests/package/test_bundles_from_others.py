"""Bundles of ONNX, CatBoost and skops, whose libraries pip gets: what loaders answer, and what the prediction function writes."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from batch_predict.bundle import from_others
from batch_predict.bundle.plan import BundleError
from batch_predict.bundle.platforms import HERE

pytestmark = pytest.mark.thorough
LIBRARIES = ("onnx", "onnxruntime", "skl2onnx", "protobuf", "flatbuffers", "ml_dtypes", "typing_extensions", "packaging",
             "skops", "prettytable", "wcwidth", "catboost", "six")  # fmt: skip
"""With what they need, besides what is here."""
PROGRAM = Path(__file__).with_name("fitted_by_others.py")


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """A folder with those libraries: the environment of a process that finds them."""
    folder = tmp_path_factory.mktemp("libraries")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile"]
    run([*pip, "--target", folder, *LIBRARIES])
    yield os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}
    shutil.rmtree(folder)  # 700 MB, which pytest would keep for three runs


@pytest.fixture(scope="module")
def saved(there, tmp_path_factory):
    """A folder with a model in each format, data for them, and what they predict."""
    folder = tmp_path_factory.mktemp("saved")
    run([sys.executable, PROGRAM, "save", folder], env=there)
    return folder


def run(command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_loaders_answer_as_the_libraries(there, saved):
    assert json.loads(run([sys.executable, PROGRAM, "compare", saved], env=there).splitlines()[-1]) == []


@pytest.mark.parametrize(
    ("file", "data", "features"),
    [
        ("inputs.onnx", "mixed.csv", None),
        ("grades.cbm", "numbers.csv", "a,b,c"),
        ("trees.skops", "numbers.csv", None),
    ],
)
def test_a_bundle_predicts_as_the_library_that_wrote_the_model(saved, tmp_path, file, data, features):
    bundle, output = tmp_path / "m.bundle.zip", tmp_path / "out.csv"
    chosen = ["--features", features] if features else []
    told = run([*cli(), "bundle", saved / file, "-o", bundle, "--platform", HERE, "--check", saved / data, *chosen, "--json"])
    assert json.loads(told)["trial"]["rows"] == len(pd.read_csv(saved / data))
    run([*cli(), "run", "--model", bundle, "--data", saved / data, "--prediction", "p", "--output", output, *chosen])
    predicted = json.loads((saved / "predicted.json").read_bytes())[Path(file).stem]
    with output.open(newline="") as rows:
        written = [row["p"] for row in csv.DictReader(rows)]
    assert written == [str(value) for value in np.ravel(predicted)]


def cli():
    return [sys.executable, "-c", "from batch_predict.cli.app import main; main()"]


def test_types_that_nobody_trusts_are_named_and_nothing_is_loaded(saved):
    with pytest.raises(
        BundleError, match=r"holds 1 type\(s\) that are not scikit-learn's .*: json.dumps\. .*add --trust json.dumps$"
    ):
        from_others.contents_of(saved / "function.skops")
    contents = from_others.contents_of(saved / "function.skops", trust=["json.dumps"])
    assert json.loads(contents.beside["trusted.json"]) == ["json.dumps"]
    assert any("pinned: json.dumps" in note for note in contents.notes)
    assert contents.requirements[0].startswith("skops==")
