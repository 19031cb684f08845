"""What all chunks of a run agree on: the types of open columns, the names of the predictions, the deployment, the model.

Every event and receipt names it by its digest. A chunk whose values do not fit a type refutes it: it writes what it has found
(`chunk-00042.types.json`), and the next plan's decision is wider.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from .column_types import Kind
from .contract import Columns, Decision, Model, Probe
from .errors import IncompleteOutputError, InputChangedError
from .s3 import S3Client, get_document, get_text, in_parallel, put_text
from .work import TYPES_SUFFIX


def read_columns(client: S3Client, probe: Probe) -> Columns:
    """Return what the probe has found of the columns; InputChangedError if the object is not what it has written."""
    uri = probe["columns_s3_uri"]
    refusal = InputChangedError(f"{uri} is not what Probe Model has written there: start the request again")
    columns: Columns = _value_by_digest(client, uri, probe["columns_sha256"], refusal)
    return columns


def decision_of(columns: Columns, column_types: Mapping[str, Kind], model: Model) -> Decision:
    """Return the decision with these types of the open columns."""
    decision: Decision = {
        "feature_columns": columns["feature_columns"],
        "prediction_columns": columns["prediction_columns"],
        "column_types": dict(column_types),
        "stated_types": columns["stated_types"],
        "numeric_columns": columns["numeric_columns"],
        "output_columns": columns["output_columns"],
        "deployment": model["deployment"],
        "model_sha256": model["sha256"],
    }
    if "prediction_types" in columns:
        decision["prediction_types"] = columns["prediction_types"]
    return decision


def decision_sha256(decision: Decision) -> str:
    """Return the digest of a decision's object in S3: equal for equal decisions."""
    return hashlib.sha256(_text(decision).encode()).hexdigest()


def write_decision(client: S3Client, uri: str, decision: Decision) -> None:
    """Write a decision, the very bytes that its digest is of."""
    put_text(client, uri, _text(decision))


def read_decision(client: S3Client, uri: str, sha256: str) -> Decision:
    """Return the decision with this digest; IncompleteOutputError if the object is another one."""
    refusal = IncompleteOutputError(f"{uri} is not the decision that was made: its SHA-256 is another")
    decision: Decision = _value_by_digest(client, uri, sha256, refusal)
    return decision


def _value_by_digest(client: S3Client, uri: str, sha256: str, refusal: Exception) -> Any:
    with suppress(ValueError):  # it is not UTF-8
        text = get_text(client, uri)
        if hashlib.sha256(text.encode()).hexdigest() == sha256:
            return json.loads(text)
    raise refusal


def refutations(client: S3Client, uris: Iterable[str]) -> list[dict[str, Kind]]:
    """Return the types that chunks have found of columns that do not fit the decision, by the URIs of all that chunks have left."""
    written = [uri for uri in uris if uri.endswith(TYPES_SUFFIX)]
    return [types for types in in_parallel(lambda uri: get_document(client, uri, dict[str, Kind]), written) if types]


def _text(decision: Decision) -> str:
    return json.dumps(decision, sort_keys=True, separators=(",", ":"))
