"""``emonet predict`` as users type it; the golden model answers, where a model is needed at all."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet
import pytest
from helpers.clips import WIDTH, write_film
from helpers.fake_session import FakeSession
from skimage import data
from typer.testing import CliRunner

from emonet_deploy.cli import app
from emonet_deploy.commands.predict.options import Clips, Faces, Outputs
from emonet_deploy.commands.predict.run import prepare, run_predict
from emonet_deploy.runtime.detection.iou import box_iou
from emonet_deploy.runtime.media.video import VideoReader


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def astronaut(here):
    cv2.imwrite("astronaut.png", data.astronaut()[..., ::-1])
    return "astronaut.png"


@pytest.fixture
def film(here):
    """A film of 30 frames and its boxes."""
    truths = write_film("film.mp4", 30)
    with open("boxes.csv", "w") as file:
        print("file,frame,x0,y0,x1,y1", file=file)
        for index, truth in enumerate(truths):
            for box in truth.values():
                print("film.mp4", index, *box, sep=",", file=file)
    return truths


def emonet(*arguments):
    return CliRunner().invoke(app, ["predict", *map(str, arguments)], catch_exceptions=False)


def fails(*arguments):
    """Run the command, which must end in one line, and a hint or none; return that line."""
    done = emonet(*arguments)
    assert done.exit_code == 1
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("note", "passed"))]
    assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("hint: "))
    assert lines[0].startswith("error: ")
    return lines[0]


def fake_run(*names, **options):
    """Run on a session that needs no time; return the exit code."""
    groups = []
    for kind in (Faces, Clips, Outputs):
        mine = {field.name for field in fields(kind)} & options.keys()
        groups.append(kind(**{name: options.pop(name) for name in mine}))
    assert not options
    return run_predict(prepare(names, None, *groups), FakeSession())


def read_jsonl(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_photograph_from_end_to_end(astronaut, here, onnx8):
    done = emonet(astronaut, "--model", onnx8, "--json", "r.json", "--save", "out.png",
                  "--landmarks")  # fmt: skip
    assert done.exit_code == 0
    header, line = (text.split("\t") for text in done.stdout.splitlines())
    (row,) = json.loads((here / "r.json").read_text())
    assert box_iou([row["box"]], [(182, 58, 270, 178)])[0, 0] >= 0.7
    assert dict(zip(header, line, strict=True))["expression"] == row["expression"]
    assert row["time"] is None
    assert len(row["landmarks"]) == 68
    saved = cv2.imread("out.png")[..., ::-1]
    changed = (saved != data.astronaut()).any(-1)
    assert saved.shape == data.astronaut().shape
    assert 0.005 < changed.mean() < 0.1


def test_ready_crops_are_predicted_as_they_are(here, onnx8):
    from emonet_deploy.emonet_ref.synthetic.faces import make_faces
    from emonet_deploy.runtime import Predictor, load_session

    crops = [face.image for face in make_faces(2, 1)]
    for i, crop in enumerate(crops):
        cv2.imwrite(f"{i}.png", crop[..., ::-1])
    with load_session(onnx8) as session:
        expected = Predictor(session).predict(crops)
    done = emonet("0.png", "1.png", "--model", onnx8, "--detector", "none", "--json", "r.json")
    assert done.exit_code == 0
    rows = json.loads((here / "r.json").read_text())
    for row, want in zip(rows, expected, strict=True):
        assert row["expression"] == want.expression
        assert row["valence"] == pytest.approx(want.valence, abs=2e-3)
        assert row["box"] == [0, 0, 256, 256]


def test_a_video_in_every_output_at_once(film, here):
    options = {
        "json": "r.json", "jsonl": "r.jsonl", "csv": "r.csv", "parquet": "r.parquet",
        "save": "copies", "timeline": "t.svg",
    }  # fmt: skip
    paths = {name: here / path for name, path in options.items()}
    assert fake_run("film.mp4", boxes=here / "boxes.csv", **paths) == 0
    rows = json.loads(paths["json"].read_text())
    assert rows == read_jsonl(paths["jsonl"])
    assert {row["frame"] for row in rows} == set(range(30))
    with open("r.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [(r["frame"], r["face"]) for r in table] == [
        (str(r["frame"]), str(r["face"])) for r in rows
    ]
    copy = VideoReader(here / "copies" / "film.mp4")
    assert copy.fps == pytest.approx(25)
    assert len(list(copy)) == 30
    assert "film.mp4" in paths["timeline"].read_text()


def test_known_boxes_are_used_as_they_are(film, here):
    assert fake_run("film.mp4", boxes=here / "boxes.csv", jsonl=here / "r.jsonl") == 0
    rows = read_jsonl(here / "r.jsonl")
    assert len(rows) == sum(map(len, film))
    np.testing.assert_allclose(rows[0]["box"], film[0][0], atol=0.01)


def test_the_packaged_detector_follows_a_film(film, here, capsys):
    assert fake_run("film.mp4", detector="centerface", jsonl=here / "r.jsonl") == 0
    rows = read_jsonl(here / "r.jsonl")
    assert {row["frame"] for row in rows} == set(range(30))
    faces = [row for row in rows if row["face"] is not None]
    assert len(faces) > 0.7 * sum(map(len, film))
    header, *lines = (text.split("\t") for text in capsys.readouterr().out.splitlines())
    frames = [int(dict(zip(header, line, strict=True))["frames"]) for line in lines]
    assert sum(frames) == len(faces)


def test_folders_patterns_and_lists_on_standard_input(here, monkeypatch):
    for name in ("a/1.png", "a/b/2.jpg", "a/b/notes.txt", "3.png"):
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".txt":
            path.write_text("no picture")
        else:
            cv2.imwrite(str(path), np.full((40, 30, 3), 99, np.uint8))
    # What is named twice is read once.
    listed = io.TextIOWrapper(io.BytesIO(b"a/1.png\n\n3.png\n"))
    monkeypatch.setattr("sys.stdin", listed)
    code = fake_run("a", "*.png", "-", detector="none", jsonl=here / "r.jsonl")
    assert code == 0
    assert [row["file"] for row in read_jsonl(here / "r.jsonl")] == [
        "a/1.png", "a/b/2.jpg", "3.png",
    ]  # fmt: skip


def test_copies_keep_the_tree_of_a_folder(here):
    for name in ("in/x/1.png", "in/y/1.png"):
        (here / name).parent.mkdir(parents=True)
        cv2.imwrite(name, np.full((40, 30, 3), 99, np.uint8))
    assert fake_run("in", detector="none", save=here / "out") == 0
    saved = [path.relative_to(here / "out").as_posix() for path in (here / "out").rglob("*.png")]
    assert sorted(saved) == ["x/1.png", "y/1.png"]


def test_a_picture_without_a_face_says_so(here, capsys):
    cv2.imwrite("wall.png", np.full((300, 400, 3), 127, np.uint8))
    assert fake_run("wall.png", detector="centerface", json=here / "r.json") == 0
    assert "no face" in capsys.readouterr().out
    (row,) = json.loads((here / "r.json").read_text())
    assert row["face"] is None
    assert row["file"] == "wall.png"


@pytest.mark.parametrize("shape", [(1, 1), (500, 1), (1, 500), (5, 7)])
@pytest.mark.parametrize("detector", ["none", "centerface"])
def test_pictures_of_any_shape(here, shape, detector):
    cv2.imwrite("thin.png", np.full((*shape, 3), 60, np.uint8))
    assert fake_run("thin.png", detector=detector, save=here / "out") == 0


def test_unreadable_files_among_good_ones_are_passed_over(astronaut, here, capsys):
    (here / "bad.png").write_text("not a picture")
    (here / "bad.mp4").write_text("not a video")
    assert fake_run("bad.png", astronaut, "bad.mp4", jsonl=here / "r.jsonl") == 1
    assert [row["file"] for row in read_jsonl(here / "r.jsonl")] == [astronaut]
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    assert "2 of 3 inputs" in errors[-1]


def test_a_single_unreadable_file_leaves_nothing(here, onnx8):
    (here / "bad.png").write_text("not a picture")
    message = fails("bad.png", "--model", onnx8, "--json", "r.json", "--save", "out")
    assert "bad.png" in message
    assert sorted(p.name for p in here.iterdir()) == ["bad.png"]


@pytest.mark.parametrize("output", ["--json", "--jsonl", "--csv", "--parquet", "--timeline"])
def test_an_output_that_exists_is_kept(astronaut, here, output):
    name = "there.svg" if output == "--timeline" else "there"
    (here / name).write_text("precious")
    # Refused before a model is looked for.
    assert f"{name} exists" in fails(astronaut, output, name, "--model", "none.onnx")
    assert (here / name).read_text() == "precious"


def test_an_output_that_exists_is_replaced_on_request(film, here):
    for name in ("r.csv", "out.mp4"):
        (here / name).write_text("old")
    options = {"csv": here / "r.csv", "save": here / "out.mp4", "boxes": here / "boxes.csv"}
    assert "out.mp4 exists" in fails("film.mp4", "--save", "out.mp4")
    assert fake_run("film.mp4", force=True, **options) == 0
    assert len(list(VideoReader(here / "out.mp4"))) == 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no input named"),
        (("missing.png",), "missing.png does not exist"),
        (("*.nothing",), "nothing matches"),
        (("empty",), "holds no picture or video"),
        (("astronaut.png", "--boxes", "missing.csv"), "cannot read the boxes"),
        (("astronaut.png", "--save", "out.mp4"), "cannot hold a picture"),
        (("empty", "missing.png"), "holds no picture or video"),
        (("astronaut.png", "--save", "out.gif"), "cannot write out.gif"),
        (("astronaut.png", "--timeline", "t.svg"), "a timeline shows one video"),
        (("astronaut.png", "--save", "astronaut.png", "--force"), "is an input"),
        (("astronaut.png", "other/astronaut.png", "--save", "out"), "would both be saved"),
        (("astronaut.png", "--json", "x", "--csv", "x"), "named for two outputs"),
        (("astronaut.png", "--json", "empty"), "is a folder"),
        (("astronaut.png", "--timeline", "t.pdf"), "ends in .svg"),
    ],
)
def test_wrong_requests_are_one_line(astronaut, here, arguments, message):
    (here / "empty").mkdir()
    (here / "other").mkdir()
    (here / "other" / astronaut).touch()
    assert message in fails(*arguments)


def test_a_camera_that_is_not_there(here, onnx8):
    message = fails("--camera", "63", "--model", onnx8, "--detector", "none", "--csv", "r.csv")
    assert "camera 63 is not there" in message
    assert list(here.iterdir()) == []


def test_without_a_detector_pictures_are_crops_and_videos_an_error(film, here, monkeypatch, capsys):
    from emonet_deploy.runtime.detection import centerface

    monkeypatch.setenv("EMONET_HOME", str(here))
    monkeypatch.setattr(centerface, "is_installed", lambda: False)
    cv2.imwrite("crop.png", np.full((100, 80, 3), 99, np.uint8))
    assert fake_run("crop.png", jsonl=here / "r.jsonl") == 0
    assert read_jsonl(here / "r.jsonl")[0]["box"] == [0, 0, 80, 100]
    assert "taken as a ready face crop" in capsys.readouterr().err
    assert "no face detector is at hand" in fails("film.mp4")


SLOW_SESSION = """
import sys, time
from emonet_deploy import cli
from emonet_deploy.runtime.backends import registry
from helpers.fake_session import FakeSession

class Slow(FakeSession):
    def _run(self, images):
        time.sleep(0.05)
        return super()._run(images)

registry.load_session = lambda *arguments, **options: Slow()
cli.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_valid_outputs_up_to_there(here, number):
    truths = write_film("film.mp4", 300)
    with open("boxes.csv", "w") as file:
        print("file,frame,x0,y0,x1,y1", file=file)
        for index, truth in enumerate(truths):
            print("film.mp4", index, *truth[0], sep=",", file=file)
    command = [
        sys.executable, "-c", SLOW_SESSION, "predict", "film.mp4", "--model", "any.onnx",
        "--boxes", "boxes.csv", "--batch", "1", "--jsonl", "r.jsonl", "--json", "r.json",
        "--csv", "r.csv", "--parquet", "r.parquet", "--save", "out.mp4", "--timeline", "t.svg",
    ]  # fmt: skip
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    environment = os.environ | {"PYTHONPATH": path}
    with subprocess.Popen(command, env=environment, stderr=-1, stdout=-1) as run:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and run.poll() is None:
            begun = list(here.glob(".*.jsonl"))
            if begun and begun[0].read_text().count("\n") >= 3:
                break
            time.sleep(0.02)
        run.send_signal(number)
        out, errors = run.communicate(timeout=60)
    assert run.returncode == 130, errors
    assert b"Traceback" not in errors
    rows = read_jsonl(here / "r.jsonl")
    assert 3 <= len(rows) < 300
    assert json.loads((here / "r.json").read_text()) == rows
    assert [row["frame"] for row in rows] == list(range(len(rows)))
    frames = list(VideoReader(here / "out.mp4"))
    assert len(frames) == len(rows)
    assert frames[0].image.shape[1] == WIDTH
    assert len((here / "r.csv").read_text().splitlines()) == len(rows) + 1
    assert pyarrow.parquet.read_table("r.parquet").num_rows == len(rows)
    assert (here / "t.svg").read_text().endswith("</svg>\n")
    assert f"\t{len(rows)}\t".encode() in out
    assert not list(here.glob(".*"))
