"""Writes a bundle: a model, its own modules, and its libraries for each platform, in one zip."""

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from batch_predict.bundle.plan import BundleError, Contents, Written
from batch_predict.bundle.platform_libraries import Libraries, largest_of, make_libraries
from batch_predict.bundle.platforms import HERE, Platform, platform_of, stack_platform
from batch_predict.bundle.resolve import Resolved, resolve
from batch_predict.errors import file_troubles
from batch_predict.figures import megabytes
from batch_predict.setup import target
from batch_predict.setup.package import Say, zip_files
from batch_predict.setup.target import PackageError

SUFFIX = ".bundle.zip"
FORMAT = 1
LOADER = "bundle_loader"
CODE = "code.zip"
DOCUMENT = "bundle.json"
MAX_BUNDLE_BYTES, MAX_UNPACKED_BYTES, MAX_DOCUMENT_BYTES = 2**30, 2**32, 2**22
"""The prediction handler's own bounds: of the zip, of what one platform takes in /tmp while it is unpacked, and of bundle.json."""
CHUNK_ROOM_BYTES = 2 * 64 * 2**20
"""A chunk and its part, beside the bundle in /tmp."""
MAX_STORAGE_MB = 10_240
"""https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
CACHE = target.build_folder() / "bundle"


def write_bundle(
    contents: Contents, output: Path, platforms: Sequence[str], *, stack: Path, say: Say, cache: Path = CACHE
) -> Written:
    """Write a bundle for the platforms, whole or not at all; what was at ``output`` is replaced.

    ``stack`` is the folder of template.yaml: the bundle brings what the function does not have. Raises BundleError.
    """
    if not output.name.endswith(SUFFIX) or output.name == SUFFIX:
        raise BundleError(f"a bundle's name ends in {SUFFIX}, and {output.name} does not: name it as in -o model{SUFFIX}")
    if not output.parent.is_dir():
        raise BundleError(f"the folder {output.parent} is not there: make it, or name another with -o")
    with tempfile.TemporaryDirectory() as scratch, _troubles(output):
        targets = _in_order([platform_of(name, stack) for name in dict.fromkeys(platforms)], stack)
        _refuse_other_pythons(contents, targets)
        resolved: dict[str, Resolved] = {}
        preferred: dict[str, str] = {}
        for platform in targets:
            one = resolve(contents, platform, preferred, cache=cache / "wheels", scratch=Path(scratch), say=say)
            resolved[platform.name] = one
            preferred = {**{name: wheel.version for name, wheel in one.wheels.items()}, **preferred}
        libraries = make_libraries(resolved, targets, cache=cache / "libraries", scratch=Path(scratch), say=say)
        code = _write_code(contents, Path(scratch) / CODE)
        document = _document(contents, targets, resolved, libraries, code)
        unpacked = _unpacked_bytes(document, libraries)
        meanwhile = {name: size + _zipped_bytes(document, name) for name, size in unpacked.items()}
        _refuse_unpacked(meanwhile, libraries)
        _write(contents, output, document, code, libraries)
    return Written(
        path=output,
        bytes=output.stat().st_size,
        digest=document["digest"],
        unpacked_bytes=unpacked,
        libraries={name: _listed(one, brought=True) for name, one in resolved.items()},
        from_function={name: _listed(one, brought=False) for name, one in resolved.items()},
        notes=(*_notes(contents, targets, resolved, libraries), *_storage_notes(unpacked, meanwhile, output.stat().st_size, stack)),
    )


@contextmanager
def _troubles(output: Path) -> Iterator[None]:
    try:
        with file_troubles("read or written", output):
            yield
    except PackageError as error:
        raise BundleError(str(error)) from error


def _in_order(targets: list[Platform], stack: Path) -> list[Platform]:
    """Return the platforms, the stack's first: the others take its versions where they have them."""
    if not targets:
        raise BundleError(f"a bundle needs a platform: name one with --platform, such as {stack_platform(stack)}")
    return sorted(targets, key=lambda one: (one.name != stack_platform(stack), one.name == HERE, one.name))


def _refuse_other_pythons(contents: Contents, targets: Sequence[Platform]) -> None:
    feature = ".".join(contents.python.split(".")[:2])
    others = [platform for platform in targets if platform.python_version != feature]
    if contents.needs_python and feature and others:
        raise BundleError(
            f"the model holds functions or classes as Python {feature} compiled them, which Python {others[0].python_version} "
            f"({others[0].name}) cannot run: fit it under Python {others[0].python_version}, or put them into a module, give that "
            "with --code, and fit it again"
        )


def _write_code(contents: Contents, path: Path) -> tuple[Path, dict[str, bytes]] | None:
    """Write own modules and the loader into a zip, and return it with its files; None if there are none."""
    files = {name: file.read_bytes() for name, file in contents.code.items()}
    if contents.loader is not None:
        files[f"{LOADER}.py"] = contents.loader.read_bytes()
    for name in files:
        if not re.fullmatch(r"(?!/)[^\\\0]+", name) or ".." in name.split("/"):
            raise BundleError(f"{name} leaves the bundle's folder: name modules by paths within it, as my_package/steps.py")
    if not files:
        return None
    zip_files(path, files)
    return path, files


def _document(
    contents: Contents,
    targets: Sequence[Platform],
    resolved: Mapping[str, Resolved],
    libraries: Mapping[str, Libraries | None],
    code: tuple[Path, dict[str, bytes]] | None,
) -> dict[str, Any]:
    """Return what bundle.json says."""
    model = f"model/{contents.model.name}"
    files = {model: _facts_of(contents.model)}
    files |= {f"model/{name}": _facts(content) for name, content in contents.beside.items()}
    if code:
        files[CODE] = {**_facts_of(code[0]), "unpacked_bytes": sum(map(len, code[1].values()))}
    for platform in targets:
        if one := libraries[platform.name]:
            files[f"libraries/{platform.name}.zip"] = {**_facts_of(one.path), "unpacked_bytes": one.unpacked_bytes}
    fitted = {name: version for one in resolved.values() for name, version in one.fitted_with.items()}
    document: dict[str, Any] = {
        "format": FORMAT,
        "made_by": f"batch-predict {importlib.metadata.version('batch-predict')}",
        "python": contents.python,
        "model": {"path": model, "loader": LOADER if contents.loader else None},
        "files": files,
        "fitted_with": dict(sorted(fitted.items())),
        "code_modules": sorted({name.split("/")[0].removesuffix(".py") for name in code[1]}) if code else [],
        "platforms": {
            platform.name: {
                "distributions": _distributions(resolved[platform.name]),
                "modules": list(one.modules) if (one := libraries[platform.name]) else [],
            }
            for platform in targets
        },
    }
    digest = hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    return {"format": FORMAT, "digest": digest, **document}


def _distributions(resolved: Resolved) -> list[dict[str, str]]:
    return [
        {
            "name": name,
            "version": wheel.version,
            "sha256": wheel.sha256,
            "from": "function" if name in resolved.from_function else "bundle",
        }
        for name, wheel in resolved.wheels.items()
    ]


def _facts(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def _facts_of(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


def _unpacked_bytes(document: dict[str, Any], libraries: Mapping[str, Libraries | None]) -> dict[str, int]:
    """Return by platform what lies in /tmp once the bundle is unpacked."""
    files = document["files"]
    common = sum(facts.get("unpacked_bytes", facts["bytes"]) for name, facts in files.items() if not name.startswith("libraries/"))
    return {name: common + (one.unpacked_bytes if one else 0) for name, one in libraries.items()}


def _zipped_bytes(document: dict[str, Any], platform: str) -> int:
    """Return what the zips in the bundle take beside what is unpacked of them, for a moment."""
    return sum(document["files"].get(name, {"bytes": 0})["bytes"] for name in (CODE, f"libraries/{platform}.zip"))


def _refuse_unpacked(unpacked: Mapping[str, int], libraries: Mapping[str, Libraries | None]) -> None:
    for name, size in unpacked.items():
        if size > MAX_UNPACKED_BYTES:
            raise BundleError(
                f"while it is unpacked for {name}, the bundle takes {megabytes(size)}, and may take "
                f"{megabytes(MAX_UNPACKED_BYTES)}; {_largest(libraries[name])}: "
                "fit the model without what it does not need, or deploy the container image"
            )


def _largest(libraries: Libraries | None) -> str:
    return largest_of(libraries.sizes) if libraries else "the model itself is that large"


def _write(
    contents: Contents,
    output: Path,
    document: dict[str, Any],
    code: tuple[Path, dict[str, bytes]] | None,
    libraries: Mapping[str, Libraries | None],
) -> None:
    told = json.dumps(document, indent=1).encode()
    if len(told) > MAX_DOCUMENT_BYTES:
        raise BundleError(f"the bundle's list of files has {len(told):,} bytes, and may have {MAX_DOCUMENT_BYTES:,}")
    partial = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            _add(archive, DOCUMENT, told)
            _add(archive, document["model"]["path"], contents.model)
            for name, content in sorted(contents.beside.items()):
                _add(archive, f"model/{name}", content)
            if code:
                _add(archive, CODE, code[0], stored=True)
            for name, one in sorted(libraries.items()):
                if one:
                    _add(archive, f"libraries/{name}.zip", one.path, stored=True)
        size = partial.stat().st_size
        if size > MAX_BUNDLE_BYTES:
            largest = max(libraries.values(), key=lambda one: one.unpacked_bytes if one else 0)
            raise BundleError(
                f"the bundle has {megabytes(size)}, and may have {megabytes(MAX_BUNDLE_BYTES)}; {_largest(largest)}: "
                "make it for one --platform alone, or fit the model without what it does not need"
            )
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


def _add(archive: zipfile.ZipFile, name: str, content: bytes | Path, *, stored: bool = False) -> None:
    entry = zipfile.ZipInfo(name)  # dated 1980-01-01: the same contents give the same bytes
    entry.external_attr = 0o644 << 16
    entry.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    if isinstance(content, bytes):
        archive.writestr(entry, content)
        return
    entry.file_size = content.stat().st_size
    if not stored and _is_compressed(content):
        entry.compress_type = zipfile.ZIP_STORED
    with content.open("rb") as source, archive.open(entry, "w") as written:
        shutil.copyfileobj(source, written, 2**20)


def _is_compressed(path: Path) -> bool:
    """Tell by a piece in its middle whether a file gets no smaller, as joblib.dump(model, compress=3) writes it."""
    with path.open("rb") as file:
        file.seek(path.stat().st_size // 2)
        piece = file.read(2**20)
    return len(zlib.compress(piece, 1)) > 0.95 * len(piece)


def _listed(resolved: Resolved, *, brought: bool) -> tuple[str, ...]:
    return tuple(
        f"{name} {wheel.version}" for name, wheel in resolved.wheels.items() if (name not in resolved.from_function) == brought
    )


def _notes(
    contents: Contents,
    targets: Sequence[Platform],
    resolved: Mapping[str, Resolved],
    libraries: Mapping[str, Libraries | None],
) -> tuple[str, ...]:
    """Return what whoever makes the bundle should know, each said once."""
    notes = [*contents.notes, *_other_versions(targets, resolved)]
    for platform in targets:
        notes += resolved[platform.name].notes
        if one := libraries[platform.name]:
            notes += one.notes
    return tuple(dict.fromkeys(notes))


def _other_versions(targets: Sequence[Platform], resolved: Mapping[str, Resolved]) -> list[str]:
    """Say which versions are not those where the model was fitted."""
    notes = []
    fitted = {name: version for one in resolved.values() for name, version in one.fitted_with.items()}
    for name, version in sorted(fitted.items()):
        taken = {one.name: wheel.version for one in targets if (wheel := resolved[one.name].wheels.get(name))}
        others = {place: one for place, one in taken.items() if one != version}
        first = next((one for one in targets if one.name in others), None)
        if first is None:
            continue
        because = f"of which no wheel for Python {first.python_version} agrees with the others"
        if set(taken.values()) == {others[first.name]}:
            notes.append(f"{name} is {others[first.name]} in the bundle: the model was fitted with {version}, {because}")
        else:
            listed = ", ".join(f"{one} for {place}" for place, one in taken.items())
            notes.append(f"{name} is {listed}: the model was fitted with {version}, {because}")
    return notes


def _storage_notes(unpacked: Mapping[str, int], meanwhile: Mapping[str, int], size: int, stack: Path) -> list[str]:
    """Say what the function's ephemeral storage must be, if it is too small for unpacking the bundle, or for it and a chunk."""
    has, name = target.template_storage_mb(stack / "template.yaml"), stack_platform(stack)
    if name not in unpacked:
        return []
    needed = -(-max(meanwhile[name] + size, unpacked[name] + CHUNK_ROOM_BYTES) // 2**20)
    if needed <= has:
        return []
    wanted = min(-(-needed // 512) * 512, MAX_STORAGE_MB)
    note = (
        f"the prediction function needs {needed:,} MB of ephemeral storage for this bundle, and the stack gives it "
        f"{has:,} MB: deploy it with PredictEphemeralStorageSize={wanted}"
    )
    return [note]
