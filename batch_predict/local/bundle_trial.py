"""Try a finished bundle: score rows with it by the prediction function itself, and compare them with the model where it was fitted.

tried = try_bundle(Path("model.bundle.zip"), Fitted(Path("model.joblib"), Path("python")), local_aws=local_aws)
"""

import json
import math
import os
import struct
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from batch_predict.bundle import predict_there
from batch_predict.bundle.plan import BundleError
from batch_predict.deployed import prediction_handler, stack_directory
from batch_predict.local.aws import LocalAws
from batch_predict.local.bundle_process import answer_here, answer_of
from batch_predict.local.deployed_package import deployed_package

TOLERANCE = 1e-12
"""Two numbers are alike if they differ by no more than this share of the column's largest: other libraries sum in another order."""
COMPARED_METHODS = ("predict", "predict_proba")
PREDICTION = "prediction"
NOT_INHERITED = ("PYTHONSAFEPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__")
"""What would lead another Python to this one's libraries."""


@dataclass(frozen=True)
class Fitted:
    """Where a model was fitted."""

    model: Path
    python: Path
    search: tuple[Path, ...] = ()
    """Folders of own modules."""


@dataclass(frozen=True)
class Trial:
    """How a bundle did."""

    estimator: str
    feature_columns: Sequence[str] | None
    methods: Sequence[str]
    rows: int = 0
    """So many rows were scored by the prediction function."""
    are_made_up: bool = False
    compared: Sequence[str] = ()
    """The methods whose results were compared."""
    largest_difference: float = 0.0
    """As a share of the largest number of its column; 0 if all are equal to the bit."""
    not_compared: str | None = None
    """Why nothing was compared."""


def try_bundle(
    bundle: Path,
    fitted: Fitted | None,
    *,
    data: Path | None = None,
    features: Sequence[str] | None = None,
    csv_field: Mapping[str, Any] | None = None,
    local_aws: Callable[[], AbstractContextManager[LocalAws]],
) -> Trial:
    """Load a bundle in a clean interpreter, score rows of ``data`` or made-up ones with it, and compare.

    BundleError if it cannot be loaded, or if it predicts anything else than the model does where it was fitted.
    """
    with tempfile.TemporaryDirectory(prefix="batch-predict-") as name:
        folder = Path(name)
        unpacked = _unpacked(bundle, folder / "bundle")
        rows = _rows_for(unpacked, folder, data, features, csv_field)
        if "error" in rows:
            said = f"ended the process that loaded it: {rows['ended']}" if "ended" in rows else rows["error"]
            raise BundleError(f"with the bundle's libraries alone, in a clean interpreter, the model {said}")
        trial = Trial(rows["estimator"], rows["feature_columns"], rows["methods"])
        if "refused" in rows:
            return _not_compared(trial, rows["refused"], data)
        (folder / "given.json").write_text(json.dumps(rows["given"]))
        there: dict[str, Any] = {}
        nowhere = "there is no environment where it was fitted; give it by --python to compare"
        for method in (method for method in COMPARED_METHODS if method in trial.methods):
            answer = _predicted_there(fitted, unpacked, folder / "given.json", method) if fitted else {}
            if fitted and answer.get("loads") is False:  # then it is not where it was fitted
                nowhere = (
                    f"the model cannot be loaded in the environment of {fitted.python} ({answer['error']}): "
                    "give by --python the one where it was fitted"
                )
                fitted, answer = None, {}
            if "error" in answer and method != "predict":
                continue
            if "error" in answer:
                return _not_compared(trial, f"the model does not take them where it was fitted either ({answer['error']})", data)
            there[method] = answer
        try:
            with local_aws() as aws:
                _upload(aws, bundle, Path(rows["file"]))
                here = {method: _scored(aws, bundle, Path(rows["file"]), rows["columns"], method, csv_field) for method in there}
        except _RefusedError as error:
            if fitted is None:
                return _not_compared(trial, str(error), data)
            raise BundleError(
                f"the model takes these rows where it was fitted, and with the bundle it does not: {error}"
            ) from error
        trial = replace(trial, rows=rows["rows"], are_made_up=data is None)
        if fitted is None:
            return replace(trial, not_compared=nowhere)
        largest = max(_difference(here[method], there[method], method) for method in there)
        return replace(trial, compared=tuple(there), largest_difference=largest)


class _RefusedError(Exception):
    """The prediction function does not take the rows."""


def _not_compared(trial: Trial, why: str, data: Path | None) -> Trial:
    if data:
        raise BundleError(f"{data} cannot be scored with the bundle: {why}")
    why = f"{why.rstrip('.')}: give rows of your data by --check"
    return replace(trial, not_compared=why)


def _unpacked(path: Path, folder: Path) -> Any:
    handler = prediction_handler()
    try:
        return handler.unpack_bundle(path, folder)
    except handler.ModelError as error:
        raise BundleError(f"the bundle that was made {error}") from error


def _rows_for(
    bundle: Any, folder: Path, data: Path | None, features: Sequence[str] | None, csv_field: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Have a clean interpreter with the bundle's libraries load the model, and say what it gets of the rows."""
    question = {
        "bundle": str(bundle.folder),
        "data": str(data.absolute()) if data else None,
        "features": list(features) if features else None,
        "csv": csv_field,
        "folder": str(folder),
    }
    return answer_here(
        "batch_predict.local.trial_rows",
        package=deployed_package(stack_directory()),
        bundle=bundle,
        question=json.dumps(question),
    )


def _predicted_there(fitted: Fitted, bundle: Any, given: Path, method: str) -> dict[str, Any]:
    """Predict the same rows in the environment where the model was fitted, by the bundle's loader if it has one."""
    model = bundle.model if bundle.loader else fitted.model.absolute()
    command = [str(fitted.python), predict_there.__file__, str(model), str(given), method]
    folders = [*map(str, fitted.search)]
    if bundle.loader:
        command.append(bundle.loader)
        folders.append(str(bundle.folder / "unpacked/code"))
    search = os.pathsep.join([*folders, *filter(None, [os.environ.get("PYTHONPATH")])])
    kept = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    return answer_of(command, {**kept, "PYTHONPATH": search})


def _upload(aws: LocalAws, bundle: Path, rows: Path) -> None:
    s3 = aws.client("s3")
    s3.upload_file(str(bundle), aws.bucket, f"models/{bundle.name}")
    s3.upload_file(str(rows), aws.bucket, f"data/{rows.name}")


def _scored(
    aws: LocalAws,
    bundle: Path,
    rows: Path,
    columns: Sequence[str],
    method: str,
    csv_field: Mapping[str, Any] | None,
) -> list[list[Any]]:
    """Return what the prediction function writes for the rows: as JSON, which has types, and no dialects."""
    event = {
        "model_s3_uri": f"s3://{aws.bucket}/models/{bundle.name}",
        "data_s3_uri": f"s3://{aws.bucket}/data/{rows.name}",
        "output_s3_uri": f"s3://{aws.bucket}/output/{method}.jsonl",
        "prediction_column_name": PREDICTION,
        "feature_columns": list(columns),
        "prediction_method": method,
        "output_columns": [],
        "output_format": "jsonl",
        **({"csv": dict(csv_field)} if csv_field else {}),
    }
    answer = aws.client("lambda").invoke(FunctionName=aws.predict_function_name, Payload=json.dumps(event).encode())
    result = json.loads(answer["Payload"].read())
    if "body" not in result:
        raise BundleError(f"the prediction function ended with the bundle: {result.get('errorMessage', result)}")
    body = json.loads(result["body"])
    if result["statusCode"] != 200:
        raise _RefusedError(f"{body['error']}: {body['message']}")
    text = aws.client("s3").get_object(Bucket=aws.bucket, Key=f"output/{method}.jsonl")["Body"].read().decode()
    return [list(json.loads(line).values()) for line in text.splitlines()]


def _difference(here: Sequence[Sequence[Any]], answer: Mapping[str, Any], method: str) -> float:
    """Return the largest difference, as a share of its column's largest number; BundleError if it is more than rounding."""
    there: Sequence[Sequence[Any]] = answer["predictions"]
    if [len(row) for row in here] != [len(row) for row in there]:
        raise BundleError(
            f"{method} gives {len(here)} rows of {len(here[0])} with the bundle, and {len(there)} of {len(there[0])} where the "
            "model was fitted: fit the model with the bundle's versions, or give by --requires what predicts the same"
        )
    is_single = answer.get("dtype") == "float32"
    largest = 0.0
    for column in range(len(there[0])):
        numbers = [row[column] for row in there]
        size = max((abs(number) for number in numbers if _is_number(number) and math.isfinite(number)), default=0.0)
        for row, (value, number) in enumerate(zip((row[column] for row in here), numbers, strict=True), start=1):
            share = _share(_as_single(value) if is_single else value, number, size)
            if share > TOLERANCE:
                raise BundleError(
                    f"{method} of row {row} is {value} with the bundle, and {number} where the model was fitted: fit the model "
                    "with the bundle's versions, or give by --requires what predicts the same"
                )
            largest = max(largest, share)
    return largest


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_single(value: Any) -> Any:
    """Return the float32 that a number stands for, which was written in the shortest form that reads back to it."""
    return struct.unpack("f", struct.pack("f", value))[0] if _is_number(value) else value


def _share(here: Any, there: Any, size: float) -> float:
    """Return how much a value differs from another one, as a share of `size`; infinity if they are not alike at all."""
    if here is None and isinstance(there, float) and not math.isfinite(there):  # for which JSON has no other word
        return 0.0
    if not (_is_number(here) and _is_number(there)):
        return 0.0 if here == there or str(here) == str(there) else math.inf
    if here == there:
        return 0.0
    difference = abs(here - there)
    return difference / size if math.isfinite(difference) and size else math.inf
