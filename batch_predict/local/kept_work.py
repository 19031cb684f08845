"""What a local run's embedded AWS leaves on disk: what is kept, for how long, and how the next run gets it.

An object is a file below `aws/objects`, replaced as a whole when it is written, with metadata beside it. So runs may share files by
hard links, and neither changes what the other has.
"""

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

METADATA_SUFFIX = ".meta.json"
ENCODED_KEYS = ".ministack-keys"
"""The emulator's folder for keys that cannot be paths."""
COPIES = re.compile(r"(models|data|\.deploy)/")
"""Keys of copies of model, data and functions: a run that is over does not need them."""
RECEIPTS = re.compile(r".*\.work/.*/chunk-\d+\.json$")
PARTS = re.compile(r".*\.work/.*/chunk-\d+\.(?!(error\.|types\.|segments\.)?json$)[a-z.]+$")
"""Keys of the chunks' parts, the large objects of work: what remains no longer helps another run, but explains this one."""
ERROR_RECORDS = re.compile(r".*\.work/.*/chunk-\d+\.error\.json$")
"""Keys of the records of lost chunks: the next execution of this name writes its own."""


def delete(objects: Path, keys: re.Pattern[str]) -> None:
    """Delete the objects whose keys match a pattern."""
    for key, path in list(_files(objects)):
        if keys.match(key):
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}{METADATA_SUFFIX}").unlink(missing_ok=True)


def finished_chunks(objects: Path) -> int:
    """Return how many chunks have a receipt, of the plan that came furthest."""
    return max(Counter(key.rpartition("/")[0] for key, _ in _files(objects) if RECEIPTS.match(key)).values(), default=0)


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
