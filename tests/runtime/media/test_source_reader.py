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
