"""Any request, any manifest, and whatever may stand in the work prefix: the workflow's functions end in a named error, or right."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from damage import damaged_json, fuzzed, fuzzed_runs, misshapen
from hypothesis import example, given
from hypothesis import strategies as st

from support.merging import OUTPUT, Run
from support.samples import BUCKET, EXECUTION, MODEL, found_columns
from workflow import chunking, explain_failure, merge_outputs, plan_chunks, record_failure, validate_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Scene

REQUEST: dict[str, Any] = {
    "model_s3_uri": "s3://bucket/m.joblib",
    "data_s3_uri": ["s3://bucket/in/0.csv", "s3://bucket/in/1.csv"],
    "output_s3_uri": "s3://bucket/out/{execution_name}-{scheduled_time:%Y}.csv",
    "prediction_column_name": "prediction",
    "feature_columns": ["a", "b"],
    "chunk_size_mb": 64,
    "max_concurrency": 100,
    "tolerated_failure_percentage": 0,
    "prediction_method": "predict",
    "on_bad_row": "fail",
    "on_no_rows": "fail",
    "model_sha256": "0" * 64,
    "overwrite": False,
    "keep_work": True,
    "scheduled_time": "2026-11-24T02:00:00Z",
}
PROBED: dict[str, Any] = {
    "rows": 2,
    "rows_per_second": 1e6,
    "warnings": [],
    "model": MODEL,
}
HINTS = {"InvalidRequestError", "InputNotFoundError", "InvalidDataError"}


@pytest.fixture(scope="module")
def inputs(scene: Scene) -> Scene:
    """Three objects of ten rows."""
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
def test_any_request(inputs: Scene, request_: Any) -> None:
    """What is accepted can be planned."""
    before = set(inputs.keys())
    outcome, validated = inputs.call(validate_request.lambda_handler, {"request": request_, "execution": EXECUTION})
    assert outcome in HINTS | {"success"}
    if outcome == "success":
        document = validated | {"model": dict(PROBED)}
        found_columns(inputs.s3, document, column_types={"a": "integer"})
        outcome, _ = inputs.call(plan_chunks.lambda_handler, document)
        assert outcome in HINTS | {"success"}
        for key in set(inputs.keys()) - before:
            inputs.s3.delete_object(Bucket=BUCKET, Key=key)


MANIFEST = ["s3://bucket/in/0.csv", "s3://bucket/in/1.csv"]


@fuzzed
@given(damaged_json(MANIFEST))
def test_any_manifest(inputs: Scene, body: bytes) -> None:
    inputs.put("any.manifest.json", body)
    request = REQUEST | {"data_s3_uri": "s3://bucket/any.manifest.json"}
    outcome, _ = inputs.call(validate_request.lambda_handler, {"request": request, "execution": EXECUTION})
    assert outcome in HINTS | {"success"}


class Work:
    """A run that has come to Merge Outputs, and its objects, which each case damages anew."""

    def __init__(self, scene: Scene, document: Any) -> None:
        self.scene = scene
        run = Run(scene.s3, document)
        self.document, self.chunks = run.document, run.chunks
        self.changed: set[str] = set()
        self.whole = {key: scene.get(key) for key in scene.keys() if not key.startswith("out/result.csv.report")}  # noqa: SIM118
        assert scene.call(merge_outputs.lambda_handler, self.document)[0] == "success"
        self.expected = scene.get(OUTPUT)
        self.report = scene.get(f"{OUTPUT}.report.json")

    def restore(self, **instead: bytes) -> None:
        """Undo the case before, and put something else in the place of objects."""
        for key in set(self.scene.keys()) - self.whole.keys():
            self.scene.s3.delete_object(Bucket=BUCKET, Key=key)
        for key in self.changed & self.whole.keys():
            self.scene.put(key, self.whole[key])
        self.changed = set(instead)
        for key, body in instead.items():
            self.scene.put(key, body)

    def remove(self, key: str) -> None:
        self.changed.add(key)
        self.scene.s3.delete_object(Bucket=BUCKET, Key=key)

    def key(self, name: str) -> str:
        return self.document["plan"]["work_prefix"] + name

    def value(self, name: str) -> Any:
        return json.loads(self.whole[self.key(name)])

    def merge(self) -> str:
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
def work(inputs: Scene) -> Iterator[Work]:
    """A chunk of one object and a chunk of two."""
    request = REQUEST | {
        "data_s3_uri": [f"s3://bucket/in/{index}.csv" for index in range(3)],
        "output_s3_uri": f"s3://bucket/{OUTPUT}",
        "strict": False,
        "model_sha256": None,
        "dry_run": False,
    }
    prediction = {name: request[name] for name in ("model_s3_uri", "prediction_column_name", "on_bad_row")}
    prediction |= {
        "model_etag": '"model"',
        "model_sha256": None,
        "prediction_method": "predict",
        "strict": False,
    }
    document = {"request": request, "execution": EXECUTION, "prediction": prediction, "model": dict(PROBED)}
    found_columns(inputs.s3, document, column_types={"a": "integer"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunking, "MAX_SEGMENTS", 2)
        yield Work(inputs, document)


@fuzzed_runs
@given(st.data())
def test_any_plan(work: Work, data: st.DataObject) -> None:
    body = data.draw(damaged_json(work.value("plan.json")))
    work.restore(**{work.key("plan.json"): body})
    assert work.merge() in {"success", "IncompleteOutputError"}


def names_of(work: Work, ending: str) -> list[str]:
    prefix = work.document["plan"]["work_prefix"]
    return [key.removeprefix(prefix) for key in work.whole if key.startswith(prefix) and key.endswith(ending)]


@fuzzed_runs
@given(st.data())
def test_any_segments_of_a_plan(work: Work, data: st.DataObject) -> None:
    (name,) = names_of(work, ".segments.json")
    work.restore(**{work.key(name): data.draw(damaged_json(work.value(name)))})
    assert work.merge() in {"success", "IncompleteOutputError"}


@fuzzed_runs
@given(st.data())
def test_any_receipt(work: Work, data: st.DataObject) -> None:
    receipts = [chunk["receipt_s3_uri"].rpartition("/")[2] for chunk in work.chunks]
    name = data.draw(st.sampled_from(receipts))
    work.restore(**{work.key(name): data.draw(damaged_json(work.value(name)))})
    assert work.merge() in {"success", "IncompleteOutputError"}


@pytest.mark.parametrize(
    "changed",
    [
        {"output_etag": "a\r\nb"},
        {"output_bytes": 10**400},
        {"milliseconds": {"total": 10**400}},
        {"milliseconds": {"total": "1"}},
        {"milliseconds": []},
        {"memory_mb": True},
        {"model": [0]},
        {"model": {"warnings": [[[]]]}},
        {"header_bytes": True},
    ],
    ids=str,
)
def test_a_receipt_of_odd_values_is_none(work: Work, changed: Any) -> None:
    name = work.chunks[0]["receipt_s3_uri"].rpartition("/")[2]
    work.restore(**{work.key(name): json.dumps(work.value(name) | changed).encode()})
    assert work.merge() == "IncompleteOutputError"


def test_a_receipt_nested_deeply_is_none(work: Work) -> None:
    name = work.chunks[0]["receipt_s3_uri"].rpartition("/")[2]
    for depth in (500, 900, 960, 980, 100_000):
        deep = "[" * depth + "]" * depth
        work.restore(**{work.key(name): json.dumps(work.value(name) | {"output_etag": "DEEP"}).replace('"DEEP"', deep).encode()})
        assert work.merge() == "IncompleteOutputError"


@fuzzed_runs
@given(st.data())
def test_any_receipt_is_a_hint_to_a_plan(work: Work, data: st.DataObject) -> None:
    chunk = data.draw(st.sampled_from(work.chunks))
    name = chunk["receipt_s3_uri"].rpartition("/")[2]
    work.restore(**{work.key(name): data.draw(damaged_json(work.value(name)))})
    before = {name: value for name, value in work.document.items() if name != "plan"}
    outcome, plan = work.scene.call(plan_chunks.lambda_handler, before)
    assert outcome == "success"
    assert plan["pending_chunks"] in {0, 1}
    assert plan["fingerprint"] == work.document["plan"]["fingerprint"]


UPLOAD_RECORD: dict[str, Any] = {"parts_sha256": "0" * 64, "others": ["u1"], "upload_id": "u2"}


@fuzzed_runs
@given(damaged_json(UPLOAD_RECORD))
def test_any_note_of_an_upload_is_a_hint(work: Work, body: bytes) -> None:
    work.restore(**{work.key("upload.json"): body})
    assert work.merge() == "success"


@fuzzed_runs
@given(st.data())
def test_any_report_is_a_hint(work: Work, data: st.DataObject) -> None:
    body = data.draw(damaged_json(json.loads(work.report)))
    work.restore(**{f"{OUTPUT}.report.json": body})
    assert work.merge() == "success"


ERROR_RECORD: dict[str, Any] = {
    "chunk_index": 0,
    "data_s3_uri": "s3://bucket/in/0.csv",
    "byte_range": [0, 44],
    "error": "InvalidDataError",
    "message": "row 3 is ragged",
    "execution_arn": EXECUTION["arn"],
}


@fuzzed_runs
@given(damaged_json(ERROR_RECORD))
def test_any_error_record_is_a_hint(work: Work, body: bytes) -> None:
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
def test_any_error_record_of_a_tolerated_chunk_is_a_hint(work: Work, body: bytes) -> None:
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
def test_any_cause_of_a_failure(work: Work, cause: Any) -> None:
    failure = {"Error": "Lambda.Unknown", "Cause": cause}
    child = {"event": work.chunks[0], "execution_arn": EXECUTION["arn"], "failure": failure}
    assert work.scene.call(record_failure.lambda_handler, child)[0] == "success"
