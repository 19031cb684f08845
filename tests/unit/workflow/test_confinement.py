"""What a request may name: a table of ways around it, each refused with a message that says what and where."""

import json
from functools import partial

import pytest

from support import samples
from support.samples import EXECUTION, REQUEST
from workflow import plan_chunks
from workflow.confinement import ambiguous
from workflow.errors import InvalidRequestError

PLACES = {"model_s3_uri": "s3://bucket/models/m.joblib", "data_s3_uri": "s3://bucket/data/1.csv"}
validated, rejection, refusal = (partial(ask, **PLACES) for ask in (samples.validated, samples.rejection, samples.refusal))
PREFIXES = {
    "MODEL_S3_PREFIX": "s3://bucket/models/",
    "DATA_S3_PREFIX": "s3://bucket/data/",
    "OUTPUT_S3_PREFIX": "s3://bucket/out/",
}


@pytest.fixture
def confined(monkeypatch):
    for name, prefix in PREFIXES.items():
        monkeypatch.setenv(name, prefix)


@pytest.fixture
def stored(put):
    put("models/m.joblib", b"model")
    put("data/1.csv", b"a,b\n1,2\n")


OUTSIDE = [
    ("model_s3_uri", "s3://bucket/data/m.joblib"),
    ("model_s3_uri", "s3://bucket/models"),
    ("model_s3_uri", "s3://bucket-2/models/m.joblib"),
    ("model_s3_uri", "s3://bucket/Models/m.joblib"),
    ("model_s3_uri", "s3://bucket/%6dodels/m.joblib"),
    ("data_s3_uri", "s3://bucket/secret.csv"),
    ("data_s3_uri", "s3://bucket/dat"),
    ("data_s3_uri", "s3://bucket/data*.csv"),
    ("data_s3_uri", "s3://bucket/*.csv"),
    ("data_s3_uri", "s3://bucket/database/"),
    ("data_s3_uri", "s3://bucket/secret.manifest.json"),
    ("data_s3_uri", ["s3://bucket/data/1.csv", "s3://other/data/1.csv"]),
    ("output_s3_uri", "s3://bucket/models/m.joblib.csv"),
    ("output_s3_uri", "s3://bucket/outer.csv"),
    ("output_s3_uri", "s3://bucket/{execution_name}/out/result.csv"),
]


@pytest.mark.usefixtures("confined")
@pytest.mark.parametrize(("field", "value"), OUTSIDE)
def test_what_lies_outside_is_refused_by_name(field, value):
    uri = (value if isinstance(value, str) else value[-1]).replace("{execution_name}", "run-1")
    allowed = PREFIXES[f"{field.removesuffix('_s3_uri').upper()}_S3_PREFIX"]
    assert f"{field} {uri} is not under {allowed}" in refusal(**{field: value})


@pytest.mark.usefixtures("confined")
def test_all_that_lies_outside_is_named_at_once():
    message = refusal(model_s3_uri="s3://x-1/m", data_s3_uri=["s3://x-2/p/", "s3://x-3/*"], output_s3_uri="s3://x-4/o")
    assert all(f"s3://x-{number}/" in message for number in (1, 2, 3, 4))


@pytest.mark.usefixtures("confined", "stored")
def test_what_lies_inside_is_let_through(s3):
    assert validated(s3)["request"]["data_s3_uri"] == ["s3://bucket/data/1.csv"]
    assert validated(s3, data_s3_uri=["s3://bucket/data/", "s3://bucket/data/*.csv"])


@pytest.mark.usefixtures("stored")
def test_nothing_is_refused_where_the_stack_says_nothing(s3, monkeypatch):
    monkeypatch.setenv("DATA_S3_PREFIX", "s3://bucket/")  # a whole bucket
    monkeypatch.delenv("MODEL_S3_PREFIX", raising=False)
    assert validated(s3)


def test_a_wildcard_does_not_stand_for_itself(s3, put, stored, monkeypatch):
    """The pattern `[1]x*` matches `1x.csv`, which is not under `[1]`."""
    monkeypatch.setenv("DATA_S3_PREFIX", "s3://bucket/data/[1]")
    put("data/1x.csv", b"a,b\n1,2\n")
    assert "is not under s3://bucket/data/[1]" in rejection(s3, data_s3_uri="s3://bucket/data/[1]x*")


@pytest.mark.usefixtures("confined", "stored")
def test_a_manifest_s_objects_are_confined_too(s3, put, document):
    put("data/all.manifest.json", json.dumps(["s3://bucket/data/1.csv", "s3://bucket/models/m.joblib"]))
    named = "s3://bucket/data/all.manifest.json lists in entry 2 what it may not: s3://bucket/models/m.joblib is not under"
    assert named in rejection(s3, data_s3_uri="s3://bucket/data/all.manifest.json")
    with pytest.raises(InvalidRequestError, match=r"entry 2 .* is not under"):
        plan_chunks.plan_chunks(s3, document(**PLACES | {"data_s3_uri": ["s3://bucket/data/all.manifest.json"]}))
    put("data/all.manifest.json", json.dumps(["s3://bucket/data/../models/m.joblib"]))
    with pytest.raises(InvalidRequestError, match=r"entry 1 .*S3 takes it literally"):
        plan_chunks.plan_chunks(s3, document(**PLACES | {"data_s3_uri": ["s3://bucket/data/all.manifest.json"]}))


AMBIGUOUS_KEYS = [
    "out/../models/m.joblib", "../x", "x/..", "./x", "x/./y", "x//y", "/x", "x/../../y",
    "x/%2e%2e/y", "x/%2E./y", "x%2F..%2Fy", "x%2f%2fy", "%2e%2e/x", "x/%252e%252e/y", "x/%25252e%25252e%25252fy",
    "x\\..\\y", "x/..\\y", "x%5c..%5cy", "x\ny", "x\ry", "x\x00y", "x\x7fy", "x\u0085y", "x%00y", "x%0d%0ay", "x%2500y",
    "x" + "%25" * 1 + "25" * 6 + "2e",
]  # fmt: skip


@pytest.mark.parametrize("key", AMBIGUOUS_KEYS)
@pytest.mark.parametrize("field", ["model_s3_uri", "data_s3_uri", "output_s3_uri"])
def test_a_key_that_other_tools_take_for_another_is_refused(field, key):
    message = refusal(**{field: f"s3://bucket/{key}"})
    assert field in message
    assert "choose a plain key" in message or "must be an S3 URI" in message


@pytest.mark.parametrize(
    "key", ["a.b/..c", "...", "x/.hidden", "100%", "a%20b", "50%25.csv", "a+b", "x/…/y", "x/", "ä/ö", "%zz", "x..y/z"]
)
def test_a_plain_key_is_let_through(key):
    assert ambiguous(f"s3://bucket/{key}") is None


def test_a_placeholder_cannot_bring_in_what_is_refused():
    assert "choose a plain key" in refusal(output_s3_uri="s3://bucket/x/{scheduled_time:../%Y}.csv")
    assert "choose a plain key" in refusal(output_s3_uri="s3://bucket/x/{scheduled_time:%%2e%%2e}/y.csv")


def test_keys_that_a_listing_yields_are_literal(s3, put, document):
    for key in ("in/a/../../1.csv", "in//2.csv", "in/%2e%2e/3.csv"):
        put(key, b"a,b\n1,2\n")
    plan = plan_chunks.plan_chunks(s3, document())
    assert (plan["objects"], plan["skipped_objects"]) == (2, 1)  # what begins with a dot is hidden, whatever it is called


@pytest.mark.parametrize(
    "bucket", ["Bucket", "a..b", "192.168.0.1", "bucket_1", "-bucket", "bucket.", "ab", "b" * 64, "bu%63ket", "user@bucket", "büro"]
)
@pytest.mark.parametrize("field", ["model_s3_uri", "data_s3_uri", "output_s3_uri"])
def test_what_is_no_bucket_s_name_is_refused(field, bucket):
    assert f"{field} must be an S3 URI" in refusal(**{field: f"s3://{bucket}/key"})


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/data/x.csv.work/1/2/chunk-00000.csv",
        "s3://bucket/data/x.csv.work/",
        "s3://bucket/data/x.csv.work/1/2/_SUCCESS",
        "s3://bucket/data/x.csv.work/1/2/*.csv",
        "s3://bucket/data/x.csv.work/1.manifest.json",
        "s3://bucket/.work/x.csv",
        "s3://bucket/data/{execution_name}.work/x.csv",
    ],
)
def test_the_work_of_a_run_is_no_data(uri):
    """An execution that starts for each new object would start for its own parts."""
    named = uri.replace("{execution_name}", EXECUTION["name"]).removesuffix("_SUCCESS")
    assert f"data_s3_uri {named} has .work/ in its key" in refusal(data_s3_uri=["s3://bucket/data/1.csv", uri])


@pytest.mark.usefixtures("stored")
def test_a_manifest_does_not_list_the_work_of_a_run(s3, put, document):
    put("data/x.csv.work/1.csv", b"a,b\n1,2\n")
    put("data/all.manifest.json", json.dumps(["s3://bucket/data/1.csv", "s3://bucket/data/x.csv.work/1.csv"]))
    named = r"entry 2 what it may not: s3://bucket/data/x\.csv\.work/1\.csv has \.work/ in its key"
    with pytest.raises(InvalidRequestError, match=named):
        plan_chunks.plan_chunks(s3, document(**PLACES | {"data_s3_uri": ["s3://bucket/data/all.manifest.json"]}))


def test_a_bucket_may_be_called_like_work():
    message = refusal(data_s3_uri="s3://my.work/1.csv", output_s3_uri="s3://my.work/1.csv")
    assert "has .work/ in its key" not in message


OVERWRITES = [
    {"output_s3_uri": "s3://bucket/data/1.csv"},
    {"output_s3_uri": "s3://bucket/models/m.joblib"},
    {"output_s3_uri": "s3://bucket/data/1.csv.work/x.csv"},
    {"output_s3_uri": "s3://bucket/other.csv.work/1/2/chunk-00000.csv"},
    {"output_s3_uri": "s3://bucket/.work/x.csv"},
    {"data_s3_uri": "s3://bucket/out/result.csv.work/1.csv"},
    {"data_s3_uri": "s3://bucket/out/result.csv.work/"},
    {"data_s3_uri": "s3://bucket/out/result.csv.work/*.csv"},
    {"data_s3_uri": "s3://bucket/out/result.csv.rejected.csv"},
    {"data_s3_uri": "s3://bucket/out/result.csv.re*"},
    {"data_s3_uri": "s3://bucket/out/*"},
    {"data_s3_uri": "s3://bucket/out/"},
    {"model_s3_uri": "s3://bucket/out/result.csv.report.json"},
    {"model_s3_uri": "s3://bucket/out/result.csv.work/m.joblib"},
    {"data_s3_uri": "s3://bucket/out/x.manifest.json", "output_s3_uri": "s3://bucket/out/x.manifest.json"},
    {"output_s3_uri": "s3://bucket/out/"},
    {"output_s3_uri": "s3://bucket/out/x/"},
]


@pytest.mark.parametrize("changed", OVERWRITES)
def test_a_run_cannot_write_over_what_it_reads_or_into_the_work_of_another(changed):
    message = refusal(**changed)
    assert "output_s3_uri" in message
    assert (REQUEST | PLACES | changed)["output_s3_uri"] in message


AMONG_MODELS = [
    ("s3://bucket/", "s3://bucket/out/result.csv"),
    ("s3://bucket/models/", "s3://bucket/models/result.csv"),
    ("s3://bucket/out/result.csv.re", "s3://bucket/out/result.csv"),
    ("s3://bucket/out/result.csv.work/", "s3://bucket/out/result.csv"),
    ("s3://bucket/out/result.csv.work/1/2/", "s3://bucket/out/result.csv"),
    ("s3://bucket/out/run-1", "s3://bucket/out/{execution_name}.csv"),
]


@pytest.mark.parametrize(("models", "output"), AMONG_MODELS)
def test_nothing_is_written_where_models_are_read(monkeypatch, models, output):
    """A text can be a CSV and a pickle at once: tests/unit/predict/test_event_places.py has one that is run."""
    monkeypatch.setenv("MODEL_S3_PREFIX", models)
    monkeypatch.setenv("OUTPUT_S3_PREFIX", "s3://bucket/")
    message = refusal(model_s3_uri=f"{models}m.joblib", output_s3_uri=output)
    assert f"output_s3_uri {output.replace('{execution_name}', EXECUTION['name'])} would write s3://bucket/" in message
    assert f"where models are read ({models})" in message


@pytest.mark.usefixtures("stored")
def test_models_within_the_place_of_outputs_are_read(s3, monkeypatch):
    monkeypatch.setenv("MODEL_S3_PREFIX", "s3://bucket/models/")
    monkeypatch.setenv("OUTPUT_S3_PREFIX", "s3://bucket/")
    assert validated(s3)


def test_a_model_is_not_read_where_data_are(monkeypatch):
    """As a stack could have it whose DataPrefix lies within its ModelPrefix: no rule of a template sees that."""
    monkeypatch.setenv("MODEL_S3_PREFIX", "s3://bucket/d")
    monkeypatch.setenv("DATA_S3_PREFIX", "s3://bucket/data/")
    assert "lies where data are read (s3://bucket/data/)" in refusal(model_s3_uri="s3://bucket/data/1.csv")


@pytest.mark.usefixtures("stored")
def test_a_model_is_not_read_where_outputs_are_written(s3, put, monkeypatch):
    put("out/m.joblib", b"model")
    monkeypatch.setenv("OUTPUT_S3_PREFIX", "s3://bucket/out/")
    assert "lies where outputs are written (s3://bucket/out/)" in rejection(s3, model_s3_uri="s3://bucket/out/m.joblib")
    part = "s3://bucket/x.csv.work/1/2/chunk-00000.csv"
    assert f"model_s3_uri {part} has .work/ in its key" in rejection(s3, model_s3_uri=part)
