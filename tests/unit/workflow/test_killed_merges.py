"""A merge that is killed at any of its S3 calls publishes all or nothing, and its repeat completes it without a trace."""

from __future__ import annotations

import json
from itertools import count
from typing import Any, NamedTuple

import pytest

from support.merging import OUTPUT, key_of
from support.samples import BUCKET
from workflow.errors import IncompleteOutputError
from workflow.merge_outputs import merge_outputs

KIB = 2**10
REPORT = f"{OUTPUT}.report.json"
REJECTED = f"{OUTPUT}.rejected.csv"
WORK = f"{OUTPUT}.work/"

MOMENTS = pytest.mark.parametrize("moment", ["unsent", "unheard"])

PAIRS_STEP = 13

OLD = {OUTPUT: b"older output\n", REPORT: b"older report", REJECTED: b"older list"}


class Shape(NamedTuple):
    """What a merge finds."""

    kilobytes: tuple[int, ...]
    """About the size of each chunk's part: at 6 it is copied, at 0 it is gathered."""

    request: dict[str, Any]
    rejected: tuple[int, ...] = ()
    """Chunks that rejected their second row."""

    lost: tuple[int, ...] = ()
    older: str = ""
    """What output there is already: "another", or "rewritten", this result in whose place somebody has put other bytes."""


SHAPES = {
    "small": Shape((0, 0, 0), {}),
    "copied and gathered": Shape((6, 6, 0), {}),
    "quarantine": Shape((0, 0, 0), {"on_bad_row": "quarantine"}, rejected=(0, 2)),
    "quarantine, copied": Shape((6, 6), {"on_bad_row": "quarantine"}, rejected=(1,)),
    "overwrite": Shape((0, 0), {"overwrite": True}, older="another"),
    "overwrite, copied": Shape((6, 0), {"overwrite": True, "on_bad_row": "quarantine"}, rejected=(1,), older="another"),
    "rewritten": Shape((0, 0), {"overwrite": True}, older="rewritten"),
    "missing chunk": Shape((0, 0, 0), {"tolerated_failure_percentage": 50}, lost=(1,)),
    "missing chunk, copied": Shape((6, 6, 6), {"tolerated_failure_percentage": 50}, lost=(1,)),
}


def shapes(*names):
    marks = {"small": ()}  # the one of make test
    return pytest.mark.parametrize(
        "shape", [pytest.param(SHAPES[name], id=name, marks=marks.get(name, pytest.mark.thorough)) for name in names]
    )


class Scene:
    """One shape, set up anew for each attempt, and what must come of it."""

    def __init__(self, s3, run, shape):
        self.s3, self.run, self.shape = s3, run, shape
        execution = self.arrive()
        bodies = [self.read(key_of(chunk["output_s3_uri"])) for chunk in execution.chunks if chunk["chunk_index"] not in shape.lost]
        self.expected = bodies[0] + b"".join(body[body.index(b"\n") + 1 :] for body in bodies[1:])
        execution.merge()
        self.left = self.keys()
        """The keys after a merge that nothing disturbs."""
        beside = [OUTPUT, *([REJECTED] if "on_bad_row" in shape.request else []), REPORT]
        assert [key for key in self.left if key.startswith("out/") and not key.startswith(WORK)] == beside
        assert shape.lost or not self.keys(WORK)

    def arrive(self):
        """Come to the merge in an empty bucket, where two other people's uploads are in progress."""
        for key in self.keys():
            self.s3.delete_object(Bucket=BUCKET, Key=key)
        for upload in self.uploads():
            self.s3.abort_multipart_upload(Bucket=BUCKET, Key=upload[0], UploadId=upload[1])
        for key in (OUTPUT, f"{OUTPUT}.gz"):
            self.s3.create_multipart_upload(Bucket=BUCKET, Key=key)
        self.others = self.uploads()
        self.old = {}
        if self.shape.older == "another":
            self.old = OLD
        elif self.shape.older == "rewritten":
            self.come_again().merge()
            self.old = {key: self.read(key) or b"" for key in (OUTPUT, REPORT)}
            self.old[OUTPUT] = self.old[OUTPUT].replace(b"7\n", b"8\n")
        metadata = self.s3.head_object(Bucket=BUCKET, Key=OUTPUT)["Metadata"] if self.shape.older == "rewritten" else {}
        for key, body in self.old.items():
            self.s3.put_object(Bucket=BUCKET, Key=key, Body=body, Metadata=metadata)
        return self.come_again()

    def come_again(self, number=1):
        """Come to the merge by an execution that finds what is there."""
        rows = 4
        pads = {index: size * KIB // rows for index, size in enumerate(self.shape.kilobytes)}
        run = self.run(tuple(rows for _ in pads), pads, number, **self.shape.request)
        for index in self.shape.rejected:
            run.reject(index)
        for index in self.shape.lost:
            run.lose(index, run.document["execution"]["arn"])
        self.work, self.execution = self.keys(WORK), run
        return run

    def read(self, key):
        if key not in self.keys(key):
            return None
        return self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def keys(self, prefix=""):
        return [item["Key"] for item in self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", ())]

    def uploads(self):
        listed = self.s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ())
        return [(upload["Key"], upload["UploadId"]) for upload in listed]

    def assert_all_or_nothing(self):
        """Whatever moment it is: the output is whole or as before, never with what speaks of another, and work goes last."""
        output, report, rejected = self.read(OUTPUT), self.read(REPORT), self.read(REJECTED)
        if output != self.expected:
            assert output == self.old.get(OUTPUT)
            assert report in {self.old.get(REPORT), None}
            assert rejected in {self.old.get(REJECTED), None}
            report = None
        elif report is not None:
            self.assert_reported()
        else:
            assert rejected is None or rejected == self.expected_list()
        if report is None:
            assert set(self.work) <= set(self.keys(WORK))
        assert set(self.others) <= set(self.uploads())

    def expected_list(self):
        if "on_bad_row" not in self.shape.request:
            return None
        rows = "".join(f"s3://{BUCKET}/in/{index}.csv,2,8,not a number\n" for index in self.shape.rejected)
        return f"data_s3_uri,row,byte,reason\n{rows}".encode()

    def assert_nothing_published(self):
        assert not [key for key in self.keys("out/") if not key.startswith(WORK)]
        assert set(self.work) <= set(self.keys(WORK))

    def assert_reported(self):
        """The report and the list of rejected rows fit to the output."""
        report = json.loads(self.read(REPORT) or b"")
        head = self.s3.head_object(Bucket=BUCKET, Key=OUTPUT)
        assert (report["output"]["etag"], report["output"]["bytes"]) == (head["ETag"], len(self.expected))
        assert (head["Metadata"]["batch-predict-identity"], head["Metadata"]["batch-predict-bytes"]) == (
            report["identity"],
            str(len(self.expected)),
        )
        assert [chunk["chunk_index"] for chunk in report["failed_chunks"]] == list(self.shape.lost)
        assert self.read(REJECTED) == self.expected_list()
        return report

    def assert_published(self, output):
        """The output is right, and nothing else is left than what a merge leaves that nothing disturbs."""
        assert self.read(OUTPUT) == self.expected
        assert self.assert_reported()["output"] == output
        assert self.keys() == self.left
        assert self.uploads() == self.others


@pytest.fixture
def scene(s3, run, small_parts):
    return lambda shape: Scene(s3, run, shape)


@pytest.fixture
def kills(killed_at):
    """Kill the merge of a fresh `arrive()` at each S3 call in turn, from the first to the last; tell the call after each kill."""

    def each(arrive, moment):
        for number in count(1):
            if not merge_killed(arrive(), killed_at(number, moment)):
                assert number > 8  # it was killed indeed, again and again
                return
            yield number

    return each


@MOMENTS
@shapes(*SHAPES)
def test_a_killed_merge_is_completed_by_its_repeat(scene, kills, shape, moment):
    at = scene(shape)
    for _ in kills(at.arrive, moment):
        at.assert_all_or_nothing()
        at.assert_published(at.execution.merge())


@pytest.mark.thorough
@MOMENTS
@shapes("copied and gathered", "quarantine")
def test_another_execution_completes_a_killed_merge(scene, kills, shape, moment):
    at = scene(shape)
    for _ in kills(at.arrive, moment):
        at.assert_published(at.come_again(2).merge())


@pytest.mark.thorough
@MOMENTS
@shapes("copied and gathered")
def test_a_merge_killed_twice_is_completed_by_its_repeat(scene, killed_at, shape, moment):
    """One in `PAIRS_STEP` of all pairs of calls: the merge is killed at one, its repeat at the other."""
    at = scene(shape)
    pairs = 0
    for first in count(1):
        for second in count(1 + first % PAIRS_STEP, PAIRS_STEP):
            execution = at.arrive()
            if not merge_killed(execution, killed_at(first, moment)):
                assert pairs > 10
                return
            if not merge_killed(execution, killed_at(second, ("unsent", "unheard")[second % 2])):
                break
            pairs += 1
            at.assert_all_or_nothing()
            at.assert_published(execution.merge())


@MOMENTS
@shapes("small", "copied and gathered")
def test_what_does_not_add_up_is_never_published(scene, killed_at, shape, moment):
    at = scene(shape)
    for number in count(1):
        execution = at.arrive()
        execution.tamper(len(shape.kilobytes) - 1, rows_written=3)
        try:
            merge_killed(execution, killed_at(number, moment))
        except IncompleteOutputError:  # its own: it was not killed any more
            break
        at.assert_nothing_published()
        with pytest.raises(IncompleteOutputError):
            execution.merge()
        at.assert_nothing_published()
        assert at.uploads() == at.others
    assert number > 4


def merge_killed(execution, doomed):
    """Merge in a process that is killed; tell whether it was, or came to its end before."""
    doomed.run(lambda client: merge_outputs(client, execution.document))
    return doomed.killed_in is not None
