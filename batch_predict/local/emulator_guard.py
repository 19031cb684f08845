"""Runs one command on behalf of an owner, and ends it with everything it started as soon as the owner is gone.

`local_aws` starts this script in a session of its own, with a pipe as standard input that nobody writes to: the kernel closes it
however the owner ends, also by `kill -9`.
"""

import os
import select
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress

POLL_SECONDS = 0.2  # how soon the end of the command itself is seen; the end of the owner is seen at once
GRACE_SECONDS = 3.0  # between SIGTERM and SIGKILL; the emulator takes about 0.3


def main(command: list[str]) -> None:
    """Run ``command`` in a temporary directory until it or standard input ends, then end the whole process group."""
    # A handler and not SIG_IGN, which the command would inherit: the SIGTERM sent below reaches this process too.
    signal.signal(signal.SIGTERM, lambda *_: None)
    with tempfile.TemporaryDirectory(prefix="batch-predict-", ignore_cleanup_errors=True) as directory:
        process = subprocess.Popen(  # noqa: S603 - the owner's own command
            command, cwd=directory, env={**os.environ, "TMPDIR": directory}, stdin=subprocess.DEVNULL
        )
        while process.poll() is None and not select.select([sys.stdin], [], [], POLL_SECONDS)[0]:
            pass
        os.killpg(0, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
        process.kill()
        process.wait()
    os.killpg(0, signal.SIGKILL)  # whoever ignored SIGTERM, and this process


if __name__ == "__main__":
    main(sys.argv[1:])
