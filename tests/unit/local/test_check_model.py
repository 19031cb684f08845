"""What a model is, and what stands in its way, told before it is uploaded.

Samples are scored in tests/integration/test_cli_runs.py.
"""

import dataclasses
import hashlib
import importlib
import os
import pickle
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn.base
from sklearn.linear_model import LinearRegression, LogisticRegression

from batch_predict.errors import InvalidRequestError
from batch_predict.local import check_model as module
from batch_predict.local.check_model import check_model
from batch_predict.local.deployed_package import deployed_package

ROOT = Path(__file__).parents[3]
FRAME = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [0.0, 1.0, 0.0, 1.0]})


class EndsTheProcess:
    def __reduce__(self):
        return os._exit, (7,)


@pytest.fixture
def dumped(tmp_path):
    def dumped(estimator):
        path = tmp_path / "model.joblib"
        joblib.dump(estimator, path)
        return path

    return dumped


@pytest.fixture
def regression(dumped):
    return dumped(LinearRegression().fit(FRAME, [1.0, 2.0, 3.0, 4.0]))


def test_a_model_is_told_with_a_request_to_begin_with(regression):
    checked = check_model(regression)

    assert (checked.problems, checked.warnings, checked.sample) == ((), (), None)
    assert checked.sha256 == hashlib.sha256(regression.read_bytes()).hexdigest()
    assert checked.bytes == regression.stat().st_size
    facts = checked.facts
    assert (facts["estimator"], facts["sklearn_version"]) == ("LinearRegression", sklearn.__version__)
    assert (facts["feature_columns"], facts["n_features"]) == (["a", "b"], 2)
    assert (facts["classes"], facts["methods"]) == (None, ["predict"])
    assert facts["libraries"] == ["joblib", "numpy", "scikit-learn"]
    assert "feature_columns" not in checked.request  # which the model knows
    assert checked.request["model_sha256"] == checked.sha256
    assert checked.request["model_s3_uri"].endswith("/models/model.joblib")


def test_a_classifiers_classes_and_methods(dumped):
    checked = check_model(dumped(LogisticRegression().fit(FRAME, ["no", "no", "yes", "yes"])), prediction_method="predict_proba")

    assert checked.facts["classes"] == ["no", "yes"]
    assert checked.facts["methods"] == ["predict", "predict_proba", "decision_function"]
    assert checked.request["prediction_method"] == "predict_proba"


@pytest.mark.thorough
def test_memory_is_what_loading_takes(dumped):
    large = LinearRegression().fit(FRAME, [1.0, 2.0, 3.0, 4.0])
    large.ballast_ = np.ones(25_000_000)  # 200 MB
    checked = check_model(dumped(large), memory_mb=500)

    assert 190 < checked.facts["memory_bytes"] / 2**20 < 450
    assert checked.problems[0].startswith("it needs about ")
    assert checked.problems[0].endswith(" MB of memory, and the function has 500: raise PredictMemorySize")
    assert checked.request is None


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"prediction_method": "predict_proba"}, "a LinearRegression has no predict_proba: it has predict"),
        ({"feature_columns": ["b", "a"]}, "--features names the columns in another order than the model was fitted on: a, b"),
        ({"feature_columns": ["a", "c"]}, "--features names other columns than the model was fitted on: a, b"),
    ],
)
def test_what_does_not_fit_the_model_is_a_problem(regression, options, problem):
    assert check_model(regression, **options).problems == (problem,)


@pytest.mark.thorough
def test_columns_without_names_are_counted(dumped):
    path = dumped(LinearRegression().fit(FRAME.to_numpy(), [1.0, 2.0, 3.0, 4.0]))

    assert check_model(path).request["feature_columns"] == ["FILL", "IN"]
    assert check_model(path, feature_columns=["x", "y"]).problems == ()
    assert check_model(path, feature_columns=["x"]).problems == ("it was fitted on 2 columns, but --features names 1",)
    with pytest.raises(InvalidRequestError, match="does not know the names of its columns: name them with --features"):
        check_model(path, data=path)


def test_another_version_of_scikit_learn_is_a_warning(dumped, monkeypatch):
    estimator = LinearRegression().fit(FRAME, [1.0, 2.0, 3.0, 4.0])
    monkeypatch.setattr(sklearn.base, "__version__", "0.1.2")  # the version that pickles carry
    path = dumped(estimator)

    checked = check_model(path)
    assert checked.facts["sklearn_version"] == "0.1.2"
    assert checked.problems == ()
    expected = f"it was fitted with scikit-learn 0.1.2, the function has {deployed_package(ROOT).versions['scikit-learn']}"
    assert [warning.partition(":")[0] for warning in checked.warnings] == [expected]


def test_a_module_that_the_package_lacks_is_a_problem(dumped, tmp_path, monkeypatch):
    """Also where it can be imported here."""
    (tmp_path / "own_model.py").write_text("class Doubled:\n    def predict(self, features):\n        return features[:, 0] * 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    own_model = importlib.import_module("own_model")
    path = dumped(own_model.Doubled())
    sys.modules.pop("own_model")

    (problem,) = check_model(path).problems
    assert problem == (
        f"{path} needs the Python module 'own_model' (for its own_model.Doubled), which the prediction function does not have: "
        "add the library, or your own file of that name, to the function's container image (docs/package.md), or use what the "
        "function has in its place"
    )

    package = module._package()
    with_image = dataclasses.replace(package, image_modules=frozenset({"own_model"}))
    monkeypatch.setattr(module, "_package", lambda: with_image)
    checked = check_model(path)
    expected = "it is made of own_model, which the container image has, but not the zip (docs/package.md)"
    assert (checked.problems, checked.warnings) == ((), (expected,))


def test_what_this_programme_itself_is_made_of_is_no_part_of_the_package(dumped):
    (problem,) = check_model(dumped(module.Sample(1, 1.0, ["p"]))).problems
    assert (
        "needs the Python module 'batch_predict' (for its batch_predict.local.check_model.Sample), which the prediction" in problem
    )


def test_code_by_value_is_of_the_packages_python(tmp_path):
    package = deployed_package(ROOT).python
    for written in ("3.12", package):
        said = f"and the prediction function runs Python {package}"
        path = ROOT / f"tests/unit/predict/by_value/python{written}.pickle"
        problems = check_model(path).problems
        here = f"{sys.version_info.major}.{sys.version_info.minor}"
        if written == package:
            said = f"as the deployed package runs; this is Python {here}: use Python {package} here"
        assert (written == here == package and problems == ()) or f"under Python {written}, {said}" in problems[0]


@pytest.mark.thorough
def test_libraries_of_other_releases_than_the_packages_are_a_warning(regression, monkeypatch):
    package = module._package()
    others = dataclasses.replace(package, versions=package.versions | {"pandas": "2.0.1", "scikit-learn": "1.2.2"})
    monkeypatch.setattr(module, "_package", lambda: others)
    here = pd.__version__
    assert f"it was scored here with pandas {here}, and the deployed package has 2.0.1" in check_model(regression).warnings
    assert (
        f"it was scored here with scikit-learn {sklearn.__version__}, and the deployed package has 1.2.2"
        in check_model(regression).warnings
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"no pickle", "is text, and no model: give the file that joblib.dump has written"),
        (pickle.dumps({"a": 1}), "holds a dict, which has no predict method: dump the fitted estimator itself"),
        (pickle.dumps(EndsTheProcess()), "ended the process that loaded it: status 7"),
    ],
)
def test_what_is_no_model_is_one_problem(tmp_path, content, problem):
    path = tmp_path / "model.joblib"
    path.write_bytes(content)

    checked = check_model(path)
    assert checked.problems == (f"{path} {problem}",)
    assert (checked.facts, checked.request) == ({}, None)


def test_the_functions_memory_is_the_templates():
    assert f"Default: {module.deployed_memory_mb()}\n" in (ROOT / "template.yaml").read_text()
    largest = max(
        int(line.split("|")[-3])
        for line in (ROOT / "docs/performance.md").read_text().splitlines()
        if line.count("|") == 8 and "| ours |" in line
    )
    assert largest <= module.SCORING_MB <= largest + 10
