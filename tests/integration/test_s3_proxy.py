"""The proxy's own faults, as a client of S3 meets them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    FlexibleChecksumError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from batch_predict.local.aws import ACCESS_KEY_ID
from support.s3_proxy import FAULTS, Rule, s3_proxy

pytestmark = [pytest.mark.emulator("it is about the proxy before its S3"), pytest.mark.thorough]


@pytest.fixture
def journalled(aws):
    """A proxy that writes down what passes."""
    with s3_proxy(aws.endpoint_url, journal=True) as proxy:
        yield proxy


@pytest.fixture
def impatient(aws, journalled):
    """A client that asks once, through the proxy, and the object that it asks for."""
    client = boto3.client(
        "s3",
        endpoint_url=journalled.url("Caller"),
        region_name=aws.region,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=aws.secret_access_key,
        config=Config(retries={"mode": "standard", "total_max_attempts": 1}, s3={"addressing_style": "path"}, read_timeout=2),
    )
    client.put_object(Bucket=aws.bucket, Key="data/proxied", Body=b"0123456789" * 1000)
    return client


def get(client, bucket):
    return client.get_object(Bucket=bucket, Key="data/proxied")["Body"].read()


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("throttle", 503, "SlowDown"),
        ("500", 500, "InternalError"),
        ("503", 503, "ServiceUnavailable"),
        ("403", 403, "AccessDenied"),
        ("404", 404, "NoSuchKey"),
        ("412", 412, "PreconditionFailed"),
        ("409", 409, "ConditionalRequestConflict"),
    ],
)
def test_a_refusal_is_s3s_own_answer_once(aws, journalled, impatient, fault, status, code):
    number = journalled.add(Rule(fault, function="Caller", operation="GetObject", key="^batch-predict/data/proxied$"))
    with pytest.raises(ClientError) as raised:
        get(impatient, aws.bucket)
    assert raised.value.response["Error"]["Code"] == code
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert len(get(impatient, aws.bucket)) == 10_000
    assert journalled.injected()[number] == 1


@pytest.mark.parametrize(
    ("fault", "raises"),
    [
        ("reset", ConnectionClosedError),
        ("reset_after", ConnectionClosedError),
        ("cut", ResponseStreamingError),
        ("stall", ReadTimeoutError),
        ("corrupt", FlexibleChecksumError),
    ],
)
def test_a_broken_answer_is_what_a_broken_network_gives(aws, journalled, impatient, fault, raises):
    journalled.add(Rule(fault, operation="GetObject", seconds=5 if fault == "stall" else 0))
    with pytest.raises(raises):
        get(impatient, aws.bucket)
    assert len(get(impatient, aws.bucket)) == 10_000


def test_what_was_reset_after_was_carried_out_and_what_was_reset_before_was_not(aws, journalled, impatient):
    journalled.add(Rule("reset", operation="PutObject"))
    journalled.add(Rule("reset_after", operation="PutObject"))
    for body in (b"never", b"carried out"):
        with pytest.raises(ConnectionClosedError):
            impatient.put_object(Bucket=aws.bucket, Key="data/reset", Body=body)
    assert impatient.get_object(Bucket=aws.bucket, Key="data/reset")["Body"].read() == b"carried out"
    assert [(entry.operation, entry.fault) for entry in journalled.journal("data/reset$")] == [
        ("PutObject", "reset"),
        ("PutObject", "reset_after"),
        ("GetObject", None),
    ]


def test_a_completion_may_answer_200_with_an_error(aws, journalled, impatient):
    upload = impatient.create_multipart_upload(Bucket=aws.bucket, Key="data/completed")["UploadId"]
    journalled.add(Rule("error_in_200", operation="CompleteMultipartUpload"))
    with pytest.raises(ClientError, match="InternalError"):
        impatient.complete_multipart_upload(
            Bucket=aws.bucket, Key="data/completed", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": "x"}]}
        )
    impatient.abort_multipart_upload(Bucket=aws.bucket, Key="data/completed", UploadId=upload)


def test_rules_count_wait_and_end(aws, journalled, impatient):
    later, delayed, other = (
        journalled.add(Rule("404", operation="GetObject", after=1, times=2)),
        journalled.add(Rule("delay", operation="GetObject", seconds=0.01, times=None)),
        journalled.add(Rule("404", function="Somebody")),
    )
    outcomes = []
    for _ in range(4):
        try:
            outcomes.append(len(get(impatient, aws.bucket)))
        except ClientError as error:
            outcomes.append(error.response["Error"]["Code"])
    assert outcomes == [10_000, "NoSuchKey", "NoSuchKey", 10_000]
    assert journalled.injected() == {later: 2, delayed: 2, other: 0}
    assert journalled.injected_faults() == {"404": 2, "delay": 2}


def test_the_proxy_ends_with_an_owner_that_is_killed(aws, tmp_path):
    """Also where nobody can clean up."""
    owner = tmp_path / "owner.py"
    owner.write_text(
        "import sys, time\n"
        "from support.s3_proxy import s3_proxy\n"
        "with s3_proxy(sys.argv[1]) as proxy:\n"
        "    print(proxy._process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen([sys.executable, owner, aws.endpoint_url], stdout=subprocess.PIPE, text=True, env=environment) as process:
        pid = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]:
        assert time.monotonic() < deadline, "the proxy outlived its owner"
        time.sleep(0.05)


def test_every_fault_is_known_to_the_server_and_no_other(journalled):
    """A fault that the server does not know would be passed on without a word."""
    for fault in FAULTS:
        journalled.add(Rule(fault))
    with pytest.raises(ValueError, match="flood"):
        journalled.add(Rule("flood"))
