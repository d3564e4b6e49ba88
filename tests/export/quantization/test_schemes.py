import numpy as np
import pytest
from helpers.small_graph import conv, small

from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.quantization.schemes import SCHEMES


@pytest.fixture
def gpu():
    rng = np.random.default_rng(0)
    model = small(
        [conv("x w", "first"), ("Relu", "first", "r", {}), conv("r v", "y")],
        {"w": rng.normal(size=(4, 4, 3, 3)), "v": rng.normal(size=(4, 4, 3, 3))},
    )
    return SCHEMES["gpu"](model, np.zeros((1, 256, 256, 3), np.uint8)), model


def test_tensorrt_reads_every_convolution_but_those_in_float_in_8_bits(gpu):
    scheme, model = gpu
    graph = Graph(model)
    assert scheme.convolutions(graph, ()) == ["first", "y"]
    assert scheme.convolutions(graph, {"first"}) == ["y"]
    assert scheme.stored(graph, {"first", "y"}) == []
    assert scheme.group("m0.b1_4.conv1") == "m0.b1_4.conv1"
    prepared = scheme.prepared(())
    assert prepared == model
    assert prepared is not model


def test_zero_points_and_sums_are_what_the_runtimes_have():
    # TensorRT has no zero points; CPUs without VNNI add products of two weights in 16 bits.
    assert [SCHEMES[name].symmetric for name in ("gpu", "cpu")] == [True, False]
    largest = SCHEMES["cpu"].largest_sum
    assert 255 * largest <= np.iinfo(np.int16).max < 255 * (largest + 1)
    assert SCHEMES["gpu"].largest_sum == 127 + 127


@pytest.mark.parametrize(
    ("layer", "group"),
    [
        ("m0.b1_4.conv1", "m0.b1_4"),
        ("conv2.downsample.2", "conv2"),
        ("conv2.conv3", "conv2"),
        ("conv1x1_input_emo_2.x", "conv1x1_input_emo_2"),
        ("conv1", "conv1"),
        ("l1", "l1"),
    ],
)
def test_onnx_runtime_goes_to_float_for_whole_blocks(layer, group):
    scheme = SCHEMES["cpu"].__new__(SCHEMES["cpu"])
    assert scheme.group(layer) == group


def test_shares_in_float_are_shares():
    for scheme in SCHEMES.values():
        assert 0 < scheme.float_budget < 0.25
