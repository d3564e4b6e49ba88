from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from emonet_deploy.cli import app
from emonet_deploy.commands.predict.options import Clips, Faces, Outputs, parse_camera


@pytest.mark.parametrize(
    ("name", "camera"),
    [
        ("0", 0),
        ("999", 999),
        ("/dev/video2", 2),
        ("rtsp://10.0.0.1/stream", "rtsp://10.0.0.1/stream"),
        ("HTTP://x", "HTTP://x"),
    ],
)
def test_a_camera_is_a_number_or_an_address(name, camera):
    assert parse_camera(name) == camera


@pytest.mark.parametrize(
    "name", ["1000", "", "-1", "1.0", "x", "rtsp://", "://x", "file://x", "FILE://x", "r-t://x",
             "rtsp:/x", "/dev/video", "/dev/video1000"]
)  # fmt: skip
def test_all_else_is_no_camera(name):
    with pytest.raises(typer.BadParameter, match="no number of a camera"):
        parse_camera(name)


def test_the_files_that_are_written_are_known_without_the_copies():
    assert Outputs().files == []
    names = ("json", "jsonl", "csv", "parquet", "timeline")
    outputs = Outputs(**{name: Path(name) for name in names}, save=Path("copies"))
    assert outputs.files == [Path(name) for name in names]
    assert Outputs(csv=Path("c")).files == [Path("c")]


def test_nothing_is_written_replaced_or_left_out_unless_asked_for():
    outputs = Outputs()
    assert (outputs.landmarks, outputs.force, outputs.save) == (False, False, None)
    assert (Faces().detector, Faces().crop, Faces().boxes) == ("auto", "paper", None)
    assert (Clips().every, Clips().fps, Clips().smooth) == (1, None, "authors")


@pytest.mark.parametrize(
    ("option", "taken", "refused"),
    [
        ("--batch", ["1", "4096"], ["0", "4097"]),
        ("--detect-size", ["32", "16384"], ["31", "16385"]),
        ("--min-score", ["0", "1"], ["-0.1", "1.1"]),
        ("--memory", ["0"], ["-1"]),
        ("--every", ["1"], ["0"]),
        ("--fps", ["0.01"], ["0"]),
        ("--camera", [], ["1000"]),
        ("--nclass", ["5", "8"], ["6"]),
    ],
)
def test_numbers_are_taken_up_to_their_limits(tmp_path, monkeypatch, option, taken, refused):
    monkeypatch.chdir(tmp_path)
    for value, code in [*((v, 1) for v in taken), *((v, 2) for v in refused)]:
        done = CliRunner().invoke(app, ["predict", "absent.jpg", option, value])
        assert done.exit_code == code, (value, done.output)
        if code == 1:
            assert "absent.jpg" in done.stderr
