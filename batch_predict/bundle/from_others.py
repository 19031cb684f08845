"""Finds out what a model needs that is no joblib file: an MLflow folder, SageMaker's archive, or a library's own file.

kind_of(path) tells what it is, by its content; contents_of(path, …) what goes into its bundle. Nothing of the model is run.
"""

import sys
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from batch_predict.bundle import from_files, from_mlflow, from_pickle, from_sagemaker, skops_types
from batch_predict.bundle.environment import Environment, look_at
from batch_predict.bundle.from_files import Asked
from batch_predict.bundle.plan import BundleError, Contents
from batch_predict.bundle.requirement_lines import name_of, pins_of, with_those

MLFLOW, SAGEMAKER, SKOPS = "an MLflow model", "a SageMaker archive", "a model of skops"


def kind_of(path: Path) -> str | None:
    """Tell what a model file or folder is, by its content; None for a pickle, and for anything that is unknown."""
    if path.is_dir():
        return MLFLOW if (path / "MLmodel").is_file() else None
    if zipfile.is_zipfile(path):
        with suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            return SKOPS if "schema.json" in archive.namelist() else None
        return None
    return from_files.kind_of(path) or (SAGEMAKER if from_sagemaker.is_archive(path) else None)


def contents_of(
    path: Path, *, python: Path | None = None, requires: Sequence[str] = (), code: Sequence[Path] = (), trust: Sequence[str] = ()
) -> Contents:
    """Return what a model needs. ``requires`` takes the place of what is found, name by name; ``code`` are modules besides.

    ``trust`` are types in a skops file that may be loaded, besides scikit-learn's and NumPy's own. What has to be unpacked lies in
    a temporary folder until this process ends. Raises BundleError for what no bundle can be made of.
    """
    kind = kind_of(path)
    if kind == MLFLOW:
        return _of_mlflow(path, python, requires, code, trust)
    if kind == SAGEMAKER:
        return _of_sagemaker(path, python, requires, code, trust)
    reader = _READERS.get(kind or "")
    if reader is None:
        raise BundleError(
            f"{path} is no model that a bundle can be made of: give what joblib.dump has written, the folder of an MLflow model, "
            "SageMaker's model.tar.gz, or a file of XGBoost, LightGBM, skops, ONNX or CatBoost"
        )
    environment = _look(python, code)
    installed = {**environment.installed, **pins_of(requires)} if python else pins_of(requires)
    contents = reader(path, Asked(installed, environment.interpreter if python else None, trust))
    known = {one.name for one in contents.distributions}  # in the version that is required
    return replace(
        contents,
        python=environment.python if python else "",
        requirements=with_those(
            contents.requirements, [one for one in requires if name_of(one) not in known or not pins_of([one])]
        ),
        code=environment.code,
        notes=(*contents.notes, *environment.notes),
    )


def _look(python: Path | None, code: Sequence[Path]) -> Environment:
    """Look into the environment where the model was fitted, if it is there, and list the files of own modules."""
    if python is None and not code:
        return Environment(Path(sys.executable), "", "", (), {}, {}, {}, ())
    return look_at(python, {}, code=code)


_READERS: dict[str, Callable[[Path, Asked], Contents]] = {
    from_files.XGBOOST: from_files.of_xgboost,
    from_files.LIGHTGBM: from_files.of_lightgbm,
    from_files.ONNX: from_files.of_onnx,
    from_files.CATBOOST: from_files.of_catboost,
    SKOPS: skops_types.contents_of,
}


def _of_mlflow(path: Path, python: Path | None, requires: Sequence[str], code: Sequence[Path], trust: Sequence[str]) -> Contents:
    """Return what the folder of an MLflow model says that it needs; of a pickle, ``python`` says it, if it is given."""
    folder = from_mlflow.read(path)
    code = [*folder.code, *code]
    if kind_of(folder.model):
        contents = contents_of(
            folder.model, python=python, requires=with_those(folder.requirements, requires), code=code, trust=trust
        )
        return replace(contents, python=contents.python or folder.python, notes=(*folder.notes, *contents.notes))
    if python:
        contents = from_pickle.contents_of(folder.model, python, requires, code)
        note = "versions are those of --python, whatever the folder lists"
        return replace(contents, notes=(note, *contents.notes))
    pickled = from_pickle.read_pickle(folder.model, str(folder.model))
    environment = _look(None, code)
    return Contents(
        folder.model,
        folder.python,
        requirements=with_those(folder.requirements, requires),
        code=environment.code,
        needs_python=pickled.is_by_value,
        notes=(*folder.notes, *environment.notes),
    )


def _of_sagemaker(path: Path, python: Path | None, requires: Sequence[str], code: Sequence[Path], trust: Sequence[str]) -> Contents:
    """Return what the model in SageMaker's archive needs."""
    archive = from_sagemaker.read(path, kind_of)
    code, requires = [*archive.code, *code], with_those(archive.requirements, requires)
    if kind_of(archive.model):
        contents = contents_of(archive.model, python=python, requires=requires, code=code, trust=trust)
    else:
        contents = from_pickle.contents_of(archive.model, python, requires, code, name=f"{path}, {archive.model.name},")
    return replace(contents, notes=(*archive.notes, *contents.notes))
