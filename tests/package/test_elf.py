"""Trimmed libraries load, whatever patchelf did to them; what is no proper library stays as it is."""

import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from batch_predict.setup import elf

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
        (lambda _: b"GROUP ( libarrow.so.2600 )", "no 64-bit little-endian ELF file"),
        (lambda content: content[:4] + b"\x01" + content[5:], "no 64-bit little-endian ELF file"),
    ],
)
def test_what_is_no_proper_library_stays_as_it_is(library, tmp_path, damage, problem):
    path = tmp_path / "broken.so"
    path.write_bytes(damage(library))
    assert elf.trim_file(path) == 0
    assert path.read_bytes() == damage(library)
    with pytest.raises(elf.ElfError, match=problem):
        elf.segments(path.read_bytes())


@pytest.mark.skipif(shutil.which("readelf") is None, reason="no readelf to compare with")
@pytest.mark.parametrize(
    "pattern", ["pyarrow/lib.*.so", "pyarrow/libarrow.so.*", "numpy.libs/*", "lightgbm/lib/*.so", "sklearn/svm/*.so"]
)
def test_a_librarys_needs_are_what_readelf_says(pattern):
    paths = sorted(SITE_PACKAGES.glob(pattern))
    for path in paths:
        for content in (path, None):
            found = elf.needs(path.read_bytes() if content else elf.trimmed(path.read_bytes()))  # without sections, as deployed
            said = subprocess.run(["readelf", "-dVW", path], capture_output=True, text=True, check=True).stdout
            assert found.libraries == re.findall(r"\(NEEDED\).*\[(.*)\]", said)
            assert found.folders == [
                folder for line in re.findall(r"\(R(?:UN)?PATH\).*\[(.*)\]", said) for folder in line.split(":")
            ]
            needed = said.partition("Version needs section")[2]
            files = re.split(r"File: ", needed)[1:]
            assert found.versions == {part.split()[0]: re.findall(r"Name: (\S+)  Flags", part) for part in files}
            defined = said.partition("Version definition section")[2].partition("Version needs section")[0]
            assert found.own_versions == re.findall(r"Cnt: \d+  Name: (\S+)", defined)
    assert paths


def test_needs_that_cannot_be_read_are_named(library):
    [dynamic] = [segment for segment in elf.segments(library) if segment.kind == 2]
    broken = bytearray(library)
    struct.pack_into("<QQ", broken, dynamic.offset, 1, 2**40)  # a name beyond the end
    with pytest.raises(elf.ElfError, match="cannot be read"):
        elf.needs(bytes(broken))
