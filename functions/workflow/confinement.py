"""Which objects a request may name: those under the stack's prefixes, by keys that mean the same to every tool.

`MODEL_S3_PREFIX`, `DATA_S3_PREFIX` and `OUTPUT_S3_PREFIX` hold `s3://bucket/prefix`; a URI must start with it literally. One that
is not set restricts nothing. `functions/predict/prediction_handler.py` has the same rules, because it must stand alone.
"""

import os
import re
from collections.abc import Iterator
from itertools import islice
from urllib.parse import unquote

from .contract import Request
from .data_names import WILDCARDS
from .limits import MAX_KEY_BYTES, MAX_OUTPUT_KEY_BYTES
from .work import WORK_MARK, written_uris

PREFIX_VARIABLES = {"model_s3_uri": "MODEL_S3_PREFIX", "data_s3_uri": "DATA_S3_PREFIX", "output_s3_uri": "OUTPUT_S3_PREFIX"}

DECODINGS = 5
"""Times that a key may be percent-encoded over: no tool decodes more often."""

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
    yield from islice(_code_in_reach(request["model_s3_uri"], output), 1)
    if WORK_MARK in _key_of(output):
        yield f"output_s3_uri {output} has {WORK_MARK} in its key, where runs keep what is deleted again: write it elsewhere"


def outside(field: str, uri: str) -> str | None:
    """Say that a URI is not under the prefix that the stack allows for its field; None if it is."""
    allowed = os.environ.get(PREFIX_VARIABLES[field])
    literal = WILDCARDS.split(uri)[0] if field == "data_s3_uri" else uri  # a wildcard may stand for something else than itself
    if not allowed or literal.startswith(allowed):
        return None
    return f"{uri} is not under {allowed}, the only place where this stack allows it: choose a URI that starts so"


def _code_in_reach(model: str, output: str) -> Iterator[str]:
    """Say that who may write data, or an output, could make a model: a model is code.

    An output begins with the input's own header, and a text can be a CSV and a pickle at once.
    """
    models, data, outputs = (os.environ.get(variable) for variable in PREFIX_VARIABLES.values())
    work = f"{output}{WORK_MARK}"
    for uri in (*sorted(written_uris(output)), work):
        if models and (uri.startswith(models) or (uri == work and models.startswith(work))):
            yield (
                f"output_s3_uri {output} would write {uri}, where models are read ({models}): "
                "a model runs code, and an output holds what its data hold; "
                "choose an output_s3_uri elsewhere, and give the stack prefixes that do not overlap"
            )
    if outputs and not models and model.startswith(outputs):
        yield (
            f"model_s3_uri {model} lies where outputs are written ({outputs}): a model runs code, and an output holds what its "
            "data hold; keep models elsewhere"
        )
    if models and data and model.startswith(models) and model.startswith(data):
        yield f"model_s3_uri {model} lies where data are read ({data}): a model runs code; keep models where no data are written"


def ambiguous(uri: str) -> str | None:
    """Say that a key means another one to tools that normalise paths. It is for names that somebody writes, not for S3's lists."""
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
    """Say that data or a model lie where runs keep their work: an execution for each new object would start for its own parts."""
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
