"""Finds out what a model needs that a library has written as a file of its own: XGBoost, LightGBM, ONNX, CatBoost."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from batch_predict.bundle import xgboost_files
from batch_predict.bundle.plan import Contents, Distribution

LOADERS = Path(__file__).with_name("loaders")
"""Modules that load such files where they are scored."""
XGBOOST, LIGHTGBM, ONNX, CATBOOST = (
    "a model of XGBoost's own",
    "a model of LightGBM's own",
    "an ONNX graph",
    "a model of CatBoost's own",
)
CATBOOST_VERSION, SIX_VERSION = "1.2.10", "1.17.0"
"""If nothing else is known. CatBoost also requires 100 MB of libraries for plots, which it imports for them alone."""
_STARTS = (
    (rb'\s*\{\s*"learner"|\{[iUIlL].{1,8}learner|binf', XGBOOST),
    (rb"\x80[\x02-\x05].{0,9}(?:\x8c\x0c|c)xgboost\.core[\x94\n](?:\x8c\x07)?Booster[\x94\n]", XGBOOST),
    (rb"tree\r?\nversion=", LIGHTGBM),
    (rb"CBM1", CATBOOST),
    (
        # by its fields: the format's version, who wrote it, and the graph; https://onnx.ai/onnx/repo-docs/IR.html
        rb"\x08[\x01-\x20](?:(?:[\x12\x1a\x22].[\w .+-]{0,60}){0,3}(?:\x28.)?(?:\x32\x00)?:|[\x12\x1a\x22].{0,4000}(?:onnx|ONNX))",
        ONNX,
    ),
)
"""First bytes."""
_LOOKED_AT_BYTES = 4096


class Asked(NamedTuple):
    """What whoever makes the bundle says of the model."""

    installed: Mapping[str, str]
    """The versions where it was fitted; empty if that is not there."""
    python: Path | None
    """The interpreter there."""
    trust: Sequence[str]
    """Types in a skops file that may be loaded, besides scikit-learn's and NumPy's own."""

    def requirement(self, name: str) -> str:
        """Return the requirement of a library, in the version where the model was fitted if that is known."""
        version = self.installed.get(name) or self.installed.get(f"{name}-cpu")
        return f"{name}=={version}" if version else name


def kind_of(path: Path) -> str | None:
    """Tell by its first bytes which library has written a file; None if it is none of these."""
    with path.open("rb") as file:
        start = file.read(_LOOKED_AT_BYTES)
    return next((kind for pattern, kind in _STARTS if re.match(pattern, start, re.DOTALL)), None)


def of_xgboost(path: Path, asked: Asked) -> Contents:
    """Return what a model of XGBoost's own needs: the XGBoost where it was fitted, else the one that wrote the file."""
    facts = xgboost_files.read(path)
    needed = xgboost_files.needed_by(facts, asked.installed.get("xgboost-cpu") or asked.installed.get("xgboost"))
    notes = (*xgboost_files.notes_of(facts), *needed.notes)
    return Contents(path, "", requirements=(needed.requirement,), loader=LOADERS / "xgboost_model.py", notes=notes)


def of_lightgbm(path: Path, asked: Asked) -> Contents:
    """Return what a model of LightGBM's own needs; its text does not say which LightGBM wrote it."""
    notes = []
    with path.open("rb") as file:
        start = file.read(_LOOKED_AT_BYTES)
    if re.search(rb"(?m)^objective=(?:binary|multiclass|softmax|ova|ovr)", start):
        notes.append(LABELS)
    if "lightgbm" not in asked.installed:
        notes.append("the file does not say which LightGBM wrote it: the function's own scores, or what --requires says")
    requirements = (asked.requirement("lightgbm"),)
    return Contents(path, "", requirements=requirements, loader=LOADERS / "lightgbm_text.py", notes=tuple(notes))


def of_onnx(path: Path, asked: Asked) -> Contents:
    """Return what an ONNX graph needs: onnxruntime."""
    note = "ONNX graphs compute in float32: predictions differ from the original model's by 1e-6 of their size, and labels at ties"
    requirements = (asked.requirement("onnxruntime"),)
    return Contents(path, "", requirements=requirements, loader=LOADERS / "onnx_graph.py", notes=(note,))


def of_catboost(path: Path, asked: Asked) -> Contents:
    """Return what a model of CatBoost's own needs; the file does not say which CatBoost wrote it."""
    version = asked.installed.get("catboost")
    note = f"the file does not say which CatBoost wrote it: {CATBOOST_VERSION} scores, or what --requires says"
    needed = (Distribution("catboost", version or CATBOOST_VERSION), Distribution("six", asked.installed.get("six", SIX_VERSION)))
    notes = () if version else (note,)
    return Contents(path, "", distributions=needed, loader=LOADERS / "catboost_model.py", notes=notes)


LABELS = "it predicts classes as numbers, 0 to n - 1, and their probabilities: the file does not say what labels they stand for"
