"""Blocks of the pages in docs/, run as a reader would run them."""

import os
import re
import subprocess
import sys
import sysconfig

SECONDS = 120
COMMANDS = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}
READERS = {**os.environ, "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"}
"""An environment in which `batch-predict` is the tests' own."""


def blocks(page, languages):
    """[(language, block)] of the page's blocks in some languages, which `|` separates."""
    return re.findall(rf"^```({languages})\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def run(language, block, directory, environment, seconds=SECONDS):
    """Run a block, which must succeed; return what it prints."""
    done = subprocess.run(
        [*COMMANDS[language], block], check=False, cwd=directory, env=environment, capture_output=True, text=True, timeout=seconds
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done
