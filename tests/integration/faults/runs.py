"""The runs whose every request to S3 meets faults: one for each way through the workflow.

Each case of a run has its own model, data and output, so that many can run at once and a rule's key names the case.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from sklearn.tree import DecisionTreeRegressor

from support.bundles import make_bundle
from support.own_modules import own_tree
from support.places import dumped
from support.s3_proxy import Rule

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = b"id,note,x,y\n"
LOST_OBJECT = "part-4.csv"
LONG_NOTE = 500_000


@cache
def tree():
    """Return a tree, whose predictions do not depend on what is scored together."""
    frame = pd.DataFrame({"x": range(100), "y": [(7 * x) % 13 for x in range(100)]})
    return DecisionTreeRegressor(max_depth=6, random_state=0).fit(frame, frame.x * 1.5 + frame.y / 3)


@cache
def tree_bytes():
    return dumped(tree())


@cache
def bundled_tree_bytes():
    """Return the same tree as a bundle, of a class that only a module in it has: a child process scores with it."""
    model, code = own_tree(tree())
    with tempfile.TemporaryDirectory() as folder:
        make_bundle(path := Path(folder, "tree.bundle.zip"), model, code=code)
        return path.read_bytes()


MODELS = {"tree.joblib": tree_bytes, "tree.bundle.zip": bundled_tree_bytes}


def row(number, note='a ""note"",\nof two lines'):
    return f'{number:06},"{note}",{number % 100},{number % 13}\n'.encode()


def rows(start, stop):
    return [row(number) for number in range(start, stop)]


def scored(records, rejected=()):
    """Return the output that the records must have: the oracle, by the model itself."""
    known = [record for record in records if record not in rejected]
    features = [record.rstrip(b"\n").rsplit(b",", 2)[1:] for record in known]
    frame = pd.DataFrame([[float(x), float(y)] for x, y in features], columns=["x", "y"])
    predicted = dict(zip(known, tree().predict(frame), strict=True))
    values = ("" if record in rejected else repr(float(predicted[record])) for record in records)
    lines = (record.rstrip(b"\n") + b"," + value.encode() + b"\n" for record, value in zip(records, values, strict=True))
    return HEADER.rstrip(b"\n") + b",prediction\n" + b"".join(lines)


@dataclass(frozen=True)
class Case:
    """One execution's own corner of the bucket."""

    name: str
    bucket: str

    @property
    def pattern(self):
        """Regular expression of all its keys."""
        return f"/faults/{self.name}/"

    def uri(self, kind, name):
        return f"s3://{self.bucket}/{self.key(kind, name)}"

    def key(self, kind, name):
        return f"{kind}/faults/{self.name}/{name}"

    @property
    def output(self):
        return self.uri("output", "out.csv")


@dataclass(frozen=True)
class Input:
    """Objects by name, the request's fields for them, and what must come out."""

    objects: dict[str, bytes]
    fields: Callable[[Case], dict[str, Any]]
    output: bytes


@dataclass(frozen=True)
class Run:
    """A way through the workflow."""

    name: str
    input: Callable[[], Input]
    request: dict[str, Any]
    before: Callable[[Case], list[list[Rule]]] = lambda _: []
    """Rules of the executions that come before the one that is looked at."""
    during: Callable[[Case], list[Rule]] = lambda _: []
    """Rules that make the run go this way, beside the fault that is looked at."""
    error: str | None = None
    """What it ends with, by these rules."""
    output: Callable[[], bytes] | None = None
    """What comes out by these rules, unless the input's."""
    old: bytes | None = None
    """What is at the output's key before, with side files."""
    model: str = "tree.joblib"
    """One of `MODELS`."""


@cache
def split():
    """One object in three chunks, with a row that cannot be scored."""
    bad = b"000100,plain,zwei,1\n"
    records = [*rows(0, 100), bad, *rows(101, 300)]
    data = HEADER + b"".join(records)
    return Input({"in.csv": data}, lambda case: {"data_s3_uri": case.uri("data", "in.csv")}, scored(records, [bad]))


@cache
def grouped():
    """Six small objects in three chunks, two in each."""
    objects = {f"parts/part-{n}.csv": HEADER + b"".join(rows(10 * n, 10 * n + 10)) for n in range(6)}
    return Input(objects, lambda case: {"data_s3_uri": case.uri("data", "parts/")}, scored(rows(0, 60)))


@cache
def listed():
    """The same objects, named by a manifest."""
    return Input(grouped().objects, lambda case: {"data_s3_uri": case.uri("data", "all.manifest.json")}, grouped().output)


@cache
def guessed():
    """One object that is large enough for its boundary to be guessed, in two chunks."""
    records = [row(number, "g" * 1000) for number in range(600)]
    data = HEADER + b"".join(records)
    return Input({"in.csv": data}, lambda case: {"data_s3_uri": case.uri("data", "in.csv")}, scored(records))


def by_manifest(count):
    """A large object of so many long records, and a small one; named by a manifest."""
    records = [row(number, "n" * LONG_NOTE) for number in range(count)]
    few = rows(0, 200)
    objects = {"large.csv": HEADER + b"".join(records), "small.csv": HEADER + b"".join(few)}
    return Input(objects, lambda case: {"data_s3_uri": case.uri("data", "all.manifest.json")}, scored([*records, *few]))


@cache
def copied():
    """A part that S3 copies, and one that is gathered."""
    return by_manifest(12)


@cache
def large():
    """The same, the first part above what the prediction function sends by one PUT."""
    return by_manifest(72)


def lost(case):
    """Rules by which the chunk of one object is lost for good."""
    return [Rule("403", "PredictChunkFunction", "GetObject", f"{case.pattern}.*{LOST_OBJECT}$", times=None)]


def lost_second(case):
    """Rules by which the second chunk of one object is lost for good."""
    return [Rule("403", "PredictChunkFunction", "GetObject", f"/data{case.pattern}", range="^bytes=[1-9]", times=None)]


def unfinished_upload(case):
    """Rules by which a multipart upload stays behind."""
    rules = [("CompleteMultipartUpload", 1), ("AbortMultipartUpload", None)]
    return [Rule("403", "MergeOutputsFunction", operation, case.pattern, times=times) for operation, times in rules]


def refused(function, operation):
    """Return rules by which one operation is refused each time."""
    return lambda case: [Rule("403", f"{function}Function", operation, case.pattern, times=None)]


SPLIT = {"chunk_size_mb": 0.0045, "on_bad_row": "quarantine"}
GROUPED = {"chunk_size_mb": 0.0009}
TOLERANT = GROUPED | {"tolerated_failure_percentage": 50}
GUESSED = {"chunk_size_mb": 0.4}
COPIED = {"chunk_size_mb": 6.002}
LARGE = {"chunk_size_mb": 36.002}

RUNS = {
    run.name: run
    for run in (
        Run("split", split, SPLIT),
        Run("grouped", grouped, GROUPED),
        Run("replacing", split, SPLIT | {"overwrite": True}, old=b"old output\n"),
        Run("published", split, SPLIT, before=lambda _: [[]]),
        Run("resumed", listed, GROUPED, before=lambda case: [lost(case)]),
        Run("guessed", guessed, GUESSED, before=lambda case: [lost_second(case)]),
        Run("lost", grouped, GROUPED, during=lost, error="InputNotFoundError"),
        Run("tolerated", grouped, TOLERANT, during=lost, output=lambda: scored(rows(0, 40))),
        Run("copied", copied, COPIED),
        Run("upload taken up", copied, COPIED, before=lambda case: [unfinished_upload(case)]),
        Run("not completed", copied, COPIED, during=refused("MergeOutputs", "CompleteMultipartUpload"), error="InputNotFoundError"),
        Run("large", large, LARGE),
        Run("not sent", large, LARGE, during=refused("PredictChunk", "UploadPart"), error="InvalidRequestError"),
    )
}


def prepare(s3, case, run):
    """Put the case's model and data in place; return its request."""
    s3.put_object(Bucket=case.bucket, Key=case.key("models", run.model), Body=MODELS[run.model]())
    given = run.input()
    for name, body in given.objects.items():
        s3.put_object(Bucket=case.bucket, Key=case.key("data", name), Body=body)
    for suffix in ("", ".report.json", ".rejected.csv") if run.old else ():
        s3.put_object(Bucket=case.bucket, Key=case.key("output", f"out.csv{suffix}"), Body=run.old)
    fields = given.fields(case)
    if fields["data_s3_uri"].endswith(".manifest.json"):
        uris = [case.uri("data", name) for name in given.objects]
        s3.put_object(Bucket=case.bucket, Key=case.key("data", "all.manifest.json"), Body=json.dumps(uris).encode())
    return {
        "model_s3_uri": case.uri("models", run.model),
        "output_s3_uri": case.output,
        "prediction_column_name": "prediction",
        "feature_columns": ["x", "y"],
        **fields,
        **run.request,
    }
