"""Gets wheels by pip, under the user's own configuration of it, and tells what pip could not do in the words of a bundle."""

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from batch_predict.bundle.libraries import normalized
from batch_predict.bundle.plan import BundleError
from batch_predict.bundle.platforms import Platform

_AS_IF_THERE = """\
import json, runpy, sys
from pip._vendor.packaging import markers
there = json.loads(sys.argv.pop(1))
if there:
    markers.default_environment = lambda: dict(there)
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
"""pip judges markers by the Python that runs it, whatever --python-version says: https://github.com/pypa/pip/issues/11664"""

_NO_NETWORK = re.compile(
    r"NewConnectionError|Temporary failure in name resolution|Name or service not known|Connection refused|ProxyError"
    r"|ConnectTimeoutError|ReadTimeoutError|Network is unreachable|ConnectionResetError|SSLError|ConnectionError"
)
_NO_VERSION = re.compile(r"satisfies the requirement ([A-Za-z0-9][\w.-]*)(.*?) \(from versions: (.*?)\)")
_UNSTABLE = re.compile(r"\d(?:a|b|rc|\.?dev)\d*")


class NoVersionError(Exception):
    """No index has a wheel of a distribution in the version that is wanted, for the platform."""

    def __init__(self, name: str, wanted: str, versions: list[str]) -> None:
        super().__init__(f"{name}{wanted}")
        self.name, self.wanted, self.versions = name, wanted, versions
        """`versions` are those with a wheel, oldest first."""


class ConflictError(Exception):
    """Requirements contradict each other; `constraints` are the names of the constraints that pip blames."""

    def __init__(self, message: str, constraints: list[str]) -> None:
        super().__init__(message)
        self.constraints = constraints


def require_pip() -> None:
    """Raise BundleError if this Python has no pip."""
    if importlib.util.find_spec("pip") is None:
        raise BundleError(
            f"{sys.executable} has no pip, which gets a bundle's libraries: "
            "install it there (python -m ensurepip, or uv pip install pip)"
        )


def download(
    requirements: Sequence[str],
    folder: Path,
    platform: Platform,
    *,
    constraints: Iterable[str] = (),
    with_needs: bool = False,
    find_links: Path | None = None,
) -> list[Path]:
    """Download wheels into a new folder, and return them: of the requirements, and ``with_needs`` of what they need.

    Raises NoVersionError, ConflictError, and BundleError for what another version would not change.
    """
    options = [*([] if with_needs else ["--no-deps"]), *([f"--find-links={find_links}"] if find_links else [])]
    if platform.target is not None:
        options += ["--implementation=cp", f"--python-version={platform.python_version}"]
        options += [f"--platform={tag}" for tag in platform.target.platforms]
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        wanted, constrained = Path(scratch, "requirements.txt"), Path(scratch, "constraints.txt")
        wanted.write_text("\n".join(requirements))
        constrained.write_text("\n".join(constraints))
        words = ["--only-binary=:all:", "--dest", str(folder), "-r", str(wanted), "-c", str(constrained), *options]
        _run(["download", *words], platform)
    return sorted(folder.glob("*.whl"))


def build(requirement: str, folder: Path, platform: Platform) -> Path | None:
    """Build a wheel from the sources of an index, and return it; None if there are none, or they need a compiler's work.

    This runs the code of these sources, as their installation does.
    """
    folder.mkdir(parents=True)
    name = re.split(r"[=<>!~;\[ ]", requirement)[0]
    words = ["--no-deps", f"--no-binary={name}", "--wheel-dir", str(folder), requirement]
    try:
        _run(["wheel", *words], platform._replace(target=None))
    except (NoVersionError, ConflictError, _BuildError):
        return None
    return next(iter(folder.glob("*-none-any.whl")), None)


def versions_with_wheel(name: str, platform: Platform) -> list[str]:
    """Return the versions of a distribution that have a wheel for a platform, oldest first."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            download([f"{name}<0.0.0.dev0"], Path(scratch, "none"), platform)
        except NoVersionError as none:
            return none.versions
    return []


class _BuildError(Exception):
    """Sources did not become a wheel."""


def _run(words: list[str], platform: Platform) -> None:
    pip = [sys.executable, "-c", _AS_IF_THERE, json.dumps(platform.markers)]
    command = [*pip, words[0], "--disable-pip-version-check", "--no-input", "--progress-bar=off", *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # pip, by its options
    if done.returncode:
        _raise(done.stdout + done.stderr, platform)  # reasons are in what it tells with less weight


def _raise(told: str, platform: Platform) -> None:
    """Raise what pip's words mean."""
    if none := _NO_VERSION.search(told):
        versions = [] if none[3] == "none" else [one for one in none[3].split(", ") if not _UNSTABLE.search(one)]
        if _NO_NETWORK.search(told):
            raise BundleError(
                f"pip does not reach its package index ({_last_reason(told)}), so it cannot get {none[1]} for {platform.name}: "
                "connect this machine, or set an index that it reaches (pip config, PIP_INDEX_URL)"
            )
        raise NoVersionError(normalized(none[1]), none[2].strip(), versions)
    if "conflicting dependencies" in told or "ResolutionImpossible" in told:
        lines = [line.strip() for line in told.splitlines() if re.match(r"\s+\S", line)]
        blamed = re.findall(r"\(constraint\) ([A-Za-z0-9][\w.-]*)", told)
        raise ConflictError("; ".join(lines[:6]), [normalized(name) for name in blamed])
    errors = [line.removeprefix("ERROR:").strip() for line in told.splitlines() if line.startswith("ERROR:")]
    reason = (errors or told.strip().splitlines() or ["it said nothing"])[0]
    if re.search(r"Failed to build|subprocess-exited-with-error|metadata-generation-failed|Failed building", told):
        raise _BuildError(reason)
    if invalid := re.search(r"Invalid requirement: '?([^'\n(]+)", told):
        raise BundleError(f"{invalid[1].strip()!r} is no requirement as pip reads them: write it as name==1.2.3")
    if _NO_NETWORK.search(told):
        raise BundleError(
            f"pip lost its package index ({_last_reason(told)}): try again, or set an index that this machine reaches (pip config)"
        )
    raise BundleError(f"pip could not get the libraries for {platform.name} ({reason}): correct what it names, and try again")


def _last_reason(told: str) -> str:
    return str(_NO_NETWORK.findall(told)[-1])
