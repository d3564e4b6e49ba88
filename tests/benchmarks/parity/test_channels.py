import numpy as np
import onnx
import pytest
from helpers import golden
from onnx import numpy_helper

from emonet_deploy.benchmarks.parity.channels import (
    LayerNoise,
    _layer_noise,
    _Moments,
    _spread_out,
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


def test_moments_are_numpys_however_the_values_come():
    rng = np.random.default_rng(1)
    truth, made = rng.normal(2, 3, (5, 90)), rng.normal(-1, 2, (5, 90))
    moments = _Moments()
    for places in (slice(0, 1), slice(1, 40), slice(40, 90)):
        moments.add(truth[:, places], made[:, places])
    np.testing.assert_allclose(moments.spreads(), [truth.std(1), made.std(1)])
    expected = np.cov(made, truth, bias=True)[:5, 5:]
    np.testing.assert_allclose(moments.covariance(), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("height", "width", "step"), [(64, 64, 5), (32, 32, 1), (128, 128, 17), (8, 8, 1)]
)
def test_of_large_maps_about_a_thousand_places_in_all_columns_are_kept(height, width, step):
    maps = np.arange(2 * height * width).reshape(1, 2, height, width)
    found = _spread_out(maps)
    assert np.array_equal(found, maps.reshape(2, -1)[:, ::step])
    assert min(height * width, 800) <= found.shape[1] <= max(1024, height * width // step + 1)
    assert len({int(place) % width for place in found[0]}) == width


@pytest.mark.parametrize(("by", "strays"), [(0.09, 0), (0.11, 1)])
def test_a_stray_resembles_another_channel_clearly_more_than_its_own(by, strays):
    # Orthogonal channels, of which the made one is a mixture of known correlations.
    truth = np.array([[1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]], float).repeat(100, 1)
    own = 0.6
    other = own + by
    made = truth.copy()
    made[0] = own * truth[0] + other * truth[1] + np.sqrt(1 - own**2 - other**2) * truth[2]
    assert noise_of(truth, made).strays == strays


def test_the_gain_is_that_of_the_median_channel_and_may_be_negative():
    truth = np.random.default_rng(2).normal(0, 1, (3, 1000))
    found = noise_of(truth, truth * [[-2.0], [5.0], [3.0]])
    assert found.gain == pytest.approx(3)
    assert found.noise == pytest.approx(0, abs=1e-9)
    assert noise_of(truth, -truth).gain == pytest.approx(-1)


def test_a_made_layer_of_zeros_is_all_noise_and_a_still_reference_is_not_compared():
    truth = np.random.default_rng(3).normal(0, 1, (3, 100))
    dead = noise_of(truth, np.zeros_like(truth))
    assert (dead.noise, dead.gain, dead.channels) == (1.0, 0.0, 3)
    assert noise_of(np.ones((3, 100)), truth) == LayerNoise(0.0, None, 0, 0)


def test_a_channel_that_varies_a_thousandth_of_the_median_is_compared():
    base = np.tile([1.0, -1.0], 50)
    for factor, channels in ((1.1e-3, 3), (0.9e-3, 2)):
        truth = np.stack([base, factor * base, base])
        assert noise_of(truth, truth).channels == channels


def layer(noise=0.0, gain=1.0, strays=0):
    return LayerNoise(noise, gain, strays, 8)


@pytest.mark.parametrize(
    ("layers", "name", "value", "passed"),
    [
        ([layer(0.25), layer(0.125)], "layer_noise", 0.25, True),
        ([layer(0.26), layer(0.125)], "layer_noise", 0.26, False),
        ([layer(gain=1.5), layer(gain=None)], "layer_gain", 0.5, True),
        ([layer(gain=0.5), layer(gain=1.25)], "layer_gain", 0.5, True),
        ([layer(gain=0.25), layer(gain=1.25)], "layer_gain", 0.75, False),
        ([layer(strays=1), layer(strays=1)], "strays", 2.0, True),
        ([layer(strays=1), layer(strays=2)], "strays", 3.0, False),
    ],
)
def test_the_worst_layer_and_all_strays_are_held_against_the_gates(layers, name, value, passed):
    gates = Gates(layer_noise=0.25, layer_gain=0.5, strays=2)
    found = judge_channels(dict(enumerate(layers)), gates)
    assert set(found) == {"layer_noise", "layer_gain", "strays"}
    assert (found[name].value, found[name].passed) == (value, passed)
    assert all(verdict.passed for key, verdict in found.items() if key != name)
    assert judge_channels(dict(enumerate(layers)), Gates()) == {}
    assert judge_channels({}, gates) == {}
