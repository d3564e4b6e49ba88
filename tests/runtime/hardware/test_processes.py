"""What Linux tells of processes, against what they did."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emonet_deploy.runtime.hardware import processes
from emonet_deploy.runtime.hardware.processes import list_processes, memory_mb, process_tree

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs Linux")

# A process that begins another, which takes 0.3 s of CPU and 60 MB.
CHILD = """
import time
from pathlib import Path
held = b"x" * 60_000_000
while time.process_time() < 0.3: pass
print(input())
"""
PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {CHILD!r}])
print(input())
"""


def test_a_line_of_linux_is_read_whatever_a_program_is_called(monkeypatch):
    """proc(5): fields 4, and 14 to 17 in ticks; the name, in brackets, may hold brackets."""
    monkeypatch.setattr(os, "sysconf", {"SC_CLK_TCK": 100}.__getitem__)
    line = "77 (a (b) c) S 5 77 1 0 -1 4194304 120 0 1 0 250 150 30 20 20 0 1 0 9999 1 2 3"
    assert processes._parse(line) == processes.Process("a (b) c", 5, 4.0, 0.5)


def test_memory_is_that_of_this_process_in_megabytes():
    def pss():
        text = Path("/proc/self/smaps_rollup").read_text()
        return int(text.split("Pss:")[1].split()[0]) / 1024

    before = pss()
    assert memory_mb([os.getpid()]) == pytest.approx(before, rel=0.2)
    assert memory_mb([]) == 0


def until(condition):
    """Return what a condition gives as soon as it is true of it; a minute is too long."""
    end = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


@pytest.fixture
def process():
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()  # its child reads the end of the input


def test_a_tree_has_what_a_process_began_and_ended_ones_are_told_of(process):
    def busy():
        tree = process_tree(process.pid)
        # Less than the 0.3 s that it takes: the system counts in steps.
        return tree if any(each.cpu > 0.2 for each in tree.values()) and len(tree) == 2 else None

    tree = until(busy)
    (child,) = set(tree) - {process.pid}
    assert tree[child].parent == process.pid
    assert tree[child].name.startswith("python")
    assert set(tree) < set(process_tree(os.getpid())) < set(list_processes())
    assert 60 < memory_mb([child]) < 400
    assert memory_mb(tree) == pytest.approx(memory_mb([child]) + memory_mb([process.pid]), 0.1)
    process.stdin.write("\n")
    process.stdin.flush()
    process.stdout.readline()  # of the child, which ends now
    until(lambda: child not in process_tree(process.pid))
    tree = process_tree(process.pid)
    assert tree[process.pid].cpu_of_ended > 0.2
    process.communicate("\n")
    assert process_tree(process.pid) == {}
    assert memory_mb([process.pid]) == 0
