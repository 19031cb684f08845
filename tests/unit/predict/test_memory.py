"""Memory that is freed stays with the process once the kernel is loaded."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource, sys
import numpy as np

for library in sys.argv[1:]:
    ctypes.CDLL(library)

def work():
    for _ in range(20):
        arrays = [np.ones(250_000) for _ in range(3)]
        del arrays

work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives so much memory back")
def test_blocks_get_the_memory_of_those_before(library):
    """As counted by pages that the system had to fill: 1,465 for the arrays of one round."""

    def pages(*libraries):
        return int(subprocess.check_output([sys.executable, "-c", PROGRAM, *libraries]))

    assert pages(str(library)) < 1000 < pages()
