"""`--aws`, with an embedded AWS in the account's place: the stack is found, its own prefixes are used, nothing stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from batch_predict.deployed import stack_directory
from batch_predict.local.deploy import deploy
from support.deployed_stack import Places
from support.places import split_uri

pytestmark = [pytest.mark.emulator("it runs --aws itself"), pytest.mark.thorough]

ROOT = Path(__file__).parents[2]
STACK = "in-three-buckets"
BUCKETS = {"ModelBucket": "theirs-models", "DataBucket": "theirs-data", "OutputBucket": "theirs-output"}
PREFIXES = {"ModelPrefix": "of/a/team/", "DataPrefix": "in/", "OutputPrefix": "out/"}


@pytest.fixture(scope="module")
def stack(aws):
    """A stack whose buckets and prefixes are other ones than the local AWS's; returns its outputs."""
    s3 = aws.client("s3")
    for bucket in BUCKETS.values():
        s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=BUCKETS["DataBucket"], VersioningConfiguration={"Status": "Enabled"})
    yield deploy(aws.client, stack_directory(), bucket=aws.bucket, stack_name=STACK, parameters=BUCKETS | PREFIXES)
    aws.client("cloudformation").delete_stack(StackName=STACK)
    for bucket in BUCKETS.values():
        s3.delete_bucket(Bucket=bucket)  # which only an empty one lets happen


@pytest.fixture
def pytest_aws(aws, tmp_path):
    """Run pytest with --aws in a process that knows AWS by nothing but the usual variables."""

    def run(*options):
        theirs = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTEST_"))}
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--basetemp", tmp_path / "basetemp", "--aws", *options]
        return subprocess.run(command, check=False, cwd=ROOT, env=theirs | aws.environment(), capture_output=True, text=True)

    return run


def versions(s3, uri):
    bucket, prefix = split_uri(uri)
    listed = s3.list_object_versions(Bucket=bucket, Prefix=prefix)
    return [(version["Key"], version["VersionId"]) for version in [*listed.get("Versions", ()), *listed.get("DeleteMarkers", ())]]


def test_tests_run_on_a_stack_with_buckets_and_prefixes_of_its_own_and_leave_nothing(aws, stack, pytest_aws):
    s3 = aws.client("s3")
    places = Places.of(stack)
    theirs = (places.models, places.data, places.output)
    for uri in theirs:
        bucket, prefix = split_uri(uri)
        s3.put_object(Bucket=bucket, Key=f"{prefix}theirs", Body=b"x")
    before = [versions(s3, uri) for uri in theirs]

    files = ("tests/unit/workflow/test_limits.py", "tests/integration/test_workflow.py", "tests/integration/test_permissions.py")
    wanted = "every_row or throttling or whole_bucket or limit"
    done = pytest_aws("--stack", STACK, *files, "-k", wanted)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed, 7 skipped" in done.stdout, done.stdout
    assert "for the emulator: it puts a proxy between a function and S3" in done.stdout
    assert "for the emulator: it makes buckets, stacks and functions, and is denied what it asks for" in done.stdout
    executions = aws.client("stepfunctions").list_executions(stateMachineArn=stack["StateMachineArn"])["executions"]
    assert len(executions) == 1
    assert [versions(s3, uri) for uri in theirs] == before
    for bucket, _ in map(split_uri, theirs):
        assert s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
        for key, version in versions(s3, f"s3://{bucket}/"):
            s3.delete_object(Bucket=bucket, Key=key, VersionId=version)


def test_a_stack_that_is_not_there_is_one_sentence(pytest_aws):
    done = pytest_aws("--stack", "nobodys", "tests/integration/test_workflow.py", "-k", "several_mistakes")

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--aws: cannot look up the stack nobodys: An error occurred (ValidationError)" in done.stdout
    assert "passed" not in done.stdout
