"""Runs of Parquet, as the workflow's functions see them: the prediction function is stood in for by what it guarantees."""

import io
import itertools
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.merging import key_of
from support.parquet_files import parquet, table_of
from support.samples import BUCKET, MODEL, document_after_probe, found_columns, rejection, validated
from workflow import accounting, fingerprint, merge_outputs, plan_chunks
from workflow.errors import (
    IncompleteOutputError,
    InputChangedError,
    InvalidDataError,
    InvalidRequestError,
    MissingChunksError,
    TransientS3Error,
)
from workflow.formats import parquet_format
from workflow.multipart import MIN_PART_BYTES
from workflow.parquet import footer as names

OUTPUT = "out/result.parquet"
DATA = {"data_s3_uri": "s3://bucket/in/", "output_s3_uri": f"s3://{BUCKET}/{OUTPUT}", "input_format": "parquet"}


def table(rows, first=0, **more):
    """Two features, and a column that is no feature."""
    numbers = np.arange(first, first + rows)
    noise = np.random.default_rng(first).bytes(8 * rows)
    ids = pa.array([f"{number:04}-{noise[8 * i : 8 * i + 4].hex()}" for i, number in enumerate(numbers)], pa.string())
    return pa.table({"a": numbers / 2, "id": ids, "b": numbers.astype("float64"), **more})


def predicted(data):
    """The table with the prediction that every chunk here makes of a row."""
    return data.append_column("prediction", pa.array(np.asarray(data["a"]) * 2, pa.float64()))


class Run:
    """An execution of Parquet that has come to Merge Outputs."""

    def __init__(self, s3, rows=2, **changed):
        self.s3 = s3
        self.document = document_after_probe(s3, **DATA | changed)
        self.document["model"]["rows"] = rows
        self.plan()
        for chunk in self.chunks:
            self.predict(chunk)

    def plan(self):
        self.document["plan"] = plan_chunks.plan_chunks(self.s3, self.document)
        self.chunks = json.loads(self.get(self.document["plan"]["plan_key"]))

    def get(self, key):
        return self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def segments(self, chunk):
        return json.loads(self.get(key_of(chunk["segments_s3_uri"]))) if "segments_s3_uri" in chunk else [chunk]

    def predict(self, chunk, **facts):
        part, rows, n_bytes = io.BytesIO(), 0, 0
        schema = pa.schema([("prediction", pa.float64())])
        with pq.ParquetWriter(part, schema) as writer:
            for segment in self.segments(chunk):
                file = pq.ParquetFile(io.BytesIO(self.get(key_of(segment["data_s3_uri"]))))
                for index in range(*segment["row_groups"]):
                    group = file.read_row_group(index, ["a"])
                    predictions = pa.array([2 * a for a in group["a"].to_pylist()], pa.float64())
                    writer.write_table(pa.table([predictions], schema), max(1, group.num_rows))
                    rows += group.num_rows
                    columns = file.metadata.row_group(index)
                    n_bytes += sum(
                        columns.column(at).total_compressed_size
                        for at in range(columns.num_columns)
                        if columns.column(at).path_in_schema in ("a", "b")
                    )
        body = part.getvalue()
        etag = self.s3.put_object(Bucket=BUCKET, Key=key_of(chunk["output_s3_uri"]), Body=body)["ETag"]
        receipt = {
            **{field: chunk[field] for field in accounting.IDENTIFYING_FIELDS if field in chunk},
            "objects": len(self.segments(chunk)),
            "layout_sha256": "0" * 64,
            "rows_read": rows,
            "rows_written": rows,
            "rejected_rows": 0,
            "rounded_integers": 0,
            "input_bytes": n_bytes,
            "data_sha256": fingerprint.data_sha256_of(self.segments(chunk), "row_groups"),
            "output_bytes": len(body),
            "header_bytes": 4,
            "output_etag": etag,
            "rejected_etag": None,
            "quote_parity": 0,
            "started": 1_795_600_000_000,
            "milliseconds": {"total": 4.0},
            "memory_mb": 1024,
            "model": MODEL,
            **facts,
        }
        self.s3.put_object(Bucket=BUCKET, Key=key_of(chunk["receipt_s3_uri"]), Body=json.dumps(receipt))

    def lose(self, index):
        for field in ("output_s3_uri", "receipt_s3_uri"):
            self.s3.delete_object(Bucket=BUCKET, Key=key_of(self.chunks[index][field]))

    def merge(self, **limits):
        return merge_outputs.merge_outputs(self.s3, self.document, **limits)


@pytest.fixture
def run(s3):
    return lambda *args, **changed: Run(s3, *args, **changed)


@pytest.mark.parametrize("mb", [None, 0.0001])
@pytest.mark.parametrize("options", [{}, {"write_page_index": True, "compression": "zstd"}])
def test_the_output_is_the_input_s_bytes_and_the_predictions(s3, put, get, run, mb, options):
    tables = [table(50), table(7, 50), table(0, 57), table(100, 57)]
    for number, (data, rows) in enumerate(zip(tables, [9, 100, 1, 30], strict=True)):
        put(f"in/{number}.parquet", parquet(data, rows, **options))
    execution = run(chunk_size_mb=mb)
    plan = execution.document["plan"]
    assert (plan["objects"], plan["skipped_objects"], plan["boundaries"], plan["input_format"]) == (3, 1, "exact", "parquet")
    assert len(execution.chunks) == {None: 1, 0.0001: 11}[mb]
    output = execution.merge()
    result = get(OUTPUT)
    assert (output["rows"], output["bytes"], output["complete"]) == (157, len(result), True)
    assert table_of(result).equals(predicted(pa.concat_tables(tables)).combine_chunks())
    assert pq.ParquetFile(io.BytesIO(result)).metadata.num_row_groups == 6 + 1 + 4
    first = get("in/0.parquet")
    start = names.read_footer("", len(first), lambda start, stop: first[start:stop]).start
    assert result[:start] == first[:start]
    assert s3.head_object(Bucket=BUCKET, Key=OUTPUT)["ContentType"] == "application/vnd.apache.parquet"


def test_chunks_follow_the_bytes_of_the_features(put, run):
    """Every row group has as many bytes, but not of the features."""
    wide = table(4000)
    groups = [wide.slice(start, 1000) for start in range(0, 4000, 1000)]
    written = io.BytesIO()
    with pq.ParquetWriter(written, wide.schema, compression="none", use_dictionary=False) as writer:
        for group in groups:
            writer.write_table(group)
    put("in/1.parquet", written.getvalue())
    execution = run(chunk_size_mb=0.033)
    receipts = [json.loads(execution.get(key_of(chunk["receipt_s3_uri"]))) for chunk in execution.chunks]
    assert [chunk["row_groups"] for chunk in execution.chunks] == [[0, 2], [2, 4]]
    assert all(32_000 < receipt["input_bytes"] < 33_000 for receipt in receipts)  # 2 x 1,000 rows of two float64
    assert execution.document["plan"]["input_bytes"] == len(written.getvalue())


def test_a_chunk_is_named_by_its_row_groups(put, run):
    put("in/1.parquet", parquet(table(4), 1))
    execution = run(chunk_size_mb=0.00001)
    assert [chunk["row_groups"] for chunk in execution.chunks] == [[0, 1], [1, 2], [2, 3], [3, 4]]
    assert {chunk["output_s3_uri"].rpartition(".")[2] for chunk in execution.chunks} == {"parquet"}
    assert "byte_range" not in execution.chunks[0]
    assert accounting.located(execution.chunks[2]) == "chunk 3, s3://bucket/in/1.parquet row groups=[2, 3)"


def test_nulls_anywhere_decide_the_types_of_all_chunks(s3, put):
    put("in/1.parquet", parquet(table(4), 1))
    put("in/2.parquet", parquet(table(4, 4).set_column(0, "a", pa.array([1.0, None, 2.0, 3.0])), 1))
    document = document_after_probe(s3, **DATA)
    found_columns(s3, document, column_types={"a": "integer", "b": "boolean"})
    plan = plan_chunks.plan_chunks(s3, document)
    decision = json.loads(s3.get_object(Bucket=BUCKET, Key=f"{plan['work_prefix']}decision.json")["Body"].read())
    assert decision["column_types"] == {"a": "number", "b": "boolean"}


def test_the_types_of_predictions_go_into_the_decision_if_the_probe_says_them(s3, put):
    put("in/1.parquet", parquet(table(4), 1))
    document = document_after_probe(s3, **DATA)
    found_columns(s3, document, prediction_types=["double"])
    plan = plan_chunks.plan_chunks(s3, document)
    decision = json.loads(s3.get_object(Bucket=BUCKET, Key=f"{plan['work_prefix']}decision.json")["Body"].read())
    assert decision["prediction_types"] == ["double"]


def test_a_resumed_run_has_its_chunks(put, run):
    put("in/1.parquet", parquet(table(20), 5))
    execution = run(chunk_size_mb=0.00005, keep_work=True)
    execution.lose(1)
    execution.plan()
    assert execution.document["plan"]["pending_chunks"] == 1
    execution.predict(execution.chunks[1])
    execution.plan()
    assert execution.document["plan"]["pending_chunks"] == 0
    assert execution.merge()["rows"] == 20
    assert execution.merge()["rows"] == 20  # again, from the report
    execution.plan()
    assert execution.document["plan"]["output_found"]["is_result"]


def test_row_groups_of_lost_chunks_are_left_out_with_their_bytes(put, get, run):
    put("in/1.parquet", parquet(table(20), 5))
    put("in/2.parquet", parquet(table(6, 20), 3, write_page_index=True))
    execution = run(chunk_size_mb=0.00005, tolerated_failure_percentage=50)
    assert [chunk["row_groups"] for chunk in execution.chunks] == [[0, 1], [1, 2], [2, 3], [3, 4], [0, 1], [1, 2]]
    execution.lose(1)
    execution.lose(4)
    output = execution.merge()
    whole = predicted(pa.concat_tables([table(20), table(6, 20)]))
    expected = pa.concat_tables([whole.slice(0, 5), whole.slice(10, 10), whole.slice(23)])
    assert (output["complete"], output["failed_chunks"], output["rows"]) == (False, 2, 18)
    assert table_of(get(OUTPUT)).equals(expected.combine_chunks())
    lost = [whole["id"][row].as_py().encode() for row in (*range(5, 10), *range(20, 23))]
    assert not any(text in get(OUTPUT) for text in lost)


def test_a_run_that_lost_too_much_publishes_nothing(put, run):
    put("in/1.parquet", parquet(table(20), 5))
    execution = run(chunk_size_mb=0.00005)
    execution.lose(3)
    with pytest.raises(MissingChunksError, match=r"the first is chunk 4, s3://bucket/in/1.parquet row groups=\[3, 4\)"):
        execution.merge()


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"rows_read": 6, "rows_written": 6}, "its rows_read is 6, not 5"),
        ({"input_bytes": 1}, "its input_bytes is 1, not"),
        ({"header_bytes": 0}, "its rows, bytes and header are"),
        ({"row_groups": [0, 2]}, r"its row_groups is \[0, 2\]"),
        ({"data_sha256": "0" * 64}, "its data_sha256"),
    ],
)
def test_a_receipt_that_does_not_add_up_is_refused(put, run, facts, reason):
    put("in/1.parquet", parquet(table(20), 5))
    execution = run(chunk_size_mb=0.00005)
    execution.predict(execution.chunks[0], **facts)
    with pytest.raises(IncompleteOutputError, match=reason):
        execution.merge()


@pytest.mark.parametrize("edges", [[0, 2], [1, 1], [1, 5], [0, 0]])
def test_a_plan_that_was_changed_is_refused(s3, put, run, edges):
    put("in/1.parquet", parquet(table(20), 5))
    execution = run(chunk_size_mb=0.00005)
    execution.chunks[1]["row_groups"] = edges
    s3.put_object(Bucket=BUCKET, Key=execution.document["plan"]["plan_key"], Body=json.dumps(execution.chunks))
    with pytest.raises(IncompleteOutputError):
        execution.merge()


def test_an_object_that_changes_while_a_run_goes_on_ends_it(put, run):
    put("in/1.parquet", parquet(table(20), 5))
    execution = run()
    put("in/1.parquet", parquet(table(20, 1), 5))
    with pytest.raises(InputChangedError):
        execution.merge()


@pytest.mark.parametrize("bodies", [[parquet(table(0)), parquet(table(0))], []])
def test_data_without_rows_are_published_as_a_file_without_rows(put, get, run, bodies):
    for number, body in enumerate(bodies):
        put(f"in/{number}.parquet", body)
    put("in/_SUCCESS", b"")
    execution = run(on_no_rows="succeed", rows=0)
    assert execution.document["plan"]["chunks"] == len(bodies[:1])
    assert execution.merge()["rows"] == 0
    found = pq.read_table(io.BytesIO(get(OUTPUT)))
    assert (found.schema.names, found.num_rows) == (["a", "id", "b", "prediction"] if bodies else [], 0)


def test_the_tail_is_written_once_however_often_a_merge_is_repeated(s3, put, run, monkeypatch):
    put("in/1.parquet", parquet(table(20), 5))
    execution = run(keep_work=True)
    monkeypatch.setattr(merge_outputs, "report_of", lambda *_: 1 / 0)
    written = []
    s3.meta.events.register("before-parameter-build.s3.PutObject", lambda params, **_: written.append(params["Key"]))
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            execution.merge()
    monkeypatch.undo()
    etag = s3.head_object(Bucket=BUCKET, Key=OUTPUT)["ETag"]
    assert execution.merge()["etag"] == etag
    assert sum("/tail-" in key for key in written) == 1


@pytest.mark.thorough
def test_large_inputs_are_copied_and_a_merge_without_time_is_taken_up(put, get, run):
    blobs = pa.array([np.random.default_rng(row).bytes(2**20) for row in range(6)])
    tables = [table(6, first, blob=blobs) for first in (0, 6)]
    for number, data in enumerate(tables):
        put(f"in/{number}.parquet", parquet(data, 3))
    execution = run(chunk_size_mb=0.00005)
    assert len(execution.get("in/0.parquet")) > MIN_PART_BYTES
    with pytest.raises(TransientS3Error, match="no part could be copied before the function's time was over"):
        execution.merge(deadline=0)
    assert execution.merge()["rows"] == 12
    assert table_of(get(OUTPUT)).equals(predicted(pa.concat_tables(tables)).combine_chunks())


def refused(s3, put, *bodies, error=InvalidDataError, **changed):
    for number, body in enumerate(bodies):
        put(f"in/{number}.parquet", body)
    with pytest.raises(error) as caught:
        plan_chunks.plan_chunks(s3, document_after_probe(s3, **DATA | changed))
    return str(caught.value)


def test_objects_of_another_schema_are_named(s3, put):
    other = table(4).set_column(0, "a", pa.array([1, 2, 3, 4]))
    text = refused(s3, put, parquet(table(4)), parquet(other))
    assert text.startswith("the column a is optional INT64 in s3://bucket/in/1.parquet, but optional DOUBLE in s3://bucket/in/0")


def test_features_have_to_be_there_once_and_flat(s3, put):
    nested = table(2).set_column(2, "b", pa.array([[1.0], [2.0]]))
    assert "the column 'b' of s3://bucket/in/0.parquet is nested" in refused(s3, put, parquet(nested))
    assert "has more than one column named 'a'" in refused(s3, put, parquet(table(2).append_column("a", pa.array([1, 2]))))
    assert "has no column 'b'" in refused(s3, put, parquet(table(2).drop_columns("b")))


def test_row_groups_that_no_part_could_have_are_refused(s3, put, monkeypatch):
    monkeypatch.setattr(parquet_format, "MAX_GROUP_ROWS", 3)
    assert "row group 1 of s3://bucket/in/0.parquet has 4 rows, more than 3" in refused(s3, put, grouped(table(6), [2, 4]))


def grouped(data, rows):
    written = io.BytesIO()
    with pq.ParquetWriter(written, data.schema) as writer:
        for start, count in zip(itertools.accumulate(rows, initial=0), rows, strict=False):
            writer.write_table(data.slice(start, count), count)
    return written.getvalue()


def test_footers_that_are_together_too_large_are_refused_while_they_are_read(s3, put, monkeypatch):
    body = parquet(table(4))
    size = names.read_footer("", len(body), lambda start, stop: body[start:stop]).size
    monkeypatch.setattr(names, "MAX_FOOTER_BYTES", 3 * size - 1)
    text = refused(s3, put, body, body, body, error=InvalidRequestError)
    assert f"the footers of all objects have {3 * size} bytes" in text


def test_validation_knows_parquet_by_name_and_by_its_first_bytes(s3, put):
    put("model.joblib", b"x")
    for name in ("1.parquet", "part-0000"):
        put(f"in/{name}", parquet(table(4)))
        found = validated(s3, data_s3_uri=f"s3://bucket/in/{name}", output_s3_uri=DATA["output_s3_uri"])
        assert {found[part]["input_format"] for part in ("request", "prediction", "probe")} == {"parquet"}


@pytest.mark.parametrize(
    ("changed", "error", "reason"),
    [
        ({"output_s3_uri": "s3://bucket/out/x.csv", "output_format": "parquet"}, InvalidRequestError, "/x.csv ends in .csv, and"),
        ({"feature_columns": ["a", "c"]}, InvalidRequestError, "has no column 'c'"),
        ({"prediction_column_name": "id"}, InvalidRequestError, "has a column 'id' already"),
        ({"column_types": {"a": "text"}}, InvalidRequestError, "says the types of its columns: leave column_types out"),
        ({"input_format": "csv"}, InvalidDataError, "is not CSV but Parquet: set input_format to parquet"),
        ({"data_s3_uri": "s3://bucket/in/x.csv"}, InvalidDataError, "is not CSV but Parquet"),
        ({"data_s3_uri": "s3://bucket/in/y.parquet"}, InvalidDataError, "is not Parquet, or it is truncated"),
    ],
)
def test_what_does_not_fit_parquet_is_refused_by_name(s3, put, changed, error, reason):
    body = parquet(table(4))
    put("model.joblib", b"x")
    put("in/1.parquet", body)
    put("in/x.csv", body)
    put("in/y.parquet", body[:-1])
    request = {"data_s3_uri": "s3://bucket/in/1.parquet", "output_s3_uri": DATA["output_s3_uri"], "feature_columns": ["a", "b"]}
    if "output_s3_uri" not in changed and changed.get("input_format") == "csv":
        request["output_s3_uri"] = "s3://bucket/out/x.csv"
    if str(changed.get("data_s3_uri")).endswith(".csv"):
        request["output_s3_uri"] = "s3://bucket/out/x.csv"
    assert reason in rejection(s3, error, **request | changed)


def test_an_input_of_another_format_is_another_identity(s3, put):
    put("in/1.parquet", parquet(table(4)))
    document = document_after_probe(s3, **DATA)
    whole = [fingerprint.Whole("s3://bucket/in/1.parquet", 1, '"1"')]
    columns = {"feature_columns": ["a"], "stated_types": {}, "output_columns": None}
    identities = set()
    for kind in ("csv", "parquet"):
        document["prediction"]["input_format"] = kind
        identities.add(fingerprint.identity_of(document, columns, whole))
    del document["prediction"]["input_format"]  # as it was before there were others
    assert len(identities) == 2
    assert fingerprint.identity_of(document, columns, whole) in identities


def test_a_list_of_rejected_rows_says_row_group_and_row(s3, put, get, run):
    put("in/1.parquet", parquet(table(20), 5))
    execution = run(chunk_size_mb=0.00005, on_bad_row="quarantine")
    for index, chunk in enumerate(execution.chunks):
        row = f"{chunk['data_s3_uri']},{5 * index + 2},{index},a is not a number\n"
        key = key_of(f"{chunk['output_s3_uri']}.rejected.csv")
        etag = s3.put_object(Bucket=BUCKET, Key=key, Body=f"data_s3_uri,row,row_group,reason\n{row}")["ETag"]
        execution.predict(chunk, rejected_rows=1, rejected_etag=etag)
    execution.merge()
    lines = get(f"{OUTPUT}.rejected.csv").decode().splitlines()
    assert lines[0] == "data_s3_uri,row,row_group,reason"
    assert lines[3] == "s3://bucket/in/1.parquet,12,2,a is not a number"


def test_a_dry_run_reckons_with_what_is_read_and_what_is_copied(s3, put):
    put("in/1.parquet", parquet(table(2000), 500))
    found = plan_chunks.plan_chunks(s3, document_after_probe(s3, **DATA, dry_run=True))["estimate"]
    assert found["rows"] == 2000
