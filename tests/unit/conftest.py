"""S3 in memory: moto, held to S3's rules by `strict_s3.py`. No test here opens a socket."""

import json
from functools import partial
from pathlib import Path

import jsonschema
import moto
import moto.s3.models
import pytest

from support import s3_rules
from support.kills import Doomed
from support.merging import OUTPUT, Run
from support.places import dumped, split_uri
from support.samples import BUCKET, EXECUTION, document_after_probe, s3_error
from support.strict_s3 import StrictS3
from workflow import chunking, merge_outputs, multipart

REPORT_SCHEMA = json.loads(Path(merge_outputs.__file__).with_name("report.schema.json").read_text())


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch):
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
def strict_s3():
    """An S3 in memory that keeps S3's rules; it makes clients."""
    with moto.mock_aws():
        yield StrictS3()


@pytest.fixture
def s3(strict_s3):
    """A client of an S3 with the bucket `bucket`, which never waits before it tries again."""
    client = strict_s3.client()
    client.create_bucket(Bucket=BUCKET)
    return client


def _named(place):
    """Return bucket and key of a URI, or of a key in the tests' bucket."""
    return split_uri(place) if place.startswith("s3://") else (BUCKET, place)


@pytest.fixture
def put(s3):
    """Write bytes, a text or a model at a URI, or at a key of the tests' bucket; return its ETag."""

    def put(place, content, **options):
        bucket, key = _named(place)
        return s3.put_object(Bucket=bucket, Key=key, Body=dumped(content), **options)["ETag"]

    return put


@pytest.fixture
def get(s3):
    """Read what is at a URI, or at a key of the tests' bucket."""

    def get(place):
        bucket, key = _named(place)
        return s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    return get


@pytest.fixture
def report(get):
    """Read the report of the tests' output, which is as its schema says."""

    def report():
        found = json.loads(get(f"{OUTPUT}.report.json"))
        jsonschema.validate(found, REPORT_SCHEMA)
        return found

    return report


@pytest.fixture
def keys(s3):
    return lambda prefix="": [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", ())]


@pytest.fixture
def outputs_are(s3, put, keys):
    """Have nothing below out/ but these objects."""

    def outputs_are(objects):
        for key in keys("out/"):
            s3.delete_object(Bucket=BUCKET, Key=key)
        for key, body in objects.items():
            put(key, body)

    return outputs_are


@pytest.fixture
def uploads(s3):
    """List the uploads that were neither completed nor aborted."""
    return lambda: s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])


@pytest.fixture
def fail_calls(s3):
    """Make calls of an S3 operation fail as S3 does, before they are sent."""

    def fail(operation, code, *, key_ends="", status=503, times=None):
        seen = []

        def before_build(params, **_):
            key = params.get("Key") or params.get("Prefix") or ""
            if key.endswith(key_ends) and (times is None or len(seen) < times):
                seen.append(key)
                raise s3_error(operation, code, status)

        s3.meta.events.register(f"before-parameter-build.s3.{operation}", before_build)
        return seen

    return fail


@pytest.fixture
def killed_at(strict_s3):
    """A process that is killed at its n-th S3 call, before that is sent ("unsent") or before its answer comes ("unheard")."""
    return lambda number, moment: Doomed(strict_s3.client(), number, moment)


@pytest.fixture
def small_parts(monkeypatch):
    """S3 with its limits divided by 1,024, so that thousands of merges take minutes: KiB stand for MiB."""
    monkeypatch.setattr(multipart, "MIN_PART_BYTES", multipart.MIN_PART_BYTES // 1024)
    monkeypatch.setattr(multipart, "GATHER_BYTES", multipart.GATHER_BYTES // 1024)
    monkeypatch.setattr(s3_rules, "MIN_PART_BYTES", s3_rules.MIN_PART_BYTES // 1024)
    monkeypatch.setattr(s3_rules, "RANGED_COPY_BYTES", s3_rules.RANGED_COPY_BYTES // 1024)
    monkeypatch.setattr(moto.s3.models, "S3_UPLOAD_PART_MIN_SIZE", 5 * 1024)


@pytest.fixture
def document(s3):
    return partial(document_after_probe, s3)


@pytest.fixture
def run(s3, put, document, monkeypatch):
    """An execution with a chunk of each object: of 10 rows each, or of as many as `row_counts` says.

    `pads` are digits that each prediction of a chunk has more, or of all chunks; `number` is that of the execution.
    """
    monkeypatch.setattr(chunking, "MAX_SEGMENTS", 1)

    def make(row_counts=(10, 10, 10), pads=None, number=1, **changed):
        for index, rows in enumerate(row_counts):
            put(f"in/{index}.csv", b"a,b\n" + b"".join(b"%d,%d\n" % (index, row) for row in range(rows)))
        made = document(**changed)
        if number != 1:
            made["execution"] |= {"arn": f"{EXECUTION['arn']}-{number}", "name": f"run-{number}"}
        return Run(s3, made, dict.fromkeys(range(len(row_counts)), pads) if isinstance(pads, int) else pads)

    return make
