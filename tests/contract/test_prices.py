"""The estimate's constants are what the template, the definition and the documentation say."""

import re

import prediction_handler
from tools.smoke import ColdStart, Figures, cold_start_seconds
from workflow import estimate, plan_chunks, prices


def executed(machine):
    """Return the states of the successful path: Next, or the Default of a Choice, until the end."""
    name, path = machine["StartAt"], []
    while name:
        assert name not in path, f"a loop at {name}"
        path.append(name)
        state = machine["States"][name]
        name = state["Default"] if state["Type"] == "Choice" else state.get("Next")
    return path


def test_transitions_are_the_definitions(definition):
    path = executed(definition)
    assert definition["States"][path[-1]]["Type"] == "Succeed"
    assert len(path) == estimate.PARENT_TRANSITIONS, path
    children = [state["ItemProcessor"] for state in definition["States"].values() if state["Type"] == "Map"]
    # Starting a child counts as one, too.
    assert [1 + len(executed(child)) for child in children] == [estimate.CHILD_TRANSITIONS]


def test_invocations_are_the_definitions(definition):
    tasks = [name for name in executed(definition) if definition["States"][name]["Type"] == "Task"]
    assert len(tasks) == estimate.LAMBDA_REQUESTS, tasks


def test_memory_and_architecture_are_the_templates(template):
    default = template["Globals"]["Function"]

    def memory(function):
        return template["Resources"][function]["Properties"].get("MemorySize", default["MemorySize"])

    for function in ("ValidateRequestFunction", "PlanChunksFunction", "MergeOutputsFunction"):
        assert memory(function) == estimate.WORKFLOW_MB, function
    assert default["Architectures"] == [{"Ref": "Architecture"}]
    assert template["Parameters"]["Architecture"]["Default"] == "arm64"


def test_a_cold_start_is_what_was_measured_of_the_package(root):
    """docs/package.md has what `make smoke` printed; the estimate takes the numbers that it printed beneath."""
    page = (root / "docs/package.md").read_text()
    rows = re.findall(r"^\| (\w+) \| (yes|no) \| [^|]+ \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    figures = [Figures(family, byte_code == "yes", "", *map(float, milliseconds)) for family, byte_code, *milliseconds in rows]
    assert len({figure.family for figure in figures if figure.byte_code}) == 10
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    stored = [ColdStart(family, *map(float, milliseconds)) for family, *milliseconds in rows]
    assert len(stored) >= 6
    assert cold_start_seconds(figures, stored) == {
        name: getattr(estimate, name) for name in ("MODEL_PROCESSOR_SECONDS", "STORED_PROCESSOR_SECONDS", "PROBE_PROCESSOR_SECONDS")
    }


def test_the_page_has_what_the_dry_run_assumes(root):
    section = (root / "docs/performance.md").read_text().partition("## What the dry run assumes")[2]
    requests = (estimate.VALIDATE_REQUESTS, estimate.PLAN_REQUESTS, estimate.MERGE_REQUESTS, estimate.CHUNK_REQUESTS)
    processor = (estimate.MODEL_PROCESSOR_SECONDS, estimate.STORED_PROCESSOR_SECONDS, estimate.PROBE_PROCESSOR_SECONDS)
    for figure in (
        f"{estimate.CONTAINER_SECONDS} s",
        ", ".join(map(str, processor)),
        f"{estimate.BUNDLE_PROCESSOR_SECONDS}, {estimate.UNPACKING_PROCESSOR_SECONDS}",
        f"{estimate.WORKFLOW_PROCESSOR_SECONDS}",
        ", ".join(map(str, requests)),
        f"{1000 * estimate.REQUEST_SECONDS:.0f} ms",
        f"{1000 * estimate.SMALL_REQUEST_SECONDS:.0f} ms",
        f"{estimate.CHILD_STARTS_PER_SECOND} a second",
        f"{estimate.COPY_START_SECONDS} s and {estimate.COPY_MB_PER_SECOND} MB/s",
    ):
        assert f" | {figure} | " in section, figure


def test_the_planner_is_told_the_prediction_functions_memory(template):
    variables = template["Resources"]["PlanChunksFunction"]["Properties"]["Environment"]["Variables"]
    assert variables[plan_chunks.MEMORY_VARIABLE] == {"Ref": "PredictMemorySize"}
    assert template["Resources"]["PredictChunkFunction"]["Properties"]["MemorySize"] == {"Ref": "PredictMemorySize"}


def test_uploads_are_the_handlers():
    assert estimate.UPLOAD_PIECE_BYTES == prediction_handler.UPLOAD_PIECE_BYTES


def test_every_price_is_used_and_has_a_page_of_aws(root):
    users = "".join((root / name).read_text() for name in ("functions/workflow/estimate.py", "tools/figures.py"))
    for name, price in vars(prices).items():
        if isinstance(price, prices.Price):
            assert f"prices.{name}." in users or f"{name}.dollars" in users, f"{name} is not used"
            assert price.dollars > 0, name
            assert price.source.startswith("https://aws.amazon.com/"), name
