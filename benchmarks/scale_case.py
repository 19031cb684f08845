"""Plan and merge one input of any size, in this fresh process, and print what it took as a line of JSON.

The input, the parts and S3 itself are formulas (`formula_s3.py`); the planner and the merge are the workflow's own.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections import Counter
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from benchmarks.formula_objects import RECORD_BYTES, Joined, Records, Reference
from benchmarks.formula_s3 import FormulaS3
from benchmarks.measure import output_of, start_module
from benchmarks.memory import forget_peak, peak_bytes
from benchmarks.scale_input import BUCKET, CHUNK_SIZE_MB, INPUT_PREFIX, ScaleCase, add_input, parse_case
from workflow import merge_outputs, plan_chunks, validate_request
from workflow.contract import Execution, Extent, PredictionFields
from workflow.fingerprint import data_sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    JsonObject = dict[str, Any]

OUTPUT_KEY = "out/result.csv"
WHOLE_BYTES = 200_000_000
"""Outputs up to this size are compared whole."""
COMPARED_EDGES = 50
"""Of larger outputs so many are compared, and `EDGE_BYTES` on both sides of each."""
ALL_EDGES = 1000
"""Where there are no more than these, all are."""
EDGE_BYTES = 256

EXECUTION: Execution = {
    "arn": "arn:aws:states:us-east-1:123456789012:execution:batch-prediction:scale",
    "name": "scale",
    "start_time": "2026-11-24T02:00:00.123Z",
}
MODEL = {
    "s3_uri": "s3://bucket/model.joblib",
    "etag": '"model"',
    "version_id": None,
    "sha256": "0" * 64,
    "bytes": 10_000,
    "estimator": "Pipeline",
    "sklearn_version": "1.9.1",
    "steps": [],
    "versions": {"scikit-learn": "1.9.1", "numpy": "2.4.6", "pandas": "3.1.1", "pyarrow": "26.0.1"},
    "deployment": "d" * 64,
    "bundle": None,
    "warnings": [],
}

COLUMNS_KEY = "columns.json"
COLUMNS = json.dumps(
    {
        "feature_columns": ["a", "b"],
        "prediction_columns": ["prediction"],
        "column_types": {},
        "stated_types": {},
        "numeric_columns": [],
        "output_columns": None,
    }
).encode()


def main() -> None:
    """Take the name of a case."""
    case = parse_case(sys.argv[1])
    if case.is_parquet:
        from benchmarks.scale_parquet import measure_parquet  # noqa: PLC0415  # pyarrow would be in the others' memory

        print(json.dumps(measure_parquet(case)))
    else:
        print(json.dumps(measure_case(case)))


def measure_case(case: ScaleCase) -> JsonObject:
    """Plan, pretend to predict, merge, and look at the output."""
    client = FormulaS3(BUCKET)
    whole = add_input(client, case)
    client.add_bytes(COLUMNS_KEY, COLUMNS)
    document = document_of(case)
    document["plan"], planning = measured(client, lambda: plan_chunks.plan_chunks(client, document))
    plan = document["plan"]
    items = _bytes_of(client, plan["plan_key"])
    chunks = json.loads(items)
    variants = add_statistics(client, case.n_features)
    problems, edges = add_predictions(client, chunks, variants, is_quoted=case.is_quoted)
    document["output"], merging = measured(client, lambda: merge_outputs.merge_outputs(client, document))

    expected = Records(whole, quoted=case.is_quoted, scored=True)
    problems += output_problems(client, expected, edges)
    if variants:
        report = json.loads(_bytes_of(client, f"{OUTPUT_KEY}.report.json"))
        problems += statistics_problems(report["statistics"], [json.loads(_bytes_of(client, key)) for key in variants], len(chunks))
    return figures_of(client, case, document, planning, merging, items, problems)


def figures_of(
    client: FormulaS3,
    case: ScaleCase,
    document: JsonObject,
    planning: JsonObject,
    merging: JsonObject,
    items: bytes,
    problems: list[str],
) -> JsonObject:
    """Return what a case took, and all that is wrong with it."""
    plan, chunks = document["plan"], json.loads(items)
    output = client.content(_key(document["request"]["output_s3_uri"]))
    return {
        "case": case.name,
        "input_bytes": case.n_bytes,
        "objects": case.n_objects,
        "features": case.n_features,
        "chunks": plan["chunks"],
        "plan_bytes": len(items),
        "largest_item_bytes": max(_json_bytes({**chunk, **document["prediction"]}) for chunk in chunks),
        "document_bytes": _json_bytes(document),
        "output_bytes": output.size,
        "part_bytes": [part.size for part in output.parts] if isinstance(output, Joined) else [],
        "plan": planning,
        "merge": merging,
        "problems": problems + leftovers(client, plan["work_prefix"]),
    }


def document_of(case: ScaleCase) -> JsonObject:
    """Return the execution's document as Probe Model leaves it."""
    said = {
        "model_s3_uri": MODEL["s3_uri"],
        "data_s3_uri": f"s3://{BUCKET}/{INPUT_PREFIX}{'data.csv' if case.n_objects == 1 else ''}",
        "output_s3_uri": f"s3://{BUCKET}/{OUTPUT_KEY}",
        "prediction_column_name": "prediction",
        "chunk_size_mb": CHUNK_SIZE_MB,
    }
    resolved = {"input_format": "csv", "output_format": "csv", "output_compression": "none"}
    request: JsonObject = {**validate_request.normalise(said, EXECUTION), **resolved}
    shared = [field for field in PredictionFields.__annotations__ if field in request]
    prediction = {**{field: request[field] for field in shared}, "model_etag": MODEL["etag"], "raise_errors": True}
    first = f"s3://{BUCKET}/{INPUT_PREFIX}{'data.csv' if case.n_objects == 1 else 'part-1.csv'}"
    return {
        "request": request,
        "execution": EXECUTION,
        "prediction": prediction,
        "probe": {**prediction, "data_s3_uri": first, "data_etag": '"1"', "probe_rows": 1000},
        "model": {
            "rows": 1000,
            "row_bytes": float(RECORD_BYTES),
            "rows_per_second": 1e6,
            "one_worker": False,
            "columns_s3_uri": f"s3://{BUCKET}/{COLUMNS_KEY}",
            "columns_sha256": hashlib.sha256(COLUMNS).hexdigest(),
            "stored_model_s3_uri": None,
            "stored_model_sha256": None,
            "warnings": [],
            "model": MODEL,
        },
    }


def measured(client: FormulaS3, work: Callable[[], JsonObject]) -> tuple[JsonObject, JsonObject]:
    """Return what the work returns, and what it took."""
    forget_peak()
    resident = peak_bytes()
    before, started = client.used(), time.process_time()
    found = work()
    seconds = time.process_time() - started
    used = client.used() - before
    return found, {
        "seconds": seconds,
        "peak_bytes": peak_bytes(),
        "before_bytes": resident,
        "calls": dict(used.calls),
        "bytes_read": used.bytes_read,
        "bytes_written": used.bytes_written,
    }


# What depends on the fields of the plan's items and of the receipts: these two functions.


def segments_of(client: FormulaS3, chunk: JsonObject) -> list[JsonObject]:
    """Return the ranges of a chunk, which are many where it is a group of small objects."""
    if "segments_s3_uri" not in chunk:
        return [chunk]
    segments: list[JsonObject] = json.loads(_bytes_of(client, _key(chunk["segments_s3_uri"])))
    return segments


def receipt_of(
    chunk: JsonObject, segments: list[JsonObject], part: Any, etag: str, extent: Extent = "byte_range", unit_bytes: int = 1
) -> JsonObject:
    """Return the receipt that the prediction function would have written."""
    of_input = ("segments_s3_uri",) if "segments_s3_uri" in chunk else ("data_s3_uri", extent)
    return {
        "chunk_index": chunk["chunk_index"],
        **{field: chunk[field] for field in of_input},
        "objects": len(segments),
        "layout_sha256": "0" * 64,
        "rows_read": part.rows,
        "rows_written": part.rows,
        "rejected_rows": 0,
        "rounded_integers": 0,
        "decision_sha256": chunk["decision_sha256"],
        "input_bytes": unit_bytes * sum(stop - start for start, stop in (segment[extent] for segment in segments)),
        "data_sha256": data_sha256_of(segments, extent),
        "output_s3_uri": chunk["output_s3_uri"],
        "output_bytes": part.size,
        "header_bytes": part.header_bytes,
        "output_etag": etag,
        "rejected_etag": None,
        "quote_parity": 0,
        "started": 0,
        "milliseconds": {"init": 0.0, "download": 100.0, "predict": 250.0, "upload": 100.0},
        "memory_mb": 200,
        "model": MODEL,
    }


def add_statistics(client: FormulaS3, features: int) -> list[str]:
    """Put statistics of chunks with so many features into the bucket; return the keys, none without features."""
    variants = output_of(start_module("scale_statistics", features)) if features else []
    keys = [f"statistics-{index}.json" for index in range(len(variants))]
    for key, variant in zip(keys, variants, strict=True):
        client.add_bytes(key, json.dumps(variant, separators=(",", ":")).encode())
    return keys


def add_predictions(
    client: FormulaS3, chunks: list[JsonObject], statistics: Sequence[str] = (), *, is_quoted: bool
) -> tuple[list[str], list[int]]:
    """Put every chunk's part and receipt into the bucket, with the statistics at these keys in turn.

    Returns the problems of the plan, and where the output goes over from one chunk to the next.
    """
    problems: list[str] = []
    bodies = []
    client.add_bytes("end", b"}")
    end = client.content("end")
    for chunk in chunks:
        segments = segments_of(client, chunk)
        runs = []
        for segment in segments:
            start, stop = segment["byte_range"]
            content = client.content(_key(segment["data_s3_uri"]))
            assert isinstance(content, Records)
            if start % RECORD_BYTES or stop % RECORD_BYTES or stop > content.size:
                problems.append(f"{segment['data_s3_uri']} [{start}, {stop}) is not on record boundaries")
            first = content.runs[0][0] - 1  # what would be the number of the header
            runs.append((first + max(start // RECORD_BYTES, 1), first + stop // RECORD_BYTES))
        part = Records(_joined(runs), quoted=is_quoted, scored=True)
        etag = client.add(_key(chunk["output_s3_uri"]), part)
        key, receipt = _key(chunk["receipt_s3_uri"]), json.dumps(receipt_of(chunk, segments, part, etag)).encode()
        if statistics:
            own = client.content(statistics[chunk["chunk_index"] % len(statistics)])
            client.add_bytes(key, receipt.removesuffix(b"}") + b', "statistics": ')
            client.add(key, Joined([Reference(text, 0, text.size) for text in (client.content(key), own, end)]))
        else:
            client.add_bytes(key, receipt)
        bodies.append(part.size - part.header_bytes)
    header = Records([], scored=True).header_bytes
    return problems[:10], [header + rows for rows in accumulate(bodies)][:-1]


def _joined(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join runs that go on where the one before ended."""
    breaks = [index for index, (before, after) in enumerate(pairwise(runs), start=1) if before[1] != after[0]]
    return [(runs[first][0], runs[stop - 1][1]) for first, stop in pairwise([0, *breaks, len(runs)])]


def output_problems(client: FormulaS3, expected: Records, edges: Iterable[int]) -> list[str]:
    """Compare the output with the input's records and a prediction each: whole, or around its edges."""
    output = client.content(OUTPUT_KEY)
    if output.size != expected.size:
        return [f"the output has {output.size} bytes, not {expected.size}"]
    found = sorted({*edges, *(output.edges if isinstance(output, Joined) else ())})
    if output.size <= WHOLE_BYTES:
        ranges = [(0, output.size)]
    else:
        if len(found) > ALL_EDGES:
            found = [found[index * (len(found) - 1) // (COMPARED_EDGES - 1)] for index in range(COMPARED_EDGES)]
        places = [0, *found, output.size]
        ranges = [(max(0, place - EDGE_BYTES), min(output.size, place + EDGE_BYTES)) for place in places]
    wrong = []
    for start, stop in ranges:
        body = client.get_object(Bucket=BUCKET, Key=OUTPUT_KEY, Range=f"bytes={start}-{stop - 1}")["Body"]
        if body.read() != expected.read(start, stop):
            wrong.append(f"the output is wrong in its bytes [{start}, {stop})")
    return wrong[:10]


def statistics_problems(found: JsonObject, variants: list[JsonObject], chunks: int) -> list[str]:
    """Compare what a report says of so many chunks, which have the variants' statistics in turn, with their sum."""
    times = [len(range(index, chunks, len(variants))) for index in range(len(variants))]
    wrong = [] if found["chunks"] == chunks else [f"the report has the statistics of {found['chunks']} chunks, not {chunks}"]
    for name, values in found["features"].items():
        own = [variant["features"][name] for variant in variants]
        rows = sum(number * value["rows"] for number, value in zip(times, own, strict=True))
        expected: Counter[tuple[str, int]] = Counter()
        for number, value in zip(times, own, strict=True):
            for bucket, count in buckets(value["histogram"], values["histogram"]["scale"]).items():
                expected[bucket] += number * count
        if (values["rows"], buckets(values["histogram"], values["histogram"]["scale"])) != (rows, expected):
            wrong.append(f"the report's statistics of {name} are not the sum of the chunks'")
    return wrong[:10]


def buckets(histogram: JsonObject, scale: int) -> Counter[tuple[str, int]]:
    """Return what the buckets of a scale hold, by sign and number."""
    found: Counter[tuple[str, int]] = Counter()
    for sign in ("positive", "negative"):
        for number, count in enumerate(histogram[sign]["counts"], histogram[sign]["offset"]):
            found[sign, number >> (histogram["scale"] - scale)] += count
    return +found


def leftovers(client: FormulaS3, work_prefix: str) -> list[str]:
    """Say what the merge should have ended or deleted."""
    keys = client.list_objects_v2(Bucket=BUCKET, Prefix=work_prefix).get("Contents", [])
    uploads = client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    found = [f"{item['Key']} was not deleted" for item in keys[:3]]
    return found + [f"the upload of {upload['Key']} was not ended" for upload in uploads[:3]]


def _bytes_of(client: FormulaS3, key: str) -> bytes:
    content = client.content(key)
    return content.read(0, content.size)


def _key(uri: str) -> str:
    return uri.removeprefix(f"s3://{BUCKET}/")


def _json_bytes(value: object) -> int:
    return len(json.dumps(value).encode())


if __name__ == "__main__":
    main()
