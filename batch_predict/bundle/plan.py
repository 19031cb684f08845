"""What goes into a bundle, between whoever finds it out (from a pickle, from MLflow, …) and whoever writes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from batch_predict.errors import BatchPredictError

HANDLERS_OWN = frozenset({"pyarrow", "orjson", "boto3", "botocore", "s3transfer", "jmespath"})
"""What the function reads and writes with, in its own version whatever a model brings."""


@dataclass(frozen=True)
class Distribution:
    """A library, in the version that the model was fitted with."""

    name: str
    """Normalized: scikit-learn."""
    version: str
    installed: Path | None = None
    """The folder (site-packages) where it is installed; it is copied from there if no index has it and it is pure Python."""
    files: tuple[str, ...] = ()
    """Its files, relative to `installed`, as its RECORD lists them; empty if not known."""


@dataclass(frozen=True)
class Contents:
    """A model and all that it needs, before wheels are got for it."""

    model: Path
    """The model file; it lies as `model/NAME` in the bundle."""
    python: str
    """The Python where it was fitted, 3.11.7; "" if unknown."""
    distributions: tuple[Distribution, ...] = ()
    """All that it needs with all that these need, each in one version; complete, so nothing else is resolved."""
    requirements: tuple[str, ...] = ()
    """Requirements (PEP 508) in the place of or beside `distributions`: pip resolves them with what they need."""
    code: Mapping[str, Path] = field(default_factory=dict)
    """Own modules: the path in code.zip, my_package/steps.py, and the file."""
    loader: Path | None = None
    """A module with `load(path: str)`, which lies as bundle_loader.py in code.zip; None for joblib."""
    beside: Mapping[str, bytes] = field(default_factory=dict)
    """More files under model/, by name."""
    needs_python: bool = False
    """Whether it holds code of `python`'s feature release itself (cloudpickle): no other can run it."""
    notes: tuple[str, ...] = ()
    """What whoever makes the bundle should know, a sentence each."""


class BundleError(BatchPredictError):
    """A bundle cannot be made; the message says what to do."""


@dataclass(frozen=True)
class Written:
    """A bundle that was written."""

    path: Path
    bytes: int
    digest: str
    unpacked_bytes: Mapping[str, int]
    """By platform: what the function needs in /tmp."""
    libraries: Mapping[str, tuple[str, ...]]
    """By platform: `name version` of what the bundle brings."""
    from_function: Mapping[str, tuple[str, ...]]
    """By platform: `name version` of what it takes from the function."""
    notes: tuple[str, ...] = ()
    """Other versions than where the model was fitted, and why; what Contents noted."""
