"""The trial of a bundle where the model cannot even be loaded: that is not where it was fitted."""

import sys
from pathlib import Path

import pytest

from batch_predict.local.aws import local_aws
from batch_predict.local.bundle_trial import Fitted, try_bundle
from support.bundles import make_bundle

pytestmark = [pytest.mark.emulator("the trial scores by the embedded AWS"), pytest.mark.thorough]
OWN = b"cown_steps_of_a_trial\nModel\n)R."
CODE = b"class Model:\n    feature_names_in_ = ['x1']\n    def predict(self, features):\n        return [1.0] * len(features)\n"


@pytest.mark.parametrize("rows", [None, "x1\n1\n2\n"])
def test_an_environment_that_cannot_load_the_model_is_told_and_the_rows_are_scored(tmp_path, rows):
    model, bundle, data = tmp_path / "model.joblib", tmp_path / "made.bundle.zip", tmp_path / "rows.csv"
    model.write_bytes(OWN)
    make_bundle(bundle, OWN, code={"own_steps_of_a_trial.py": CODE})
    if rows:
        data.write_text(rows)
    trial = try_bundle(bundle, Fitted(model, Path(sys.executable)), data=data if rows else None, local_aws=local_aws)
    assert trial.rows == (2 if rows else 64)
    assert trial.not_compared == (
        f"the model cannot be loaded in the environment of {sys.executable} (ModuleNotFoundError: No module named "
        "'own_steps_of_a_trial'): give by --python the one where it was fitted"
    )
    assert trial.compared == ()
