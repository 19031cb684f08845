"""What Step Functions recorded of an execution."""

import json

FAILURES = (
    "lambdaFunctionFailedEventDetails",
    "lambdaFunctionTimedOutEventDetails",
    "taskFailedEventDetails",
    "taskTimedOutEventDetails",
)


def child_histories(aws, execution):
    """The histories of the Map's children, by chunk index."""
    states = aws.client("stepfunctions")
    histories = {}
    for run in states.list_map_runs(executionArn=execution["executionArn"])["mapRuns"]:
        for child in states.list_executions(mapRunArn=run["mapRunArn"])["executions"]:
            described = states.describe_execution(executionArn=child["executionArn"])
            histories[json.loads(described["input"])["event"]["chunk_index"]] = history(aws, child)
    return histories


def failures(events):
    """Error names of failed attempts, in order."""
    return [event[kind]["error"] for event in events for kind in FAILURES if kind in event]


def states_entered(aws, execution):
    """Names of the states of the parent execution, in order."""
    events = history(aws, execution)
    return [event["stateEnteredEventDetails"]["name"] for event in events if event["type"].endswith("StateEntered")]


def history(aws, execution):
    pages = aws.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=execution["executionArn"])
    return [event for page in pages for event in page["events"]]


def attempts(events):
    """Error names of failed attempts by the function's resource, in order: the emulator does not write down a child's states."""
    failed = {}
    for event in events:
        for error in failures([event]):
            kind = next(kind for kind in FAILURES if kind in event)
            failed.setdefault(event[kind]["resource"], []).append(error)
    return failed
