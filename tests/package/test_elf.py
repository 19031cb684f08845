"""Trimmed libraries load, whatever patchelf did to them; what is no proper library stays as it is."""

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tools import elf

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the libraries installed here are no ELF files")


SITE_PACKAGES = Path(np.__file__).parents[1]


@pytest.fixture(scope="module")
def library():
    """A large one with a symbol table."""
    return next(SITE_PACKAGES.glob("pyarrow/libarrow.so.*")).read_bytes()


@pytest.mark.parametrize(
    ("folder", "name", "function", "gained"),
    [
        ("pyarrow", "libarrow.so.*", "_ZN5arrow24GetCpuThreadPoolCapacityEv", 5_000_000),
        ("numpy.libs", "libscipy_openblas*", "scipy_openblas_get_num_threads64_", 0),  # what `strip` makes of it does not load
    ],
)
def test_a_trimmed_library_loads(tmp_path, folder, name, function, gained):
    directory = shutil.copytree(
        SITE_PACKAGES / folder, tmp_path / folder, ignore=lambda _, names: [n for n in names if ".so" not in n]
    )
    assert sum(elf.trim_file(path) for path in directory.iterdir()) >= gained
    path = next(directory.glob(name))
    program = "import ctypes, sys; print(bool(getattr(ctypes.CDLL(sys.argv[1]), sys.argv[2])))"
    done = subprocess.run([sys.executable, "-I", "-c", program, path, function], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_no_byte_of_a_segment_changes(library):
    trimmed = elf.trimmed(library)
    assert len(trimmed) < len(library)
    assert elf.segments(trimmed) == elf.segments(library)
    assert trimmed[64:] == library[64 : len(trimmed)]
    assert trimmed[:40] == library[:40]
    assert trimmed[48:60] == library[48:60]
    assert trimmed[40:48] + trimmed[60:64] == bytes(12)  # no sections
    assert all(segment.offset + segment.size <= len(trimmed) for segment in elf.segments(trimmed))


def test_trimming_twice_is_trimming_once(library):
    trimmed = elf.trimmed(library)
    assert elf.trimmed(trimmed) == trimmed


def program_headers(content):
    return struct.unpack_from("<Q", content, 32)[0]


def misaligned(content):
    """Its second LOAD segment begins a byte later, as after an unlucky strip."""
    at = [program_headers(content) + 56 * index for index, segment in enumerate(elf.segments(content)) if segment.kind == 1][1]
    broken = bytearray(content)
    struct.pack_into("<Q", broken, at + 8, struct.unpack_from("<Q", content, at + 8)[0] + 1)
    return bytes(broken)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (misaligned, "not aligned"),
        (lambda content: content[: len(content) // 2], "cut off"),
        (lambda content: content[:70], "table of segments is cut off"),
        (lambda content: content[:20], "no 64-bit little-endian ELF file"),
        (lambda _: b"GROUP ( libarrow.so.2600 )", "no 64-bit little-endian ELF file"),
        (lambda content: content[:4] + b"\x01" + content[5:], "no 64-bit little-endian ELF file"),
        (lambda content: content[:5] + b"\x02" + content[6:], "no 64-bit little-endian ELF file"),
        (lambda content: content[:56] + b"\0\0" + content[58:], "table of segments is cut off"),
    ],
)
def test_what_is_no_proper_library_stays_as_it_is(library, tmp_path, damage, problem):
    path = tmp_path / "broken.so"
    path.write_bytes(damage(library))
    assert elf.trim_file(path) == 0
    assert path.read_bytes() == damage(library)
    with pytest.raises(elf.ElfError, match=problem):
        elf.segments(path.read_bytes())


def test_a_processor_has_lambdas_name(library):
    assert elf.machine(library[:18] + struct.pack("<H", 62) + library[20:]) == "x86_64"
    assert elf.machine(library[:18] + struct.pack("<H", 183) + library[20:]) == "arm64"
    with pytest.raises(elf.ElfError, match="machine 8 "):
        elf.machine(library[:18] + struct.pack("<H", 8) + library[20:])
