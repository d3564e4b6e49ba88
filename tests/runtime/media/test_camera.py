import threading
from contextlib import suppress
from itertools import pairwise

import pytest
from helpers.mjpeg_camera import mjpeg_camera

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.media import camera
from emonet_deploy.runtime.media.camera import CameraReader, camera_name


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(camera, "_WAITS", (0.01, 0.01))


def test_a_camera_that_is_not_there():
    with pytest.raises(InputError, match="camera 63 is not there"):
        CameraReader(63)


def until_lost(reader):
    """All frames up to the end, at which nobody answers any more."""
    frames, stream = [], iter(reader)
    with suppress(InputError):
        while True:
            frames.append(next(stream))
    return frames


def test_a_network_camera_is_read_and_found_again_when_it_was_lost():
    said = []
    with mjpeg_camera(30, 20) as address:
        reader = CameraReader(address, say=said.append)
        frames = until_lost(reader)
    assert reader.broken == 1
    assert said[0].endswith("stopped answering; trying again")
    assert said[1].endswith("is back")
    # What comes last before a connection ends may be lost with it.
    assert 46 <= len(frames) <= 50
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert all(a.time <= b.time for a, b in pairwise(frames))
    assert frames[0].image.shape == (48, 64, 3)
    assert [round(frame.image.mean() / 5) for frame in frames[:5]] == [0, 1, 2, 3, 4]


def test_every_nth_frame_of_a_camera():
    with mjpeg_camera(30) as address:
        frames = until_lost(CameraReader(address, every=7))
    assert [frame.index for frame in frames] == [0, 7, 14, 21, 28][: len(frames)]
    assert len(frames) >= 4


def test_waiting_for_a_lost_camera_ends_when_it_is_stopped(monkeypatch):
    monkeypatch.setattr(camera, "_WAITS", (60.0,))
    stop = threading.Event()
    with mjpeg_camera(10) as address:
        reader = CameraReader(address, say=lambda message: stop.set(), stop=stop)
        with pytest.raises(InputError, match="stopped answering"):
            list(reader)


def test_a_clip_behind_an_address_is_no_camera(data):
    clip = (data / "field" / "steady.mp4").read_bytes()
    with mjpeg_camera(clip=clip) as address, pytest.raises(InputError, match="is a clip, not a"):
        CameraReader(address)


def test_a_password_is_not_told():
    assert (
        camera_name("rtsp://me:secret@10.0.0.9:554/a?b=c") == "camera rtsp://***@10.0.0.9:554/a?b=c"
    )
    assert camera_name("http://host/live") == "camera http://host/live"
    assert camera_name(2) == "camera 2"
    with pytest.raises(InputError) as failure:
        CameraReader("http://me:secret@127.0.0.1:9/x")
    assert "secret" not in str(failure.value)
