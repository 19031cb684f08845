"""What is read of a wheel, and wheels that are made of what is installed."""

import hashlib
import re
import time
import zipfile
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from batch_predict.bundle.libraries import normalized
from batch_predict.bundle.plan import Distribution
from batch_predict.bundle.versions import same
from batch_predict.setup.package import zip_files

KEPT_DAYS = 30


@dataclass(frozen=True)
class Wheel:
    """A distribution, as it was got for a platform."""

    name: str
    """Normalized."""
    version: str
    path: Path
    sha256: str
    requires: tuple[str, ...]


def wheel_in(folder: Path, name: str, version: str) -> Wheel | None:
    """Return the wheel of a distribution that lies in a folder; None if there is none."""
    for path in folder.glob("[!.]*.whl") if folder.is_dir() else ():
        library, itself = path.name.split("-")[:2]
        if normalized(library) == name and same(itself, version):
            return read_wheel(path)
    return None


def forget_unused(cache: Path, pattern: str) -> None:
    """Delete what no bundle has taken from a cache for a month."""
    for path in cache.glob(pattern):
        if path.stat().st_mtime < time.time() - KEPT_DAYS * 86_400:
            path.unlink(missing_ok=True)


def read_wheel(path: Path) -> Wheel:
    """Read what a wheel says of itself."""
    with zipfile.ZipFile(path) as archive:
        metadata = next(name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        told = HeaderParser().parsestr(archive.read(metadata).decode(errors="replace"))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Wheel(normalized(told["Name"]), told["Version"], path, digest, tuple(told.get_all("Requires-Dist", [])))


def wheel_of_installed(distribution: Distribution, folder: Path) -> Path | None:
    """Make a wheel of installed files if they are Python alone; None if they are not known, compiled, or elsewhere (editable)."""
    root = distribution.installed
    names = [name for name in distribution.files if "__pycache__" not in name and not name.startswith(("..", "/"))]
    compiled = (".so", ".pyd", ".dylib", ".dll", ".pth", ".egg-link")
    info = next((name.partition("/")[0] for name in names if name.endswith(".dist-info/METADATA")), None)
    modules = [name for name in names if name.endswith(".py") and not name.startswith("__editable__")]
    if root is None or info is None or not modules or any(name.endswith(compiled) or ".so." in name for name in names):
        return None
    files: dict[str, Path | bytes] = {name: root / name for name in names if (root / name).is_file()}
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: batch-predict\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    for name in ("RECORD", "direct_url.json", "INSTALLER", "REQUESTED"):  # where it was installed, and how
        files.pop(f"{info}/{name}", None)
    escaped = re.sub(r"[-_.]+", "_", distribution.name)
    path = folder / f"{escaped}-{distribution.version.replace('-', '_')}-py3-none-any.whl"
    zip_files(path, files)
    return path
