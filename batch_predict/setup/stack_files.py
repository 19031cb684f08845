"""Writes the files of a stack into a folder, for `sam build` (`eject`), or builds what is deployed without it (`build`)."""

import re
import shutil
from pathlib import Path

from batch_predict.deployed import stack_directory
from batch_predict.errors import BatchPredictError, file_troubles
from batch_predict.setup import package, target
from batch_predict.setup.package import Say
from batch_predict.setup.target import PackageError

FILES = ("template.yaml", "samconfig.toml", "requirements.lock", "requirements-kernel.lock")
FOLDERS = ("functions", "statemachine", "events")
DEFINITION = "statemachine/batch_prediction.asl.json"
BUILDER = "builder"
MAKEFILE = f"""\
# `sam build` calls this for each function of template.yaml. Python 3.11 or newer with pip, and nothing else, builds the package.
PYTHON ?= python3

build-%Function:
	$(PYTHON) -m {BUILDER}.package --artifact $*Function "$(ARTIFACTS_DIR)"
"""
BUILT = Path(".aws-sam/build")
"""The folder that `sam build` fills, and `sam deploy` reads."""


def stack_files() -> dict[str, bytes]:
    """Return the files of a stack, by their paths in the folder that they are written into."""
    source = stack_directory()
    paths = [source / name for name in FILES]
    paths += [path for folder in FOLDERS for path in sorted((source / folder).rglob("*")) if path.is_file()]
    files = {path.relative_to(source).as_posix(): path.read_bytes() for path in paths if "__pycache__" not in path.parts}
    builder = Path(package.__file__).parent
    files |= {f"{BUILDER}/{name}": (builder / name).read_bytes() for name in ("__init__.py", *package.SOURCES)}
    return {**files, "Makefile": MAKEFILE.encode()}


def eject(directory: Path, *, overwrite: bool = False) -> list[Path]:
    """Write the files of a stack into a folder, where a samconfig.toml stays as it is, and return their paths.

    Raises BatchPredictError, before anything is written, if another file is in the way and not ``overwrite``.
    """
    files = {directory / name: content for name, content in stack_files().items()}
    if (directory / "samconfig.toml").exists():
        del files[directory / "samconfig.toml"]
    others = [path for path, content in files.items() if path.exists() and not (path.is_file() and path.read_bytes() == content)]
    if others and not overwrite:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        named = f"{', '.join(map(str, others[:3]))}{more}"
        raise BatchPredictError(f"{named} would be replaced, and nothing was written: name another folder, or use --overwrite")
    with file_troubles("written"):
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return list(files)


def build(directory: Path, say: Say, settings: Path | None = None) -> Path:
    """Build all functions, for ``settings``' processor, into ``directory``'s `.aws-sam/build`, and return the template there."""
    source, built = stack_directory(), directory / BUILT
    try:
        built_for = target.template_target(settings=settings or directory / "samconfig.toml")
        predict = package.zip_predict(built_for, dist=built, say=say)
        workflow = package.zip_workflow(built, say=say)
        (built / DEFINITION).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / DEFINITION, built / DEFINITION)
        text = (source / "template.yaml").read_text(encoding="utf-8")
        template = built / "template.yaml"
        template.write_text(built_template(text, {"functions/predict/": predict.name, "functions/": workflow.name}))
    except PackageError as error:
        raise BatchPredictError(str(error)) from error
    except OSError as error:
        raise BatchPredictError(f"{error.filename or built} cannot be written: {error.strerror or error}") from error
    return template


def built_template(text: str, zips: dict[str, str]) -> str:
    """Return the template with each function's zip in place of its folder, and without the instructions for `sam build`."""
    text = re.sub(r"^ +Metadata: \{ BuildMethod: .*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"(?<= CodeUri: )\S+", lambda found: zips[found[0]], text)
