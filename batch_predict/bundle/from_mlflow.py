"""Reads the folder of an MLflow model: which file holds the model, with which versions it was fitted, and its own modules.

https://mlflow.org/docs/latest/ml/model/ says what is in MLmodel, a file of YAML.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from batch_predict.bundle import requirement_lines
from batch_predict.bundle.plan import BundleError
from batch_predict.bundle.requirement_lines import Lines

_FLAVOURS = ("sklearn", "xgboost", "lightgbm", "catboost", "onnx")
"""Those whose models can be loaded without MLflow, in the order of preference."""
_LEFT_OUT = frozenset({"mlflow", "mlflow-skinny", "mlflow-tracing", "onnx", "psutil", "skops"})
"""What MLflow lists for itself; skops is taken in a version that is safe."""
SHOWN = 8


class Folder(NamedTuple):
    """What an MLflow folder says."""

    model: Path
    """The model file in it."""
    python: str
    requirements: tuple[str, ...]
    code: tuple[Path, ...]
    """Own modules and packages."""
    notes: tuple[str, ...]


def read(path: Path) -> Folder:
    """Read an MLflow folder; BundleError if its model cannot be loaded without MLflow."""
    try:
        document = yaml.safe_load((path / "MLmodel").read_text(encoding="utf-8"))
        flavours: dict[str, dict[str, Any]] = document["flavors"]
        general = flavours.get("python_function", {})
        name = next((name for name in _FLAVOURS if name in flavours), None)
        flavour = flavours[name] if name else {}
        pickled = [value for value in (flavour.get("pickled_model"), flavour.get("data")) if value]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path / 'MLmodel'} is not as MLflow writes it ({type(error).__name__}): log the model again") from error
    if name is None:
        raise BundleError(_why_not(path, flavours))
    if not pickled:
        raise BundleError(f"{path / 'MLmodel'} names no file of its flavour {name}: log the model again")
    model = _inside(path, pickled[0])
    lines = _lines(path)
    code = _inside(path, general["code"], what="code") if general.get("code") else None
    notes = [*lines.notes]
    if columns := _columns(document):
        notes.append(f"MLflow's signature names its columns: {', '.join(columns[:SHOWN])}{', …' if len(columns) > SHOWN else ''}")
    return Folder(
        model,
        str(general.get("python_version") or _python_of(path)),
        lines.requirements,
        tuple(own_modules_in(code)) if code else (),
        tuple(notes),
    )


def own_modules_in(folder: Path) -> list[Path]:
    """Return the modules and packages in a folder that is meant for sys.path."""
    is_package = {
        path: path.is_dir() and path.name.isidentifier() and path.name != "__pycache__" for path in sorted(folder.iterdir())
    }
    return [path for path in is_package if is_package[path] or path.suffix == ".py"]


def _why_not(path: Path, flavours: dict[str, Any]) -> str:
    general = flavours.get("python_function", {})
    if general.get("loader_module") == "mlflow.pyfunc.model":
        return (
            f"{path} holds a class of your own for MLflow (python_model), which MLflow alone can load: "
            "give the model inside it, or a class of your own with predict(X) that joblib.dump has written"
        )
    named = ", ".join(sorted(flavours.keys() - {"python_function"})) or general.get("loader_module") or "nothing"
    return f"{path} is of MLflow's flavour {named}, and bundles take {', '.join(_FLAVOURS)}: give a model of one of these"


def _inside(folder: Path, name: str, what: str = "a model") -> Path:
    found = (folder / name).resolve()
    if not found.is_relative_to(folder.resolve()) or not found.exists():
        raise BundleError(f"{folder / 'MLmodel'} names {what} that is not in its folder, {name!r}: copy the whole folder again")
    return folder / name


def _lines(path: Path) -> Lines:
    """Return the libraries where the model was fitted, without MLflow and what reads the data."""
    listed, conda = path / "requirements.txt", path / "conda.yaml"
    if listed.is_file():
        lines = requirement_lines.read(listed)
    elif conda.is_file():
        lines = requirement_lines.read_conda(conda)
    else:
        note = "the folder has no requirements.txt and no conda.yaml, so versions are those of --python, or the function's own"
        return Lines((), (note,))
    return lines.without(_LEFT_OUT, "scoring needs none of them")


def _python_of(path: Path) -> str:
    environment = path / "python_env.yaml"
    if not environment.is_file():
        return ""
    try:
        stated = yaml.safe_load(environment.read_text(encoding="utf-8"))["python"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        return ""
    return str(stated)


def _columns(document: dict[str, Any]) -> list[str]:
    """Return the names of the columns in a model's signature, if it has them."""
    try:
        return [str(one["name"]) for one in json.loads(document["signature"]["inputs"])]
    except (KeyError, TypeError, ValueError):
        return []
