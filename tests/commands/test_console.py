"""Standard output and standard error as a shell, a pipe or a full disk meets them."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from emonet_deploy.cli import app
from emonet_deploy.commands import console
from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write
from emonet_deploy.emonet_ref.storage.path_encoding import readable
from emonet_deploy.errors import InputError

EMONET = [sys.executable, "-c", "from emonet_deploy.cli import main; main()"]


def shell(line, *arguments, **environment):
    """Run a line of bash in which "$@" stands for emonet with the arguments."""
    return subprocess.run(
        ["bash", "-c", line, "bash", *EMONET, *map(str, arguments)],
        capture_output=True, check=False, env=os.environ | environment,
    )  # fmt: skip


@pytest.fixture
def crop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("face.png", np.full((40, 30, 3), 99, np.uint8))
    return Path("face.png")


def emonet(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_a_hint_has_a_line_of_its_own_and_is_part_of_what_python_sees(tmp_path):
    result = emonet("parity", tmp_path / "nowhere.onnx")
    assert result.stderr.splitlines() == [
        f"error: no ONNX model at {tmp_path}/nowhere.onnx",
        "hint: `emonet export` makes one",
    ]
    error = InputError("it broke", hint="mend it")
    assert str(error) == "it broke; mend it"
    assert (error.message, error.hint) == ("it broke", "mend it")
    assert (str(InputError("it broke")), InputError("it broke").hint) == ("it broke", None)


@pytest.mark.parametrize("place", ["before", "after"])
def test_quiet_and_verbose(crop, onnx8, place):
    """Before the command's name and after it, the same."""

    def told(*how):
        command = ["predict", crop, "--model", onnx8, "--device", "cpu", "--detector", "none"]
        result = emonet(*((*how, *command) if place == "before" else (*command, *how)))
        assert result.exit_code == 0, result.output
        assert "face.png" in result.stdout
        return result.stderr

    assert told() == ""
    assert told("-q") == told("--quiet") == ""
    (line,) = told("-v").splitlines()
    assert line.startswith(f"info: {onnx8} is run by onnx (CPUExecutionProvider) on cpu; loaded in")
    details = told("-vv").splitlines()
    assert len(details) > 1
    assert {line.partition(": ")[0] for line in details} == {"info", "debug"}
    assert told() == ""  # nothing is left of one run in the next


def test_quiet_keeps_errors_and_silences_notes(crop, onnx8, monkeypatch):
    from emonet_deploy.runtime.detection import centerface

    monkeypatch.setenv("EMONET_HOME", str(crop.parent.resolve()))
    monkeypatch.setattr(centerface, "is_installed", lambda: False)
    Path("bad.png").write_text("no picture")
    told = emonet("predict", crop, "bad.png", "--model", onnx8)
    assert told.exit_code == 1
    assert told.stderr.startswith("note: no face detector is installed")
    quiet = emonet("-q", "predict", crop, "bad.png", "--model", onnx8)
    assert quiet.exit_code == 1
    assert quiet.stdout == told.stdout
    assert quiet.stderr.splitlines() == told.stderr.splitlines()[1:]
    assert "error: 1 of 2 inputs could not be read" in quiet.stderr


def test_quiet_and_verbose_exclude_each_other():
    assert emonet("-q", "-v", "doctor").exit_code == 2
    assert emonet("doctor", "-q", "-v").exit_code == 2


def test_python_users_get_the_log_where_they_ask_for_it(onnx8, caplog):
    from emonet_deploy.runtime import load_session

    with caplog.at_level("INFO", logger="emonet_deploy"), load_session(onnx8, device="cpu"):
        pass
    assert "CPUExecutionProvider" in caplog.text
    code = "import emonet_deploy, logging; logging.getLogger('emonet_deploy.x').error('noise')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr == b""


@pytest.mark.parametrize("arguments", [["doctor"], ["--help"], ["--version"]])
def test_a_full_disk_behind_standard_output_is_one_error(arguments):
    done = shell('"$@" > /dev/full', *arguments)
    assert done.returncode == 1
    error, hint = done.stderr.decode().splitlines()
    assert error == f"error: cannot write to standard output: {os.strerror(errno.ENOSPC)}"
    assert hint.startswith("hint: ")


@pytest.mark.parametrize("arguments", [["doctor"], ["--help"]])
def test_a_reader_that_goes_ends_it_quietly(arguments):
    # The reader is gone before the first line is written.
    done = shell('"$@" | true; echo "${PIPESTATUS[0]}"', *arguments)
    assert done.stdout == b"141\n"
    assert done.stderr == b""


def test_a_reader_that_goes_leaves_no_half_file(crop, onnx8):
    done = shell(
        '"$@" | true; echo "${PIPESTATUS[0]}"',
        "predict", crop, "--model", onnx8, "--detector", "none", "--json", "r.json",
    )  # fmt: skip
    assert done.stdout == b"141\n"
    assert done.stderr == b""
    assert [path.name for path in Path().iterdir()] == ["face.png"]


@pytest.mark.parametrize("stream", [0, 1, 2])
def test_a_closed_stream_is_one_nobody_wants(crop, onnx8, stream):
    done = shell(
        f'"$@" {stream}>&-',
        "predict", crop, "--model", onnx8, "--detector", "none", "--json", "r.json",
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr == b""
    assert (b"face.png" in done.stdout) == (stream != 1)
    # Nothing that was printed has got into the file, which might have had the stream's number.
    assert Path("r.json").read_text().startswith("[\n{")
    assert Path("r.json").read_text().endswith("}\n]\n")


def test_a_standard_error_that_takes_nothing_stops_nothing(crop, onnx8):
    command = ["-v", "predict", crop, "--model", onnx8, "--detector", "none"]
    done = shell('"$@" 2> /dev/full', *command)
    assert done.returncode == 0
    assert b"face.png" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict", "latin-1:strict"])
def test_names_that_cannot_be_printed_are_printed_as_escapes(crop, onnx8, encoding):
    name = b"a\xff\tb\n\x1b[31m\xc3\xa9.png"
    os.rename(crop, name)
    done = shell(
        '"$@" *.png', "predict", "--model", onnx8, "--detector", "none",
        PYTHONIOENCODING=encoding, PYTHONUTF8="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    header, row = done.stdout.splitlines()
    assert len(row.split(b"\t")) == len(header.split(b"\t"))
    accent = "é".encode(encoding.partition(":")[0], "backslashreplace")
    assert row.split(b"\t")[0] == rb"a\xff\tb\n\x1b[31m" + accent + b".png"
    missing = shell("\"$@\" $'no\\xff\\n.png'", "predict", PYTHONIOENCODING=encoding)
    assert missing.returncode == 1
    assert missing.stderr.splitlines()[0].startswith(rb"error: no\xff\n.png does not exist")


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_names_that_are_not_utf8_are_written_to_every_file(crop, onnx8):
    os.rename(crop, b"a\xff.png")
    done = shell(
        '"$@" *.png', "predict", "--model", onnx8, "--detector", "none", "--json", "r.json",
        "--jsonl", "r.jsonl", "--csv", "r.csv", "--parquet", "r.parquet", "--save", "copies",
        PYTHONUTF8="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    escaped = r"a\xff.png"
    assert json.loads(Path("r.json").read_text())[0]["file"] == escaped
    assert json.loads(Path("r.jsonl").read_text())["file"] == escaped
    assert Path("r.csv").read_text().splitlines()[1].startswith(escaped)
    assert pyarrow.parquet.read_table("r.parquet")["file"].to_pylist() == [escaped]
    assert os.listdir(b"copies") == [b"a\xff.png"]


def test_what_is_printable_stays_as_it_is():
    text = "C:\\faces\\é 写真\u3000[bold] 👩\u200d🔬.png"
    assert readable(text) == text
    assert readable("a\tb\r\n\x9b\u202e\u2028\ud800") == r"a\tb\r\n\x9b\u202e\u2028\ud800"


def test_a_name_with_brackets_is_no_markup_on_a_terminal(monkeypatch, capsys):
    import io

    from emonet_deploy.commands.console import print_table
    from emonet_deploy.runtime.output.table_formats import Table

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    print_table(Table(("file",), [("a[bold]b[/bold].png",)]))
    assert "a[bold]b[/bold].png" in terminal.getvalue()


def test_a_file_that_cannot_be_written_is_told_with_a_hint(tmp_path):
    with (
        pytest.raises(InputError) as caught,
        atomic_write(tmp_path / "x") as temporary,
    ):
        raise OSError(errno.ENOSPC, "No space left on device", str(temporary))
    assert caught.value.hint == "free some space or name another place"


def test_a_log_is_told_now_and_then_how_far_it_is(monkeypatch, capsys):
    def lines():
        with console.phase_bar("exporting") as update:
            update("ranges", 3, 128)
            update("ranges", 9, None)
        return capsys.readouterr().err.splitlines()

    assert lines() == []  # it did not take long
    monkeypatch.setattr(console, "_LOGGED_EVERY", 0.0)
    assert lines() == ["exporting: ranges: 3 of 128", "exporting: ranges: 9"]
