"""Which names below a prefix or folder are data, and their order."""

import pytest

from workflow import data_names
from workflow.data_names import WORK_FOLDER_SUFFIX, is_hidden, natural_order, promise_of, written_as
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


NOTHING = ["out", "out.txt", "out.2026-11-24", "csv", "out.csv.bak", "json/out", "gz"]


@pytest.mark.parametrize("name", NOTHING)
def test_a_name_that_promises_nothing_is_written_as_the_data(name):
    assert promise_of(name) == ("", None, None, "none", False)
    assert [written_as(name, kind) for kind in ("csv", "jsonl", "parquet")] == [(kind, "none", None) for kind in data_names.FORMATS]


@pytest.mark.parametrize(
    ("name", "promised"),
    [
        ("out.csv", (".csv", "csv", None, "none")),
        ("OUT.CSV", (".csv", "csv", None, "none")),
        ("out.parquet.csv", (".csv", "csv", None, "none")),
        ("out.csv.gz", (".csv.gz", "csv", None, "gzip")),
        ("2026-11-24.tsv", (".tsv", "csv", "\t", "none")),
        ("out.psv.zst", (".psv.zst", "csv", "|", "zstd")),
        ("out.jsonl", (".jsonl", "jsonl", None, "none")),
        ("out.ndjson.gzip", (".ndjson.gzip", "jsonl", None, "gzip")),
        ("out.parquet", (".parquet", "parquet", None, "none")),
        ("a/out.pq", (".pq", "parquet", None, "none")),
        ("out.gz", (".gz", None, None, "gzip")),
    ],
)
def test_the_end_of_a_name_promises_a_format_and_a_compression(name, promised):
    assert promise_of(name) == (*promised, False)


@pytest.mark.parametrize("name", ["out.xlsx", "out.feather", "a/out.zip", "out.JSON", "out.json.gz", "out.tar.gz"])
def test_a_name_may_promise_what_no_output_is(name, monkeypatch):
    monkeypatch.setattr(data_names, "CONVERSIONS", {"csv": ("csv",)})
    assert promise_of(name).is_other
    outer = ".gz" if name.endswith(".gz") else ""
    assert (
        written_as(name, "csv").mistake
        == f"ends in {promise_of(name).ending}, and what is written is CSV: choose a name that ends in .csv{outer}"
    )
    assert str(written_as(name).mistake).startswith(
        f"ends in {promise_of(name).ending}, and what is written is CSV or JSON Lines or"
    )


@pytest.mark.parametrize("is_stated", [False, True])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("kind", data_names.FORMATS)
def test_whatever_is_written_has_a_name_that_promises_it(kind, compression, is_stated, monkeypatch):
    """A name that decides, and one that only agrees, give the same; with any other of them the field is refused."""
    monkeypatch.setattr(data_names, "CONVERSIONS", dict.fromkeys(data_names.FORMATS, tuple(data_names.FORMATS)))
    if kind == "parquet" and compression != "none":
        assert "compresses its own pages" in str(written_as("out", kind, None, compression).mistake)
        return
    stated = (kind, compression) if is_stated else (None, None)
    others = 0
    for ending, (promised, delimiter) in data_names.TABLE_ENDINGS.items():
        for outer, compressed in {"": "none", **data_names.COMPRESSED_ENDINGS}.items():
            found = written_as(f"out{ending}{outer}", "csv", *stated, delimiter or ",")
            if (promised, compressed) == (kind, compression):
                assert found == (kind, compression, None)
            elif is_stated:
                others += 1
                assert found.mistake
                assert "choose a name that ends in" in found.mistake or "Parquet" in found.mistake
    assert others or not is_stated


@pytest.mark.parametrize(
    ("name", "asked", "mistake"),
    [
        (
            "out.csv",
            ("csv", "parquet"),
            "cannot be Parquet, because what is written of such data is CSV: choose another output_format",
        ),
        ("out.parquet", ("csv",), "ends in .parquet, and what is written is CSV: choose a name that ends in .csv"),
        ("out.csv", ("parquet",), "ends in .csv, and what is written is Parquet: choose a name that ends in .parquet"),
        (
            "out.jsonl",
            ("csv", "csv"),
            "ends in .jsonl, and output_format is csv: choose a name that ends in .csv, or another output_format",
        ),
        (
            "out.csv.gz",
            ("csv", None, "none"),
            "ends in .csv.gz, and output_compression is none: choose a name that ends in .csv, or another output_compression",
        ),
        ("out.tsv", ("csv",), "ends in .tsv, and its fields are separated by ',': choose a name that ends in .csv"),
        (
            "out.psv",
            ("csv", None, None, "\t"),
            "ends in .psv, and its fields are separated by '\\t': choose a name that ends in .tsv",
        ),
        ("out.csv", ("csv", None, None, "\t"), None),
        ("out.tsv", ("csv", None, None, "\t"), None),
        ("out.parquet.gz", ("parquet",), "is Parquet, which compresses its own pages, and not all of it by gzip: leave that out"),
        (
            "out.csv.gz",
            ("parquet",),
            "ends in .csv.gz, and what is written is Parquet: choose a name that ends in .parquet",
        ),
    ],
)
def test_a_contradiction_is_named_with_the_way_out(name, asked, mistake, monkeypatch):
    monkeypatch.setattr(data_names, "CONVERSIONS", {kind: (kind,) for kind in data_names.FORMATS})
    assert written_as(name, *asked).mistake == mistake
