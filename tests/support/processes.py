"""Processes, as psutil shows them: what an embedded AWS runs, and what is left of it."""

from contextlib import suppress
from urllib.parse import urlsplit

import psutil


def is_alive(pid):
    """Whether a process is there and not merely waiting for its parent to notice its end."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def descendants(pid):
    """Ids of the processes that a process has started, and those that these have."""
    return [process.pid for process in psutil.Process(pid).children(recursive=True)]


def functions_of(aws):
    """Processes of an emulator's functions: what inherited its port and has a function's name."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it may end meanwhile, or be somebody else's
            environment = process.environ()
            if (
                environment.get("GATEWAY_PORT") == str(urlsplit(aws.endpoint_url).port)
                and "AWS_LAMBDA_FUNCTION_NAME" in environment
            ):
                found.append(process)
    return found
