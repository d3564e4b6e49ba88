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


def box(kind, length, body=b"", large=False):
    """A box of ISO 14496-12: its length, its kind and, for a length of 64 bits, that behind."""
    if large:
        return (1).to_bytes(4, "big") + kind + length.to_bytes(8, "big") + body
    return length.to_bytes(4, "big") + kind + body


FULL = b"\x7f" * 92
HEAD = box(b"ftyp", 16, b"isom\0\0\0\0")


@pytest.mark.parametrize(
    ("content", "cut"),
    [
        (HEAD + box(b"mdat", 100, FULL), False),
        (HEAD + box(b"mdat", 101, FULL), True),
        (HEAD + box(b"mdat", 108, FULL, large=True), False),
        (HEAD + box(b"mdat", 109, FULL, large=True), True),
        (HEAD + box(b"mdat", 1 << 33, FULL, large=True), True),
        (HEAD + box(b"mdat", 0, FULL), False),  # to the end of the file
        (HEAD + box(b"mdat", 7, FULL), False),  # no length that a box can have
        (HEAD + box(b"free", 8) + box(b"mdat", 100, FULL), False),
        (HEAD + box(b"free", 8) + box(b"mdat", 100, FULL[:-1]), True),
        (HEAD + box(b"mdat", 100, FULL) + b"\x7f" * 7, False),  # less than a box's head
        (HEAD + box(b"mdat", 100, FULL) + box(b"free", 9), True),
        (box(b"mdat", 101, FULL), True),
        (box(b"wide", 8) + box(b"mdat", 101, FULL), True),
        (b"RIFF" + (4 + 92).to_bytes(4, "little") + b"AVI " + FULL, False),
        (b"RIFF" + (5 + 92).to_bytes(4, "little") + b"AVI " + FULL, True),
    ],
)
def test_boxes_end_where_they_say(tmp_path, content, cut):
    (tmp_path / "x").write_bytes(content)
    assert is_cut_short(tmp_path / "x") is cut


EBML = b"\x1a\x45\xdf\xa3\x84abcd"  # a header of four bytes
SEGMENT = b"\x18\x53\x80\x67"


@pytest.mark.parametrize(
    ("content", "cut"),
    [
        # Lengths of RFC 8794: as many bytes as the first has leading zeros, and one.
        (EBML + SEGMENT + b"\xdc" + FULL, False),  # 92 in one byte
        (EBML + SEGMENT + b"\xdd" + FULL, True),
        (EBML + SEGMENT + b"\x40\x5c" + FULL, False),  # in two
        (EBML + SEGMENT + b"\x40\x5d" + FULL, True),
        (EBML + SEGMENT + b"\x01\0\0\0\0\0\0\x5c" + FULL, False),  # in eight
        (EBML + SEGMENT + b"\x01\0\0\0\0\0\0\x5d" + FULL, True),
        (EBML + SEGMENT + b"\x01\0\0\x01\0\0\0\0" + FULL, True),
        (EBML + SEGMENT + b"\xff" + FULL, False),  # unknown: a live recording
        (EBML + SEGMENT + b"\x01" + b"\xff" * 7 + FULL, False),
        (EBML + SEGMENT + b"\x01\xff\xff\xff\xff\xff\xff\xfe" + FULL, True),
        (EBML + b"\xec\x82ab" + SEGMENT + b"\xdc" + FULL, False),  # padding between the two
        (EBML + b"\xec\x82ab" + SEGMENT + b"\xdd" + FULL, True),
        (EBML + b"\xec\x80" * 14 + SEGMENT + b"\xdd" + FULL, True),
        (EBML + b"\x0c\x82ab" + SEGMENT + b"\xdd" + FULL, False),  # no name of an element
        (EBML + b"\xec\x00" + SEGMENT + b"\xdd" + FULL, False),  # no length
    ],
)  # fmt: skip
def test_a_segment_ends_where_it_says(tmp_path, content, cut):
    (tmp_path / "x").write_bytes(content)
    assert is_cut_short(tmp_path / "x") is cut


@pytest.mark.parametrize(("zeros", "cut"), [(4095, False), (4096, True)])
def test_a_file_that_ends_in_a_block_of_zeros_was_not_copied_to_its_end(tmp_path, zeros, cut):
    (tmp_path / "x").write_bytes(b"\0\0\x01\xba" + FULL + bytes(zeros))
    assert is_cut_short(tmp_path / "x") is cut
