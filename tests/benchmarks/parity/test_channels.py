import numpy as np
import onnx
import pytest
from helpers import golden
from onnx import numpy_helper

from emonet_deploy.benchmarks.parity.channels import (
    LayerNoise,
    _layer_noise,
    _Moments,
    compare_channels,
    judge_channels,
)
from emonet_deploy.runtime.precision_specs import Gates, gates_of

CROPS = golden.images(2, 0)
LAYER = "m1.b2_2.conv2"


def changed(source, path, change):
    model = onnx.load(source)
    weight = next(t for t in model.graph.initializer if t.name == f"{LAYER}.weight")
    weight.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(weight)), weight.name))
    onnx.save(model, path)
    return path


def noise_of(truth, made):
    """The faces come one after the other, as they do in a comparison."""
    moments = _Moments()
    for places in np.array_split(np.arange(truth.shape[1]), 5):
        moments.add(truth[:, places], made[:, places])
    return _layer_noise(moments)


def test_swapped_channels_and_wrong_scales_stand_out_where_outputs_hardly_change(onnx8, tmp_path):
    reference = golden.model(8)

    def swap(weight):
        return weight[[1, 0, *range(2, len(weight))]]

    right = compare_channels(reference, onnx8, CROPS)
    assert all(v.passed for v in judge_channels(right, gates_of("fp32")).values())

    swapped = compare_channels(reference, changed(onnx8, tmp_path / "a.onnx", swap), CROPS)
    assert swapped[LAYER].strays == 2
    for precision in ("fp16", "int8"):
        assert not judge_channels(swapped, gates_of(precision))["strays"].passed

    doubled = changed(onnx8, tmp_path / "b.onnx", lambda w: w * np.float32(2))
    wrong = compare_channels(reference, doubled, CROPS)
    assert wrong[LAYER].gain == pytest.approx(2, rel=1e-4)
    assert wrong[LAYER].noise < 1e-6  # of its own; of the next one it is more
    for precision in ("fp16", "int8"):
        assert not judge_channels(wrong, gates_of(precision))["layer_gain"].passed


def test_noise_is_the_share_that_no_scale_and_shift_explains():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, (16, 50_000))
    noisy = 3 * truth + rng.normal(0, 0.6, truth.shape) + 7
    found = noise_of(truth, noisy)
    assert found.noise == pytest.approx(0.04 / 1.04, rel=0.05)
    assert found.gain == pytest.approx(3, rel=0.01)
    assert (found.strays, found.channels) == (0, 16)


def test_dead_channels_are_not_compared_and_what_is_not_finite_fails():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, (4, 1000))
    truth[0] = 1e-9 * truth[1]
    made = truth.copy()
    made[0] = -made[2]
    assert noise_of(truth, made) == LayerNoise(pytest.approx(0, abs=1e-9), pytest.approx(1), 0, 3)
    made[1, 5] = np.inf
    layers = {"a": noise_of(truth, made)}
    assert not judge_channels(layers, Gates(layer_noise=0.05))["layer_noise"].passed
