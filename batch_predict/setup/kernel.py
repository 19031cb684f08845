"""Compiles the prediction function's kernel: for Lambda's processors by the pinned ziglang, and for this machine.

Lambda's libraries are built on any host: ziglang is a C compiler in a wheel, with the headers and the symbols of each glibc.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from . import target
from .target import ARCHITECTURES, NEWEST_GLIBC, ROOT, PackageError

logger = logging.getLogger(__name__)

FOLDER = ROOT / "functions/predict"
"""All C files in it are the kernel."""
LOCK = ROOT / "requirements-kernel.lock"
CACHE = target.build_folder() / "kernel"
LIBRARY = "libpredict_kernel.so"
"""Its name beside the handler (functions/predict/predict_kernel.py)."""
FLAGS = ("-std=c11", "-O3", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-ffp-contract=off", "-fPIC")
COMPILE_SECONDS = 300


def sources() -> list[Path]:
    """Return the C files."""
    return sorted(FOLDER.glob("*.c"))


def lambda_kernel(architecture: str, cache: Path = CACHE) -> bytes:
    """Return the library for one of Lambda's processors, which is compiled if sources, flags and compiler are new.

    Raises PackageError if ziglang cannot be had, or does not take the sources.
    """
    path = _lambda_library(architecture, cache)
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".") as folder:
            zig = _install_zig(Path(folder) / "zig")
            for name, machine in ARCHITECTURES.items():  # both: the compiler takes 400 MB, and is not kept
                built_for = ("-target", f"{machine}-linux-gnu.2.{NEWEST_GLIBC}", "-s")
                caches = {f"ZIG_{kind}_CACHE_DIR": str(Path(folder) / "cache") for kind in ("GLOBAL", "LOCAL")}
                _compile([*zig, *built_for], _lambda_library(name, cache), caches)
    return path.read_bytes()


def local_kernel(cache: Path = CACHE) -> Path | None:
    """Return the library for this machine, compiled once; None, which the log says, if it cannot be compiled here."""
    try:
        architecture = target.host_architecture()
        packaged = _lambda_library(architecture, cache) if architecture else None
        if packaged and packaged.is_file() and platform.libc_ver()[0] == "glibc":
            return packaged
        compiler = _local_compiler()
        if compiler is None:
            logger.info(
                "no C compiler here (cc, or the package ziglang): scikit-learn scores trees and pyarrow reads numbers, more slowly"
            )
            return None
        path = cache / f"{sys.platform}-{platform.machine()}-{_key(*compiler)}.so"
        if not path.is_file():
            cache.mkdir(parents=True, exist_ok=True)
            _compile(compiler, path)
    except (OSError, PackageError) as error:
        logger.info("the kernel cannot be compiled: scikit-learn scores trees and pyarrow reads numbers, more slowly: %s", error)
        return None
    return path


def _lambda_library(architecture: str, cache: Path) -> Path:
    return cache / f"{architecture}-{_key(hashlib.sha256(LOCK.read_bytes()).hexdigest())}.so"


def _key(*parts: str) -> str:
    contents = [*(source.read_bytes() for source in sources()), Path(__file__).read_bytes(), *(part.encode() for part in parts)]
    return hashlib.sha256(b"\0".join(contents)).hexdigest()[:16]


def _local_compiler() -> list[str] | None:
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    found = shutil.which("cc")
    return [found] if found else None


def _install_zig(folder: Path) -> list[str]:
    """Install the pinned compiler into a folder, and return the command that starts it."""
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--require-hashes"),
        *("--no-deps", "--only-binary=:all:", "--target", str(folder), "-r", str(LOCK)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PackageError(f"pip could not get the compiler that {LOCK.name} names:\n{done.stderr.strip()}")
    return [str(folder / "ziglang/zig"), "cc"]


def _compile(compiler: list[str], path: Path, environment: dict[str, str] | None = None) -> None:
    """Compile the sources into a file that is there when it is whole."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        partial = Path(folder) / path.name
        command = [*compiler, *FLAGS, "-shared", *map(str, sources()), "-lm", "-o", str(partial)]
        try:
            done = subprocess.run(
                command,
                env={**os.environ, **(environment or {})},
                capture_output=True,
                text=True,
                check=False,
                timeout=COMPILE_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise PackageError(f"{compiler[0]} took more than {COMPILE_SECONDS} s for the kernel") from error
        if done.returncode:
            raise PackageError(f"{compiler[0]} could not compile the kernel:\n{done.stderr.strip()}")
        partial.replace(path)
