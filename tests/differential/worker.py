"""Scores jobs with the prediction handler, over an S3 in memory; imports nothing of the project but the handler.

    python worker.py JOBS RESULTS       both pickled: a list of `Job`s, as dictionaries; a list of answers in their order

It runs in the project's environment and in the unpacked package, where there is neither moto nor the workflow. A job is scored as
the workflow scores: the model is probed, a decision is written, each chunk is scored with it, and if a chunk refutes the decision,
the decision widens and all chunks are scored anew.
"""

import hashlib
import io
import itertools
import json
import logging
import pickle
import sys
import traceback
import warnings
from pathlib import Path

import prediction_handler as handler

BUCKET = "s3://differential-table"
MODEL, DATA, DECISION = "model.joblib", "in.csv", "out.csv.work/decision.json"
PREDICTION = "P"
MOST_PLANS = 20
"""A column's kind can widen four times."""


class Body(io.BytesIO):
    """An object's bytes on the way."""

    def iter_chunks(self, size):
        return iter(lambda: self.read(size), b"")


class MemoryS3:
    """What the handler asks of an S3 client."""

    def __init__(self):
        self.objects: dict[str, bytes] = {}

    def _found(self, key, condition):
        content = self.objects[key]
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        if condition not in (None, etag):
            raise AssertionError(f"{key} is not the object that was asked for")
        return content, etag

    def get_object(self, *, Bucket, Key, Range=None, IfMatch=None, **_):  # noqa: ARG002, N803  # boto3's names
        content, etag = self._found(Key, IfMatch)
        answer = {"ETag": etag}
        if Range:
            start, _, last = Range.removeprefix("bytes=").partition("-")
            piece = content[int(start) : int(last) + 1 if last else None]
            answer["ContentRange"] = f"bytes {start}-{last}/{len(content)}"
        else:
            piece = content
        return {**answer, "Body": Body(piece), "ContentLength": len(piece)}

    def head_object(self, *, Bucket, Key, **_):  # noqa: ARG002, N803  # boto3's names
        content, etag = self._found(Key, None)
        return {"ETag": etag, "ContentLength": len(content), "Metadata": {}}

    def put_object(self, *, Bucket, Key, Body, **_):  # noqa: ARG002, N803  # boto3's names
        self.objects[Key] = Body if isinstance(Body, bytes) else Body.read()
        return {"ETag": self._found(Key, None)[1]}


# --- one decision a run ---------------------------------------------------------------------------------------------------------


def invoke(event):
    return json.loads(json.dumps(handler.lambda_handler(json.loads(json.dumps(event)), None)))


def probed(event, content):
    """Probe the first rows, reading no further than they take: a real file is longer than what a probe reads."""
    block_bytes = handler.BLOCK_BYTES
    try:
        handler.BLOCK_BYTES = len(b"".join(content.splitlines(keepends=True)[: event["probe_rows"] + 1]))
        return invoke(event)
    finally:
        handler.BLOCK_BYTES = block_bytes


def score(s3, job):
    """Score a job, and return its output and what was decided."""
    content = s3.objects[DATA] = job["csv"]
    base = {
        "model_s3_uri": f"{BUCKET}/{MODEL}",
        "data_s3_uri": f"{BUCKET}/{DATA}",
        "feature_columns": job["features"],
        "prediction_column_name": PREDICTION,
        "prediction_method": job["method"],
        "on_bad_row": "quarantine" if job["quarantine"] else "fail",
        "raise_errors": True,
        **job.get("fields", {}),
    }
    probe = probed({**base, "probe_rows": job["probe_rows"]}, content)
    types: dict[str, str] = dict(probe["column_types"])
    edges = [0, *job["cuts"], len(content)]
    for plans in itertools.count(1):
        wider = dict(types)
        decision = {
            "column_types": types,
            "prediction_columns": probe["prediction_columns"],
            "deployment": probe["model"]["deployment"],
            "model_sha256": probe["model"]["sha256"],
        }
        s3.objects[DECISION] = json.dumps(decision).encode()
        digest = hashlib.sha256(s3.objects[DECISION]).hexdigest()
        base |= {"decision_s3_uri": f"{BUCKET}/{DECISION}", "decision_sha256": digest}
        output, rejected, receipts = b"", [], []
        for index, (start, stop) in enumerate(itertools.pairwise(edges)):
            key = f"out.csv.work/chunk-{index:05d}"
            event = {
                **base,
                "byte_range": [start, stop],
                "chunk_index": index,
                "output_s3_uri": f"{BUCKET}/{key}.csv",
                "receipt_s3_uri": f"{BUCKET}/{key}.json",
            }
            try:
                receipts.append(invoke(event))
            except handler.PredictionError as error:
                if type(error).__name__ != "ColumnTypeError" or plans == MOST_PLANS:
                    raise
                refuted = json.loads(s3.objects[f"{key}.types.json"])
                if all(handler.join_kinds(types[column], kind) == types[column] for column, kind in refuted.items()):
                    raise AssertionError(f"{refuted} refutes {types}, and widens nothing") from error
                wider |= {column: handler.join_kinds(wider[column], kind) for column, kind in refuted.items()}
                continue
            part = s3.objects[f"{key}.csv"]
            output += part[receipts[-1]["header_bytes"] if output else 0 :]
            if job["quarantine"]:
                rejected.append(s3.objects[f"{key}.csv.rejected.csv"].decode())
        if wider == types:
            break
        types = wider
    return {
        "output": output,
        "rejected": rejected,
        "prediction_columns": probe["prediction_columns"],
        "column_types": types,
        "plans": plans,
        "warnings": [*probe.get("warnings", []), *probe["model"]["warnings"]],
        "rounded_integers": sum(receipt.get("rounded_integers", 0) for receipt in receipts),
    }


def answered(s3, job):
    """Score a job; an error is an answer."""
    whole_blocks = handler.BLOCK_BYTES
    try:
        handler.BLOCK_BYTES = job["block_bytes"] or whole_blocks
        return score(s3, job)
    except handler.PredictionError as error:
        words = "".join(traceback.format_exception(error.__cause__)) if error.__cause__ else ""
        return {"error": type(error).__name__, "message": str(error), "cause": words[-1500:]}
    except Exception as error:  # noqa: BLE001  # the table shows it, whatever it is
        return {"error": f"unnamed {type(error).__name__}", "message": traceback.format_exc()[-1500:], "cause": ""}
    finally:
        handler.BLOCK_BYTES = whole_blocks


def main():
    """Take the paths of jobs and results."""
    jobs, results = map(Path, sys.argv[1:3])
    warnings.simplefilter("ignore")
    handler.logger.setLevel(logging.CRITICAL)
    s3 = MemoryS3()
    handler._s3_client = lambda: s3
    answers = []
    for job in pickle.loads(jobs.read_bytes()):
        s3.objects = {MODEL: Path(job["model"]).read_bytes()}
        answers.append(answered(s3, job))
    results.write_bytes(pickle.dumps(answers))


if __name__ == "__main__":
    main()
