"""What watches the stack: alarms, dashboard, logs, notifications."""

import json
import re

import pytest
from state_names import FILES, resource_of

import prediction_handler
from workflow import invocation, lambda_limits, merge_outputs, plan_chunks

FUNCTIONS = sorted({resource_of(state) for state in FILES})
PAUSES = {"PlanChunksFunction": plan_chunks.HAND_OVER_SECONDS, "MergeOutputsFunction": merge_outputs.HAND_OVER_SECONDS}
OUR_METRICS = prediction_handler.METRIC_UNITS | invocation.UNITS


def resources_of(template, kind):
    return {name: resource for name, resource in template["Resources"].items() if resource["Type"] == kind}


@pytest.fixture(scope="module")
def alarms(template):
    return {name: resource["Properties"] for name, resource in resources_of(template, "AWS::CloudWatch::Alarm").items()}


def watched(alarms, metric):
    return {alarm["Dimensions"][0]["Value"]["Ref"]: alarm for alarm in alarms.values() if alarm["MetricName"] == metric}


def timeout_of(template, function):
    return template["Resources"][function]["Properties"].get("Timeout", template["Globals"]["Function"]["Timeout"])


def test_every_alarm_tells_somebody_what_to_do_and_is_quiet_without_data(alarms, template):
    for name, alarm in alarms.items():
        assert alarm["AlarmActions"] == [{"Ref": "Notifications"}], name
        assert alarm["TreatMissingData"] == "notBreaching", name
        assert alarm["AlarmDescription"].endswith("."), name
        assert alarm["ComparisonOperator"] == "GreaterThanThreshold", name
        for dimension in alarm["Dimensions"]:
            assert (dimension["Value"].get("Ref") or dimension["Value"]["Fn::GetAtt"][0]) in template["Resources"], name


def test_every_alarm_says_why(root, alarms):
    lines = (root / "template.yaml").read_text().splitlines()
    for name in alarms:
        assert any(line.startswith(f"  {name}: # ") for line in lines), name


def test_every_function_near_its_timeout_has_an_alarm(alarms, template):
    """The alarm is at 80 % of the time-out; for functions that hand over it is between their handing over and the time-out."""
    durations = watched(alarms, "Duration")
    assert set(durations) == set(FUNCTIONS)
    for function, alarm in durations.items():
        seconds, timeout = alarm["Threshold"] / 1000, timeout_of(template, function)
        assert alarm["Statistic"] == "Maximum"
        if function in PAUSES:
            assert timeout - PAUSES[function] < seconds < timeout, function
        else:
            assert seconds == 0.8 * timeout, function


@pytest.fixture(scope="module")
def dashboard(template):
    return template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]


def graphed(dashboard):
    """Yield (namespace, metric) of each row that names one; `.` repeats are not used."""
    for widget in json.loads(dashboard)["widgets"]:
        for row in widget["properties"]["metrics"]:
            if isinstance(row[0], str):
                yield row[0], row[1]


def test_the_dashboard_is_json_and_names_what_is_there(dashboard, template):
    names = set(re.findall(r"\$\{([A-Za-z]+)\}", dashboard))
    assert names <= template["Resources"].keys() | template["Parameters"].keys()
    widgets = json.loads(dashboard)["widgets"]
    boxes = {(widget["x"], widget["y"]) for widget in widgets}
    assert len(boxes) == len(widgets)
    assert all(widget["x"] + widget["width"] <= 24 for widget in widgets)


def test_the_dashboard_shows_every_metric_of_ours_and_no_other(dashboard):
    assert {metric for namespace, metric in graphed(dashboard) if namespace == invocation.NAMESPACE} == set(OUR_METRICS)


def test_the_dashboard_weighs_each_functions_time_with_its_memory(dashboard, template):
    """GB-seconds = ms * MB / (1000 * 1024)."""
    rows = [row for widget in json.loads(dashboard)["widgets"] for row in widget["properties"]["metrics"]]
    functions = {row[-1]["id"]: row[3] for row in rows if isinstance(row[-1], dict) and row[-1].get("id", "").startswith("d")}
    assert sorted(functions.values()) == sorted(f"${{{function}}}" for function in FUNCTIONS)
    weighed = {}
    for row in rows:
        if isinstance(row[0], dict) and "FILL" in row[0]["expression"]:
            duration, memory = re.fullmatch(r"FILL\((d\d), 0\) \* (\S+) / 1024000", row[0]["expression"]).groups()
            weighed[functions[duration][2:-1]] = memory
    expected = {}
    for function in FUNCTIONS:
        memory = template["Resources"][function]["Properties"].get("MemorySize", template["Globals"]["Function"]["MemorySize"])
        expected[function] = f"${{{memory['Ref']}}}" if isinstance(memory, dict) else str(memory)
    assert weighed == expected


def test_dead_letters_are_encrypted_and_kept_as_long_as_operations_says(root, template):
    queue = template["Resources"]["DeadLetters"]["Properties"]
    assert queue["SqsManagedSseEnabled"] is True
    assert f"for {queue['MessageRetentionPeriod'] // (24 * 3600)} days in the queue" in (root / "docs/operations.md").read_text()


def test_operations_lists_every_metric_and_alarm(root, alarms):
    text = (root / "docs/operations.md").read_text()
    for name in [*OUR_METRICS, *alarms]:
        assert f"`{name}`" in text, name


def test_the_lifecycle_of_a_bucket_of_ones_own_is_that_of_the_stacks(root, template):
    rules = {rule["ID"]: rule for rule in json.loads((root / "docs/output-bucket-lifecycle.json").read_text())["Rules"]}
    made = {
        rule["Id"]: rule for rule in template["Resources"]["OutputBucketResource"]["Properties"]["LifecycleConfiguration"]["Rules"]
    }
    assert rules.keys() == made.keys() - {"ExpireOldVersions"}  # of a bucket with versions
    (tag,) = made["ExpireWork"]["TagFilters"]
    assert rules["ExpireWork"]["Filter"] == {"Tag": tag}
    assert rules["ExpireWork"]["Expiration"] == {"Days": template["Parameters"]["WorkExpirationDays"]["Default"]}
    key = "AbortIncompleteMultipartUpload"
    assert rules["AbortIncompleteUploads"][key] == made["AbortIncompleteUploads"][key]


NEW_ACCOUNT_MB = 3008
"""What the functions of a new account may have; a stack that asks for more is rolled back."""


def test_a_new_account_can_deploy_every_function(template):
    asked = [template["Globals"]["Function"]["MemorySize"], template["Parameters"]["PredictMemorySize"]["Default"]]
    asked += [template["Resources"][function]["Properties"].get("MemorySize", 0) for function in FUNCTIONS]
    assert all(memory <= NEW_ACCOUNT_MB for memory in asked if isinstance(memory, int))
    assert not [memory for memory in asked if not isinstance(memory, int) and memory != {"Ref": "PredictMemorySize"}]


def test_the_default_memory_is_the_same_wherever_it_is_said(root, template):
    default = template["Parameters"]["PredictMemorySize"]["Default"]
    assert default == lambda_limits.DEFAULT_MEMORY_MB
    assert f"; {default:,} MB of memory" in (root / "README.md").read_text()
    operations = (root / "docs/operations.md").read_text()
    assert f"the default of {default:,} MB" in operations
    assert f"**The default is {default:,} MB**" in (root / "docs/performance.md").read_text()
    assert f"the function has {default:,} MB" in (root / "docs/tutorial.md").read_text()
    assert f"| Lambda | memory of a function | 10,240 MB; new accounts {NEW_ACCOUNT_MB:,} MB" in operations
