"""Bundles made by hand, as docs/prediction_handler.md describes them: no pip, and no wheels."""

import hashlib
import io
import json
import platform
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Entries = list[tuple[str | zipfile.ZipInfo, bytes]]
PLATFORM = f"{platform.system().lower()}-{platform.machine()}-py{sys.version_info.major}{sys.version_info.minor}"
"""This machine's."""


def make_bundle(
    path: Path,
    model: bytes | Mapping[str, bytes],
    *,
    libraries: Mapping[str, Mapping[str, bytes]] | None = None,
    code: Mapping[str, bytes] | None = None,
    loader: str | None = None,
    distributions: Sequence[Mapping[str, str]] = (),
    fitted_with: Mapping[str, str] | None = None,
    change: Callable[[dict[str, Any]], object] | None = None,
    spoil: Callable[[Entries], object] | None = None,
) -> dict[str, Any]:
    """Write a bundle and return its bundle.json.

    `model` is the model file, or several files by name, the first of which is the model. `libraries` are files by platform, none
    for this machine's unless they say otherwise; `distributions` are those of each platform. `change` gets bundle.json before its
    digest is taken; `spoil` gets the zip's entries before they are written.
    """
    files = {"model.joblib": model} if isinstance(model, bytes) else dict(model)
    libraries = {PLATFORM: {}} if libraries is None else libraries
    entries: dict[str, bytes] = {f"model/{name}": content for name, content in files.items()}
    unpacked: dict[str, Mapping[str, bytes]] = {"code.zip": code} if code else {}
    unpacked |= {f"libraries/{name}.zip": brought for name, brought in libraries.items() if brought}
    entries |= {name: zipped(content) for name, content in unpacked.items()}
    document: dict[str, Any] = {
        "format": 1,
        "made_by": "batch-predict 0.0.0",
        "python": platform.python_version(),
        "model": {"path": f"model/{next(iter(files))}", "loader": loader},
        "files": {name: facts_of(content) for name, content in entries.items()},
        "fitted_with": dict(fitted_with or {}),
        "code_modules": modules_of(code or {}),
        "platforms": {
            name: {"distributions": [{"sha256": "0" * 64, **one} for one in distributions], "modules": modules_of(brought)}
            for name, brought in libraries.items()
        },
    }
    for name, content in unpacked.items():
        document["files"][name]["unpacked_bytes"] = sum(map(len, content.values()))
    if change:
        change(document)
    sign(document)
    written: Entries = [("bundle.json", json.dumps(document).encode()), *entries.items()]
    if spoil:
        spoil(written)
    path.write_bytes(zipped(written))
    return document


def sign(document: dict[str, Any]) -> None:
    """Set the digest of a bundle.json."""
    facts = {name: value for name, value in document.items() if name != "digest"}
    document["digest"] = hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def zipped(files: Mapping[str, bytes] | Entries) -> bytes:
    """Return a zip; an entry may be a ZipInfo, so that it can be what zips should not have."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items() if isinstance(files, Mapping) else files:
            archive.writestr(name, content)
    return written.getvalue()


def facts_of(content: bytes) -> dict[str, Any]:
    """Return what bundle.json says of an entry."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def modules_of(files: Mapping[str, bytes]) -> list[str]:
    """Return the top-level modules among the files of a folder for sys.path."""
    return sorted({name.partition("/")[0].removesuffix(".py") for name in files if ".dist-info/" not in name})
