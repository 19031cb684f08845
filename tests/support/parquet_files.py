"""Parquet files in memory: written, joined with predictions, and looked at page by page."""

import io
from itertools import accumulate, pairwise

import pyarrow as pa
import pyarrow.parquet as pq

from workflow.parquet import footer as names
from workflow.parquet.footer import read_footer, row_groups_of
from workflow.parquet.joining import Source, join
from workflow.parquet.thrift_compact import (
    I16,
    STRUCT,
    integer_field,
    integer_of,
    list_bytes,
    list_of,
    read_struct,
    struct_bytes,
)


def parquet(table, rows=2, **options):
    """A file of row groups with so many rows."""
    written = io.BytesIO()
    pq.write_table(table, written, row_group_size=rows, **options)
    return written.getvalue()


def source(uri, data):
    def read(start, stop):
        return data[start:stop]

    return Source(read_footer(uri, len(data), read), f'"{uri}"', read)


def joined(inputs, parts, columns=None):
    """The output's bytes; it stands in the test that a piece of the output is the piece of the object that it is said to be."""
    objects = {f"s3://bucket/input-{index}.parquet": data for index, data in enumerate(inputs)}
    objects |= {f"s3://bucket/part-{index}.parquet": data for index, data in enumerate(parts)}
    sources = [source(uri, data) for uri, data in objects.items()]
    result = join(sources[: len(inputs)], sources[len(inputs) :], columns)
    return b"".join(objects[piece.uri][piece.start : piece.stop] for piece in result.pieces) + result.tail


def table_of(data, **options):
    """What pyarrow reads, each column in one piece."""
    return pq.read_table(io.BytesIO(data), **options).combine_chunks()


def predictions(rows, name="prediction"):
    return pa.table({name: pa.array([row / 4 for row in range(rows)], pa.float64())})


def split_parts(table, row_group_rows, cuts, **options):
    """Parts of the table with the row groups that the data have, some in each part."""
    ends = list(accumulate(row_group_rows, initial=0))
    edges = sorted({0, len(row_group_rows), *(cut for cut in cuts if cut < len(row_group_rows))})
    for first, last in pairwise(edges):
        written = io.BytesIO()
        with pq.ParquetWriter(written, table.schema, **options) as writer:
            for start, stop in zip(ends[first:last], ends[first + 1 : last + 1], strict=True):
                writer.write_table(table.slice(start, stop - start), row_group_size=max(1, stop - start))
        yield written.getvalue()


def row_group_rows(data):
    return [group.rows for group in row_groups_of(source("file", data).footer)]


def pages_of_indexes(data):
    """Of each column chunk, by row group, what its offset index points to: the bytes of its data pages with their headers."""
    footer = source("file", data).footer
    for group in row_groups_of(footer):
        yield [list(_pages(data, chunk.offset_index)) for chunk in group.columns]


def _pages(data, index):
    if index:
        struct, _ = read_struct(data[slice(*index)])
        for location in list_of(struct[1].value):
            fields, _ = read_struct(location)
            offset, size = integer_of(fields[1].value), integer_of(fields[2].value)
            header, start = read_struct(data, offset)
            assert integer_of(header[3].value) == offset + size - start, "an offset index points to no page"
            yield data[offset : offset + size]


def chunk_bytes(data):
    """Of each row group, the bytes of each column's pages."""
    footer = source("file", data).footer
    return [[data[slice(*chunk.pages)] for chunk in group.columns] for group in row_groups_of(footer)]


def side_bytes(data):
    """Of each row group, the bytes of each column's own index and Bloom filter."""
    footer = source("file", data).footer
    metadata = pq.ParquetFile(io.BytesIO(data)).metadata
    for number, group in enumerate(row_groups_of(footer)):
        columns = [metadata.row_group(number).column(index) for index in range(metadata.num_columns)]
        starts = [(column.bloom_filter_offset or 0, column.bloom_filter_length or 0) for column in columns]
        indexes = [chunk.column_index or (0, 0) for chunk in group.columns]
        yield [(data[slice(*index)], data[at : at + size]) for index, (at, size) in zip(indexes, starts, strict=True)]


def key_values(data):
    """The file's metadata, as pyarrow reads them."""
    return pq.ParquetFile(io.BytesIO(data)).metadata.metadata or {}


def with_field(data, number, field):
    """The file with a field of its footer replaced by another, or without it."""
    footer = source("file", data).footer
    fields = {**footer.struct, number: field}
    if field is None:
        del fields[number]
    content = struct_bytes(fields[key] for key in sorted(fields))
    return data[: footer.start] + content + len(content).to_bytes(4, "little") + names.MAGIC


def with_row_groups(data, change):
    """The file with each row group's struct changed."""
    field = source("file", data).footer.struct[names.ROW_GROUPS]
    groups = [change(index, read_struct(group)[0]) for index, group in enumerate(list_of(field.value))]
    value = list_bytes(STRUCT, [struct_bytes(group[key] for key in sorted(group)) for group in groups])
    return with_field(data, names.ROW_GROUPS, field._replace(value=value))


def with_ordinals(data):
    """The file as the writers leave it that number row groups; pyarrow does not."""
    return with_row_groups(data, lambda index, group: {**group, names.ORDINAL: integer_field(names.ORDINAL, I16, index)})


def ordinals(data):
    groups = [group for group, _, _ in structs(data)]
    return [integer_of(group[names.ORDINAL].value) if names.ORDINAL in group else None for group in groups]


def structs(data):
    """Of each row group its fields, and those of its first column and of that one's metadata."""
    for value in list_of(source("file", data).footer.struct[names.ROW_GROUPS].value):
        group, _ = read_struct(value)
        chunk, _ = read_struct(list_of(group[names.COLUMNS].value)[0])
        yield group, chunk, read_struct(chunk[names.META_DATA].value)[0]
