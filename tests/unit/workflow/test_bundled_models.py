"""What the workflow makes of a model that is a bundle: its size, what it takes of disk and memory, its identity, its report."""

import pytest

from support.merging import predict
from support.samples import MODEL, rejection, validated
from workflow import limits, plan_chunks, sizing
from workflow.errors import IncompleteOutputError, InvalidRequestError

MIB = 2**20
BUNDLE = "s3://bucket/model.bundle.zip"
BUNDLED = MODEL | {"s3_uri": BUNDLE, "bytes": 30 * MIB, "bundle": "b" * 64, "unpacked_bytes": 90 * MIB, "file_bytes": 5 * MIB}
ROWS = b"a,b\n" + b"1,2\n" * 30_000


@pytest.fixture
def planned(s3, put, document):
    """Plan a run of one object with a model's facts."""
    put("in/1.csv", ROWS)

    def plan(model, **changed):
        event = document(**changed)
        event["model"]["model"] = model
        return plan_chunks.plan_chunks(s3, event)

    return plan


def test_a_bundle_has_a_largest_size_and_another_model_has_not(s3, put, monkeypatch):
    put("in/1.csv", "a,b\n1,2\n")
    for key in ("model.bundle.zip", "model.joblib"):
        put(key, b"x" * 100)
    monkeypatch.setattr(limits, "MAX_BUNDLE_BYTES", 100)
    assert validated(s3, model_s3_uri=BUNDLE)["prediction"]["model_s3_uri"] == BUNDLE
    monkeypatch.setattr(limits, "MAX_BUNDLE_BYTES", 99)
    assert validated(s3)
    assert rejection(s3, model_s3_uri=BUNDLE) == (
        f"model_s3_uri {BUNDLE} has 100 bytes, and a bundle may have 99: make it again without libraries that the model "
        "does not need, or build a container image"
    )


def test_what_is_unpacked_leaves_chunks_less_room(planned, monkeypatch):
    plain = {name: BUNDLED[name] for name in MODEL}
    free = 30 * MIB + 3 * limits.STORAGE_MARGIN_BYTES
    monkeypatch.setenv("PREDICT_EPHEMERAL_STORAGE_SIZE", str(-(-free // MIB) + 1))
    assert planned(plain)["chunks"] == 1
    with pytest.raises(InvalidRequestError, match=rf"with its part and the model \({120 * MIB} bytes\) it needs"):
        planned(BUNDLED, chunk_size_mb=1)
    monkeypatch.setenv("PREDICT_EPHEMERAL_STORAGE_SIZE", str(90 + -(-free // MIB) + 1))
    assert planned(BUNDLED)["chunks"] == 1


def test_memory_counts_both_processes_and_the_model_file_alone(planned):
    def needed(model):
        *_, advice = planned(model, dry_run=True)["estimate"]["assumptions"]
        return int(advice.partition("About ")[2].partition(" MB are needed")[0])

    assert needed(MODEL | {"bytes": 5 * MIB}) == 420
    assert needed(BUNDLED) == 420 + sizing.PARENT_MB


def test_a_dry_run_says_that_containers_start_with_the_bundle(planned):
    def starts(model):
        return [told for told in planned(model, dry_run=True)["estimate"]["assumptions"] if "starts cold once" in told]

    assert "s with the bundle" in starts(BUNDLED)[0]
    assert "s by the model itself" in starts(MODEL)[0]


def test_another_bundle_is_another_result(s3, planned, document):
    first = planned(BUNDLED)
    assert planned(BUNDLED)["fingerprint"] == first["fingerprint"]
    assert planned(BUNDLED | {"sha256": "1" * 64})["fingerprint"] != first["fingerprint"]  # the decision names the bytes
    event = document()
    event["prediction"]["model_etag"] = '"another"'
    assert plan_chunks.plan_chunks(s3, event)["identity"] != first["identity"]


def test_the_work_of_another_bundle_is_not_taken_over(run):
    made = run(row_counts=(3, 3))
    made.document["model"]["model"] = BUNDLED
    for chunk in made.chunks:
        predict(made.s3, chunk, model=BUNDLED)
    predict(made.s3, made.chunks[1], model=BUNDLED | {"sha256": "2" * 64, "bundle": "c" * 64})
    with pytest.raises(IncompleteOutputError, match="was scored by another model than the probe's"):
        made.merge()


def test_the_report_names_the_bundle(run, report):
    made = run(row_counts=(3,))
    made.document["model"]["model"] = BUNDLED
    predict(made.s3, made.chunks[0], model=BUNDLED)
    made.merge()
    assert report()["model"] == BUNDLED
