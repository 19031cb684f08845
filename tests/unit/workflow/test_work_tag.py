"""What is work carries the tag by which a bucket's lifecycle rule expires it, and what is published never does."""

import pytest

from support.merging import MIB, key_of
from support.samples import BUCKET
from workflow import s3 as workflow_s3
from workflow.work import WORK_TAG, written_uris

TAGS = [dict(zip(("Key", "Value"), WORK_TAG.split("="), strict=True))]


def tags(s3, key):
    return s3.get_object_tagging(Bucket=BUCKET, Key=key)["TagSet"]


@pytest.mark.parametrize("key", ["out.csv.work/i/f/plan.json", "a/out.csv.work/i/scan-1.json"])
def test_work_carries_the_tag(s3, key):
    workflow_s3.put_json(s3, f"s3://{BUCKET}/{key}", {})
    assert tags(s3, key) == TAGS


@pytest.mark.parametrize("pad", [0, 6 * MIB // 10], ids=["gathered", "copied"])
def test_what_is_published_does_not(run, s3, pad):
    """By one PUT of small parts, and by copies of large ones that carry it."""
    execution = run(pads=dict.fromkeys(range(3), pad))
    for chunk in execution.chunks:
        s3.put_object_tagging(Bucket=BUCKET, Key=key_of(chunk["output_s3_uri"]), Tagging={"TagSet": TAGS})
    output = execution.merge()
    published = [uri for uri in written_uris(output["output_s3_uri"]) if not uri.endswith(".rejected.csv")]
    assert len(published) == 2
    for uri in published:
        assert tags(s3, key_of(uri)) == [], uri
