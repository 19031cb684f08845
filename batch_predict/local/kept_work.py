"""What a local run's embedded AWS leaves on disk: what is kept, for how long, and how the next run gets it.

The emulator keeps each object as a file below `aws/objects`, replaced as a whole whenever it is written, with a file of metadata
beside it. So two runs may share a file by a hard link: it takes no space twice, and neither changes what the other has.
"""

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

METADATA_SUFFIX = ".meta.json"
ENCODED_KEYS = ".ministack-keys"
"""The emulator's folder for keys that cannot be paths."""
COPIES = ("models/", "data/", ".deploy/")
"""Keys of copies of what is on this machine: a run that is over does not need them."""
RECEIPT = re.compile(r"\.work/.*/chunk-\d+\.json$")
PART = re.compile(r"\.work/.*/chunk-\d+\.csv(\.rejected\.csv)?(\.tmp)?$")
"""Keys of the large objects of work; what is small tells how the run ended, and stays."""
ERROR_RECORD = re.compile(r"\.work/.*/chunk-\d+\.error\.json$")


def delete_copies(objects: Path) -> None:
    """Delete the copies of model, data and functions."""
    _delete(objects, lambda key: key.startswith(COPIES))


def delete_parts(objects: Path) -> None:
    """Delete the chunks' parts: what remains no longer helps another run, but explains this one."""
    _delete(objects, lambda key: bool(PART.search(key)))


def delete_error_records(objects: Path) -> None:
    """Delete the records of lost chunks: the next execution of this name writes its own."""
    _delete(objects, lambda key: bool(ERROR_RECORD.search(key)))


def delete_object(objects: Path, key: str) -> None:
    """Delete one object."""
    _delete(objects, lambda found: found == key)


def finished_chunks(objects: Path) -> int:
    """Return how many chunks have a receipt, of the plan that came furthest."""
    return max(Counter(key.rpartition("/")[0] for key, _ in _files(objects) if RECEIPT.search(key)).values(), default=0)


def share(source: Path, target: Path) -> None:
    """Give another run all objects, without copying their bytes if the file system can link them."""
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link, ignore=shutil.ignore_patterns("*.tmp"))


def _link(source: str, target: str) -> None:
    with suppress(FileNotFoundError):  # deleted meanwhile
        try:
            os.link(source, target)
        except OSError:  # no hard links there
            shutil.copy2(source, target)


def _delete(objects: Path, is_meant: Callable[[str], bool]) -> None:
    for key, path in list(_files(objects)):
        if is_meant(key):
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}{METADATA_SUFFIX}").unlink(missing_ok=True)


def _files(objects: Path) -> Iterator[tuple[str, Path]]:
    """Yield the key and the file of each object: `objects/<account>/<bucket>/<key>`."""
    for path in objects.rglob("*"):
        if path.name.endswith(METADATA_SUFFIX) or not path.is_file():
            continue
        key = path.relative_to(objects).parts[2:]
        if key and key[0] == ENCODED_KEYS:
            yield _encoded_key(path), path
        else:
            yield "/".join(key), path


def _encoded_key(path: Path) -> str:
    try:
        return str(json.loads(path.with_name(f"{path.name}{METADATA_SUFFIX}").read_text())["key"])
    except (OSError, ValueError, KeyError):
        return unquote(path.name)
