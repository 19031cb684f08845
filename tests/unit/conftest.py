"""S3 in memory (moto), and what moto leaves out of S3's rules. No test here opens a socket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import boto3
import moto
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from samples import BUCKET, EXECUTION, MODEL, s3_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

COPY_SOURCE_BYTES = 5_000_000


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_SESSION_TOKEN": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def s3() -> Iterator[S3Client]:
    """A client of an S3 with the bucket `bucket`, which never waits before it tries again."""
    with moto.mock_aws():
        client = boto3.client("s3", region_name="us-east-1", config=Config(retries={"mode": "standard", "max_attempts": 1}))
        client.create_bucket(Bucket=BUCKET)
        client.meta.events.register("before-parameter-build.s3.UploadPartCopy", _check_copy)
        client.meta.events.register("before-parameter-build.s3.CompleteMultipartUpload", _check_size)
        _CLIENTS.append(client)
        yield client
        _CLIENTS.clear()


@pytest.fixture
def put(s3: S3Client) -> Any:
    """Write an object, return its ETag."""

    def put_object(key: str, body: bytes | str, **options: Any) -> str:
        return s3.put_object(Bucket=BUCKET, Key=key, Body=body, **options)["ETag"]

    return put_object


@pytest.fixture
def get(s3: S3Client) -> Any:
    """Read an object."""
    return lambda key: s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()


@pytest.fixture
def keys(s3: S3Client) -> Any:
    """List the bucket."""
    return lambda prefix="": [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", ())]


@pytest.fixture
def uploads(s3: S3Client) -> Any:
    """List the uploads that were neither completed nor aborted."""
    return lambda: s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])


@pytest.fixture
def fail_calls(s3: S3Client) -> Any:
    """Make calls of an S3 operation fail as S3 does, before they are sent."""

    def fail(operation: str, code: str, *, key_ends: str = "", status: int = 503, times: int | None = None) -> list[str]:
        seen: list[str] = []

        def before_build(params: dict[str, Any], **_: Any) -> None:
            key = params.get("Key") or params.get("Prefix") or ""
            if key.endswith(key_ends) and (times is None or len(seen) < times):
                seen.append(key)
                raise s3_error(operation, code, status)

        s3.meta.events.register(f"before-parameter-build.s3.{operation}", before_build)
        return seen

    return fail


_CLIENTS: list[S3Client] = []


def _check_copy(params: dict[str, Any], **_: Any) -> None:
    bucket, _, key = unquote(params["CopySource"]).partition("/")  # botocore has quoted it by now
    try:
        head = _CLIENTS[-1].head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        raise s3_error("UploadPartCopy", "NoSuchKey", 404) from error
    if params["CopySourceIfMatch"] != head["ETag"]:
        raise s3_error("UploadPartCopy", "PreconditionFailed", 412)
    start, stop = (int(edge) for edge in params["CopySourceRange"].removeprefix("bytes=").split("-"))
    if head["ContentLength"] <= COPY_SOURCE_BYTES or not start <= stop < head["ContentLength"]:
        raise s3_error("UploadPartCopy", "InvalidRequest", 400)


def _check_size(params: dict[str, Any], **_: Any) -> None:
    parts = _CLIENTS[-1].list_parts(**{name: params[name] for name in ("Bucket", "Key", "UploadId")})["Parts"]
    if sum(part["Size"] for part in parts) != params["MpuObjectSize"]:
        raise s3_error("CompleteMultipartUpload", "InvalidRequest", 400)


@pytest.fixture
def document() -> Any:
    """The execution's document after Probe Model, with fields of the request changed by keyword."""

    def make(**changed: Any) -> Any:
        request = {
            "model_s3_uri": "s3://bucket/model.joblib",
            "data_s3_uri": ["s3://bucket/in/"],
            "output_s3_uri": "s3://bucket/out/result.csv",
            "prediction_column_name": "prediction",
            "feature_columns": ["a", "b"],
            "chunk_size_mb": 64,
            "max_concurrency": 100,
            "tolerated_failure_percentage": 0,
            "prediction_method": "predict",
            "on_bad_row": "fail",
            "strict": False,
            "model_sha256": None,
            "overwrite": False,
            "dry_run": False,
            "keep_work": False,
            "scheduled_time": "2026-11-24T02:00:00.123000Z",
        } | changed
        prediction = {
            "model_s3_uri": request["model_s3_uri"],
            "model_etag": '"model"',
            "model_sha256": request["model_sha256"],
            "feature_columns": request["feature_columns"],
            "prediction_column_name": request["prediction_column_name"],
            "prediction_method": request["prediction_method"],
            "on_bad_row": request["on_bad_row"],
            "strict": request["strict"],
            "raise_errors": True,
        }
        return json.loads(
            json.dumps(
                {
                    "request": request,
                    "execution": EXECUTION,
                    "prediction": prediction,
                    "probe": {**prediction, "data_s3_uri": "s3://bucket/in/1.csv", "data_etag": '"1"', "probe_rows": 1000},
                    "model": {"rows": 2, "rows_per_second": 1e6, "prediction_columns": ["prediction"], "model": MODEL},
                }
            )
        )

    return make
