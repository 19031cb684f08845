"""Unpacks SageMaker's model.tar.gz, and finds the model in it, what it requires, and modules beside its inference script."""

import atexit
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from batch_predict.bundle import requirement_lines
from batch_predict.bundle.from_mlflow import own_modules_in
from batch_predict.bundle.plan import BundleError
from batch_predict.bundle.requirement_lines import Lines

MAX_BYTES, MAX_FILES = 4_000_000_000, 10_000
"""What an archive may hold, unpacked."""
_PICKLES = (".joblib", ".pkl", ".pickle")
_USUAL = ("model.joblib", "model.pkl", "xgboost-model", "model.json", "model.ubj", "model.txt")
"""Names by which SageMaker's containers and examples know a model, the likeliest first."""
_SCRIPTS = ("inference.py", "inference", "train.py", "serve")
_LEFT_OUT = frozenset({"sagemaker", "sagemaker-inference", "sagemaker-training", "multi-model-server", "flask", "gunicorn"})
SHOWN = 8


class Archive(NamedTuple):
    """What an archive holds."""

    model: Path
    """A file, or the folder of an MLflow model."""
    requirements: tuple[str, ...]
    code: tuple[Path, ...]
    """Own modules and packages."""
    notes: tuple[str, ...]


def is_archive(path: Path) -> bool:
    """Tell whether a file is a tar archive, compressed or not; nothing but zeros would be an empty one."""
    with path.open("rb") as file:
        return file.read(tarfile.BLOCKSIZE).strip(b"\0") != b"" and tarfile.is_tarfile(path)


def read(path: Path, kind_of: Callable[[Path], str | None]) -> Archive:
    """Unpack an archive to a temporary folder, and find the model; BundleError if there is none, or more than one.

    The folder is deleted when this process ends.
    """
    folder = Path(tempfile.mkdtemp(prefix="bundle-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _unpack(path, folder)
    code, lines = folder / "code", Lines(())
    if (code / "requirements.txt").is_file():
        lines = requirement_lines.read(code / "requirements.txt").without(_LEFT_OUT, "they serve requests")
    notes = [*lines.notes]
    if scripts := [name for name in _SCRIPTS if (code / name).is_file()]:
        notes.append(f"code/{scripts[0]} does not run: the model itself predicts, and nothing is done before or after")
    modules = own_modules_in(code) if code.is_dir() else []
    return Archive(_model_in(path, folder, kind_of), lines.requirements, tuple(modules), tuple(notes))


def _unpack(path: Path, folder: Path) -> None:
    size = number = 0
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                size, number = size + member.size, number + 1
                if size > MAX_BYTES or number > MAX_FILES:
                    raise BundleError(
                        f"{path} unpacks to more than {MAX_BYTES} bytes or {MAX_FILES} files: put the model alone into an archive"
                    )
                archive.extract(member, folder, filter="data")
    except tarfile.FilterError as error:
        raise BundleError(
            f"{path} would write {error.tarinfo.name!r} outside of its folder: it is no archive of a model"
        ) from error
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BundleError(f"{path} cannot be unpacked ({error}): copy it again") from error


def _model_in(path: Path, folder: Path, kind_of: Callable[[Path], str | None]) -> Path:
    if (folder / "MLmodel").is_file():
        return folder
    inside = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.relative_to(folder).parts[0] != "code"]
    found = [file for file in inside if file.suffix in _PICKLES or kind_of(file)]
    by_name = {file.name: file for file in reversed(found)}
    usual = [by_name[name] for name in _USUAL if name in by_name]
    if len(found) == 1 or usual:
        return (usual or found)[0]
    names = ", ".join(str(file.relative_to(folder)) for file in (found or inside)[:SHOWN])
    if found:
        raise BundleError(f"{path} holds {len(found)} models ({names}): give the one that predicts")
    raise BundleError(f"{path} holds no model that a bundle can be made of, but {names or 'nothing'}: give a model itself")
