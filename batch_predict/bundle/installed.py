"""Tells which version of a distribution is installed in another environment."""

import subprocess
from pathlib import Path

from batch_predict.bundle.plan import BundleError

_ASK = """
import importlib.metadata, sys
for name in sys.argv[1:]:
    try:
        print(importlib.metadata.version(name))
        break
    except importlib.metadata.PackageNotFoundError:
        pass
"""


def installed(python: Path | None, *names: str) -> str | None:
    """Return the version of the first of these distributions that an environment has; None without such an environment."""
    if python is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603  # the user's own Python
            [python, "-I", "-c", _ASK, *names], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BundleError(f"{python} does not run as Python 3.8 or newer: give the Python where the model was fitted") from error
    return done.stdout.strip() or None
