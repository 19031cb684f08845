"""What a model is, and why it may not work, told before it is uploaded.

Samples are scored in tests/integration/test_cli_runs.py. Each inspection starts a process, which takes long: few are needed.
"""

import dataclasses
import hashlib
import importlib
import os
import pickle
import re
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn.base
from sklearn.linear_model import LinearRegression, LogisticRegression

from batch_predict import deployed
from batch_predict.cli import model_command
from batch_predict.errors import InvalidRequestError
from batch_predict.local import check_model as module
from batch_predict.local.check_model import check_model
from batch_predict.local.deployed_package import deployed_package
from support.bundles import make_bundle

ROOT = Path(__file__).parents[3]
FRAME = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [0.0, 1.0, 0.0, 1.0]})
MB = 2**20


class EndsTheProcess:
    def __reduce__(self):
        return os._exit, (7,)


@pytest.fixture(scope="module")
def regression(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.joblib"
    joblib.dump(LinearRegression().fit(FRAME, [1.0, 2.0, 3.0, 4.0]), path)
    return path


@pytest.fixture(scope="module")
def inspected(regression):
    """The check of a regression, made once."""
    return check_model(regression)


@pytest.fixture
def checked(monkeypatch, regression, inspected):
    """Check a model of which other facts were found."""

    def checked(found=(), **options):
        monkeypatch.setattr(module, "_inspected", lambda _: (None, {**inspected.facts, **dict(found)}))
        return check_model(regression, **options)

    return checked


def test_a_model_is_told_with_a_request_to_begin_with(regression, inspected):
    assert (inspected.problems, inspected.warnings, inspected.sample) == ((), (), None)
    assert inspected.sha256 == hashlib.sha256(regression.read_bytes()).hexdigest()
    assert inspected.bytes == regression.stat().st_size
    facts = inspected.facts
    assert (facts["estimator"], facts["sklearn_version"]) == ("LinearRegression", sklearn.__version__)
    assert (facts["feature_columns"], facts["n_features"]) == (["a", "b"], 2)
    assert (facts["classes"], facts["methods"]) == (None, ["predict"])
    assert facts["libraries"] == ["joblib", "numpy", "scikit-learn"]
    assert "feature_columns" not in inspected.request  # which the model knows
    assert inspected.request["model_sha256"] == inspected.sha256
    assert inspected.request["model_s3_uri"].endswith("/models/model.joblib")


def test_a_classifier_of_an_array_that_is_large_and_of_another_version(tmp_path, monkeypatch):
    estimator = LogisticRegression().fit(FRAME.to_numpy(), ["no", "no", "yes", "yes"])
    estimator.ballast_ = np.ones(25_000_000)  # 200 MB
    monkeypatch.setattr(sklearn.base, "__version__", "0.1.2")  # the version that pickles carry
    joblib.dump(estimator, tmp_path / "model.joblib")
    checked = check_model(tmp_path / "model.joblib", prediction_method="predict_proba", memory_mb=500)
    facts = checked.facts

    assert (facts["classes"], facts["feature_columns"], facts["n_features"]) == (["no", "yes"], None, 2)
    assert facts["methods"] == ["predict", "predict_proba", "decision_function"]
    assert 190 < facts["memory_bytes"] / MB < 450
    assert checked.problems[0].startswith("it needs about ")
    assert checked.problems[0].endswith(" MB of memory, and the function has 500: raise PredictMemorySize")
    assert checked.request is None
    expected = f"it was fitted with scikit-learn 0.1.2, the function has {deployed_package(ROOT).versions['scikit-learn']}"
    assert [warning.partition(":")[0] for warning in checked.warnings] == [expected]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"prediction_method": "predict_proba"}, "a LinearRegression has no predict_proba: it has predict"),
        ({"predictions": ["label", "probability"]}, "a LinearRegression has no predict_proba: it has predict"),
        ({"feature_columns": ["b", "a"]}, "--features names the columns in another order than the model was fitted on: a, b"),
        ({"feature_columns": ["a", "c"]}, "--features names other columns than the model was fitted on: a, b"),
    ],
)
def test_what_does_not_fit_the_model_is_a_problem(checked, options, problem):
    assert checked(**options).problems == (problem,)


def test_columns_without_names_are_counted(checked, regression):
    unknown = {"feature_columns": None}
    assert checked(unknown).request["feature_columns"] == ["FILL", "IN"]
    assert checked(unknown, feature_columns=["x", "y"]).problems == ()
    assert checked(unknown, feature_columns=["x"]).problems == ("it was fitted on 2 columns, but --features names 1",)
    assert checked({"methods": ["predict", "predict_proba"]}, prediction_method="predict_proba").request["prediction_method"]
    assert checked(unknown, predictions=["label"]).request["predictions"] == ["label"]
    with pytest.raises(InvalidRequestError, match="does not know the names of its columns: name them with --features"):
        checked(unknown, data=regression)


def test_a_module_that_the_package_lacks_is_a_problem(tmp_path, monkeypatch, checked):
    """Even if it can be imported here."""
    (tmp_path / "own_model.py").write_text("class Doubled:\n    def predict(self, features):\n        return features[:, 0] * 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    own_model = importlib.import_module("own_model")
    path = tmp_path / "model.joblib"
    joblib.dump(own_model.Doubled(), path)
    sys.modules.pop("own_model")

    (problem,) = check_model(path).problems
    assert problem == (
        f"{path} needs the Python module 'own_model' (for its own_model.Doubled), which the prediction function does not have: "
        "make a bundle of it with batch-predict bundle, which brings the library, or your own file of that name; or add that to "
        "the function's container image (docs/package.md)"
    )

    with_image = dataclasses.replace(module._package(), image_modules=frozenset({"own_model"}))
    monkeypatch.setattr(module, "_package", lambda: with_image)
    found = checked({"modules": ["own_model"]})
    expected = "it is made of own_model, which the container image has, but not the zip (docs/package.md)"
    assert (found.problems, found.warnings) == ((), (expected,))


@pytest.mark.thorough
def test_libraries_of_other_releases_than_the_packages_are_a_warning(regression, monkeypatch):
    package = module._package()
    others = dataclasses.replace(package, versions=package.versions | {"pandas": "2.0.1", "scikit-learn": "1.2.2"})
    monkeypatch.setattr(module, "_package", lambda: others)
    warnings = check_model(regression).warnings
    for name, here, there in (("pandas", pd.__version__, "2.0.1"), ("scikit-learn", sklearn.__version__, "1.2.2")):
        assert f"it was scored here with {name} {here}, and the deployed package has {there}" in warnings


def test_what_is_no_model_is_one_problem(tmp_path):
    """The other words for what is no model are the handler's own: tests/unit/predict/test_loading.py."""
    path = tmp_path / "model.joblib"
    path.write_bytes(pickle.dumps(EndsTheProcess()))

    found = check_model(path)
    assert found.problems == (f"{path} ended the process that loaded it: status 7",)
    assert (found.facts, found.request) == ({}, None)


def test_the_cheapest_and_the_fastest_memory_are_told_of_a_model_that_was_scored(inspected):
    sample = module.Sample(rows=1000, rows_per_second=10**6, one_worker=False, prediction_columns=["p"], row_bytes=200)
    lines = dict(model_command._lines(dataclasses.replace(inspected, sample=sample)))
    assert re.match(r"PredictMemorySize: 640 MB .* is the cheapest for this model, 10,240 MB .* the fastest; the", lines["Advice"])
    ballast = {**inspected.facts, "memory_bytes": 2000 * MB}
    lines = dict(model_command._lines(dataclasses.replace(inspected, sample=sample, facts=ballast)))
    assert lines["Advice"].startswith("PredictMemorySize: 3,538 MB")
    assert lines["Memory"].endswith("needs about 2,410 MB")
    assert "Advice" not in dict(model_command._lines(inspected))


def test_what_scoring_takes_beside_a_model_is_as_measured():
    page = (ROOT / "docs/performance.md").read_text()
    largest = int(re.search(r"(\d+) MB for \*b\* forest", page)[1]) * 10**6 / 2**20
    assert largest <= deployed.sizing.SCORING_MB <= largest + 15


@pytest.fixture
def bundle_of(tmp_path, regression):
    """Write a bundle of the regression by hand, and return it with its bundle.json."""

    def bundle_of(**options):
        path = tmp_path / "model.bundle.zip"
        return path, make_bundle(path, regression.read_bytes(), **options)

    return bundle_of


def test_a_bundle_is_told_as_its_model_is(bundle_of, inspected):
    path, document = bundle_of(fitted_with={"scikit-learn": "1.5.2"})
    found = check_model(path)
    assert (found.problems, found.warnings, found.bundle) == ((), (), document)
    told = ("estimator", "feature_columns", "classes", "methods")
    assert {name: found.facts[name] for name in told} == {name: inspected.facts[name] for name in told}
    assert found.request["model_s3_uri"].endswith("/models/model.bundle.zip")
    assert module.needed_mb(found.facts) > deployed.sizing.SCORING_MB + deployed.sizing.PARENT_MB  # a process of its own
    lines = list(model_command._lines(found))
    assert ("Digest", document["digest"]) in lines
    assert ("Fitted", f"with Python {document['python']}, scikit-learn 1.5.2") in lines
    assert ("Estimator", "LinearRegression; has predict") in lines


def test_a_bundle_for_other_machines_is_checked_and_not_loaded(bundle_of):
    path, document = bundle_of(libraries={"linux-sparc-py313": {}})
    found = check_model(path)
    assert (found.facts, found.problems, found.request, found.bundle) == ({}, (), None, document)
    (warning,) = found.warnings
    assert warning.startswith("it is for linux-sparc-py313, and this machine is ")
    assert ("For", "linux-sparc-py313") in list(model_command._lines(found))

    def other_model(entries):
        entries[1] = (entries[1][0], bytes(len(entries[1][1])))

    path, _ = bundle_of(libraries={"linux-sparc-py313": {}}, spoil=other_model)
    (problem,) = check_model(path).problems
    assert problem.startswith(f"{path} is damaged: its model/model.joblib has the SHA-256 ")


def test_what_is_no_bundle_and_has_its_name_is_one_problem(bundle_of):
    path, _ = bundle_of()
    path.write_bytes(path.read_bytes()[:-30])
    (problem,) = check_model(path).problems
    assert problem.startswith(f"{path} is cut off, or has bytes behind its end")
