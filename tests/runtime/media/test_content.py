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


# Of Windows and OS/2, version after version, in bytes.
BITMAP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)


def iso(brand):
    """The first box of an ISO base media file, which names its brand."""
    return b"\0\0\0\x18ftyp" + brand + bytes(4) + b"isom"


def packets(size, before=0, count=4, mark=0x47):
    """MPEG transport stream packets of 188 bytes, with a time stamp before or a code behind."""
    body = bytes(before) + bytes([mark]) + b"\x40\x11\x10" + bytes(184)
    return (body + bytes(size - len(body))) * count


@pytest.mark.parametrize(
    "head",
    [
        iso(b"avif"), iso(b"avis"), iso(b"mif1"), iso(b"heic"),
        b"GIF87a" + bytes(9), b"MM\0*" + bytes(9), b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0",
        b"\xff\x4f\xff\x51\0\x2f",  # a bare JPEG 2000 codestream
        b"RIFF\x99\0\0\0WEBPVP8L",
        *(b"BM" + bytes(12) + bytes([size, 0, 0, 0]) for size in BITMAP_HEADERS),
    ],
)  # fmt: skip
def test_pictures_that_few_programs_write(head):
    assert media_kind(head) == "picture"
    assert is_heif(head) == (head[8:12] in (b"heic", b"mif1"))


@pytest.mark.parametrize(
    "head",
    [
        iso(b"isom"), iso(b"qt  "), b"\0\0\0\x08wide", b"\0\0\x10\0moov", b"\0\0\0\x08mdat",
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"\0\0\x01\xba\x44", b"\0\0\x01\xb3\x14", b"OggS\0",
        b"FLV\x01\x05", b"DKIF\0\0", b"YUV4MPEG2 W64", b"\x06\x0e\x2b\x34\x02", b".RMF\0",
        b"RIFF\x99\0\0\0AVI LIST",
        packets(188), packets(192, before=4), packets(204),
        b"\0\0\x01\x67\x64", b"\0\0\0\x01\x09\xf0",  # H.264: parameters, a delimiter
        b"\0\0\0\x01\x40\x01", b"\0\0\0\x01\x42\x01", b"\0\0\x01\x46\x01",  # H.265: VPS, SPS, AUD
    ],
)  # fmt: skip
def test_videos_of_every_container_and_of_none(head):
    assert media_kind(head) == "video"
    assert describe_content(head) == "a video"


@pytest.mark.parametrize(
    "head",
    [
        iso(b"M4A "), iso(b"M4B "), iso(b"crx "),  # sound, a raw picture
        b"RIFF\x99\0\0\0WAVEfmt ", b"RIFX\x99\0\0\0AVI LIST", b"XIFF\x99\0\0\0WEBPVP8 ",
        b"BM" + bytes(12) + b"\x0d\0\0\0", b"BMW is a car; its 3 series began in 1975",
        b"AB" + bytes(12) + b"\x28\0\0\0",
        packets(188, count=3), packets(188, mark=0x48), packets(189), b"GGGG" * 2,
        b"\0\0\0\x01\x65\x88", b"\0\0\x01", b"\0\0\0\x01", b"\0\0\x02\x67\x64",
        b"\0\0\0\x01\x4e\x01",  # H.265: remarks alone
    ],
)  # fmt: skip
def test_what_only_looks_like_one_is_neither(head):
    assert media_kind(head) is None


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
        (b"PK\x03\x04\x14\0", "a ZIP archive"),
        (b"\x1f\x8b\x08", "a gzip archive"),
        (b"8BPS\0\x01", "a Photoshop document"),
        (b"text with a \0 in it", "of another kind"),
        ("größ".encode()[:-1], "text"),  # the last character is cut
        (b"\r\n\t<!DOCTYPE HTML PUBLIC", "an HTML page"),
        (b"\x93\x01\xff\xfe\0garbage", "of another kind"),
        (b"\0\0\0\x20ftypM4A \0\0", "of another kind"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture"),
    ],
)
def test_what_cannot_be_used_is_told(head, told):
    assert describe_content(head).startswith(told)
    assert media_kind(head) in (None, "picture")
