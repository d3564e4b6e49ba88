import os

import numpy as np
import pytest

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.media import h264_writer as h264
from emonet_deploy.runtime.media.video import VideoReader
from emonet_deploy.runtime.media.video_writer import WRITABLE_VIDEOS, write_video


@pytest.fixture(autouse=True, params=["OpenCV", "PyAV"])
def writer(request, monkeypatch):
    """Both ways of writing; PyAV is not installed everywhere."""
    if request.param == "OpenCV":
        monkeypatch.setattr(h264, "is_installed", lambda: False)
    return request.param


def numbered(number, width=64, height=48):
    """A frame whose brightness tells its number, whatever the codec does to it."""
    return np.full((height, width, 3), 20 + 10 * number, np.uint8)


def numbers(path):
    return [round((frame.image.mean() - 20) / 10) for frame in VideoReader(path)]


def test_colours_are_rgb(tmp_path):
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 200
    with write_video(tmp_path / "red.avi", 10) as video:
        video.write(red, 0.0)
    (frame,) = VideoReader(tmp_path / "red.avi")
    np.testing.assert_allclose(frame.image.mean((0, 1)), (200, 0, 0), atol=12)


@pytest.mark.parametrize("suffix", WRITABLE_VIDEOS)
def test_every_format_comes_back_with_rate_size_and_frames(tmp_path, suffix):
    path = tmp_path / f"clip{suffix}"
    with write_video(path, 29.97) as video:
        for i in range(12):
            video.write(numbered(i, 65, 47), i / 29.97)
    reader = VideoReader(path)
    assert reader.fps == pytest.approx(29.97, abs=0.01)
    frames = list(reader)
    # Codecs want even sides: an odd one grows by a pixel.
    assert frames[0].image.shape == (48, 66, 3)
    assert [round((f.image.mean() - 20) / 10) for f in frames] == list(range(12))


def test_frames_stand_where_their_time_puts_them(tmp_path):
    path = tmp_path / "gap.avi"
    with write_video(path, 10) as video:
        # A gap of two frames, three frames for one place, and a first time that is not 0.
        for number, time in ((0, 5.0), (1, 5.1), (4, 5.4), (5, 5.41), (6, 5.42), (7, 5.5)):
            video.write(numbered(number), time)
    # The second of the three waits for the next place, the third is dropped.
    assert numbers(path) == [0, 1, 1, 1, 4, 5, 7]


@pytest.mark.parametrize("suffix", ["avi", "mp4"])
def test_a_wild_jump_of_time_does_not_fill_the_disk(tmp_path, suffix):
    path = tmp_path / f"jump.{suffix}"
    with write_video(path, 10) as video:
        video.write(numbered(0), 0.0)
        video.write(numbered(1), 1e6)
        video.write(numbered(2), 1e6 + 0.1)
    assert numbers(path)[-2:] == [1, 2]
    assert len(numbers(path)) < 110


def test_a_failed_run_leaves_no_video(tmp_path):
    path = tmp_path / "out.mp4"

    def run():
        with write_video(path, 25) as video:
            video.write(numbered(0), 0.0)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        run()
    assert list(tmp_path.iterdir()) == []


def test_unwritable_videos_are_one_line(tmp_path):
    with pytest.raises(InputError, match=r"ends in \.mp4"), write_video(tmp_path / "x.gif", 25):
        pass
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match=r"cannot write .*(folder|place)"),
        write_video(tmp_path / "file" / "x.mp4", 25) as video,
    ):
        video.write(numbered(0), 0.0)


def test_a_name_that_is_no_utf8_is_written(tmp_path):
    folder = tmp_path / os.fsdecode(b"f\xe9")
    for suffix in ("mp4", "avi", "webm"):
        path = folder / os.fsdecode(b"v\xe9." + suffix.encode())
        with write_video(path, 25) as video:
            for i in range(5):
                video.write(numbered(i), i / 25)
        assert numbers(path) == [0, 1, 2, 3, 4]
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize("suffix", WRITABLE_VIDEOS)
def test_nothing_is_printed_of_a_usual_format(tmp_path, capfd, suffix):
    with write_video(tmp_path / f"x{suffix}", 25) as video:
        video.write(numbered(0), 0.0)
    assert capfd.readouterr() == ("", "")


def test_frames_at_an_uneven_pace_keep_their_times(tmp_path, writer):
    times = [0.0, 0.04, 0.09, 0.12, 0.5, 0.54]
    with write_video(tmp_path / "x.mp4", 25) as video:
        for number, time in enumerate(times):
            video.write(numbered(number), time)
    frames = [(f.time, round((f.image.mean() - 20) / 10)) for f in VideoReader(tmp_path / "x.mp4")]
    first = {number: time for time, number in reversed(frames)}
    np.testing.assert_allclose([first[n] for n in range(6)], times, atol=0.021)
    if writer == "PyAV":
        assert len(frames) == 6


def with_sound(path, seconds=2.0):
    """A clip of grey frames, a tone that begins half a second in, by another library."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = file.add_stream("aac", rate=44100, layout="mono")
        for i in range(round(25 * seconds)):
            frame = av.VideoFrame.from_ndarray(numbered(i % 20), format="rgb24")
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        t = np.arange(round(44100 * seconds)) / 44100
        tone = (np.sin(2 * np.pi * 440 * t) * (t >= 0.5) * 0.5).astype(np.float32)
        for start in range(0, len(tone) - 1024, 1024):
            block = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], "fltp", "mono")
            block.sample_rate, block.pts = 44100, start
            file.mux(sound.encode(block))
        file.mux(sound.encode(None))


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_the_sound_of_a_clip_goes_along_where_pyav_is_installed(tmp_path, writer, suffix):
    av = pytest.importorskip("av")
    with_sound(tmp_path / "talk.mp4")
    path = tmp_path / f"copy.{suffix}"
    with write_video(path, 25, tmp_path / "talk.mp4") as video:
        for frame in VideoReader(tmp_path / "talk.mp4"):
            video.write(frame.image, frame.time)
    with av.open(str(path)) as copy:
        assert len(copy.streams.audio) == (writer == "PyAV")
        if writer == "OpenCV":
            return
        assert copy.streams.video[0].codec_context.name == "h264"
        blocks = [block.to_ndarray().ravel() for block in copy.decode(audio=0)]
    heard = np.concatenate(blocks)
    loud = np.flatnonzero(np.abs(heard) > 0.1) / 44100
    assert loud[0] == pytest.approx(0.5, abs=0.06)
    assert loud[-1] == pytest.approx(2.0, abs=0.1)


def test_a_clip_without_sound_and_one_that_is_gone_are_copied_without(tmp_path, data):
    for source in (data / "field" / "steady.mp4", tmp_path / "gone.mp4"):
        path = tmp_path / f"{source.stem}_copy.mp4"
        with write_video(path, 25, source) as video:
            for i in range(3):
                video.write(numbered(i), i / 25)
        assert numbers(path) == [0, 1, 2]
