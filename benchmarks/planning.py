"""Plan one large object, and many small ones, on the S3 of the embedded local AWS: `make bench-planning`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from batch_predict.local.aws import LocalAws, local_aws
from benchmarks import machine
from benchmarks.measure import ROOT
from benchmarks.report import table
from benchmarks.scale_case import COLUMNS, COLUMNS_KEY, document_of
from benchmarks.scale_input import parse_case

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

OBJECT_BYTES = 2048
UPLOADS_AT_ONCE = 8

EPILOG = """\
example, some seconds:
  python -m benchmarks.planning --gigabytes 0.1 --objects 1000
"""


def main() -> int:
    """Print a table and write JSON; outputs nothing but seconds and counts, so there is nothing to fail."""
    arguments = parse_arguments()
    with local_aws() as aws:
        # The planner's own client, as on AWS: the environment says where S3 is.
        os.environ.update(aws.environment())
        from workflow import s3  # noqa: PLC0415  # the client is made from the environment

        client = s3.s3_client()
        measured = [measure_large(client, aws, arguments.gigabytes), measure_small(client, aws, arguments.objects)]
    results = {"machine": machine.describe(), "measured": measured}
    folder = ROOT / "benchmarks/results"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "planning.json").write_text(json.dumps(results, indent=2) + "\n")
    if arguments.json:
        print(json.dumps(results, indent=2))
        return 0
    print(machine.in_words(results["machine"]) + "\n")
    names = list(measured[0])
    print(table(names, [[str(row[name]) for name in names] for row in measured]))
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.planning",
        description="Plan one large object and many small ones on the embedded local AWS's S3.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--gigabytes", type=float, default=1, help="size of the large object, in 10^9 bytes (default: 1)")
    parser.add_argument("--objects", type=int, default=50_000, help="number of small objects, 2 KB each (default: 50000)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def measure_large(client: S3Client, aws: LocalAws, gigabytes: float) -> dict[str, Any]:
    """Plan one object, with text in quotes, in chunks of 64 MB."""
    rows = b"".join(b'%09d,"a, b",0.123456789,word,1.5,2.5,3.5,4.5,5.5\n' % number for number in range(100_000))
    body = b"id,text,x,w,a,b,c,d,e\n" + rows * round(gigabytes * 1e9 / len(rows))
    client.put_object(Bucket=aws.bucket, Key="data/large.csv", Body=body)
    return {"input": f"{len(body) / 1e9:.2f} GB", **measure_plan(client, aws, "data/large.csv", len(body))}


def measure_small(client: S3Client, aws: LocalAws, objects: int) -> dict[str, Any]:
    """Plan many objects under one prefix."""
    body = b"a,b,c\n" + b"1,2,3\n" * (OBJECT_BYTES // 6 - 1)

    def put(number: int) -> None:
        client.put_object(Bucket=aws.bucket, Key=f"data/small/part-{number}.csv", Body=body)

    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        list(pool.map(put, range(objects)))
    return {"input": f"{objects:,} objects", **measure_plan(client, aws, "data/small/", objects * len(body))}


def measure_plan(client: S3Client, aws: LocalAws, key: str, input_bytes: int) -> dict[str, Any]:
    """Plan it as the function does, and count what was read of objects."""
    from workflow import plan_chunks  # noqa: PLC0415  # after the path is set

    document: Any = document_of(parse_case("1KB"))
    document["request"] |= {"data_s3_uri": [f"s3://{aws.bucket}/{key}"], "output_s3_uri": f"s3://{aws.bucket}/output/plan.csv"}
    client.put_object(Bucket=aws.bucket, Key=COLUMNS_KEY, Body=COLUMNS)
    document["model"]["columns_s3_uri"] = f"s3://{aws.bucket}/{COLUMNS_KEY}"
    read: list[int] = []
    event, name = "after-call.s3.GetObject", "count-bytes"
    client.meta.events.register(event, lambda parsed, **_: read.append(parsed.get("ContentLength", 0)), unique_id=name)
    started = time.perf_counter()
    plan = plan_chunks.plan_chunks(client, document)
    seconds = time.perf_counter() - started
    client.meta.events.unregister(event, unique_id=name)
    return {
        "seconds": round(seconds, 2),
        "chunks": plan["chunks"],
        "boundaries": plan["boundaries"],
        "MB read": round(sum(read) / 1e6, 2),
        "% of the input": round(100 * sum(read) / input_bytes, 3),
    }


if __name__ == "__main__":
    sys.exit(main())
