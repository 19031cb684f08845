"""Large objects are cut at record boundaries, read through S3."""

import math
from itertools import pairwise

import pytest

from support.samples import BUCKET
from workflow import boundaries, splitting
from workflow.chunking import targets_of
from workflow.csv_records import record_stops
from workflow.errors import IncompleteOutputError, InputChangedError, InvalidDataError, TransientS3Error
from workflow.formats.csv_format import Csv
from workflow.inputs import InputObject
from workflow.invocation import OutOfTimeError
from workflow.splitting import Cut, Notes, split_objects

ROWS = b"".join(b'%d,"text, with ""quotes""\nand a line break",%d.5\n' % (number, number) for number in range(60_000))
PLAIN = b"a,b,c\n" + ROWS

LINE = b"1,some text of usual length\n"
CROSSING = b"a,doc\n" + LINE * (900_000 // len(LINE))
"""With one field of 1.4 MB: a line without an end, a line of prose, then a table with as many commas a line as the file has."""
CROSSING += b'0,"' + b"A" * (1_980_000 - len(CROSSING)) + b"\na line of prose\n"
CROSSING += b"k,v\n" * ((2_300_000 - len(CROSSING)) // 4) + b'the end"\n'
CROSSING += LINE * ((4_000_000 - len(CROSSING)) // len(LINE))


NOTES = Notes(f"s3://{BUCKET}/scan.json", math.inf)


@pytest.fixture
def cut(s3, put):
    """Store an object and say into how many pieces it shall be cut."""

    def cut_into(pieces, body, key="in/1.csv"):
        found = InputObject(f"s3://{BUCKET}/{key}", len(body), put(key, body))
        header = Csv().read_header(s3, found)
        return Cut(found, header, [target for target in targets_of(len(body), pieces) if target > header.stop])

    return cut_into


@pytest.fixture
def reads(s3):
    """The ranges that are read."""
    ranges = []
    s3.meta.events.register("before-parameter-build.s3.GetObject", lambda params, **_: ranges.append(params.get("Range", "")))
    return ranges


def require_right(spans, body):
    edges = [0, *record_stops(body)]
    assert spans[0].start == 0
    assert spans[-1].stop == len(body)
    assert all(before.stop == after.start for before, after in pairwise(spans))
    assert {span.start for span in spans} <= set(edges)


def test_windows_are_enough_for_ordinary_data(s3, cut, reads):
    task = cut(5, PLAIN)
    reads.clear()
    split = split_objects(s3, [task], NOTES, exactly=False)
    require_right(split.spans[task.object], PLAIN)
    assert split.guessed
    assert len(split.spans[task.object]) == 5
    assert len(reads) == 4 + 1  # a window at each target, and the end
    sizes = [span.stop - span.start for span in split.spans[task.object]]
    assert max(sizes) - min(sizes) < 200


def test_guesses_that_cross_are_no_guess_and_leave_the_other_object_s(s3, cut):
    """The window of the first target grows beyond the second, and finds the field's end; that of the second is deceived."""
    tasks = [cut(4, CROSSING), cut(5, PLAIN, "in/2.csv")]
    split = split_objects(s3, tasks, NOTES, exactly=False)
    assert split.guessed
    for task, body in zip(tasks, (CROSSING, PLAIN), strict=True):
        require_right(split.spans[task.object], body)


def test_a_record_over_several_targets_is_guessed(s3, cut):
    body = b"a,b\n" + b"1,2\n" * 200_000 + b'3,"' + b"A" * 2_000_000 + b'"\n' + b"4,5\n" * 200_000
    task = cut(6, body)
    split = split_objects(s3, [task], NOTES, exactly=False)
    require_right(split.spans[task.object], body)
    assert split.guessed


@pytest.mark.parametrize("block_bytes", [1000, 100_000, 2**23])
def test_a_scan_reads_everything_once(s3, cut, reads, monkeypatch, block_bytes):
    monkeypatch.setattr(splitting, "SCAN_BLOCK_BYTES", block_bytes)
    body = PLAIN[:150_000]
    body = body[: body.rindex(b".5\n") + 3]
    task = cut(3, body)
    reads.clear()
    require_right(split_objects(s3, [task], NOTES, exactly=True).spans[task.object], body)
    *scanned, last = reads
    assert last == f"bytes={len(body) - 2**16}-{len(body) - 1}"  # whether it ends with blank lines
    edges = sorted(tuple(map(int, read.removeprefix("bytes=").split("-"))) for read in scanned if read)
    assert edges[0][0] == len(b"a,b,c\n")
    assert edges[-1][1] == len(body) - 1
    assert all(before[1] + 1 == after[0] for before, after in pairwise(edges))


@pytest.mark.parametrize("exactly", [True, False])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("blank_lines", [1, 2, 100, 300_000])
def test_blank_lines_at_the_end_stay_with_the_last_record(s3, cut, exactly, line_end, blank_lines):
    """However many: no chunk consists of blank lines, and none before the last one ends with them."""
    rows = PLAIN.replace(b"\n", line_end)
    body = rows + line_end * blank_lines
    task = cut(11, body)
    split = split_objects(s3, [task], NOTES, exactly=exactly)
    require_right(split.spans[task.object], body)
    assert split.guessed is not exactly
    assert len(split.spans[task.object]) >= 9
    *_, before, last = split.spans[task.object]
    assert body[before.start : before.stop].strip()
    assert last.start < len(rows) - len(line_end)


def test_an_object_of_blank_lines_is_not_cut(s3, cut):
    for exactly in (True, False):
        task = cut(5, b"a,b\n" + b"\n" * 2_000_000)
        assert [span.start for span in split_objects(s3, [task], NOTES, exactly=exactly).spans[task.object]] == [0]


def test_small_pieces_are_not_guessed(s3, cut):
    body = b"a,b\n" + b"1,2\n" * 1000
    task = cut(10, body)
    split = split_objects(s3, [task], NOTES, exactly=False)
    assert not split.guessed
    assert len(split.spans[task.object]) == 10


def test_an_object_whose_windows_say_nothing_is_scanned(s3, cut, reads, monkeypatch):
    """Read from inside quotes, every record looks as good as read from outside."""
    monkeypatch.setattr(boundaries, "WINDOW_BYTES", boundaries.WINDOW_BYTES[:2])
    body = b'a,b\n"' + b'\n","' * 400_000 + b'\n"\n'
    task = cut(2, body)
    assert body.count(b'"') % 2 == 0
    split = split_objects(s3, [task], NOTES, exactly=False)
    require_right(split.spans[task.object], body)
    assert not split.guessed
    assert "bytes=4-" in "".join(reads)


def test_an_unclosed_quote_is_an_error_of_the_data(s3, cut):
    task = cut(2, b'a,b\n1,"2\n' + b"3,4\n" * 1000)
    with pytest.raises(InvalidDataError, match=r"in/1\.csv .*never closed"):
        split_objects(s3, [task], NOTES, exactly=True)


@pytest.mark.parametrize("exactly", [True, False])
def test_an_object_that_changed_is_named(s3, cut, put, exactly):
    task = cut(3, PLAIN)
    put("in/1.csv", PLAIN + b"1,2,3\n")
    with pytest.raises(InputChangedError, match=r"in/1\.csv"):
        split_objects(s3, [task], NOTES, exactly=exactly)


def test_a_scan_that_runs_out_of_time_goes_on_where_it_stopped(s3, cut, reads, get, monkeypatch):
    monkeypatch.setattr(splitting, "SCANS_IN_FLIGHT", 1)
    monkeypatch.setattr(splitting, "SCAN_BLOCK_BYTES", 300_000)
    task = cut(5, PLAIN)
    whole = split_objects(s3, [task], NOTES, exactly=True)
    everything = len(reads) - 2  # without the header, and the notes that are not there yet
    reads.clear()
    progress = []
    for _ in range(2):
        clock = iter(range(100))
        monkeypatch.setattr(splitting.time, "monotonic", lambda clock=clock: next(clock))
        with pytest.raises(OutOfTimeError) as late:
            split_objects(s3, [task], NOTES._replace(deadline=4), exactly=True)
        progress.append((late.value.done, late.value.total))
    assert progress == [(1, 5), (2, 5)]
    assert split_objects(s3, [task], NOTES, exactly=True) == whole
    assert len([read for read in reads if read]) < everything + 2 * len(progress)


def test_a_scan_without_progress_does_not_go_round(s3, cut):
    with pytest.raises(TransientS3Error, match="no range could be scanned"):
        split_objects(s3, [cut(5, PLAIN)], NOTES._replace(deadline=-1), exactly=True)


def test_notes_that_are_none_are_refused(s3, cut, put):
    put("scan.json", b"[1]")
    with pytest.raises(IncompleteOutputError, match=r"scan\.json is not what a scan notes"):
        split_objects(s3, [cut(5, PLAIN)], NOTES, exactly=True)
