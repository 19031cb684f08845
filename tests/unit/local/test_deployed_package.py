"""What the deployed package has is read from what it is built by, and a process can be made to have nothing else."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from batch_predict.local import as_packaged
from batch_predict.local.deployed_package import MODULES, VARIABLE, deployed_package

ROOT = Path(__file__).parents[3]
PACKAGE = deployed_package(ROOT)


def test_it_is_the_templates_python_and_the_pins_of_the_requirements():
    assert f"Runtime: python{PACKAGE.python}" in (ROOT / "template.yaml").read_text()
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "functions/predict/requirements.txt").read_text(), re.MULTILINE))
    assert PACKAGE.versions.items() >= pins.items()
    assert PACKAGE.modules >= {
        "sklearn",
        "numpy",
        "scipy",
        "joblib",
        "pyarrow",
        "orjson",
        "cloudpickle",
        "boto3",
        "prediction_handler",
    }
    assert "pandas" in PACKAGE.modules | PACKAGE.image_modules


@pytest.mark.thorough
def test_each_module_is_one_of_its_distribution():
    """Under that name, if it is installed here."""
    of = defaultdict(set)
    for top, distributions in packages_distributions().items():
        for name in distributions:
            of[name.lower().replace("_", "-")].add(top)
    installed = [name for name in PACKAGE.versions if name in of]
    assert len(installed) >= 9
    for name in installed:
        assert MODULES.get(name, name.replace("-", "_")) in of[name]


@pytest.fixture
def stack(tmp_path):
    (tmp_path / "functions").mkdir()
    shutil.copytree(ROOT / "functions/predict", tmp_path / "functions/predict")
    shutil.copy(ROOT / "template.yaml", tmp_path)
    return tmp_path


def test_what_is_added_to_the_image_is_there_with_what_it_needs(stack):
    with (stack / "functions/predict/requirements-image.txt").open("a") as requirements:
        requirements.write("# a comment\nJinja2>=3\nabsent-library[extra]==1.0\n")
    package = deployed_package(stack)
    assert package.image_modules >= {"jinja2", "markupsafe", "absent_library"}  # what pip brings with it, too
    assert not package.image_modules & package.modules
    assert "jinja2" in json.loads(package.environment[VARIABLE])["modules"]
    assert "jinja2" not in PACKAGE.modules | PACKAGE.image_modules


def run(script, has):
    command = [sys.executable, "-c", f"import sys\nsys.path.insert(0, {str(Path(as_packaged.__file__).parent)!r})\n{script}"]
    variables = {**os.environ, VARIABLE: json.dumps({"modules": has})}
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout.split()


def test_a_process_lacks_what_the_package_lacks():
    script = """
import jinja2, yaml
from as_packaged import lack_other_modules
lack_other_modules({"numpy"})
import numpy, csv, sysconfig, zoneinfo
sysconfig.get_config_vars()
for name in ("jinja2", "rich", "yaml", "as_packaged", "numpy.absent"):
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        print(error.name)
print(jinja2.__name__)
"""
    assert run(script, []) == ["jinja2", "rich", "yaml", "as_packaged", "numpy.absent", "jinja2"]


def test_the_handler_and_all_that_a_model_needs_run_with_what_the_package_has(tmp_path):
    script = f"""
import json, os
from as_packaged import lack_other_modules
lack_other_modules(json.loads(os.environ["{VARIABLE}"])["modules"])
sys.path.insert(0, {str(ROOT / "functions/predict")!r})
import prediction_handler, awslambdaric.bootstrap
import pandas, sklearn.ensemble, sklearn.pipeline, sklearn.compose, sklearn.impute, sklearn.svm, sklearn.neighbors
print(sorted(name for name in sys.modules if name in ("matplotlib", "rich", "pytest")))
"""
    assert run(script, sorted(PACKAGE.modules | PACKAGE.image_modules)) == ["[]"]
