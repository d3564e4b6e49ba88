"""A folder as large as people have it, with files that are broken in every way known here."""

import csv
import itertools
import os
import re
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from helpers.tiny_model import write_tiny

from emonet_deploy.emonet_ref.storage.path_encoding import readable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes, pipes")

FACE = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
GOOD = (".jpg", ".png", ".webp", ".bmp", ".tif", ".JPG", ".jpeg")


def encoded(suffix, image=FACE):
    return cv2.imencode(suffix, image)[1].tobytes()


def half(data):
    return data[: len(data) // 2]


def png_that_announces(width, height):
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    return head + struct.pack(">I", zlib.crc32(chunk)) + bytes(64)


def tiff_of(image):
    return encoded(".tiff", image)


def ways_to_break(data):
    """Name of a file, with its ending, and its content or what makes it."""
    clip = (data / "field" / "steady.mp4").read_bytes()
    heic = (data / "field" / "IMG_2.HEIC").read_bytes()
    webp, gif = encoded(".webp"), (data / "field" / "b.gif").read_bytes()
    return {
        "empty.jpg": b"",
        "empty.mp4": b"",
        "page.jpg": b"<!DOCTYPE html><html><body>404</body></html>",
        "pointer.png": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "text.png": b"not a picture",
        "text.mp4": b"not a video",
        "noise.jpg": np.random.default_rng(1).bytes(4000),
        "noise.mkv": np.random.default_rng(2).bytes(4000),
        "zeros.bmp": bytes(4000),
        "half.jpg": half(encoded(".jpg")),
        "half.png": half(encoded(".png")),
        "half.webp": half(webp),
        "half.gif": gif[: len(gif) // 3],
        "half.tif": half(tiff_of(FACE)),
        "head.jpg": encoded(".jpg")[:40],
        "head.bmp": encoded(".bmp")[:20],
        "head.mp4": clip[:200],
        "head.heic": heic[:300],
        "flipped.png": encoded(".png")[:60] + b"\xff\xff" + encoded(".png")[62:],
        "huge.png": png_that_announces(100_000, 100_000),
        "nothing.png": png_that_announces(0, 7),
        "float.tif": tiff_of(FACE.astype(np.float32)),
        "document.jpg": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        "drawing.png": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "archive.jpg": b"PK\x03\x04" + bytes(40),
        "av1.mp4": (data / "field" / "av1.mp4").read_bytes(),
        "video.jpg": clip,
        os.fsdecode(b"caf\xe9.jpg"): b"text",
        os.fsdecode(b"v\xe9.mp4"): b"text",
        "tab\tand\nline.jpg": b"text",
        "nowhere.jpg": lambda path: os.symlink("absent.jpg", path),
        "loop.png": lambda path: os.symlink(path.name, path),
        "pipe.jpg": os.mkfifo,
    }


def fill(folder, data, count, broken):
    """Make a folder of so many files; returns the names of the good and of the broken ones."""
    ways = ways_to_break(data)
    contents = [(suffix, encoded(suffix.lower(), FACE + shade)) for shade in (0, 9)
                for suffix in GOOD]  # fmt: skip
    good, bad = [], []
    for number, (suffix, content) in zip(range(count - broken), itertools.cycle(contents)):
        path = folder / f"{number % 20:02}" / f"picture {number} é%d[1]{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        good.append(path)
    for number, (name, content) in zip(range(broken), itertools.cycle(ways.items())):
        path = folder / f"{number % 7:02}" / f"broken{number} {name}"
        content(path) if callable(content) else path.write_bytes(content)
        bad.append(path)
    return good, bad


@pytest.mark.parametrize(
    ("count", "broken"), [(60, 33), pytest.param(10_000, 100, marks=pytest.mark.slow)]
)
def test_of_many_files_each_broken_one_is_named_once_and_no_other_is_lost(
    tmp_path, data, count, broken
):
    folder = tmp_path / "pictures"
    folder.mkdir()
    good, bad = fill(folder, data, count, broken)
    assert broken >= len(ways_to_break(data))
    model = write_tiny(tmp_path / "m.onnx")
    table = tmp_path / "r.csv"
    code = "from emonet_deploy.cli import main; main()"
    command = ["predict", folder, "--model", model, "--detector", "none", "--csv", table, "-q"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, command)], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr[-2000:]
    with open(table, newline="", encoding="utf-8") as file:
        rows = [row["file"] for row in csv.DictReader(file)]
    assert rows == [readable(str(path)) for path in sorted(good)]
    assert len(done.stdout.splitlines()) == len(good) + 1
    # Standard error has a line for each broken file and their number: nothing of any library.
    *named, last = done.stderr.splitlines()
    assert last == f"error: {broken} of {count} inputs could not be read, see above"
    assert len(named) == broken
    assert all(line.startswith("passed over: ") for line in named)
    for path in bad:
        name = re.escape(readable(str(path)))
        assert sum(re.search(rf"{name}(?![\w.])", line) is not None for line in named) == 1, path
