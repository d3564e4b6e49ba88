import numpy as np
import pytest

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.pipeline.postprocess import softmax
from emonet_deploy.runtime.pipeline.predictor import Prediction
from emonet_deploy.runtime.pipeline.smoothing import (
    ExponentialSmoother,
    WindowSmoother,
    smoother_of,
)

NAMES = ("neutral", "happy", "sad")


def prediction(logits, valence=0.0, arousal=0.0):
    p = softmax(np.array(logits, np.float64))
    return Prediction(
        NAMES[int(p.argmax())], dict(zip(NAMES, p.tolist(), strict=True)), valence, arousal,
        np.zeros((68, 3), np.float32),
    )  # fmt: skip


def test_the_window_is_the_authors_on_logits_and_values():
    rng = np.random.default_rng(0)
    logits, values = rng.normal(0, 3, (9, 3)), rng.uniform(-1, 1, (9, 2))
    smoother = WindowSmoother()
    for i in range(9):
        got = smoother.smooth(0, i / 25, prediction(logits[i], *values[i]))
    weights = np.array([0.1, 0.1, 0.15, 0.25, 0.4])
    expected = softmax(weights @ logits[4:9])
    np.testing.assert_allclose(list(got.probabilities.values()), expected, atol=1e-9)
    np.testing.assert_allclose((got.valence, got.arousal), weights @ values[4:9], atol=1e-12)
    assert got.expression == NAMES[int(expected.argmax())]


def test_the_first_frames_are_not_damped():
    smoother = WindowSmoother()
    first = smoother.smooth(0, 0.0, prediction([1, 2, 3], 0.8, -0.6))
    assert (first.valence, first.arousal) == pytest.approx((0.8, -0.6))
    second = smoother.smooth(0, 0.04, prediction([1, 2, 3], 0.0, 0.0))
    assert second.valence == pytest.approx(0.8 * 0.25 / 0.65)


def test_the_exponential_one_goes_by_time_not_by_frames():
    results = []
    for fps in (10, 50):
        smoother = ExponentialSmoother(0.5)
        smoother.smooth(0, 0.0, prediction([0, 0, 0], 0.0))
        for i in range(1, fps + 1):
            got = smoother.smooth(0, i / fps, prediction([0, 0, 0], 1.0))
        results.append(got.valence)
    assert results[0] == pytest.approx(results[1])
    assert results[0] == pytest.approx(1 - np.exp(-2))


@pytest.mark.parametrize("make", [WindowSmoother, lambda: ExponentialSmoother(0.5)])
def test_identities_do_not_mix_and_old_ones_start_anew(make):
    smoother = make()
    smoother.smooth(0, 0.0, prediction([0, 0, 0], 1.0))
    assert smoother.smooth(1, 0.1, prediction([0, 0, 0], -1.0)).valence == pytest.approx(-1)
    assert 0 < smoother.smooth(0, 0.2, prediction([0, 0, 0], 0.0)).valence < 1
    assert smoother.smooth(0, 9.0, prediction([0, 0, 0], 0.0)).valence == pytest.approx(0)
    smoother.smooth(0, 9.1, prediction([0, 0, 0], 1.0))
    smoother.reset()
    assert smoother.smooth(0, 9.2, prediction([0, 0, 0], 0.0)).valence == pytest.approx(0)


def test_a_certain_prediction_stays_finite():
    sure = prediction([0.0, 5000.0, 0.0])
    got = WindowSmoother().smooth(0, 0.0, sure)
    assert got.probabilities["happy"] == pytest.approx(1)
    assert np.isfinite(list(got.probabilities.values())).all()


def test_names_on_the_command_line():
    assert smoother_of("none") is None
    assert isinstance(smoother_of("authors"), WindowSmoother)
    assert isinstance(smoother_of("0.3"), ExponentialSmoother)
    for wrong in ("median", "0", "-1", "nan", "inf", ""):
        with pytest.raises(InputError, match="smoothing"):
            smoother_of(wrong)


@pytest.mark.parametrize("make", [WindowSmoother, lambda: ExponentialSmoother(0.5)])
@pytest.mark.parametrize(("gap", "remembered"), [(1.9, True), (2.0, True), (2.1, False)])
def test_a_face_is_remembered_for_two_seconds_late_in_a_clip_too(make, gap, remembered):
    smoother = make()
    smoother.smooth(0, 100.0, prediction([0, 0, 0], 1.0))
    smoother.smooth(1, 100.0, prediction([0, 0, 0], 1.0))  # forgetting one leaves the others
    assert (smoother.smooth(0, 100.0 + gap, prediction([0, 0, 0], 0.0)).valence > 0) == remembered


def test_probabilities_stay_shares_where_frames_contradict_each_other():
    smoother = WindowSmoother((0.5, 0.5))
    smoother.smooth(0, 0.0, prediction([0.0, 5000.0, 0.0]))
    got = smoother.smooth(0, 0.04, prediction([5000.0, 0.0, 0.0]))
    np.testing.assert_allclose(list(got.probabilities.values()), (0.5, 0.5, 0.0), atol=1e-9)
