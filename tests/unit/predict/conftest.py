"""S3 as the handler sees it: moto, held to S3's rules."""

import pytest
from harness import BUCKET

import prediction_handler as handler


@pytest.fixture
def s3(strict_s3):
    handler._s3_client.cache_clear()
    handler._model_cache.clear()
    client = strict_s3.hold(handler._s3_client())
    client.create_bucket(Bucket=BUCKET)
    yield client
    handler._s3_client.cache_clear()
