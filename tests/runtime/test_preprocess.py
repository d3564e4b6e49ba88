import contextlib
import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageOps

from emonet_deploy.errors import InputError
from emonet_deploy.runtime import preprocess

RNG = np.random.default_rng(5)
PICTURE = cv2.resize(RNG.integers(0, 256, (9, 12, 3), np.uint8), (120, 90))


def spec_images(seed, n):
    """The golden files' pictures, as the specification generates them."""
    coarse = np.random.Generator(np.random.PCG64(seed)).choice([0.0, 255.0], (n, 8, 8, 3))
    t = np.clip((np.arange(256) + 0.5) * 8 / 256 - 0.5, 0, 7)
    low = np.minimum(t.astype(int), 6)
    weight = (t - low).astype(np.float32)
    rows = weight[None, :, None, None]
    coarse = coarse.astype(np.float32)
    tall = coarse[:, low] * (1 - rows) + coarse[:, low + 1] * rows
    columns = weight[None, None, :, None]
    wide = tall[:, :, low] * (1 - columns) + tall[:, :, low + 1] * columns
    return np.clip(np.rint(wide), 0, 255).astype(np.uint8)


def test_the_authors_crops_are_reproduced(data):
    golden = np.load(data / "crops.npz")
    images = spec_images(int(golden["image_seed"]), 4)
    for index, box in enumerate(golden["boxes"]):
        crop, matrix = preprocess.crop_box(images[index // 3], box)
        assert np.abs(matrix - golden["matrices"][index]).max() < 1e-9
        apart = crop[::4, ::4].astype(int) - golden["crops_every4"][index]
        assert np.abs(apart).max() <= 2


def test_landmarks_are_cropped_by_their_box():
    landmarks = RNG.uniform(20, 70, (68, 2))
    box = preprocess.landmark_box(landmarks)
    assert box.tolist() == [*landmarks.min(0), *landmarks.max(0)]
    by_landmarks, matrix = preprocess.crop_landmarks(PICTURE, landmarks.tolist())
    by_box, same = preprocess.crop_box(PICTURE, box)
    assert np.array_equal(by_landmarks, by_box)
    assert np.array_equal(matrix, same)


def test_a_square_landmark_box_becomes_one_part_in_1_82_of_the_crop():
    _, matrix = preprocess.crop_box(PICTURE, (30, 20, 80, 70))
    corners = matrix @ np.array([[30, 80], [20, 70], [1, 1]])
    assert corners[:, 1] - corners[:, 0] == pytest.approx([256 / (2 * 200 / 220)] * 2)
    assert corners.mean(axis=1) == pytest.approx([128, 128])


def test_what_lies_outside_the_picture_is_black():
    crop, matrix = preprocess.crop_box(np.full((50, 50, 3), 200, np.uint8), (-30, -30, 20, 20))
    inside = matrix @ np.array([10, 10, 1])
    assert crop[0, 0].tolist() == [0, 0, 0]
    assert crop[int(inside[1]), int(inside[0])].tolist() == [200, 200, 200]


@pytest.mark.parametrize(
    "box",
    [(1, 1, 1, 9), (1, 1, 9, 1), (9, 1, 1, 9), (1, 1, 9), (0, 0, np.nan, 1), (0, 0, np.inf, 1)],
)
def test_a_box_without_area_is_refused(box):
    with pytest.raises(InputError, match="box"):
        preprocess.crop_box(PICTURE, box)


@pytest.mark.parametrize(
    "landmarks", [[[1, 2]] * 67, None, "text", [[1, 2], [3]], [[np.nan, 1]] * 68]
)
def test_landmarks_of_another_shape_are_refused(landmarks):
    with pytest.raises(InputError, match="68 x 2"):
        preprocess.crop_landmarks(PICTURE, landmarks)


def test_tensors_are_those_of_torch_bit_by_bit():
    crops = RNG.integers(0, 256, (3, 256, 256, 3), np.uint8)
    theirs = torch.from_numpy(crops).permute(0, 3, 1, 2).to(torch.float32).div(255)
    ours = preprocess.to_tensor(crops)
    assert ours.dtype == np.float32
    assert ours.flags.c_contiguous
    assert np.array_equal(ours, theirs.numpy())


@pytest.mark.parametrize(
    "crops", [np.zeros((2, 256, 256, 3)), np.zeros((256, 256, 3), np.uint8), np.zeros(3, np.uint8)]
)
def test_a_tensor_is_made_of_crops_only(crops):
    with pytest.raises(InputError, match="crops are uint8 N x 256 x 256 x 3"):
        preprocess.to_tensor(crops)


def test_a_resized_face_is_the_whole_picture_bilinearly():
    crop = preprocess.resize_face(PICTURE)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(PICTURE).permute(2, 0, 1)[None].double(), (256, 256), mode="bilinear"
    )
    assert np.abs(crop - theirs[0].permute(1, 2, 0).numpy()).max() <= 1
    ready = RNG.integers(0, 256, (256, 256, 3), np.uint8)
    assert np.array_equal(preprocess.resize_face(ready), ready)


def test_protocols_go_by_name():
    box = (30, 20, 80, 70)
    assert np.array_equal(
        preprocess.PROTOCOLS["paper"](PICTURE, box), preprocess.crop_box(PICTURE, box)[0]
    )
    assert np.array_equal(
        preprocess.PROTOCOLS["resize"](PICTURE, None), preprocess.resize_face(PICTURE)
    )
    with pytest.raises(InputError, match="needs a landmark box"):
        preprocess.PROTOCOLS["paper"](PICTURE, None)


def test_every_kind_of_picture_array_becomes_rgb():
    grey = PICTURE[..., 0]
    alpha = np.full_like(grey, 7)
    as_rgb = preprocess.as_rgb_uint8
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
        picture = preprocess.as_rgb_uint8(array)
    except InputError:
        return
    assert picture.dtype == np.uint8
    assert picture.shape == (*array.shape[:2], 3)
    assert preprocess.resize_face(array).shape == (256, 256, 3)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tiff", ".webp", ".gif", ".jpg"])
def test_pictures_of_each_format_are_read_as_rgb(tmp_path, ending):
    path = tmp_path / f"Gesicht 顔{ending}"
    lossless = {"lossless": True} if ending == ".webp" else {}
    Image.fromarray(PICTURE).save(path, **lossless)
    with Image.open(path) as other:
        expected = np.asarray(other.convert("RGB")).astype(int)
    read = preprocess.read_image(path)
    assert read.dtype == np.uint8
    assert np.abs(read - expected).max() <= (3 if ending == ".jpg" else 0)
    assert read.tolist() != read[..., ::-1].tolist()


def test_lossy_and_extended_webp_are_read(tmp_path):
    path = tmp_path / "x.webp"
    Image.fromarray(PICTURE).save(path)
    assert preprocess.read_image(path).shape == PICTURE.shape
    Image.fromarray(np.dstack([PICTURE, PICTURE[..., 0]])).save(path, exif=Image.Exif())
    assert preprocess.read_image(path).shape == PICTURE.shape


def test_grey_16_bit_and_transparent_files_are_converted(tmp_path):
    path = tmp_path / "x.png"
    grey = PICTURE[..., 0]
    for stored, expected in (
        (grey, np.dstack([grey] * 3)),
        (grey.astype(np.uint16) * 257, np.dstack([grey] * 3)),
        (np.dstack([PICTURE, np.zeros_like(grey)]), PICTURE[..., ::-1]),
    ):
        cv2.imwrite(str(path), stored)
        assert np.array_equal(preprocess.read_image(path), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_honoured(tmp_path, orientation):
    path = tmp_path / "x.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PICTURE).save(path, exif=exif, quality=98)
    with Image.open(path) as other:
        expected = np.asarray(ImageOps.exif_transpose(other)).astype(int)
    read = preprocess.read_image(path)
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
        (b"", "is not a JPEG"),
        (b"\xff\xd8", "is not a JPEG"),
        (b"\xff\xd8\xff\xe0\0\x10", "is not a JPEG"),
        (b"\x89PNG\r\n\x1a\n", "is not a JPEG"),
        (b"II*\0\xff\xff\xff\xff", "is not a JPEG"),
        (b"just text", "is not a JPEG"),
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
        preprocess.read_image(path)
    assert "\n" not in str(caught.value)
    assert "x.png" in str(caught.value)


def test_a_missing_file_and_a_folder_are_input_errors(tmp_path):
    for path in (tmp_path / "absent.png", tmp_path):
        with pytest.raises(InputError, match="no picture at"):
            preprocess.read_image(path)


@given(
    st.binary(max_size=60), st.sampled_from([".png", ".jpg", ".tiff", ".webp", ".bmp"]), st.data()
)
def test_damaged_files_give_a_picture_or_an_input_error(tmp_path_factory, noise, ending, draw):
    content = cv2.imencode(ending, PICTURE[:8, :8])[1].tobytes()
    at = draw.draw(st.integers(0, len(content)))
    path = tmp_path_factory.mktemp("damaged") / "x"
    path.write_bytes(content[:at] + noise + content[at + len(noise) :])
    with contextlib.suppress(InputError):
        assert preprocess.read_image(path).ndim == 3
