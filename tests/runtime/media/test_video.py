import os

import cv2
import numpy as np
import pytest
from helpers.clips import FPS, HEIGHT, WIDTH, write_film

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.media.video import VideoReader


@pytest.fixture(scope="module")
def film_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "film.mp4"
    write_film(path, 40)
    return path


def test_a_video_tells_its_rate_and_yields_every_frame_with_its_time(film_file):
    reader = VideoReader(film_file)
    assert reader.fps == pytest.approx(FPS)
    frames = list(reader)
    assert [frame.index for frame in frames] == list(range(40))
    np.testing.assert_allclose([f.time for f in frames], np.arange(40) / FPS, atol=2e-3)
    assert {frame.image.shape for frame in frames} == {(HEIGHT, WIDTH, 3)}
    assert reader.broken == 0


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


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is empty"),
        (b"hello", "it is text"),
        (bytes(5000), "it is nothing but zeros"),
        (b"<!doctype html><p>Sign in", "it is an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1", "it is a Git LFS pointer"),
        (b"\x1a\x45\xdf\xa3" + bytes(50), "it is damaged, cut off"),
    ],
)
def test_files_that_are_no_video(tmp_path, content, told):
    (tmp_path / "x.mp4").write_bytes(content)
    with pytest.raises(InputError, match=rf"cannot open .*x\.mp4 as a video: {told}"):
        VideoReader(tmp_path / "x.mp4")


@pytest.mark.parametrize(
    ("name", "count", "fps"),
    [
        ("steady.mp4", 24, 15),
        ("trimmed.mp4", 16, 15),  # an edit list: 8 of its 24 frames are cut out
        ("starts_late.mkv", 24, 15),  # a piece of a recording that began an hour before
        ("recorder.webm", 24, 29.8),  # says 1000 frames per second
        ("camera.mxf", 2, 25),
    ],
)
def test_nothing_is_missing_in_a_file_that_is_whole(data, name, count, fps):
    reader = VideoReader(data / "field" / name)
    frames = list(reader)
    assert [frame.index for frame in frames] == list(range(count))
    assert reader.broken == 0
    assert reader.fps == pytest.approx(fps, rel=0.02)
    assert frames[0].time == 0
    assert frames[-1].time <= count / fps


def test_frames_are_shown_with_square_pixels(data):
    """The clip is 48 x 72 pixels, each twice as wide as high; players show 96 x 72."""
    frames = list(VideoReader(data / "field" / "wide_pixels.mp4"))
    assert {frame.image.shape for frame in frames} == {(72, 96, 3)}


@pytest.mark.parametrize(
    ("aspect", "angle", "shape"),
    [
        ("64/45", 0, (90, 171)),
        ("8/9", 0, (101, 120)),
        ("2/1", 90, (240, 90)),
        ("2/1", 180, (90, 240)),
    ],
)
def test_pixels_of_any_shape_and_turned_pictures(tmp_path, aspect, angle, shape):
    av = pytest.importorskip("av")
    from fractions import Fraction

    path = tmp_path / "x.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 120, 90, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        for i in range(5):
            image = np.full((90, 120, 3), 40 * i, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode(None))
    if angle:  # which PyAV cannot write: the matrix of the track's header
        content = path.read_bytes()
        one, none = (1 << 16).to_bytes(4, "big"), bytes(4)
        upright = one + none * 3 + one + none * 3 + (1 << 30).to_bytes(4, "big")
        minus = (-(1 << 16)).to_bytes(4, "big", signed=True)
        turned = {
            90: none + one + none + minus + none * 4,
            180: minus + none * 3 + minus + none * 3,
        }[angle] + (1 << 30).to_bytes(4, "big")
        at = content.index(upright, content.index(b"tkhd"))
        path.write_bytes(content[:at] + turned + content[at + 36 :])
    frame = next(iter(VideoReader(path)))
    assert frame.image.shape[:2] == shape


def test_a_codec_that_opencv_lacks_is_named(data):
    with pytest.raises(InputError, match=r"is coded as AV1, which OpenCV cannot decode.*H\.264"):
        list(VideoReader(data / "field" / "av1.mp4"))


def test_names_that_are_no_utf8_are_read(data, tmp_path):
    folder = tmp_path / os.fsdecode(b"f\xe9")
    folder.mkdir()
    for name in (b"v\xe9.mp4", b"v.mp4"):
        path = folder / os.fsdecode(name)
        path.write_bytes((data / "field" / "steady.mp4").read_bytes())
        assert len(list(VideoReader(path))) == 24
    with pytest.raises(InputError, match=r"caf\\xe9\.mp4 does not exist"):
        VideoReader(tmp_path / os.fsdecode(b"caf\xe9.mp4"))


def test_pauses_lower_no_rate(tmp_path):
    """A clip at a variable rate: its mean is 5 frames per second, its frames are 1/15 s apart."""
    av = pytest.importorskip("av")
    from fractions import Fraction

    times = [*range(6), *range(30, 36)]
    with av.open(str(tmp_path / "x.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=15)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 15)
        for i in times:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 5 * i, np.uint8))
            frame.pts, frame.time_base = i, Fraction(1, 15)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    reader = VideoReader(tmp_path / "x.mp4")
    assert reader.fps == pytest.approx(15, rel=0.02)
    assert [round(15 * frame.time) for frame in reader] == times
    assert reader.broken == 0


def test_frames_lost_inside_an_avi_are_counted(tmp_path):
    write_film(tmp_path / "x.avi", 40, codec="MJPG")
    content = bytearray((tmp_path / "x.avi").read_bytes())
    third = len(content) // 3
    content[third : third + len(content) // 10] = bytes(len(content) // 10)
    (tmp_path / "x.avi").write_bytes(content)
    reader = VideoReader(tmp_path / "x.avi")
    assert 30 < len(list(reader)) < 40
    assert reader.broken == 40 - len(list(VideoReader(tmp_path / "x.avi")))


@pytest.mark.parametrize("every", [1, 3, 10, 100])
def test_every_nth_frame(film_file, every):
    frames = list(VideoReader(film_file, every=every))
    assert [frame.index for frame in frames] == list(range(0, 40, every))
    assert {frame.fps for frame in frames} == {FPS / every}
    np.testing.assert_allclose([f.time for f in frames], np.arange(0, 40, every) / FPS, atol=2e-3)


@pytest.mark.parametrize("rate", [1, 3, 5, 10, 24, 25, 60])
def test_no_more_frames_of_a_second_than_wanted(film_file, rate):
    times = [frame.time for frame in VideoReader(film_file, max_fps=rate)]
    assert len(times) == pytest.approx(min(rate, FPS) * 40 / FPS, abs=1.5)
    steps = np.diff(times)
    assert (steps >= 1 / rate - 1 / FPS - 2e-3).all()


def test_the_cover_of_a_sound_file_is_one_frame(tmp_path):
    """An .m4v may hold nothing but sound and its cover, at 90,000 ticks of a second."""
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "x.m4v"), "w", format="mp4") as file:
        cover = file.add_stream("mjpeg", rate=90_000)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        sound = file.add_stream("aac", rate=44100, layout="mono")
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 99, np.uint8))
        file.mux(cover.encode(frame))
        file.mux(cover.encode(None))
        for start in range(0, 44100, 1024):
            block = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            block.sample_rate, block.pts = 44100, start
            file.mux(sound.encode(block))
        file.mux(sound.encode(None))
    reader = VideoReader(tmp_path / "x.m4v")
    assert len(list(reader)) == 1
    assert reader.broken == 0
    assert reader.fps <= 240
