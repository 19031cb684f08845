"""A bucket in another region than the stack's is refused before anything is read there: botocore would follow silently."""

from functools import partial

import pytest
from botocore.awsrequest import AWSResponse

from support import samples
from support.samples import BUCKET, REQUEST
from workflow import s3 as s3_module
from workflow.errors import InputNotFoundError, InvalidRequestError, TransientS3Error

validated = partial(samples.validated, data_s3_uri=["s3://bucket/in/1.csv", "s3://bucket/in/2.csv"])


class Raw:
    """A body of nothing."""

    def stream(self, **_):
        return iter(())


@pytest.fixture
def answer_heads(s3):
    """Let S3 answer HEADs of buckets with statuses and regions, one after the other; returns the URLs that were asked."""

    def answer(*answers):
        asked = []
        left = list(answers)

        def send(request, **_):
            if request.method != "HEAD" or not request.url.rstrip("/").endswith((f"/{BUCKET}", "amazonaws.com")):
                return None
            asked.append(request.url)
            status, region = left.pop(0) if len(left) > 1 else left[0]
            return AWSResponse(request.url, status, {"x-amz-bucket-region": region} if region else {}, Raw())

        s3.meta.events.register_first("before-send.s3", send)
        return asked

    return answer


@pytest.fixture(autouse=True)
def day(put, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    put("model.joblib", b"model")
    for number in (1, 2):
        put(f"in/{number}.csv", b"a,b\n1,2\n")


@pytest.mark.parametrize(
    "answers",
    [
        [(200, "eu-west-1")],
        [(403, "eu-west-1")],
        [(301, "eu-west-1"), (200, "eu-west-1")],
        [(301, "eu-west-1"), (403, "eu-west-1")],
    ],
    ids=["allowed", "refused", "redirected", "redirected and refused"],
)
def test_a_bucket_elsewhere_is_refused_by_name(s3, answer_heads, answers):
    asked = answer_heads(*answers)
    with pytest.raises(InvalidRequestError) as refused:
        validated(s3)
    for words in ("model_s3_uri names the bucket bucket in eu-west-1", "data_s3_uri names", "output_s3_uri names", "us-east-1"):
        assert words in str(refused.value)
    assert str(refused.value).count("data_s3_uri") == 1  # once for all objects in it
    assert len(asked) == len(answers)  # and S3 is asked once for the three


@pytest.mark.parametrize("answer", [(200, "us-east-1"), (403, "us-east-1"), (403, None), (404, None), (400, None)], ids=str)
def test_a_bucket_here_or_somewhere_unsaid_is_not(s3, answer_heads, answer):
    answer_heads(answer)
    assert validated(s3)["request"]["model_s3_uri"] == REQUEST["model_s3_uri"]


def test_each_bucket_is_told_apart(s3):
    """As S3 itself says it: one of them was made elsewhere."""
    s3.create_bucket(Bucket="far-away", CreateBucketConfiguration={"LocationConstraint": "ap-southeast-2"})
    with pytest.raises(InvalidRequestError) as refused:
        validated(s3, output_s3_uri="s3://far-away/out.csv")
    assert "output_s3_uri names the bucket far-away in ap-southeast-2" in str(refused.value)
    assert "model_s3_uri" not in str(refused.value)


def test_a_bucket_that_is_not_there_is_said_by_what_is_missing(s3):
    with pytest.raises(InputNotFoundError, match="s3://nowhere-at-all/model"):
        validated(s3, model_s3_uri="s3://nowhere-at-all/model.joblib")


def test_the_stacks_region_decides_not_the_clients(s3, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    with pytest.raises(InvalidRequestError, match="in us-east-1; but the stack is in eu-central-1"):
        validated(s3)
    monkeypatch.delenv("AWS_REGION")
    assert validated(s3)


@pytest.mark.parametrize("code", ["SlowDown", "InternalError", "503"])
def test_passing_trouble_is_retried_and_not_taken_for_an_answer(s3, fail_calls, code):
    fail_calls("HeadBucket", code)
    with pytest.raises(TransientS3Error):
        s3_module.bucket_region(s3, BUCKET)
