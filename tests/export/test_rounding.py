import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from onnx import helper

from emonet_deploy.export.rounding import input_covariance, round_weights

CONV = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", pads=[1, 1, 1, 1])
STEP = 0.05


def smooth_maps(seed, n=4, channels=6):
    """Maps whose neighbouring pixels and channels go together, as a network's do; none negative."""
    rng = np.random.default_rng(seed)
    maps = rng.normal(0, 1, (n, 3, 20, 20))
    mixed = np.einsum("oc,nchw->nohw", np.random.default_rng(0).normal(0, 1, (channels, 3)), maps)
    windows = sliding_window_view(mixed, (5, 5), (2, 3)).mean((4, 5))
    return torch.from_numpy(np.maximum(windows + 0.3, 0).astype(np.float32))


def patches(x):
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = sliding_window_view(padded, (3, 3), (2, 3)).transpose(0, 2, 3, 1, 4, 5)
    return windows.reshape(-1, x.shape[1] * 9).astype(np.float64)


def nearest(column):
    return (column / STEP).round().clamp(-100, 100) * STEP


def weights():
    return torch.from_numpy(np.random.default_rng(1).normal(0, 0.3, (8, 6, 3, 3)).astype("f"))


def test_covariance_is_that_of_the_patches_but_for_the_diagonal():
    x = smooth_maps(2)
    found = input_covariance(CONV, x, (3, 3)).numpy()
    expected = np.cov(patches(x).T, bias=True)
    off = ~np.eye(len(expected), dtype=bool)
    np.testing.assert_allclose(found[off], expected[off], atol=1e-5)
    assert (found.diagonal() > expected.diagonal()).all()


def test_fewer_faces_are_trusted_less():
    few, many = (input_covariance(CONV, smooth_maps(2, n), (3, 3)).numpy() for n in (1, 16))
    added = [
        (found.diagonal() - np.cov(patches(smooth_maps(2, n)).T, bias=True).diagonal()).mean()
        / np.trace(found)
        for found, n in ((few, 1), (many, 16))
    ]
    assert added[0] > 2 * added[1]


def test_every_weight_can_be_stored():
    rounded = round_weights(weights(), nearest, input_covariance(CONV, smooth_maps(2), (3, 3)))
    assert rounded.dtype == torch.float32
    codes = rounded.numpy() / STEP
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-4)
    assert (rounded - weights()).abs().max() < 3 * STEP


def test_inputs_that_do_not_go_together_are_rounded_to_the_nearest():
    rounded = round_weights(weights(), nearest, torch.eye(54, dtype=torch.float64))
    np.testing.assert_array_equal(rounded, nearest(weights().double()).float())


@pytest.mark.parametrize("seed", [3, 4])
def test_the_output_of_unseen_maps_changes_far_less_than_by_rounding_to_the_nearest(seed):
    covariance = input_covariance(CONV, smooth_maps(2, 16), (3, 3))
    unseen = patches(smooth_maps(seed))
    unseen -= unseen.mean(0)

    def noise(rounded):
        return np.square(unseen @ (rounded - weights()).flatten(1).double().numpy().T).mean()

    assert noise(round_weights(weights(), nearest, covariance)) < 0.3 * noise(nearest(weights()))
