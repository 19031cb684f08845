"""Checks that shared libraries would load on Lambda: each must find what it needs in the package or in Amazon Linux 2023.

The files are read: loading them here would prove little, as a host has libraries that Lambda lacks (libgomp), and newer ones.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from . import elf
from .target import PackageError

_GLIBC: dict[str, tuple[int, ...]] = {"GLIBC": (2, 34)}
SYSTEM: dict[str, dict[str, tuple[int, ...]]] = {
    **dict.fromkeys(("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1"), _GLIBC),
    **dict.fromkeys(("ld-linux-aarch64.so.1", "ld-linux-x86-64.so.2"), _GLIBC),
    "libgcc_s.so.1": {"GCC": (11,)},
    "libstdc++.so.6": {"GLIBCXX": (3, 4, 29), "CXXABI": (1, 3, 13)},
    "libz.so.1": {"ZLIB": (1, 2, 11)},
}
"""What Lambda's image of Amazon Linux 2023 has, each with the newest version of its symbols: glibc 2.34 and GCC 11's libraries.
No libgomp: https://docs.aws.amazon.com/linux/al2023/ug/compare-with-al2.html"""
LIBRARY_FOLDERS = ("", "lib")
"""Folders of the package in LD_LIBRARY_PATH: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html"""


def shared_libraries(directory: Path) -> list[Path]:
    """Return the shared libraries in a folder."""
    return sorted(path for path in directory.rglob("*.so*") if path.is_file() and not path.is_symlink())


def check_links(package: Path, carried: Iterable[Path] = ()) -> None:
    """Raise PackageError if a library of the package, or of a folder that is unpacked elsewhere, would not load on Lambda."""
    for _, trouble in link_troubles(package, carried):
        raise PackageError(trouble)


def link_troubles(package: Path, carried: Iterable[Path] = (), *, others: str = "the package") -> Iterator[tuple[str, str]]:
    """Yield which library another one lacks, of the package or a folder that is unpacked elsewhere, and what to say of that."""
    trees = [package, *carried]
    parsed = {path: elf.needs(path.read_bytes()) for tree in trees for path in shared_libraries(tree)}
    for tree in trees:
        for path in shared_libraries(tree):
            needs = parsed[path]
            for name in needs.libraries:
                found = _find(name, path, needs.folders, tree, package)
                versions = needs.versions.get(name, [])
                if not (found or name in SYSTEM):
                    yield name, f"{path.name} needs {name}, which neither {others} nor Lambda's Amazon Linux 2023 has"
                    continue
                lacking = [
                    version
                    for version in versions
                    if not (version in parsed[found].own_versions if found else _has(SYSTEM[name], version))
                ]
                if lacking:
                    where = f"{others}'s" if found else "Amazon Linux 2023's"
                    yield name, f"{path.name} needs {', '.join(lacking)} of {name}, which {where} does not have"


def _find(name: str, path: Path, folders: list[str], tree: Path, package: Path) -> Path | None:
    """Return the file that the loader would take, if it comes with the package; others do not count."""
    places = [Path(os.path.normpath(folder.replace("$ORIGIN", str(path.parent)))) for folder in folders]
    own = [place for place in places if place.is_relative_to(tree)]
    candidates = (place / name for place in [*own, *(package / folder for folder in LIBRARY_FOLDERS)])
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _has(newest: dict[str, tuple[int, ...]], version: str) -> bool:
    kind, _, number = version.partition("_")
    try:
        return kind in newest and tuple(int(part) for part in number.split(".")) <= newest[kind]
    except ValueError:  # GLIBC_PRIVATE, GLIBC_ABI_DT_RELR: no version that a system is sure to have
        return False
