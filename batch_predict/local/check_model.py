"""Check whether a model will work in the prediction function, before it is uploaded.

check_model("model.joblib", data="sample.csv").problems
"""

import json
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from batch_predict import deployed
from batch_predict.deployed import deployed_memory_mb, prediction_handler, stack_directory
from batch_predict.errors import InvalidRequestError
from batch_predict.local.aws import LocalAws
from batch_predict.local.bundle_process import answer_here
from batch_predict.local.deployed_package import DeployedPackage, deployed_package
from batch_predict.runs.local_files import unreadable
from batch_predict.runs.prepared_request import sha256_of
from batch_predict.runs.proposed_csv import proposed_csv
from batch_predict.runs.value_here import told_here

INSPECTION = "batch_predict.local.model_inspection"
PROBE_ROWS = 1000
PREDICTION = "prediction"


@dataclass(frozen=True)
class Sample:
    """The result of scoring the first rows by the prediction function, on the embedded local AWS."""

    rows: int
    rows_per_second: float
    """Measured on one core of this machine."""
    one_worker: bool
    """Whether one worker scores all blocks, which more cores do not help."""
    prediction_columns: list[str]
    row_bytes: float
    """The mean length of a row, with its line end."""


@dataclass(frozen=True)
class ModelCheck:
    """What a model is, and why it may not work."""

    path: Path
    bytes: int
    sha256: str
    memory_mb: int
    """Memory of the prediction function."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """As `model_inspection.inspect` finds them; empty if it cannot be loaded."""
    sample: Sample | None = None
    problems: tuple[str, ...] = ()
    """Why it would not work."""
    warnings: tuple[str, ...] = ()
    """Why it may predict otherwise, or fail."""
    csv: Mapping[str, Any] | None = None
    """How the data's CSV is written: as it was said, or as its first rows look."""
    request: Mapping[str, Any] | None = None
    """A request to begin with; fill in buckets and data."""
    bundle: Mapping[str, Any] | None = None
    """What a bundle says of itself, its bundle.json; None of a model alone."""


def check_model(
    path: Path,
    *,
    data: Path | None = None,
    feature_columns: list[str] | None = None,
    prediction_method: str = "predict",
    predictions: list[Any] | None = None,
    csv: Mapping[str, Any] | None = None,
    memory_mb: int | None = None,
    local_aws: Callable[[], AbstractContextManager[LocalAws]] | None = None,
) -> ModelCheck:
    """Load a model as the prediction function does, and score the first rows of ``data`` by the function on ``local_aws``.

    Without ``csv``, the field of a request, the first rows say how ``data`` is written.
    Unpickling runs code: check only models that you trust. InvalidRequestError if a file cannot be read, or columns need names.
    """
    for noun, file in (("model", path), ("data", data)):
        if file is not None and (unread := unreadable(file)):
            raise InvalidRequestError(f"{noun} file {file} {unread}")
    sha256 = sha256_of(path)
    size, memory_mb = path.stat().st_size, memory_mb or deployed_memory_mb()
    bundle, facts = _inspected(path)
    if "error" in facts:
        return ModelCheck(path, size, sha256, memory_mb, problems=(facts["error"],), bundle=bundle)
    if bundle and not facts:
        here = prediction_handler().bundle_platform()
        others = f"it is for {', '.join(bundle['platforms'])}, and this machine is {here}: only its digests were checked"
        return ModelCheck(path, size, sha256, memory_mb, warnings=(others,), bundle=bundle)
    columns = feature_columns or facts["feature_columns"]
    if data and not columns:
        raise InvalidRequestError(f"{path} does not know the names of its columns: name them with --features")
    method = "predict_proba" if predictions and predictions != ["label"] else prediction_method
    problems = list(_problems(facts, size, columns, method, memory_mb))
    warnings = [] if bundle else list(_warnings(facts))
    data_format = deployed.data_names.promise_of(data.name).format if data else None
    if data and columns and csv is None and data_format in (None, "csv"):
        csv = proposed_csv(data, columns)
    said = {"prediction_method": prediction_method, "predictions": predictions, "csv": csv}
    asked = {name: value for name, value in said.items() if value}
    sample = None
    if data and local_aws and not problems:
        with local_aws() as aws:
            sample, problem = _scored(aws, path, data, columns, asked)
        problems += problem
    request = {
        "model_s3_uri": f"s3://MODEL-BUCKET/models/{path.name}",
        "data_s3_uri": "s3://DATA-BUCKET/data/",
        "output_s3_uri": f"s3://OUTPUT-BUCKET/output/predictions.{data_format or 'csv'}",
        "prediction_column_name": PREDICTION,
        **({} if facts["feature_columns"] and not feature_columns else {"feature_columns": columns or ["FILL", "IN"]}),
        "model_sha256": sha256,
        **{name: value for name, value in asked.items() if value != "predict"},
    }
    told = (tuple(problems), tuple(warnings), csv)
    return ModelCheck(path, size, sha256, memory_mb, facts, sample, *told, None if problems else request, bundle)


@cache
def _package() -> DeployedPackage:
    return deployed_package(stack_directory())


def _inspected(path: Path) -> tuple[Mapping[str, Any] | None, dict[str, Any]]:
    """Return a bundle's bundle.json, if it is one, and facts about its model, `error`, or nothing if it is for other machines."""
    handler = prediction_handler()
    if not handler.is_bundle(path.name):
        return None, _facts(path, path)
    with tempfile.TemporaryDirectory(prefix="batch-predict-") as folder:
        try:
            document = checked_document(handler, path)
            if handler.bundle_platform() not in document["platforms"]:
                return document, {}
            bundle = handler.unpack_bundle(path, Path(folder) / "bundle")
        except handler.ModelError as error:
            return None, {"error": f"{path} {error}"}
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            return None, {"error": f"{path} is damaged ({type(error).__name__}): copy it again, or make it again"}
        facts = _facts(path, bundle.folder, bundle)
        return document, facts if "error" in facts else {**facts, "unpacked_bytes": bundle.unpacked_bytes()}


def _facts(named: Path, path: Path, bundle: Any = None) -> dict[str, Any]:
    facts = answer_here(INSPECTION, [str(path)], package=_package(), bundle=bundle)
    if "ended" in facts:  # not the model's refusal, which is an answer, but the process's end
        return {"error": f"{named} ended the process that loaded it: {facts['ended']}"}
    return {"error": facts["error"].replace(str(path), str(named), 1)} if "error" in facts else facts


def checked_document(handler: ModuleType, path: Path) -> dict[str, Any]:
    """Return a bundle's bundle.json when its structure and every digest are right, for whatever machines it is; else ModelError."""
    with handler._opened_zip(path) as archive:  # noqa: SLF001  # the handler's own checks, but for this machine
        document: dict[str, Any] = handler._document_of(archive)  # noqa: SLF001
        for name, facts in document["files"].items():
            digest = handler._copy_entry(archive, archive.getinfo(name), None)  # noqa: SLF001
            if digest != facts["sha256"]:
                raise handler.ModelError(f"is damaged: its {name} has the SHA-256 {digest}, and not {facts['sha256']}")
    return document


def _problems(facts: Mapping[str, Any], size: int, columns: list[str] | None, method: str, memory_mb: int) -> Iterator[str]:
    if method not in facts["methods"]:
        yield f"a {facts['estimator']} has no {method}: it has {', '.join(facts['methods'])}"
    known = facts["feature_columns"]
    if columns and known and columns != known:
        difference = "the columns in another order" if sorted(columns) == sorted(known) else "other columns"
        yield f"--features names {difference} than the model was fitted on: {', '.join(known)}"
    if columns and facts["n_features"] not in (None, len(columns)):
        yield f"it was fitted on {facts['n_features']} columns, but --features names {len(columns)}"
    needed = needed_mb(facts)
    if max(needed, 0 if "unpacked_bytes" in facts else size / 2**20) > memory_mb:
        yield f"it needs about {needed:,.0f} MB of memory, and the function has {memory_mb:,}: raise PredictMemorySize"


def needed_mb(facts: Mapping[str, Any]) -> float:
    """Return the memory that the function needs with a model; a bundle's has a process of its own beside the function's."""
    parent_mb = deployed.sizing.PARENT_MB if "unpacked_bytes" in facts else 0
    return float(facts["memory_bytes"] / 2**20 + deployed.sizing.SCORING_MB + parent_mb)


def memory_advice(checked: ModelCheck) -> str | None:
    """Say which memory sizes are the cheapest and the fastest for a model, by the sample's speed; None if none was scored."""
    if not checked.sample:
        return None
    sample, estimate, sizing = checked.sample, deployed.estimate, deployed.sizing
    columns = len(sample.prediction_columns)
    speed = max(sample.rows_per_second, 1e-9)
    row = estimate.Row(sample.row_bytes, estimate.PREDICTION_BYTES * columns, speed, sample.one_worker)
    storage_mb = int(deployed.template_parameters()["PredictEphemeralStorageSize"]["Default"])
    room_bytes = deployed.limits.chunk_room_bytes(checked.bytes + checked.facts.get("unpacked_bytes", 0), storage_mb)
    advice: str = sizing.memory_advice(row, needed_mb(checked.facts), checked.memory_mb, room_bytes)
    return advice


def _warnings(facts: Mapping[str, Any]) -> Iterator[str]:
    deployed = _package().versions["scikit-learn"]
    if facts["sklearn_version"] != deployed:
        yield (
            f"it was fitted with scikit-learn {facts['sklearn_version']}, the function has {deployed}: "
            "predictions may differ; make a bundle of it with batch-predict bundle, or fit it again with that version"
        )
    yield from facts["differences"]
    if image_only := sorted(_package().image_modules.intersection(facts["modules"])):
        yield f"it is made of {', '.join(image_only)}, which the container image has, but not the zip (docs/package.md)"


def _scored(aws: LocalAws, path: Path, data: Path, columns: list[str], asked: Mapping[str, Any]) -> tuple[Sample | None, list[str]]:
    s3 = aws.client("s3")
    model = f"models/{path.name}"  # whose name says whether it is a bundle
    s3.upload_file(str(path), aws.bucket, model)
    sample = f"data/sample{''.join(data.suffixes[-2:])}"  # which says its format
    s3.upload_file(str(data), aws.bucket, sample)
    event = {
        "model_s3_uri": f"s3://{aws.bucket}/{model}",
        "data_s3_uri": f"s3://{aws.bucket}/{sample}",
        "prediction_column_name": PREDICTION,
        "feature_columns": columns,
        **asked,
        "probe_rows": PROBE_ROWS,
    }
    answer = aws.client("lambda").invoke(FunctionName=aws.predict_function_name, Payload=json.dumps(event).encode())
    result = json.loads(answer["Payload"].read())
    if "body" not in result:
        return None, [f"the function ended: {result.get('errorMessage', result)}"]
    body = json.loads(result["body"])
    if result["statusCode"] != 200:
        message = told_here(body["message"], {path: f"{event['model_s3_uri']}", data: f"{event['data_s3_uri']}"}, asked.get("csv"))
        return None, [f"{body['error']}: {message}"]
    return Sample(body["rows"], body["rows_per_second"], body["one_worker"], body["prediction_columns"], body["row_bytes"]), []
