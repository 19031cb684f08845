"""The largest resident set of this process."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """Largest resident set of this process so far."""
    if _STATUS.exists():  # ru_maxrss would count the parent's memory, which Linux carries over an exec
        return int(_STATUS.read_text().partition("VmHWM:")[2].split(maxsplit=1)[0]) * 1024
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage if sys.platform == "darwin" else usage * 1024


def forget_peak() -> None:
    """Let the peak begin anew from what is resident now, where the system can."""
    if _STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")  # https://docs.kernel.org/filesystems/proc.html
