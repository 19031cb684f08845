"""Makes one platform's part of a bundle from wheels: slimmed, checked, with byte-code, in a zip kept for the next bundle."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from batch_predict.bundle import pip_download
from batch_predict.bundle.plan import BundleError
from batch_predict.bundle.platforms import Platform, canonical
from batch_predict.bundle.resolve import Resolved
from batch_predict.bundle.wheel_files import Wheel
from batch_predict.setup import amazon_linux, elf, package, slimming, target, wheels
from batch_predict.setup.package import Say

OPENMP, ITS_WHEEL, ITS_PATTERN = "libgomp.so.1", "scikit-learn", r"scikit_learn\.libs/libgomp-[^/]*\.so[^/]*"
"""What LightGBM's wheel needs and does not bring. scikit-learn's has it under another name."""
LIB = "lib"
"""The folder of such libraries; whoever starts a process with the bundle puts it into LD_LIBRARY_PATH."""
RUN_WITHOUT_SOURCES = frozenset(
    {
        "cloudpickle",
        "joblib",
        "lightgbm",
        "narwhals",
        "numpy",
        "pandas",
        "scikit-learn",
        "scipy",
        "threadpoolctl",
        "xgboost",
        "xgboost-cpu",
    }
)
"""Libraries of which the function's own package has byte-code alone, too; half as many files are unpacked at each cold start."""
MAX_FILES = 2**16 - 2
"""The prediction handler's own bound, of the files in a zip."""
_KEPT_DAYS = 30
_SOURCES = ("**/*.pxd", "**/*.pxi", "**/*.pyx", "**/*.a", "**/*.lib", "**/*.c", "**/*.cpp", "**/*.h", "**/*.hpp", "**/*.f")
_IMPORTS_TESTS = re.compile(rb"^\s*(?:from|import)\s[^#\n]*\btests?\b", re.MULTILINE)
_READS_STUBS = b"attach_stub"
"""scikit-image and others read their .pyi files when they are imported: https://github.com/scientific-python/lazy-loader"""


@dataclass(frozen=True)
class Libraries:
    """One platform's libraries, zipped."""

    path: Path
    unpacked_bytes: int
    modules: tuple[str, ...]
    """Top-level modules."""
    sizes: dict[str, int]
    """Unpacked bytes, by the wheel's name."""
    notes: tuple[str, ...]


def make_libraries(resolved: Resolved, platform: Platform, cache: Path, say: Say) -> Libraries | None:
    """Return the zip of what a bundle brings for a platform; None if that is nothing."""
    brought = [wheel for name, wheel in resolved.wheels.items() if name not in resolved.from_function]
    if not brought:
        return None
    interpreter = target.find_interpreter(platform.python)
    key = _key(*(wheel.sha256 for wheel in brought), platform.name, interpreter.version if interpreter else "sources")
    cache.mkdir(parents=True, exist_ok=True)
    _forget_old(cache)
    kept, facts = cache / f"{platform.name}-{key}.zip", cache / f"{platform.name}-{key}.json"
    if not (facts.exists() and kept.exists()):
        say(f"unpacking and compiling {len(brought)} libraries for {platform.name}")
        with tempfile.TemporaryDirectory(dir=cache, prefix=".") as scratch:
            made = _make(brought, resolved, platform, interpreter, Path(scratch), kept)
            partial = Path(scratch) / "facts.json"
            partial.write_text(json.dumps(made))
            partial.replace(facts)  # after the zip, which is whole
    os.utime(kept)
    os.utime(facts)
    told = json.loads(facts.read_text())
    return Libraries(kept, told["unpacked_bytes"], tuple(told["modules"]), told["sizes"], tuple(told["notes"]))


def _key(*parts: str) -> str:
    files = [Path(__file__), *(Path(str(module.__file__)) for module in (amazon_linux, elf, slimming, wheels))]
    content = b"\0".join([*(part.encode() for part in parts), *(file.read_bytes() for file in files)])
    return hashlib.sha256(content).hexdigest()[:16]


def _forget_old(cache: Path) -> None:
    for path in cache.glob("*-*.*"):
        if path.stat().st_mtime < time.time() - _KEPT_DAYS * 86_400:
            path.unlink(missing_ok=True)


def _make(
    brought: list[Wheel],
    resolved: Resolved,
    platform: Platform,
    interpreter: target.Interpreter | None,
    scratch: Path,
    kept: Path,
) -> dict[str, object]:
    folder = scratch / "libraries"
    folder.mkdir()
    files = [wheel.path for wheel in brought]
    _refuse_other_names(files)
    wheels.unpack(files, folder)
    owners = wheels.owners(files)
    slim(folder)
    notes: list[str] = []
    if platform.is_linux:
        for path in amazon_linux.shared_libraries(folder):
            elf.trim_file(path)
        if _lacks_openmp(folder):
            _add_openmp(folder, resolved, platform, scratch)
        if platform.target is not None:
            notes += [f"{trouble}: what uses it fails there" for trouble in _link_troubles(folder, platform)]
    if interpreter is None:
        notes.append(
            f"there is no Python {platform.python_version} on this machine to compile the libraries of {platform.name}, so a cold "
            "start takes twice as long: install that Python, and make the bundle again"
        )
    else:
        _compile(folder, interpreter)
        for name, owner in owners.items():
            if canonical(owner) in RUN_WITHOUT_SOURCES:
                _drop_sources(folder / name)
    count = sum(path.is_file() for path in folder.rglob("*"))
    if count > MAX_FILES:
        raise BundleError(
            f"the libraries for {platform.name} are {count:,} files, and may be {MAX_FILES:,}: "
            "fit the model without what it does not need"
        )
    package.write_zip(kept, folder, {})
    return {
        "unpacked_bytes": slimming.size_of(folder),
        "modules": sorted(_modules(folder)),
        "sizes": package.sizes(folder, owners),
        "notes": notes,
    }


def _refuse_other_names(files: Iterable[Path]) -> None:
    """Raise BundleError for names that would leave the folder, which no proper wheel has."""
    for path in files:
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


def _add_openmp(folder: Path, resolved: Resolved, platform: Platform, scratch: Path) -> None:
    """Put OpenMP under the name by which it is looked for into `lib/`; without it in any wheel, the platform's own has to do."""
    if known := resolved.wheels.get(ITS_WHEEL):
        wheel = known.path
    else:
        version = platform.function.get(ITS_WHEEL)
        got = pip_download.download([f"{ITS_WHEEL}=={version}" if version else ITS_WHEEL], scratch / "openmp", platform)
        wheel = got[0]
    with zipfile.ZipFile(wheel) as archive:
        name = next((name for name in archive.namelist() if re.fullmatch(ITS_PATTERN, name)), None)
        if name:
            (folder / LIB).mkdir(exist_ok=True)
            (folder / LIB / OPENMP).write_bytes(archive.read(name))
            elf.trim_file(folder / LIB / OPENMP)


def _link_troubles(folder: Path, platform: Platform) -> list[str]:
    """Return what would not load on Lambda, and delete what is for other processors, or no library at all."""
    assert platform.target is not None
    for path in amazon_linux.shared_libraries(folder):
        content = path.read_bytes()
        try:
            foreign = elf.machine(content) != platform.target.architecture or not elf.needs(content)
        except (elf.ElfError, ValueError):
            foreign = True
        if foreign:
            path.unlink()
    names = {path.name for path in amazon_linux.shared_libraries(folder)}  # wheels give theirs names of their own, with a hash
    return list(amazon_linux.link_troubles(folder, others="the bundle", loaded=names - {OPENMP}))


def _compile(folder: Path, interpreter: target.Interpreter) -> None:
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


def _drop_sources(path: Path) -> None:
    """Put byte-code in the place of sources, in a package or of a module."""
    for source in sorted(path.rglob("*.py")) if path.is_dir() else [path] if path.suffix == ".py" else []:
        compiled = next((source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc"), None)
        if compiled:
            compiled.replace(source.with_suffix(".pyc"))
            source.unlink()
    for cache in [path.parent / "__pycache__", *path.rglob("__pycache__")]:
        if cache.is_dir() and not any(cache.iterdir()):
            cache.rmdir()


def _modules(folder: Path) -> Iterator[str]:
    """Yield the top-level modules: folders with code, and files of it."""
    for path in folder.iterdir():
        if path.is_file() and path.suffix in {".py", ".pyc", ".so", ".pyd"}:
            yield path.name.partition(".")[0]
        elif path.is_dir() and path.name.isidentifier() and path.name not in {LIB, "__pycache__"}:
            yield path.name
