"""The GitHub workflow is no way in: nothing moves under it, and it may do nothing but read."""

import re

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


def test_every_action_is_a_commit_with_its_version_beside(workflows):
    for path in workflows:
        used = [line for line in path.read_text().splitlines() if re.match(r"\s*(- )?uses:", line)]
        assert used
        for line in used:
            assert re.fullmatch(r"\s*(- )?uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_nothing_is_permitted_but_reading_by_the_job(workflows, jobs):
    for path in workflows:
        assert yaml.safe_load(path.read_text())["permissions"] == {}, path
    for name, job in jobs.items():
        assert job["permissions"] == {"contents": "read"}, name


def test_no_credential_stays_in_a_checkout(jobs):
    checkouts = [step for job in jobs.values() for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
    assert len(checkouts) == len(jobs)
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_every_job_ends(jobs):
    assert all(job["timeout-minutes"] <= 60 for job in jobs.values())


def test_no_secret_and_no_text_of_strangers_reaches_a_command(workflows, jobs):
    for path in workflows:
        assert "secrets." not in path.read_text()
        assert "pull_request_target" not in path.read_text()
    for job in jobs.values():
        assert not any("${{" in step.get("run", "") for step in job["steps"])


def test_what_runs_is_what_a_developer_runs(root, jobs):
    commands = {step["run"] for job in jobs.values() for step in job["steps"] if "run" in step}
    assert commands == {".ci/run", "make audit-stack", "make audit-dependencies"}
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    assert {"audit-stack", "audit-dependencies"} <= targets
