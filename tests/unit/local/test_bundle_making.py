"""Where the model of a bundle was fitted, for the trial's comparison."""

import sys
from pathlib import Path

from batch_predict.bundle.plan import Contents, Distribution
from batch_predict.local.bundle_making import Wanted, _fitted

MODEL, LOADER = Path("model.cbm"), Path("catboost_model.py")
NEEDED = (Distribution("catboost", "1.2.10"),)


def test_what_a_loader_loads_was_fitted_elsewhere_unless_a_python_is_given():
    """This environment need not have its library, which is pinned without being here."""
    of_a_file = Contents(MODEL, "", distributions=NEEDED, loader=LOADER)
    assert _fitted(Wanted(MODEL, Path("m.bundle.zip")), of_a_file) is None
    assert _fitted(Wanted(MODEL, Path("m.bundle.zip"), python=Path(sys.executable)), of_a_file).model == MODEL
    of_a_pickle = Contents(MODEL, "3.11.7", distributions=NEEDED)
    assert _fitted(Wanted(MODEL, Path("m.bundle.zip")), of_a_pickle).model == MODEL
    assert _fitted(Wanted(MODEL, Path("m.bundle.zip")), Contents(MODEL, "3.11.7", requirements=("catboost",))) is None
