"""Reads shared libraries for any processor: removes their symbol tables, and says what they need to load.

The dynamic loader reads segments; symbol tables lie in sections behind the last of them. So the file is cut there, and its header
says that there are no sections. `strip` moves segments, which breaks libraries that patchelf has changed ("ELF load command
address/offset not page-aligned"), and knows one processor alone; pyelftools finds versions of symbols by the sections.
"""

import struct
from pathlib import Path
from typing import NamedTuple

MACHINES = {183: "arm64", 62: "x86_64"}
"""e_machine, by Lambda's names: https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html"""
_HEADER_BYTES = 64
_LOAD, _DYNAMIC = 1, 2
_SEGMENT = struct.Struct("<IIQQQQQQ")
"""p_type, p_flags, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align"""


class ElfError(ValueError):
    """Not a shared library that the dynamic loader would take."""


class Segment(NamedTuple):
    """A part of the file that is read when the library is loaded."""

    kind: int
    offset: int
    address: int
    size: int
    """Bytes in the file."""
    alignment: int


class Needs(NamedTuple):
    """What the dynamic loader reads of a library before it runs any of its code."""

    libraries: list[str]
    """Names of files that it looks for."""
    folders: list[str]
    """Folders that the loader searches first; `$ORIGIN` is the library's own folder."""
    versions: dict[str, list[str]]
    """Versions of symbols that each of the libraries must have, such as GLIBC_2.34."""
    own_versions: list[str]
    """Versions of symbols that it has itself."""


def machine(content: bytes) -> str:
    """Return Lambda's name of the processor. Raises ElfError if Lambda has no such processor."""
    number = struct.unpack_from("<H", content, 18)[0]
    if number not in MACHINES:
        raise ElfError(f"machine {number} is not one of Lambda's")
    return MACHINES[number]


def segments(content: bytes) -> list[Segment]:
    """Return the segments. Raises ElfError if one is cut off, or not aligned as the loader demands."""
    if content[:6] != b"\x7fELF\x02\x01" or len(content) < _HEADER_BYTES:  # as both of Lambda's processors have it
        raise ElfError("no 64-bit little-endian ELF file")
    table = struct.unpack_from("<Q", content, 32)[0]
    entry_size, count = struct.unpack_from("<HH", content, 54)
    if not count or entry_size != _SEGMENT.size or table + count * entry_size > len(content):
        raise ElfError("its table of segments is cut off")
    found = []
    for index in range(count):
        kind, _, offset, address, _, size, _, alignment = _SEGMENT.unpack_from(content, table + index * entry_size)
        if kind == _LOAD and alignment > 1 and (address - offset) % alignment:
            raise ElfError(f"segment {index} is not aligned")
        if size and offset + size > len(content):
            raise ElfError(f"segment {index} is cut off")
        found.append(Segment(kind, offset, address, size, alignment))
    return found


def trimmed(content: bytes) -> bytes:
    """Return a library without what lies behind its last segment. Raises ElfError if it is no proper library, before or after."""
    table = struct.unpack_from("<Q", content, 32)[0] if len(content) >= _HEADER_BYTES else 0
    before = segments(content)
    end = max([_HEADER_BYTES, table + _SEGMENT.size * len(before), *(segment.offset + segment.size for segment in before)])
    header = bytearray(content[:_HEADER_BYTES])
    struct.pack_into("<Q", header, 40, 0)  # e_shoff
    struct.pack_into("<HH", header, 60, 0, 0)  # e_shnum, e_shstrndx
    result = bytes(header) + content[_HEADER_BYTES:end]
    if segments(result) != before:
        raise ElfError("its segments changed")
    return result


def trim_file(path: Path) -> int:
    """Trim a file in place, and return the bytes gained; a file that is no proper library stays as it is."""
    content = path.read_bytes()
    try:
        shorter = trimmed(content)
    except ElfError:
        return 0
    if len(shorter) < len(content):
        path.write_bytes(shorter)
    return len(content) - len(shorter)


# https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.dynamic.html
_NEEDED, _STRINGS, _RPATH, _RUNPATH = 1, 5, 15, 29
# https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/symversion.html
_VERSIONS, _VERSIONS_COUNT, _NEEDED_VERSIONS, _NEEDED_VERSIONS_COUNT = 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF


def needs(content: bytes) -> Needs:
    """Return what a library needs to load. Raises ElfError if the loader could not read it either."""
    parts = segments(content)
    try:
        return _needs(content, parts)
    except (struct.error, ValueError, LookupError, StopIteration) as error:
        raise ElfError(f"what it needs cannot be read ({error})") from error


def _needs(content: bytes, parts: list[Segment]) -> Needs:
    def place(address: int) -> int:
        return next(
            address - part.address + part.offset
            for part in parts
            if part.kind == _LOAD and part.address <= address < part.address + part.size
        )

    def text(offset: int) -> str:
        start = place(entries[_STRINGS][0]) + offset
        return content[start : content.index(b"\0", start)].decode()

    entries: dict[int, list[int]] = {}
    for dynamic in (part for part in parts if part.kind == _DYNAMIC):
        for tag, value in struct.iter_unpack("<QQ", content[dynamic.offset : dynamic.offset + dynamic.size]):
            entries.setdefault(tag, []).append(value)
    versions: dict[str, list[str]] = {}
    position = place(entries[_NEEDED_VERSIONS][0]) if _NEEDED_VERSIONS in entries else 0
    for _ in range(entries.get(_NEEDED_VERSIONS_COUNT, [0])[0]):
        _, count, file, first, following = struct.unpack_from("<HHIII", content, position)
        names, at = versions.setdefault(text(file), []), position + first
        for _ in range(count):
            *_, name, next_name = struct.unpack_from("<IHHII", content, at)
            names.append(text(name))
            at += next_name
        position += following
    own = []
    position = place(entries[_VERSIONS][0]) if _VERSIONS in entries else 0
    for _ in range(entries.get(_VERSIONS_COUNT, [0])[0]):
        *_, first, following = struct.unpack_from("<HHHHIII", content, position)
        own.append(text(struct.unpack_from("<I", content, position + first)[0]))
        position += following
    paths = [text(offset) for tag in (_RPATH, _RUNPATH) for offset in entries.get(tag, ())]
    folders = [folder for path in paths for folder in path.split(":") if folder]
    return Needs([text(offset) for offset in entries.get(_NEEDED, ())], folders, versions, own)
