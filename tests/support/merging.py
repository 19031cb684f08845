"""Executions that have come to Merge Outputs."""

import json

from support.samples import BUCKET, EXECUTION, MODEL
from workflow import accounting, fingerprint, merge_outputs, plan_chunks

OUTPUT = "out/result.csv"
MIB = 2**20


def predict(s3, chunk, pad=0, **facts):
    """Do what the prediction function guarantees: a part with a header, then its receipt, with other facts by keyword."""

    def read(uri):
        return s3.get_object(Bucket=BUCKET, Key=key_of(uri))["Body"].read()

    segments = json.loads(read(chunk["segments_s3_uri"])) if "segments_s3_uri" in chunk else [chunk]
    header, rows = b"", []
    for segment in segments:
        data = read(segment["data_s3_uri"])
        own_header, start, stop = data[: data.index(b"\n") + 1], *segment["byte_range"]
        header = header or own_header
        rows += data[max(start, len(own_header)) : stop].splitlines()
    header = header.removesuffix(b"\n") + b",prediction\n"
    part = header + b"".join(row + b"," + b"7" * (1 + pad) + b"\n" for row in rows)
    etag = s3.put_object(Bucket=BUCKET, Key=key_of(chunk["output_s3_uri"]), Body=part)["ETag"]
    receipt = {
        **{field: chunk[field] for field in accounting.IDENTIFYING_FIELDS if field in chunk},
        "objects": len(segments),
        "layout_sha256": "0" * 64,
        "rows_read": len(rows),
        "rows_written": len(rows),
        "rejected_rows": 0,
        "rounded_integers": 0,
        "input_bytes": sum(stop - start for start, stop in (segment["byte_range"] for segment in segments)),
        "data_sha256": fingerprint.data_sha256_of(segments, "byte_range"),
        "output_bytes": len(part),
        "header_bytes": len(header),
        "output_etag": etag,
        "rejected_etag": None,
        "quote_parity": 0,
        "started": 1_795_600_000_000,
        "milliseconds": {"read": 1.5, "predict": 2.0, "total": 4.0},
        "memory_mb": 3538,
        "model": MODEL,
        **facts,
    }
    s3.put_object(Bucket=BUCKET, Key=key_of(chunk["receipt_s3_uri"]), Body=json.dumps(receipt))


def key_of(uri):
    return uri.removeprefix(f"s3://{BUCKET}/")


class Run:
    """An execution that has come to Merge Outputs."""

    def __init__(self, s3, document, pads=None):
        self.s3 = s3
        self.document = document
        document["plan"] = plan_chunks.plan_chunks(s3, document)
        self.chunks = json.loads(s3.get_object(Bucket=BUCKET, Key=document["plan"]["plan_key"])["Body"].read())
        for chunk in self.chunks:
            predict(s3, chunk, (pads or {}).get(chunk["chunk_index"], 0))

    def merge(self):
        return merge_outputs.merge_outputs(self.s3, self.document)

    def expected(self):
        parts = [self.s3.get_object(Bucket=BUCKET, Key=key_of(chunk["output_s3_uri"]))["Body"].read() for chunk in self.chunks]
        return parts[0] + b"".join(part[part.index(b"\n") + 1 :] for part in parts[1:])

    def lose(self, index, execution=EXECUTION["arn"], error="InvalidDataError"):
        chunk = self.chunks[index]
        for field in ("output_s3_uri", "receipt_s3_uri"):
            self.s3.delete_object(Bucket=BUCKET, Key=key_of(chunk[field]))
        record = {
            **{field: chunk[field] for field in ("chunk_index", "data_s3_uri", "byte_range", "segments_s3_uri") if field in chunk},
            "error": error,
            "message": "row 3 is ragged",
            "advice": None,
            "execution_arn": execution,
        }
        key = key_of(chunk["receipt_s3_uri"]).removesuffix(".json") + ".error.json"
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(record))

    def reject(self, index):
        """Let a chunk have rejected its second row."""
        chunk = self.chunks[index]
        self.tamper(index, rejected_rows=1)
        listed = f"data_s3_uri,row,byte,reason\n{chunk['data_s3_uri']},2,8,not a number\n"
        self.s3.put_object(Bucket=BUCKET, Key=f"{key_of(chunk['output_s3_uri'])}.rejected.csv", Body=listed)

    def tamper(self, index, **changed):
        key = key_of(self.chunks[index]["receipt_s3_uri"])
        receipt = json.loads(self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(receipt | changed))
