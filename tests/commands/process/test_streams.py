"""Standard streams as the system has them, in processes of their own."""

import os
import subprocess
import sys

import pytest

from emonet_deploy.commands.process.streams import open_missing_streams

pytestmark = pytest.mark.skipif(os.name != "posix", reason="descriptors of POSIX")


def process(code, **options):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, **options,
    )  # fmt: skip


SILENCED = """
import os, subprocess, sys
from emonet_deploy.commands.process.streams import hear_libraries, libraries_silenced
os.write(2, b"before\\n")
with libraries_silenced():
    os.write(2, b"a library in C\\n")
    print("ours", file=sys.stderr)
    {more}
    subprocess.run(["sh", "-c", "echo a program >&2"])
os.write(2, b"after\\n")
print("ours again", file=sys.stderr)
"""


def test_libraries_are_not_heard_and_python_is():
    assert process(SILENCED.format(more="")).stderr.splitlines() == [
        "before", "ours", "after", "ours again",
    ]  # fmt: skip


def test_libraries_are_heard_on_request():
    assert process(SILENCED.format(more="hear_libraries()")).stderr.splitlines() == [
        "before", "ours", "a program", "after", "ours again",
    ]  # fmt: skip


def test_an_error_on_the_way_out_arrives():
    done = process(
        "from emonet_deploy.commands.process.streams import libraries_silenced\n"
        "with libraries_silenced():\n    raise ValueError('x')"
    )
    assert done.stderr.splitlines()[-1] == "ValueError: x"


def test_verbose_lets_libraries_be_heard():
    code = (
        "import os, sys\n"
        "from emonet_deploy import cli\n"
        "cli.app.command('speak')(cli.grouped(lambda: os.write(2, b'a library\\n') and None))\n"
        "cli.main()"
    )
    heard = []
    for options in ([], ["-v"], ["-vv"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *options, "speak"], capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        heard.append(done.stderr)
    assert heard == ["", "a library\n", "a library\n"]


def test_a_current_folder_that_is_gone_is_one_line(tmp_path):
    gone = tmp_path / "gone"
    code = (
        "import os, sys\n"
        f"os.mkdir({str(gone)!r}); os.chdir({str(gone)!r}); os.rmdir({str(gone)!r})\n"
        "from emonet_deploy.cli import main\nsys.argv = ['emonet', 'doctor']\nmain()"
    )
    done = process(code)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: the current folder is gone",
        "hint: change to one that exists",
    ]


@pytest.mark.parametrize(
    ("failure", "lines"),
    [
        ("MemoryError()", ["error: there is not enough memory"]),
        ("KeyError('x')", ["error: KeyError: 'x'"]),
        ("OSError(5, 'Input/output error', 'a\\tb')", ["error: OSError: "]),
    ],
)
def test_what_nobody_foresaw_is_a_line_and_debug_shows_where(failure, lines):
    code = (
        "import sys\n"
        "from emonet_deploy import cli\n"
        f"def fail():\n    raise {failure}\n"
        "cli.app.command('fail')(cli.grouped(fail))\n"
        "sys.argv = ['emonet', *{options}, 'fail']\ncli.main()"
    )
    done = process(code.replace("{options}", "[]"))
    assert done.returncode == 1
    said = done.stderr.splitlines()
    assert len(said) == 2
    assert said[0].startswith(lines[0])
    assert said[1].startswith("hint: ")
    done = process(code.replace("{options}", "['--debug']"))
    assert "Traceback" in done.stderr
    assert "in fail" in done.stderr


def test_only_streams_that_are_missing_are_replaced(monkeypatch):
    kept = sys.stderr
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "stdout", None)
    open_missing_streams()
    assert sys.stderr is kept
    assert sys.stdin.read() == ""
    sys.stdout.write("into nothing")
    for stream in (sys.stdin, sys.stdout):
        stream.close()
