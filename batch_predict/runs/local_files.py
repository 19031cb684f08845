"""The local files that a request names: files, folders, globs, and which of the files in a folder are data."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from batch_predict import deployed
from batch_predict.figures import plural
from batch_predict.visible_text import visible

if TYPE_CHECKING:
    import pyarrow as pa

S3_SCHEME = "s3://"
NAMED_SKIPPED = 3
"""How many skipped files of each kind are named."""

Skipped = Mapping[str, Sequence[Path]]
"""Files of folders that are no data, by what they are: `hidden`, `not CSV` (or another format), `empty`, `linked folder`.

Their paths begin with the folder's name."""


@dataclass
class Found:
    """What a field of the request names."""

    files: list[Path | str] = field(default_factory=list)
    """Local files, and S3 URIs as they are."""
    problems: list[str] = field(default_factory=list)
    skipped: dict[str, list[Path]] = field(default_factory=dict)


def find_files(
    noun: str, values: Sequence[object], *, takes_s3: bool, may_lack_rows: bool = False, input_format: object = None
) -> Found:
    """Return what the ``values`` of a field name; ``noun`` is `model` or `data`. What is no name at all is left to the schema.

    Of a folder, which holds other files, too, the files of ``input_format`` are data, by their names; by default those of the first
    of `data_names.FORMATS` that it holds.
    """
    found = Found()
    if not are_names(values):
        return found
    for value in map(str, values):
        path = Path(value)
        if value.startswith(S3_SCHEME):
            if takes_s3:
                found.files.append(value)
            else:
                found.problems.append(f"{noun} {value} is not on this machine, and the local AWS starts empty: give a local path")
        elif noun == "data" and (below := _files_below(path, input_format)):
            found.files += below.data
            found.problems += below.problems
            for kind, paths in below.skipped.items():
                found.skipped.setdefault(kind, []).extend(paths)
            if not (below.data or below.problems or may_lack_rows):
                sentence = skipped_files(below.skipped)
                found.problems.append(f"data {below.named}{f' ({sentence})' if sentence else ''}")
        elif noun == "data" and value.endswith(deployed.inputs.MANIFEST_SUFFIX):
            found.problems.append(f"data file {value} is a manifest of objects in S3: name the files or their directory")
        elif problem := unreadable(path):
            found.problems.append(f"{noun} file {value} {problem}")
        else:
            found.files.append(path)
    return found


def are_names(values: Sequence[object]) -> bool:
    """Whether the values are texts that name something."""
    return bool(values) and all(isinstance(value, str) and value for value in values)


def unreadable(path: Path) -> str | None:
    """Say why a path is no file that can be read; None if it is one."""
    if not path.exists():
        return "does not exist"
    if not path.is_file():
        return _folder_kind(path) if path.is_dir() else "is not a regular file"
    return None if os.access(path, os.R_OK) else "may not be read: check its permissions"


def _folder_kind(path: Path) -> str:
    """Say that a path is a folder, and which kind if it is one that other tools save a model as."""
    if (path / "MLmodel").is_file():
        return "is a directory, the folder of an MLflow model: make a bundle of it with batch-predict bundle, and give that"
    if (path / "saved_model.pb").is_file():
        return "is a directory, a SavedModel of TensorFlow: dump a fitted scikit-learn estimator with joblib.dump"
    return "is a directory"


def _files_below(path: Path, input_format: object) -> "_FolderFiles | None":
    """Return the files that a folder, or its marker as in S3, or a glob names; None if a path is neither."""
    if path.is_dir():
        return _FolderFiles(path, input_format)
    if path.name == deployed.inputs.MARKER and path.parent.is_dir():
        return _FolderFiles(path.parent, input_format)
    # A path that does not exist is a glob by the same characters as in data_s3_uri, but in any part.
    wild = next((index for index, part in enumerate(path.parts) if deployed.data_names.WILDCARDS.search(part)), None)
    return None if wild is None or path.exists() else _FolderFiles(Path(*path.parts[:wild]), input_format, path.parts[wild:])


class _FolderFiles:
    """The files below a folder whose names end as a table's do; or those that match a glob, or are in folders that match it."""

    def __init__(self, folder: Path, input_format: object, glob: Sequence[str] = ()) -> None:
        self.problems: list[str] = []
        self.skipped: dict[str, list[Path]] = {}
        self._folder = folder
        found = sorted(self._walk(), key=lambda path: (deployed.data_names.natural_order(self._below(path)), self._below(path)))
        self._names_files = False
        if glob:
            parts = [part if part == "**" else re.sub(r"\*+", "*", part) for part in glob]
            matches = set(folder.glob("/".join([*parts, "*"] if parts[-1] == "**" else parts)))
            matching = [path for path in found if path in matches]
            self._names_files = bool(matching)
            found = matching or [path for path in found if not matches.isdisjoint(path.parents)]
        self._names_hidden_ones = bool(glob) and glob[-1][0] in "_."
        formats = deployed.data_names.FORMATS
        present = {_format_of(path) for path in found if not self._is_hidden(path)}
        self._format = input_format if input_format in formats else next((name for name in formats if name in present), None)
        self._table = formats[str(self._format)] if self._format else "CSV, JSON Lines or Parquet"
        self.named = (
            f"glob {folder.joinpath(*glob)} matches no files" if glob else f"directory {folder} holds no {self._table} files"
        )
        self.data: list[Path] = [path for path in found if self._is_data(path)]

    def _walk(self) -> Iterator[Path]:
        def refused(error: OSError) -> None:
            why = "does not exist" if isinstance(error, FileNotFoundError) else "may not be read: check its permissions"
            self.problems.append(f"data directory {error.filename} {why}")

        # Links to folders are not followed: they may lead round, or to what is there already.
        for root, folders, names in os.walk(self._folder, onerror=refused):
            self._skip("linked folder", [path for path in (Path(root, name) for name in sorted(folders)) if path.is_symlink()])
            yield from (Path(root, name) for name in names)

    def _below(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def _is_hidden(self, path: Path) -> bool:
        return deployed.data_names.is_hidden(self._below(path)) and not (self._names_files and self._names_hidden_ones)

    def _is_data(self, path: Path) -> bool:
        if self._is_hidden(path):
            self._skip("hidden", [path])
        elif not (self._names_files or (self._format and _format_of(path) == self._format)):
            self._skip(f"not {self._table}", [path])
        elif problem := unreadable(path):
            self.problems.append(f"data file {path} {problem}")
        elif path.stat().st_size == 0:
            self._skip("empty", [path])
        else:
            return True
        return False

    def _skip(self, kind: str, paths: Sequence[Path]) -> None:
        if paths:
            self.skipped.setdefault(kind, []).extend(path.relative_to(self._folder.parent) for path in paths)


def _format_of(path: Path) -> str | None:
    """Return the format that a file's name promises."""
    format_name: str | None = deployed.data_names.promise_of(path.name).format
    return format_name


def skipped_files(skipped: Skipped) -> str:
    """Say how many files of folders are no data, and which; nothing if there are none."""
    number = sum(map(len, skipped.values()))
    kinds = []
    for kind, paths in skipped.items():
        more = ", …" if len(paths) > NAMED_SKIPPED else ""
        kinds.append(f"{len(paths):,} {kind} ({', '.join(map(visible, paths[:NAMED_SKIPPED]))}{more})")
    return f"{plural(number, 'file')} skipped: {', '.join(kinds)}" if number else ""


def compression_in(path: Path) -> str | None:
    """Return how a file is compressed, whatever it is called."""
    with path.open("rb") as file:
        return deployed.header_mistakes.compression_of(file.read(deployed.header_mistakes.COMPRESSION_MAGIC_BYTES))


def open_text(path: Path) -> "pa.NativeFile":
    """Open a file, or the text that is compressed in it."""
    import pyarrow as pa  # noqa: PLC0415  # takes long to import

    return pa.input_stream(str(path), compression=compression_in(path))
