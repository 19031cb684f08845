"""Deployed in the place of a function: fails as the request's prediction column orders, else does what the real one does.

An order is `fail at <state> with <error name>`; the name may also be `kill -9` or `no end`. By `answer at <state> with <name>` the
state answers once by itself: with a `continuation`, with a `pending_key` of no object, or with the explanation of a merge that
fails once, in which `published` or `plan_exactly` is true.
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
RESULTS = {"Plan Chunks": "plan", "Merge Outputs": "output"}
REACHED_BY_A_LOST_CHUNK = ("Record Failure", "Explain Failure")
ANSWER = re.compile(r'"answer at ([A-Z a-z]+) with (\w+)"')
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
    answer = ANSWER.search(json.dumps(event))
    if answer:
        answering, name = answer.groups()
        if name == "continuation" and state == answering and name not in (event.pop(RESULTS[state], None) or {}):
            return {name: {}}
        if name == "pending_key" and state == answering:
            return real(event, context) | {name: "absent"}
        if answering == "Explain Failure" and state == "Merge Outputs" and "explanation" not in event:
            fail("InternalError")
        if answering == state == "Explain Failure":
            return {"error": "InternalError", "cause": "", "published": False, "plan_exactly": False, name: True}
    return real(event, context)


def real(event, context):
    return importlib.import_module(f"{PACKAGE}.real_{MODULE}".lstrip(".")).lambda_handler(event, context)


def fail(name):
    if name == "kill -9":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "no end":
        time.sleep(3600)
    # awslambdaric reports the class's name.
    raise type(name, (Exception,), {})("as ordered")
