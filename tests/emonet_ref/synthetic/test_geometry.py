import numpy as np
import pytest

from emonet_deploy.emonet_ref.synthetic.geometry import Pose, Proportions, landmarks_68, place

AVERAGE = Proportions()
UPRIGHT = Pose(0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def golden(data):
    """Landmarks of 24 people in 24 poses, which no version changes: faces come from them."""
    with np.load(data / "faces.npz") as arrays:
        return dict(arrays)


def test_landmarks_are_where_every_version_has_them(golden):
    for (expression, *emotion), person, want in zip(
        golden["emotions"], golden["people"], golden["front"], strict=True
    ):
        got = landmarks_68(int(expression), *emotion, Proportions(*person))
        np.testing.assert_allclose(got, want, atol=2e-6)


def test_they_are_projected_where_every_version_has_them(golden):
    for front, pose, want in zip(golden["front"], golden["poses"], golden["placed"], strict=True):
        got = place(front.astype(float), Pose(*pose[:4], shift=tuple(pose[4:])))
        np.testing.assert_allclose(got, want, atol=1e-3)


def test_a_neutral_average_face_is_symmetric():
    face = landmarks_68(0, 0.0, 0.0, AVERAGE)
    mirror = [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
    mirror += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    mirror += [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
    assert np.allclose(face[mirror] * (-1, 1), face)
    assert np.allclose(face[27:31, 0], 0)


def test_a_face_at_rest_has_its_mouth_all_but_closed_and_a_smirk_is_on_one_side():
    rest, contempt = (landmarks_68(e, 0.0, 0.0, AVERAGE) for e in (0, 7))
    assert np.abs(rest[61:64, 1] - rest[[67, 66, 65], 1]).max() < 0.04
    assert contempt[54, 1] < rest[54, 1] - 0.05
    assert contempt[48, 1] == pytest.approx(rest[48, 1])


@pytest.mark.parametrize(
    ("part", "name"),
    [([0, 8], "chin"), ([36, 45], "eye_distance"), ([48, 54], "mouth_width"),
     ([31, 35], "nose_width")],
)  # fmt: skip
def test_a_proportion_is_a_factor_of_its_part_alone(part, name):
    plain = landmarks_68(0, 0.0, 0.0, AVERAGE)
    wide = landmarks_68(0, 0.0, 0.0, Proportions(**{name: 1.1}))
    moved = np.abs(wide - plain).max(1) > 1e-9
    assert moved[part[1]]
    extent = [np.ptp(face[part], 0).max() for face in (plain, wide)]
    assert extent[1] / extent[0] == pytest.approx(1.1, abs=0.06)
    assert moved.sum() <= 20


def test_roll_turns_clockwise_in_the_picture_and_scale_and_shift_follow():
    points = np.array([[0.5, 0.5], [-0.5, 0.5]])
    quarter = place(points, Pose(0.0, 0.0, np.pi / 2, 10.0, (100.0, 20.0)))
    assert np.allclose(quarter, [[100, 25], [100, 15]])
    assert np.allclose(place(points, UPRIGHT), [[0.5, 0], [-0.5, 0]])


def test_what_stands_out_moves_most_when_the_head_turns():
    tip, cheek = np.array([[0.0, 0.55]]), np.array([[0.9, 0.55]])
    turned = Pose(0.2, 0.0, 0.0)
    assert place(tip, turned)[0, 0] > 0.15
    assert place(cheek, turned)[0, 0] - 0.9 < place(tip, turned)[0, 0]
    nodded = Pose(0.0, 0.2, 0.0)
    assert place(tip, nodded)[0, 1] < place(tip, UPRIGHT)[0, 1]
