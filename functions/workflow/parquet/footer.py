"""What a Parquet file's footer says: its columns, and where the pages of each lie.

Names of fields are those of https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import zip_longest
from typing import NamedTuple

from ..errors import InvalidDataError, InvalidRequestError
from .thrift_compact import Edit, Struct, binary_of, integer_of, list_edit, list_of, number_edit, read_struct, skip, struct_edit

MAGIC = b"PAR1"
ENCRYPTED_MAGIC = b"PARE"
TAIL_BYTES = 8
_GIVE_WHOLE = "give Parquet; or, if it was cut off, copy it again"
"""The footer's length, then the magic bytes."""
MAX_FOOTER_BYTES = 2**28
"""Readers hold all of it in memory, many times as large, before they read the first row."""
FIRST_READ_BYTES = 2**16
"""Bytes to read from the end of an object: most footers are whole in them."""

# FileMetaData
VERSION, SCHEMA, NUM_ROWS, ROW_GROUPS, KEY_VALUES, CREATED_BY, COLUMN_ORDERS, ENCRYPTION_ALGORITHM, SIGNING_KEY = range(1, 10)
# SchemaElement
TYPE, TYPE_LENGTH, REPETITION, NAME, NUM_CHILDREN, CONVERTED_TYPE, SCALE, PRECISION, LOGICAL_TYPE = 1, 2, 3, 4, 5, 6, 7, 8, 10
# RowGroup
COLUMNS, TOTAL_BYTE_SIZE, GROUP_ROWS, SORTING_COLUMNS, GROUP_OFFSET, GROUP_COMPRESSED_SIZE, ORDINAL = range(1, 8)
# ColumnChunk
FILE_PATH, CHUNK_OFFSET, META_DATA, OFFSET_INDEX, OFFSET_INDEX_LENGTH, COLUMN_INDEX, COLUMN_INDEX_LENGTH = 1, 2, 3, 4, 5, 6, 7
CRYPTO_METADATA, ENCRYPTED_METADATA = 8, 9
# ColumnMetaData
UNCOMPRESSED_SIZE, COMPRESSED_SIZE, DATA_PAGE, INDEX_PAGE, DICTIONARY_PAGE, STATISTICS, BLOOM_FILTER = 6, 7, 9, 10, 11, 12, 14
# Statistics
NULL_COUNT = 3

PHYSICAL_TYPES = ["BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"]
REPETITIONS = ["required", "optional", "repeated"]
LOGICAL_TYPES = {
    1: "STRING", 2: "MAP", 3: "LIST", 4: "ENUM", 5: "DECIMAL", 6: "DATE", 7: "TIME", 8: "TIMESTAMP", 10: "INTEGER", 11: "UNKNOWN",
    12: "JSON", 13: "BSON", 14: "UUID", 15: "FLOAT16", 16: "VARIANT", 17: "GEOMETRY", 18: "GEOGRAPHY",
}  # fmt: skip
CONVERTED_TYPES = [
    "STRING", "MAP", "MAP_KEY_VALUE", "LIST", "ENUM", "DECIMAL", "DATE", "TIME_MILLIS", "TIME_MICROS", "TIMESTAMP_MILLIS",
    "TIMESTAMP_MICROS", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "JSON", "BSON", "INTERVAL",
]  # fmt: skip
"""What stood for logical types before there were any. Where both mean the same, both have one name here."""
UNITS = {1: "ms", 2: "us", 3: "ns"}

Read = Callable[[int, int], bytes]
"""Returns the bytes [start, stop) of one object."""


class Element(NamedTuple):
    """A node of the schema."""

    path: str
    """The names from below the root, with dots between."""
    children: int
    """0 if it is a leaf: one of the columns that have pages."""
    type: str
    """What a message says of it: all that decides how the column's pages are read."""


class Footer(NamedTuple):
    """A file's footer."""

    uri: str
    start: int
    """Where it starts: all bytes of the file before it are of pages, indexes and filters, but for the magic ones."""
    size: int
    """Bytes of the FileMetaData."""
    struct: Struct
    """Its fields, each as it was read."""

    @property
    def rows(self) -> int:
        """The file's rows."""
        return integer_of(self.struct[NUM_ROWS].value)


Span = tuple[int, int]
"""Bytes [start, stop) of the file."""


class ColumnChunk(NamedTuple):
    """One column's bytes of one row group."""

    pages: Span
    uncompressed: int
    """The pages' size before compression."""
    null_count: int | None
    """None if the writer did not count them."""
    offset_index: Span | None
    column_index: Span | None
    bloom_filter: int | None
    """Where it starts; many writers do not say where it stops."""


class RowGroup(NamedTuple):
    """Rows that stand together."""

    rows: int
    columns: list[ColumnChunk]
    """In the order of the schema's leaves."""


def read_footer(uri: str, size: int, read: Read) -> Footer:
    """Return an object's footer; InvalidDataError if it has none, or if no other program can build on this one.

    InvalidRequestError if it is larger than readers can be asked for.
    """
    tail_start = max(0, size - FIRST_READ_BYTES)
    tail = read(tail_start, size)
    if tail.endswith(ENCRYPTED_MAGIC):
        raise encrypted(uri)
    if size < len(MAGIC) + TAIL_BYTES or not tail.endswith(MAGIC):
        what = f"{uri} is not Parquet, or it is truncated: its last bytes are not {MAGIC.decode()}"
        raise InvalidDataError(what, _GIVE_WHOLE)
    length = int.from_bytes(tail[-TAIL_BYTES : -len(MAGIC)], "little")
    start = size - TAIL_BYTES - length
    if start < len(MAGIC):
        what = f"{uri} is truncated, or its end was overwritten: a footer of {length} bytes is not in it"
        raise InvalidDataError(what, _GIVE_WHOLE)
    require_readable(length, f"the footer of {uri} has")
    content = (read(start, tail_start) if start < tail_start else b"") + tail[max(0, start - tail_start) : -TAIL_BYTES]
    with malformed(uri):
        struct, stop = read_struct(content)
        if ENCRYPTION_ALGORITHM in struct or SIGNING_KEY in struct:
            raise encrypted(uri)
        if stop != len(content):
            raise ValueError(f"{len(content) - stop} bytes follow it")
        if not {SCHEMA, NUM_ROWS, ROW_GROUPS} <= struct.keys():
            raise ValueError("it has no schema, rows or row groups")
        return Footer(uri, start, len(content), struct)


def require_readable(footer_bytes: int, what: str) -> None:
    """Raise if a footer is too large, or if several are together: that of the output would be as large."""
    if footer_bytes > MAX_FOOTER_BYTES:
        raise InvalidRequestError(
            f"{what} {footer_bytes} bytes, and readers can be asked for no more than {MAX_FOOTER_BYTES} in one file",
            "predict fewer objects at once, or rewrite them with larger row groups",
        )


def schema_of(footer: Footer) -> list[Element]:
    """Return the nodes of the schema without the root: each before its children, as they stand in the file."""
    with malformed(footer.uri):
        return _elements(footer.struct[SCHEMA].value)


@lru_cache(maxsize=4)  # thousands of objects have one schema
def _elements(schema: bytes) -> list[Element]:
    structs = [read_struct(value)[0] for value in list_of(schema)]
    elements: list[Element] = []
    open_groups = [(_number(structs[0], NUM_CHILDREN), "")]
    for struct in structs[1:]:
        while not open_groups[-1][0]:
            open_groups.pop()
        left, prefix = open_groups[-1]
        open_groups[-1] = (left - 1, prefix)
        path = prefix + binary_of(struct[NAME].value).decode()
        children = _number(struct, NUM_CHILDREN)
        elements.append(Element(path, children, _type_of(struct)))
        if children:
            open_groups.append((children, f"{path}."))
    if any(left for left, _ in open_groups):
        raise ValueError("its schema is not whole")
    return elements


def column_names(footer: Footer) -> list[str]:
    """Return the names of the table's columns: nested ones count once."""
    names, left = [], 0
    for element in schema_of(footer):
        if not left:
            names.append(element.path)
            left = 1
        left += element.children - 1
    return names


def difference(first: Footer, other: Footer) -> str | None:
    """Say where the schema of another object differs from the first one's; None if the same pages mean the same in both."""
    for expected, found in zip_longest(schema_of(first), schema_of(other)):
        if expected is None:
            return f"{other.uri} has a column {found.path} ({found.type}) that {first.uri} does not have"
        if found is None:
            return f"{other.uri} does not have the column {expected.path} ({expected.type}) of {first.uri}"
        if expected.path != found.path:
            return f"{other.uri} has the column {found.path} where {first.uri} has {expected.path}"
        if (expected.type, expected.children) != (found.type, found.children):
            return f"the column {found.path} is {found.type} in {other.uri}, but {expected.type} in {first.uri}"
    return None


def row_groups_of(footer: Footer) -> Iterator[RowGroup]:
    """Return where the row groups' columns lie; InvalidDataError if that is not in this file, or if a column is encrypted."""
    leaves = [element.path for element in schema_of(footer) if not element.children]
    chunk: dict[int, int] = {}
    meta: dict[int, int] = {}
    statistics: dict[int, int] = {}
    columns: list[ColumnChunk] = []
    elsewhere = {number: _presence(chunk, number) for number in (FILE_PATH, CRYPTO_METADATA, ENCRYPTED_METADATA)}
    indexes = (OFFSET_INDEX, OFFSET_INDEX_LENGTH, COLUMN_INDEX, COLUMN_INDEX_LENGTH)
    numbers = (UNCOMPRESSED_SIZE, COMPRESSED_SIZE, DATA_PAGE, DICTIONARY_PAGE, BLOOM_FILTER)
    read_statistics = {STATISTICS: struct_edit({NULL_COUNT: _note(statistics, NULL_COUNT)})}
    read_meta = {META_DATA: struct_edit({number: _note(meta, number) for number in numbers} | read_statistics)}
    read_chunk = struct_edit({number: _note(chunk, number) for number in indexes} | elsewhere | read_meta)

    def column(data: bytes, start: int, kind: int) -> tuple[bytes, int]:
        chunk.clear()
        meta.clear()
        statistics.clear()
        _, stop = read_chunk(data, start, kind)
        columns.append(_column_chunk(footer, leaves[len(columns)], chunk, meta, statistics.get(NULL_COUNT)))
        return b"", stop

    rows = 0
    with malformed(footer.uri):
        for value in list_of(footer.struct[ROW_GROUPS].value):
            columns = []
            struct, _ = read_struct(value, 0, {COLUMNS: list_edit(column)})
            if len(columns) != len(leaves):
                raise ValueError(f"a row group has {len(columns)} columns, the schema {len(leaves)}")
            group = RowGroup(_number(struct, GROUP_ROWS), columns)
            yield group
            rows += group.rows
        if rows != footer.rows:
            raise ValueError(f"its row groups have {rows} rows, it says {footer.rows}")


def encrypted(uri: str, column: str | None = None) -> InvalidDataError:
    """Return the error of data that nobody here has the keys of."""
    which = f"the column {column} of {uri} is" if column else f"{uri} is"
    return InvalidDataError(
        f"{which} encrypted (Parquet modular encryption)", "give the data without it: S3 can encrypt objects itself"
    )


@contextmanager
def malformed(uri: str) -> Iterator[None]:
    """Name the object whose footer cannot be read."""
    try:
        yield
    except InvalidDataError:
        raise
    except (IndexError, KeyError, ValueError) as error:
        reason = str(error) if type(error) is ValueError else "its structure breaks off"
        raise InvalidDataError(
            f"the Parquet footer of {uri} cannot be read: {reason}", "copy the file again, or write it anew"
        ) from error


def _number(struct: Struct, number: int) -> int:
    """Return a number that is never negative, 0 if it is absent."""
    value = integer_of(struct[number].value) if number in struct else 0
    if value < 0:
        raise ValueError(f"it says {value} where no number is negative")
    return value


def _note(numbers: dict[int, int], number: int) -> Edit:
    """Keep a number while it is passed."""

    def note(value: int) -> int:
        numbers[number] = value
        return value

    return number_edit(note)


def _presence(numbers: dict[int, int], number: int) -> Edit:
    """Keep that a field is there."""

    def note(data: bytes, start: int, kind: int) -> tuple[bytes, int]:
        numbers[number] = 1
        return b"", skip(data, start, kind)

    return note


def _column_chunk(footer: Footer, name: str, chunk: dict[int, int], meta: dict[int, int], null_count: int | None) -> ColumnChunk:
    if CRYPTO_METADATA in chunk or ENCRYPTED_METADATA in chunk:
        raise encrypted(footer.uri, name)
    if FILE_PATH in chunk:
        raise InvalidDataError(
            f"{footer.uri} holds no pages of the column {name}, but names another file", "give the data themselves"
        )
    # A row group without rows may have no data page, or no page at all; some writers say 0 of a dictionary that there is not.
    offsets = [meta[number] for number in (DATA_PAGE, DICTIONARY_PAGE) if meta.get(number)]
    size = meta.get(COMPRESSED_SIZE, 0)
    return ColumnChunk(
        _span(footer, name, min(offsets, default=0), size) if size else (0, 0),
        meta.get(UNCOMPRESSED_SIZE, 0),
        null_count,
        _index(footer, name, chunk, OFFSET_INDEX, OFFSET_INDEX_LENGTH),
        _index(footer, name, chunk, COLUMN_INDEX, COLUMN_INDEX_LENGTH),
        meta.get(BLOOM_FILTER) or None,
    )


def _index(footer: Footer, name: str, chunk: dict[int, int], offset: int, length: int) -> Span | None:
    size = chunk.get(length)
    return _span(footer, name, chunk.get(offset, 0), size) if size else None


def _span(footer: Footer, name: str, start: int, size: int) -> Span:
    if not len(MAGIC) <= start <= start + size <= footer.start:
        raise ValueError(f"the column {name} lies at bytes [{start}, {start + size}), outside of the file's data")
    return start, start + size


def _type_of(struct: Struct) -> str:
    """Return the words for a node's type; two that are read differently differ."""
    physical = _word(PHYSICAL_TYPES, struct, TYPE) if TYPE in struct else "group"
    logical = ""
    if LOGICAL_TYPE in struct:
        logical = _logical_type(struct[LOGICAL_TYPE].value)
    elif CONVERTED_TYPE in struct:
        logical = _word(CONVERTED_TYPES, struct, CONVERTED_TYPE)
        logical += f"({_number(struct, PRECISION)}, {_number(struct, SCALE)})" if logical == "DECIMAL" else ""
    length = f"({_number(struct, TYPE_LENGTH)})" if physical == "FIXED_LEN_BYTE_ARRAY" else ""
    words = [_word(REPETITIONS, struct, REPETITION) if REPETITION in struct else "", physical + length]
    return " ".join(word for word in [*words, logical if logical != physical else ""] if word)


def _word(words: list[str], struct: Struct, number: int) -> str:
    value = _number(struct, number)
    return words[value] if value < len(words) else f"{value}"


def _logical_type(union: bytes) -> str:
    """Return a logical type with its parameters."""
    ((number, _, value),) = read_struct(union)[0].values()
    name = LOGICAL_TYPES.get(number, f"logical type {number}")
    parameters, _ = read_struct(value)
    if name == "DECIMAL":
        return f"{name}({_number(parameters, 2)}, {_number(parameters, 1)})"
    if name in {"TIME", "TIMESTAMP"}:
        (unit,) = read_struct(parameters[2].value)[0]
        return f"{name}({UNITS.get(unit, unit)}, {'UTC' if parameters[1].kind == 1 else 'local'})"
    if name == "INTEGER":
        bits = parameters[1].value[0]
        return f"{'' if parameters[2].kind == 1 else 'U'}INT{bits}"
    return name if not parameters else f"{name}({value.hex()})"
