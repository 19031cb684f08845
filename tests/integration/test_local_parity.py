"""A local run refuses what the deployed package would refuse, though this environment has more."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from batch_predict.local.deployed_package import deployed_package

pytestmark = pytest.mark.emulator("it is about this environment's Python and libraries, which AWS does not have")

ROOT = Path(__file__).parents[2]
DATA = b"x\n1\n2\n"
BY_VALUE = ROOT / "tests/unit/predict/by_value"
REFUSED = {
    "by-value": ("pickled by value (cloudpickle) under Python 3.12, and the prediction function runs Python "),
    "library": "needs the Python module 'rich' (for its rich.text.Text), which the prediction function does not have: make "
    "a bundle of",
    "script": "needs 'clean' of the script or notebook that fitted it (__main__), which is not in the file",
}
MODELS = {
    "by-value": (BY_VALUE / "python3.12.pickle").read_bytes(),
    "library": b"crich.text\nText\n.",
    "script": b"c__main__\nclean\n.",
}


@pytest.fixture
def probe(aws, places, put):
    """Have the deployed function look at a model and two rows; returns its answer."""

    def probe(model, **fields):
        event = {
            "model_s3_uri": put(f"{places.models}parity.joblib", model),
            "data_s3_uri": put(f"{places.data}parity.csv", DATA),
            "prediction_column_name": "p",
            "feature_columns": ["x"],
            "probe_rows": 2,
            **fields,
        }
        answer = aws.client("lambda").invoke(FunctionName=aws.predict_function_name, Payload=json.dumps(event).encode())
        answer = json.loads(answer["Payload"].read())
        return answer["statusCode"], json.loads(answer["body"])

    return probe


@pytest.mark.parametrize("what", REFUSED)
def test_a_run_refuses_what_the_package_would_refuse(probe, what):
    status, body = probe(MODELS[what])
    assert (status, body["error"]) == (400, "ModelError")
    assert REFUSED[what] in body["message"]


def test_code_by_value_of_the_packages_python_is_no_fault_of_the_model(probe):
    package, here = deployed_package(ROOT).python, f"{sys.version_info.major}.{sys.version_info.minor}"
    status, body = probe((BY_VALUE / f"python{package}.pickle").read_bytes())
    if package == here:
        assert status == 200
    else:
        assert f"as the deployed package runs; this is Python {here}: use Python {package} here" in body["message"]


def test_a_model_that_the_package_can_score_is_scored_as_strictly_as_there(probe):
    model = LinearRegression().fit(pd.DataFrame({"x": [1.0, 2.0]}), [2.0, 4.0])
    status, body = probe(model, strict=True)
    assert (status, body.get("rows")) == (200, 2), body
