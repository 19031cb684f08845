"""Any event, CSV, model and list of segments: the prediction function answers success or a named error, and shows nothing else."""

import json
import pickle
import resource
import sys
import types

import numpy as np
import pandas as pd
import pytest
from damage import damaged_bytes, damaged_json, fuzzed, misshapen
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import prediction_handler as handler
from support.places import dumped

FRAME = pd.DataFrame({"x1": [1.0, 2.0, 3.0, 4.0], "x2": [0.5, -1.0, 2.0, 0.0]})
DATA = b'x1,x2,note\n1,2,a\n-3.5,4e2,"b, ""c"""\n007, 5 ,\xc3\xa9\n,1,"d\ne"\n' * 3
SEGMENT = {"data_s3_uri": "s3://bucket/in.csv", "byte_range": [0, len(DATA)]}
EVENT = {
    "model_s3_uri": "s3://bucket/m.joblib",
    "output_s3_uri": "s3://bucket/out.csv",
    "prediction_column_name": "p",
    "feature_columns": ["x1", "x2"],
}
OPTIONS = {
    "prediction_method": "predict",
    "on_bad_row": "quarantine",
    "model_sha256": "0" * 64,
    "model_etag": '"e"',
    "data_etag": '"e"',
    "byte_range": [0, 17],
    "chunk_index": 3,
    "receipt_s3_uri": "s3://bucket/out.json",
    "probe_rows": 2,
    "strict": False,
    "raise_errors": False,
}
WAYS = [
    {"data_s3_uri": "s3://bucket/in.csv"},
    {"segments": [SEGMENT, SEGMENT]},
    {"segments_s3_uri": "s3://bucket/segments.json"},
]


@pytest.fixture(scope="module")
def ready(scene):
    scene.put("m.joblib", dumped(make_pipeline(StandardScaler(), LinearRegression()).fit(FRAME, FRAME.x1)))
    scene.put("in.csv", DATA)
    scene.put("segments.json", json.dumps([SEGMENT]).encode())
    return scene


@st.composite
def events(draw):
    names = draw(st.lists(st.sampled_from(list(OPTIONS)), unique=True, max_size=4))
    event = EVENT | draw(st.sampled_from(WAYS)) | {name: OPTIONS[name] for name in names}
    return draw(misshapen(event) | st.just(event))


@fuzzed
@given(events())
@example(EVENT | WAYS[0] | {"prediction_column_name": "\ud800"})
@example(EVENT | WAYS[0] | {"output_s3_uri": "s3://bucket/\ud800"})
@example(EVENT | WAYS[0] | {"byte_range": [10**400, 10**401]})
@example(EVENT | WAYS[0] | {"model_etag": "a\r\nb"})
@example(EVENT | WAYS[0] | {"raise_errors": -1})
@example([])
@example(None)
def test_any_event(ready, event):
    if isinstance(event, dict) and event.get("raise_errors") is True:
        ready.call(handler.lambda_handler, event)
    else:
        try:
            ready.invoke(event)
        finally:  # an event may name the inputs as its output
            ready.put("in.csv", DATA)
            ready.put("segments.json", json.dumps([SEGMENT]).encode())
            ready.put("m.joblib", MODELS[0])


@fuzzed
@given(damaged_json([SEGMENT, SEGMENT | {"data_etag": '"e"'}]))
@example(b"[" * 100_000)
@example(json.dumps([SEGMENT | {"data_etag": "a\r\nb"}]).encode())
@example(json.dumps([SEGMENT | {"data_etag": "é"}]).encode())
def test_any_list_of_segments(ready, body):
    ready.put("segments.json", body)
    try:
        ready.invoke(EVENT | WAYS[2])
    finally:
        ready.put("segments.json", json.dumps([SEGMENT]).encode())


CSV = st.one_of(
    damaged_bytes(DATA),
    damaged_bytes(DATA.replace(b"\n", b"\r\n")),
    damaged_bytes(b"\xef\xbb\xbf" + DATA),
    st.binary(max_size=60),
    st.binary(max_size=40).map(lambda tail: b"x1,x2\n" + tail),
    st.sampled_from([b"", b"\n", b"x1,x2", b"x1,x2\n", b"x1,x2\n\n", b"x1,x2\n" + b"9" * 400_000 + b",1\n"]),
    st.just(b'x1,x2\n"' + b"1" * 300_000),
)  # fmt: skip


@fuzzed
@given(CSV, st.sampled_from(["fail", "quarantine"]), st.sampled_from([None, [0, 30], [11, 17], [5, 40], "probe", "group"]))
@example(b'x1,x2\n1,2\n"', "fail", "probe")
@example(b"x1,x2\n1,1e999\n", "fail", None)
def test_any_csv(ready, data, on_bad_row, way):
    ready.put("any.csv", data)
    event = EVENT | {"data_s3_uri": "s3://bucket/any.csv", "on_bad_row": on_bad_row}
    if way == "probe":
        event |= {"probe_rows": 3}
    elif way == "group":
        event["segments"] = [{"data_s3_uri": event.pop("data_s3_uri")}, {"data_s3_uri": "s3://bucket/in.csv"}]
    elif way:
        event |= {"byte_range": way}
    ready.invoke(event)


class Answering:
    """A model whose predict gives, or raises, what it was told."""

    def __init__(self, answer):
        self.answer = answer

    def predict(self, features):
        if isinstance(self.answer, type) and issubclass(self.answer, Exception):
            raise self.answer("/var/task/secret.py")
        if self.answer == "short":
            return np.zeros(max(len(features) - 1, 0))
        if isinstance(self.answer, tuple):
            return np.full((len(features), *self.answer), 7)
        if isinstance(self.answer, list):
            return [self.answer[0]] * len(features)
        return self.answer


class Raising:
    """A pickle that raises while it is read."""

    def __init__(self, kind):
        self.kind = kind

    def __reduce__(self):
        return (fail, (self.kind,))


def fail(kind):
    raise kind("/var/task/secret.py")


def pickle_of_a_missing_module():
    module = types.ModuleType("not_installed_here")
    module.Thing = type("Thing", (), {"__module__": "not_installed_here"})
    sys.modules["not_installed_here"] = module
    try:
        return pickle.dumps(module.Thing())
    finally:
        del sys.modules["not_installed_here"]


FITTED = make_pipeline(StandardScaler(), LinearRegression()).fit(FRAME, FRAME.x1)
MODELS = [
    dumped(FITTED),
    *(dumped(FITTED, compress=(kind, 3)) for kind in ("zlib", "gzip", "bz2", "lzma", "xz")),
    pickle.dumps(FITTED, protocol=0),
]
STRANGE = [
    *(5, None, [], {}, ["text"], object(), LinearRegression, LinearRegression(), StandardScaler().fit(FRAME), np.arange(3), FRAME),
    *(Answering(kind) for kind in (ValueError, KeyError, MemoryError, RecursionError, OSError, UnicodeError, StopIteration)),
    *(Answering(shape) for shape in ((), (1,), (2,), (0,), (2, 2))),
    *(Answering([value]) for value in (None, "é\n\",", b"x", 1j, float("nan"), 10**30, "\ud800", {}, [1, 2])),
    *(Answering([value]) for value in (True, np.datetime64("nat"), np.float32(0.1), 2**63, object)),
    *(Answering(answer) for answer in ("short", 5, None, "text", {}, [])[:5]),
    *(Raising(kind) for kind in (ValueError, MemoryError, RecursionError, ModuleNotFoundError, AttributeError)),
]  # fmt: skip
WHOLE_MODELS = [
    *map(dumped, STRANGE),
    pickle_of_a_missing_module(),
    b"",
    b"\x80",
    b"PK\x03\x04",
    b"\x93NUMPY",
    b"\x1f\x8b",
    b"text",
    b"\x78\x9c",
]


@pytest.fixture
def bounded_memory():
    """A flipped length may ask for any amount of memory."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def invoke_with(ready, model, **fields):
    ready.put("other.joblib", model)
    handler._model_cache.clear()
    return ready.invoke(EVENT | WAYS[0] | {"model_s3_uri": "s3://bucket/other.joblib"} | fields)


@pytest.mark.parametrize("number", range(len(WHOLE_MODELS)))
def test_any_strange_model(ready, number):
    for fields in ({}, {"probe_rows": 3}, {"on_bad_row": "quarantine"}, {"prediction_method": "predict_proba"}):
        invoke_with(ready, WHOLE_MODELS[number], **fields)


@fuzzed
@given(st.one_of([damaged_bytes(model) for model in MODELS]) | st.binary(max_size=100))
def test_any_damaged_model(ready, bounded_memory, model):
    invoke_with(ready, model)
