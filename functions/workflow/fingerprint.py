"""What makes two runs the same: the identity of a result, and the fingerprint of the work that leads to it."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from .contract import Columns, Document, Extent, Segment


class Whole(NamedTuple):
    """An object of a run's input, and where it ends: after its last byte or row group."""

    uri: str
    stop: int
    etag: str


def identity_of(document: Document, columns: Columns, objects: Iterable[Whole]) -> str:
    """Return the SHA-256 of all that decides the output: model, its feature columns, options, deployment, the inputs in order."""
    prediction = document["prediction"]
    types, kept = columns["stated_types"], columns["output_columns"]
    version = prediction.get("model_version_id")
    options = {
        "model": [prediction["model_s3_uri"], prediction["model_etag"], *([version] if version else [])],
        "feature_columns": columns["feature_columns"],
        "prediction_column_name": prediction["prediction_column_name"],
        "prediction_method": prediction["prediction_method"],
        "on_bad_row": prediction["on_bad_row"],
        "deployment": document["model"]["model"]["deployment"],
        **({"column_types": types} if types else {}),
        **{field: value for field, value in prediction.items() if value != _DEFAULTS.get(field, value)},
        **({} if kept is None else {"output_columns": sorted(kept)}),  # the data's order is kept
    }
    digest = hashlib.sha256(_canonical(options))
    for found in objects:
        digest.update(_canonical(found))
    return digest.hexdigest()


def fingerprint_of(identity: str, decision_sha256: str, cuts: Iterable[Sequence[int]]) -> str:
    """Return the SHA-256 of a result's identity, of the decision, and of how the inputs are cut (`cut_of`), in their order."""
    digest = hashlib.sha256(_canonical({"identity": identity, "decision": decision_sha256}))
    for cut in cuts:
        digest.update(_canonical(cut))
    return digest.hexdigest()


def cut_of(extents: Sequence[Sequence[int]]) -> list[int]:
    """Return a chunk as `fingerprint_of` takes it."""
    return list(extents[0]) if len(extents) == 1 else [len(extents)]


def data_sha256_of(segments: Iterable[Segment], extent: Extent) -> str:
    """Return the SHA-256 of what a chunk reads, segment by segment, as the prediction function writes it into its receipt."""
    named = [[segment["data_s3_uri"], *segment[extent], segment["data_etag"]] for segment in segments]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()


def incomplete_identity(identity: str, fingerprint: str, missing_chunks: Sequence[int]) -> str:
    """Return the identity of an output without some chunks: another result than the whole, and than one without others."""
    if not missing_chunks:
        return identity
    without = hashlib.sha256(f"{fingerprint} {list(missing_chunks)}".encode()).hexdigest()
    return f"{identity}{_WITHOUT}{without}"


def is_incomplete(published_identity: str, identity: str) -> bool:
    """Whether a published output is this result without some of its chunks."""
    return published_identity.startswith(f"{identity}{_WITHOUT}")


_WITHOUT = "-without-"

_DEFAULTS: Final = {"input_format": "csv", "output_format": "csv", "csv": None, "output_compression": "none", "predictions": None}
"""Fields of the prediction event that count only if they say something else: so what was published before them is known still."""


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"
