"""What a file is, told by its first bytes: a name can say anything."""

import codecs
from typing import Final, Literal

__all__ = ["HEAD", "describe_content", "is_heif", "media_kind"]

HEAD: Final = 1024
"""How many of a file's first bytes are looked at."""

_HEIF: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_PICTURES: Final = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"II*\0",  # TIFF
    b"MM\0*",
    b"II+\0",  # BigTIFF
    b"MM\0+",
    b"\0\0\0\x0cjP  ",  # JPEG 2000
    b"\xff\x4f\xff\x51",
)
_VIDEOS: Final = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
    b"\0\0\x01\xba",  # MPEG program stream, VOB
    b"\0\0\x01\xb3",  # MPEG-1 and MPEG-2 video
    b"\0\0\x01\xb0",  # MPEG-4 video
    b"\x06\x0e\x2b\x34",  # MXF
    b"OggS",
    b".RMF",
    b"\x1f\x07\x00",  # DV
    b"YUV4MPEG2",
    b"DKIF",  # IVF
)
_QUICKTIME: Final = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_BMP_HEADERS: Final = (12, 16, 40, 52, 56, 64, 108, 124)
_OTHERS: Final = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file it stands for"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"8BPS", "a Photoshop document"),
    (b"\x00\x05\x16\x07", "a file of macOS beside the picture, not the picture"),
)


def media_kind(head: bytes) -> Literal["picture", "video"] | None:
    """Return what the first ``HEAD`` bytes of a file begin, None where it is neither."""
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    if brand:
        still = brand in _HEIF or brand in {b"avif", b"avis"}
        # Sound alone, and Canon's raw pictures, come in the same container.
        return "picture" if still else None if brand in {b"M4A ", b"M4B ", b"crx "} else "video"
    if head.startswith(_PICTURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return "picture"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "picture"
    if head.startswith(_VIDEOS) or (head[:4] == b"RIFF" and head[8:11] == b"AVI"):
        return "video"
    if head[4:8] in _QUICKTIME or _is_transport_stream(head) or _is_annex_b(head):
        return "video"
    return None


def is_heif(head: bytes) -> bool:
    """Return whether a file is HEIC or HEIF, the pictures of iPhones."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF


def describe_content(head: bytes) -> str:
    """Return what a file is that cannot be used, completing "it is"."""
    if not head:
        return "empty"
    start = head.lstrip(b"\xef\xbb\xbf\r\n\t ").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if is_heif(head):
        return "a HEIC picture"
    for magic, name in _OTHERS:
        if head.startswith(magic):
            return name
    if (kind := media_kind(head)) is not None:
        return f"a {kind}"
    if not any(head):
        return "nothing but zeros"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return "of another kind"
    return "of another kind" if b"\0" in head else "text"


def _is_transport_stream(head: bytes) -> bool:
    """MPEG-TS: packets of 188 bytes, each begun by 0x47; cameras put a time stamp before each."""
    return any(
        len(head) > start + 3 * step and all(head[start + i * step] == 0x47 for i in range(4))
        for start, step in ((0, 188), (4, 192), (0, 204))
    )


def _is_annex_b(head: bytes) -> bool:
    """H.264 or H.265 without a container: a start code, then a parameter set or delimiter."""
    for code in (b"\0\0\0\x01", b"\0\0\x01"):
        if head.startswith(code) and len(head) > len(code):
            unit = head[len(code)]
            return unit & 0x1F in {7, 9} or unit >> 1 in {32, 33, 35}
    return False
