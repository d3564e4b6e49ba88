"""The rewrites for CPUs: the same function, and as few operations as they promise."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from helpers import golden
from helpers.onnx_models import optimized_operators
from onnx import TensorProto, helper, numpy_helper

from emonet_deploy.benchmarks.speed.count_operations import count_operations, total_macs
from emonet_deploy.errors import ExportError
from emonet_deploy.export.passes.cpu import rewrite_for_cpu
from emonet_deploy.export.passes.merge_pointwise import merge_pointwise
from emonet_deploy.export.passes.winograd import apply_winograd, transforms

OUTPUTS = ("heatmap", "expression", "valence", "arousal")


def run(model, images):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    session = ort.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {session.get_inputs()[0].name: images})


@pytest.fixture(scope="module")
def plain(onnx8):
    return onnx.load(onnx8)


@pytest.fixture(scope="module")
def rewritten(onnx8):
    model = onnx.load(onnx8)
    rewrite_for_cpu(model)
    return model


@pytest.fixture(scope="module")
def faces():
    pixels = golden.images(4, int(golden.load("forward_8.npz")["image_seed"]))[:2]
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32) / 255


def assert_golden(outputs, tolerance):
    expected = golden.load("forward_8.npz")
    found = dict(zip(OUTPUTS, outputs, strict=True))
    found["heatmap_every8"] = found["heatmap"][:, :, ::8, ::8]
    for name in ("expression", "valence", "arousal", "heatmap_every8"):
        want = expected[name][: len(outputs[0])]
        assert np.abs(found[name] - want).max() < tolerance * np.abs(want).max(), name


@pytest.mark.parametrize("m", [2, 3, 4, 6, 8])
def test_transforms_turn_a_convolution_into_products(m):
    at, g, bt = transforms(m)
    rng = np.random.default_rng(m)
    signal, taps = rng.normal(size=m + 2), rng.normal(size=3)
    expected = np.correlate(signal, taps, "valid")
    np.testing.assert_allclose(at @ ((g @ taps) * (bt @ signal)), expected, atol=1e-10)


def convolution(height, kernel=3, bias=False, **attributes):
    """One convolution, 8 to 16 channels, as a model."""
    rng = np.random.default_rng(height)
    arrays = {"w": rng.normal(size=(16, 8, kernel, kernel)).astype(np.float32)}
    if bias:
        arrays["b"] = np.ones(16, np.float32)
    node = helper.make_node("Conv", ["x", *arrays], ["y"], "layer", **attributes)
    between = helper.make_node("Relu", ["image"], ["x"], "relu")
    shapes = (("image", ["N", 8, height, height]), ("y", ["N", 16, None, None]))
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, s) for name, s in shapes]
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph([between, node], "g", values[:1], values[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize(("height", "m"), [(12, 4), (13, 4), (7, 6), (16, 2), (5, 3)])
def test_winograd_computes_the_same_maps_of_any_size_and_batch(height, m):
    model = convolution(height, kernel_shape=[3, 3], pads=[1] * 4)
    images = np.random.default_rng(0).normal(size=(3, 8, height, height)).astype(np.float32)
    (expected,) = run(model, images)
    apply_winograd(model, {(8, 16, height): m})
    onnx.checker.check_model(model, full_check=True)
    (got,) = run(model, images)
    assert np.abs(got - expected).max() < 1e-5 * np.abs(expected).max()
    assert "Conv" not in {node.op_type for node in model.graph.node}


@pytest.mark.parametrize(
    "changes",
    [
        {"strides": [2, 2]},
        {"dilations": [2, 2], "pads": [2] * 4},
        {"pads": [0] * 4},
        {"bias": True},
        {"kernel": 5, "kernel_shape": [5, 5], "pads": [2] * 4},
    ],
)
def test_other_convolutions_are_left_alone(changes):
    model = convolution(12, **({"kernel_shape": [3, 3], "pads": [1] * 4} | changes))
    before = model.SerializeToString()
    apply_winograd(model, {(8, 16, 12): 4})
    assert model.SerializeToString() == before


def test_merged_pointwise_layers_give_the_golden_outputs(onnx8, plain, faces):
    model = onnx.load(onnx8)
    merge_pointwise(model)
    onnx.checker.check_model(model, full_check=True)
    assert_golden(run(model, faces), 1e-5)
    saved = total_macs(count_operations(plain)) - total_macs(count_operations(model))
    # l0 and al0 between 256 and 68 channels on 64 x 64 maps are gone.
    assert saved == 2 * 256 * 68 * 64**2
    # The heatmap alone has 68 channels now, and no map has 768.
    widths = [numpy_helper.to_array(t).shape for t in model.graph.initializer]
    assert [shape for shape in widths if 68 in shape[:1]] == [(68, 256, 1, 1), (68,)]
    assert not [shape for shape in widths if 768 in shape]


def test_a_foreign_graph_is_refused():
    with pytest.raises(ExportError, match="has no layer"):
        merge_pointwise(convolution(8, kernel_shape=[3, 3]))


def test_the_cpu_graph_gives_the_golden_outputs(rewritten, faces):
    onnx.checker.check_model(rewritten, full_check=True)
    assert_golden(run(rewritten, faces), 5e-5)


def test_the_cpu_graph_needs_two_fifths_of_the_operations(plain, rewritten):
    before, after = count_operations(plain), count_operations(rewritten)
    assert total_macs(after) < 0.41 * total_macs(before)


def test_the_cpu_graph_stays_in_onnx_runtimes_blocked_layout(rewritten, tmp_path):
    assert "BatchNormalization" not in {node.op_type for node in rewritten.graph.node}
    assert {node.domain for node in rewritten.graph.node} == {""}
    ran = optimized_operators(rewritten, tmp_path)
    # Each transposition is part of a change of layout, which ONNX Runtime does in parallel.
    assert ran["Transpose"] == 0
