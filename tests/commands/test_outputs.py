"""No command writes over what it reads, whatever name it is given by, nor finds out too late."""

import os
import shutil
from pathlib import Path

import pytest
from helpers.tiny_model import write_tiny
from typer.testing import CliRunner

from emonet_deploy.cli import app
from emonet_deploy.commands.outputs import check_outputs
from emonet_deploy.errors import InputError


def emonet(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def here(tmp_path, monkeypatch, data):
    """A folder with one of everything that a command reads."""
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "m.onnx")
    shutil.copy(data / "field" / "plain.jpg", "a.jpg")
    shutil.copy(data / "field" / "steady.mp4", "v.mp4")
    Path("data").mkdir()
    shutil.copy("a.jpg", "data/b.jpg")
    Path("t.csv").write_text("path,expression,valence,arousal\na.jpg,1,0.5,0.5\n")
    Path("b.csv").write_text("file,x0,y0,x1,y1\na.jpg,20,10,70,60\n")
    Path("w.pth").write_bytes(b"weights")
    Path("yunet.onnx").write_bytes(b"a detector")
    Path("e.plan").write_bytes(b"an engine")
    Path("e.plan.json").write_text("{}")
    Path("old.json").write_text('{"rows": []}')
    return tmp_path


PREDICT = ("predict", "a.jpg", "--model", "m.onnx", "--detector", "none", "--force")
EVAL = ("eval", "m.onnx", "--data", "t.csv")
READ_AND_WRITTEN = [
    *((PREDICT, option, read) for option in ("--json", "--jsonl", "--csv", "--parquet")
      for read in ("m.onnx", "a.jpg")),
    ((*PREDICT, "--boxes", "b.csv"), "--csv", "b.csv"),
    ((*PREDICT, "--detector-model", "yunet.onnx"), "--json", "yunet.onnx"),
    ((*PREDICT[:3], "e.plan", *PREDICT[4:]), "--json", "e.plan.json"),
    ((*PREDICT[:1], "v.mp4", *PREDICT[2:]), "--save", "v.mp4"),
    (("predict", "a.jpg", "--checkpoint", "w.pth", "--force"), "--csv", "w.pth"),
    *((EVAL, "--json", read) for read in ("m.onnx", "t.csv")),
    ((*EVAL, "--against", "w.pth"), "--json", "w.pth"),
    ((*EVAL, "--checkpoint", "w.pth"), "--json", "w.pth"),
    (EVAL, "--predictions", "t.csv"),
    (("eval", "--checkpoint", "w.pth", "--data", "t.csv"), "--json", "w.pth"),
    (("parity", "m.onnx"), "--json", "m.onnx"),
    (("parity", "m.onnx", "--checkpoint", "w.pth"), "--json", "w.pth"),
    (("export", "--checkpoint", "w.pth"), "--json", "w.pth"),
    (("build", "m.onnx"), "--report", "m.onnx"),
    *((("bench", "m.onnx", "--compare", "old.json"), option, read)
      for option in ("--json", "--markdown", "--plot") for read in ("m.onnx", "old.json")),
    (("bench", "--checkpoint", "w.pth"), "--json", "w.pth"),
    (("dataset", "convert", "t.csv", "--force"), "", "t.csv"),
]  # fmt: skip


@pytest.mark.parametrize("link", [None, Path.symlink_to, Path.hardlink_to], ids=["", "sym", "hard"])
@pytest.mark.parametrize(("command", "option", "read"), READ_AND_WRITTEN)
def test_no_input_is_written_over(here, command, option, read, link):
    before = Path(read).read_bytes()
    name = Path(read)
    if link is not None:
        name = Path("other-name").with_suffix(name.suffix)
        link(name, here / read)
    result = emonet(*command, *filter(None, [option]), name)
    assert result.exit_code == 1, result.output
    assert f"{name} is an input" in result.stderr
    assert Path(read).read_bytes() == before
    assert name.is_symlink() == (link is Path.symlink_to)


@pytest.mark.parametrize(
    ("command", "output"),
    [
        (("eval", "m.onnx", "--data", "data"), "data/b.jpg"),
        (("export", "--checkpoint", "w.pth", "--calibration", "data"), "data/b.jpg"),
    ],
)
def test_nothing_that_lies_in_a_folder_which_is_read_is_written_over(here, command, output):
    before = Path(output).read_bytes()
    result = emonet(*command, "--json", output)
    assert result.exit_code == 1
    assert "lies among what is read" in result.stderr
    assert Path(output).read_bytes() == before


def test_a_data_sets_own_table_is_not_replaced_by_a_converted_one(here):
    Path("own.csv").write_text("subDirectory_filePath,expression\n")
    result = emonet("dataset", "convert", "t.csv", "own.csv", "--force")
    assert "no table of this toolkit" in result.stderr
    assert Path("own.csv").read_text() == "subDirectory_filePath,expression\n"
    for _ in range(2):  # its own is, on request
        assert emonet("dataset", "convert", "t.csv", "new.csv", "--force").exit_code == 0
    assert emonet("dataset", "convert", "t.csv", "new.csv").exit_code == 1


def test_a_stand_in_is_not_copied_over_the_cached_one(here, standin8):
    before = standin8.stat()
    assert "is an input" in emonet("checkpoint", "standin", "--out", standin8).stderr
    assert standin8.stat() == before


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (["x.csv", "./x.csv"], "is named for two outputs"),
        (["data"], "is a folder"),
        (["a.jpg"], "exists"),
        (["m.onnx/x.json"], "cannot write"),
        (["x" * 300], "cannot write"),
        (["a\0b"], "cannot write"),
        (["loop/x.csv"], "cannot write"),
    ],
)
def test_outputs_that_cannot_be_written_are_told_before_the_work(here, outputs, message):
    os.symlink("loop/x", "loop")
    with pytest.raises(InputError, match=message) as caught:
        check_outputs(outputs, [], force=False)
    assert "\n" not in str(caught.value)


def test_new_outputs_may_lie_anywhere_and_leave_nothing_behind(here):
    before = sorted(here.rglob("*"))
    check_outputs(
        ["data/x.json", "y.json", "a/b/c/z.json", None],
        ["data", "m.onnx", None, "http://h/v2/models/m"],
    )
    check_outputs([], ["data"], kept=["data/b.jpg"])
    assert sorted(here.rglob("*")) == before
