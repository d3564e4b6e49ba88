import numpy as np
import pytest
from helpers.onnx_models import rewritten, run
from helpers.small_graph import norm, norm_constants, small

from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.passes.nchwc import (
    batchnorm_as_convolution,
    concat_channels_last,
    depthwise,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 4, 8, 8)).astype("f")


def test_a_norm_becomes_a_convolution_of_each_channel_with_itself():
    model = small([norm("x", "n"), ("Relu", "n", "y", {})], norm_constants("n", 4, RNG))
    found = rewritten(model, batchnorm_as_convolution)
    np.testing.assert_allclose(run(found, X)["y"], run(model, X)["y"], atol=1e-5)
    graph = Graph(found)
    assert [node.op_type for node in graph.nodes] == ["Conv", "Relu"]
    assert graph.nodes[0].name == "n"
    assert graph.is_depthwise(graph.nodes[0])


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_a_shift_is_there_only_where_there_is_one(shift):
    model = small([("Relu", "x", "y", {})], {})
    graph = Graph(model)
    scale = np.array([1.0, 2, 3, 4])
    graph.replace(graph.nodes[0], [depthwise(graph, "d", "x", "y", scale, np.full(4, shift))])
    assert len(graph.nodes[0].input) == (3 if shift else 2)
    np.testing.assert_allclose(run(model, X)["y"], X * scale.reshape(4, 1, 1) + shift, atol=1e-6)


def branch(x, name, channels, perm=(0, 3, 1, 2)):
    """What Winograd leaves behind: pixels, channels last, reshaped and turned."""
    return [
        ("Transpose", x, f"{name}.last", {"perm": [0, 2, 3, 1]}),
        ("Reshape", f"{name}.last {name}.shape", f"{name}.map", {}),
        ("Transpose", f"{name}.map", name, {"perm": list(perm)}),
    ], {f"{name}.shape": np.array([0, 8, 8, channels])}


def concatenated(*names, perm=(0, 3, 1, 2), plain=()):
    nodes, constants = [], {}
    for name in names:
        more, shapes = branch("x", name, 4, perm)
        nodes += more
        constants |= shapes
    inputs = " ".join([*names, *plain])
    return small([*nodes, ("Concat", inputs, "c", {"axis": 1}), ("Relu", "c", "y", {})], constants)


def test_transposed_maps_are_concatenated_before_they_are_turned():
    model = concatenated("a", "b", "d")
    found = rewritten(model, concat_channels_last)
    np.testing.assert_allclose(run(found, X)["y"], run(model, X)["y"], atol=1e-6)
    kinds = [node.op_type for node in found.graph.node]
    assert kinds.count("Transpose") == 4  # three to channels last, one back
    assert kinds[-4:] == ["Concat", "Transpose", "Conv", "Relu"]


@pytest.mark.parametrize("form", ["input", "turned otherwise", "other operator"])
def test_what_is_not_all_turned_is_left_as_it_is(form):
    if form == "input":
        model = concatenated("a", plain=["x"])
    elif form == "turned otherwise":
        model = concatenated("a", "b", perm=(0, 3, 2, 1))
    else:
        model = small(
            [("Relu", "x", "r", {}), ("Concat", "r r", "c", {"axis": 1}), ("Relu", "c", "y", {})],
            {},
        )
    found = rewritten(model, concat_channels_last)
    assert [n.op_type for n in found.graph.node] == [n.op_type for n in model.graph.node]
