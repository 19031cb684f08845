"""Plan, predict and merge, with the functions' own code: whatever the CSV and the chunk size, the output is that of one direct
invocation on the whole file, byte for byte.
"""

import io
import json
import re
from itertools import pairwise

import joblib
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.tree import DecisionTreeRegressor

import prediction_handler as handler
from support.csv_samples import quoted
from support.samples import BUCKET, COLUMNS, found_columns
from workflow import boundaries, explain_failure, merge_outputs, plan_chunks, record_failure, splitting

MAP_FAILURE = {"Error": "States.ExceedToleratedFailureThreshold", "Cause": ""}


@st.composite
def tables(draw):
    """Records of a number and two fields of text: words, text with commas, quotes and line breaks, or what looks like records.

    Also long lines, for which windows grow over the next targets, and what looks like records that the model cannot score.
    """
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    like_records = st.integers(1, 30).map(lambda number: f"7,a,b{line_end}" * number)
    unlike_records = st.integers(1, 30).map(lambda number: f"z,a,b{line_end}" * number)
    long_line = st.integers(50, 300).map(lambda number: "A" * number)
    mixed = st.lists(st.one_of(like_records, unlike_records, long_line, st.just(f"prose{line_end}")), max_size=4).map("".join)
    text = st.one_of(st.text("abé ", max_size=6), st.text('a,"\n', max_size=10), like_records, mixed)
    rows = draw(st.lists(st.tuples(st.integers(0, 99).map(str), text, text), min_size=1, max_size=40))
    return [(",".join(quoted(field, always=False) for field in row) + line_end).encode() for row in rows], line_end.encode()


class Workflow:
    """What the state machine does, with the functions' own code on an S3 in memory."""

    def __init__(self, s3, document):
        self.s3 = s3
        self.new_document = document
        self.runs = 0
        self.replanned = 0
        self.most_chunks = 0
        self.probe_result = None
        frame = pd.DataFrame({"x": range(100)})
        model = io.BytesIO()
        joblib.dump(DecisionTreeRegressor(random_state=0).fit(frame, frame.x * 1.5), model)
        s3.put_object(Bucket=BUCKET, Key="model.joblib", Body=model.getvalue())

    def put(self, key, body):
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"s3://{BUCKET}/{key}"

    def get(self, uri):
        bucket, key = handler.parse_s3_uri(uri)
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    def directly(self, body):
        """The output of one invocation on the whole."""
        event = self.event() | {"data_s3_uri": self.put("whole.csv", body), "output_s3_uri": f"s3://{BUCKET}/whole-output.csv"}
        handler.predict_chunk(self.s3, event)
        return self.get(event["output_s3_uri"])

    def probed(self):
        """What the probe says, by a row that can be predicted."""
        if not self.probe_result:
            probe = self.event() | {"data_s3_uri": self.put("probe.csv", b"x,note,other\n1,a,b\n"), "probe_rows": 1}
            self.probe_result = handler.probe_model(self.s3, probe)
        return self.probe_result

    @staticmethod
    def event():
        return {
            "model_s3_uri": f"s3://{BUCKET}/model.joblib",
            "feature_columns": ["x"],
            "prediction_column_name": "p",
            "raise_errors": True,
        }

    def run(self, data, chunk_bytes):
        self.runs += 1
        output = f"s3://{BUCKET}/out/{self.runs}.csv"
        document = self.new_document(data_s3_uri=data, output_s3_uri=output, chunk_size_mb=chunk_bytes / 1e6, feature_columns=["x"])
        document["execution"]["name"] = document["execution"]["arn"] = f"run-{self.runs}"
        document["model"] = dict(self.probed())
        found_columns(self.s3, document, **{name: self.probed()[name] for name in COLUMNS})
        while True:
            document["plan"] = plan_chunks.plan_chunks(self.s3, document)
            items = json.loads(self.get(f"s3://{BUCKET}/{document['plan']['pending_key']}"))
            self.most_chunks = max(self.most_chunks, len(items))
            if not [item for item in items if not self.is_predicted(document, item)]:  # all of them run
                break
            document["failure"] = MAP_FAILURE
            document["explanation"] = explain_failure.explain_failure(self.s3, document)
            assert document["explanation"]["plan_exactly"], document["explanation"]
            self.replanned += 1
        result = merge_outputs.merge_outputs(self.s3, document)
        assert result["complete"]
        listed = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"out/{self.runs}.csv")["Contents"]
        assert [item["Key"] for item in listed] == [f"out/{self.runs}.csv", f"out/{self.runs}.csv.report.json"]
        return self.get(output)

    def is_predicted(self, document, item):
        event = self.event() | item
        try:
            handler.validate_event(event)
            handler.predict_chunk(self.s3, event)
        except handler.PredictionError as error:
            failure = {"Error": type(error).__name__, "Cause": json.dumps({"errorMessage": str(error)})}
            child = {"event": event, "execution_arn": document["execution"]["arn"], "failure": failure}
            record_failure.record_failure(self.s3, child)
            return False
        return True


@pytest.fixture
def workflow(s3, document, monkeypatch):
    """With windows so small that guesses are made, and are wrong, in small files."""
    monkeypatch.setattr(splitting, "WINDOWS_WORTH", 0)
    monkeypatch.setattr(boundaries, "WINDOW_BYTES", (16, 64))
    monkeypatch.setattr(splitting, "SCAN_BLOCK_BYTES", 50)
    handler._model_cache.clear()
    return Workflow(s3, document)


def any_number_of(examples):
    """Each example runs a workflow: fewer of them, and the S3 of all is one."""
    return settings(
        max_examples=max(examples, settings().max_examples // 5),
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@any_number_of(12)
@given(table=tables(), chunk_bytes=st.integers(8, 400), bom=st.booleans(), last_line_end=st.booleans())
def test_one_object_in_any_chunks(workflow, table, chunk_bytes, bom, last_line_end):
    records, line_end = table
    body = (b"\xef\xbb\xbf" if bom else b"") + b"x,note,other" + line_end + b"".join(records)
    body = body if last_line_end else body.removesuffix(line_end)
    expected = workflow.directly(body)
    assert workflow.run([workflow.put("in.csv", body)], chunk_bytes) == expected
    without_predictions = re.sub(rb",(?:p|[0-9.]+)(\r?\n)\Z", rb"\1", expected)
    assert without_predictions.startswith(body[: body.index(line_end)])


@any_number_of(12)
@given(table=tables(), chunk_bytes=st.integers(8, 2000), cuts=st.lists(st.integers(0, 40), max_size=6))
def test_any_objects_in_any_chunks(workflow, table, chunk_bytes, cuts):
    records, line_end = table
    header = b"x,note,other" + line_end
    edges = [0, *sorted(cut for cut in cuts if cut < len(records)), len(records)]
    prefix = f"objects/{workflow.runs}/"
    for number, (start, stop) in enumerate(pairwise(edges)):
        workflow.put(f"{prefix}{number}.csv", header + b"".join(records[start:stop]))
    assert workflow.run([f"s3://{BUCKET}/{prefix}"], chunk_bytes) == workflow.directly(header + b"".join(records))


def test_a_deceived_guess_is_corrected(workflow):
    """Not only by luck: the plan is made twice."""
    record = b'7,"' + b"1,a,b\n" * 50 + b'",z\n'
    body = b"x,note,other\n" + b"1,a,b\n" * 20 + record + b"2,c,d\n" * 100
    assert workflow.run([workflow.put("in.csv", body)], 100) == workflow.directly(body)
    assert workflow.replanned == 1
    assert workflow.most_chunks > 5
