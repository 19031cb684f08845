"""Deployed in the place of a function: fails as the request's prediction column orders, else does what the real one does.

An order is `fail at <state> with <error name>`; the name may also be `kill -9` or `no end`.
"""

import importlib
import json
import os
import re
import signal
import time

PACKAGE, _, MODULE = os.environ["_HANDLER"].removesuffix(".lambda_handler").rpartition(".")
STATES = {
    "validate_request": "Validate Request",
    "plan_chunks": "Plan Chunks",
    "record_failure": "Record Failure",
    "merge_outputs": "Merge Outputs",
    "explain_failure": "Explain Failure",
}
REACHED_BY_A_LOST_CHUNK = ("Record Failure", "Explain Failure")
ORDER = re.compile(r'"fail at ([A-Z a-z]+) with ([^"]+)"')


def lambda_handler(event, context):
    state = STATES.get(MODULE) or ("Probe Model" if "probe_rows" in event else "Predict Chunk")
    order = ORDER.search(json.dumps(event))
    if order:
        failing, name = order.groups()
        if state == failing:
            fail(name)
        if state == "Predict Chunk" and failing in REACHED_BY_A_LOST_CHUNK:
            fail("InvalidDataError")
    return importlib.import_module(f"{PACKAGE}.real_{MODULE}".lstrip(".")).lambda_handler(event, context)


def fail(name):
    if name == "kill -9":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "no end":
        time.sleep(3600)
    # awslambdaric reports the class's name.
    raise type(name, (Exception,), {})("as ordered")
