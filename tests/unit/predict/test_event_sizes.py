"""What does not fit into the function's storage or memory is refused before its body is read."""

import errno
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from botocore.response import StreamingBody
from harness import BUCKET, DATA, MODEL, OUTPUT, invoke, linear

import prediction_handler as handler


class Usage(NamedTuple):
    total: int
    used: int
    free: int


BODY = b"x1,x2\n" + b"1,2\n" * 1000


@pytest.fixture
def stored(put):
    put(MODEL, linear())
    put(DATA, BODY)


@pytest.fixture
def bodies(monkeypatch):
    """How many bodies were begun."""
    begun = []
    original = StreamingBody.iter_chunks
    monkeypatch.setattr(StreamingBody, "iter_chunks", lambda body, size: begun.append(1) or original(body, size))
    return begun


@pytest.fixture
def free(monkeypatch):
    """Say how many bytes of the storage are free."""

    def free(n_bytes):
        monkeypatch.setattr(handler.shutil, "disk_usage", lambda _: Usage(10**12, 0, n_bytes))

    return free


def model_bytes(s3):
    return s3.head_object(Bucket=BUCKET, Key=handler.parse_s3_uri(MODEL)[1])["ContentLength"]


def refusal(error, **fields):
    status, body = invoke(**fields)
    assert (status, body["error"]) == (400, error), body
    assert "/tmp" not in body["message"]
    assert not list(Path(tempfile.gettempdir()).glob(f"predict-{os.getpid()}-*"))
    return body["message"]


@pytest.fixture(autouse=True)
def own_storage(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


GROUP = [{"data_s3_uri": DATA, "byte_range": [0, 3006]}, {"data_s3_uri": DATA, "byte_range": [3006, len(BODY)]}]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"byte_range": [0, len(BODY)]},
        {"data_s3_uri": None, "segments": GROUP},
        {"data_s3_uri": None, "segments": [{"data_s3_uri": DATA}]},
    ],
)
def test_a_chunk_must_fit_twice_beside_the_model(s3, free, bodies, fields):
    needed = 2 * len(BODY) + model_bytes(s3)
    free(needed)
    assert invoke(**fields)[0] == 200
    free(2 * len(BODY) - 1)  # the model is kept by now
    bodies.clear()
    message = refusal("InvalidRequestError", **fields)
    assert f"chunk's {len(BODY)} bytes and its part need {2 * len(BODY)} bytes" in message
    assert "raise PredictEphemeralStorageSize or lower chunk_size_mb" in message
    assert not bodies


@pytest.mark.usefixtures("stored")
def test_a_chunk_that_does_not_fit_is_not_blamed_on_the_model(s3, free):
    """Whichever of the two is asked for first: here the chunk's size comes from S3, while the model is fetched."""
    free(2 * len(BODY) - 1)
    assert model_bytes(s3) < 2 * len(BODY) - 1
    for _ in range(5):
        handler._model_cache.clear()
        assert f"chunk's {len(BODY)} bytes" in refusal("InvalidRequestError")


@pytest.mark.usefixtures("stored")
def test_objects_of_a_group_are_added_up_as_s3_tells_their_sizes(free):
    group = [{"data_s3_uri": DATA}] * 3
    assert invoke(data_s3_uri=None, segments=group)[0] == 200
    free(6 * len(BODY))
    assert invoke(data_s3_uri=None, segments=group)[0] == 200
    free(6 * len(BODY) - 1)
    assert "raise PredictEphemeralStorageSize" in refusal("InvalidRequestError", data_s3_uri=None, segments=group)


@pytest.mark.usefixtures("stored")
def test_a_sparse_giant_is_refused_before_its_body(s3, monkeypatch, bodies):
    """S3 says 10 TB of the data and of nothing else."""

    def enlarge(parsed, **_):
        if parsed.get("ContentLength") == len(BODY):
            parsed["ContentLength"] = 10**13

    handler._s3_client().meta.events.register("after-call.s3.GetObject", enlarge)
    assert invoke(byte_range=[0, len(BODY)])[0] == 200
    bodies.clear()
    message = refusal("InvalidRequestError")
    assert f"the chunk's {10**13} bytes" in message
    assert not bodies
    assert f"the chunk's {10**13} bytes" in refusal("InvalidRequestError", byte_range=[0, 10**13])


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("has_etag", [True, False])
def test_a_model_must_fit_into_the_storage(s3, free, bodies, has_etag):
    etag = s3.head_object(Bucket=BUCKET, Key=handler.parse_s3_uri(MODEL)[1])["ETag"] if has_etag else None
    size = model_bytes(s3)
    fields = {"model_etag": etag, "probe_rows": 5}
    free(size - 1)
    message = refusal("ModelError", **fields)
    assert f"{MODEL} has {size} bytes, more than the {size - 1} that are free" in message
    assert "raise PredictEphemeralStorageSize" in message
    assert not bodies
    free(size)
    assert invoke(**fields)[0] == 200


@pytest.mark.usefixtures("stored")
def test_a_model_must_fit_into_the_memory(s3, monkeypatch, bodies):
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1")
    sizes = [2**20 + 1]

    def enlarge(parsed, **_):
        parsed["ContentLength"] = sizes.pop() if sizes else parsed["ContentLength"]

    handler._s3_client().meta.events.register("after-call.s3.GetObject", enlarge)
    message = refusal("ModelError", probe_rows=5)
    assert f"{MODEL} has {2**20 + 1} bytes, more than the function's 1 MB: raise PredictMemorySize" in message
    assert not bodies
    sizes.append(2**20)
    assert invoke(probe_rows=5)[0] == 200
    handler._model_cache.clear()
    sizes.append(2**20 + 1)
    monkeypatch.setenv("DEPLOYED_PACKAGE", '{"python": "3.13"}')  # on the local AWS, the memory is the machine's
    assert invoke(probe_rows=5)[0] == 200
    handler._s3_client().meta.events.unregister("after-call.s3.GetObject", enlarge)


@pytest.mark.usefixtures("stored")
def test_a_part_that_fills_the_storage_is_named(s3, monkeypatch):
    """Predictions may be longer than their rows: then twice the chunk is not enough."""

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/secret/part.csv")

    monkeypatch.setattr(handler, "_score_chunk", full)
    assert "raise PredictEphemeralStorageSize" in refusal("InvalidRequestError")
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix=handler.parse_s3_uri(OUTPUT)[1])["KeyCount"] == 0
