import subprocess
import sys
import threading

import pytest

from emonet_deploy.commands.process.deadline import deadline

SCRIPT = """
import time
from emonet_deploy.commands.process.deadline import deadline
with deadline({seconds}, lambda: print("given up", flush=True)) as in_time:
    {inside}
print("done")
"""


def run(seconds, inside):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(seconds=seconds, inside=inside)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_what_takes_too_long_ends_the_process_and_says_why():
    done = run(0.1, "time.sleep(30)")
    assert (done.returncode, done.stdout) == (1, "given up\n")


def test_what_is_in_time_goes_on():
    done = run(0.2, "in_time(); time.sleep(0.4)")
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_the_end_of_the_block_is_in_time_and_the_watch_keeps_no_process_alive():
    watches = []

    def fail():
        with deadline(60, lambda: None):
            watches.extend(t for t in threading.enumerate() if isinstance(t, threading.Timer))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    (watch,) = watches
    assert watch.daemon
    watch.join(10)
    assert not watch.is_alive()
