import numpy as np
import onnx
import pytest
from helpers.small_graph import conv, norm, norm_constants, small
from onnx import TensorProto, helper

from emonet_deploy.export.graph.surgery import Graph, element_types


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    return small(
        [conv("x w", "a"), norm("a", "n"), ("Relu", "n", "r", {}), ("Add", "r a", "y", {}),
         ("Relu", "x", "unused", {})],
        {"w": rng.normal(size=(6, 4, 3, 3)), "spare": np.ones(3), **norm_constants("n", 6, rng)},
    )  # fmt: skip


def names(graph):
    return [node.name for node in graph.nodes]


def test_readers_and_writers_of_each_tensor(model):
    graph = Graph(model)
    readers, writers = graph.consumers(), graph.producers()
    assert [node.name for node in readers["a"]] == ["n", "y"]
    assert [node.name for node in readers["x"]] == ["a", "unused"]
    assert readers["y"] == []
    assert writers["y"].name == "y"
    assert "x" not in writers
    assert graph.output_names == ["y"]


def test_constants_are_told_from_what_is_computed(model):
    graph = Graph(model)
    assert graph.is_constant("w")
    assert not graph.is_constant("a")
    assert not graph.is_constant("x")
    assert graph.constant("spare").tolist() == [1, 1, 1]


def test_a_norm_is_a_scale_and_a_shift(model):
    graph = Graph(model)
    node = graph.producers()["n"]
    scale, shift = graph.affine(node)
    s, b, m, v = (graph.constant(f"n.{part}").astype(float) for part in "sbmv")
    np.testing.assert_allclose(scale, s / np.sqrt(v + 0.125))
    x = np.linspace(-3, 3, 6)
    np.testing.assert_allclose(x * scale + shift, (x - m) / np.sqrt(v + 0.125) * s + b)
    del node.attribute[:]  # the operator's default is 1e-5
    np.testing.assert_allclose(graph.affine(node)[0], s / np.sqrt(v + 1e-5))


def test_a_bias_that_is_not_there_is_zero():
    rng = np.random.default_rng(1)
    model = small(
        [conv("x w b", "a"), conv("a v", "y")],
        {"w": rng.normal(size=(6, 4, 3, 3)), "b": np.arange(6.0), "v": np.ones((2, 6, 3, 3))},
    )
    graph = Graph(model)
    with_bias, without = graph.nodes
    assert graph.bias(with_bias).tolist() == [0, 1, 2, 3, 4, 5]
    assert graph.bias(without).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("shape", "is_depthwise"),
    [((4, 1, 3, 3), True), ((1, 1, 3, 3), False), ((4, 2, 3, 3), False), ((1, 4, 1, 1), False)],
)
def test_a_depthwise_convolution_reads_one_channel_for_each_that_it_writes(shape, is_depthwise):
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    weight = helper.make_tensor("w", TensorProto.FLOAT, shape, np.zeros(shape).ravel())
    model = helper.make_model(helper.make_graph([node], "g", [], [], [weight]))
    assert Graph(model).is_depthwise(node) == is_depthwise


def test_a_linear_layer_says_how_its_weights_lie(model):
    graph = Graph(model)
    for attributes, want in (({"transB": 1}, True), ({"transB": 0}, False), ({}, False),
                             ({"transA": 1}, False)):  # fmt: skip
        node = helper.make_node("Gemm", ["x", "w"], ["y"], **attributes)
        assert graph.is_transposed(node) == want


def test_a_constant_is_replaced_or_added_in_rows(model):
    graph = Graph(model)
    count = len(model.graph.initializer)
    assert graph.set_constant("spare", np.float32(7)) == "spare"
    assert graph.constant("spare") == 7
    assert len(model.graph.initializer) == count
    turned = np.arange(6.0).reshape(2, 3).T
    graph.set_constant("new", turned)
    np.testing.assert_array_equal(Graph(model).constant("new"), turned)
    assert len(model.graph.initializer) == count + 1


def test_nodes_stand_where_the_old_one_stood(model):
    graph = Graph(model)
    old = graph.producers()["r"]
    new = [helper.make_node("Relu", ["n"], [f"r{i}"], f"r{i}") for i in range(3)]
    graph.replace(old, new)
    assert names(graph) == ["a", "n", "r0", "r1", "r2", "y", "unused"]
    graph.replace(graph.nodes[0], [])
    assert names(graph)[0] == "n"


def test_every_reader_is_redirected_and_nothing_else(model):
    graph = Graph(model)
    graph.redirect("a", "z")
    assert graph.producers()["n"].input[0] == "z"
    assert list(graph.producers()["y"].input) == ["r", "z"]
    assert graph.producers()["a"].output[0] == "a"


def test_what_no_output_depends_on_goes(model):
    graph = Graph(model)
    model.graph.value_info.extend(onnx.shape_inference.infer_shapes(model).graph.value_info)
    graph.prune()
    assert names(graph) == ["a", "n", "r", "y"]
    assert not graph.is_constant("spare")
    assert graph.is_constant("w")
    assert len(model.graph.value_info) == 0
    before = model.SerializeToString(deterministic=True)
    graph.prune()
    assert model.SerializeToString(deterministic=True) == before


def test_types_of_all_tensors_are_told(model):
    model.graph.node.append(helper.make_node("Cast", ["y"], ["half"], to=TensorProto.FLOAT16))
    model.graph.output.append(helper.make_empty_tensor_value_info("half"))
    types = element_types(model)
    assert types["half"] == TensorProto.FLOAT16
    assert {types[name] for name in ("x", "w", "a", "y")} == {TensorProto.FLOAT}
