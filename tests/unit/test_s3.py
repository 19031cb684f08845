from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.response import StreamingBody

import s3 as s3_module
from errors import InputChangedError, InputNotFoundError, InvalidRequestError, TransientS3Error

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.mark.parametrize("uri", ["", "bucket/key", "s3://", "s3://bucket", "s3://bucket/", "s3://B/key", "http://bucket/key"])
def test_anything_but_bucket_and_key_is_refused(uri: str) -> None:
    with pytest.raises(InvalidRequestError, match="s3://bucket/key"):
        s3_module.parse_s3_uri(uri)


@pytest.mark.parametrize("key", ["k", "a/b.csv", "in/", "ü b?c#d\n", "a//b"])
def test_a_key_is_taken_as_it_is(key: str) -> None:
    assert s3_module.parse_s3_uri(f"s3://bucket/{key}") == ("bucket", key)


def break_bodies(s3: S3Client, times: int) -> list[int]:
    """Make the bodies of the first GETs end too early, as a connection that breaks off does."""
    broken: list[int] = []

    def cut(parsed: dict[str, Any], **_: Any) -> None:
        if len(broken) < times:
            broken.append(len(broken))
            parsed["Body"] = StreamingBody(BytesIO(b"ab"), content_length=5)

    s3.meta.events.register("after-call.s3.GetObject", cut)
    return broken


def test_a_body_that_breaks_is_read_again(s3: S3Client, put: Any) -> None:
    etag = put("k", b"0123456789")
    broken = break_bodies(s3, times=2)
    assert s3_module.read_range(s3, "s3://bucket/k", 2, 7, etag) == b"23456"
    assert len(broken) == 2


def test_a_body_that_keeps_breaking_is_transient(s3: S3Client, put: Any) -> None:
    etag = put("k", b"0123456789")
    break_bodies(s3, times=9)
    with pytest.raises(TransientS3Error):
        s3_module.read_range(s3, "s3://bucket/k", 2, 7, etag)


def test_an_endpoint_that_is_not_there_is_transient() -> None:
    with pytest.raises(TransientS3Error), s3_module.s3_calls("s3://bucket/k"):
        raise EndpointConnectionError(endpoint_url="https://s3.amazonaws.com")


def test_another_etag_is_a_changed_input(s3: S3Client, put: Any) -> None:
    etag = put("k", b"old")
    put("k", b"new")
    with pytest.raises(InputChangedError, match="s3://bucket/k"):
        s3_module.read_range(s3, "s3://bucket/k", 0, 3, etag)


def test_json_comes_back(s3: S3Client) -> None:
    s3_module.put_json(s3, "s3://bucket/k.json", {"ü": [1, None]})
    assert s3_module.get_json(s3, "s3://bucket/k.json") == {"ü": [1, None]}
    with pytest.raises(InputNotFoundError):
        s3_module.get_json(s3, "s3://bucket/other.json")


def test_the_client_says_how_it_retries() -> None:
    s3_module.s3_client.cache_clear()
    config = s3_module.s3_client().meta.config
    s3_module.s3_client.cache_clear()
    assert config.retries["mode"] == "standard"  # type: ignore[attr-defined]
    assert config.max_pool_connections >= 2 * s3_module.CONCURRENT_REQUESTS
