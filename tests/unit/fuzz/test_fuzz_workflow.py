"""Any request, any manifest, and whatever may stand in the work prefix: the workflow's functions end in a named error, or right."""

import json

import pytest
from damage import damaged_json, fuzzed, fuzzed_runs, misshapen
from hypothesis import example, given
from hypothesis import strategies as st

from support import samples
from support.merging import OUTPUT, Run
from support.samples import BUCKET, EXECUTION, document_after_probe, found_columns
from workflow import chunking, explain_failure, merge_outputs, plan_chunks, record_failure, validate_request

REQUEST = samples.normalised(model_sha256="0" * 64, keep_work=True) | {
    "data_s3_uri": ["s3://bucket/in/0.csv", "s3://bucket/in/1.csv"],
    "output_s3_uri": "s3://bucket/out/{execution_name}-{scheduled_time:%Y}.csv",
}
"""One with every field."""
HINTS = {"InvalidRequestError", "InputNotFoundError", "InvalidDataError"}


@pytest.fixture(scope="module")
def inputs(scene):
    for index in range(3):
        scene.put(f"in/{index}.csv", b"a,b\n" + b"".join(b"%d,%d\n" % (index, row) for row in range(10)))
    scene.put("m.joblib", b"a model")
    return scene


@fuzzed
@given(request_=misshapen(REQUEST))
@example(request_=REQUEST | {"feature_columns": ["\ud800"]})
@example(request_=REQUEST | {"output_s3_uri": "s3://bucket/\ud800"})
@example(request_=REQUEST | {"data_s3_uri": "s3://bucket/{scheduled_time:%Y\ud800}"})
@example(request_=10**400)
@example(request_=REQUEST | {"max_concurrency": 10**400})
@example(request_=REQUEST | {"chunk_size_mb": 10**400, "tolerated_failure_percentage": 10**400})
@example(request_=REQUEST | {"chunk_size_mb": 1e308, "max_concurrency": 1e308, "scheduled_time": 10**400, "dry_run": True})
@example(request_=REQUEST | {"chunk_size_mb": 5e-324, "tolerated_failure_percentage": 5e-324, "dry_run": True})
def test_any_request(inputs, request_):
    """What is accepted can be planned."""
    before = set(inputs.keys())
    outcome, validated = inputs.call(validate_request.lambda_handler, {"request": request_, "execution": EXECUTION})
    assert outcome in HINTS | {"success"}
    if outcome == "success":
        document = validated | {"model": document_after_probe(inputs.s3)["model"]}
        found_columns(inputs.s3, document, column_types={"a": "integer"})
        outcome, _ = inputs.call(plan_chunks.lambda_handler, document)
        assert outcome in HINTS | {"success"}
        for key in set(inputs.keys()) - before:
            inputs.s3.delete_object(Bucket=BUCKET, Key=key)


@fuzzed
@given(damaged_json(REQUEST["data_s3_uri"]))
def test_any_manifest(inputs, body):
    inputs.put("any.manifest.json", body)
    request = REQUEST | {"data_s3_uri": "s3://bucket/any.manifest.json"}
    outcome, _ = inputs.call(validate_request.lambda_handler, {"request": request, "execution": EXECUTION})
    assert outcome in HINTS | {"success"}


class Work:
    """A run that has come to Merge Outputs, and its objects, which each case damages anew."""

    def __init__(self, scene, document):
        self.scene = scene
        run = Run(scene.s3, document)
        self.document, self.chunks = run.document, run.chunks
        self.changed = set()
        self.whole = {key: scene.get(key) for key in scene.keys() if not key.startswith("out/result.csv.report")}  # noqa: SIM118
        assert scene.call(merge_outputs.lambda_handler, self.document)[0] == "success"
        self.expected = scene.get(OUTPUT)
        self.report = scene.get(f"{OUTPUT}.report.json")

    def restore(self, **instead):
        """Undo the case before, and put something else in the place of objects."""
        for key in set(self.scene.keys()) - self.whole.keys():
            self.scene.s3.delete_object(Bucket=BUCKET, Key=key)
        for key in self.changed & self.whole.keys():
            self.scene.put(key, self.whole[key])
        self.changed = set(instead)
        for key, body in instead.items():
            self.scene.put(key, body)

    def remove(self, key):
        self.changed.add(key)
        self.scene.s3.delete_object(Bucket=BUCKET, Key=key)

    def key(self, name):
        return self.document["plan"]["work_prefix"] + name

    def value(self, name):
        return json.loads(self.whole[self.key(name)])

    def merge(self):
        """Merge; whatever comes of it, the output is whole or not there, and no upload stays behind."""
        outcome, _ = self.scene.call(merge_outputs.lambda_handler, self.document)
        assert not self.scene.s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads")
        if outcome == "success":
            assert self.scene.get(OUTPUT) == self.expected
            json.loads(self.scene.get(f"{OUTPUT}.report.json"), parse_constant=pytest.fail)
        else:
            assert OUTPUT not in self.scene.keys()  # noqa: SIM118
        return outcome


@pytest.fixture(scope="module")
def work(inputs):
    """A chunk of one object and a chunk of two."""
    data = [f"s3://bucket/in/{index}.csv" for index in range(3)]
    document = document_after_probe(inputs.s3, data_s3_uri=data, keep_work=True)
    found_columns(inputs.s3, document, column_types={"a": "integer"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunking, "MAX_SEGMENTS", 2)
        yield Work(inputs, document)


@pytest.mark.parametrize("ending", ["plan.json", ".segments.json", "/chunk-00000.json", "/chunk-00001.json"])
@fuzzed_runs
@given(st.data())
def test_any_plan_segments_or_receipt(work, ending, data):
    (key,) = [key for key in work.whole if key.endswith(ending)]
    work.restore(**{key: data.draw(damaged_json(json.loads(work.whole[key])))})
    assert work.merge() in {"success", "IncompleteOutputError"}


def test_a_receipt_nested_deeply_is_none(work):
    name = work.chunks[0]["receipt_s3_uri"].rpartition("/")[2]
    for depth in (500, 900, 960, 980, 100_000):
        deep = "[" * depth + "]" * depth
        work.restore(**{work.key(name): json.dumps(work.value(name) | {"output_etag": "DEEP"}).replace('"DEEP"', deep).encode()})
        assert work.merge() == "IncompleteOutputError"


@fuzzed_runs
@given(st.data())
def test_any_receipt_is_a_hint_to_a_plan(work, data):
    chunk = data.draw(st.sampled_from(work.chunks))
    name = chunk["receipt_s3_uri"].rpartition("/")[2]
    work.restore(**{work.key(name): data.draw(damaged_json(work.value(name)))})
    before = {name: value for name, value in work.document.items() if name != "plan"}
    outcome, plan = work.scene.call(plan_chunks.lambda_handler, before)
    assert outcome == "success"
    assert plan["pending_chunks"] in {0, 1}
    assert plan["fingerprint"] == work.document["plan"]["fingerprint"]


@fuzzed_runs
@given(damaged_json({"parts_sha256": "0" * 64, "others": ["u1"], "upload_id": "u2"}))
def test_any_note_of_an_upload_is_a_hint(work, body):
    work.restore(**{work.key("upload.json"): body})
    assert work.merge() == "success"


@fuzzed_runs
@given(st.data())
def test_any_report_is_a_hint(work, data):
    body = data.draw(damaged_json(json.loads(work.report)))
    work.restore(**{f"{OUTPUT}.report.json": body})
    assert work.merge() == "success"


ERROR_RECORD = {
    "chunk_index": 0,
    "data_s3_uri": "s3://bucket/in/0.csv",
    "byte_range": [0, 44],
    "error": "InvalidDataError",
    "message": "row 3 is ragged",
    "execution_arn": EXECUTION["arn"],
}


@fuzzed_runs
@given(damaged_json(ERROR_RECORD))
def test_any_error_record_is_a_hint(work, body):
    work.restore(**{work.key("chunk-00000.error.json"): body})
    failure = {"Error": "States.ExceedToleratedFailureThreshold", "Cause": ""}
    outcome, explained = work.scene.call(explain_failure.lambda_handler, work.document | {"failure": failure})
    assert outcome == "success"
    assert isinstance(explained["error"], str)
    assert isinstance(explained["cause"], str)
    before = {name: value for name, value in work.document.items() if name != "plan"}
    assert work.scene.call(plan_chunks.lambda_handler, before)[0] == "success"


@fuzzed_runs
@given(damaged_json(ERROR_RECORD))
def test_any_error_record_of_a_tolerated_chunk_is_a_hint(work, body):
    """The chunk is lost and may be; only a record that proves a wrong split may keep the output back."""
    lost = work.chunks[0]["receipt_s3_uri"].removeprefix(f"s3://{BUCKET}/")
    work.restore(**{work.key("chunk-00000.error.json"): body})
    work.remove(lost)
    document = work.document | {"request": work.document["request"] | {"tolerated_failure_percentage": 50}}
    assert work.scene.call(merge_outputs.lambda_handler, document)[0] in {"success", "UnsafeSplitError"}


@fuzzed
@given(st.text() | damaged_json({"errorMessage": "m", "errorType": "E"}).map(lambda body: body.decode(errors="replace")))
@example("[" * 100_000)
@example('{"errorMessage": "\\ud800"}')
def test_any_cause_of_a_failure(work, cause):
    failure = {"Error": "Lambda.Unknown", "Cause": cause}
    child = {"event": work.chunks[0], "execution_arn": EXECUTION["arn"], "failure": failure}
    assert work.scene.call(record_failure.lambda_handler, child)[0] == "success"
