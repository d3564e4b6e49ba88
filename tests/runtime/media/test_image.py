import contextlib
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageOps

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.media import image
from emonet_deploy.runtime.pipeline.preprocess import stretch_face

RNG = np.random.default_rng(5)
PICTURE = cv2.resize(RNG.integers(0, 256, (9, 12, 3), np.uint8), (120, 90))


def test_every_kind_of_picture_array_becomes_rgb():
    grey = PICTURE[..., 0]
    alpha = np.full_like(grey, 7)
    as_rgb = image.as_rgb_uint8
    tripled = np.dstack([grey] * 3)
    assert np.array_equal(as_rgb(grey), tripled)
    assert np.array_equal(as_rgb(grey[..., None]), tripled)
    assert np.array_equal(as_rgb(np.dstack([grey, alpha])), tripled)
    assert np.array_equal(as_rgb(np.dstack([PICTURE, alpha])), PICTURE)
    assert np.array_equal(as_rgb(PICTURE.astype(np.uint16) * 257), PICTURE)
    assert np.array_equal(as_rgb(PICTURE / 255), PICTURE)
    assert np.array_equal(as_rgb((PICTURE / 255).astype(np.float32)), PICTURE)
    assert np.shares_memory(as_rgb(PICTURE), PICTURE)


@given(
    hnp.arrays(
        st.sampled_from([np.bool_, np.int32, np.uint8, np.float32, np.complex64, np.uint16]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6),
    )
)
def test_an_array_becomes_a_picture_or_an_input_error(array):
    try:
        picture = image.as_rgb_uint8(array)
    except InputError:
        return
    assert picture.dtype == np.uint8
    assert picture.shape == (*array.shape[:2], 3)
    assert stretch_face(array).shape == (256, 256, 3)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tiff", ".webp", ".gif", ".jpg"])
def test_pictures_of_each_format_are_read_as_rgb(tmp_path, ending):
    path = tmp_path / f"Gesicht 顔{ending}"
    lossless = {"lossless": True} if ending == ".webp" else {}
    Image.fromarray(PICTURE).save(path, **lossless)
    with Image.open(path) as other:
        expected = np.asarray(other.convert("RGB")).astype(int)
    read = image.read_image(path)
    assert read.dtype == np.uint8
    assert np.abs(read - expected).max() <= (3 if ending == ".jpg" else 0)
    assert read.tolist() != read[..., ::-1].tolist()


def test_lossy_and_extended_webp_are_read(tmp_path):
    path = tmp_path / "x.webp"
    Image.fromarray(PICTURE).save(path)
    assert image.read_image(path).shape == PICTURE.shape
    Image.fromarray(np.dstack([PICTURE, PICTURE[..., 0]])).save(path, exif=Image.Exif())
    assert image.read_image(path).shape == PICTURE.shape


def test_grey_16_bit_and_transparent_files_are_converted(tmp_path):
    path = tmp_path / "x.png"
    grey = PICTURE[..., 0]
    for stored, expected in (
        (grey, np.dstack([grey] * 3)),
        (grey.astype(np.uint16) * 257, np.dstack([grey] * 3)),
        (np.dstack([PICTURE, np.zeros_like(grey)]), PICTURE[..., ::-1]),
    ):
        cv2.imwrite(str(path), stored)
        assert np.array_equal(image.read_image(path), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_honoured(tmp_path, orientation):
    path = tmp_path / "x.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PICTURE).save(path, exif=exif, quality=98)
    with Image.open(path) as other:
        expected = np.asarray(ImageOps.exif_transpose(other)).astype(int)
    read = image.read_image(path)
    assert read.shape == expected.shape
    assert np.abs(read - expected).max() <= 3


def png(width, height, data=b""):
    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def huge_jpeg():
    small = cv2.imencode(".jpg", PICTURE)[1].tobytes()
    at = small.index(b"\xff\xc0") + 5
    return small[:at] + struct.pack(">HH", 60000, 60000) + small[at + 4 :]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xff\xd8", "is not a JPEG"),
        (b"\xff\xd8\xff\xe0\0\x10", "is damaged or cut short"),
        (b"\x89PNG\r\n\x1a\n", "is damaged or cut short"),
        (b"II*\0\xff\xff\xff\xff", "is damaged or cut short"),
        (b"just text", "is not a JPEG.*: it is text"),
        (b"<!DOCTYPE html><title>404", "is not a JPEG.*: it is an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1", "it is a Git LFS pointer"),
        (bytes(900), "it is nothing but zeros"),
        (png(0, 10), "0 x 10 pixels"),
        (png(20000, 20000, zlib.compress(b"")), "20000 x 20000 pixels"),
        (huge_jpeg(), "60000 x 60000 pixels"),
        (png(10, 10, zlib.compress(b"\0" * 20)), "damaged"),
        (cv2.imencode(".png", PICTURE)[1].tobytes()[:900], "damaged"),
    ],
)
def test_what_is_no_usable_picture_is_an_input_error(tmp_path, content, message):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        image.read_image(path)
    assert "\n" not in str(caught.value)
    assert "x.png" in str(caught.value)


def test_a_missing_file_and_a_folder_are_input_errors(tmp_path):
    for path in (tmp_path / "absent.png", tmp_path):
        with pytest.raises(InputError, match="no picture at"):
            image.read_image(path)


@settings(deadline=None)
@given(
    st.binary(max_size=60), st.sampled_from([".png", ".jpg", ".tiff", ".webp", ".bmp"]), st.data()
)
def test_damaged_files_give_a_picture_or_an_input_error(tmp_path_factory, noise, ending, draw):
    content = cv2.imencode(ending, PICTURE[:8, :8])[1].tobytes()
    at = draw.draw(st.integers(0, len(content)))
    path = tmp_path_factory.mktemp("damaged") / "x"
    path.write_bytes(content[:at] + noise + content[at + len(noise) :])
    with contextlib.suppress(InputError):
        assert image.read_image(path).ndim == 3
