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


def quoted(field, *, always):
    """As RFC 4180 has it: also a carriage return by itself is quoted, which csv.writer forgets in Python 3.11."""
    return '"' + field.replace('"', '""') + '"' if always or re.search('[,"\r\n]', field) else field


def records(data):
    """Python's csv module as the oracle."""
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))
