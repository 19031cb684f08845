"""Which objects a request may name: those under the stack's prefixes, by keys that mean the same to every tool.

`MODEL_S3_PREFIX`, `DATA_S3_PREFIX` and `OUTPUT_S3_PREFIX` hold `s3://bucket/prefix`, where the prefix may be empty. A URI is inside
if it starts with it literally: what the roles allow is `bucket/prefix*`. A variable that is not set restricts nothing: then the
role alone decides. `functions/predict/prediction_handler.py` has the same rules for its events, because it must stand alone.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from .limits import MAX_KEY_BYTES, MAX_OUTPUT_KEY_BYTES
from .work import WORK_MARK, written_uris

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .contract import Request

PREFIX_VARIABLES = {"model_s3_uri": "MODEL_S3_PREFIX", "data_s3_uri": "DATA_S3_PREFIX", "output_s3_uri": "OUTPUT_S3_PREFIX"}

DECODINGS = 5
"""Times that a key may be percent-encoded over: no tool decodes more often."""

_WILDCARDS = re.compile(r"[*?\[]")
_AMBIGUOUS = re.compile(r"^/|//|(^|[/\\])\.\.?([/\\]|$)|[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def problems_of(request: Request) -> Iterator[str]:
    """Say which URIs of a request, its placeholders resolved, must be others."""
    named = [
        ("model_s3_uri", request["model_s3_uri"]),
        *(("data_s3_uri", uri) for uri in request["data_s3_uri"]),
        ("output_s3_uri", request["output_s3_uri"]),
    ]
    for field, uri in named:
        yield from (f"{field} {problem}" for problem in (outside(field, uri), ambiguous(uri), too_long(field, uri)) if problem)
        if field != "output_s3_uri" and (problem := in_work(uri)):
            yield f"{field} {problem}"
    output = request["output_s3_uri"]
    if problem := among_models(output) or among_outputs(request["model_s3_uri"]) or among_data(request["model_s3_uri"]):
        yield problem
    if WORK_MARK in _key_of(output):
        yield f"output_s3_uri {output} has {WORK_MARK} in its key, where runs keep what is deleted again: write it elsewhere"


def outside(field: str, uri: str) -> str | None:
    """Say that a URI is not under the prefix that the stack allows for its field; None if it is."""
    allowed = os.environ.get(PREFIX_VARIABLES[field])
    literal = _WILDCARDS.split(uri)[0] if field == "data_s3_uri" else uri  # a wildcard may stand for something else than itself
    if not allowed or literal.startswith(allowed):
        return None
    return f"{uri} is not under {allowed}, the only place where this stack allows it: choose a URI that starts so"


def among_models(output_s3_uri: str) -> str | None:
    """Say that a run would write where models are read; None if it would not.

    An output begins with the input's own header, and a text can be a CSV and a pickle at once: who may write data could so make a
    model, and a model is code.
    """
    models = os.environ.get(PREFIX_VARIABLES["model_s3_uri"])
    work = f"{output_s3_uri}{WORK_MARK}"
    for uri in (*sorted(written_uris(output_s3_uri)), work):
        if models and (uri.startswith(models) or (uri == work and models.startswith(work))):
            return (
                f"output_s3_uri {output_s3_uri} would write {uri}, where models are read ({models}): "
                "a model runs code, and an output holds what its data hold; "
                "choose an output_s3_uri elsewhere, and give the stack prefixes that do not overlap"
            )
    return None


def among_outputs(model_s3_uri: str) -> str | None:
    """Say that a model lies where outputs are written; None if it does not, or where models have a prefix of their own."""
    outputs = os.environ.get(PREFIX_VARIABLES["output_s3_uri"])
    if os.environ.get(PREFIX_VARIABLES["model_s3_uri"]) or not outputs or not model_s3_uri.startswith(outputs):
        return None
    return (
        f"model_s3_uri {model_s3_uri} lies where outputs are written ({outputs}): a model runs code, and an output holds what its "
        "data hold; keep models elsewhere"
    )


def among_data(model_s3_uri: str) -> str | None:
    """Say that a model lies where data are read; None if it does not. Who may write data must not make a model."""
    models, data = (os.environ.get(PREFIX_VARIABLES[field]) for field in ("model_s3_uri", "data_s3_uri"))
    if not (models and data and model_s3_uri.startswith(models) and model_s3_uri.startswith(data)):
        return None
    return (
        f"model_s3_uri {model_s3_uri} lies where data are read ({data}): a model runs code; keep models where no data are written"
    )


def ambiguous(uri: str) -> str | None:
    """Say that a key means another one to tools that normalise paths; None for one that cannot be mistaken.

    S3 takes keys as they are, also those that it lists: this is about names that somebody writes.
    """
    key = _key_of(uri).removesuffix("/")  # of a prefix
    for _ in range(DECODINGS):
        if _AMBIGUOUS.search(key):
            return (
                f"{uri!r} has an empty, `.` or `..` part or a control character in its key, perhaps percent-encoded: "
                "S3 takes it literally, other tools do not; choose a plain key"
            )
        decoded = unquote(key)
        if decoded == key:
            return None
        key = decoded
    return f"{uri!r} is percent-encoded many times over: choose a plain key"


def in_work(uri: str) -> str | None:
    """Say that data or a model lie where runs keep their work; None if they do not.

    An execution that starts for each new object would start for its own parts, and a part holds what its data hold.
    """
    if WORK_MARK not in _key_of(uri):
        return None
    return f"{uri} has {WORK_MARK} in its key, where runs keep parts and lists that are deleted again: name another object"


def too_long(field: str, uri: str) -> str | None:
    """Say that a key is longer than S3 allows, or too long for the keys that derive from it; None if it is not."""
    limit = MAX_OUTPUT_KEY_BYTES if field == "output_s3_uri" else MAX_KEY_BYTES
    n_bytes = len(_key_of(uri).encode(errors="replace"))
    return f"{uri[:100]}… has a key of {n_bytes} bytes: shorten it to {limit} bytes" if n_bytes > limit else None


def _key_of(uri: str) -> str:
    return uri.removeprefix("s3://").partition("/")[2]
