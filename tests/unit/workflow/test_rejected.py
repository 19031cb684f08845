"""The list of rejected rows beside the output."""

import csv
import io

import pytest

from support.samples import BUCKET
from workflow.accounting import Account, Done
from workflow.formats.csv_format import Csv
from workflow.side_files import rejected_rows, write_rejected


def chunk(index, uri, start, stop):
    return {
        "chunk_index": index,
        "data_s3_uri": uri,
        "byte_range": [start, stop],
        "output_s3_uri": f"s3://{BUCKET}/w/chunk-{index}.csv",
    }


@pytest.fixture
def done(s3):
    """A finished chunk of ten rows that rejected some."""

    def done(index, uri, start, stop, rejected=()):
        lines = "".join(f"{uri},{row},{start + row},not a number\r\n" for row in rejected)
        s3.put_object(Bucket=BUCKET, Key=f"w/chunk-{index}.csv.rejected.csv", Body="data_s3_uri,row,byte,reason\r\n" + lines)
        return Done(chunk(index, uri, start, stop), {"rows_read": 10, "rejected_rows": len(rejected)})

    return done


def test_rows_are_counted_from_the_start_of_their_object(s3, done):
    account = Account([done(0, "a", 0, 50, [3]), done(1, "a", 50, 99), done(2, "a", 99, 120, [1, 10]), done(3, "b", 0, 9, [2])], [])
    assert [(uri, row, byte) for uri, row, byte, _ in rejected_rows(s3, account)] == [
        ("a", 3, "3"), ("a", 21, "100"), ("a", 30, "109"), ("b", 2, "2"),
    ]  # fmt: skip


def test_a_row_after_a_missing_chunk_has_no_number(s3, done):
    account = Account([done(0, "a", 0, 50, [3]), done(2, "a", 99, 120, [1]), done(3, "b", 0, 9, [2])], [chunk(1, "a", 50, 99)])
    assert [(uri, row) for uri, row, *_ in rejected_rows(s3, account)] == [("a", 3), ("a", ""), ("b", 2)]


def test_a_list_without_rows_has_its_header(s3, get, done):
    write_rejected(s3, f"s3://{BUCKET}/out.csv.rejected.csv", Account([done(0, "a", 0, 50)], []), Csv())
    assert list(csv.reader(io.StringIO(get("out.csv.rejected.csv").decode()))) == [["data_s3_uri", "row", "byte", "reason"]]
