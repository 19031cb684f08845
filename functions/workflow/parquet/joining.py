"""The Parquet file that is all input files' bytes, then the predictions' pages, then a footer that points to both.

The bytes before the footers are copied and never looked at. A footer counts from the start of its file, so where the bytes move,
its offsets move along; so do those of offset indexes, which stand among the bytes: they are written once more before the footer.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import accumulate, compress, zip_longest
from typing import NamedTuple, TypeVar

from ..errors import IncompleteOutputError, InvalidDataError, InvalidRequestError
from ..multipart import Piece
from . import footer as names
from .footer import (
    MAGIC,
    ColumnChunk,
    Footer,
    Read,
    RowGroup,
    Span,
    column_names,
    difference,
    malformed,
    require_readable,
    row_groups_of,
)
from .metadata import extended_metadata
from .selection import Selection, data_span, merged, select, selected_schema, selected_spans
from .thrift_compact import (
    BINARY,
    I16,
    I32,
    I64,
    LIST,
    STRUCT,
    Edit,
    Field,
    Struct,
    binary_bytes,
    integer_bytes,
    integer_field,
    integer_of,
    list_bytes,
    list_edit,
    list_of,
    number_edit,
    read_struct,
    skip,
    struct_bytes,
    struct_edit,
)

MAX_ORDINAL = 2**15 - 1
"""A row group's place in its file is 16 bits; only encrypted files need it, so a file with more has none."""
SEVERAL_WRITERS = b"batch-predict version 1 (build 0)"
"""Stands in place of the inputs' writers if they differ. Some readers need one, in this form: fastparquet fails without."""

# OffsetIndex and its PageLocation
_PAGE_LOCATIONS, _PAGE_OFFSET = 1, 1


Group = TypeVar("Group", bytes, RowGroup)


class Source(NamedTuple):
    """A file whose bytes go into the output."""

    footer: Footer
    etag: str
    read: Read
    """Reads a few more bytes of it, if it has page indexes and moves."""
    groups: Collection[int] | None = None
    """Its row groups that the output has; None for all."""


class Joined(NamedTuple):
    """The output: the pieces in their order, then the tail."""

    pieces: list[Piece]
    tail: bytes


def join(inputs: Sequence[Source], parts: Sequence[Source], columns: Collection[str] | None = None) -> Joined:
    """Return the file with the rows of all inputs, their columns of these names, or all, in their order, and those of the parts.

    All row groups of the parts stand beside those of the inputs, one to one; without any part, the inputs are all there is. With
    all columns the first input is at the start of the output, with its bytes where they were. Pieces of any size follow
    (multipart.py).
    """
    if columns is None and any(source.groups is not None for source in inputs):
        columns = column_names(inputs[0].footer)  # bytes are chosen, and not only columns
    require_joinable([source.footer for source in inputs], [source.footer for source in parts], columns)
    selection = select(inputs[0].footer, columns) if columns is not None else None
    spans = [
        selected_spans(source.footer, selection, source.groups) if selection else [data_span(source.footer)] for source in inputs
    ]
    spans[0] = merged([(0, len(MAGIC)), *spans[0]])
    spans += [[data_span(source.footer)] for source in parts]
    indexes = _Indexes(0)
    moved = []
    pieces: list[Piece] = []
    for index, (source, kept) in enumerate(zip([*inputs, *parts], spans, strict=True)):
        moved.append(_Moved(source, kept, indexes, selection if index < len(inputs) else None))
        pieces += [Piece(source.footer.uri, source.etag, start, stop) for start, stop in kept]
        indexes.stop += sum(stop - start for start, stop in kept)
    footer = struct_bytes(_file_fields(moved[: len(inputs)], moved[len(inputs) :], selection))
    require_readable(len(footer), "the output's footer would have")
    tail = b"".join(indexes.written) + footer + len(footer).to_bytes(4, "little") + MAGIC
    return Joined(pieces, tail)


def empty_file() -> bytes:
    """Return a whole file of no rows and no columns: what is there of data that are not there at all."""
    root = struct_bytes([Field(names.NAME, BINARY, binary_bytes(b"schema")), integer_field(names.NUM_CHILDREN, I32, 0)])
    footer = struct_bytes(
        [
            integer_field(names.VERSION, I32, 2),
            Field(names.SCHEMA, LIST, list_bytes(STRUCT, [root])),
            integer_field(names.NUM_ROWS, I64, 0),
            Field(names.ROW_GROUPS, LIST, list_bytes(STRUCT, [])),
            Field(names.CREATED_BY, BINARY, binary_bytes(SEVERAL_WRITERS)),
        ]
    )
    return MAGIC + footer + len(footer).to_bytes(4, "little") + MAGIC


def require_joinable(inputs: Sequence[Footer], parts: Sequence[Footer], columns: Collection[str] | None) -> None:
    """Raise InvalidDataError unless all inputs have one schema, InvalidRequestError if a column of the parts is there already."""
    for kind in (inputs, parts):
        for footer in kind[1:]:
            found = difference(kind[0], footer)
            if found:
                raise InvalidDataError(f"the objects have different schemas: {found}", "give objects of one schema")
    kept = column_names(inputs[0]) if columns is None else columns
    taken = set(kept).intersection(column_names(parts[0])) if parts else set()
    if taken:
        raise InvalidRequestError(
            f"{inputs[0].uri} has a column {min(taken)!r} already", "set prediction_column_name to another name"
        )


def index_span(footer: Footer, *, column_indexes: bool = False) -> Span | None:
    """Return the bytes from the first index to the end of the last: writers put them side by side, before the footer."""
    starts: list[int] = []
    sizes: list[int] = []

    def noted(values: list[int]) -> Edit:
        def note(value: int) -> int:
            values.append(value)
            return value

        return number_edit(note)

    edits = {names.OFFSET_INDEX: noted(starts), names.OFFSET_INDEX_LENGTH: noted(sizes)}
    if column_indexes:
        edits |= {names.COLUMN_INDEX: noted(starts), names.COLUMN_INDEX_LENGTH: noted(sizes)}
    with malformed(footer.uri):
        groups = footer.struct[names.ROW_GROUPS]
        list_edit(struct_edit({names.COLUMNS: list_edit(struct_edit(edits))}))(groups.value, 0, groups.kind)
        spans = [(start, start + size) for start, size in zip(starts, sizes, strict=True) if size]
    return (min(spans)[0], max(stop for _, stop in spans)) if spans else None


class _Indexes:
    """The indexes that are written anew: the offset indexes of bytes that move, and all if some columns are left out."""

    def __init__(self, start: int) -> None:
        self.written: list[bytes] = []
        self.stop = start

    def add(self, index: bytes) -> int:
        """Return where an index will stand."""
        start = self.stop
        self.written.append(index)
        self.stop += len(index)
        return start


class _Moved:
    """A file whose bytes, or some of them, stand elsewhere in the output: one span after the other from where it stops so far."""

    def __init__(self, source: Source, spans: list[Span], indexes: _Indexes, selection: Selection | None) -> None:
        self.source, self.indexes, self.selection = source, indexes, selection
        self.starts, self.stops = [start for start, _ in spans], [stop for _, stop in spans]
        new_starts = accumulate((stop - start for start, stop in spans), initial=indexes.stop)
        self.shifts = [new - start for new, start in zip(new_starts, self.starts, strict=False)]
        self.stay = not any(self.shifts) and selection is None
        self.index_start, self.index_bytes, self.index_length, self.leaf = 0, b"", 0, 0
        self.groups: Iterator[RowGroup] = iter(())
        offset = number_edit(self.moved)
        page_locations = struct_edit({_PAGE_LOCATIONS: list_edit(struct_edit({_PAGE_OFFSET: offset}))})
        meta_data = dict.fromkeys((names.DATA_PAGE, names.INDEX_PAGE, names.DICTIONARY_PAGE, names.BLOOM_FILTER), offset)
        self.chunk = struct_edit(
            {
                names.CHUNK_OFFSET: offset,
                names.META_DATA: struct_edit(meta_data),
                names.OFFSET_INDEX: self.index_edit(page_locations),
                names.OFFSET_INDEX_LENGTH: number_edit(lambda length: self.index_length or length),
                names.COLUMN_INDEX: self.index_edit(struct_edit({})) if selection else offset,
            }
        )

    def row_groups(self) -> Iterator[bytes]:
        """Return the row groups as the file has them; while one is the last returned, what `edited` needs is at hand."""
        footer, some = self.source.footer, self.selection is not None
        span = None if self.stay else index_span(footer, column_indexes=some)
        if span:
            self.index_start, self.index_bytes = span[0], self.source.read(*span)
        self.groups = self.kept(row_groups_of(footer)) if some else iter(())
        yield from self.kept(list_of(footer.struct[names.ROW_GROUPS].value))
        self.index_bytes = b""

    def kept(self, groups: Iterable[Group]) -> Iterator[Group]:
        """Return those that the output has."""
        wanted = self.source.groups
        return (group for index, group in enumerate(groups) if wanted is None or index in wanted)

    def rows(self) -> int:
        """Return how many rows the output has of it."""
        footer = self.source.footer
        return footer.rows if self.source.groups is None else sum(group.rows for group in self.kept(row_groups_of(footer)))

    def edited(self, group: bytes, added: Struct | None) -> Struct:
        """Return a row group with its offsets in the output, and the columns of another; sizes are those without these."""
        self.leaf = 0
        more = list_of(added[names.COLUMNS].value) if added else []
        struct, _ = read_struct(
            group, 0, {names.COLUMNS: list_edit(self.column, more), names.GROUP_OFFSET: number_edit(self.moved)}
        )
        if self.selection:
            self.leave_out(struct, self.selection, next(self.groups).columns)
            if added and not integer_of(struct.get(names.GROUP_OFFSET, added[names.GROUP_OFFSET]).value):
                struct[names.GROUP_OFFSET] = added[names.GROUP_OFFSET]  # no page is left
        return struct

    def leave_out(self, struct: Struct, selection: Selection, columns: list[ColumnChunk]) -> None:
        """Change what a row group says of all of its columns."""
        starts = [chunk.pages[0] for chunk in compress(columns, selection.leaves) if chunk.pages[0]]
        left_out = [chunk for chunk, kept in zip(columns, selection.leaves, strict=True) if not kept]
        compressed = sum(chunk.pages[1] - chunk.pages[0] for chunk in left_out)
        changes: dict[int, Callable[[bytes], bytes]] = {
            names.TOTAL_BYTE_SIZE: lambda size: integer_bytes(integer_of(size) - sum(chunk.uncompressed for chunk in left_out)),
            names.GROUP_COMPRESSED_SIZE: lambda size: integer_bytes(integer_of(size) - compressed),
            names.GROUP_OFFSET: lambda _: integer_bytes(self.moved(min(starts, default=0))),
            names.SORTING_COLUMNS: selection.sorting,
        }
        for number in changes.keys() & struct.keys():
            struct[number] = struct[number]._replace(value=changes[number](struct[number].value))

    def column(self, data: bytes, start: int, kind: int) -> tuple[bytes, int]:
        """Return the next column chunk of a row group with its offsets in the output; nothing if it is left out."""
        leaf, self.leaf = self.leaf, self.leaf + 1
        if self.selection and not self.selection.leaves[leaf]:
            return b"", skip(data, start, kind)
        return self.chunk(data, start, kind)

    def moved(self, offset: int) -> int:
        """Return where a byte stands now. 0 stands for what is absent."""
        span = bisect_right(self.starts, offset) - 1
        return offset + self.shifts[span] if offset > 0 and span >= 0 and offset < self.stops[span] else 0

    def index_edit(self, content: Edit) -> Edit:
        """Write an index anew, unless it stays where it is; the offset becomes where it stands now."""

        def moved_index(offset: int) -> int:
            self.index_length = 0
            if self.stay or not offset:
                return offset
            index, _ = content(self.index_bytes, offset - self.index_start, STRUCT)
            self.index_length = len(index)
            return self.indexes.add(index)

        return number_edit(moved_index)


def _file_fields(inputs: list[_Moved], parts: list[_Moved], selection: Selection | None) -> Iterator[Field]:
    """Return the fields of the footer: the first input's, but for what more rows and columns change."""
    footers, part = [moved.source.footer for moved in inputs], parts[0].source.footer if parts else None
    first, added = footers[0], list_of(part.struct[names.SCHEMA].value) if part else []
    changed: dict[int, Callable[[], bytes | None]] = {
        names.SCHEMA: lambda: selected_schema(first, selection, added),
        names.NUM_ROWS: lambda: integer_bytes(sum(moved.rows() for moved in inputs)),
        names.ROW_GROUPS: lambda: list_bytes(STRUCT, list(_row_groups(inputs, parts))),
        names.KEY_VALUES: lambda: extended_metadata(first, part, selection),
        names.CREATED_BY: lambda: _common(footers, names.CREATED_BY) or binary_bytes(SEVERAL_WRITERS),
        names.COLUMN_ORDERS: lambda: _column_orders(footers, part, selection),
    }
    for field in first.struct.values():
        change = changed.get(field.number)
        with malformed(first.uri):
            value = change() if change else field.value
        if value is not None:
            yield field._replace(value=value)


def _common(footers: list[Footer], number: int) -> bytes | None:
    """Return the value of a field if all have the same."""
    values = {footer.struct[number].value if number in footer.struct else None for footer in footers}
    return values.pop() if len(values) == 1 else None


def _column_orders(footers: list[Footer], part: Footer | None, selection: Selection | None) -> bytes | None:
    """Return the orders of all columns, or none: then no reader relies on the statistics."""
    common = _common(footers, names.COLUMN_ORDERS)
    if common is None or (part and names.COLUMN_ORDERS not in part.struct):
        return None
    orders = list_of(common)
    kept = list(compress(orders, selection.leaves)) if selection else orders
    return list_bytes(STRUCT, kept + (list_of(part.struct[names.COLUMN_ORDERS].value) if part else []))


def _row_groups(inputs: list[_Moved], parts: list[_Moved]) -> Iterator[bytes]:
    """Return the output's row groups: each of an input, with the columns of the one that stands beside it in the parts."""
    ours = ((moved, group) for moved in inputs for group in moved.row_groups())
    theirs = ((moved, group) for moved in parts for group in moved.row_groups())
    if not parts:
        for ordinal, (moved, group) in enumerate(ours):
            with malformed(moved.source.footer.uri):
                yield struct_bytes(list(_group_fields(moved.edited(group, None), {}, ordinal)))
        return
    for ordinal, (mine, other) in enumerate(zip_longest(ours, theirs)):
        if mine is None or other is None:
            uri, which = (mine or other)[0].source.footer.uri, "fewer" if mine else "more"
            raise IncompleteOutputError(f"the predictions have {which} row groups than the data: {uri}")
        (moved, group), (part, part_group) = mine, other
        uri, part_uri = moved.source.footer.uri, part.source.footer.uri
        with malformed(part_uri):
            added = part.edited(part_group, None)
        with malformed(uri):
            extended = moved.edited(group, added)
            rows, predictions = (integer_of(struct[names.GROUP_ROWS].value) for struct in (extended, added))
            if rows != predictions:
                raise IncompleteOutputError(f"{part_uri} has {predictions} predictions for the {rows} rows of a row group of {uri}")
            fields = list(_group_fields(extended, added, ordinal))
        yield struct_bytes(fields)


def _group_fields(group: Struct, added: Struct, ordinal: int) -> Iterator[Field]:
    """Return the fields of a row group with more columns."""
    for field in group.values():
        number, kind, value = field
        if number in {names.TOTAL_BYTE_SIZE, names.GROUP_COMPRESSED_SIZE} and number in added:
            yield integer_field(number, kind, integer_of(value) + integer_of(added[number].value))
        elif number == names.ORDINAL:
            if ordinal <= MAX_ORDINAL:
                yield integer_field(number, I16, ordinal)
        else:
            yield field
