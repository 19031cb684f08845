"""Bundles through the deployed state machine, with IAM enforced: what comes out, what the report says, what is refused."""

import json
import platform
from pathlib import Path

import pandas as pd
import pytest
import sklearn
from sklearn.tree import DecisionTreeRegressor

from support.bundles import make_bundle
from support.own_modules import own_tree

ROWS = 3000
NAMES = ["x", "y"]


@pytest.fixture(scope="module")
def frame():
    return pd.DataFrame(
        {"id": range(ROWS), "x": [number % 97 for number in range(ROWS)], "y": [number % 13 for number in range(ROWS)]}
    )


@pytest.fixture(scope="module")
def tree(frame):
    return DecisionTreeRegressor(max_depth=6, random_state=0).fit(frame[NAMES], frame.x * 1.5 + frame.y / 3)


@pytest.fixture(scope="module")
def bundle(tree, tmp_path_factory):
    """A bundle of a class that only its own module has: its bytes, and its bundle.json."""
    model, code = own_tree(tree)
    path = tmp_path_factory.mktemp("bundle") / "tree.bundle.zip"
    document = make_bundle(path, model, code=code, fitted_with={"scikit-learn": sklearn.__version__})
    return path.read_bytes(), document


@pytest.fixture(scope="module")
def request_of(frame, bundle, places, put):
    """Return a request with the bundle under a name of its own."""

    def request_of(name, body=bundle[0], prefix=None):
        return {
            "model_s3_uri": put(f"{prefix or places.models}bundles/{name}", body),
            "data_s3_uri": put(f"{places.data}bundles/in.csv", frame.to_csv(index=False)),
            "prediction_column_name": "prediction",
            "chunk_size_mb": 0.01,
        }

    return request_of


@pytest.fixture(scope="module")
def expected(frame, tree):
    return frame.assign(prediction=tree.predict(frame[NAMES])).to_csv(index=False)


@pytest.mark.aws
def test_a_bundle_scores_and_the_report_says_which(
    scored, failed, request_of, bundle, expected, read, report_of, tmp_path, tree, put
):
    request = request_of("run.bundle.zip")
    execution = scored("bundled.csv", **request)
    output = execution["output"]
    assert read(output["output_s3_uri"]).decode() == expected
    report = report_of(execution)
    model = report["model"]
    assert output["chunks"] > 1
    assert (model["bundle"], model["estimator"]) == (bundle[1]["digest"], "OwnTree")
    assert model["file_bytes"] == bundle[1]["files"]["model/model.joblib"]["bytes"]
    assert model["unpacked_bytes"] > model["file_bytes"]
    assert (model["versions"]["python"], model["versions"]["scikit-learn"]) == (platform.python_version(), sklearn.__version__)

    assert scored("bundled.csv", **request)["output"]["etag"] == output["etag"]  # as the same result
    changed = tmp_path / "changed.bundle.zip"
    model, code = own_tree(tree)
    make_bundle(changed, model, code=code | {"note.py": b""})
    put(request["model_s3_uri"], changed.read_bytes())
    assert failed("bundled.csv", **request)[0] == "OutputExistsError"  # another bundle is another result


def test_a_bundle_elsewhere_is_refused(failed, request_of, places):
    error, cause = failed("elsewhere.csv", **request_of("elsewhere.bundle.zip", prefix=places.data))
    assert error == "InvalidRequestError"
    assert "elsewhere.bundle.zip is not under" in cause


@pytest.mark.parametrize("name", ["model.zip", "MODEL.BUNDLE.ZIP"])
def test_a_bundle_by_another_name_is_told(failed, request_of, name):
    error, cause = failed(f"{name}.csv", **request_of(name))
    assert error == "ModelError"
    assert "is a bundle under another name" in cause
    assert "give it one that ends in .bundle.zip" in cause


def test_another_bundle_than_the_pinned_one_is_refused_before_it_runs(failed, request_of, tmp_path, tree):
    marker = tmp_path / "ran"
    model, code = own_tree(tree)
    ran = f"open({str(marker)!r}, 'w')\n".encode()
    path = Path(tmp_path, "own.bundle.zip")
    make_bundle(path, model, code={name: ran + content for name, content in code.items()})
    error, cause = failed("pinned.csv", **request_of("pinned.bundle.zip", path.read_bytes()), model_sha256="0" * 64)
    assert error == "ModelError"
    assert "is not the pinned model" in cause
    assert not marker.exists()


def test_a_dry_run_counts_what_is_unpacked(scored, request_of, bundle):
    plan = scored("dry.csv", **request_of("dry.bundle.zip"), dry_run=True)["output"]
    assert json.dumps(plan["estimate"]["assumptions"]).count("MB are needed") == 1
