import numpy as np
import onnx
import pytest
from helpers.onnx_models import nearest, run
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper, numpy_helper

from emonet_deploy.export.quantization.qdq import insert_qdq
from emonet_deploy.export.quantization.qparams import QuantParams

RNG = np.random.default_rng(0)


def small_model(relu):
    """One 3x3 convolution with padding, behind a ReLU or not; its weights."""
    weight = RNG.normal(0, 1, (4, 3, 3, 3)).astype(np.float32)
    source = "relu" if relu else "x"
    nodes = [helper.make_node("Relu", ["x"], ["relu"], name="relu")] if relu else []
    nodes.append(helper.make_node("Conv", [source, "w"], ["y"], name="conv", pads=[1, 1, 1, 1]))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "small",
        [value("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [value("y", TensorProto.FLOAT, ["N", 4, 8, 8])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model, weight


def quantized(weight, rectified, bias):
    return nearest(weight, QuantParams(np.float32(0.02), 0 if rectified else 128), bias=bias)


def expected(x, layer):
    """The same convolution with integer arithmetic, in float64, written without ONNX."""
    step = float(layer.input.scale)
    low, high = (0, 255) if layer.input.zero_point == 0 else (-128, 127)
    source = np.maximum(x, 0) if layer.input.zero_point == 0 else x
    integers = np.clip(np.rint(source / np.float32(step)), low, high).astype(np.int64)
    windows = sliding_window_view(
        np.pad(integers, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 3)
    )
    sums = np.einsum("nchwyx,ocyx->nohw", windows, layer.weight.astype(np.int64))
    scale = step * layer.weight_scales.astype(np.float64)
    return sums * scale.reshape(-1, 1, 1) + layer.bias.reshape(-1, 1, 1)


@pytest.mark.parametrize("rectified", [True, False])
def test_the_graph_computes_what_integers_compute_borders_included(rectified):
    model, weight = small_model(rectified)
    layer = quantized(weight, rectified, RNG.normal(0, 1, 4).astype(np.float32))
    insert_qdq(model, {"conv": layer})
    onnx.checker.check_model(model, full_check=True)
    x = RNG.normal(0, 3, (2, 3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(run(model, x, optimize=False)["y"], expected(x, layer), atol=2e-4)


def test_everything_is_as_tensorrt_takes_it():
    model, weight = small_model(True)
    insert_qdq(model, {"conv": quantized(weight, True, np.zeros(4, np.float32))})
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    pairs = [n for n in model.graph.node if n.op_type in {"QuantizeLinear", "DequantizeLinear"}]
    assert len(pairs) == 3
    for node in pairs:
        scale, zero = (constants[name] for name in node.input[1:])
        assert zero.data_type == TensorProto.INT8
        assert not numpy_helper.to_array(zero).any()
        # A scale of shape (1,) reads as one for each channel, and nothing runs in int8.
        assert list(scale.dims) == list(zero.dims) == []
    (conv,) = (node for node in model.graph.node if node.op_type == "Conv")
    assert constants[conv.input[2]].data_type == TensorProto.FLOAT
    assert constants["conv.weight.int8"].data_type == TensorProto.INT8


def test_each_reader_of_a_result_gets_its_channels_scales_back():
    """A norm, a concatenation with a convolution in float, a sum, an output: all read the conv."""
    weight = RNG.normal(0, 1, (4, 3, 1, 1)).astype(np.float32)
    weight *= np.float32([1, 0.1, 3, 0.01]).reshape(4, 1, 1, 1)
    ones, zeros = np.ones(4, np.float32), np.zeros(4, np.float32)
    scale, shift = RNG.normal(0, 1, (2, 4)).astype(np.float32)
    other = RNG.normal(0, 1, (2, 3, 1, 1)).astype(np.float32)
    arrays = {"w": weight, "scale": scale, "shift": shift, "mean": zeros, "var": ones, "v": other}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv"),
        helper.make_node("Conv", ["x", "v"], ["b"], name="float"),
        helper.make_node(
            "BatchNormalization",
            ["a", "scale", "shift", "mean", "var"],
            ["norm"],
            name="norm",
            epsilon=0.0,
        ),
        helper.make_node("Concat", ["b", "a"], ["both"], name="concat", axis=1),
        helper.make_node("Add", ["a", "norm"], ["sum"], name="add"),
    ]
    value = helper.make_tensor_value_info
    outputs = {"a": 4, "both": 6, "sum": 4, "norm": 4}
    graph = helper.make_graph(
        nodes,
        "readers",
        [value("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [value(name, TensorProto.FLOAT, ["N", n, 8, 8]) for name, n in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    layer = quantized(weight, False, RNG.normal(0, 1, 4).astype(np.float32))
    assert layer.weight_scales.max() > 50 * layer.weight_scales.min()
    insert_qdq(model, {"conv": layer})
    onnx.checker.check_model(model, full_check=True)
    assert [node.output[0] for node in model.graph.node if node.op_type == "Mul"] == ["a"]
    x = RNG.normal(0, 1, (2, 3, 8, 8)).astype(np.float32)
    got = run(model, x, optimize=False)
    windows = np.clip(np.rint(x / np.float32(0.02)), -128, 127)
    sums = np.einsum("nchw,oc->nohw", windows, layer.weight[:, :, 0, 0].astype(np.float64))
    a = sums * (0.02 * layer.weight_scales.astype(float)).reshape(-1, 1, 1)
    a += layer.bias.reshape(-1, 1, 1)
    norm = a * scale.reshape(-1, 1, 1) + shift.reshape(-1, 1, 1)
    b = np.einsum("nchw,oc->nohw", x, other[:, :, 0, 0])
    for name, want in (("a", a), ("both", np.concatenate([b, a], 1)), ("norm", norm)):
        np.testing.assert_allclose(got[name], want, atol=2e-4, err_msg=name)
    np.testing.assert_allclose(got["sum"], a + norm, atol=4e-4)


def test_layers_that_are_not_named_stay():
    model, _ = small_model(True)
    before = [node.SerializeToString() for node in model.graph.node]
    insert_qdq(model, {})
    assert [node.SerializeToString() for node in model.graph.node] == before
