import cv2
import numpy as np
import pytest

from emonet_deploy.runtime.media.video_truncation import is_cut_short


def clip(path, codec):
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 25, (64, 48)
    )
    rng = np.random.default_rng(0)
    for _ in range(20):
        writer.write(rng.integers(0, 256, (48, 64, 3), np.uint8))
    writer.release()
    return path.read_bytes()


@pytest.mark.parametrize(
    ("suffix", "codec"), [("avi", "MJPG"), ("mkv", "mp4v"), ("webm", "VP80"), ("mp4", "mp4v")]
)
def test_a_part_of_a_file_is_told_from_the_whole(tmp_path, suffix, codec):
    whole = clip(tmp_path / f"whole.{suffix}", codec)
    part = tmp_path / f"part.{suffix}"
    for content, cut in (
        (whole, False),
        (whole[:-100], True),
        (whole[: len(whole) // 2], True),
        (whole[: len(whole) // 2] + bytes(len(whole) // 2), True),
    ):
        part.write_bytes(content)
        assert is_cut_short(part) is cut


def test_whole_files_of_others_are_whole(data):
    for path in (data / "field").iterdir():
        if path.suffix in {".mp4", ".mkv", ".webm", ".mxf"}:
            assert not is_cut_short(path), path.name


@pytest.mark.parametrize(
    "content", [b"", b"RIFF\0\0\0\0AVI ", b"\x1a\x45\xdf\xa3", b"\0\0\0\0ftyp", b"text"]
)
def test_what_is_no_container_says_nothing(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    assert is_cut_short(tmp_path / "x") in (False, not any(content))
    assert not is_cut_short(tmp_path / "missing")
