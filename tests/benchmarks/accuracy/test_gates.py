from dataclasses import replace

import numpy as np
import pytest

from emonet_deploy.benchmarks.accuracy.gates import (
    Change,
    _judge_drop,
    check_published,
    compare_runs,
    require,
)
from emonet_deploy.benchmarks.accuracy.protocol import Evaluation
from emonet_deploy.benchmarks.datasets.base import Dataset, Sample
from emonet_deploy.benchmarks.metrics.bootstrap import Interval
from emonet_deploy.benchmarks.metrics.paper_metrics import Labels
from emonet_deploy.benchmarks.parity.verdicts import Verdict
from emonet_deploy.emonet_ref.constants import METRIC_NAMES, PUBLISHED
from emonet_deploy.errors import InputError, ParityError


@pytest.fixture
def run(tmp_path):
    rng = np.random.default_rng(0)
    n = 400
    emotion = rng.uniform(-0.9, 0.9, (2, n))
    samples = tuple(
        Sample(f"{i}.png", i % 8, float(v), float(a), None) for i, (v, a) in enumerate(emotion.T)
    )
    dataset = Dataset("faces", tmp_path, 8, samples)
    noisy = np.clip(emotion + rng.normal(0, 0.2, emotion.shape), -1, 1)
    expression = np.where(rng.random(n) < 0.75, np.arange(n) % 8, (np.arange(n) + 1) % 8)
    prediction = Labels(expression, *noisy)
    return Evaluation(dataset, np.arange(n), dataset.labels(), prediction, (), True, n, 1.0)


def changed(run, shift=0.0, wrong=0):
    p = run.prediction
    expression = p.expression.copy()
    expression[:wrong] = (expression[:wrong] + 3) % 8
    valence = np.clip(p.valence + shift * np.sin(np.arange(len(p))), -1, 1)
    return replace(run, prediction=Labels(expression, valence, p.arousal))


def test_the_published_figures_pass_their_own_check():
    verdicts = check_published(PUBLISHED[8], PUBLISHED[8])
    assert tuple(verdicts) == METRIC_NAMES
    assert all(verdict.passed for verdict in verdicts.values())
    require(verdicts, "x")


@pytest.mark.parametrize(
    ("acc", "tolerance", "passed"),
    [
        (0.7549, None, True),
        (0.7451, None, True),
        (0.7551, None, False),
        (0.7449, None, False),
        (None, None, False),
        (0.7551, 0.01, True),
        (0.7399, 0.01, False),
        (None, 0.5, False),
    ],
)
def test_a_metric_must_round_to_the_published_one_or_lie_near_it(acc, tolerance, passed):
    verdicts = check_published(replace(PUBLISHED[8], ACC=acc), PUBLISHED[8], tolerance)
    assert verdicts["expression ACC"].passed is passed
    assert all(v.passed for name, v in verdicts.items() if name != "expression ACC")
    if not passed:
        with pytest.raises(ParityError, match="x: 1 of 9 gates: expression ACC"):
            require(verdicts, "x")


def test_equal_runs_pass_the_strictest_gates(run):
    found = compare_runs(run, run, "fp32", max_drop=0.0)
    assert (found.agreement, found.ccc_valence) == (1.0, pytest.approx(1.0, abs=1e-12))
    assert all(gate.passed for gate in found.gates.values())
    assert len(found.gates) == 1 + len(METRIC_NAMES)


def test_a_loss_shows_in_what_was_lost_and_nowhere_else(run):
    found = compare_runs(run, changed(run, shift=0.3), "int8")
    failed = {name for name, gate in found.gates.items() if not gate.passed}
    assert failed >= {"ccc_valence", "drop of valence CCC", "drop of valence RMSE"}
    assert not any("arousal" in name or "expression" in name for name in failed)
    change = found.changes["valence RMSE"]
    assert change.value > change.reference
    assert change.interval.low <= change.value - change.reference <= change.interval.high


def test_int8_may_lose_what_fp16_may_not(run):
    other = changed(run, shift=0.05, wrong=8)

    def passes(precision):
        return all(g.passed for g in compare_runs(run, other, precision).gates.values())

    assert passes("int8")
    assert not passes("fp16")


def test_an_improvement_is_no_drop(run):
    better = replace(run, prediction=run.truth)
    found = compare_runs(run, better, "int8")
    drops = {n: g for n, g in found.gates.items() if n.startswith("drop")}
    assert all(gate.passed and gate.value < 0 for gate in drops.values())
    backwards = compare_runs(better, run, "int8").gates
    assert all(not gate.passed for name, gate in backwards.items() if name.startswith("drop"))


def test_a_drop_by_chance_is_not_held_against_an_artifact(run):
    few = replace(
        run,
        dataset=run.dataset.first(20),
        numbers=run.numbers[:20],
        truth=run.truth[run.numbers[:20]],
        prediction=run.prediction[run.numbers[:20]],
    )
    right = int(np.flatnonzero(few.prediction.expression == few.truth.expression)[0])
    expression = few.prediction.expression.copy()
    expression[right] = (expression[right] + 1) % 8
    other = replace(few, prediction=replace(few.prediction, expression=expression))
    gate = compare_runs(few, other, "int8").gates["drop of expression ACC"]
    assert gate.value == pytest.approx(1 / 20)
    assert gate.value > gate.limit
    assert gate.passed


def test_a_metric_undefined_in_both_runs_is_not_gated(run):
    flat = replace(run, truth=replace(run.truth, valence=np.zeros(400)))
    found = compare_runs(flat, flat, "int8")
    assert "drop of valence CCC" not in found.gates
    assert "drop of valence RMSE" in found.gates


def test_runs_over_other_samples_cannot_be_compared(run):
    for other in (
        replace(run, flip=False),
        replace(run, numbers=run.numbers + 1),
        replace(run, dataset=run.dataset.first(3)),
    ):
        with pytest.raises(InputError, match="not over the same samples"):
            compare_runs(other, run, "fp32")


@pytest.mark.parametrize(
    ("value", "interval", "drop", "passed"),
    [
        (0.5, (-0.1, 0.1), 0.0, True),
        (0.375, (-0.2, -0.1), 0.125, True),  # at the limit
        (0.25, (-0.3, -0.1), 0.25, False),
        (0.25, (-0.3, 0.0), 0.25, True),  # the interval has the zero
        (0.25, (-0.3, 0.1), 0.25, True),
        (0.75, (0.1, 0.3), -0.25, True),
    ],
)
def test_a_drop_fails_when_it_is_larger_than_allowed_and_sure(value, interval, drop, passed):
    better = _judge_drop("valence CCC", Change(0.5, value, Interval(*interval)), 0.125)
    assert better == Verdict(0.125, drop, passed)
    # An error is worse when it grows: the same, mirrored.
    mirrored = Change(0.5, 1 - value, Interval(-interval[1], -interval[0]))
    assert _judge_drop("valence RMSE", mirrored, 0.125) == Verdict(0.125, drop, passed)


@pytest.mark.parametrize("missing", ["reference", "value", "interval"])
def test_a_metric_that_one_run_alone_has_fails(missing):
    known = {"reference": 0.5, "value": 0.5, "interval": Interval(0, 0)} | {missing: None}
    assert _judge_drop("valence CCC", Change(**known), 0.125) == Verdict(0.125, None, False)


def test_a_metric_that_is_lost_is_gated(run):
    flat = replace(run, prediction=replace(run.prediction, valence=np.zeros(400)))
    for pair in ((run, flat), (flat, run)):
        gate = compare_runs(*pair, "int8").gates["drop of valence CCC"]
        assert (gate.value, gate.passed) == (None, False)


@pytest.mark.parametrize(
    ("value", "tolerance", "passed"),
    [(0.625, 0.125, True), (0.875, 0.125, True), (0.6249, 0.125, False), (0.8751, 0.125, False)],
)
def test_a_tolerance_includes_its_end(value, tolerance, passed):
    found = check_published(replace(PUBLISHED[8], ACC=value), PUBLISHED[8], tolerance)
    assert found["expression ACC"] == Verdict(0.75, value, passed)


def test_failed_gates_are_named_with_their_values():
    verdicts = {
        "a": Verdict(0.5, 0.25, False), "b": Verdict(0.125, None, False), "c": Verdict(1, 1, True),
    }  # fmt: skip
    with pytest.raises(
        ParityError, match=r"x: 2 of 3 gates: a 0\.2500 \(0\.5\), b undefined \(0\.125\)$"
    ):
        require(verdicts, "x")


def test_the_drop_that_is_allowed_is_that_of_the_precision_unless_told(run):
    for precision, limit in (("fp16", 0.01), ("int8", 0.03)):
        gates = compare_runs(run, run, precision).gates
        assert gates["drop of valence CCC"].limit == limit
    assert compare_runs(run, run, "int8", 0.5).gates["drop of arousal SAGR"].limit == 0.5
    assert compare_runs(run, run, "int8").n == 400
