"""Puts one platform's libraries together: each wheel's part, and what they all lack of the system."""

import os
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

from batch_predict.bundle import pip_download
from batch_predict.bundle.plan import BundleError
from batch_predict.bundle.platforms import Platform
from batch_predict.bundle.resolve import Resolved
from batch_predict.bundle.wheel_files import forget_unused
from batch_predict.bundle.wheel_parts import LIB, OPENMP, Part, make_part
from batch_predict.figures import megabytes
from batch_predict.setup import package, target
from batch_predict.setup.package import Say

ITS_WHEEL, ITS_PATTERN = "scikit-learn", r"scikit_learn\.libs/libgomp-[^/]*\.so[^/]*"
"""Where OpenMP is, under another name than that by which LightGBM looks for it."""
MAX_ZIP_BYTES, MAX_FILES = 2**30, 2**16 - 2
"""The prediction handler's own bounds, of a whole bundle and of the files in a zip."""


@dataclass(frozen=True)
class Libraries:
    """One platform's libraries, zipped."""

    path: Path
    unpacked_bytes: int
    modules: tuple[str, ...]
    """Top-level modules."""
    sizes: Mapping[str, int]
    """Unpacked bytes, by distribution."""
    notes: tuple[str, ...]


def make_libraries(
    resolved: Mapping[str, Resolved], platforms: Sequence[Platform], *, cache: Path, scratch: Path, say: Say
) -> dict[str, Libraries | None]:
    """Return by platform the zip of what a bundle brings, in ``scratch``; None where that is nothing."""
    forget_unused(cache, "*-*.*")
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        making: dict[str, dict[str, Callable[[], Part]]] = {}
        for platform in platforms:
            one = resolved[platform.name]
            brought = [wheel for name, wheel in one.wheels.items() if name not in one.from_function]
            interpreter = target.find_interpreter(platform.python) if brought else None
            making[platform.name] = {
                wheel.name: pool.submit(make_part, wheel, platform, interpreter, cache).result for wheel in brought
            }
        say(f"preparing {sum(map(len, making.values()))} wheels")
        parts = {name: {wheel: result() for wheel, result in of.items()} for name, of in making.items()}
    return {
        platform.name: _put_together(parts[platform.name], resolved[platform.name], platform, scratch)
        if parts[platform.name]
        else None
        for platform in platforms
    }


def _put_together(parts: Mapping[str, Part], resolved: Resolved, platform: Platform, scratch: Path) -> Libraries:
    paths, notes = [part.path for part in parts.values()], []
    if any(part.lacks_openmp for part in parts.values()) and (openmp := _openmp(resolved, platform, scratch)):
        paths.append(openmp)
    shared = {name for part in parts.values() for name in part.shared}  # wheels give theirs names of their own, with a hash
    for lacking, trouble in (one for part in parts.values() for one in part.troubles):
        if lacking not in shared:
            notes.append(f"{trouble}: what uses it fails there")
    if target.find_interpreter(platform.python) is None:
        notes.append(
            f"there is no Python {platform.python_version} on this machine to compile the libraries of {platform.name}, so a cold "
            "start takes longer: install that Python, and make the bundle again"
        )
    sizes = {name: part.unpacked_bytes for name, part in parts.items()}
    if (size := sum(part.stat().st_size for part in paths)) > MAX_ZIP_BYTES:
        raise BundleError(
            f"the libraries for {platform.name} have {megabytes(size)} zipped, and may have {megabytes(MAX_ZIP_BYTES)}; "
            f"{largest_of(sizes)}: fit the model without what it does not need"
        )
    path = scratch / f"{platform.name}.zip"
    join_zips(paths, path)
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if len(entries) > MAX_FILES:
        raise BundleError(
            f"the libraries for {platform.name} are {len(entries):,} files, and may be {MAX_FILES:,}: "
            "fit the model without what it does not need"
        )
    return Libraries(
        path,
        sum(entry.file_size for entry in entries),
        tuple(sorted({module for part in parts.values() for module in part.modules})),
        sizes,
        tuple(notes),
    )


def largest_of(sizes: Mapping[str, int]) -> str:
    """Say which libraries are large."""
    largest = sorted(sizes.items(), key=lambda one: -one[1])[:3]
    return "the largest libraries are " + ", ".join(f"{name} ({megabytes(size)})" for name, size in largest)


def _openmp(resolved: Resolved, platform: Platform, scratch: Path) -> Path | None:
    """Return a zip of OpenMP in `lib/`, under the name by which it is looked for; without it, the platform's own has to do."""
    if known := resolved.wheels.get(ITS_WHEEL):
        wheel = known.path
    else:
        version = platform.function.get(ITS_WHEEL)
        wanted = [f"{ITS_WHEEL}=={version}" if version else ITS_WHEEL]
        wheel = pip_download.download(wanted, scratch / "openmp" / platform.name, platform)[0]
    with zipfile.ZipFile(wheel) as archive:
        name = next((name for name in archive.namelist() if re.fullmatch(ITS_PATTERN, name)), None)
        content = archive.read(name) if name else b""
    path = scratch / f"openmp-{platform.name}.zip"
    package.zip_files(path, {f"{LIB}/{OPENMP}": content})
    return path if name else None


_ENTRY, _END = Struct("<4s4B4H3L5H2L"), Struct("<4s4H2LH")
"""Zip's directory, an entry of it and its end: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.12 and 4.3.16"""


def join_zips(paths: Iterable[Path], joined: Path) -> None:
    """Write zips of `zip_files` as one, without compressing anew; of files of one name, the first counts."""
    directory, count, names = bytearray(), 0, set()
    with joined.open("wb") as output:
        for path in paths:
            content, base = path.read_bytes(), output.tell()
            *_, size, at, _ = _END.unpack(content[-_END.size :])
            output.write(content[:at])
            end = at + size
            while at < end:
                facts = list(_ENTRY.unpack_from(content, at))
                length = _ENTRY.size + sum(facts[12:15])
                name = content[at + _ENTRY.size : at + _ENTRY.size + facts[12]]
                if name not in names:
                    facts[-1] += base
                    directory += _ENTRY.pack(*facts) + content[at + _ENTRY.size : at + length]
                    names.add(name)
                    count += 1
                at += length
        start = output.tell()
        output.write(directory)
        output.write(_END.pack(b"PK\5\6", 0, 0, min(count, 2**16 - 1), min(count, 2**16 - 1), len(directory), start, 0))
