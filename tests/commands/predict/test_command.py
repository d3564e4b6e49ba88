import cv2
import numpy as np
import pytest
from helpers.fake_session import FakeSession
from helpers.tiny_model import write_tiny
from typer.testing import CliRunner

from emonet_deploy.cli import app


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("a.png", np.full((256, 256, 3), 127, np.uint8))
    write_tiny(tmp_path / "m.onnx")
    return tmp_path


def emonet(*arguments):
    return CliRunner().invoke(app, ["predict", *map(str, arguments), "--detector", "none"])


def test_standard_output_has_a_row_for_a_face_and_the_code_is_0(here):
    done = emonet("a.png", "--model", "m.onnx")
    assert done.exit_code == 0
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["file", "a.png"]
    assert "the stand-in is untrained" in done.stderr


def test_the_note_on_untrained_weights_is_for_those_alone(here, monkeypatch):
    made = FakeSession(checkpoint="original")
    monkeypatch.setattr("emonet_deploy.runtime.backends.registry.load_session", lambda *_: made)
    done = emonet("a.png", "--model", "m.onnx")
    assert done.exit_code == 0
    assert "untrained" not in done.stderr


def test_what_could_not_be_read_is_exit_code_1(here):
    done = emonet("a.png", "b.png", "--model", "m.onnx")
    assert done.exit_code == 1
    assert "a.png" in done.stdout


def test_the_model_is_not_written_over(here):
    before = (here / "m.onnx").read_bytes()
    done = emonet("a.png", "--model", "m.onnx", "--csv", "m.onnx", "--force")
    assert done.exit_code == 1
    assert (here / "m.onnx").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "purpose"),
    [
        ([], "throughput"),
        (["--batch", "2"], "throughput"),
        (["--batch", "1"], "latency"),
        (["--camera", "0"], "latency"),
        (["--camera", "0", "--batch", "1"], "latency"),
    ],
)
def test_many_faces_at_once_want_throughput_and_a_camera_wants_latency(
    here, monkeypatch, options, purpose
):
    module = "emonet_deploy.commands.prepare_artifacts"
    asked = []

    def obtain(*arguments):
        asked.append(arguments)
        raise SystemExit(9)

    monkeypatch.setattr(f"{module}.resolve_checkpoint", lambda name, nclass, say: (name, nclass))
    monkeypatch.setattr(f"{module}.obtain_one", obtain)
    emonet("a.png", *options)
    (arguments,) = asked
    assert arguments[-1] == purpose
    assert arguments[2] == 8
    assert arguments[3] == ("original", 8)
