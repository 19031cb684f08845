"""Finds out what a model needs that a library has written as a file of its own: XGBoost, LightGBM, ONNX, CatBoost."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from batch_predict.bundle import xgboost_files
from batch_predict.bundle.installed import installed
from batch_predict.bundle.plan import Contents

LOADERS = Path(__file__).with_name("loaders")
"""Modules that load such files where they are scored."""
XGBOOST, LIGHTGBM = "a model of XGBoost's own", "a model of LightGBM's own"
_STARTS = (
    (rb'\s*\{\s*"(?:learner|version)"|\{[iUIlL].{1,8}(?:learner|version)|binf', XGBOOST),
    (rb"tree\r?\nversion=", LIGHTGBM),
)
"""First bytes."""
_LOOKED_AT_BYTES = 4096


class Asked(NamedTuple):
    """What whoever makes the bundle says of the model."""

    python: Path | None = None
    """The Python where it was fitted, if that is there."""
    trust: Sequence[str] = ()
    """Types in a skops file that may be loaded, besides scikit-learn's and NumPy's own."""


def kind_of(path: Path) -> str | None:
    """Tell by its first bytes which library has written a file; None if it is none of these."""
    with path.open("rb") as file:
        start = file.read(_LOOKED_AT_BYTES)
    return next((kind for pattern, kind in _STARTS if re.match(pattern, start, re.DOTALL)), None)


def of_xgboost(path: Path, asked: Asked) -> Contents:
    """Return what a model of XGBoost's own needs: the XGBoost where it was fitted, else the one that wrote the file."""
    facts = xgboost_files.read(path)
    needed = xgboost_files.needed_by(facts, installed(asked.python, "xgboost-cpu", "xgboost"))
    notes = (*xgboost_files.notes_of(facts), *needed.notes)
    return Contents(path, "", requirements=needed.requirements, loader=LOADERS / "xgboost_model.py", notes=notes)


def of_lightgbm(path: Path, asked: Asked) -> Contents:
    """Return what a model of LightGBM's own needs; its text does not say which LightGBM wrote it."""
    version = installed(asked.python, "lightgbm")
    notes = []
    with path.open("rb") as file:
        start = file.read(_LOOKED_AT_BYTES)
    if re.search(rb"(?m)^objective=(?:binary|multiclass|softmax|ova|ovr)", start):
        notes.append(LABELS)
    if not version:
        notes.append("the file does not say which LightGBM wrote it: the prediction function's own scores, or what --requires says")
    requirements = (f"lightgbm=={version}" if version else "lightgbm",)
    return Contents(path, "", requirements=requirements, loader=LOADERS / "lightgbm_text.py", notes=tuple(notes))


LABELS = "it predicts classes as numbers, 0 to n - 1, and their probabilities: the file does not say what labels they stand for"
