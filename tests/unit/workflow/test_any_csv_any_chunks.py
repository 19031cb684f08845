"""The workflow's states with the functions' own code, as the state machine calls them: whatever the CSV and however it is cut,
the output is that of one direct invocation on the whole, byte for byte, and all chunks are scored under one decision of types.
"""

import json
import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.tree import DecisionTreeRegressor

import prediction_handler as handler
from support.csv_samples import deceptive_tables
from support.merging import OUTPUT
from support.samples import BUCKET, EXECUTION, REQUEST
from workflow import boundaries, explain_failure, merge_outputs, plan_chunks, record_failure, sampling, splitting, validate_request
from workflow.column_types import EMPTY, INTEGER, NUMBER, OPTIONAL_BOOLEAN, TEXT, kind_of_texts
from workflow.errors import BatchPredictionError

COLUMNS = ["a", "b"]


class Ones:
    """A model that takes values of any type."""

    def predict(self, features):
        return np.ones(len(features))


class Workflow:
    """The state machine, on an S3 in memory."""

    def __init__(self, s3, put, get, model, **request):
        self.s3, self.put, self.get = s3, put, get
        self.runs = 0
        self.plans = []
        self.request = REQUEST | {"data_s3_uri": f"s3://{BUCKET}/in/"} | request
        put(self.request["model_s3_uri"], model)
        handler._model_cache.clear()

    def execute(self, **changed):
        """Run an execution to its end; returns the output, or the explanation of the failure."""
        self.runs += 1
        execution = EXECUTION | {"name": f"run-{self.runs}", "arn": f"arn:run-{self.runs}"}
        document = validate_request.validate_request(self.s3, self.request | changed, execution)
        document["model"] = handler.probe_model(self.s3, document["probe"])
        self.plans = []
        while True:
            plan = document["plan"] = plan_chunks.plan_chunks(self.s3, document)
            self.plans.append(plan)
            assert len(self.plans) < 50, "it goes round for ever"
            items = json.loads(self.get(plan["pending_key"])) if plan["pending_chunks"] else []
            lost = [item for item in items if not self.is_predicted(document, item)]
            document["failure"] = {"Error": "States.ExceedToleratedFailureThreshold", "Cause": ""}
            if len(lost) * 100 <= plan["tolerated_failure_percentage"] * len(items):
                try:
                    return merge_outputs.merge_outputs(self.s3, document)
                except BatchPredictionError as error:
                    document["failure"] = failure_of(error)
            document["explanation"] = explain_failure.explain_failure(self.s3, document)
            if not document["explanation"]["plan_exactly"]:
                return document["explanation"]

    def is_predicted(self, document, item):
        event = item | document["prediction"] | document["plan"]["agreed"]
        try:
            handler.validate_event(event)
            handler.predict_chunk(self.s3, event)
        except handler.PredictionError as error:
            child = {"event": event, "execution_arn": document["execution"]["arn"], "failure": failure_of(error)}
            record_failure.record_failure(self.s3, child)
            return False
        return True

    def published(self, **changed):
        """Run an execution that publishes something, and leaves nothing else; returns that."""
        output = f"out/{self.runs}.csv"
        assert self.execute(output_s3_uri=f"s3://{BUCKET}/{output}", **changed)["complete"]
        listed = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=output)["Contents"]
        assert [item["Key"] for item in listed] == [output, f"{output}.report.json"]
        return self.get(output)

    def directly(self, body, **more):
        """The output of one invocation on the whole."""
        self.put("whole.csv", body)
        places = {"data_s3_uri": f"s3://{BUCKET}/whole.csv", "output_s3_uri": f"s3://{BUCKET}/whole-output.csv"}
        fields = ("model_s3_uri", "feature_columns", "prediction_column_name")
        handler.predict_chunk(self.s3, {field: self.request[field] for field in fields} | places | more)
        return self.get("whole-output.csv")

    def decision(self):
        """What was decided in the end, as all chunks were told."""
        (uri,) = {chunk["decision_s3_uri"] for chunk in json.loads(self.get(self.plans[-1]["plan_key"]))}
        return json.loads(self.get(uri))


def failure_of(error):
    return {"Error": type(error).__name__, "Cause": json.dumps({"errorMessage": error.told()})}


@pytest.fixture
def numbers(s3, put, get, monkeypatch):
    """A workflow of a model of one number, with windows so small that guesses are made, and are wrong, in small files."""
    monkeypatch.setattr(splitting, "WINDOWS_WORTH", 0)
    monkeypatch.setattr(boundaries, "WINDOW_BYTES", (16, 64))
    monkeypatch.setattr(splitting, "SCAN_BLOCK_BYTES", 50)
    frame = pd.DataFrame({"x": range(100)})
    return Workflow(s3, put, get, DecisionTreeRegressor(random_state=0).fit(frame, frame.x * 1.5), feature_columns=["x"])


@pytest.fixture
def types(s3, put, get, monkeypatch):
    """A workflow of a model that leaves types open; the first record of each chunk decides them, so often too narrowly."""
    monkeypatch.setattr(handler, "BLOCK_BYTES", 20)
    monkeypatch.setattr(sampling, "WINDOW_BYTES", 12)
    return Workflow(s3, put, get, Ones(), feature_columns=COLUMNS, keep_work=True)


NUMBERED_TABLES = deceptive_tables(first=st.integers(0, 99).map(str))


def any_number_of(examples):
    """Each example runs a workflow: fewer of them, and the S3 of all is one."""
    return settings(
        max_examples=max(examples, settings().max_examples // 5),
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@any_number_of(12)
@given(table=NUMBERED_TABLES, chunk_bytes=st.integers(8, 400), bom=st.booleans(), last_line_end=st.booleans())
def test_one_object_in_any_chunks(numbers, table, chunk_bytes, bom, last_line_end):
    records, _, line_end = table
    body = (b"\xef\xbb\xbf" if bom else b"") + b"x,note,other" + line_end + b"".join(records)
    body = body if last_line_end else body.removesuffix(line_end)
    numbers.put("in/1.csv", body)
    expected = numbers.directly(body)
    assert numbers.published(chunk_size_mb=chunk_bytes / 1e6) == expected
    without_predictions = re.sub(rb",(?:prediction|[0-9.]+)(\r?\n)\Z", rb"\1", expected)
    assert without_predictions.startswith(body[: body.index(line_end)])


@pytest.mark.thorough
@settings(any_number_of(12), max_examples=5)
@given(table=NUMBERED_TABLES, chunk_bytes=st.integers(8, 400), has_header=st.booleans(), has_comments=st.booleans())
def test_any_dialect_in_any_chunks(numbers, table, chunk_bytes, has_header, has_comments):
    """The same table with semicolons in the place of commas, also in quotes."""
    records, _, line_end = table
    names = ["x", "note", "other"]
    said = {"delimiter": ";", "comment": "#"} | ({} if has_header else {"header": False, "column_names": names})
    lines = [";".join(names).encode() + line_end] * has_header + [record.replace(b",", b";") for record in records]
    body = (b'# "a;b"' + line_end + b"#" + line_end if has_comments else b"").join([b"", *lines, b""])
    numbers.put("in/1.csv", body)
    expected = numbers.directly(body, csv=said)
    assert numbers.published(chunk_size_mb=chunk_bytes / 1e6, csv=said) == expected
    assert re.sub(rb";(?:prediction|[0-9.]+)(\r?\n(?:#.*\n)*)\Z", rb"\1", expected).count(line_end) == body.count(line_end)
    assert expected.startswith(lines[0].removesuffix(line_end)) or has_comments


@pytest.mark.parametrize("first_has_mark", [True, False])
def test_a_byte_order_mark_of_a_later_object_is_not_in_the_output(numbers, first_has_mark):
    said = {"delimiter": ";", "header": False, "column_names": ["x", "note"]}
    mark = b"\xef\xbb\xbf"
    for number in range(3):
        numbers.put(f"in/{number}.csv", mark * (number > 0 or first_has_mark) + b"%d;a\n" % number * 9)
    found = numbers.published(csv=said, chunk_size_mb=4e-5)
    assert numbers.plans[-1]["chunks"] == 3
    assert found.count(mark) == first_has_mark
    assert [line.rpartition(b";")[0] for line in found.removeprefix(mark).splitlines()] == [
        b"%d;a" % (row // 9) for row in range(27)
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf_16_is_one_chunk_an_object_and_small_objects_are_one(types, encoding):
    """Its types are decided by windows and chunks as always."""
    said = {"encoding": encoding, "delimiter": ";", "decimal": ","}
    codec, header, rows = "utf-16-be" if encoding == "utf-16-be" else "utf-16-le", "\ufeffa;b\r\n", ["ä;1,5\r\n"] * 30 + ["x;2\r\n"]
    bodies = [(header + "".join(part)).encode(codec) for part in (rows, rows[:2], rows[:3])]
    for number, body in enumerate(bodies):
        types.put(f"in/{number}.csv", body)
    assert types.execute(csv=said, chunk_size_mb=len(bodies[1] + bodies[2]) / 1e6)["complete"]
    expected = "\ufeffa;b;prediction\r\n" + "".join(row.replace("\r", ";1,0\r") for row in [*rows, *rows[:2], *rows[:3]])
    assert types.get(types.request["output_s3_uri"]).decode(codec) == expected
    assert (types.plans[-1]["chunks"], types.decision()["column_types"]) == (2, {"a": TEXT, "b": NUMBER})


def put_cut(workflow, header, records, cuts):
    """Write a table as several objects, every other one with a byte order mark; returns their prefix."""
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(records)}), len(records)]
    prefix = f"objects/{workflow.runs}/"
    for number, (start, stop) in enumerate(pairwise(edges)):
        workflow.put(f"{prefix}{number}.csv", number % 2 * b"\xef\xbb\xbf" + header + b"".join(records[start:stop]))
    return f"s3://{BUCKET}/{prefix}"


@any_number_of(12)
@given(table=NUMBERED_TABLES, chunk_bytes=st.integers(8, 2000), cuts=st.lists(st.integers(0, 40), max_size=6))
def test_any_objects_in_any_chunks(numbers, table, chunk_bytes, cuts):
    records, _, line_end = table
    header = b"x,note,other" + line_end
    data = put_cut(numbers, header, records, cuts)
    assert numbers.published(data_s3_uri=data, chunk_size_mb=chunk_bytes / 1e6) == numbers.directly(header + b"".join(records))


def test_a_deceived_guess_is_corrected(numbers):
    """Not only by luck: the plan is made twice."""
    record = b'7,"' + b"1,a,b\n" * 50 + b'",z\n'
    body = b"x,note,other\n" + b"1,a,b\n" * 20 + record + b"2,c,d\n" * 100
    numbers.put("in/1.csv", body)
    assert numbers.published(chunk_size_mb=1e-4) == numbers.directly(body)
    assert [plan["boundaries"] for plan in numbers.plans] == ["guessed", "exact"]
    assert numbers.plans[0]["chunks"] > 5


# --- one decision of types ----------------------------------------------------------------------------------------------------


def records_of(rows):
    return [",".join(f'"{field}"' for field in row).encode() + b"\n" for row in rows]


def csv_of(rows):
    return b"".join(records_of([COLUMNS, *rows]))


def test_a_later_chunk_widens_the_type_for_all(types, put, report):
    put("in/1.csv", csv_of([("007", "1"), ("012", "2")] * 20 + [("A12", ""), ("B7", "3")]))
    output = types.execute(chunk_size_mb=1e-4)
    assert output["complete"]
    assert len(types.plans) == 2
    assert types.decision() == {
        "feature_columns": ["a", "b"],
        "prediction_columns": ["prediction"],
        "column_types": {"a": TEXT, "b": NUMBER},
        "stated_types": {},
        "numeric_columns": [],
        "output_columns": None,
    } | {field: types.decision()[field] for field in ("deployment", "model_sha256")}
    made = report()
    assert made["column_types"] == {"a": TEXT, "b": NUMBER}
    assert made["fingerprint"] == types.plans[-1]["fingerprint"] != types.plans[0]["fingerprint"]
    assert made["identity"] == types.plans[0]["identity"]


def test_windows_decide_before_a_chunk_has_to(types, put, monkeypatch):
    monkeypatch.setattr(sampling, "WINDOW_BYTES", 2**16)
    put("in/1.csv", csv_of([("007", "1")] * 40 + [("A12", "")]))
    assert types.execute(chunk_size_mb=1e-4)["complete"]
    assert len(types.plans) == 1
    assert types.decision()["column_types"] == {"a": TEXT, "b": NUMBER}


def test_grouped_objects_are_decided_together(types, put):
    for number in range(5):
        put(f"in/{number}.csv", csv_of([("True", "1")] * 3 + [("" if number == 3 else "False", "x" if number == 4 else "2")]))
    assert types.execute()["complete"]
    assert types.plans[-1]["chunks"] == 1
    assert types.decision()["column_types"] == {"a": OPTIONAL_BOOLEAN, "b": TEXT}


def test_a_later_execution_starts_with_what_was_refuted(types, put):
    put("in/1.csv", csv_of([("1", "1")] * 40 + [("x", "1")]))
    assert types.execute(chunk_size_mb=1e-4)["complete"]
    decided = types.plans[-1]["decision_sha256"]
    for key in (OUTPUT, f"{OUTPUT}.report.json"):
        types.s3.delete_object(Bucket=BUCKET, Key=key)
    assert types.execute(chunk_size_mb=1e-4)["complete"]
    assert [(plan["decision_sha256"], plan["pending_chunks"]) for plan in types.plans] == [(decided, 0)]


def test_no_tolerance_tolerates_a_refuted_type(types, put):
    """The Map does not fail, and the merge finds why the chunk is lost."""
    put("in/1.csv", csv_of([("1", "1")] * 40 + [("x", "1")]))
    output = types.execute(chunk_size_mb=1e-4, tolerated_failure_percentage=50)
    assert (output["complete"], len(types.plans)) == (True, 2)
    assert types.decision()["column_types"] == {"a": TEXT, "b": INTEGER}


def test_a_type_that_is_refuted_without_saying_how_ends_the_execution(types, put, monkeypatch):
    put("in/1.csv", csv_of([("1", "1")] * 40 + [("x", "1")]))
    monkeypatch.setattr(handler, "_types_uri", lambda uri: f"{uri}.elsewhere.json")
    explanation = types.execute(chunk_size_mb=1e-4)
    assert (explanation["error"], len(types.plans)) == ("ColumnTypeError", 1)
    assert "What to do: State the column's type in column_types" in explanation["cause"]


FIELDS = st.sampled_from(["", "NA", "True", "false", "1", "-7", "1.5", "1e3", "x", "007", "A12"])


@any_number_of(12)
@given(
    rows=st.lists(st.tuples(FIELDS, FIELDS), min_size=1, max_size=25),
    chunk_bytes=st.integers(20, 200),
    objects=st.integers(1, 3),
)
def test_however_it_is_cut_the_decision_is_that_of_the_whole(types, rows, chunk_bytes, objects):
    """And it is reached in few rounds."""
    data = put_cut(types, csv_of([]), records_of(rows), [number * len(rows) // objects for number in range(objects)])
    result = types.execute(data_s3_uri=data, output_s3_uri=f"s3://{BUCKET}/out/{types.runs}.csv", chunk_size_mb=chunk_bytes / 1e6)
    assert result["complete"]
    expected = {column: kind_of_texts(row[index] for row in rows) for index, column in enumerate(COLUMNS)}
    assert types.decision()["column_types"] == expected
    assert len(types.plans) <= 1 + 2 * len(COLUMNS)  # a kind is two steps from text at most


def test_an_empty_column_is_decided_too(types, put):
    put("in/1.csv", csv_of([("", "1"), ("NA", "2")]))
    types.execute()
    assert types.decision()["column_types"] == {"a": EMPTY, "b": INTEGER}
