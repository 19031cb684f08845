"""What Step Functions recorded of an execution."""

import json


def child_histories(aws, execution):
    """The histories of the Map's children, by chunk index."""
    states = aws.client("stepfunctions")
    histories = {}
    for run in states.list_map_runs(executionArn=execution["executionArn"])["mapRuns"]:
        for child in states.list_executions(mapRunArn=run["mapRunArn"])["executions"]:
            events = states.get_execution_history(executionArn=child["executionArn"], maxResults=1000)["events"]
            described = states.describe_execution(executionArn=child["executionArn"])
            histories[json.loads(described["input"])["event"]["chunk_index"]] = events
    return histories


def failures(events):
    """Error names of failed attempts, in order."""
    details = [event.get("lambdaFunctionFailedEventDetails") or event.get("taskFailedEventDetails") for event in events]
    return [detail["error"] for detail in details if detail]


def states_entered(aws, execution):
    """Names of the states of the parent execution, in order."""
    pages = aws.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=execution["executionArn"])
    events = [event for page in pages for event in page["events"]]
    return [event["stateEnteredEventDetails"]["name"] for event in events if event["type"].endswith("StateEntered")]
