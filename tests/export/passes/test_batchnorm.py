import numpy as np
import pytest
from helpers.onnx_models import rewritten, run
from helpers.small_graph import conv, norm, norm_constants, small

from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.passes.batchnorm import fold_batchnorm, normalize_batchnorm, set_affine

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 4, 8, 8)).astype("f")
CONSTANTS = {
    "w": RNG.normal(size=(4, 4, 3, 3)), "b": RNG.normal(size=4), "fc": RNG.normal(size=(4, 256)),
    "fcT": RNG.normal(size=(256, 4)), "shape": np.array([0, -1]), **norm_constants("n", 4, RNG),
}  # fmt: skip
FLAT = ("Reshape", "x shape", "f", {})


def make(*nodes, outputs=("y",)):
    return small([*nodes, ("Relu", "n", "y", {})], CONSTANTS, outputs=outputs)


def folded(model, operator="BatchNormalization"):
    found = rewritten(model, fold_batchnorm)
    for name, values in run(model, X, optimize=False).items():
        np.testing.assert_allclose(run(found, X)[name], values, atol=1e-4)
    return not any(node.op_type == operator for node in found.graph.node)


@pytest.mark.parametrize(
    "nodes",
    [
        [conv("x w b", "c"), norm("c", "n")],
        [conv("x w", "c"), norm("c", "n")],
        [FLAT, ("Gemm", "f fc b", "c", {"transB": 1}), norm("c", "n")],
    ],
    ids=["bias", "no bias", "linear"],
)
def test_a_norm_behind_a_layer_goes_into_it(nodes):
    assert folded(make(*nodes))


@pytest.mark.parametrize(
    "nodes",
    [
        [norm("x", "n")],
        [("Relu", "x", "c", {}), norm("c", "n")],
        [FLAT, ("Gemm", "f fcT b", "c", {}), norm("c", "n")],
    ],
    ids=["input", "no layer", "weights lie the other way"],
)
def test_a_norm_behind_anything_else_stays(nodes):
    assert not folded(make(*nodes))


def test_a_layer_that_others_read_as_well_stays():
    layer = conv("x w b", "c")
    assert not folded(make(layer, norm("c", "n"), outputs=("y", "c")))
    twice = [layer, norm("c", "n"), ("Relu", "n", "r", {}), ("Add", "r c", "y", {})]
    assert not folded(small(twice, CONSTANTS))


def test_a_normalised_norm_has_nothing_but_scale_and_shift():
    model = make(norm("x", "n"))
    found = rewritten(model, normalize_batchnorm)
    np.testing.assert_allclose(run(found, X)["y"], run(model, X)["y"], atol=1e-5)
    graph = Graph(found)
    node = graph.nodes[0]
    mean, variance = (graph.constant(name) for name in node.input[3:5])
    assert mean.tolist() == [0] * 4
    assert variance.tolist() == [1] * 4
    assert [a.f for a in node.attribute if a.name == "epsilon"] == [0.0]
    plain = Graph(model)
    scale, shift = plain.affine(plain.nodes[0])
    np.testing.assert_allclose(graph.constant(node.input[1]), scale, rtol=1e-6)
    np.testing.assert_allclose(graph.constant(node.input[2]), shift, rtol=1e-6)


def test_a_norm_is_set_to_what_is_given():
    model = make(norm("x", "n"))
    graph = Graph(model)
    set_affine(graph, graph.nodes[0], np.array([1.0, 2, 3, 4]), np.array([4.0, 3, 2, 1]))
    want = X * np.array([1, 2, 3, 4]).reshape(4, 1, 1) + np.array([4, 3, 2, 1]).reshape(4, 1, 1)
    np.testing.assert_allclose(run(model, X)["y"], np.maximum(want, 0), atol=1e-5)
