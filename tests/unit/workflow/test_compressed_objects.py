"""What the planner sees of compressed objects: headers of gzip, nothing of Zstandard, and boundaries of neither."""

import gzip
import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.samples import BUCKET, document_after_probe, rejection, validated
from workflow import compression, plan_chunks, sizing
from workflow.compression import Beginning, beginning_of
from workflow.errors import InputChangedError, InvalidDataError
from workflow.estimate import Row
from workflow.formats.csv_format import Csv
from workflow.inputs import InputObject
from workflow.sampling import sampled_records

TEXT = b"a,b\n1,2\n3,4\n"


def zstd(text):
    return pa.Codec("zstd").compress(text, asbytes=True)


@pytest.fixture
def planned(s3):
    """Plan a prefix, and return the plan and what each chunk reads."""

    def planned(**changed):
        document = document_after_probe(s3, data_s3_uri=["s3://bucket/in/"], **changed)
        plan = plan_chunks.plan_chunks(s3, document)

        def stored(key):
            return json.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())

        chunks = []
        for item in stored(plan["plan_key"]):
            listed = item.get("segments_s3_uri")
            segments = stored(listed.removeprefix(f"s3://{BUCKET}/")) if listed else [item]
            chunks.append([(one["data_s3_uri"].rpartition("/")[2], one["byte_range"]) for one in segments])
        return plan, chunks

    return planned


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=4), st.integers(1, 100), st.integers(20, 200))
def test_the_beginning_of_any_members_is_that_of_their_text(texts, limit, stop):
    stored, text = b"".join(map(gzip.compress, texts)), b"".join(texts)
    is_all = stop >= len(stored)
    found = beginning_of(stored[:stop], "uri", limit, is_all=is_all)
    assert text.startswith(found.text)
    assert found.compression == "gzip"
    if is_all:
        assert found.text == text[:limit]
    if found.is_all:
        assert found.text == text


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (gzip.compress(TEXT)[:-1], "is not whole: it ends in the middle of its gzip"),
        (gzip.compress(TEXT) + b"x" * 20, "is damaged, or something else follows its gzip: after 12 bytes of its text"),
        (gzip.compress(TEXT)[:-6] + b"\0" + gzip.compress(TEXT)[-5:], "is damaged, or something else follows its gzip"),
    ],
    ids=["cut", "more", "checksum"],
)
def test_an_object_that_is_not_whole_is_refused_while_its_header_is_read(s3, put, stored, said):
    put("model.joblib", b"model")
    put("in/1.csv.gz", stored)
    assert said in rejection(s3, InvalidDataError, data_s3_uri="s3://bucket/in/", feature_columns=["a"])


def test_nothing_is_a_member_or_a_frame():
    assert gzip.decompress(compression.EMPTY["gzip"]) == b""
    assert pa.CompressedInputStream(pa.BufferReader(compression.EMPTY["zstd"]), "zstd").read() == b""
    assert compression.EMPTY.keys() == compression.ENDINGS.keys() == {"none"} | compression.CONTENT_TYPES.keys()


def test_the_header_of_gzip_is_compared_like_any_other(s3, put):
    put("model.joblib", b"model")
    put("in/1.csv.gz", gzip.compress(TEXT))
    assert "has no column 'c'; it has 'a', 'b'" in rejection(s3, data_s3_uri="s3://bucket/in/", feature_columns=["c"])
    assert validated(s3, data_s3_uri="s3://bucket/in/", feature_columns=["a"])["probe"]["data_s3_uri"].endswith("1.csv.gz")


def test_objects_of_other_columns_are_named(s3, put, planned):
    put("in/1.csv.gz", gzip.compress(TEXT))
    put("in/2.csv.zst", zstd(b"c,d\n1,2\n"))  # which is not read
    planned()
    put("in/3.csv.gz", gzip.compress(b"a,c\n1,2\n"))
    with pytest.raises(InvalidDataError, match=r"3\.csv\.gz has other columns than s3://bucket/in/1\.csv\.gz: it lacks 'b'"):
        planned()


def test_compressed_objects_stay_whole_and_small_ones_are_grouped(put, planned):
    rows = b"".join(b"%d,%d\n" % (number * 7919, number) for number in range(20_000))
    large = {"2.csv.gz": gzip.compress(b"a,b\n" + rows), "3.csv.zst": zstd(b"a,b\n" + rows)}
    small = {"4.csv.gz": gzip.compress(TEXT), "5.csv": TEXT, "6.csv.zst": zstd(TEXT)}
    nothing = {"7.csv.gz": gzip.compress(b"a,b\n\n"), "8.csv.gz": gzip.compress(b"")}
    for name, body in {"1.csv": b"a,b\n" + rows, **large, **small, **nothing}.items():
        put(f"in/{name}", body)
    plan, chunks = planned(chunk_size_mb=0.05)
    assert [chunk for chunk in chunks if chunk[0][0] == "1.csv"][-1] != chunks[0], "which is cut"
    assert chunks[-3:] == [
        *([(name, [0, len(body)])] for name, body in large.items()),
        [(name, [0, len(body)]) for name, body in small.items()],
    ]
    assert (plan["objects"], plan["skipped_objects"], plan["input_compression"]) == (6, 2, ["gzip", "zstd"])


def test_data_of_zstandard_without_rows_are_no_changed_input(s3, put):
    """The probe alone could see whether there are rows."""
    put("in/1.csv.zst", zstd(b"a,b\n"))
    document = document_after_probe(s3, data_s3_uri=["s3://bucket/in/"], on_no_rows="succeed")
    document["model"]["rows"] = 0
    assert plan_chunks.plan_chunks(s3, document)["chunks"] == 1
    put("in/2.csv.gz", gzip.compress(TEXT))
    with pytest.raises(InputChangedError, match="had no rows when the model was probed, and now it has rows"):
        plan_chunks.plan_chunks(s3, document)


def test_types_are_sampled_in_the_text(s3, put):
    put("in/1.csv.gz", gzip.compress(b"a,b\n1,x\n2,y"))
    size = s3.head_object(Bucket=BUCKET, Key="in/1.csv.gz")["ContentLength"]
    etag = s3.head_object(Bucket=BUCKET, Key="in/1.csv.gz")["ETag"]
    span = plan_chunks.Span(InputObject("s3://bucket/in/1.csv.gz", size, etag), 0, size)
    assert sampled_records(s3, [span]) == [b"1,x\n", b"2,y"]
    assert Csv().row_bytes(s3, [span]) == 0, "in the object they take less"


def test_a_dry_run_counts_rows_by_the_probe(s3, put, planned):
    put("in/1.csv.gz", gzip.compress(TEXT * 1000))
    plan, _ = planned(dry_run=True)
    assert plan["estimate"]["rows"] == round(plan["input_bytes"] / 4.0)  # as the probe of these tests has it


@pytest.mark.parametrize(("mb", "is_said"), [(600, False), (60_000, True)])
def test_an_object_that_takes_longer_than_a_function_may_is_said_in_the_plan(mb, is_said):
    row = Row(input_bytes=50, prediction_bytes=20, per_vcpu_second=10**6)
    said = sizing.overlong(mb * 10**6, row, 1769)
    assert bool(said) == is_said
    assert not said or "a function has 900 s: an object that is compressed is never cut, so split it" in said


def test_parts_are_named_and_sized_by_their_compression():
    receipt = {"header_bytes": 30, "rows_read": 1000, "output_bytes": 400}
    assert [Csv(compression=name).ending for name in compression.ENDINGS] == [".csv", ".csv.gz", ".csv.zst"]
    assert [Csv(compression=name).fits(receipt) for name in compression.ENDINGS] == [False, True, True]
    assert not Csv(compression="gzip").fits(receipt | {"output_bytes": 30})
    assert Beginning(b"", is_all=True, compression=None).is_known
