"""Lists the files of modules and packages of one's own, as they lie in a bundle's code.zip."""

from collections.abc import Iterable
from pathlib import Path

_NOT_CODE = frozenset({"__pycache__", ".git", ".ipynb_checkpoints"})


def files_of(paths: Iterable[Path]) -> dict[str, Path]:
    """Return files by their paths in code.zip: a module, a package with what is in it, or all that lies in another folder."""
    found: dict[str, Path] = {}
    for path in paths:
        if path.is_file():
            found[path.name] = path
        else:
            found |= files_in(path, path.resolve().parent if (path / "__init__.py").is_file() else path.resolve())
    return found


def files_in(folder: Path, root: Path) -> dict[str, Path]:
    """Return all files in a folder, by their paths from a root above or at it."""
    files = (file for file in sorted(folder.resolve().rglob("*")) if file.is_file())
    inside = {file.relative_to(root): file for file in files}
    return {name.as_posix(): file for name, file in inside.items() if not _NOT_CODE & set(name.parts) and file.suffix != ".pyc"}
