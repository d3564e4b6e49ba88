import numpy as np
import onnx
import pytest
import torch
from helpers.onnx_models import run
from helpers.small_graph import conv, norm, norm_constants, small

from emonet_deploy.errors import ExportError
from emonet_deploy.export.graph.torch_interpreter import (
    Interpreter,
    convolve,
    strides_and_padding,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 4, 8, 8)).astype(np.float32)
SCALES = np.array([1, 1, 2, 2], np.float32)
CASES = {
    "conv": ([conv("x w", "y")], {"w": RNG.normal(size=(6, 4, 3, 3))}),
    "strides": (
        [conv("x w b", "y", 3, 0, strides=[2, 1])],
        {"w": RNG.normal(size=(6, 4, 3, 3)), "b": RNG.normal(size=6)},
    ),
    "unequal pads": (
        [("Conv", "x w", "y", {"kernel_shape": [3, 3], "pads": [1, 0, 1, 0]})],
        {"w": RNG.normal(size=(6, 4, 3, 3))},
    ),
    "no attributes": ([("Conv", "x w", "y", {})], {"w": RNG.normal(size=(6, 4, 3, 3))}),
    "depthwise": ([conv("x w", "y", group=4)], {"w": RNG.normal(size=(4, 1, 3, 3))}),
    "norm": ([norm("x", "y")], norm_constants("y", 4, RNG)),
    "relu": ([("Relu", "x", "y", {})], {}),
    "sums": ([("Relu", "x", "r", {}), ("Add", "x r", "a", {}), ("Mul", "a r", "y", {})], {}),
    "concat": ([("Relu", "x", "r", {}), ("Concat", "x r x", "y", {"axis": 1})], {}),
    "max": ([("MaxPool", "x", "y", {"kernel_shape": [2, 2], "strides": [2, 2]})], {}),
    "average": ([("AveragePool", "x", "y", {"kernel_shape": [4, 4], "strides": [4, 4]})], {}),
    "resize": (
        [("Resize", "x e s", "y", {"mode": "nearest", "coordinate_transformation_mode":
          "asymmetric", "nearest_mode": "floor"})],
        {"e": np.empty(0, np.float32), "s": SCALES},
    ),
    "reduce": ([("ReduceSum", "x axes", "y", {"keepdims": 1})], {"axes": np.array([1])}),
    "linear": (
        [("Reshape", "x shape", "f", {}), ("Gemm", "f w b", "y", {"transB": 1})],
        {"shape": np.array([0, -1]), "w": RNG.normal(size=(5, 256)), "b": RNG.normal(size=5)},
    ),
    "slice": (
        [("Slice", "x from to axes", "y", {})],
        {"from": np.array([1]), "to": np.array([3]), "axes": np.array([1])},
    ),
    "gather": ([("Gather", "x at", "y", {"axis": 1})], {"at": np.array(2)}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_operator_computes_what_onnx_runtime_computes(case):
    model = small(*CASES[case])
    with torch.no_grad():
        found = Interpreter(model).run(torch.from_numpy(X))
    want = run(model, X)
    assert found.keys() == want.keys()
    for name, values in want.items():
        assert tuple(found[name].shape) == values.shape
        np.testing.assert_allclose(found[name].numpy(), values, atol=2e-5)


@pytest.fixture
def chain():
    return small(
        [("Relu", "x", "a", {}), ("Relu", "a", "b", {}), ("Add", "a b", "y", {})], {},
        outputs=("y", "b"),
    )  # fmt: skip


def test_visitors_see_each_node_with_what_it_reads_and_writes_and_may_change_it(chain):
    seen = []

    def visit(node, inputs, output):
        seen.append((node.name, len(inputs)))
        assert all(torch.equal(i.relu(), output) for i in inputs) or node.name == "y"
        return output + 1 if node.name == "a" else output

    found = Interpreter(chain).run(torch.from_numpy(X), visit)
    assert seen == [("a", 1), ("b", 1), ("y", 2)]
    changed = torch.from_numpy(X).relu() + 1
    assert torch.equal(found["b"], changed)
    assert torch.equal(found["y"], 2 * changed)


def test_what_is_computed_otherwise_takes_the_place_of_a_node(chain):
    def compute(node, inputs):
        return inputs[0] * 3 if node.name == "b" else None

    found = Interpreter(chain).run(torch.from_numpy(X), None, compute)
    assert torch.equal(found["b"], 3 * torch.from_numpy(X).relu())
    assert torch.equal(found["y"], 4 * torch.from_numpy(X).relu())


def test_a_network_can_be_run_again_and_keeps_what_outputs_need(chain):
    network = Interpreter(chain)
    first, second = (network.run(torch.from_numpy(X)) for _ in range(2))
    assert set(first) == {"y", "b"}
    assert torch.equal(first["y"], second["y"])


def test_gradients_go_through(chain):
    x = torch.from_numpy(X).requires_grad_()
    Interpreter(chain).run(x)["y"].sum().backward()
    assert torch.equal(x.grad, 2.0 * (x > 0))


def test_an_operator_that_is_not_known_is_named():
    with pytest.raises(ExportError, match="y: quantisation does not know the operator Tanh"):
        Interpreter(small([("Tanh", "x", "y", {})], {})).run(torch.from_numpy(X))


def test_strides_and_padding_of_a_convolution():
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 3], pads=[1, 0, 1, 0])
    assert strides_and_padding(node) == ((2, 3), (1, 0))
    assert strides_and_padding(onnx.helper.make_node("Conv", [], [])) == ((1, 1), (0, 0))
    weight = torch.ones(1, 1, 1, 1)
    x = torch.arange(12.0).reshape(1, 1, 3, 4)
    plain = onnx.helper.make_node("Conv", ["x", "w"], ["y"])
    assert torch.equal(convolve(plain, x, weight, torch.tensor([1.0])), x + 1)
