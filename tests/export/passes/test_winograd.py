import numpy as np
import pytest
from helpers.onnx_models import rewritten, run
from helpers.small_graph import conv, small

from emonet_deploy.export.passes.winograd import (
    PLAN,
    apply_winograd,
    transforms,
    winograd_shapes,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("m", [1, 2, 3, 4, 6])
def test_transforms_have_the_sizes_of_the_paper_and_compute_a_correlation(m):
    at, g, bt = transforms(m)
    assert (at.shape, g.shape, bt.shape) == ((m, m + 2), (m + 2, 3), (m + 2, m + 2))
    signal, taps = RNG.normal(size=(m + 2, m + 2)), RNG.normal(size=(3, 3))
    found = at @ ((g @ taps @ g.T) * (bt @ signal @ bt.T)) @ at.T
    windows = np.lib.stride_tricks.sliding_window_view(signal, (3, 3))
    np.testing.assert_allclose(found, (windows * taps).sum((2, 3)), atol=1e-9)


def test_f_2_3_is_that_of_lavin_and_gray():
    """Their matrices, of the points 0, 1 and -1, up to the signs that cancel."""
    at, g, bt = transforms(2)
    assert np.abs(at).tolist() == [[1, 1, 1, 0], [0, 1, 1, 1]]
    np.testing.assert_allclose(np.abs(g), [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [0, 0, 1]])
    assert np.abs(bt).tolist() == [[1, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 0, 1]]


def test_six_outputs_from_float32_are_exact_to_five_digits():
    at, g, bt = (each.astype(np.float32) for each in transforms(6))
    worst = 0.0
    for _ in range(50):
        signal = RNG.normal(size=8).astype("f")
        taps = RNG.normal(size=3).astype("f")
        exact = np.correlate(signal.astype(float), taps.astype(float), "valid")
        worst = max(worst, np.abs(at @ ((g @ taps) * (bt @ signal)) - exact).max())
    # Other points, such as 3 in the place of 1/2, lose a digit and more.
    assert worst < 2e-5


def network(height, in_channels=4, out_channels=6):
    weight = RNG.normal(size=(out_channels, in_channels, 3, 3))
    return small(
        [("Relu", "x", "r", {}), conv("r w", "c"), ("Relu", "c", "y", {})], {"w": weight},
        x=("N", in_channels, height, height),
    )  # fmt: skip


@pytest.mark.parametrize("m", [2, 4, 6])
@pytest.mark.parametrize("height", [4, 6, 7, 13])
def test_a_rewritten_convolution_computes_the_same(m, height):
    model = network(height)
    found = rewritten(model, lambda g: apply_winograd(g, {(4, 6, height): m}))
    assert not any(node.op_type == "Conv" for node in found.graph.node)
    for n in (1, 3):
        x = RNG.normal(size=(n, 4, height, height)).astype("f")
        want = run(model, x)["y"]
        np.testing.assert_allclose(run(found, x)["y"], want, atol=2e-5 * np.abs(want).max())


def test_only_planned_shapes_are_rewritten():
    model = network(8)
    assert winograd_shapes(model) == [(4, 6, 8)]
    for plan in ({(6, 4, 8): 4}, {(4, 6, 9): 4}, {}, PLAN):
        found = rewritten(model, lambda g, plan=plan: apply_winograd(g, plan))
        assert [n.op_type for n in found.graph.node] == ["Relu", "Conv", "Relu"]


@pytest.mark.parametrize(
    ("node", "shape"),
    [
        (conv("r w", "c", strides=[2, 2]), (6, 4, 3, 3)),
        (conv("r w", "c", 3, 2, dilations=[2, 2]), (6, 4, 3, 3)),
        (conv("r w", "c", 3, 0), (6, 4, 3, 3)),
        (conv("r w", "c", 1, 0), (6, 4, 1, 1)),
        (conv("r w", "c", group=4), (4, 1, 3, 3)),
        (conv("r w b", "c"), (6, 4, 3, 3)),
        (conv("r w", "c", strides=[1, 2]), (6, 4, 3, 3)),
    ],
    ids=["strides", "dilations", "no pads", "1x1", "groups", "bias", "one stride"],
)
def test_other_convolutions_are_no_candidates(node, shape):
    model = small(
        [("Relu", "x", "r", {}), node, ("Relu", "c", "y", {})],
        {"w": RNG.normal(size=shape), "b": RNG.normal(size=6)},
    )
    assert winograd_shapes(model) == []


def test_each_shape_is_named_once():
    weight = {"w": RNG.normal(size=(4, 4, 3, 3)), "v": RNG.normal(size=(4, 4, 3, 3))}
    model = small(
        [("Relu", "x", "r", {}), conv("r w", "a"), ("Relu", "a", "q", {}), conv("q v", "c"),
         ("Relu", "c", "y", {})], weight
    )  # fmt: skip
    assert winograd_shapes(model) == [(4, 4, 8)]


def test_planned_tiles_are_smaller_where_maps_are():
    assert {m for (_, _, height), m in PLAN.items() if height == 32} == {4}
    assert {m for (_, _, height), m in PLAN.items() if height > 32} == {6}
