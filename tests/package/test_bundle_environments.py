"""What a model needs, looked for in another environment than this one's: with older libraries, and a project that is installed."""

import shutil
import subprocess
import sys
import venv

import pandas as pd
import pytest

from batch_predict.bundle.from_pickle import contents_of
from batch_predict.bundle.plan import BundleError
from batch_predict.setup.target import find_interpreter

pytestmark = pytest.mark.thorough
OLDER = ("scikit-learn==1.5.2", "pandas==2.2.3", "imbalanced-learn==0.12.4")
PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "my-shop"
version = "0.3"
[tool.hatch.build.targets.wheel]
packages = ["src/shop"]
"""
FIT = """
import joblib, pandas as pd
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline
from sklearn.ensemble import RandomForestClassifier
from shop.steps import Scale
data = pd.DataFrame({"a": range(40), "b": [x % 7 for x in range(40)]})
model = make_pipeline(Scale(), RandomOverSampler(random_state=1), RandomForestClassifier(10, random_state=1))
joblib.dump(model.fit(data, [int(x > 30) for x in range(40)]), "model.joblib")
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    project = tmp_path_factory.mktemp("project")
    (project / "src" / "shop").mkdir(parents=True)
    (project / "pyproject.toml").write_text(PYPROJECT)
    (project / "src" / "shop" / "__init__.py").write_text(
        "from importlib.metadata import version\n__version__ = version('my-shop')\n"
    )
    (project / "src" / "shop" / "steps.py").write_text(
        "from sklearn.base import BaseEstimator, TransformerMixin\n\n"
        "class Scale(TransformerMixin, BaseEstimator):\n"
        "    def fit(self, X, y=None):\n        return self\n\n    def transform(self, X):\n        return X / 3\n"
    )
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *OLDER, "-e", project], check=True)
    yield folder, project
    shutil.rmtree(folder)  # 300 MB, which pytest would keep for three runs


def test_a_model_needs_what_is_installed_where_it_was_fitted(environment, tmp_path):
    folder, project = environment
    subprocess.run([folder / "bin" / "python", "-c", FIT], cwd=tmp_path, check=True, capture_output=True)
    contents = contents_of(tmp_path / "model.joblib", folder)
    versions = {one.name: one.version for one in contents.distributions}
    assert [versions.get(requirement.split("==")[0]) for requirement in OLDER] == ["1.5.2", "2.2.3", "0.12.4"]
    assert {"joblib", "numpy", "python-dateutil", "pytz", "scipy", "threadpoolctl"} <= versions.keys()
    assert not {"my-shop", "pip", "setuptools"} & versions.keys()
    assert contents.code["shop/steps.py"].read_text() == (project / "src/shop/steps.py").read_text()
    assert "my_shop-0.3.dist-info/METADATA" in contents.code
    assert (contents.needs_python, contents.notes) == (False, ())


def test_this_environment_is_not_the_one_where_it_was_fitted(environment, tmp_path):
    """Its own modules and imbalanced-learn are not here, and scikit-learn is another."""
    folder, project = environment
    subprocess.run([folder / "bin" / "python", "-c", FIT], cwd=tmp_path, check=True, capture_output=True)
    with pytest.raises(BundleError, match=r"needs the modules 'imblearn' \(for its imblearn.* and 'shop' .*, or your own file by"):
        contents_of(tmp_path / "model.joblib")
    contents = contents_of(tmp_path / "model.joblib", requires=["imbalanced-learn==0.12.4"], code=[project / "src"])
    assert {"shop/__init__.py", "shop/steps.py"} == set(contents.code)
    assert next(one.version for one in contents.distributions if one.name == "scikit-learn") == "1.5.2"
    assert pd.__version__ in [one.version for one in contents.distributions if one.name == "pandas"]


def test_an_environment_without_libraries_lacks_them(environment, tmp_path):
    subprocess.run([environment[0] / "bin" / "python", "-c", FIT], cwd=tmp_path, check=True, capture_output=True)
    venv.create(tmp_path / "bare")
    with pytest.raises(BundleError, match=r"'sklearn' \(for its sklearn.*, or a library by --requires"):
        contents_of(tmp_path / "model.joblib", tmp_path / "bare", code=[environment[1] / "src"])


@pytest.mark.parametrize("minor", range(8, 15))
def test_every_python_can_be_looked_into(minor, tmp_path, environment):
    found = find_interpreter((3, minor))
    if found is None:
        pytest.skip(f"no Python 3.{minor} on this machine")
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04cshelf\nThing\n.")
    (tmp_path / "shelf.py").write_text("import json, distutils, zoneinfo_of_ours\n" if minor < 12 else "import zoneinfo_of_ours\n")
    (tmp_path / "zoneinfo_of_ours.py").write_text("import _ctypes, math, sys, xml.dom\n")
    contents = contents_of(tmp_path / "model.pkl", type(tmp_path)(found.path))
    assert list(contents.code) == ["shelf.py", "zoneinfo_of_ours.py"]
    assert contents.python == found.version


def test_this_python_is_the_one_by_default(tmp_path):
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04cbuiltins\nobject\n.")
    assert contents_of(tmp_path / "model.pkl").python == "{}.{}.{}".format(*sys.version_info)
