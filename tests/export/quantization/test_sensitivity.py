import numpy as np
import pytest
import torch
from helpers.small_graph import conv, small

from emonet_deploy.export.graph.torch_interpreter import Interpreter
from emonet_deploy.export.quantization.sensitivity import (
    LayerSensitivity,
    choose_float,
    layer_sensitivities,
)

COSTS = [
    LayerSensitivity("a", 10, 0.5),
    LayerSensitivity("b", 10, 0.3),
    LayerSensitivity("c", 40, 0.4),
    LayerSensitivity("d", 40, 0.0),
]


@pytest.mark.parametrize(
    ("budget", "target", "fixed", "chosen"),
    [
        (1.0, 2.0, (), []),  # little enough noise as it is
        (1.0, 0.8, (), ["a"]),  # the most noise for the least work
        (1.0, 0.5, (), ["a", "b"]),
        (1.0, 0.01, (), ["a", "b", "c"]),
        (0.15, 0.0, (), ["a"]),  # the budget ends it
        (0.55, 0.0, ("c",), ["a", "c"]),  # what is fixed counts
        (0.0, 0.0, ("d",), ["d"]),
    ],
)
def test_the_fewest_operations_that_leave_little_enough_noise(budget, target, fixed, chosen):
    assert choose_float(COSTS, budget, target, fixed) == chosen


def test_layers_of_equal_worth_are_taken_by_name_and_large_ones_are_passed_over():
    alike = [LayerSensitivity(name, 10, 0.2) for name in ("c", "a", "b")]
    assert choose_float(alike, 0.34, 0.0) == ["a"]
    assert choose_float(alike, 2 / 3, 0.0) == ["a", "b"]
    mixed = [LayerSensitivity("large", 90, 9.0), LayerSensitivity("small", 10, 0.1)]
    assert choose_float(mixed, 0.1, 0.0) == ["small"]
    assert choose_float(mixed, 0.1, 0.0, {"small"}) == ["small"]
    assert choose_float([], 1.0, 0.0) == []


@pytest.fixture
def network():
    """Two convolutions and three heads that average them."""
    rng = np.random.default_rng(0)
    heads = [
        node
        for name in ("expression", "valence", "arousal")
        for node in (
            conv(f"b {name}.w", f"{name}.map", 1, 0),
            ("AveragePool", f"{name}.map", f"{name}.mean", {"kernel_shape": [8, 8]}),
            ("Reshape", f"{name}.mean shape", name, {}),
        )
    ]
    constants = {
        "w": rng.normal(size=(6, 4, 3, 3)), "v": rng.normal(size=(5, 6, 1, 1)),
        "expression.w": rng.normal(size=(8, 5, 1, 1)), "valence.w": rng.normal(size=(1, 5, 1, 1)),
        "arousal.w": rng.normal(size=(1, 5, 1, 1)), "shape": np.array([0, -1]),
    }  # fmt: skip
    return small([conv("x w", "a"), conv("a v", "b", 1, 0), *heads], constants,
                 outputs=("expression", "valence", "arousal"))  # fmt: skip


def test_noise_is_the_share_of_the_outputs_variance_that_an_error_makes(network):
    """All is linear, so that the outputs change by exactly what the gradients tell."""
    images = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 4, 8, 8)).astype("f"))
    # One output is by far the most sensitive: random signs then tell its square exactly.
    spread = dict.fromkeys(("expression", "arousal"), torch.tensor([1e6]))
    spread |= {"valence": torch.tensor([0.5])}
    shift = torch.linspace(-1, 1, 6).reshape(1, 6, 1, 1).bfloat16().float()

    def error(node, inputs, output):
        return shift.expand_as(output) if node.name == "a" else None

    found = {
        each.name: each for each in layer_sensitivities(Interpreter(network), images, error, spread)
    }
    exact = Interpreter(network).run(images)
    changed = Interpreter(network).run(
        images, lambda node, _, output: output + shift if node.name == "a" else output
    )
    shares = torch.cat([((changed[k] - exact[k]) / spread[k]).square() for k in spread], 1)
    assert shares.shape == (3, 10)
    assert found["a"].noise == pytest.approx(float(shares.mean()), rel=0.01)
    assert found["b"].noise == 0
    assert found["a"].macs == 6 * 64 * 4 * 9
    assert found["b"].macs == 5 * 64 * 6
    assert list(found)[:2] == ["a", "b"]


def test_an_error_twice_as_large_makes_four_times_the_noise(network):
    images = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 4, 8, 8)).astype("f"))
    spread = {name: torch.ones(1) for name in ("expression", "valence", "arousal")}

    def noise(factor):
        found = layer_sensitivities(
            Interpreter(network),
            images,
            lambda node, _, output: factor * output if node.name in {"a", "valence"} else None,
            spread,
        )
        return {each.name: each.noise for each in found}

    once, twice = noise(0.25), noise(0.5)
    assert twice["a"] == pytest.approx(4 * once["a"])
    assert noise(0.25) == once  # drawn from a seed
    assert "valence" in once
    assert noise(-0.25) == pytest.approx(once)
