import numpy as np
import onnx
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper, numpy_helper
from onnx_models import nearest, optimized_operators, run

from emonet_deploy.export.graph import Graph
from emonet_deploy.export.qdq_cpu import insert_uint8, stored_tensors
from emonet_deploy.export.steps import Steps

RNG = np.random.default_rng(0)
STEPS = {
    "relu": Steps(np.float32(0.0213), 0),
    "a": Steps(np.float32(0.0973), 120),
    "both": Steps(np.float32(0.1137), 118),
    "sum": Steps(np.float32(0.2311), 125),
}


def block():
    """relu -> conv a -> concat with the relu -> sum with itself -> float: as blocks are made."""
    weight = RNG.normal(0, 0.3, (8, 8, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Relu", ["x"], ["relu"], name="relu"),
        helper.make_node("Conv", ["relu", "w"], ["a"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Concat", ["a", "relu"], ["both"], name="concat", axis=1),
        helper.make_node("Add", ["both", "both"], ["sum"], name="add"),
        helper.make_node("ReduceSum", ["sum", "axes"], ["y"], name="reduce"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "block",
        [value("x", TensorProto.FLOAT, ["N", 8, 16, 16])],
        [value("y", TensorProto.FLOAT, ["N", 1, 16, 16])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.int64([1]), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model, weight


def codes(values, steps):
    return np.clip(np.rint(values / float(steps.scale)) + steps.zero, 0, 255)


def value(integers, steps):
    return (integers - steps.zero) * float(steps.scale)


def expected(x, layer):
    """The block with integers, in float64, written without ONNX."""
    relu = codes(np.maximum(x, 0), STEPS["relu"])
    windows = sliding_window_view(np.pad(relu, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 3))
    sums = np.einsum("nchwyx,ocyx->nohw", windows, layer.weight.astype(np.float64))
    scale = float(layer.input.scale) * layer.weight_scales.astype(np.float64).reshape(-1, 1, 1)
    a = value(codes(sums * scale + layer.bias.reshape(-1, 1, 1), STEPS["a"]), STEPS["a"])
    both = np.concatenate([a, value(relu, STEPS["relu"])], 1)
    both = value(codes(both, STEPS["both"]), STEPS["both"])
    return value(codes(2 * both, STEPS["sum"]), STEPS["sum"]).sum(1, keepdims=True)


@pytest.fixture(scope="module")
def written():
    model, weight = block()
    bias = RNG.normal(0, 1, 8).astype(np.float32)
    layer = nearest(weight, STEPS["relu"], 64, bias)
    assert sorted(stored_tensors(Graph(model), ())) == sorted(STEPS)
    insert_uint8(model, {"conv": layer}, STEPS)
    onnx.checker.check_model(model, full_check=True)
    return model, layer


@pytest.mark.parametrize("optimize", [True, False])
def test_the_graph_computes_what_integers_compute_borders_included(written, optimize):
    model, layer = written
    x = RNG.normal(0, 2, (2, 8, 16, 16)).astype(np.float32)
    got, want = run(model, x, optimize=optimize)["y"], expected(x, layer)
    # A tie may fall to either side: one step of one channel.
    assert np.mean(np.abs(got - want) > 1e-3) < 0.02
    assert np.abs(got - want).max() < 0.7


def test_onnx_runtime_computes_all_of_it_in_8_bits(written, tmp_path):
    model, _ = written
    found = optimized_operators(model, tmp_path)
    assert found["QLinearConv"] == found["QLinearConcat"] == found["QLinearAdd"] == 1
    assert found["Conv"] == found["Concat"] == found["Add"] == found["Relu"] == 0
    assert found["QuantizeLinear"] == found["DequantizeLinear"] == 1


def test_tensors_between_operators_in_float_are_not_stored():
    model, _ = block()
    assert sorted(stored_tensors(Graph(model), {"concat", "add"})) == ["a", "relu"]
    assert stored_tensors(Graph(model), {"conv", "concat", "add"}) == []
