"""The size of a picture from the first bytes of its file.

A few kilobytes can unfold into gigabytes of pixels; the size is therefore read before anything
is decoded. Layouts: PNG (ISO 15948), JPEG (ITU-T T.81), BMP, GIF89a, TIFF 6.0, WebP (RFC 9649).
"""

import struct
from typing import BinaryIO

__all__ = ["FORMATS", "picture_size"]

FORMATS = "JPEG, PNG, WebP, BMP, GIF or TIFF"

# Start-of-frame markers: all of C0..CF but DHT, JPG and DAC.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def picture_size(file: BinaryIO) -> tuple[int, int] | None:
    """Return (width, height) in pixels as the header states them, or None if it is no picture.

    Args:
        file: a seekable file, read from its start; its position is left anywhere.
    """
    file.seek(0)
    head = file.read(32)
    try:
        if head.startswith(b"\x89PNG\r\n\x1a\n"):
            return _pair(">II", head, 16)
        if head.startswith(b"\xff\xd8"):
            return _jpeg(file)
        if head.startswith((b"GIF87a", b"GIF89a")):
            return _pair("<HH", head, 6)
        if head.startswith(b"BM"):
            width, height = _pair("<ii", head, 18)
            return width, abs(height)
        if head.startswith((b"II*\0", b"MM\0*")):
            return _tiff(file, "<" if head.startswith(b"II") else ">")
        if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
            return _webp(head)
    except (struct.error, KeyError):
        return None
    return None


def _pair(layout: str, data: bytes, offset: int) -> tuple[int, int]:
    first, second = struct.unpack_from(layout, data, offset)
    return first, second


def _jpeg(file: BinaryIO) -> tuple[int, int]:
    file.seek(2)
    while True:
        (prefix, marker) = struct.unpack("BB", file.read(2))
        while marker == 0xFF:
            (marker,) = struct.unpack("B", file.read(1))
        if prefix != 0xFF:
            raise KeyError(prefix)
        if marker == 0x01 or 0xD0 <= marker <= 0xD9:
            continue
        (length,) = struct.unpack(">H", file.read(2))
        if marker in _JPEG_FRAMES:
            height, width = _pair(">xHH", file.read(5), 0)
            return width, height
        file.seek(length - 2, 1)


def _tiff(file: BinaryIO, order: str) -> tuple[int, int]:
    file.seek(4)
    (directory,) = struct.unpack(order + "I", file.read(4))
    file.seek(directory)
    (count,) = struct.unpack(order + "H", file.read(2))
    tags = {}
    for _ in range(count):
        entry = file.read(12)
        tag, kind = struct.unpack_from(order + "HH", entry)
        (tags[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), entry, 8)
    return tags[256], tags[257]


def _webp(head: bytes) -> tuple[int, int]:
    match head[12:16]:
        case b"VP8 ":
            width, height = _pair("<HH", head, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", head, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            width, height = (int.from_bytes(head[at : at + 3], "little") for at in (24, 27))
            return width + 1, height + 1
    raise KeyError(head[12:16])
