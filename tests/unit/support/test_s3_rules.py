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


class Upload:
    """An upload to the key `k` with CRC32 checksums, as boto3 sends them."""

    def __init__(self, s3, **options):
        self.s3 = s3
        self.named = {"Bucket": BUCKET, "Key": "k"}
        created = s3.create_multipart_upload(**self.named, **({"ChecksumAlgorithm": "CRC32"} | options))
        self.named["UploadId"] = created["UploadId"]

    def source(self, size):
        """Write an object of so many bytes, which copies take unless they name another."""
        self.s3.put_object(Bucket=BUCKET, Key="source", Body=LARGE[:size])
        return self

    def part(self, number, body=b"x"):
        return self._named(number, self.s3.upload_part(**self.named, PartNumber=number, Body=body))

    def copy(self, number, key="source", **options):
        source = {"Bucket": BUCKET, "Key": key}
        copied = self.s3.upload_part_copy(**self.named, PartNumber=number, CopySource=source, **options)
        return self._named(number, copied["CopyPartResult"])

    @staticmethod
    def _named(number, answer):
        return {"PartNumber": number} | {name: answer[name] for name in ("ETag", "ChecksumCRC32") if name in answer}

    def complete(self, *parts, **options):
        return self.s3.complete_multipart_upload(**self.named, MultipartUpload={"Parts": list(parts)}, **options)["ETag"]


@pytest.fixture
def upload(s3):
    return Upload(s3)


def refusal(call, *arguments, **named):
    """Code and status of S3's refusal."""
    with pytest.raises(ClientError) as caught:
        call(*arguments, **named)
    return f"{caught.value.response['Error']['Code']} {caught.value.response['ResponseMetadata']['HTTPStatusCode']}"


def test_lawful_parts_and_copies_become_an_object(upload, put, get):
    etag = put("a source ü", LARGE + b"abc")
    parts = [
        upload.part(1, LARGE),
        upload.copy(2, "a source ü", CopySourceRange=f"bytes=3-{5 * MIB + 2}", CopySourceIfMatch=etag),
        upload.copy(5, "a source ü"),
        upload.part(10_000, b"!"),
    ]
    upload.complete(*parts, MpuObjectSize=15 * MIB + 4, IfNoneMatch="*")
    assert get("k") == LARGE + LARGE[3:] + b"abc" + LARGE + b"abc" + b"!"


def test_not_all_parts_need_to_be_completed(upload, get):
    upload.part(1, LARGE)
    upload.complete(upload.part(2, b"ab"), MpuObjectSize=2)
    assert get("k") == b"ab"


def test_listed_parts_have_what_a_completion_repeats(s3, upload):
    upload.source(5_000_001)
    parts = [upload.copy(1, CopySourceRange="bytes=1-9"), upload.part(2), upload.copy(3)]
    listed = s3.list_parts(**upload.named)
    assert [{name: part[name] for name in parts[0]} for part in listed["Parts"]] == parts


def swapped(upload):
    first, second = upload.part(1, LARGE), upload.part(2, LARGE)
    upload.complete(second, first)


OUTSIDE = ("0-5000001", "5000001-5000001", "7-6", "-5", "5-")
NO_NUMBERS = (-1, 0, 10_001)
REFUSED = [
    ("a part below 5 MiB before another", lambda up: up.complete(up.part(1, LARGE[1:]), up.part(2)), "EntityTooSmall 400"),
    *((f"part {number}", lambda up, n=number: up.part(n), "InvalidArgument 400") for number in NO_NUMBERS),
    *((f"a copy as part {number}", lambda up, n=number: up.source(1).copy(n), "InvalidArgument 400") for number in NO_NUMBERS),
    *(
        (f"{ranged} of 5000001 bytes", lambda up, r=ranged: up.source(5_000_001).copy(1, CopySourceRange=r), "InvalidArgument 400")
        for ranged in ("5-6", *(f"bytes={outside}" for outside in OUTSIDE))
    ),
    (
        "a range of a source of 5 MB",
        lambda up: up.source(5_000_000).copy(1, CopySourceRange="bytes=0-4999999"),
        "InvalidRequest 400",
    ),
    ("a source of another ETag", lambda up: up.source(1).copy(1, CopySourceIfMatch='"another"'), "PreconditionFailed 412"),
    ("a source that is not there", lambda up: up.copy(1, "absent"), "NoSuchKey 404"),
    ("parts in another order", swapped, "InvalidPartOrder 400"),
    ("a part twice", lambda up: up.complete(*[up.part(1, LARGE)] * 2), "InvalidPartOrder 400"),
    ("another ETag", lambda up: up.complete(up.part(1) | {"ETag": f'"{"0" * 32}"'}), "InvalidPart 400"),
    ("another number", lambda up: up.complete(up.part(1) | {"PartNumber": 2}), "InvalidPart 400"),
    ("no parts", lambda up: up.complete(), "MalformedXML 400"),
    ("no list of parts", lambda up: up.s3.complete_multipart_upload(**up.named), "MalformedXML 400"),
    (
        "another size",
        lambda up: up.complete(up.part(1, LARGE), up.part(2), MpuObjectSize=5 * MIB + 2),
        "InvalidRequest 400",
    ),
]


@pytest.mark.parametrize(("attempt", "code"), [pytest.param(*row, id=what) for what, *row in REFUSED])
def test_an_upload_is_refused(upload, attempt, code):
    assert refusal(attempt, upload) == code


OF_CHECKSUMS = [
    ("another checksum", lambda up: up.complete(up.part(1) | {"ChecksumCRC32": "AAAAAA=="}), "InvalidPart 400"),
    ("an upload of other checksums", lambda up: Upload(up.s3, ChecksumAlgorithm="SHA256").part(1), "InvalidRequest 400"),
    ("a completion without them", lambda up: up.complete({"PartNumber": 1, "ETag": up.part(1)["ETag"]}), "InvalidRequest 400"),
]


@OF_MOTO_ALONE
@pytest.mark.parametrize(("attempt", "code"), [pytest.param(*row, id=what) for what, *row in OF_CHECKSUMS])
def test_an_upload_is_refused_for_its_checksums(upload, attempt, code):
    assert refusal(attempt, upload) == code


@OF_MOTO_ALONE
def test_an_upload_created_without_checksums_refuses_one(s3):
    created = s3.create_multipart_upload(Bucket=BUCKET, Key="k")
    named = {"Bucket": BUCKET, "Key": "k", "UploadId": created["UploadId"], "PartNumber": 1, "Body": b"x"}
    assert refusal(s3.upload_part, **named) == "InvalidRequest 400"


def test_the_source_of_a_ranged_copy_is_above_5_mb(upload):
    assert upload.source(5_000_001).copy(1, CopySourceRange="bytes=0-5000000")


@pytest.mark.parametrize("ranged", [{}, {"CopySourceRange": f"bytes=0-{5 * 2**30}"}], ids=["whole", "range"])
def test_a_copied_part_has_at_most_5_gib(s3, request, upload, ranged):
    if isinstance(s3, FormulaS3):
        s3.add("source", records_of_size(6 * 10**9))
    else:
        upload.source(1)
        events = request.getfixturevalue("strict_s3")._inside.meta.events
        events.register("after-call.s3.HeadObject", lambda parsed, **_: parsed.update(ContentLength=6 * 10**9))
    assert refusal(upload.copy, 1, **ranged) == "InvalidRequest 400"


@pytest.mark.parametrize(
    ("old", "condition", "code"),
    [
        (b"old", {"IfNoneMatch": "*"}, "PreconditionFailed 412"),
        (b"old", {"IfMatch": '"another"'}, "PreconditionFailed 412"),
        (None, {"IfMatch": '"gone"'}, "NoSuchKey 404"),
    ],
    ids=["must not exist", "must have an ETag", "must exist"],
)
def test_a_key_is_written_only_on_its_condition(s3, upload, put, keys, get, uploads, old, condition, code):
    if old:
        put("k", old)
    assert refusal(upload.complete, upload.part(1), **condition) == code
    assert refusal(put, "k", b"new", **condition) == code
    assert [get(key) for key in keys()] == ([old] if old else [])
    assert len(uploads()) == 1


def test_a_key_that_has_the_named_etag_is_replaced(upload, put, get):
    completed = upload.complete(upload.part(1), IfMatch=put("k", b"old"))
    put("k", b"new", IfMatch=completed)
    assert get("k") == b"new"


@OF_MOTO_ALONE
def test_a_conditional_write_may_conflict_with_another(strict_s3, upload, put, get):
    """The same PUT may be sent again; an upload must be made anew."""
    etag = put("k", b"old")
    strict_s3.conflict(2)
    part = upload.part(1)
    conflict = "ConditionalRequestConflict 409"
    assert refusal(upload.complete, part, IfMatch=etag) == conflict
    assert refusal(put, "k", b"new", IfMatch=etag) == conflict
    assert refusal(upload.complete, part, IfMatch=etag) == conflict
    put("k", b"new", IfMatch=etag)
    assert get("k") == b"new"


def test_a_key_is_deleted_only_where_it_has_the_named_etag(s3, put, keys):
    named = {"Bucket": BUCKET, "Key": "k"}
    etag = put("k", b"old")
    assert refusal(s3.delete_object, **named, IfMatch='"another"') == "PreconditionFailed 412"
    assert keys() == ["k"]
    s3.delete_object(**named, IfMatch=etag)
    assert refusal(s3.delete_object, **named, IfMatch=etag) == "NoSuchKey 404"
    assert not keys()


@pytest.mark.parametrize("state", ["unknown", "completed", "aborted", "of another key"])
def test_an_upload_that_is_not_open_is_none(s3, upload, state):
    part = upload.source(1).part(1)
    if state == "completed":
        upload.complete(part)
    elif state == "aborted":
        s3.abort_multipart_upload(**upload.named)
    else:
        upload.named["UploadId" if state == "unknown" else "Key"] = "another"
    for call, *arguments in ((upload.part, 1), (upload.copy, 1), (upload.complete, part)):
        assert refusal(call, *arguments) == "NoSuchUpload 404"
    for call in (s3.list_parts, s3.abort_multipart_upload):
        assert refusal(call, **upload.named) == "NoSuchUpload 404"


def test_1_to_1000_keys_are_deleted_at_once(s3):
    keys = [{"Key": str(number)} for number in range(1001)]
    for refused in (keys, []):
        assert refusal(s3.delete_objects, Bucket=BUCKET, Delete={"Objects": refused}) == "MalformedXML 400"
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": keys[:1000]})


@pytest.mark.parametrize(("body", "ranged"), [(b"x", "bytes=1-1"), (b"", "bytes=0-0"), (b"", "bytes=0-"), (b"", "bytes=-1")])
def test_a_range_outside_of_the_object_is_refused(s3, put, body, ranged):
    put("k", body)
    assert refusal(s3.get_object, Bucket=BUCKET, Key="k", Range=ranged) == "InvalidRange 416"


def test_an_object_that_is_too_large_is_refused(upload, monkeypatch):
    parts = [upload.part(number, LARGE) for number in (1, 2)]
    monkeypatch.setattr(s3_rules, "MAX_OBJECT_BYTES", 2 * len(LARGE) - 1)
    assert refusal(upload.complete, *parts) == "EntityTooLarge 400"
