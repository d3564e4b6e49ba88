"""What of a model's results is believed, at the limits."""

import numpy as np
import pytest
from helpers.fake_session import FakeSession

from emonet_deploy.errors import BackendError
from emonet_deploy.runtime.backends.session import check_results

IMAGE, TENSOR = FakeSession(interface="image").info, FakeSession().info


def shares(first, rest):
    return np.array([[first, *[rest] * 7]], np.float32)


@pytest.mark.parametrize(
    ("results", "good"),
    [
        # Rounding may take values a hundredth out of range.
        ({"valence": np.array([1.009], np.float32)}, True),
        ({"valence": np.array([-1.009], np.float32)}, True),
        ({"valence": np.array([1.011], np.float32)}, False),
        ({"arousal": np.array([0.0, -1.011], np.float32)}, False),
        ({"probabilities": shares(0.3, 0.1)}, True),
        ({"probabilities": shares(0.309, 0.1)}, True),
        ({"probabilities": shares(0.291, 0.1)}, True),
        ({"probabilities": shares(0.311, 0.1)}, False),
        ({"probabilities": shares(0.289, 0.1)}, False),
        ({"probabilities": shares(-0.009, 1.009 / 7)}, True),
        ({"probabilities": shares(-0.011, 1.011 / 7)}, False),
        ({}, True),
    ],
)
def test_shares_and_values_may_be_out_of_range_by_rounding_only(results, good):
    n = len(next(iter(results.values()), [0]))
    if good:
        check_results(results, IMAGE, n)
        return
    with pytest.raises(BackendError, match=r"goes beyond|add up to 1"):
        check_results(results, IMAGE, n)


def test_logits_have_no_range():
    check_results(
        {"valence": np.array([7.0], np.float32), "expression": shares(99, -99)}, TENSOR, 1
    )


@pytest.mark.parametrize("place", [(0, 0, 0, 0), (1, 67, 56, 63), (0, 30, 8, 5)])
def test_a_heatmap_that_is_not_finite_is_seen(place):
    heatmap = np.zeros((2, 68, 64, 64), np.float32)
    check_results({"heatmap": heatmap}, TENSOR, 2)
    # Whole rows are; every eighth is looked at.
    heatmap[place[:3]] = np.inf
    with pytest.raises(BackendError, match="'heatmap' holds NaN or infinity"):
        check_results({"heatmap": heatmap}, TENSOR, 2)


def test_every_landmark_is_looked_at():
    for point in range(68):
        landmarks = np.zeros((1, 68, 3), np.float32)
        landmarks[0, point, 1] = np.nan
        with pytest.raises(BackendError, match="'landmarks' holds NaN"):
            check_results({"landmarks": landmarks}, IMAGE, 1)
