"""The S3s of the tests and of the scale benchmark refuse what S3 refuses, with its codes."""

import pytest
from botocore.exceptions import ClientError

from benchmarks.formula_objects import records_of_size
from benchmarks.formula_s3 import FormulaS3
from support import s3_rules
from support.samples import BUCKET

MIB = 2**20
LARGE = b"x" * (5 * MIB)
OF_MOTO_ALONE = pytest.mark.parametrize("s3", ["moto"], indirect=True)
"""The S3 of formulas knows no checksums and no other writers."""


@pytest.fixture(params=["moto", "formulas"])
def s3(request):
    if request.param == "moto":
        client = request.getfixturevalue("strict_s3").client()
        client.create_bucket(Bucket=BUCKET)
        yield client
    else:
        client = FormulaS3(BUCKET)
        yield client
        client.close()


def refused(call, **params):
    """The code and status of S3's refusal."""
    with pytest.raises(ClientError) as caught:
        call(Bucket=BUCKET, **params)
    return caught.value.response["Error"]["Code"], caught.value.response["ResponseMetadata"]["HTTPStatusCode"]


class Upload:
    """An upload to the key `k` with CRC32 checksums, as boto3 sends them."""

    def __init__(self, s3, **options):
        self.s3 = s3
        self.id = s3.create_multipart_upload(Bucket=BUCKET, Key="k", **({"ChecksumAlgorithm": "CRC32"} | options))["UploadId"]
        self.named = {"Key": "k", "UploadId": self.id}

    def part(self, number, body=b"x"):
        return self._named(number, self.s3.upload_part(Bucket=BUCKET, **self.named, PartNumber=number, Body=body))

    def copy(self, number, **options):
        return self._named(number, self.s3.upload_part_copy(Bucket=BUCKET, **self.copied(number, **options))["CopyPartResult"])

    @staticmethod
    def _named(number, answer):
        return {"PartNumber": number} | {name: answer[name] for name in ("ETag", "ChecksumCRC32") if name in answer}

    def copied(self, number=1, key="source", **options):
        return {**self.named, "PartNumber": number, "CopySource": {"Bucket": BUCKET, "Key": key}, **options}

    def completed(self, *parts, **options):
        return {**self.named, "MultipartUpload": {"Parts": list(parts)}, **options}


@pytest.fixture
def upload(s3):
    return Upload(s3)


def test_lawful_parts_and_copies_become_an_object(s3, upload, put, get):
    etag = put("a source ü", LARGE + b"abc")
    parts = [
        upload.part(1, LARGE),
        upload.copy(2, key="a source ü", CopySourceRange=f"bytes=3-{5 * MIB + 2}", CopySourceIfMatch=etag),
        upload.copy(5, key="a source ü"),
        upload.part(10_000, b"!"),
    ]
    s3.complete_multipart_upload(Bucket=BUCKET, **upload.completed(*parts, MpuObjectSize=15 * MIB + 4, IfNoneMatch="*"))
    assert get("k") == LARGE + LARGE[3:] + b"abc" + LARGE + b"abc" + b"!"


def test_not_all_parts_need_to_be_completed(s3, upload, get):
    upload.part(1, LARGE)
    s3.complete_multipart_upload(Bucket=BUCKET, **upload.completed(upload.part(2, b"ab"), MpuObjectSize=2))
    assert get("k") == b"ab"


def test_listed_parts_have_what_a_completion_repeats(s3, upload, put):
    put("source", LARGE + b"abc")
    parts = [upload.copy(1, CopySourceRange="bytes=1-9"), upload.part(2), upload.copy(3)]
    listed = s3.list_parts(Bucket=BUCKET, **upload.named)
    assert [{name: part[name] for name in parts[0]} for part in listed["Parts"]] == parts


def test_a_part_below_5_mib_must_be_the_last(s3, upload):
    parts = upload.part(1, LARGE[1:]), upload.part(2)
    assert refused(s3.complete_multipart_upload, **upload.completed(*parts)) == ("EntityTooSmall", 400)


@pytest.mark.parametrize("number", [-1, 0, 10_001])
def test_part_numbers_are_1_to_10_000(s3, upload, put, number):
    put("source", b"x")
    assert refused(s3.upload_part, **upload.named, PartNumber=number, Body=b"x") == ("InvalidArgument", 400)
    assert refused(s3.upload_part_copy, **upload.copied(number)) == ("InvalidArgument", 400)


@pytest.mark.parametrize("ranged", ["bytes=0-5000001", "bytes=5000001-5000001", "bytes=7-6", "bytes=-5", "bytes=5-", "5-6"])
def test_a_copied_range_must_lie_in_its_source(s3, upload, put, ranged):
    put("source", LARGE[:5_000_001])
    assert refused(s3.upload_part_copy, **upload.copied(CopySourceRange=ranged)) == ("InvalidArgument", 400)


def test_the_source_of_a_ranged_copy_must_be_above_5_mb(s3, upload, put):
    put("source", LARGE[:5_000_000])
    assert refused(s3.upload_part_copy, **upload.copied(CopySourceRange="bytes=0-4999999")) == ("InvalidRequest", 400)
    put("source", LARGE[:5_000_001])
    assert upload.copy(1, CopySourceRange="bytes=0-5000000")


@pytest.mark.parametrize("ranged", [{}, {"CopySourceRange": f"bytes=0-{5 * 2**30}"}], ids=["whole", "range"])
def test_a_copied_part_has_at_most_5_gib(s3, request, upload, put, ranged):
    if isinstance(s3, FormulaS3):
        s3.add("source", records_of_size(6 * 10**9))
    else:
        put("source", b"x")
        events = request.getfixturevalue("strict_s3")._inside.meta.events
        events.register("after-call.s3.HeadObject", lambda parsed, **_: parsed.update(ContentLength=6 * 10**9))
    assert refused(s3.upload_part_copy, **upload.copied(**ranged)) == ("InvalidRequest", 400)


def test_a_copied_source_must_have_the_named_etag(s3, upload, put):
    put("source", b"x")
    assert refused(s3.upload_part_copy, **upload.copied(CopySourceIfMatch='"another"')) == ("PreconditionFailed", 412)


def test_a_copied_source_must_exist(s3, upload):
    assert refused(s3.upload_part_copy, **upload.copied(key="absent")) == ("NoSuchKey", 404)


@pytest.mark.parametrize("numbers", [(2, 1), (1, 1)], ids=str)
def test_parts_are_completed_in_ascending_order(s3, upload, numbers):
    parts = {number: upload.part(number, LARGE) for number in (1, 2)}
    completed = upload.completed(*(parts[number] for number in numbers))
    assert refused(s3.complete_multipart_upload, **completed) == ("InvalidPartOrder", 400)


@pytest.mark.parametrize("changed", [{"ETag": f'"{"0" * 32}"'}, {"PartNumber": 2}, {"ChecksumCRC32": "AAAAAA=="}], ids=str)
def test_a_completion_names_parts_that_were_uploaded(s3, upload, changed):
    if isinstance(s3, FormulaS3) and "ChecksumCRC32" in changed:
        pytest.skip("the S3 of formulas knows no checksums")
    assert refused(s3.complete_multipart_upload, **upload.completed(upload.part(1) | changed)) == ("InvalidPart", 400)


@pytest.mark.parametrize("completed", [{}, {"MultipartUpload": {"Parts": []}}], ids=str)
def test_a_completion_names_parts(s3, upload, completed):
    assert refused(s3.complete_multipart_upload, **upload.named, **completed) == ("MalformedXML", 400)


def test_the_named_size_must_be_the_sum_of_the_completed_parts(s3, upload):
    completed = upload.completed(upload.part(1, LARGE), upload.part(2), MpuObjectSize=5 * MIB + 2)
    assert refused(s3.complete_multipart_upload, **completed) == ("InvalidRequest", 400)


def test_a_key_that_exists_is_not_written_if_it_must_not(s3, upload, put, get, uploads):
    put("k", b"old")
    completed = upload.completed(upload.part(1), IfNoneMatch="*")
    assert refused(s3.complete_multipart_upload, **completed) == ("PreconditionFailed", 412)
    assert refused(s3.put_object, Key="k", Body=b"new", IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert get("k") == b"old"
    assert len(uploads()) == 1


def test_a_key_is_replaced_only_where_it_has_the_named_etag(s3, upload, put, get, uploads):
    etag = put("k", b"old")
    part = upload.part(1)
    other = upload.completed(part, IfMatch='"another"')
    assert refused(s3.complete_multipart_upload, **other) == ("PreconditionFailed", 412)
    assert refused(s3.put_object, Key="k", Body=b"new", IfMatch='"another"') == ("PreconditionFailed", 412)
    assert get("k") == b"old"
    assert len(uploads()) == 1
    completed = s3.complete_multipart_upload(Bucket=BUCKET, **upload.completed(part, IfMatch=etag))["ETag"]
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"new", IfMatch=completed)
    assert get("k") == b"new"


def test_a_key_that_must_have_an_etag_must_exist(s3, upload, keys):
    assert refused(s3.complete_multipart_upload, **upload.completed(upload.part(1), IfMatch='"gone"')) == ("NoSuchKey", 404)
    assert refused(s3.put_object, Key="k", Body=b"new", IfMatch='"gone"') == ("NoSuchKey", 404)
    assert not keys()


@OF_MOTO_ALONE
def test_a_conditional_write_may_conflict_with_another(s3, strict_s3, upload, put, get):
    """The same PUT may be sent again; an upload must be made anew."""
    etag = put("k", b"old")
    strict_s3.conflict(2)
    part = upload.part(1)
    conflict = ("ConditionalRequestConflict", 409)
    assert refused(s3.complete_multipart_upload, **upload.completed(part, IfMatch=etag)) == conflict
    assert refused(s3.put_object, Key="k", Body=b"new", IfMatch=etag) == conflict
    assert refused(s3.complete_multipart_upload, **upload.completed(part, IfMatch=etag)) == conflict
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"new", IfMatch=etag)
    assert get("k") == b"new"


def test_a_key_is_deleted_only_where_it_has_the_named_etag(s3, put, keys):
    etag = put("k", b"old")
    assert refused(s3.delete_object, Key="k", IfMatch='"another"') == ("PreconditionFailed", 412)
    assert keys() == ["k"]
    s3.delete_object(Bucket=BUCKET, Key="k", IfMatch=etag)
    assert refused(s3.delete_object, Key="k", IfMatch=etag) == ("NoSuchKey", 404)
    assert not keys()


@pytest.mark.parametrize("state", ["unknown", "completed", "aborted", "of another key"])
def test_an_upload_that_is_not_open_is_none(s3, upload, put, state):
    put("source", b"x")
    part = upload.part(1)
    if state == "completed":
        s3.complete_multipart_upload(Bucket=BUCKET, **upload.completed(part))
    elif state == "aborted":
        s3.abort_multipart_upload(Bucket=BUCKET, **upload.named)
    else:
        upload.named["UploadId" if state == "unknown" else "Key"] = "another"
    for call, params in (
        (s3.upload_part, {**upload.named, "PartNumber": 1, "Body": b"x"}),
        (s3.upload_part_copy, upload.copied()),
        (s3.list_parts, upload.named),
        (s3.complete_multipart_upload, upload.completed(part)),
        (s3.abort_multipart_upload, upload.named),
    ):
        assert refused(call, **params) == ("NoSuchUpload", 404)


@OF_MOTO_ALONE
def test_a_part_has_the_kind_of_checksum_that_its_upload_was_created_with(s3):
    without = Upload(s3, ChecksumAlgorithm="SHA256")
    assert refused(s3.upload_part, **without.named, PartNumber=1, Body=b"x") == ("InvalidRequest", 400)


@OF_MOTO_ALONE
def test_an_upload_created_without_checksums_refuses_one(s3):
    created = s3.create_multipart_upload(Bucket=BUCKET, Key="k")
    named = {"Key": "k", "UploadId": created["UploadId"], "PartNumber": 1, "Body": b"x"}
    assert refused(s3.upload_part, **named) == ("InvalidRequest", 400)


@OF_MOTO_ALONE
def test_a_completion_repeats_the_checksums(s3, upload):
    part = upload.part(1)
    del part["ChecksumCRC32"]
    assert refused(s3.complete_multipart_upload, **upload.completed(part)) == ("InvalidRequest", 400)


@pytest.mark.parametrize(("count", "refusal"), [(1001, ("MalformedXML", 400)), (0, ("MalformedXML", 400))])
def test_1_to_1000_keys_are_deleted_at_once(s3, count, refusal):
    assert refused(s3.delete_objects, Delete={"Objects": [{"Key": str(number)} for number in range(count)]}) == refusal
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": str(number)} for number in range(1000)]})


@pytest.mark.parametrize(("body", "ranged"), [(b"x", "bytes=1-1"), (b"", "bytes=0-0"), (b"", "bytes=0-"), (b"", "bytes=-1")])
def test_a_range_outside_of_the_object_is_refused(s3, put, body, ranged):
    put("k", body)
    assert refused(s3.get_object, Key="k", Range=ranged) == ("InvalidRange", 416)


def test_a_part_or_an_object_that_is_too_large_is_refused(s3, upload, monkeypatch):
    parts = [upload.part(number, LARGE) for number in (1, 2)]
    monkeypatch.setattr(s3_rules, "MAX_OBJECT_BYTES", 2 * len(LARGE) - 1)
    assert refused(s3.complete_multipart_upload, **upload.completed(*parts)) == ("EntityTooLarge", 400)
