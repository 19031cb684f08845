"""Which of a Parquet file's columns the output has, and where their bytes lie."""

from bisect import bisect_right
from collections.abc import Collection
from itertools import compress, takewhile
from typing import NamedTuple

from ..errors import InvalidRequestError
from .footer import MAGIC, NUM_CHILDREN, SCHEMA, Footer, Span, column_names, row_groups_of, schema_of
from .thrift_compact import STRUCT, integer_of, list_bytes, list_of, number_edit, read_struct, struct_edit

# SortingColumn
_COLUMN_INDEX = 1


class Selection(NamedTuple):
    """For each column of the table, each node and each leaf of the schema whether it is in the output."""

    columns: list[bool]
    elements: list[bool]
    leaves: list[bool]

    def sorting(self, value: bytes) -> bytes:
        """Return what the rows are still sorted by: the columns before the first that is left out, with their new numbers."""
        columns = [(integer_of(read_struct(column)[0][_COLUMN_INDEX].value), column) for column in list_of(value)]
        renumber = struct_edit({_COLUMN_INDEX: number_edit(lambda leaf: sum(self.leaves[:leaf]))})
        kept = takewhile(lambda column: self.leaves[column[0]], columns)
        return list_bytes(STRUCT, [renumber(column, 0, STRUCT)[0] for _, column in kept])


def select(footer: Footer, columns: Collection[str]) -> Selection:
    """Select columns by their names; InvalidRequestError if the table does not have one of them."""
    wanted, names = set(columns), column_names(footer)
    missing = wanted.difference(names)
    if missing:
        raise InvalidRequestError(f"{footer.uri} has no column {min(missing)!r}", "name columns of the data in output_columns")
    elements: list[bool] = []
    leaves: list[bool] = []
    left, kept = 0, False
    for element in schema_of(footer):
        if not left:
            left, kept = 1, element.path in wanted
        left += element.children - 1
        elements.append(kept)
        if not element.children:
            leaves.append(kept)
    return Selection([name in wanted for name in names], elements, leaves)


def selected_schema(footer: Footer, selection: Selection | None, more: list[bytes]) -> bytes:
    """Return the schema of the selected columns, or of all, and of more: those of `more`'s root, which stands first."""
    root, *elements = list_of(footer.struct[SCHEMA].value)
    if selection:
        elements = list(compress(elements, selection.elements))
    added = integer_of(read_struct(more[0])[0][NUM_CHILDREN].value) if more else 0
    left_out = selection.columns.count(False) if selection else 0
    edit = struct_edit({NUM_CHILDREN: number_edit(lambda children: children + added - left_out)})
    root, _ = edit(root, 0, STRUCT)
    return list_bytes(STRUCT, [root, *elements, *more[1:]])


def data_span(footer: Footer) -> Span:
    """Return all bytes that are not the file's own frame."""
    return len(MAGIC), footer.start


def selected_spans(footer: Footer, selection: Selection, groups: Collection[int] | None = None) -> list[Span]:
    """Return the bytes of the selected columns' pages and Bloom filters, of some row groups or of all, in the file's order."""
    edges = [footer.start]
    spans: list[Span] = []
    filters: list[int] = []
    for index, group in enumerate(row_groups_of(footer)):
        is_kept = groups is None or index in groups
        for chunk, kept in zip(group.columns, selection.leaves, strict=True):
            edges += (chunk.pages[0], chunk.bloom_filter or 0)
            edges += (span[0] for span in (chunk.offset_index, chunk.column_index) if span)
            if kept and is_kept:
                spans.append(chunk.pages)
                if chunk.bloom_filter:
                    filters.append(chunk.bloom_filter)
    edges.sort()
    # Many writers do not say where a filter stops: before what follows it.
    spans += [(start, edges[bisect_right(edges, start)]) for start in filters]
    return merged(spans)


def merged(spans: list[Span]) -> list[Span]:
    """Sort spans, and make one of those that touch."""
    result: list[Span] = []
    for start, stop in sorted(span for span in spans if span[0] < span[1]):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(stop, result[-1][1]))
        else:
            result.append((start, stop))
    return result
