"""What a file of XGBoost says of itself: UBJSON, JSON or the old binary format; read without XGBoost."""

import json
import re
import struct
from pathlib import Path
from typing import Any, NamedTuple

from batch_predict.bundle import ubjson
from batch_predict.bundle.plan import BundleError

OLDEST = (2, 1, 4)
"""The first release whose estimators work beside scikit-learn 1.6 and newer; XGBoost reads what older ones have saved."""
LAST_BINARY = "3.0.5"
"""The last release that reads the binary format."""
_CLASSIFYING = ("binary:logistic", "binary:hinge", "multi:softprob", "multi:softmax")
_PARAMETERS = struct.Struct("<fIiiiII")
"""The binary format's first fields: base score, features, classes, two flags, and the version in two parts; 136 bytes in all."""


class Facts(NamedTuple):
    """What a file says."""

    version: tuple[int, ...]
    """Of the XGBoost that wrote it; empty if it does not say."""
    objective: str
    estimator: str
    """classifier, regressor or ranker, if XGBoost's scikit-learn interface saved it; else nothing."""
    best_round: str
    """The best round of training, if it was stopped early; else nothing."""
    has_codes: bool
    """Whether it has categories, and does not say what they are."""
    is_binary: bool


NOTHING = Facts((), "", "", "", has_codes=False, is_binary=False)
"""Of a file that says nothing."""


class Needed(NamedTuple):
    """The library that a file needs."""

    requirement: str
    notes: tuple[str, ...] = ()


def read(path: Path) -> Facts:
    """Read what a file says of itself; BundleError if it is broken."""
    content = path.read_bytes()
    if content.startswith(b"binf"):
        return _read_binary(path, content)
    try:
        document = _document(content)
        learner = document["learner"]
        attributes = learner.get("attributes", {})
        wrapped = json.loads(attributes.get("scikit_learn", "{}"))
        model = learner["gradient_booster"].get("model", {})
        return Facts(
            tuple(document.get("version", ())),
            learner["objective"]["name"],
            wrapped.get("_estimator_type") or "",
            attributes.get("best_iteration", ""),
            "c" in learner.get("feature_types", ()) and not any(_listed(one) for one in model.get("cats", {}).get("enc", ())),
            is_binary=False,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if content.startswith(b"\x80"):  # of an old protocol, or an old XGBoost
            return NOTHING
        raise BundleError(f"{path} begins as a model of XGBoost, and is broken: save it again with save_model") from error


def _listed(categories: dict[str, Any]) -> bool:
    return bool(categories.get("values"))


def _document(content: bytes) -> dict[str, Any]:
    if content.startswith(b"\x80"):  # a pickled Booster, in which it lies with its settings
        content = content[max(0, content.find(b"{L\0\0\0\0\0\0\0\6Config")) :]
    found: dict[str, dict[str, Any]] = json.loads(content) if re.match(rb'\s*\{\s*"', content) else ubjson.loads(content)
    return found.get("Model") or found


def _read_binary(path: Path, content: bytes) -> Facts:
    try:
        *_, major, minor = _PARAMETERS.unpack_from(content, 4)
        (length,) = struct.unpack_from("<Q", content, 140)
        objective = content[148 : 148 + length].decode() if length < 100 else ""
    except (struct.error, UnicodeDecodeError) as error:
        raise BundleError(f"{path} begins as a model of XGBoost, and is cut off: save it again with save_model") from error
    best = re.search(rb"best_iteration.{8}(\d+)", content[-4096:], re.DOTALL)
    return Facts((major, minor) if major else (), objective, "", best[1].decode() if best else "", has_codes=False, is_binary=True)


def needed_by(facts: Facts, there: str | None) -> Needed:
    """Return the XGBoost that scores: the one where the model was fitted (`there`), else the one that wrote the file."""
    if facts.is_binary and not (there and _figures(there) <= _figures(LAST_BINARY)):
        written = f" {'.'.join(map(str, facts.version))}" if facts.version else ""
        note = f"it is in the binary format of XGBoost{written}, which {LAST_BINARY} is the last to read"
        return Needed(f"xgboost=={LAST_BINARY}", (note,))
    version = there or ".".join(map(str, facts.version))
    if not version:
        return Needed("xgboost", ("the file does not say which XGBoost wrote it: the newest scores, or what --requires says",))
    if _figures(version) < OLDEST:
        note = f"it was saved by XGBoost {version}, which does not work beside scikit-learn 1.6 or newer: the newest reads it"
        return Needed("xgboost", (note,))
    return Needed(f"xgboost=={version}")


def _figures(version: str) -> tuple[int, ...]:
    return tuple(int(figure) for figure in re.findall(r"\d+", version)[:3])


def notes_of(facts: Facts) -> list[str]:
    """Return what the file cannot say, or says otherwise than one may expect."""
    notes = []
    is_classifier = facts.estimator == "classifier" or (not facts.estimator and facts.objective in _CLASSIFYING)
    if is_classifier:
        notes.append(
            "it predicts classes as numbers, 0 to n - 1, and their probabilities: the file does not say what labels they stand for"
        )
    if facts.best_round and not facts.estimator:
        notes.append(f"all its rounds score, as by Booster.predict, also those behind its best one, {facts.best_round}")
    if facts.has_codes:
        notes.append(
            "it was fitted on categories, and does not say which (before XGBoost 3.1): give them as the codes that pandas gave them"
        )
    notes.append("a missing value is NaN: the file does not say whether another number was (missing=)")
    return notes
