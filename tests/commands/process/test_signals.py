"""SIGTERM and Ctrl-C in real processes: a code that tells, and no temporary files."""

import signal
import subprocess
import sys
import time

import pytest
import torch
from helpers import golden


def listen_to_signals():
    """Undo in a child that its parent ignores Ctrl-C, as what a shell starts with & does."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


EMONET = [sys.executable, "-c", "from emonet_deploy.cli import main; main()"]


def wait_for(condition, process):
    deadline = time.monotonic() + 120
    while not condition():  # asked once: files that a command tries its output with come and go
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "golden.pth"
    torch.save(golden.weights(8, 0), path)
    return path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_command_with_130_and_nothing_half_written(checkpoint, tmp_path, number):
    old = tmp_path / "emonet_8.fp32.onnx"
    old.write_bytes(b"older")
    command = [*EMONET, "export", "--checkpoint", str(checkpoint), "--out", str(tmp_path)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=listen_to_signals
    ) as process:
        # While the model is being written or compared, under its temporary name.
        wait_for(lambda: list(tmp_path.glob(".emonet*")), process)
        process.send_signal(number)
        out, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert errors.decode().splitlines()[-1] == "interrupted; what was complete is kept"
    assert b"Traceback" not in errors
    assert b"done" not in out
    assert [path.name for path in tmp_path.iterdir()] == [old.name]
    assert old.read_bytes() == b"older"


def test_a_process_that_shall_ignore_sigterm_ignores_it():
    code = (
        "import os, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "from emonet_deploy.commands.process.signals import sigterm_as_interrupt\n"
        "with sigterm_as_interrupt(): os.kill(os.getpid(), signal.SIGTERM)\n"
        "print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "alive\n")


def test_the_handler_that_was_there_comes_back():
    # In a process of its own: what runs the tests may have a handler, which then stays.
    code = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_DFL)\n"
        "from emonet_deploy.commands.process.signals import sigterm_as_interrupt\n"
        "try:\n"
        "    with sigterm_as_interrupt(): signal.raise_signal(signal.SIGTERM)\n"
        "except KeyboardInterrupt: print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "True\n")


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_a_signal_in_a_finalizer_interrupts_all_the_same(number):
    # As filelock's, which a signal in an export once hit: Python drops what __del__ raises.
    ignored = "signal.signal(signal.SIGINT, signal.SIG_IGN)" if number == "SIGTERM" else ""
    code = (
        f"import signal, time\n{ignored}\n"
        "from emonet_deploy.commands.process.signals import *\n"
        "class Held:\n"
        f"    def __del__(self): signal.raise_signal(signal.{number})\n"
        "try:\n"
        "    with sigterm_as_interrupt(), lost_interrupts_raised():\n"
        "        held = Held()\n"
        "        del held\n"
        "        for _ in range(6000): time.sleep(0.01)\n"
        "except KeyboardInterrupt: print('interrupted')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=listen_to_signals,
    )
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


def test_what_else_goes_wrong_in_a_finalizer_is_heard():
    code = (
        "from emonet_deploy.commands.process.signals import lost_interrupts_raised\n"
        "class Held:\n"
        "    def __del__(self): raise ValueError('seen')\n"
        "with lost_interrupts_raised():\n"
        "    held = Held()\n"
        "    del held"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "seen" in done.stderr
