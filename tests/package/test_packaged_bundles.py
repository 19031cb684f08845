"""The package scores with bundles, in its own interpreter, with nothing of this machine on its path."""

import json
import subprocess
import textwrap
from pathlib import Path

import lightgbm
import pandas as pd
import pytest
import sklearn
from sklearn.tree import DecisionTreeRegressor

from batch_predict.bundle import from_others
from batch_predict.bundle.from_pickle import contents_of
from batch_predict.bundle.write import write_bundle
from batch_predict.local.aws import local_aws
from batch_predict.setup import target
from support.bundles import make_bundle
from support.kinds_of_models import MODELS, RATIOS, TABLE, WRITE
from support.own_modules import own_tree
from support.places import dumped
from tools import smoke

ROWS = 2000
VERSIONS = {"scikit-learn": "1.5.2", "pandas": "2.2.3"}
TOLERANCE = 1e-12


@pytest.fixture(scope="module")
def aws():
    with local_aws() as running:
        yield running


@pytest.fixture(scope="module")
def frame():
    cities = ("Bern", "Kraków", "New York", "São Paulo")
    rows = range(ROWS)
    return pd.DataFrame({"city": [cities[n % 4] for n in rows], "x": [n % 97 / 8 for n in rows], "y": [n % 13 for n in rows]})


@pytest.fixture(scope="module")
def platform(unpacked, runnable):
    return f"linux-{runnable[0].architecture.replace('arm64', 'aarch64')}-py{''.join(map(str, runnable[0].python))}"


@pytest.fixture
def scored(unpacked, aws, frame, tmp_path):
    """Score the frame twice in a new process of the package; return the predictions, and the facts of the model."""

    def scored(bundle, columns, method="predict", data=None):
        s3, uri = aws.client("s3"), f"s3://{aws.bucket}"
        s3.upload_file(str(bundle), aws.bucket, f"models/{bundle.name}")
        name = data.name if data else "bundles.csv"
        s3.put_object(Bucket=aws.bucket, Key=f"data/{name}", Body=data.read_bytes() if data else frame.to_csv(index=False).encode())
        event = {
            "model_s3_uri": f"{uri}/models/{bundle.name}",
            "data_s3_uri": f"{uri}/data/{name}",
            "output_format": "csv",
            "feature_columns": columns,
            "prediction_column_name": "prediction",
            "prediction_method": method,
            "output_columns": [],
            "output_s3_uri": f"{uri}/output/bundles.csv.work/chunk-00000.csv",
            "receipt_s3_uri": f"{uri}/output/bundles.csv.work/chunk-00000.json",
            "raise_errors": True,
        }
        temporary = tmp_path / "tmp"
        temporary.mkdir()
        _, (first, second) = smoke.invoked(unpacked, aws, temporary, event, event)
        assert first.result["output_bytes"] == second.result["output_bytes"]
        (column, *values) = smoke.read(aws, event["output_s3_uri"]).decode().splitlines()
        assert column.startswith("prediction")
        return values, second.result["model"]

    return scored


@pytest.mark.parametrize("own", [False, True], ids=["nothing of its own", "a module of its own"])
def test_a_bundle_without_libraries_takes_all_from_the_function(scored, frame, tmp_path, platform, own):
    tree = DecisionTreeRegressor(max_depth=6, random_state=0).fit(frame[["x", "y"]], frame.x + frame.y)
    model, code = own_tree(tree) if own else (dumped(tree), None)
    taken = [{"name": "scikit-learn", "version": sklearn.__version__, "from": "function"}]
    path = tmp_path / "tree.bundle.zip"
    document = make_bundle(path, model, code=code, libraries={platform: {}}, distributions=taken)
    values, facts = scored(path, ["x", "y"])
    assert [float(value) for value in values] == tree.predict(frame[["x", "y"]]).tolist()
    assert (facts["bundle"], facts["estimator"]) == (document["digest"], "OwnTree" if own else "DecisionTreeRegressor")


@pytest.mark.thorough
def test_a_library_of_the_bundle_finds_the_pandas_that_the_function_carries(scored, frame, tmp_path, platform, root):
    """LightGBM looks for pandas once, when it is imported, and pandas lies in the package as a zip."""
    kinds = frame.assign(city=frame["city"].astype("category"))
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1).fit(kinds, (frame.x > frame.y).astype(int))
    model.booster_.save_model(tmp_path / "model.txt")
    path = tmp_path / "text.bundle.zip"
    written = write_bundle(from_others.contents_of(tmp_path / "model.txt"), path, [platform], stack=root, say=print)
    assert not any(one.startswith("pandas") for one in written.libraries[platform])
    values, facts = scored(path, ["city", "x", "y"], "predict_proba")
    assert [float(value.split(",")[1]) for value in values] == model.predict_proba(kinds)[:, 1].tolist()
    assert facts["estimator"] == "Classifier"


@pytest.fixture(scope="module")
def elsewhere(frame, runnable, tmp_path_factory):
    """An environment with other versions than the package's: its interpreter, the folder of its models, what they predict."""
    interpreter = target.find_interpreter((3, 12)) or runnable[1]  # best one of another Python, too
    folder = tmp_path_factory.mktemp("elsewhere")
    python = folder / "environment/bin/python"
    run(interpreter.path, "-m", "venv", str(folder / "environment"))
    wanted = [f"{name}=={version}" for name, version in VERSIONS.items()]
    run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted)
    data = folder / "data.csv"
    data.write_text(frame.to_csv(index=False))
    program = Path(__file__).with_name("fitted_elsewhere.py")
    return python, folder, json.loads(run(str(python), str(program), str(data), str(folder)))


def run(*command, folder=None):
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["linear", "trees"])
def test_a_model_with_other_versions_is_scored_as_in_its_own_environment(scored, elsewhere, tmp_path, platform, root, name):
    python, folder, predicted = elsewhere
    path = tmp_path / f"{name}.bundle.zip"
    contents = contents_of(folder / f"{name}.joblib", python)
    write_bundle(contents, path, [platform], stack=root, say=lambda _: None)
    values, facts = scored(path, ["city", "x", "y"], "predict_proba")
    found = [float(value.split(",")[1]) for value in values]
    assert found == pytest.approx(predicted[name], rel=TOLERANCE, abs=TOLERANCE)
    assert {library: facts["versions"][library] for library in VERSIONS} == VERSIONS
    assert facts["warnings"] == []


@pytest.fixture(scope="module")
def of_the_packages_python(runnable, tmp_path_factory):
    """An environment with the package's Python, which a notebook's class needs, and what else models are made of."""
    folder = tmp_path_factory.mktemp("kinds")
    run(runnable[1].path, "-m", "venv", str(folder))
    wanted = ("scikit-learn", "pandas", "pyarrow", "xgboost-cpu", "lightgbm", "imbalanced-learn", "cloudpickle")
    run(str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted)
    return folder / "bin/python"


@pytest.mark.thorough
@pytest.mark.parametrize("name", MODELS)
def test_each_kind_of_model_is_scored_as_where_it_was_fitted(scored, of_the_packages_python, tmp_path, platform, root, name):
    (tmp_path / "ratios.py").write_text(RATIOS)
    program = TABLE + textwrap.dedent(MODELS[name]) + WRITE + "\nprint(json.dumps([features, frame['expected'].tolist()]))"
    printed = run(str(of_the_packages_python), "-c", f"import json, sys; sys.path[:0] = ['.']\n{program}", folder=tmp_path)
    features, expected = json.loads(printed)
    path = tmp_path / f"{name}.bundle.zip"
    contents = contents_of(tmp_path / "model.joblib", of_the_packages_python)
    write_bundle(contents, path, [platform], stack=root, say=lambda _: None)
    values, facts = scored(path, features, data=tmp_path / "data.parquet")
    assert [json.loads(value) if value[0].isdigit() else value for value in values] == expected
    assert facts["bundle"]
