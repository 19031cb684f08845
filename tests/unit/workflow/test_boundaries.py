from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from support.csv_samples import csv_bytes, quoted, records
from workflow import boundaries
from workflow.boundaries import are_consistent, content_stop, exact_boundaries, guessed_boundary, scan_range, scan_ranges
from workflow.csv_records import record_stop, record_stops


def scanned(data, start, targets, block):
    """The exact boundaries of data in memory."""
    ranges = scan_ranges(start, len(data), targets)
    return list(exact_boundaries([scan_range(blocks_of(data[begin:end], block), begin) for begin, end in ranges]))


def blocks_of(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


def reader(data):
    return lambda start, stop: data[start:stop]


# --- by counting every quote ----------------------------------------------------------------------------------------------------


@given(csv_bytes(), st.integers(1, 40), st.integers(1, 30))
def test_exact_boundaries_are_where_the_csv_module_ends_records(data, step, block):
    found = scanned(data, 0, range(step, len(data), step), block)
    edges = [0, *(boundary for boundary in found if boundary < len(data)), len(data)]
    pieces = [data[start:stop] for start, stop in pairwise(edges)]
    assert found == sorted(set(found))
    assert [record for piece in pieces for record in records(piece)] == records(data)


@given(csv_bytes(), st.integers(1, 30))
def test_a_target_on_every_byte_finds_every_record(data, block):
    edges = {0, *scanned(data, 0, range(1, len(data) + 1), block), len(data)}
    assert len(edges) - 1 == len(records(data))


@given(csv_bytes())
def test_boundaries_follow_the_header(data):
    stop = record_stop(data) or len(data)
    if stop < len(data):
        found = scanned(data, stop, [stop + 1], 7)
        assert records(data[stop : (found or [len(data)])[0]]) == records(data)[1:2]


def test_quotes_that_do_not_pair_up_are_an_error():
    with pytest.raises(ValueError, match="never closed"):
        scanned(b'1,"2\n3,4\n', 0, [3], 4)


# --- by windows -----------------------------------------------------------------------------------------------------------------


@st.composite
def tables(draw):
    """A CSV without header whose fields are numbers, words, or quoted text with commas, quotes and line breaks."""
    width = draw(st.integers(2, 5))
    field = st.one_of(st.integers(0, 10**6).map(str), st.text("ab é", max_size=8), st.text('ab,"\n', max_size=12))
    rows = draw(st.lists(st.lists(field, min_size=width, max_size=width), min_size=1, max_size=60))
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    text = line_end.join(",".join(quoted(value, always=False) for value in row) for row in rows)
    return (text + draw(st.sampled_from(["", line_end]))).encode(), width


@given(tables(), st.data())
def test_a_guess_is_right_or_refuted_by_parity(table, draws):
    """Whatever the data: a boundary is a true one, or the number of quotes before it is odd; never a true one's look-alike."""
    data, width = table
    assume(len(data) > 2)
    target = draws.draw(st.integers(1, len(data) - 1))
    found = guessed_boundary(reader(data), target, len(data), width)
    true = next((stop for stop in record_stops(data) if stop >= target), len(data))
    assert found is None or found == true or data.count(b'"', 0, found) % 2 == 1


@pytest.mark.parametrize("window", [64, 1024, 2**16])
def test_ordinary_data_is_guessed_right(monkeypatch, window):
    monkeypatch.setattr(boundaries, "WINDOW_BYTES", tuple(window * 4**step for step in range(4)))
    row = '{0},"a ""quoted"" text, with\na line break and {0}",{0}.5,plain\n'
    data = "".join(row.format(number) for number in range(200)).encode()
    stops = list(record_stops(data))
    for target in range(1, len(data) - 1, 37):
        true = next(stop for stop in stops if stop >= target)
        assert guessed_boundary(reader(data), target, len(data), 4) == true


@pytest.mark.parametrize("columns", [1, 2])
def test_blank_lines_tell_nothing_and_do_not_prevent_a_guess(monkeypatch, columns):
    """In the middle, where only a file of one column may have them, and at the end."""
    monkeypatch.setattr(boundaries, "WINDOW_BYTES", (64, 256, 1024))
    row = b"1,2\n" if columns == 2 else b"12\n"
    data = row * 100 + b"\n" * 600 + row * 500 + b"\n" * 3000
    for target in range(1, len(data), 7):
        true = next(stop for stop in record_stops(data) if stop >= target)
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


def test_small_windows_are_enough_for_ordinary_data():
    data = b"1,2,3\n" * 100_000
    read = []

    def count(start, stop):
        read.append(stop - start)
        return data[start:stop]

    assert guessed_boundary(count, 300_001, len(data), 3) == 300_006
    assert read == [2**16]


def test_a_record_of_sixteen_megabytes_is_passed():
    long = b'7,"' + b"x\n" * 8_000_000 + b'"\n'
    data = b"1,2\n" * 10 + long + b"3,4\n" * 10_000_000
    assert guessed_boundary(reader(data), 100, len(data), 2) == 40 + len(long)


@pytest.mark.parametrize("filler", [b"\n", b'""', b'"\n"', b",", b"1,2\n", b"1,2,3\n", b'""\n""\n'], ids=repr)
@pytest.mark.parametrize("place", ["outside", "inside"])
def test_adversarial_windows_are_never_wrong(monkeypatch, filler, place):
    """Text inside quotes that looks like records, and windows of nothing but line breaks or quotes."""
    monkeypatch.setattr(boundaries, "WINDOW_BYTES", (64, 256, 1024))
    middle = filler * (5000 // len(filler))
    data = b"1,2\n" * 5 + (b'3,"' + middle + b'"\n' if place == "inside" else middle) + b"4,5\n" * 500
    for target in (21, 300, 2500, len(data) - 1000):
        found = guessed_boundary(reader(data), target, len(data), 2)
        true = next((stop for stop in record_stops(data) if stop >= target), len(data))
        assert found is None or found == true or data.count(b'"', 0, found) % 2 == 1


def test_text_that_looks_like_records_deceives_and_is_refuted():
    """The guess is wrong, as it must be without reading more; the number of quotes before it shows that."""
    data = b"1,2\n" * 5 + b'3,"' + b"1,2\n" * 50_000 + b'"\n' + b"4,5\n" * 50_000
    found = guessed_boundary(reader(data), 1000, len(data), 2)
    assert found == 1002 + 1
    assert data.count(b'"', 0, found) % 2 == 1


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
    ("targets", "guesses"),
    [
        ([10, 20], [12, 22]),
        ([10, 20], [10, 20]),
        ([10, 20, 30], [35, 35, 35]),  # one record lies over all targets
        ([10, 20, 30], [25, 25, 31]),
        ([10], [99]),
        ([], []),
    ],
)
def test_guesses_that_may_all_be_right(targets, guesses):
    assert are_consistent(targets, guesses)


@pytest.mark.parametrize(
    ("targets", "guesses"),
    [
        ([10, 20], [25, 22]),  # they cross
        ([10, 20], [25, 28]),  # the first one is a boundary behind the second target, before the second guess
        ([10, 20], [20, 22]),
        ([10, 20, 30], [35, 35, 31]),
        ([10, 20, 30], [12, 40, 41]),
    ],
)
def test_guesses_of_which_one_must_be_wrong(targets, guesses):
    assert not are_consistent(targets, guesses)


@given(tables(), st.sets(st.integers(1, 400), max_size=8))
def test_true_boundaries_are_consistent(table, targets):
    data, _ = table
    inside = sorted(target for target in targets if target < len(data))
    true = [next((stop for stop in record_stops(data) if stop >= target), len(data)) for target in inside]
    assert are_consistent(inside, true)


@st.composite
def deceptive_tables(draw):
    """A CSV whose quoted texts are long lines, prose, and tables with as many commas a line as the file."""
    width = draw(st.integers(1, 3))
    lines = st.one_of(
        st.integers(1, 300).map(lambda n: "A" * n),
        st.integers(1, 60).map(lambda n: ("k" + ",v" * (width - 1) + "\n") * n),
        st.sampled_from(["a line of prose\n", "\n", '"', ',"', '"\n', ","]),
    )
    text = st.one_of(st.text("ab é", max_size=8), st.lists(lines, max_size=6).map("".join))
    rows = draw(st.lists(st.lists(text, min_size=width, max_size=width), min_size=1, max_size=12))
    return "".join(",".join(quoted(value, always=False) for value in row) + "\n" for row in rows).encode(), width


@given(
    deceptive_tables(), st.sets(st.integers(1, 4000), min_size=1, max_size=12), st.sampled_from([(16, 64), (32, 128, 512), (8,)])
)
def test_guesses_are_right_or_refuted_whatever_the_data(table, targets, windows):
    """All are right; or one is missing, or contradicts another (then all quotes are counted); or a chunk counts an odd number."""
    data, width = table
    inside = sorted(target for target in targets if target < len(data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boundaries, "WINDOW_BYTES", windows)
        found = [guessed_boundary(reader(data), target, len(data), width) for target in inside]
    guesses = [boundary for boundary in found if boundary is not None]
    if len(guesses) < len(inside) or not are_consistent(inside, guesses):
        return
    edges = [0, *dict.fromkeys(guesses), *([] if len(data) in guesses else [len(data)])]
    assert edges == sorted(edges)
    true = {0, len(data), *record_stops(data)}
    assert set(edges) <= true or any(data.count(b'"', start, stop) % 2 for start, stop in pairwise(edges))
