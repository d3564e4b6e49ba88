from pathlib import Path
from threading import Event

import cv2
import numpy as np
import pytest

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.media import source_reader as reader_module
from emonet_deploy.runtime.media.frame import Frame
from emonet_deploy.runtime.media.inputs import Source
from emonet_deploy.runtime.media.source_reader import SourceReader


class Camera:
    """Stands for a camera, which a test machine lacks: shows some pictures, then fails."""

    def __init__(self, pictures):
        self.pictures = pictures

    def __iter__(self):
        for index in range(self.pictures):
            yield Frame(np.zeros((8, 8, 3), np.uint8), "camera 0", index, index / 30, 30.0)
        raise InputError("camera 0 stopped answering; check its cable")


def test_a_camera_that_is_unplugged_ends_the_recording_but_keeps_it(monkeypatch):
    monkeypatch.setattr(reader_module, "CameraReader", lambda number, **options: Camera(3))
    said = []
    reader = SourceReader([], 0, say=said.append)
    assert [frame.index for frame in reader] == [0, 1, 2]
    assert reader.unreadable == 1
    assert len(said) == 1
    assert "camera 0 stopped answering" in said[0]


def test_a_camera_that_shows_nothing_is_an_error(monkeypatch):
    monkeypatch.setattr(reader_module, "CameraReader", lambda number, **options: Camera(0))
    with pytest.raises(InputError, match="stopped answering"):
        list(SourceReader([], 0))


def test_the_stream_ends_where_it_is_stopped(tmp_path):
    found = []
    for name in ("a.png", "b.png", "c.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((8, 8, 3), np.uint8))
        found.append(Source(tmp_path / name, Path(name)))
    stop = Event()
    seen = []
    for frame in SourceReader(found, stop=stop):
        seen.append(Path(frame.source).name)
        if len(seen) == 2:
            stop.set()
    assert seen == ["a.png", "b.png"]


def test_an_upright_picture_comes_out_of_a_turned_one(tmp_path):
    """EXIF orientation 6: the camera was turned; the first row is the right side."""
    import io

    from PIL import Image

    upright = np.zeros((40, 30, 3), np.uint8)
    upright[:20] = 200
    turned = Image.fromarray(np.rot90(upright))
    exif = Image.Exif()
    exif[0x0112] = 6
    data = io.BytesIO()
    turned.save(data, "JPEG", exif=exif, quality=95)
    (tmp_path / "turned.jpg").write_bytes(data.getvalue())
    (frame,) = SourceReader([Source(tmp_path / "turned.jpg", Path("turned.jpg"))])
    assert frame.image.shape == (40, 30, 3)
    assert frame.image[:18].mean() > 190
    assert frame.image[22:].mean() < 10


def sources(folder, data, *names):
    """Pictures of 8 x 8 pixels, a clip of 24 frames, what cannot be read, what is not there."""
    found = []
    for name in names:
        path, problem = folder / name, None
        if name.endswith(".png"):
            cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
        elif name.startswith("broken"):
            path.write_bytes(b"text")
        elif name.endswith(".mp4"):
            path.write_bytes((data / "field" / "steady.mp4").read_bytes())
        else:
            problem = f"{name} does not exist"
        found.append(Source(path, Path(name), problem=problem))
    return found


def test_files_come_in_their_order_and_what_cannot_be_read_is_counted(tmp_path, data):
    said = []
    names = ("a.png", "broken.jpg", "clip.mp4", "gone", "b.png")
    reader = SourceReader(sources(tmp_path, data, *names), say=said.append)
    frames = list(reader)
    assert [Path(frame.source).name for frame in frames] == ["a.png", *["clip.mp4"] * 24, "b.png"]
    assert (reader.unreadable, reader.broken) == (2, 0)
    assert [line.startswith("passed over: ") for line in said] == [True, True]
    assert "broken.jpg" in said[0]
    assert "gone does not exist" in said[1]
    assert frames[0].time is None
    assert frames[1].time == 0


def test_a_single_file_that_cannot_be_read_is_an_error_and_so_is_each_of_several(tmp_path, data):
    with pytest.raises(InputError, match="gone does not exist"):
        list(SourceReader(sources(tmp_path, data, "gone")))
    reader = SourceReader(sources(tmp_path, data, "gone", "broken.jpg"))
    with pytest.raises(InputError, match="none of the 2 files can be read"):
        list(reader)
    assert reader.unreadable == 2
    assert list(SourceReader([])) == []


def test_clips_are_thinned_out_and_pictures_are_not(tmp_path, data):
    names = ("a.png", "b.png", "clip.mp4")
    every = list(SourceReader(sources(tmp_path, data, *names), every=6))
    assert [frame.index for frame in every] == [0, 0, 0, 6, 12, 18]
    few = list(SourceReader(sources(tmp_path, data, *names), max_fps=5))  # of 15
    assert [frame.index for frame in few] == [0, 0, *range(0, 24, 3)]


def test_missing_frames_are_counted_over_all_clips(tmp_path):
    code = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(tmp_path / "x.avi"), cv2.CAP_FFMPEG, code, 25, (64, 48))
    rng = np.random.default_rng(0)
    for _ in range(30):
        writer.write(rng.integers(0, 256, (48, 64, 3), np.uint8))
    writer.release()
    whole, found = (tmp_path / "x.avi").read_bytes(), []
    for name in ("x.avi", "y.avi"):
        (tmp_path / name).write_bytes(whole[: len(whole) * 6 // 10])
        found.append(Source(tmp_path / name, Path(name)))
    said = []
    reader = SourceReader(found, say=said.append)
    frames = len(list(reader))
    assert frames + reader.broken == 60
    assert reader.broken > 20
    assert said == [
        f"passed over: {reader.broken // 2} broken or missing frames of {tmp_path / name}"
        for name in ("x.avi", "y.avi")
    ]
    assert reader.unreadable == 0
