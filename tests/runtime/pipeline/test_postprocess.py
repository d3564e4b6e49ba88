import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emonet_deploy.runtime.pipeline.artifact_interfaces import results
from emonet_deploy.runtime.pipeline.postprocess import decode_heatmaps, softmax


def gaussian(x, y, sigma=1.5):
    """A heatmap whose peak lies at (x, y), in heatmap pixels."""
    row, column = np.mgrid[:64, :64]
    return np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2)).astype(np.float32)


@given(st.floats(1, 62), st.floats(1, 62))
def test_a_gaussian_is_found_to_a_fraction_of_a_pixel(x, y):
    (point,) = decode_heatmaps(gaussian(x, y)[None, None])[0]
    # Heatmap pixel i covers crop pixels 4i to 4i + 3, whose middle is 4i + 1.5.
    assert point[0] == pytest.approx(4 * x + 1.5, abs=0.25)
    assert point[1] == pytest.approx(4 * y + 1.5, abs=0.25)


def test_two_equal_neighbours_give_the_place_between_them_whichever_wins():
    heatmap = np.zeros((2, 1, 64, 64), np.float32)
    heatmap[:, 0, 20, 30:32] = 1
    heatmap[0, 0, 20, 30] += 1e-6
    heatmap[1, 0, 20, 31] += 1e-6
    left, right = decode_heatmaps(heatmap)[:, 0]
    np.testing.assert_allclose(left[:2], (4 * 30.5 + 1.5, 4 * 20 + 1.5), atol=1e-3)
    np.testing.assert_allclose(left, right, atol=1e-3)


@pytest.mark.parametrize("corner", [(0, 0), (63, 0), (0, 63), (63, 63)])
def test_a_peak_on_the_border_stays_in_the_crop(corner):
    heatmap = np.zeros((1, 1, 64, 64), np.float32)
    heatmap[0, 0, corner[1], corner[0]] = 2
    x, y, score = decode_heatmaps(heatmap)[0, 0]
    # The first pixel's centre is 0, so the crop reaches from -0.5 to 255.5.
    assert -0.5 <= x <= 255.5
    assert -0.5 <= y <= 255.5
    assert score == 2


def test_a_flat_map_gives_finite_numbers():
    assert np.isfinite(decode_heatmaps(np.zeros((1, 68, 64, 64), np.float32))).all()


def test_a_plateau_but_for_rounding_moves_a_landmark_by_no_more_than_half_a_pixel():
    heatmap = np.zeros((1, 1, 64, 64), np.float32)
    heatmap[0, 0, 20, 29:32] = np.nextafter(np.float32(1), np.float32(0)), 1, 1
    x, y, _ = decode_heatmaps(heatmap)[0, 0]
    assert (x, y) == pytest.approx((4 * 30.5 + 1.5, 4 * 20 + 1.5), abs=1e-3)


def test_softmax_of_large_logits_does_not_overflow():
    logits = np.array([[1000, 0, -1000], [1, 1, 1]], np.float32)
    np.testing.assert_allclose(softmax(logits), [[1, 0, 0], [1 / 3] * 3], atol=1e-6)


def test_outputs_of_the_image_interface_pass_as_they_are():
    outputs = {"probabilities": np.ones((1, 8), np.float32)}
    assert results(outputs) == outputs
