"""Processes of this Python that have a bundle's libraries before this environment's, and what they answer."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from batch_predict.local.deployed_package import VARIABLE, DeployedPackage

SECONDS = 900
"""More than loading any model and predicting 1,000 rows takes."""


def answer_here(
    module: str, arguments: Sequence[str] = (), *, package: DeployedPackage, bundle: Any = None, question: str = ""
) -> dict[str, Any]:
    """Run a module of ours in a process of its own, with a bundle's folders before all others, and return its answer."""
    has = json.loads(package.environment[VARIABLE])
    if bundle:
        has["modules"] += bundle.modules()
        has["python"] = f"{sys.version_info.major}.{sys.version_info.minor}"  # which the bundle is for
    # -P: whatever lies in the current folder is no library.
    command = [sys.executable, "-P", "-m", module, *arguments]
    search = [*(bundle.path if bundle else ()), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, VARIABLE: json.dumps(has), **({"PYTHONPATH": os.pathsep.join(search)} if search else {})}
    return answer_of(command, environment, question)


def answer_of(command: Sequence[str], environment: Mapping[str, str], question: str = "") -> dict[str, Any]:
    """Run a process that prints one JSON object last; return it, or `error`, and `ended` if it ended without one."""
    try:
        done = subprocess.run(  # noqa: S603  # this Python, or one that the user has named
            command, env=environment, input=question, capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return {"error": f"its process did not end within {SECONDS} s"}
    except OSError as error:
        return {"error": f"{command[0]} cannot be run: {error.strerror}"}
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])  # the model's own code may print, too
    except (IndexError, ValueError):
        reason = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        return {"error": f"its process ended: {reason[0]}", "ended": reason[0]}
    return found
