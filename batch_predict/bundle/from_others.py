"""Finds out what a model needs that is no joblib file: an MLflow folder, SageMaker's archive, or a library's own file.

kind_of(path) tells what it is, by its content; contents_of(path, …) what goes into its bundle. Nothing of the model is run.
"""

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from batch_predict.bundle import from_files
from batch_predict.bundle.from_files import Asked
from batch_predict.bundle.own_code import files_of
from batch_predict.bundle.plan import BundleError, Contents
from batch_predict.bundle.requirement_lines import with_those

_READERS: dict[str, Callable[[Path, Asked], Contents]] = {
    from_files.XGBOOST: from_files.of_xgboost,
    from_files.LIGHTGBM: from_files.of_lightgbm,
}


def kind_of(path: Path) -> str | None:
    """Tell what a model file or folder is, by its content; None for a pickle, and for anything that is unknown."""
    if path.is_dir() or zipfile.is_zipfile(path):
        return None
    return from_files.kind_of(path)


def contents_of(
    path: Path, *, python: Path | None = None, requires: Sequence[str] = (), code: Sequence[Path] = (), trust: Sequence[str] = ()
) -> Contents:
    """Return what a model needs. ``requires`` takes the place of what is found, name by name; ``code`` are modules besides.

    ``trust`` are types in a skops file that may be loaded, besides scikit-learn's and NumPy's own. What has to be unpacked lies in
    a temporary folder until this process ends. Raises BundleError for what no bundle can be made of.
    """
    read = _READERS.get(kind_of(path) or "")
    if read is None:
        raise BundleError(
            f"{path} is no model that a bundle can be made of: give what joblib.dump has written, the folder of an MLflow model, "
            "SageMaker's model.tar.gz, or a file of XGBoost, LightGBM, skops or ONNX"
        )
    contents = read(path, Asked(python, trust))
    return replace(
        contents,
        requirements=with_those(contents.requirements, requires),
        code={**files_of(code), **contents.code},
    )
