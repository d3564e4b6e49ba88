import pytest

from emonet_deploy.benchmarks.metrics.bootstrap import Interval
from emonet_deploy.benchmarks.metrics.output_error import Difference
from emonet_deploy.benchmarks.parity.verdicts import Verdict, judge
from emonet_deploy.runtime.precision_specs import Gates

GATES = Gates(max_error=0.125, ccc=0.75, agreement=0.5)


def off(max_abs, spread):
    return Difference(max_abs, 0.0, None, None, spread)


@pytest.mark.parametrize(
    ("low", "high", "close"),
    [
        (0.8, 0.89, False),
        (0.8, 0.9, True),  # at the limit the gate is passed, below it not
        (0.8, 0.95, True),
        (0.9, 0.95, False),
        (0.91, 0.95, False),
    ],
)
def test_a_decision_is_close_where_other_faces_could_have_led_to_the_other(low, high, close):
    assert Verdict(0.9, 0.0, True, Interval(low, high)).close is close
    assert not Verdict(0.9, 0.0, True).close


@pytest.mark.parametrize(
    ("gates", "names"),
    [
        (Gates(), set()),
        (Gates(max_error=1.0), {"max_error_a", "max_error_b"}),
        (Gates(ccc=0.5), {"ccc_valence", "ccc_arousal"}),
        (Gates(agreement=0.5), {"agreement"}),
    ],
)
def test_only_what_is_asked_for_is_judged(gates, names):
    outputs = {"a": off(0.0, 1.0), "b": off(0.0, 1.0)}
    assert set(judge(gates, outputs, 1.0, (1.0, 1.0))) == names


@pytest.mark.parametrize(
    ("max_abs", "spread", "share", "passed"),
    [
        (1.0, 8.0, 0.125, True), (1.01, 8.0, 0.12625, False), (0.0, 0.0, 0.0, True),
        (0.125, 0.0, 0.125, True), (0.25, 0.0, 0.25, False), (float("nan"), 1.0, None, False),
    ],
)  # fmt: skip
def test_an_error_is_a_share_of_its_outputs_spread(max_abs, spread, share, passed):
    verdict = judge(GATES, {"heatmap": off(max_abs, spread)}, 1.0, (1.0, 1.0))["max_error_heatmap"]
    assert (verdict.limit, verdict.passed) == (0.125, passed)
    if share is not None:
        assert verdict.value == pytest.approx(share)


@pytest.mark.parametrize(
    ("value", "passed"), [(0.75, True), (0.7499, False), (1.0, True), (-1.0, False), (None, False)]
)
@pytest.mark.parametrize("axis", ["valence", "arousal"])
def test_a_correlation_reaches_its_gate(axis, value, passed):
    cccs = (value, 1.0) if axis == "valence" else (1.0, value)
    found = {"ccc_valence": Interval(0.1, 0.2), "ccc_arousal": Interval(0.3, 0.4)}
    verdicts = judge(GATES, {}, 1.0, cccs, found)
    assert verdicts[f"ccc_{axis}"] == Verdict(0.75, value, passed, found[f"ccc_{axis}"])
    assert all(v.passed for name, v in verdicts.items() if name != f"ccc_{axis}")


@pytest.mark.parametrize(("share", "passed"), [(0.5, True), (0.4999, False), (1.0, True)])
def test_equal_classes_reach_theirs(share, passed):
    interval = Interval(0.4, 0.6)
    found = judge(GATES, {}, share, (1.0, 1.0), {"agreement": interval})["agreement"]
    assert found == Verdict(0.5, share, passed, interval)
