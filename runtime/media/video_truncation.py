"""Whether a video file ends before its container does: half a copy, half a download.

Only the outermost sizes are read: AVI (RIFF), MP4 and QuickTime (ISO 14496-12), Matroska and WebM
(RFC 9559). Other containers do not say how long they are.
"""

import os
from pathlib import Path
from typing import BinaryIO, Final

__all__ = ["is_cut_short"]

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_TAIL: Final = 4096


def is_cut_short(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is shorter than it says, or ends in nothing but zeros."""
    try:
        size = Path(path).stat().st_size
        with open(path, "rb") as file:
            head = file.read(12)
            file.seek(max(0, size - _TAIL))
            if not any(file.read(_TAIL)):
                return True
            file.seek(0)
            if head[:4] == b"RIFF":
                return 8 + int.from_bytes(head[4:8], "little") > size
            if head[:4] == _EBML:
                return _segment_end(file) > size
            if head[4:8] in {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}:
                return _boxes_end(file, size) > size
    except OSError:
        pass
    return False


def _boxes_end(file: BinaryIO, size: int) -> int:
    """Return where the last of the boxes that begin in the file ends."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # 0: to the end of the file; less: damaged
            return size
        at += length
    return at


def _segment_end(file: BinaryIO) -> int:
    """Return where the segment, which holds everything, ends; 0 where it does not say."""
    for _ in range(16):  # the header, and perhaps padding
        name = _element_id(file)
        length = _vint(file)
        if length is None or not name:
            return 0
        if name == _SEGMENT:
            return file.tell() + length
        file.seek(length, os.SEEK_CUR)
    return 0


def _element_id(file: BinaryIO) -> bytes:
    """Read what names an element: one to four bytes, the first of which tells how many."""
    first = file.read(1)
    if not first or first[0] < 0x10:
        return b""
    return first + file.read(8 - first[0].bit_length())


def _vint(file: BinaryIO) -> int | None:
    """Read a number of one to eight bytes, the first of which tells how many; None for unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    width = 9 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (0xFF >> width)]) + file.read(width - 1), "big")
    return None if value == (1 << 7 * width) - 1 else value
