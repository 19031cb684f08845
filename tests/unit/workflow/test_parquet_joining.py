import datetime as dt
import io
import json
import random
from decimal import Decimal
from itertools import pairwise

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.parquet_files import (
    chunk_bytes,
    joined,
    key_values,
    ordinals,
    pages_of_indexes,
    parquet,
    predictions,
    row_group_rows,
    side_bytes,
    source,
    split_parts,
    structs,
    table_of,
    with_field,
    with_ordinals,
    with_row_groups,
)
from workflow.errors import IncompleteOutputError, InvalidDataError, InvalidRequestError
from workflow.parquet import footer as names
from workflow.parquet.footer import column_names, difference, read_footer, row_groups_of, schema_of
from workflow.parquet.joining import MAX_ORDINAL, index_span, join
from workflow.parquet.thrift_compact import (
    BINARY,
    I64,
    LIST,
    STRUCT,
    Field,
    binary_bytes,
    integer_bytes,
    integer_field,
    integer_of,
    list_bytes,
    list_of,
    number_edit,
    read_struct,
    skip,
    struct_bytes,
)

BERLIN = pa.timestamp("us", "Europe/Berlin")
MOMENTS = [dt.datetime(2026, 11, day, 23, 0, tzinfo=dt.UTC) for day in range(1, 5)]
COLUMNS = {
    "text": pa.array(["a", None, "", "ü"]),
    "category": pa.array(["x", "y", None, "x"]).dictionary_encode(),
    "zoned": pa.array(MOMENTS, BERLIN),
    "naive": pa.array([1, 2, None, 4], pa.timestamp("ns")),
    "duration": pa.array([1, None, 3, 4], pa.duration("us")),
    "large": pa.array(["p", "q", None, "r"], pa.large_string()),
    "binary": pa.array([b"\0", b"", None, b"\xff"], pa.large_binary()),
    "flag": pa.array([True, None, False, True]),
    "small": pa.array([1, 2, None, 255], pa.uint8()),
    "long": pa.array([-(2**63), 0, None, 2**63 - 1], pa.int64()),
    "half": pa.array([1.0, None, float("nan"), -0.0], pa.float16()),
    "double": pa.array([1.5, None, float("inf"), -0.0]),
    "money": pa.array([Decimal("1.20"), None, Decimal("-9.99"), Decimal(0)], pa.decimal128(9, 2)),
    "day": pa.array([dt.date(2026, 1, 1), None, dt.date(1900, 1, 1), None]),
    "list": pa.array([[1, None], [], None, [2]], pa.list_(pa.int32())),
    "struct": pa.array([{"a": 1, "b": ["x"]}, None, {"a": None, "b": []}, {"a": 2, "b": None}]),
    "map": pa.array([[("k", 1)], [], None, [("l", None)]], pa.map_(pa.string(), pa.int8())),
    "pair": pa.array([[1, 2], [3, 4], None, [5, 6]], pa.list_(pa.int32(), 2)),
    "nothing": pa.nulls(4),
}

OPTIONS = st.fixed_dictionaries({
    "compression": st.sampled_from(["none", "snappy", "zstd", "gzip"]),
    "use_dictionary": st.booleans(),
    "write_page_index": st.booleans(),
    "write_statistics": st.booleans(),
    "data_page_version": st.sampled_from(["1.0", "2.0"]),
    "data_page_size": st.sampled_from([1, 2**20]),
    "write_batch_size": st.sampled_from([1, 1024]),
    "store_schema": st.booleans(),
    "use_deprecated_int96_timestamps": st.booleans(),
    "write_page_checksum": st.booleans(),
})  # fmt: skip


@st.composite
def tables(draw):
    """Some of the columns, and rows of them in any order."""
    chosen = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=5, unique=True))
    rows = draw(st.lists(st.integers(0, 3), max_size=12))
    return pa.table({name: COLUMNS[name] for name in chosen}).take(pa.array(rows, pa.int64()))


def cut(table, edges):
    """The table in pieces that end at these rows."""
    edges = sorted({0, table.num_rows, *(edge for edge in edges if edge < table.num_rows)})
    return [table.slice(start, stop - start) for start, stop in pairwise(edges)] or [table]


def with_predictions(table, inputs, cuts=(), **options):
    """The output of some inputs, and the table that is to be read from it."""
    groups = [rows for data in inputs for rows in row_group_rows(data)]
    new = predictions(sum(groups)).append_column("label", pa.array([f"c{row % 3}" for row in range(sum(groups))]))
    parts = list(split_parts(new, groups, cuts, **options)) or [parquet(new)]
    expected = table
    for name in new.column_names:
        expected = expected.append_column(name, new[name])
    return joined(inputs, parts), expected, parts


# --- any table ------------------------------------------------------------------------------------------------------------------


def check_any_table(table, options, part_options, rows, edges, cuts):
    if any(pa.types.is_nested(field.type) for field in table.schema):
        options = options | {"data_page_size": 2**20}  # pyarrow reads no rows of lists that it has written in the smallest pages
    filters = {"bloom_filter_options": {"text": {"ndv": 10}}} if "text" in table.column_names else {}
    inputs = [parquet(piece, rows, **options, **filters) for piece in cut(table, edges)]
    read = pa.concat_tables([table_of(data) for data in inputs])
    output, expected, parts = with_predictions(read, inputs, cuts, **part_options)
    found = table_of(output)
    assert found.schema.remove_metadata() == expected.schema.remove_metadata()
    assert found.to_pydict().__repr__() == expected.to_pydict().__repr__()  # a NaN is not equal to itself
    assert output.startswith(inputs[0][: source("first", inputs[0]).footer.start])
    assert all(data[4 : source("any", data).footer.start] in output for data in [*inputs, *parts])
    columns = [chunks for data in inputs for chunks in chunk_bytes(data)]
    added = [chunks for data in parts for chunks in chunk_bytes(data)]
    assert chunk_bytes(output) == [[*old, *new] for old, new in zip(columns, added, strict=True)]
    side = [chunks for data in inputs for chunks in side_bytes(data)]
    added = [chunks for data in parts for chunks in side_bytes(data)]
    assert list(side_bytes(output)) == [[*old, *new] for old, new in zip(side, added, strict=True)]
    pages = [chunks for data in inputs for chunks in pages_of_indexes(data)]
    added = [chunks for data in parts for chunks in pages_of_indexes(data)]
    assert list(pages_of_indexes(output)) == [[*old, *new] for old, new in zip(pages, added, strict=True)]
    return output, expected


@settings(max_examples=20)
@given(tables(), OPTIONS, st.booleans(), st.integers(1, 5), st.sets(st.integers(1, 11), max_size=2), st.sets(st.integers(1, 5)))
def test_any_tables_in_any_row_groups_and_parts(table, options, page_index, rows, edges, cuts):
    check_any_table(table, options, {"write_page_index": page_index}, rows, edges, cuts)


@pytest.mark.thorough
@settings(max_examples=1000)
@given(tables(), OPTIONS, OPTIONS, st.integers(1, 5), st.sets(st.integers(1, 11), max_size=4), st.sets(st.integers(1, 9)))
def test_many_tables_in_any_row_groups_and_parts(table, options, part_options, rows, edges, cuts):
    check_any_table(table, options, part_options | {"store_schema": True}, rows, edges, cuts)


def test_every_type_is_read_as_it_was_by_each_reader():
    table = pa.table(COLUMNS)
    inputs = [parquet(table, 3, write_page_index=True), parquet(table, 1)]
    read = pa.concat_tables([table_of(data) for data in inputs])
    output, expected, _ = with_predictions(read, inputs, [2])
    assert table_of(output).schema.remove_metadata() == expected.schema.remove_metadata()
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(output)), expected.to_pandas())
    frame = pl.read_parquet(io.BytesIO(output))
    assert frame.drop("prediction", "label").equals(pl.concat([pl.read_parquet(io.BytesIO(data)) for data in inputs]))
    assert frame["prediction"].to_list() == expected["prediction"].to_pylist()


def test_filters_find_the_rows_of_either_kind_of_column():
    table = pa.table({"n": range(1000), "s": [f"{row:04}" for row in range(1000)]})
    small_pages = {"write_page_index": True, "data_page_size": 64, "write_batch_size": 16}
    inputs = [parquet(piece, 100, bloom_filter_options={"s": {"ndv": 100}}, **small_pages) for piece in cut(table, [300, 450])]
    output, expected, _ = with_predictions(table, inputs, [2], **small_pages)
    wanted = expected.filter((pc.field("n") == 777) | (pc.field("prediction") == 100.25))
    assert wanted.num_rows == 2
    with_either = (ds.field("n") == 777) | (ds.field("prediction") == 100.25)
    assert table_of(output, filters=with_either).to_pylist() == wanted.to_pylist()
    frame = pl.scan_parquet(io.BytesIO(output))
    assert frame.filter((pl.col("s") == "0777") | (pl.col("prediction") == 100.25)).collect().to_dicts() == wanted.to_pylist()
    assert pq.ParquetFile(io.BytesIO(output)).metadata.row_group(3).column(2).statistics.min == 300 / 4


def test_each_offset_moves_with_the_bytes_and_none_that_is_absent():
    """Writers differ in which offsets they give, and some write 0 of what is absent."""
    given = {(1, names.CHUNK_OFFSET): 5, (2, names.INDEX_PAGE): 6, (0, names.GROUP_OFFSET): 4, (2, names.BLOOM_FILTER): 7}
    absent = dict.fromkeys(given, 0) | {(2, names.DICTIONARY_PAGE): 0}

    def with_offsets(offsets):
        def change(_, group):
            for (level, number), offset in offsets.items():
                if level == 0:
                    group[number] = integer_field(number, I64, offset)
            return group

        def change_chunk(*levels):
            for (level, number), offset in offsets.items():
                if level:
                    levels[level - 1][number] = integer_field(number, I64, offset)

        return with_row_groups(with_first_chunk(parquet(pa.table({"n": [1, 2]}), use_dictionary=False), change_chunk), change)

    first, second, third = with_offsets(given), with_offsets(given), with_offsets(absent)
    shift = source("first", first).footer.start - 4
    output = joined([first, second, third], [parquet(predictions(6))])
    for data, moved, offsets in zip(structs(output), (0, shift, 0), (given, given, absent), strict=True):
        assert {key: integer_of(data[key[0]][key[1]].value) for key in offsets} == {
            key: old + moved for key, old in offsets.items()
        }
    assert [integer_of(meta[names.DATA_PAGE].value) for _, _, meta in structs(output)][:2] == [4, 4 + shift]


def test_a_thousand_columns_and_more_row_groups_than_a_list_header_counts():
    table = pa.table({f"column {index}": [index, index + 1] for index in range(1000)})
    output, expected, _ = with_predictions(table, [parquet(table, 1)])
    assert table_of(output).equals(expected)
    narrow = pa.table({"n": range(40)})
    output, expected, _ = with_predictions(narrow, [with_ordinals(parquet(piece, 1)) for piece in cut(narrow, [13])], range(1, 40))
    assert table_of(output).equals(expected)
    assert ordinals(output) == list(range(40))
    first = pq.ParquetFile(io.BytesIO(output)).metadata.row_group(0)
    assert first.total_byte_size == sum(first.column(index).total_uncompressed_size for index in range(3))


def test_row_groups_have_no_ordinals_where_their_numbers_are_too_large(monkeypatch):
    monkeypatch.setattr("workflow.parquet.joining.MAX_ORDINAL", 1)
    assert MAX_ORDINAL == 32_767
    table = pa.table({"n": [1, 2, 3]})
    output, expected, _ = with_predictions(table, [with_ordinals(parquet(table, 1))])
    assert ordinals(output) == [0, 1, None]
    assert table_of(output).equals(expected)


@pytest.mark.parametrize("rows", [0, 3])
def test_files_without_rows_among_others(rows):
    table = pa.table({"n": pa.array(range(rows), pa.int64())})
    empty = parquet(table.slice(0, 0))
    output, expected, _ = with_predictions(table, [empty, parquet(table), empty])
    assert table_of(output).equals(expected)


def test_an_output_is_an_input():
    table = pa.table(COLUMNS).drop_columns(["half"])  # a NaN is not equal to itself
    output, expected, _ = with_predictions(table_of(parquet(table)), [parquet(table)], write_page_index=True)
    again = joined([output], list(split_parts(predictions(4, "next"), [2, 2], [1], write_page_index=True)))
    assert table_of(again).drop_columns(["next"]).equals(expected)
    assert table_of(again)["next"].to_pylist() == predictions(4)["prediction"].to_pylist()


# --- some of the columns --------------------------------------------------------------------------------------------------------


def check_some_columns(table, options, rows, edges, cuts, columns):
    if any(pa.types.is_nested(field.type) for field in table.schema):
        options = options | {"data_page_size": 2**20}
    filters = {"bloom_filter_options": {"text": {"ndv": 10}}} if "text" in table.column_names else {}
    inputs = [parquet(piece, rows, **options, **filters) for piece in cut(table, edges)]
    _, whole, parts = with_predictions(pa.concat_tables([table_of(data) for data in inputs]), inputs, cuts, write_page_index=True)
    output = joined(inputs, parts, columns)
    expected = whole.select([name for name in whole.column_names if name in {*columns, "prediction", "label"}])
    found = table_of(output)
    assert found.schema.remove_metadata() == expected.schema.remove_metadata()
    assert repr(found.to_pydict()) == repr(expected.to_pydict())
    complete = joined(inputs, parts)
    leaves = pq.ParquetFile(io.BytesIO(complete)).schema
    kept = [index for index in range(len(leaves)) if leaves.column(index).path.split(".")[0] in expected.column_names]
    for look in (chunk_bytes, side_bytes, pages_of_indexes):
        assert list(look(output)) == [[group[index] for index in kept] for group in look(complete)]
    sizes = [integer_of(group[names.GROUP_COMPRESSED_SIZE].value) for group, _, _ in structs(output)]
    assert sizes == [sum(map(len, chunks)) for chunks in chunk_bytes(output)]
    metadata = pq.ParquetFile(io.BytesIO(output)).metadata
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        chunks = [group.column(index) for index in range(group.num_columns)]
        assert group.total_byte_size == sum(chunk.total_uncompressed_size for chunk in chunks)
    first_pages = [
        min(start for start in offsets_of(meta) if start) for group, _, meta in structs(output) if offsets_of(meta) != [0]
    ]
    offsets = [integer_of(group[names.GROUP_OFFSET].value) for group, _, meta in structs(output) if offsets_of(meta) != [0]]
    assert offsets == first_pages
    return output


def offsets_of(meta):
    return [integer_of(meta[number].value) for number in (names.DATA_PAGE, names.DICTIONARY_PAGE) if number in meta]


@settings(max_examples=20)
@given(st.data(), tables(), OPTIONS, st.integers(1, 5), st.sets(st.integers(1, 11), max_size=2), st.sets(st.integers(1, 5)))
def test_some_columns_of_any_tables(data, table, options, rows, edges, cuts):
    check_some_columns(table, options, rows, edges, cuts, data.draw(st.sets(st.sampled_from(table.column_names))))


@pytest.mark.thorough
@settings(max_examples=500)
@given(st.data(), tables(), OPTIONS, st.integers(1, 5), st.sets(st.integers(1, 11), max_size=4), st.sets(st.integers(1, 9)))
def test_some_columns_of_many_tables(data, table, options, rows, edges, cuts):
    check_some_columns(table, options, rows, edges, cuts, data.draw(st.sets(st.sampled_from(table.column_names))))


def test_columns_that_are_left_out_are_not_copied():
    table = pa.table({name: [random.Random(name).random() for _ in range(1000)] for name in ("left out", "kept", "too")})
    data = parquet(table, 500, use_dictionary=False)
    output = joined([data], list(split_parts(predictions(1000), [500, 500], [])), ["kept"])
    assert len(output) < len(data) / 3 + 20_000
    assert not any(chunks[0] in output for chunks in chunk_bytes(data))
    assert table_of(output).column_names == ["kept", "prediction"]


def test_offsets_into_what_is_left_out_are_none():
    def beyond(chunk, _):
        chunk[names.CHUNK_OFFSET] = integer_field(names.CHUNK_OFFSET, I64, start + 10)

    table = pa.table({"kept": [1, 2], "left out": [1, 2]})
    start = pq.ParquetFile(io.BytesIO(parquet(table))).metadata.row_group(0).column(1).dictionary_page_offset
    data = with_first_chunk(parquet(table), beyond)
    for columns, expected in [(None, start + 10), (["kept"], 0)]:
        ((_, chunk, _),) = structs(joined([data], [parquet(predictions(2))], columns))
        assert integer_of(chunk[names.CHUNK_OFFSET].value) == expected


def test_predictions_alone():
    table = pa.table(COLUMNS)
    output = joined([parquet(table)], list(split_parts(predictions(4), [2, 2], [1])), [])
    assert table_of(output).to_pydict() == predictions(4).to_pydict()


def test_rows_stay_sorted_by_the_columns_before_the_first_that_is_left_out():
    table = pa.table({"x": [1, 2], "b": [1, 2], "a": [1, 2], "c": [1, 2]})
    order = [pq.SortingColumn(2), pq.SortingColumn(1, descending=True), pq.SortingColumn(3)]
    for columns, expected in [
        (None, order),
        (["a", "b"], [pq.SortingColumn(1), pq.SortingColumn(0, descending=True)]),
        (["b", "c"], []),
    ]:
        output = joined([parquet(table, sorting_columns=order)], [parquet(predictions(2))], columns)
        assert list(pq.ParquetFile(io.BytesIO(output)).metadata.row_group(0).sorting_columns) == expected


def test_the_metadata_know_only_of_the_columns_that_are_kept():
    frame = pd.DataFrame(
        {"a": pd.array([1, None], "Int64"), "b": [1, 2], "c": pd.Categorical(["x", "y"])}, index=pd.Index(["r", "s"], name="k")
    )
    written = io.BytesIO()
    frame.to_parquet(written)
    output = joined([written.getvalue()], [parquet(predictions(2))], ["a", "c", "k"])
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(output)).drop(columns="prediction"), frame[["a", "c"]])
    output = joined([written.getvalue()], [parquet(predictions(2))], ["c"])
    pd.testing.assert_frame_equal(
        pd.read_parquet(io.BytesIO(output)).drop(columns="prediction"), frame[["c"]].reset_index(drop=True)
    )
    fields = [{"name": name, "type": "long", "nullable": True, "metadata": {}} for name in "ab"]
    data = with_key_values(
        pa.table({"a": [1], "b": [2]}), org__apache__spark__sql__parquet__row__metadata=json.dumps({"fields": fields})
    )
    values = key_values(joined([data], [parquet(predictions(1))], ["b"]))
    (value,) = values.values()
    assert [field["name"] for field in json.loads(value)["fields"]] == ["b", "prediction"]


def test_columns_that_are_not_there_cannot_be_kept():
    with pytest.raises(InvalidRequestError, match=r"input-0.parquet has no column 'm': name columns of the data in output_columns"):
        joined([parquet(pa.table({"n": [{"m": 1}]}))], [parquet(predictions(1))], ["n", "m"])


# --- what the metadata say of the columns ---------------------------------------------------------------------------------------


def with_key_values(table, **values):
    written = io.BytesIO()
    with pq.ParquetWriter(written, table.schema, store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({key.replace("ARROW__", "ARROW:").replace("__", "."): value for key, value in values.items()})
    return written.getvalue()


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": pd.array([1, None], "Int64"), "c": pd.Categorical(["x", "y"]), "f": [1.5, None]}),
        pd.DataFrame({"a": [1, 2]}, index=pd.Index(["r", "s"], name="key")),
        pd.DataFrame({"a": [1, 2]}, index=[5, 7]),
    ],
    ids=["types", "named index", "index"],
)
def test_pandas_reads_its_own_types_and_index(frame):
    written = io.BytesIO()
    frame.to_parquet(written)
    output = pd.read_parquet(io.BytesIO(joined([written.getvalue()], [parquet(predictions(2))])))
    pd.testing.assert_frame_equal(output.drop(columns="prediction"), frame)
    assert output["prediction"].tolist() == [0, 0.25]


@pytest.mark.parametrize("values", [["r", "s"], pd.Categorical(["r", "s"]), pd.array([1, None], "Int64")], ids=str)
@pytest.mark.parametrize("is_index", [False, True])
def test_a_prediction_called_as_a_column_that_is_left_out_is_not_of_its_type(values, is_index):
    frame = pd.DataFrame({"a": [1, 2], "prediction": values})
    written = io.BytesIO()
    (frame.set_index("prediction") if is_index else frame).to_parquet(written)
    output = pd.read_parquet(io.BytesIO(joined([written.getvalue()], [parquet(predictions(2))], ["a"])))
    pd.testing.assert_frame_equal(output, pd.DataFrame({"a": [1, 2], "prediction": [0, 0.25]}))


@pytest.mark.parametrize("labels", [[0, 1], pd.to_datetime(["2026-01-01", "2026-01-02"]), [("a", "b"), ("a", "c")]])
def test_columns_whose_names_are_no_texts_are_texts_beside_the_predictions(labels):
    """pandas would read all names as numbers, dates or tuples, and fail at the prediction's."""
    columns = pd.MultiIndex.from_tuples(labels) if isinstance(labels[0], tuple) else pd.Index(labels)
    table = pa.Table.from_pandas(pd.DataFrame([[1, 2], [3, 4]], columns=columns))
    output = pd.read_parquet(io.BytesIO(joined([parquet(table)], [parquet(predictions(2))])))
    assert list(output.columns) == [*table.column_names, "prediction"]


def test_spark_is_told_of_the_predictions_and_others_take_the_columns_from_the_file():
    table = pa.table({"n": [1, 2]})
    field = {"name": "n", "type": "long", "nullable": True, "metadata": {"why": "é"}}
    spark = {"type": "struct", "fields": [field]}
    data = with_key_values(
        table, org__apache__spark__sql__parquet__row__metadata=json.dumps(spark), parquet__avro__schema="{}", other="kept"
    )
    new = predictions(2).append_column("label", pa.array(["x", "y"]))
    values = key_values(joined([data], [parquet(new)]))
    assert values.keys() == {b"org.apache.spark.sql.parquet.row.metadata", b"other"}
    added = [
        {"name": name, "type": kind, "nullable": True, "metadata": {}}
        for name, kind in [("prediction", "double"), ("label", "string")]
    ]
    assert json.loads(values[b"org.apache.spark.sql.parquet.row.metadata"]) == {"type": "struct", "fields": [field, *added]}
    nested = pa.table({"probabilities": [[0.5], [0.5]]})
    assert key_values(joined([data], [parquet(nested)])).keys() == {b"other"}


def test_arrow_schemas_that_are_none_are_dropped():
    table = pa.table({"n": pa.array(["a", "b"])})
    good = key_values(parquet(table))[b"ARROW:schema"]
    for broken in (b"", b"?", good[:20], good[:-40], b"/" * 40):
        output = joined([with_key_values(table, ARROW__schema=broken)], [parquet(predictions(2))])
        assert key_values(output) == {}
        assert table_of(output)["n"].to_pylist() == ["a", "b"]


def check_damaged_arrow_schema(seed):
    """What pyarrow reads with a damaged schema, it reads with the extended one."""
    table = pa.table({"n": pa.array(["a", "b"], pa.large_string())})
    chosen = random.Random(seed)
    broken = bytearray(key_values(parquet(table))[b"ARROW:schema"])
    for _ in range(chosen.randrange(1, 6)):
        broken[chosen.randrange(len(broken))] = chosen.choice(b"A/+aZ")
    data = with_key_values(table, ARROW__schema=bytes(broken))
    output = joined([data], [parquet(predictions(2))])
    try:
        expected = table_of(data)
    except (OSError, pa.ArrowInvalid):
        return
    found = table_of(output)
    assert (found["n"], found["prediction"].to_pylist()) == (expected["n"], [0, 0.25]), seed


def test_damaged_arrow_schemas_change_nothing():
    for seed in range(50):
        check_damaged_arrow_schema(seed)


@pytest.mark.thorough
def test_many_damaged_arrow_schemas_change_nothing():
    for seed in range(50, 10_000):
        check_damaged_arrow_schema(seed)


def test_writers_and_orders_are_named_where_all_agree():
    table = pa.table({"n": [1, 2]})
    data = parquet(table)
    other = with_field(data, names.CREATED_BY, Field(names.CREATED_BY, BINARY, binary_bytes(b"parquet-mr version 1.8.1")))
    unordered = with_field(data, names.COLUMN_ORDERS, None)
    part = parquet(predictions(4))
    mixed = joined([data, other, unordered], [parquet(predictions(6))])
    footer = source("mixed", mixed).footer
    assert pq.ParquetFile(io.BytesIO(mixed)).metadata.created_by == "batch-predict version 1 (build 0)"
    assert names.COLUMN_ORDERS not in footer.struct
    assert table_of(mixed)["n"].to_pylist() == [1, 2] * 3
    same = source("same", joined([data, data], [part])).footer
    assert same.struct[names.CREATED_BY] == source("one", data).footer.struct[names.CREATED_BY]
    assert len(list_of(same.struct[names.COLUMN_ORDERS].value)) == 2


# --- what is refused ------------------------------------------------------------------------------------------------------------


def footer_of(data, uri="s3://bucket/a.parquet"):
    return read_footer(uri, len(data), lambda start, stop: data[start:stop])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not Parquet, or it is truncated"),
        (b"PAR1", "not Parquet, or it is truncated"),
        (b"PAR1PAR1", "not Parquet, or it is truncated"),
        (b"a,b\n1,2\n" * 9, "not Parquet, or it is truncated"),
        (b"PAR1" + b"\xff\xff\xff\x7fPAR1", "a footer of 2147483647 bytes is not in it"),
        (b"PAR1" + b"\0\0\0\0PAR1", "cannot be read: its structure breaks off"),
        (b"PAR1\0\1\0\0\0PAR1", "has no schema, rows or row groups"),
        (b"PAR1" + b"\0" * 20 + b"PARE", "is encrypted"),
    ],
)
def test_what_is_no_parquet_is_refused_with_its_name(data, message):
    with pytest.raises(InvalidDataError, match=f"s3://bucket/a.parquet.*{message}") as refused:
        footer_of(data)
    assert refused.value.advice  # that of the error's name speaks of a place in the data, and there is none


def test_no_truncated_file_is_read_as_if_it_were_whole():
    data = parquet(pa.table({"n": [1, 2], "s": ["a", "b"]}))
    for stop in range(len(data)):
        with pytest.raises(InvalidDataError):
            footer_of(data[:stop])
    start = footer_of(data).start
    for cut_bytes in range(1, len(data) - start - 8):  # the end is there, but not all before it
        content = data[start + cut_bytes : -8]
        with pytest.raises(InvalidDataError):
            list(row_groups_of(footer_of(data[:start] + content + len(content).to_bytes(4, "little") + b"PAR1")))


def damaged(data, seed, start):
    """The file with some bytes from `start` on changed."""
    chosen = random.Random(seed)
    broken = bytearray(data)
    for _ in range(chosen.randrange(1, 6)):
        broken[chosen.randrange(start, len(data) - 8)] = chosen.randrange(256)
    return bytes(broken)


def check_damaged(seed):
    data = parquet(pa.table({"n": [1, 2], "s": ["a", "b"], "l": [[1], []]}), write_page_index=True)
    broken = damaged(data, seed, footer_of(data).start)
    try:
        found = footer_of(broken)
        list(row_groups_of(found))
        joined([broken, broken], [parquet(predictions(4))])
    except (InvalidDataError, IncompleteOutputError, InvalidRequestError):
        pass


def test_damaged_footers_end_with_a_named_error():
    for seed in range(200):
        check_damaged(seed)


@pytest.mark.thorough
def test_many_damaged_footers_end_with_a_named_error():
    for seed in range(200, 20_000):
        check_damaged(seed)


class Kms(pe.KmsClient):
    """Keeps no secrets."""

    def wrap_key(self, key_bytes, master_key_identifier):  # noqa: ARG002
        return key_bytes.hex()

    def unwrap_key(self, wrapped_key, master_key_identifier):  # noqa: ARG002
        return bytes.fromhex(wrapped_key)


@pytest.mark.parametrize("plaintext_footer", [False, True])
def test_encrypted_files_are_refused(plaintext_footer):
    configuration = pe.EncryptionConfiguration("footer", column_keys={"key": ["b"]}, plaintext_footer=plaintext_footer)
    properties = pe.CryptoFactory(lambda _: Kms()).file_encryption_properties(pe.KmsConnectionConfig(), configuration)
    with pytest.raises(InvalidDataError, match=r"s3://bucket/a.parquet is encrypted .*: give the data without it"):
        footer_of(parquet(pa.table({"a": [1], "b": [2]}), encryption_properties=properties))


def with_first_chunk(data, change):
    """The file with the first column chunk of each row group changed, and what is said of its pages."""

    def changed(_, group):
        first, *others = list_of(group[names.COLUMNS].value)
        chunk, _ = read_struct(first)
        meta, _ = read_struct(chunk[names.META_DATA].value)
        chunks = change(chunk, meta)
        chunk[names.META_DATA] = chunk[names.META_DATA]._replace(value=struct_bytes(sorted(meta.values())))
        columns = [struct_bytes(sorted(chunk.values())), *others][:chunks]
        return {**group, names.COLUMNS: Field(names.COLUMNS, LIST, list_bytes(STRUCT, columns))}

    return with_row_groups(data, changed)


def test_footers_that_contradict_themselves_are_refused():
    data = parquet(pa.table({"a": [1, 2], "b": [1, 2]}))
    start = footer_of(data).start
    content = data[start:-8] + b"\0"

    def far(_, meta):
        meta[names.DATA_PAGE] = integer_field(names.DATA_PAGE, I64, start)
        meta[names.DICTIONARY_PAGE] = integer_field(names.DICTIONARY_PAGE, I64, start)

    contradictions = {
        r"its row groups have 2 rows, it says 3": with_field(data, names.NUM_ROWS, integer_field(names.NUM_ROWS, I64, 3)),
        r"a row group has 1 columns, the schema 2": with_first_chunk(data, lambda *_: 1),
        rf"the column a lies at bytes \[{start}, \d+\), outside of the file's data": with_first_chunk(data, far),
        r"1 bytes follow it": data[:start] + content + len(content).to_bytes(4, "little") + b"PAR1",
    }
    for message, broken in contradictions.items():
        with pytest.raises(InvalidDataError, match=f"the Parquet footer of s3://bucket/a.parquet cannot be read: {message}"):
            list(row_groups_of(footer_of(broken)))


def test_data_in_other_files_and_encrypted_columns_are_refused():
    for number, message in [(names.FILE_PATH, "names another file"), (names.CRYPTO_METADATA, "the column a of .* is encrypted")]:
        field = Field(number, BINARY, binary_bytes(b"x")) if number == names.FILE_PATH else Field(number, STRUCT, b"\0")
        broken = with_first_chunk(parquet(pa.table({"a": [1]})), lambda chunk, _, field=field: chunk.update({field.number: field}))
        with pytest.raises(InvalidDataError, match=message):
            list(row_groups_of(footer_of(broken)))


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ({"a": [1], "b": [1]}, {"a": [1]}, r"other does not have the column b \(optional INT64\) of first"),
        ({"a": [1]}, {"a": [1], "b": [1.5]}, r"other has a column b \(optional DOUBLE\) that first does not have"),
        ({"a": [1], "b": [1]}, {"b": [1], "a": [1]}, "other has the column b where first has a"),
        ({"a": [1]}, {"a": ["x"]}, "the column a is optional BYTE_ARRAY STRING in other, but optional INT64 in first"),
        (
            {"a": pa.array([1], pa.timestamp("us"))},
            {"a": pa.array([1], pa.timestamp("ns", "UTC"))},
            r"the column a is optional INT64 TIMESTAMP\(ns, UTC\) in other, but optional INT64 TIMESTAMP\(us, local\) in first",
        ),
        ({"a": [{"x": 1}]}, {"a": [{"x": 1, "y": 2}]}, r"other has a column a.y \(optional INT64\)|the column a is"),
        (
            {"a": pa.array([Decimal(1)], pa.decimal128(5, 2))},
            {"a": pa.array([Decimal(1)], pa.decimal128(5, 1))},
            r"FIXED_LEN_BYTE_ARRAY\(3\) DECIMAL\(5, 1\) in other, but .*DECIMAL\(5, 2\) in first",
        ),
        (
            {"a": [{"x": 1}], "a.y": [1]},
            {"a": [{"x": 1, "y": 1}]},
            "the column a is optional group in other, but optional group in first",
        ),
        ({"a": pa.array([1], pa.uint16())}, {"a": pa.array([1], pa.int32())}, "INT32 in other, but optional INT32 UINT16 in first"),
    ],
)
def test_objects_of_other_schemas_are_refused_by_column_and_types(one, other, message):
    first, second = footer_of(parquet(pa.table(one)), "first"), footer_of(parquet(pa.table(other)), "other")
    assert difference(first, first) is None
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(difference(first, second))
    with pytest.raises(InvalidDataError, match="different schemas"):
        joined([parquet(pa.table(one)), parquet(pa.table(other))], [parquet(predictions(2))])


def test_a_column_that_may_not_be_null_differs():
    nullable, required = (pa.table({"a": [1]}, pa.schema([pa.field("a", pa.int64(), nullable=null)])) for null in (True, False))
    message = difference(footer_of(parquet(nullable), "first"), footer_of(parquet(required), "other"))
    assert message == "the column a is required INT64 in other, but optional INT64 in first"


def test_a_column_of_the_predictions_name_is_refused():
    table = pa.table({"prediction": [{"x": 1}, None]})
    with pytest.raises(InvalidRequestError, match=r"input-0.parquet has a column 'prediction' already: set prediction_column_name"):
        joined([parquet(table)], [parquet(predictions(2))])
    assert column_names(footer_of(parquet(table))) == ["prediction"]
    assert [element.path for element in schema_of(footer_of(parquet(table)))] == ["prediction", "prediction.x"]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([2], r"fewer row groups than the data: s3://bucket/input-0.parquet"),
        ([2, 2, 1], r"more row groups than the data: s3://bucket/part-0.parquet"),
        ([1, 3], "part-0.parquet has 1 predictions for the 2 rows of a row group of s3://bucket/input-0.parquet"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(sizes, message):
    (part,) = split_parts(predictions(sum(sizes)), sizes, [])
    with pytest.raises(IncompleteOutputError, match=message):
        joined([parquet(pa.table({"n": range(4)}))], [part])


def test_a_footer_that_readers_could_not_hold_is_refused(monkeypatch):
    data, part = parquet(pa.table({"n": [1]})), parquet(predictions(1))
    monkeypatch.setattr(names, "MAX_FOOTER_BYTES", max(footer_of(data).size, footer_of(part).size))
    with pytest.raises(InvalidRequestError, match=r"the output's footer would have \d+ bytes.* predict fewer objects at once"):
        joined([data], [part])
    monkeypatch.setattr(names, "MAX_FOOTER_BYTES", 100)
    with pytest.raises(InvalidRequestError, match=r"the footer of \S+ has \d+ bytes"):
        joined([data], [part])


# --- what is read of the objects ------------------------------------------------------------------------------------------------


def test_a_footer_is_read_in_one_request_if_it_is_small_and_in_two_if_not():
    for columns, expected in [(3, 1), (1000, 2)]:
        data = parquet(pa.table({f"column {index}": [1] for index in range(columns)}))
        ranges = []
        footer = read_footer(
            "uri", len(data), lambda start, stop, data=data, ranges=ranges: ranges.append((start, stop)) or data[start:stop]
        )
        assert len(ranges) == expected
        assert footer.start + footer.size == len(data) - 8
        assert ranges[-1][0] <= footer.start or ranges[-1][0] == footer.start


def test_of_bytes_that_do_not_move_nothing_more_is_read():
    data = parquet(pa.table({"n": range(4)}), write_page_index=True)
    part = source("part", parquet(predictions(4), write_page_index=True))
    first = source("input", data)._replace(read=None)
    assert index_span(first.footer)
    assert len(join([first], [part]).pieces) == 2


def test_nulls_are_counted_where_the_writer_did():
    table = pa.table({"n": [1, None, None, 4], "s": ["a", "b", "c", "d"]})
    for options, expected in [({}, [[1, 0], [1, 0]]), ({"write_statistics": ["s"]}, [[None, 0], [None, 0]])]:
        groups = row_groups_of(footer_of(parquet(table, 2, **options)))
        assert [[chunk.null_count for chunk in group.columns] for group in groups] == expected


# --- the encoding ---------------------------------------------------------------------------------------------------------------


def values():
    numbers = st.integers(-(2**63), 2**63 - 1).map(integer_bytes)
    strings = st.binary(max_size=200).map(binary_bytes)
    return st.one_of(
        st.tuples(st.just(I64), numbers),
        st.tuples(st.just(BINARY), strings),
        st.tuples(st.just(LIST), st.lists(numbers, max_size=20).map(lambda items: list_bytes(I64, items))),
        st.tuples(st.sampled_from([1, 2]), st.just(b"")),
    )


@given(st.dictionaries(st.integers(-(2**15), 2**15 - 1), values(), max_size=20))
def test_structs_of_any_fields_are_read_as_they_were_written(fields):
    struct = {number: Field(number, kind, value) for number, (kind, value) in fields.items()}
    written = struct_bytes(struct.values())
    assert read_struct(written + b"more") == (struct, len(written))
    assert skip(written, 0, STRUCT) == len(written)


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers_are_read_as_they_were_written(value):
    assert integer_of(integer_bytes(value)) == value


def test_numbers_that_do_not_change_keep_their_bytes():
    """Some writers take more bytes than a number needs."""
    assert number_edit(lambda value: value)(b"\x82\x80\x00", 0, I64) == (b"\x82\x80\x00", 3)
    assert number_edit(lambda value: value + 1)(b"\x82\x80\x00", 0, I64) == (b"\x04", 3)


def test_structures_without_an_end_are_refused():
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        read_struct(b"\x1c" * 10_000)
    with pytest.raises(IndexError, match="longer than the data"):
        read_struct(b"\x19\xfc\xff\xff\xff\xff\x7f")
    with pytest.raises(ValueError, match="more than 64 bits"):
        integer_of(b"\xff" * 20)
    with pytest.raises(ValueError, match="unknown kind 14"):
        read_struct(b"\x1e\0")
    with pytest.raises(ValueError, match="stands twice"):
        read_struct(b"\x15\x02\x05\x02\x02\0")
