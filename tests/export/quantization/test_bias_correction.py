import numpy as np
import pytest
import torch
from helpers.onnx_models import nearest
from helpers.small_graph import conv, small
from onnx import helper
from torch.nn import functional as F

from emonet_deploy.export.graph.torch_interpreter import Interpreter
from emonet_deploy.export.quantization.bias_correction import (
    correct_bias,
    correct_network,
    quantization_error,
)
from emonet_deploy.export.quantization.qparams import QuantParams

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(6, 4, 3, 3)).astype("f")
SECOND = RNG.normal(size=(2, 6, 3, 3)).astype("f")
BIAS = RNG.normal(size=6).astype("f")
COARSE = QuantParams(np.float32(0.25), 100)
NODE = helper.make_node("Conv", ["x", "w", "b"], ["y"], name="y", pads=[1] * 4)


def faces(n):
    return torch.from_numpy(np.random.default_rng(n).normal(size=(n, 4, 9, 9)).astype("f"))


def in_int8(layer, x):
    """What a convolution in int8 computes, written with PyTorch alone."""
    s, z = float(layer.input.scale), layer.input.zero_point
    codes = ((x / s).round() + z).clamp(0, 255)
    weight = torch.from_numpy(layer.weight.astype("f") * layer.weight_scales[:, None, None, None])
    return F.conv2d((codes - z) * s, weight, torch.from_numpy(layer.bias), padding=1)


@pytest.mark.parametrize("n", [1, 8, 11])
def test_a_corrected_layer_has_the_mean_of_the_exact_one(n):
    x = faces(n)
    exact = F.conv2d(x, torch.from_numpy(WEIGHT), torch.from_numpy(BIAS), padding=1)
    layer = nearest(WEIGHT, COARSE, levels=7, bias=BIAS)
    before = in_int8(layer, x).mean((0, 2, 3)) - exact.mean((0, 2, 3))
    assert before.abs().max() > 1e-3
    fixed = correct_bias(layer, NODE, x, exact)
    after = in_int8(fixed, x).mean((0, 2, 3)) - exact.mean((0, 2, 3))
    assert after.abs().max() < 1e-5
    assert fixed.weight is layer.weight
    assert fixed.bias.dtype == np.float32


@pytest.fixture
def network():
    return small(
        [conv("x w b", "a"), ("Relu", "a", "r", {}), conv("r v", "y")],
        {"w": WEIGHT, "b": BIAS, "v": SECOND}, x=("N", 4, 9, 9), outputs=("y", "a"),
    )  # fmt: skip


@pytest.mark.parametrize("stored", [{}, {"r": QuantParams(np.float32(0.25), 0)}])
def test_a_corrected_network_has_the_exact_means_at_every_layer(network, stored):
    x = faces(11)
    exact = Interpreter(network).run(x)
    layers = {
        "a": nearest(WEIGHT, COARSE, levels=7, bias=BIAS),
        "y": nearest(SECOND, QuantParams(np.float32(0.25), 0), levels=7),
    }
    fixed = correct_network(Interpreter(network), layers, stored, x)
    first = in_int8(fixed["a"], x)
    hidden = first.relu()
    if stored:
        hidden = ((hidden / 0.25).round().clamp(0, 255)) * 0.25
    second = in_int8(fixed["y"], hidden)
    for found, name in ((first, "a"), (second, "y")):
        error = found.mean((0, 2, 3)) - exact[name].mean((0, 2, 3))
        assert error.abs().max() < 1e-4, name
    assert set(layers) == set(fixed)
    assert np.array_equal(layers["a"].bias, BIAS)  # as it was


def test_only_the_layers_that_are_named_are_corrected(network):
    fixed = correct_network(
        Interpreter(network), {"y": nearest(SECOND, COARSE, levels=7)}, {}, faces(2)
    )
    assert set(fixed) == {"y"}


def test_the_error_of_a_node_is_what_rounding_it_alone_adds():
    x = faces(3)
    layer = nearest(WEIGHT, COARSE, levels=7, bias=BIAS)
    exact = F.conv2d(x, torch.from_numpy(WEIGHT), torch.from_numpy(BIAS), padding=1)
    out = QuantParams(np.float32(0.5), 90)

    def error(layers, stored, node=NODE):
        return quantization_error(layers, stored, node, [x], exact)

    assert error({}, {}) is None
    assert error({}, {"x": COARSE}) is None
    torch.testing.assert_close(error({"y": layer}, {}), in_int8(layer, x) - exact)
    weight = torch.from_numpy(layer.dequantized_weight)
    kept = F.conv2d(x, weight, torch.from_numpy(BIAS), padding=1)  # rounded already
    torch.testing.assert_close(error({"y": layer}, {"x": COARSE}), kept - exact)
    rounded = ((exact / 0.5).round() + 90).clamp(0, 255) - 90
    torch.testing.assert_close(error({}, {"y": out}), rounded * 0.5 - exact)
    concat = helper.make_node("Concat", ["x", "x"], ["y"], "y")
    assert error({}, {"y": out}, concat) is None
