import contextlib
import io
import os
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
        with pytest.raises(InputError, match=r"no picture at|it is a folder"):
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


def test_pictures_that_other_programs_write_a_little_wrong_are_read(data):
    """Beside a plain one: stray bytes between segments, no end marker."""
    plain = image.read_image(data / "field" / "plain.jpg").astype(int)
    for name in ("stray_bytes.jpg", "no_end_marker.jpg"):
        assert np.abs(image.read_image(data / "field" / name) - plain).mean() < 1
    assert image.read_image(data / "field" / "os2.bmp").shape == (36, 48, 3)
    assert image.read_image(data / "field" / "b.gif").shape == (36, 48, 3)


def jpeg(**options):
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_end_is_read_if_no_pixel_is_missing(tmp_path, progressive):
    whole = jpeg(progressive=progressive, quality=95)
    path = tmp_path / "x.jpg"
    path.write_bytes(whole)
    expected = image.read_image(path)
    for missing in (1, 2):
        path.write_bytes(whole[:-missing])
        assert np.array_equal(image.read_image(path), expected)
    for kept in (0.3, 0.5, 0.9, 0.98):
        path.write_bytes(whole[: int(len(whole) * kept)])
        with pytest.raises(InputError, match="damaged or cut short"):
            image.read_image(path)


def test_half_a_picture_is_refused_and_shows_none_of_the_one_before(data):
    for _ in range(2):
        image.read_image(data / "field" / "plain.jpg")
        with pytest.raises(InputError, match="damaged or cut short"):
            image.read_image(data / "field" / "half.jpg")


def test_damaged_metadata_hides_no_picture(tmp_path):
    whole = cv2.imencode(".png", PICTURE[..., ::-1])[1].tobytes()
    for kind, body, crc in (
        (b"tEXt", b"a\0b", 1),  # a wrong checksum
        (b"gAMA", b"\0", None),  # too short
        (b"zTXt", b"a\0\0" + zlib.compress(b"x" * 5_000_000), None),  # more than Pillow takes
    ):
        checksum = zlib.crc32(kind + body) if crc is None else crc
        chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)
        (tmp_path / "x.png").write_bytes(whole[:33] + chunk + whole[33:])
        assert np.array_equal(image.read_image(tmp_path / "x.png"), PICTURE)
    bomb = png(20000, 20000, zlib.compress(b""))
    (tmp_path / "x.png").write_bytes(bomb[:33] + b"\0\0\0\1tEXta\0\0\0\0" + bomb[33:])
    with pytest.raises(InputError, match="20000 x 20000 pixels"):
        image.read_image(tmp_path / "x.png")


@pytest.mark.parametrize(
    ("kind", "options"),
    [("TIFF", {"big_tiff": True}), ("TIFF", {"compression": "lzma"}), ("JPEG2000", {}),
     ("AVIF", {}), ("PPM", {}), ("GIF", {}), ("MPO", {})],
)  # fmt: skip
def test_further_formats_are_read(tmp_path, kind, options):
    path = tmp_path / "x.bin"
    Image.fromarray(PICTURE).save(path, kind, **options)
    with Image.open(path) as other:
        expected = np.asarray(other.convert("RGB")).astype(int)
    assert np.abs(image.read_image(path) - expected).mean() < 3


def test_heic_is_read_where_its_package_is_installed_and_named_where_not(tmp_path, monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif")
    path = tmp_path / "IMG_1.HEIC"
    pillow_heif.from_pillow(Image.fromarray(PICTURE)).save(path, quality=95)
    assert np.abs(image.read_image(path).astype(int) - PICTURE).mean() < 4
    monkeypatch.setattr(image, "_heif_reader", lambda: False)
    with pytest.raises(InputError, match=r"is a HEIC picture.*pip install pillow-heif"):
        image.read_image(path)


@pytest.mark.parametrize(("type_", "told"), [(np.float32, "floating-point"), (np.int32, "32-bit")])
def test_values_without_a_known_range_are_refused_with_the_reason(tmp_path, type_, told):
    Image.fromarray(PICTURE[..., 0].astype(type_)).save(tmp_path / "x.tiff")
    with pytest.raises(InputError, match=f"holds {told} values"):
        image.read_image(tmp_path / "x.tiff")


def test_a_video_that_is_called_a_picture_is_told(tmp_path, data):
    (tmp_path / "x.jpg").write_bytes((data / "field" / "steady.mp4").read_bytes())
    with pytest.raises(InputError, match="is a video"):
        image.read_image(tmp_path / "x.jpg")


def test_names_that_are_no_utf8_are_read_and_told(tmp_path, data):
    path = tmp_path / os.fsdecode(b"caf\xe9.jpg")
    path.write_bytes((data / "field" / "plain.jpg").read_bytes())
    assert image.read_image(path).shape == (72, 96, 3)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"caf\\xe9\.jpg is empty"):
        image.read_image(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_what_may_not_be_read_is_one_line(tmp_path, data):
    for locked in (tmp_path / "locked", tmp_path / "locked" / "x.jpg"):
        (tmp_path / "locked").mkdir(exist_ok=True)
        (tmp_path / "locked" / "x.jpg").write_bytes((data / "field" / "plain.jpg").read_bytes())
        locked.chmod(0)
        try:
            with pytest.raises(InputError, match="Permission denied"):
                image.read_image(tmp_path / "locked" / "x.jpg")
        finally:
            locked.chmod(0o700)
