"""S3 as the handler sees it: moto, held to S3's rules."""

import pytest
from harness import BUCKET, dumped

import prediction_handler as handler


@pytest.fixture
def s3(strict_s3):
    handler._s3_client.cache_clear()
    handler._model_cache.clear()
    client = strict_s3.hold(handler._s3_client())
    client.create_bucket(Bucket=BUCKET)
    yield client
    handler._s3_client.cache_clear()


@pytest.fixture
def put(s3):
    """Store a model or bytes at a URI."""

    def put(uri, content):
        bucket, key = handler.parse_s3_uri(uri)
        s3.put_object(Bucket=bucket, Key=key, Body=dumped(content))

    return put


@pytest.fixture
def get(s3):
    def get(uri):
        bucket, key = handler.parse_s3_uri(uri)
        return s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    return get
