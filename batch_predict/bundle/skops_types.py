"""Finds out what a file of skops needs: its types, of which skops trusts some, and the user has to trust the others.

skops itself lists them, which runs nothing of the file: https://skops.readthedocs.io/en/stable/persistence.html
"""

import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from batch_predict.bundle.from_files import LOADERS, Asked
from batch_predict.bundle.plan import BundleError, Contents

OLDEST = (0, 13)
"""The first release without the faults CVE-2025-54412, 54413 and 54886, by which a file could run code of its own."""
TRUSTED = (
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "lightgbm.sklearn.LGBMRanker",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRegressor",
    "xgboost.sklearn.XGBRanker",
    "xgboost.sklearn.XGBRFClassifier",
    "xgboost.sklearn.XGBRFRegressor",
)
"""Besides what skops trusts: types of the libraries that the prediction function has, which hold numbers and no code."""
_LIBRARIES = {
    "lightgbm": "lightgbm",
    "xgboost": "xgboost",
    "imblearn": "imbalanced-learn",
    "quantile_forest": "quantile-forest",
}
MAX_SCHEMA_BYTES = 2**29
_LIST = """
import importlib.metadata, json, sys
from skops.io import get_untrusted_types
print(json.dumps([importlib.metadata.version("skops"), get_untrusted_types(file=sys.argv[1])]))
"""
_NEEDED = ("skops", "prettytable", "wcwidth", "packaging")
"""skops with what it needs besides scikit-learn."""


class _Listed(NamedTuple):
    skops: str
    types: list[str]


def contents_of(path: Path, asked: Asked) -> Contents:
    """Return what a file needs, with the list of types that its loader trusts; BundleError names those that nobody trusts yet."""
    schema = _schema_of(path)
    listed = _listed(path, asked)
    unknown = [name for name in listed.types if name not in {*TRUSTED, *asked.trust}]
    if unknown:
        options = " ".join(f"--trust {name}" for name in unknown)
        raise BundleError(
            f"{path} holds {len(unknown)} type(s) that are not scikit-learn's or NumPy's own, and loading it runs their code: "
            f"{', '.join(unknown)}. If you know and trust them, add {options}"
        )
    requirements = [f"skops=={listed.skops}", *_requirements(schema, asked)]
    names = ", ".join(listed.types) or "none besides scikit-learn's and NumPy's own"
    note = f"skops loads it without running code of its own; the types that it may load are pinned: {names}"
    beside = {"trusted.json": json.dumps(listed.types).encode()}
    return Contents(path, "", requirements=tuple(requirements), loader=LOADERS / "skops_file.py", beside=beside, notes=(note,))


def _schema_of(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("schema.json").file_size > MAX_SCHEMA_BYTES:
                raise BundleError(f"{path} describes its model in more than {MAX_SCHEMA_BYTES} bytes: dump it with joblib.dump")
            schema: dict[str, Any] = json.loads(archive.read("schema.json"))
            return schema
    except (zipfile.BadZipFile, ValueError, KeyError, OSError, RecursionError) as error:
        raise BundleError(f"{path} looks like a model of skops, and is broken: write it again with skops.io.dump") from error


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _requirements(schema: dict[str, Any], asked: Asked) -> list[str]:
    """Return the scikit-learn that fitted the model, as it says itself, and the libraries whose types it has."""
    stated = {json.loads(node["_sklearn_version"]["content"]) for node in _nodes(schema) if "_sklearn_version" in node}
    libraries = {str(node["__module__"]).partition(".")[0] for node in _nodes(schema) if "__module__" in node}
    version = asked.installed.get("scikit-learn") or (stated.pop() if len(stated) == 1 else None)
    found = [f"scikit-learn=={version}" if version else "scikit-learn"]
    for module, name in _LIBRARIES.items():
        if module in libraries:
            found.append(asked.requirement(name))
    return found


def _listed(path: Path, asked: Asked) -> _Listed:
    """Ask skops: the one where the model was fitted, this environment's, or one in a folder that is deleted afterwards."""
    places = [(asked.python, asked.installed.get("skops", ""))] if asked.python else []
    for there, installed in (*places, (sys.executable, _here())):
        version = re.match(r"(\d+)\.(\d+)", installed)
        if version and (int(version[1]), int(version[2])) >= OLDEST:
            return _ask(path, [str(there), "-I", "-c", _LIST])
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target", folder]
        done = subprocess.run([*pip, *_NEEDED], capture_output=True, text=True, check=False)  # noqa: S603  # this Python's pip
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise BundleError(
                f"{path} is a model of skops, and pip cannot get skops, which lists its types ({reason}): install skops here"
            )
        return _ask(path, [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {folder!r}){_LIST}"])


def _here() -> str:
    """Return the version of skops in this environment, if it has one."""
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version("skops")
    return ""


def _ask(path: Path, command: list[str]) -> _Listed:
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)  # noqa: S603  # a Python of the user's
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise BundleError(f"skops cannot read {path} ({reason[:300]}): write it again with skops.io.dump")
    return _Listed(*json.loads(done.stdout.splitlines()[-1]))
