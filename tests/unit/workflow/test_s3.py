from io import BytesIO

import pytest
from botocore.response import StreamingBody

from workflow import s3 as s3_module
from workflow.errors import InputChangedError, InvalidRequestError, TransientS3Error


@pytest.mark.parametrize("uri", ["", "bucket/key", "s3://", "s3://bucket", "s3://bucket/", "s3://B/key", "http://bucket/key"])
def test_anything_but_bucket_and_key_is_refused(uri):
    with pytest.raises(InvalidRequestError, match="s3://bucket/key"):
        s3_module.parse_s3_uri(uri)


@pytest.mark.parametrize("key", ["k", "a/b.csv", "in/", "ü b?c#d\n", "a//b"])
def test_a_key_is_taken_as_it_is(key):
    assert s3_module.parse_s3_uri(f"s3://bucket/{key}") == ("bucket", key)


def break_bodies(s3, times):
    """Make the bodies of the first GETs end after two bytes, as a connection that breaks off does; returns the ranges asked for."""
    asked = []

    def note(params, **_):
        asked.append(params.get("Range", "all"))

    def cut(parsed, **_):
        if len(asked) <= times:
            parsed["Body"] = StreamingBody(BytesIO(parsed["Body"].read()[:2]), content_length=parsed["ContentLength"])

    s3.meta.events.register("provide-client-params.s3.GetObject", note)
    s3.meta.events.register("after-call.s3.GetObject", cut)
    return asked


def test_a_body_that_breaks_is_read_on_where_it_broke(s3, put):
    etag = put("k", b"0123456789")
    asked = break_bodies(s3, times=2)
    assert s3_module.read_range(s3, "s3://bucket/k", 2, 8, etag) == b"234567"
    assert asked == ["bytes=2-7", "bytes=4-7", "bytes=6-7"]


def test_a_whole_object_is_read_on_where_it_broke_too(s3, put):
    put("k", '["ü", 1]')
    asked = break_bodies(s3, times=2)
    assert s3_module.get_json(s3, "s3://bucket/k") == ["ü", 1]
    assert asked == ["all", "bytes=2-", "bytes=4-"]


def test_an_object_that_is_replaced_while_it_is_read_is_never_mixed(s3, put):
    put("k", '["old"]')
    break_bodies(s3, times=1)
    s3.meta.events.register("needs-retry.s3.GetObject", lambda **_: put("k", '["new"]') and None)
    with pytest.raises(TransientS3Error, match="replaced"):
        s3_module.get_json(s3, "s3://bucket/k")


def test_a_body_that_keeps_breaking_is_transient(s3, put):
    etag = put("k", b"0123456789" * 9)
    asked = break_bodies(s3, times=99)
    with pytest.raises(TransientS3Error):
        s3_module.read_range(s3, "s3://bucket/k", 2, 80, etag)
    assert len(asked) == s3_module.BODY_ATTEMPTS


def test_an_object_that_ends_too_early_has_changed(s3, put):
    etag = put("k", b"0123456789")
    with pytest.raises(InputChangedError, match="not all there"):
        s3_module.read_range(s3, "s3://bucket/k", 2, 80, etag)


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a": NaN}', b"[1e5, Infinity]", b"\xff", b"", b"1" * 5000, b"{"])
def test_what_is_no_json_is_a_value_error(s3, put, text):
    put("k", text)
    with pytest.raises(ValueError, match=r"."):
        s3_module.get_json(s3, "s3://bucket/k")


def test_half_a_surrogate_pair_is_written_as_its_escape(s3):
    s3_module.put_json(s3, "s3://bucket/k.json", {"message": "\ud800 ü"})
    assert s3_module.get_json(s3, "s3://bucket/k.json") == {"message": "\ud800 ü"}
    with pytest.raises(InvalidRequestError):
        s3_module.parse_s3_uri("s3://bucket/\ud800")
