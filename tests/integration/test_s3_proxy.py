"""The proxy's own faults, as a client of S3 meets them."""

import re

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
from support.s3_proxy import REFUSALS, Rule, s3_proxy
from support.s3_rules import STATUS

pytestmark = [pytest.mark.emulator("it is about the proxy before its S3"), pytest.mark.thorough]

BODY = b"0123456789" * 1000
BREAKS = {
    "reset": ConnectionClosedError,
    "reset_after": ConnectionClosedError,
    "cut": ResponseStreamingError,
    "stall": ReadTimeoutError,
    "corrupt": FlexibleChecksumError,
}


@pytest.fixture
def journalled(aws):
    """A proxy that writes down what passes."""
    with s3_proxy(aws.endpoint_url, journal=True) as proxy:
        yield proxy


@pytest.fixture
def client(aws, journalled):
    """A client that asks once, through the proxy."""
    return boto3.client(
        "s3",
        endpoint_url=journalled.url("Caller"),
        region_name=aws.region,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=aws.secret_access_key,
        config=Config(retries={"mode": "standard", "total_max_attempts": 1}, s3={"addressing_style": "path"}, read_timeout=2),
    )


@pytest.fixture
def get(aws, client):
    """Read an object through the proxy."""
    client.put_object(Bucket=aws.bucket, Key="data/proxied", Body=BODY)

    def get():
        return client.get_object(Bucket=aws.bucket, Key="data/proxied")["Body"].read()

    return get


@pytest.mark.parametrize(("fault", "code"), [*REFUSALS.items(), ("404", "NoSuchKey")])
def test_a_refusal_is_s3s_own_answer_once(journalled, get, fault, code):
    refused = journalled.add(Rule(fault, function="Caller", operation="GetObject", key="^batch-predict/data/proxied$"))
    with pytest.raises(ClientError, match=re.escape(f"({code})")) as raised:
        get()
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == STATUS[code]
    assert get() == BODY
    assert refused.injected == 1


@pytest.mark.parametrize("fault", BREAKS)
def test_a_broken_answer_is_what_a_broken_network_gives(journalled, get, fault):
    journalled.add(Rule(fault, operation="GetObject", seconds=5 if fault == "stall" else 0))
    with pytest.raises(BREAKS[fault]):
        get()
    assert get() == BODY


def test_what_was_reset_after_was_carried_out_and_what_was_reset_before_was_not(aws, journalled, client):
    for fault, body in (("reset", b"never"), ("reset_after", b"carried out")):
        with journalled.rules(Rule(fault, operation="PutObject")), pytest.raises(ConnectionClosedError):
            client.put_object(Bucket=aws.bucket, Key="data/reset", Body=body)
    assert client.get_object(Bucket=aws.bucket, Key="data/reset")["Body"].read() == b"carried out"
    passed = [(entry.operation, entry.fault) for entry in journalled.journal("data/reset$")]
    assert passed == [("PutObject", "reset"), ("PutObject", "reset_after"), ("GetObject", None)]


def test_a_completion_may_answer_200_with_an_error(aws, journalled, client):
    upload = {"Bucket": aws.bucket, "Key": "data/completed"}
    upload["UploadId"] = client.create_multipart_upload(**upload)["UploadId"]
    journalled.add(Rule("error_in_200", operation="CompleteMultipartUpload"))
    with pytest.raises(ClientError, match="InternalError"):
        client.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": "x"}]})
    client.abort_multipart_upload(**upload)


def test_rules_count_wait_and_end(journalled, get):
    later = journalled.add(Rule("404", operation="GetObject", after=1, times=2))
    delayed = journalled.add(Rule("delay", operation="GetObject", seconds=0.01, times=None))
    other = journalled.add(Rule("404", function="Somebody"))
    assert get() == BODY
    for _ in range(2):
        with pytest.raises(ClientError, match="NoSuchKey"):
            get()
    assert get() == BODY
    assert (later.injected, delayed.injected, other.injected) == (2, 2, 0)
