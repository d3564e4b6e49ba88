import numpy as np
import pytest

from emonet_deploy.benchmarks.metrics.output_error import DifferenceSums


def between(*batches):
    sums = DifferenceSums()
    for truth, made in batches:
        sums.add(np.asarray(truth, np.float32), np.asarray(made, np.float32))
    return sums.difference()


def test_a_difference_by_hand():
    # Off by 0.5 and 0.25: 25 of power over 0.3125 is a factor of 80.
    found = between(([3.0, -4.0], [2.5, -4.25]))
    assert found.max_abs == 0.5
    assert found.mean_abs == 0.375
    assert found.cosine == pytest.approx(24.5 / (5 * np.hypot(2.5, 4.25)))
    assert found.snr_db == pytest.approx(19.0309, abs=1e-4)
    assert found.spread == 3.5


def test_batches_of_any_shape_add_up_to_one():
    rng = np.random.default_rng(0)
    truth = rng.normal(1, 2, (10, 3, 4))
    made = truth + rng.normal(0, 0.01, truth.shape)
    found = between((truth[:1], made[:1]), (truth[1:4], made[1:4]), (truth[4:], made[4:]))
    truth, made = truth.astype(np.float32).astype(float), made.astype(np.float32).astype(float)
    error = np.abs(truth - made)
    assert found.max_abs == error.max()
    assert found.mean_abs == pytest.approx(error.mean())
    assert found.spread == pytest.approx(truth.std())
    cosine = np.vdot(truth, made) / np.linalg.norm(truth) / np.linalg.norm(made)
    assert found.cosine == pytest.approx(cosine, abs=1e-12)
    power = np.mean(truth**2) / np.mean(error**2)
    assert found.snr_db == pytest.approx(10 * np.log10(power))


def test_equal_values_have_no_distance_and_no_ratio():
    found = between(([1.0, -1.0], [1.0, -1.0]))
    assert (found.max_abs, found.mean_abs, found.snr_db) == (0.0, 0.0, None)
    assert found.cosine == pytest.approx(1)


@pytest.mark.parametrize(("truth", "made"), [([0.0, 0.0], [1.0, 2.0]), ([1.0, 2.0], [0.0, 0.0])])
def test_a_tensor_of_zeros_has_no_angle(truth, made):
    found = between((truth, made))
    assert found.cosine is None
    assert found.max_abs == 2.0
    assert found.snr_db == (None if truth == [0.0, 0.0] else pytest.approx(0, abs=1e-12))


def test_equal_values_do_not_spread():
    assert between(([0.1] * 3, [0.2] * 3)).spread == pytest.approx(0, abs=1e-8)
