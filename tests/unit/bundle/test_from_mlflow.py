"""What the folder of an MLflow model says, in the files that MLflow 3.17 writes; and requirement files, line by line."""

import json
import pickle
import sys
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
import sklearn
import xgboost
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from batch_predict.bundle import from_mlflow, from_others, requirement_lines
from batch_predict.bundle.plan import BundleError

X, Y = np.arange(20.0).reshape(10, 2), np.arange(10.0)
GENERAL = """\
  python_function:
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.{flavour}
    model_path: {file}
    predict_fn: predict
    python_version: 3.11.7
"""
SKLEARN = """\
flavors:
{general}  sklearn:
    code: {code}
    pickled_model: model.pkl
    serialization_format: cloudpickle
    sklearn_version: 1.9.1
    skops_trusted_types: null
mlflow_version: 3.17.2
signature:
  inputs: '[{{"type": "double", "name": "a", "required": true}}, {{"type": "double",
    "name": "b", "required": true}}]'
  outputs: '[{{"type": "tensor", "tensor-spec": {{"dtype": "int64", "shape": [-1]}}}}]'
  params: null
"""
XGBOOST = """\
flavors:
{general}  xgboost:
    code: null
    data: model.ubj
    model_class: xgboost.sklearn.XGBRegressor
    model_format: ubj
    xgb_version: 3.2.0
mlflow_version: 3.17.2
"""
OWN = """\
flavors:
  python_function:
    cloudpickle_version: 3.1.3
    code: null
    loader_module: mlflow.pyfunc.model
    python_model: python_model.pkl
    python_version: 3.11.7
mlflow_version: 3.17.2
"""
REQUIREMENTS = (
    "mlflow==3.17.2\ncloudpickle==3.1.3\nnumpy==2.4.6\npandas==3.1.1\npsutil==7.0.0\npyarrow==19.0.0\nscikit-learn==1.9.1"
)
CONDA = """\
channels:
- conda-forge
dependencies:
- python=3.11.7
- libgomp=13
- pip<=23.2.1
- pip:
  - mlflow==3.17.2
  - numpy==2.4.6
name: mlflow-env
"""


def general(flavour, file, code=""):
    return f"{GENERAL.format(flavour=flavour, file=file)}{code}"


@pytest.fixture
def folder(tmp_path):
    """The folder of a scikit-learn model, as mlflow.sklearn.save_model writes it."""
    path = tmp_path / "model"
    path.mkdir()
    (path / "MLmodel").write_text(SKLEARN.format(general=general("sklearn", "model.pkl"), code="null"))
    (path / "requirements.txt").write_text(REQUIREMENTS)
    (path / "conda.yaml").write_text(CONDA)
    (path / "python_env.yaml").write_text("python: 3.10.4\ndependencies:\n- -r requirements.txt\n")
    (path / "model.pkl").write_bytes(cloudpickle.dumps(LinearRegression().fit(X, Y)))
    return path


def test_a_folder_of_mlflow_says_the_versions_and_the_python_of_its_model(folder):
    assert from_others.kind_of(folder) == from_others.MLFLOW
    contents = from_others.contents_of(folder)
    assert contents.requirements == ("cloudpickle==3.1.3", "numpy==2.4.6", "pandas==3.1.1", "scikit-learn==1.9.1")
    assert (contents.model, contents.python, contents.loader, contents.needs_python) == (
        folder / "model.pkl",
        "3.11.7",
        None,
        False,
    )
    assert contents.notes == (
        "left out of the listed requirements, because scoring needs none of them: mlflow==3.17.2, psutil==7.0.0",
        "left out, because the prediction function reads and writes with its own: pyarrow==19.0.0",
        "MLflow's signature names its columns: a, b",
    )
    assert from_others.contents_of(folder, requires=["pandas==2.2.3"]).requirements[-1] == "pandas==2.2.3"


def test_the_environment_where_it_was_fitted_goes_before_what_the_folder_lists(folder):
    contents = from_others.contents_of(folder, python=Path(sys.executable))
    versions = {one.name: one.version for one in contents.distributions}
    assert (versions["scikit-learn"], contents.requirements) == (sklearn.__version__, ())
    assert "versions are those of --python, whatever the folder lists" in contents.notes


def test_code_beside_the_model_comes_along(folder):
    (folder / "MLmodel").write_text(SKLEARN.format(general=general("sklearn", "model.pkl", "    code: code\n"), code="code"))
    package = folder / "code" / "own_steps"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (folder / "code" / "single.py").write_text("import own_steps\n")
    assert sorted(from_others.contents_of(folder).code) == ["own_steps/__init__.py", "single.py"]


def test_a_model_with_functions_in_it_needs_its_python(folder):
    model = make_pipeline(FunctionTransformer(lambda rows: rows * 2), LinearRegression()).fit(X, Y)
    (folder / "model.pkl").write_bytes(cloudpickle.dumps(model))
    assert from_others.contents_of(folder).needs_python


def test_versions_come_from_conda_if_there_are_no_requirements(folder):
    (folder / "requirements.txt").unlink()
    contents = from_others.contents_of(folder)
    assert contents.requirements == ("numpy==2.4.6",)
    assert "conda installed more, whose names on package indexes may differ, so they are left out: libgomp=13" in contents.notes
    (folder / "conda.yaml").unlink()
    assert from_others.contents_of(folder).requirements == ()


def test_a_model_of_xgboost_is_taken_by_its_own_file(folder):
    (folder / "MLmodel").write_text(XGBOOST.format(general=general("xgboost", "model.ubj")))
    (folder / "requirements.txt").write_text("mlflow==3.17.2\nxgboost==3.1.0\nnumpy==2.4.6\n")
    xgboost.XGBRegressor(n_estimators=1, n_jobs=1).fit(X, Y).save_model(folder / "model.ubj")
    contents = from_others.contents_of(folder)
    assert contents.model == folder / "model.ubj"
    assert contents.loader.name == "xgboost_model.py"
    assert contents.requirements == ("xgboost==3.1.0", "numpy==2.4.6")
    assert contents.python == "3.11.7"


@pytest.mark.parametrize(
    ("mlmodel", "said"),
    [
        (OWN, "holds a class of your own for MLflow (python_model), which MLflow alone can load: give the model inside it"),
        ("flavors:\n  pytorch:\n    model_data: data\n", "is of MLflow's flavour pytorch, and bundles take sklearn, xgboost"),
        ("flavors:\n  sklearn:\n    sklearn_version: 1.9.1\n", "names no file of its flavour sklearn: log the model again"),
        ("flavors:\n  sklearn:\n    pickled_model: ../model.pkl\n", "names a model that is not in its folder, '../model.pkl'"),
        ("flavors:\n  sklearn:\n    pickled_model: none.pkl\n", "names a model that is not in its folder, 'none.pkl'"),
        ("flavors: [", "is not as MLflow writes it (ParserError): log the model again"),
        ("a: b\n", "is not as MLflow writes it (KeyError): log the model again"),
        ("!!python/object/apply:os.system ['exit 1']", "is not as MLflow writes it (ConstructorError)"),
    ],
)
def test_what_cannot_be_loaded_without_mlflow_is_named(folder, mlmodel, said):
    (folder / "MLmodel").write_text(mlmodel)
    (folder.parent / "model.pkl").write_bytes(pickle.dumps(1))
    with pytest.raises(BundleError) as error:
        from_others.contents_of(folder)
    assert said in str(error.value)


def test_own_modules_are_files_and_packages(tmp_path):
    for name in ("__pycache__", "package", "not-a-name"):
        (tmp_path / name).mkdir()
    for name in ("a.py", "b.txt"):
        (tmp_path / name).write_text("")
    assert [path.name for path in from_mlflow.own_modules_in(tmp_path)] == ["a.py", "package"]


# --- requirement files ------------------------------------------------------------------------------------------------------------


def test_lines_are_joined_and_comments_hashes_and_options_about_wheels_are_left_out(tmp_path):
    (tmp_path / "more.txt").write_text("scipy>=1.10,<2 ; python_version >= '3.9'\n")
    (tmp_path / "requirements.txt").write_text(
        "# of a build\n--only-binary=:all:\nnumpy==1.26.4 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n\n"
        "pandas[performance]==2.2.3  # for frames\n-r more.txt\nscikit_learn ~= 1.5.0\n"
    )
    assert requirement_lines.read(tmp_path / "requirements.txt").requirements == (
        "numpy==1.26.4",
        "pandas[performance]==2.2.3",
        "scipy>=1.10,<2 ; python_version >= '3.9'",
        "scikit_learn ~= 1.5.0",
    )


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("-c constraints.txt", "constraints are another file's"),
        ("-e .", "no index has a folder of this machine: give its modules by --code"),
        ("./wheels/own-1.0-py3-none-any.whl", "no index has a folder of this machine"),
        ("git+https://example.com/own.git", "an address has no version"),
        ("own @ https://example.com/own.whl", "an address has no version"),
        ("--extra-index-url https://example.com/simple", "an index is a setting of pip: set it there"),
        ("--unknown", "this option of pip is not known here"),
        ("numpy = 1.26", "is no requirement: write it as name==1.2.3"),
        ("-r ../outside.txt", "is not a file beside it"),
        ("-r requirements.txt", "its files name each other too often"),
    ],
)
def test_a_line_that_cannot_be_taken_is_named(tmp_path, line, why):
    (tmp_path / "requirements.txt").write_text(f"numpy\n\n{line}\n")
    with pytest.raises(BundleError) as error:
        requirement_lines.read(tmp_path / "requirements.txt")
    assert why in str(error.value)
    assert "requirements.txt, line 3" in str(error.value)


def test_names_are_compared_as_indexes_compare_them():
    assert requirement_lines.with_those(["scikit_learn==1.5", "numpy"], ["Scikit-Learn==1.6"]) == ("numpy", "Scikit-Learn==1.6")
    assert requirement_lines.pins_of(["A.b==1.0; x", "c>=2", "d == 3"]) == {"a-b": "1.0", "d": "3"}


def test_the_signature_is_read_if_it_has_columns(folder):
    document = {"signature": {"inputs": json.dumps([{"type": "tensor"}])}}
    assert from_mlflow._columns(document) == []
