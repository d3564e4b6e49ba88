import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_deploy.emonet_ref.synthetic.faces import (
    CALIBRATION_SEED,
    PARITY_SEED,
    STANDIN_SEED,
    crops,
    draw_face,
    make_faces,
)

UNIT = st.floats(-1, 1)


@pytest.fixture(scope="module")
def faces():
    return make_faces(32, PARITY_SEED)


def _face(expression=0, valence=0.0, arousal=0.0, seed=0, size=256):
    return draw_face(expression, valence, arousal, np.random.default_rng(seed), size)


def test_landmarks_are_ibug_68_as_seen_in_the_picture(faces):
    for face in faces:
        x, y = face.landmarks.T
        # Each part runs from the left of the picture to the right, except the lower lids and lips.
        for part in (range(2, 15), range(17, 22), range(22, 27), range(31, 36), (48, 51, 54)):
            assert np.all(np.diff(x[list(part)]) > 0)
        assert np.all(np.diff(y[27:31]) > 0)
        assert y[8] > y[57] > y[51] > y[33] > y[39]
        for top, bottom in ((37, 41), (38, 40), (43, 47), (44, 46), (51, 57), (62, 66)):
            assert y[top] < y[bottom]
        assert x[36] < x[37] < x[38] < x[39] < x[42] < x[43] < x[44] < x[45]
        assert y[17:22].mean() < y[36:42].mean()
        assert y[22:27].mean() < y[42:48].mean()
        assert x[48] < x[60] < x[64] < x[54]


def test_landmarks_lie_on_what_is_drawn():
    # Iris and brow are dark, the cheek between eye and mouth is not.
    for seed in range(6):
        face = _face(3, 0.2, 0.6, seed)
        grey = face.image.mean(2)
        cheek = face.landmarks[[36, 48]].mean(0)
        for part in (slice(36, 42), slice(42, 48)):
            x, y = np.rint(face.landmarks[part].mean(0)).astype(int)
            assert grey[y - 1 : y + 2, x - 1 : x + 2].mean() < 0.7 * _at(grey, cheek)


def _at(grey, point):
    x, y = np.rint(point).astype(int)
    return grey[y - 2 : y + 3, x - 2 : x + 3].mean()


def test_a_picture_is_the_crop_the_paper_would_cut(faces):
    for face in faces:
        low, high = face.landmarks.min(0), face.landmarks.max(0)
        assert low.min() >= 0
        assert high.max() <= 255
        side = 200 * (high - low).sum() / 220
        assert side == pytest.approx(256, rel=0.07)
        assert (low + high) / 2 == pytest.approx([128, 128], abs=0.04 * 256)


def test_every_face_passes_the_cleaning_rules():
    for face in make_faces(96, CALIBRATION_SEED):
        v, a = face.valence, face.arousal
        strength = np.hypot(v, a)
        kept = {
            0: strength < 0.2,
            1: v > 0,
            2: v < 0,
            3: a > 0,
            4: a >= 0 and v <= 0,
            5: v < 0 and strength > 0.3,
            6: a > 0,
            7: v < 0,
        }[face.expression]
        assert kept
        assert face.expression == 0 or strength > 0.2
        assert strength <= 1


def test_emotions_come_in_turn(faces):
    assert [face.expression for face in faces] == list(range(8)) * 4


def test_a_seed_names_the_same_pictures_in_every_version(data):
    """Stand-ins, and figures measured with them, come from these: see ``standin.REVISION``."""
    faces = [
        *make_faces(12, PARITY_SEED),
        *make_faces(2, STANDIN_SEED),
        *make_faces(2, CALIBRATION_SEED),
    ]
    with np.load(data / "faces.npz") as want:
        labels = [(face.expression, face.valence, face.arousal) for face in faces]
        np.testing.assert_allclose(labels, want["labels"], atol=1e-6)
        landmarks = np.stack([face.landmarks for face in faces])
        np.testing.assert_allclose(landmarks, want["landmarks"], atol=1e-3)
        # Means of 8 x 8 pixels: another build of OpenCV may round a pixel otherwise.
        blocks = crops(faces).reshape(16, 32, 8, 32, 8, 3).mean((2, 4))
        np.testing.assert_allclose(blocks, want["blocks"] / 64, atol=0.15)


def test_a_seed_names_the_pictures(faces):
    again = make_faces(9, PARITY_SEED)
    assert np.array_equal(crops(again), crops(faces[:9]))
    assert np.array_equal(again[5].landmarks, faces[5].landmarks)


def test_the_three_sets_do_not_overlap():
    pictures = [
        face.image.tobytes()
        for seed in (STANDIN_SEED, CALIBRATION_SEED, PARITY_SEED)
        for face in make_faces(16, seed)
    ]
    assert len(set(pictures)) == 48


def test_crops_are_what_the_network_reads(faces):
    batch = crops(faces)
    assert batch.shape == (32, 256, 256, 3)
    assert batch.dtype == np.uint8
    assert batch.reshape(32, -1).std(1).min() > 15


def _upright(landmarks):
    """Turn landmarks so that the outer corners of the eyes lie level, one apart."""
    origin, along = landmarks[36], landmarks[45] - landmarks[36]
    turn = np.array([[along[0], along[1]], [-along[1], along[0]]]) / (along @ along)
    return (landmarks - origin) @ turn.T


@pytest.mark.parametrize("expression", range(8))
def test_corners_of_the_mouth_rise_with_valence(expression):
    heights = []
    for valence in (-0.8, 0.0, 0.8):
        y = _upright(_face(expression, valence, 0.1, seed=3).landmarks)[:, 1]
        heights.append(y[[51, 57]].mean() - y[[48, 54]].mean())
    assert heights[0] < heights[1] < heights[2]


@pytest.mark.parametrize("expression", range(8))
def test_eyes_and_mouth_open_with_arousal(expression):
    eyes, mouths = [], []
    for arousal in (-0.8, 0.8):
        y = _upright(_face(expression, 0.1, arousal, seed=3).landmarks)[:, 1]
        eyes.append(y[[40, 41]].mean() - y[[37, 38]].mean())
        mouths.append(y[66] - y[62])
    assert eyes[0] < eyes[1]
    assert mouths[0] <= mouths[1]


def test_expressions_differ_in_shape():
    shapes = [_upright(_face(e, -0.3, 0.3, seed=1).landmarks) for e in range(8)]
    for i in range(8):
        for j in range(i):
            assert np.abs(shapes[i] - shapes[j]).max() > 0.02


def test_the_person_does_not_depend_on_the_emotion():
    calm, upset = (_face(0, 0, 0, 7), _face(6, -0.7, 0.6, 7))
    corner = (slice(0, 12), slice(0, 12))
    assert np.array_equal(calm.image[corner], upset.image[corner])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 7), UNIT, UNIT, st.integers(32, 420), st.integers(0, 99))
def test_any_emotion_can_be_drawn_in_any_size(expression, valence, arousal, size, seed):
    face = _face(expression, valence, arousal, seed, size)
    assert face.image.shape == (size, size, 3)
    assert face.image.dtype == np.uint8
    assert face.landmarks.shape == (68, 2)
    assert 0 <= face.landmarks.min() <= face.landmarks.max() < size
    assert (face.expression, face.valence, face.arousal) == (expression, valence, arousal)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [((8, 0, 0), "expression"), ((0, 1.1, 0), "valence"), ((0, 0, float("nan")), "arousal")],
)
def test_arguments_out_of_range_are_refused(arguments, word):
    with pytest.raises(ValueError, match=word):
        draw_face(*arguments, np.random.default_rng(0))
    with pytest.raises(ValueError, match="32"):
        _face(size=31)


def test_arguments_at_the_ends_of_their_ranges_are_taken():
    for valence, arousal in ((1, -1), (-1, 1)):
        assert _face(7, valence, arousal, size=32).image.shape == (32, 32, 3)
    for expression in (-1, 8):
        with pytest.raises(ValueError, match="expression must be 0-7"):
            _face(expression)
