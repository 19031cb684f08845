"""The Arrow schema in a Parquet file's metadata, with more columns.

Arrow's readers take from it what Parquet's own types do not say: categories, time zones, durations, large strings. pyarrow takes
nothing from one whose columns are not those of the file, and loses these types then.

It is a Flatbuffers message. Its references point forwards, as far as is wanted, so a new beginning is enough: it refers to the
descriptions of the columns in the two old messages, which follow it unchanged.
https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format, https://flatbuffers.dev/internals/
"""

import base64
import struct
from collections.abc import Mapping

KEY = b"ARROW:schema"
"""The key of the metadata; the value is in base64."""

_CONTINUATION = b"\xff\xff\xff\xff"
"""Stands before the message's length, but for Arrow before 0.15."""
_ALIGNMENT = 8
_SCHEMA_HEADER = 1
"""The header of a message that is a schema."""
_VTABLE_START = 4
"""Before the offsets of a table's fields in its vtable: two sizes."""

# Message
_VERSION, _HEADER_TYPE, _HEADER = 0, 1, 2
# Schema
_ENDIANNESS, _FIELDS, _METADATA, _FEATURES = 0, 1, 2, 3


def extended_schema(value: bytes, kept: list[bool] | None, more: bytes | None, metadata: Mapping[bytes, bytes]) -> bytes | None:
    """Return the schema, or its columns that are kept, with those of another after them; None if one of them is malformed.

    Metadata replace those of the same keys. Columns of `more` may not be dictionaries: their ids would be those of other columns.
    """
    try:
        return base64.b64encode(_extended(_message(value), kept, _message(more) if more is not None else None, metadata))
    except (struct.error, IndexError, ValueError):
        return None


def _extended(first: bytes, kept: list[bool] | None, more: bytes | None, metadata: Mapping[bytes, bytes]) -> bytes:
    # What the beginning has of every size: 4 bytes root, 12 + 12 bytes message, 12 + 20 bytes schema, then the lists.
    message, schema = _root(first), _schema(first)
    own = _vector(first, schema, _FIELDS)
    fields = [(0, field) for field, keep in zip(own, kept or [True] * len(own), strict=True) if keep]
    fields += [(1, field) for field in _vector(more, _schema(more), _FIELDS)] if more else []
    pairs = {_pair_key(first, pair): pair for pair in _vector(first, schema, _METADATA)}
    new = {key: content for key, content in metadata.items() if key in pairs}
    features = _field(first, schema, _FEATURES)

    fields_at = 60
    pairs_at = fields_at + 4 + 4 * len(fields)
    new_at = pairs_at + 4 + 4 * len(pairs)
    written = bytearray()
    new_pairs: dict[bytes, int] = {}
    for key, content in new.items():
        new_pairs[key] = new_at + len(written) + 8
        written += _pair(key, content)
    first_at = _aligned(new_at + len(written))
    bases = (first_at, _aligned(first_at + len(first)))

    start = bytearray(new_at)
    struct.pack_into("<I", start, 0, 16)
    struct.pack_into("<HHHHHH", start, 4, 10, 12, 8, 10, 4, 0)  # the vtable: its size, the table's, and where the fields are in it
    struct.pack_into("<iIhB", start, 16, 12, 20, _scalar(first, message, _VERSION, "<h"), _SCHEMA_HEADER)
    struct.pack_into("<HHHHHH", start, 28, 12, 20, 16, 4, 8, 12 if features else 0)
    struct.pack_into("<iII", start, 40, 12, fields_at - 44, pairs_at - 48)
    if features:
        struct.pack_into("<I", start, 52, first_at + _reference(first, features) - 52)
    struct.pack_into("<h", start, 56, _scalar(first, schema, _ENDIANNESS, "<h"))
    _pack_vector(start, fields_at, [bases[base] + field for base, field in fields])
    _pack_vector(start, pairs_at, [new_pairs.get(key, first_at + pair) for key, pair in pairs.items()])
    whole = bytes(start) + bytes(written)
    whole = whole.ljust(bases[0], b"\0") + first
    whole = whole.ljust(bases[1], b"\0") + (more or b"")
    whole = whole.ljust(_aligned(len(whole)), b"\0")
    return _CONTINUATION + struct.pack("<I", len(whole)) + whole


def _message(value: bytes) -> bytes:
    """Return the Flatbuffers message in a value; ValueError if it is no schema."""
    content = base64.b64decode(value, validate=True)
    content = content.removeprefix(_CONTINUATION)
    (size,) = struct.unpack_from("<I", content)
    message = content[4 : 4 + size]
    if len(message) < size:
        raise ValueError("the message is not whole")
    if _scalar(message, _root(message), _HEADER_TYPE, "<B") != _SCHEMA_HEADER:
        raise ValueError("the message is no schema")
    return message


def _root(message: bytes) -> int:
    return _reference(message, 0)


def _schema(message: bytes) -> int:
    return _reference(message, _required(message, _root(message), _HEADER))


def _reference(message: bytes, at: int) -> int:
    """Return where a reference points to."""
    (offset,) = struct.unpack_from("<I", message, at)
    if not 0 < offset < len(message) - at:
        raise ValueError("a reference points out of the message")
    return at + int(offset)


def _field(message: bytes, table: int, index: int) -> int | None:
    """Return where a table's field stands; None if it is absent."""
    (back,) = struct.unpack_from("<i", message, table)
    vtable = table - back
    if not 0 <= vtable < len(message):
        raise ValueError("a table's fields are outside of the message")
    (size,) = struct.unpack_from("<H", message, vtable)
    entry = _VTABLE_START + 2 * index
    if entry + 2 > size:
        return None
    (offset,) = struct.unpack_from("<H", message, vtable + entry)
    return table + int(offset) if offset else None


def _required(message: bytes, table: int, index: int) -> int:
    at = _field(message, table, index)
    if at is None:
        raise ValueError("a table lacks a field")
    return at


def _scalar(message: bytes, table: int, index: int, kind: str) -> int:
    at = _field(message, table, index)
    return int(struct.unpack_from(kind, message, at)[0]) if at is not None else 0


def _vector(message: bytes, table: int, index: int) -> list[int]:
    """Return where the elements of a list of tables stand."""
    at = _field(message, table, index)
    if at is None:
        return []
    vector = _reference(message, at)
    (size,) = struct.unpack_from("<I", message, vector)
    if size > len(message):
        raise ValueError("a list is longer than the message")
    return [_reference(message, vector + 4 + 4 * element) for element in range(size)]


def _pair_key(message: bytes, pair: int) -> bytes:
    at = _reference(message, _required(message, pair, 0))
    (size,) = struct.unpack_from("<I", message, at)
    return message[at + 4 : at + 4 + size]


def _pair(key: bytes, value: bytes) -> bytes:
    """Write a pair of strings: its table starts at byte 8."""
    key_string, value_string = _string(key), _string(value)
    table = struct.pack("<iII", 8, 8, 4 + len(key_string))
    return struct.pack("<HHHH", 8, 12, 4, 8) + table + key_string + value_string


def _string(text: bytes) -> bytes:
    written = struct.pack("<I", len(text)) + text + b"\0"
    return written + bytes(-len(written) % 4)


def _pack_vector(start: bytearray, at: int, targets: list[int]) -> None:
    struct.pack_into("<I", start, at, len(targets))
    for index, target in enumerate(targets):
        position = at + 4 + 4 * index
        struct.pack_into("<I", start, position, target - position)


def _aligned(size: int) -> int:
    return size + -size % _ALIGNMENT
