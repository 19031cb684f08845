"""What a scored chunk counts in CloudWatch, where its function is told for which state machine."""

import json

import pytest
from harness import DATA, MODEL, OUTPUT, invoke, linear

import prediction_handler as handler
from support.embedded_metrics import metrics_in

ROWS = b"x1,x2\n1,2\n3,4\nnot a number,6\n"


@pytest.fixture
def stack(monkeypatch):
    monkeypatch.setenv("METRICS_STATE_MACHINE", "nightly")


@pytest.fixture
def stored(put):
    put(MODEL, linear())
    put(DATA, ROWS)


@pytest.mark.usefixtures("stack", "stored")
def test_a_chunk_counts_its_rows(capsys):
    for _ in range(2):
        assert invoke(on_bad_row="quarantine", chunk_index=7)[0] == 200
    log = capsys.readouterr().out
    cold, warm = metrics_in(log)
    assert cold["namespace"] == "BatchPredict"
    assert cold["dimensions"] == {"StateMachine": "nightly"}
    assert cold["values"].pop("ChunkDuration") > 0
    assert cold["values"] == {"Rows": 3, "RejectedRows": 1, "InputBytes": len(ROWS), "ColdStarts": 1}
    assert warm["values"]["ColdStarts"] == 0
    assert [json.loads(line)["chunk_index"] for line in log.splitlines()] == [7, 7]


@pytest.mark.usefixtures("stack", "stored")
def test_a_probe_and_a_failure_count_nothing(capsys):
    assert invoke(probe_rows=2)[0] == 200
    assert invoke()[0] == 400
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("stored")
def test_the_handler_is_silent_outside_of_the_stack(capsys):
    assert invoke(on_bad_row="quarantine")[0] == 200
    assert capsys.readouterr().out == ""


def tags(s3, uri):
    bucket, key = handler.parse_s3_uri(uri)
    return {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]}


@pytest.mark.usefixtures("stored")
def test_work_carries_its_tag_and_an_output_does_not(s3):
    """A lifecycle rule expires what carries it; for what leaves in pieces, see test_uploads.py."""
    part = f"{OUTPUT}.work/identity/fingerprint/chunk-00000.csv"
    for output in (part, OUTPUT):
        assert invoke(on_bad_row="quarantine", output_s3_uri=output, receipt_s3_uri=f"{output}.json")[0] == 200
    for ending in ("", ".rejected.csv", ".json"):
        assert tags(s3, part + ending) == {"batch-predict": "work"}, ending
        assert tags(s3, OUTPUT + ending) == {}, ending
