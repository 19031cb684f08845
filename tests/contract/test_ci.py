"""The GitHub workflow runs what a developer runs, and ends; that it is no way in is checked by zizmor (`make audit-stack`)."""

import re
import shutil
import subprocess

import pytest
import yaml


@pytest.fixture(scope="module")
def workflows(root):
    paths = [path for path in (root / ".github").rglob("*") if path.suffix in {".yml", ".yaml"}]
    assert paths
    return paths


@pytest.fixture(scope="module")
def jobs(workflows):
    return {f"{path.name}: {name}": job for path in workflows for name, job in yaml.safe_load(path.read_text())["jobs"].items()}


def test_every_job_ends(jobs):
    assert all(job["timeout-minutes"] <= 60 for job in jobs.values())


def test_what_runs_is_what_a_developer_runs(root, jobs):
    commands = {step["run"] for job in jobs.values() for step in job["steps"] if "run" in step}
    beside = {"audit-stack", "audit-dependencies", "sam-validate", "sam-build"}
    assert commands == {".ci/run", *(f"make {target}" for target in beside)}
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    steps = re.search(r"^steps=\((.*)\)$", (root / ".ci/run").read_text(), re.MULTILINE)[1].split()
    assert {*beside, *steps} <= targets


def test_what_is_kept_from_run_to_run_has_the_name_of_what_it_was_made_of(root, jobs):
    """Another branch's or yesterday's is never taken for it."""
    kept = [step["with"] for job in jobs.values() for step in job["steps"] if step.get("uses", "").startswith("actions/cache@")]
    ignored = {line.rstrip("/") for line in (root / ".gitignore").read_text().splitlines()}
    assert {cache["path"] for cache in kept} == {".venv", "build"} <= ignored
    for cache in kept:
        assert set(cache) == {"path", "key"}
        assert "hashFiles('requirements.lock'" in cache["key"]
        assert "steps.python.outputs.python-version" in cache["key"]


STEPS = ["install", "lint", "types", "test", "test-thorough", "test-installed"]
MAKEFILE = """
.PHONY: install lint types test test-thorough test-installed
install lint types test test-thorough test-installed:
	@echo doing $@
	@test $@ != "$(BROKEN)"
"""


@pytest.mark.parametrize(("broken", "done"), [("", STEPS), ("lint", STEPS[:2]), ("test", STEPS[:4]), ("test-installed", STEPS)])
def test_ci_stops_at_the_first_failure_and_says_how_long_each_step_took(root, tmp_path, broken, done):
    (tmp_path / ".ci").mkdir()
    shutil.copy(root / ".ci/run", tmp_path / ".ci/run")
    (tmp_path / "Makefile").write_text(MAKEFILE)

    ran = subprocess.run(
        [tmp_path / ".ci/run"], check=False, env={"PATH": "/usr/bin:/bin", "BROKEN": broken}, capture_output=True, text=True
    )

    assert (ran.returncode == 0) == (broken == "")
    assert [line.removeprefix("doing ") for line in ran.stdout.splitlines() if line.startswith("doing ")] == done
    steps = re.findall(r"^([\w-]+) +\d+ s (\w+)$", ran.stdout, re.MULTILINE)
    assert steps == [(step, "FAILED" if step == broken else "passed") for step in done]
    assert re.search(r"^CI took \d+ s$", ran.stdout, re.MULTILINE)
