import numpy as np
import pytest
from helpers.onnx_models import rewritten, run
from helpers.small_graph import conv, small

from emonet_deploy.errors import ExportError
from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.passes.merge_pointwise import merge_pointwise

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 4, 8, 8)).astype("f")
HEAD = "conv1x1_input_emo_2"
SIZES = {"stem": (4, 4), "first": (4, 4), "l0": (7, 4), "bl0": (4, 4), "al0": (4, 7),
         "second": (4, 4), "l1": (7, 4), HEAD: (5, 12)}  # fmt: skip


@pytest.fixture(params=[True, False], ids=["biases", "no biases"])
def model(request):
    """What lies between EmoNet's stacks and before its head, in four channels and seven maps."""
    bias = request.param
    constants = {"axes": np.array([1])}
    for name, (out, into) in SIZES.items():
        constants[f"{name}.w"] = RNG.normal(size=(out, into, 1, 1))
        constants[f"{name}.b"] = RNG.normal(size=out)

    def layer(x, name):
        return conv(f"{x} {name}.w{f' {name}.b' if bias else ''}", name, 1, 0)

    return small(
        [
            layer("x", "stem"), layer("stem", "first"), ("Relu", "first", "h", {}),
            layer("h", "l0"), layer("h", "bl0"), ("Add", "stem bl0", "inner", {}),
            layer("l0", "al0"), ("Add", "inner al0", "outer", {}),
            layer("outer", "second"), ("Relu", "second", "h1", {}), layer("h1", "l1"),
            ("ReduceSum", "l1 axes", "mask", {"keepdims": 1}),
            ("Mul", "mask bl0", "m0", {}), ("Mul", "mask h1", "m1", {}),
            ("Concat", "stem m0 m1", "all", {"axis": 1}), layer("all", HEAD),
            ("Relu", HEAD, "y", {}),
        ],
        constants, outputs=("y", "l1"),
    )  # fmt: skip


@pytest.mark.parametrize("apart", [False, True])
def test_the_function_stays_and_two_convolutions_and_a_product_go(model, apart):
    found = rewritten(model, lambda m: merge_pointwise(m, apart))
    for name, want in run(model, X).items():
        np.testing.assert_allclose(run(found, X)[name], want, atol=2e-5 * np.abs(want).max())
    kinds = [node.op_type for node in found.graph.node]
    names = {node.name for node in found.graph.node}
    assert {"bl0.merged", f"{HEAD}.x", f"{HEAD}.attended"} <= names
    assert not names & {"l0", "bl0", "al0", HEAD}
    assert kinds.count("Mul") == 1
    assert kinds.count("Concat") == (0 if apart else 1)
    assert (f"{HEAD}.first" in names) == apart


def test_a_bias_is_there_only_where_it_adds_something(model):
    graph = Graph(rewritten(model, merge_pointwise))
    before = Graph(model)
    has_biases = len(before.producers()["l0"].input) == 3
    for name in ("bl0.merged", f"{HEAD}.x", f"{HEAD}.attended"):
        assert (len(graph.producers()[name].input) == 3) == has_biases


def test_what_is_merged_is_the_product_of_both_ways(model):
    before = Graph(model)
    graph = Graph(rewritten(model, merge_pointwise))
    l0, bl0, al0 = (before.constant(f"{n}.w")[:, :, 0, 0].astype(float) for n in
                    ("l0", "bl0", "al0"))  # fmt: skip
    merged = graph.constant("bl0.merged.weight")
    assert merged.dtype == np.float32
    np.testing.assert_allclose(merged[:, :, 0, 0], bl0 + al0 @ l0, rtol=1e-5)


@pytest.mark.parametrize("name", ["l0", "bl0", "al0", HEAD])
def test_another_network_is_refused(model, name):
    for node in model.graph.node:
        if node.name == name:
            node.name = "other"
    with pytest.raises(ExportError, match=f"the graph has no layer '{name}'"):
        merge_pointwise(model)
