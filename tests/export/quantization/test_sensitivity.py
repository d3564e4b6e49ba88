import pytest

from emonet_deploy.export.quantization.sensitivity import LayerSensitivity, choose_float

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
