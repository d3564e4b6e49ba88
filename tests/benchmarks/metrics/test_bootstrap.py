import numpy as np
import pytest

from emonet_deploy.benchmarks.metrics import bootstrap
from emonet_deploy.benchmarks.metrics import paper_metrics as metrics
from emonet_deploy.benchmarks.metrics.paper_metrics import NO_EXPRESSION, Labels
from emonet_deploy.emonet_ref.constants import METRIC_NAMES


def labels(n, seed, noise=0.0):
    rng = np.random.default_rng(0)
    axes = rng.uniform(-0.9, 0.9, (2, n))
    expression = rng.integers(0, 8, n)
    rng = np.random.default_rng(seed)
    axes = np.clip(axes + rng.normal(0, noise, axes.shape), -1, 1)
    wrong = rng.random(n) < noise
    return Labels(np.where(wrong, (expression + 1) % 8, expression), *axes)


def test_a_bootstrap_over_identical_draws_returns_the_metric_itself():
    # Every resample of samples that all carry one error and sign has that error and sign.
    truth = Labels(np.zeros(50, int), np.linspace(0.1, 0.5, 50), np.linspace(-0.5, -0.1, 50))
    guess = Labels(np.zeros(50, int), truth.valence + 0.25, truth.arousal - 0.25)
    found = bootstrap.intervals(truth, guess, resamples=50)
    for name, value in (("valence RMSE", 0.25), ("arousal SAGR", 1.0), ("valence PCC", 1.0)):
        assert found[name].low == pytest.approx(value, abs=1e-12)
        assert found[name].high == pytest.approx(value, abs=1e-12)


def test_intervals_agree_with_a_bootstrap_written_out():
    truth, guess = labels(80, 1), labels(80, 1, noise=0.3)
    found = bootstrap.intervals(truth, guess, seed=3, resamples=200)
    rng, draws = np.random.default_rng(3), []
    for _ in range(200):
        i = rng.integers(80, size=80)
        drawn = metrics.accuracy(
            *(Labels(x.expression[i], x.valence[i], x.arousal[i]) for x in (truth, guess))
        )
        draws.append(list(drawn.by_name().values()))
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    for index, name in enumerate(METRIC_NAMES):
        assert found[name].low == pytest.approx(low[index], abs=1e-12), name
        assert found[name].high == pytest.approx(high[index], abs=1e-12), name


def test_an_interval_covers_the_metric_and_shrinks_with_samples():
    widths = []
    for n in (100, 2000):
        truth, guess = labels(n, 1), labels(n, 2, noise=0.3)
        point = metrics.accuracy(truth, guess).by_name()
        found = bootstrap.intervals(truth, guess)
        assert all(found[name].low <= point[name] <= found[name].high for name in METRIC_NAMES)
        widths.append(found["valence CCC"].high - found["valence CCC"].low)
    assert widths[1] < widths[0] / 3


def test_the_interval_of_an_undefined_metric_is_none():
    truth = Labels(np.full(9, NO_EXPRESSION), np.full(9, 0.1), np.linspace(-1, 1, 9))
    found = bootstrap.intervals(truth, labels(9, 1))
    assert found["expression ACC"] is None
    assert found["valence CCC"] is None
    assert found["valence RMSE"] is not None


@pytest.mark.parametrize("paired", [False, True])
def test_the_same_seed_draws_the_same_resamples_another_one_others(paired):
    truth, a, b = labels(40, 1), labels(40, 2, noise=0.3), labels(40, 3, noise=0.3)

    def drawn(*seed):
        if paired:
            return bootstrap.paired_intervals(truth, a, b, *seed, resamples=20)
        return bootstrap.intervals(truth, a, *seed, resamples=20)

    assert drawn() == drawn(0)
    assert drawn(0) != drawn(1)


def test_paired_differences_are_of_b_minus_a_for_every_metric():
    truth, a, b = labels(60, 1), labels(60, 2, noise=0.2), labels(60, 3, noise=0.5)
    found = bootstrap.paired_intervals(truth, a, b, seed=5, resamples=40)
    rng, draws = np.random.default_rng(5), []
    for _ in range(40):
        i = rng.integers(60, size=60)
        one, two = (metrics.accuracy(truth[i], x[i]).by_name().values() for x in (a, b))
        draws.append(np.subtract(list(two), list(one)))
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    for index, name in enumerate(METRIC_NAMES):
        assert found[name].low == pytest.approx(low[index], abs=1e-12), name
        assert found[name].high == pytest.approx(high[index], abs=1e-12), name


def test_a_constant_prediction_has_an_error_and_no_correlation():
    truth = labels(30, 1)
    guess = Labels(truth.expression, np.full(30, 0.1), truth.arousal)
    found = bootstrap.intervals(truth, guess, resamples=20)
    assert found["valence CCC"] is None
    assert found["valence PCC"] is None
    assert found["valence RMSE"] is not None
    assert found["arousal CCC"].low == pytest.approx(1)


def test_a_resample_without_the_one_labelled_sample_has_no_acc_and_counts_for_nothing():
    truth = Labels(np.array([0, *[NO_EXPRESSION] * 3]), np.linspace(0, 1, 4), np.zeros(4))
    found = bootstrap.intervals(truth, truth, resamples=50)
    assert (found["expression ACC"].low, found["expression ACC"].high) == (1.0, 1.0)


def test_a_paired_difference_sees_what_two_intervals_hide():
    truth, a = labels(500, 1), labels(500, 2, noise=0.3)
    b = Labels(a.expression, np.clip(a.valence * 0.97, -1, 1), a.arousal)
    same = bootstrap.paired_intervals(truth, a, a)
    assert all((same[name].low, same[name].high) == (0.0, 0.0) for name in METRIC_NAMES)
    apart = bootstrap.paired_intervals(truth, a, b)["valence CCC"]
    shift = metrics.ccc(truth.valence, b.valence) - metrics.ccc(truth.valence, a.valence)
    alone = bootstrap.intervals(truth, a)["valence CCC"]
    assert apart.low <= shift <= apart.high
    assert apart.high - apart.low < (alone.high - alone.low) / 3
