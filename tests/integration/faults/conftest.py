"""All six functions reach S3 through a fault proxy, with IAM enforced."""

import pytest
from executions import Executor

from support.s3_proxy import behind, s3_proxy


@pytest.fixture(scope="module")
def faulty(aws):
    """The proxy between all functions of the stack and S3; other modules may run between these, and have their own."""
    with s3_proxy(aws.endpoint_url, journal=True) as proxy, behind(proxy, aws):
        yield proxy


@pytest.fixture(scope="module")
def executor(aws, faulty):
    return Executor(aws, faulty)
