import numpy as np
import pytest
import torch
from helpers.onnx_models import rewritten, run
from helpers.small_graph import conv, norm, norm_constants, small

from emonet_deploy.export.graph.surgery import Graph
from emonet_deploy.export.graph.torch_interpreter import Interpreter
from emonet_deploy.export.quantization.cross_layer_equalization import equalize

SIDE = 64  # a channel of two faces has 8192 values


def images(n=2, side=SIDE):
    return torch.from_numpy(np.random.default_rng(4).normal(size=(n, 4, side, side)).astype("f"))


@pytest.fixture
def model():
    """A norm, a ReLU and a convolution; channels of very different sizes."""
    rng = np.random.default_rng(0)
    constants = norm_constants("n", 4, rng) | {"w": rng.normal(size=(6, 4, 3, 3))}
    sizes = np.array([0.02, 1, 3, 8])
    constants["n.s"] *= sizes
    constants["n.b"] *= sizes
    return small([norm("x", "n"), ("Relu", "n", "r", {}), conv("r w", "y")], constants,
                 x=("N", 4, "h", "w"))  # fmt: skip


def peaks(model, x):
    """The largest value of each channel behind the ReLU, and its largest weight."""
    seen = {}

    def look(node, inputs, output):
        if node.name == "r":
            seen["r"] = output.amax((0, 2, 3)).numpy()
        return output

    Interpreter(model).run(x, look)
    return seen["r"], np.abs(Graph(model).constant("w")).max((0, 2, 3))


def test_the_function_stays_and_channels_and_weights_become_alike(model):
    x = images()
    found = rewritten(model, lambda m: equalize(m, x))
    want = run(model, x.numpy())["y"]
    np.testing.assert_allclose(run(found, x.numpy())["y"], want, atol=1e-5 * np.abs(want).max())
    before, after = (np.divide(*peaks(m, x)) for m in (model, found))
    assert before.max() / before.min() > 30
    np.testing.assert_allclose(after, after[0], rtol=1e-4)


def test_channels_are_scaled_by_ratios_whose_geometric_mean_is_1(model):
    before = Graph(model).constant("w").copy()
    equalize(model, images())
    ratios = (Graph(model).constant("w") / before)[0, :, 0, 0]
    np.testing.assert_allclose(np.exp(np.log(ratios).mean()), 1, rtol=1e-5)
    scale = Graph(model).constant("n.s")
    assert scale.dtype == np.float32


def test_no_channel_is_scaled_by_more_than_16_against_another(model):
    for part in ("n.s", "n.b"):
        values = Graph(model).constant(part).copy()
        values[0] = 1e-9
        Graph(model).set_constant(part, values)
    before = Graph(model).constant("w").copy()
    equalize(model, images())
    ratios = (Graph(model).constant("w") / before)[0, :, 0, 0]
    assert ratios.max() / ratios.min() == pytest.approx(16, rel=1e-4)


@pytest.mark.parametrize(
    ("n", "side", "changes"), [(1, 64, True), (1, 63, False), (2, 45, True), (2, 44, False)]
)
def test_channels_of_which_little_was_seen_stay(model, n, side, changes):
    """64 x 64 and 2 x 45 x 45 values are more than 4000, 63 x 63 and 2 x 44 x 44 fewer."""
    before = model.SerializeToString(deterministic=True)
    equalize(model, images(n, side))
    assert (model.SerializeToString(deterministic=True) != before) == changes


@pytest.mark.parametrize(
    "nodes",
    [
        [norm("x", "n"), ("Relu", "n", "r", {}), conv("r w", "a"), conv("r w", "b"),
         ("Add", "a b", "y", {})],
        [norm("x", "n"), ("Relu", "n", "r", {}), conv("r w", "a"), ("Add", "n r", "b", {}),
         ("Concat", "a b", "y", {"axis": 1})],
        [norm("x", "n"), ("Relu", "n", "r", {}), conv("r w", "a"), ("Relu", "n", "q", {}),
         ("Concat", "a q", "y", {"axis": 1})],
        [("Relu", "x", "r", {}), conv("r w", "y")],
        [conv("x w2", "c"), ("Relu", "c", "r", {}), conv("r w", "y")],
        [norm("x", "n"), conv("n w", "y")],
    ],
    ids=["two readers", "the ReLU is read", "the norm is read", "no norm", "a convolution",
         "no ReLU"],
)  # fmt: skip
def test_what_others_read_as_well_or_another_layer_writes_stays(nodes):
    rng = np.random.default_rng(0)
    constants = norm_constants("n", 4, rng)
    constants |= {"w": rng.normal(size=(6, 4, 3, 3)), "w2": rng.normal(size=(4, 4, 3, 3))}
    model = small(nodes, constants, x=("N", 4, SIDE, SIDE))
    before = model.SerializeToString(deterministic=True)
    equalize(model, images())
    assert model.SerializeToString(deterministic=True) == before
