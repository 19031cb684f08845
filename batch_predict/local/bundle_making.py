"""Make a bundle from a model: find out what it needs, write it, and try it before it gets its name.

made = make_bundle(Wanted(Path("model.joblib"), Path("model.bundle.zip")), step, tell, local_aws)
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from batch_predict.bundle import from_others, from_pickle
from batch_predict.bundle.environment import interpreter_at
from batch_predict.bundle.plan import Contents, Written
from batch_predict.bundle.platforms import HERE, default_platforms
from batch_predict.bundle.write import write_bundle
from batch_predict.deployed import prediction_handler, stack_directory
from batch_predict.errors import InvalidRequestError, file_troubles
from batch_predict.figures import megabytes, plural
from batch_predict.local.aws import LocalAws
from batch_predict.local.bundle_trial import Fitted, Trial, try_bundle
from batch_predict.runs.local_files import unreadable
from batch_predict.runs.prepared_request import sha256_of

Step = Callable[[str, str], AbstractContextManager[Callable[[str], None]]]


@dataclass(frozen=True)
class Wanted:
    """What a bundle shall be made of."""

    model: Path
    output: Path
    python: Path | None = None
    requires: tuple[str, ...] = ()
    code: tuple[Path, ...] = ()
    trust: tuple[str, ...] = ()
    """Types in a skops file that may be loaded, besides the libraries' own."""
    platforms: tuple[str, ...] = ()
    data: Path | None = None
    features: Sequence[str] | None = None
    csv: Mapping[str, Any] | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Made:
    """A bundle that was made, and how it did."""

    contents: Contents
    written: Written
    sha256: str
    platforms: Sequence[str]
    machine: str
    """This machine's platform."""
    trial: Trial | None
    """None if the bundle has no libraries for this machine."""
    request: Mapping[str, Any]
    """To begin with."""


def make_bundle(
    wanted: Wanted, step: Step, tell: Callable[[str], None], local_aws: Callable[[], AbstractContextManager[LocalAws]]
) -> Made:
    """Make a bundle, and try it; nothing is written if it predicts anything else than the model where it was fitted.

    InvalidRequestError if a path is wrong, BundleError if it cannot be made or does not do.
    """
    _require_paths(wanted)
    stack = stack_directory()
    platforms = wanted.platforms or tuple(default_platforms(stack))
    with step("Look", "what the model needs, and with which versions it was fitted") as conclude:
        contents = _contents_of(wanted)
        conclude(_seen(contents))
    with file_troubles("written", wanted.output), tempfile.TemporaryDirectory(prefix=".bundle-", dir=wanted.output.parent) as name:
        unproved = Path(name) / wanted.output.name
        with step("Libraries", f"for {' and '.join(platforms)}") as conclude:
            written = write_bundle(contents, unproved, platforms, stack=stack, say=tell)
            conclude(megabytes(written.bytes))
        trial = None
        if HERE in platforms:
            fitted = _fitted(wanted, contents)
            doing = "scoring rows by the prediction function"
            with step("Trial", f"{doing}, and where the model was fitted" if fitted else doing) as conclude:
                trial = try_bundle(
                    unproved,
                    fitted,
                    data=wanted.data,
                    features=wanted.features,
                    csv_field=wanted.csv,
                    local_aws=local_aws,
                )
                conclude(plural(trial.rows, "row"))
        sha256 = sha256_of(unproved)
        unproved.replace(wanted.output)
    written = replace(written, path=wanted.output)
    return Made(contents, written, sha256, platforms, HERE, trial, _request(wanted, sha256, trial))


def _require_paths(wanted: Wanted) -> None:
    suffix = prediction_handler().BUNDLE_SUFFIX
    problems = []
    if not wanted.model.exists():
        problems.append(f"model {wanted.model} does not exist")
    elif wanted.model.name.endswith(suffix):
        problems.append(f"model {wanted.model} is a bundle already: give the model that it was made of")
    if not wanted.output.name.endswith(suffix):
        problems.append(f"output {wanted.output} must end in {suffix}, by which the prediction function knows a bundle")
    elif wanted.output.name == suffix:
        problems.append(f"output {wanted.output} must end in {suffix}, and begin with a name")
    if not wanted.output.parent.is_dir():
        problems.append(f"output directory {wanted.output.parent} does not exist: create it first")
    elif wanted.output.is_dir():
        problems.append(f"output {wanted.output} is a directory: name a file")
    elif wanted.output.exists() and not wanted.overwrite:
        problems.append(f"{wanted.output} exists already: choose another output, or set --overwrite")
    if wanted.data and (unread := unreadable(wanted.data)):
        problems.append(f"--check {wanted.data} {unread}")
    if problems:
        raise InvalidRequestError("; ".join(problems))


def _contents_of(wanted: Wanted) -> Contents:
    asked: dict[str, Any] = {"python": wanted.python, "requires": wanted.requires, "code": wanted.code}
    if from_others.kind_of(wanted.model):
        return from_others.contents_of(wanted.model, **asked, trust=wanted.trust)
    return from_pickle.contents_of(wanted.model, **asked)


def _seen(contents: Contents) -> str:
    libraries = plural(len(contents.distributions) + len(contents.requirements), "distribution")
    code = f", {plural(len(contents.code), 'file')} of your own" if contents.code else ""
    return f"Python {contents.python or 'unknown'}, {libraries}{code}"


def _fitted(wanted: Wanted, contents: Contents) -> Fitted | None:
    """Return where the model was fitted: as the user says, or, if libraries were looked up in this environment, this one."""
    if not wanted.python and (contents.loader or not contents.distributions):
        return None
    folders = {path.parents[len(Path(inside).parts) - 1] for inside, path in contents.code.items()}
    return Fitted(contents.model, interpreter_at(wanted.python), tuple(sorted(folders)))


def _request(wanted: Wanted, sha256: str, trial: Trial | None) -> dict[str, Any]:
    knows_names = bool(trial and trial.feature_columns) and not wanted.features
    return {
        "model_s3_uri": f"s3://MODEL-BUCKET/models/{wanted.output.name}",
        "data_s3_uri": "s3://DATA-BUCKET/data/",
        "output_s3_uri": "s3://OUTPUT-BUCKET/output/predictions.csv",
        "prediction_column_name": "prediction",
        **({} if knows_names else {"feature_columns": list(wanted.features or ["FILL", "IN"])}),
        "model_sha256": sha256,
    }
