"""The S3 of the scale benchmark: its formulas agree with themselves. That it refuses what S3 refuses: test_s3_rules.py."""

import csv
import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError, ParamValidationError
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.formula_objects import QUOTED_EVERY, RECORD_BYTES, Joined, Records, Reference, SmallObjects
from benchmarks.formula_s3 import FormulaS3

MIB = 2**20
IN = {"Bucket": "bucket"}


@pytest.fixture
def client():
    client = FormulaS3("bucket")
    yield client
    client.close()


@pytest.fixture
def upload(client):
    """Start an upload of the key `out`, return what names it."""
    target = {**IN, "Key": "out"}
    return {**target, "UploadId": client.create_multipart_upload(**target, Metadata={"a": "b"})["UploadId"]}


def refusal(call, **request):
    with pytest.raises(ClientError) as caught:
        call(**request)
    return caught.value.response["Error"]["Code"], caught.value.response["ResponseMetadata"]["HTTPStatusCode"]


def read(client, key, **options):
    return client.get_object(**IN, Key=key, **options)["Body"].read()


def complete(client, upload, parts, **options):
    return client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, **options)


def send(client, upload, number, body):
    return {"PartNumber": number, "ETag": client.upload_part(**upload, PartNumber=number, Body=body)["ETag"]}


SMALL = [
    Records([(0, 60)]),
    Records([(0, 60)], quoted=True),
    Records([(5, 9), (100, 101), (7, 60)], quoted=True, scored=True),
    Joined([Reference(Records([(3, 20)]), 50, 1050), Reference(Records([(0, 9)], scored=True), 111, 500)]),
]


@given(st.sampled_from(SMALL), st.data())
def test_any_range_is_a_slice_of_the_whole(content, data):
    start = data.draw(st.integers(0, content.size))
    stop = data.draw(st.integers(start, content.size))
    assert content.read(start, stop) == content.read(0, content.size)[start:stop]


@pytest.mark.parametrize("quoted", [False, True])
def test_records_are_csv_of_one_length(quoted):
    records = Records([(0, 3 * QUOTED_EVERY)], quoted=quoted)
    header, *rows = csv.reader(io.StringIO(records.read(0, records.size).decode(), newline=""), strict=True)
    assert header[:3] == ["id", "a", "b"]
    assert [int(row[0]) for row in rows] == list(range(3 * QUOTED_EVERY))
    assert {len(row) for row in rows} == {4}
    assert sum("\n" in row[3] for row in rows) == (3 if quoted else 0)
    assert records.size == RECORD_BYTES * (3 * QUOTED_EVERY + 1)


def test_scored_records_are_the_records_and_a_prediction():
    plain, scored = (Records([(0, 50)], quoted=True, scored=scored) for scored in (False, True))
    tables = [csv.reader(io.StringIO(found.read(0, found.size).decode(), newline="")) for found in (plain, scored)]
    for number, (row, scored_row) in enumerate(zip(*tables, strict=True)):
        assert scored_row == [*row, "7.25" if number else "prediction"]


@pytest.mark.parametrize("n_objects", [1, 9, 10, 11, 1234, 4000])
def test_small_objects_are_listed_in_the_order_of_their_keys(client, n_objects):
    objects = SmallObjects("in/", n_objects)
    client.add_prefix(objects)
    client.add_bytes("in/part-1.txt", b"x")
    client.add_bytes("other", b"x")
    pages = list(client.get_paginator("list_objects_v2").paginate(**IN, Prefix="in/"))
    listed = [item for page in pages for item in page["Contents"]]
    assert [item["Key"] for item in listed] == sorted([objects.key(number + 1) for number in range(n_objects)] + ["in/part-1.txt"])
    assert {len(page["Contents"]) for page in pages[:-1]} <= {1000}
    for item in (listed[0], listed[-1]):
        head = client.head_object(**IN, Key=item["Key"])
        assert (head["ETag"], head["ContentLength"]) == (item["ETag"], item["Size"])
        assert len(read(client, item["Key"])) == item["Size"]


def test_reading_is_refused_as_s3_does(client):
    etag = client.put_object(**IN, Key="a", Body=b"0123456789")["ETag"]
    assert read(client, "a", IfMatch=etag)
    assert refusal(client.head_object, **IN, Key="b") == ("404", 404)
    assert refusal(client.get_object, Bucket="other", Key="a") == ("NoSuchBucket", 404)
    with pytest.raises(ParamValidationError):
        client.get_object(**IN, Key="a", Rang="bytes=0-1")


def test_an_upload_is_its_parts_and_copies_nothing(client, upload):
    source = Records([(0, 10**9)])
    etag = client.add("in", source)
    first = send(client, upload, 1, b"x" * 5 * MIB)
    copied = client.upload_part_copy(
        **upload,
        PartNumber=2,
        CopySource={**IN, "Key": "in"},
        CopySourceRange="bytes=100-5368709219",
        CopySourceIfMatch=etag,
    )["CopyPartResult"]
    last = send(client, upload, 7, b"y")
    size = 5 * MIB + 5 * 2**30 + 1
    parts = [first, {"PartNumber": 2, "ETag": copied["ETag"]}, last]
    answer = complete(client, upload, parts, MpuObjectSize=size, IfNoneMatch="*")
    assert answer["ETag"].endswith('-3"')
    head = client.head_object(**IN, Key="out")
    assert (head["ContentLength"], head["ETag"], head["Metadata"]) == (size, answer["ETag"], {"a": "b"})
    assert read(client, "out", Range=f"bytes={5 * MIB - 2}-{5 * MIB + 99}") == b"xx" + source.read(100, 200)
    assert read(client, "out", Range=f"bytes={size - 3}-") == source.read(5368709218, 5368709220) + b"y"
    assert client.content("out").edges == [5 * MIB, size - 1]
    assert client.used().bytes_written == 5 * MIB + 1
    assert "Uploads" not in client.list_multipart_uploads(**IN)


def test_calls_and_bytes_are_counted(client):
    client.add("in", Records([(0, 1000)]))
    before = client.used()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: read(client, "in", Range="bytes=0-49"), range(200)))
    client.get_object(**IN, Key="in")["Body"].read(7)
    refusal(client.get_object, **IN, Key="absent")
    used = client.used() - before
    assert used.calls == {"GetObject": 202}
    assert (used.bytes_read, used.bytes_written) == (10_007, 0)
