"""S3 as the handler sees it: moto, held to S3's rules; and the kernel in C, as the package has it."""

import os

import pytest
from harness import BUCKET

import prediction_handler as handler
from batch_predict.setup import kernel
from predict_kernel import LIBRARY_VARIABLE
from predict_kernel import kernel as loaded


@pytest.fixture(scope="session", autouse=True)
def library():
    """The kernel that scores trees in these tests: this machine's, unless a test of sanitizers names another."""
    if path := os.environ.get(LIBRARY_VARIABLE):
        yield path
        return
    path = kernel.local_kernel()
    assert path, "install a C compiler (cc)"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LIBRARY_VARIABLE, str(path))
        loaded.cache_clear()  # a test of another folder may have found none
        yield path


@pytest.fixture
def s3(strict_s3):
    handler._s3_client.cache_clear()
    handler._model_cache.clear()
    client = strict_s3.hold(handler._s3_client())
    client.create_bucket(Bucket=BUCKET)
    yield client
    handler._s3_client.cache_clear()
