"""What is at the output's key is replaced only as it was seen while planning, and nothing speaks of another's output beside it."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count, product

import pytest

from support.merging import OUTPUT, key_of, predict
from support.samples import BUCKET
from workflow import merge_outputs
from workflow.errors import IncompleteOutputError, OutputExistsError, TransientS3Error

REPORT = f"{OUTPUT}.report.json"
REJECTED = f"{OUTPUT}.rejected.csv"
OLD = {OUTPUT: b"old output\n", REPORT: b"old report", REJECTED: b"old list"}
COPIED = 3 * 2**10
"""Digits of a prediction, so that S3 copies even a part of two rows: its limits are divided by 1,024 here."""

pytestmark = pytest.mark.usefixtures("small_parts")

SIZES = pytest.mark.parametrize(
    "size", [pytest.param(0, id="put"), pytest.param(COPIED, id="multipart", marks=pytest.mark.thorough)]
)


class Meanwhile:
    """Does something of somebody else's just before a client's n-th S3 call is sent, or its first one of an operation and key."""

    def __init__(self, client, before, action):
        self.before, self.action, self.calls = before, action, 0
        self.operation = ""
        """Before which it was done."""
        client.meta.events.register_first("before-call.s3", self._before)

    def _before(self, model, context, **_):
        self.calls += 1
        if not self.operation and self.before in (self.calls, (model.name, context["strict_s3"].get("Key"))):
            self.operation = model.name
            self.action()


def ends_of(attempt):
    """Make attempts with something before the first call of a merge, the second one, and so on; returns how each ended."""
    return list(iter(map(attempt, count(1)).__next__, None))


@pytest.fixture
def read(s3):
    def read(key):
        if not s3.list_objects_v2(Bucket=BUCKET, Prefix=key, MaxKeys=1).get("Contents"):
            return None
        return s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    return read


@pytest.fixture
def old(put):
    """An output of somebody's, with what speaks of it."""
    for key, body in OLD.items():
        put(key, body)


def is_reported(s3, read):
    """Whether report and output are of one run."""
    report = json.loads(read(REPORT))
    head = s3.head_object(Bucket=BUCKET, Key=OUTPUT)
    return (report["output"]["etag"], report["identity"]) == (head["ETag"], head["Metadata"]["batch-predict-identity"])


@SIZES
def test_what_speaks_of_the_old_output_is_gone_before_the_new_one_is_there(run, old, s3, get, keys, size):
    """The list of rejected rows, too, which this run does not write."""
    execution = run(overwrite=True, pads=size)
    expected = execution.expected()
    beside = []

    def note(model, context, **_):
        if context["strict_s3"].keys() & {"IfMatch"} and model.name in {"PutObject", "CompleteMultipartUpload"}:
            assert get(OUTPUT) == OLD[OUTPUT]
            beside.append(keys(f"{OUTPUT}.re"))

    s3.meta.events.register("before-call.s3", note)
    execution.merge()
    assert beside == [[]]
    assert get(OUTPUT) == expected
    assert keys(OUTPUT) == [OUTPUT, REPORT]


@SIZES
@pytest.mark.parametrize("moment", ["planned before", pytest.param("planned then", marks=pytest.mark.thorough)])
def test_of_two_requests_that_overwrite_one_wins_wholly(run, strict_s3, s3, outputs_are, read, uploads, size, moment):
    """The rival comes and goes before any one call of the first one's merge."""
    arrive_rival = partial(run, (3, 2, 2), size + 1, 2, overwrite=True, prediction_column_name="rival")

    def attempt(number):
        outputs_are(OLD)
        first = run((3, 2, 2), size, overwrite=True, on_bad_row="quarantine")
        rival = arrive_rival()
        reports = []

        def come_and_go():
            late = arrive_rival() if moment == "planned then" else rival
            try:
                late.merge()
            except OutputExistsError:
                assert late is rival
            else:
                reports.append(read(REPORT))

        client = strict_s3.client()
        meanwhile = Meanwhile(client, number, come_and_go)
        has_lost = False
        try:
            merge_outputs.merge_outputs(client, first.document)
        except OutputExistsError:
            has_lost = True
        if not meanwhile.operation:
            return None
        assert is_reported(s3, read), meanwhile.operation
        identity = json.loads(read(REPORT))["identity"]
        is_first = identity == first.document["plan"]["identity"]
        if has_lost:
            assert (identity, read(REPORT)) == (rival.document["plan"]["identity"], reports[0])
        elif not is_first:  # the rival came after the last look, and has replaced what it had seen
            assert moment == "planned then"
        assert (read(REJECTED) is not None) == is_first, meanwhile.operation  # the rival writes none
        assert not uploads()
        return "rival" if has_lost else "first"

    ends = ends_of(attempt)
    assert set(ends) == {"first", "rival"}
    assert len(ends) > 15


@SIZES
@pytest.mark.parametrize("overwrite", [True, pytest.param(False, marks=pytest.mark.thorough)])
def test_a_whole_output_is_never_replaced_by_one_without_some_chunks(
    run, strict_s3, s3, outputs_are, read, uploads, size, overwrite
):
    """Of two executions of one request, the one that lost a chunk ends with the whole output, if there is one."""

    def attempt(number):
        outputs_are({})
        first, twin = (
            run((3, 2, 2), size, execution, tolerated_failure_percentage=60, overwrite=overwrite) for execution in (1, 2)
        )
        whole = first.expected()
        first.lose(1)
        refusals = []

        def come_and_go():
            for chunk in twin.chunks:
                predict(s3, chunk, size)
            try:
                assert twin.merge()["complete"]
            except OutputExistsError as error:
                refusals.append(str(error))

        client = strict_s3.client()
        meanwhile = Meanwhile(client, number, come_and_go)
        output = merge_outputs.merge_outputs(client, first.document)
        if not meanwhile.operation:
            return None
        assert all("set overwrite to true to replace it by the whole" in refusal for refusal in refusals)
        assert (read(OUTPUT) == whole) == (not refusals), meanwhile.operation
        assert is_reported(s3, read)
        assert not uploads()
        if refusals:
            assert not output["complete"]
            return "the twin was refused"
        return "whole" if output["complete"] else "the whole came later"

    ends = ends_of(attempt)
    assert set(ends) == {"whole", "the whole came later" if overwrite else "the twin was refused"}
    assert len(ends) > 10


def test_a_whole_output_without_its_report_is_not_replaced_either(run, s3, get, fail_calls):
    """Whoever published it was killed before the report, and this execution, which cuts the inputs otherwise, has lost a chunk."""
    whole = run((3, 2, 2), overwrite=True)
    expected = whole.expected()
    fail_calls("PutObject", "SlowDown", key_ends=".report.json", times=1)
    with pytest.raises(TransientS3Error):
        whole.merge()
    run((3, 2, 2), tolerated_failure_percentage=60, overwrite=True)
    again = run((3, 2, 2), tolerated_failure_percentage=60, overwrite=True)
    again.lose(1)
    with pytest.raises(OutputExistsError, match="is there as a whole"):
        again.merge()
    assert get(OUTPUT) == expected


@SIZES
def test_an_output_that_somebody_writes_meanwhile_stays(run, strict_s3, outputs_are, put, get, keys, uploads, size):
    """Before whichever call of the merge; no report of this run stays beside it."""

    def attempt(number):
        outputs_are(OLD)
        execution = run((3, 2), size, overwrite=True)
        client = strict_s3.client()
        meanwhile = Meanwhile(client, number, lambda: put(OUTPUT, b"theirs"))
        refusal = ""
        try:
            merge_outputs.merge_outputs(client, execution.document)
        except OutputExistsError as error:
            refusal = str(error)
        if not meanwhile.operation:
            return None
        assert get(OUTPUT) == b"theirs", meanwhile.operation
        assert not uploads()
        if not refusal:
            return "after the last look"
        assert "by someone else" in refusal
        beside = {key: get(key) for key in keys(f"{OUTPUT}.re")}
        assert beside.items() <= OLD.items(), meanwhile.operation
        return f"with {len(beside)} of the old side files"

    ends = ends_of(attempt)
    assert set(ends) == {
        "after the last look",
        "with 0 of the old side files",
        "with 2 of the old side files",
    }
    assert len(ends) > 15


def test_an_output_that_was_replaced_before_the_merge_costs_no_copy_and_no_report(run, old, put, get):
    execution = run(overwrite=True, pads=COPIED)
    put(OUTPUT, b"theirs")
    asked = []
    execution.s3.meta.events.register("before-call.s3", lambda model, **_: asked.append(model.name))
    with pytest.raises(OutputExistsError):
        execution.merge()
    assert not {"CreateMultipartUpload", "UploadPartCopy", "DeleteObject"} & set(asked)
    assert (get(REPORT), get(REJECTED)) == (OLD[REPORT], OLD[REJECTED])


@SIZES
@pytest.mark.parametrize("when", ["before the merge", "before the write"])
def test_an_old_output_that_is_deleted_meanwhile_need_not_be_replaced(run, old, s3, get, uploads, size, when):
    execution = run(overwrite=True, pads=size)
    expected = execution.expected()

    def delete(context, **_):
        if context["strict_s3"].get("IfMatch") and context["strict_s3"]["Key"] == OUTPUT:
            s3.delete_object(Bucket=BUCKET, Key=OUTPUT)

    if when == "before the merge":
        s3.delete_object(Bucket=BUCKET, Key=OUTPUT)
    else:
        for operation in ("PutObject", "CompleteMultipartUpload"):
            s3.meta.events.register_first(f"before-call.s3.{operation}", delete)
        with pytest.raises(TransientS3Error, match="being written or deleted"):
            execution.merge()
    execution.merge()
    assert get(OUTPUT) == expected
    assert not uploads()


@SIZES
def test_a_write_that_conflicts_with_another_is_tried_again(run, old, strict_s3, get, uploads, size):
    """S3 wants an upload to be made anew then, with all of its parts."""
    execution = run(overwrite=True, pads=size)
    expected = execution.expected()
    strict_s3.conflict()
    with pytest.raises(TransientS3Error, match="being written or deleted"):
        execution.merge()
    assert get(OUTPUT) == OLD[OUTPUT]
    assert not uploads()
    execution.merge()
    assert get(OUTPUT) == expected


@pytest.mark.parametrize("key", [REPORT, REJECTED])
@pytest.mark.parametrize(("times", "is_written"), [(1, True), (2, False)])
def test_what_somebody_writes_beside_this_run_s_output_is_replaced_as_it_was_seen(run, strict_s3, s3, get, key, times, is_written):
    """What he writes after that is left to the next attempt."""
    execution = run(on_bad_row="quarantine")
    expected = execution.expected()
    left, somebody = [b"his last", b"his first"] if times == 2 else [b"his last"], strict_s3.client()

    def write(params, **_):
        if left and params["Key"] == key:
            somebody.put_object(Bucket=BUCKET, Key=key, Body=left.pop())

    s3.meta.events.register("before-parameter-build.s3.PutObject", write)
    if is_written:
        execution.merge()
    else:
        with pytest.raises(TransientS3Error, match="at the same time"):
            execution.merge()
        assert get(key) == b"his last"
        execution.merge()
    assert get(OUTPUT) == expected
    assert json.loads(get(REPORT))["output"]["rows"] == 30
    assert get(REJECTED) == b"data_s3_uri,row,byte,reason\n"


@pytest.mark.thorough
@pytest.mark.parametrize("before", [("PutObject", OUTPUT), ("PutObject", REPORT), ("ListObjectsV2", None)], ids=str)
def test_two_executions_of_one_request_at_once_leave_one_whole_result(run, strict_s3, s3, outputs_are, get, before):
    """The twin stops before a call, goes on before one of the first one's, and has then deleted the work."""

    def attempt(go_on):
        outputs_are(OLD)
        first, twin = (run((3, 2), None, number, on_bad_row="quarantine", overwrite=True) for number in (1, 2))
        expected = first.expected()
        for index in range(2):
            first.reject(index)
        stopped, may_go_on = threading.Event(), threading.Event()
        clients = strict_s3.client(), strict_s3.client()

        def stop_there():
            stopped.set()
            assert may_go_on.wait(60)

        def merged(client, execution):
            for _ in range(3):  # as the state machine tries it
                try:
                    return merge_outputs.merge_outputs(client, execution.document)
                except TransientS3Error:
                    continue
            return None

        with ThreadPoolExecutor(1) as pool:
            Meanwhile(clients[0], before, stop_there)
            twins = pool.submit(merged, clients[0], twin)
            twins.add_done_callback(lambda _: stopped.set())
            assert stopped.wait(60)
            has_stopped = not twins.done()

            def let_go_on():
                may_go_on.set()
                twins.result()

            Meanwhile(clients[1], go_on, let_go_on)
            try:
                output = merged(clients[1], first)
            finally:
                may_go_on.set()
        assert output == twins.result()
        assert get(OUTPUT) == expected
        assert is_reported(s3, get)
        assert get(REJECTED).splitlines()[1:] == [f"s3://{BUCKET}/in/{n}.csv,2,8,not a number".encode() for n in (0, 1)]
        return has_stopped

    assert all(attempt(go_on) for go_on in range(1, 25))


# --- an output is recognised by identity, size and parts, and by the ETag in its report -------------------------------------------


def rewrite(s3, how):
    """Put something in the output's place, with its metadata."""
    body = s3.get_object(Bucket=BUCKET, Key=OUTPUT)["Body"].read()
    metadata = s3.head_object(Bucket=BUCKET, Key=OUTPUT)["Metadata"]
    changed = {
        "truncated": body[:9],
        "redacted": body.replace(b"7\n", b"0\n"),
        "empty": b"",
        "longer": body + b"1,2,7\n",
        "the same": body,
    }[how]
    assert (changed == body) == (how == "the same")
    s3.put_object(Bucket=BUCKET, Key=OUTPUT, Body=changed, Metadata=metadata)


@SIZES
@pytest.mark.parametrize(
    ("how", "left"),
    [
        *product(["truncated", "redacted", "empty", "longer"], ["report and work", "report"]),
        *product(["truncated", "empty", "longer"], ["nothing"]),  # without a report, nobody knows of bytes of the same size
    ],
)
def test_an_output_that_was_rewritten_in_place_is_found_out(run, s3, get, size, left, how):
    execution = run((3, 2), size, keep_work=left == "report and work")
    expected = execution.expected()
    execution.merge()
    rewrite(s3, how)
    if left == "nothing":
        s3.delete_object(Bucket=BUCKET, Key=REPORT)
    rewritten = get(OUTPUT)
    with pytest.raises(OutputExistsError, match=r"is not what this request has published there.*set overwrite to true") as refusal:
        run((3, 2), size)
    assert left != "nothing" or f"it has {len(rewritten)} bytes, not {len(expected)}" in str(refusal.value)
    assert get(OUTPUT) == rewritten
    assert run((3, 2), size, 2, overwrite=True).merge()["bytes"] == len(expected)
    assert get(OUTPUT) == expected


@pytest.mark.parametrize("how", ["truncated", "redacted"])
def test_an_output_that_is_rewritten_during_the_run_is_not_this_one_s(run, s3, fail_calls, get, how):
    """Between two attempts of the merge. Of bytes of the same size nobody knows in the moment between the output and its report."""
    execution = run()
    fail_calls("PutObject", "SlowDown", key_ends=".report.json", times=1)
    with pytest.raises(TransientS3Error):
        execution.merge()
    rewrite(s3, how)
    if how == "redacted":
        assert execution.merge()["etag"] == s3.head_object(Bucket=BUCKET, Key=OUTPUT)["ETag"]
        return
    with pytest.raises(OutputExistsError):
        execution.merge()


@pytest.mark.parametrize(("size", "is_recognised"), [(0, True), (COPIED, False)], ids=["put", "multipart"])
def test_the_same_bytes_are_another_object_where_their_etag_changes(run, s3, get, size, is_recognised):
    """A copy in place of what was a multipart upload has another ETag, and S3 does not say that its bytes are the same."""
    execution = run((3, 2), size)
    execution.merge()
    expected, etag = get(OUTPUT), s3.head_object(Bucket=BUCKET, Key=OUTPUT)["ETag"]
    rewrite(s3, "the same")
    assert get(OUTPUT) == expected
    assert (s3.head_object(Bucket=BUCKET, Key=OUTPUT)["ETag"] == etag) == is_recognised
    if is_recognised:
        assert run((3, 2), size).document["plan"]["pending_chunks"] == 0
    else:
        with pytest.raises(OutputExistsError, match="another ETag than its report says"):
            run((3, 2), size)


def test_an_output_of_other_parts_is_not_taken_for_this_one(run, s3, fail_calls):
    """The report could not be true of it: it speaks of the parts that are in the work prefix now."""
    execution = run()
    fail_calls("PutObject", "SlowDown", key_ends=".report.json", times=1)
    with pytest.raises(TransientS3Error):
        execution.merge()
    again = run()
    predict(s3, again.chunks[1], pad=1)
    with pytest.raises(OutputExistsError):
        again.merge()
    overwriting = run(overwrite=True)
    predict(s3, overwriting.chunks[1], pad=1)
    assert overwriting.merge()["complete"]


def test_a_twin_s_output_of_other_parts_is_awaited(run, s3, fail_calls):
    """It has just been published, and its report will be this execution's, too."""
    execution = run()
    twin = run(number=2)
    fail_calls("PutObject", "SlowDown", key_ends=".report.json", times=1)
    with pytest.raises(TransientS3Error):
        twin.merge()
    predict(s3, execution.chunks[1], pad=1)
    with pytest.raises(TransientS3Error, match="whose report is to come"):
        execution.merge()
    predict(s3, execution.chunks[1])
    output = twin.merge()
    assert execution.merge() == output


# --- no upload stays ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def left_upload(run, fail_calls, uploads):
    """An execution that failed by passing trouble, and has left its upload."""

    def leave(**changed):
        execution = run((10, 10), COPIED, **changed)
        fail_calls("UploadPartCopy", "SlowDown", times=1)
        with pytest.raises(TransientS3Error):
            execution.merge()
        assert len(uploads()) == 1
        return execution

    yield leave
    assert not uploads()


def test_another_execution_goes_on_with_the_upload(left_upload, run, s3, get):
    expected = left_upload().expected()
    created = []
    s3.meta.events.register("before-call.s3.CreateMultipartUpload", lambda **_: created.append(""))
    run((10, 10), COPIED, 2).merge()
    assert get(OUTPUT) == expected
    assert not created


def test_an_execution_with_another_plan_aborts_the_upload(left_upload, run):
    """It has another work prefix, and so a note of its own."""
    left_upload()
    run((10, 10), COPIED, 2, chunk_size_mb=1e-5).merge()


@pytest.mark.parametrize("keep_work", [True, False])
def test_an_upload_is_aborted_where_another_execution_has_published(left_upload, run, s3, keep_work):
    first = left_upload(keep_work=keep_work)
    twin = run((10, 10), COPIED, 2, keep_work=keep_work)
    key = f"{first.document['plan']['work_prefix']}upload.json"
    note = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    s3.delete_object(Bucket=BUCKET, Key=key)
    twin.merge()
    s3.put_object(Bucket=BUCKET, Key=key, Body=note)
    first.merge()


def test_an_upload_is_aborted_where_somebody_has_written_the_output(left_upload, put):
    first = left_upload()
    put(OUTPUT, b"theirs")
    with pytest.raises(OutputExistsError):
        first.merge()


def test_parts_that_have_changed_are_not_added_to_the_upload(left_upload, s3, get):
    first = left_upload()
    predict(s3, first.chunks[0], COPIED + 1)
    expected = first.expected()
    first.merge()
    assert get(OUTPUT) == expected


def test_a_failure_that_does_not_pass_ends_the_upload_of_an_earlier_attempt(left_upload, s3):
    first = left_upload()
    s3.delete_object(Bucket=BUCKET, Key=key_of(first.chunks[1]["output_s3_uri"]))
    with pytest.raises(IncompleteOutputError):
        first.merge()
