"""Which names below a prefix or folder are data, and their order."""

import pytest

from workflow.data_names import WORK_FOLDER_SUFFIX, is_hidden, natural_order, other_format
from workflow.work import WORK_MARK

HIDDEN = """
_SUCCESS _committed_123 _started_123 _2024_orders.csv .part-00000.csv.crc ._orders.csv .~lock.orders.csv#
.ipynb_checkpoints/orders-checkpoint.csv __MACOSX/orders.csv _temporary/0/task_1/part-00000.csv deep/er/_x/y/z.csv
_temporary/0/dt=2024-01-01/part-00000.csv _delta_log/00000.json .spark-staging-7/dt=2024-01-01/part-0.csv
dt=2024-01-01/_temporary/part-0.csv dt=2024-01-01/.part-0.csv.crc dt=2024-01-01/_SUCCESS orders.csv._COPYING_
4f1c.csv.metadata dt=2024-01-01/4F1C.CSV.METADATA
out.csv.work/1/2/chunk-00000.csv deep/out.csv.work/1/2/chunk-00000.csv .work/x.csv k=out.work/chunk-00000.csv
"""
DATA = """
orders.csv part-00000 part-00000-aa.CSV dt=2024-01-01/part-0.csv _date=2024-01-01/part-0.csv .h=7/_date=2024-01-01/part-0.csv
a_b/c.d/x_1.csv metadata/x.csv x.metadata out.csv.work work/x.csv out.csv.works/x.csv /x.csv
"""


@pytest.mark.parametrize("path", HIDDEN.split())
def test_what_lies_beside_data_is_hidden(path):
    assert is_hidden(path)


@pytest.mark.parametrize("path", DATA.split())
def test_data_are_not_hidden(path):
    assert not is_hidden(path)


def test_the_folder_of_work_is_the_one_that_runs_write():
    assert f"{WORK_FOLDER_SUFFIX}/" == WORK_MARK


def test_numbers_are_ordered_as_numbers():
    ordered = ["a", "a1", "a1b2", "a1b10", "a02", "a2", "a10", "a10b", "a00100", "aa", "b/1/9", "b/1/10", "b/02/1"]
    assert sorted(sorted(ordered), key=natural_order) == ordered  # by the names first, because a02 and a2 are equal


OTHER_FORMATS = "out.parquet out.PARQUET out.csv.gz out.csv.zst out.jsonl out.xlsx out.feather 2026-11-24.tsv a/out.zip"


@pytest.mark.parametrize("name", OTHER_FORMATS.split())
def test_a_name_may_promise_another_format_than_csv(name):
    assert other_format(name) == f".{name.rpartition('.')[2].lower()}"


@pytest.mark.parametrize("name", ["out.csv", "out.CSV", "out.txt", "out", "out.2026-11-24", "out.parquet.csv", "json/out"])
def test_a_name_that_promises_none(name):
    assert other_format(name) is None
