from functools import partial

import numpy as np
import onnx
import pytest
from helpers.onnx_models import golden_images, golden_model, node_types, rewritten, run
from onnx import TensorProto, helper, numpy_helper

from emonet_deploy.errors import ExportError
from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.passes.batchnorm import normalize_batchnorm
from emonet_deploy.export.passes.fp16 import convert_fp16, half_nodes, insert_casts


@pytest.fixture(scope="module")
def half():
    return rewritten(golden_model(), convert_fp16)


def test_convolutions_compute_in_half_and_the_sensitive_nodes_in_float(half):
    types = node_types(half)
    convolutions = {n.name: types[n.name] for n in half.graph.node if n.op_type == "Conv"}
    assert convolutions.pop("conv1") == "FLOAT"
    assert set(convolutions.values()) == {"FLOAT16"}
    sensitive = {"ReduceSum", "Gemm"}
    assert {types[n.name] for n in half.graph.node if n.op_type in sensitive} == {"FLOAT"}
    # The product with the mask, too: in float32 it alone moves 6 MB for an image.
    fed = {"Add", "Mul"}
    assert {types[n.name] for n in half.graph.node if n.op_type in fed} == {"FLOAT16"}


def test_beside_int8_all_but_the_mask_and_the_linear_layers_is_half():
    half = rewritten(golden_model(), partial(convert_fp16, exact=()))
    types = node_types(half)
    assert {types[n.name] for n in half.graph.node if n.op_type in {"Conv", "Add"}} == {"FLOAT16"}
    # The only changes of type: both ends, around the mask's sum, into the linear layers.
    casts = [node for node in half.graph.node if node.op_type == "Cast"]
    assert len(casts) == 4


def test_classifying_names_nodes_and_changes_nothing():
    before = golden_model().SerializeToString(deterministic=True)
    sums = {node.name for node in golden_model().graph.node if node.op_type == "Add"}
    exact, half = (half_nodes(golden_model(), {"conv1", *kept}) for kept in (sums, ()))
    assert golden_model().SerializeToString(deterministic=True) == before
    operators = {node.name: node.op_type for node in golden_model().graph.node}
    assert sums < half - exact
    assert exact < half
    assert "conv1" not in half
    linear = {name for name, kind in operators.items() if kind in {"ReduceSum", "Gemm"}}
    assert linear.isdisjoint(half)


@pytest.mark.parametrize(
    ("half", "casts"),
    [({"a"}, 2), ({"b"}, 2), ({"a", "b"}, 3), ({"b", "c"}, 3), ({"a", "b", "c"}, 3), (set(), 0)],
)
def test_casts_stand_where_the_type_changes_and_nowhere_else(half, casts):
    """x -> a -> b and c, both read a; b and c are outputs: any choice of nodes, any graph."""
    nodes = [
        helper.make_node("Relu", ["x"], ["ya"], name="a"),
        helper.make_node("Relu", ["ya"], ["yb"], name="b"),
        helper.make_node("Neg", ["ya"], ["yc"], name="c"),
    ]
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N"]) for n in ("x", "yb", "yc")]
    graph = helper.make_graph(nodes, "g", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    insert_casts(model, half)
    onnx.checker.check_model(model, full_check=True)
    found = node_types(model)
    assert {name for name in "abc" if found[name] == "FLOAT16"} == half
    assert sum(node.op_type == "Cast" for node in model.graph.node) == casts
    x = np.float32([-1.5, 0.1, 2.0])
    got = run(model, x)
    np.testing.assert_allclose(got["yb"], np.maximum(x, 0), rtol=1e-3)
    np.testing.assert_allclose(got["yc"], -np.maximum(x, 0), rtol=1e-3)


def test_inputs_and_outputs_stay_as_the_contract_has_them(half):
    for ours, theirs in (
        (half.graph.input, golden_model().graph.input),
        (half.graph.output, golden_model().graph.output),
    ):
        assert [v.SerializeToString() for v in ours] == [v.SerializeToString() for v in theirs]


def test_half_the_size_and_the_same_results_to_halfs_precision(half):
    assert half.ByteSize() < 0.52 * golden_model().ByteSize()
    images = golden_images(2)
    exact, rounded = run(golden_model(), images), run(half, images)
    for name, values in exact.items():
        error = np.abs(rounded[name] - values).max() / np.abs(values).max()
        assert 0 < error < 5e-3, name


def test_batchnorm_is_reduced_before_it_is_rounded():
    # A variance this small would vanish in half, and with it the scale.
    mean, variance = np.float32([100.0]), np.float32([1e-9])
    model = _batchnorm(np.float32([1e-4]), np.float32([1.0]), mean, variance, epsilon=0.0)
    x = np.full((1, 1, 1, 1), 100.25, np.float32)
    want = (100.25 - 100.0) * 1e-4 / np.sqrt(1e-9) + 1.0
    normalize_batchnorm(model)
    assert run(model, x)["y"].item() == pytest.approx(want, rel=1e-4)
    graph = Graph(model)
    (norm,) = graph.nodes
    assert graph.constant(norm.input[3]) == [0]
    assert graph.constant(norm.input[4]) == [1]


def test_weights_that_half_cannot_hold_are_refused():
    model = rewritten(golden_model())
    graph = Graph(model)
    graph.set_constant("conv2.conv1.weight", graph.constant("conv2.conv1.weight") * 1e7)
    with pytest.raises(ExportError, match=r"conv2\.conv1\.weight .* --precision fp32"):
        convert_fp16(model)


def _batchnorm(scale, shift, mean, variance, epsilon):
    names = ("x", "scale", "shift", "mean", "variance")
    values = zip(names[1:], (scale, shift, mean, variance), strict=True)
    node = helper.make_node("BatchNormalization", names, ["y"], name="bn", epsilon=epsilon)
    tensor = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1, 1, 1]) for name in "xy"
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in values]
    graph = helper.make_graph([node], "bn", tensor[:1], tensor[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
