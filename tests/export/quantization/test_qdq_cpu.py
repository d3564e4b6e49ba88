import numpy as np
import onnx
import pytest
from helpers.onnx_models import nearest, optimized_operators, run
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper, numpy_helper

from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.quantization.qdq_cpu import (
    convolutions_in_int8,
    insert_uint8,
    stored_tensors,
)
from emonet_deploy.export.quantization.qparams import QuantParams

RNG = np.random.default_rng(0)
WHOLE = QuantParams(np.float32(0.0973), 120)
INPUTS = {
    "norm1": QuantParams(np.float32(0.0213), 0),
    "a": WHOLE,
    "rectified": QuantParams(np.float32(0.0237), 0),
}
STORED = {"a": WHOLE, "rectified": INPUTS["rectified"], "b": WHOLE, "both": WHOLE}


def weights():
    shapes = {"conv_a": (4, 8, 3, 3), "norm_a": (4, 1, 1, 1), "conv_b": (4, 4, 3, 3)}
    return {name: RNG.normal(0, 0.4, shape).astype(np.float32) for name, shape in shapes.items()}


def block(arrays):
    """norm -> relu -> conv a -> norm -> relu -> conv b; a and b, side by side, are added to x."""
    nodes = [
        helper.make_node("Conv", ["x", "norm_x"], ["norm0"], name="norm_x", group=8),
        helper.make_node("Relu", ["norm0"], ["norm1"], name="relu_x"),
        helper.make_node("Conv", ["norm1", "conv_a"], ["a"], name="conv_a", pads=[1] * 4),
        helper.make_node("Conv", ["a", "norm_a"], ["norm2"], name="norm_a", group=4),
        helper.make_node("Relu", ["norm2"], ["rectified"], name="relu_a"),
        helper.make_node("Conv", ["rectified", "conv_b"], ["b"], name="conv_b", pads=[1] * 4),
        helper.make_node("Concat", ["a", "b"], ["both"], name="concat", axis=1),
        helper.make_node("Add", ["both", "x"], ["sum"], name="add"),
        helper.make_node("ReduceSum", ["sum", "axes"], ["y"], name="reduce", keepdims=0),
    ]
    value = helper.make_tensor_value_info
    constants = arrays | {"norm_x": np.ones((8, 1, 1, 1), np.float32), "axes": np.int64([1])}
    graph = helper.make_graph(
        nodes,
        "block",
        [value("x", TensorProto.FLOAT, ["N", 8, 16, 16])],
        [value("y", TensorProto.FLOAT, ["N", 16, 16])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def codes(values, steps):
    return np.clip(np.rint(values / float(steps.scale)) + steps.zero_point, 0, 255)


def value(integers, steps):
    return (integers - steps.zero_point) * float(steps.scale)


def convolve(integers, layer):
    """A convolution of codes, padded with the code of zero, in float64."""
    pad = layer.weight.shape[2] // 2
    padded = np.pad(integers - layer.input.zero_point, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = sliding_window_view(padded, layer.weight.shape[2:], (2, 3))
    weight = layer.weight.astype(np.float64)
    if weight.shape[1] == 1:
        sums = np.einsum("nchwyx,cyx->nchw", windows, weight[:, 0])
    else:
        sums = np.einsum("nchwyx,ocyx->nohw", windows, weight)
    scales = float(layer.input.scale) * layer.weight_scales.astype(np.float64)
    return (sums + np.rint(layer.bias / scales).reshape(-1, 1, 1)) * scales.reshape(-1, 1, 1)


def expected(x, layers):
    """The block with integers, written without ONNX."""
    a = codes(convolve(codes(x, INPUTS["norm1"]), layers["conv_a"]), WHOLE)
    rectified = codes(convolve(a, layers["norm_a"]), INPUTS["rectified"])
    b = codes(convolve(rectified, layers["conv_b"]), WHOLE)
    return (value(np.concatenate([a, b], 1), WHOLE) + x).sum(1)


@pytest.fixture(scope="module")
def written():
    arrays = weights()
    model = block(arrays)
    graph = Graph(model)
    in_int8 = convolutions_in_int8(graph, ())
    assert in_int8 == ["conv_a", "norm_a", "conv_b"]
    assert sorted(stored_tensors(graph, in_int8)) == sorted(STORED)
    inputs = {node.name: node.input[0] for node in graph.nodes}
    layers = {
        name: nearest(
            arrays[name], INPUTS[inputs[name]], 64, RNG.normal(0, 1, 4).astype(np.float32)
        )
        for name in in_int8
    }
    insert_uint8(model, layers, STORED)
    onnx.checker.check_model(model, full_check=True)
    return model, layers


@pytest.mark.parametrize("optimize", [True, False])
def test_the_graph_computes_what_integers_compute_borders_included(written, optimize):
    model, layers = written
    x = RNG.normal(0, 2, (2, 8, 16, 16)).astype(np.float32)
    got, want = run(model, x, optimize=optimize)["y"], expected(x, layers)
    # A tie may fall to either side: one step of one channel, and what follows from it.
    assert np.mean(np.abs(got - want) > 1e-3) < 0.02
    assert np.abs(got - want).max() < 1.0


def test_onnx_runtime_convolves_in_8_bits_copies_codes_and_sums_in_float(written, tmp_path):
    model, _ = written
    found = optimized_operators(model, tmp_path)
    assert found["QLinearConv"] == 3
    assert found["QLinearConcat"] == 1
    assert found["QuantizeLinear"] == found["DequantizeLinear"] == 1
    assert found["QLinearAdd"] == found["Concat"] == 0


def test_what_a_convolution_in_float_writes_or_reads_is_not_stored():
    graph = Graph(block(weights()))
    assert convolutions_in_int8(graph, {"conv_b"}) == ["conv_a", "norm_a"]
    assert stored_tensors(graph, {"conv_a", "norm_a"}) == ["a", "rectified"]
    assert convolutions_in_int8(graph, {"conv_a"}) == ["conv_b"]
    assert stored_tensors(graph, {"conv_b"}) == ["b"]


def test_a_sum_that_is_also_read_in_float_is_rounded_for_the_convolution_alone():
    arrays = {"w": RNG.normal(0, 0.4, (8, 8, 1, 1)).astype(np.float32)}
    arrays["one"] = np.ones((1, 8, 1, 1), np.float32)
    nodes = [
        helper.make_node("Add", ["x", "one"], ["sum"], name="add"),
        helper.make_node("Conv", ["sum", "w"], ["a"], name="conv"),
        helper.make_node("Add", ["a", "sum"], ["y"], name="residual"),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 8, 4, 4]) for name in "xy"
    ]
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    coarse, fine = QuantParams(np.float32(0.5), 128), QuantParams(np.float32(1e-3), 128)
    layer = nearest(1e-6 * arrays["w"], coarse)
    insert_uint8(model, {"conv": layer}, {"a": fine})
    x = RNG.normal(0, 1, (1, 8, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(run(model, x)["y"], x + 1, atol=1e-6)
