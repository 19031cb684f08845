"""Fields that the kernel copies out of records: every byte as without it, and no record of another number of fields."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import field_kernel
import prediction_handler as handler


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 80), st.randoms(use_true_random=False))
def test_the_kernel_copies_what_numpy_copies(width, generator):
    """Also of long records, whose delimiters the kernel finds 64 bytes at a time, and from the middle of a block."""
    fields = ["", "1", '""', '"a,b"', '"\n"', "x" * 40, "y" * 130, '"' + "z,\n" * 50 + '"']
    rows = [",".join(generator.choices(fields, k=width)) for _ in range(20)]
    data = "\r\n".join(["", *rows, ""]).encode()
    offsets = np.cumsum([0, *(2 + len(row) for row in rows)]).astype(np.int32)[generator.randint(0, 5) :]
    edges = sorted(generator.sample(range(width + 1), k=2 * generator.randint(0, (width + 1) // 2)))
    runs = list(zip(edges[::2], edges[1::2], strict=True))
    known, found = (of(data, offsets, 2, width, runs) for of in (with_kernel, without_kernel))
    assert (known[0], known[1].tolist()) == (found[0], found[1].tolist())
    for wrong in {width - 1, width + 1} - {0}:
        some = [(first, min(stop, wrong)) for first, stop in runs if first < wrong]
        assert with_kernel(data, offsets, 2, wrong, some) is None
        assert without_kernel(data, offsets, 2, wrong, some) is None


def without_kernel(data, offsets, edge, fields, runs):
    return handler._select_fields(data, offsets, edge, fields, runs, ord(","))


def with_kernel(data, offsets, edge, fields, runs):
    return field_kernel.select(data, offsets, edge, fields, runs, ord(","))


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize("damaged", [0, 5, 9])
@pytest.mark.parametrize("row", ["1", "1,2,3", '1,2,"3,4,5"', '1,"2",3,"4",5', ","])
def test_a_row_of_too_few_or_too_many_fields_is_never_copied(kernel, damaged, row, monkeypatch):
    own = handler._beside
    monkeypatch.setattr(handler, "_beside", lambda name: own(name) if kernel else None)
    rows = ["1,2,3,4"] * 10
    rows[damaged] = row
    data = "\n".join(["", *rows, ""]).encode()
    header = handler.Header(b"a,b,c,d", b"\n", ["a", "b", "c", "d"])
    block = next(handler._read_blocks(io.BytesIO(data[1:]), header, handler._Source("s3://b/k", 0), 0, 1000))
    for kept in ([], ["a"], ["d"], ["b", "c"]):
        with pytest.raises(handler.InvalidDataError, match=rf"row {damaged + 1} \(byte \d+\) has \d field\(s\), the header has 4"):
            handler._CsvWriter(header, kept).joined(block, np.arange(10), np.zeros(10), ["p"])
