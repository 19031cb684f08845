"""S3 as the handler sees it: moto, held to S3's rules."""

import io

import joblib
import pytest
from botocore.awsrequest import AWSResponse
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


@pytest.fixture
def put(s3):
    """Store a model or bytes at a URI."""

    def put(uri, content):
        if not isinstance(content, (bytes, str)):
            buffer = io.BytesIO()
            joblib.dump(content, buffer)
            content = buffer.getvalue()
        bucket, key = handler.parse_s3_uri(uri)
        s3.put_object(Bucket=bucket, Key=key, Body=content)

    return put


@pytest.fixture
def get(s3):
    def get(uri):
        bucket, key = handler.parse_s3_uri(uri)
        return s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    return get


@pytest.fixture
def refuse(s3):
    """Make S3 answer a code to one operation on one key, each time."""

    class Raw:
        def __init__(self, body):
            self.body = body

        def stream(self):
            yield self.body

    def refuse(operation, key, code, status):
        def answer(request, **_):
            if request.url.split("?")[0].endswith(key):
                body = f"<Error><Code>{code}</Code><Message>refused</Message></Error>".encode()
                return AWSResponse(request.url, status, {"content-type": "application/xml"}, Raw(body))
            return None

        client = handler._s3_client()
        client.meta.config.retries["total_max_attempts"] = 1
        client.meta.events.register_first(f"before-send.s3.{operation}", answer)

    return refuse
