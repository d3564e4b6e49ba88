"""Memory that is kept is not faulted in again: Linux counts the faults."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource, sys
from emonet_deploy.runtime.hardware.memory import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.malloc.argtypes, libc.memset.argtypes = [ctypes.c_size_t], [ctypes.c_void_p, ctypes.c_int,
                                                                ctypes.c_size_t]
SIZE = 24 << 20

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [libc.malloc(SIZE) for _ in range(3)]
    for block in blocks:
        libc.memset(block, 1, SIZE)
    for block in blocks:
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


def faults(how):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is of the GNU C library")
def test_what_was_freed_is_taken_again_without_faults():
    pages = 3 * (24 << 20) // 4096
    assert faults("given back") > pages / 600  # even of pages of 2 MiB there are more than that
    assert faults("kept") < 10
