"""The bytes that are checked are the bytes that are loaded: by ETag, by version, by SHA-256."""

import hashlib
import pickle
from pathlib import Path

import pytest
from harness import BUCKET, DATA, MODEL, OUTPUT, invoke, linear

import prediction_handler as handler
from support.places import dumped


class Harmful:
    """Unpickling it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (Path(self.path), "ran")


@pytest.fixture
def data(put):
    put(DATA, "x1,x2\n1,2\n")


@pytest.fixture
def versions(s3):
    """Three versions of the model, the oldest first: each weighs x1 alone, by 1, 2, 3."""
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    key = handler.parse_s3_uri(MODEL)[1]
    models = [dumped(linear(weights=(weight, 0.0))) for weight in (1.0, 2.0, 3.0)]
    return [s3.put_object(Bucket=BUCKET, Key=key, Body=model)["VersionId"] for model in models]


def prediction(get):
    return round(float(get(OUTPUT).decode().strip().rpartition(",")[2]), 6)


@pytest.mark.usefixtures("data")
def test_a_version_is_what_is_loaded(get, versions):
    for version_id, weight in ((versions[0], 1), (versions[1], 2), (None, 3), (versions[2], 3), (versions[0], 1)):
        status, body = invoke(model_version_id=version_id)
        assert (status, prediction(get)) == (200, weight)
        assert body["model"]["version_id"] == (version_id or versions[2])


@pytest.mark.usefixtures("data")
def test_where_no_versions_are_kept_none_is_reported(put):
    put(MODEL, linear())
    assert invoke()[1]["model"]["version_id"] is None


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("etag", [None, '"0123"'])
def test_a_version_that_is_not_there_is_named(versions, etag):
    status, body = invoke(model_version_id="7" * 32, model_etag=etag)
    assert (status, body["error"]) == (400, "InputNotFoundError"), body
    assert f"{MODEL} version {'7' * 32}" in body["message"]


@pytest.mark.usefixtures("data")
def test_a_version_of_another_etag_has_changed(s3, versions):
    newest = s3.head_object(Bucket=BUCKET, Key=handler.parse_s3_uri(MODEL)[1])["ETag"]
    status, body = invoke(model_version_id=versions[0], model_etag=newest)
    assert (status, body["error"]) == (400, "InputChangedError")


@pytest.mark.usefixtures("data")
def test_a_pickle_that_is_not_the_pinned_one_does_not_run(put, tmp_path):
    trace = tmp_path / "trace"
    harmful = pickle.dumps(Harmful(trace))
    put(MODEL, harmful)
    status, body = invoke(model_sha256=hashlib.sha256(dumped(linear())).hexdigest())
    assert (status, body["error"]) == (400, "ModelError")
    assert "is not the pinned model" in body["message"]
    assert not trace.exists()
    invoke(model_sha256=hashlib.sha256(harmful).hexdigest())
    assert trace.read_text() == "ran"  # without the pin it would have been so above


@pytest.mark.usefixtures("data")
def test_an_object_that_is_replaced_after_the_check_is_not_loaded(put, get, tmp_path, monkeypatch):
    trace = tmp_path / "trace"
    put(MODEL, linear(weights=(5.0, 0.0)))
    load_model = handler.load_model

    def replace_and_load(path):
        put(MODEL, pickle.dumps(Harmful(trace)))
        return load_model(path)

    monkeypatch.setattr(handler, "load_model", replace_and_load)
    assert invoke(model_sha256=hashlib.sha256(dumped(linear(weights=(5.0, 0.0)))).hexdigest())[0] == 200
    assert prediction(get) == 5
    assert not trace.exists()


@pytest.mark.usefixtures("data")
def test_an_object_that_is_replaced_between_head_and_get_is_not_read(s3, put, tmp_path, monkeypatch):
    trace = tmp_path / "trace"
    put(MODEL, linear())
    fetch = handler._fetch_model

    def replace_and_fetch(*arguments):
        put(MODEL, pickle.dumps(Harmful(trace)))
        return fetch(*arguments)

    monkeypatch.setattr(handler, "_fetch_model", replace_and_fetch)
    status, body = invoke()
    assert (status, body["error"]) == (400, "InputChangedError")
    assert not trace.exists()


@pytest.mark.usefixtures("data")
def test_a_kept_model_is_used_for_its_own_version_etag_and_pin_only(s3, put, get, monkeypatch):
    put(MODEL, linear(weights=(1.0, 0.0)))
    loads = []
    load_model = handler.load_model
    monkeypatch.setattr(handler, "load_model", lambda path: loads.append(path) or load_model(path))
    first = invoke()[1]["model"]
    assert invoke(model_etag=first["etag"], model_sha256=first["sha256"])[0] == 200
    assert len(loads) == 1
    status, body = invoke(model_etag=first["etag"], model_sha256="0" * 64)
    assert (status, body["error"]) == (400, "ModelError")
    assert invoke(model_etag='"0123"')[1]["error"] == "InputChangedError"
    assert invoke(model_etag=first["etag"], model_version_id="9" * 32)[1]["error"] == "InputNotFoundError"
    put(MODEL, linear(weights=(2.0, 0.0)))
    assert invoke(model_etag=first["etag"])[0] == 200  # the bytes that were planned are still in memory
    assert (prediction(get), len(loads)) == (1, 1)
    assert invoke()[0] == 200
    assert (prediction(get), len(loads)) == (2, 2)
