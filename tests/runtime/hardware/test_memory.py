"""Memory that is kept is not faulted in again: Linux counts the faults."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from emonet_deploy.runtime.hardware import memory

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


# mallopt(3): M_TRIM_THRESHOLD is -1, M_MMAP_THRESHOLD -3; of the latter older versions take no
# more than 4 MiB times the size of a long.
TRIM, MMAP, MOST = -1, -3, 32 << 20


@pytest.mark.parametrize(
    ("refused", "kept"),
    [
        (lambda option, value: False, True),
        (lambda option, value: option == MMAP and value > MOST, True),
        (lambda option, value: option == MMAP, False),
        (lambda option, value: option == TRIM, False),
    ],
)
def test_a_library_that_takes_less_gets_what_it_takes(monkeypatch, refused, kept):
    told = {}

    def mallopt(option, value):
        if refused(option, value):
            return 0
        told[option] = value
        return 1

    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=mallopt))
    assert memory.keep_freed_memory() is kept
    if kept:
        assert set(told) == {TRIM, MMAP}
        assert told[MMAP] >= MOST


def test_another_system_or_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: SimpleNamespace())
    monkeypatch.setattr(memory.sys, "platform", "linux")
    assert memory.keep_freed_memory() is False
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert memory.keep_freed_memory() is False
