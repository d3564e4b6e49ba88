import numpy as np
import pytest
import torch
from helpers.onnx_models import sums_fit_16_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.lib.stride_tricks import sliding_window_view
from onnx import helper

from emonet_deploy.export.quantization.gptq import (
    ANY_SUM,
    SUM_IN_16_BITS,
    gptq,
    layer_hessian,
    quantize_conv,
)
from emonet_deploy.export.quantization.qparams import QuantParams

CONV = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", pads=[1, 1, 1, 1])
STEP = 0.05
SCALES = torch.full((8,), STEP)


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


def weights():
    return torch.from_numpy(np.random.default_rng(1).normal(0, 0.3, (8, 6, 3, 3)).astype("f"))


def test_covariance_is_that_of_the_patches_but_for_the_diagonal():
    x = smooth_maps(2)
    found = layer_hessian(CONV, x, (3, 3)).numpy()
    expected = np.cov(patches(x).T, bias=True)
    off = ~np.eye(len(expected), dtype=bool)
    np.testing.assert_allclose(found[off], expected[off], atol=1e-5)
    assert (found.diagonal() > expected.diagonal()).all()


def test_fewer_faces_are_trusted_less():
    few, many = (layer_hessian(CONV, smooth_maps(2, n), (3, 3)).numpy() for n in (1, 16))
    added = [
        (found.diagonal() - np.cov(patches(smooth_maps(2, n)).T, bias=True).diagonal()).mean()
        / np.trace(found)
        for found, n in ((few, 1), (many, 16))
    ]
    assert added[0] > 2 * added[1]


def test_every_weight_is_a_whole_number_of_steps_near_what_it_was():
    codes = gptq(weights(), SCALES, layer_hessian(CONV, smooth_maps(2), (3, 3)), ANY_SUM)
    np.testing.assert_array_equal(codes, codes.round())
    assert (codes * STEP - weights()).abs().max() < 3 * STEP


def test_inputs_that_do_not_go_together_are_rounded_to_the_nearest():
    codes = gptq(weights(), SCALES, torch.eye(54, dtype=torch.float64), ANY_SUM)
    np.testing.assert_array_equal(codes, (weights().double() / SCALES[0].double()).round())


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float32, (2, 4, 1, 2), elements=st.floats(-1000, 1000, width=32)),
    st.integers(0, 2**32 - 1),
)
def test_no_weights_whatever_overflow_16_bits(weight, seed):
    samples = np.random.default_rng(seed).normal(0, 1, (8, 20))
    covariance = torch.from_numpy(samples @ samples.T + 0.1 * np.eye(8))
    codes = gptq(torch.from_numpy(weight), torch.ones(2), covariance, SUM_IN_16_BITS).numpy()
    assert np.abs(codes).max() <= 127
    assert sums_fit_16_bits(codes)


def test_neighbours_too_large_together_give_way_by_the_same():
    weight = torch.tensor([[100.0, 90.0, -100.0, -90.0, 100.0, -90.0]]).reshape(1, 6, 1, 1)
    covariance = torch.eye(6, dtype=torch.float64)
    codes = gptq(weight, torch.ones(1), covariance, SUM_IN_16_BITS)
    assert codes.flatten().tolist() == [69, 59, -69, -59, 100, -90]
    codes = gptq(weight, torch.ones(1), covariance, ANY_SUM)
    assert codes.flatten().tolist() == [100, 90, -100, -90, 100, -90]


def test_a_layer_uses_all_the_range_there_is():
    rng = np.random.default_rng(0)
    weight = torch.from_numpy(rng.normal(0, 1, (16, 32, 3, 3)).astype(np.float32))
    x = torch.from_numpy(rng.random((2, 32, 12, 12), np.float32))
    layer = quantize_conv(CONV, [x, weight], QuantParams(np.float32(1 / 255), 0), SUM_IN_16_BITS)
    assert sums_fit_16_bits(layer.weight)
    assert np.abs(layer.weight.astype(int)).max() > 100
    error = np.square(layer.dequantized_weight - weight.numpy()).mean() / weight.numpy().var()
    assert error < 1.8e-4  # 64 steps either way: 2.6e-4


def test_a_depthwise_layer_has_all_steps():
    weight = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (8, 1, 3, 3)).astype("f"))
    layer = quantize_conv(
        CONV, [smooth_maps(0, channels=8), weight], QuantParams(np.float32(0.1), 0), SUM_IN_16_BITS
    )
    assert (np.abs(layer.weight.astype(int)).max((1, 2, 3)) > 120).all()


@pytest.mark.parametrize("seed", [3, 4])
def test_the_output_of_unseen_maps_changes_far_less_than_by_rounding_to_the_nearest(seed):
    hessian = layer_hessian(CONV, smooth_maps(2, 16), (3, 3))
    unseen = patches(smooth_maps(seed))
    unseen -= unseen.mean(0)

    def noise(codes):
        errors = codes * STEP - weights()
        return np.square(unseen @ errors.flatten(1).double().numpy().T).mean()

    nearest = (weights() / STEP).round()
    assert noise(gptq(weights(), SCALES, hessian, ANY_SUM)) < 0.3 * noise(nearest)
