import cv2
import numpy as np
import pytest
from skimage import data

from emonet_deploy.emonet_ref.synthetic.faces import make_faces
from emonet_deploy.runtime.detection.centerface import CenterFace
from emonet_deploy.runtime.media.frame import Frame
from emonet_deploy.runtime.pipeline.preprocess import crop_face, crop_landmarks, stretch_face


def test_stretching_the_whole_picture_is_resizing_it():
    image = data.astronaut()[:300, :411]
    crop, _ = crop_face(image, (0, 0, 411, 300), "stretch")
    apart = np.abs(crop.astype(int) - stretch_face(image))
    assert apart.max() <= 3  # OpenCV before 5 warps on a grid of 1/32 pixel
    assert apart.mean() < 0.5


def test_a_detected_face_is_cropped_about_as_its_landmarks_would_be():
    """Within the variation that training itself has: position, size and shape of real boxes."""
    import cv2

    shifts, scales = [], []
    for face in make_faces(12, 7):
        frame = np.full((360, 640, 3), 140, np.uint8)
        frame[100:250, 200:350] = cv2.resize(face.image, (150, 150), interpolation=cv2.INTER_AREA)
        sure = [f for f in CenterFace().detect(Frame(frame)) if not f.faint]
        if not sure:
            continue
        _, ours = crop_face(frame, sure[0].box)
        _, theirs = crop_landmarks(frame, face.landmarks * 150 / 256 + (200, 100))
        middle = np.linalg.inv(theirs[:, :2]) @ ((128, 128) - theirs[:, 2])
        shifts.append(ours @ (*middle, 1) - 128)
        scales.append(ours[0, 0] / theirs[0, 0])
    assert len(shifts) >= 9
    # In crop pixels of 256, and as a ratio.
    assert np.abs(np.mean(shifts, 0)).max() < 16
    assert np.mean(scales) == pytest.approx(1, abs=0.12)


def test_the_astronauts_crop_shows_brow_to_chin_over_half_of_its_height():
    """Brows at y 88 and the chin at y 178, read off the photograph."""
    (found,) = CenterFace().detect(Frame(data.astronaut()))
    _, matrix = crop_face(data.astronaut(), found.box)
    top, bottom = (float((matrix @ (226, y, 1))[1]) for y in (88, 178))
    assert (bottom - top) / 256 == pytest.approx(1 / 1.82, abs=0.05)
    assert (bottom + top) / 2 == pytest.approx(128, abs=8)


@pytest.mark.parametrize("crop", ["paper", "stretch"])
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_face_that_lies_is_cut_out_upright(crop, turns):
    picture = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8), (0, 0), 2
    )
    box = (40.0, 30.0, 90.0, 95.0)
    upright, matrix = crop_face(picture, box, crop)
    lying = np.ascontiguousarray(np.rot90(picture, turns))
    # Where the box's corners went: a quarter counter-clockwise brings (x, y) to (y, width - x).
    # In pixels' middles for the paper's crop, in their edges for the other.
    corners, width = np.array(box).reshape(2, 2), picture.shape[1] - (crop == "paper")
    for _ in range(turns):
        corners = np.stack([corners[:, 1], width - corners[:, 0]], 1)
        width = sum(picture.shape[:2]) - 2 * (crop == "paper") - width
    there = (*corners.min(0), *corners.max(0))
    turned, back = crop_face(lying, there, crop, turns)
    assert np.abs(turned.astype(int) - upright).max() <= 1
    # The same point of the crop leads to the same point of the picture.
    x, y = cv2.invertAffineTransform(back) @ (100, 40, 1)
    expected = cv2.invertAffineTransform(matrix) @ (100, 40, 1)
    assert lying[round(y), round(x)].tolist() == pytest.approx(
        picture[round(expected[1]), round(expected[0])].tolist(), abs=30
    )
