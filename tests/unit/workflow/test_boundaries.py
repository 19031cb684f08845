from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.csv_samples import csv_bytes, deceptive_tables
from workflow import boundaries
from workflow.boundaries import are_consistent, content_stop, exact_boundaries, guessed_boundary, scan_range, scan_ranges
from workflow.csv_records import record_stops


def scanned(data, start, targets, block):
    """The exact boundaries of data in memory."""
    ranges = scan_ranges(start, len(data), targets)
    return list(exact_boundaries([scan_range(blocks_of(data[begin:end], block), begin) for begin, end in ranges]))


def blocks_of(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


def reader(data):
    return lambda start, stop: data[start:stop]


def first_stop(data, target):
    """The first true boundary at or after a target."""
    return next((stop for stop in record_stops(data) if stop >= target), len(data))


# --- by counting every quote ----------------------------------------------------------------------------------------------------


@given(csv_bytes(), st.integers(1, 40), st.integers(1, 30))
def test_exact_boundaries_are_the_first_ones_from_each_target_on(data, step, block):
    """Where records stop is held to Python's csv module by test_csv_records.py."""
    targets = range(step, len(data), step)
    true = {first_stop(data, target) for target in targets}
    found = scanned(data, 0, targets, block)
    assert [stop for stop in found if stop < len(data)] == sorted(true - {len(data)})


def test_quotes_that_do_not_pair_up_are_an_error():
    with pytest.raises(ValueError, match="never closed"):
        scanned(b'1,"2\n3,4\n', 0, [3], 4)


# --- by windows -----------------------------------------------------------------------------------------------------------------


@given(
    deceptive_tables(), st.sets(st.integers(1, 4000), min_size=1, max_size=12), st.sampled_from([(16, 64), (32, 128, 512), (8,)])
)
def test_guesses_are_right_or_refuted_whatever_the_data(table, targets, windows):
    """A guess is right, or the quotes before it are odd. And of all: one is missing, or contradicts another (then all quotes are
    counted), or a chunk counts an odd number, or all are right.
    """
    records, width, _ = table
    data = b"".join(records)
    inside = sorted(target for target in targets if target < len(data))
    true = [first_stop(data, target) for target in inside]
    assert are_consistent(inside, true)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boundaries, "WINDOW_BYTES", windows)
        found = [guessed_boundary(reader(data), target, len(data), width) for target in inside]
    for guess, right in zip(found, true, strict=True):
        assert guess in (None, right) or data.count(b'"', 0, guess) % 2 == 1
    if None in found or not are_consistent(inside, found):
        return
    edges = [0, *dict.fromkeys(found), len(data)]
    assert edges == sorted(edges)
    assert found == true or any(data.count(b'"', start, stop) % 2 for start, stop in pairwise(edges))


@pytest.mark.parametrize("columns", [1, 2])
def test_blank_lines_tell_nothing_and_do_not_prevent_a_guess(monkeypatch, columns):
    """In the middle, where only a file of one column may have them, and at the end."""
    monkeypatch.setattr(boundaries, "WINDOW_BYTES", (64, 256, 1024))
    row = b"1,2\n" if columns == 2 else b"12\n"
    data = row * 100 + b"\n" * 600 + row * 500 + b"\n" * 3000
    for target in range(1, len(data), 7):
        true = first_stop(data, target)
        found = guessed_boundary(reader(data), target, len(data), columns)
        assert found in (true, None)
        assert found == true or target > len(data) - 3000 - len(row)  # nothing but blank lines is in the windows there


@pytest.mark.parametrize(
    ("data", "stop"),
    [(b"a\n1\n", 3), (b"a\n1", 3), (b"a\n1\n\n\n", 3), (b"a\r\n1\r\n\r\n", 4), (b"\n\n", 0), (b"1" + b"\n" * 5000, 1), (b"", 0)],
)
def test_where_the_content_stops(monkeypatch, data, stop):
    monkeypatch.setattr(boundaries, "WINDOW_BYTES", (2, 4, 1000))
    assert content_stop(reader(data), len(data)) == stop


def test_a_record_of_sixteen_megabytes_is_passed():
    long = b'7,"' + b"x\n" * 8_000_000 + b'"\n'
    data = b"1,2\n" * 10 + long + b"3,4\n" * 10_000_000
    assert guessed_boundary(reader(data), 100, len(data), 2) == 40 + len(long)


def test_a_malformed_record_in_the_window_does_not_prevent_a_guess(monkeypatch):
    """Its chunk refuses it; an exact scan would read everything first."""
    monkeypatch.setattr(boundaries, "WINDOW_BYTES", (256, 1024))
    data = b"1,2\n" * 500 + b"1,2,3\n" + b"1,2\n" * 5000
    assert guessed_boundary(reader(data), 1990, len(data), 2) == 1992


def test_the_end_of_the_object_is_a_boundary():
    data = b'1,2\n3,"4\n4"'
    for target in range(5, len(data)):
        assert guessed_boundary(reader(data), target, len(data), 2) == len(data)


# --- guesses of one object, together ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "guesses", "may_be_right"),
    [
        ([10, 20], [12, 22], True),
        ([10, 20], [10, 20], True),
        ([10, 20, 30], [35, 35, 35], True),  # one record lies over all targets
        ([10, 20, 30], [25, 25, 31], True),
        ([], [], True),
        ([10, 20], [25, 22], False),  # they cross
        ([10, 20], [25, 28], False),  # the first one is a boundary behind the second target, before the second guess
        ([10, 20], [20, 22], False),
        ([10, 20, 30], [35, 35, 31], False),
        ([10, 20, 30], [12, 40, 41], False),
    ],
)
def test_guesses_that_contradict_each_other_are_found(targets, guesses, may_be_right):
    assert are_consistent(targets, guesses) == may_be_right
