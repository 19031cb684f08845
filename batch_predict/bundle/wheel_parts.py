"""Makes a bundle's part of one wheel: slimmed, checked, with byte-code, in a zip that is kept for the next bundle with it."""

import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from batch_predict.bundle.plan import BundleError
from batch_predict.bundle.platforms import Platform
from batch_predict.bundle.wheel_files import Wheel
from batch_predict.setup import amazon_linux, elf, package, slimming, wheels
from batch_predict.setup.target import Interpreter

OPENMP = "libgomp.so.1"
"""What LightGBM's wheel needs and does not bring."""
LIB = "lib"
"""The folder of such libraries; whoever starts a process with the bundle puts it into LD_LIBRARY_PATH."""
RUN_WITHOUT_SOURCES = (
    *("cloudpickle", "joblib", "lightgbm", "narwhals", "numpy", "pandas", "scikit-learn", "scipy", "threadpoolctl"),
    *("xgboost", "xgboost-cpu"),
)
"""Libraries of which the function's own package has byte-code alone, too; half as many files are unpacked at each cold start."""
_SOURCES = ("**/*.pxd", "**/*.pxi", "**/*.pyx", "**/*.a", "**/*.lib", "**/*.c", "**/*.cpp", "**/*.h", "**/*.hpp", "**/*.f")
_IMPORTS_TESTS = re.compile(rb"^\s*(?:from|import)\s[^#\n]*\btests?\b", re.MULTILINE)
_READS_STUBS = b"attach_stub"
"""scikit-image and others read their .pyi files when they are imported: https://github.com/scientific-python/lazy-loader"""


@dataclass(frozen=True)
class Part:
    """What one wheel adds to a bundle's libraries."""

    path: Path
    """A zip."""
    unpacked_bytes: int
    modules: list[str]
    """Top-level modules."""
    shared: list[str]
    """Names of its shared libraries."""
    troubles: list[list[str]]
    """What would not load on Lambda: the name of what is lacking, and a sentence."""
    lacks_openmp: bool


def make_part(wheel: Wheel, platform: Platform, interpreter: Interpreter | None, cache: Path) -> Part:
    """Return a wheel's part of a platform's libraries, from the cache if it was made before."""
    key = _key(wheel.sha256, platform.name, str(platform.target), interpreter.version if interpreter else "sources")
    kept, facts = cache / f"{wheel.name}-{key}.zip", cache / f"{wheel.name}-{key}.json"
    if not (facts.exists() and kept.exists()):
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".") as scratch:
            made = _make(wheel, platform, interpreter, Path(scratch), kept)
            partial = Path(scratch) / "facts.json"
            partial.write_text(json.dumps(made))
            partial.replace(facts)  # after the zip, which is whole
    os.utime(kept)
    os.utime(facts)
    return Part(path=kept, **json.loads(facts.read_text()))


def _key(*parts: str) -> str:
    files = [Path(__file__), *(Path(str(module.__file__)) for module in (amazon_linux, elf, slimming, wheels))]
    content = b"\0".join([*(part.encode() for part in parts), *(file.read_bytes() for file in files)])
    return hashlib.sha256(content).hexdigest()[:16]


def _make(wheel: Wheel, platform: Platform, interpreter: Interpreter | None, scratch: Path, kept: Path) -> dict[str, object]:
    folder = scratch / "unpacked"
    folder.mkdir()
    _refuse_other_names(wheel.path)
    wheels.unpack([wheel.path], folder)
    slim(folder)
    troubles: list[tuple[str, str]] = []
    if platform.is_linux:
        for path in amazon_linux.shared_libraries(folder):
            elf.trim_file(path)
        if platform.target is not None:
            _delete_foreign(folder, platform.target.architecture)
            troubles = list(amazon_linux.link_troubles(folder, others="the bundle"))
    if interpreter is not None:
        _compile(folder, interpreter)
        if wheel.name in RUN_WITHOUT_SOURCES:
            _drop_sources(folder)
    package.write_zip(kept, folder, {})
    return {
        "unpacked_bytes": slimming.size_of(folder),
        "modules": sorted(_modules(folder)),
        "shared": [path.name for path in amazon_linux.shared_libraries(folder)],
        "troubles": [one for one in troubles if one[0] != OPENMP],
        "lacks_openmp": platform.is_linux and _lacks_openmp(folder),
    }


def _refuse_other_names(path: Path) -> None:
    """Raise BundleError for names that would leave the folder, which no proper wheel has."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.startswith("/") or ".." in name.split("/") or "\\" in name:
                raise BundleError(f"{path.name} holds {name!r}, which lies outside of it: it is no wheel to trust")


def slim(folder: Path) -> None:
    """Delete what no prediction opens: tests, sources in other languages, stubs, lists of files."""
    slimming.slim(folder, all_match=False)
    for top in [path for path in sorted(folder.iterdir()) if path.is_dir()]:
        tests = [path for name in ("tests", "test") for path in top.rglob(name) if path.is_dir()]
        within = [path for path in top.rglob("*.py") if not any(test in path.parents for test in tests)]
        sources = [path.read_bytes() for path in within]
        if not any(_IMPORTS_TESTS.search(source) for source in sources):
            for path in tests:
                shutil.rmtree(path, ignore_errors=True)  # it may have been in another
        patterns = _SOURCES if any(_READS_STUBS in source for source in sources) else (*_SOURCES, "**/*.pyi")
        for path in (path for pattern in (*patterns, "**/*.pyc") for path in top.glob(pattern)):
            path.unlink()
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _lacks_openmp(folder: Path) -> bool:
    parsed = _parsed(amazon_linux.shared_libraries(folder))
    return any(
        OPENMP in needs.libraries and not any((path.parent / OPENMP).exists() for _ in needs.folders) for path, needs in parsed
    )


def _parsed(paths: Iterable[Path]) -> Iterator[tuple[Path, elf.Needs]]:
    for path in paths:
        try:
            yield path, elf.needs(path.read_bytes())
        except elf.ElfError:
            continue


def _delete_foreign(folder: Path, architecture: str) -> None:
    """Delete what is for other processors, or no library at all."""
    for path in amazon_linux.shared_libraries(folder):
        content = path.read_bytes()
        try:
            foreign = elf.machine(content) != architecture or not elf.needs(content)
        except (elf.ElfError, struct.error):
            foreign = True
        if foreign:
            path.unlink()


def _compile(folder: Path, interpreter: Interpreter) -> None:
    """Add byte-code beside the sources, which some libraries read; a file that is no Python of this version has none."""
    words = ["-S", "-s", "-P", "-m", "compileall", "-q", "-q", "--invalidation-mode", "unchecked-hash"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run(  # noqa: S603  # Python's own compiler
        [interpreter.path, *words, "-s", ".", "-p", "libraries", "."],
        cwd=folder,
        env={**environment, "PYTHONHASHSEED": "0"},
        capture_output=True,
        check=False,
    )


def _drop_sources(folder: Path) -> None:
    """Put byte-code in the place of sources."""
    for source in sorted(folder.rglob("*.py")):
        compiled = next((source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc"), None)
        if compiled:
            compiled.replace(source.with_suffix(".pyc"))
            source.unlink()
    for cache in folder.rglob("__pycache__"):
        if not any(cache.iterdir()):
            cache.rmdir()


def _modules(folder: Path) -> Iterator[str]:
    """Yield the top-level modules: folders with code, and files of it."""
    for path in folder.iterdir():
        if path.is_file() and path.suffix in {".py", ".pyc", ".so", ".pyd"}:
            yield path.name.partition(".")[0]
        elif path.is_dir() and path.name.isidentifier() and path.name not in {LIB, "__pycache__"}:
            yield path.name
