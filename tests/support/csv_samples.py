"""CSV files for property tests, and Python's csv module as their oracle."""

import csv
import io
import re

from hypothesis import strategies as st

FIELD = st.text(alphabet=st.sampled_from(list('ab7é,"\n\r ')), max_size=6)


@st.composite
def csv_bytes(draw):
    """A CSV of any line end and quoting, with or without BOM and the last line end."""
    width = draw(st.integers(1, 4))
    rows = draw(st.lists(st.lists(FIELD, min_size=width, max_size=width), min_size=1, max_size=12))
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    quote_all = draw(st.booleans())
    text = line_end.join(",".join(quoted(field, always=quote_all) for field in row) for row in rows)
    bom = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    return bom + (text + draw(st.sampled_from(["", line_end])) if text else line_end).encode()


@st.composite
def deceptive_tables(draw, first=None):
    """Records, how many fields each has, and their line end: texts are words, lines without an end, prose, and what looks like
    records, of which those with a letter at their start are none of a table whose `first` field is a number.
    """
    width = 3 if first is not None else draw(st.integers(1, 4))
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    lines = st.one_of(
        st.integers(1, 300).map(lambda number: "A" * number),
        st.tuples(st.sampled_from("7z"), st.integers(1, 50)).map(
            lambda found: (found[0] + ",v" * (width - 1) + line_end) * found[1]
        ),
        st.sampled_from([f"a line of prose{line_end}", "\n", '"', ',"', '"\n', ","]),
    )
    text = st.one_of(st.text("ab é", max_size=8), st.text('a,"\n', max_size=10), st.lists(lines, max_size=6).map("".join))
    fields = [text if first is None else first, *[text] * (width - 1)]
    rows = draw(st.lists(st.tuples(*fields), min_size=1, max_size=30))
    return [(",".join(quoted(field, always=False) for field in row) + line_end).encode() for row in rows], width, line_end.encode()


def quoted(field, *, always):
    """As RFC 4180 has it: also a carriage return by itself is quoted, which csv.writer forgets in Python 3.11."""
    return '"' + field.replace('"', '""') + '"' if always or re.search('[,"\r\n]', field) else field


def records(data):
    """Python's csv module as the oracle."""
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))
