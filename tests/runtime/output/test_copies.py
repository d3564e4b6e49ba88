from pathlib import Path

import pytest

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.media.inputs import Source
from emonet_deploy.runtime.output.copies import plan_copies


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
