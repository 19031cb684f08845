"""Does what the event says, to see what the emulator makes of it."""

import os
import signal
import time

import boto3

invocations = 0


def lambda_handler(event, context):
    global invocations  # noqa: PLW0603 - tells a warm environment from a new one
    invocations += 1
    if event.get("ignore_sigterm"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(event.get("sleep", 0))
    if "raise" in event:
        raise type(event["raise"], (RuntimeError,), {})(event.get("message", ""))
    if "read" in event:
        return boto3.client("s3").get_object(**event["read"])["Body"].read().decode()
    return {
        "invocations": invocations,
        "function": os.getpid(),
        "emulator": os.getppid(),
        "guard": os.getpgid(0),
        "environment": dict(os.environ),
    }
