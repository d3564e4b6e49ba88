"""``emonet predict`` on inputs as they come: odd names, lists with gaps, boxes of other files."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pyarrow.parquet
import pytest
from helpers.fake_session import FakeSession
from helpers.tiny_model import write_tiny
from typer.testing import CliRunner

from emonet_deploy.cli import app
from emonet_deploy.commands.predict.options import Clips, Faces, Outputs
from emonet_deploy.commands.predict.run import prepare, run_predict
from emonet_deploy.emonet_ref.storage.path_encoding import readable
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.media.video import VideoReader


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fake_run(*names, faces=None, clips=None, **outputs):
    job = prepare(
        names, None, faces or Faces(detector="none"), clips or Clips(), Outputs(**outputs)
    )
    return run_predict(job, FakeSession())


def read_jsonl(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


ODD = os.fsdecode(b"caf\xe9.jpg"), os.fsdecode(b"v\xe9.mp4"), "tab\tand\nline.jpg"


def test_one_odd_name_loses_no_output(here, data, capsys):
    folder = here / os.fsdecode(b"d\xe9")
    folder.mkdir()
    for name in (*ODD, "ok.jpg"):
        source = "steady.mp4" if name.endswith("mp4") else "plain.jpg"
        shutil.copy(data / "field" / source, folder / name)
    paths = {kind: here / os.fsdecode(b"r\xe9." + kind.encode())
             for kind in ("json", "jsonl", "csv", "parquet")}  # fmt: skip
    save = here / os.fsdecode(b"out\xe9")
    assert fake_run(str(folder), save=save, **paths) == 0
    rows = json.loads(paths["json"].read_text(encoding="utf-8"))
    assert read_jsonl(paths["jsonl"]) == rows
    files = {row["file"].removeprefix(f"{here}/") for row in rows}
    assert files == {
        "d\\xe9/caf\\xe9.jpg", "d\\xe9/ok.jpg", "d\\xe9/tab\\tand\\nline.jpg", "d\\xe9/v\\xe9.mp4",
    }  # fmt: skip
    with open(paths["csv"], newline="", encoding="utf-8") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [row["file"] for row in rows]
    table = pyarrow.parquet.read_table(io.BytesIO(paths["parquet"].read_bytes()))
    assert table["file"].to_pylist() == [row["file"] for row in rows]
    assert {path.name for path in save.iterdir()} == {*ODD, "ok.jpg"}
    assert len(list(VideoReader(save / ODD[1]))) == 24
    lines = capsys.readouterr().out.splitlines()
    assert all(line.count("\t") in (6, 8) for line in lines)


@pytest.mark.parametrize("encoding", ["ascii:strict", "cp1252:strict", "utf-8:strict"])
def test_no_name_is_too_much_for_standard_output(here, data, encoding):
    write_tiny(here / "m.onnx")
    for name in (ODD[0], "Gesicht \u9854.jpg"):
        shutil.copy(data / "field" / "plain.jpg", here / name)
    command = [sys.executable, "-m", "emonet_deploy.cli", "predict", "--model", "m.onnx",
               "--detector", "none", *sorted(p.name for p in here.glob("*.jpg"))]  # fmt: skip
    environment = os.environ | {
        "PYTHONIOENCODING": encoding,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    assert b"caf\\xe9.jpg" in done.stdout


def test_a_timeline_and_a_copy_have_any_name(here, data):
    shutil.copy(data / "field" / "steady.mp4", here / "in.mp4")
    save, plot = (here / os.fsdecode(b"o\xe9" + end) for end in (b".mp4", b".png"))
    assert fake_run("in.mp4", save=save, timeline=plot) == 0
    assert len(list(VideoReader(save))) == 24
    assert cv2.imdecode(np.frombuffer(plot.read_bytes(), np.uint8), 1).shape[1] == 2000


def test_what_is_missing_in_a_list_is_passed_over_and_counted(here, data, monkeypatch, capsys):
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(data / "field" / "plain.jpg", here / name)
    (here / "empty").mkdir()
    listed = b"\xef\xbb\xbfa.jpg\r\n# moved\r\ngone.jpg\r\nempty\r\n*.tif\r\nb.jpg\r\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(listed)))
    assert fake_run("-", jsonl=here / "r.jsonl") == 1
    assert [row["file"] for row in read_jsonl(here / "r.jsonl")] == ["a.jpg", "b.jpg"]
    said = [line for line in capsys.readouterr().err.splitlines() if line]
    assert [line.split(":")[0] for line in said] == ["passed over"] * 3 + ["error"]
    assert "gone.jpg does not exist" in said[0]
    assert "3 of 5 inputs could not be read" in said[-1]


def test_a_folder_from_a_phone_or_another_system(here, data, capsys):
    shutil.copy(data / "field" / "plain.jpg", here / "IMG_1.jpg")
    (here / "._IMG_1.jpg").write_bytes(b"\0\x05\x16\x07\0\x02\0\0Mac OS X")
    (here / "index.ts").write_text("export {}")
    shutil.copy(data / "field" / "camera.mxf", here / "clip.mxf")
    assert fake_run(".", jsonl=here / "r.jsonl") == 0
    assert {row["file"] for row in read_jsonl(here / "r.jsonl")} == {"IMG_1.jpg", "clip.mxf"}
    assert [line for line in capsys.readouterr().err.splitlines() if line] == [
        "note: 1 file is neither picture nor video and left out of . (.ts)"
    ]


def test_boxes_of_other_files_are_refused_before_anything_is_computed(here, data):
    shutil.copy(data / "field" / "plain.jpg", here / "plain.jpg")
    (here / "b.csv").write_text("file,x0,y0,x1,y1\nother.jpg,20,10,70,60\n")
    with pytest.raises(InputError, match=r"none of the 1 boxes of b\.csv belongs to an input"):
        fake_run("plain.jpg", faces=Faces(boxes=here.joinpath("b.csv").relative_to(here)))


def test_boxes_outside_their_picture_are_an_error_but_lose_nothing(here, data, capsys):
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(data / "field" / "plain.jpg", here / name)
    (here / "b.csv").write_text("file,x0,y0,x1,y1\na.jpg,5000,5000,5100,5120\nb.jpg,20,10,70,60\n")
    assert fake_run("a.jpg", "b.jpg", faces=Faces(boxes=here / "b.csv"), json=here / "r.json") == 1
    rows = json.loads((here / "r.json").read_text())
    assert [(row["file"], row["box"]) for row in rows] == [
        ("a.jpg", None), ("b.jpg", [20, 10, 70, 60]),
    ]  # fmt: skip
    assert "1 of 2 boxes" in capsys.readouterr().err


def test_copies_of_a_recorder_have_its_frames_at_their_times(here, data):
    shutil.copy(data / "field" / "recorder.webm", here / "in.webm")
    original = [frame.time for frame in VideoReader("in.webm")]
    for name in ("out.webm", "out.mp4"):
        assert fake_run("in.webm", save=here / name) == 0
        copied = [frame.time for frame in VideoReader(here / name)]
        assert len(copied) == pytest.approx(24, abs=1)
        assert copied[-1] == pytest.approx(original[-1], abs=0.05)


@pytest.mark.parametrize("name", [*ODD[:1], ODD[2], "=1+1.jpg", "-a.jpg", "@b.jpg", "xe9.jpg"])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_boxes_written_under_any_name_are_found_again(here, data, monkeypatch, name, elsewhere):
    (here / "d").mkdir()
    for each in (name, "other.jpg"):
        shutil.copy(data / "field" / "plain.jpg", here / "d" / each)
    start = "d" if elsewhere else "."
    monkeypatch.chdir(here if elsewhere else here / "d")
    names = [os.path.join("d", n) if elsewhere else n for n in (name, "other.jpg")]
    (here / "b.csv").write_text(
        "file,x0,y0,x1,y1\n" + "".join(f'"{readable(n)}",20,10,70,{60 + i}\n'
                                       for i, n in enumerate(names))
    )  # fmt: skip
    assert fake_run(*names, faces=Faces(boxes=here / "b.csv"), csv=here / "r.csv") == 0
    with open(here / "r.csv", newline="", encoding="utf-8") as file:
        cells = [row["file"] for row in csv.DictReader(file)]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells), start
    monkeypatch.chdir(here / "d")  # and the table is read from another folder
    faces = Faces(boxes=here / "r.csv")
    assert fake_run(name, "other.jpg", faces=faces, jsonl=here / "r.jsonl") == 0
    assert [row["box"][3] for row in read_jsonl(here / "r.jsonl")] == [60, 61]


def test_every_nth_frame_in_every_output(here, data):
    shutil.copy(data / "field" / "steady.mp4", here / "in.mp4")
    code = fake_run("in.mp4", clips=Clips(every=5), jsonl=here / "r.jsonl", save=here / "o.mp4")
    assert code == 0
    rows = read_jsonl(here / "r.jsonl")
    assert [row["frame"] for row in rows] == [0, 5, 10, 15, 20]
    np.testing.assert_allclose([row["time"] for row in rows], np.arange(5) / 3, atol=2e-3)
    copy = [frame.time for frame in VideoReader(here / "o.mp4")]
    np.testing.assert_allclose(copy, np.arange(5) / 3, atol=0.02)


def test_a_much_larger_picture_than_the_detector_saw_is_hinted_at(here, capsys):
    cv2.imwrite("wide.png", np.full((300, 5000, 3), 127, np.uint8))
    cv2.imwrite("usual.png", np.full((300, 3000, 3), 127, np.uint8))
    assert fake_run("usual.png", faces=Faces(detector="centerface")) == 0
    assert "detect-size" not in capsys.readouterr().err
    assert fake_run("wide.png", faces=Faces(detector="centerface")) == 0
    assert "8 times smaller; a larger --detect-size" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("camera", "code", "message"),
    [
        ("63", 1, "camera 63 is not there"),
        ("http://me:secret@127.0.0.1:9/x", 1, "camera http://***@127.0.0.1:9/x is not there"),
        ("-1", 2, "no number of a camera"),
        ("99999999999", 2, "no number of a camera"),
        ("front", 2, "no number of a camera"),
        ("file:///x.mp4", 2, "no number of a camera"),
    ],
)
def test_cameras_are_named_by_number_or_address(here, camera, code, message):
    write_tiny(here / "m.onnx")
    done = CliRunner().invoke(
        app, ["predict", f"--camera={camera}", "--model", "m.onnx", "--detector", "none"]
    )
    assert done.exit_code == code
    assert message in " ".join(done.stderr.replace("\u2502", " ").split())
    assert "secret" not in done.stderr
