import numpy as np
import onnx
import pytest
from helpers.tiny_model import write_tiny
from onnx import TensorProto, helper, numpy_helper

from emonet_deploy.benchmarks.speed.count_operations import (
    NETWORK_MACS,
    LayerCost,
    count_operations,
    macs_of,
    total_macs,
)
from emonet_deploy.errors import ArtifactError


def model_of(nodes, constants=(), shape=("N", 3, 8, 8), kind=TensorProto.FLOAT, result=None):
    image = helper.make_tensor_value_info("x", kind, shape)
    output = helper.make_tensor_value_info("y", result or kind, ["N", *[None] * (len(shape) - 1)])
    weights = [numpy_helper.from_array(values, name) for name, values in constants]
    graph = helper.make_graph(nodes, "g", [image], [output], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def zeros(*shape, kind=np.float32):
    return np.zeros(shape, kind)


@pytest.mark.parametrize(
    ("node", "constants", "shape", "expected"),
    [
        # 4 x 8 x 8 results, each of 3 x 3 x 3 products.
        (
            helper.make_node("Conv", ["x", "w", "b"], ["y"], pads=[1, 1, 1, 1]),
            [("w", zeros(4, 3, 3, 3)), ("b", zeros(4))],
            ("N", 3, 8, 8),
            (256 * 27, 4 * 27 + 4, 192, 256),
        ),
        # By groups: each of one channel.
        (
            helper.make_node("Conv", ["x", "w"], ["y"], group=3),
            [("w", zeros(6, 1, 1, 1))],
            ("N", 3, 8, 8),
            (6 * 64, 6, 192, 384),
        ),
        (
            helper.make_node("Gemm", ["x", "w"], ["y"]),
            [("w", zeros(5, 7))],
            ("N", 5),
            (35, 35, 5, 7),
        ),
        (
            helper.make_node("Gemm", ["x", "w"], ["y"], transB=1),
            [("w", zeros(7, 5))],
            ("N", 5),
            (35, 35, 5, 7),
        ),
        (
            helper.make_node("MatMul", ["x", "w"], ["y"]),
            [("w", zeros(5, 7))],
            ("N", 4, 5),
            (4 * 7 * 5, 35, 20, 28),
        ),
        (helper.make_node("Relu", ["x"], ["y"]), [], ("N", 5), (0, 0, 5, 5)),
        (
            helper.make_node("Clip", ["x", "", "high"], ["y"]),
            [("high", np.float32(1))],
            ("N", 5),
            (0, 1, 5, 5),
        ),
    ],
)
def test_an_operator_by_hand(node, constants, shape, expected):
    (cost,) = count_operations(model_of([node], constants, shape))
    assert (cost.macs, cost.weights, cost.inputs, cost.outputs) == expected


def test_a_product_of_a_transposed_matrix_by_hand():
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"]),
        helper.make_node("Gemm", ["turned", "w"], ["y"], transA=1),
    ]
    _, product = count_operations(model_of(nodes, [("w", zeros(5, 7))], ("N", 5)))
    assert (product.macs, product.outputs) == (35, 7)


def test_products_of_integers_by_hand():
    eight = {"kind": np.uint8}
    scale, zero = ("s", np.float32(1)), ("z", np.uint8(0))
    conv = helper.make_node("QLinearConv", ["x", "s", "z", "w", "s", "z", "s", "z"], ["y"])
    (cost,) = count_operations(
        model_of([conv], [scale, zero, ("w", zeros(4, 3, 1, 1, **eight))], kind=TensorProto.UINT8)
    )
    assert cost.macs == 4 * 64 * 3
    product = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    made = model_of(
        [product], [("w", zeros(5, 7, **eight))], ("N", 5), TensorProto.UINT8, TensorProto.INT32
    )
    assert count_operations(made)[0].macs == 35


def test_what_is_computed_of_constants_alone_costs_nothing():
    nodes = [
        helper.make_node("Neg", ["w"], ["minus"]),
        helper.make_node("MatMul", ["x", "minus"], ["y"]),
    ]
    (cost,) = count_operations(model_of(nodes, [("w", zeros(5, 7))], ("N", 5)))
    assert (cost.operator, cost.weights, cost.inputs) == ("MatMul", 35, 5)


def test_an_artifact_is_counted_where_it_can_be_and_is_the_network_elsewhere(tmp_path):
    path = write_tiny(tmp_path / "tiny.onnx")
    # 32 of 3 x 4 x 4 at 64 x 64, 68 of 32 at 64 x 64, 10 of 68.
    assert macs_of(path) == 64 * 64 * (32 * 48 + 68 * 32) + 680
    for other in (None, tmp_path / "m.engine", tmp_path / "gone.onnx"):
        assert macs_of(other) == NETWORK_MACS
    costs = [LayerCost("a", "Conv", n, 1, 1, 1) for n in (2, 3)]
    assert total_macs(costs) == 5


@pytest.fixture(scope="module")
def costs(onnx8):
    return count_operations(onnx8)


def test_the_network_has_as_many_operations_as_its_description_says(costs):
    assert total_macs(costs) == pytest.approx(16.9e9, rel=5e-3)


def test_one_layer_by_hand(costs):
    layer = next(cost for cost in costs if cost.name == "m0.b1_4.conv1")
    assert layer.operator == "Conv"
    assert layer.macs == 128 * 256 * 9 * 64 * 64
    assert layer.weights == 128 * 256 * 9
    assert layer.inputs == 256 * 64 * 64
    assert layer.outputs == 128 * 64 * 64


def test_all_parameters_are_counted_once(costs):
    matrices = sum(c.weights for c in costs if c.macs)
    # 13.96 M parameters; those of BatchNorm belong to other nodes.
    assert 13.8e6 < matrices < 13.97e6


def test_most_of_them_are_in_3x3_convolutions(costs, onnx8):
    kernels = {
        node.name: next(a.ints for a in node.attribute if a.name == "kernel_shape")
        for node in onnx.load(onnx8).graph.node
        if node.op_type == "Conv"
    }
    share = sum(c.macs for c in costs if list(kernels.get(c.name, [])) == [3, 3])
    assert share / total_macs(costs) == pytest.approx(0.865, abs=0.005)


def test_a_file_that_is_no_model_is_one_line(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(ArtifactError, match="cannot count"):
        count_operations(path)
