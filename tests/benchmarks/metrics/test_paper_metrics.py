import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emonet_deploy.benchmarks.metrics import paper_metrics as metrics
from emonet_deploy.benchmarks.metrics.paper_metrics import NO_EXPRESSION, Labels
from emonet_deploy.emonet_ref.constants import METRIC_NAMES, PUBLISHED, Accuracy
from emonet_deploy.errors import InputError

unit = st.floats(-1, 1)


@pytest.fixture(scope="module")
def golden(data):
    return dict(np.load(data / "metrics.npz"))


def labels(n, seed, noise=0.0):
    rng = np.random.default_rng(0)
    axes = rng.uniform(-0.9, 0.9, (2, n))
    expression = rng.integers(0, 8, n)
    rng = np.random.default_rng(seed)
    axes = np.clip(axes + rng.normal(0, noise, axes.shape), -1, 1)
    wrong = rng.random(n) < noise
    return Labels(np.where(wrong, (expression + 1) % 8, expression), *axes)


def test_the_authors_values_are_reproduced(golden):
    g, p = golden["ground_truth"], golden["prediction"]
    found = metrics.regression(g, p)
    for name, value in dataclasses.asdict(found).items():
        assert value == pytest.approx(float(golden[name]), abs=1e-14)
    share = metrics.expression_accuracy(golden["expression_gt"], golden["expression_pred"])
    assert share == pytest.approx(float(golden["ACC"]), abs=1e-15)


@given(st.lists(st.tuples(unit, unit), min_size=2, max_size=30))
def test_correlations_match_numpys_moments_and_are_never_nan(pairs):
    g, p = np.array(pairs).T
    found = metrics.regression(g, p)
    assert 0 <= found.RMSE <= 2
    assert 0 <= found.SAGR <= 1
    if np.ptp(g) < 1e-3 or np.ptp(p) < 1e-3:
        assert found.PCC is None or -1 <= found.PCC <= 1
        assert found.CCC is None or -1 <= found.CCC <= 1
        return
    (vg, cov), (_, vp) = np.cov(g, p, bias=True)
    assert pytest.approx(np.corrcoef(g, p)[0, 1], abs=1e-9) == found.PCC
    assert pytest.approx(2 * cov / (vg + vp + (g.mean() - p.mean()) ** 2), abs=1e-9) == found.CCC


def test_zero_is_a_sign_of_its_own():
    assert metrics.sagr([0.0, 0.0, 0.5, -0.5], [0.0, 0.1, 0.2, 0.2]) == 0.5


@pytest.mark.parametrize("constant", [0.0, 0.1, -0.7])
def test_a_correlation_with_equal_labels_is_undefined(constant):
    g, p = [constant] * 7, np.linspace(-1, 1, 7)
    for found in (metrics.regression(g, p), metrics.regression(p, g)):
        assert found.CCC is None
        assert found.PCC is None
        assert found.RMSE > 0


def test_one_sample_has_an_error_but_no_correlation():
    found = metrics.regression([0.5], [0.25])
    assert (found.CCC, found.PCC, found.RMSE, found.SAGR) == (None, None, 0.25, 1.0)


def test_no_sample_is_an_error():
    none = np.empty(0)
    with pytest.raises(InputError, match="at least one sample"):
        metrics.accuracy(Labels(none.astype(int), none, none), Labels(none.astype(int), none, none))


def test_a_prediction_that_is_not_finite_is_an_error():
    with pytest.raises(InputError, match="NaN"):
        Labels(np.zeros(1, int), np.array([np.nan]), np.zeros(1))


def test_samples_without_a_class_do_not_count_in_acc():
    truth = Labels(np.array([1, NO_EXPRESSION, 2]), np.zeros(3), np.zeros(3))
    guess = Labels(np.array([1, 0, 0]), np.zeros(3), np.zeros(3))
    assert metrics.accuracy(truth, guess).ACC == 0.5
    assert metrics.confusion_matrix(truth, guess, 3).tolist() == [[0, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert metrics.expression_accuracy([NO_EXPRESSION], [3]) is None


def test_rows_of_the_confusion_matrix_are_the_truth():
    zeros = np.zeros(4)
    truth = Labels(np.array([0, 0, 1, 1]), zeros, zeros)
    guess = Labels(np.array([0, 1, 1, 1]), zeros, zeros)
    confusion = metrics.confusion_matrix(truth, guess, 3)
    assert confusion.tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert metrics.per_class_recall(confusion) == [0.5, 1.0, None]


def test_metrics_go_by_the_papers_names():
    named = PUBLISHED[8].by_name()
    assert tuple(named) == METRIC_NAMES
    assert (named["expression ACC"], named["valence RMSE"], named["arousal SAGR"]) == (
        0.75,
        0.29,
        0.80,
    )


def test_a_bootstrap_over_identical_draws_returns_the_metric_itself():
    # Every resample of samples that all carry one error and sign has that error and sign.
    truth = Labels(np.zeros(50, int), np.linspace(0.1, 0.5, 50), np.linspace(-0.5, -0.1, 50))
    guess = Labels(np.zeros(50, int), truth.valence + 0.25, truth.arousal - 0.25)
    found = metrics.intervals(truth, guess, resamples=50)
    for name, value in (("valence RMSE", 0.25), ("arousal SAGR", 1.0), ("valence PCC", 1.0)):
        assert found[name].low == pytest.approx(value, abs=1e-12)
        assert found[name].high == pytest.approx(value, abs=1e-12)


def test_intervals_agree_with_a_bootstrap_written_out():
    truth, guess = labels(80, 1), labels(80, 1, noise=0.3)
    found = metrics.intervals(truth, guess, seed=3, resamples=200)
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
        found = metrics.intervals(truth, guess)
        assert all(found[name].low <= point[name] <= found[name].high for name in METRIC_NAMES)
        widths.append(found["valence CCC"].high - found["valence CCC"].low)
    assert widths[1] < widths[0] / 3


def test_the_interval_of_an_undefined_metric_is_none():
    truth = Labels(np.full(9, NO_EXPRESSION), np.full(9, 0.1), np.linspace(-1, 1, 9))
    found = metrics.intervals(truth, labels(9, 1))
    assert found["expression ACC"] is None
    assert found["valence CCC"] is None
    assert found["valence RMSE"] is not None


def test_a_paired_difference_sees_what_two_intervals_hide():
    truth, a = labels(500, 1), labels(500, 2, noise=0.3)
    b = Labels(a.expression, np.clip(a.valence * 0.97, -1, 1), a.arousal)
    same = metrics.paired_intervals(truth, a, a)
    assert all((same[name].low, same[name].high) == (0.0, 0.0) for name in METRIC_NAMES)
    apart = metrics.paired_intervals(truth, a, b)["valence CCC"]
    shift = metrics.ccc(truth.valence, b.valence) - metrics.ccc(truth.valence, a.valence)
    alone = metrics.intervals(truth, a)["valence CCC"]
    assert apart.low <= shift <= apart.high
    assert apart.high - apart.low < (alone.high - alone.low) / 3


def test_accuracy_may_lack_an_acc():
    truth = Labels(np.array([NO_EXPRESSION]), np.array([0.5]), np.array([0.5]))
    assert isinstance(metrics.accuracy(truth, truth), Accuracy)
    assert metrics.accuracy(truth, truth).ACC is None
