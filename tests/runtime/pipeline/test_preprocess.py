import cv2
import numpy as np
import pytest
import torch

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.pipeline import preprocess

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
    crop = preprocess.stretch_face(PICTURE)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(PICTURE).permute(2, 0, 1)[None].double(), (256, 256), mode="bilinear"
    )
    assert np.abs(crop - theirs[0].permute(1, 2, 0).numpy()).max() <= 1
    ready = RNG.integers(0, 256, (256, 256, 3), np.uint8)
    assert np.array_equal(preprocess.stretch_face(ready), ready)


def test_a_number_is_no_landmarks():
    with pytest.raises(InputError, match="68 x 2 finite numbers, not one value"):
        preprocess.landmark_box(5.0)


def test_the_forehead_is_taken_off_a_detectors_box():
    """A quarter of its height, above the brows, where landmarks begin."""
    crop, matrix = preprocess.crop_face(PICTURE, (30.0, 20.0, 70.0, 80.0))
    expected, same = preprocess.crop_box(PICTURE, (30, 35, 70, 80))
    np.testing.assert_array_equal(matrix, same)
    np.testing.assert_array_equal(crop, expected)


# Where the middle of the box's left side comes to, clockwise, quarter by quarter.
LEFT_COMES_TO = [(-0.5, 127.5), (127.5, -0.5), (255.5, 127.5), (127.5, 255.5)]


@pytest.mark.parametrize("turns", range(4))
def test_the_corners_of_a_box_come_to_the_corners_of_the_crop(turns):
    """Edges lie half a pixel before the middle of the first pixel, which is 0."""
    x0, y0, x1, y1 = box = (31.0, 22.5, 71.0, 82.5)
    _, matrix = preprocess.crop_face(PICTURE, box, "stretch", turns)
    left = matrix @ (x0 - 0.5, (y0 + y1) / 2 - 0.5, 1)
    right = matrix @ (x1 - 0.5, (y0 + y1) / 2 - 0.5, 1)
    top = matrix @ ((x0 + x1) / 2 - 0.5, y0 - 0.5, 1)
    assert left == pytest.approx(LEFT_COMES_TO[turns])
    assert right == pytest.approx(LEFT_COMES_TO[(turns + 2) % 4])
    assert top == pytest.approx(LEFT_COMES_TO[(turns + 1) % 4])


@pytest.mark.parametrize("crop", ["paper", "stretch"])
@pytest.mark.parametrize("turns", range(4))
def test_a_crop_shows_what_its_matrix_says(crop, turns):
    picture = cv2.GaussianBlur(PICTURE, (0, 0), 3)
    face, matrix = preprocess.crop_face(picture, (40.0, 20.0, 80.0, 60.0), crop, turns)
    inverse = cv2.invertAffineTransform(matrix)
    rows, columns = np.mgrid[96:160:9, 96:160:9]
    x, y = np.moveaxis(np.dstack([columns, rows, np.ones_like(rows)]) @ inverse.T, -1, 0)
    expected = cv2.remap(picture, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)
    assert np.abs(face[rows, columns].astype(int) - expected).max() <= 2
