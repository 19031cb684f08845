"""The Lambda benchmark runs, and its slow S3 is what boto3 takes for S3, and slow."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest
from boto3.s3.transfer import TransferConfig

from benchmarks.paced_s3 import BUCKET, BURST_SECONDS, LATENCY_SECONDS, etag_of, paced_s3

MEBIBYTE = 2**20
ROOT = Path(__file__).parents[2]


@pytest.fixture
def paced(monkeypatch):
    with paced_s3() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server, boto3.client("s3")


def test_a_client_reads_ranges_and_writes_in_parts_no_faster_than_the_network(paced):
    server, client = paced
    body = os.urandom(8 * MEBIBYTE)
    client.put_object(Bucket=BUCKET, Key="small", Body=body)
    assert server.objects["small"] == body
    server.set_pace(40)
    started = time.monotonic()
    answer = client.get_object(Bucket=BUCKET, Key="small", Range="bytes=1-4194304", IfMatch=etag_of(body))
    assert answer["Body"].read() == body[1 : 4 * MEBIBYTE + 1]
    assert time.monotonic() - started > 4 * MEBIBYTE / 40e6 - BURST_SECONDS
    started = time.monotonic()
    client.put_object(Bucket=BUCKET, Key="large", Body=body)
    assert time.monotonic() - started > 8 * MEBIBYTE / 40e6 - BURST_SECONDS
    assert server.requests == {"GET": 1, "PUT": 1}


def test_parts_are_counted_and_every_request_waits(paced, tmp_path):
    server, client = paced
    (tmp_path / "part").write_bytes(bytes(11 * MEBIBYTE))
    client.upload_file(str(tmp_path / "part"), BUCKET, "part", Config=TransferConfig(multipart_chunksize=5 * MEBIBYTE))
    assert server.requests == {"POST": 2, "PUT": 3}
    started = time.monotonic()
    assert client.head_object(Bucket=BUCKET, Key="part")["ContentLength"] == 11 * MEBIBYTE
    assert time.monotonic() - started > LATENCY_SECONDS
    with pytest.raises(client.exceptions.ClientError, match="404"):
        client.head_object(Bucket=BUCKET, Key="none")


@pytest.mark.thorough
def test_sizes_are_measured_reckoned_and_written(tmp_path):
    sizes = ["--scale", "0.002", "--cases", "a ridge", "--memory", "640", "1769", "10240"]
    command = [
        sys.executable,
        "-m",
        "benchmarks.lambda_sizes",
        *sizes,
        "--cache",
        str(tmp_path),
        "--results",
        str(tmp_path / "results"),
    ]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "results/lambda.md").read_text() == ran.stdout
    sizes = json.loads((tmp_path / "results/lambda.json").read_text())["sizes"]
    is_measured = {(figures["chunk_mb"], figures["memory_mb"]): figures["is_measured"] for figures in sizes}
    assert is_measured == {(mb, memory): memory == 1769 for mb in (256, 64) for memory in (640, 1769, 10_240)}
    for figures in sizes:
        assert 0 < figures["bound_seconds"] <= figures["warm"]["seconds"] < figures["cold"]["seconds"]
