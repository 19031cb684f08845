"""Any CSV: every field and prediction comes back, whatever the dialect, the block borders and the damage."""

import csv
import io
import random

from harness import (
    score_locally,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import prediction_handler as handler
from support.csv_samples import quoted

ANY_TEXT = st.text(st.one_of(st.sampled_from('",\r\né€😀 '), st.characters(codec="utf-8", exclude_characters="\0")), max_size=12)


@st.composite
def csv_files(draw):
    """A table of any text with one numeric column, its lines without their ends, and its bytes in some dialect of RFC 4180."""
    line_end = draw(st.sampled_from([b"\n", b"\r\n"]))
    rows = draw(st.lists(st.tuples(ANY_TEXT, st.floats(allow_nan=False, allow_infinity=False), ANY_TEXT), min_size=1, max_size=30))
    always = draw(st.booleans())
    table = [("left", "x1", "right"), *rows]
    lines = [",".join(quoted(str(value), always=always) for value in row).encode() for row in table]
    lines[0] = draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + lines[0]
    return rows, lines, line_end.join(lines) + draw(st.sampled_from([b"", line_end]))


@settings(deadline=None)
@given(csv_files(), st.integers(1, 400))
def test_every_byte_comes_back_with_its_prediction(tmp_path_factory, table, block_bytes):
    """Python's csv module is the oracle: any text, any line end, any quoting, any block size."""
    rows, lines, data = table
    facts, output = score_locally(data, tmp_path_factory.mktemp("any"), block_bytes)

    assert facts.rows == len(rows)
    assert facts.read == handler._Tally(rows=len(rows), bytes=len(data), quotes=data.count(b'"'))
    read = list(csv.reader(io.StringIO(output.decode("utf-8-sig"), newline=""), strict=True))
    assert [row[:3] for row in read] == [["left", "x1", "right"], *([left, str(x1), right] for left, x1, right in rows)]
    assert [float(row[3]) for row in read[1:]] == [x1 for _, x1, _ in rows]
    line_end = b"\r\n" if data[:40].split(b"\n")[0].endswith(b"\r") else b"\n"
    predictions = [b"p", *(row[3].encode() for row in read[1:])]
    assert output == b"".join(line + b"," + prediction + line_end for line, prediction in zip(lines, predictions, strict=True))
    assert facts.header_bytes == len(lines[0] + b",p" + line_end)


@settings(deadline=None)
@given(csv_files(), st.integers(1, 400), st.randoms(use_true_random=False))
def test_a_damaged_file_is_refused_or_read_as_the_csv_module_reads_it(
    tmp_path_factory, table, block_bytes, generator: random.Random
):
    """Never misplaced, wherever the file was cut off, too: what is accepted the csv module's strict reading has as well."""
    *_, data = table
    damaged = bytearray(data[: generator.randint(len(data) // 2, 2 * len(data))])
    for _ in range(generator.randint(0, 3)):
        damaged.insert(generator.randint(0, len(damaged)), generator.choice(b'",\r\n\xffa'))
    damaged = bytes(damaged)
    try:
        _, output = score_locally(damaged, tmp_path_factory.mktemp("damaged"), block_bytes)
    except (handler.InvalidDataError, handler.InvalidRequestError):
        return
    expected = list(csv.reader(io.StringIO(damaged.decode("utf-8-sig"), newline=""), strict=True))
    read = list(csv.reader(io.StringIO(output.decode("utf-8-sig"), newline=""), strict=True))
    assert [row[:-1] for row in read] == expected
