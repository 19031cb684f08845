"""All chunks of a plan are scored under one decision, and nothing else is published; test_any_csv_any_chunks.py runs it whole."""

import json

import pytest

from support.merging import OUTPUT
from support.samples import MODEL, found_columns
from workflow import explain_failure, plan_chunks, splitting
from workflow.errors import IncompleteOutputError, InvalidDataError


def csv_of(rows):
    return b"a,b\n" + b"".join(f"{a},{b}\n".encode() for a, b in rows)


@pytest.mark.parametrize(
    ("bad", "kind", "open_kind"),
    [("x", "number", "text"), ("", "number", "number"), (str(2**70), "integer", "integer"), ("7", "integer", "integer")],
)
def test_a_bad_row_makes_no_text_of_what_the_model_takes_for_numbers(s3, document, put, get, bad, kind, open_kind):
    put("in/1.csv", csv_of([(1, 1)] * 10 + [(bad, bad)]))
    probed = document()
    found_columns(s3, probed, column_types={"a": "integer", "b": "integer"}, numeric_columns=["a"])
    plan = plan_chunks.plan_chunks(s3, probed)
    assert json.loads(get(plan["agreed"]["decision_s3_uri"]))["column_types"] == {"a": kind, "b": open_kind}


def test_what_was_found_between_wrong_boundaries_does_not_count(s3, document, put, monkeypatch):
    """A field that looks like records: between guessed boundaries its texts refute a type, the exact plan does not know of it."""
    monkeypatch.setattr(splitting, "WINDOWS_WORTH", 0)
    put("in/1.csv", csv_of([(1, 1)] * 100))
    probed = document(chunk_size_mb=1e-4)
    found_columns(s3, probed, column_types={"a": "integer"})
    guessed = plan_chunks.plan_chunks(s3, probed)
    assert guessed["boundaries"] == "guessed"
    put(f"{guessed['work_prefix']}chunk-00001.types.json", json.dumps({"a": "text"}))
    wider = plan_chunks.plan_chunks(s3, probed)
    assert wider["decision_sha256"] != guessed["decision_sha256"]
    where = {"chunk_index": 1, "data_s3_uri": "s3://bucket/in/1.csv", "byte_range": [100, 200]}
    record = {**where, "error": "UnsafeSplitError", "message": "", "advice": None, "execution_arn": "an earlier one"}
    put(f"{wider['work_prefix']}chunk-00001.error.json", json.dumps(record))
    exact = plan_chunks.plan_chunks(s3, probed)
    assert exact["boundaries"] == "exact"
    # The guess was right here, so that both cuts share what was found; elsewhere they share nothing.
    assert exact["decision_sha256"] == wider["decision_sha256"]
    put("in/1.csv", csv_of([(1, 1)] * 101))
    assert plan_chunks.plan_chunks(s3, probed)["decision_sha256"] == guessed["decision_sha256"]


# --- receipts that agree ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (
            {"model": MODEL | {"deployment": "e" * 64}},
            "was scored by another deployment of the prediction function than",
        ),
        ({"model": MODEL | {"versions": {"scikit-learn": "9.9.9"}}}, "was scored by another deployment"),
        ({"model": MODEL | {"sha256": "1" * 64}}, "was scored by another model than the probe's"),
        ({"model": {"sha256": MODEL["sha256"]}}, "is not a receipt"),
        ({"decision_sha256": "0" * 64}, "its decision_sha256 is '0000"),
    ],
)
def test_a_receipt_that_disagrees_is_refused_by_name_and_not_used_again(run, s3, facts, says):
    execution = run()
    execution.tamper(1, **facts)
    with pytest.raises(IncompleteOutputError, match=f"chunk 2, .* {says}"):
        execution.merge()
    again = plan_chunks.plan_chunks(s3, execution.document)
    assert again["pending_chunks"] == 1


def test_work_of_another_deployment_is_not_seen(run, s3):
    execution = run()
    execution.document["model"]["model"]["deployment"] = "e" * 64
    again = plan_chunks.plan_chunks(s3, execution.document)
    assert again["pending_chunks"] == again["chunks"] == 3
    assert again["work_prefix"] != execution.document["plan"]["work_prefix"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("decision_sha256", "0" * 64, "is not the one that was made"),
        ("decision_s3_uri", "s3://bucket/other.json", "decision_s3_uri of chunk 2 is"),
    ],
)
def test_a_plan_whose_chunks_have_another_decision_is_refused(run, put, field, value, message):
    execution = run()
    key = execution.document["plan"]["plan_key"]
    execution.chunks[1][field] = value
    put(key, json.dumps(execution.chunks))
    with pytest.raises(IncompleteOutputError, match=message):
        execution.merge()


@pytest.mark.parametrize("body", [b"{}", b"no JSON", b"\xff"])
def test_a_decision_that_is_not_the_one_that_was_made_is_refused(run, put, keys, body):
    execution = run()
    put(f"{execution.document['plan']['work_prefix']}decision.json", body)
    with pytest.raises(IncompleteOutputError, match=r"decision\.json is not the decision that was made"):
        execution.merge()
    assert OUTPUT not in keys()


def test_what_is_rounded_is_added_up(run, report):
    execution = run()
    execution.tamper(0, rounded_integers=3)
    execution.tamper(2, rounded_integers=4)
    execution.document["model"]["warnings"] = ["Predictions depend on the rows that are predicted together."]
    execution.merge()
    made = report()
    assert made["rounded_integers"] == 7
    assert made["warnings"] == ["Predictions depend on the rows that are predicted together."]


# --- no success without predictions -----------------------------------------------------------------------------------------------


def reasons(**counted):
    names = {"text": "column 'size': not a number", "missing": "column 'size': missing", "other": "other"}
    return {
        "predictions": {},
        "predictions_left_out": 0,
        "features": {},
        "features_left_out": 0,
        "rejected_reasons": {names[name]: count for name, count in counted.items()},
    }


@pytest.mark.parametrize("tolerated", [0, 50])
@pytest.mark.parametrize("said", [True, False])
def test_an_output_without_a_prediction_is_a_failure(run, keys, s3, tolerated, said):
    execution = run(on_bad_row="quarantine", tolerated_failure_percentage=tolerated)
    for index in range(3):
        facts = {"statistics": reasons(text=4, missing=1, other=5)} if said else {}
        execution.tamper(index, rejected_rows=10, **facts)
    if tolerated:
        execution.lose(0)
    rows, chunks = (20, 2) if tolerated else (30, 3)
    with pytest.raises(InvalidDataError, match=rf"none of {rows} row\(s\) in {chunks} chunk\(s\) could be predicted") as caught:
        execution.merge()
    assert (f"most often ({4 * chunks}) because of this: column 'size': not a number" in str(caught.value)) is said
    assert not {OUTPUT, f"{OUTPUT}.report.json"} & set(keys())
    document = execution.document
    document["failure"] = {"Error": "InvalidDataError", "Cause": json.dumps({"errorMessage": str(caught.value)})}
    explanation = explain_failure.explain_failure(s3, document)
    assert (explanation["error"], explanation["plan_exactly"]) == ("InvalidDataError", False)
    assert explanation["cause"].startswith(str(caught.value))
    assert explanation["cause"].endswith("Correct the data at that place and start the request again.")


def test_one_prediction_is_enough(run):
    execution = run()
    for index in range(3):
        execution.tamper(index, rejected_rows=10 - (index == 2))
    assert execution.merge()["rejected_rows"] == 29
