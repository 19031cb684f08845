"""Real libraries, other versions than the function's, run from a bundle as the function starts them."""

import json
import subprocess
import sys

import pytest

import prediction_handler
from batch_predict.bundle.platforms import HERE

pytestmark = pytest.mark.thorough

QUESTION = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
import lightgbm, numpy, scipy
X = numpy.random.default_rng(0).normal(size=(500, 3))
model = lightgbm.train({"verbose": -1}, lightgbm.Dataset(X, X[:, 0]))
assert abs(model.predict(X) - X[:, 0]).mean() < 0.1
loaded = {line.split()[-1] for line in open("/proc/self/maps") if "libgomp" in line}
print(json.dumps([[lightgbm.__version__, numpy.__version__, scipy.__version__], sorted(loaded)]))
"""


@pytest.mark.skipif(not HERE.startswith("linux-x86_64"), reason="these versions are known to have wheels there")
def test_lightgbm_finds_its_openmp_in_the_bundle(write, tmp_path):
    """Whether this machine has one or not."""
    versions = {"lightgbm": "4.5.0", "numpy": "2.1.3", "scipy": "1.14.1"}
    written = write(*(f"{name}=={version}" for name, version in versions.items()), platforms=[HERE])
    assert written.unpacked_bytes[HERE] < 250_000_000
    bundle = prediction_handler.unpack_bundle(written.path, tmp_path / "unpacked")
    command = [sys.executable, "-S", "-s", "-P", "-c", QUESTION, json.dumps(bundle.path)]
    done = subprocess.run(command, env=prediction_handler._environment_of(bundle), capture_output=True, text=True, check=True)
    told, loaded = json.loads(done.stdout)
    assert told == list(versions.values())
    assert loaded == [f"{bundle.path[0]}/lib/libgomp.so.1"]


def test_libraries_for_lambda_find_all_that_they_load_there(write):
    """XGBoost without graphics cards, and versions of which there are wheels for Python 3.11 but not for 3.13."""
    fitted = ["xgboost==2.1.4", "nvidia-nccl-cu12==2.26.2", "numpy==1.26.4", "scipy==1.11.4", "scikit-learn==1.5.0"]
    written = write(*fitted, "joblib==1.3.2", "threadpoolctl==3.2.0", python="3.11.7")
    brought = ("joblib 1.3.2", "numpy 2.1.0", "scikit-learn 1.5.2", "scipy 1.14.1", "threadpoolctl 3.2.0", "xgboost-cpu 2.1.4")
    assert written.libraries["linux-aarch64-py313"] == brought
    assert [note for note in written.notes if "needs" in note] == []
    assert len([note for note in written.notes if "of which no wheel for Python 3.13" in note]) == 3
