"""What watches the stack: alarms, dashboard, logs, notifications."""

import json
import re

import pytest
from state_names import FILES, resource_of

import prediction_handler
from workflow import invocation, merge_outputs, plan_chunks, prices

FUNCTIONS = sorted({resource_of(state) for state in FILES})
PAUSES = {"PlanChunksFunction": plan_chunks.HAND_OVER_SECONDS, "MergeOutputsFunction": merge_outputs.HAND_OVER_SECONDS}
OUR_METRICS = prediction_handler.METRIC_UNITS | invocation.UNITS


def resources_of(template, kind):
    return {name: resource for name, resource in template["Resources"].items() if resource["Type"] == kind}


@pytest.fixture(scope="module")
def alarms(template):
    return {name: resource["Properties"] for name, resource in resources_of(template, "AWS::CloudWatch::Alarm").items()}


def watched(alarms, metric):
    """Return {resource: alarm} of the alarms on a metric."""
    return {alarm["Dimensions"][0]["Value"]["Ref"]: alarm for alarm in alarms.values() if alarm["MetricName"] == metric}


def timeout_of(template, function):
    return template["Resources"][function]["Properties"].get("Timeout", template["Globals"]["Function"]["Timeout"])


def test_every_alarm_tells_somebody_what_to_do_and_is_quiet_without_data(alarms, template):
    assert len(alarms) == 17
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


def test_each_thing_that_can_go_wrong_has_its_alarm(alarms):
    found = {(alarm["Namespace"], alarm["MetricName"]) for alarm in alarms.values()}
    assert found == {
        ("AWS/States", "ExecutionsFailed"),
        ("AWS/States", "ExecutionsTimedOut"),
        ("AWS/States", "ExecutionThrottled"),
        ("AWS/Lambda", "Errors"),
        ("AWS/Lambda", "Throttles"),
        ("AWS/Lambda", "Duration"),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
        ("AWS/Scheduler", "TargetErrorCount"),
        ("AWS/Scheduler", "InvocationDroppedCount"),
        ("AWS/Events", "FailedInvocations"),
    }
    assert set(watched(alarms, "Errors")) == {"PredictChunkFunction", "RecordFailureFunction", "ExplainFailureFunction"}


def test_every_function_near_its_timeout_has_an_alarm(alarms, template):
    """At 80 %, but for those that hand over to their next invocation: theirs is beyond where they do, and before the time-out."""
    durations = watched(alarms, "Duration")
    assert set(durations) == set(FUNCTIONS)
    for function, alarm in durations.items():
        seconds, timeout = alarm["Threshold"] / 1000, timeout_of(template, function)
        assert alarm["Statistic"] == "Maximum"
        if function in PAUSES:
            assert timeout - PAUSES[function] < seconds < timeout, function
        else:
            assert seconds == 0.8 * timeout, function


def test_alarms_of_what_is_off_by_default_come_with_it(template):
    conditional = {
        name: resource["Condition"]
        for name, resource in resources_of(template, "AWS::CloudWatch::Alarm").items()
        if "Condition" in resource
    }
    assert conditional == {
        "DeadLettersArrived": "StartsByItself",
        "ScheduleErrors": "HasSchedule",
        "ScheduleDropped": "HasSchedule",
        "ObjectStartFailed": "HasObjectStart",
    }


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


def test_every_log_is_kept_for_the_same_time_and_encrypted_with_the_key(template):
    groups = resources_of(template, "AWS::Logs::LogGroup")
    assert set(groups) == {"FunctionsLogGroup", "StateMachineLogGroup"}
    for group in groups.values():
        assert group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}
        assert group["Properties"]["KmsKeyId"]["Fn::If"][:2] == ["HasKmsKey", {"Ref": "KmsKeyArn"}]
    logging = template["Globals"]["Function"]["LoggingConfig"]
    assert logging == {"LogFormat": "JSON", "LogGroup": {"Ref": "FunctionsLogGroup"}}
    assert not [function for function in FUNCTIONS if "LoggingConfig" in template["Resources"][function]["Properties"]]


def test_everything_is_traced(template):
    assert template["Globals"]["Function"]["Tracing"] == "Active"
    assert template["Resources"]["StateMachine"]["Properties"]["Tracing"] == {"Enabled": True}


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
    assert default == plan_chunks.DEFAULT_MEMORY_MB
    terraform = (root / "examples/prediction_function/variables.tf").read_text()
    assert re.search(r'"memory_size" \{[^}]*default += (\d+)', terraform)[1] == str(default)
    assert f"; {default:,} MB of memory" in (root / "README.md").read_text()
    assert f"--memory-size {default} " in (root / "docs/prediction_handler.md").read_text()
    operations = (root / "docs/operations.md").read_text()
    assert f"the default of {default:,} MB" in operations
    assert f"| Lambda | memory of a function | 10,240 MB; new accounts {NEW_ACCOUNT_MB:,} MB" in operations


VCPU_MB = 1769
"""https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""
TUNED = {
    "a ridge": "linear, 20 numbers",
    "a columns": "linear with one-hot text",
    "a histgb": "boosted trees",
    "a forest": "forest of 100 trees",
}


def tuning_table(root):
    """What performance.md measured on two cores, as Lambda would bill it: with two vCPUs, and with one (by processor seconds)."""
    measured = {}
    for line in (root / "docs/performance.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 7 and cells[1] == "ours":
            measured[cells[0]] = [float(cell) for cell in cells[2:6]]
    lines = [
        "| model | two vCPUs (3,538 MB): seconds, $ a TB | one vCPU (1,769 MB): seconds, $ a TB | peak memory, MB |",
        "|---|---|---|---|",
    ]
    for case, name in TUNED.items():
        seconds, rate, processor, peak = measured[case]
        per_100 = 100 / (seconds * rate)
        costs = []
        for spent, memory in ((seconds, 2 * VCPU_MB), (processor, VCPU_MB)):
            dollars = spent * per_100 * 1e4 * memory / 1024 * prices.LAMBDA_ARM64_GB_SECOND.dollars
            costs.append(f"{spent * per_100:.1f}, {dollars:.2f}")
        lines.append(f"| {name} | {costs[0]} | {costs[1]} | {peak:.0f} |")
    return "\n".join(lines)


def test_the_tuning_table_is_computed_from_what_was_measured(root):
    table = tuning_table(root)
    assert table in (root / "docs/operations.md").read_text(), f"docs/operations.md must hold:\n{table}"


def test_what_watching_costs_is_computed_from_the_table_of_prices(root, template, alarms):
    page = (root / "docs/operations.md").read_text()
    section = page.split("### What watching costs\n")[1].split("\n## ")[0]
    always = [alarm for alarm in alarms if "Condition" not in template["Resources"][alarm]]
    more, metrics = len(alarms) - len(always), len(OUR_METRICS)
    alarm, metric, log = prices.ALARM_MONTH.dollars, prices.METRIC_MONTH.dollars, prices.LOG_GB.dollars
    nightly = metrics * metric * 30 / (30 * 24)
    for row in (
        (
            f"| {len(always)} alarms, {more} more with schedule and object start "
            f"| ${alarm:.2f} each: ${len(always) * alarm:.2f} to ${len(alarms) * alarm:.2f} |"
        ),
        (
            f"| {metrics} metrics | ${metric:.2f} each where they are sent every hour: ${metrics * metric:.2f}; "
            f"by the hour, so a nightly run of an hour costs ${nightly:.2f} |"
        ),
        f"| dashboard | ${prices.DASHBOARD_MONTH.dollars:.2f} |",
        f"| logs | ${log:.2f} a GB; a chunk writes about 2 KB: 10,000 chunks, ${10_000 * 2e-6 * log:.2f} |",
        f"| tags of the work | ${10_000 * prices.S3_TAG_MONTH.dollars:.4f} for 10,000 objects kept a month;",
        f"| traces | ${1_000_000 * prices.TRACE.dollars:.2f} a million;",
    ):
        assert row in section, row
