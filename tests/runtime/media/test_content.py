import io

import cv2
import numpy as np
import pytest
from PIL import Image

from emonet_deploy.runtime.media.content import HEAD, describe_content, is_heif, media_kind


@pytest.mark.parametrize(
    "ending", [".jpg", ".png", ".bmp", ".tiff", ".webp", ".gif", ".jp2", ".avif"]
)
def test_pictures_are_told_by_their_bytes(ending):
    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, Image.registered_extensions()[ending])
    head = file.getvalue()[:HEAD]
    assert media_kind(head) == "picture"
    assert not is_heif(head)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("avi", "MJPG"), ("mkv", "mp4v"), ("webm", "VP80"), ("mp4", "mp4v"), ("mov", "mp4v"),
     ("ts", "mp4v"), ("flv", "FLV1"), ("mpg", "PIM1"), ("wmv", "WMV2"), ("m4v", "mp4v")],
)  # fmt: skip
def test_videos_are_told_by_their_bytes(tmp_path, suffix, codec):
    path = tmp_path / f"x.{suffix}"
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 25, (64, 48)
    )
    assert writer.isOpened()
    for i in range(25):
        writer.write(np.full((48, 64, 3), 9 * i, np.uint8))
    writer.release()
    assert media_kind(path.read_bytes()[:HEAD]) == "video"


def test_videos_of_cameras_and_streams_too(data):
    for name in ("camera.mxf", "steady.mp4", "recorder.webm"):
        assert media_kind((data / "field" / name).read_bytes()[:HEAD]) == "video"
    stream = b"\0\0\0\x01\x67\x64\0\x1e"  # H.264: a sequence parameter set
    assert media_kind(stream + bytes(99)) == "video"


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf <HTML><body>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"import x from 'y'\n", "text"),
        ("größer".encode(), "text"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\0\x05\x16\x07\0\x02\0\0Mac OS X", "a file of macOS"),
        (bytes(50), "nothing but zeros"),
        (b"\x93\x01\xff\xfe\0garbage", "of another kind"),
        (b"\0\0\0\x20ftypM4A \0\0", "of another kind"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture"),
    ],
)
def test_what_cannot_be_used_is_told(head, told):
    assert describe_content(head).startswith(told)
    assert media_kind(head) in (None, "picture")
