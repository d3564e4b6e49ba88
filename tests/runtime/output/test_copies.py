from pathlib import Path

import numpy as np
import pytest

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.media.frame import Frame
from emonet_deploy.runtime.media.image import read_image
from emonet_deploy.runtime.media.inputs import Source
from emonet_deploy.runtime.media.video import VideoReader
from emonet_deploy.runtime.output.copies import CopiesSink, plan_copies, write_picture
from emonet_deploy.runtime.pipeline.pipeline import FaceResult, FrameResult
from emonet_deploy.runtime.pipeline.predictor import Prediction


def sources(*names):
    return [Source(Path("in", name), Path(name)) for name in names]


def planned(*names, camera=None):
    plan = plan_copies(Path("out"), sources(*names), camera)
    return [path.relative_to("out").as_posix() for path in plan.values()]


def test_copies_keep_their_names_where_their_endings_can_be_written():
    assert planned("a.jpg", "b/c.mkv", "d.gif", "e.wmv") == ["a.jpg", "b/c.mkv", "d.png", "e.mp4"]


def test_what_differs_in_its_ending_only_keeps_it():
    assert planned("b.gif", "b.png") == ["b.gif.png", "b.png"]
    assert planned("C0001.ts", "C0001.mp4", "C0001.mxf") == [
        "C0001.ts.mp4", "C0001.mp4", "C0001.mxf.mp4",
    ]  # fmt: skip
    with pytest.raises(InputError, match="would both be saved"):
        plan_copies(Path("out"), [*sources("b.png"), Source(Path("x/b.png"), Path("b.png"))], None)


@pytest.mark.parametrize(
    "name",
    ["out.gif", "out.wmv", "out.m2ts", "out.avif", "out.heic", "out.pdf", "out.jfif", "out.svg",
     "OUT.GIF", "a/b.mxf", "out.mp3", "out.html"],
)  # fmt: skip
def test_an_ending_that_cannot_be_written_is_no_folder(name):
    with pytest.raises(InputError, match=r"cannot write .*end a video in .mp4"):
        plan_copies(Path(name), sources("a.mp4"), None)


@pytest.mark.parametrize("name", ["out", "run.2024", "results.v1", "a.b/c"])
def test_folders_may_have_dots(name):
    plan = plan_copies(Path(name), sources("a.mp4"), None)
    assert list(plan.values()) == [Path(name, "a.mp4")]


def test_a_folder_that_exists_may_be_called_anything(tmp_path):
    for name in ("x.gif", "x.mp4"):
        (tmp_path / name).mkdir()
        plan = plan_copies(tmp_path / name, sources("a.mp4", "b.png"), None)
        assert set(plan.values()) == {tmp_path / name / "a.mp4", tmp_path / name / "b.png"}


def test_cameras_have_a_name_that_files_may_have():
    assert planned(camera=0) == ["camera_0.mp4"]
    assert planned(camera="rtsp://me:secret@10.0.0.9:554/a?b=c") == [
        "camera_rtsp_10.0.0.9_554_a_b_c.mp4"
    ]


def test_what_is_not_there_has_no_copy():
    gone = Source(Path("gone.png"), Path("gone.png"), problem="gone.png does not exist")
    plan = plan_copies(Path("one.png"), [*sources("a.png"), gone], None)
    assert plan == {"in/a.png": Path("one.png")}


def test_each_clip_and_each_picture_has_a_copy_of_its_own(tmp_path):
    plan = {name: tmp_path / name for name in ("a.avi", "b.png", "c.avi")}
    with CopiesSink(plan) as sink:
        for name, level in (("a.avi", 60), ("b.png", 90), ("c.avi", 120)):
            image = np.full((48, 64, 3), level, np.uint8)
            times = [None] if name == "b.png" else [i / 25 for i in range(4)]
            for i, time in enumerate(times):
                sink.append(FrameResult(Frame(image, name, i, time, 25.0), ()))
    for name, level in (("a.avi", 60), ("c.avi", 120)):
        frames = list(VideoReader(plan[name]))
        assert len(frames) == 4
        assert frames[0].image.mean() == pytest.approx(level, abs=4)
    assert read_image(plan["b.png"]).mean() == pytest.approx(90)


def test_landmarks_are_drawn_unless_told_otherwise(tmp_path):
    """All in one place, away from the box and its label."""
    points = np.tile(np.array([400.0, 300.0, 1.0], np.float32), (68, 1))
    said = Prediction("happy", {"happy": 1.0}, 0.5, 0.5, points)
    face = FaceResult(0, (100.0, 100.0, 200.0, 200.0), 0.9, said)
    image = np.zeros((480, 640, 3), np.uint8)
    for options, drawn in (({}, True), ({"landmarks": True}, True), ({"landmarks": False}, False)):
        with CopiesSink({"x": tmp_path / "x.png"}, **options) as sink:
            sink.append(FrameResult(Frame(image, "x"), (face,)))
        assert read_image(tmp_path / "x.png")[290:310, 390:410].any() == drawn


@pytest.mark.parametrize(("name", "width"), [("x.xyz", 8), ("x", 8), ("x.webp", 17_000)])
def test_a_picture_that_no_format_takes_is_one_line(tmp_path, name, width):
    with pytest.raises(InputError, match=r"cannot write a picture as .*end it in \.png") as caught:
        write_picture(tmp_path / name, np.zeros((8, width, 3), np.uint8))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_written_in_its_colours(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    for name in ("x.png", "y.TIFF", "z.bmp"):
        write_picture(tmp_path / name, image)
        np.testing.assert_array_equal(read_image(tmp_path / name), image)
