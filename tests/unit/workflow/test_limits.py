"""Each limit at its edge: the last that passes, the first that is refused, and that nothing was done by then."""

import json

import pytest
from botocore.response import StreamingBody

from support.samples import normalised
from workflow import inputs, limits, plan_chunks, validate_request, work
from workflow.errors import MESSAGE_CHARACTERS, InvalidRequestError


def request_of_bytes(n_bytes):
    """Return columns with which the request has so many bytes as JSON."""
    spare = n_bytes - len(json.dumps(normalised(feature_columns=["a", "b"])))
    return {"feature_columns": ["a", "b" * (spare + 1)]}


def key(n_bytes):
    """Return a key of so many bytes, which are fewer characters."""
    return "ä" * (n_bytes // 2) + "x" * (n_bytes % 2)


EDGES = {
    "bytes of the model's key": (lambda n: {"model_s3_uri": f"s3://bucket/{key(n)}"}, 1024, "has a key of 1025 bytes"),
    "bytes of the data's keys": (lambda n: {"data_s3_uri": ["s3://bucket/a", f"s3://bucket/{key(n)}"]}, 1024, "of 1025 bytes"),
    "bytes of the output's key": (
        lambda n: {"output_s3_uri": f"s3://bucket/{key(n)}"}, limits.MAX_OUTPUT_KEY_BYTES, "shorten it to 850 bytes",
    ),
    "characters of a URI": (
        lambda n: {"model_s3_uri": f"s3://{'b' * 63}/" + "k" * (n - 69)}, 1093, "model_s3_uri must have at most 1093 characters"
    ),
    "entries of the data": (lambda n: {"data_s3_uri": [f"s3://bucket/{i}" for i in range(n)]}, 1000, "must name at most 1000, not"),
    "columns": (lambda n: {"feature_columns": [f"{i:x}" for i in range(n)]}, 10_000, "feature_columns must name at most 10000"),
    "characters of the prediction's name": (lambda n: {"prediction_column_name": "p" * n}, 1000, "at most 1000 characters"),
    "characters of a version": (lambda n: {"model_version_id": "v" * n}, 1024, "model_version_id must have at most 1024"),
    "bytes of the request": (request_of_bytes, limits.MAX_REQUEST_BYTES, "name the data by a prefix, a glob or a manifest"),
}  # fmt: skip


@pytest.mark.parametrize("what", EDGES)
def test_a_request_may_be_as_large_as_its_limit_and_no_larger(what, monkeypatch):
    fields_of, limit, says = EDGES[what]
    if what == "columns":  # so many need more bytes than a request has
        monkeypatch.setattr(validate_request, "MAX_REQUEST_BYTES", 10**6)
    assert normalised(**fields_of(limit))
    with pytest.raises(InvalidRequestError) as caught:
        normalised(**fields_of(limit + 1))
    assert says in str(caught.value)
    assert len(str(caught.value)) <= MESSAGE_CHARACTERS


def test_every_key_that_derives_from_the_longest_output_is_one():
    output = "s3://bucket/" + "k" * limits.MAX_OUTPUT_KEY_BYTES
    prefix = work.work_prefix(output, "1" * 64, "2" * 64)
    places = work.chunk_places(prefix, 10_000, ".csv", grouped=True)
    map_run = f"{prefix}map-run/00000000-0000-0000-0000-000000000000/"  # the ResultWriter's folder
    derived = [
        *work.written_uris(output), *places.values(), work.rejected_uri(places["output_s3_uri"]),
        work.error_record_uri(places["receipt_s3_uri"]),
        work.upload_record_uri(prefix), f"{prefix}pending-{'n' * 80}.json", work.scan_uri(output, "1" * 64, 10**13),
        work.columns_uri(output, "arn"),
        f"{map_run}SUCCEEDED_10000.json", f"{map_run}manifest.json",
    ]  # fmt: skip
    longest = max(len(uri.removeprefix("s3://bucket/")) for uri in derived)
    assert longest <= limits.MAX_KEY_BYTES


def test_text_that_is_no_text_is_a_problem():
    for changed in ({"prediction_column_name": "\ud800"}, {"feature_columns": ["\udfff"]}, {"model_s3_uri": "s3://bucket/\ud800"}):
        with pytest.raises(InvalidRequestError, match="half a surrogate pair") as caught:
            normalised(**changed)
        str(caught.value).encode()


# --- objects ---------------------------------------------------------------------------------------------------------------------


def test_the_limit_of_objects_is_that_of_all_entries_together(s3, put, document, monkeypatch):
    put("in/a.csv", b"a,b\n1,2\n")
    put("in/b.csv", b"")  # one that is skipped counts as well
    for name in "cde":
        put(f"more/{name}.csv", b"a,b\n1,2\n")
    put("in/all.manifest.json", json.dumps(["s3://bucket/more/c.csv", "s3://bucket/more/d.csv"]))
    entries = ["s3://bucket/in/all.manifest.json", "s3://bucket/in/*.csv", "s3://bucket/more/e.csv"]
    monkeypatch.setattr(limits, "MAX_OBJECTS", 5)
    assert plan_chunks.plan_chunks(s3, document(data_s3_uri=entries))["objects"] == 4
    monkeypatch.setattr(limits, "MAX_OBJECTS", 4)
    with pytest.raises(InvalidRequestError, match="names more than 4 objects: split the run, for instance by prefix"):
        plan_chunks.plan_chunks(s3, document(data_s3_uri=entries))


@pytest.mark.thorough
def test_listing_ends_at_the_limit(s3, put, document, monkeypatch):
    for number in range(2005):
        put(f"in/{number}.csv", b"a,b\n1,2\n")
    asked = []
    s3.meta.events.register("before-parameter-build.s3.ListObjectsV2", lambda params, **_: asked.append(params))
    monkeypatch.setattr(limits, "MAX_OBJECTS", 999)
    with pytest.raises(InvalidRequestError, match="more than 999 objects"):
        plan_chunks.plan_chunks(s3, document())
    assert len(asked) == 1


def test_the_objects_names_have_a_limit_in_memory(s3, put, document, monkeypatch):
    put("in/1.csv", b"a,b\n1,2\n")
    size = "s3://bucket/in/1.csv".__sizeof__()
    monkeypatch.setattr(limits, "MAX_LISTED_BYTES", size)
    assert plan_chunks.plan_chunks(s3, document())
    monkeypatch.setattr(limits, "MAX_LISTED_BYTES", size - 1)
    with pytest.raises(InvalidRequestError, match="split the run"):
        plan_chunks.plan_chunks(s3, document())


def test_a_manifest_is_not_read_beyond_its_limit(s3, put, document, monkeypatch):
    put("in/a.csv", b"a,b\n1,2\n")
    body = json.dumps(["s3://bucket/in/a.csv"])
    put("in/all.manifest.json", body)
    event = document(data_s3_uri=["s3://bucket/in/all.manifest.json"])
    monkeypatch.setattr(inputs, "MAX_MANIFEST_BYTES", len(body))
    assert plan_chunks.plan_chunks(s3, event)
    monkeypatch.setattr(inputs, "MAX_MANIFEST_BYTES", len(body) - 1)
    monkeypatch.setattr(StreamingBody, "iter_chunks", lambda *_: pytest.fail("it was read"))
    with pytest.raises(InvalidRequestError, match=rf"has {len(body)} bytes, more than the {len(body) - 1} that it may have"):
        plan_chunks.plan_chunks(s3, event)


# --- the prediction function's ephemeral storage ---------------------------------------------------------------------------------


def test_the_largest_chunk_must_fit_twice_with_the_model():
    mebibyte = 2**20
    chunk_bytes = (100 * mebibyte - limits.STORAGE_MARGIN_BYTES - 7 * mebibyte) // 2

    def require(bytes_more, storage):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(limits.STORAGE_VARIABLE, storage)
            limits.require_ephemeral_storage(chunk_bytes + bytes_more, 7 * mebibyte)

    require(0, "100")
    require(10**15, "")
    with pytest.raises(InvalidRequestError, match="raise PredictEphemeralStorageSize to 101, lower chunk_size_mb"):
        require(1, "100")
    with pytest.raises(
        InvalidRequestError, match=r"ephemeral storage: lower chunk_size_mb, or split the run, or an object that is compressed$"
    ):
        require(10**11, "10240")


@pytest.mark.parametrize("objects", [1, 40])
def test_a_chunk_that_cannot_fit_is_refused_while_planning(s3, put, keys, document, monkeypatch, objects):
    for number in range(objects):
        put(f"in/{number}.csv", b"a,b\n" + b"1,2\n" * (2**20 // objects))
    monkeypatch.setenv(limits.STORAGE_VARIABLE, "23")
    assert plan_chunks.plan_chunks(s3, document(chunk_size_mb=3))["chunks"] > 1
    before = keys()
    with pytest.raises(
        InvalidRequestError, match=r"ephemeral storage: raise PredictEphemeralStorageSize to 25, lower chunk_size_mb"
    ):
        plan_chunks.plan_chunks(s3, document(chunk_size_mb=64))
    assert keys() == before
