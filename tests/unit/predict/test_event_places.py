"""What an event may name, and how much: ways around it, each refused with a message, before anything is read."""

import json
import pickle

import pytest
from harness import BUCKET, DATA, MODEL, OUTPUT, invoke, linear, make_event

import prediction_handler as handler

LIST = f"s3://{BUCKET}/out/chunk.segments.json"
RECEIPT = f"s3://{BUCKET}/out/receipt.json"
PREFIXES = {
    "MODEL_S3_PREFIX": f"s3://{BUCKET}/models/",
    "DATA_S3_PREFIX": f"s3://{BUCKET}/data/",
    "OUTPUT_S3_PREFIX": f"s3://{BUCKET}/out/",
}


@pytest.fixture
def confined(monkeypatch):
    for name, prefix in PREFIXES.items():
        monkeypatch.setenv(name, prefix)


@pytest.fixture
def never_asked(monkeypatch):
    monkeypatch.setattr(handler, "_s3_client", lambda: pytest.fail("S3 was asked"))


def refused(**fields):
    status, body = invoke(**fields)
    assert (status, body["error"]) == (400, "InvalidRequestError"), body
    return body["message"]


@pytest.mark.usefixtures("confined", "never_asked")
@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"model_s3_uri": DATA}, ["model_s3_uri"]),
        ({"model_s3_uri": f"s3://{BUCKET}/models"}, ["model_s3_uri"]),
        ({"model_s3_uri": f"s3://{BUCKET}x/models/m.joblib"}, ["model_s3_uri"]),
        ({"model_s3_uri": f"s3://{BUCKET}/%6Dodels/m.joblib"}, ["model_s3_uri"]),
        ({"data_s3_uri": MODEL}, ["data_s3_uri"]),
        ({"data_s3_uri": MODEL, "probe_rows": 5}, ["data_s3_uri"]),
        ({"output_s3_uri": f"s3://{BUCKET}/data/new.csv"}, ["output_s3_uri"]),
        ({"receipt_s3_uri": f"s3://{BUCKET}/data/new.json"}, ["receipt_s3_uri"]),
        ({"data_s3_uri": None, "segments_s3_uri": f"s3://{BUCKET}/data/list.json"}, ["segments_s3_uri"]),
        ({"data_s3_uri": None, "segments": [{"data_s3_uri": DATA}, {"data_s3_uri": MODEL}]}, ["segments[1].data_s3_uri"]),
        (
            {"model_s3_uri": "s3://other/m", "data_s3_uri": "s3://other/d", "output_s3_uri": "s3://other/o"},
            ["model_s3_uri", "data_s3_uri", "output_s3_uri"],
        ),
    ],
)
def test_what_lies_outside_is_refused_before_anything_is_read(fields, names):
    message = refused(**fields)
    assert message.startswith(f"the event has {len(names)} problem(s)")
    assert all(f"{name} s3://" in message for name in names)
    assert message.count("is not under s3://handler-tests/") == len(names)


@pytest.mark.usefixtures("confined")
def test_what_a_list_in_s3_names_is_confined_too(put):
    put(LIST, json.dumps([{"data_s3_uri": DATA}, {"data_s3_uri": MODEL}]))
    message = refused(data_s3_uri=None, segments_s3_uri=LIST)
    assert message.startswith(f"{LIST} is not a list of segments")
    assert f"[1].data_s3_uri {MODEL} is not under s3://{BUCKET}/data/" in message


@pytest.mark.usefixtures("confined")
def test_what_lies_inside_is_scored(put, get):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    assert invoke(receipt_s3_uri=RECEIPT)[0] == 200
    assert get(OUTPUT)


@pytest.mark.usefixtures("never_asked")
@pytest.mark.parametrize(
    "key",
    ["../x", "x/../y", "x/./y", "x//y", "/x", "x/..", "x/%2e%2E/y", "x%2F..%2fy", "x/%252e%252e/y", "x\\..\\y", "x\ny", "x%00y",
     "x\x7f", "x%25252525252525252e"],
)  # fmt: skip
@pytest.mark.parametrize("field", ["model_s3_uri", "output_s3_uri", "receipt_s3_uri", "segments_s3_uri"])
def test_a_key_that_other_tools_take_for_another_is_refused(field, key):
    fields = {"data_s3_uri": None} if field == "segments_s3_uri" else {}
    message = refused(**fields, **{field: f"s3://{BUCKET}/{key}"})
    assert field in message
    assert "choose a plain key" in message


@pytest.mark.parametrize("key", ["data/../1.csv", "data//2.csv", "data/%2e%2e/3.csv"])
def test_the_datas_keys_may_come_from_a_listing_and_are_literal(put, key):
    put(MODEL, linear())
    put(f"s3://{BUCKET}/{key}", "x1,x2\n1,2\n")
    assert invoke(data_s3_uri=f"s3://{BUCKET}/{key}")[0] == 200


@pytest.mark.usefixtures("never_asked")
@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"output_s3_uri": MODEL}, f"output_s3_uri {MODEL} is also model_s3_uri"),
        ({"output_s3_uri": DATA}, f"output_s3_uri {DATA} is also data_s3_uri"),
        ({"receipt_s3_uri": MODEL}, f"receipt_s3_uri {MODEL} is also model_s3_uri"),
        ({"receipt_s3_uri": DATA}, f"receipt_s3_uri {DATA} is also data_s3_uri"),
        ({"receipt_s3_uri": OUTPUT}, f"output_s3_uri {OUTPUT} is also receipt_s3_uri"),
        ({"receipt_s3_uri": f"{OUTPUT}.rejected.csv"}, "is also receipt_s3_uri"),
        ({"data_s3_uri": f"{OUTPUT}.rejected.csv"}, f"the list of rejected rows {OUTPUT}.rejected.csv is also data_s3_uri"),
        ({"model_s3_uri": f"{OUTPUT}.rejected.csv"}, "is also model_s3_uri"),
        ({"data_s3_uri": None, "segments_s3_uri": OUTPUT}, f"output_s3_uri {OUTPUT} is also segments_s3_uri"),
        ({"data_s3_uri": None, "segments": [{"data_s3_uri": DATA}, {"data_s3_uri": OUTPUT}]}, "is also segments[1].data_s3_uri"),
        ({"output_s3_uri": f"s3://{BUCKET}/out/"}, "output_s3_uri must be an S3 URI"),
        ({"receipt_s3_uri": f"s3://{BUCKET}/out/"}, "receipt_s3_uri must be an S3 URI"),
    ],
)
def test_nothing_is_written_over_what_is_read(fields, says):
    assert says in refused(**fields)


def test_nothing_is_written_over_what_a_list_in_s3_names(put, get):
    put(LIST, json.dumps([{"data_s3_uri": DATA}, {"data_s3_uri": OUTPUT}]))
    assert f"output_s3_uri {OUTPUT} is also [1].data_s3_uri" in refused(data_s3_uri=None, segments_s3_uri=LIST)


def key(n_bytes):
    return f"s3://{BUCKET}/" + "ä" * (n_bytes // 2) + "x" * (n_bytes % 2)


@pytest.mark.parametrize(
    ("fields_of", "limit"),
    [
        (lambda n: {"model_s3_uri": key(n)}, 1024),
        (lambda n: {"data_s3_uri": key(n)}, 1024),
        (lambda n: {"output_s3_uri": key(n)}, 1024),
        (lambda n: {"receipt_s3_uri": key(n)}, 1024),
        (lambda n: {"data_s3_uri": None, "segments_s3_uri": key(n)}, 1024),
        (lambda n: {"data_s3_uri": None, "segments": [{"data_s3_uri": key(n)}]}, 1024),
        (lambda n: {"data_s3_uri": None, "segments": [{"data_s3_uri": DATA}] * n}, 10_000),
        (lambda n: {"feature_columns": [f"x{number}" for number in range(n)]}, 10_000),
        (lambda n: {"prediction_column_name": "p" * n}, 1000),
        (lambda n: {"model_version_id": "v" * n}, 1024),
        (lambda n: {"probe_rows": n}, 1_000_000),
        (lambda n: {"chunk_index": n}, 2**63 - 1),
        (lambda n: {"byte_range": [0, n]}, 2**63 - 1),
    ],
)
def test_an_event_may_be_as_large_as_its_limit_and_no_larger(fields_of, limit):
    handler.validate_event(make_event(**fields_of(limit)))
    with pytest.raises(handler.InvalidRequestError, match=list(fields_of(1))[-1]):
        handler.validate_event(make_event(**fields_of(limit + 1)))


@pytest.mark.parametrize("field", ["prediction_column_name", "model_s3_uri", "data_s3_uri", "model_version_id", "a\ud800"])
def test_text_that_is_no_text_is_named_in_text(field):
    with pytest.raises(handler.InvalidRequestError, match=field[:1]) as caught:
        handler.validate_event(make_event(**{field: f"s3://{BUCKET}/\udfff"}))
    str(caught.value).encode()


def test_a_message_has_a_limit():
    segments = [{"data_s3_uri": f"s3://{BUCKET}/{number:01000}"} for number in range(10_000)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_S3_PREFIX", "s3://elsewhere/")
        with pytest.raises(handler.InvalidRequestError) as caught:
            handler.validate_event(make_event(data_s3_uri=None, segments=segments))
    assert len(str(caught.value)) <= handler.MESSAGE_CHARACTERS + 50


def test_a_list_in_s3_is_not_read_beyond_its_limits(put, monkeypatch):
    body = json.dumps([{"data_s3_uri": DATA}] * 3)
    put(LIST, body)
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    fields = {"data_s3_uri": None, "segments_s3_uri": LIST}
    monkeypatch.setattr(handler, "MAX_SEGMENTS_LIST_BYTES", len(body))
    monkeypatch.setattr(handler, "MAX_SEGMENTS", 3)
    assert invoke(**fields)[0] == 200
    monkeypatch.setattr(handler, "MAX_SEGMENTS", 2)
    assert "lists 3 segments, more than 2" in refused(**fields)
    monkeypatch.setattr(handler, "MAX_SEGMENTS_LIST_BYTES", len(body) - 1)
    assert f"has {len(body)} bytes, more than the {len(body) - 1} of a list" in refused(**fields)


def test_a_list_nested_without_end_is_none(put):
    put(LIST, b"[" * 200_000)
    assert "is not JSON" in refused(data_s3_uri=None, segments_s3_uri=LIST)


def polyglot(code):
    """A CSV of one record, which is a pickle, too: what was a name of a column calls `exec`."""
    called = f"\ncbuiltins\nexec\n(V{code}\ntR."
    return f'Va,"{called}"\n1,2\n'


class TestWhoMayWriteDataCannotMakeAModel:
    """An output begins with the input's own bytes, and a model is a pickle."""

    @pytest.fixture
    def loaded(self, tmp_path):
        """A file that the polyglot's code writes."""
        return tmp_path / "loaded"

    @pytest.fixture
    def fields(self, put, loaded):
        put(MODEL, linear(["Va"], [1.0]))
        put(DATA, polyglot(f"open({str(loaded)!r},'w').close()"))
        return {"feature_columns": ["Va"]}

    def test_the_door_where_nothing_confines_the_function(self, get, loaded, fields):
        """The function's role alone decides there, as docs/prediction_handler.md says."""
        assert invoke(**fields)[0] == 200
        pickle.loads(get(OUTPUT))
        assert loaded.exists()
        loaded.unlink()
        assert invoke(**fields, model_s3_uri=OUTPUT, output_s3_uri=f"{OUTPUT}.2")[1]["error"] == "ModelError"
        assert loaded.exists()

    @pytest.mark.parametrize(
        "prefixes",
        [
            {"MODEL_S3_PREFIX": f"s3://{BUCKET}/", "OUTPUT_S3_PREFIX": f"s3://{BUCKET}/"},
            {"MODEL_S3_PREFIX": f"s3://{BUCKET}/", "OUTPUT_S3_PREFIX": f"s3://{BUCKET}/out/"},
            {"MODEL_S3_PREFIX": f"s3://{BUCKET}/"},
            {"OUTPUT_S3_PREFIX": f"s3://{BUCKET}/out/"},
        ],
    )
    def test_the_same_where_a_prefix_is_known(self, loaded, fields, prefixes, monkeypatch):
        for name, prefix in prefixes.items():
            monkeypatch.setenv(name, prefix)
        answers = [invoke(**fields), invoke(**fields, model_s3_uri=OUTPUT, output_s3_uri=f"{OUTPUT}.2")]
        assert answers[1][1]["error"] == "InvalidRequestError"
        assert (answers[0][0] == 200) == ("MODEL_S3_PREFIX" not in prefixes)
        assert not loaded.exists()


WRITTEN = {
    "output_s3_uri": ({"output_s3_uri": f"s3://{BUCKET}/models/m.joblib.csv"}, "models/"),
    "receipt_s3_uri": ({"receipt_s3_uri": f"s3://{BUCKET}/models/m.json"}, "models/"),
    "rejected rows": ({"output_s3_uri": f"s3://{BUCKET}/out/x"}, "out/x.rejected"),
    "types": ({"receipt_s3_uri": f"s3://{BUCKET}/out/x.json"}, "out/x.types"),
}


@pytest.mark.usefixtures("never_asked")
@pytest.mark.parametrize("name", WRITTEN)
def test_nothing_is_written_where_models_are_read(name, monkeypatch):
    fields, models = WRITTEN[name]
    monkeypatch.setenv("MODEL_S3_PREFIX", f"s3://{BUCKET}/{models}")
    model = f"s3://{BUCKET}/{models}m.joblib"
    assert f"would be written where models are read (s3://{BUCKET}/{models})" in refused(model_s3_uri=model, **fields)


@pytest.mark.usefixtures("never_asked")
def test_a_model_is_never_read_from_the_work_of_a_run():
    assert "lies where outputs are written (under .work/)" in refused(model_s3_uri=f"s3://{BUCKET}/x.csv.work/1/2/chunk-00000.csv")


@pytest.mark.usefixtures("never_asked")
def test_a_model_is_never_read_where_data_are(monkeypatch):
    """As a stack could have it whose DataPrefix lies within its ModelPrefix: no rule of a template sees that."""
    monkeypatch.setenv("MODEL_S3_PREFIX", f"s3://{BUCKET}/ml/")
    monkeypatch.setenv("DATA_S3_PREFIX", f"s3://{BUCKET}/ml/data/")
    message = refused(model_s3_uri=f"s3://{BUCKET}/ml/data/in.csv", data_s3_uri=f"s3://{BUCKET}/ml/data/in.csv")
    assert f"lies where data are read (s3://{BUCKET}/ml/data/)" in message


def test_models_within_the_place_of_outputs_are_read_and_not_written_over(put, monkeypatch):
    """As a stack has it whose OutputPrefix is a whole bucket."""
    monkeypatch.setenv("OUTPUT_S3_PREFIX", f"s3://{BUCKET}/")
    monkeypatch.setenv("MODEL_S3_PREFIX", f"s3://{BUCKET}/models/")
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    assert invoke()[0] == 200
    assert "where models are read" in refused(output_s3_uri=f"s3://{BUCKET}/models/x.csv")


WORK = f"s3://{BUCKET}/out/x.csv.work/1/2/"
ITS_OWN = {
    "output_s3_uri": f"{WORK}chunk-00000.csv",
    "receipt_s3_uri": f"{WORK}chunk-00000.json",
    "decision_s3_uri": f"{WORK}decision.json",
}


def test_a_chunk_of_a_run_keeps_to_the_runs_own_work():
    handler.validate_event(make_event(**ITS_OWN, work_s3_uri=WORK))


@pytest.mark.usefixtures("never_asked")
@pytest.mark.parametrize("field", ["output_s3_uri", "receipt_s3_uri", "decision_s3_uri", "segments_s3_uri"])
@pytest.mark.parametrize("elsewhere", ["out/published.csv", "out/x.csv.work/1/3/chunk-00000.csv", "out/x.csv.work/1/2"])
def test_a_changed_plan_cannot_have_a_chunk_write_or_read_elsewhere(field, elsewhere):
    """As the state machine has it: `work_s3_uri` is in its document, the rest in the plan in S3."""
    fields = {**ITS_OWN, field: f"s3://{BUCKET}/{elsewhere}", "work_s3_uri": WORK}
    if field == "segments_s3_uri":
        fields["data_s3_uri"] = None
    assert f"{field} s3://{BUCKET}/{elsewhere} is not under work_s3_uri {WORK}" in refused(**fields)
