"""Thrift's compact protocol: structs are read without knowing all of their fields, and written again with some values changed.

What is not edited keeps its bytes, so fields that nobody here knows survive. Malformed data are an IndexError or a ValueError.
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT, UUID = range(1, 14)
"""The kinds of values."""

_FIXED_BYTES = {TRUE: 1, FALSE: 1, BYTE: 1, DOUBLE: 8, UUID: 16}
"""Sizes within lists and maps; a field's boolean is its kind, and takes no byte of its own."""

MAX_DEPTH = 64
"""Structs and lists within each other; Parquet's footer has 7."""

_MAX_VARINT_BITS = 64


class Field(NamedTuple):
    """A field of a struct; a boolean's value is its kind."""

    number: int
    kind: int
    value: bytes


Struct = dict[int, Field]
"""Fields by their numbers, in their order."""

Edit = Callable[[bytes, int, int], tuple[bytes, int]]
"""Takes data, where a value starts in them, and its kind; returns the bytes to write instead, and where the value stops."""


def read_struct(data: bytes, start: int = 0, edits: Mapping[int, Edit] | None = None) -> tuple[Struct, int]:
    """Return the struct that starts there, and where it stops; fields with an edit have the edited value."""
    struct: Struct = {}
    number, at = 0, start
    while data[at]:
        number, kind, at = _field_header(data, at, number)
        if number in struct:
            raise ValueError(f"field {number} stands twice in a struct")
        edit = edits.get(number) if edits else None
        if edit:
            value, at = edit(data, at, kind)
        else:
            stop = at if kind <= FALSE else skip(data, at, kind)
            value, at = data[at:stop], stop
        struct[number] = Field(number, kind, value)
    return struct, at + 1


def struct_bytes(fields: Iterable[Field]) -> bytes:
    """Write a struct."""
    written: list[bytes] = []
    last = 0
    for number, kind, value in fields:
        delta = number - last
        header = bytes([delta << 4 | kind]) if 0 < delta < 16 else bytes([kind]) + integer_bytes(number)
        written += (header, value)
        last = number
    return b"".join([*written, b"\0"])


def integer_of(value: bytes) -> int:
    """Return a number that stands alone."""
    return _zigzag(value, 0)[0]


def integer_bytes(value: int) -> bytes:
    """Write a number."""
    return _varint_bytes(value << 1 if value >= 0 else (-value << 1) - 1)


def integer_field(number: int, kind: int, value: int) -> Field:
    """Return a field with a number."""
    return Field(number, kind, integer_bytes(value))


def binary_of(value: bytes) -> bytes:
    """Return the bytes of a string."""
    size, at = _varint(value, 0)
    return value[at : at + size]


def binary_bytes(content: bytes) -> bytes:
    """Write a string."""
    return _varint_bytes(len(content)) + content


def list_of(value: bytes) -> list[bytes]:
    """Return the elements of a list."""
    size, kind, at = _list_header(value, 0)
    elements = []
    for _ in range(size):
        stop = skip(value, at, kind)
        elements.append(value[at:stop])
        at = stop
    return elements


def list_bytes(kind: int, elements: list[bytes]) -> bytes:
    """Write a list."""
    size = len(elements)
    header = bytes([size << 4 | kind]) if size < 15 else bytes([0xF0 | kind]) + _varint_bytes(size)
    return header + b"".join(elements)


def number_edit(change: Callable[[int], int]) -> Edit:
    """Change a number; it keeps its bytes if it stays what it is."""

    def edit(data: bytes, start: int, kind: int) -> tuple[bytes, int]:
        if not I16 <= kind <= I64:
            raise ValueError(f"a field is of kind {kind} where a number belongs")
        value, stop = _zigzag(data, start)
        changed = change(value)
        return (data[start:stop] if changed == value else integer_bytes(changed)), stop

    return edit


def struct_edit(edits: Mapping[int, Edit]) -> Edit:
    """Change fields of a struct."""

    def edit(data: bytes, start: int, kind: int) -> tuple[bytes, int]:
        if kind != STRUCT:
            raise ValueError(f"a value is of kind {kind} where a struct belongs")
        written: list[bytes] = []
        number, at, copied = 0, start, start
        while data[at]:
            number, kind, at = _field_header(data, at, number)
            inner = edits.get(number)
            if inner:
                value, stop = inner(data, at, kind)
                written += (data[copied:at], value)
                at = copied = stop
            elif kind > FALSE:
                at = skip(data, at, kind)
        written.append(data[copied : at + 1])
        return b"".join(written), at + 1

    return edit


def list_edit(element: Edit, more: list[bytes] | None = None) -> Edit:
    """Change all elements of a list, leave out those that become nothing, and append more."""

    def edit(data: bytes, start: int, kind: int) -> tuple[bytes, int]:
        if kind != LIST:
            raise ValueError(f"a value is of kind {kind} where a list belongs")
        size, element_kind, at = _list_header(data, start)
        elements = []
        for _ in range(size):
            value, at = element(data, at, element_kind)
            if value:
                elements.append(value)
        return list_bytes(element_kind, elements + (more or [])), at

    return edit


def skip(data: bytes, at: int, kind: int, depth: int = MAX_DEPTH) -> int:
    """Return where a value stops. A boolean here is one in a list or map."""
    if I16 <= kind <= I64:
        while data[at] > 127:
            at += 1
        return at + 1
    if kind == BINARY:
        size, at = _varint(data, at)
        return at + size
    if kind in _FIXED_BYTES:
        return at + _FIXED_BYTES[kind]
    if not depth:
        raise ValueError(f"values are nested more than {MAX_DEPTH} deep")
    if kind == STRUCT:
        return _skip_struct(data, at, depth - 1)
    if kind in (LIST, SET):
        size, element_kind, at = _list_header(data, at)
        kinds = [element_kind]
    elif kind == MAP:
        size, at = _varint(data, at)
        if not size:
            return at
        kinds, at = [data[at] >> 4, data[at] & 15], at + 1
    else:
        raise ValueError(f"a value is of the unknown kind {kind}")
    for _ in range(size):
        for part in kinds:
            at = skip(data, at, part, depth - 1)
    return at


def _skip_struct(data: bytes, at: int, depth: int) -> int:
    """Return where a struct stops."""
    header = data[at]
    while header:
        at += 1
        if header < 16:  # the number stands in full
            _, at = _zigzag(data, at)
        kind = header & 15
        if I16 <= kind <= I64:  # the most frequent by far: a footer of a million column chunks has twenty million
            while data[at] > 127:
                at += 1
            at += 1
        elif kind > FALSE:
            at = skip(data, at, kind, depth)
        header = data[at]
    return at + 1


def _field_header(data: bytes, at: int, last: int) -> tuple[int, int, int]:
    """Return a field's number and kind, and where its value starts."""
    header = data[at]
    if header > 15:
        return last + (header >> 4), header & 15, at + 1
    number, at = _zigzag(data, at + 1)
    return number, header, at


def _list_header(data: bytes, at: int) -> tuple[int, int, int]:
    """Return a list's length and the kind of its elements, and where they start."""
    header = data[at]
    size, at = (header >> 4, at + 1) if header < 0xF0 else _varint(data, at + 1)
    if size > len(data):  # no element is smaller than a byte
        raise IndexError("a list is longer than the data")
    return size, header & 15, at


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    if byte < 128:
        return byte, at + 1
    value, bits = byte & 127, 7
    while byte > 127:
        at += 1
        byte = data[at]
        value |= (byte & 127) << bits
        bits += 7
        if bits > _MAX_VARINT_BITS + 6:
            raise ValueError("a number has more than 64 bits")
    return value, at + 1


def _varint_bytes(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)
