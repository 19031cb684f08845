"""The processes of an embedded AWS, as Linux shows them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit


class Process(NamedTuple):
    """A process of the emulator's."""

    pid: int
    environment: dict[str, str]

    @property
    def function(self):
        """Name of the function that it runs; "" for the emulator itself."""
        return self.environment.get("AWS_LAMBDA_FUNCTION_NAME", "")

    def open_files(self):
        """Return the paths of its open files."""
        paths = []
        with suppress(OSError):  # it may end meanwhile
            for link in Path(f"/proc/{self.pid}/fd").iterdir():
                with suppress(OSError):
                    paths.append(str(link.readlink()))
        return paths


def processes_of(aws):
    """Yield the emulator and its functions: what inherited its port."""
    port = str(urlsplit(aws.endpoint_url).port)
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            pairs = (directory / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # ended meanwhile, or somebody else's
        environment = dict(pair.decode(errors="replace").partition("=")[::2] for pair in pairs if b"=" in pair)
        if environment.get("GATEWAY_PORT") == port:
            yield Process(int(directory.name), environment)


def temporary_files(aws):
    """Return what the functions have in their temporary directories at this moment, beside their own code."""
    directories = {process.environment["TMPDIR"] for process in processes_of(aws) if process.function}
    assert directories, "no function runs: nothing to look at"
    return sorted(
        path.name
        for directory in directories
        for path in Path(directory).iterdir()
        if path.name != "state" and not path.name.startswith("ministack-")
    )
