"""The trial of a bundle: what it compares, what it refuses, and what it says if it cannot compare."""

import importlib
import sys

import joblib
import pytest

from batch_predict.bundle.plan import BundleError
from batch_predict.local.aws import local_aws
from batch_predict.local.bundle_trial import Fitted, try_bundle
from support.bundles import make_bundle

pytestmark = [pytest.mark.emulator("the prediction function scores on it"), pytest.mark.thorough]

# In the function, and in no other process, the handler was started by Lambda's runtime client, or by itself.
STEPS = """\
import os
import sys

IS_FUNCTION = "AWS_LAMBDA_FUNCTION_NAME" in os.environ


class Own:
    feature_names_in_ = ["a", "b"]
    n_features_in_ = 2


class Doubled(Own):
    def predict(self, frame):
        return frame["a"] * 2


class Differs(Own):
    def predict(self, frame):
        predictions = frame["a"] * 2
        if IS_FUNCTION:
            predictions.iloc[3] = -1.0
        return predictions


class Fails(Own):
    def predict(self, frame):
        return frame["absent" if IS_FUNCTION else "a"]


class Choosy(Own):
    def predict(self, frame):
        if not frame["a"].isin([1, 2, 3]).all():
            raise ValueError("a must be 1, 2 or 3")
        return frame["a"] * 2


class Ends(Own):
    def __setstate__(self, state):
        os._exit(7)

    def __getstate__(self):
        return {"a": 1}


def load(path):
    return Doubled()
"""


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Make a bundle of a class in STEPS by hand; return it, and where its model was fitted."""
    (tmp_path / "steps.py").write_text(STEPS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "steps", raising=False)
    steps = importlib.import_module("steps")

    def made(name, **options):
        joblib.dump(getattr(steps, name)(), tmp_path / "model.joblib")
        bundle = tmp_path / "model.bundle.zip"
        make_bundle(bundle, (tmp_path / "model.joblib").read_bytes(), code={"steps.py": STEPS.encode()}, **options)
        return bundle, Fitted(tmp_path / "model.joblib", sys.executable, (tmp_path,))

    yield made
    sys.modules.pop("steps", None)


@pytest.fixture
def data(tmp_path):
    """A table of three rows, and one that no model here takes."""
    (tmp_path / "data.csv").write_text("b;a\n0;1\n0;2\n0;3\n")
    return tmp_path / "data.csv"


def test_equal_to_the_bit(made, data):
    trial = try_bundle(*made("Doubled"), local_aws=local_aws)
    assert (trial.estimator, trial.rows, trial.are_made_up) == ("Doubled", 64, True)
    assert (trial.compared, trial.largest_difference, trial.not_compared) == (("predict",), 0, None)


def test_the_rows_of_a_file_in_its_dialect(made, data):
    trial = try_bundle(*made("Choosy"), data=data, csv_field={"delimiter": ";"}, local_aws=local_aws)
    assert (trial.rows, trial.are_made_up, trial.compared) == (3, False, ("predict",))


def test_another_prediction_is_refused_with_its_row_and_both_values(made):
    with pytest.raises(BundleError, match=r"^predict of row 4 is -1\.0 with the bundle, and \d[\d.]* where the model was fitted: "):
        try_bundle(*made("Differs"), local_aws=local_aws)


def test_rows_that_only_the_bundle_does_not_take_are_refused(made):
    with pytest.raises(BundleError, match=r"^the model takes these rows where it was fitted, and with the bundle .*: ModelError: "):
        try_bundle(*made("Fails"), local_aws=local_aws)


def test_a_model_that_takes_no_made_up_rows_is_not_compared(made):
    trial = try_bundle(*made("Choosy"), local_aws=local_aws)
    assert (trial.rows, trial.compared) == (0, ())
    why = "the model does not take them where it was fitted either (ValueError: a must be 1, 2 or 3)"
    assert trial.not_compared == f"{why}: give rows of your data by --check"


def test_rows_of_a_file_that_the_model_does_not_take_are_refused(made, data):
    data.write_text("a,b\n1,0\n7,0\n")
    with pytest.raises(BundleError, match=r"data\.csv cannot be scored with the bundle: .* \(ValueError: a must be 1, 2 or 3\)$"):
        try_bundle(*made("Choosy"), data=data, local_aws=local_aws)


def test_without_an_environment_a_model_is_scored_and_not_compared(made):
    bundle, _ = made("Doubled", loader="steps")
    trial = try_bundle(bundle, None, local_aws=local_aws)
    assert (trial.rows, trial.compared) == (64, ())
    assert trial.not_compared == "there is no environment where it was fitted; give it by --python to compare"


def test_a_bundles_loader_loads_the_model_also_where_it_was_fitted(made, tmp_path):
    bundle, fitted = made("Doubled", loader="steps")
    fitted.model.unlink()  # what the loader needs lies in the bundle
    trial = try_bundle(bundle, fitted, local_aws=local_aws)
    assert (trial.compared, trial.largest_difference) == (("predict",), 0)


def test_what_cannot_be_loaded_by_itself_is_refused(made):
    bundle, fitted = made("Doubled")
    make_bundle(bundle, fitted.model.read_bytes())  # without its module, which lies beside it here
    with pytest.raises(BundleError, match="in a clean interpreter, the model needs the Python module 'steps'"):
        try_bundle(bundle, fitted, local_aws=local_aws)
    with pytest.raises(BundleError, match="in a clean interpreter, the model ended the process that loaded it: status 7"):
        try_bundle(*made("Ends"), local_aws=local_aws)
