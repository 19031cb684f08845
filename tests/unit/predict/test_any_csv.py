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

ANY_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@st.composite
def csv_files(draw):
    """A table of any text with one numeric column, and its bytes in some dialect of RFC 4180."""
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    rows = draw(st.lists(st.tuples(ANY_TEXT, st.floats(allow_nan=False, allow_infinity=False), ANY_TEXT), min_size=1, max_size=30))
    always = draw(st.booleans())
    table = [("left", "x1", "right"), *rows]
    data = "".join(",".join(quoted(str(value), always=always) for value in row) + line_end for row in table).encode()
    if draw(st.booleans()):
        data = data.removesuffix(line_end.encode())
    return rows, draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + data


@settings(deadline=None)
@given(csv_files(), st.integers(1, 400))
def test_every_field_and_prediction_comes_back(tmp_path_factory, table, block_bytes):
    """Python's csv module is the oracle: any text, any line end, any quoting, any block size."""
    rows, data = table
    facts, output = score_locally(data, tmp_path_factory.mktemp("any"), block_bytes)

    assert facts.rows == len(rows)
    read = list(csv.reader(io.StringIO(output.decode("utf-8-sig"), newline=""), strict=True))
    assert read[0] == ["left", "x1", "right", "p"]
    assert [row[:3] for row in read[1:]] == [[left, str(x1), right] for left, x1, right in rows]
    assert [float(row[3]) for row in read[1:]] == [x1 for _, x1, _ in rows]
    line_end = b"\r\n" if data[:40].split(b"\n")[0].endswith(b"\r") else b"\n"
    assert output.endswith(line_end)
    assert output[: facts.header_bytes].endswith(b"p" + line_end)


@settings(deadline=None)
@given(csv_files(), st.integers(1, 400), st.randoms(use_true_random=False))
def test_a_damaged_file_is_refused_or_read_as_the_csv_module_reads_it(
    tmp_path_factory, table, block_bytes, generator: random.Random
):
    """Never misplaced: what is accepted has the same fields as the csv module's strict reading."""
    _, data = table
    damaged = bytearray(data)
    for _ in range(generator.randint(1, 3)):
        damaged.insert(generator.randint(0, len(damaged)), generator.choice(b'",\r\n\xffa'))
    damaged = bytes(damaged)
    try:
        _, output = score_locally(damaged, tmp_path_factory.mktemp("damaged"), block_bytes)
    except (handler.InvalidDataError, handler.InvalidRequestError):
        return
    expected = list(csv.reader(io.StringIO(damaged.decode("utf-8-sig"), newline=""), strict=True))
    read = list(csv.reader(io.StringIO(output.decode("utf-8-sig"), newline=""), strict=True))
    assert [row[:-1] for row in read] == expected


NASTY = (
    b'\xef\xbb\xbf"le\r\nft",x1,"right"\r\n'
    b'"a ""b"", \r\n",1,\r\n'
    b',2.5e0,"""\r\n"""\r\n'
    b'"",-3,"\n\n\r\r"\r\n'
    b'\xc3\xa9\xe2\x82\xac,4,"\xf0\x9f\x98\x80,"\r\n'
    b'007," 5 ",NA\r\n'
    b'x,inf,"' + b"\r\n" * 40 + b'"\r\n'
    b"last,7,without a line end"
)


def test_any_block_border_gives_the_same_output(tmp_path):
    """Borders inside quotes, doubled quotes, CRLF, multi-byte characters: every position is one once."""
    _, whole = score_locally(NASTY, tmp_path)
    for block_bytes in range(1, len(NASTY) + 2):
        facts, output = score_locally(NASTY, tmp_path, block_bytes)
        assert (facts.rows, output) == (7, whole), block_bytes
        assert facts.read == handler._Tally(rows=7, bytes=len(NASTY), quotes=NASTY.count(b'"'))
    records = whole.removeprefix(b'\xef\xbb\xbf"le\r\nft",x1,"right",p\r\n')
    assert records.replace(b",1.0\r\n", b"\r\n").startswith(b'"a ""b"", \r\n",1,\r\n')


def test_a_file_cut_at_any_byte_is_refused_or_loses_only_its_end(tmp_path):
    """What is left of a truncated file is whole records, or an error that says where."""
    for cut in range(len(NASTY.split(b'"right"\r\n')[0]) + 9, len(NASTY)):
        try:
            facts, output = score_locally(NASTY[:cut], tmp_path)
        except handler.InvalidDataError as error:
            assert "byte" in str(error) or "no rows" in str(error)  # noqa: PT017  # either outcome is right
            continue
        expected = list(csv.reader(io.StringIO(NASTY[:cut].decode("utf-8-sig"), newline=""), strict=True))
        read = list(csv.reader(io.StringIO(output.decode("utf-8-sig"), newline=""), strict=True))
        assert [row[:-1] for row in read] == expected, cut
        assert facts.rows == len(expected) - 1
