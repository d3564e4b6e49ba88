import cv2
import numpy as np
import pytest
from helpers.clips import FPS, HEIGHT, WIDTH, write_film

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.media.video import VideoReader
from emonet_deploy.runtime.media.video_writer import WRITABLE_VIDEOS, write_video


@pytest.fixture(scope="module")
def film_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "film.mp4"
    write_film(path, 40)
    return path


def numbered(number, width=64, height=48):
    """A frame whose brightness tells its number, whatever the codec does to it."""
    return np.full((height, width, 3), 20 + 10 * number, np.uint8)


def numbers(path):
    return [round((frame.image.mean() - 20) / 10) for frame in VideoReader(path)]


def test_a_video_tells_its_rate_and_yields_every_frame_with_its_time(film_file):
    reader = VideoReader(film_file)
    assert reader.fps == pytest.approx(FPS)
    frames = list(reader)
    assert [frame.index for frame in frames] == list(range(40))
    np.testing.assert_allclose([f.time for f in frames], np.arange(40) / FPS, atol=2e-3)
    assert {frame.image.shape for frame in frames} == {(HEIGHT, WIDTH, 3)}
    assert reader.broken == 0


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
        # A gap of two frames, two frames for one place, and a first time that is not 0.
        for number, time in ((0, 5.0), (1, 5.1), (4, 5.4), (5, 5.41), (6, 5.5)):
            video.write(numbered(number), time)
    assert numbers(path) == [0, 1, 1, 1, 4, 6]


def test_a_wild_jump_of_time_does_not_fill_the_disk(tmp_path):
    path = tmp_path / "jump.avi"
    with write_video(path, 10) as video:
        video.write(numbered(0), 0.0)
        video.write(numbered(1), 1e6)
        video.write(numbered(2), 1e6 + 0.1)
    assert numbers(path)[-2:] == [1, 2]
    assert len(numbers(path)) < 110


def test_broken_frames_are_counted_and_passed_over(film_file, tmp_path):
    content = bytearray(film_file.read_bytes())
    third = len(content) // 3
    content[third : third + len(content) // 10] = bytes(len(content) // 10)
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    reader = VideoReader(path)
    frames = list(reader)
    assert reader.broken > 0
    assert len(frames) + reader.broken == 40
    # The frames after the hole keep their number and time.
    assert frames[-1].index == 39
    assert frames[-1].time == pytest.approx(39 / FPS, abs=2e-3)


@pytest.mark.parametrize(("suffix", "codec"), [("avi", "MJPG"), ("mkv", "mp4v")])
def test_a_video_that_ends_in_the_middle_of_a_frame(tmp_path, suffix, codec):
    whole = tmp_path / f"whole.{suffix}"
    write_film(whole, 40, codec=codec)
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
    reader = VideoReader(path)
    count = len(list(reader))
    assert 10 < count < 40
    assert reader.broken == 40 - count


def test_an_mp4_without_its_end_is_one_line(film_file, tmp_path):
    path = tmp_path / "cut.mp4"
    path.write_bytes(film_file.read_bytes()[:-5000])
    with pytest.raises(InputError, match=r"cannot open .*cut\.mp4 as a video"):
        VideoReader(path)


def test_a_video_without_frames(tmp_path):
    path = tmp_path / "empty.avi"
    codec = cv2.VideoWriter.fourcc(*"MJPG")
    cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, 25, (64, 48)).release()
    with pytest.raises(InputError, match="holds no frame"):
        list(VideoReader(path))


def test_an_unknown_codec(tmp_path):
    path = tmp_path / "unknown.avi"
    write_film(path, 5, codec="MJPG")
    path.write_bytes(path.read_bytes().replace(b"MJPG", b"Zq9!"))
    with pytest.raises(InputError, match=r"unknown\.avi"):
        list(VideoReader(path))


@pytest.mark.parametrize("content", [b"", b"hello", bytes(5000)])
def test_files_that_are_no_video(tmp_path, content):
    (tmp_path / "x.mp4").write_bytes(content)
    with pytest.raises(InputError, match=r"cannot open .*x\.mp4"):
        VideoReader(tmp_path / "x.mp4")


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
        pytest.raises(InputError, match="cannot write"),
        write_video(tmp_path / "file" / "x.mp4", 25) as video,
    ):
        video.write(numbered(0), 0.0)
