from pathlib import Path

import pytest
from typer.testing import CliRunner

from emonet_deploy.cli import app
from emonet_deploy.commands.bench.options import Candidates, Measurement, Reports, Serving


@pytest.mark.parametrize(
    ("option", "taken", "refused"),
    [
        ("--seconds", ["0.1", "3600"], ["0.09", "3600.1"]),
        ("--n", ["2", "10000"], ["1", "10001"]),
        ("--batch", ["1", "1,8,65536"], ["0", "65537", "1,x", ""]),
        ("--threads", ["1", "2,1"], ["0", "-1"]),
        ("--connections", ["1,4"], ["0"]),
        ("--nclass", ["5", "8"], ["6"]),
        ("--engine", ["torch,onnx"], ["onxx"]),
    ],
)
def test_numbers_and_words_are_taken_up_to_their_limits(
    tmp_path, monkeypatch, option, taken, refused
):
    monkeypatch.chdir(tmp_path)
    for value, code in [*((v, 1) for v in taken), *((v, 2) for v in refused)]:
        done = CliRunner().invoke(app, ["bench", "--checkpoint", "absent.pth", option, value])
        assert done.exit_code == code, (value, done.output)
    assert list(tmp_path.iterdir()) == []


def test_one_image_on_each_librarys_own_threads_is_measured_unless_told_otherwise():
    assert (Measurement().batch, Measurement().threads, Measurement().device) == ((1,), (), "auto")
    assert Measurement().cuda_graph is False
    assert (Candidates().precision, Candidates().target) == (("fp32",), ("gpu",))
    assert (Candidates().nclass, Candidates().checkpoint) == (8, None)
    assert (Candidates().engine, Candidates().peers) == ((), ())
    assert Serving().serve is None


def test_the_files_that_are_written_do_not_hold_the_one_that_is_read():
    reports = Reports(Path("a.json"), Path("b.md"), Path("c.svg"), Path("old.json"))
    assert reports.files == [Path("a.json"), Path("b.md"), Path("c.svg")]
    assert Reports().files == [None, None, None]
