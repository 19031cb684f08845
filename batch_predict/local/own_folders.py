"""Tell the folders of runs that this user has made from all others, which are not opened.

Opening a run starts the functions that its folder holds: whoever wrote it runs code as the user. A downloaded project may bring
such folders, which then belong to the user. So each bears a mark that only this user can make, by a key that is kept elsewhere.
"""

import hmac
import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

FOLDER_MODE = 0o700
FILE_MODE = 0o600
KEY_BYTES = 32


def mark_of(name: str, about: Mapping[str, Any]) -> str | None:
    """Return the mark of the run of this name that was made as `run.json` says; None if this user cannot keep a key."""
    key = _key()
    return hmac.digest(key, f"{name}\0{about.get('created')}".encode(), "sha256").hex() if key else None


def why_foreign(path: Path, about: Mapping[str, Any]) -> str | None:
    """Return why a run's folder is not to be opened; None if this user made it, and nobody else can write into it."""
    if reason := why_not_ours(path):
        return reason
    mark, given = mark_of(path.name, about), about.get("mark")
    if mark is None:
        place = f"{_key_file()} cannot be written or read; set XDG_STATE_HOME to a folder of yours"
        return f"the key that tells your own runs is missing: {place}"
    if not isinstance(given, str) or not hmac.compare_digest(mark.encode(), given.encode(errors="replace")):
        return "you have not made it on this machine, and opening it would run what is in it"
    return None


def why_not_ours(path: Path) -> str | None:
    """Return why a folder may hold what others have written; None if it is this user's own folder."""
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return "it is not a folder"
    if status.st_uid != os.geteuid():
        return "it belongs to another user"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"other users may write into it: chmod {FOLDER_MODE:o} {path}, if none has"
    return None


def _key_file() -> Path:
    state = os.environ.get("XDG_STATE_HOME")  # https://specifications.freedesktop.org/basedir-spec/latest/
    return (Path(state) if state else Path("~/.local/state").expanduser()) / "batch-predict" / "key"


def _key() -> bytes | None:
    """Return this user's key, which is made once; None if it can be neither read nor written."""
    with suppress(OSError, RuntimeError):  # the latter if the user has no home
        path = _key_file()
        if not path.exists():
            path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            _write_new(path, secrets.token_bytes(KEY_BYTES))
        key = path.read_bytes()
        return key if len(key) == KEY_BYTES else None
    return None


def _write_new(path: Path, content: bytes) -> None:
    """Write a whole file, unless another process has written it already."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    write_private(temporary, content)
    try:
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()


def write_private(path: Path, content: bytes) -> None:
    """Write a file anew that only this user may read."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "wb") as file:  # noqa: PTH123 - it has a descriptor
        file.write(content)
