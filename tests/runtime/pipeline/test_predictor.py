import numpy as np
import pytest
from helpers.fake_session import FakeSession
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from emonet_deploy.emonet_ref.constants import CLASS_NAMES
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.backends.registry import load_session
from emonet_deploy.runtime.pipeline.predictor import Predictor


def pictures(sizes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in sizes]


@pytest.mark.parametrize("nclass", [5, 8])
def test_predictions_are_named_bounded_and_batched(golden_onnx, nclass):
    faces = pictures([(256, 256), (64, 100), (300, 200)])
    with load_session(golden_onnx(nclass), device="cpu") as session:
        together = Predictor(session, batch_size=2).predict(faces)
        alone = Predictor(session, batch_size=1).predict(faces)
    for prediction, single in zip(together, alone, strict=True):
        assert tuple(prediction.probabilities) == CLASS_NAMES[nclass]
        assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)
        best = max(prediction.probabilities, key=prediction.probabilities.__getitem__)
        assert prediction.expression == best == single.expression
        assert -1 <= prediction.valence <= 1
        assert -1 <= prediction.arousal <= 1
        assert prediction.valence == pytest.approx(single.valence, abs=1e-4)


def test_landmarks_are_in_the_pixels_of_the_face_given():
    small, wide = FakeSession(), FakeSession()
    faces = pictures([(256, 256)])
    (crop,) = Predictor(small).predict(faces)
    (stretched,) = Predictor(wide).predict([np.repeat(np.repeat(faces[0], 2, 0), 4, 1)])
    # The fake's heatmaps do not depend on the picture: only the scale of the pixels differs.
    expected = (crop.landmarks[:, :2] + 0.5) * (4, 2) - 0.5
    np.testing.assert_allclose(stretched.landmarks[:, :2], expected, atol=1e-3)


def test_faces_stream_without_being_held():
    session = FakeSession()
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield np.zeros((8, 8, 3), np.uint8)

    next(Predictor(session, batch_size=4).stream(endless()))
    assert len(taken) == 4


@settings(max_examples=30, deadline=None)
@given(
    arrays.arrays(
        np.uint8,
        st.one_of(
            st.tuples(st.integers(0, 40), st.integers(0, 40)),
            st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 5)),
        ),
    )
)
def test_any_picture_gives_a_prediction_or_an_input_error(picture):
    try:
        (prediction,) = Predictor(FakeSession()).predict([picture])
    except InputError:
        return
    assert np.isfinite(prediction.landmarks).all()


def test_a_batch_size_of_zero_is_refused():
    with pytest.raises(InputError, match="batch size"):
        Predictor(FakeSession(), batch_size=0)
