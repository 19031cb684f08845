"""Whatever the cut, all chunks of a run are scored under one decision, and nothing else is published."""

import csv
import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.merging import OUTPUT, key_of, predict
from support.samples import BUCKET, MODEL, found_columns
from workflow import explain_failure, merge_outputs, plan_chunks, record_failure, sampling, splitting
from workflow.column_types import BOOLEAN, EMPTY, INTEGER, NUMBER, OPTIONAL_BOOLEAN, TEXT, join, kind_of_texts
from workflow.errors import ColumnTypeError, IncompleteOutputError, InvalidDataError
from workflow.work import TYPES_SUFFIX

MAP_FAILURE = {"Error": "States.ExceedToleratedFailureThreshold", "Cause": ""}
COLUMNS = ["a", "b"]
LONGEST_CHAIN = 2
"""Steps from the narrowest kind of a column to text."""


class Workflow:
    """What the state machine does, with a prediction function that only looks at types."""

    def __init__(self, s3, new_document):
        self.s3 = s3
        self.new_document = new_document
        self.runs = 0
        self.plans = []

    def read(self, uri):
        return self.s3.get_object(Bucket=BUCKET, Key=key_of(uri))["Body"].read()

    def decision(self):
        """What was decided in the end, as all chunks were told."""
        (uri,) = {chunk["decision_s3_uri"] for chunk in json.loads(self.read(f"s3://{BUCKET}/{self.plans[-1]['plan_key']}"))}
        return json.loads(self.read(uri))

    def execute(self, probed=None, **changed):
        """Run one execution to its end: the output, or the explanation of the failure."""
        self.runs += 1
        document = self.new_document(feature_columns=COLUMNS, keep_work=True, **changed)
        document["execution"] = document["execution"] | {"name": f"run-{self.runs}", "arn": f"arn:run-{self.runs}"}
        found_columns(self.s3, document, column_types=probed or {})
        self.plans = []
        while True:
            plan = plan_chunks.plan_chunks(self.s3, document)
            self.plans.append(plan)
            document["plan"] = plan
            assert len(self.plans) < 50, "it goes round for ever"
            items = json.loads(self.read(f"s3://{BUCKET}/{plan['pending_key']}")) if plan["pending_chunks"] else []
            lost = [item for item in items if not self.is_predicted(item, document)]
            if len(lost) * 100 > plan["tolerated_failure_percentage"] * len(items):
                document["failure"] = MAP_FAILURE
            else:
                try:
                    return merge_outputs.merge_outputs(self.s3, document)
                except (ColumnTypeError, IncompleteOutputError, InvalidDataError) as error:
                    document["failure"] = {
                        "Error": type(error).__name__,
                        "Cause": json.dumps({"errorMessage": str(error)}),
                    }
            document["explanation"] = explain_failure.explain_failure(self.s3, document)
            if not document["explanation"]["plan_exactly"]:
                return document["explanation"]

    def is_predicted(self, item, document):
        """Do what the prediction function does with a decision."""
        decided = json.loads(self.read(item["decision_s3_uri"]))["column_types"]
        found = {column: kind_of_texts(texts) for column, texts in self.texts(item).items() if column in decided}
        wider = {
            column: wide for column, kind in found.items() if kind and (wide := join(decided[column], kind)) != decided[column]
        }
        if not wider:
            predict(self.s3, item)
            return True
        types_uri = item["receipt_s3_uri"].removesuffix(".json") + TYPES_SUFFIX
        self.s3.put_object(Bucket=BUCKET, Key=key_of(types_uri), Body=json.dumps(wider))
        failure = {"Error": "ColumnTypeError", "Cause": json.dumps({"errorMessage": f"{sorted(wider)} do not fit"})}
        child = {"event": item, "execution_arn": document["execution"]["arn"], "failure": failure}
        record_failure.record_failure(self.s3, child)
        return False

    def texts(self, item):
        segments = json.loads(self.read(item["segments_s3_uri"])) if "segments_s3_uri" in item else [item]
        rows = []
        for segment in segments:
            data = self.read(segment["data_s3_uri"])
            start, stop = segment["byte_range"]
            body = data[max(start, data.index(b"\n") + 1) : stop].decode()
            rows += csv.reader(io.StringIO(body, newline=""))
        return {column: [row[index] for row in rows] for index, column in enumerate(COLUMNS)}


@pytest.fixture
def workflow(s3, document, monkeypatch):
    """Whose windows see the first record of a chunk at most: first decisions are often too narrow."""
    monkeypatch.setattr(sampling, "WINDOW_BYTES", 12)
    return Workflow(s3, document)


def csv_of(rows):
    body = io.StringIO(newline="")
    csv.writer(body, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([COLUMNS, *rows])
    return body.getvalue().encode()


def test_a_later_chunk_widens_the_type_for_all(workflow, put, get):
    put("in/1.csv", csv_of([("007", "1"), ("012", "2")] * 20 + [("A12", ""), ("B7", "3")]))
    output = workflow.execute({"a": INTEGER, "b": INTEGER}, chunk_size_mb=1e-4)
    assert output["complete"]
    assert len(workflow.plans) == 2
    assert workflow.decision() == {
        "feature_columns": ["a", "b"],
        "prediction_columns": ["prediction"],
        "column_types": {"a": TEXT, "b": NUMBER},
        "stated_types": {},
        "numeric_columns": [],
        "deployment": MODEL["deployment"],
        "model_sha256": MODEL["sha256"],
    }
    report = json.loads(get(f"{OUTPUT}.report.json"))
    assert report["column_types"] == {"a": TEXT, "b": NUMBER}
    assert report["fingerprint"] == workflow.plans[-1]["fingerprint"] != workflow.plans[0]["fingerprint"]
    assert report["identity"] == workflow.plans[0]["identity"]


def test_windows_decide_before_a_chunk_has_to(workflow, put, monkeypatch):
    monkeypatch.setattr(sampling, "WINDOW_BYTES", 2**16)
    put("in/1.csv", csv_of([("007", "1")] * 40 + [("A12", "")]))
    assert workflow.execute({"a": INTEGER, "b": INTEGER}, chunk_size_mb=1e-4)["complete"]
    assert len(workflow.plans) == 1
    assert workflow.decision()["column_types"] == {"a": TEXT, "b": NUMBER}


def test_grouped_objects_are_decided_together(workflow, put):
    for number in range(5):
        put(f"in/{number}.csv", csv_of([("True", "1")] * 3 + [("" if number == 3 else "False", "x" if number == 4 else "2")]))
    assert workflow.execute({"a": BOOLEAN, "b": INTEGER})["complete"]
    assert workflow.plans[-1]["chunks"] == 1
    assert workflow.decision()["column_types"] == {"a": OPTIONAL_BOOLEAN, "b": TEXT}


def test_without_open_columns_planning_reads_no_rows(workflow, put, s3):
    put("in/1.csv", csv_of([("1", "2")] * 40))
    plain, document = workflow.new_document(), workflow.new_document()
    found_columns(s3, document, column_types={"a": INTEGER})
    ranges = []
    s3.meta.events.register("before-parameter-build.s3.GetObject", lambda params, **_: ranges.append(params.get("Range", "")))
    plan_chunks.plan_chunks(s3, plain)
    without = len(ranges)
    plan_chunks.plan_chunks(s3, document)
    assert len(ranges) - without == without + 1


def test_a_later_execution_starts_with_what_was_refuted(workflow, put):
    put("in/1.csv", csv_of([("1", "1")] * 40 + [("x", "1")]))
    request = {"probed": {"a": INTEGER}, "chunk_size_mb": 1e-4}
    assert workflow.execute(**request)["complete"]
    decided = workflow.plans[-1]["decision_sha256"]
    for key in (OUTPUT, f"{OUTPUT}.report.json"):
        workflow.s3.delete_object(Bucket=BUCKET, Key=key)
    assert workflow.execute(**request)["complete"]
    assert [(plan["decision_sha256"], plan["pending_chunks"]) for plan in workflow.plans] == [(decided, 0)]


def test_no_tolerance_tolerates_a_refuted_type(workflow, put):
    """The Map does not fail, and the merge finds why the chunk is lost."""
    put("in/1.csv", csv_of([("1", "1")] * 40 + [("x", "1")]))
    output = workflow.execute({"a": INTEGER}, chunk_size_mb=1e-4, tolerated_failure_percentage=50)
    assert (output["complete"], len(workflow.plans)) == (True, 2)
    assert workflow.decision()["column_types"] == {"a": TEXT}


def test_a_type_that_is_refuted_without_saying_how_ends_the_execution(workflow, put, monkeypatch):
    put("in/1.csv", csv_of([("1", "1")] * 40 + [("x", "1")]))
    monkeypatch.setattr(f"{__name__}.TYPES_SUFFIX", ".elsewhere.json")
    explanation = workflow.execute({"a": INTEGER}, chunk_size_mb=1e-4)
    assert (explanation["error"], len(workflow.plans)) == ("ColumnTypeError", 1)
    assert "['a'] do not fit. What to do: State the column's type in column_types" in explanation["cause"]


def test_what_was_found_between_wrong_boundaries_does_not_count(workflow, put, monkeypatch, s3):
    """A field that looks like records: between guessed boundaries its texts refute a type, the exact plan does not know of it."""
    monkeypatch.setattr(splitting, "WINDOWS_WORTH", 0)
    put("in/1.csv", csv_of([("1", "1")] * 40))
    document = workflow.new_document(chunk_size_mb=1e-4)
    found_columns(s3, document, column_types={"a": INTEGER})
    guessed = plan_chunks.plan_chunks(s3, document)
    assert guessed["boundaries"] == "guessed"
    put(f"{guessed['work_prefix']}chunk-00001.types.json", json.dumps({"a": TEXT}))
    wider = plan_chunks.plan_chunks(s3, document)
    assert wider["decision_sha256"] != guessed["decision_sha256"]
    where = {"chunk_index": 1, "data_s3_uri": "s3://bucket/in/1.csv", "byte_range": [100, 200]}
    record = {**where, "error": "UnsafeSplitError", "message": "", "advice": None, "execution_arn": "an earlier one"}
    put(f"{wider['work_prefix']}chunk-00001.error.json", json.dumps(record))
    exact = plan_chunks.plan_chunks(s3, document)
    assert exact["boundaries"] == "exact"
    # The guess was right here, so that both cuts share what was found; elsewhere they share nothing.
    assert exact["decision_sha256"] == wider["decision_sha256"]
    put("in/1.csv", csv_of([("1", "1")] * 41))
    assert plan_chunks.plan_chunks(s3, document)["decision_sha256"] == guessed["decision_sha256"]


FIELDS = st.sampled_from(["", "NA", "True", "false", "1", "-7", "1.5", "1e3", "x", "007", "A12"])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    rows=st.lists(st.tuples(FIELDS, FIELDS), min_size=1, max_size=25),
    chunk_bytes=st.integers(10, 200),
    objects=st.integers(1, 3),
)
def test_however_it_is_cut_the_decision_is_that_of_the_whole(workflow, put, rows, chunk_bytes, objects):
    """And it is reached in few rounds."""
    prefix = f"in/{workflow.runs}/"
    for number in range(objects):
        part = rows[number * len(rows) // objects : (number + 1) * len(rows) // objects]
        if part:
            put(f"{prefix}{number}.csv", csv_of(part))
    probed = {column: str(kind_of_texts([rows[0][index]])) for index, column in enumerate(COLUMNS)}
    data = f"s3://{BUCKET}/{prefix}"
    output = f"s3://{BUCKET}/out/{workflow.runs}.csv"
    result = workflow.execute(probed, data_s3_uri=[data], output_s3_uri=output, chunk_size_mb=chunk_bytes / 1e6)
    assert result["complete"]
    expected = {column: kind_of_texts(row[index] for row in rows) for index, column in enumerate(COLUMNS)}
    assert workflow.decision()["column_types"] == expected
    assert len(workflow.plans) <= 1 + LONGEST_CHAIN * len(COLUMNS)


# --- receipts that agree ----------------------------------------------------------------------------------------------------------

DISAGREEING = {
    "another deployment": (
        {"model": MODEL | {"deployment": "e" * 64}},
        "chunk 2, .* was scored by another deployment of the prediction function than the probe's",
    ),
    "another model": ({"model": MODEL | {"sha256": "1" * 64}}, "chunk 2, .* was scored by another model than the probe's"),
    "other versions": ({"model": MODEL | {"versions": {"scikit-learn": "9.9.9"}}}, "another deployment"),
    "no deployment": ({"model": {"sha256": MODEL["sha256"]}}, "chunk 2, .* is not a receipt"),
    "no model": ({"model": None}, "chunk 2, .* is not a receipt"),
    "another decision": ({"decision_sha256": "0" * 64}, "its decision_sha256 is '0000"),
    "no decision": ({"decision_sha256": None}, "chunk 2, .* is not a receipt"),
    "no count of rounded integers": ({"rounded_integers": "3"}, "chunk 2, .* is not a receipt"),
}


@pytest.mark.parametrize("what", DISAGREEING)
def test_a_receipt_that_disagrees_is_refused_by_name_and_not_used_again(run, s3, what):
    facts, message = DISAGREEING[what]
    execution = run()
    execution.tamper(1, **facts)
    with pytest.raises(IncompleteOutputError, match=message):
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


def test_what_is_rounded_is_added_up(run, get):
    execution = run()
    execution.tamper(0, rounded_integers=3)
    execution.tamper(2, rounded_integers=4)
    execution.document["model"]["warnings"] = ["Predictions depend on the rows that are predicted together."]
    execution.merge()
    report = json.loads(get(f"{OUTPUT}.report.json"))
    assert report["rounded_integers"] == 7
    assert report["warnings"] == ["Predictions depend on the rows that are predicted together."]


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


@pytest.mark.parametrize(("bad", "kind"), [("x", NUMBER), ("", NUMBER), (str(2**70), INTEGER), ("7", INTEGER)])
def test_a_bad_row_makes_no_text_of_what_the_model_takes_for_numbers(workflow, put, s3, bad, kind, monkeypatch):
    monkeypatch.setattr(sampling, "WINDOW_BYTES", 2**16)
    put("in/1.csv", csv_of([("1", "1")] * 10 + [(bad, bad)]))
    document = workflow.new_document()
    found_columns(s3, document, column_types={"a": INTEGER, "b": INTEGER}, numeric_columns=["a"])
    workflow.plans = [plan_chunks.plan_chunks(s3, document)]
    open_kind = {"": NUMBER, "x": TEXT}.get(bad, INTEGER)
    assert workflow.decision()["column_types"] == {"a": kind, "b": open_kind}


def test_an_empty_column_is_decided_too(workflow, put):
    put("in/1.csv", csv_of([("", "1"), ("NA", "2")]))
    workflow.execute({"a": EMPTY})
    assert workflow.decision()["column_types"] == {"a": EMPTY}
